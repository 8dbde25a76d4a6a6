"""Byte-level BPE by tiktoken, which is faster, where it provably gives the same tokens as the tokenizers library.

They are the same for ASCII text and a tokenizer of this form:

- The text is split at added tokens, then into words by one regular expression. On ASCII, dialects of regular
expressions agree on letters, digits and spaces, and Unicode normalization changes nothing.
- Every token of more than one byte is the result of exactly one merge, comes after both of its parts in the order of
merges, and is the encoding of its own text. Then tiktoken, which joins the neighbors whose joint text is the earliest
token, makes the same merges as the tokenizers library: if there were neighbors x and y that are not a merge but whose
joint text is the token t, then, since the merges within xy do not depend on the surroundings, the text of t alone would
stop at x and y too, and would not become t.

In other texts, words with non-ASCII characters go through the tokenizers library, from space to space, if the
expression is known to begin a word at such a space; otherwise the complete text does.

`tests/unit/data/tokens/test_byte_pairs.py` compares both, `bench/tokenizing.py` times both: rows become examples two to
eight times as fast with the tokenizers of GPT-2 and Qwen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.data.tokens.tokens import encode_plainly

_GPT2_WORDS = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
"""The default expression of a `ByteLevel` pre-tokenizer."""
_SINGLE_DIGITS = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?![^\s\p{N}])|\s+"""
"""The same after digits were split off, one by one: spaces before a digit are then at the end of a part."""
_LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN_WORDS = _LLAMA3_WORDS.replace("{1,3}", "")
_END_AT_BLANKS = {_GPT2_WORDS, _SINGLE_DIGITS, _LLAMA3_WORDS, _QWEN_WORDS}
"""Expressions in which a space after anything else begins a word, whatever precedes it: none of their words has a space
after another character, and none of them has a lookbehind."""
_BLANK = re.compile(r"(?<=\S) ")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")
_BESIDE_MERGES = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")
"""Options of a BPE model that add other operations than merges."""


class BytePairs:
    """Encodes texts exactly like their tokenizer, without adding special tokens."""

    def __init__(self, tokenizer: Any, encoding: Any, added: Mapping[str, int], can_cut: bool) -> None:
        self._tokenizer = tokenizer
        self._encoding = encoding
        self._added = {content: [number] for content, number in added.items()}
        self._at_added = re.compile(f"({'|'.join(map(re.escape, added))})") if added else None
        self._can_cut = can_cut

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text; parts that several texts have in common are encoded once."""
        parts = [self._cut(text) for text in texts]
        known = self._added | self._encoded({part for each in parts for part in each} - self._added.keys())
        made: list[list[int]] = []
        for each in parts:
            ids: list[int] = []
            for part in each:
                ids += known[part]
            made.append(ids)
        return made

    def _encoded(self, parts: set[str]) -> dict[str, list[int]]:
        slow = [part for part in parts if not part.isascii()]
        return {part: self._fast(part) for part in parts if part.isascii()} | dict(
            zip(slow, encode_plainly(self._tokenizer, slow), strict=True)
        )

    def _cut(self, text: str) -> list[str]:
        """Splits a text at added tokens, except near non-ASCII characters."""
        if text.isascii():
            return self._split(text)
        pieces = self._apart(text)
        return [piece for part in pieces for piece in (self._split(part) if part.isascii() else [part])]

    def _split(self, text: str) -> list[str]:
        return [piece for piece in self._at_added.split(text) if piece] if self._at_added else [text]

    def _apart(self, text: str) -> list[str]:
        """Splits a text into words with non-ASCII characters, from space to space, and the rest."""
        if not self._can_cut:
            return [text]
        pieces, done = [], 0
        for found in _BEYOND_ASCII.finditer(text):
            if found.start() < done:
                continue
            begin = _word_begin(text, done, found.start())
            blank = _BLANK.search(text, found.end())
            end = blank.start() if blank else len(text)
            pieces += [text[done:begin], text[begin:end]]
            done = end
        return [piece for piece in (*pieces, text[done:]) if piece]

    def _fast(self, text: str) -> list[int]:
        try:
            return self._encoding.encode(text, disallowed_special=())
        except ValueError:  # hundreds of thousands of consecutive spaces exceed the limits of its expressions
            return encode_plainly(self._tokenizer, [text])[0]


def _word_begin(text: str, least: int, place: int) -> int:
    """The last space before a position that follows a non-space character; `least` if there is none after that."""
    while (place := text.rfind(" ", least, place)) > least:
        if not text[place - 1].isspace():
            return place
    return least


def find_byte_pairs(tokenizer: Any) -> BytePairs | None:
    """The fast encoder for a transformers tokenizer; None if it is not certain to give the same tokens.

    Takes a while, because it checks every token of the vocabulary.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or getattr(tokenizer, "split_special_tokens", False):
        return None
    description = json.loads(backend.to_str())
    words, model = _words(description), description["model"]
    if words is None or not _is_plain(model):
        return None
    added = {token["content"]: token["id"] for token in description["added_tokens"]}
    ranks = _ranks(model, added)
    if ranks is None or not _splits_alike(description["added_tokens"]) or not _keeps_its_tokens(backend, model, added):
        return None
    from tiktoken import Encoding

    encoding = Encoding("burnish", pat_str=words, mergeable_ranks=ranks, special_tokens=added)
    can_cut = words in _END_AT_BLANKS and not any(" " in content for content in added)
    return BytePairs(tokenizer, encoding, added, can_cut)


