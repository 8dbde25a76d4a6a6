"""`/v1/fine_tuning/jobs`: trainings by OpenAI's interface."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request

from burnish.jobs.files import ROWS, UNUSABLE
from burnish.jobs.queue import Queue, Viewed
from burnish.jobs.story import checkpoints_of, story_of
from burnish.recipe.schema import BUNDLED_MODELS
from burnish.serve.job_forms import JobForm, recipe_options
from burnish.serve.job_objects import checkpoint_object, details_of, event_object, job_object, shown_details
from burnish.serve.pages import Page, attempt, page_of
from burnish.serve.refusals import Refusal
from burnish.serve.trained import Trained

_FILTER = re.compile(r"metadata\[(.{1,64})\]")
_JOBS, _EVENTS, _CHECKPOINTS = 20, 20, 10
"""Usual lengths of pages, as at OpenAI."""


def job_routes(queue: Queue, bases: Mapping[str, str], trained: Trained) -> APIRouter:
    """The routes of the jobs.

    Args:
        queue: of the jobs.
        bases: base models that the server has, by name: where they are.
        trained: the models that jobs make.
    """
    router = APIRouter(prefix="/v1/fine_tuning/jobs")

    def shown(viewed: Viewed) -> dict[str, Any]:
        return job_object(viewed, queue.files, trained.is_opening(viewed))

    @router.post("")
    async def create(form: JobForm) -> dict[str, Any]:
        return shown(await attempt(None, _created, queue, bases, form))

    @router.get("")
    async def list_jobs(request: Request) -> dict[str, Any]:
        page, wanted = _asked(request)
        jobs = [viewed for viewed in await attempt(None, queue.all) if _has(viewed, wanted)]
        return await attempt(None, page.of, jobs[::-1], shown)

    @router.get("/{job_id}")
    async def retrieve(job_id: str) -> dict[str, Any]:
        return shown(await attempt(_PARAM, queue.view, job_id))

    @router.post("/{job_id}/cancel")
    async def cancel(job_id: str) -> dict[str, Any]:
        return shown(await attempt(_PARAM, queue.cancel, job_id))

    @router.post("/{job_id}/pause")
    async def pause(job_id: str) -> dict[str, Any]:
        return shown(await attempt(_PARAM, queue.pause, job_id))

    @router.post("/{job_id}/resume")
    async def resume(job_id: str) -> dict[str, Any]:
        return shown(await attempt(_PARAM, queue.resume, job_id))

    @router.get("/{job_id}/events")
    async def events(job_id: str, request: Request) -> dict[str, Any]:
        page = page_of(request, _EVENTS)
        viewed = await attempt(_PARAM, queue.view, job_id)
        story = await attempt(_PARAM, story_of, viewed.job, viewed.folder)
        return page.of(story[::-1], lambda entry: event_object(entry, queue.files))

    @router.get("/{job_id}/checkpoints")
    async def checkpoints(job_id: str, request: Request) -> dict[str, Any]:
        page = page_of(request, _CHECKPOINTS)
        viewed = await attempt(_PARAM, queue.view, job_id)
        saved = await attempt(_PARAM, checkpoints_of, viewed.folder.run)
        return page.of(saved[::-1], lambda one: checkpoint_object(viewed, one))

    return router


_PARAM = "fine_tuning_job_id"


def model_routes(queue: Queue, trained: Trained) -> APIRouter:
    """The route that deletes a model which a job made.

    Args:
        queue: of the jobs.
        trained: the models that jobs made.
    """
    router = APIRouter(prefix="/v1/models")

    @router.delete("/{name}")
    async def delete(name: str) -> dict[str, Any]:
        job_id = trained.job_of(name)
        if job_id is None:
            raise Refusal(
                404, f"There is no model `{name[:200]}` that a job has made here.", "model_not_found", "model"
            )
        trained.remove(name)
        await attempt("model", queue.remove_run, job_id)
        return {"id": name, "object": "model", "deleted": True}

    return router


def _created(queue: Queue, bases: Mapping[str, str], form: JobForm) -> Viewed:
    """Takes on the job of a request."""
    if form.model not in bases and form.model not in BUNDLED_MODELS:
        known = ", ".join(f"`{name}`" for name in dict.fromkeys([*bases, *BUNDLED_MODELS]))
        message = f"`{form.model}` is no base model of this server. It has {known}."
        raise Refusal(400, message, "model_not_found", "model")
    training = _rows(queue, form.training_file, "training_file")
    validation = None if form.validation_file is None else _rows(queue, form.validation_file, "validation_file")
    recipe = recipe_options(form, bases.get(form.model, form.model), training, validation)
    files = [file for file in (form.training_file, form.validation_file) if file is not None]
    return queue.create(recipe, files, details_of(form))


def _rows(queue: Queue, file_id: str, param: str) -> str:
    """The path of a file of rows. Raises `Refusal` if it cannot be trained on."""
    store = queue.files
    if file_id not in (file.id for file in store.all()):
        raise Refusal(400, f"There is no file `{file_id[:80]}`. Upload it first.", "file_not_found", param)
    file = store.get(file_id)
    if file.purpose != ROWS:
        raise Refusal(400, f"The file `{file_id}` has no rows: its purpose is `{file.purpose}`.", None, param)
    status, details = store.state(file)
    if status == UNUSABLE:
        raise Refusal(400, f"The file `{file_id}` cannot be trained on. {details}", "invalid_file", param)
    return str(store.content(file))


def _asked(request: Request) -> tuple[Page, dict[str, str]]:
    """The part of the list of jobs that a request asks for, and the metadata to which it is limited."""
    wanted = {name: value for name, value in request.query_params.items() if name.startswith("metadata")}
    page = page_of(request, _JOBS, others=[name for name in wanted if name == "metadata" or _FILTER.fullmatch(name)])
    if "metadata" in wanted and (len(wanted) > 1 or wanted["metadata"] != "null"):
        raise Refusal(400, "Write `metadata[KEY]=VALUE`, or `metadata=null` alone.", None, "metadata")
    return page, wanted


def _has(viewed: Viewed, wanted: Mapping[str, str]) -> bool:
    """Whether the metadata of a job are those that a list is limited to."""
    metadata = shown_details(viewed)["metadata"]
    if "metadata" in wanted:
        return metadata is None
    asked = {key[len("metadata[") : -1]: value for key, value in wanted.items()}
    return all((metadata or {}).get(key) == value for key, value in asked.items())
