"""Method `full`: every weight moves."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

import torch

from burnish.methods.method import Load, MethodDefaults, scaled_rate
from burnish.models.base import Loading, quiet_transformers
from burnish.models.head import Target
from burnish.models.location import ModelLocation
from burnish.recipe.schema import Recipe
from burnish.runs.folder import RunFolder


class FullMethod(MethodDefaults):
    """Full fine-tuning. The result is a model of its own."""

    name: ClassVar[str] = "full"
    trains_base: ClassVar[bool] = True

    def learning_rate(self, parameters: int) -> float:
        """5e-5 at 100 M parameters, about 1e-5 at 7 B."""
        return max(1e-5, scaled_rate(5e-5, parameters))

    def loading(self, precision: torch.dtype, device: torch.device) -> Loading:
        """fp32 master weights: small updates would be lost in the 8 bits of a bf16 mantissa."""
        return Loading(torch.float32)

    def apply(self, network: Any, recipe: Recipe, target: Target) -> Any:
        """Makes every weight trainable."""
        network.requires_grad_(True)
        return network

    def without(self, network: Any) -> AbstractContextManager[Any] | None:
        """The base is no longer inside the network."""
        return None

    def save(self, network: Any, folder: Path) -> None:
        """Writes a transformers folder with safetensors weights in fp32."""
        with quiet_transformers():
            network.save_pretrained(str(folder))

    def result_folder(self, run: RunFolder) -> Path:
        """`model/`."""
        return run.model

    def open(self, load: Load, base: ModelLocation, result: Path) -> Any:
        """Loads the trained model; the base is not needed."""
        return load(ModelLocation(base.name, result, is_hub=False))
