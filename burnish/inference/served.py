"""The models of a server: runs and base models by name. Runs that were trained on the same base share its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.errors import InputError, MissingRun
from burnish.inference.batch import Batch
from burnish.inference.session import Session, open_alone, open_session
from burnish.methods.lora import LoraMethod
from burnish.methods.method import Method
from burnish.models.config import context_limit
from burnish.models.location import ModelLocation
from burnish.runs.folder import find_run

_KEPT_BYTES = 1 << 29
"""Of beginnings of texts that each model keeps for prompts to come."""


@dataclass(frozen=True, slots=True)
class Served:
    """A model that answers requests."""

    name: str
    session: Session
    batch: Batch
    """Writes its answers."""

    @property
    def room(self) -> int:
        """Most tokens of prompt and answer together."""
        return context_limit(self.session.network.config) or 1 << 20


class Bases:
    """Networks with the adapters of all runs that were trained on the same base in the same precision. A base model
    that is served beside such runs is one of these networks without its adapters, and computes in their precision."""

    def __init__(self) -> None:
        self._networks: dict[tuple[str, str, str], Any] = {}
        self.active: Callable[[], AbstractContextManager[Any]] = nullcontext
        """Makes the network that was opened last the model for which it was opened."""
        self.precision = ""
        """Of that network."""

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
        self.active, self.precision = nullcontext, precision
        if result is None:
            known = next((one for one in self._networks if one[0] == key[0]), None)
            if known is None:
                return load(location)
            self.active, self.precision = self._networks[known].disable_adapter, known[2]
            return self._networks[known]
        if not isinstance(method, LoraMethod):
            return open_alone(method, load, location, result, precision)
        if key not in self._networks:
            self._networks[key] = open_alone(method, load, location, result, precision)
            self.active = _chosen(self._networks[key], "default")
            return self._networks[key]
        network = self._networks[key]
        name = f"adapter{len(network.peft_config)}"
        method.add(network, result, name)
        self.active = _chosen(network, name)
        return network


def _chosen(network: Any, name: str) -> Callable[[], AbstractContextManager[None]]:
    """Makes one of several adapters the active one."""

    @contextmanager
    def chosen() -> Iterator[None]:
        if network.active_adapter != name:
            network.set_adapter(name)
        yield

    return chosen


def open_models(
    names: Sequence[str], runs: str, base_model: str | None, trusts_code: bool, warn: Callable[[str], None]
) -> dict[str, Served]:
    """Loads models for a server.

    Args:
        names: runs by name or path, or base models; `NAME=RUN` serves it under another name.
        runs: folder that holds the run folders.
        base_model: folder of the runs' base model, if it has been moved.
        trusts_code: whether runs that were begun elsewhere may run the code that they name.
        warn: receives what the user should know.

    Raises:
        InputError: two have the same name, or one cannot be served.
    """
    served, bases = dict[str, Served](), Bases()
    # runs first: base models then use the networks of runs
    for text in sorted(names, key=lambda text: _is_base(text, runs)):
        alias, found, place = text.partition("=")
        name = alias if found else Path(text).name
        if name in served:
            raise InputError(
                f"two models are called `{name}`", "Requests name the model that they ask.", f"Write `OTHER={text}`"
            )
        session = open_session(
            place if found else text,
            runs=runs,
            base_model=base_model,
            warn=warn,
            trusts_code=trusts_code,
            opener=bases.open,
        )
        served[name] = _served(name, session, bases)
    return served


def _is_base(text: str, runs: str) -> bool:
    try:
        find_run(text.partition("=")[2] or text, runs)
    except MissingRun:
        return True
    return False


def _served(name: str, session: Session, bases: Bases) -> Served:
    if not session.task.generates:
        raise InputError(
            f"the run `{name}` cannot be served",
            f"Its task is `{session.task.name}`, and OpenAI's interface is for models that write texts.",
            "Use `burnish generate`, or from Python `burnish.load_run(RUN).generate(text)`",
        )
    network = session.network
    if getattr(getattr(network, "active_peft_config", None), "is_prompt_learning", False):
        raise InputError(
            f"the run `{name}` cannot be served",
            f"Its method, `{session.recipe.method}`, puts what it trained before each text, which a batch of several "
            "answers does not do.",
            "Train it with `--method lora`, or use `burnish generate`",
        )
    if network.config.is_encoder_decoder:
        raise InputError(
            f"the model `{name}` cannot be served",
            "It maps one text to another with two networks, and the server only continues texts.",
            "Use `burnish generate`",
        )
    return Served(name, session, Batch(network, bases.precision, bases.active, _KEPT_BYTES))
