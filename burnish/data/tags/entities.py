"""Makes words with tags of texts whose entities are spans of characters, or of words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.data.rows.pattern import Pattern
from burnish.data.rows.patterns import LABEL, TEXT
from burnish.data.rows.records import TaggedRecord
from burnish.data.rows.row import RowError, check_characters, pick
from burnish.data.rows.settled import Asked, Settled
from burnish.data.rows.typed import setting
from burnish.data.tags.annotations import (
    Span,
    has_several_annotations,
    in_characters,
    read_annotated,
    read_word_spans,
    word_span,
    words_with_spans,
)
from burnish.data.tags.words import OUTSIDE, is_inside, word_places
from burnish.errors import DataError

_SHOWN_CHARACTERS = 40
_SAMPLE = 1_000
"""Rows that show where spans end, and whether there are labels, too."""
_ROWS_PER_LABEL = 5


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


@dataclass(frozen=True, slots=True)
class LastCharacterReading:
    """Takes the ends of spans, which are their last characters, as one past them."""

    @property
    def columns(self) -> tuple[str, ...]:
        """None besides the pattern's own."""
        return ()

    def prepare(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The row's text with such spans. Raises RowError as `read_annotated` does."""
        read = read_annotated(values)
        spans = [
            {"start": span.start, "end": span.end + 1, "label": span.label, "text": span.text} for span in read.spans
        ]
        return {"text": read.text, "entities": spans, "tokens": values.get("tokens")}


def settle_entities(pattern: Pattern, rows: Sequence[Mapping[str, Any]], asked: Asked) -> Settled:
    """The shape of texts with spans of characters, and whether the end of a span is its last character.

    It is one past it, as nearly all tools have it, unless that makes most spans end inside a word, or be another text
    than the tool says, and none does with the next character.
    """
    notes = _notes_on_labels(rows) if asked.is_free else ()
    past = [fits for values in rows[:_SAMPLE] for fits in _fits(values)]
    fit_past, fit_last = (sum(pair[place] for pair in past) for place in (0, 1))
    if not past or fit_last < len(past) or 2 * fit_past >= len(past):
        return Settled(pattern, notes=notes)
    note = (
        f"The ends of spans are taken as their last characters: as places past them, {len(past) - fit_past:,} of "
        f"{len(past):,} spans would cut a word or not have the text that is said to be there; so, none does."
    )
    return Settled(pattern, (LastCharacterReading(),), notes=(*notes, note))


def _notes_on_labels(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """That texts with entities have labels, too, and what to type to learn these."""
    sample = rows[:_SAMPLE]
    if not all(any(name in values for name in TEXT) for values in sample):
        return ()
    for name in LABEL:
        cells = [cell for values in sample if isinstance(cell := values.get(name), str) and cell]
        if len(cells) == len(sample) and len(set(cells)) * _ROWS_PER_LABEL <= len(cells):
            instead = f"`--set data.shape=labelled-text {setting('data.columns.label', name)}`"
            return (f"The entities are learned. To learn the `{name}` of each text instead: {instead}.",)
    return ()


def _fits(values: Mapping[str, Any]) -> Iterator[tuple[bool, bool]]:
    """For each span of a row whether it is right with its end as the place past it, and as its last character."""
    try:
        read = read_annotated(values)
    except RowError:
        return
    for span in in_characters(read.text, read.spans):
        ends = (span.end, span.end + 1)
        if span.text is not None:
            past, last = (read.text[span.start : end].strip() == span.text.strip() for end in ends)
        else:
            past, last = (span.start < end <= len(read.text) and not is_inside(read.text, end) for end in ends)
        yield past, last


def word_entities_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> TaggedRecord:
    """A record of words and tags, as `entities_record` makes it, where entities are spans of words.

    Raises:
        RowError: there are no words, or a span is not within them or overlaps another.
    """
    (of_words, words), (of_spans, found) = (pick(values, field) for field in pattern.required)
    words, spans = read_word_spans(*words_with_spans(words, found), (of_words, of_spans))
    for word in words:
        check_characters(word, of_words)
    tags = [OUTSIDE] * len(words)
    for span in sorted(set(spans), key=lambda span: (span.start, span.end)):
        taken = next((tag for tag in tags[span.start : span.end] if tag != OUTSIDE), None)
        if taken is not None:
            named = " ".join(words[span.start : span.end])
            raise RowError(f"`{_short(named)}` ({span.label}) overlaps an entity `{taken[2:]}`; a word has one tag")
        tags[span.start : span.end] = [f"B-{span.label}", *[f"I-{span.label}"] * (span.end - span.start - 1)]
    return TaggedRecord(tuple(words), tuple(tags), place)


@dataclass(frozen=True, slots=True)
class PastEndReading:
    """Takes the ends of spans of words, which are one past their last word, as that word."""

    pattern: Pattern

    @property
    def columns(self) -> tuple[str, ...]:
        """None besides the pattern's own."""
        return ()

    def prepare(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The row with spans from their first word to their last. Raises RowError where a span is in no sentence."""
        (of_words, words), (of_spans, found) = (pick(values, field) for field in self.pattern.required)
        words, items = words_with_spans(words, found)
        spans = [(item, word_span(item)) for item in items]
        last = [item if span is None else [span.start, span.end - 1, span.label] for item, span in spans]
        return {**values, of_words: words, of_spans: last}


def settle_word_entities(pattern: Pattern, rows: Sequence[Mapping[str, Any]], asked: Asked) -> Settled:
    """The shape of words with spans of words, and whether the end of a span is its last word or one past it.

    The places show it where they can: an end at the number of words is past the last one, and where ends are past
    their last word, no span begins where it ends. Else `ner` is taken as GLiNER and DyGIE++ write it, with the last
    word, and `entities` as SpERT does, past it.

    Raises:
        DataError: the places contradict each other.
    """
    (_, column) = (pick(rows[0], field)[0] for field in pattern.required)
    numbers = list(_lengths_and_spans(pattern, rows))
    past = sum(span.end == length for length, span in numbers)
    single = sum(span.start == span.end for _, span in numbers)
    if past and single:
        raise DataError(
            f"`{column}` has spans of words whose ends are not all meant alike",
            f"{past:,} of {len(numbers):,} spans end at the number of words of their row, one past the last word, and "
            f"{single:,} end at the word where they begin.",
            "Write the number of the last word as the end: `[0, 1, LABEL]` is the first two words",
        )
    is_past = bool(past) or (column != "ner" and not single)
    how = "is one past the last word" if is_past else "is its last word"
    note = f"`{column}` is read as spans of words: the first word is 0, and the end of a span {how}."
    return Settled(pattern, (PastEndReading(pattern),) if is_past else (), notes=(note,))


def _lengths_and_spans(pattern: Pattern, rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, Span]]:
    """Each span of words in rows, with the number of words of its row."""
    for values in rows:
        words, found = (pick(values, field)[1] for field in pattern.required)
        with contextlib.suppress(RowError):
            words, items = words_with_spans(words, found)
            yield from ((len(words), span) for item in items if (span := word_span(item)) is not None)


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
