"""What a task is: four parts that say what one example is and how to learn from it.

    Encoder     record -> examples -> batch
    Objective   the loss terms of a batch, and what they require of the base model
    Scorer      metrics, tables and the headline
    Predictor   prompt -> ids -> answer, or input -> label, tags, span, score

Code outside `tasks/` uses only these parts. `TaskFacts` is what is known about a task without a tokenizer;
`TaskFacts.make` adds the parts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch

from burnish.data.batching.batches import Batch
from burnish.data.chat.calls import CallForm
from burnish.data.chat.reading import AnswerReader
from burnish.data.rows.records import Record
from burnish.data.rows.row import EncodedRow, RowError
from burnish.errors import RecipeError
from burnish.metrics.measure import Measure, MetricTable
from burnish.models.heads import CAUSAL, Head
from burnish.recipe.schema import AUTO, Recipe
from burnish.tasks.evaluated import BatchOutcome, EvaluatedExamples

_NAMED_TOKENS = 8
"""Tokens that an error about one names, at most."""


class Encoder(Protocol):
    """Turns records into examples, and examples into batches."""

    @property
    def can_pack(self) -> bool:
        """Whether several examples may share a row of a batch."""
        ...

    @property
    def cut_from(self) -> str:
        """Where a row that is too long is cut, as a phrase such as "from the left of their prompts"."""
        ...

    @property
    def notes(self) -> list[str]:
        """What was adapted for this tokenizer, as sentences."""
        ...

    def notes_on(self, keys: Collection[str]) -> list[str]:
        """What of the rows' messages is not used or changes its form, as sentences for the user.

        Args:
            keys: as `message_keys` returns them, of all rows.
        """
        ...

    def encode(self, record: Any, context: int) -> EncodedRow:
        """A record as examples, none longer than `context` tokens.

        Raises:
            RowError: nothing can be learned from this record.
        """
        ...

    def encode_all(self, records: Sequence[Any], context: int) -> Iterable[EncodedRow | RowError]:
        """The result or the error of `encode` for each record; may tokenize many records at once."""
        ...

    def collate(self, examples: Sequence[Any], rows: Sequence[Sequence[int]], packed: bool, epoch: int | None) -> Batch:
        """Rows of examples as one batch.

        Args:
            examples: all examples.
            rows: indices of the examples of each row of the batch; one each unless `packed`.
            packed: whether rows may contain several examples.
            epoch: seeds what is redrawn in every epoch; None in evaluation, which is deterministic.
        """
        ...

    def held_out_remarks(self, records: Sequence[Any]) -> list[str]:
        """What to know about records that a model is evaluated on, as sentences: for example labels that it never
        learned."""
        ...

    def disable_packing(self) -> None:
        """Called if the method or the model would mix examples that share a row."""
        ...

    def segments(self, example: Any) -> list[Segment]:
        """The tokens of an example, and which of them are learned, for display."""
        ...


class Objective(Protocol):
    """The loss, and what it requires of the base model."""

    @property
    def head(self) -> Head:
        """How a base model is loaded."""
        ...

    @property
    def step_rows(self) -> int:
        """Default rows per optimizer step if each row is one term of the loss; 0 if steps are sized in tokens."""
        ...

    @property
    def rate_factor(self) -> float:
        """Multiplies the method's default learning rate."""
        ...

    def inspect_model(self, network: Any) -> list[str]:
        """Adapts to what the loaded base model supports; returns notes for the user."""
        ...

    def frozen_modules(self, network: Any) -> tuple[str, ...]:
        """Names of modules of the base model that no method may train."""
        ...

    def units(self, network: Any) -> dict[str, float]:
        """The unit of trainable weights by name, where it is not 1, for weights that give amounts in a unit of the
        data: see `make_optimizer`."""
        ...

    def prepare_examples(
        self, network: Any, examples: Sequence[Any], batches: Iterable[Batch], precision: str
    ) -> Sequence[Any]:
        """The examples, with the values that the base model computes once before training."""
        ...

    def placeholder_examples(self, examples: Sequence[Any]) -> Sequence[Any]:
        """The examples in the form that `prepare_examples` returns, with placeholder values, for a simulated step;
        unchanged if it computes nothing."""
        ...

    def begin_step(self, network: Any, batches: Iterable[Batch]) -> None:
        """Receives all batches of a step, or of an evaluation, before the first loss. Called without gradients."""
        ...

    def shared_sums(self) -> list[float]:
        """What `begin_step` has added up over its batches, where each of several processes has only some of them: as
        many numbers in every process and step."""
        ...

    def take_sums(self, sums: Sequence[float]) -> None:
        """Receives the sums of `shared_sums` over all processes, which count instead of its own."""
        ...

    def losses(self, network: Any, batch: Batch) -> torch.Tensor:
        """`[terms]` fp32, in nats and in the order of the batch's `owners`; the loss of a step is their mean."""
        ...


