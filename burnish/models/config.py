"""Reads a model's config: kind, context limit and depth; and finds the bundled configs of public models."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
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
    """Most tokens that a model can process at once, with its rope scaling; None if its config does not say."""
    positions = _positions(config)
    return None if positions is None else max(positions, _scaled(config.get_text_config(), positions))


def pair_limits(config: Any) -> tuple[int | None, int | None]:
    """Most tokens of the source and of the answer of an encoder-decoder; None each if its config does not say.

    The start token of the decoder takes the position of the answer's last token, which is never read.
    """
    encoder, decoder = config.get_text_config(encoder=True), config.get_text_config(decoder=True)
    source = getattr(encoder, "max_encoder_position_embeddings", None) or context_limit(encoder)
    return source, getattr(decoder, "max_decoder_position_embeddings", None) or context_limit(decoder)


def has_scaled_positions(config: Any) -> bool:
    """Whether rope scaling lets a model process more tokens than its config's number of positions."""
    return context_limit(config) != _positions(config)


def _positions(config: Any) -> int | None:
    """The number of positions as the config gives it, less those that no token can have."""
    text = config.get_text_config()
    for name in ("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length", "seq_length"):
        value = getattr(text, name, None)
        if isinstance(value, int) and value > 0:
            return min(value, _numbered(text) or value)
    return None


def _numbered(text: Any) -> int | None:
    """Positions of a model that counts them from its pad token on, as RoBERTa and its relatives do; None for others.

    Of 514 positions it has 512 for tokens, if its pad token has the number 1. The embeddings of such a model know the
    pad token by themselves, beside the table of positions; other tables that have a row for padding count from 0.
    """
    return _numbered_in(SameConfig.of(text)) if _has_body(text) else None


def _has_body(text: Any) -> bool:
    """Whether transformers itself builds the body of such a model; not of remote code."""
    from transformers import AutoModel

    return type(text) in AutoModel._model_mapping  # type: ignore[operator]


@functools.lru_cache(maxsize=8)
def _numbered_in(same: SameConfig) -> int | None:
    """`_numbered` of a config."""
    import torch
    from transformers import AutoModel

    try:
        with torch.device("meta"):
            config = with_depth(same.config, 1) if depth(same.config) else copy.deepcopy(same.config)
            body = AutoModel.from_config(config)
    except _FAILURES:  # whoever builds the model reports it
        return None
    for module in body.modules():
        table, pad = getattr(module, "position_embeddings", None), getattr(module, "padding_idx", None)
        if isinstance(table, torch.nn.Embedding) and isinstance(pad, int) and table.padding_idx == pad:
            return table.num_embeddings - pad - 1
    return None


def lacks_start(config: Any) -> bool:
    """Whether the decoder of an encoder-decoder has no token to begin with: the config names none, and the class needs
    it. Some classes take another token, such as the last one of the answer."""
    if not config.is_encoder_decoder or getattr(config, "decoder_start_token_id", None) is not None:
        return False
    import torch
    from transformers import AutoModelForSeq2SeqLM

    try:
        with torch.device("meta"):
            network: Any = AutoModelForSeq2SeqLM.from_config(with_depth(config, 1) if depth(config) else config)
            labels = torch.zeros((1, 2), dtype=torch.long)
    except _FAILURES:  # whoever builds the model reports it
        return False
    try:
        network.prepare_decoder_input_ids_from_labels(labels=labels)
    except _FAILURES:
        return True
    return False


_FAILURES = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, RuntimeError, TypeError, ValueError
)  # fmt: skip
"""What building a model raises whose config is damaged: it may fail anywhere in transformers."""


_FACTOR_OF_POSITIONS = ("linear", "dynamic")
"""Kinds of rope scaling whose factor applies to `max_position_embeddings`."""
_FACTOR_OF_ORIGINAL = ("yarn", "longrope", "su")
"""Kinds whose factor applies to the length before scaling (arXiv 2309.00071, 2402.13753). Configs of Llama 3 give the
length after scaling, whatever their factor."""


