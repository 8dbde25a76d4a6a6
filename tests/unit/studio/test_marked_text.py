"""Marks in a text, and the row that is made of them."""

from __future__ import annotations

from burnish.studio.marked_text import entity_labels, marked, read_marks

TEXT = "Anna [sic] lives (now) in Rome."
ENTITIES = [
    {"start": 26, "end": 30, "entity_group": "LOC", "score": 0.9},
    {"start": 0, "end": 4, "entity_group": "PER", "score": 0.8},
    {"start": 2, "end": 6, "entity_group": "LOC", "score": 0.1},
]
WRITTEN = "[Anna](PER) [sic] lives (now) in [Rome](LOC)."


def test_marks_are_written_and_read_back() -> None:
    assert marked(TEXT, ENTITIES) == WRITTEN
    row = read_marks(WRITTEN, ["PER", "LOC"])
    assert row["text"] == TEXT
    assert [(TEXT[one["start"] : one["end"]], one["label"]) for one in row["entities"]] == [
        ("Anna", "PER"), ("Rome", "LOC"),
    ]  # fmt: skip


def test_what_only_looks_like_a_mark_is_text() -> None:
    assert read_marks("See [the page](https://x.y) of [Anna](PER)", ["PER"]) == {
        "text": "See [the page](https://x.y) of Anna",
        "entities": [{"start": 31, "end": 35, "label": "PER"}],
    }
    assert read_marks("nothing", ["PER"]) == {"text": "nothing", "entities": []}


def test_labels_of_entities_are_those_of_tokens_without_their_place() -> None:
    assert entity_labels(["O", "B-PER", "I-PER", "S-E-MAIL", "LOC"]) == ["PER", "E-MAIL", "LOC"]
