"""The texts that forgetting is looked for in: those that come with the package, and one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from burnish.data.files.passages import is_own, read_passages
from burnish.errors import DataError
from tests.snapshots import check_message


def test_the_bundled_texts_are_many_short_and_of_many_kinds() -> None:
    passages = read_passages("bundled")
    texts = [passage.text for passage in passages]
    assert 55 <= len(texts) <= 62, "more than 62 would not all be evaluated"
    assert len(set(texts)) == len({text[:40] for text in texts}) == len(texts)
    assert all(200 <= len(text) <= 900 for text in texts)
    assert not any(passage.ends for passage in passages)
    result = " ".join(texts)
    for word in ("def count_words", "#include", "SELECT", "Grundgesetz", "boulanger", "abuelo", "Pancakes", "864"):
        assert word in result


def test_auto_means_the_bundled_texts() -> None:
    assert read_passages("auto") == read_passages("bundled")
    assert [is_own(name) for name in ("auto", "bundled", "none", "texts.jsonl")] == [False, False, False, True]


def test_texts_of_ones_own(tmp_path: Path) -> None:
    rows = [{"text": "One."}, {"text": " "}, {"text": "Two, and more.", "ends": True}]
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert [(passage.text, passage.ends) for passage in read_passages(str(file))] == [
        ("One.", False),
        ("Two, and more.", False),
    ]
    plain = tmp_path / "plain.txt"
    plain.write_text("One.\n\nTwo.\n", encoding="utf-8")
    assert "One." in read_passages(str(plain))[0].text


@pytest.mark.parametrize(
    "rows",
    [
        [{"prompt": "Is it?", "completion": "Yes."}],
        [{"text": " "}],
        [],
    ],
)
def test_what_is_no_text_is_refused(rows: list[dict[str, str]], tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_passages(str(file))
    check_message(caught.value, {tmp_path: "FOLDER"})


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_passages(str(tmp_path / "nowhere.jsonl"))


@pytest.mark.parametrize(
    ("column", "cells"), [("kind", ["a", "b"]), ("tags", ["a b", "c"]), ("difficulty", [0.5, 1.25])]
)
def test_columns_beside_general_text_are_not_asked_about(tmp_path: Path, column: str, cells: list[Any]) -> None:
    rows = [{"text": f"The number {number} is whole.", column: cells[number % 2]} for number in range(24)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert [passage.text for passage in read_passages(str(file))] == [row["text"] for row in rows]
