"""How several processes share a run: each with the whole model, or with a part of every weight."""

from __future__ import annotations

from burnish.errors import RecipeError
from burnish.methods import can_shard, method_names
from burnish.recipe.schema import AUTO, REPLICAS, SHARDED, Recipe

_REPLICAS = "Use `--set distributed.strategy=replicas`"
_IS_SHARDED = "`distributed.strategy` is `sharded`"


def must_shard(recipe: Recipe) -> bool:
    """Whether a recipe asks for sharded weights: by its strategy, or by an option that only they have."""
    return recipe.distributed.strategy == SHARDED or recipe.distributed.offload


def check_strategy(recipe: Recipe, processes: int, device: str = AUTO) -> None:
    """Refuses sharded weights where the rest of a recipe, or the device, does not allow them.

    Args:
        recipe: may hold `auto` values.
        processes: of all machines together.
        device: type of the device of each process; `auto` if it is not known yet.

    Raises:
        RecipeError: naming the option, and why.
    """
    if recipe.distributed.offload:
        _check_offload(recipe, processes, device)
    if processes == 1 or not must_shard(recipe):
        return
    if obstacle := obstacle_to_sharding(recipe):
        option = "`distributed.offload` is `true`" if recipe.distributed.offload else _IS_SHARDED
        raise RecipeError(f"{option}, which this run cannot be", *obstacle)


def _check_offload(recipe: Recipe, processes: int, device: str) -> None:
    """Refuses to keep in CPU memory what is there anyway, or what is not sharded."""
    leave = "Leave out `distributed.offload`"
    if device not in (AUTO, "cuda"):
        where = "the CPU, in whose memory the weights are anyway" if device == "cpu" else f"the device `{device}`"
        raise RecipeError("`distributed.offload` is `true`, which needs GPUs", f"This run uses {where}.", leave)
    if recipe.distributed.strategy == REPLICAS:
        why = "With `distributed.strategy` `replicas`, every GPU keeps the whole model."
        raise RecipeError("`distributed.offload` is `true`, which needs sharded weights", why, leave)
    if processes == 1:
        raise RecipeError(
            "`distributed.offload` is `true`, which needs several processes",
            "Only weights that processes share are offloaded, and this run has one process.",
            f"Add `--processes`, or `--gpus` to `burnish plan`. Or: {leave[0].lower()}{leave[1:]}",
        )


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
    if processes == 1 or recipe.distributed.strategy == REPLICAS:
        return (False,)
    if must_shard(recipe):
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
    if processes == 1 or not must_shard(recipe) or recipe.method != AUTO:
        return methods, reason
    able = [name for name in methods if can_shard(name)] or [name for name in method_names() if can_shard(name)][:1]
    return able, reason if able == methods else "the weights are to be sharded, so the base itself is trained"


def resolved_strategy(is_sharded: bool, processes: int, offloads: bool = False) -> tuple[str, str]:
    """The strategy, and the reason."""
    if offloads:
        return SHARDED, "`distributed.offload` is `true`"
    if is_sharded:
        return SHARDED, f"the whole does not fit on each of {processes} devices, so each keeps a part of every weight"
    if processes == 1:
        return REPLICAS, "there is one process"
    return REPLICAS, "the whole model fits on each device, and so less is exchanged"
