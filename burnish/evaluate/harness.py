"""Runs tasks of lm-evaluation-harness (EleutherAI's `lm_eval`), if installed, on both models."""

from __future__ import annotations

import difflib
import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from burnish.errors import BurnishError, InputError, MachineError
from burnish.evaluate.comparison import make_figures
from burnish.evaluate.figure import Figure
from burnish.metrics.intervals import Estimate
from burnish.metrics.measure import mean
from burnish.models.config import context_limit
from burnish.models.device import arithmetic
from burnish.tasks.task import Task

EXTRA = "burnish[harness]"
_BATCH = 8
_RESAMPLES = 1_000
"""Bootstrap samples for standard errors of metrics that are not a mean over rows."""
_NORMAL_QUANTILE = 1.96
_Results = Mapping[str, Any]
"""What `lm_eval.simple_evaluate` returns."""
_Key = tuple[str, str, str]
"""Task, metric and filter."""


@dataclass(frozen=True, slots=True)
class Harness:
    """The package and the requested tasks."""

    package: Any
    wrapper: Any
    """Its class around a transformers model."""
    tasks: Sequence[str]

    def check_task(self, task: Task) -> None:
        """Checks that the models of a run generate text.

        Raises:
            InputError: they do not.
        """
        if not task.generates:
            raise InputError(
                f"models of the task `{task.name}` do not generate text",
                "lm-evaluation-harness scores the likelihood of an answer, or an answer that the model generates.",
                "Leave `--harness` out",
            )

    def room(self, config: Any, taken: int) -> int | None:
        """The model's context length minus the positions taken; None if its config does not specify it."""
        limit = context_limit(config)
        return None if limit is None else limit - taken

    def run(self, network: Any, tokenizer: Any, room: int | None, precision: str) -> _Results:
        """One model's results.

        Args:
            network: on its device; left in evaluation mode.
            tokenizer: of the network.
            room: maximum length of the input in tokens.
            precision: of the arithmetic.

        Raises:
            BurnishError: the harness failed.
        """
        try:
            model = self.wrapper(pretrained=network, tokenizer=tokenizer, batch_size=_BATCH, max_length=room)
            with arithmetic(next(network.parameters()).device, precision):
                return self.package.simple_evaluate(
                    model=model, tasks=list(self.tasks), log_samples=True, bootstrap_iters=_RESAMPLES
                )
        except Exception as error:
            raise BurnishError(
                f"lm-evaluation-harness failed on {', '.join(f'`{task}`' for task in self.tasks)}",
                f"{type(error).__name__}: {' '.join(str(error).split())[:300]}.",
                "Most of its tasks download their rows from the hub; try the task on its own with `lm_eval`",
            ) from error

    def figures(self, base: _Results, tuned: _Results) -> list[Figure]:
        """Every metric that both results have, named by task and metric.

        If a metric is the mean over rows, the difference is paired by row; otherwise it uses the two standard errors
        given by the harness.
        """
        before, after = _values(base), _values(tuned)
        return [_figure(key, base, tuned) for key in before if key in after]


def find_harness(tasks: Sequence[str]) -> Harness:
    """The harness, after checking that it is installed and has these tasks.

    Raises:
        MachineError: it is not installed.
        InputError: it has no such task.
    """
    try:
        package = importlib.import_module("lm_eval")
        wrapper = importlib.import_module("lm_eval.models.huggingface").HFLM
        manager = importlib.import_module("lm_eval.tasks").TaskManager()
    except ImportError as error:
        raise MachineError(
            "lm-evaluation-harness is not installed",
            f"{error}.",
            f"`pip install '{EXTRA}'`, or leave `--harness` out",
        ) from error
    for task in tasks:
        if not manager.match_tasks([task]):
            near = difflib.get_close_matches(task, list(manager.all_tasks), n=1)
            raise InputError(
                f"lm-evaluation-harness has no task `{task}`",
                fix=f"Did you mean `{near[0]}`?" if near else "`lm_eval ls tasks` lists its tasks",
            )
    return Harness(package, wrapper, tasks)


def _values(results: _Results) -> dict[_Key, float]:
    """The metrics of a result, whose keys, such as `acc,none`, give metric and filter."""
    found = {}
    for task, entries in results["results"].items():
        for entry, number in entries.items():
            metric, _, kind = entry.partition(",")
            if kind and not metric.endswith("_stderr") and isinstance(number, Real):
                found[task, metric, kind] = float(number)
    return found


def _figure(key: _Key, base: _Results, tuned: _Results) -> Figure:
    task, metric, kind = key
    name = f"{task} {metric}" + (f" ({kind})" if kind != "none" else "")
    is_better = (tuned.get("higher_is_better") or {}).get(task, {}).get(metric) is not False
    rows = [_rows(key, results) for results in (base, tuned)]
    if all(rows) and rows[0].keys() == rows[1].keys():
        numbers = [[side[row] for row in rows[0]] for side in rows]
        is_share = all(0 <= number <= 1 for side in numbers for number in side)
        one, other = (mean(name, side, is_better, is_share) for side in numbers)
        return make_figures([one], [other])[0]
    (first, one), (second, two) = ((_values(results)[key], _error(key, results)) for results in (base, tuned))
    estimates = _around(first, one), _around(second, two), _around(second - first, math.hypot(one, two))
    count = (tuned.get("n-samples") or {}).get(task, {}).get("effective", 0)
    return Figure(name, *estimates, lower_is_better=not is_better, is_share=False, rows=int(count))


def _rows(key: _Key, results: _Results) -> dict[Any, float]:
    """The metric of each row, by row number; empty if the overall metric is not their mean."""
    task, metric, kind = key
    found = {}
    for sample in (results.get("samples") or {}).get(task, ()):
        number = sample.get(metric)
        if sample.get("filter", kind) == kind and isinstance(number, Real):
            found[sample["doc_id"]] = float(number)
    is_mean = bool(found) and math.isclose(sum(found.values()) / len(found), _values(results)[key], abs_tol=1e-6)
    return found if is_mean else {}


def _error(key: _Key, results: _Results) -> float:
    """The standard error given by the harness; infinite if there is none."""
    task, metric, kind = key
    given = results["results"][task].get(f"{metric}_stderr,{kind}")
    return float(given) if isinstance(given, Real) else math.inf


def _around(value: float, error: float) -> Estimate:
    return Estimate(value, value - _NORMAL_QUANTILE * error, value + _NORMAL_QUANTILE * error)
