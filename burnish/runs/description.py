"""What a run folder shows: recipe, state, losses and result, from a few lines of its files."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.errors import InputError
from burnish.recipe.limits import TooMuch, check_form, read_limited
from burnish.runs.damage import DamagedRun, check_plain, damaged, read_json_object, why_unreadable
from burnish.runs.event_log import LONGEST_BYTES, parse_event, read_events
from burnish.runs.file_forms import EvaluationForm, ManifestForm, completed, fault, fault_of_event
from burnish.runs.folder import RunFolder, checkpoint_folders, finished_events
from burnish.runs.lock import Writer, writer_of
from burnish.system.shell import quoted

_VALIDATED = b'"Validated"'
_BLOCK_BYTES = 1 << 18


def describe_runs(runs: list[RunFolder]) -> list[dict[str, Any]]:
    """What `burnish runs` lists: `describe_run` of each, and of a damaged one its name, its state and `why`."""
    found = []
    for run in runs:
        try:
            check_plain(run.path)
            evaluation_of(run)
            found.append(describe_run(run))
        except DamagedRun as error:
            why = f"{error.why} {error.fix}."
            found.append({"name": run.name, "path": str(run.path), "state": "damaged", "why": why})
        except InputError as error:
            found.append({"name": run.name, "path": str(run.path), "state": "damaged", "why": f"{error.what}."})
    return found


def describe_run(run: RunFolder) -> dict[str, Any]:
    """What `burnish show` prints: recipe, state, losses and results, from the run folder alone.

    Raises:
        DamagedRun: a file of the run cannot be read.
    """
    recipe = recipe_of(run)
    manifest = _shown_manifest(run)
    finished, writer = next(reversed(finished_events(run)), None), writer_of(run.path)
    try:
        course = _read_course(run.metrics, finished["best_step"] if finished else None)
        return {
            "name": run.name,
            "path": str(run.path),
            "state": _state(run, finished, writer),
            "writer": None if writer is None else str(writer),
            "started": time.strftime("%Y-%m-%d %H:%M", time.localtime(run.recipe.stat().st_mtime)),
            **course.summary(finished),
            "result": str(run.result) if run.result else None,
            "recipe": recipe,
            "manifest": manifest,
        }
    except KeyError as error:
        raise damaged(run.metrics, f"an event in it, or in `{run.events.name}`, has no `{error.args[0]}`") from error
    except TypeError as error:
        raise damaged(run.metrics, f"an event in it, or in `{run.events.name}`, has a wrong value") from error


_DONE = {"continue": "its adapter goes on", "merge": "its result is the base", "extend": "extended"}


def chain_in_words(manifest: dict[str, Any]) -> str:
    """What a run goes on from, the first first: `seedling > sft (chat, step 40; its adapter goes on)`.

    Args:
        manifest: of the run.

    Returns:
        Empty for a run that starts from a base model.
    """
    chain = manifest.get("chain", [])
    words = [Path(str(chain[0].get("base", ""))).name] if chain else []
    for link in chain:
        of = [link.get("task", ""), f"step {link['step']}" if link.get("step") is not None else ""]
        done = _DONE.get(link.get("how", ""), "")
        words.append(f"{link.get('name', '')} ({'; '.join(filter(None, [', '.join(filter(None, of)), done]))})")
    return " > ".join(words)


def data_in_words(path: Any) -> str:
    """What a saved recipe has as its data: one name, or those of several sources."""
    if not isinstance(path, list):
        return str(path or "")
    return ", ".join(str(one.get("path", "")) if isinstance(one, dict) else str(one) for one in path)


def evaluation_of(run: RunFolder) -> dict[str, Any] | None:
    """The evaluation of base and tuned model; None if there is none yet.

    Raises:
        DamagedRun: its file cannot be read.
    """
    if not run.evaluation.is_file():
        return None
    again = f"Evaluate the run again: `burnish evaluate {quoted(str(run.path))}`"
    found = read_json_object(run.evaluation, again)
    if why := fault(EvaluationForm, found):
        raise damaged(run.evaluation, why, again)
    return completed(EvaluationForm, found)


def read_manifest(run: RunFolder) -> dict[str, Any]:
    """The manifest that was written when the run began.

    Raises:
        DamagedRun: the run has no manifest, or a broken one.
    """
    found = read_json_object(run.manifest, _NO_OTHER)
    if why := fault(ManifestForm, found):
        raise damaged(run.manifest, why, _NO_OTHER)
    return found


def _shown_manifest(run: RunFolder) -> dict[str, Any]:
    """As much of a manifest as there is: nothing that is shown of it is needed."""
    found = read_json_object(run.manifest) if run.manifest.is_file() else {}
    if why := fault(ManifestForm, found, may_lack=True):
        raise damaged(run.manifest, why)
    return found


_NO_OTHER = (
    "It is the only record of what the run was made from: restore it from a copy, or train again with `burnish train`"
)


def recipe_of(run: RunFolder) -> dict[str, Any]:
    """The saved recipe, as it is in its file.

    Raises:
        DamagedRun: it is not YAML, or lacks what every recipe has.
    """
    import yaml

    # libyaml's parser, where PyYAML has it, takes a tenth of the time
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text = read_limited(run.recipe)
        check_form(text, loader)
        recipe = yaml.load(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise damaged(run.recipe, f"{line}{error.problem}") from error
    except TooMuch as error:
        raise damaged(run.recipe, str(error)) from error
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise damaged(run.recipe, why_unreadable(error)) from error
    if not isinstance(recipe, dict):
        raise damaged(run.recipe, "it is not a recipe")
    names = (("model", "name"), ("data", "path"), ("task",), ("method",))
    if missing := [name for name in names if not _is_named(_inner(recipe, name), is_several=name == ("data", "path"))]:
        raise damaged(run.recipe, f"`{'.'.join(missing[0])}` is missing")
    return recipe


def _is_named(value: Any, is_several: bool) -> bool:
    """Whether a value is a name, or a list of sources where there may be several."""
    if is_several and isinstance(value, list):
        return bool(value) and all(isinstance(one, dict) and isinstance(one.get("path"), str) for one in value)
    return isinstance(value, str)


def _inner(values: Any, names: tuple[str, ...]) -> Any:
    for name in names:
        values = values.get(name) if isinstance(values, dict) else None
    return values


@dataclass(slots=True)
class _Course:
    """What is needed of a metrics log: a few of its lines."""

    step: dict[str, Any] | None = None
    """The last step."""
    first: dict[str, Any] | None = None
    """The first validation."""
    best: dict[str, Any] | None = None
    """The last validation of a trained model that was better than all before."""
    validations: dict[int, dict[str, Any]] = field(default_factory=dict)
    """The newest ones, by step."""

    def summary(self, finished: Mapping[str, Any] | None) -> dict[str, Any]:
        """Steps and losses.

        Args:
            finished: the last event of a finished run.
        """
        step, best = self.step or {}, self.best or {}
        before = finished["loss_before"] if finished else None
        return {
            "step": step["step"] if step else 0,
            "total_steps": step["total_steps"] if step else None,
            "training_loss": step["loss"] if step else None,
            "validation_loss_before": self.first["loss"] if before is None and self.first else before,
            "validation_loss_best": best["loss"] if best else None,
            "best_step": best["step"] if best else None,
            "seconds": finished["seconds"] if finished else None,
            "kept": self._kept(finished, step["step"] if step else 0),
        }

    def _kept(self, finished: Mapping[str, Any] | None, last_step: int) -> dict[str, Any] | None:
        """Which step's weights are the result and why, and the validations of that step and of the last one.

        Returns:
            None for an unfinished run, and for one of an earlier version, which did not record the reason.
        """
        if not finished or not finished.get("reason"):
            return None
        step = finished["best_step"]
        return {
            "step": step,
            "last_step": last_step,
            "reason": finished["reason"],
            "validation": self._validation(step),
            "last_validation": self._validation(last_step),
        }

    def _validation(self, step: int) -> dict[str, Any] | None:
        line = self.validations.get(step)
        return None if line is None or step == 0 else {name: line.get(name) for name in _OF_A_VALIDATION}


_OF_A_VALIDATION = ("loss", "headline", "is_share", "figures")


def _read_course(metrics: Path, kept_step: int | None) -> _Course:
    """Reads a metrics log from its end, as far back as necessary: it may hold many thousands of steps.

    Args:
        metrics: the log; it need not exist.
        kept_step: whose validation is needed.

    Raises:
        DamagedRun: a line that was read is not an event.
    """
    course = _Course()
    if not metrics.is_file():
        return course
    try:
        for event in _newest_first(metrics, course):
            if event["event"] == "StepDone":
                course.step = course.step or event
            elif event["event"] == "Validated":
                course.validations.setdefault(event["step"], event)
                if event["step"] > 0 and event["is_best"]:
                    course.best = course.best or event
            if course.step and course.best and (kept_step is None or kept_step in course.validations):
                break
        if course.validations:
            course.first = _first_validation(metrics)
    except OSError as error:
        raise damaged(metrics, why_unreadable(error)) from error
    return course


def _newest_first(metrics: Path, course: _Course) -> Iterator[dict[str, Any]]:
    """The events of a log from its end; once the last step is known, the validations alone."""
    for block in _blocks_from_end(metrics):
        for line in _validations_in(block) if course.step else reversed(block.split(b"\n")[:-1]):
            if course.step and _VALIDATED not in line:
                continue
            event = parse_event(line)
            if event is not None and not fault_of_event(event):
                yield event
            else:
                read_events(metrics)  # raises, and names the line, unless it was only cut short


def _validations_in(block: bytes) -> Iterator[bytes]:
    """The lines of a block that are validations, the last one first."""
    end = len(block)
    while (found := block.rfind(_VALIDATED, 0, end)) >= 0:
        start = block.rfind(b"\n", 0, found) + 1
        yield block[start : block.find(b"\n", found)]
        end = start


def _blocks_from_end(path: Path) -> Iterator[bytes]:
    """The bytes of a file in blocks of whole lines, the last one first; a last line that was cut short is left out."""
    with path.open("rb") as file:
        end, rest = file.seek(0, os.SEEK_END), None
        while end > 0:
            start = max(0, end - _BLOCK_BYTES)
            file.seek(start)
            block = file.read(end - start) + (rest or b"")
            if rest is None:
                block = block[: block.rfind(b"\n") + 1]
            end = start
            cut = block.find(b"\n") + 1 if start else 0
            rest, lines = (block[:cut], block[cut:]) if cut or not start else (block or rest, b"")
            if rest is not None and len(rest) > LONGEST_BYTES:
                raise damaged(path, "it has a line that is longer than any event")
            if lines:
                yield lines


def _first_validation(metrics: Path) -> dict[str, Any] | None:
    with metrics.open("rb") as file:
        events = (parse_event(line) for line in file if _VALIDATED in line)
        found = next((event for event in events if event is not None and event["event"] == "Validated"), None)
    if found is not None and fault_of_event(found):
        read_events(metrics)  # raises, and names the line
    return found


def _state(run: RunFolder, finished: Mapping[str, Any] | None, writer: Writer | None) -> str:
    if writer is not None and writer.doing == "trained":
        return "running"
    if finished and run.result:
        return "finished"
    return "can be resumed" if checkpoint_folders(run.checkpoints) else "no checkpoint yet"
