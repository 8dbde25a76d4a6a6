"""Served tokens = trained tokens: what a model is fed for an answer is what that answer was trained from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from burnish.data.preference_format import PairExample
from burnish.data.records import ChatRecord, TextRecord
from burnish.data.row import IGNORED, Example, RowError
from burnish.data.sequence_pairs import SequencePair
from burnish.tasks.task import Task

_WHOLE = 1 << 20
"""A context in tokens that no row is cut to."""


@dataclass(frozen=True, slots=True)
class ServedTokens:
    """What came of comparing."""

    prompts: int
    tokens: int
    """Of all prompts, as they are served."""
    wrong: int
    """Tokens that differ, and answers that do not end with a token that generation stops at."""


def compare_served(task: Task, records: Sequence[Any]) -> ServedTokens:
    """Holds the prompt that generation would feed for each record's last answer against the one it is trained from.

    Args:
        task: generates.
        records: of its rows.
    """
    prompts = tokens = wrong = 0
    for record in records:
        try:
            examples = task.encode(record, _WHOLE).examples
        except RowError:
            continue  # left out of the training, too
        for served in _served(task, record):
            trained, answer = _last_answer(examples[-1], record)
            prompts, tokens = prompts + 1, tokens + len(served)
            wrong += sum(one != two for one, two in zip_longest(served, trained))
            wrong += bool(task.stop_ids) and bool(answer) and answer[-1] not in task.stop_ids
    return ServedTokens(prompts, tokens, wrong)


def _served(task: Task, record: Any) -> list[list[int]]:
    """The prompt as judging asks it, and as a user's turns give it, where they can."""
    if isinstance(record, TextRecord):
        return [task.prompt_ids(record.text)]
    question = task.question(record)
    if question is None:
        return []
    served = [list(question.prompt_ids)]
    if isinstance(record, ChatRecord) and not record.tools:
        served.append(list(task.prompt_ids(list(record.messages[:-1]))))
    return served


def _last_answer(example: Any, record: Any) -> tuple[list[int], list[int]]:
    """The ids before the last answer of an example, and those of the answer.

    A running text has no prompt: all of it is fed, but for the token that ends it.
    """
    if isinstance(example, SequencePair):
        return list(example.source_ids), list(example.target_ids)
    ids, labels = _with_labels(example)
    start = len(ids)
    if isinstance(record, TextRecord):
        start -= record.ends
    else:
        while start > 0 and labels[start - 1] != IGNORED:
            start -= 1
    return ids[:start], ids[start:]


def _with_labels(example: Any) -> tuple[list[int], list[int]]:
    if isinstance(example, Example):
        return [int(token) for token in example.input_ids], [int(label) for label in example.labels]
    answer = example.chosen if isinstance(example, PairExample) else example.answer
    prompt = list(example.prompt_ids)
    return [*prompt, *answer.ids], [IGNORED] * len(prompt) + list(answer.labels)
