"""Reads a model's config: kind, context limit and depth; and finds the bundled configs of public models."""

from __future__ import annotations

import copy
import functools
import math
from importlib import resources
from pathlib import Path
from typing import Any, TypedDict

WORDS = {
    "causal": "continues a text (a decoder)",
    "masked": "encodes a text in both directions (an encoder)",
    "seq2seq": "maps one text to another (an encoder-decoder)",
    "image-text": "takes images and text",
}
"""A description of each kind."""


def model_kind(config: Any) -> str:
    """`causal`, `masked`, `seq2seq` or `image-text`.

    Determined by the architecture that the weights were saved from, or by the model type if the config has none.
    """
    from transformers.models.auto import modeling_auto as auto

    if config.model_type in auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES and hasattr(config, "vision_config"):
        return "image-text"
    if config.is_encoder_decoder:
        return "seq2seq"
    saved_from = (config.architectures or [""])[0]
    if saved_from.endswith(("ForCausalLM", "LMHeadModel")) or getattr(config, "is_decoder", False):
        return "causal"
    if config.model_type in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return "masked"
    return "causal"


def context_limit(config: Any) -> int | None:
    """Most tokens that a model can process at once; None if its config does not say."""
    text = config.get_text_config()
    for name in ("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length", "seq_length"):
        value = getattr(text, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return None


_COUNTS = ("num_hidden_layers", "num_layers", "num_decoder_layers", "encoder_layers", "decoder_layers")
"""Names of the number of blocks in configs, besides those that a config maps to the first one."""


def depth(config: Any) -> int | None:
    """Number of blocks of the language model; None if it cannot be made shallower without changing the blocks.

    An encoder and its decoder must have the same number.
    """
    text = config.get_text_config()
    counts = {getattr(text, name) for name in _COUNTS if isinstance(getattr(text, name, None), int)}
    return counts.pop() if len(counts) == 1 else None


def period(config: Any) -> int:
    """The period of block kinds, for configs that list a kind for every block."""
    blocks = depth(config) or 1
    return math.lcm(1, *(_period(values) for values in _per_block(config.get_text_config(), blocks).values()))


def with_depth(config: Any, blocks: int) -> Any:
    """A copy of the config with only the first `blocks` blocks."""
    total = depth(config)
    changed = copy.deepcopy(config)
    text = changed.get_text_config()
    for name in _COUNTS:
        if isinstance(getattr(text, name, None), int):
            setattr(text, name, blocks)
    for name, values in _per_block(text, total or 0).items():
        setattr(text, name, values[:blocks])
    return changed


def _per_block(text: Any, blocks: int) -> dict[str, list[Any]]:
    """Options of a config with one value per block."""
    return {name: value for name, value in vars(text).items() if isinstance(value, list) and len(value) == blocks > 1}


def _period(values: list[Any]) -> int:
    """The length of the shortest prefix that repeats to give the list; the last repetition may be partial."""
    lengths = range(1, len(values) + 1)
    return next(n for n in lengths if all(values[i] == values[i % n] for i in range(len(values))))


class _Names(TypedDict, total=False):
    """The names of a config on the hub."""

    owners: list[str]
    also: list[str]


def public_names() -> list[str]:
    """Names of the bundled configs, ordered by family."""
    return list(_index())


def find_public(name: str) -> Path | None:
    """The bundled `config.json` of a model, or None.

    Args:
        name: as on the hub, with or without its owner, in upper or lower case: `meta-llama/Meta-Llama-3-70B`,
            `Llama-3-70B`, `gpt2`. With an unknown owner it could be any model, so none is found.
    """
    owner, _, last = name.strip().lower().rpartition("/")
    for own_name, names in _index().items():
        owners = ["", *(known.lower() for known in names.get("owners", []))]
        if owner in owners and last in [called.lower() for called in (own_name, *names.get("also", []))]:
            return _folder() / f"{own_name}.json"
    return None


def _folder() -> Path:
    return Path(str(resources.files("burnish"))) / "assets" / "configs"


@functools.cache
def _index() -> dict[str, _Names]:
    import yaml

    return yaml.safe_load((_folder() / "names.yaml").read_text(encoding="utf-8"))
