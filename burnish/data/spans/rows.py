"""Reads rows of questions about a text, answered by spans of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from burnish.data.rows.pattern import Pattern
from burnish.data.rows.printed import as_list, as_object
from burnish.data.rows.records import SpanRecord
from burnish.data.rows.row import RowError, as_text, pick
from burnish.errors import InputError
from burnish.visible import parse_json

_SHOWN_CHARACTERS = 20
"""Half of the characters of an answer that an error shows."""


def span_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> SpanRecord:
    """A question about a text, with every accepted answer and its first character, from 0.

    Raises:
        RowError: text or question is missing, or an answer is not at the given position.
    """
    context, question = (filled(values, field) for field in pattern.required[:2])
    answers = _read_answers(pattern, values)
    name, value = pick(values, ("is_impossible",))
    is_impossible = as_text(value, name) in ("true", "True", "1")
    if is_impossible and answers:
        raise RowError(f"`is_impossible` is true, but there is an answer: {_quoted(answers[0][0])}")
    located = [_locate(context, text, start, number) for number, (text, start) in enumerate(answers, start=1)]
    return SpanRecord(context, question, tuple(dict.fromkeys(located)), place)


def is_guessed(values: Mapping[str, Any]) -> bool:
    """Whether an answer has no position and occurs several times in the text."""
    if "answer_start" in values:
        return False
    context, answers = values.get("context"), as_object(values.get("answers"))
    listed = answers if isinstance(answers, list) else [answers]
    texts = [text for text in listed if isinstance(text, str) and text]
    return isinstance(context, str) and any(context.find(text, context.find(text) + 1) > 0 for text in texts)


def span_notes(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """A note about answers whose position had to be guessed."""
    guessed = sum(map(is_guessed, rows))
    if not guessed:
        return ()
    subject = "row has an answer" if guessed == 1 else "rows have an answer"
    return (
        f"{guessed:,} {subject} without a position that occurs several times in the text; "
        "the first occurrence is used.",
    )


def filled(values: Mapping[str, Any], field: tuple[str, ...]) -> str:
    """The text in a column. Raises RowError if there is none."""
    name, value = pick(values, field)
    text = as_text(value, name)
    if text is None:
        raise RowError(f"the {name} is missing (column `{name}`)")
    if not text.strip():
        raise RowError(f"the {name} is empty (column `{name}`)")
    return text


def _read_answers(pattern: Pattern, values: Mapping[str, Any]) -> list[tuple[str, int | None]]:
    """(text, first character or None) of each answer, in any of the supported forms."""
    if "answer_start" in pattern.names:
        (name, answer), start = pick(values, pattern.required[2]), values.get("answer_start")
        answer, start = as_list(answer), as_list(start)
        if isinstance(answer, list) or isinstance(start, list):
            return _from_columns({"text": answer, "answer_start": start})
        text, start = as_text(answer, name), as_text(start, "answer_start")
        if not text and not start:
            return []
        if not text or not start:
            absent = "answer_start" if text else "answer"
            raise RowError(f"`answer` and `answer_start` go together: there is no `{absent}`")
        return [(text, _whole_number(start))]
    name, answers = pick(values, pattern.required[-1])
    answers = as_object(answers)
    if answers is None or answers != answers:  # NaN is what a missing cell becomes in many exports.
        if as_text(values.get("is_impossible"), "is_impossible") in ("true", "True", "1"):
            return []
        raise RowError("`answers` is missing; if the text has none, use an empty list")
    if isinstance(answers, dict):
        return _from_columns(answers)
    if isinstance(answers, str):
        return [(answers, None)] if answers.strip() else []
    if isinstance(answers, list):
        return [_from_item(item, number) for number, item in enumerate(answers, start=1)]
    raise RowError(f"`{name}` has a value of type {type(answers).__name__} instead of answers")


def _from_columns(answers: Mapping[str, Any]) -> list[tuple[str, int | None]]:
    """Reads `{"text": [...], "answer_start": [...]}`, the form of `squad` on the hub."""
    missing = [half for half in ("text", "answer_start") if answers.get(half) is None]
    if missing:
        raise RowError(f"`answers` has no `{missing[0]}`")
    texts, starts = (part if isinstance(part, list) else [part] for part in (answers["text"], answers["answer_start"]))
    if len(texts) != len(starts):
        raise RowError(f"`answers` has {_count(texts, 'text')}, but {_count(starts, 'answer_start')}")
    items = [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
    return [_from_item(item, number) for number, item in enumerate(items, start=1)]


def _from_item(item: Any, number: int) -> tuple[str, int | None]:
    if isinstance(item, str):
        return item, None
    if not isinstance(item, dict):
        raise RowError(f"answer {number} is neither a text nor an object with `text` and `answer_start`")
    missing = [half for half in ("text", "answer_start") if item.get(half) is None]
    if missing:
        raise RowError(f"answer {number} has no `{missing[0]}`")
    return as_text(item["text"], "text") or "", _whole_number(item["answer_start"])


def _whole_number(value: Any) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or isinstance(value, bool) or (isinstance(value, float) and value != number):
        raise RowError(f"`answer_start` is {value!r}, which is not a whole number")
    return number


def _locate(context: str, text: str, start: int | None, number: int) -> tuple[int, str]:
    """(first character, text) of an answer, which must match the text at its position exactly."""
    if not text.strip():
        raise RowError(f"answer {number} is empty; if the text has no answer, use an empty list")
    if start is None:
        start = context.find(text)
        if start < 0:
            raise RowError(f"the answer {_quoted(text)} does not occur in the context")
        return start, text
    if not 0 <= start < len(context):
        raise RowError(f"`answer_start` is {start}, outside the context of {len(context)} characters")
    found = context[start : start + len(text)]
    if found == text:
        return start, text
    at = context.find(text)
    where = "which does not occur in the context" if at < 0 else f"which is at {_nearest(context, text, start)}"
    raise RowError(f"the text at `answer_start` {start} is {_quoted(found)}, not the answer {_quoted(text)}, {where}")


def _nearest(context: str, text: str, start: int) -> int:
    """The occurrence of a text nearest to `start`."""
    before, after = context.rfind(text, 0, start + len(text)), context.find(text, start)
    return min((at for at in (before, after) if at >= 0), key=lambda at: abs(at - start))


def _quoted(text: str) -> str:
    return f"`{text}`" if len(text) <= 2 * _SHOWN_CHARACTERS else f"`{text[: 2 * _SHOWN_CHARACTERS]}…`"


def _count(items: list[Any], name: str) -> str:
    return f"{len(items)} `{name}`"


def read_question(prompt: str) -> SpanRecord:
    """A user's question and text. Raises InputError where the prompt holds no such thing."""
    try:
        values = parse_json(prompt)
    except ValueError:
        values = None
    parts = [values.get(name) for name in ("question", "context")] if isinstance(values, dict) else []
    if not parts or not all(isinstance(part, str) and part.strip() for part in parts):
        raise InputError(
            "the task `span` needs a question and the text that contains the answer",
            "They come as one JSON object.",
            """For example: '{"question": "Who wrote it?", "context": "Ann wrote it in May."}'""",
        )
    return SpanRecord(str(parts[1]), str(parts[0]), (), "the prompt")
