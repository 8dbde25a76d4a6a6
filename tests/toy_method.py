"""A method that the package does not know, in one file: the biases alone are trained (BitFit, arXiv 2106.10199)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

import torch

from burnish.errors import RecipeError
from burnish.methods.method import Load, MethodDefaults, scaled_rate
from burnish.models.base import Loading
from burnish.models.heads import Target
from burnish.models.location import ModelLocation
from burnish.recipe.schema import Recipe
from burnish.runs.folder import RunFolder


class BiasMethod(MethodDefaults):
    """Trains every bias, and what begins at random. The result is a model of its own."""

    name: ClassVar[str] = "bias"
    trains_base: ClassVar[bool] = True

    def learning_rate(self, parameters: int) -> float:
        """A few numbers need large steps."""
        return scaled_rate(1e-3, parameters)

    def loading(self, precision: torch.dtype, device: torch.device) -> Loading:
        """In fp32, as every weight that is trained."""
        return Loading(torch.float32)

    def apply(self, network: Any, recipe: Recipe, target: Target) -> Any:
        """Makes the biases trainable. Raises RecipeError where the model has none."""
        network.requires_grad_(False)
        biases = [parameter for name, parameter in network.named_parameters() if name.endswith(".bias")]
        if not biases:
            raise RecipeError("this model has no biases", "There would be nothing to train.", "Use `--method lora`")
        for parameter in biases:
            parameter.requires_grad_(True)
        for name in target.new_modules:
            network.get_submodule(name).requires_grad_(True)
        return network

    def without(self, network: Any) -> AbstractContextManager[Any] | None:
        """The base is no longer inside the network."""
        return None

    def save(self, network: Any, folder: Path) -> None:
        """A transformers folder."""
        network.save_pretrained(str(folder))

    def result_folder(self, run: RunFolder) -> Path:
        """`model/`."""
        return run.model

    def open(self, load: Load, base: ModelLocation, result: Path) -> Any:
        """Loads the trained model; the base is not needed."""
        return load(ModelLocation(base.name, result, is_hub=False))