class Scorer(Protocol):
    """Metrics on held-out rows."""

    @property
    def headline(self) -> str:
        """Name of the metric that checkpoints are ranked by: `loss`, or one of `measures`."""
        ...

    @property
    def headline_is_share(self) -> bool:
        """Whether it is a share of right labels or the like, from 0 to 1."""
        ...

    @property
    def compares_answers(self) -> bool:
        """Whether a generated answer is right only if it equals the expected one."""
        ...

    def evaluate_batch(self, network: Any, batch: Batch) -> BatchOutcome:
        """The losses of the objective, and the input of the metrics. Called without gradients."""
        ...

    def measures(self, evaluated: EvaluatedExamples) -> list[Measure]:
        """The metrics, besides the loss."""
        ...

    def chance_loss(self, evaluated: EvaluatedExamples) -> Measure | None:
        """The loss of predicting the label frequencies without the input; None if there are none."""
        ...

    def tables(self, evaluated: EvaluatedExamples) -> list[MetricTable]:
        """Detailed metrics, for example one line per label."""
        ...

    def remark(self, evaluated: EvaluatedExamples) -> str:
        """What to know about the held-out rows when reading the metrics; empty if there is nothing."""
        ...

    def describe(self, example: Any, output: Any) -> tuple[str, str, str] | None:
        """(prompt, expected, predicted) as text; None if answers are generated."""
        ...


