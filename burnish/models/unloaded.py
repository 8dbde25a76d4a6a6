"""Tensors in a model's files that its class does not load: a model that is saved whole loses them.

Examples are heads that predict several tokens (`mtp.*`), the image encoder of a model whose class for text is loaded,
or the output layer of a classifier beside a language model. transformers reports some of them as unexpected, and
nothing of those that a class ignores on purpose, so the names in the files are compared with the class here as well.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

_RECOMPUTED = re.compile(
    r"(^|\.)(inv_freq|original_inv_freq|position_ids|token_type_ids|num_batches_tracked|relative_position_index|version"
    r"|masked_bias|(attn|attention|crossattention)\.bias)$"
)
"""Buffers that older versions of transformers saved, and that a model computes by itself."""
_LANGUAGE = (
    "AutoModelForCausalLM",
    "AutoModelForSeq2SeqLM",
    "AutoModelForImageTextToText",
    "AutoModelForMaskedLM",
)
"""Classes that keep a language model's own output layer; others replace it, which is what their task asks for."""
_NAMED = 4


def unloaded_tensors(network: Any, unexpected: Iterable[str], in_files: Collection[str], auto_class: str) -> list[str]:
    """Names of the tensors that are in the files of a model and not in the network, sorted.

    Args:
        network: loaded.
        unexpected: what transformers reports.
        in_files: names of all tensors in the files.
        auto_class: that loaded it. If that is for labels, the output layer that it replaces is not among the names.
    """
    known = set(network.state_dict())
    found = {*unexpected, *_ignored(network, known, in_files)}
    prefix = f"{network.base_model_prefix}."
    keeps_head = auto_class in _LANGUAGE
    return sorted(
        name
        for name in found
        if not _RECOMPUTED.search(name)
        and (keeps_head or (name.startswith(prefix) and not name.startswith(f"{prefix}pooler.")))
    )


def _ignored(network: Any, known: set[str], in_files: Collection[str]) -> set[str]:
    """Tensors that the class ignores on purpose, of which transformers says nothing."""
    patterns = network._keys_to_ignore_on_load_unexpected
    others = sorted(set(in_files) - known)
    if not patterns or not others:
        return set()
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

    # names in files may differ from those in the class, as those of experts that are stacked on loading
    changes = get_model_conversion_mapping(network)
    renamings = [one for one in changes if isinstance(one, WeightRenaming)]
    converters = [one for one in changes if isinstance(one, WeightConverter)]
    state, prefix = dict.fromkeys(known), network.base_model_prefix
    names = [rename_source_key(name, renamings, converters, prefix, state)[0] for name in others]
    is_ignored = re.compile("|".join(f"({pattern})" for pattern in patterns))
    return {name for name in names if name not in known and is_ignored.search(name)}


def without_unloaded(network: Any, names: Collection[str]) -> str:
    """A sentence on the tensors that a saved model will not have; empty if there are none.

    Args:
        network: loaded.
        names: of the tensors.
    """
    if not names:
        return ""
    parts = list(dict.fromkeys(_part(name, network.state_dict()) for name in sorted(names)))
    named = ", ".join(f"`{part}`" for part in parts[:_NAMED]) + (" and others" if len(parts) > _NAMED else "")
    several = len(names) > 1
    return (
        f"The base model's files have {len(names):,} tensor{'s' if several else ''} that `{type(network).__name__}` "
        f"does not load ({named}): {'they are' if several else 'it is'} not part of what is trained, and the saved "
        f"model will not have {'them' if several else 'it'}."
    )


def _part(name: str, known: Collection[str]) -> str:
    """The shortest part of a name that no tensor of the network has: `mtp` of `mtp.layers.0.norm.weight`."""
    words = name.split(".")
    parts = (".".join(words[:length]) for length in range(1, len(words)))
    return next((part for part in parts if not any(one.startswith(f"{part}.") for one in known)), name)
