"""The same model with fewer blocks, from its config: what one block costs, all of them cost."""

from __future__ import annotations

import copy
import math
from typing import Any

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
