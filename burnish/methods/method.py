"""What every method offers. The engine and the workflows know methods by this alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch

from burnish.models.base import Loading
from burnish.models.heads import Head, Target
from burnish.models.location import ModelLocation
from burnish.recipe.schema import Recipe
from burnish.runs.folder import RunFolder

Load = Callable[[ModelLocation], Any]
Choice = tuple[str, Any, str]
"""A dotted option, its value, and the reason for it."""


class Method(Protocol):
    """Which weights of a base model are trained, and how the result is written and read back."""

    name: ClassVar[str]
    sections: ClassVar[tuple[str, ...]]
    """Sections of the recipe that belong to this method."""
    can_pack: ClassVar[bool]
    """Whether examples that share a row stay apart under this method."""
    is_uniform: ClassVar[bool]
    """Whether every block of the model is treated alike."""
    trains_base: ClassVar[bool]
    """Whether weights of the base model itself are trained."""
    can_checkpoint: ClassVar[bool]
    """Whether activations may be computed again in the backward pass."""
    needs_values: ClassVar[bool]
    """Whether `choices` and `apply` depend on what the network computes, rather than on its shape."""
    quantizes: ClassVar[bool]
    """Whether the base is held in fewer bits than it is computed in."""
    can_merge: ClassVar[bool]
    """Whether what it trains can be folded into the weights of the base."""
    bits: ClassVar[int]
    """Bits of a weight of a base that `quantizes`; 0 for all others."""
    can_eject: ClassVar[bool]
    """Whether PEFT, or transformers alone, begins with the same weights, so that a run can be written as a script."""
    size_option: ClassVar[str]
    """The dotted option that sets how much can be learned; empty where there is none."""

    def refuses(self, head: Head, config: Any) -> str:
        """Why this method makes no sense with such a head or model; empty where it does.

        Args:
            head: what the task puts on the model.
            config: the model's transformers config.
        """
        ...

    def learning_rate(self, parameters: int) -> float:
        """A sane peak learning rate for a base model of so many parameters."""
        ...

    def loading(self, precision: torch.dtype, device: torch.device) -> Loading:
        """How the base model's weights are held while training in `precision` on `device`.

        Raises:
            MachineError: the device cannot do it.
        """
        ...

    def virtual_tokens(self, recipe: Recipe) -> int:
        """Positions of the model's context that the method itself takes."""
        ...

    def added_tokens(self, recipe: Recipe) -> list[str]:
        """Tokens that the vocabulary gets besides its own."""
        ...

    def apply(self, network: Any, recipe: Recipe, target: Target) -> Any:
        """Makes the method's weights, and the target's new modules, trainable and freezes the rest.

        Raises:
            RecipeError: an option of the method does not fit this model.
        """
        ...

    def rate_factors(self, network: Any, recipe: Recipe) -> dict[str, float]:
        """By name of parameter, the factor on the learning rate where it is not 1."""
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

    def unmoved(self, network: Any) -> str:
        """Why the trained network answers just as its base; empty where it does not, or where the base is not in it."""
        ...

    def choices(self, network: Any, recipe: Recipe) -> list[Choice]:
        """What `auto` means in the method's own options, for this model."""
        ...

    def choices_for_rows(self, rows: int) -> list[Choice]:
        """What `auto` means in the method's own options, for so many training rows."""
        ...

    def changes_at_start(self, recipe: Recipe) -> str:
        """Why the network answers otherwise than its base before it has learned; empty where it does not."""
        ...


class MethodDefaults:
    """What most methods have in common; a method overrides what is different."""

    sections: ClassVar[tuple[str, ...]] = ()
    can_pack: ClassVar[bool] = True
    is_uniform: ClassVar[bool] = True
    trains_base: ClassVar[bool] = False
    can_checkpoint: ClassVar[bool] = True
    needs_values: ClassVar[bool] = False
    quantizes: ClassVar[bool] = False
    can_merge: ClassVar[bool] = False
    bits: ClassVar[int] = 0
    can_eject: ClassVar[bool] = False
    size_option: ClassVar[str] = ""

    def refuses(self, head: Head, config: Any) -> str:
        """Any model will do."""
        return ""

    def virtual_tokens(self, recipe: Recipe) -> int:
        """None."""
        return 0

    def added_tokens(self, recipe: Recipe) -> list[str]:
        """None."""
        return []

    def rate_factors(self, network: Any, recipe: Recipe) -> dict[str, float]:
        """One learning rate for all."""
        return {}

    def unmoved(self, network: Any) -> str:
        """The base is not in the network any more."""
        return ""

    def choices(self, network: Any, recipe: Recipe) -> list[Choice]:
        """The method has no options of its own."""
        return []

    def choices_for_rows(self, rows: int) -> list[Choice]:
        """The number of rows decides nothing."""
        return []

    def changes_at_start(self, recipe: Recipe) -> str:
        """What is trained begins as if it were not there."""
        return ""


def scaled_rate(rate: float, parameters: int) -> float:
    """A learning rate for 100 M parameters, carried over to another size.

    Small models bear, and need, larger steps: the rate grows with the square root of the ratio below 100 M and falls
    with its 0.38th power above, which takes 5e-5 to 1e-5 at 7 B, the range that guides to full fine-tuning give.
    """
    ratio = 1e8 / max(1, parameters)
    return float(f"{rate * ratio ** (0.5 if ratio > 1 else 0.38):.2g}")
