"""The models that jobs make: served as soon as they are there, and until they are deleted."""

from __future__ import annotations

import io
import logging
import threading
from collections import deque
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from burnish.errors import BurnishError
from burnish.jobs.files import RESULTS
from burnish.jobs.job import SUCCEEDED
from burnish.jobs.queue import Queue, Viewed
from burnish.jobs.story import metrics_table
from burnish.runs.folder import RunFolder
from burnish.serve.job_objects import model_name
from burnish.serve.refusals import Refusal, refusal_of

if TYPE_CHECKING:
    from burnish.inference.engine import Engine
    from burnish.inference.served import Offered

_LOG = logging.getLogger("burnish.serve")
Opener = Callable[[str, RunFolder], "Offered"]
"""Loads a run by the name that requests will use."""


class Trained:
    """The models that jobs make.

    Args:
        engine: answers for them, and loads them between two turns: a network is not changed while it computes.
        served: all models of the server by name; they are added to it.
        opener: loads a run.
    """

    def __init__(self, engine: Engine, served: MutableMapping[str, Offered], opener: Opener) -> None:
        self._engine, self._served, self._opener = engine, served, opener
        self._waiting: deque[tuple[Queue, Viewed]] = deque()
        """Jobs whose models are to be loaded; the first is being loaded."""
        self._guard = threading.Lock()
        self._jobs: dict[str, str] = {}
        """The id of the job that makes or made a model, by the name of the model."""
        self._opening: set[str] = set()
        """Names of models that are being loaded for the first time."""
        self._refused: dict[str, str] = {}
        """Why a model is not served, by its name."""

    def begin(self, queue: Queue) -> None:
        """Serves what earlier jobs made."""
        for viewed in queue.all():
            if viewed.state == SUCCEEDED and not viewed.job.is_removed:
                self.take(queue, viewed)

    def take(self, queue: Queue, viewed: Viewed) -> None:
        """Serves the model of a job that succeeded, and stores the table of its metrics.

        Args:
            queue: of the job.
            viewed: the job.
        """
        name = model_name(viewed)
        self._jobs[name] = viewed.job.id
        if viewed.job.result_file is None:
            self._opening.add(name)
            try:
                table = queue.files.add(io.BytesIO(metrics_table(viewed.folder.run)), "step_metrics.csv", RESULTS)
                queue.set_result(viewed.job.id, table.id)
            except BurnishError as error:
                queue.say(viewed.job.id, "warn", f"There is no table of the metrics. {refusal_of(error).message}")
        with self._guard:
            self._waiting.append((queue, viewed))
            if len(self._waiting) == 1:
                self._load(queue, viewed)

    def _load(self, queue: Queue, viewed: Viewed) -> None:
        """Lets the engine load a model, and the next one after it."""
        from burnish.inference.served import Served

        name = model_name(viewed)

        def load() -> Offered:
            served = self._opener(name, viewed.folder.run)
            if isinstance(served, Served):
                self._engine.add(name, served.batch)
            return served

        def end(served: Any, error: Exception | None) -> None:
            if error is None and name in self._jobs:
                self._served[name] = served
            elif error is None:  # it was deleted meanwhile
                self._drop(served)
            else:
                if not isinstance(error, BurnishError):
                    _LOG.error("a model could not be loaded", exc_info=error)
                why = refusal_of(error).message
                self._refused[name] = f"{why[:1].upper()}{why[1:]}"
                queue.say(viewed.job.id, "warn", f"The model `{name}` is not served. {self._refused[name]}")
            self._opening.discard(name)
            with self._guard:
                self._waiting.popleft()
                if self._waiting:
                    self._load(*self._waiting[0])

        self._engine.do(load, end)

    def is_opening(self, viewed: Viewed) -> bool:
        """Whether a job has just made its model, and that is still being loaded for the first time."""
        return model_name(viewed) in self._opening

    def job_of(self, name: str) -> str | None:
        """The id of the job that made a model; None if none did."""
        return self._jobs.get(name)

    def remove(self, name: str) -> None:
        """Serves a model no longer."""
        self._jobs.pop(name, None)
        self._refused.pop(name, None)
        served = self._served.pop(name, None)
        if served is not None:
            self._engine.do(lambda: self._drop(served), lambda *_: None)

    def _drop(self, served: Offered) -> None:
        """Frees a model. Only in the engine's own thread."""
        from burnish.inference.served import Served

        if isinstance(served, Served):
            self._engine.drop(served.name)
            served.release()

    def missing(self, name: str) -> Refusal | None:
        """Why a model of a job is not served; None if there is no such job."""
        model, found, step = name.partition(":ckpt-step-")
        if found and model in self._jobs:
            message = (
                f"`{name}` is a checkpoint, from which its job can be resumed. What is served is `{model}`, with the "
                f"weights that had the best validation, not those of step {step[:20]}."
            )
            return Refusal(400, message, "checkpoint_not_served", "model")
        if name in self._refused:
            return Refusal(400, f"The model `{name}` is not served. {self._refused[name]}", "model_not_served", "model")
        if name in self._jobs:
            return Refusal(503, f"The model `{name}` is being loaded. Ask again in a few seconds.", None, "model")
        return None