class Predictor(Protocol):
    """Prompts a trained model and interprets its output.

    With `TaskFacts.generates`, the model continues `prompt_ids`; otherwise `respond` answers directly.
    """

    further_ends: tuple[int, ...]
    """Tokens that end an answer besides those that the task itself learns as its end: see `evaluate.ends`."""

    @property
    def stop_ids(self) -> list[int]:
        """Tokens at which a generated answer ends."""
        ...

    def prompt_ids(self, prompt: Any, tools: Sequence[Mapping[str, Any]] | None = None) -> list[int]:
        """The prompt that a generating model continues.

        Args:
            prompt: a text or, with `TaskFacts.reads_turns`, the turns of a conversation.
            tools: that the answer may call, in OpenAI's form; only with `call_form`.
        """
        ...

    @property
    def call_form(self) -> CallForm | None:
        """How calls are written in answers; None if the model calls no tools."""
        ...

    def reader(self, prompt_ids: Sequence[int], with_calls: bool = False) -> AnswerReader:
        """Takes an answer to this prompt apart into thoughts, words and, if it may have any, calls."""
        ...

    def prompt_inputs(self, prompt: Any) -> dict[str, torch.Tensor] | None:
        """What the network needs besides the ids of a prompt, for example pixels; None if it needs nothing."""
        ...

    def visible_ids(self, ids: Sequence[int]) -> Sequence[int]:
        """The generated ids meant for the user: all but those that only mark the beginning of an answer."""
        ...

    def answer_text(self, text: str) -> str:
        """The part of a generated text that is the answer, for display and comparison."""
        ...

    def question(self, record: Any) -> Question | None:
        """The record as a question with its expected answer; None if there is no answer to generate."""
        ...

    def request(self, record: Any) -> Question | None:
        """The record as something to be answered, whatever answer it has; None if the model does not generate."""
        ...

    def served_prompts(self, record: Any) -> list[list[int]]:
        """The prompts from which a record's last answer may be generated: that of `question` and that of a user's
        turns. Each must equal the ids of `trained_prompt`. Empty if the answer is not generated."""
        ...

    def trained_prompt(self, record: Any, example: Any) -> tuple[list[int], list[int]]:
        """The ids before the last answer of a training example, and the ids of the answer."""
        ...

    def respond(self, network: Any, prompt: str) -> str:
        """The answer of a non-generating model to a user's text, or to a row as a JSON object.

        Args:
            network: in evaluation mode.
            prompt: the text or the row.

        Raises:
            InputError: the prompt cannot be answered.
        """
        ...

    def num_cut(self, prompt: str) -> int:
        """Tokens of a prompt that `respond` leaves out because it is longer than the context.

        Raises:
            InputError: the prompt cannot be answered.
        """
        ...

    def save_extras(self, folder: Path) -> None:
        """Writes what a result needs besides weights and tokenizer into its folder."""
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
    """What is known about a task without a tokenizer, and how to make its parts."""

    name: str
    records: tuple[type[Record], ...]
    """The kinds of record that it learns from."""
    kinds: tuple[str, ...]
    """Kinds of model that support it (`models/config.py`), that of its default model first."""
    build: Callable[[Any, Recipe], Parts]
    """The parts, for a tokenizer whose pad token is set, and a recipe whose task options are filled in."""
    choices: Callable[[Sequence[Any], Recipe], list[Choice]] = no_choices
    """Values for `auto` in the task's own options, for these training records. Raises DataError if nothing can be
    learned from the records."""
    sections: tuple[str, ...] = ()
    """Sections of the recipe that belong to this task."""
    generates: bool = False
    """Whether the trained model generates text."""
    reads_turns: bool = False
    """Whether its prompt may be the turns of a conversation."""
    takes_pictures: bool = False
    """Whether turns may have pictures: as parts of their content, or as files that a user names in a JSON object."""
    counts_tokens: bool = False
    """Whether the share of trained tokens is informative; it is not if each row has one label."""
    learned: str
    """What a fine-tuned model does, as a phrase that continues "a model which"."""
    auto_class: str = CAUSAL.auto_class
    """The transformers class that loads its models: that of `Objective.head`."""
    names_labels: bool = False
    """Whether a model has one output per label in `data.labels`."""
    predicts: str = ""
    """What its predictor gives for a text, if it is a `TextsPredictor`: a kind of `tasks/predictions.py`."""
    pipeline: str = "text-generation"
    """The hub's pipeline tag of such models."""
    usual_rows: tuple[int, int] | None = None
    """The range of training rows that beginners' guides recommend; None if they recommend none."""
    sample: str = ""
    """The bundled sample rows, in `assets/samples`; empty if there are none."""
    trainer: str = ""
    """The TRL trainer that computes the same loss from the same rows, so that a script can repeat a run; empty if there
    is none."""
    snippets: tuple[str, str] = ("", "")
    """Templates (`assets/templates/snippet`) of code that uses a result without Burnish: for a tokenizer that adds
    its own end token and has no chat template, as those of encoders, and for any other. Empty for none."""

    def make(self, tokenizer: Any, recipe: Recipe) -> Task:
        """The task for a tokenizer.

        Args:
            tokenizer: of the base model, or of the result; its pad token is set.
            recipe: the task's options, and its labels if it has any.

        Raises:
            ModelError: the tokenizer lacks something that the task needs.
            RecipeError: `evaluate.ends` names what is no token of it.
        """
        facts = {field.name: getattr(self, field.name) for field in fields(TaskFacts)}
        parts = self.build(tokenizer, recipe)
        if self.generates and recipe.evaluate.ends != AUTO:
            parts.predictor.further_ends = _numbers(recipe.evaluate.ends, tokenizer)
        return Task(**facts, **parts._asdict())


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(TaskFacts):
    """A task with its parts for a tokenizer."""

    encoder: Encoder
    objective: Objective
    scorer: Scorer
    predictor: Predictor

    def question(self, record: Any) -> Question | None:
        """`Predictor.question`; None as well if the record is learned only up to a turn that cannot be encoded."""
        try:
            return self.predictor.question(record)
        except RowError:
            return None


class Segment(NamedTuple):
    """A part of an example."""

    name: str
    """For example `chosen`; empty if the example has only one part."""
    ids: Sequence[int]
    is_learned: Sequence[bool]
    """For each of the ids."""
    note: str = ""
    """What else is learned, as text: for example a label."""


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt with its expected answer, for evaluating generated answers."""

    prompt_ids: list[int]
    prompt: str
    """The prompt as text, for display."""
    answer: str
    place: str
    inputs: Callable[[], dict[str, torch.Tensor]] | None = None
    """Returns what the network needs besides the token ids, for example pixels; such a prompt cannot be cut."""


def _numbers(ends: Sequence[str], tokenizer: Any) -> tuple[int, ...]:
    """The numbers of the tokens in `evaluate.ends`.

    Raises:
        RecipeError: one is no token.
    """
    numbers = [tokenizer.convert_tokens_to_ids(name) for name in ends]
    for name, number in zip(ends, numbers, strict=True):
        if number is None or tokenizer.convert_ids_to_tokens(number) != name:
            known = sorted({token.content for token in tokenizer.added_tokens_decoder.values()})[:_NAMED_TOKENS]
            raise RecipeError(
                f"`evaluate.ends` names `{name}`, which is no token of the model",
                f"Tokens of its own are for example {', '.join(f'`{one}`' for one in known)}."
                if known
                else "It has no tokens besides those of ordinary text.",
                "Correct it, or leave the option at `auto`",
            )
    return tuple(numbers)
