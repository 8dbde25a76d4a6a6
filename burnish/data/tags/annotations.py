"""Entities as spans of characters, in the forms in which annotation tools write them.

    doccano        {"text": ..., "label": [[0, 4, "PER"]]}
                   {"text": ..., "entities": [{"start_offset": 0, "end_offset": 4, "label": "PER"}]}
    spaCy          [text, {"entities": [[0, 4, "PER"]]}], or {"text": ..., "ents": [{"start": 0, "end": 4, ...}]}
    Prodigy        {"text": ..., "tokens": [{"text": ..., "start": 0, "end": 4}], "spans": [{"start": 0, ...}]}
    GLiNER         {"tokenized_text": ["Anna", "sings"], "ner": [[0, 0, "PER"]]}, with the numbers of words
    Label Studio   {"data": {"text": ...}, "annotations": [{"result": [{"value": {"start": 0, ...}}]}]}
                   {"text": ..., "label": [{"start": 0, "end": 4, "text": ..., "labels": ["PER"]}]}

A span is from its first character to one past its last; that of GLiNER is from its first word to its last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.data.rows.printed import as_list
from burnish.data.rows.row import RowError

SPAN_COLUMNS = ("entities", "spans", "ents", "label", "labels", "annotations", "annotation", "textSegmentAnnotations")
"""Columns that may hold spans, best first."""
TEXT_COLUMNS = ("text", "data", "sentence", "content", "document", "full_text", "textContent")
"""Columns that may hold the text, best first."""
WORD_SPAN_WORDS = ("tokenized_text", "tokens", "words", "sentences")
"""Columns that may hold the words of which spans are."""
WORD_SPAN_COLUMNS = ("ner", "entities", "spans")
"""Columns that may hold spans of words."""
_WORD_SPAN_NAMES = (WORD_SPAN_WORDS, WORD_SPAN_COLUMNS)
_ONLY_SPANS = ("entities", "spans", "ents")
"""Columns of which an empty list means a text without entities; that of others may be one without labels."""
_STARTS = (
    "start", "start_offset", "begin", "start_char", "startOffset", "from", "token_start", "start_token",
    "start_position", "start_index", "start_pos", "char_start", "begin_offset", "beginOffset", "BeginOffset",
)  # fmt: skip
_ENDS = (
    "end", "end_offset", "stop", "end_char", "endOffset", "to", "token_end", "end_token",
    "end_position", "end_index", "end_pos", "char_end", "EndOffset",
)  # fmt: skip
_OFFSET, _LENGTH = "offset", "length"
"""Another form of a place: the first character, and how many."""
_LABELS = (
    "label", "labels", "type", "entity", "tag", "entity_group", "category", "class", "entity_type", "label_", "name",
    "displayName", "display_name", "entity_label", "entityType", "Type",
)  # fmt: skip
_TEXTS = ("text", "value", "word", "content", "surface", "mention", "entity_value", "Text")
_LEFT_OUT = ("reject", "ignore")
"""Prodigy's answers that say that an annotation is not to be used."""


@dataclass(frozen=True, slots=True)
class Span:
    """An entity in a text."""

    start: int
    end: int
    """One past the last character."""
    label: str
    text: str | None = None
    """The characters that the tool says are there, if it does."""


@dataclass(frozen=True, slots=True)
class Annotated:
    """A text with its entities."""

    text: str
    spans: list[Span]
    words: list[tuple[int, int]] | None = None
    """First and one past the last character of each word, if the tool has split the text."""


def holds_spans(values: Mapping[str, Any]) -> bool:
    """Whether a row is a text with entities as spans, or clearly one without any."""
    if _is_label_studio(values):
        return True
    if not isinstance(_text_of(values), str):
        return False
    for column in SPAN_COLUMNS:
        found = as_list(values.get(column))
        if isinstance(found, list) and ((found and _is_span(found[0])) or (not found and column in _ONLY_SPANS)):
            return True
        if column in _ONLY_SPANS and column in values and found is None:
            return any(name in values for name in _ONLY_SPANS) and "label" not in values
    return False


