"""Jobs as OpenAI's objects."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from burnish.jobs.files import FileStore
from burnish.jobs.job import CANCEL, CANCELLED, FAILED, INTERRUPTED, PAUSED, RUNNING, SUCCEEDED, VALIDATING, in_words
from burnish.jobs.queue import Viewed
from burnish.jobs.story import Entry, Saved
from burnish.runs.damage import DamagedRun
from burnish.runs.description import recipe_of
from burnish.serve.job_forms import Hyperparameters, JobForm

_STATUS = {VALIDATING: "validating_files", INTERRUPTED: PAUSED}
"""OpenAI's words where they are others. What was interrupted waits to be resumed, as what is paused."""
_CODES = {2: "invalid_input", 3: "machine_error"}
"""By the exit code of a command."""


def details_of(form: JobForm) -> dict[str, Any]:
    """What is kept with a job, to be shown again."""
    return {
        "model": form.model,
        "training_file": form.training_file,
        "validation_file": form.validation_file,
        "method": form.how.type,
        "hyperparameters": form.how.hyperparameters.model_dump(),
        "seed": form.seed or 0,
        "suffix": form.suffix,
        "metadata": form.metadata,
    }


def shown_details(viewed: Viewed) -> dict[str, Any]:
    """What `details_of` kept with a job; of one that did not come over HTTP, what its recipe says."""
    job = viewed.job
    usual = {
        "model": Path(str(job.recipe.get("model.name", "auto"))).name,
        "training_file": (*job.files, "")[0],
        "validation_file": None,
        "method": "supervised",
        "hyperparameters": Hyperparameters().model_dump(),
        "seed": job.recipe.get("seed", 0),
        "suffix": None,
        "metadata": None,
    }
    return {**usual, **{name: value for name, value in job.details.items() if name in usual}}


def model_name(viewed: Viewed) -> str:
    """The name of the model that a job makes: base, who made it, the client's suffix, and the end of the job's id."""
    details = shown_details(viewed)
    return ":".join(("ft", details["model"], "burnish", details["suffix"] or "", viewed.job.id[-8:]))


def checkpoint_name(viewed: Viewed, step: int) -> str:
    """The name of a job's checkpoint; that of the model for the one whose weights it has."""
    is_result = viewed.state == SUCCEEDED and viewed.course is not None and viewed.course.best_step == step
    return model_name(viewed) + ("" if is_result else f":ckpt-step-{step}")


def job_object(viewed: Viewed, store: FileStore, is_opening: bool = False) -> dict[str, Any]:
    """OpenAI's `fine_tuning.job`, and `estimated_start` beside it.

    Args:
        viewed: the job.
        store: of its files.
        is_opening: whether the model that it made is still being loaded; until then it is not said to have succeeded.
    """
    job, course, details = viewed.job, viewed.course, shown_details(viewed)
    is_done = viewed.state == SUCCEEDED and not is_opening
    status = RUNNING if viewed.state == SUCCEEDED and not is_done else _STATUS.get(viewed.state, viewed.state)
    if job.wanted == CANCEL:
        status = CANCELLED  # its process may still be saving its state
    hyperparameters = {**details["hyperparameters"], **_resolved(viewed)}
    return {
        "id": job.id,
        "object": "fine_tuning.job",
        "created_at": int(job.created),
        "error": _error(viewed, store),
        "fine_tuned_model": model_name(viewed) if is_done else None,
        "finished_at": None if job.ended is None or is_opening else int(job.ended),
        "hyperparameters": hyperparameters,
        "model": details["model"],
        "organization_id": "burnish",
        "result_files": [job.result_file] if job.result_file else [],
        "seed": details["seed"],
        "status": status,
        "trained_tokens": course.tokens if is_done and course is not None else None,
        "training_file": details["training_file"],
        "validation_file": details["validation_file"],
        "estimated_finish": _seconds(course.ends) if viewed.state == RUNNING and course is not None else None,
        "estimated_start": _seconds(viewed.starts),
        "integrations": [],
        "metadata": details["metadata"],
        "method": {"type": details["method"], details["method"]: {"hyperparameters": hyperparameters}},
    }


def _seconds(expected: float | None) -> int | None:
    """An expected time in seconds, rounded up; what is late is expected now."""
    return None if expected is None else math.ceil(max(expected, time.time()))


def _resolved(viewed: Viewed) -> dict[str, Any]:
    """Hyperparameters whose `auto` has its value by now."""
    if not viewed.folder.has_begun or viewed.job.is_removed:
        return {}
    try:
        epochs = recipe_of(viewed.folder.run).get("train", {}).get("epochs")
    except (DamagedRun, AttributeError):
        return {}
    if not isinstance(epochs, int | float):
        return {}
    return {"n_epochs": int(epochs) if epochs == int(epochs) else epochs}


def _error(viewed: Viewed, store: FileStore) -> dict[str, Any] | None:
    failure: Mapping[str, Any] | None = viewed.folder.failure() if viewed.state == FAILED else None
    if failure is None:
        return None
    code = _CODES.get(failure.get("exit_code", 1), "failed")
    files = {shown_details(viewed)[param]: param for param in ("validation_file", "training_file")}
    return {"code": code, "message": store.named(in_words(failure)), "param": files.get(failure.get("file"))}


def event_object(entry: Entry, store: FileStore) -> dict[str, Any]:
    """OpenAI's `fine_tuning.job.event`."""
    return {
        "id": entry.id,
        "object": "fine_tuning.job.event",
        "created_at": int(entry.time),
        "level": entry.level,
        "message": store.named(entry.text),
        "type": "metrics" if entry.is_metric else "message",
        "data": json.loads(store.named(json.dumps(entry.data))),
    }


def checkpoint_object(viewed: Viewed, saved: Saved) -> dict[str, Any]:
    """OpenAI's `fine_tuning.job.checkpoint`."""
    losses = {"train_loss": saved.loss, "full_valid_loss": saved.validation_loss}
    return {
        "id": saved.id,
        "object": "fine_tuning.job.checkpoint",
        "created_at": int(saved.time),
        "fine_tuned_model_checkpoint": checkpoint_name(viewed, saved.step),
        "fine_tuning_job_id": viewed.job.id,
        "metrics": {"step": saved.step, **{name: loss for name, loss in losses.items() if loss is not None}},
        "step_number": saved.step,
    }
