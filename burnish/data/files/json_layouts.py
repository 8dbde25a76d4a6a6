"""Layouts of JSON documents other than a list of objects: lists inside objects, annotated texts, lists of messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from burnish.data.rows.row import quoted
from burnish.data.tags.listed import is_scheme_tag
from burnish.errors import DataError
from burnish.system.shell import quoted as shell_quoted
from burnish.visible import parse_json

# An object with one of these keys is itself a row, not a wrapper around a list of rows.
ROW_KEYS = ("messages", "conversations", "prompt", "text", "instruction", "question", "sentence", "content")
_WORD_KEYS = ("tokens", "words")
_ENTITIES, _CATS = "entities", "cats"
_PIECE_KEYS = {"text", "entity", "slot_name"}
"""Keys of a piece of a text as SNIPS has it."""
_ANSWERS = {"choices": "label", "rating": "rating", "number": "score", "textarea": "answer"}
"""Kinds of answers in Label Studio, and the column of each where it is the only question."""
NUMBER = "row_idx"
"""The key of a row's number where the hub's viewer wrote it; the row is inside."""
HITS = ("_index", "_source")
"""Keys of a hit of Elasticsearch; the row is below the latter."""


def row_of(value: Any) -> dict[str, Any] | None:
    """The row that a JSON value is, or None: an object, also within one that numbers it as the hub's viewer does, or in
    a hit of Elasticsearch, or a text with its entities or categories as spaCy writes them, a text in pieces as SNIPS
    has it, a list of messages, a list of words with their tags, or an object as JSON text.
    """
    if isinstance(value, dict):
        if NUMBER in value and isinstance(inner := value.get("row"), dict):
            return inner
        if HITS[0] in value and isinstance(inner := value.get(HITS[1]), dict):
            return {key: cell for key, cell in value.items() if key != HITS[1]} | inner
        tagged = [key for key, cell in value.items() if are_tagged_words(cell)]
        if len(tagged) == 1 and not {*_WORD_KEYS, "tags"} & (value.keys() - set(tagged)):
            return {key: cell for key, cell in value.items() if key != tagged[0]} | _sentence(value[tagged[0]])
        return _joined(value) if is_in_pieces(value) else _chosen(value)
    if isinstance(value, str) and value.lstrip().startswith("{"):
        return row_of(_object_in(value))
    if isinstance(value, list) and are_tagged_words(value):
        return _sentence(value)
    if isinstance(value, list) and len(value) > 1 and all(map(_is_message, value)):
        return {"messages": value}
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], dict):
        if _CATS in value[1] and not value[1].get(_ENTITIES):
            return {"text": value[0], "label": value[1][_CATS]}
        return {"text": value[0], **value[1]} if _ENTITIES in value[1] else None
    return None


def _object_in(text: str) -> dict[str, Any] | None:
    """The object that a text holds, as a program leaves it that writes JSON of JSON; None for other text."""
    try:
        found = parse_json(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def are_tagged_words(value: Any) -> bool:
    """Whether a value is a list of words, each in a list with its tag, or with several of which the last is one.

    The tags must be those of a scheme, such as `B-PER` and `O`: pairs may as well be names with their kinds, or what is
    said in turn.
    """
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(cells, list) and len(cells) == len(value[0]) > 1 for cells in value)
        and all(isinstance(cell, str) and cell and not any(map(str.isspace, cell)) for cells in value for cell in cells)
        and all(is_scheme_tag(cells[-1]) for cells in value)
    )


def _sentence(value: list[list[str]]) -> dict[str, Any]:
    """Words with their tags as a row; what is between word and tag has the number of its column."""
    words, *others, tags = (list(column) for column in zip(*value, strict=True))
    return {"tokens": words, "tags": tags, **{f"column {place}": cells for place, cells in enumerate(others, start=2)}}


def is_in_pieces(value: Any) -> bool:
    """Whether a value is a text in pieces, of which some are entities."""
    pieces = value.get("data") if isinstance(value, dict) else None
    return (
        isinstance(pieces, list)
        and bool(pieces)
        and all(isinstance(piece, dict) and isinstance(piece.get("text"), str) for piece in pieces)
        and all(set(piece) <= _PIECE_KEYS for piece in pieces)
        and (len(pieces) == 1 or any(len(piece) > 1 for piece in pieces))
    )


def _joined(value: dict[str, Any]) -> dict[str, Any]:
    """A text in pieces as a row, with its entities by characters, without the spaces around them."""
    text, entities = "", []
    for piece in value["data"]:
        name, words = piece.get("slot_name") or piece.get("entity"), piece["text"].strip()
        if name and words:
            start = len(text) + piece["text"].index(words)
            entities.append([start, start + len(words), name])
        text += piece["text"]
    return {key: inner for key, inner in value.items() if key != "data"} | {"text": text, _ENTITIES: entities}


def _chosen(value: dict[str, Any]) -> dict[str, Any]:
    """A task of Label Studio with choices, ratings or texts as a row: what was shown, and a column for each question.

    Several choices are an object `{"choices": [...]}`, as in the tool's smaller exports. Where annotators disagree, or
    none chose, the cell is null. Any other object is returned unchanged.
    """
    shown, annotations = value.get("data"), value.get("annotations", value.get("completions"))
    if not isinstance(shown, dict) or not isinstance(annotations, list):
        return value
    kept = [one for one in annotations if isinstance(one, dict) and not one.get("was_cancelled")]
    results = [[part for part in one.get("result") or [] if isinstance(part, dict)] for one in kept]
    if any(part.get("type") not in _ANSWERS for result in results for part in result) or not any(results):
        return value
    asked = {str(part.get("from_name")): str(part.get("type")) for result in results for part in result}
    row = {key: inner for key, inner in value.items() if key not in ("data", "annotations", "completions")} | shown
    for question, kind in asked.items():
        chosen = {tuple(_choices_of(result, question)) for result in results}
        choices = list(chosen.pop()) if len(chosen) == 1 else []
        column = _ANSWERS[kind] if len(asked) == 1 else question
        row[column] = {"choices": choices} if len(choices) > 1 else choices[0] if choices else None
    return row


def _choices_of(result: list[dict[str, Any]], question: str) -> list[str]:
    parts = [part.get("value") for part in result if str(part.get("from_name")) == question]
    found = [
        next((part[key] for key in _VALUES if part.get(key) is not None), [])
        for part in parts
        if isinstance(part, dict)
    ]
    return [str(one) for held in found for one in (held if isinstance(held, list) else [held])]


_VALUES = ("choices", "rating", "number", "text")
"""Keys of an answer in Label Studio."""


def is_list_of_rows(value: Any) -> bool:
    """Whether a value could be a list of rows."""
    return isinstance(value, list) and any(row_of(item) is not None for item in value)


def is_row(value: Mapping[str, Any]) -> bool:
    """Whether an object is itself a row, although it may hold lists: a text, its words, or a conversation."""
    texts = [value[key] for key in ROW_KEYS if key in value]
    words = [value[key] for key in _WORD_KEYS if key in value]
    return any(
        isinstance(found, str)
        or (isinstance(found, dict) and not is_numbered(found))
        or (isinstance(found, list) and bool(found) and _is_message(found[0]))
        for found in texts
    ) or any(isinstance(found, list) and bool(found) and isinstance(found[0], str) for found in words)


def is_numbered(column: Mapping[str, Any]) -> bool:
    """Whether an object has only numbers as keys, as the columns and rows of DataFrames."""
    return bool(column) and all(str(key).isdecimal() for key in column)


def _is_message(item: Any) -> bool:
    return isinstance(item, dict) and bool({"role", "from"} & item.keys())


def lists_within(
    value: Mapping[str, Any], is_list: Callable[[Any], bool] = is_list_of_rows, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """The keys that lead to each list of rows inside an object."""
    for key, inner in value.items():
        if is_list(inner):
            yield (*path, key)
        elif isinstance(inner, dict):
            yield from lists_within(inner, is_list, (*path, key))


_FEATURES = "features"
"""The key of what the hub's viewer says of the columns, beside the rows."""


