"""What every task offers. The engine and the evaluation know tasks by this alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy
import torch
from numpy.typing import ArrayLike

from burnish.data.batching.batches import Batch
from burnish.data.rows.row import RowError
from burnish.metrics.measure import Measure, MetricTable, quotient, ratio
from burnish.models.heads import Head
from burnish.recipe.schema import Recipe

_LARGEST_EXPONENT = 700.0


@dataclass(frozen=True, slots=True)
class Judged:
    """What judging gave for each held-out example."""

    examples: Sequence[Any]
    owners: Sequence[int]
    """For each example, the number of its row."""
    outputs: Sequence[Any]
    """For each example, what the task's `judge` gave; None where it gave nothing."""
    sums: numpy.ndarray
    """`[examples]` float64: summed loss of each example, in nats."""
    counts: numpy.ndarray
    """`[examples]` int64: terms of that sum."""

    def by_row(self) -> tuple[numpy.ndarray, numpy.ndarray]:
        """`[rows]` float64 sums and counts of the loss; rows without an example are left out."""
        sums, counts = self.summed_by_row(self.sums, self.counts)
        return sums[counts > 0], counts[counts > 0]

    def summed_by_row(self, *columns: ArrayLike) -> list[numpy.ndarray]:
        """Numbers of the examples, `[examples]` each, added up to numbers of the rows, `[rows]` each."""
        rows = max(self.owners, default=-1) + 1
        return [numpy.bincount(list(self.owners), weights=numpy.asarray(column), minlength=rows) for column in columns]

    def loss(self) -> Measure:
        """Mean loss per term. Rows, not tokens, are drawn again for its interval: tokens of a row depend on each
        other (Efron and Tibshirani 1993, ch. 13)."""
        return replace(ratio("loss", *self.by_row(), higher_is_better=False, is_share=False), least=0.0)

    def perplexity(self) -> Measure:
        """exp of the mean loss per token."""
        table = numpy.stack([part.astype(numpy.float64) for part in self.by_row()], axis=-1)
        return Measure("perplexity", table, _exp_of_mean, False, False, least=1.0, by_factors=True)


def _exp_of_mean(sums: numpy.ndarray) -> numpy.ndarray:
    return numpy.exp(numpy.minimum(quotient(sums[..., 0], sums[..., 1]), _LARGEST_EXPONENT))


