"""How several processes share a run: each with the whole model, or with a part of every weight."""

from __future__ import annotations

from burnish.errors import RecipeError
from burnish.methods import can_shard, method_names
from burnish.recipe.schema import AUTO, REPLICAS, SHARDED, Recipe

_REPLICAS = "Use `--set distributed.strategy=replicas`"


def check_strategy(recipe: Recipe, processes: int) -> None:
    """Refuses sharded weights where the rest of a recipe does not allow them.

    Args:
        recipe: may hold `auto` values.
        processes: of all machines together.

    Raises:
        RecipeError: naming the option, and why.
    """
    if processes == 1 or recipe.distributed.strategy != SHARDED:
        return
    if obstacle := obstacle_to_sharding(recipe):
        raise RecipeError("`distributed.strategy` is `sharded`, which this run cannot be", *obstacle)


def obstacle_to_sharding(recipe: Recipe) -> tuple[str, str] | None:
    """Why the weights of a run cannot be sharded, and what to do, in a sentence each; None if they can.

    Args:
        recipe: may hold `auto` values, for which it is not known yet.
    """
    if recipe.method != AUTO and not can_shard(recipe.method):
        able = " or ".join(f"`--method {name}`" for name in method_names() if can_shard(name))
        return f"The method `{recipe.method}` trains few weights, on the whole base model.", f"{_REPLICAS}, or {able}"
    if recipe.model.precision == "fp16":
        return "The scale that fp16 needs is not shared between parts of weights.", f"Use bf16 or fp32. Or: {_REPLICAS}"
    if recipe.train.optimizer not in (AUTO, "adamw"):
        why = f"The optimizer `{recipe.train.optimizer}` has not been shown right with parts of weights."
        return why, f"Use `--set train.optimizer=adamw`. {_REPLICAS}"
    if recipe.model.compile is True:
        return "Compiled blocks have not been shown right with sharded weights.", "Leave `model.compile` at `auto`"
    return None


def ways_to_share(recipe: Recipe, method: str, processes: int) -> tuple[bool, ...]:
    """Whether to try whole weights on each device (False), sharded ones (True), or one after the other.

    Args:
        recipe: its method may still be `auto`.
        method: one that may be chosen.
        processes: that compute each step together.
    """
    strategy = recipe.distributed.strategy
    if processes == 1 or strategy == REPLICAS:
        return (False,)
    if strategy == SHARDED:
        return (True,)
    return (False,) if obstacle_to_sharding(recipe.model_copy(update={"method": method})) else (False, True)


def methods_to_share(recipe: Recipe, methods: list[str], reason: str, processes: int) -> tuple[list[str], str]:
    """The methods to choose from, and why, where sharded weights were asked for and no method.

    Args:
        recipe: may hold `auto` values.
        methods: to choose from otherwise, best first.
        reason: for these.
        processes: that compute each step together.
    """
    if processes == 1 or recipe.distributed.strategy != SHARDED or recipe.method != AUTO:
        return methods, reason
    able = [name for name in methods if can_shard(name)] or [name for name in method_names() if can_shard(name)][:1]
    return able, reason if able == methods else "the weights are to be sharded, so the base itself is trained"


def resolved_strategy(is_sharded: bool, processes: int) -> tuple[str, str]:
    """The strategy, and the reason."""
    if is_sharded:
        return SHARDED, f"the whole does not fit on each of {processes} devices, so each keeps a part of every weight"
    if processes == 1:
        return REPLICAS, "there is one process"
    return REPLICAS, "the whole model fits on each device, and so less is exchanged"
