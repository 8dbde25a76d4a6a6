"""Every cell of docs/architectures.md, trained again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.architecture_table import PAGE, REFUSED, TRAINED, all_cells, attempt, reported_cells, usual_cells

CELLS, USUAL = all_cells(), set(usual_cells())
TOLD = reported_cells((Path(__file__).parents[2] / PAGE).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the tiny models, each made on first use."""
    return tmp_path_factory.mktemp("architectures")


def test_the_page_has_every_cell() -> None:
    assert set(TOLD) == set(CELLS)
    assert set(TOLD.values()) == {TRAINED, REFUSED}
    assert set(CELLS) >= USUAL


def parameters() -> list[Any]:
    """Every cell; those beyond the usual ones are left to `make test-all`."""
    return [pytest.param(cell, marks=[] if cell in USUAL else pytest.mark.slow, id=" ".join(cell)) for cell in CELLS]


@pytest.mark.parametrize("cell", parameters())
def test_a_cell_is_as_on_the_page(cell: tuple[str, str, str], folder: Path) -> None:
    reason = attempt(*cell, folder)
    assert (REFUSED if reason else TRAINED) == TOLD[cell], reason