Choice = tuple[str, Any, str]
"""A dotted option, its value, and the reason for it."""


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt whose answer is known, for judging generated answers."""

    prompt_ids: list[int]
    prompt: str
    """The prompt in words, for showing."""
    answer: str
    place: str
    inputs: Callable[[], dict[str, torch.Tensor]] | None = None
    """Gives what the network needs besides the prompt's token ids, for example pixels; such a prompt cannot be cut."""


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """What one record became."""

    examples: list[Any]
    """Whatever the task makes of it; each has `num_tokens` (read), `num_trained` (terms of the loss) and `place`."""
    truncated_tokens: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one look at a batch gave."""

    losses: torch.Tensor
    """`[terms]` fp32, in nats."""
    outputs: list[Any]
    """What the task's figures need, one item for each of the batch's examples; empty where they need nothing."""


class Task(Protocol):
    """How a record becomes token ids and labels, what the loss is, and what judges the result."""

    name: ClassVar[str]
    sections: ClassVar[tuple[str, ...]]
    """Sections of the recipe that belong to this task."""
    kinds: ClassVar[tuple[str, ...]]
    """Kinds of model that it makes sense for (`models/config.py`), that of its default model first."""
    generates: ClassVar[bool]
    """Whether the trained model writes text."""
    reads_turns: ClassVar[bool]
    """Whether `prompt_ids` takes the turns of a conversation, too."""
    knows_answers: ClassVar[bool]
    """Whether a generated answer is right only where it is the known one."""
    can_pack: ClassVar[bool]
    """Whether several examples may share a row."""
    step_rows: ClassVar[int]
    """Rows that a step should hold where each counts once in the loss; 0 where tokens count."""
    cut_from: ClassVar[str]
    """Where a row that is too long is cut, in words."""
    rate_factor: ClassVar[float]
    """What the method's learning rate is multiplied by."""
    learned: ClassVar[str]
    """What a tuned model does, in words that go on from "a model which"."""
    pipeline: ClassVar[str]
    """The hub's name for what such models do."""
    trainer: ClassVar[str]
    """The trainer of TRL that computes the same loss from the same rows; empty where there is none."""
    snippets: ClassVar[tuple[str, str]]
    """Templates (`assets/templates/snippet`) of code that uses a result without Burnish: for a tokenizer that ends a
    text by itself, as those of encoders do, and for one that does not. Empty where that takes more than a few lines."""
    usual_rows: ClassVar[tuple[int, int] | None]
    """The least and the most training rows that guides for beginners advise; None where they say nothing."""

    def __init__(self, tokenizer: Any, recipe: Recipe) -> None: ...

    @classmethod
    def choices(cls, records: Sequence[Any], recipe: Recipe) -> list[Choice]:
        """What `auto` stands for in the task's own options, for these training records.

        Raises:
            DataError: the records cannot be learned from as a whole.
        """
        ...

    @property
    def headline(self) -> str:
        """The figure that tells whether the tuned model is better."""
        ...

    @property
    def head(self) -> Head:
        """How a base model is loaded for this task."""
        ...

    @property
    def notes(self) -> list[str]:
        """What was adapted for this tokenizer, in sentences."""
        ...

    @property
    def stop_ids(self) -> list[int]:
        """Tokens at which a generated answer ends."""
        ...

    def encode(self, record: Any, context: int) -> EncodedRow:
        """A record as examples, none longer than `context` tokens.

        Raises:
            RowError: nothing can be learned from this record.
        """
        ...

    def encode_all(self, records: Sequence[Any], context: int) -> Iterable[EncodedRow | RowError]:
        """For each record what `encode` returns or raises; where it can, many of them are tokenized at once."""
        ...

    def collate(self, examples: Sequence[Any], rows: Sequence[Sequence[int]], packed: bool, epoch: int | None) -> Batch:
        """Rows of examples as one batch.

        Args:
            examples: all examples.
            rows: for each row of the batch, which examples it holds; one each, unless `packed`.
            packed: whether rows may hold several examples.
            epoch: for what is drawn anew in every epoch; None in evaluation, where nothing is left to chance.
        """
        ...

    def keep_apart(self) -> None:
        """Told that the method would mix what shares a row."""
        ...

    def adapt(self, network: Any) -> list[str]:
        """Looks at the loaded base model for what the task may do with it; sentences for what the user should know."""
        ...

    def kept_out(self, network: Any) -> tuple[str, ...]:
        """Names of modules of the base model that no method may train."""
        ...

    def save_with(self, folder: Path) -> None:
        """Writes what else belongs to a result into its folder, beside weights and tokenizer."""
        ...

    def prepare(self, network: Any, examples: Sequence[Any], batches: Iterable[Batch], precision: str) -> Sequence[Any]:
        """The examples, with what has to be measured once on the base model before it is trained."""
        ...

    def stand_in(self, examples: Sequence[Any]) -> Sequence[Any]:
        """The examples as `prepare` would leave them, with made-up measurements: for a step that is only simulated."""
        ...

    def begin_step(self, network: Any, batches: Iterable[Batch]) -> None:
        """Looks at all batches of a step, or of a judging, before the first loss is taken. Called without gradients."""
        ...

    def losses(self, network: Any, batch: Batch) -> torch.Tensor:
        """`[terms]` fp32, in nats and in the order of the batch's `owners`; the loss of a step is their mean."""
        ...

    def judge(self, network: Any, batch: Batch) -> Outcome:
        """The losses again, with what the figures need. Called without gradients."""
        ...

    def measures(self, judged: Judged) -> list[Measure]:
        """The task's figures, besides its loss."""
        ...

    def chance(self, judged: Judged) -> Measure | None:
        """The loss of giving every row the frequencies of the answers, without reading it; None where it has none."""
        ...

    def tables(self, judged: Judged) -> list[MetricTable]:
        """Finer figures, for example one line a label."""
        ...

    def remark(self, judged: Judged) -> str:
        """What one must know of the held-out rows to read the figures; empty where they speak for themselves."""
        ...

    def shown(self, example: Any, output: Any) -> tuple[str, str, str] | None:
        """(prompt, expected, given) in words; None where the task generates its answers."""
        ...

    def prompt_ids(self, prompt: Any) -> list[int]:
        """What a model that generates is fed to go on from."""
        ...

    def prompt_inputs(self, prompt: Any) -> dict[str, torch.Tensor] | None:
        """What the network needs besides the ids of a prompt, for example pixels; None where it needs nothing."""
        ...

    def spoken(self, ids: Sequence[int]) -> Sequence[int]:
        """The generated ids that are meant for the user: all but what the model only writes to begin an answer."""
        ...

    def answer_in(self, text: str) -> str:
        """The part of a generated text that is the answer, as it is shown and compared."""
        ...

    def question(self, record: Any) -> Question | None:
        """The record as a question with a known answer, or None where there is none to generate."""
        ...

    def respond(self, network: Any, prompt: str) -> str:
        """The answer of a model that does not generate to a user's text, or to a row as a JSON object."""
        ...
