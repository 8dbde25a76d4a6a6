"""Entities that are marked within texts: read as tags of words, with a note, and other marks left alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from burnish.data.files.readers import read_text_or_lines
from burnish.data.rows.records import TaggedRecord, TextRecord
from burnish.data.rows.row import Rejected, Row
from burnish.data.rows.settled import Asked
from burnish.data.rows.shapes import detect_shape

PEOPLE, PLACES = ("Anna", "Ben", "Cleo May", "Dan"), ("Rome", "New York", "Oslo")
FORMS = {
    "tags": "<PER>{}</PER> lives in <LOC>{}</LOC>.",
    "brackets": "[PER]{}[/PER] lives in [LOC]{}[/LOC].",
    "attributes": '<ENAMEX TYPE="PER">{}</ENAMEX> lives in <ENAMEX TYPE="LOC">{}</ENAMEX>.',
    "starts": "<START:PER> {} <END> lives in <START:LOC> {} <END>.",
    "links": "[{}](PER) lives in [{}](LOC).",
    "heads": "[PER {}] lives in [LOC {}].",
    "bars": "{{{}|PER}} lives in {{{}|LOC}}.",
    "bars in brackets": "[{}|PER] lives in [{}|LOC].",
}
OTHERS = {
    "HTML": "<B>{}</B> lives in <I>{}</I>, says the page.",
    "a link": "[{}](https://a.example/{}) is a page.",
    "classes of HTML": '<a class="link">{}</a> lives in <span class="bold">{}</span>.',
    "BBCode": "[B]{}[/B] lives in [QUOTE]{}[/QUOTE], says the post.",
    "parts of a document": "<HEADLINE>{} moves</HEADLINE>\n<STORY>To {}.</STORY>",
    "turns": "<USER>Where is {}?</USER> ok <BOT>In {}.</BOT> ok",
    "long marks": "Then <NEWS>" + "{0} went to {1} and came back. " * 5 + "</NEWS>",
    "instructions": "[INST] Where is {}? [/INST] In {}.",
    "templates": "{{{{{}|PER}}}} lives in {}.",
    "notes": "[TODO ask {}] She lives in {}.",
}


def texts_of(form: str) -> list[str]:
    return [form.format(person, place) for person in PEOPLE for place in PLACES]


def rows_of(texts: Sequence[str], **more: str) -> list[Row]:
    return [Row({"text": text, **more}, "f.jsonl", place) for place, text in enumerate(texts, start=1)]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_marked_entities_are_tags_of_words(form: str) -> None:
    rows = rows_of([*texts_of(form), "Nobody came."])
    shape = detect_shape(rows, {})
    rejected: list[Rejected] = []
    records = list(shape.to_records(rows, rejected))
    assert shape.name == "entities"
    assert not rejected
    assert all(isinstance(record, TaggedRecord) for record in records)
    assert records[7] == TaggedRecord(
        ("Cleo", "May", "lives", "in", "New", "York", "."),
        ("B-PER", "I-PER", "O", "O", "B-LOC", "I-LOC", "O"),
        "f.jsonl:8",
    )
    assert records[-1] == TaggedRecord(("Nobody", "came", "."), ("O", "O", "O"), "f.jsonl:13")
    (note,) = shape.notes
    assert "tagged with `LOC`, `PER`" in note
    assert detect_shape(rows, {}, "text").record is TextRecord


@pytest.mark.parametrize("form", OTHERS.values(), ids=OTHERS)
def test_other_marks_stay_in_the_text(form: str) -> None:
    assert detect_shape(rows_of(texts_of(form)), {}).name == "text"


def test_few_marked_texts_are_texts() -> None:
    marked, plain = texts_of(FORMS["tags"]), ["Nobody came."] * 20
    assert detect_shape(rows_of([*marked[:2], *plain[:2]]), {}).name == "text"
    assert detect_shape(rows_of([*marked, *plain]), {}).name == "text"


def test_the_task_decides() -> None:
    rows = rows_of(texts_of(FORMS["tags"]))
    assert detect_shape(rows, {}, asked=Asked(records=(TaggedRecord,))).record is TaggedRecord
    assert detect_shape(rows, {}, asked=Asked(records=(TextRecord,))).record is TextRecord
    assert detect_shape(rows[:1], {}, asked=Asked(records=(TaggedRecord,))).record is TaggedRecord


def test_a_mark_within_another_is_named() -> None:
    rows = rows_of([*texts_of(FORMS["tags"]), "<PER>Anna of <LOC>Rome</LOC></PER> sings."])
    rejected: list[Rejected] = []
    assert len(list(detect_shape(rows, {}).to_records(rows, rejected))) == len(rows) - 1
    assert [row.reason for row in rejected] == ["`<PER>` in `text` is a mark within another, or without its other half"]


def test_lines_with_marks_are_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_text("\n".join(texts_of(FORMS["links"])), encoding="utf-8")
    rows = [row for row in read_text_or_lines(path) if isinstance(row, Row)]
    assert len(rows) == 12
    assert detect_shape(rows, {}).name == "entities"
    path.write_text("\n".join(texts_of(OTHERS["HTML"])), encoding="utf-8")
    assert len(list(read_text_or_lines(path))) == 1
