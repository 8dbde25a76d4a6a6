"""Method `ia3`: learned scales of keys, values and feed-forward activations (arXiv 2205.05638)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from transformers.pytorch_utils import Conv1D

from burnish.errors import RecipeError
from burnish.methods.adapter import (
    AdapterMethod,
    check_names,
    finish,
    frozen_targets,
    import_peft,
    moved_beside,
    without_frozen,
)
from burnish.methods.method import Choice, scaled_rate
from burnish.models.base import Loading
from burnish.models.blocks import Roles, find_roles, is_ending, names_block, short_names, spelled_out
from burnish.models.heads import Target
from burnish.recipe.schema import AUTO, Ia3Section, Recipe


class Ia3Method(AdapterMethod):
    """Trains one scale per channel; the base model is frozen."""

    name: ClassVar[str] = "ia3"
    kind: ClassVar[str] = "IA3"
    sections: ClassVar[tuple[str, ...]] = ("ia3",)
    targets_option: ClassVar[str] = "ia3.targets"
    more_weights: ClassVar[str] = "use `--method lora` or `--method full`"
    needs_values: ClassVar[bool] = True
    can_merge: ClassVar[bool] = True
    idle: ClassVar[str] = "All its scales are 1"

    def learning_rate(self, parameters: int) -> float:
        """1e-2 up to 100 M parameters, 3e-3 (the paper's) for large models."""
        return max(3e-3, scaled_rate(1e-2, max(parameters, 10**8)))

    def loading(self, precision: torch.dtype, device: torch.device) -> Loading:
        """The frozen base model in the training precision; the scales are in fp32."""
        return Loading(precision)

    def apply(self, network: Any, recipe: Recipe, target: Target) -> Any:
        """Adds scales, initially 1, to the outputs of keys and values and to the inputs of the last feed-forward layer.

        Raises:
            RecipeError: no such layers were found, or a name matches none.
        """
        targets, feedforward = find_layers(network, recipe.ia3)
        frozen = tuple(f"{name}." for name in target.frozen_modules)
        free = [(name, module) for name, module in network.named_modules() if not name.startswith(frozen)]
        chosen = [module for name, module in free if any(is_ending(name, t) for t in targets)]
        if not chosen:
            raise frozen_targets("ia3.targets", target)
        config = import_peft().IA3Config(
            target_modules=spelled_out(network, targets),
            feedforward_modules=spelled_out(network, feedforward),
            exclude_modules=without_frozen(target),
            fan_in_fan_out=all(isinstance(module, Conv1D) for module in chosen),
            modules_to_save=list(target.new_modules) or None,
            task_type=target.peft_type,
        )
        return finish(network, config)

    def is_uniform(self, recipe: Recipe) -> bool:
        """Unless layers of single blocks are named."""
        named = [names for names in (recipe.ia3.targets, recipe.ia3.feedforward) if names != AUTO]
        return not any(map(names_block, named))

    def changes(self, network: Any) -> bool:
        """A scale of 1 changes nothing."""
        return moved_beside(network) or any((p != 1).any() for n, p in network.named_parameters() if ".ia3_l." in n)

    def choices(self, network: Any, recipe: Recipe) -> list[Choice]:
        """Which layers are scaled."""
        targets, feedforward = find_layers(network, recipe.ia3)
        return [
            ("ia3.targets", targets, "keys, values and the last feed-forward layer, found by running the model"),
            ("ia3.feedforward", feedforward, "the last feed-forward layer"),
        ]


def find_layers(network: Any, options: Ia3Section) -> tuple[list[str], list[str]]:
    """Names of the layers to scale, and those among them whose inputs are scaled rather than their outputs.

    Raises:
        RecipeError: the model has no such layers, or a name matches none.
    """
    roles = find_roles(network) if AUTO in (options.targets, options.feedforward) else Roles()
    last_layers = short_names(network, roles.feed_forward_ends)
    if options.targets == AUTO:
        targets = sorted({*short_names(network, roles.keys_and_values), *last_layers})
        if not targets:
            raise RecipeError(
                "found no keys, values or feed-forward in this model", "", "Set the layers with `ia3.targets`"
            )
    else:
        check_names(network, options.targets, "ia3.targets")
        targets = sorted(options.targets)
    if options.feedforward == AUTO:
        return targets, [name for name in last_layers if name in targets]
    check_names(network, options.feedforward, "ia3.feedforward")
    outside = sorted(set(options.feedforward) - set(targets))
    if outside:
        raise RecipeError(
            f"`ia3.feedforward` names `{outside[0]}`, which is not among `ia3.targets`",
            "It names the targets whose inputs are scaled.",
            f"Add `{outside[0]}` to `ia3.targets`",
        )
    return targets, sorted(options.feedforward)
