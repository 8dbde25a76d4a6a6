"""What only the user can decide about conversations: keys and columns that seem to matter, and are not known."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from burnish.data.chat.messages import (
    CONTENTS,
    LEARNED,
    MEASURED,
    THOUGHT,
    USED,
    ends_with_answer,
    find_role,
    messages_in,
    role_name,
)
from burnish.data.chat.rows import are_tools
from burnish.data.rows.choices import are_letters, choice_columns, writing_command
from burnish.data.rows.elsewhere import jq_path
from burnish.data.rows.mapping import WRITTEN
from burnish.data.rows.patterns import BY_NAME, LABEL
from burnish.data.rows.printed import as_object
from burnish.data.rows.row import quoted, words_of
from burnish.data.rows.typed import jq_command, mapping
from burnish.errors import DataError

Rows = Sequence[Mapping[str, Any]]

_MARKS = {
    "mask", "masked", "masking", "ignore", "ignored", "skip", "exclude", "excluded", "learn", "learned", "train",
    "training", "trained", "trainable", "supervised", "loss",
}  # fmt: skip
"""Words in a key that may say whether an answer is learned, but not which of its values does."""
_AGAINST = {"mask", "masked", "masking", "ignore", "ignored", "skip", "exclude", "excluded", "no", "not"}
"""Words in such a key that say that an answer is not learned."""
_THOUGHTS = {
    "reasoning", "thinking", "thought", "thoughts", "think", "rationale", "analysis", "cot", "trajectory",
    "trajectories", "deliberation", "scratchpad",
}  # fmt: skip
"""Words in the name of a key or column that may hold the thought before an answer."""
_EARLIER = {"history", "histories", "previous", "past", "earlier", "prior"}
"""Words in the name of a column that may hold the turns before a question."""
_SAMPLE = 100
_FEWEST_WORDS = 3
"""Words of a thought, on average, at least; other values with such a name say how or in which language was thought."""


def answers_in(rows: Rows, columns: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """The assistant's messages in all rows, as the file has them."""
    for row in rows:
        for message in (message for column in columns for message in messages_in(row.get(column))):
            if find_role(str(role_name(message)), {}) in ("assistant", "function_call"):
                yield message


