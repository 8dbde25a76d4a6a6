"""Names of options: bare names, near names, other libraries' names."""

from __future__ import annotations

import pytest

from burnish.errors import RecipeError
from burnish.recipe.names import did_you_mean, expand, names_elsewhere, options, suggest
from burnish.recipe.schema import Recipe, TrainSection


def test_a_recipe_has_a_value_for_every_option() -> None:
    values = Recipe(train=TrainSection(epochs=2)).option_values()
    assert list(values) == list(options())
    assert values["train.epochs"] == 2
    assert values["seed"] == 0


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("epochs", "train.epochs"),
        ("train.epochs", "train.epochs"),
        ("model", "model.name"),
        ("data", "data.path"),
        ("name", "name"),
        ("seed", "seed"),
        ("rank", "lora.rank"),
        ("data.columns.prompt", "data.columns.prompt"),
    ],
)
def test_bare_names_expand(name: str, option: str) -> None:
    assert expand(name) == option


def test_a_name_of_several_sections_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"could mean `evaluate.every`, `save.every`"):
        expand("every")


def test_an_unknown_name_is_refused_with_a_hint() -> None:
    with pytest.raises(RecipeError) as caught:
        expand("epoch")
    assert caught.value.fix == "Did you mean `train.epochs`?"


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("train.lerning_rate", "train.learning_rate"),
        ("learning_rate", "train.learning_rate"),
        ("data.epochs", "train.epochs"),
        ("lora.lr", "train.learning_rate"),
        ("modle.name", "model.name"),
        ("save.evry", "save.every"),
        ("evaluate.evry", "evaluate.every"),
        ("num_train_epochs", "train.epochs"),
        ("sede", "seed"),
        ("xyzzy", None),
    ],
)
def test_near_names(name: str, option: str | None) -> None:
    assert suggest(name) == option


def test_without_a_near_name_the_hint_names_the_page() -> None:
    assert "docs/options.md" in did_you_mean("xyzzy")


def test_names_elsewhere_lead_to_options_and_hide_none() -> None:
    assert len(names_elsewhere()) > 30
    assert {meant.partition("=")[0] for meant in names_elsewhere().values()} <= set(options())
    assert not set(names_elsewhere()) & {name.rpartition(".")[2] for name in options()}
