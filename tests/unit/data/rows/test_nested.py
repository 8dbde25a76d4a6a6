"""Rows whose text lies within objects: the command that the error shows writes rows that are read."""

from __future__ import annotations

from typing import Any

import pytest

from burnish.data.rows.row import Row
from burnish.data.rows.shapes import detect_shape
from burnish.errors import DataError
from tests.typed_commands import run_jq

ASKED, SAID = {"role": "user", "content": "Which lamp?"}, {"role": "assistant", "content": "The red one."}
TALK = {"messages": [ASKED, SAID]}
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]
TEXT = "Anna lives in Rome."
ENTITIES = {"text": TEXT, "entities": [[0, 4, "PER"]]}
NESTED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "request and response": (
        {"request": {"model": "x", "messages": [ASKED]},
         "response": {"id": "1", "choices": [{"index": 0, "message": SAID}]}},
        TALK, "messages"),
    "with tools": (
        {"request": {"messages": [ASKED], "tools": TOOLS}, "response": {"choices": [{"message": SAID}]}},
        {**TALK, "tools": TOOLS}, "messages"),
    "trace": ({"id": "1", "input": {"messages": [ASKED]}, "output": SAID, "scores": []}, TALK, "messages"),
    "answer among other output": (
        {"input": [ASKED], "output": [{"type": "reasoning", "summary": []}, {"type": "message", **SAID}]},
        {"messages": [ASKED, {"type": "message", **SAID}]}, "messages"),
    "whole conversation": ({"id": "1", "record": {"chat": [ASKED, SAID]}}, TALK, "messages"),
    "fields of inputs and outputs": (
        {"inputs": {"question": "Which lamp?"}, "outputs": {"answer": "The red one."}},
        {"prompt": "Which lamp?", "completion": "The red one."}, "prompt-completion"),
    "AutoML": (
        {"annotations": [{"text_extraction": {"text_segment": {"start_offset": 0, "end_offset": 4}},
                          "display_name": "PER"}], "text_snippet": {"content": TEXT}},
        ENTITIES, "entities"),
    "Ground Truth": (
        {"source": TEXT, "ner": {"annotations": {"entities": [{"endOffset": 4, "startOffset": 0, "label": "PER"}]}}},
        ENTITIES, "entities"),
    "BigBio": (
        {"id": "0", "passages": [{"type": "title", "text": ["Anna"], "offsets": [[0, 4]]},
                                 {"type": "abstract", "text": ["lives in Rome."], "offsets": [[5, 19]]}],
         "entities": [{"id": "1", "type": "PER", "text": ["Anna"], "offsets": [[0, 4]], "normalized": []}],
         "events": []},
        ENTITIES, "entities"),
    "BigBio's text": (
        {"id": "0", "text": TEXT, "entities": [{"type": "PER", "text": ["Anna"], "offsets": [[0, 4]]}]},
        ENTITIES, "entities"),
    "BioC": (
        {"id": "0", "passages": [
            {"offset": 0, "text": "Anna", "annotations": [
                {"id": "1", "infons": {"type": "PER"}, "text": "Anna", "locations": [{"offset": 0, "length": 4}]}]},
            {"offset": 5, "text": "lives in Rome.", "annotations": []}]},
        ENTITIES, "entities"),
}  # fmt: skip


@pytest.mark.parametrize(("values", "made", "shape"), NESTED.values(), ids=NESTED)
def test_the_command_writes_what_is_inside_as_columns(values: Any, made: Any, shape: str) -> None:
    with pytest.raises(DataError) as caught:
        detect_shape([Row(values, "f.jsonl", place) for place in range(3)], {})
    assert run_jq(caught.value.fix, values) == [made]
    assert detect_shape([Row(made, "f.jsonl", 1)], {}).name == shape


def test_a_question_without_its_answer_is_no_conversation() -> None:
    with pytest.raises(DataError) as caught:
        detect_shape([Row({"request": {"messages": [ASKED]}, "id": "1"}, "f.jsonl", 1)], {})
    assert "jq" not in caught.value.fix
