"""Predictions for the rows of a file, some of them at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch

from burnish.data.rows.row import Rejected, Row, RowError
from burnish.data.rows.unanswered import UnansweredRows
from burnish.decoding.context import prompt_room
from burnish.errors import InputError
from burnish.inference.session import Session
from burnish.tasks.predictions import TextsPredictor, as_columns
from burnish.tasks.task import Question
from burnish.visible import parse_json

_AT_ONCE = 16
"""Rows of similar length in one batch of a model that does not generate."""
_PROMPTS = ("prompt", "text", "question", "instruction", "input")
"""A row of one of these columns alone is a prompt, whatever shape the training rows had."""

LEFT_OUT = "tokens_left_out"
"""Column with the tokens that a row has beyond the context, which are not used; only in such rows."""
Answer = dict[str, Any]
"""What is predicted for a row, by column; `error` alone if nothing can be."""


class RowAnswers:
    """Predicts for rows in the form of a run's training rows; their answers and labels are not used.

    Args:
        session: with the model.
        columns: field -> column of the file, in place of the run's where they name the same field.
        max_new_tokens: maximum length of an answer.
        temperature: 0 for the most likely answers.
        seed: of what is drawn otherwise.
    """

    def __init__(
        self,
        session: Session,
        columns: Mapping[str, str] | None = None,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._session, self._predictor = session, session.task.predictor
        self._most, self._temperature, self._seed = max_new_tokens, temperature, seed
        session.check_kwargs()
        data = session.opened.data
        self.columns = {**data.columns, **(columns or {})}
        """Field -> column of the file."""
        self._rows = UnansweredRows.like(data.shape, self.columns, data.roles)

    def predict(self, rows: Sequence[Row | Rejected], part: int = 0) -> list[Answer]:
        """What is predicted for each row.

        Args:
            rows: as a file has them; those that cannot be read too.
            part: number of these rows among others of the file; what is drawn depends on it.
        """
        found: list[Answer] = [{"error": row.reason} if isinstance(row, Rejected) else {} for row in rows]
        read = dict[int, Any]()
        for number, row in enumerate(rows):
            if not isinstance(row, Rejected):
                try:
                    read[number] = self._read(row)
                except (RowError, InputError) as error:
                    found[number] = {"error": str(error) if isinstance(error, RowError) else error.what}
        answer: Callable[[Sequence[Any]], list[Answer]] = self._generated
        if isinstance(self._predictor, TextsPredictor):
            answer = self._said
        torch.manual_seed(self._seed + part)
        for number, columns in zip(read, answer(list(read.values())), strict=True):
            found[number] = columns
        return found

    def of_prompt(self, prompt: str) -> Answer:
        """The same for what a user types: a row as a JSON object, or a text alone. Empty if it is no such row."""
        try:
            values = parse_json(prompt)
        except ValueError:
            values = None
        (found,) = self.predict([Row(values if isinstance(values, dict) else {"text": prompt}, "the prompt", 1)])
        return {} if "error" in found else found

    def used(self, row: Row) -> set[str]:
        """The columns of a row, as its file calls them, that the model reads."""
        names = list(row.values)
        if not isinstance(self._predictor, TextsPredictor):
            return set(names) if _is_prompt(row) else self._rows.used(names)
        plan = self._rows.columns.plan(tuple(names))
        watched = _Watched(self._rows.columns.rename(row.values))
        with suppress(RowError, InputError):
            self._predictor.texts_of(watched)
        return {name for name in names if plan.get(name, name) in watched.read}

    def _read(self, row: Row) -> Any:
        """A question, or the texts of a row. Raises RowError or InputError if there are none."""
        if isinstance(self._predictor, TextsPredictor):
            return self._predictor.texts_of(self._rows.columns.rename(row.values))
        if _is_prompt(row):
            (text,) = row.values.values()
            question = Question(self._predictor.prompt_ids(text), text, "", row.place)
        else:
            question = self._predictor.request(self._rows.to_record(row))
        if question is None:
            raise RowError("there is nothing to answer")
        return question

    def _generated(self, questions: Sequence[Question]) -> list[Answer]:
        room = prompt_room(self._session.network, self._most)
        lost = [max(0, len(one.prompt_ids) - room) if room and one.inputs is None else 0 for one in questions]
        answers = self._session.answer(questions, self._most, self._temperature)
        return [
            {"answer": text, "is_cut": is_cut, **_left_out(number)}
            for (text, is_cut), number in zip(answers, lost, strict=True)
        ]

    def _said(self, rows: Sequence[Sequence[str]]) -> list[Answer]:
        predictor: Any = self._predictor
        order = sorted(range(len(rows)), key=lambda number: sum(map(len, rows[number])))
        found = dict[int, Answer]()
        for begin in range(0, len(order), _AT_ONCE):
            chosen = order[begin : begin + _AT_ONCE]
            predictions = self._session.predict([rows[number] for number in chosen])
            for number, prediction in zip(chosen, predictions, strict=True):
                lost = predictor.num_left_out(rows[number])
                found[number] = {**as_columns(prediction, rows[number]), **_left_out(lost)}
        return [found[number] for number in range(len(rows))]


def _is_prompt(row: Row) -> bool:
    """Whether a row is a prompt and nothing else."""
    return len(row.values) == 1 and all(
        name in _PROMPTS and isinstance(value, str) for name, value in row.values.items()
    )


class _Watched(dict[str, Any]):
    """A row that notes which of its columns are read: all of them where it is read as a whole."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.read = set[str]()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a column."""
        self.read.add(name)
        return super().get(name, default)

    def __iter__(self) -> Iterator[str]:
        names = list(super().keys())
        self.read.update(names)
        return iter(names)

    def items(self) -> Any:
        """All columns with their values."""
        return [(name, self[name]) for name in self]


def _left_out(tokens: int) -> dict[str, int]:
    """How much longer than the context a row is, if it is."""
    return {LEFT_OUT: tokens} if tokens else {}
