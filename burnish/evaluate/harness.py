"""Both models on tasks of lm-evaluation-harness (EleutherAI's `lm_eval`), where that is installed."""

from __future__ import annotations

import difflib
import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from burnish.errors import BurnishError, InputError, MachineError
from burnish.evaluate.comparison import Figure, make_figures
from burnish.metrics.intervals import Estimate
from burnish.metrics.measure import mean
from burnish.models.config import context_limit
from burnish.models.device import arithmetic
from burnish.tasks.task import Task

EXTRA = "burnish[harness]"
_BATCH = 8
_RESAMPLES = 1_000
"""For the standard errors of figures that are no mean of rows."""
_NORMAL_QUANTILE = 1.96
_Told = Mapping[str, Any]
"""What `lm_eval.simple_evaluate` returns."""
_Key = tuple[str, str, str]
"""Task, metric and filter."""


@dataclass(frozen=True, slots=True)
class Harness:
    """The package, and the tasks that it is asked for."""

    package: Any
    wrapper: Any
    """Its class around a transformers model."""
    tasks: Sequence[str]

    def check_task(self, task: Task) -> None:
        """The models of a run must go on with any text.

        Raises:
            InputError: they do not.
        """
        if not task.generates:
            raise InputError(
                f"the task `{task.name}` writes no text",
                "lm-evaluation-harness asks how likely a model finds an answer, or lets it write one.",
                "Leave `--harness` out",
            )

    def room(self, config: Any, taken: int) -> int | None:
        """Tokens that a model reads at once, less those that are taken; None where its config does not say."""
        limit = context_limit(config)
        return None if limit is None else limit - taken

    def run(self, network: Any, tokenizer: Any, room: int | None, precision: str) -> _Told:
        """One model's results.

        Args:
            network: on its device; left in evaluation mode.
            tokenizer: of the network.
            room: longest input in tokens.
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
                "Most of its tasks fetch their rows from the hub; try the task by itself with `lm_eval`",
            ) from error

    def figures(self, base: _Told, tuned: _Told) -> list[Figure]:
        """Every figure that both results have, named by task and metric.

        Where a figure is the mean of its rows, the difference is paired by row; elsewhere it rests on the two standard
        errors that the harness gives.
        """
        before, after = _values(base), _values(tuned)
        return [_figure(key, base, tuned) for key in before if key in after]


def find_harness(tasks: Sequence[str]) -> Harness:
    """The harness, once it is known to be there and to have these tasks.

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
                fix=f"Did you mean `{near[0]}`?" if near else "`lm_eval ls tasks` lists those it has",
            )
    return Harness(package, wrapper, tasks)


def _values(told: _Told) -> dict[_Key, float]:
    """The figures of a result: its keys are `acc,none`, a metric and the filter of the answers."""
    found = {}
    for task, entries in told["results"].items():
        for entry, number in entries.items():
            metric, _, kind = entry.partition(",")
            if kind and not metric.endswith("_stderr") and isinstance(number, Real):
                found[task, metric, kind] = float(number)
    return found


def _figure(key: _Key, base: _Told, tuned: _Told) -> Figure:
    task, metric, kind = key
    name = f"{task} {metric}" + (f" ({kind})" if kind != "none" else "")
    is_better = (tuned.get("higher_is_better") or {}).get(task, {}).get(metric) is not False
    rows = [_rows(key, told) for told in (base, tuned)]
    if all(rows) and rows[0].keys() == rows[1].keys():
        numbers = [[side[row] for row in rows[0]] for side in rows]
        is_share = all(0 <= number <= 1 for side in numbers for number in side)
        one, other = (mean(name, side, is_better, is_share) for side in numbers)
        return make_figures([one], [other])[0]
    (first, one), (second, two) = ((_values(told)[key], _error(key, told)) for told in (base, tuned))
    estimates = _around(first, one), _around(second, two), _around(second - first, math.hypot(one, two))
    count = (tuned.get("n-samples") or {}).get(task, {}).get("effective", 0)
    return Figure(name, *estimates, lower_is_better=not is_better, is_share=False, rows=int(count))


def _rows(key: _Key, told: _Told) -> dict[Any, float]:
    """The numbers of single rows by the number of the row; empty where the figure is not their mean."""
    task, metric, kind = key
    found = {}
    for sample in (told.get("samples") or {}).get(task, ()):
        number = sample.get(metric)
        if sample.get("filter", kind) == kind and isinstance(number, Real):
            found[sample["doc_id"]] = float(number)
    is_mean = bool(found) and math.isclose(sum(found.values()) / len(found), _values(told)[key], abs_tol=1e-6)
    return found if is_mean else {}


def _error(key: _Key, told: _Told) -> float:
    """The standard error that the harness gives; infinite where it gives none."""
    task, metric, kind = key
    given = told["results"][task].get(f"{metric}_stderr,{kind}")
    return float(given) if isinstance(given, Real) else math.inf


def _around(value: float, error: float) -> Estimate:
    return Estimate(value, value - _NORMAL_QUANTILE * error, value + _NORMAL_QUANTILE * error)
