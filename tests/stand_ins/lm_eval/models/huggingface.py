"""The stand-in's wrapper around a transformers model."""

from __future__ import annotations

from typing import Any


class HFLM:
    """Keeps what it is given."""

    def __init__(self, pretrained: Any, tokenizer: Any, batch_size: int, max_length: int | None) -> None:
        self.pretrained = pretrained
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.max_length = max_length
        pretrained.eval()
