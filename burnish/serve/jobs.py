"""A server that takes jobs: its routes, and the models that come of them."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter

from burnish.jobs.queue import Queue
from burnish.serve.files import file_routes
from burnish.serve.fine_tuning import job_routes, model_routes
from burnish.serve.trained import Opener, Trained

if TYPE_CHECKING:
    from burnish.inference.engine import Engine
    from burnish.inference.served import Offered

UPLOAD_BYTES = 512 << 20
"""Most of an uploaded file."""


def take_jobs(
    queue: Queue, engine: Engine, served: MutableMapping[str, Offered], opener: Opener
) -> tuple[Trained, list[APIRouter]]:
    """Starts a queue for a server. Returns the models that its jobs make, and its routes.

    Args:
        queue: of the jobs.
        engine: answers for the models.
        served: all models of the server, by name; those that jobs make are added.
        opener: loads a run by the name that requests will use.
    """
    trained = Trained(engine, served, opener)
    routers = [file_routes(queue), job_routes(queue, _bases(served), trained), model_routes(queue, trained)]
    trained.begin(queue)
    queue.start(lambda viewed: trained.take(queue, viewed))
    return trained, routers


def _bases(served: Mapping[str, Offered]) -> dict[str, str]:
    """The base models of a server by name: where they are."""
    from burnish.inference.served import Served

    writing = [one for one in served.values() if isinstance(one, Served) and one.session.opened.run is None]
    places = {one.name: one.session.opened.base for one in writing}
    return {name: str(Path(place).absolute()) if Path(place).is_dir() else place for name, place in places.items()}
