"""What models that do not generate give for a text: a label, a number, entities, or a passage."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.errors import InputError
from burnish.tasks.defaults import PredictorDefaults

LABELS, NUMBER, ENTITIES, PASSAGE, WORDS = "labels", "number", "entities", "passage", "words"
"""Kinds of prediction."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Labels of a text."""

    names: Sequence[str]
    """All labels, in the order of the model's outputs."""
    probabilities: Sequence[float]
    given: Sequence[str]
    """The most likely label; of several that may hold together, those above 0.5, the most likely first."""
    is_multi: bool = False
    """Whether several may hold together."""


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


Masks = list[list[tuple[str, float]]]
"""For each mask of a text the most likely words with their probabilities, the most likely first."""


def as_columns(prediction: Any, texts: Sequence[str]) -> dict[str, Any]:
    """A prediction as JSON-ready values by column.

    Args:
        prediction: as `TextsPredictor.predict` gives it.
        texts: of the row.
    """
    match prediction:
        case Labelled(names, probabilities, given, is_multi):
            of = dict(zip(names, probabilities, strict=True))
            label = {"labels": list(given)} if is_multi else {"label": given[0], "probability": of[given[0]]}
            return {**label, "probabilities": of}
        case Passage(begin, end, probability):
            return {"answer": texts[1][begin:end], "begin": begin, "end": end, "probability": probability}
        case float():
            return {"score": prediction}
    if all(isinstance(one, Entity) for one in prediction):
        text = " ".join(texts)
        found = [
            {"kind": one.kind, "text": text[one.begin : one.end], "begin": one.begin, "end": one.end}
            | {"probability": one.probability}
            for one in prediction
        ]
        return {"entities": found} if len(texts) == 1 else {"text": text, "entities": found}
    return {"masks": [[{"word": word, "probability": share} for word, share in mask] for mask in prediction]}


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
            Per row a `Labelled`, a float, a list of `Entity`, a `Passage` or `Masks`: see `TaskFacts.predicts`.

        Raises:
            InputError: one cannot be answered.
        """

    @abstractmethod
    def texts_of(self, values: Mapping[str, Any]) -> Sequence[str]:
        """The texts of a row for `predict`; its labels are not used.

        Args:
            values: by field, as training rows have them once their columns are mapped.

        Raises:
            RowError: a text is missing.
        """

    def num_left_out(self, texts: Sequence[str]) -> int:
        """Tokens of a row beyond the run's context; none if a long text is answered in parts."""
        return 0

    def check(self, texts: Sequence[str]) -> None:
        """Raises InputError unless there are as many texts as the run was trained on."""
        if len(texts) != len(self.fields):
            wanted = " and ".join(f"`{name}`" for name in self.fields)
            raise InputError(f"this run reads {wanted}", f"There are {len(texts)} texts.", "Give as many")
