"""How far a stranger has to read: the files on the way of a row, and the rooms that know the whole recipe."""

from __future__ import annotations

import ast

from bench import house

MOST_FILES, MOST_ROOMS = 12, 14


def test_a_chat_row_reaches_its_batch_through_few_files() -> None:
    passed = house.files_of_one_row()
    assert len(passed) <= MOST_FILES, passed
    assert passed[0].startswith("data/files/")
    assert passed[-1].startswith("data/batching/")


def test_few_rooms_take_a_whole_recipe() -> None:
    files = house.PACKAGE.rglob("*.py")
    rooms = {
        file.relative_to(house.PACKAGE).parts[0]
        for file in files
        if house.takes_recipe(ast.parse(file.read_text(encoding="utf-8")))
    }
    assert len(rooms - {"recipe"}) <= MOST_ROOMS, sorted(rooms)


def test_rows_go_to_the_device_that_computes() -> None:
    """A weight may be elsewhere: offloaded ones are in CPU memory. Only `models` asks where weights are."""
    wrong = [
        str(file.relative_to(house.PACKAGE))
        for room in ("tasks", "engine", "prepare", "plan", "workflows")
        for file in (house.PACKAGE / room).rglob("*.py")
        if "parameters()).device" in file.read_text(encoding="utf-8")
    ]
    assert not wrong, f"{wrong}: ask `burnish.models.sharded.device_of`"