def are_spans(cell: Any) -> bool:
    """Whether a cell is a list of entities, each with its place in a text."""
    found = as_list(cell)
    return isinstance(found, list) and bool(found) and all(map(_is_span, found))


def place_keys(item: Mapping[str, Any]) -> tuple[str, str] | None:
    """The keys of a span with its first character and the one past its last; None if it has none."""
    start, end = (next((name for name in names if name in item), None) for names in (_STARTS, _ENDS))
    return (start, end) if start is not None and end is not None else None


def label_key(item: Mapping[str, Any]) -> str | None:
    """The key of a span with its label."""
    return next((name for name in _LABELS if isinstance(item.get(name), str)), None)


def _text_of(values: Mapping[str, Any]) -> Any:
    return next((values[name] for name in TEXT_COLUMNS if name in values), None)


def _is_label_studio(values: Mapping[str, Any]) -> bool:
    data, annotations = values.get("data"), values.get("annotations", values.get("completions"))
    return isinstance(data, Mapping) and isinstance(annotations, list)


def _is_span(item: Any) -> bool:
    if isinstance(item, Mapping):
        item = _flat(item)
        is_measured = _OFFSET in item and _LENGTH in item
        return is_measured or (any(name in item for name in _STARTS) and any(name in item for name in _ENDS))
    if isinstance(item, (list, tuple)) and len(item) == 3:
        return len(_numbers(item)) == 2
    return False


def read_annotated(values: Mapping[str, Any]) -> Annotated:
    """The text of a row and its entities.

    Raises:
        RowError: the annotator left the row out, or a span is incomplete.
    """
    answer = values.get("answer")
    if answer in _LEFT_OUT:
        raise RowError(f"its annotation was not accepted (`answer` is `{answer}`)")
    if _is_label_studio(values):
        return _from_label_studio(values)
    text = _text_of(values)
    if not isinstance(text, str) or not text.strip():
        raise RowError("the text is missing (column `text`)" if text is None else "the text is empty (column `text`)")
    column = next((name for name in SPAN_COLUMNS if values.get(name) is not None), SPAN_COLUMNS[0])
    found = as_list(values.get(column))
    if found is None:
        found = []
    if not isinstance(found, list):
        raise RowError(f"`{column}` has a value of type {type(found).__name__} instead of a list of spans")
    spans = [_span(item, column, number) for number, item in enumerate(found, start=1)]
    return Annotated(text, spans, _words(values.get("tokens")))


def _from_label_studio(values: Mapping[str, Any]) -> Annotated:
    """A task of Label Studio: the spans of its first annotation that was not cancelled."""
    kept = _kept_annotations(values)
    text = _annotated_text(values["data"], kept)
    if not isinstance(text, str) or not text.strip():
        raise RowError("the text is missing (`data.text`)")
    if not kept:
        raise RowError("it has no annotation")
    found = [item for item in kept[0].get("result") or [] if isinstance(item, Mapping)]
    spans = [item for item in found if _is_span(item)]
    if found and not spans:
        raise RowError(f"its annotation has no spans, but `{found[0].get('type', 'another kind of answer')}`")
    return Annotated(text, [_span(item, "annotations", number) for number, item in enumerate(spans, start=1)])


def _annotated_text(shown: Mapping[str, Any], kept: Sequence[Mapping[str, Any]]) -> Any:
    """The text of a task: `text`, its only one, or the only one that has what the annotations say is in it."""
    texts = [value for value in shown.values() if isinstance(value, str)]
    if "text" in shown or len(texts) < 2:
        return shown.get("text", texts[0] if texts else None)
    places = [one.get("value") for annotation in kept for one in annotation.get("result") or [] if _is_span(one)]
    said = [(one.get("start"), one.get("end"), one.get("text")) for one in places if isinstance(one, Mapping)]
    fitting = [text for text in texts if all(text[start:end] == found for start, end, found in said)]
    return fitting[0] if said and len(fitting) == 1 else None


