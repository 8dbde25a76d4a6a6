"""Every cell of docs/architectures.md, trained again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture_table import PAGE, REFUSED, TRAINED, all_cells, attempt, told_cells

CELLS = all_cells()
TOLD = told_cells((Path(__file__).parents[2] / PAGE).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the tiny models, each made on first use."""
    return tmp_path_factory.mktemp("architectures")


def test_the_page_tells_of_every_cell() -> None:
    assert set(TOLD) == set(CELLS)
    assert set(TOLD.values()) == {TRAINED, REFUSED}


@pytest.mark.parametrize("cell", CELLS, ids=" ".join)
def test_a_cell_is_as_the_page_tells(cell: tuple[str, str, str], folder: Path) -> None:
    reason = attempt(*cell, folder)
    assert (REFUSED if reason else TRAINED) == TOLD[cell], reason
