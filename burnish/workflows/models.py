"""`burnish models`: base models that are here, and public ones that fit this machine.

python -m burnish.workflows.models            simulates a step of every public model, and keeps what it takes as data
python -m burnish.workflows.models gpt2       only of that one
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml

from burnish.errors import BurnishError, InputError, ModelError
from burnish.models.catalogue import cached_models, licence_in, model_folders, public_models, steps_file
from burnish.models.config import model_kind, public_names
from burnish.models.device import choose_device, choose_precision
from burnish.models.location import lacking
from burnish.models.weight_files import weight_files
from burnish.plan.budget import Budget, budget_here
from burnish.plan.stand_ins import find_for_planning
from burnish.recipe.schema import AUTO, BUNDLED_MODELS, ModelSection, Recipe
from burnish.runs.atomic import write_text
from burnish.runs.events import Event, Progressed
from burnish.tasks import task_facts, task_names
from burnish.templates import yaml_text
from burnish.workflows.plan import Place, Plan, plan

_TOKENS = 1_000_000
_PATIENCE = 4 * 3600.0
"""Seconds for a million tokens beyond which a model is not recommended."""
_PRODUCT = 1024
"""Rows and columns of the matrix product that is timed."""
_HEAD = "# What a step of one row of public models takes: written by `python -m burnish.workflows.models`.\n"
_ENDLESS = "100TB"
_METHODS = ("lora", "qlora")
"""The usual method, and the one for models that do not fit with it."""


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A base model, and what training it takes on this machine."""

    name: str
    """What `--model` takes."""
    where: str
    """`bundled`, `local`, `cached` or `public`."""
    kind: str
    parameters: int | None
    """None where only training it would show."""
    bytes: int
    """Of its weights, on this disk or to be downloaded."""
    licence: str
    """Empty if the model does not say."""
    is_gated: bool = False
    method: str | None = None
    """The method of which the memory is; None if none fits or nothing is known."""
    memory: int | None = None
    """Bytes at the peak of a step of one row, with what the process takes."""
    fits: bool | None = None
    """None if it is not known."""
    follows_instructions: bool = False
    """Whether it is known to be tuned to answer in conversations."""
    least_seconds: float | None = None
    """For a million tokens at the speed of matrix products here: no step is faster."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Listing:
    """The models that can be trained for a task, and the one to take next."""

    task: str | None
    device: str
    room: int
    """Bytes available to a run."""
    models: list[ListedModel]
    next_model: str | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


def list_models(task: str | None = None, emit: Callable[[Event], None] = lambda event: None) -> Listing:
    """All base models that are known here.

    Args:
        task: of `task_names()`, for which they are to be trained; None for any.
        emit: receives the progress.

    Raises:
        InputError: there is no such task.
        MachineError: there is no device to train on.
    """
    if task is not None and task not in task_names():
        raise InputError(
            f"there is no task `{task}`", f"The tasks are {', '.join(task_names())}.", "Choose one of these"
        )
    device = choose_device(AUTO)
    precision = choose_precision(AUTO, device)[0]
    budget, rate = budget_here(device, None, precision), product_rate(device, precision)
    wanted = () if task is None else task_facts(task).kinds
    for_chat = not wanted or "causal" in wanted
    places = [place for place in _places() if (kind := _kind(place[0])) and (not wanted or kind in wanted)]
    listed = []
    for number, (name, where) in enumerate(places):
        emit(Progressed("models simulated", number, len(places)))
        if (found := _here(name, where, budget, rate)) is not None:
            listed.append(found)
    names = {model.name.lower().rpartition("/")[2] for model in listed}
    for model in public_models():
        name = model.hub_name(for_chat)
        if (not wanted or model.kind in wanted) and name.lower().rpartition("/")[2] not in names:
            empty = ListedModel(
                name, "public", model.kind, model.parameters, model.bytes, model.licence, model.is_gated
            )
            empty = replace(empty, follows_instructions=for_chat and bool(model.chat))
            listed.append(_fitted(empty, model.tensors, model.flops_per_token, budget, rate))
    return Listing(task, budget.device, budget.room, listed, _next(listed, wanted or ("causal",)))


def product_rate(device: torch.device, precision: str) -> float:
    """Floating-point operations a second of a large matrix product, the best of a few."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    left = torch.ones(_PRODUCT, _PRODUCT, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(4):  # the first one compiles
        begun = time.perf_counter()
        (left @ left)[0, 0].item()
        best = min(best, time.perf_counter() - begun)
    return 2 * _PRODUCT**3 / best


