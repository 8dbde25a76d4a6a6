"""Makes words with tags of texts whose entities are spans of characters, or of words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from burnish.data.rows.pattern import Pattern
from burnish.data.rows.records import TaggedRecord
from burnish.data.rows.row import RowError, as_list, check_characters, pick
from burnish.data.rows.settled import Asked, Settled
from burnish.data.tags.annotations import (
    Span,
    has_several_annotations,
    in_characters,
    read_annotated,
    read_word_spans,
)
from burnish.data.tags.words import OUTSIDE, word_places
from burnish.errors import DataError

_SHOWN_CHARACTERS = 40


def entities_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> TaggedRecord:
    """A record of words and tags in the scheme IOB2: `B-` at the first word of an entity and `I-` at the others.

    Raises:
        RowError: there is no text, or a span is outside of it, cuts a word, overlaps another, or is not what it says.
    """
    annotated = read_annotated(values)
    text = annotated.text
    check_characters(text, "text")
    spans = in_order(text, in_characters(text, annotated.spans))
    split = [place for place in annotated.words or [] if text[slice(*place)].strip()]
    words = split or word_places(text, [place for span in spans for place in (span.start, span.end)])
    tags = tags_of(text, words, spans)
    return TaggedRecord(tuple(text[start:end] for start, end in words), tuple(tags), place)


def word_entities_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> TaggedRecord:
    """A record of words and tags, as `entities_record` makes it, where entities are spans of words.

    Raises:
        RowError: there are no words, or a span is not within them or overlaps another.
    """
    (_, words), (_, found) = (pick(values, field) for field in pattern.required)
    words, spans = read_word_spans(as_list(words), as_list(found))
    for word in words:
        check_characters(word, "tokenized_text")
    tags = [OUTSIDE] * len(words)
    for span in sorted(set(spans), key=lambda span: (span.start, span.end)):
        taken = next((tag for tag in tags[span.start : span.end] if tag != OUTSIDE), None)
        if taken is not None:
            named = " ".join(words[span.start : span.end])
            raise RowError(f"`{_short(named)}` ({span.label}) overlaps an entity `{taken[2:]}`; a word has one tag")
        tags[span.start : span.end] = [f"B-{span.label}", *[f"I-{span.label}"] * (span.end - span.start - 1)]
    return TaggedRecord(tuple(words), tuple(tags), place)


def settle_word_entities(pattern: Pattern, rows: Sequence[Mapping[str, Any]], asked: Asked) -> Settled:
    """The shape of words with spans of words, where their last word belongs to each span.

    Raises:
        DataError: the numbers show that it does not: no span has a single word, and one ends past the last word.
    """
    pairs = [(len(words), item) for words, found in map(_words_and_spans, rows) for item in found]
    numbers = [(length, *part) for length, item in pairs if len(part := _places(item)) == 2]
    past = [end for length, _, end in numbers if end == length]
    if past and all(start < end <= length for length, start, end in numbers):
        raise DataError(
            "`ner` seems to end its spans one past their last word",
            f"{len(past):,} of {len(numbers):,} spans end at the number of words of their row, and none has one word.",
            "Write the number of the last word as the end, as GLiNER does: `[0, 1, LABEL]` is the first two words",
        )
    note = "`ner` is read as GLiNER writes it: the first word is 0, and the last word of a span belongs to it."
    return Settled(pattern, notes=(note,))


def _words_and_spans(values: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    words, found = as_list(values.get("tokenized_text")), as_list(values.get("ner"))
    return words if isinstance(words, list) else [], found if isinstance(found, list) else []


def _places(item: Any) -> list[int]:
    """The numbers in a span that is a list."""
    parts = item if isinstance(item, (list, tuple)) else []
    return [part for part in parts if isinstance(part, int) and not isinstance(part, bool)]


def entities_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A note about texts that several people have annotated."""
    several = sum(map(has_several_annotations, rows))
    if not several:
        return []
    subject = "text has" if several == 1 else "texts have"
    return [f"{several:,} {subject} several annotations; the first of each is used."]


def in_order(text: str, spans: Sequence[Span]) -> list[Span]:
    """The spans without white space at their ends, each once, from left to right.

    Raises:
        RowError: a span is empty, outside the text or not what it says, or two overlap.
    """
    ordered = sorted(set(_trimmed(text, span) for span in spans), key=lambda span: (span.start, span.end))
    for before, after in zip(ordered, ordered[1:], strict=False):
        if after.start < before.end:
            raise RowError(f"two spans overlap: {_named(text, before)} and {_named(text, after)}; a word has one tag")
    return ordered


def _trimmed(text: str, span: Span) -> Span:
    if not 0 <= span.start < span.end <= len(text):
        what = "is empty" if span.start == span.end else f"is not within the text of {len(text)} characters"
        raise RowError(f"the span {span.start} to {span.end} (`{span.label}`) {what}")
    found = text[span.start : span.end]
    if not found.strip():
        raise RowError(f"the span {span.start} to {span.end} (`{span.label}`) holds only white space")
    if span.text is not None and span.text.strip() != found.strip():
        raise RowError(f"the text at {span.start} to {span.end} is `{_short(found)}`, not `{_short(span.text)}`")
    start = span.start + len(found) - len(found.lstrip())
    return Span(start, start + len(found.strip()), span.label)


def tags_of(text: str, words: Sequence[tuple[int, int]], spans: Sequence[Span]) -> list[str]:
    """The tag of each word.

    Args:
        text: of the row.
        words: first and one past the last character of each.
        spans: in order, without overlaps.

    Raises:
        RowError: a span begins or ends within a word.
    """
    tags = [OUTSIDE] * len(words)
    for span in spans:
        inside = [number for number, (start, end) in enumerate(words) if start < span.end and end > span.start]
        cut = next((words[n] for n in inside if words[n][0] < span.start or words[n][1] > span.end), None)
        if cut is not None:
            raise RowError(f"the span {_named(text, span)} cuts the word `{_short(text[slice(*cut)])}`")
        if not inside:
            raise RowError(f"the span {_named(text, span)} has no word")
        for number in inside:
            tags[number] = f"{'B' if number == inside[0] else 'I'}-{span.label}"
    return tags


def _named(text: str, span: Span) -> str:
    return f"{span.start} to {span.end} `{_short(text[span.start : span.end])}` ({span.label})"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
