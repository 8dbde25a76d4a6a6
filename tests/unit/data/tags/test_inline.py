"""Entities that are marked within texts: read as tags of words, with a note, and other marks left alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

import burnish
from burnish.data.files.readers import read_text_or_lines
from burnish.data.rows.records import TaggedRecord, TextRecord
from burnish.data.rows.row import Rejected, Row
from burnish.data.rows.settled import Asked
from burnish.data.rows.shapes import detect_shape
from tests.tiny_models import make_network, make_tokenizer, save_model

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
    assert shape.name == "marked-text"
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
    assert detect_shape(rows_of([marked[0], plain[0]]), {}).name == "text"
    assert detect_shape(rows_of([*marked, *plain]), {}).name == "text"


def test_the_task_decides() -> None:
    rows = rows_of(texts_of(FORMS["tags"]))
    assert detect_shape(rows, {}, asked=Asked(records=(TaggedRecord,))).record is TaggedRecord
    assert detect_shape(rows, {}, asked=Asked(records=(TextRecord,))).record is TextRecord
    assert detect_shape(rows[:1], {}, asked=Asked(records=(TaggedRecord,))).record is TaggedRecord


def test_other_rows_are_read_alike_however_few_are_marked() -> None:
    """A run reads its own rows again, and others, by the name of the shape that it found."""
    texts = texts_of(FORMS["bars"])
    shape = detect_shape(rows_of([texts[0], *["Nobody came."] * 5]), {}, "marked-text")
    rejected: list[Rejected] = []
    first, second, *_ = shape.to_records(rows_of(["{Anna|PER} sings.", "Nobody came."]), rejected)
    assert (first, second) == (
        TaggedRecord(("Anna", "sings", "."), ("B-PER", "O", "O"), "f.jsonl:1"),
        TaggedRecord(("Nobody", "came", "."), ("O", "O", "O"), "f.jsonl:2"),
    )
    (none,) = detect_shape(rows_of(["Nobody came."]), {}, "marked-text").to_records(rows_of(["Nobody came."]), rejected)
    assert none == second.__class__(second.tokens, second.tags, "f.jsonl:1")
    assert not rejected


def test_a_run_on_marked_texts_is_evaluated_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "model", make_network("llama"), make_tokenizer())
    texts = [*texts_of(FORMS["tags"]), *texts_of(FORMS["tags"].replace("lives", "sings"))]
    Path("rows.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    run = burnish.train("rows.jsonl", model="model", device="cpu", max_steps=1, set={"evaluate.general": "none"})
    Path("other.jsonl").write_text('{"text": "<PER>Anna</PER> sings."}\n{"text": "Nobody came."}\n', encoding="utf-8")
    assert run.evaluate()
    assert run.evaluate("other.jsonl")


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
    assert detect_shape(rows, {}).name == "marked-text"
    path.write_text("\n".join(texts_of(OTHERS["HTML"])), encoding="utf-8")
    assert len(list(read_text_or_lines(path))) == 1