def _places() -> list[tuple[str, str]]:
    """Names of models on this disk, and where they are: bundled, in folders below this one, in the hub's cache."""
    return [
        *((name, "bundled") for name in BUNDLED_MODELS),
        *((name, "local") for name in model_folders(Path.cwd())),
        *((name, "cached") for name in cached_models()),
    ]


def _kind(name: str) -> str:
    """The kind of a model; empty if its config cannot be read."""
    section = ModelSection(name=name)
    try:
        return model_kind(find_for_planning(section, _silent).config)
    except ModelError:
        return ""


def _here(name: str, where: str, budget: Budget, rate: float) -> ListedModel | None:
    """A model on this disk; None if it cannot be loaded as it is."""
    section = ModelSection(name=name)
    try:
        found = find_for_planning(section, _silent)
        if lacking(found.location, section):
            return None
        folder = found.location.folder
        files = [folder / file for file in weight_files(name, folder, False)]
    except ModelError:
        return None
    size = sum(file.stat().st_size for file in files if file.is_file())
    empty = ListedModel(name, where, model_kind(found.config), None, size, licence_in(folder))
    tensors: dict[str, int] = {}
    made = None
    for method in _METHODS:
        made = _step(name, method) or made
        if made is not None and made.method == method:
            tensors[method] = _tensors(made)
            if tensors[method] <= budget.tensors:
                break
    if made is None:
        return empty
    return _fitted(replace(empty, parameters=made.parameters), tensors, made.flops_per_token, budget, rate)


def _fitted(
    model: ListedModel, tensors: Mapping[str, int], flops_per_token: float, budget: Budget, rate: float
) -> ListedModel:
    """The model with the first method whose step fits, or with the least memory that is too much."""
    method = next((one for one in _METHODS if tensors.get(one, budget.tensors + 1) <= budget.tensors), None)
    least = tensors[method] if method else min(tensors.values(), default=None)
    return replace(
        model,
        method=method,
        memory=None if least is None else least + sum(one.bytes for one in budget.overheads),
        fits=None if least is None else method is not None,
        least_seconds=flops_per_token * _TOKENS / rate,
    )


def _next(models: Sequence[ListedModel], kinds: Sequence[str]) -> str | None:
    """The largest one that fits, is free to take, and learns a million tokens within hours; None if there is none.

    Args:
        models: to choose from.
        kinds: of models that the task takes, the usual one first; models of that kind are preferred, and of decoders
            those that follow instructions.
    """
    able = [
        model
        for model in models
        if model.fits
        and model.where != "bundled"
        and not model.is_gated
        and model.parameters is not None
        and (model.least_seconds or 0.0) <= _PATIENCE
    ]
    best = max(
        able,
        key=lambda model: (model.kind == kinds[0], model.follows_instructions, model.parameters or 0),
        default=None,
    )
    return None if best is None else best.name


def _step(name: str, method: str) -> Plan | None:
    """A step of one row with activations recomputed, on a device of endless memory; None if it cannot be simulated."""
    values = {
        "method": method,
        "model": {"name": name},
        "batch": {"rows": 1, "tokens": 1024},
        "train": {"gradient_checkpointing": True},
        "evaluate": {"general": "none"},
    }
    try:
        return plan(Recipe.model_validate(values), Place(memory=_ENDLESS))
    except BurnishError:
        return None


def _tensors(made: Plan) -> int:
    """Bytes of tensors at the peak."""
    return sum(size for name, size in made.memory.items() if name not in made.sources and name != "allocator")


def _silent(event: Event) -> None:
    """What is only looked up is not reported."""


def simulate_public(name: str) -> dict[str, Any]:
    """What the data file holds about one model; empty if torch cannot simulate a step of it."""
    made = {method: step for method in _METHODS if (step := _step(name, method)) is not None}
    if not made:
        return {}
    first = next(iter(made.values()))
    return {
        "kind": _kind(name),
        "parameters": first.parameters,
        "flops_per_token": round(first.flops_per_token),
        "tensors": {method: _tensors(step) for method, step in made.items()},
    }


def main(arguments: Sequence[str]) -> None:
    """Writes the data file of simulated steps, or only the entries of the models named."""
    file = steps_file()
    known = yaml.safe_load(file.read_text(encoding="utf-8")) if arguments and file.is_file() else {}
    for name in arguments or public_names():
        if entry := simulate_public(name):
            known[name] = entry
            write_text(file, _HEAD + yaml_text(known))


if __name__ == "__main__":
    main(sys.argv[1:])
