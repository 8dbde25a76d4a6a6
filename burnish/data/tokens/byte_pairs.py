"""Byte-level BPE by tiktoken, which is faster, where it provably gives the same tokens as the tokenizers library.

They are the same for ASCII text and a tokenizer of this form:

- The text is split at added tokens, then into words by one regular expression. On ASCII, dialects of regular
  expressions agree on what a letter, a digit and a blank are, and Unicode normalization changes nothing.
- Every token of more than one byte is the result of exactly one merge, stands behind both of its parts in the order
  of merges, and is what its own text becomes. Then tiktoken, which joins the neighbours whose joint text is the
  earliest token, makes the merges that the tokenizers library makes: were there neighbours x and y that are not a merge
  but whose joint text is the token t, then, since the merges within xy do not depend on what stands around it, the text
  of t alone would stop at x and y too, and would not become t.

Of other text, words with characters beyond ASCII go through the tokenizers library, from blank to blank, where the
expression is known to begin a word at such a blank; else all of it.

`tests/unit/data/test_byte_pairs.py` holds both side by side, `bench/tokenizing.py` times both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_GPT2_WORDS = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
"""What a `ByteLevel` pre-tokenizer splits by where it is given no other expression."""
_SINGLE_DIGITS = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?![^\s\p{N}])|\s+"""
"""The same where digits were cut out before, each for itself: blanks before one then stand at an end."""
_LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN_WORDS = _LLAMA3_WORDS.replace("{1,3}", "")
_END_AT_BLANKS = {_GPT2_WORDS, _SINGLE_DIGITS, _LLAMA3_WORDS, _QWEN_WORDS}
"""Expressions by which a blank behind anything else begins a word, whatever stands before: none of their words has a
blank inside, behind something that is none, and none of them looks back."""
_BLANK = re.compile(r"(?<=\S) ")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")
_BESIDE_MERGES = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")
"""Options of a BPE model by which it does more than merge."""


class BytePairs:
    """Encodes texts just as their tokenizer does, without special tokens of its own."""

    def __init__(self, tokenizer: Any, encoding: Any, added: Mapping[str, int], can_cut: bool) -> None:
        self._tokenizer = tokenizer
        self._encoding = encoding
        self._added = {content: [number] for content, number in added.items()}
        self._at_added = re.compile(f"({'|'.join(map(re.escape, added))})") if added else None
        self._can_cut = can_cut

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text; what several texts have between added tokens is encoded once."""
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
        """The text in pieces: added tokens by themselves, except near characters beyond ASCII."""
        if text.isascii():
            return self._split(text)
        pieces = self._apart(text)
        return [piece for part in pieces for piece in (self._split(part) if part.isascii() else [part])]

    def _split(self, text: str) -> list[str]:
        return [piece for piece in self._at_added.split(text) if piece] if self._at_added else [text]

    def _apart(self, text: str) -> list[str]:
        """The text in pieces: what surrounds characters beyond ASCII, from blank to blank, apart from the rest."""
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
        except ValueError:  # some hundred thousand blanks in a row are more than its expressions can look back on
            return encode_plainly(self._tokenizer, [text])[0]


def encode_plainly(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text by a tokenizer of transformers: spelled special tokens count, none are added."""
    if not texts:
        return []
    # verbose=False: a text longer than the model's own maximum is cut or refused later, by us, with its name.
    told = tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)
    return told["input_ids"]


def _word_begin(text: str, least: int, place: int) -> int:
    """The last blank before a place, behind anything but white space; `least` where there is none after that."""
    while (place := text.rfind(" ", least, place)) > least:
        if not text[place - 1].isspace():
            return place
    return least


def find_byte_pairs(tokenizer: Any) -> BytePairs | None:
    """The fast way for a tokenizer of transformers; None where it is not sure to give the same tokens.

    Takes a while, as it looks at every token of the vocabulary.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or getattr(tokenizer, "split_special_tokens", False):
        return None
    told = json.loads(backend.to_str())
    words, model = _words(told), told["model"]
    if words is None or not _is_plain(model):
        return None
    added = {token["content"]: token["id"] for token in told["added_tokens"]}
    ranks = _ranks(model, added)
    if ranks is None or not _splits_alike(told["added_tokens"]) or not _keeps_its_tokens(backend, model, added):
        return None
    from tiktoken import Encoding

    encoding = Encoding("burnish", pat_str=words, mergeable_ranks=ranks, special_tokens=added)
    can_cut = words in _END_AT_BLANKS and not any(" " in content for content in added)
    return BytePairs(tokenizer, encoding, added, can_cut)


def _words(told: dict[str, Any]) -> str | None:
    """The expression by which a text is split into words; None where it is split, or changed before, in other ways."""
    if told["normalizer"] is not None and told["normalizer"]["type"] != "NFC":
        return None
    before = told["pre_tokenizer"] or {}
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
    """Whether added tokens are cut out just as they are spelled, and none begins like another."""
    spelled = sorted(token["content"] for token in added)
    is_plain = not any(token[name] for token in added for name in ("lstrip", "rstrip", "single_word"))
    return is_plain and not any(longer.startswith(short) for short, longer in zip(spelled, spelled[1:], strict=False))


def _ranks(model: dict[str, Any], added: dict[str, int]) -> dict[bytes, int] | None:
    """Each token's bytes and number; None where merges do not come in the order of the numbers, each once."""
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
    except KeyError:  # a token that is no sequence of bytes
        return None


def _keeps_its_tokens(backend: Any, model: dict[str, Any], added: dict[str, int]) -> bool:
    """Whether the text of every token becomes that token."""
    for token, number in model["vocab"].items():
        if token not in added and [one.id for one in backend.model.tokenize(token)] != [number]:
            return False
    return True


def _bytes_by_letter() -> dict[str, int]:
    """The letters that byte-level vocabularies write bytes with: printable ones as they are, the others from U+0100."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}
