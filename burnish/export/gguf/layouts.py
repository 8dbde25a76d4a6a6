"""How llama.cpp lays out a model: the metadata of each architecture, and what becomes of its tensors.

A layout is known here if llama.cpp computes the same numbers from it; what llama.cpp would compute otherwise (a sliding
window that it ignores, an unknown scaling of positions) is limited or refused, in words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gguf
import numpy

from burnish.errors import InputError

Metadata = dict[str, "int | float | bool | str"]
"""Values by key, without the name of the architecture in front."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One architecture of llama.cpp."""

    architecture: gguf.MODEL_ARCH
    describe: Callable[[Any], Metadata]
    """The metadata of a model, from its config."""
    change: Callable[[str, numpy.ndarray, Any], numpy.ndarray] = lambda name, tensor, config: tensor
    """A tensor of transformers, `[outputs, …]`, by name and with the config, as llama.cpp stores it."""
    inputs_first: tuple[str, ...] = ()
    """Ends of the names of matrices that transformers stores as `[inputs, outputs]`."""
    ignores_window: bool = False
    """Whether llama.cpp computes full attention where the model has a sliding window."""
    skipped: tuple[str, ...] = ()
    """Ends of the names of tensors that are constants of the code."""
    activations: tuple[str, ...] = ("silu", "swish")
    """Those that llama.cpp computes, as transformers calls them."""

    @property
    def tolerance(self) -> float:
        """Nats by which log-probabilities of fp32 weights may differ: both sum the same numbers in another order. On
        CPUs llama.cpp looks GELU up in a table of 16-bit numbers, which have 11 bits."""
        return 1e-2 if self.activations[0].startswith("gelu") else 1e-4


@dataclass(frozen=True, slots=True)
class Described:
    """What llama.cpp has to know about a model besides its vocabulary and tensors."""

    layout: Layout
    metadata: Metadata
    factors: dict[str, numpy.ndarray] = field(default_factory=dict)
    """Extra tensors: factors on the frequencies of positions."""
    notes: list[str] = field(default_factory=list)
    """What the user should know, as sentences."""

    @property
    def name(self) -> str:
        """Of the architecture, as llama.cpp spells it."""
        return gguf.MODEL_ARCH_NAMES[self.layout.architecture]

    @property
    def context(self) -> int:
        """Most tokens of a text."""
        return int(self.metadata["context_length"])

    def names(self) -> gguf.TensorNameMap:
        """From names of transformers to those of llama.cpp."""
        return gguf.get_tensor_name_map(self.layout.architecture, int(self.metadata["block_count"]))


_ACTIVATIONS = ("hidden_activation", "hidden_act", "activation_function")


def describe(config: Any, rows: int) -> Described:
    """The layout and metadata of a model.

    Args:
        config: of transformers.
        rows: of its table of embeddings, which may exceed the vocabulary of the tokenizer.

    Raises:
        InputError: llama.cpp has no such layout, or would compute something else.
    """
    layout = LAYOUTS.get(config.model_type)
    if layout is None:
        raise _unknown(config)
    activation = next(filter(None, (getattr(config, name, None) for name in _ACTIVATIONS)), None)
    if activation not in layout.activations:
        raise _refused(config, f"its activation is `{activation}`")
    metadata, notes = {**layout.describe(config), "vocab_size": rows}, []
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    if layout.ignores_window and window and window < metadata["context_length"]:
        metadata["context_length"] = window
        notes.append(
            f"The model attends to the last {window:,} tokens, and llama.cpp to all, so the file allows texts of "
            f"{window:,} tokens: up to there both compute the same."
        )
    factors = _frequency_factors(config)
    return Described(layout, metadata, factors, notes)


def _unknown(config: Any) -> InputError:
    known = ", ".join(f"`{name}`" for name in sorted(LAYOUTS))
    return InputError(
        f"models of the type `{config.model_type}` cannot be written as GGUF here",
        f"Known are {known}.",
        "Clone llama.cpp, and let its converter write them: `--llama-cpp FOLDER`",
    )


