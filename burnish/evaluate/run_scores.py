"""What each run made of the shared rows, and which figures of it may be held against those of another run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy

from burnish.data.records import CANONICAL, ChatRecord, PictureRecord, Record, TextRecord
from burnish.metrics.measure import Measure, ratio

FEWEST_ROWS = 30
"""Of fewer rows an interval holds the truth less often than it says."""
_MOST_LEFT_OUT = 0.1
PER_BYTE = "loss per byte"


@dataclass(frozen=True, slots=True)
class RunScore:
    """One run on the shared rows."""

    sums: numpy.ndarray
    """`[rows]` float64: summed loss of each row, in nats."""
    counts: numpy.ndarray
    """`[rows]`: terms of that sum: tokens, words, or the row itself."""
    headline: Measure | None
    """The task's figure, where it is not the loss."""
    is_against_base: bool = False
    """Whether the loss is measured against the base model."""


@dataclass(slots=True)
class Comparable:
    """The figures that all runs have on the same footing."""

    figures: list[list[Measure]] = field(default_factory=list)
    """The task's own figure first; of each, one measure a run."""
    scales: dict[str, list[float]] = field(default_factory=dict)
    """By name of a figure, what the loss of each run's validations is multiplied by to be on its scale."""
    remarks: list[str] = field(default_factory=list)
    """What cannot be compared, and why, in sentences."""


def find_comparable(
    scores: Sequence[RunScore], sizes: Sequence[int] | None, loss_options: Sequence[str] = ()
) -> Comparable:
    """The figures in which runs can be compared.

    A loss is a mean over terms. It can be compared where every row has the same number of terms in all runs, and a term
    is the same thing. Two tokenizers cut a text into different tokens: then the loss of the whole text is the same
    thing still, for a text is as likely as all of its tokens together, and it is told per byte of the text.

    Args:
        scores: of each run.
        sizes: `[rows]`, bytes of UTF-8 that are learned of each row; None where the loss is not one of a text.
        loss_options: options that make the losses of these runs different things.
    """
    found = Comparable()
    headlines = [score.headline for score in scores]
    if all(one is not None for one in headlines):
        kept = [one for one in headlines if one is not None]
        if len({len(one.table) for one in kept}) == 1:
            found.figures.append(kept)
        else:
            found.remarks.append(f"The {kept[0].name} is not measured on the same pieces of the rows.")
    if loss_options:
        named = ", ".join(f"`{option}`" for option in loss_options)
        found.remarks.append(f"The losses are different things, by {named}, and are not compared.")
        return found
    counts = numpy.stack([score.counts for score in scores])
    same = (counts == counts[0]).all(axis=0)
    if same.mean() >= 1 - _MOST_LEFT_OUT and same.sum() >= FEWEST_ROWS:
        found.figures.append([_loss("loss", score.sums[same], score.counts[same]) for score in scores])
        found.scales["loss"] = [1.0] * len(scores)
        if not same.all():
            left = int((~same).sum())
            found.remarks.append(f"{left} rows are not of the same length in all runs, and left out of the loss.")
    elif sizes is not None:
        found.figures.append([_loss(PER_BYTE, score.sums, numpy.asarray(sizes)) for score in scores])
        found.scales[PER_BYTE] = [float(score.counts.sum()) / sum(sizes) for score in scores]
        found.remarks.append("The runs cut these texts into different tokens: their losses are told per byte of text.")
    else:
        found.remarks.append("The rows have different numbers of terms in these runs: their losses are not compared.")
    return found


def _loss(name: str, sums: numpy.ndarray, counts: numpy.ndarray) -> Measure:
    return ratio(name, sums, counts, higher_is_better=False, is_share=False)


def learned_bytes(records: Sequence[Record]) -> list[int] | None:
    """Bytes of UTF-8 that are learned of each row; None where that is no text.

    Of a conversation these are what the assistant says, with the calls of tools that it makes.
    """
    sizes = []
    for record in records:
        if isinstance(record, TextRecord):
            sizes.append(_bytes(record.text))
        elif isinstance(record, (ChatRecord, PictureRecord)):
            said = [message for message in record.messages if message["role"] == "assistant"]
            sizes.append(sum(_bytes(message.get("content")) + _bytes(message.get("tool_calls")) for message in said))
        else:
            return None
    return sizes


def _bytes(said: Any) -> int:
    """Of a text, of the texts among the parts of a message, or of a call as JSON."""
    if isinstance(said, str):
        return len(said.encode("utf-8", "surrogatepass"))
    texts = [part["text"] for part in said or [] if part.get("type") == "text"]
    return sum(map(_bytes, texts)) if texts or not said else len(CANONICAL.encode(said))