def _kept_annotations(values: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    annotations = values.get("annotations", values.get("completions")) or []
    return [one for one in annotations if isinstance(one, Mapping) and not one.get("was_cancelled")]


def has_several_annotations(values: Mapping[str, Any]) -> bool:
    """Whether a task of Label Studio was annotated several times."""
    return _is_label_studio(values) and len(_kept_annotations(values)) > 1


def _span(item: Any, column: str, number: int) -> Span:
    named = f"span {number} of `{column}`"
    if isinstance(item, (list, tuple)) and len(item) == 3:
        numbers, labels = _numbers(item), [part for part in item if isinstance(part, str) and not part.isdecimal()]
        if len(numbers) != 2 or len(labels) != 1:
            raise RowError(f"{named} is not a start, an end and a label")
        return _checked(numbers[0], numbers[1], labels[0], None, named)
    if not isinstance(item, Mapping):
        raise RowError(f"{named} is neither a list nor an object")
    item = _flat(item)
    start, end = (next((item[name] for name in names if name in item), None) for names in (_STARTS, _ENDS))
    if start is None and end is None and isinstance(item.get(_OFFSET), int) and isinstance(item.get(_LENGTH), int):
        start, end = item[_OFFSET], item[_OFFSET] + item[_LENGTH]
    start, end = (int(place) if isinstance(place, str) and place.isdecimal() else place for place in (start, end))
    label = next((item[name] for name in _LABELS if item.get(name)), None)
    if isinstance(label, list):
        if len(label) > 1:
            raise RowError(f"{named} has {len(label)} labels: {', '.join(map(str, label))}; a word has one tag")
        label = label[0] if label else None
    text = next((item[name] for name in _TEXTS if isinstance(item.get(name), str) and name != label), None)
    return _checked(start, end, label, text, named)


def _flat(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """A span with its places beside its label: Label Studio has them in `value`, DataTurks in a list of `points`."""
    inner = item.get("value")
    points = item.get("points")
    if isinstance(points, list) and len(points) == 1:
        inner = points[0]
    return {**item, **inner} if isinstance(inner, Mapping) else item


def _numbers(item: Sequence[Any]) -> list[int]:
    """The whole numbers in a list, also where they are written as text."""
    plain = [int(part) if isinstance(part, str) and part.isdecimal() else part for part in item]
    return [part for part in plain if isinstance(part, int) and not isinstance(part, bool)]


def _checked(start: Any, end: Any, label: Any, text: str | None, named: str) -> Span:
    for what, place in (("start", start), ("end", end)):
        if isinstance(place, bool) or not isinstance(place, (int, float)) or place != int(place):
            raise RowError(f"{named} has no {what}" if place is None else f"the {what} of {named} is {place!r}")
    if not isinstance(label, (str, int)) or isinstance(label, bool) or not str(label).strip():
        raise RowError(f"{named} has no label")
    return Span(int(start), int(end), str(label).strip(), text)


def _words(tokens: Any) -> list[tuple[int, int]] | None:
    """The words of Prodigy's `tokens`; None if there are none with places."""
    if not isinstance(tokens, list) or not tokens:
        return None
    places: list[tuple[int, int]] = []
    for token in tokens:
        start, end = (token.get("start"), token.get("end")) if isinstance(token, Mapping) else (None, None)
        if not isinstance(start, int) or not isinstance(end, int):
            return None
        if end > start:
            places.append((start, end))
    return places


def read_word_spans(words: Any, found: Any, names: tuple[str, str]) -> tuple[list[str], list[Span]]:
    """The words of a row and its entities, as numbers of words; the end of a span is one past its last word.

    Args:
        words: of the sentence.
        found: for each entity its first word, its last word, both counted from 0, and its label.
        names: the columns of words and spans, for errors.

    Raises:
        RowError: there are no words, or a span is incomplete or not within them.
    """
    of_words, of_spans = names
    if not isinstance(words, list) or not words:
        raise RowError("the sentence is empty" if words == [] else f"`{of_words}` is not a list of words")
    odd = next((number for number, word in enumerate(words, start=1) if not isinstance(word, str)), None)
    if odd is not None:
        raise RowError(f"entry {odd} of `{of_words}` is not text but {type(words[odd - 1]).__name__}")
    spans: list[Span] = []
    for number, item in enumerate(found, start=1):
        span = _span(item, of_spans, number)
        if not 0 <= span.start <= span.end < len(words):
            raise RowError(
                f"span {number} of `{of_spans}` is words {span.start} to {span.end}, of {len(words)} (0 is the first)"
            )
        spans.append(Span(span.start, span.end + 1, span.label))
    return list(words), spans


def words_with_spans(words: Any, found: Any) -> tuple[Any, list[Any]]:
    """The words of a row, and the spans in its other cell, each as the file has it.

    Those of a document may be in a list for each sentence, whose spans then count from the document's first word.

    Raises:
        RowError: a span is not in its sentence.
    """
    words, spans = as_list(words), as_list(found)
    spans = spans if isinstance(spans, list) else []
    is_document = isinstance(words, list) and bool(words) and all(isinstance(part, list) for part in words)
    if not is_document:
        return words, spans[0] if len(spans) == 1 and _is_list_of_spans(spans[0]) else spans
    start = 0
    for number, sentence in enumerate(words):
        inside = spans[number] if number < len(spans) else []
        for item in inside if isinstance(inside, list) else []:
            span = _span(item, f"sentence {number + 1}", 1)
            if not start <= span.start <= span.end <= start + len(sentence):
                raise RowError(
                    f"the span of words {span.start} to {span.end} is not in sentence {number + 1}, with the words "
                    f"{start} to {start + len(sentence) - 1} of the document"
                )
        start += len(sentence)
    return [word for part in words for word in part], [item for part in spans for item in part]


def _is_list_of_spans(item: Any) -> bool:
    return isinstance(item, list) and not _is_span(item) and bool(item) and all(map(_is_span, item))


def word_span(item: Any) -> Span | None:
    """A span of words, as the file has it; None if it is none."""
    try:
        return _span(item, "", 0)
    except RowError:
        return None


def holds_word_spans(values: Mapping[str, Any]) -> bool:
    """Whether a row has words, and entities as numbers of words."""
    words, found = (next((values[name] for name in names if name in values), None) for names in _WORD_SPAN_NAMES)
    if not isinstance(as_list(found), list):
        return False
    try:
        words, spans = words_with_spans(words, found)
    except RowError:
        return True
    is_sentence = isinstance(words, list) and all(isinstance(word, str) for word in words)
    return is_sentence and (not spans or _is_span(spans[0]))


def in_characters(text: str, spans: Sequence[Span]) -> list[Span]:
    """The spans with places in characters: some tools, written in JavaScript, count UTF-16 units.

    That is assumed only if it makes every span agree with the characters that the tool says are there.
    """
    said = [span for span in spans if span.text is not None]
    if not said or not any(ord(character) > 0xFFFF for character in text) or _agree(text, said):
        return list(spans)
    places = {0: 0}
    unit = 0
    for place, character in enumerate(text):
        unit += 2 if ord(character) > 0xFFFF else 1
        places[unit] = place + 1
    moved = [
        Span(places.get(span.start, span.start), places.get(span.end, span.end), span.label, span.text)
        for span in spans
    ]
    return moved if _agree(text, [span for span in moved if span.text is not None]) else list(spans)


def _agree(text: str, spans: Iterable[Span]) -> bool:
    return all(text[span.start : span.end].strip() == (span.text or "").strip() for span in spans)
