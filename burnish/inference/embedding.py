"""A base model that turns texts into vectors: an encoder in the layout of sentence-transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from burnish.data.tokens.text_pairs import ReadTokens, read_inputs
from burnish.errors import InputError, ModelError
from burnish.models.base import Loading, load_base, load_tokenizer
from burnish.models.config import context_limit
from burnish.models.device import arithmetic, choose_device
from burnish.models.heads import Head
from burnish.models.location import ModelLocation
from burnish.recipe.schema import ModelSection
from burnish.visible import parse_json

_MODULES = "modules.json"
_POOLINGS = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean", "pooling_mode_max_tokens": "max"}
_STEPS = ("Transformer", "Pooling", "Normalize")


def is_embedding_model(place: str) -> bool:
    """Whether a folder holds such a model."""
    return (Path(place) / _MODULES).is_file()


@dataclass(frozen=True, slots=True)
class Layout:
    """What a folder says of how its vectors are made."""

    pooling: str
    """`cls`, `mean` or `max` of the tokens' vectors."""
    is_normalized: bool
    """Whether vectors have length 1."""
    most: int | None
    """Tokens of a text; None for as many as the network takes."""
    prompt: str
    """In front of every text."""


def read_layout(folder: Path) -> Layout:
    """The layout of a folder.

    Raises:
        ModelError: it has a step that is not a transformer, a pooling or a normalization.
    """
    modules = parse_json((folder / _MODULES).read_text(encoding="utf-8"))
    steps = [str(module["type"]).rpartition(".")[2] for module in modules]
    if unknown := [step for step in steps if step not in _STEPS]:
        raise ModelError(
            f"the vectors of `{folder}` are made with a step that is not supported: `{unknown[0]}`",
            f"Known are {', '.join(f'`{step}`' for step in _STEPS)}.",
            "Serve another model",
        )
    pooling = next(folder / module["path"] for module, step in zip(modules, steps, strict=True) if step == "Pooling")
    found = parse_json((pooling / "config.json").read_text(encoding="utf-8"))
    named = [name for key, name in _POOLINGS.items() if found.get(key)] or [str(found.get("pooling_mode", ""))]
    if len(named) != 1 or named[0] not in _POOLINGS.values():
        raise ModelError(
            f"the vectors of `{folder}` are pooled in a way that is not supported",
            f"Known are {', '.join(_POOLINGS.values())}, one at a time.",
            "Serve another model",
        )
    about = _read_optional(folder / "config_sentence_transformers.json")
    prompt = (about.get("prompts") or {}).get(about.get("default_prompt_name") or "", "")
    most = _read_optional(folder / "sentence_bert_config.json").get("max_seq_length")
    return Layout(named[0], "Normalize" in steps, most, prompt)


def _read_optional(file: Path) -> dict[str, Any]:
    return parse_json(file.read_text(encoding="utf-8")) if file.is_file() else {}


class Embedding:
    """Such a model, loaded.

    Args:
        name: by which requests name it.
        place: its folder.

    Raises:
        ModelError: it cannot be loaded.
    """

    def __init__(self, name: str, place: str) -> None:
        folder = Path(place)
        self.name = name
        self.created = folder.stat().st_mtime
        self._layout = read_layout(folder)
        section = ModelSection(name=place)
        self._device = choose_device(section.device)
        location = ModelLocation(place, folder, False)
        self._tokenizer = load_tokenizer(location, section)
        loading, head = Loading(torch.float32), Head("AutoModel", "FEATURE_EXTRACTION")
        self._network = load_base(location, section, self._tokenizer, self._device, loading, head).network.eval()
        self.room = self._layout.most or context_limit(self._network.config) or 1 << 20
        """Most tokens of a text."""

    def ids_of(self, text: str | Sequence[int]) -> list[int]:
        """The tokens of a text, or these as they are.

        Raises:
            InputError: there are too many, or one is not among those of the model.
        """
        if isinstance(text, str):
            ids = list(self._tokenizer(self._layout.prompt + text, verbose=False)["input_ids"])
        else:
            ids = list(text)
        rows = self._network.get_input_embeddings().num_embeddings
        if any(not 0 <= token < rows for token in ids):
            raise InputError(f"a token id is not below {rows:,}")
        if len(ids) > self.room:
            raise InputError(
                f"a text has {len(ids):,} tokens", f"`{self.name}` has room for {self.room:,}.", "Split it, or cut it"
            )
        return ids

    @torch.no_grad()
    def vectors(self, texts: Sequence[Sequence[int]]) -> list[list[float]]:
        """A vector for each text, given as token ids."""
        read = [ReadTokens(list(ids), None, 0) for ids in texts]
        inputs = {key: values.to(self._device) for key, values in read_inputs(read, self._pad_id).items()}
        with arithmetic(self._device, "fp32"):
            hidden = self._network(**inputs).last_hidden_state.float()
        mask = inputs["attention_mask"].unsqueeze(2).float()
        if self._layout.pooling == "cls":
            pooled = hidden[:, 0]
        elif self._layout.pooling == "max":
            pooled = hidden.masked_fill(mask == 0, float("-inf")).amax(1)
        else:
            pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        if self._layout.is_normalized:
            pooled = torch.nn.functional.normalize(pooled, dim=1)
        return pooled.cpu().tolist()

    @property
    def _pad_id(self) -> int:
        return self._tokenizer.pad_token_id or 0