def features_beside(value: Any) -> dict[str, Any]:
    """What the hub's viewer says of the columns of the rows beside it; empty for other documents."""
    found = value.get(_FEATURES) if isinstance(value, dict) else None
    listed = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return {str(one["name"]): one["type"] for one in listed if {"name", "type"} <= one.keys()}


def is_numbered_list(value: Any) -> bool:
    """Whether a value is a list of rows that the hub's viewer has numbered."""
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) and NUMBER in one for one in value)


def several_lists(file: str, paths: Sequence[tuple[str, ...]], sizes: Sequence[int]) -> DataError:
    """The error for a document with several lists of rows.

    Args:
        file: of the document.
        paths: the keys that lead to each list.
        sizes: the number of rows in each.
    """
    names = [".".join(path) for path in paths]
    largest = names[max(range(len(names)), key=lambda number: sizes[number])]
    are_alike = len(paths[0]) > 1 and len({path[1:] for path in paths}) == 1  # the same list of each member
    each = f"If the value of each key is a row: `jq -c '.[]' {shell_quoted(file)} > OUT.jsonl`. Else name it"
    return DataError(
        f"`{file}` contains {len(paths)} lists of rows: {quoted(names)}",
        "Which one is meant is not clear.",
        f"{each if are_alike else 'Name it'}: `burnish train {shell_quoted(f'{file}:{largest}')}`",
    )
