"""Embeddings in the file of an adapter: PEFT writes copies of them by itself, beside what was trained.

It does so where an embedding or the output layer is adapted, where one is trained in full, and where the vocabulary has
grown. A copy of what the base model has anyway is none of the adapter's weights.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from burnish.errors import ModelError

_TRAINED, _ORIGINAL, _WEIGHT = ".modules_to_save.weight", ".original_module.weight", ".weight"


def copies_of_embeddings(network: Any, saved: Mapping[str, torch.Tensor], expected: Collection[str]) -> set[str]:
    """Names of the saved tensors that are copies of embeddings, or of an output layer.

    Args:
        network: a PEFT model with the adapter.
        saved: the tensors of its file.
        expected: names of the adapter's own weights.
    """
    tables = _tables(network)
    found = set[str]()
    for name in saved.keys() - set(expected):
        if name.endswith(_TRAINED):  # of what is there under its own name as well
            other = saved.get(name.removesuffix(_TRAINED) + _WEIGHT)
            is_copy = other is not None and other.equal(saved[name])
        else:
            # the original of what is trained in full has no effect
            is_copy = name in tables or (
                name.endswith(_ORIGINAL) and name.removesuffix(_ORIGINAL) + _WEIGHT in expected
            )
        if is_copy:
            found.add(name)
    return found


def check_copies(result: Path, network: Any, saved: Mapping[str, torch.Tensor], names: Iterable[str]) -> None:
    """Checks that copies are what the base model has: an adapter that goes on training does not carry others along.

    Args:
        result: folder of the adapter.
        network: a PEFT model of its form, with the base model's own embeddings.
        saved: the tensors of its file.
        names: of the copies.

    Raises:
        ModelError: one differs.
    """
    tables = _tables(network)
    for name in names:
        own = tables.get(name)
        if own is None or (own.shape == saved[name].shape and own.equal(saved[name].to(own))):
            continue
        raise ModelError(
            f"the adapter in `{result}` cannot go on training as it is",
            f"Its file also has an embedding of its own, `{name}`, which is not that of the base model, and no adapter "
            "keeps one.",
            "Merge it into its base first: `--set start.how=merge`",
        )


def _tables(network: Any) -> dict[str, torch.Tensor]:
    """Weights of the embeddings and of the output layer that are no weights of the adapter, by PEFT's names."""
    whole = network.get_base_model()
    modules = [module for module in (whole.get_input_embeddings(), whole.get_output_embeddings()) if module is not None]
    held = {id(getattr(module, "base_layer", module)) for module in modules}
    return {
        f"{name}{_WEIGHT}": module.weight.detach()
        for name, module in network.named_modules(remove_duplicate=False)
        if id(module) in held and isinstance(module.weight, torch.Tensor)
    }
