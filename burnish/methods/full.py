"""Methods `full` and `freeze`: train all weights, or a part of the model."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

import torch

from burnish.errors import RecipeError
from burnish.methods.adapter import check_names
from burnish.methods.method import Choice, Load, MethodDefaults, scaled_rate
from burnish.models.base import Loading, quiet_transformers
from burnish.models.blocks import block_lists, is_ending, modules_after
from burnish.models.heads import Target
from burnish.models.location import ModelLocation
from burnish.models.sharded import is_sharded, save_whole
from burnish.models.weight_files import check_weight_files
from burnish.recipe.schema import AUTO, Recipe
from burnish.runs.folder import RunFolder


class FullMethod(MethodDefaults):
    """Full fine-tuning. The result is a complete model."""

    name: ClassVar[str] = "full"
    trains_base: ClassVar[bool] = True
    fewer_weights: ClassVar[str] = "or `--method lora`, which trains fewer weights"
    can_eject: ClassVar[bool] = True
    can_shard: ClassVar[bool] = True

    def learning_rate(self, parameters: int) -> float:
        """5e-5 at 100 M parameters, about 1e-5 at 7 B."""
        return max(1e-5, scaled_rate(5e-5, parameters))

    def loading(self, precision: torch.dtype, device: torch.device) -> Loading:
        """fp32 master weights: small updates would be lost in the 8 bits of a bf16 mantissa."""
        return Loading(torch.float32)

    def apply(self, network: Any, recipe: Recipe, target: Target) -> Any:
        """Makes every weight trainable."""
        network.requires_grad_(True)
        return network

    def without(self, network: Any) -> AbstractContextManager[Any] | None:
        """None: the network no longer contains the base model."""
        return None

    def save(self, network: Any, folder: Path) -> None:
        """Writes a transformers folder with safetensors weights in fp32."""
        with quiet_transformers():
            if is_sharded(network):
                save_whole(network, folder)
            else:
                network.save_pretrained(str(folder))

    def result_folder(self, run: RunFolder) -> Path:
        """`model/`."""
        return run.model

    def open(self, load: Load, base: ModelLocation, result: Path) -> Any:
        """Loads the trained model; the base model is not needed.

        Raises:
            ModelError: its weights are not safetensors files in its folder. Pickles that a base model may have are
                never taken here: Burnish writes none.
        """
        check_weight_files(base.name, result, allow_pickle=False)
        return load(ModelLocation(base.name, result, is_hub=False))


class FreezeMethod(FullMethod):
    """Trains the last blocks and all modules after them, or named modules. The result is a complete model."""

    name: ClassVar[str] = "freeze"
    sections: ClassVar[tuple[str, ...]] = ("freeze",)
    targets_option: ClassVar[str] = "freeze.modules"
    can_eject: ClassVar[bool] = False

    def apply(self, network: Any, recipe: Recipe, target: Target) -> Any:
        """Makes a part of the network, and the new modules, trainable.

        A head that shares its matrix with the embedding is frozen: training it would change the model's input, too.

        Raises:
            RecipeError: the model has fewer blocks, no blocks, or no module of that name.
        """
        network.requires_grad_(False)
        modules = dict(network.named_modules())
        for name in [*_chosen(network, recipe), *target.new_modules]:
            modules[name].requires_grad_(True)
        if not recipe.freeze.modules:
            network.get_input_embeddings().requires_grad_(False)
        if not any(parameter.requires_grad for parameter in network.parameters()):
            raise RecipeError(
                "`freeze.modules` leaves nothing to train", "The named modules have no weights.", "Choose other modules"
            )
        return network

    def is_uniform(self, recipe: Recipe) -> bool:
        """The first blocks are frozen."""
        return False

    def choices(self, network: Any, recipe: Recipe) -> list[Choice]:
        """The number of trained blocks."""
        blocks = len(network.get_submodule(_last_list(network)))
        return [("freeze.blocks", default_blocks(blocks), f"a quarter of the model's {blocks} blocks")]


def default_blocks(blocks: int) -> int:
    """A quarter of the blocks, at least one."""
    return max(1, round(blocks / 4))


def _last_list(network: Any) -> str:
    """The list of blocks before the model's output: the decoder's, if there is an encoder, too.

    Raises:
        RecipeError: the model has no blocks.
    """
    lists = block_lists(network)
    if not lists:
        raise RecipeError(
            "found no blocks in this model", "", "Set the part to train with `freeze.modules`, or use `--method full`"
        )
    return lists[-1]


def _chosen(network: Any, recipe: Recipe) -> list[str]:
    """Full names of the modules to train."""
    if recipe.freeze.modules:
        check_names(network, recipe.freeze.modules, "freeze.modules")
        return [n for n, _ in network.named_modules() if any(is_ending(n, end) for end in recipe.freeze.modules)]
    last = _last_list(network)
    number = len(network.get_submodule(last))
    wanted = default_blocks(number) if recipe.freeze.blocks == AUTO else int(recipe.freeze.blocks)
    if wanted > number:
        raise RecipeError(
            f"`freeze.blocks` is {wanted}, but this model has {number} blocks", "", "Use `--method full` to train all"
        )
    return [f"{last}.{index}" for index in range(number - wanted, number)] + modules_after(network, last)
