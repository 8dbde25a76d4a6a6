"""Entities and tags beside other columns: read where that is clear, else asked about with a command that reads them."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest

from burnish.data.rows.row import Row
from burnish.data.rows.shapes import Shape, detect_shape
from burnish.errors import DataError
from tests.typed_commands import run_jq

NAMES = ["Anna", "Otto", "Mia", "Ben"] * 6
TEXTS = [f"{name} sings in house {chr(97 + number)}" for number, name in enumerate(NAMES)]
TAGS = ["B-PER O O O O"] * len(TEXTS)
KINDS = ["a", "b", "c"] * 8


def rows_of(**columns: list[Any]) -> list[Row]:
    rows = zip(*columns.values(), strict=True)
    return [Row(dict(zip(columns, row, strict=True)), "f.jsonl", place) for place, row in enumerate(rows, start=1)]


def refused(rows: list[Row]) -> DataError:
    with pytest.raises(DataError) as caught:
        detect_shape(rows, {})
    return caught.value


def typed(said: str, number: int = 0) -> dict[str, str]:
    """The column map of one of the commands in a sentence."""
    words = shlex.split(re.findall(r"`(--set [^`]*)`", said)[number])
    return dict(word.removeprefix("data.columns.").split("=", 1) for word in words[1::2])


def spans(**keys: str) -> list[Any]:
    """The name in each text, in the words of some tool."""
    return [[{keys["start"]: 0, keys["end"]: len(name), keys["label"]: "PER"}] for name in NAMES]


@pytest.mark.parametrize(
    ("text", "column", "keys"),
    [
        ("textContent", "textSegmentAnnotations", {"start": "startOffset", "end": "endOffset", "label": "displayName"}),
        ("full_text", "spans", {"start": "start_position", "end": "end_position", "label": "entity_type"}),
        ("text", "entities", {"start": "BeginOffset", "end": "EndOffset", "label": "Type"}),
    ],
    ids=["Vertex AI", "Presidio", "Comprehend"],
)
def test_spans_in_the_words_of_more_tools_are_read(text: str, column: str, keys: dict[str, str]) -> None:
    shape = detect_shape(rows_of(**{text: TEXTS, column: spans(**keys)}), {})
    assert shape.name == "entities"
    assert tags_of(shape, {text: TEXTS[1], column: spans(**keys)[1]}) == ["B-PER", "O", "O", "O", "O"]


def tags_of(shape: Shape, values: dict[str, Any]) -> list[str]:
    record: Any = shape.to_record(Row(values, "f.jsonl", 1))
    return list(record.tags)


def test_entities_beside_a_rewritten_text_are_asked_about() -> None:
    found = spans(start="start", end="end", label="label")
    rows = rows_of(source_text=TEXTS, target_text=[f"[NAME] {number}" for number in range(24)], privacy_mask=found)
    error = refused(rows)
    assert "`privacy_mask` seems to have entities" in str(error)
    assert detect_shape(rows, typed(error.fix)).name == "entities"
    assert detect_shape(rows, {}, "source-target").name == "source-target"


def test_where_an_answer_begins_is_asked_about() -> None:
    rows = rows_of(context=TEXTS, question=["Who sings?"] * 24, answer=NAMES, start=[0] * 24, end=[4] * 24)
    error = refused(rows)
    assert "`start` seems to say where `answer` begins in `context`" in str(error)
    assert detect_shape(rows, typed(error.fix)).name == "span-start"
    assert detect_shape(rows, {}, "question-answer").name == "question-answer"
    anywhere = rows_of(context=TEXTS, question=["Who sings?"] * 24, answer=NAMES, start=[7] * 24)
    assert detect_shape(anywhere, {}).name == "question-answer"


def test_tags_as_text_beside_a_label_are_named_with_the_option_that_learns_them() -> None:
    rows = rows_of(text=TEXTS, intent=KINDS, slots=TAGS)
    shape = detect_shape(rows, {})
    note = next(note for note in shape.notes if "`intent` is learned" in note)
    assert shape.name == "labelled-text" and detect_shape(rows, typed(note)).name == "tagged"


def test_tags_as_text_beside_a_text_are_asked_about_as_tags() -> None:
    rows = rows_of(text=TEXTS, bio=TAGS)
    assert detect_shape(rows, typed(refused(rows).fix)).name == "tagged"


def test_names_of_who_wrote_a_post_are_no_prompts() -> None:
    shape = detect_shape(rows_of(target=[0, 4] * 12, ids=list(range(24)), user=["u1"] * 24, text=TEXTS), {})
    assert shape.name == "labelled-text" and "user" in shape.ignored
    words = detect_shape(rows_of(target=["0", "4"] * 12, user=["u1"] * 24, text=TEXTS), {})
    assert words.name == "labelled-text" and "user" in words.ignored


def test_the_number_of_a_class_may_be_learned_though_its_name_ends_like_an_id() -> None:
    rows = rows_of(**{"Class Index": [1, 2, 3, 4] * 6, "Title": [f"T {text}" for text in TEXTS], "Description": TEXTS})
    found = [typed(refused(rows).fix, number) for number in range(2)]
    assert {"sentence1": "Title", "sentence2": "Description", "label": "Class Index"} in found


def test_thoughts_in_lists_of_one_are_asked_about() -> None:
    thoughts = [[f"First {text}, then the rest."] for text in TEXTS]
    rows = rows_of(question=TEXTS, solution=NAMES, thinking_trajectories=thoughts)
    error = refused(rows)
    assert "`thinking_trajectories` seems to be the thought" in str(error)
    (made,) = run_jq(error.fix, rows[0].values)
    assert made == {"question": TEXTS[0], "solution": "Anna", "reasoning_content": thoughts[0][0]}
    assert not detect_shape([Row(made, "f.jsonl", 1)], {}).ignored
