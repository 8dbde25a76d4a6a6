"""The optimizers and their state."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from burnish.engine.averaged import SCHEDULE_FREE
from burnish.engine.combined import MuonWithAdamW
from burnish.errors import MachineError, RecipeError
from burnish.models.blocks import block_lists
from burnish.recipe.schema import AUTO, TrainSection

_EPSILON = 1e-8
"""Added to the root of AdamW's second moment, as in torch and bitsandbytes."""


EIGHT_BITS = {"adamw-8bit": "AdamW8bit", "paged-adamw-8bit": "PagedAdamW8bit"}
"""Classes of bitsandbytes."""
_DEVICES = {"adamw-8bit": ("cpu", "cuda"), "paged-adamw-8bit": ("cuda",)}
_NEEDED = {"adamw-8bit": "the CPU or CUDA", "paged-adamw-8bit": "CUDA, from whose memory it pages out its moments"}
Group = dict[str, Any]


def make_optimizer(
    network: Any, train: TrainSection, factors: Mapping[str, float], units: Mapping[str, float] | None = None
) -> torch.optim.Optimizer:
    """The recipe's optimizer over the trainable weights, AdamW (arXiv 1711.05101) unless another is asked for, with
    weight decay on matrices only.

    Args:
        network: the network whose trainable weights are optimized.
        train: learning rate, weight decay and betas.
        factors: learning-rate factor by parameter name, where it is not 1.
        units: the unit of a parameter by its name, where it is not 1: it is trained as if it were divided by it. Adam's
            steps do not depend on the size of the gradients, so a larger step, a smaller decay and an epsilon in the
            unit of the gradients are all it takes.
    """
    units = units or {}
    trained = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    rate = float(train.learning_rate)
    match train.optimizer:
        case "muon":
            matrices = _of_blocks(network, trained, units)
            others = {name: weight for name, weight in trained.items() if name not in matrices}
            in_muon, in_adamw = (_groups(part, train, factors, units) for part in (matrices, others))
            return MuonWithAdamW(in_muon, in_adamw, rate, train.betas)
        case "adafactor":
            groups = [group | {"eps": (None, _FROM_ZERO)} for group in _groups(trained, train, factors, units)]
            return torch.optim.Adafactor(groups, lr=rate)
        case "adamw-8bit" | "paged-adamw-8bit" as name:
            groups = _groups(trained, train, factors, units)
            check_optimizer(train, groups[0]["params"][0].device.type)
            from bitsandbytes.optim import adamw

            return getattr(adamw, EIGHT_BITS[name])(groups, lr=rate, betas=train.betas)
        case "schedule-free":
            groups = _groups(trained, train, factors, units)
            check_optimizer(train, groups[0]["params"][0].device.type)
            import schedulefree

            return schedulefree.AdamWScheduleFree(groups, lr=rate, betas=train.betas, foreach=False)
    return torch.optim.AdamW(_groups(trained, train, factors, units), lr=rate, betas=train.betas, fused=True)


_FROM_ZERO = 1.0
"""Adafactor scales its steps by the size of the weights, at least by this. Below 1, an adapter would hardly move, since
one of its matrices starts at zero; at 1, its steps are as large as the learning rate says, like AdamW's."""


def _groups(
    weights: Mapping[str, torch.nn.Parameter],
    train: TrainSection,
    factors: Mapping[str, float],
    units: Mapping[str, float],
) -> list[Group]:
    """Weights of equal decay, rate factor and unit together."""
    groups: dict[tuple[float, float, float], list[torch.nn.Parameter]] = {}
    for name, weight in weights.items():
        is_matrix = sum(size != 1 for size in weight.shape) >= 2
        decay, unit = train.weight_decay if is_matrix else 0.0, units.get(name, 1.0)
        groups.setdefault((decay / unit, factors.get(name, 1.0) * unit, unit), []).append(weight)
    ordered = sorted(groups, key=lambda group: (-group[0], group[1:]))
    return [
        {"params": groups[key], "weight_decay": key[0], "rate_factor": key[1], "eps": _EPSILON / key[2]}
        for key in ordered
    ]


