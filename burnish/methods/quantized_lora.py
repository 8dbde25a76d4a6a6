"""Methods `qlora` and `int8-lora`: low-rank adapters beside a base that is held in 4 or 8 bits."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from burnish.methods.lora import LoraMethod
from burnish.methods.method import Choice
from burnish.models.base import Loading
from burnish.models.quantization import int8_config, nf4_config
from burnish.recipe.schema import Recipe


class QLoraMethod(LoraMethod):
    """The base in 4-bit NormalFloat with double quantization, adapters in fp32 (arXiv 2305.14314)."""

    name: ClassVar[str] = "qlora"
    quantizes: ClassVar[bool] = True

    def loading(self, precision: torch.dtype, device: torch.device) -> Loading:
        """Quantized in the blocks; embeddings, norms and heads in the precision of the arithmetic."""
        return Loading(precision, nf4_config(precision, device))

    def choices(self, network: Any, recipe: Recipe) -> list[Choice]:
        """As for `lora`; the optimizer's moments in 8 bits where there is CUDA to page them."""
        chosen = super().choices(network, recipe)
        if network.device.type == "cuda":
            chosen.append(("train.optimizer", "paged-adamw-8bit", "moments in 8 bits, paged out when memory is short"))
        return chosen


class Int8LoraMethod(LoraMethod):
    """The base in LLM.int8 (arXiv 2208.07339), adapters in fp32."""

    name: ClassVar[str] = "int8-lora"
    quantizes: ClassVar[bool] = True

    def loading(self, precision: torch.dtype, device: torch.device) -> Loading:
        """Quantized in the blocks; embeddings, norms and heads in the precision of the arithmetic."""
        return Loading(precision, int8_config(device))
