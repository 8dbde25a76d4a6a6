"""What differs between recipes, and which runs differ in nothing but the seed."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from burnish.lineage.recipe_differences import (
    LOSS_OPTIONS,
    Made,
    find_differences,
    group_recipes,
    is_alike,
)
from burnish.recipe.load import load_recipe
from burnish.recipe.names import options


def made(filled: Collection[str] = (), data: str = "rows", model: str = "base", **given: Any) -> Made:
    """What a run was made from; options by their dotted names, with `__` for the dot."""
    flags = {name.replace("__", "."): value for name, value in given.items()}
    return Made(load_recipe("rows.jsonl", flags, []).recipe, filled, data, model)


def test_options_that_differ_without_names() -> None:
    first = made(name="one", runs="here", train__learning_rate=0.1, batch__tokens=512)
    second = made({"batch.tokens"}, name="two", runs="there", train__learning_rate=0.2, batch__tokens=600, seed=3)
    found = find_differences([first, second])
    assert [(one.option, one.values, one.by_auto) for one in found] == [
        ("seed", [0, 3], [False, False]),
        ("train.learning_rate", [0.1, 0.2], [False, False]),
        ("batch.tokens", [512, 600], [False, True]),
    ]
    assert find_differences([first, first]) == []


def test_a_rate_that_follows_another_is_no_difference_of_its_own() -> None:
    slow, fast = (made(train__learning_rate=rate, train__head_learning_rate=rate) for rate in (0.1, 0.2))
    assert [one.option for one in find_differences([slow, fast])] == ["train.learning_rate"]
    head = made(train__learning_rate=0.2, train__head_learning_rate=0.3)
    found = [one.option for one in find_differences([slow, head])]
    assert found == ["train.learning_rate", "train.head_learning_rate"]


def test_runs_that_differ_in_the_seed_are_together() -> None:
    longer = [made(seed=seed, train__epochs=9) for seed in (0, 2)]
    assert group_recipes([made(), longer[0], made(seed=1), longer[1], made(data="other")]) == [[0, 2], [1, 3], [4]]


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        ({"seed": 1, "name": "x", "evaluate__answers": 5, "evaluate__general": "none", "save__keep": 9}, True),
        ({"seed": 1, "lora__rank": 4}, False),
        ({"data": "other"}, False),
        ({"model": "other"}, False),
        ({"data__path": "elsewhere.jsonl", "model__name": "a/copy"}, True),
    ],
    ids=str,
)
def test_what_makes_another_recipe(other: dict[str, Any], is_same: bool) -> None:
    assert is_alike(made(), made(**other)) == is_same


def test_what_burnish_filled_in_may_follow_from_the_seed() -> None:
    """The size of a step follows from the rows that are left to train on."""
    first, second = (made({"batch.tokens"}, batch__tokens=tokens) for tokens in (512, 514))
    assert is_alike(first, second)
    assert not is_alike(first, made(batch__tokens=514)), "somebody asked for that"
    here, there = (made({"model.device"}, model__device=device) for device in ("cpu", "cuda"))
    assert not is_alike(here, there)


def test_options_of_losses_exist() -> None:
    assert set(LOSS_OPTIONS) <= set(options())


def test_repetitions_on_several_gpus_of_a_machine_are_alike() -> None:
    assert is_alike(made(seed=1, model__device="cuda:0"), made(seed=2, model__device="cuda:1"))
    assert is_alike(made(model__device="cuda"), made(model__device="cuda:1"))
    assert not is_alike(made(model__device="cpu"), made(model__device="cuda:1"))
