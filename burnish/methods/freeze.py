"""Method `freeze`: a part of the model is trained in full, the rest stays as it is."""

from __future__ import annotations

from typing import Any, ClassVar

from burnish.errors import RecipeError
from burnish.methods.adapter import check_names, is_ending
from burnish.methods.full import FullMethod
from burnish.methods.method import Choice
from burnish.models.blocks import block_lists, modules_after
from burnish.models.head import Target
from burnish.recipe.schema import AUTO, Recipe


class FreezeMethod(FullMethod):
    """Trains the last blocks and what follows them, or named modules. The result is a model of its own."""

    name: ClassVar[str] = "freeze"
    sections: ClassVar[tuple[str, ...]] = ("freeze",)
    is_uniform: ClassVar[bool] = False

    def apply(self, network: Any, recipe: Recipe, target: Target) -> Any:
        """Makes one part of the network, and what begins at random, trainable.

        A head that shares its matrix with the embedding stays as it is: it would move the model's input, too.

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
                "`freeze.modules` leaves nothing to train", "The modules it names hold no weights.", "Name others"
            )
        return network

    def choices(self, network: Any, recipe: Recipe) -> list[Choice]:
        """How many blocks are trained."""
        blocks = len(network.get_submodule(_last_list(network)))
        return [("freeze.blocks", default_blocks(blocks), f"a quarter of the model's {blocks} blocks")]


def default_blocks(blocks: int) -> int:
    """A quarter of the blocks, at least one."""
    return max(1, round(blocks / 4))


def _last_list(network: Any) -> str:
    """The blocks next to the model's output: of the decoder, where there are an encoder's too.

    Raises:
        RecipeError: the model has no blocks.
    """
    lists = block_lists(network)
    if not lists:
        raise RecipeError(
            "found no blocks in this model", "", "Name the part to train with `freeze.modules`, or use `--method full`"
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
