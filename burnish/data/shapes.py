"""Shapes: which columns a row has, and what they mean. Detected over all rows, and made into records here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.data.columns import ColumnMap, as_text, did_you_mean, quoted
from burnish.data.conversations import Message, read_message, read_messages, read_tools, through_last_answer
from burnish.data.patterns import (
    BY_NAME,
    CONVERSATIONS,
    PATTERNS,
    Pattern,
    describe_patterns,
    pattern_of,
    pick,
)
from burnish.data.records import ChatRecord, Record, TextRecord
from burnish.data.row import Row, RowError
from burnish.errors import DataError

AUTO = "auto"
MAP_EXAMPLE = "`--set data.columns.prompt=COLUMN --set data.columns.completion=COLUMN`"


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of a file's rows: its name, its task, and how a row becomes a record."""

    pattern: Pattern
    column_map: ColumnMap
    ignored: tuple[str, ...]
    """Columns of the file that are not read, sorted."""

    @property
    def name(self) -> str:
        """Name of the shape, as it is printed."""
        return self.pattern.name

    @property
    def task(self) -> str:
        """`text` or `chat`."""
        return self.pattern.task

    def to_record(self, row: Row) -> Record:
        """What the row means.

        Raises:
            RowError: the row cannot be learned from, or has another shape; says why.
        """
        values = self.column_map.rename(row.values)
        pattern = self.pattern
        missing = [field for field in pattern.required if not any(name in values for name in field)]
        if missing:
            other = pattern_of(values, PATTERNS)
            seems = f"; this row looks like `{other.name}`" if other else ""
            raise RowError(f"there is no column `{missing[0][0]}`{seems}")
        if pattern.name == "text":
            return text_record(values, row.place)
        if pattern.name in CONVERSATIONS:
            return conversation_record(pattern, values, row.place)
        return answer_record(pattern, values, row.place)


def text_record(values: Mapping[str, Any], place: str) -> TextRecord:
    """A row whose text is learned whole. Raises RowError where it is empty."""
    name, value = pick(values, ("text", "content"))
    text = as_text(value, name)
    if text is None or not text.strip():
        raise RowError("the text is empty")
    return TextRecord(text, values.get("ends") is not False, place)


def conversation_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> ChatRecord:
    """A row that holds a list of messages. Raises RowError where nothing can be learned from it."""
    name, value = pick(values, pattern.required[0])
    messages = with_system(values, read_messages(value, name))
    return ChatRecord(messages, read_tools(values.get("tools")), place)


def answer_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> ChatRecord:
    """A row with a question and an answer in columns of their own. Raises RowError where one is missing."""
    (ask_name, ask), (answer_name, answer) = (pick(values, field) for field in pattern.required)
    if is_message_list(ask) or is_message_list(answer):
        return prompted_conversation(values, ask, answer, place)
    question, text = as_text(ask, ask_name), as_text(answer, answer_name)
    if text is None:
        raise RowError(f"the answer is missing (column `{answer_name}`)")
    if not text.strip():
        raise RowError(f"the answer is empty (column `{answer_name}`)")
    if question is None:
        raise RowError(f"the question is missing (column `{ask_name}`)")
    if pattern.addition:
        name, value = pick(values, pattern.addition)
        addition = as_text(value, name)
        if addition and addition.strip():
            question = f"{question}\n\n{addition}" if question.strip() else addition
    messages = ({"role": "user", "content": question}, {"role": "assistant", "content": text})
    tools = read_tools(values.get("tools")) if "tools" in pattern.names else None
    return ChatRecord(with_system(values, messages), tools, place)


def prompted_conversation(values: Mapping[str, Any], ask: Any, answer: Any, place: str) -> ChatRecord:
    """A prompt or a completion that is itself a list of messages. Raises RowError as `read_messages` does."""
    parts = [
        part if is_message_list(part) else [{"role": role, "content": part}]
        for role, part in (("user", ask), ("assistant", answer))
    ]
    messages = [read_message(message, number) for number, message in enumerate(parts[0] + parts[1], start=1)]
    through = through_last_answer(messages, "completion")
    if len(through) <= len(parts[0]):
        raise RowError("the answer is empty: no assistant message in the completion has content or tool calls")
    return ChatRecord(with_system(values, through), read_tools(values.get("tools")), place)


