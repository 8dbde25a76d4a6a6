"""Why tensors of a model are missing in its files: the reason that a user can act on."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from burnish.errors import ModelError
from burnish.models.location import ModelLocation
from burnish.models.weight_files import tensor_names
from burnish.system.shell import quoted

_RENAMED = (
    "from safetensors.torch import load_file, save_file; f = {file}; save_file({{name.removeprefix({prefix}): one "
    'for name, one in load_file(f).items()}}, f, {{"format": "pt"}})'
)


def incomplete(location: ModelLocation, missing: Sequence[str], network: Any) -> ModelError:
    """The error for a model without some of its tensors.

    Args:
        location: of the model.
        missing: names of the tensors, the most important first; there is one.
        network: that they would belong to.
    """
    names = tensor_names(location.folder)
    head = network.get_output_embeddings()
    outputs = {f"{name}.{part}" for name, one in network.named_modules() if one is head for part in ("weight", "bias")}
    # what is tied to the embedding need not be in the file
    needed = [one for one in missing if not (network.config.tie_word_embeddings and one in outputs)]
    if prefix := _prefix(needed, names):
        file = str(location.folder / "model.safetensors")
        one = _RENAMED.format(file=json.dumps(file), prefix=json.dumps(prefix))
        return ModelError(
            f"the tensors of `{location.name}` have names that begin with `{prefix}`",
            f"It was saved from inside a wrapper, as `torch.compile` and training on several GPUs put around a model: "
            f"`{missing[0]}` is there as `{prefix}{missing[0]}`.",
            f"Rename them: `python -c {quoted(one)}`"
            if (location.folder / "model.safetensors").is_file()
            else f"Load it, and save it with `save_pretrained` without the wrapper, so that `{prefix}` is gone",
        )
    saved_from = (network.config.architectures or [""])[0]
    if saved_from and saved_from != type(network).__name__ and outputs.issuperset(missing):
        return ModelError(
            f"`{location.name}` cannot write text: it is a `{saved_from}`",
            f"It has no output layer for words (`{missing[0]}`), which would be initialized at random.",
            "Give the model that it was made from, or one that writes text, as `--model`",
        )
    return ModelError(
        f"the weights of `{location.name}` are incomplete",
        f"Missing tensors: {len(missing)}, the first is `{missing[0]}`. They would be initialized at random.",
        "Download the model again, or use a model class that matches these weights",
    )


def _prefix(missing: Sequence[str], names: Collection[str]) -> str:
    """What all missing tensors have before their names in the files; empty if they have no such prefix."""
    if not missing:
        return ""
    found = next((name for name in sorted(names) if name.endswith(f".{missing[0]}")), "")
    prefix = found.removesuffix(missing[0])
    return prefix if prefix and all(f"{prefix}{one}" in names for one in missing) else ""
