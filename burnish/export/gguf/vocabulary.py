"""The vocabulary of a tokenizer as llama.cpp reads it.

llama.cpp has code of its own for each way of splitting a text into words, and a file names the one to use. Which of
them splits as a tokenizer does is found by trying: `guesses` gives the order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gguf import TokenType

from burnish.errors import InputError

_SPLITS = (
    "gpt-2",
    "llama-bpe",
    "qwen2",
    "smollm",
    "default",
    "tekken",
    "gpt-4o",
    "deepseek-llm",
    "deepseek-coder",
    "deepseek-v3",
    "falcon",
    "command-r",
    "olmo",
    "dbrx",
    "mpt",
    "stablelm2",
    "chatglm-bpe",
    "viking",
    "bloom",
    "poro-chat",
    "exaone",
    "minerva-7b",
    "llama4",
    "kimi-k2",
    "hunyuan",
    "seed-coder",
    "superbpe",
    "trillion",
    "jais",
)
"""Names of ways to split a text in llama.cpp, the usual ones first."""
_BLANK = "▁"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """All tokens, and how a text becomes tokens."""

    model: str
    """Algorithm: `gpt2` (byte-level BPE), `llama` (SentencePiece's BPE) or `bert` (WordPiece)."""
    split: str
    """How a text is split into words; empty if the algorithm has only one way."""
    tokens: list[str]
    types: list[int]
    merges: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    ids: dict[str, int] = field(default_factory=dict)
    """Special tokens by role: `bos`, `eos`, `eot`, `unknown`, `padding`, `seperator`, `mask`."""
    adds: dict[str, bool] = field(default_factory=dict)
    """What is put around a text: `bos_token`, `eos_token`, `space_prefix`."""
    template: str = ""
    """The chat template; empty if there is none."""

    def split_by(self, name: str) -> Vocabulary:
        """The same, with another way to split a text."""
        return replace(self, split=name)


def read_vocabulary(tokenizer: Any, rows: int, stop_ids: Sequence[int]) -> Vocabulary:
    """The vocabulary of a fast tokenizer.

    Args:
        tokenizer: of transformers.
        rows: of the model's table of embeddings; those without a token get the type `UNUSED`.
        stop_ids: tokens at which an answer ends. The first is EOS, the second the end of a turn.

    Raises:
        InputError: llama.cpp has no such tokenizer.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise _refused("it is written in Python")
    saved = json.loads(backend.to_str())
    model = saved["model"]
    tokens, types = _tokens(tokenizer, model, rows)
    common = {"ids": _roles(tokenizer, stop_ids), "template": _template(tokenizer)}
    adds = _added(tokenizer)
    if model["type"] == "WordPiece":
        pieces = [_as_phantom(token, kind) for token, kind in zip(tokens, types, strict=True)]
        return Vocabulary("bert", "", pieces, types, adds=adds, **common)
    if model["type"] != "BPE":
        raise _refused(f"its algorithm is {model['type']}")
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    if model.get("byte_fallback"):
        return Vocabulary(
            "llama",
            "",
            tokens,
            types,
            scores=_scores(tokens, merges),
            adds={**adds, "space_prefix": _puts_space(saved)},
            **common,
        )
    if "ByteLevel" not in _kinds(saved.get("pre_tokenizer")):
        raise _refused("its tokens are neither bytes nor SentencePiece's")
    return Vocabulary("gpt2", guesses(tokenizer)[0], tokens, types, merges, adds=adds, **common)


def guesses(tokenizer: Any) -> list[str]:
    """Ways in which llama.cpp may split a text as this byte-level tokenizer does, the most likely first."""
    saved = json.loads(tokenizer.backend_tokenizer.to_str()).get("pre_tokenizer")
    pattern = " ".join(_patterns(saved))
    if not pattern:
        first = "smollm" if "Digits" in _kinds(saved) else "gpt-2"
    elif "{1,3}" in pattern:
        first = "llama-bpe"
    else:
        first = "qwen2"
    return [first, *(name for name in _SPLITS if name != first)]


def _refused(why: str) -> InputError:
    return InputError(
        f"the tokenizer of this model cannot be written as GGUF: {why}",
        "llama.cpp would tokenize texts differently than training did.",
        "Write it with `burnish export RUN --to hf`, and convert that folder with llama.cpp's `convert_hf_to_gguf.py`",
    )


def _tokens(tokenizer: Any, model: Mapping[str, Any], rows: int) -> tuple[list[str], list[int]]:
    """The text and type of each row."""
    tokens = [f"[unused {row}]" for row in range(rows)]
    types = [int(TokenType.UNUSED)] * rows
    own: Mapping[str, int] = model["vocab"]
    for token, row in own.items():
        tokens[row], types[row] = token, int(TokenType.NORMAL)
        if model.get("byte_fallback") and len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            types[row] = int(TokenType.BYTE)
    for row, added in tokenizer.added_tokens_decoder.items():
        if row < rows:
            tokens[row] = added.content
            types[row] = int(TokenType.CONTROL if added.special else TokenType.USER_DEFINED)
    unknown: str = model.get("unk_token") or ""
    if unknown in own and model.get("byte_fallback"):
        types[own[unknown]] = int(TokenType.UNKNOWN)
    return tokens, types


def _as_phantom(token: str, kind: int) -> str:
    """A piece of WordPiece as llama.cpp spells it: pieces that begin a word are marked, not those that go on."""
    if kind != TokenType.NORMAL or (token.startswith("[") and token.endswith("]")):
        return token
    return token[2:] if token.startswith("##") else _BLANK + token


def _scores(tokens: Sequence[str], merges: Iterable[str]) -> list[float]:
    """Scores with which SentencePiece merges in the order of the `merges`: the earlier, the higher."""
    first: dict[str, int] = {}
    for rank, pair in enumerate(merges, start=1):
        first.setdefault(pair.replace(" ", ""), rank)
    return [-float(first[token]) if token in first else 0.0 for token in tokens]


def _roles(tokenizer: Any, stop_ids: Sequence[int]) -> dict[str, int]:
    """Special tokens by the names that GGUF gives them."""
    known = {
        "bos": tokenizer.bos_token_id,
        "eos": tokenizer.eos_token_id,
        "unknown": tokenizer.unk_token_id,
        "padding": tokenizer.pad_token_id,
        "seperator": tokenizer.sep_token_id,  # so spelled in the format
        "mask": tokenizer.mask_token_id,
    }
    if stop_ids:
        known["eos"] = stop_ids[0]
        known["eot"] = next((one for one in stop_ids[1:]), None)
    return {role: int(token) for role, token in known.items() if token is not None}


def _added(tokenizer: Any) -> dict[str, bool]:
    """Whether a text gets BOS and EOS."""
    ids = tokenizer("a")["input_ids"]
    first, last = tokenizer.bos_token_id, tokenizer.eos_token_id
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    return {
        "bos_token": ids[0] in {one for one in (first, cls) if one is not None},
        "eos_token": ids[-1] in {one for one in (last, sep) if one is not None},
    }


def _template(tokenizer: Any) -> str:
    template = tokenizer.chat_template
    if isinstance(template, Mapping):
        template = template.get("default")
    return template or ""


def _steps(part: Any) -> list[Mapping[str, Any]]:
    """The steps of a normalizer or pre-tokenizer, in order."""
    if not part:
        return []
    inner = part.get("pretokenizers") or part.get("normalizers")
    return [step for one in inner for step in _steps(one)] if inner else [part]


def _kinds(part: Any) -> set[str]:
    return {step["type"] for step in _steps(part)}


def _patterns(part: Any) -> list[str]:
    """The regular expressions by which a pre-tokenizer splits."""
    found = [step["pattern"] for step in _steps(part) if step["type"] == "Split"]
    return [str(pattern.get("Regex", pattern.get("String"))) for pattern in found]


def _puts_space(saved: Mapping[str, Any]) -> bool:
    """Whether SentencePiece's space is put before a text."""
    if any(step["type"] == "Prepend" for step in _steps(saved.get("normalizer"))):
        return True
    found = [step for step in _steps(saved.get("pre_tokenizer")) if step["type"] == "Metaspace"]
    return any(step.get("prepend_scheme", "always") != "never" for step in found)
