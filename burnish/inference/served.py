"""The models of a server: runs and base models by name. Runs that were trained on the same base share its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import count
from pathlib import Path
from typing import Any

import torch

from burnish.decoding.batch import Batch
from burnish.decoding.context import num_virtual_tokens
from burnish.decoding.support import why_no_batch
from burnish.decoding.threads import Threads
from burnish.errors import InputError, MissingRun
from burnish.inference.embedding import Embedding, is_embedding_model
from burnish.inference.engine import Writer
from burnish.inference.grammar import Grammars
from burnish.inference.session import Session, open_session
from burnish.lineage.opened import open_alone
from burnish.lineage.saved_recipe import open_recipe
from burnish.methods.adapter import FIRST
from burnish.methods.method import Method
from burnish.models.config import context_limit
from burnish.models.location import ModelLocation
from burnish.runs.folder import RunFolder, find_run
from burnish.tasks import task_facts
from burnish.tasks.predictions import TextsPredictor

KEPT_BYTES = 1 << 29
"""Of beginnings of texts that each model keeps for prompts to come."""


@dataclass(frozen=True)
class Served:
    """A model that writes answers."""

    name: str
    session: Session
    batch: Writer
    """Writes its answers."""
    room: int
    """Most tokens of prompt and answer together."""
    vocabulary: int
    """Token ids are below that."""
    release: Callable[[], None] = lambda: None
    """Frees what only this model needs of a network that it shares."""

    @property
    def created(self) -> float:
        """When the model was written, in seconds since 1970."""
        return self.session.opened.created

    @cached_property
    def grammars(self) -> Grammars:
        """Makes answers follow a form. Raises like `Grammars`."""
        return Grammars(self.session.tokenizer, self.vocabulary, self.session.task.predictor.stop_ids)


@dataclass(frozen=True)
class Predicting:
    """A model that says something of texts: labels, a number, entities or a passage."""

    name: str
    session: Session

    @property
    def created(self) -> float:
        """When the model was written, in seconds since 1970."""
        return self.session.opened.created

    @property
    def predictor(self) -> TextsPredictor:
        """Of its task."""
        predictor: Any = self.session.task.predictor
        return predictor

    def predict(self, rows: Sequence[Sequence[str]]) -> list[Any]:
        """What it says of each row: see `TextsPredictor.predict`."""
        return self.session.predict(rows)


Offered = Served | Predicting | Embedding
"""What a server may hold."""


class Bases:
    """Networks with the adapters of all runs that were trained on the same base in the same precision. A base model
    that is served beside such runs is one of these networks without its adapters, and computes in their precision."""

    def __init__(self) -> None:
        self._networks: dict[tuple[str, str, str], tuple[Method, Any]] = {}
        self._numbers = count()
        self.threads = torch.get_num_threads()
        """All that may compute: those of torch, before the first batch takes fewer."""
        self.active: Callable[[], AbstractContextManager[Any] | None] = nullcontext
        """Makes the network that was opened last the model for which it was opened."""
        self.precision = ""
        """Of that network."""
        self.release: Callable[[], None] = lambda: None
        """Frees what the network that was opened last holds for that model alone."""

    def open(
        self,
        method: Method,
        load: Callable[[ModelLocation], Any],
        location: ModelLocation,
        result: Path | None,
        precision: str,
    ) -> Any:
        """The network of a model, shared where that is possible."""
        key = (str(location.folder), method.name, precision)
        self.active, self.precision, self.release = nullcontext, precision, lambda: None
        if result is None:
            known = next((one for one in self._networks if one[0] == key[0]), None)
            if known is None:
                return load(location)
            owner, network = self._networks[known]
            self.active, self.precision = partial(owner.without, network), known[2]
            return network
        if key in self._networks:
            network, name = self._networks[key][1], f"result-{next(self._numbers)}"
            if method.add(network, result, name):
                self.active, self.release = partial(_using, method, network, name), partial(method.drop, network, name)
                return network
        network = open_alone(method, load, location, result, precision)
        if method.without(network) is not None:
            self._networks.setdefault(key, (method, network))
        self.active = partial(_using, method, network, FIRST)
        return network


@contextmanager
def _using(method: Method, network: Any, name: str) -> Iterator[None]:
    """One of the results that a network holds is the active one."""
    method.use(network, name)
    yield


def open_models(
    names: Sequence[str],
    runs: str,
    base_model: str | None,
    trusts_code: bool,
    warn: Callable[[str], None],
    bases: Bases | None = None,
) -> dict[str, Offered]:
    """Loads models for a server.

    Args:
        names: runs by name or path, or base models; `NAME=RUN` serves it under another name.
        runs: folder that holds the run folders.
        base_model: folder of the runs' base model, if it has been moved.
        trusts_code: whether runs that were begun elsewhere may run the code that they name.
        warn: receives what the user should know.
        bases: networks that models opened later are to share.

    Raises:
        InputError: two have the same name, or one cannot be served.
    """
    bases = bases or Bases()
    places = places_of(names)
    tasks = {name: _task_of(place, runs, trusts_code) for name, place in places.items()}
    for name, task in tasks.items():
        if task is not None:
            check_task(name, task)
    served = dict[str, Offered]()
    # runs first: base models then use the networks of runs
    for name in sorted(places, key=lambda name: tasks[name] is None):
        task = tasks[name]
        if task is None and is_embedding_model(places[name]):
            served[name] = Embedding(name, places[name])
            continue
        # a network with a head of its own is not shared
        writes = task is None or task_facts(task).generates
        session = open_session(
            places[name],
            runs=runs,
            base_model=base_model,
            warn=warn,
            trusts_code=trusts_code,
            opener=bases.open if writes else open_alone,
        )
        served[name] = _served(name, session, bases) if writes else Predicting(name, session)
    return served


def open_run(name: str, run: RunFolder, bases: Bases, warn: Callable[[str], None]) -> Offered:
    """Loads a run that was trained while others are served.

    Args:
        name: by which requests will ask it.
        run: its folder.
        bases: of the server; if one of them is the run's, no more than its adapter is loaded.
        warn: receives what the user should know.

    Raises:
        InputError: it cannot be served.
    """
    task = open_recipe(run).task
    check_task(name, task)
    writes = task_facts(task).generates
    session = open_session(str(run.path), warn=warn, opener=bases.open if writes else open_alone)
    return _served(name, session, bases) if writes else Predicting(name, session)


def places_of(names: Sequence[str]) -> dict[str, str]:
    """The run or model behind each name. Raises InputError if two have the same."""
    places = dict[str, str]()
    for text in names:
        alias, found, place = text.partition("=")
        name, place = (alias, place) if found else (Path(text).name, text)
        if name in places:
            raise InputError(
                f"two models are called `{name}`", "Requests name the model that they ask.", f"Write `OTHER={text}`"
            )
        places[name] = place
    return places


def _task_of(place: str, runs: str, trusts_code: bool) -> str | None:
    """The task of a run, without loading it; None for a base model."""
    try:
        return open_recipe(find_run(place, runs, trusts_code, takes_step=True)).task
    except MissingRun:
        return None


def check_task(name: str, task: str) -> None:
    """Raises InputError if a server has no route for a task."""
    facts = task_facts(task)
    if not facts.generates and not facts.predicts:
        raise InputError(
            f"the run `{name}` cannot be served",
            f"Its task is `{task}`, for which there is no route.",
            "Use `burnish generate`, or from Python `burnish.load_run(RUN).generate(text)`",
        )


def _served(name: str, session: Session, bases: Bases) -> Served:
    network = session.network
    if reason := why_no_batch(network):
        other = "Train it with `--method lora`, or use" if num_virtual_tokens(network) else "Use"
        raise InputError(f"the model `{name}` cannot be served", reason, f"{other} `burnish generate`")
    threads = Threads(bases.threads) if network.device.type == "cpu" else None
    batch = Batch(network, bases.precision, bases.active, KEPT_BYTES, together=True, threads=threads)
    room = context_limit(network.config) or 1 << 20
    return Served(name, session, batch, room, network.get_input_embeddings().weight.shape[0], bases.release)


def batches_of(served: Mapping[str, Offered]) -> dict[str, Writer]:
    """Those of the models that write, for an engine."""
    return {name: one.batch for name, one in served.items() if isinstance(one, Served)}
