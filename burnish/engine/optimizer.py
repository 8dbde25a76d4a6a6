"""AdamW and its state."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from burnish.errors import MachineError
from burnish.recipe.schema import AUTO, TrainSection

_EPSILON = 1e-8
"""Added to the root of AdamW's second moment, as in torch and bitsandbytes."""


def make_optimizer(
    network: Any, train: TrainSection, factors: Mapping[str, float], units: Mapping[str, float] | None = None
) -> torch.optim.Optimizer:
    """AdamW (arXiv 1711.05101) over the trainable weights, with weight decay on matrices only.

    Args:
        network: the network whose trainable weights are optimized.
        train: learning rate, weight decay and betas.
        factors: learning-rate factor by parameter name, where it is not 1.
        units: the unit of a parameter by its name, where it is not 1: it is trained as if it were divided by it. Adam's
            steps do not depend on the size of the gradients, so a larger step, a smaller decay and an epsilon in the
            unit of the gradients are all it takes.
    """
    units = units or {}
    groups: dict[tuple[float, float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            is_matrix = sum(size != 1 for size in parameter.shape) >= 2
            decay = train.weight_decay if is_matrix else 0.0
            unit = units.get(name, 1.0)
            groups.setdefault((decay / unit, factors.get(name, 1.0) * unit, unit), []).append(parameter)
    ordered = sorted(groups, key=lambda group: (-group[0], group[1:]))
    settings = [
        {"params": groups[key], "weight_decay": key[0], "rate_factor": key[1], "eps": _EPSILON / key[2]}
        for key in ordered
    ]
    rate = float(train.learning_rate)
    if train.optimizer == "paged-adamw-8bit":
        check_optimizer(train, settings[0]["params"][0].device.type)
        from bitsandbytes.optim.adamw import PagedAdamW8bit

        return PagedAdamW8bit(settings, lr=rate, betas=train.betas)
    return torch.optim.AdamW(settings, lr=rate, betas=train.betas, fused=True)


def head_factors(network: Any, train: TrainSection, new_modules: Sequence[str]) -> dict[str, float]:
    """Learning-rate factors of the weights of new modules, by parameter name.

    Args:
        network: trainable; may be inside a PEFT model, whose copies of new modules are the ones that are trained.
        train: an `auto` head rate, as in runs of earlier versions, is the learning rate itself.
        new_modules: names in the base model.
    """
    rate = train.head_learning_rate
    if not new_modules or rate is None or rate == AUTO:
        return {}
    factor = float(rate) / float(train.learning_rate)
    inside = tuple(f".{name}." for name in new_modules)
    return {
        name: factor
        for name, weight in network.named_parameters()
        if weight.requires_grad and any(part in f".{name}" for part in inside)
    }


def check_optimizer(train: TrainSection, device: str) -> None:
    """Checks that the optimizer runs on this device.

    Raises:
        MachineError: it needs CUDA, or a package that is missing.
    """
    if train.optimizer != "paged-adamw-8bit":
        return
    if device != "cuda":
        raise MachineError(
            "`train.optimizer=paged-adamw-8bit` needs CUDA",
            f"It pages its moments between GPU and host memory; this run uses the device `{device}`.",
            "Use `--set train.optimizer=adamw`",
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MachineError(
            "`train.optimizer=paged-adamw-8bit` needs the package bitsandbytes",
            "It is not installed here.",
            "`pip install bitsandbytes`, or use `--set train.optimizer=adamw`",
        )


def moments(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Copies of the optimizer's state as tensors, by parameter number and name.

    bitsandbytes nests some of its tensors, shares its code tables and counts steps in plain integers; these become
    0-dimensional tensors.
    """
    return {name: tensor.detach().cpu().clone() for name, tensor in moment_tensors(optimizer).items()}


def moment_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The tensors of `moments` themselves, where they are, whole or sharded."""
    flat: dict[str, torch.Tensor] = {}
    for number, state in optimizer.state_dict()["state"].items():
        values = dict(state)
        for nested in [key for key, value in values.items() if isinstance(value, dict)]:
            values |= values.pop(nested)
        for key, value in values.items():
            flat[f"{number}.{key}"] = torch.as_tensor(value)
    return flat


def restore_moments(
    optimizer: torch.optim.Optimizer, saved: Mapping[str, torch.Tensor], groups: list[dict[str, Any]]
) -> None:
    """Restores the optimizer's state and settings.

    Args:
        optimizer: a new optimizer of the same kind over the same weights.
        saved: the result of `moments`.
        groups: settings of its parameter groups.
    """
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in saved.items():
        number, _, key = name.partition(".")
        is_count = tensor.ndim == 0 and not tensor.is_floating_point()
        state.setdefault(int(number), {})[key] = int(tensor) if is_count else tensor
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def allocate_moments(optimizer: torch.optim.Optimizer) -> None:
    """Allocates AdamW's state for every weight with a gradient, before the first weight is updated.

    torch allocates it inside `AdamW.step`, one group at a time, when the weights of earlier groups are already updated.
    Allocated here, in the form of torch's `_init_group` for the fused kernel, running out of memory leaves no weight
    changed. bitsandbytes allocates its own state, one weight at a time.
    """
    if not isinstance(optimizer, torch.optim.AdamW):
        return
    for weight in (weight for group in optimizer.param_groups for weight in group["params"]):
        if weight.grad is not None and not optimizer.state.get(weight):
            optimizer.state[weight] = {
                "step": torch.zeros((), dtype=torch.float32, device=weight.device),
                "exp_avg": torch.zeros_like(weight, memory_format=torch.preserve_format),
                "exp_avg_sq": torch.zeros_like(weight, memory_format=torch.preserve_format),
            }


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate of every parameter group, times the group's own factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("rate_factor", 1.0)
