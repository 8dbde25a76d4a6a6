"""What travels through the data layer: a row, an example, what was left out; and a row's columns."""

from __future__ import annotations

import datetime
import decimal
import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from burnish.data.rows.printed import is_shortened, printed
from burnish.errors import DataError
from burnish.visible import parse_json

IGNORED = -100
"""Label of a token that is not trained on (the value that torch's cross-entropy ignores)."""
Field = tuple[str, ...]
"""The names that a column may have, best first."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file: column values and location."""

    values: dict[str, Any]
    file: str
    line: int
    """1-based line of the file where the row begins; for columnar files, the row's number."""
    note: str = ""
    """A sentence for the user about how the file was read; the same for all its rows."""

    @property
    def place(self) -> str:
        """`file:line`, as in errors."""
        return f"{self.file}:{self.line}"


def note_on(name: str, remarks: Iterable[str]) -> str:
    """What was guessed about a file as one sentence, from phrases that follow its name; empty if there are none."""
    said = "; it ".join(filter(None, remarks))
    return f"`{name}` {said}." if said else ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that cannot be used, and why. Written to `rejected.jsonl`, counted and reported on the terminal."""

    file: str
    line: int
    reason: str

    @property
    def place(self) -> str:
        """`file:line`, as in errors."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids and labels of one example, before batching.

    `labels[i]` is `input_ids[i]` if token i is trained on, else `IGNORED`; the shift by one happens in collation. Both
    have the same length.
    """

    input_ids: Sequence[int] | numpy.ndarray
    labels: Sequence[int] | numpy.ndarray
    place: str

    @property
    def num_tokens(self) -> int:
        """Number of tokens."""
        return len(self.input_ids)

    @property
    def num_trained(self) -> int:
        """Number of tokens in the loss; the first token of an example is never predicted."""
        labels = self.labels[1:]
        is_array = isinstance(labels, numpy.ndarray)
        return len(labels) - int(numpy.count_nonzero(labels == IGNORED) if is_array else labels.count(IGNORED))


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """The examples of one record."""

    examples: list[Any]
    """Of the encoder's own type; each has `num_tokens` (input), `num_trained` (terms of the loss) and `place`."""
    truncated_tokens: int = 0
    """Tokens that did not fit the context."""
    unlearned: str = ""
    """Why nothing can be learned from the row, although a model can be evaluated on it: its answer is known, and any
    prediction counts as wrong. Such a row is left out of the training rows only."""
    refused: Sequence[str] = ()
    """Why answers of a conversation are not learned although others are, one reason each."""


class RowError(ValueError):
    """A row cannot be used; the message gives the reason. Caught by the loader, which counts and reports the row."""


FIELDS = (
    "text",
    "prompt",
    "completion",
    "system",
    "instruction",
    "input",
    "output",
    "messages",
    "conversations",
    "tools",
    "question",
    "answer",
    "response",
    "context",
    "chosen",
    "rejected",
    "label",
    "labels",
    "score",
    "sentence1",
    "sentence2",
    "tokens",
    "tags",
    "sentence_id",
    "answers",
    "answer_start",
    "entities",
    "images",
    "reasoning_content",
    "history",
)
"""Fields that a column can be mapped to in `data.columns`."""
OTHER_NAMES = (
    "content", "chosen_messages", "rejected_messages", "category", "class", "sentiment", "intent", "topic", "emotion",
    "sentence", "review", "comment", "premise", "hypothesis", "text1", "text2", "text_a", "text_b", "question1",
    "question2", "words", "ner_tags", "pos_tags", "chunk_tags", "image", "tweet", "utterance", "headline", "text_pair",
    "gold_label", "target", "source", "src", "source_text", "input_text", "query", "user", "human", "article",
    "document", "dialogue", "tgt", "target_text", "output_text", "reply", "assistant", "bot", "gpt", "summary",
    "highlights", "translation", "spans", "ents", "annotations", "annotation",
    "similarity", "similarity_score", "relatedness", "relatedness_score", "stars",
    "star_rating", "rating", "is_good", "is_correct", "functions", "reasoning", "thinking", "thought", "thoughts",
    "problem", "solution", "system_prompt", "stance", "overall", "reviewtext", "review_text", "review_body",
    "thinking_content", "chain_of_thought", "cot", "complex_cot", "thinking_trajectory", "reasoning_text",
)  # fmt: skip
"""Further column names that shapes read in upper and lower case; words that are also labels, such as `correct`, are not
among them."""


def is_known_name(name: object) -> bool:
    """Whether some shape reads columns of this name, in whatever case."""
    plain = str(name).strip().lower()
    return plain in FIELDS or plain in OTHER_NAMES


