"""The interface of all methods. The engine and the workflows use only this."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch

from burnish.errors import ModelError
from burnish.models.base import Loading
from burnish.models.heads import Head, Target
from burnish.models.location import ModelLocation
from burnish.recipe.schema import Recipe
from burnish.runs.folder import RunFolder

Load = Callable[[ModelLocation], Any]
Choice = tuple[str, Any, str]
"""A dotted option, its value, and the reason for it."""


class Method(Protocol):
    """Which weights of a base model are trained, and how the result is saved and loaded."""

    name: ClassVar[str]
    sections: ClassVar[tuple[str, ...]]
    """Sections of the recipe that belong to this method."""
    can_pack: ClassVar[bool]
    """Whether examples that share a row stay independent under this method."""
    trains_base: ClassVar[bool]
    """Whether weights of the base model itself are trained."""
    can_checkpoint: ClassVar[bool]
    """Whether activations may be recomputed in the backward pass."""
    needs_values: ClassVar[bool]
    """Whether `choices` and `apply` depend on what the network computes, rather than on its shape."""
    can_shard: ClassVar[bool]
    """Whether its weights, and those of the base model, may be sharded over several processes."""
    quantizes: ClassVar[bool]
    """Whether the base model is stored in fewer bits than it is computed in."""
    can_merge: ClassVar[bool]
    """Whether the trained weights can be merged into those of the base model."""
    bits: ClassVar[int]
    """Bits per weight of the quantized base model; 0 for other methods."""
    can_eject: ClassVar[bool]
    """Whether PEFT, or transformers alone, initializes the same weights, so that a run can be written as a script."""
    size_option: ClassVar[str]
    """The dotted option that sets the adapter's capacity; empty if there is none."""
    targets_option: ClassVar[str]
    """The dotted option that chooses the trained weights; empty if there is none."""
    more_weights: ClassVar[str]
    """How to train more weights, after "too few weights are trained:"; empty if there is no way."""
    fewer_weights: ClassVar[str]
    """How to train fewer or more noisily, after "use fewer epochs,"; empty if there is no way."""

    def refuses(self, head: Head, config: Any) -> str:
        """Why this method does not support such a head or model; empty if it does.

        Args:
            head: the task's head.
            config: the model's transformers config.
        """
        ...

    def learning_rate(self, parameters: int) -> float:
        """The default peak learning rate for a base model with this number of parameters."""
        ...

    def loading(self, precision: torch.dtype, device: torch.device) -> Loading:
        """How the base model's weights are stored for training in `precision` on `device`.

        Raises:
            MachineError: the device does not support it.
        """
        ...

    def is_uniform(self, recipe: Recipe) -> bool:
        """Whether all blocks of the model are treated alike."""
        ...

    def virtual_tokens(self, recipe: Recipe) -> int:
        """Number of positions of the model's context that the method occupies."""
        ...

    def added_tokens(self, recipe: Recipe) -> list[str]:
        """Tokens to add to the vocabulary."""
        ...

    def apply(self, network: Any, recipe: Recipe, target: Target) -> Any:
        """Makes the method's weights and the target's new modules trainable, and freezes the rest.

        Raises:
            RecipeError: an option of the method does not fit this model.
        """
        ...

    def rate_factors(self, network: Any, recipe: Recipe) -> dict[str, float]:
        """Learning-rate factors that are not 1, by parameter name."""
        ...

    def without(self, network: Any) -> AbstractContextManager[Any] | None:
        """A context in which the network is the base model; None if training changed the base model itself."""
        ...

    def save(self, network: Any, folder: Path) -> None:
        """Writes the result in its standard layout into an empty folder. While the main process does so with sharded
        weights, the others have to call `models.sharded.save_whole`."""
        ...

    def result_folder(self, run: RunFolder) -> Path:
        """The folder of the result in a run folder."""
        ...

    def open(self, load: Load, base: ModelLocation, result: Path) -> Any:
        """Loads a saved result for use.

        Args:
            load: loads the network from a location; called once.
            base: location of the base model.
            result: folder written by `save`.

        Raises:
            ModelError: the saved result does not fit the base model, or has no effect.
        """
        ...

    def weights_of(self, network: Any) -> dict[str, torch.Tensor]:
        """A copy of the trained weights of a network, in training or loaded, by the names they are saved by."""
        ...

    def put(self, network: Any, weights: Mapping[str, torch.Tensor]) -> None:
        """Gives a network such weights again."""
        ...

    def take(self, network: Any, result: Path) -> None:
        """Gives a network, in training or loaded, the weights of a saved result of the same form.

        Raises:
            ModelError: they have other names or shapes.
        """
        ...

    def unmoved(self, network: Any) -> str:
        """Why the trained network equals its base model; empty if it does not, or no longer contains it."""
        ...

    def choices(self, network: Any, recipe: Recipe) -> list[Choice]:
        """Values for `auto` in the method's own options, for this model."""
        ...

    def choices_for_rows(self, rows: int) -> list[Choice]:
        """Values for `auto` in the method's own options, for this number of training rows."""
        ...

    def adapter_settings(self, recipe: Recipe) -> dict[str, Any] | None:
        """What the `adapter_config.json` of the result will say, as far as servers ask for it; None without adapter.

        Args:
            recipe: without `auto` in the method's own options.
        """
        ...

    def changes_at_start(self, recipe: Recipe) -> str:
        """Why the untrained network differs from its base model; empty if it does not."""
        ...

    def add(self, network: Any, result: Path, name: str) -> bool:
        """Loads another saved result into a network that `open` returned, beside those it has, and makes it the active
        one.

        Args:
            network: as `open` returned it.
            result: folder of the other result.
            name: that `use` calls it by.

        Returns:
            Whether the method can; if not, nothing has changed.

        Raises:
            ModelError: the result does not fit the base model, is incomplete, or has no effect.
        """
        ...

    def use(self, network: Any, name: str) -> None:
        """Makes one of the results that a network holds the active one."""
        ...

    def drop(self, network: Any, name: str) -> None:
        """Frees a result that `add` loaded."""
        ...