def unused_keys(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> tuple[str, ...]:
    """Keys inside the messages of all rows that nothing uses, sorted.

    Args:
        rows: values by column.
        columns: those that may hold messages.
    """
    messages = (message for values in rows for column in columns for message in messages_in(values.get(column)))
    return tuple(sorted({str(key) for message in messages for key in message if _is_unused(message, key)}))


def _is_unused(message: Mapping[str, Any], key: str) -> bool:
    if key == "tools" and find_role(str(role_name(message)), {}) == "system":
        return False
    if message[key] is None or (key in USED and key not in MEASURED):
        return False
    return key not in MEASURED or str(message[key]).strip().lower() not in LEARNED


def ask_about_marks(rows: Rows, columns: Sequence[str], shape: str) -> None:
    """Raises DataError where a key inside messages seems to say which answers are learned, but not how.

    Args:
        rows: values by column.
        columns: those that may hold messages.
        shape: name of the shape, for the command that learns every answer.
    """
    values: dict[str, set[str]] = {}
    parts: set[str] = set()
    for row in rows:
        for message in (message for column in columns for message in messages_in(row.get(column))):
            for key, value in message.items():
                if key in USED or value is None or _MARKS.isdisjoint(words_of(key)):
                    continue
                if isinstance(value, (list, dict)):
                    parts.add(key)
                values.setdefault(key, set()).add(str(value).strip().lower())
    for key, found in values.items():
        if key in parts:
            raise DataError(
                f"`{key}` inside messages seems to say which parts of an answer are learned, which is not possible",
                "Learning every answer as a whole might teach wrong ones.",
                f"Write `train: false` into answers not to learn. To learn every answer: `--set data.shape={shape}`",
            )
        # a mark that only some answers have says as much as one with two values
        if found.issubset(LEARNED) and (len(found) > 1 or not all(key in one for one in answers_in(rows, columns))):
            is_against = not _AGAINST.isdisjoint(words_of(key))
            raise DataError(
                f"`{key}` inside messages seems to say which answers are learned, but not which of its values does",
                f"Its values are {quoted(sorted(found))}. Learning every answer might teach wrong ones.",
                f"Rename it to `train`, with true where an answer is learned. If its true says that one is "
                f"{'not ' if is_against else ''}learned: "
                f"{_as_train(key, next(name for name in columns if name in rows[0]), is_against)}. To learn every "
                f"answer: `--set data.shape={shape}`",
            )


def _as_train(key: str, column: str, is_against: bool) -> str:
    """The command that writes a mark inside messages as `train`, with true where an answer is learned."""
    mark, means = jq_path(key), "false" if is_against else "true"
    is_set = f'({mark} | tostring | ascii_downcase) as $it | ($it == "true" or $it == "1")'
    form = f"({jq_path(column)}[] | select(has({json.dumps(key)}))) |= (.train = ({is_set} == {means}) | del({mark}))"
    return jq_command(form)


def ask_about_thoughts(rows: Rows, columns: Sequence[str], others: Iterable[str], shape: str) -> None:
    """Raises DataError where a key inside messages, or a column beside answers, seems to hold thoughts.

    Args:
        rows: values by column.
        columns: those that may hold messages.
        others: columns that are not used.
        shape: name of the shape, for the command that leaves the thoughts out.
    """
    inside: dict[str, list[Any]] = {}
    for message in answers_in(rows, columns):
        for key, value in message.items():
            if key not in USED and not _THOUGHTS.isdisjoint(words_of(key)):
                inside.setdefault(key, []).append(value)
    for key, values in inside.items():
        if _are_thoughts(values):
            raise DataError(
                f"`{key}` inside messages seems to be the thought before an answer, but Burnish does not know that key",
                "Without it only the answers would be learned.",
                f"Rename it to `{THOUGHT[0]}`. To leave it out: `--set data.shape={shape}`",
            )
    for column in others:
        cells = [row.get(column) for row in rows]
        firsts = [cell[0] for cell in cells if isinstance(cell, list) and len(cell) == 1]
        if _THOUGHTS.isdisjoint(words_of(column)) or not _are_thoughts([*cells, *firsts]):
            continue
        way = f"To learn it, write it into messages as `{THOUGHT[0]}`"
        if THOUGHT in BY_NAME[shape].optional:
            alone = f".{THOUGHT[0]} = {jq_path(column)}[0] | del({jq_path(column)})"
            way = f"To learn it: {mapping(**{THOUGHT[0]: column})}"
            if firsts:
                way = f"To learn the one in each list: {jq_command(alone)}"
        raise DataError(
            f"`{column}` seems to be the thought before an answer, but Burnish does not know a column of that name",
            "Without it only the answers would be learned.",
            f"{way}. To leave it out: `--set data.shape={shape}`",
        )


def _are_thoughts(values: Sequence[Any]) -> bool:
    texts = [value for value in values if isinstance(value, str) and value.strip()]
    return bool(texts) and sum(len(text.split()) for text in texts) >= _FEWEST_WORDS * len(texts)


def ask_about_tools(rows: Rows, columns: Iterable[str], shape: str) -> None:
    """Raises DataError where a column that is not used describes tools, which the prompts would then lack.

    Args:
        rows: values by column.
        columns: those that are not used.
        shape: name of the shape, for the command that leaves the tools out.
    """
    for column in columns:
        cells = [cell for values in rows if (cell := values.get(column)) not in (None, "", [])]
        if cells and all(are_tools(cell) for cell in cells[:_SAMPLE]):
            raise DataError(
                f"`{column}` seems to describe tools, but Burnish does not know a column of that name",
                "Without them a prompt would lack the tools that its answers call.",
                f"To have them in the prompts: {mapping(tools=column)}. To leave them out: `--set data.shape={shape}`",
            )


def ask_about_answers(rows: Rows, columns: Iterable[str], talks: str, shape: str, roles: Mapping[str, str]) -> None:
    """Raises DataError where most conversations end with a question, and a column beside them seems to have its answer.

    Args:
        rows: values by column.
        columns: those that are not used.
        talks: the column with the conversations.
        shape: name of the shape, for the command that reads the conversations alone.
        roles: the user's names of roles.
    """
    said = [as_object(values.get(talks)) for values in rows[:_SAMPLE]]
    open_ended = [turns for turns in said if isinstance(turns, list) and turns and not ends_with_answer(turns, roles)]
    if 2 * len(open_ended) <= len(said):
        return
    names = {name.lower(): name for name in columns}
    every = [one for turns in said for one in messages_in(turns)]
    has_answers = any(find_role(str(role_name(one)), roles) == "assistant" for one in every)
    alone = f". To learn the answers in the conversations alone: `--set data.shape={shape}`" if has_answers else ""
    for name in (names[known] for known in WRITTEN if known in names):
        if any(isinstance(values.get(name), (str, list, dict)) and values.get(name) for values in rows[:_SAMPLE]):
            raise DataError(
                f"the conversations in `{talks}` end with a question, and `{name}` seems to have its answer",
                f"Without it, {len(open_ended):,} of the first {len(said):,} rows have nothing to learn at their end.",
                f"To learn it: {mapping(prompt=talks, completion=name)}{alone}",
            )

    label = next((names[known] for known in LABEL if known in names), None)
    key = next((key for key in CONTENTS if every and isinstance(every[0].get(key), str)), None)
    if label is not None and key is not None and not has_answers:
        text = f"{{text: .{talks}[-1].{key}, label: .{label}}}"
        raise DataError(
            f"no conversation in `{talks}` has an answer, and `{label}` seems to be a label of each",
            "A conversation without an answer has nothing to learn.",
            f"To learn `{label}` from the last message: {jq_command(text)}",
        )


def ask_about_earlier(rows: Rows, columns: Iterable[str], shape: str) -> None:
    """Raises DataError where a column that is not used holds the turns before a question, which would then lack them.

    Args:
        rows: values by column.
        columns: those that are not used.
        shape: name of the shape, for the command that leaves them out.
    """
    for column in columns:
        cells = [as_object(cell) for values in rows[:_SAMPLE] if (cell := values.get(column)) not in (None, "", [])]
        if not _EARLIER.isdisjoint(words_of(column)) and cells and all(isinstance(cell, list) for cell in cells):
            raise DataError(
                f"`{column}` seems to hold the turns before each question, but Burnish does not know a column of that "
                "name",
                "Without them a question would lack what it follows on.",
                f"To have them in the prompts: {mapping(history=column)}. To leave them out: `--set "
                f"data.shape={shape}`",
            )


def ask_about_choices(rows: Rows, columns: Iterable[str], shape: str, answer: str) -> None:
    """Raises DataError where columns that are not used hold the answers to choose from.

    Args:
        rows: values by column.
        columns: those that are not used.
        shape: name of the shape, for the command that learns the answers without them.
        answer: the column of what is learned; empty for none.
    """
    if found := choice_columns(columns, rows):
        answers = [values.get(answer) for values in rows[:_SAMPLE]]
        letter = next((str(cell) for cell in answers if cell is not None), "")
        into, what = "Write them into the question of each row", "the answers"
        if are_letters(answers):
            into, what = (
                f"{into}, and the text of the right one in place of `{letter}`",
                f"no more than `{letter}` and the like",
            )
        if command := writing_command(found, rows):
            into = f"{into}: {command}"
        raise DataError(
            f"{quoted(found, 5)} seem{'s' if len(found) == 1 else ''} to hold the answers to choose from",
            "Without them a prompt would lack what its answer refers to.",
            f"{into}. To learn {what} without them: `--set data.shape={shape}`",
        )
