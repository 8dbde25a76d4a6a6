"""`burnish accept RUN@STEP`: a checkpoint becomes the result of its run, exactly as it was evaluated.

The result that the run had, with its evaluation and what was made of it, moves to `results/step-...`, where it can
still be used as `RUN@STEP`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from burnish.errors import InputError
from burnish.lineage.kept import ready_result
from burnish.lineage.saved_recipe import open_recipe
from burnish.report.page import write_pages
from burnish.runs.atomic import flush, remove_folder, write_bytes, write_folder
from burnish.runs.description import evaluation_of
from burnish.runs.event_log import EventLog
from burnish.runs.events import Finished, Listener
from burnish.runs.folder import RunFolder, finished_events, steps_kept
from burnish.runs.lock import write_lock
from burnish.runs.paths import checkpoint_folder
from burnish.visible import parse_json
from burnish.workflows.evaluate import evaluate_held
from burnish.workflows.run import Run


def check_acceptable(folder: RunFolder) -> int:
    """The step of a checkpoint that can become the result of its run.

    Raises:
        InputError: no checkpoint is named, or it is the result already.
    """
    run = RunFolder(folder.path)
    if folder.step is None:
        kept = steps_kept(run)
        raise InputError(
            f"`{folder.name}` names a run, and not which of its checkpoints is accepted",
            f"It keeps those of the steps {', '.join(map(str, kept))}." if kept else "It keeps none.",
            f"For example `burnish accept {folder.path}@{kept[-1]}`" if kept else "Train it with `save.keep` above 1",
        )
    if run.result is not None and _step_of(run) == folder.step:
        raise InputError(
            f"step {folder.step} is the result of the run `{run.name}` already", "", f"See `burnish show {run.path}`"
        )
    return folder.step


def accept(
    folder: RunFolder, listeners: Iterable[Listener] = (), answers: int = 200, base_model: str | None = None
) -> Run:
    """Makes a checkpoint the result of its run, which need not be finished; evaluates it unless that is done.

    Args:
        folder: of the run, with the step of the checkpoint.
        listeners: receive every event.
        answers: maximum number of rows that both models answer, if it has to be evaluated.
        base_model: folder of its base model, if it has been moved.

    Raises:
        InputError: no checkpoint is named, or it is the result already.
        Locked: another process writes the run.
    """
    step, run = check_acceptable(folder), RunFolder(folder.path, folder.trusts_code)
    with write_lock(folder.path, "accepted"):
        log = EventLog(folder.path, listeners)
        result = ready_result(folder, log, base_model)
        if not folder.evaluation.is_file():
            recipe = open_recipe(folder, base_model, needs_metric=True)
            evaluate_held(folder, recipe, None, log, answers, None, base_model)
        _put_aside(run)
        with write_folder(run.path / result.name) as target:
            shutil.copytree(result, target, dirs_exist_ok=True)
        write_bytes(run.evaluation, folder.evaluation.read_bytes())
        losses = [one for one in (evaluation_of(run) or {}).get("figures", []) if one["name"] == "loss"]
        before, after = (losses[0][name]["value"] for name in ("base", "tuned")) if losses else (0.0, 0.0)
        log(Finished(step, before, after, _seconds(run, step), str(run.result), "it was accepted by hand"))
        write_pages(run)
    return Run(run)


def _step_of(run: RunFolder) -> int | None:
    """The step whose weights are the result of a run."""
    finished = finished_events(run)
    return int(finished[-1]["best_step"]) if finished else None


def _put_aside(run: RunFolder) -> None:
    """Moves the result that a run has, and what was made of it, to where its step is used from."""
    step = _step_of(run)
    made = [run.adapter, run.model, run.evaluation, run.merged, *(path.parent for path in run.exports)]
    made = [path for path in made if path.exists()]
    if step is None or not made:
        return
    aside = RunFolder(run.path, step=step).of_result
    aside.mkdir(parents=True, exist_ok=True)
    for path in made:
        target: Path = aside / path.name
        if target.is_dir():
            remove_folder(target)
        path.replace(target)
    flush(aside)


def _seconds(run: RunFolder, step: int) -> float:
    """Seconds of training up to a checkpoint; 0 if it is no longer there."""
    try:
        state = parse_json((checkpoint_folder(run, step) / "state.json").read_text(encoding="utf-8"))
        return float(state["progress"]["seconds"])
    except (OSError, ValueError, KeyError):
        return 0.0