def _refused(config: Any, what: str) -> InputError:
    return InputError(
        f"this model cannot be written as GGUF: {what}",
        f"llama.cpp would compute something else for `{config.model_type}`.",
        "Use the model with transformers or vLLM: `burnish export RUN --to hf`",
    )


def _head_size(config: Any) -> int:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def _rope(config: Any) -> Mapping[str, Any]:
    """The scaling of positions; the first kind of layer where kinds differ."""
    parameters = getattr(config, "rope_parameters", None) or {}
    return parameters.get("full_attention", parameters)


def _decoder(config: Any) -> Metadata:
    """What all layouts with rotary positions and RMS norm have in common."""
    size = _head_size(config)
    return {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": size,
        "attention.value_length": size,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.dimension_count": int(size * _rope(config).get("partial_rotary_factor", 1.0)),
        "rope.freq_base": float(_rope(config).get("rope_theta", 10000.0)),
        **_scaling(config),
    }


def _scaling(config: Any) -> Metadata:
    """How positions are scaled, where that is not a table of factors.

    Raises:
        InputError: in a way that llama.cpp does not have.
    """
    rope = _rope(config)
    kind = rope.get("rope_type", "default")
    if kind in ("default", "llama3"):  # the factors of the latter are tensors
        return {}
    if kind == "linear":
        return {"rope.scaling.type": "linear", "rope.scaling.factor": float(rope["factor"])}
    if kind == "yarn" and not {"mscale", "mscale_all_dim", "attention_factor"} & {name for name in rope if rope[name]}:
        return {
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": float(rope["factor"]),
            "rope.scaling.original_context_length": int(rope["original_max_position_embeddings"]),
        }
    if kind == "longrope":
        before = int(rope["original_max_position_embeddings"])
        ratio = config.max_position_embeddings / before
        grown = math.sqrt(1 + math.log(ratio) / math.log(before)) if ratio > 1 else 1.0
        return {
            "rope.scaling.original_context_length": before,
            "rope.scaling.attn_factor": float(rope.get("attention_factor") or grown),
        }
    raise _refused(config, f"its positions are scaled by `{kind}`")


def _frequency_factors(config: Any) -> dict[str, numpy.ndarray]:
    """The factors by which llama.cpp divides the frequencies of positions, as tensors.

    Those of Llama 3 (arXiv 2407.21783, as transformers computes them): wavelengths beyond the old context are
    stretched by the whole factor, short ones not at all, those between by a share.
    """
    rope = _rope(config)
    if rope.get("rope_type") == "longrope":
        named = {"rope_factors_long.weight": "long_factor", "rope_factors_short.weight": "short_factor"}
        return {name: numpy.array(rope[key], dtype=numpy.float32) for name, key in named.items()}
    if rope.get("rope_type") != "llama3":
        return {}
    size, theta = _head_size(config), float(rope["rope_theta"])
    wavelengths = 2 * math.pi * theta ** (numpy.arange(0, size, 2, dtype=numpy.float64) / size)
    low, high, factor = (float(rope[name]) for name in ("low_freq_factor", "high_freq_factor", "factor"))
    share = (rope["original_max_position_embeddings"] / wavelengths - low) / (high - low)
    share = numpy.clip(share, 0.0, 1.0)
    return {"rope_freqs.weight": (1 / ((1 - share) / factor + share)).astype(numpy.float32)}


def _gemma2(config: Any) -> Metadata:
    size = _head_size(config)
    # llama.cpp scales by the size of a head, and for the layout of 46 blocks by that of an even share
    scale = config.hidden_size // config.num_attention_heads if config.num_hidden_layers == 46 else size
    if config.query_pre_attn_scalar != scale:
        raise _refused(config, f"it scales queries by {config.query_pre_attn_scalar} instead of {scale}")
    return {
        **_decoder(config),
        "attention.sliding_window": config.sliding_window,
        "attn_logit_softcapping": float(config.attn_logit_softcapping),
        "final_logit_softcapping": float(config.final_logit_softcapping),
    }


