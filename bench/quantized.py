"""A base in 4-bit NormalFloat, as every program of a comparison loads it."""

from __future__ import annotations

from typing import Any

from settings import Settings


def nf4(settings: Settings) -> dict[str, Any]:
    """Further arguments of `from_pretrained` for the method `qlora`."""
    if settings.method != "qlora":
        return {}
    import torch
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": config, "device_map": {"": settings.device}}
