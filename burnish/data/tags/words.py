"""Rows of words with a tag each, and words as the pieces that a tokenizer makes of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.data.rows.columns import check_characters
from burnish.data.rows.patterns import Pattern, pick
from burnish.data.rows.records import TaggedRecord
from burnish.data.rows.row import IGNORED, RowError
from burnish.errors import InputError, ModelError

OUTSIDE = "O"
"""The tag of words that are in no entity."""


def tagged_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> TaggedRecord:
    """Words and tags; a tag that is a number is taken by its digits.

    Raises:
        RowError: there are no words, there is not one tag a word, or something is neither a word nor a tag.
    """
    (words_name, words), (tags_name, tags) = (pick(values, field) for field in pattern.required)
    for name, found in ((words_name, words), (tags_name, tags)):
        if not isinstance(found, (list, tuple)):
            raise RowError(f"`{name}` must be a list, one entry a word")
    if not words and not tags:
        raise RowError("the sentence is empty")
    if len(words) != len(tags):
        raise RowError(f"`{words_name}` has {len(words)} entries, but `{tags_name}` has {len(tags)}")
    for number, word in enumerate(words, 1):
        if not isinstance(word, str):
            raise RowError(f"entry {number} of `{words_name}` is not text but {_told(word)}")
        check_characters(word, words_name)
    named = [_as_tag(tag, tags_name, number) for number, tag in enumerate(tags, 1)]
    return TaggedRecord(tuple(words), tuple(named), place)


def _as_tag(tag: Any, name: str, number: int) -> str:
    if isinstance(tag, str) and tag.strip():
        check_characters(tag, name)
        return tag.strip()
    if isinstance(tag, int) and not isinstance(tag, bool) and tag >= 0:
        return str(tag)
    raise RowError(f"entry {number} of `{name}` is no tag but {_told(tag)}")


def _told(value: Any) -> str:
    if value is None:
        return "null"
    return f"{value}" if isinstance(value, (int, float)) else "empty" if value == "" else type(value).__name__


def name_of(tag: str, labels: Sequence[str]) -> str:
    """The label that a tag means: itself, or, where it is a number, the label in that place."""
    is_place = tag not in labels and tag.isdecimal() and int(tag) < len(labels)
    return labels[int(tag)] if is_place else tag


def tags_in_order(tags: set[str]) -> list[str]:
    """O first, then by name; numbers in their order."""
    if all(tag.isdecimal() for tag in tags):
        return sorted(tags, key=int)
    return sorted(tags, key=lambda tag: (tag != OUTSIDE, tag))


NO_WORD = -1
"""The word of tokens that decide about none."""
_WORDS = re.compile(r"[@#]?\w+(?:[-'’.]\w+)*|[^\w\s]")
"""Words with what stands inside them (U.S, o'clock, well-known), hashtags, names after @, and single marks."""
_PROBE: tuple[str, ...] = ("the", "old", "man")


@dataclass(frozen=True, slots=True)
class TagExample:
    """A sentence, or as much of a long one as a model reads at once."""

    input_ids: list[int]
    deciding: list[int]
    """For each token, the number of the word whose tag is read off it, or `NO_WORD`."""
    labels: list[int]
    """For each token, the label that is trained, or `IGNORED`."""
    words: tuple[str, ...]
    tags: tuple[str, ...]
    """As they should be."""
    place: str

    @property
    def num_tokens(self) -> int:
        """Tokens read."""
        return len(self.input_ids)

    @property
    def num_trained(self) -> int:
        """Terms that it adds to the loss."""
        return sum(label != IGNORED for label in self.labels)


@dataclass(frozen=True, slots=True)
class Pieces:
    """The tokens of a sentence, word by word."""

    before: list[int]
    """Special tokens that the tokenizer puts in front."""
    of_words: list[list[int]]
    """Empty for a word that the tokenizer makes nothing of, such as a character of no width."""
    after: list[int]

    def windows(self, context: int) -> list[tuple[int, int]]:
        """First word and word after the last of consecutive parts that fit into `context` tokens.

        A single word may be longer than that; it is then alone in its part.
        """
        limit = max(1, context - len(self.before) - len(self.after))
        borders, held = [0], 0
        for number, pieces in enumerate(self.of_words):
            if held and held + len(pieces) > limit:
                borders.append(number)
                held = 0
            held += len(pieces)
        return list(zip(borders, [*borders[1:], len(self.of_words)], strict=True))


class WordPieces:
    """Cuts words into pieces, as they would be cut in running text.

    Args:
        tokenizer: of the kind that knows which piece belongs to which word.

    Raises:
        ModelError: it is of another kind.
    """

    def __init__(self, tokenizer: Any) -> None:
        if not tokenizer.is_fast:
            raise ModelError(
                "the tokenizer of this model does not tell which pieces belong to which word",
                "Only those with a `tokenizer.json` do; without that, tags cannot be laid on words.",
                "Name another model, or convert its tokenizer",
            )
        self._tokenizer = tokenizer
        self.needs_spaces = self._finds_spaces_missing()
        """Whether words are handed over with a space in front, as byte-level tokenizers want them."""

    def cut(self, words: Sequence[str]) -> Pieces:
        """The pieces of a sentence."""
        encoded = self._encode(self._spelled(words) if self.needs_spaces else list(words))
        owners, ids = encoded.word_ids(), encoded["input_ids"]
        of_words: list[list[int]] = [[] for _ in words]
        inside = [place for place, owner in enumerate(owners) if owner is not None]
        for place in inside:
            of_words[owners[place]].append(ids[place])
        if not inside:
            return Pieces([], of_words, [])
        return Pieces(ids[: inside[0]], of_words, ids[inside[-1] + 1 :])

    def _spelled(self, words: Sequence[str]) -> list[str]:
        return [word if number == 0 else f" {word}" for number, word in enumerate(words)]

    def _finds_spaces_missing(self) -> bool:
        """Byte-level tokenizers read `a b` as `a` and ` b`, but the words `a` and `b` as `a` and `b`."""
        running = self._tokenizer(" ".join(_PROBE), add_special_tokens=False)["input_ids"]
        plain, spaced = (
            self._encode(words, add_special_tokens=False)["input_ids"] for words in ([*_PROBE], self._spelled(_PROBE))
        )
        return plain != running and spaced == running

    def _encode(self, words: list[str], **options: Any) -> Any:
        # A sentence longer than the model reads is cut later, so that is nothing to warn of.
        return self._tokenizer(words, is_split_into_words=True, truncation=False, verbose=False, **options)


def words_of(prompt: str) -> list[str]:
    """The words of a text, or of a row that is given as a JSON object.

    Raises:
        InputError: there is none.
    """
    row = _json_object(prompt)
    words = _WORDS.findall(prompt) if row is None else row.get("tokens", row.get("words"))
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise InputError("there is no word to tag", "", 'Give a text, or a row such as `{"tokens": ["Two", "words"]}`')
    return words


def _json_object(prompt: str) -> dict[str, Any] | None:
    try:
        found = json.loads(prompt)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