class ColumnMap:
    """Renames a row's columns: first as in the recipe, then, for example, `Question` to `question`."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        self.columns = dict(columns)
        self.plans: dict[tuple[str, ...], dict[str, str]] = {}

    def rename(self, values: dict[str, Any]) -> dict[str, Any]:
        """The row's values under the names that shapes use; a column whose name is taken by a mapped one is dropped."""
        keys = tuple(values)
        plan = self.plans.get(keys)
        if plan is None:
            plan = self.plans[keys] = self.plan(keys)
        if not plan:
            return values
        taken = set(plan.values())
        return {plan.get(key, key): value for key, value in values.items() if key in plan or key not in taken}

    def plan(self, keys: tuple[str, ...]) -> dict[str, str]:
        """The new names of columns that are renamed, for rows with these columns."""
        columns = {field: _key_of(column, keys) for field, column in self.columns.items()}
        plan = {column: field for field, column in columns.items() if column is not None and column != field}
        for key in keys:
            name = str(key).strip().lower()
            if is_known_name(key) and name not in keys and name not in plan.values() and key not in plan:
                plan[key] = name
        return plan

    def check(self, found: Iterable[str]) -> None:
        """Checks that all fields and columns of the map exist.

        Args:
            found: columns of the file.

        Raises:
            DataError: one does not exist; similar names are suggested.
        """
        found = list(found)
        for field, column in self.columns.items():
            if field not in FIELDS:
                raise DataError(
                    f"`data.columns.{field}` is not a field that a column can be mapped to",
                    f"The fields are {', '.join(FIELDS)}.",
                    did_you_mean(field, FIELDS) or "Use one of these",
                )
            if _key_of(column, found) is None:
                raise DataError(
                    f"there is no column `{column}`, but `data.columns.{field}` refers to it",
                    f"The columns are {quoted(found)}.",
                    did_you_mean(column, found) or f"Set `data.columns.{field}` to one of these",
                )


def _key_of(column: str, keys: Iterable[str]) -> str | None:
    """The column of this name, also in other case if there is only one; None if there is none."""
    keys = tuple(keys)
    like = [key for key in keys if str(key).strip().lower() == column.strip().lower()]
    return column if column in keys else like[0] if len(like) == 1 else None


def words_of(name: str) -> list[str]:
    """The words in the name of a column or key, in lower case: `no_train`, `no-train` and `noTrain` have two."""
    return re.split(r"[\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A suggestion, or empty if no known name is similar."""
    lowered = {str(option).lower(): str(option) for option in known}
    near = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return f"Did you mean `{lowered[near[0]]}`?" if near else ""


def quoted(names: Iterable[str], most: int = 20) -> str:
    """Names in backticks, shortened if there are many."""
    names = [f"`{name}`" for name in names]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) + more) or "none"


def parse_json_text(value: Any, what: str) -> Any:
    """Parses a value that may be JSON text; blank text and NaN become None.

    Raises:
        RowError: the text is not JSON.
    """
    if value != value:
        return None
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    try:
        return parse_json(value)
    except (ValueError, RecursionError) as error:
        found = printed(value)
        if found is not None:
            return found
        if is_shortened(value):
            raise RowError(f"{what}: numpy left out the middle of the list (`...`), so it is not complete") from error
        raise RowError(f"{what}: not JSON ({error})") from error


def as_text(value: Any, column: str) -> str | None:
    """A cell as text: numbers, booleans, lists and objects as JSON; null and NaN as None.

    Raises:
        RowError: the cell is not text, such as bytes, or has half a surrogate pair.
    """
    if isinstance(value, str):
        check_characters(value, column)
        return value
    if value is None or value != value:  # many exports write missing cells as NaN
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, decimal.Decimal)):
        return str(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (dict, list)):
        return as_json(value, column)
    raise RowError(f"`{column}` has a value of type {type(value).__name__}, which is not text")


def as_json(value: Any, column: str) -> str:
    """A nested value as JSON text.

    Raises:
        RowError: it has a value that JSON cannot represent.
    """
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise RowError(f"`{column}` cannot be written as JSON: {error}") from error
    check_characters(text, column)
    return text


def check_characters(text: str, column: str) -> None:
    """Rejects half a surrogate pair, which JSON can express (`\\ud83d`) but tokenizers cannot encode.

    Raises:
        RowError: there is one.
    """
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RowError(
            f"`{column}` has half a surrogate pair (\\u{ord(text[error.start]):04x}), which is not a character"
        ) from error


def pick(values: Mapping[str, Any], field: Field) -> tuple[str, Any]:
    """(name, value) of the first of a field's columns that the row has; (best name, None) if it has none."""
    name = next((name for name in field if name in values), field[0])
    return name, values.get(name)