def _of_blocks(
    network: Any, weights: Mapping[str, torch.nn.Parameter], units: Mapping[str, float]
) -> dict[str, torch.nn.Parameter]:
    """The weights that Muon is meant for: matrices inside the blocks, of which AdamW's rate is the usual one."""
    lists = tuple(f"{name}." for name in block_lists(network))
    return {
        name: weight
        for name, weight in weights.items()
        if name.startswith(lists) and weight.ndim == 2 and min(weight.shape) > 1 and name not in units
    }


def layer_factors(network: Any, decay: float) -> dict[str, float]:
    """Learning-rate factors that fall from the last block to the first, by parameter name.

    Args:
        network: trainable; its weights outside of the blocks keep their rate, but for the embeddings.
        decay: factor between a block and the next one towards the output.
    """
    if decay == 1.0:
        return {}
    found: dict[str, float] = {}
    embedding = {id(weight) for weight in network.get_input_embeddings().parameters()}
    head = network.get_output_embeddings()
    tied = set[int]() if head is None else {id(weight) for weight in head.parameters()}
    lists = {name: len(network.get_submodule(name)) for name in block_lists(network)}
    for name, weight in network.named_parameters():
        if not weight.requires_grad:
            continue
        for of_list, blocks in lists.items():
            if name.startswith(f"{of_list}."):
                number = int(name.removeprefix(f"{of_list}.").partition(".")[0])
                found[name] = decay ** (blocks - 1 - number)
        if id(weight) in embedding and id(weight) not in tied:
            found[name] = decay ** max(lists.values(), default=0)
    return found


_IN_FP32, _BLOCK = 4096, 256
"""bitsandbytes: values of a weight below which its moments stay in fp32, and values with a common scale."""


def state_bytes(network: Any, optimizer: str) -> int:
    """Bytes of the tensors that an optimizer keeps for the trainable weights, by its rules; counters are left out.

    Args:
        network: trainable, of real tensors or of none.
        optimizer: as `train.optimizer` names it.
    """
    trained = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    in_muon = _of_blocks(network, trained, {}) if optimizer == "muon" else {}
    total = 0
    for name, weight in trained.items():
        size = weight.numel()
        if name in in_muon:
            total += 4 * size
        elif optimizer == "adafactor":
            rows = size // weight.shape[-1] if weight.ndim > 1 else 0
            total += 4 * (rows + size // weight.shape[-2]) if rows else 4 * size
        elif optimizer == SCHEDULE_FREE:
            total += 12 * size  # one of them a copy of the average during a step
        elif optimizer in EIGHT_BITS and size >= _IN_FP32:
            total += 2 * (size + 4 * -(-size // _BLOCK))
        else:
            total += 8 * size
    return total


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
        MachineError: it needs another device, or a package that is missing.
        RecipeError: it needs other betas.
    """
    if train.optimizer == SCHEDULE_FREE:
        _check_schedule_free(train)
    if train.optimizer not in EIGHT_BITS:
        return
    if device not in _DEVICES[train.optimizer]:
        others = [name for name, devices in _DEVICES.items() if device in devices]
        raise MachineError(
            f"`train.optimizer={train.optimizer}` needs {_NEEDED[train.optimizer]}",
            f"This run uses the device `{device}`.",
            f"Use `--set train.optimizer={others[0] if others else 'adamw'}`",
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MachineError(
            f"`train.optimizer={train.optimizer}` needs the package bitsandbytes",
            "It is not installed here.",
            "`pip install bitsandbytes`, or use `--set train.optimizer=adamw`",
        )


def _check_schedule_free(train: TrainSection) -> None:
    if importlib.util.find_spec("schedulefree") is None:
        raise MachineError(
            f"`train.optimizer={SCHEDULE_FREE}` needs the package schedulefree",
            "It is not installed here.",
            "`pip install 'burnish[schedule-free]'`, or use `--set train.optimizer=adamw`",
        )
    if not train.betas[0]:
        raise RecipeError(
            f"`train.betas` begins with 0, and `train.optimizer={SCHEDULE_FREE}` divides by it",
            "It says how near to the average the gradient is taken.",
            "Set it to 0.9, or up to 0.98 for long runs",
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
    changed. The other optimizers allocate their state themselves, one weight at a time.
    """
    if isinstance(optimizer, MuonWithAdamW):
        optimizer = optimizer.adamw or optimizer
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
