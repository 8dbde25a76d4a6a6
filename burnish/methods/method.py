"""What every method offers. The engine and the workflows know methods by this alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch

from burnish.models.location import ModelLocation
from burnish.recipe.schema import Recipe
from burnish.runs.folder import RunFolder

Load = Callable[[ModelLocation], Any]
Choice = tuple[str, Any, str]
"""A dotted option, its value, and the reason for it."""


class Method(Protocol):
    """Which weights of a base model are trained, and how the result is written and read back."""

    name: ClassVar[str]

    def learning_rate(self, parameters: int) -> float:
        """A sane peak learning rate for a base model of so many parameters."""
        ...

    def weights_dtype(self, precision: torch.dtype) -> torch.dtype:
        """The type the base model's weights are held in while training in `precision`."""
        ...

    def apply(self, network: Any, recipe: Recipe) -> Any:
        """Makes the method's weights trainable and freezes the rest.

        Raises:
            RecipeError: an option of the method does not fit this model.
        """
        ...

    def without(self, network: Any) -> AbstractContextManager[Any] | None:
        """A context in which the network answers as the base model; None where training changed the base itself."""
        ...

    def save(self, network: Any, folder: Path) -> None:
        """Writes the result in its standard layout into an empty folder."""
        ...

    def result_folder(self, run: RunFolder) -> Path:
        """Where in a run folder the result belongs."""
        ...

    def open(self, load: Load, base: ModelLocation, result: Path) -> Any:
        """Loads a saved result for use.

        Args:
            load: loads the network that lies somewhere; called once.
            base: where the base model lies.
            result: folder that `save` has written.

        Raises:
            ModelError: the saved result does not fit the base model, or changes nothing in it.
        """
        ...

    def choices(self, network: Any, recipe: Recipe) -> list[Choice]:
        """What `auto` stands for in the method's own options, for this model."""
        ...


def scaled_rate(rate: float, parameters: int) -> float:
    """A learning rate for 100 M parameters, carried over to another size.

    Small models bear, and need, larger steps: the rate grows with the square root of the ratio below 100 M and falls
    with its 0.38th power above, which takes 5e-5 to 1e-5 at 7 B, the range that guides to full fine-tuning give.
    """
    ratio = 1e8 / max(1, parameters)
    return float(f"{rate * ratio ** (0.5 if ratio > 1 else 0.38):.2g}")
