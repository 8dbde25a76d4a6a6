"""Types and values in plain words."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field
from pydantic.fields import FieldInfo

from burnish.recipe.names import expected, shown, takes_bool, takes_text_only


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (str, "text"),
        (bool, "`true` or `false`"),
        (str | None, "text or nothing"),
        (Annotated[int, Field(ge=1)], "a whole number of at least 1"),
        (Annotated[int, Field(gt=0, le=8)], "a whole number above 0 and up to 8"),
        (Annotated[float, Field(ge=0.5, lt=2)], "a number from 0.5 to below 2"),
        (Annotated[float, Field(le=2)], "a number of at most 2"),
        (Literal["auto"] | Annotated[int, Field(ge=1)], "`auto` or a whole number of at least 1"),
        (Literal["a", "b", "c"], "`a`, `b` or `c`"),
        (list[str], "a list of texts"),
        (dict[str, str], "a map of text to text"),
        (tuple[float, float], "a list of 2 values, each a number"),
    ],
)
def test_types_in_words(kind: Any, words: str) -> None:
    assert expected(FieldInfo.from_annotation(kind)) == words


def test_what_a_type_takes() -> None:
    assert takes_text_only(FieldInfo.from_annotation(Literal["auto", "cpu"] | None))
    assert not takes_text_only(FieldInfo.from_annotation(Literal["auto"] | int))
    assert takes_bool(FieldInfo.from_annotation(bool | None))
    assert not takes_bool(FieldInfo.from_annotation(int))


@pytest.mark.parametrize(
    ("value", "text"),
    [("word", "word"), (None, "null"), (True, "true"), ((1, 2), "[1, 2]"), ("x" * 100, "x" * 57 + "...")],
)
def test_values_as_written(value: Any, text: str) -> None:
    assert shown(value) == text
