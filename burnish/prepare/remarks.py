"""The rows of a run in numbers, and what of them is not used, as events for the user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from burnish.data.batching.batches import BatchPlan
from burnish.data.chat.probe import message_keys
from burnish.data.rows.row import Rejected
from burnish.data.rows.shapes import Shape
from burnish.runs.events import DataReady, Event, Note, Warned

if TYPE_CHECKING:
    from burnish.prepare.context import RunContext

_NAMED_ROWS = 3


def report_shape(shape: Shape, emit: Callable[[Event], None]) -> None:
    """Says how the rows were read, and what of them is not used."""
    for note in shape.notes:
        emit(Note(note))
    if shape.unused:
        emit(Note(f"Unused: {shape.unused}."))


def report_messages(context: RunContext, refused: Sequence[Rejected]) -> None:
    """Reports what of the conversations is not used: keys that the template does not write, and refused answers."""
    keys = Counter[str]()
    for record in chain(context.records.train, context.records.valid, context.records.test):
        for dialogue in record.dialogues():
            keys.update(message_keys(dialogue))
    for note in context.task.encoder.notes_on(keys):
        context.emit(Note(note))
    places: dict[str, list[str]] = {}
    for answer in refused:
        places.setdefault(answer.reason, []).append(answer.place)
    named = [f"{found[0]} ({len(found):,} times): {reason}" for reason, found in list(places.items())[:_NAMED_ROWS]]
    if named:
        number = "1 answer is" if len(refused) == 1 else f"{len(refused):,} answers are"
        where = "but others of the same rows (`burnish check` lists all)"
        context.emit(Warned(f"{number} not learned, {where}: {'; '.join(named)}."))


def report_rows(context: RunContext, batches: BatchPlan) -> None:
    """Reports the numbers of rows and tokens.

    Args:
        context: of the run, encoded.
        batches: of the training rows.
    """
    data = DataReady(
        shape=context.records.shape.name,
        task=context.task.name,
        training_rows=context.num_training_rows,
        validation_rows=context.num_validation_rows,
        test_rows=context.num_test_rows,
        rejected_rows=len(context.rejected),
        tokens=context.training.num_tokens,
        trained_tokens=context.training.num_trained,
        packed_rows=len(batches.rows),
    )
    context.emit(data)


def report_rejected(context: RunContext) -> None:
    """Names the first of the rows that were left out."""
    if context.rejected:
        first = "; ".join(f"{row.place}: {row.reason}" for row in context.rejected[:_NAMED_ROWS])
        more = len(context.rejected) - _NAMED_ROWS
        others = f"; and {more:,} more, all listed in `rejected.jsonl`" if more > 0 else ""
        context.emit(Warned(f"Left out: {first}{others}"))
