"""Every cell of docs/architectures.md, trained again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.architecture_table import PAGE, PAIRED, REFUSED, TRAINED, all_cells, attempt, reported_cells, usual_cells
from tests.e2e import test_plain_clients, test_report

CELLS, USUAL = all_cells(), set(usual_cells())
ELSEWHERE = {
    (method, task) for one in test_report.CASES if one not in test_report.LONG_RUN for _, method, task in [one]
}
ELSEWHERE |= {(method, task) for task, _, method in test_plain_clients.CELLS}
"""Methods with tasks that other tests train, open and ask."""
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
    """Every cell; left to `make test-all` are those beyond the usual ones, and a pair that is tried otherwise."""
    others = {cell for cell in USUAL if cell[0] not in PAIRED}
    tried = ELSEWHERE | {cell[1:] for cell in others}
    light = others | {cell for cell in USUAL if cell[1:] not in tried}
    return [pytest.param(cell, marks=[] if cell in light else pytest.mark.slow, id=" ".join(cell)) for cell in CELLS]


def test_every_method_with_every_task_is_tried() -> None:
    """Here or elsewhere, without the slow tests."""
    tried = {one.values[0][1:] for one in parameters() if not one.marks} | ELSEWHERE
    assert tried >= {cell[1:] for cell in USUAL}


@pytest.mark.parametrize("cell", parameters())
def test_a_cell_is_as_on_the_page(cell: tuple[str, str, str], folder: Path) -> None:
    reason = attempt(*cell, folder)
    assert (REFUSED if reason else TRAINED) == TOLD[cell], reason
