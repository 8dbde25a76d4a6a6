"""Reads rows of words with a tag each, and splits words into sub-word tokens."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from burnish.data.rows.pattern import Pattern
from burnish.data.rows.printed import as_list, is_shortened
from burnish.data.rows.records import TaggedRecord
from burnish.data.rows.row import IGNORED, RowError, as_text, check_characters, pick
from burnish.data.rows.typed import jq_command
from burnish.data.tags.annotations import TEXT_COLUMNS
from burnish.data.tags.listed import words_in
from burnish.errors import DataError, InputError, ModelError
from burnish.visible import parse_json

_TAG_COLUMNS, _SAMPLE = ("tags", "ner_tags", "labels"), 1_000
OUTSIDE = "O"
"""The tag of words that are in no entity."""


def tagged_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> TaggedRecord:
    """A record of words and tags; a numeric tag is taken as its digits.

    Raises:
        RowError: there are no words, the numbers of words and tags differ, or an entry is not a word or a tag.
    """
    (words_name, words), (tags_name, tags) = (pick(values, field) for field in pattern.required)
    for name, found in ((words_name, words), (tags_name, tags)):
        if is_shortened(found):
            raise RowError(f"`{name}`: numpy left out the middle of the list (`...`), so it is not complete")
    words, tags = (words_in(cell) if isinstance(cell, str) else cell for cell in (as_list(words), as_list(tags)))
    for name, found in ((words_name, words), (tags_name, tags)):
        if not isinstance(found, (list, tuple)):
            raise RowError(f"`{name}` must be a list with one entry per word")
    if not words and not tags:
        raise RowError("the sentence is empty")
    if len(words) != len(tags):
        raise RowError(f"`{words_name}` has {len(words)} entries, but `{tags_name}` has {len(tags)}")
    for number, word in enumerate(words, 1):
        if not isinstance(word, str):
            raise RowError(f"entry {number} of `{words_name}` is not text but {_shown(word)}")
        check_characters(word, words_name)
    named = [_as_tag(tag, tags_name, number) for number, tag in enumerate(tags, 1)]
    return TaggedRecord(tuple(words), tuple(named), place)


def tagged_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """That tags are numbers without names. Raises DataError where most rows have words that are marked as untagged."""
    name = next((name for name in _TAG_COLUMNS if any(name in values for values in rows[:1])), "")
    lists = [cell for values in rows[:_SAMPLE] if isinstance(cell := as_list(values.get(name)), list)]
    words = next((word for word in ("tokens", "words") if any(word in values for values in rows[:1])), "tokens")
    _refuse_marks(words, name, lists)
    tags = [tag for cell in lists for tag in cell]
    if not tags or not all(isinstance(tag, int) and not isinstance(tag, bool) for tag in tags):
        return []
    return [
        f"`{name}` has numbers for tags. Where they have no names, no entities are counted; to name them, in their "
        "order: `--set 'data.labels=[O, B-PER, I-PER]'`."
    ]


def _refuse_marks(words: str, name: str, lists: Sequence[Sequence[Any]]) -> None:
    """Raises DataError where most rows have -100 in place of tags: what transformers leaves out of the loss."""
    number = sum(any(_is_mark(tag) for tag in tags) for tags in lists)
    if 2 * number <= len(lists):
        return
    form = f'([.{name} | to_entries[] | select(.value | tostring != "{IGNORED}") | .key]) as $kept'
    form += f" | .{words} |= [.[$kept[]]] | .{name} |= [.[$kept[]]]"
    raise DataError(
        f"`{name}` has {IGNORED}, which is no tag, in {number:,} of the first {len(lists):,} rows",
        "It marks what a training script leaves out of the loss, such as special tokens and the later pieces of words "
        "that a tokenizer has split; here a word has one tag, and pieces are left out by themselves.",
        f"Give whole words with their tags. To leave out what is marked: {jq_command(form)}",
    )


def _is_mark(tag: Any) -> bool:
    return not isinstance(tag, bool) and str(tag).strip() == str(IGNORED)


def _as_tag(tag: Any, name: str, number: int) -> str:
    if _is_mark(tag):
        raise RowError(f"entry {number} of `{name}` is {IGNORED}, which is no tag: give whole words with a tag each")
    if isinstance(tag, str) and tag.strip():
        check_characters(tag, name)
        return tag.strip()
    if isinstance(tag, int) and not isinstance(tag, bool) and tag >= 0:
        return str(tag)
    raise RowError(f"entry {number} of `{name}` is not a tag but {_shown(tag)}")


def _shown(value: Any) -> str:
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
"""The word number of tokens that predict no tag."""
# Scripts without spaces between words: each of their characters is a word, as is usual for tagging them.
_UNSPACED = "".join(
    (
        r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff",
        r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff",
        "\U00020000-\U0003ffff",
    )
)
# Vowel signs and accents that follow their letter, and joiners; Python does not count them as parts of words.
_MARKS = "\u200c\u200d" + "".join(
    chr(code) for code in range(0x300, 0x2000) if unicodedata.category(chr(code))[0] == "M"
)
_LETTERS = rf"(?:[^\W{_UNSPACED}]|[{_MARKS}])+"
_WORDS = re.compile(rf"[{_UNSPACED}]|[@#]?{_LETTERS}(?:[-'’.]{_LETTERS})*|[^\w\s]")
"""Words including inner punctuation (U.S, o'clock, well-known), hashtags, @names, and single punctuation marks."""
_PROBE: tuple[str, ...] = ("the", "old", "man")


@dataclass(frozen=True, slots=True)
class TagExample:
    """A sentence, or a part of a long one that fits the context."""

    input_ids: list[int]
    deciding: list[int]
    """For each token, the word whose tag it predicts, or `NO_WORD`."""
    labels: list[int]
    """For each token, its label, or `IGNORED`."""
    words: tuple[str, ...]
    tags: tuple[str, ...]
    """The gold tags."""
    place: str

    @property
    def num_tokens(self) -> int:
        """Number of tokens."""
        return len(self.input_ids)

    @property
    def num_trained(self) -> int:
        """Number of terms in the loss."""
        return sum(label != IGNORED for label in self.labels)


@dataclass(frozen=True, slots=True)
class Pieces:
    """The tokens of a sentence, grouped by word."""

    before: list[int]
    """Special tokens before the words."""
    of_words: list[list[int]]
    """Empty for a word without tokens, such as a zero-width character."""
    after: list[int]

    def windows(self, context: int) -> list[tuple[int, int]]:
        """(first word, one past the last) of consecutive parts that fit into `context` tokens.

        A single word that is longer gets a part of its own.
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
    """Splits words into tokens as in running text.

    Args:
        tokenizer: a fast tokenizer, which maps tokens to words.

    Raises:
        ModelError: the tokenizer is not a fast one.
    """

    def __init__(self, tokenizer: Any) -> None:
        if not tokenizer.is_fast:
            raise ModelError(
                "the tokenizer of this model cannot map tokens to words",
                "Only fast tokenizers, with a `tokenizer.json`, can; without one, words cannot be tagged.",
                "Use another model, or convert its tokenizer",
            )
        self._tokenizer = tokenizer
        self.needs_spaces = self._finds_spaces_missing()
        """Whether words need a space in front, as with byte-level tokenizers."""

    def cut(self, words: Sequence[str]) -> Pieces:
        """The tokens of a sentence."""
        encoded = self._encode(self._with_spaces(words) if self.needs_spaces else list(words))
        owners, ids = encoded.word_ids(), encoded["input_ids"]
        of_words: list[list[int]] = [[] for _ in words]
        inside = [place for place, owner in enumerate(owners) if owner is not None]
        for place in inside:
            of_words[owners[place]].append(ids[place])
        if not inside:
            return Pieces([], of_words, [])
        return Pieces(ids[: inside[0]], of_words, ids[inside[-1] + 1 :])

    def _with_spaces(self, words: Sequence[str]) -> list[str]:
        return [word if number == 0 else f" {word}" for number, word in enumerate(words)]

    def _finds_spaces_missing(self) -> bool:
        """Byte-level tokenizers split `a b` into `a` and ` b`, but encode the separate words as `a` and `b`."""
        running = self._tokenizer(" ".join(_PROBE), add_special_tokens=False)["input_ids"]
        plain, spaced = (
            self._encode(words, add_special_tokens=False)["input_ids"]
            for words in ([*_PROBE], self._with_spaces(_PROBE))
        )
        return plain != running and spaced == running

    def _encode(self, words: list[str], **options: Any) -> Any:
        # verbose=False: long sentences are split later, so a warning about their length would be wrong.
        return self._tokenizer(words, is_split_into_words=True, truncation=False, verbose=False, **options)


def word_places(text: str, borders: Iterable[int] = ()) -> list[tuple[int, int]]:
    """First and one past the last character of each word of a text.

    Args:
        text: any text.
        borders: places between characters where a word with punctuation inside ends and another begins: with one after
            `York`, `York-based` is three words. A place between two letters or digits is no border.
    """
    cuts = {place for place in borders if 0 < place < len(text) and not is_inside(text, place)}
    places: list[tuple[int, int]] = []
    for match in _WORDS.finditer(text):
        start, end = match.span()
        if any(start < place < end for place in cuts):
            bare = re.finditer(rf"{_LETTERS}|[^\w\s]", text[start:end])
            places += [(start + part.start(), start + part.end()) for part in bare]
        else:
            places.append((start, end))
    return places


def is_inside(text: str, place: int) -> bool:
    """Whether a place between two characters of a text is inside a word."""
    if not 0 < place < len(text):
        return False
    return all(re.fullmatch(_LETTERS, text[at]) is not None for at in (place - 1, place))


def word_places_of(text: str) -> list[tuple[int, int]]:
    """First character and end of each word of a text."""
    return [found.span() for found in _WORDS.finditer(text)]


def places_of(words: Sequence[str]) -> list[tuple[int, int]]:
    """First character and end of each word, if there is one space between two."""
    ends = list(accumulate(len(word) + 1 for word in words))
    return [(end - len(word) - 1, end - 1) for word, end in zip(words, ends, strict=True)]


def text_or_words(values: Mapping[str, Any]) -> Sequence[str]:
    """The text of a row, or its words if it has these, whatever tags it has.

    Raises:
        RowError: there is neither.
    """
    name, value = pick(values, ("tokens", "words"))
    words = as_list(value)
    if isinstance(words, list) and words and all(isinstance(word, str) and word.strip() for word in words):
        for word in words:
            check_characters(word, name)
        return words
    name, value = pick(values, TEXT_COLUMNS)
    text = as_text(value, name)
    if text is None or not text.strip():
        raise RowError("there is neither `text` nor `tokens`")
    return (text,)


def words_of(prompt: str) -> list[str]:
    """The words of a text, or of a row given as a JSON object.

    Raises:
        InputError: there are no words.
    """
    row = _json_object(prompt)
    words = _WORDS.findall(prompt) if row is None else row.get("tokens", row.get("words"))
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise InputError(
            "there are no words to tag", "", 'Give a text, or a row such as `{"tokens": ["Two", "words"]}`'
        )
    return words


def _json_object(prompt: str) -> dict[str, Any] | None:
    try:
        found = parse_json(prompt)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