class MethodDefaults:
    """Defaults that methods override."""

    sections: ClassVar[tuple[str, ...]] = ()
    can_pack: ClassVar[bool] = True
    trains_base: ClassVar[bool] = False
    can_checkpoint: ClassVar[bool] = True
    needs_values: ClassVar[bool] = False
    can_shard: ClassVar[bool] = False
    quantizes: ClassVar[bool] = False
    can_merge: ClassVar[bool] = False
    bits: ClassVar[int] = 0
    can_eject: ClassVar[bool] = False
    size_option: ClassVar[str] = ""
    targets_option: ClassVar[str] = ""
    more_weights: ClassVar[str] = ""
    fewer_weights: ClassVar[str] = ""

    def weights_of(self, network: Any) -> dict[str, torch.Tensor]:
        """None apart from the model's own."""
        return {}

    def put(self, network: Any, weights: Mapping[str, torch.Tensor]) -> None:
        """There are none."""

    def take(self, network: Any, result: Path) -> None:
        """Only an adapter goes on training; a whole model is the base of the next run."""
        raise ModelError(f"`{result}` is no adapter that could go on training", "", f"Use `--model {result}`")

    def refuses(self, head: Head, config: Any) -> str:
        """Supports all models."""
        return ""

    def is_uniform(self, recipe: Recipe) -> bool:
        """They are."""
        return True

    def virtual_tokens(self, recipe: Recipe) -> int:
        """None."""
        return 0

    def added_tokens(self, recipe: Recipe) -> list[str]:
        """None."""
        return []

    def rate_factors(self, network: Any, recipe: Recipe) -> dict[str, float]:
        """One learning rate for all weights."""
        return {}

    def unmoved(self, network: Any) -> str:
        """Unknown: the network no longer contains the base model."""
        return ""

    def choices(self, network: Any, recipe: Recipe) -> list[Choice]:
        """None."""
        return []

    def add(self, network: Any, result: Path, name: str) -> bool:
        """A network holds one result."""
        return False

    def use(self, network: Any, name: str) -> None:
        """The only one is always active."""

    def drop(self, network: Any, name: str) -> None:
        """None was added."""

    def choices_for_rows(self, rows: int) -> list[Choice]:
        """None."""
        return []

    def adapter_settings(self, recipe: Recipe) -> dict[str, Any] | None:
        """The result is a whole model."""
        return None

    def changes_at_start(self, recipe: Recipe) -> str:
        """The initial weights have no effect."""
        return ""


def scaled_rate(rate: float, parameters: int) -> float:
    """Scales a learning rate for 100 M parameters to another model size.

    Smaller models tolerate, and need, larger steps. Below 100 M, the rate grows with the square root of the ratio;
    above, it falls with its 0.38th power, so that 5e-5 becomes 1e-5 at 7 B, as guides to full fine-tuning recommend.
    """
    ratio = 1e8 / max(1, parameters)
    # the square root is the larger of the two above a ratio of 1, the other one below it
    return float(f"{rate * max(ratio**0.5, ratio**0.38):.2g}")