def _scaled(text: Any, positions: int) -> int:
    """Positions that rope scaling gives; 0 without any.

    Options by kind of layer are ignored: such configs give the length after scaling.

    Args:
        text: config of the language model.
        positions: `max_position_embeddings`.
    """
    rope = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None)
    if not isinstance(rope, dict):
        return 0
    kind, factor = rope.get("rope_type", rope.get("type")), rope.get("factor")
    if not isinstance(factor, (int, float)):
        return 0
    if kind in _FACTOR_OF_POSITIONS:
        return int(positions * factor)
    if kind in _FACTOR_OF_ORIGINAL:
        return int((rope.get("original_max_position_embeddings") or positions) * factor)
    return 0


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
    """The period of the kinds of blocks.

    The modules of the first block may differ: both of two shallow copies have it.
    """
    blocks = depth(config)
    if blocks is None:
        return 1
    listed, made = _listed(config.get_text_config(), blocks), _structure(config.get_text_config(), blocks)
    repeats = (n for n in range(1, blocks + 1) if all(_repeats(one, n) for one in (*listed, *(m[1:] for m in made))))
    return next(repeats)


def _repeats(values: Sequence[Any], after: int) -> bool:
    """Whether a list is periodic; the last repetition may be partial."""
    return all(value == later for value, later in zip(values, values[after:], strict=False))


def shallow(config: Any) -> Any:
    """The config of a model with the first few blocks, among which is every kind of block that the whole model has.

    At least two: with a single one, a vision tower would be the longest list of blocks.
    """
    blocks, kinds = depth(config), block_kinds(config)
    if blocks is None:
        return config
    first = {kind: number for number, kind in reversed(list(enumerate(kinds)))}
    return with_depth(config, min(blocks, max(2, *(number + 1 for number in first.values()))))


def block_kinds(config: Any) -> list[Any]:
    """One value per block, equal for blocks of one kind: by the config's lists, and by their modules and weights."""
    blocks, text = depth(config) or 0, config.get_text_config()
    return list(zip(*_listed(text, blocks), *_structure(text, blocks), [0] * blocks, strict=True))


def _listed(text: Any, blocks: int) -> list[list[str]]:
    """The lists of a config with one value per block."""
    return [list(map(repr, values)) for values in _per_block(text, blocks).values()]


def _structure(text: Any, blocks: int) -> list[tuple[str, ...]]:
    """For each list of `blocks` blocks in a model's body, a description of every block; none for remote code.

    A config need not say in a list that, for example, its first blocks have no experts, so the blocks of a network
    without storage are compared.
    """
    return _described(SameConfig.of(text), blocks) if _has_body(text) else []


@dataclass(frozen=True)
class SameConfig:
    """A config that is equal to any other with the same values: a key for what is built from it.

    The config itself is kept beside its JSON, in which transformers writes infinite numbers but cannot read them.
    """

    kind: type
    text: str
    config: Any = field(compare=False)

    @classmethod
    def of(cls, config: Any) -> SameConfig:
        """The key of a config of transformers."""
        return cls(type(config), config.to_json_string(), config)


@functools.lru_cache(maxsize=8)
def _described(same: SameConfig, blocks: int) -> list[tuple[str, ...]]:
    """`_structure` of a config."""
    import torch
    from transformers import AutoModel

    from burnish.models.blocks import block_lists

    with torch.device("meta"):
        body = AutoModel.from_config(copy.deepcopy(same.config))
    found = [body.get_submodule(name) for name in block_lists(body)]
    return [tuple(map(_description, one)) for one in found if len(one) == blocks]


def _description(block: Any) -> str:
    modules = " ".join(f"{name}:{type(module).__name__}" for name, module in block.named_modules())
    return f"{modules} {[(name, tuple(weight.shape)) for name, weight in block.named_parameters()]}"


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


class _Names(TypedDict, total=False):
    """The names of a config on the hub."""

    owners: list[str]
    also: list[str]


def public_names() -> list[str]:
    """Names of the bundled configs, ordered by family."""
    return list(_index())


def public_owners(name: str) -> list[str]:
    """Who publishes the model of a bundled config, the original first."""
    return _index()[name].get("owners", [])


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
