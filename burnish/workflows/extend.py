"""`burnish train --resume-from RUN`: a longer run that begins with the last state of another; see `prepare/extension`.

What the earlier run has logged is copied, with the checkpoint that the new one begins with, so that its folder is
complete in itself; then it is resumed like any other.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from burnish.engine.checkpoint import checkpoint_path, damage_of, newest_usable
from burnish.engine.process import ONE, Process
from burnish.errors import BurnishError
from burnish.lineage.chain import extended_chain
from burnish.prepare.extension import Extension
from burnish.prepare.first_checks import check_at_once
from burnish.recipe.load import dump_recipe
from burnish.recipe.names import sections
from burnish.runs.atomic import flush, write_folder, write_json, write_json_lines, write_text
from burnish.runs.description import read_manifest
from burnish.runs.event_log import EventLog, flush_logs, read_events
from burnish.runs.events import Finished, Listener, Note, Ranked, StoppedEarly
from burnish.runs.folder import NewRun, RunFolder, can_be_resumed
from burnish.visible import parse_json
from burnish.workflows.resume import resume_held
from burnish.workflows.run import Run
from burnish.workflows.train import unheard

_OF_THE_END = (Finished.__name__, Ranked.__name__, StoppedEarly.__name__)
"""Events that say that the earlier run has ended."""
_OF_SCHEDULE = {"stopped": False, "worse": 0, "cycles": []}
"""What the longer run does not take over of the progress: that it was stopped early, and schedules that were added."""


def extend(asked: Extension, listeners: Iterable[Listener] = (), process: Process = ONE) -> Run:
    """Trains a run for longer, in a run folder of its own.

    Args:
        asked: which run, and the recipe of the longer one.
        listeners: receive every event.
        process: the main one of those that train the run together; the others call `extend_beside`.

    Raises:
        BurnishError: the checkpoint is damaged.
        DataError: the data has changed since the run started.
        ModelError: the base model has changed.
        InputError: the name is taken.
        Interrupted: Ctrl-C or SIGTERM; `resume` continues from there.
    """
    recipe, log = asked.loaded.recipe, EventLog(None, listeners)
    check_at_once(recipe)
    checkpoint = _checkpoint(asked.run)
    with NewRun(Path(recipe.runs)) as new:
        folder = new.take(recipe.name)
        step = _begin(asked, checkpoint, folder)
        log.attach(folder.path)
        log(
            Note(
                f"This run extends `{asked.run.path.name}`: step {step} is done, and from step {step + 1} on every "
                f"step has the learning rate of a run of {asked.total_steps} steps."
            )
        )
        process.decide(lambda: folder.path)
        with can_be_resumed(folder):
            return resume_held(folder, log, process)


def extend_beside(process: Process) -> Run:
    """The same in a process beside the main one, which alone reads the earlier run and begins the longer one.

    Args:
        process: of those that train the run together.
    """
    folder = RunFolder(process.decide(Path))
    with can_be_resumed(folder):
        return resume_held(folder, unheard, process)


def _checkpoint(run: RunFolder) -> Path:
    """The checkpoint that the longer run begins with.

    Raises:
        BurnishError: it is damaged.
    """
    if run.step is None:
        path, skipped = newest_usable(run.checkpoints)
        if path is not None:
            return path
        damage = next(iter(skipped.values()), "")
    else:
        path = checkpoint_path(run.checkpoints, run.step)
        if not (damage := damage_of(path)):
            return path
    raise BurnishError(
        f"no checkpoint of the run `{run.name}` can be used",
        damage,
        f"Train a new run on its result: `burnish train DATA --model {run.path}`",
    )


def _begin(asked: Extension, checkpoint: Path, folder: RunFolder) -> int:
    """Writes the folder of the longer run; the recipe is last. Returns the steps that are done."""
    run, recipe = asked.run, asked.loaded.recipe
    folder.checkpoints.mkdir()
    state = parse_json((checkpoint / "state.json").read_text(encoding="utf-8"))
    step, best = int(state["progress"]["step"]), state["progress"].get("best_step")
    if best is not None and best != step:
        shutil.copytree(checkpoint_path(run.checkpoints, best), checkpoint_path(folder.checkpoints, best))
    with write_folder(folder.checkpoints / checkpoint.name) as copy:
        shutil.copytree(checkpoint, copy, dirs_exist_ok=True)
        state["progress"] |= _OF_SCHEDULE
        written = json.dumps(state).encode("utf-8")
        (copy / "state.json").write_bytes(written)
        sums = parse_json((copy / "checksums.json").read_text(encoding="utf-8"))
        sums["state.json"] = hashlib.sha256(written).hexdigest()
        (copy / "checksums.json").write_text(json.dumps(sums), encoding="utf-8")
    for name in (run.rejected.name, run.views.name):
        if (run.path / name).is_file():
            shutil.copy(run.path / name, folder.path / name)
    for log in (run.metrics, run.events):
        lines = [line for line in read_events(log) if line.get("step", 0) <= step]
        write_json_lines(folder.path / log.name, [line for line in lines if line["event"] not in _OF_THE_END])
    manifest = read_manifest(run)
    saved: dict[str, Any] = manifest.get("recipe") or {}
    whole = recipe.model_dump(mode="json")
    unread = {name for name in sections() if saved and name not in saved}
    chain = extended_chain(run, checkpoint, step)
    kept = {name: value for name, value in whole.items() if name not in unread}
    write_json(folder.manifest, {**manifest, "recipe": kept, "chain": chain})
    flush_logs(folder.path)
    write_text(folder.recipe, dump_recipe(recipe, unread))
    flush(folder.path.parent)
    return step