_EVERY = 6
"""In llama.cpp each sixth block of a Gemma 3 attends to everything."""


def _gemma3(config: Any) -> Metadata:
    size = _head_size(config)
    scale = config.hidden_size // config.num_attention_heads if config.num_hidden_layers == 62 else size
    if config.query_pre_attn_scalar != scale:
        raise _refused(config, f"it scales queries by {config.query_pre_attn_scalar} instead of {scale}")
    expected = [
        "sliding_attention" if (one + 1) % _EVERY else "full_attention" for one in range(len(config.layer_types))
    ]
    if list(config.layer_types) != expected:
        raise _refused(config, "its sliding and full attention take turns in an order of its own")
    local = (config.rope_parameters or {}).get("sliding_attention", {})
    return {
        **_decoder(config),
        "attention.sliding_window": config.sliding_window,
        "rope.freq_base_swa": float(local.get("rope_theta", 10000.0)),
    }


def _gpt2(config: Any) -> Metadata:
    if config.scale_attn_by_inverse_layer_idx or not config.scale_attn_weights:
        raise _refused(config, "it scales attention by block")
    return {
        "context_length": config.n_positions,
        "embedding_length": config.n_embd,
        "block_count": config.n_layer,
        "feed_forward_length": config.n_inner or 4 * config.n_embd,
        "attention.head_count": config.n_head,
        "attention.layer_norm_epsilon": config.layer_norm_epsilon,
    }


def _bert(config: Any) -> Metadata:
    return {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.layer_norm_epsilon": config.layer_norm_eps,
        "attention.causal": False,
    }


def _rotated_pairs(name: str, tensor: numpy.ndarray, config: Any) -> numpy.ndarray:
    """Queries and keys with the two halves of each head interleaved: llama.cpp rotates neighbours in this layout, and
    transformers one half against the other."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    number = next((heads[part] for part in heads if f".self_attn.{part}." in name), 0)
    if not number:
        return tensor
    halves = tensor.reshape(number, 2, tensor.shape[0] // number // 2, *tensor.shape[1:])
    return halves.swapaxes(1, 2).reshape(tensor.shape)


def _norm_from_zero(name: str, tensor: numpy.ndarray, config: Any) -> numpy.ndarray:
    """Gemma's norms multiply by one more than their weight."""
    return tensor + 1 if name.endswith("norm.weight") else tensor


_TANH = ("gelu_pytorch_tanh", "gelu_new", "gelu_fast")
"""Names of one function: GELU by its approximation with tanh."""
_LLAMA = Layout(gguf.MODEL_ARCH.LLAMA, _decoder, _rotated_pairs, ignores_window=True)
LAYOUTS: dict[str, Layout] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": Layout(gguf.MODEL_ARCH.QWEN2, _decoder, ignores_window=True),
    "qwen3": Layout(gguf.MODEL_ARCH.QWEN3, _decoder, ignores_window=True),
    "gemma": Layout(gguf.MODEL_ARCH.GEMMA, _decoder, _norm_from_zero, activations=_TANH),
    "gemma2": Layout(gguf.MODEL_ARCH.GEMMA2, _gemma2, _norm_from_zero, activations=_TANH),
    "gemma3_text": Layout(gguf.MODEL_ARCH.GEMMA3, _gemma3, _norm_from_zero, activations=_TANH),
    "phi3": Layout(gguf.MODEL_ARCH.PHI3, _decoder, ignores_window=True),
    "gpt2": Layout(
        gguf.MODEL_ARCH.GPT2,
        _gpt2,
        inputs_first=("c_attn.weight", "c_proj.weight", "c_fc.weight"),
        skipped=(".attn.bias", ".attn.masked_bias"),
        activations=_TANH,
    ),
    "bert": Layout(gguf.MODEL_ARCH.BERT, _bert, skipped=("embeddings.position_ids",), activations=("gelu",)),
}
"""By the `model_type` of transformers."""
