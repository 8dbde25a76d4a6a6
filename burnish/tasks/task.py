"""The task axis: what one example means. A task is four parts, and everything outside `tasks/` knows tasks by these.

    Encoder     record -> examples -> batch
    Objective   the loss terms of a batch, and what the base model needs for them
    Scorer      metrics, tables and the headline
    Predictor   prompt -> ids -> answer, or input -> label, tags, span, score

`TaskFacts` is what is known of a task before there is a tokenizer; `TaskFacts.make` adds the four parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch

from burnish.data.batching.batches import Batch
from burnish.data.rows.records import Record
from burnish.data.rows.row import RowError
from burnish.metrics.measure import Measure, MetricTable
from burnish.models.heads import CAUSAL, Head
from burnish.recipe.schema import Recipe
from burnish.tasks.evaluated import BatchOutcome, EvaluatedExamples


class Encoder(Protocol):
    """How a record becomes examples, and examples become a batch."""

    @property
    def can_pack(self) -> bool:
        """Whether several examples may share a row of a batch."""
        ...

    @property
    def cut_from(self) -> str:
        """Where a row that is too long is cut, in words."""
        ...

    @property
    def notes(self) -> list[str]:
        """What was adapted for this tokenizer, in sentences."""
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
            epoch: for what is drawn again in every epoch; None in evaluation, where nothing is left to chance.
        """
        ...

    def disable_packing(self) -> None:
        """Called where the method, or the model, would mix what shares a row."""
        ...

    def segments(self, example: Any) -> list[Segment]:
        """The tokens of an example, and which of them are learned: for showing."""
        ...


class Objective(Protocol):
    """What is learned from a batch, and what the base model needs for that."""

    @property
    def head(self) -> Head:
        """How a base model is loaded."""
        ...

    @property
    def step_rows(self) -> int:
        """Rows that a step should hold where each counts once in the loss; 0 where tokens count."""
        ...

    @property
    def rate_factor(self) -> float:
        """What the method's learning rate is multiplied by."""
        ...

    def inspect_model(self, network: Any) -> list[str]:
        """Finds out what the loaded base model allows; sentences for what the user should know."""
        ...

    def frozen_modules(self, network: Any) -> tuple[str, ...]:
        """Names of modules of the base model that no method may train."""
        ...

    def prepare_examples(
        self, network: Any, examples: Sequence[Any], batches: Iterable[Batch], precision: str
    ) -> Sequence[Any]:
        """The examples, with what has to be measured once on the base model before it is trained."""
        ...

    def placeholder_examples(self, examples: Sequence[Any]) -> Sequence[Any]:
        """The examples as `prepare_examples` would leave them, with made-up measurements, for a simulated step.
        The same examples where nothing is measured."""
        ...

    def begin_step(self, network: Any, batches: Iterable[Batch]) -> None:
        """Sees all batches of a step, or of an evaluation, before the first loss is taken. Called without gradients."""
        ...

    def losses(self, network: Any, batch: Batch) -> torch.Tensor:
        """`[terms]` fp32, in nats and in the order of the batch's `owners`; the loss of a step is their mean."""
        ...


class Scorer(Protocol):
    """How good a model is on rows that it was not trained on."""

    @property
    def headline(self) -> str:
        """Name of the metric that decides whether a model is better: `loss`, or one of `measures`."""
        ...

    @property
    def compares_answers(self) -> bool:
        """Whether a generated answer is right only where it is the known one."""
        ...

    def evaluate_batch(self, network: Any, batch: Batch) -> BatchOutcome:
        """The losses of the objective, with what the metrics need. Called without gradients."""
        ...

    def measures(self, evaluated: EvaluatedExamples) -> list[Measure]:
        """The metrics, besides the loss."""
        ...

    def chance_loss(self, evaluated: EvaluatedExamples) -> Measure | None:
        """The loss of giving every row the frequencies of the answers, without reading it; None where it has none."""
        ...

    def tables(self, evaluated: EvaluatedExamples) -> list[MetricTable]:
        """Finer metrics, for example one line a label."""
        ...

    def remark(self, evaluated: EvaluatedExamples) -> str:
        """What one must know of the held-out rows to read the metrics; empty where there is nothing."""
        ...

    def describe(self, example: Any, output: Any) -> tuple[str, str, str] | None:
        """(prompt, expected, given) in words; None where answers are generated."""
        ...


