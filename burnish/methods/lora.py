"""Method `lora`: low-rank adapters beside the linear layers of the blocks (arXiv 2106.09685)."""

from __future__ import annotations

import difflib
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers.pytorch_utils import Conv1D

from burnish.errors import ModelError, RecipeError
from burnish.methods.method import Choice, Load, scaled_rate
from burnish.models.blocks import linear_layers, short_names
from burnish.models.location import ModelLocation
from burnish.recipe.schema import LoraSection, Recipe
from burnish.runs.folder import RunFolder


class LoraMethod:
    """Trains two small matrices per layer; the base stays as it is."""

    name: ClassVar[str] = "lora"

    def learning_rate(self, parameters: int) -> float:
        """2e-4 from 100 M parameters up, more for tiny models."""
        return max(2e-4, scaled_rate(2e-4, parameters))

    def weights_dtype(self, precision: torch.dtype) -> torch.dtype:
        """The frozen base is held in the precision it computes in; adapters stay in fp32."""
        return precision

    def apply(self, network: Any, recipe: Recipe) -> Any:
        """Wraps the network in a PEFT model whose adapters alone are trainable.

        Raises:
            RecipeError: `lora.targets` or `lora.modules_to_save` names a module that the model does not have.
        """
        from peft import LoraConfig, get_peft_model

        options = recipe.lora
        targets = find_targets(network, options)
        _check_names(network, options.modules_to_save, "lora.modules_to_save")
        chosen = [m for n, m in network.named_modules() if any(n == t or n.endswith(f".{t}") for t in targets)]
        config = LoraConfig(
            r=options.rank,
            lora_alpha=default_alpha(options) if options.alpha == "auto" else options.alpha,
            lora_dropout=options.dropout,
            bias=options.bias,
            target_modules=targets,
            use_rslora=options.rslora,
            use_dora=options.dora,
            modules_to_save=options.modules_to_save or None,
            fan_in_fan_out=all(isinstance(module, Conv1D) for module in chosen),
            task_type="CAUSAL_LM",
        )
        return get_peft_model(network, config)

    def without(self, network: Any) -> AbstractContextManager[Any] | None:
        """The base model is the same network with the adapters off; None where the base's own biases were trained."""
        if any(config.bias != "none" for config in network.peft_config.values()):
            return None
        return network.disable_adapter()

    def save(self, network: Any, folder: Path) -> None:
        """Writes a standard PEFT folder; names in its config are sorted, so that equal runs write equal bytes."""
        network.save_pretrained(str(folder), safe_serialization=True)
        config_file = folder / "adapter_config.json"
        config = json.loads(config_file.read_text(encoding="utf-8"))
        for key in ("target_modules", "modules_to_save"):
            if isinstance(config.get(key), list):
                config[key] = sorted(config[key])
        config_file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    def result_folder(self, run: RunFolder) -> Path:
        """`adapter/`."""
        return run.adapter

    def open(self, load: Load, base: ModelLocation, result: Path) -> Any:
        """Loads the base and the saved adapter onto it.

        Raises:
            ModelError: the adapter does not fit the base, or its matrices are all zero and would change nothing.
        """
        from peft import PeftModel
        from safetensors import SafetensorError

        network = load(base)
        try:
            tuned = PeftModel.from_pretrained(network, str(result))
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            text = str(error).strip().splitlines()[0][:300]
            raise ModelError(f"the adapter in `{result}` does not fit its base model", text) from error
        if not any(p.any() for n, p in tuned.named_parameters() if "lora_B" in n or "modules_to_save" in n):
            raise ModelError(
                f"the adapter in `{result}` changes nothing",
                "All its matrices B are zero: it was never trained, or it was not loaded.",
                "Train again; an adapter that learned has matrices that are not zero",
            )
        return tuned

    def choices(self, network: Any, recipe: Recipe) -> list[Choice]:
        """Scale and layers of the adapter."""
        layers = short_names(network, linear_layers(network))
        scale = ("lora.alpha", default_alpha(recipe.lora), "twice the rank")
        return [scale, ("lora.targets", layers, "every linear layer of the blocks")] if layers else [scale]


def default_alpha(options: LoraSection) -> int:
    """Twice the rank, so that the scale of the update is 2 at every rank."""
    return 2 * options.rank


def find_targets(network: Any, options: LoraSection) -> list[str]:
    """The layers that get an adapter: those named, or every linear layer of the blocks.

    Raises:
        RecipeError: a name matches no linear layer, or the model has no linear layer in blocks.
    """
    if options.targets == "auto":
        targets = short_names(network, linear_layers(network))
        if not targets:
            raise RecipeError(
                "found no linear layer in the blocks of this model", "", "Name the layers with `lora.targets`"
            )
        return targets
    _check_names(network, options.targets, "lora.targets")
    return sorted(options.targets)


def _check_names(network: Any, wanted: list[str], option: str) -> None:
    names = [name for name, _ in network.named_modules() if name]
    for ending in wanted:
        if not any(name == ending or name.endswith(f".{ending}") for name in names):
            last_parts = sorted({name.rpartition(".")[2] for name in names if not name.rpartition(".")[2].isdigit()})
            near = difflib.get_close_matches(ending, last_parts, n=1)
            raise RecipeError(
                f"`{option}` names `{ending}`, which this model does not have",
                f"Its modules are named {', '.join(last_parts[:30])}.",
                f"Did you mean `{near[0]}`?" if near else "",
            )
