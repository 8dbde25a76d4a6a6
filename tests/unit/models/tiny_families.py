"""Tiny random models of families that compute attention and logits in different ways, and inputs for them."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode

from tests.tiny_architectures import DECODER
from tests.tiny_models import LAYOUTS, make_network, randomize_vectors

_DECODER: dict[str, Any] = {**DECODER, "initializer_range": 0.25}
LENGTHS = ([9, 4, 1, 7], [12, 9])
"""Of the examples of two packed rows."""


def make_family(name: str) -> Any:
    """A model in fp32, without dropout, in evaluation mode; a layout of `tiny_models`, or another."""
    if name in LAYOUTS:
        return make_network(name)
    torch.manual_seed(0)
    config, auto = _others(name)
    network = auto.from_config(config).eval()
    randomize_vectors(network, 0)
    return network


def _others(name: str) -> tuple[Any, Any]:
    causal = transformers.AutoModelForCausalLM
    if name == "gemma2":  # bends scores and logits; the scale makes the bend felt
        bent = {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0}
        return transformers.Gemma2Config(head_dim=8, sliding_window=8, **bent, **_DECODER), causal
    if name == "granite":
        return transformers.GraniteConfig(logits_scaling=3.0, **_DECODER), causal
    if name == "cohere":
        return transformers.CohereConfig(logit_scale=0.25, **_DECODER), causal
    if name == "bert":
        sizes = {key: value for key, value in _DECODER.items() if key != "num_key_value_heads"}
        quiet = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "num_labels": 3}
        return transformers.BertConfig(**sizes, **quiet), transformers.AutoModelForSequenceClassification
    if name == "t5":
        sizes = {"vocab_size": 300, "d_model": 32, "d_ff": 48, "d_kv": 8, "num_layers": 2, "num_heads": 4}
        ids = {"decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 2}
        return transformers.T5Config(dropout_rate=0.0, **sizes, **ids), transformers.AutoModelForSeq2SeqLM
    raise ValueError(name)


def plain_inputs(name: str) -> dict[str, torch.Tensor]:
    """Two rows of equal length."""
    inputs = {"input_ids": _ids(2, 17)}
    return {**inputs, "decoder_input_ids": _ids(2, 17, seed=5)} if name == "t5" else inputs


def padded_inputs(name: str, side: str = "right") -> dict[str, torch.Tensor]:
    """Three rows, two of them shorter, with zeros in their masks at a side."""
    inputs = {"input_ids": _ids(3, 15)}
    places = torch.arange(15)[None]
    lengths = torch.tensor([[15], [6], [11]])
    inputs["attention_mask"] = (places < lengths if side == "right" else places >= 15 - lengths).long()
    return {**inputs, "decoder_input_ids": _ids(3, 9, seed=5)} if name == "t5" else inputs


def packed_inputs() -> dict[str, Any]:
    """Two rows of several examples each, whose positions begin again."""
    positions = [torch.cat([torch.arange(length) for length in row]) for row in LENGTHS]
    # with a cache, transformers takes the row for one text
    return {"input_ids": _ids(2, 21), "position_ids": torch.stack(positions), "use_cache": False}


def _ids(rows: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(3, 300, (rows, width), generator=torch.Generator().manual_seed(seed))


class Operations(TorchDispatchMode):
    """The names of the operations that were called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))

    @property
    def torchs_attention(self) -> int:
        """How often torch's own attention was asked."""
        return sum("scaled_dot_product" in name for name in self.names)