class Predictor(Protocol):
    """How a trained model is asked, and how its answer is read.

    Where `TaskFacts.generates`, the model goes on from `prompt_ids`; otherwise `respond` answers directly.
    """

    @property
    def stop_ids(self) -> list[int]:
        """Tokens at which a generated answer ends."""
        ...

    def prompt_ids(self, prompt: Any) -> list[int]:
        """What a model that generates is given to go on from.

        Args:
            prompt: a text; or, where `TaskFacts.reads_turns`, the turns of a conversation.
        """
        ...

    def prompt_inputs(self, prompt: Any) -> dict[str, torch.Tensor] | None:
        """What the network needs besides the ids of a prompt, for example pixels; None where it needs nothing."""
        ...

    def visible_ids(self, ids: Sequence[int]) -> Sequence[int]:
        """The generated ids that are meant for the user: all but what the model only writes to begin an answer."""
        ...

    def answer_text(self, text: str) -> str:
        """The part of a generated text that is the answer, as it is shown and compared."""
        ...

    def question(self, record: Any) -> Question | None:
        """The record as a question with a known answer, or None where there is none to generate."""
        ...

    def served_prompts(self, record: Any) -> list[list[int]]:
        """The prompts that may be generated from for a record's last answer, as `question` and as a user's turns give
        them; each must equal the ids of `trained_prompt`. Empty where that answer is not generated."""
        ...

    def trained_prompt(self, record: Any, example: Any) -> tuple[list[int], list[int]]:
        """The ids before the last answer of a training example, and those of the answer."""
        ...

    def respond(self, network: Any, prompt: str) -> str:
        """The answer of a model that does not generate to a user's text, or to a row as a JSON object.

        Args:
            network: in evaluation mode.
            prompt: what is asked.

        Raises:
            InputError: the prompt cannot be answered.
        """
        ...

    def save_extras(self, folder: Path) -> None:
        """Writes what else belongs to a result into its folder, beside weights and tokenizer."""
        ...


class Parts(NamedTuple):
    """The four parts of a task."""

    encoder: Encoder
    objective: Objective
    scorer: Scorer
    predictor: Predictor


Choice = tuple[str, Any, str]
"""A dotted option, its value, and the reason for it."""


def no_choices(records: Sequence[Any], recipe: Recipe) -> list[Choice]:
    """The task has no options of its own."""
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFacts:
    """What is known of a task before there is a tokenizer, and how to make its parts."""

    name: str
    records: tuple[type[Record], ...]
    """The kinds of record that it learns from."""
    kinds: tuple[str, ...]
    """Kinds of model that can do it (`models/config.py`), that of its default model first."""
    build: Callable[[Any, Recipe], Parts]
    """The parts, for a tokenizer whose pad token is set, and a recipe whose task options are filled in."""
    choices: Callable[[Sequence[Any], Recipe], list[Choice]] = no_choices
    """What `auto` means in the task's own options, for these training records. Raises DataError where nothing can be
    learned from the records as a whole."""
    sections: tuple[str, ...] = ()
    """Sections of the recipe that belong to this task."""
    generates: bool = False
    """Whether the trained model writes text."""
    reads_turns: bool = False
    """Whether its prompt may be the turns of a conversation."""
    counts_tokens: bool = False
    """Whether the share of the tokens that are trained on says something. Where a row has one label it does not."""
    learned: str
    """What a tuned model does, in words that go on from "a model which"."""
    auto_class: str = CAUSAL.auto_class
    """The class of transformers that loads its models: that of `Objective.head`."""
    names_labels: bool = False
    """Whether a model has one output for each of `data.labels`."""
    pipeline: str = "text-generation"
    """The hub's name for what such models do."""
    usual_rows: tuple[int, int] | None = None
    """The least and the most training rows that guides for beginners advise; None where they say nothing."""
    sample: str = ""
    """The bundled file of rows for it, in `assets/samples`; empty where there is none."""
    trainer: str = ""
    """The trainer of TRL that computes the same loss from the same rows, so that a script can repeat a run; empty where
    there is none."""
    snippets: tuple[str, str] = ("", "")
    """Templates (`assets/templates/snippet`) of code that uses a result without Burnish: for a tokenizer that ends a
    text by itself, as those of encoders do, and for one that does not. Empty where that takes more than a few lines."""

    def make(self, tokenizer: Any, recipe: Recipe) -> Task:
        """The task for a tokenizer.

        Args:
            tokenizer: of the base model, or of the result; its pad token is set.
            recipe: gives the task its options, and the labels where it has any.

        Raises:
            ModelError: the tokenizer cannot do what the task needs.
        """
        facts = {field.name: getattr(self, field.name) for field in fields(TaskFacts)}
        return Task(**facts, **self.build(tokenizer, recipe)._asdict())


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(TaskFacts):
    """A task that is ready for a tokenizer."""

    encoder: Encoder
    objective: Objective
    scorer: Scorer
    predictor: Predictor


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """What one record became."""

    examples: list[Any]
    """Whatever the encoder makes; each has `num_tokens` (read), `num_trained` (terms of the loss) and `place`."""
    truncated_tokens: int


class Segment(NamedTuple):
    """Some tokens of an example that belong together."""

    name: str
    """What they are, for example `chosen`; empty where the example is all there is."""
    ids: Sequence[int]
    is_learned: Sequence[bool]
    """For each of the ids."""
    note: str = ""
    """What else is learned, in words: a label, for example."""


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt with its known answer, for evaluating generated answers."""

    prompt_ids: list[int]
    prompt: str
    """The prompt in words, for showing."""
    answer: str
    place: str
    inputs: Callable[[], dict[str, torch.Tensor]] | None = None
    """Gives what the network needs besides the prompt's token ids, for example pixels; such a prompt cannot be cut."""
