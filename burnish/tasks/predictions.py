"""What models that do not generate give for a text: a label, a number, entities, or a passage."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from burnish.errors import InputError
from burnish.tasks.defaults import PredictorDefaults

LABELS, NUMBER, ENTITIES, PASSAGE = "labels", "number", "entities", "passage"
"""Kinds of prediction."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Labels of a text."""

    names: Sequence[str]
    """All labels, in the order of the model's outputs."""
    probabilities: Sequence[float]
    given: Sequence[str]
    """The most likely label; of several that may hold together, those above 0.5, the most likely first."""


@dataclass(frozen=True, slots=True)
class Entity:
    """A part of a text that means something."""

    kind: str
    begin: int
    """Of its first character."""
    end: int
    """Behind its last character."""
    probability: float
    """Mean of its words' tags."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Where a text answers a question."""

    begin: int
    """Of its first character; 0, like the end, if there is no answer."""
    end: int
    probability: float
    """Of this passage against no answer."""


class TextsPredictor(PredictorDefaults, ABC):
    """Predicts something for a text, or for two that belong together."""

    @property
    @abstractmethod
    def fields(self) -> tuple[str, ...]:
        """What each text of a row is, in their order."""

    @abstractmethod
    def predict(self, network: Any, rows: Sequence[Sequence[str]]) -> list[Any]:
        """What the model says of each row.

        Args:
            network: in evaluation mode.
            rows: the texts of each, as many as `fields`.

        Returns:
            Per row a `Labelled`, a float, a list of `Entity`, or a `Passage`: see `TaskFacts.predicts`.

        Raises:
            InputError: one cannot be answered.
        """

    def num_left_out(self, texts: Sequence[str]) -> int:
        """Tokens of a row beyond the run's context; none if a long text is answered in parts."""
        return 0

    def check(self, texts: Sequence[str]) -> None:
        """Raises InputError unless there are as many texts as the run was trained on."""
        if len(texts) != len(self.fields):
            wanted = " and ".join(f"`{name}`" for name in self.fields)
            raise InputError(f"this run reads {wanted}", f"There are {len(texts)} texts.", "Give as many")