def is_message_list(value: Any) -> bool:
    """Whether a cell is a list of messages."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and "role" in value[0]


def with_system(values: Mapping[str, Any], messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages, begun by the row's `system` column where it has one and they do not begin so themselves."""
    system = as_text(values.get("system"), "system")
    if not system or not system.strip() or messages[0]["role"] == "system":
        return messages
    return ({"role": "system", "content": system}, *messages)


def detect_shape(rows: Sequence[Row], columns: Mapping[str, str], wanted: str = AUTO) -> Shape:
    """Find the shape that the rows share.

    Args:
        rows: all rows; every one is looked at.
        columns: field -> column of the file, from the recipe. Rows must then have a shape that reads those fields.
        wanted: the name of a shape, or `auto`.

    Raises:
        DataError: no known shape, several shapes in one file, or a column map or shape name that does not fit.
    """
    found = sorted({str(key) for keys in {tuple(row.values) for row in rows} for key in keys})
    column_map = ColumnMap(columns)
    column_map.check(found)
    patterns = candidates(columns, wanted)
    renamed = [column_map.rename(row.values) for row in rows]
    shapes = [pattern_of(values, patterns) for values in renamed]
    counts = Counter(pattern for pattern in shapes if pattern is not None)
    is_told = wanted != AUTO or bool(columns)
    if not counts or (not is_told and {"chosen", "rejected"} <= set(found)):
        raise unknown_shape(rows[0].file, found, wanted)
    main = counts.most_common(1)[0][0]
    if wanted == AUTO:
        refuse_mixed(rows, renamed, shapes, main)
    ignored = {str(key) for keys in {tuple(values) for values in renamed} for key in set(keys) - main.reads(keys)}
    return Shape(main, column_map, tuple(sorted(ignored)))


def candidates(columns: Mapping[str, str], wanted: str) -> list[Pattern]:
    """The patterns that the rows may have: the wanted one, or those that read every mapped field.

    Raises:
        DataError: there is no such shape, or none reads these fields together.
    """
    if wanted != AUTO and wanted not in BY_NAME:
        raise DataError(
            f"`data.shape: {wanted}` is not a shape",
            f"The shapes are {', '.join(BY_NAME)}",
            did_you_mean(wanted, BY_NAME) or "Use one of these, or `auto`",
        )
    patterns = PATTERNS if wanted == AUTO else (BY_NAME[wanted],)
    fitting = [pattern.narrowed(columns) for pattern in patterns if set(columns) <= set(pattern.names)]
    if not fitting:
        who = "no shape reads all of" if wanted == AUTO else f"the shape `{wanted}` does not read all of"
        raise DataError(
            f"{who} {quoted(columns)}, which `data.columns` maps",
            f"The shapes are {describe_patterns()}",
            "Map the columns of one shape only",
        )
    return fitting


def refuse_mixed(
    rows: Sequence[Row], renamed: Sequence[Mapping[str, Any]], shapes: Sequence[Pattern | None], main: Pattern
) -> None:
    """Rows of another shape are a mistake of the file, unless they are so few that they are mistakes of their own.

    A row with only part of the main shape's columns is no other shape: it is rejected by itself, later.

    Raises:
        DataError: 1 % of the rows or more have another shape; the first is named.
    """
    same = CONVERSATIONS if main.name in CONVERSATIONS else (main.name,)
    differing = [
        number
        for number, (values, pattern) in enumerate(zip(renamed, shapes, strict=True))
        if (pattern.name not in same if pattern else not any(name in values for name in main.names))
    ]
    if not differing or len(differing) * 100 < len(rows):
        return
    first, pattern = rows[differing[0]], shapes[differing[0]]
    looks = f"looks like `{pattern.name}`" if pattern else f"has the columns {quoted(first.values)}"
    raise DataError(
        f"{first.place}: this row {looks}, but most rows are `{main.name}`",
        f"{len(differing):,} of {len(rows):,} rows differ",
        f"Split the file by shape, or set `data.shape={main.name}` to leave the others out",
    )


def unknown_shape(file: str, found: Sequence[str], wanted: str) -> DataError:
    """The error for columns that mean nothing to us."""
    what, why = f"`{file}` has no known shape", f"The shapes are {describe_patterns()}"
    if wanted != AUTO:
        what, why = f"`{file}` is not `{wanted}`", f"That needs the columns {BY_NAME[wanted].needs}"
    elif {"chosen", "rejected"} <= set(found):
        why = f"`chosen` and `rejected` make preference pairs, which no shape reads. {why}"
    return DataError(f"{what}: its columns are {quoted(found)}", why, f"Say which column holds what: {MAP_EXAMPLE}")
