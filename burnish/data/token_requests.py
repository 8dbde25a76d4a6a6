"""Work on a row that asks for token ids on its way, so that the texts of many rows are tokenized as one batch.

Such work is a generator: it yields texts, is sent the token ids of each, and returns what it made. Whether a row is
worked on alone or beside others makes no difference to it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import TypeVar

from burnish.data.row import RowError
from burnish.data.tokens import Tokens

Made = TypeVar("Made")
TokenRequests = Generator[Sequence[str], list[list[int]], Made]


def answer_alone(tokens: Tokens, work: TokenRequests[Made]) -> Made:
    """What the work on one row makes. Raises RowError where the work does."""
    try:
        texts = next(work)
        while True:
            texts = work.send(tokens.encode(texts))
    except StopIteration as ended:
        return ended.value


def answer_together(tokens: Tokens, works: Sequence[TokenRequests[Made]]) -> list[Made | RowError]:
    """What the work on each of several rows makes, or why it makes nothing; their texts share batches."""
    made: list[Made | RowError | None] = [None] * len(works)
    sent: dict[int, list[list[int]] | None] = dict.fromkeys(range(len(works)))
    while sent:
        asked: dict[int, Sequence[str]] = {}
        for number, ids in sent.items():
            try:
                asked[number] = next(works[number]) if ids is None else works[number].send(ids)
            except StopIteration as ended:
                made[number] = ended.value
            except RowError as error:
                made[number] = error.with_traceback(None)  # which would keep every local of the work, in a cycle
        told = iter(tokens.encode([text for texts in asked.values() for text in texts]))
        sent = {number: _take(told, len(texts)) for number, texts in asked.items()}
    return [one for one in made if one is not None]


def _take(told: Iterator[list[int]], count: int) -> list[list[int]]:
    return [next(told) for _ in range(count)]
