"""What most tasks have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch

from burnish.data.batching.batches import Batch
from burnish.data.rows.row import RowError
from burnish.data.tokens.tokens import TokenRequests, Tokens, answer_alone, answer_together
from burnish.metrics.measure import Measure, MetricTable
from burnish.models.heads import CAUSAL, Head
from burnish.recipe.schema import Recipe
from burnish.tasks.task import Choice, EncodedRow, Judged, Question


class TaskDefaults:
    """What most tasks have in common; a task overrides what is different."""

    sections: ClassVar[tuple[str, ...]] = ()
    kinds: ClassVar[tuple[str, ...]] = ("causal",)
    generates: ClassVar[bool] = False
    reads_turns: ClassVar[bool] = False
    knows_answers: ClassVar[bool] = True
    can_pack: ClassVar[bool] = False
    step_rows: ClassVar[int] = 0
    cut_from: ClassVar[str] = "from the left of their prompts"
    rate_factor: ClassVar[float] = 1.0
    headline: ClassVar[str] = "loss"
    pipeline: ClassVar[str] = "text-generation"
    trainer: ClassVar[str] = ""
    snippets: ClassVar[tuple[str, str]] = ("", "")
    usual_rows: ClassVar[tuple[int, int] | None] = None
    name: ClassVar[str]

    @classmethod
    def choices(cls, records: Sequence[Any], recipe: Recipe) -> list[Choice]:
        """The task has no options of its own."""
        return []

    @property
    def head(self) -> Head:
        """A causal language model."""
        return CAUSAL

    @property
    def notes(self) -> list[str]:
        """Nothing was adapted."""
        return []

    @property
    def stop_ids(self) -> list[int]:
        """Nothing is generated."""
        return []

    def encode(self, record: Any, context: int) -> EncodedRow:
        """Every task has its own."""
        raise TypeError(f"the task `{self.name}` encodes no rows")

    def encode_all(self, records: Sequence[Any], context: int) -> Iterable[EncodedRow | RowError]:
        """One after the other."""
        for record in records:
            try:
                yield self.encode(record, context)
            except RowError as error:
                yield error.with_traceback(None)

    def keep_apart(self) -> None:
        """Nothing shares a row unless the plan packs it."""

    def adapt(self, network: Any) -> list[str]:
        """Any model will do as it is."""
        return []

    def kept_out(self, network: Any) -> tuple[str, ...]:
        """Everything may be trained."""
        return ()

    def save_with(self, folder: Path) -> None:
        """Weights and tokenizer are all there is."""

    def prepare(self, network: Any, examples: Sequence[Any], batches: Iterable[Batch], precision: str) -> Sequence[Any]:
        """Nothing has to be measured on the base model."""
        return examples

    def stand_in(self, examples: Sequence[Any]) -> Sequence[Any]:
        """Nothing would be measured."""
        return examples

    def begin_step(self, network: Any, batches: Iterable[Batch]) -> None:
        """Each batch stands for itself."""

    def measures(self, judged: Judged) -> list[Measure]:
        """No figure besides the loss."""
        return []

    def chance(self, judged: Judged) -> Measure | None:
        """Answers have no frequencies."""
        return None

    def tables(self, judged: Judged) -> list[MetricTable]:
        """No table."""
        return []

    def remark(self, judged: Judged) -> str:
        """The figures speak for themselves."""
        return ""

    def shown(self, example: Any, output: Any) -> tuple[str, str, str] | None:
        """Nothing to show in words."""
        return None

    def question(self, record: Any) -> Question | None:
        """Nothing to generate."""
        return None

    def prompt_ids(self, prompt: Any) -> list[int]:
        """Not for tasks that do not generate."""
        raise TypeError(f"the task `{self.name}` does not generate text")

    def prompt_inputs(self, prompt: Any) -> dict[str, torch.Tensor] | None:
        """Token ids are all it needs."""
        return None

    def spoken(self, ids: Sequence[int]) -> Sequence[int]:
        """All of them."""
        return ids

    def answer_in(self, text: str) -> str:
        """All of it."""
        return text

    def respond(self, network: Any, prompt: str) -> str:
        """Not for tasks that generate, which are asked through `prompt_ids`."""
        raise TypeError(f"the task `{self.name}` generates its answers")


class EncodesTogether(ABC):
    """Goes before `TaskDefaults` among the bases of a task that encodes a row by asking for token ids."""

    _tokens: Tokens

    @abstractmethod
    def _requests(self, record: Any, context: int) -> TokenRequests[EncodedRow]:
        """The work on one record. Raises RowError where nothing can be learned from it."""

    def encode(self, record: Any, context: int) -> EncodedRow:
        """A record on its own. Raises RowError where nothing can be learned from it."""
        return answer_alone(self._tokens, self._requests(record, context))

    def encode_all(self, records: Sequence[Any], context: int) -> Iterable[EncodedRow | RowError]:
        """Many records, in the tokenizer's batches."""
        return answer_together(self._tokens, [self._requests(record, context) for record in records])
