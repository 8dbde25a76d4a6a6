"""From a request for a job to its recipe: what is `auto` stays so, and what cannot be meant is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from burnish.serve.job_forms import JobForm, recipe_options
from burnish.serve.refusals import Refusal

BASE = {"model.name": "seedling", "data.path": "/data/rows.jsonl", "seed": 0}


def options(**given: Any) -> dict[str, Any]:
    """The options of a request's recipe."""
    form = JobForm.model_validate({"model": "seedling", "training_file": "file-1", **given})
    return recipe_options(form, "seedling", "/data/rows.jsonl", "/data/more.jsonl" if form.validation_file else None)


def method(kind: str, **hyperparameters: Any) -> dict[str, Any]:
    """A method with hyperparameters."""
    return {"type": kind, kind: {"hyperparameters": hyperparameters}}


DPO = {"task": "preference", "preference.loss": "dpo"}


@pytest.mark.parametrize(
    ("given", "more"),
    [
        ({}, {}),
        ({"method": {"type": "supervised"}}, {}),
        ({"method": method("supervised", n_epochs="auto", batch_size="auto", learning_rate_multiplier="auto")}, {}),
        ({"method": method("supervised", learning_rate_multiplier=1.0)}, {}),
        ({"method": method("supervised", n_epochs=2)}, {"train.epochs": 2}),
        ({"hyperparameters": {"n_epochs": 4}}, {"train.epochs": 4}),
        ({"method": {"type": "dpo"}}, DPO),
        ({"method": method("dpo", beta="auto", n_epochs="auto")}, DPO),
        ({"method": method("dpo", beta=0.2, n_epochs=1)}, {**DPO, "preference.beta": 0.2, "train.epochs": 1}),
        ({"seed": 7}, {"seed": 7}),
        ({"validation_file": "file-2"}, {"data.validation": "/data/more.jsonl"}),
        ({"recipe": {"task": "classify", "lora": {"rank": 4}}}, {"task": "classify", "lora.rank": 4}),
        ({"recipe": {"method": "full", "train.max_steps": 2}}, {"method": "full", "train.max_steps": 2}),
        (
            {"recipe": {"data.test": "none", "evaluate": {"general": "none"}}},
            {"data.test": "none", "evaluate.general": "none"},
        ),
        ({"recipe": {"data": {"columns": {"prompt": "q"}}}}, {"data.columns": {"prompt": "q"}}),
        ({"recipe": {"data.columns.prompt": "q"}}, {"data.columns.prompt": "q"}),
    ],
)
def test_what_is_asked_becomes_options(given: dict[str, Any], more: dict[str, Any]) -> None:
    assert options(**given) == {**BASE, **more}


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"recipe": {"model.name": "/etc"}}, "recipe.model.name"),
        ({"recipe": {"model": {"name": "auto"}}}, "recipe.model.name"),
        ({"recipe": {"model": {"allow_pickle": True}}}, "recipe.model.allow_pickle"),
        ({"recipe": {"data": {"path": "/etc/passwd"}}}, "recipe.data.path"),
        ({"recipe": {"data.validation": "/etc/passwd"}}, "recipe.data.validation"),
        ({"recipe": {"evaluate.general": "/etc/passwd"}}, "recipe.evaluate.general"),
        ({"recipe": {"name": "../x"}}, "recipe.name"),
        ({"recipe": {"seed": 3}}, "recipe.seed"),
        ({"recipe": {"train.epochs": 3}, "hyperparameters": {"n_epochs": 2}}, "recipe.train.epochs"),
        ({"recipe": {"train": 3}}, "recipe.train"),
        ({"recipe": {"trian": {"epochs": 3}}}, "recipe.trian"),
        ({"recipe": {"train": {"epochs": {"a": 1}}}}, "recipe"),
        ({"recipe": {"method": "lorra"}}, "recipe"),
        ({"recipe": {"train.learning_rate": float("inf")}}, "recipe"),
    ],
)
def test_options_that_are_not_a_clients_are_refused(given: dict[str, Any], param: str) -> None:
    with pytest.raises(Refusal) as caught:
        options(**given)
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(
    "given",
    [
        {"suffix": "a b"},
        {"suffix": ""},
        {"metadata": {str(number): "" for number in range(17)}},
        {"metadata": {"a": 1}},
        {"seed": "1"},
        {"method": {"type": "supervised", "dpo": {}}},
        {"method": method("supervised", beta=0.1)},
        {"method": method("supervised", n_epochs=True)},
        {"method": method("dpo", beta=0)},
        {"method": method("dpo", beta=float("nan"))},
        {"n_epochs": 3},
    ],
)
def test_other_values_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        options(**given)
