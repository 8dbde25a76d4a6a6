"""Spans in further forms of annotation tools, and CoNLL files whose columns would be misread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from burnish.data.files.sources import read_source
from burnish.data.rows.row import Row
from burnish.data.rows.shapes import detect_shape
from burnish.data.tags.annotations import read_annotated
from burnish.errors import DataError

TEXT = "Ann met Otto."


@pytest.mark.parametrize(
    "span",
    [
        {"offset": 8, "length": 4, "category": "PERSON", "confidenceScore": 0.9},
        {"start_char": 8, "end_char": 12, "label_": "PERSON"},
        {"offset": 8, "length": 4, "type": "PERSON", "text": "Otto"},
    ],
)
def test_places_and_labels_have_several_names(span: dict[str, Any]) -> None:
    row = Row({"text": TEXT, "entities": [span]}, "f.jsonl", 1)
    assert detect_shape([row], {}).name == "entities"
    (found,) = read_annotated(row.values).spans
    assert (found.start, found.end, found.label) == (8, 12, "PERSON")


def test_the_text_of_a_task_is_the_one_that_has_its_entities() -> None:
    value = {"start": 8, "end": 12, "text": "Otto", "labels": ["PERSON"]}
    task = {"data": {"url": "https://example.org", "sentence": TEXT}, "annotations": [{"result": [{"value": value}]}]}
    assert read_annotated(task).text == TEXT


def rows_of(folder: Path, name: str, text: str) -> list[Row]:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return [row for row in read_source(path) if isinstance(row, Row)]


@pytest.mark.parametrize("comment", ["# id 12-ab\tdomain=en", "# id 12 domain=en", "# 7 x y"])
def test_a_comment_with_as_many_parts_as_a_word_has_columns_is_no_word(tmp_path: Path, comment: str) -> None:
    sentence = f"{comment}\nAnn _ _ B-PER\nmet _ _ O\nOtto _ _ B-PER\n\n"
    rows = rows_of(tmp_path, "few.conll", sentence * 3)
    assert [row.values["tokens"] for row in rows] == [["Ann", "met", "Otto"]] * 3


def test_a_word_that_is_a_hash_stays_one(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, "few.conll", "# _ _ O\nAnn _ _ B-PER\nmet _ _ O\n\n")
    assert row.values["tokens"] == ["#", "Ann", "met"]


def test_conll_u_without_its_tags_names_the_columns_that_are_filled(tmp_path: Path) -> None:
    line = "{}\t{}\t_\t_\tNN\t_\t0\tdep\t_\t_\n"
    text = "".join(line.format(n, word) for n, word in enumerate(["Ann", "met", "Otto"], start=1)) + "\n"
    with pytest.raises(DataError) as caught:
        rows_of(tmp_path, "few.conllu", text * 3)
    assert "`upos` is empty" in caught.value.what
    assert "--set data.columns.tags=xpos" in caught.value.fix


def test_tags_before_the_words_are_asked_about(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        rows_of(tmp_path, "few.conll", "B-PER Ann\nO met\nB-PER Otto\n\nB-PER Otto\nO sang\n\n")
    assert "--set data.columns.tokens=2 --set data.columns.tags=1" in caught.value.fix


def test_words_under_no_names_of_columns_are_not_read_as_names(tmp_path: Path) -> None:
    words = "".join(f"{n}\t{word}\t{tag}\n" for n, (word, tag) in enumerate([("Ann", "B-PER"), ("met", "O")], start=1))
    with pytest.raises(DataError, match="no names of columns"):
        rows_of(tmp_path, "few.tsv", words * 15)


def test_points_of_dataturks_end_with_their_last_characters():
    points = [{"start": 0, "end": 3, "text": "Anna"}]
    values = {"content": "Anna sings", "annotation": [{"label": ["PER"], "points": points}], "extras": None}
    shape = detect_shape([Row(values, "a.json", 1)], {})
    assert shape.to_record(Row(values, "a.json", 1)).tags == ("B-PER", "O")
