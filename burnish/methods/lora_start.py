"""LoRA matrices that begin as a part of the base weights: PiSSA (arXiv 2404.02948) and OLoRA (arXiv 2406.01775).

PEFT takes that part out of the base weight W, which becomes W - s B0 A0, and trains A and B from A0 and B0 on. The
result is written for the original base: W - s B0 A0 + s B A is W plus an ordinary adapter of twice the rank,
s [B, -B0] [A; A0].
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers.pytorch_utils import Conv1D

from burnish.errors import RecipeError
from burnish.recipe.schema import LoraSection


def check_start(options: LoraSection, layers: Sequence[Any]) -> None:
    """Whether these layers can be decomposed as `lora.init` says.

    Raises:
        RecipeError: naming the reason.
    """
    if options.init == "default":
        return
    matrices = [layer.weight for layer in layers if hasattr(layer, "weight")]
    rank = int(options.rank)
    narrowest = min((min(weight.shape) for weight in matrices), default=rank)
    reason, fix = "", "Use `--set lora.init=default`"
    if any(not weight.dtype.is_floating_point for weight in matrices):
        reason = "It takes the matrices out of the base weights, and quantized ones cannot be changed so finely."
        fix = "Use `--method lora`, or `--set lora.init=default`"
    elif options.init == "olora" and any(isinstance(layer, Conv1D) for layer in layers):
        reason = "The layers of this model hold their weights the other way round, which OLoRA in PEFT does not know."
        fix = "Use `--set lora.init=pissa`"
    elif options.dora:
        reason = "DoRA measures the base weights, and these are changed."
        fix = "Use `--set lora.dora=false`"
    elif rank > narrowest:
        reason = f"The smallest layer has a side of {narrowest}, so a rank of {rank} cannot be taken out of it."
        fix = f"Use `--set lora.rank={narrowest}` or less"
    if reason:
        raise RecipeError(f"`lora.init={options.init}` does not fit", reason, fix)


def remember_start(network: Any) -> None:
    """Keeps the matrices that an adapter begins with beside the network, for `write_as_plain`."""
    network.lora_start = {
        name.replace(".default.", "."): parameter.detach().clone()
        for name, parameter in network.named_parameters()
        if ".lora_A." in name or ".lora_B." in name
    }


def write_as_plain(network: Any, folder: Path) -> None:
    """Rewrites a saved adapter as one for the original base, of twice the rank.

    Args:
        network: the PEFT model that was saved, with `lora_start`.
        folder: where it was saved.
    """
    weights_file, config_file = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    weights = load_file(str(weights_file))
    for name, start in network.lora_start.items():
        start = start.to(weights[name])
        is_a = ".lora_A." in name
        weights[name] = torch.cat([weights[name], start if is_a else -start], dim=0 if is_a else 1).contiguous()
    config = json.loads(config_file.read_text(encoding="utf-8"))
    factor = math.sqrt(2) if config["use_rslora"] else 2  # the scale stays: alpha / r, or alpha / sqrt(r)
    config |= {"r": 2 * config["r"], "lora_alpha": factor * config["lora_alpha"], "init_lora_weights": True}
    save_file(weights, str(weights_file), metadata={"format": "pt"})
    config_file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def has_moved(network: Any) -> bool:
    """Whether the product of any pair of matrices is other than at the start.

    Args:
        network: a PEFT model, in training or opened again. In the latter, matrices that began as a part of the base
            stand beside what they began as, `[B, -B0] [A; A0]`, and cancel out where nothing was learned.
    """
    named = dict(network.named_parameters())
    start = getattr(network, "lora_start", None)
    if start is not None:
        return any(not _is_same(named[_living(name)], first.to(named[_living(name)])) for name, first in start.items())
    pairs = [(up, named[name.replace(".lora_B.", ".lora_A.")]) for name, up in named.items() if ".lora_B." in name]
    return any(bool(up.any()) and not _cancels(up, down) for up, down in pairs if up.shape[-1] == down.shape[0])


def _living(name: str) -> str:
    """The name that a saved matrix has in a model in training."""
    stem, _, last = name.rpartition(".")
    return f"{stem}.default.{last}"


def _cancels(up: torch.Tensor, down: torch.Tensor) -> bool:
    """Whether the second half of an adapter takes away what the first adds."""
    half = len(down) // 2
    return _is_same(up[:, :half], -up[:, half:]) and _is_same(down[:half], down[half:])


def _is_same(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Up to less than the last bit of the largest number: what is no more than that changes no product."""
    return bool((first - second).abs().max() <= 2**-24 * second.abs().max())
