"""What a model's config tells: its kind, its context, its depth; and the bundled configs of public models."""

from __future__ import annotations

import copy
import functools
import math
from importlib import resources
from pathlib import Path
from typing import Any, TypedDict

WORDS = {
    "causal": "goes on with a text (a decoder)",
    "masked": "reads a text from both sides (an encoder)",
    "seq2seq": "turns one text into another (an encoder with a decoder)",
    "image-text": "reads pictures and text",
}
"""Each kind in words."""


def model_kind(config: Any) -> str:
    """`causal`, `masked`, `seq2seq` or `image-text`.

    The architecture that the weights were saved from decides; where the config names none, the type of the model does.
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
    """Most tokens a model can read at once; None where its config does not say."""
    text = config.get_text_config()
    for name in ("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length", "seq_length"):
        value = getattr(text, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return None


_COUNTS = ("num_hidden_layers", "num_layers", "num_decoder_layers", "encoder_layers", "decoder_layers")
"""Names by which configs say how many blocks there are, besides the names that a config maps onto the first."""


def depth(config: Any) -> int | None:
    """Blocks of the language part; None where it cannot be made shallower without changing what the blocks are.

    Of an encoder with a decoder both must have the same number.
    """
    text = config.get_text_config()
    counts = {getattr(text, name) for name in _COUNTS if isinstance(getattr(text, name, None), int)}
    return counts.pop() if len(counts) == 1 else None


def period(config: Any) -> int:
    """After how many blocks the kinds of blocks repeat, for configs that list a kind for every block."""
    blocks = depth(config) or 1
    return math.lcm(1, *(_period(values) for values in _per_block(config.get_text_config(), blocks).values()))


def with_depth(config: Any, blocks: int) -> Any:
    """A copy of the config with so many blocks, the first of the model's own."""
    whole = depth(config)
    changed = copy.deepcopy(config)
    text = changed.get_text_config()
    for name in _COUNTS:
        if isinstance(getattr(text, name, None), int):
            setattr(text, name, blocks)
    for name, values in _per_block(text, whole or 0).items():
        setattr(text, name, values[:blocks])
    return changed


def _per_block(text: Any, blocks: int) -> dict[str, list[Any]]:
    """Options of a config that hold one value for each block."""
    return {name: value for name, value in vars(text).items() if isinstance(value, list) and len(value) == blocks > 1}


def _period(values: list[Any]) -> int:
    """The shortest beginning that, repeated, gives the list; a last repetition may be cut."""
    lengths = range(1, len(values) + 1)
    return next(n for n in lengths if all(values[i] == values[i % n] for i in range(len(values))))


class _Names(TypedDict, total=False):
    """What a configuration is called on the hub."""

    owners: list[str]
    also: list[str]


def public_names() -> list[str]:
    """The bundled configurations by name, in the order of families."""
    return list(_index())


def find_public(name: str) -> Path | None:
    """The bundled `config.json` of a model, or None where there is none.

    Args:
        name: as on the hub, with or without its owner, in upper or lower case: `meta-llama/Meta-Llama-3-70B`,
            `Llama-3-70B`, `gpt2`. With an owner who does not publish the model it could be any model, so none is found.
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