def _words(description: dict[str, Any]) -> str | None:
    """The expression that splits a text into words; None if it is split or normalized in other ways."""
    if description["normalizer"] is not None and description["normalizer"]["type"] != "NFC":
        return None
    before = description["pre_tokenizer"] or {}
    steps = before["pretokenizers"] if before.get("type") == "Sequence" else [before]
    kinds = [step.get("type") for step in steps]
    if kinds[-1] != "ByteLevel" or steps[-1]["add_prefix_space"]:
        return None
    if steps[-1]["use_regex"]:
        digits = kinds == ["Digits", "ByteLevel"] and steps[0]["individual_digits"]
        return _GPT2_WORDS if kinds == ["ByteLevel"] else _SINGLE_DIGITS if digits else None
    if kinds != ["Split", "ByteLevel"]:
        return None
    split = steps[0]
    is_plain = split["behavior"] == "Isolated" and not split["invert"]
    return split["pattern"].get("Regex") if is_plain else None


def _is_plain(model: dict[str, Any]) -> bool:
    return model["type"] == "BPE" and all(not model.get(name) for name in _BESIDE_MERGES)


def _splits_alike(added: Sequence[dict[str, Any]]) -> bool:
    """Whether added tokens match exactly their text, and none is a prefix of another."""
    spelled = sorted(token["content"] for token in added)
    is_plain = not any(token[name] for token in added for name in ("lstrip", "rstrip", "single_word"))
    return is_plain and not any(longer.startswith(short) for short, longer in zip(spelled, spelled[1:], strict=False))


def _ranks(model: dict[str, Any], added: dict[str, int]) -> dict[bytes, int] | None:
    """Bytes and number of each token; None unless merges are in the order of token numbers, each once."""
    vocabulary = {token: number for token, number in model["vocab"].items() if token not in added}
    bytes_of = _bytes_by_letter()
    if not all(letter in vocabulary for letter in bytes_of):
        return None
    reached, last = 0, -1
    for merge in model["merges"]:
        first, second = merge.split(" ") if isinstance(merge, str) else merge
        number = vocabulary.get(first + second, -1)
        parts = [vocabulary.get(part, number) for part in (first, second) if len(part) > 1]
        if number <= last or any(part >= number for part in parts):
            return None
        reached, last = reached + 1, number
    if reached != sum(len(token) > 1 for token in vocabulary):
        return None
    try:
        return {bytes(bytes_of[letter] for letter in token): number for token, number in vocabulary.items()}
    except KeyError:  # a token that is not a sequence of bytes
        return None


def _keeps_its_tokens(backend: Any, model: dict[str, Any], added: dict[str, int]) -> bool:
    """Whether the text of every token is encoded as that token."""
    for token, number in model["vocab"].items():
        if token not in added and [one.id for one in backend.model.tokenize(token)] != [number]:
            return False
    return True


def _bytes_by_letter() -> dict[str, int]:
    """The letters for bytes in byte-level vocabularies: printable ones as themselves, the others from U+0100."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}
