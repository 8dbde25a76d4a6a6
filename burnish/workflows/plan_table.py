"""The table that every beginner's guide prints, from simulation: methods by sizes of model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from burnish.plan.budget import budget_of
from burnish.plan.devices import Device, load_devices
from burnish.recipe.schema import Recipe
from burnish.workflows.plan import Place, plan

MODELS = ("Llama-2-7b-hf", "Llama-2-13b-hf", "Llama-2-70b-hf")
METHODS = ("full", "lora", "int8-lora", "qlora")
_CONTEXT = 1024
_ENDLESS = "100TB"


@dataclass(frozen=True, slots=True)
class TableRow:
    """One cell of the guides' tables."""

    model: str
    method: str
    bytes: int
    """Of one step, with everything counted."""
    fits_on: str
    """The devices with the least memory that is enough; empty where there is none."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


def plan_table() -> list[TableRow]:
    """Every model with every method: one row at a time, activations computed again."""
    return [_row(model, method) for model in MODELS for method in METHODS]


def _row(model: str, method: str) -> TableRow:
    values = {
        "method": method,
        "model": {"name": model},
        "data": {"context": _CONTEXT},
        "batch": {"rows": 1, "tokens": 16 * _CONTEXT},
        "train": {"gradient_checkpointing": True},
    }
    made = plan(Recipe.model_validate(values), Place(memory=_ENDLESS))
    tensors = sum(made.memory[name] for name in made.memory if name not in made.sources and name != "allocator")
    return TableRow(model, method, made.peak, _smallest(tensors))


def _smallest(tensors: int) -> str:
    """The devices with the least memory among those onto which so many bytes of tensors fit."""
    able: list[Device] = [device for device in load_devices() if budget_of(device).tensors >= tensors]
    least = min((device.memory_bytes for device in able), default=0)
    return ", ".join(device.name for device in able if device.memory_bytes == least)
