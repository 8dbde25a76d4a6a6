"""Rows of words with a tag each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from burnish.data.columns import check_characters
from burnish.data.patterns import Pattern, pick
from burnish.data.records import TaggedRecord
from burnish.data.row import RowError


def tagged_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> TaggedRecord:
    """Words and tags; a tag that is a number is taken by its digits.

    Raises:
        RowError: there are no words, there is not one tag a word, or something is neither a word nor a tag.
    """
    (words_name, words), (tags_name, tags) = (pick(values, field) for field in pattern.required)
    for name, found in ((words_name, words), (tags_name, tags)):
        if not isinstance(found, (list, tuple)):
            raise RowError(f"`{name}` must be a list, one entry a word")
    if not words and not tags:
        raise RowError("the sentence is empty")
    if len(words) != len(tags):
        raise RowError(f"`{words_name}` has {len(words)} entries, but `{tags_name}` has {len(tags)}")
    for number, word in enumerate(words, 1):
        if not isinstance(word, str):
            raise RowError(f"entry {number} of `{words_name}` is not text but {_told(word)}")
        check_characters(word, words_name)
    named = [_as_tag(tag, tags_name, number) for number, tag in enumerate(tags, 1)]
    return TaggedRecord(tuple(words), tuple(named), place)


def _as_tag(tag: Any, name: str, number: int) -> str:
    if isinstance(tag, str) and tag.strip():
        check_characters(tag, name)
        return tag.strip()
    if isinstance(tag, int) and not isinstance(tag, bool) and tag >= 0:
        return str(tag)
    raise RowError(f"entry {number} of `{name}` is no tag but {_told(tag)}")


def _told(value: Any) -> str:
    if value is None:
        return "null"
    return f"{value}" if isinstance(value, (int, float)) else "empty" if value == "" else type(value).__name__
