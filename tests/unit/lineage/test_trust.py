"""A saved recipe that names code decides nothing: only the user's own word does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from burnish.errors import InputError
from burnish.lineage.trust import record_trust, trusted_recipe
from burnish.recipe.schema import Recipe
from burnish.runs.folder import RunFolder

ASKING = (
    {"model": {"trust_remote_code": True}},
    {"model": {"allow_pickle": True}},
    {"evaluate": {"metric": "mine:score"}},
)


@pytest.mark.parametrize("options", ASKING, ids=str)
def test_a_saved_recipe_decides_nothing(
    options: dict[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "cache"))
    run, recipe = RunFolder(tmp_path / "given"), Recipe().with_options(**options)
    with pytest.raises(InputError, match="asks to run code") as caught:
        trusted_recipe(run, recipe, needs_metric=True)
    ((section, values),) = options.items()
    assert f"{section}.{next(iter(values))}" in caught.value.what
    record_trust(RunFolder(tmp_path / "mine"), recipe)
    with pytest.raises(InputError, match="asks to run code"):
        trusted_recipe(run, recipe, needs_metric=True)
    record_trust(run, recipe)
    assert trusted_recipe(run, recipe, needs_metric=True) == recipe
