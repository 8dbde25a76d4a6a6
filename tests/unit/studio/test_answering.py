"""Answers as they stream in: what is thought apart from what is said."""

from __future__ import annotations

import json

import pytest

from burnish.studio.answering import piece_of


@pytest.mark.parametrize(
    ("sent", "thought", "said"),
    [
        ({"choices": [{"delta": {"reasoning_content": "First, "}}]}, "First, ", ""),
        ({"choices": [{"delta": {"content": "Yes."}}]}, "", "Yes."),
        ({"choices": [{"text": "and so on"}]}, "", "and so on"),
        ({"choices": [{"delta": {"role": "assistant", "content": ""}}]}, "", ""),
        ({"choices": []}, "", ""),
        ({"error": {"message": "too long"}}, "", "[too long]"),
    ],
)
def test_a_line_of_a_stream(sent: dict[str, object], thought: str, said: str) -> None:
    assert piece_of(f"data: {json.dumps(sent)}") == (thought, said)


def test_what_is_no_object_says_nothing() -> None:
    assert piece_of("data: [DONE]") == piece_of(": ping") == piece_of("") == ("", "")
