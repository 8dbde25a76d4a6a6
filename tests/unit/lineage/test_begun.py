"""`--or-resume`: the run of a name is continued if it has begun with the same options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from burnish.errors import InputError, RecipeError
from burnish.lineage.begun import begun_before
from burnish.recipe.load import LoadedRecipe, dump_recipe, load_recipe


def asked(folder: Path, **options: Any) -> LoadedRecipe:
    """The recipe of a command."""
    rows = folder / "rows.jsonl"
    rows.write_text("{}\n")
    given = {"runs": str(folder / "runs"), "name": "made", "model.name": "seedling", "train.epochs": 2}
    return load_recipe(str(rows), {**given, **{name.replace("__", "."): value for name, value in options.items()}}, [])


def begin(folder: Path, loaded: LoadedRecipe, without: set[str] | None = None) -> None:
    """Writes the recipe of a run that has begun, in which what was `auto` is decided."""
    run = folder / "runs" / "made"
    run.mkdir(parents=True)
    decided = loaded.recipe.with_options(train={"learning_rate": 1e-4}, model={"name": "/elsewhere"})
    (run / "recipe.yaml").write_text(dump_recipe(decided, without or set()))


def test_a_run_that_has_begun_is_found_and_another_is_not(tmp_path: Path) -> None:
    loaded = asked(tmp_path)
    assert begun_before(loaded) is None
    begin(tmp_path, loaded)
    found = begun_before(asked(tmp_path, train__learning_rate="auto"))
    assert found is not None
    assert found.path == tmp_path / "runs" / "made"
    assert begun_before(asked(tmp_path, name="other")) is None


@pytest.mark.parametrize(
    ("option", "value"), [("train__epochs", 3), ("train__learning_rate", 1e-3), ("data__validation_fraction", 0.2)]
)
def test_a_command_that_asks_for_another_run_is_refused(option: str, value: float, tmp_path: Path) -> None:
    begin(tmp_path, asked(tmp_path))
    name = option.replace("__", ".")
    with pytest.raises(RecipeError, match=f"the run `made` began with another `{name}` than this command asks for"):
        begun_before(asked(tmp_path, **{option: value}))


def test_an_option_that_the_run_does_not_use_is_no_difference(tmp_path: Path) -> None:
    """Its section is not in the recipe of the run; the first command was warned that it has no effect."""
    loaded = asked(tmp_path, lora__rank=4)
    begin(tmp_path, loaded, {"lora"})
    assert begun_before(loaded) is not None


def test_without_a_name_there_is_nothing_to_find(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`--or-resume` needs the name of the run"):
        begun_before(asked(tmp_path, name="auto"))
