"""How several processes share a run: what is refused, what is tried, and what the recipe then says."""

from __future__ import annotations

from typing import Any

import pytest

from burnish.errors import RecipeError
from burnish.methods import can_shard, make_method, method_names
from burnish.prepare.strategy import (
    check_strategy,
    methods_to_share,
    obstacle_to_sharding,
    resolved_strategy,
    ways_to_share,
)
from burnish.recipe.load import load_recipe
from burnish.recipe.schema import Recipe


def recipe(strategy: str = "auto", **options: Any) -> Recipe:
    """A recipe with some options, in which dots are double underscores."""
    flags = {name.replace("__", "."): value for name, value in options.items()}
    return load_recipe(None, {"distributed.strategy": strategy, **flags}, [], needs_data=False).recipe


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"method": "lora"}, "`lora`"),
        ({"method": "qlora"}, "`--method full` or `--method freeze`"),
        ({"method": "full", "model__precision": "fp16"}, "fp16"),
        ({"method": "full", "train__optimizer": "paged-adamw-8bit"}, "train.optimizer=adamw"),
        ({"method": "full", "model__compile": True}, "`model.compile`"),
    ],
)
def test_what_cannot_be_sharded_is_refused_by_name(options: dict[str, Any], named: str) -> None:
    with pytest.raises(RecipeError) as refused:
        check_strategy(recipe("sharded", **options), 2)
    assert named in f"{refused.value.why} {refused.value.fix}"
    for strategy, processes in (("sharded", 1), ("replicas", 2), ("auto", 2)):
        check_strategy(recipe(strategy, **options), processes)


def test_what_can_be_sharded_is_not_refused() -> None:
    for method in ("full", "freeze", "auto"):
        check_strategy(recipe("sharded", method=method), 2)


def test_what_is_tried() -> None:
    assert ways_to_share(recipe(), "full", 1) == (False,)
    assert ways_to_share(recipe(), "full", 2) == (False, True)
    assert ways_to_share(recipe(), "lora", 2) == (False,)
    assert ways_to_share(recipe(model__precision="fp16"), "full", 2) == (False,)
    assert ways_to_share(recipe("replicas"), "full", 2) == (False,)
    assert ways_to_share(recipe("sharded"), "full", 2) == (True,)
    assert ways_to_share(recipe("sharded"), "full", 1) == (False,)


def test_without_a_method_one_that_can_be_sharded_is_chosen() -> None:
    assert methods_to_share(recipe("sharded"), ["full", "lora"], "many rows", 2)[0] == ["full"]
    methods, reason = methods_to_share(recipe("sharded"), ["lora", "qlora"], "few rows", 2)
    assert methods == ["full"]
    assert "sharded" in reason
    for asked, processes in ((recipe(), 2), (recipe("sharded"), 1), (recipe("sharded", method="freeze"), 2)):
        assert methods_to_share(asked, ["lora"], "few rows", processes) == (["lora"], "few rows")


def test_the_strategy_is_recorded_with_its_reason() -> None:
    assert [resolved_strategy(*given)[0] for given in ((True, 4), (False, 4), (False, 1))] == [
        "sharded",
        "replicas",
        "replicas",
    ]
    assert "4 devices" in resolved_strategy(True, 4)[1]
    assert resolved_strategy(True, 4, offloads=True) == ("sharded", "`distributed.offload` is `true`")


OFFLOADED = {"distributed__offload": True, "method": "full"}


@pytest.mark.parametrize(
    ("options", "processes", "device", "named"),
    [
        ({}, 2, "cpu", "in whose memory the weights are anyway"),
        ({}, 2, "mps", "the device `mps`"),
        ({"strategy": "replicas"}, 2, "cuda", "keeps the whole model"),
        ({}, 1, "cuda", "`--processes`"),
        ({"method": "lora"}, 2, "cuda", "`lora`"),
        ({"method": "lora"}, 2, "auto", "`lora`"),
    ],
)
def test_only_sharded_weights_of_gpus_are_offloaded(
    options: dict[str, Any], processes: int, device: str, named: str
) -> None:
    with pytest.raises(RecipeError) as refused:
        check_strategy(recipe(**{**OFFLOADED, **options}), processes, device)
    assert "`distributed.offload` is `true`" in refused.value.what
    assert named in f"{refused.value.why} {refused.value.fix}"


def test_what_is_offloaded_is_sharded() -> None:
    asked = recipe(**OFFLOADED)
    for device in ("cuda", "auto"):
        check_strategy(asked, 2, device)
    assert ways_to_share(asked, "full", 2) == (True,)
    assert methods_to_share(recipe(distributed__offload=True), ["lora"], "few rows", 2)[0] == ["full"]


def test_the_table_of_methods_says_what_the_methods_say() -> None:
    for name in method_names():
        assert can_shard(name) is make_method(name).can_shard
        assert (obstacle_to_sharding(recipe(method=name)) is None) is can_shard(name)
