"""Loading a base model with its tokenizer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from burnish.errors import ModelError
from burnish.models.location import ModelLocation
from burnish.models.padding import ensure_pad_token
from burnish.recipe.schema import ModelSection

_HASHED_BYTES = 1 << 26


@dataclass(slots=True)
class BaseModel:
    """A loaded base model: the network on its device, and the tokenizer that goes with it."""

    location: ModelLocation
    network: Any
    """A transformers `PreTrainedModel`."""
    tokenizer: Any
    """A transformers `PreTrainedTokenizerBase` whose pad token is set."""
    notes: list[str] = field(default_factory=list)
    """What was adapted, in sentences."""


def load_tokenizer(location: ModelLocation, section: ModelSection) -> Any:
    """The tokenizer of a base model, as it lies in its folder.

    Raises:
        ModelError: its files cannot be read, or it needs remote code.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            str(location.folder), trust_remote_code=section.trust_remote_code, local_files_only=True
        )
    except (OSError, ValueError, KeyError, json.JSONDecodeError, ImportError) as error:
        raise _load_error(location, "tokenizer", error) from error


def load_base(
    location: ModelLocation,
    section: ModelSection,
    tokenizer: Any,
    device: torch.device,
    weights: torch.dtype,
) -> BaseModel:
    """Loads a causal language model onto `device`, with its weights in the type `weights`.

    Raises:
        ModelError: the folder cannot be loaded as a causal language model, or its weights are not whole.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    try:
        with no_progress_bar():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                str(location.folder),
                dtype=weights,
                trust_remote_code=section.trust_remote_code,
                use_safetensors=None if section.allow_pickle else True,
                local_files_only=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError, ImportError) as error:
        raise _load_error(location, "model", error) from error
    network, report = loaded
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(
            f"the weights of `{location.name}` are not whole",
            f"{len(missing)} tensors are missing, the first is `{missing[0]}`; they would start out random.",
            "Fetch the model again, or name the model class these weights were saved from",
        )
    base = BaseModel(location, network.to(device), tokenizer)
    base.notes += ensure_pad_token(tokenizer, network.get_input_embeddings().num_embeddings)
    return base


@contextmanager
def no_progress_bar() -> Iterator[None]:
    """Keeps transformers' own bar off the terminal, where Burnish draws one."""
    from transformers.utils import logging

    was_shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_shown:
            logging.enable_progress_bar()


def _load_error(location: ModelLocation, part: str, error: Exception) -> ModelError:
    text = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
    if "trust_remote_code" in str(error):
        return ModelError(
            f"the {part} of `{location.name}` comes with its own Python code",
            "Code from elsewhere can do anything, so it is refused.",
            "If you trust it, add `--trust-remote-code`",
        )
    return ModelError(f"cannot load the {part} of `{location.name}`", text, "Check the files in its folder")


def fingerprint(folder: Path) -> str:
    """SHA-256 over the config, tokenizer and weight files of a model folder.

    Of each file larger than 64 MiB only the size, the first and the last 32 MiB are read, so that an 8 B model takes
    a second, not a minute.
    """
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in (".json", ".safetensors", ".model", ".txt", ".bin", ".jinja") and file.is_file():
            digest.update(f"{file.name}:{file.stat().st_size}\n".encode())
            with file.open("rb") as stream:
                digest.update(stream.read(_HASHED_BYTES // 2))
                if file.stat().st_size > _HASHED_BYTES // 2:
                    stream.seek(max(_HASHED_BYTES // 2, file.stat().st_size - _HASHED_BYTES // 2))
                    digest.update(stream.read())
    return digest.hexdigest()
