"""Texts to token ids, rows whose texts are tokenized as one batch, sequences cut to the context, and many examples as a
few flat arrays."""

from __future__ import annotations

import re
from array import array
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, TypeVar, overload

import numpy

from burnish.data.rows.disk import Disk
from burnish.data.rows.row import IGNORED, Example, RowError
from burnish.data.tokens.file_column import Column, FileColumn, parts_of
from burnish.errors import ModelError, is_panic
from burnish.runs.atomic import as_disk_error

_FAST_FROM = 2_000_000
"""Number of characters from which a faster encoder is worth its setup time."""


class Marker(NamedTuple):
    """An added token in a text."""

    text: str
    start: int
    is_special: bool


class Tokens:
    """Wraps a tokenizer for encoding without automatic special tokens.

    Attributes:
        lead: the ids that the tokenizer adds before every text by default (usually BOS; empty for many).
        bos_id, eos_id: ids of BOS and EOS, or None.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.bos_id: int | None = tokenizer.bos_token_id
        self.eos_id: int | None = tokenizer.eos_token_id
        self.lead = _leading_ids(tokenizer)
        added = tokenizer.added_tokens_decoder
        self._added: dict[int, str] = {id_: token.content for id_, token in added.items()}
        self._specials = {id_ for id_, token in added.items() if token.special} | set(tokenizer.all_special_ids)
        self._specials.discard(tokenizer.unk_token_id)
        self._seen = 0

    @cached_property
    def _fast(self) -> Any:
        from burnish.data.tokens.byte_pairs import find_byte_pairs  # only large data comes this far

        return find_byte_pairs(self.tokenizer)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text: special tokens in the text are recognized, none are added."""
        self._seen += sum(map(len, texts))
        if self._seen > _FAST_FROM and self._fast is not None:
            return self._fast.encode(texts)
        return encode_plainly(self.tokenizer, texts)

    def encode_led(self, texts: Sequence[str]) -> list[list[int]]:
        """Like `encode`, with `lead` in front unless the text already starts with it (no double BOS)."""
        return [self.with_lead(ids) for ids in self.encode(texts)]

    def with_lead(self, ids: list[int]) -> list[int]:
        """`ids` with `lead` in front, exactly once."""
        return ids if ids[: len(self.lead)] == self.lead else self.lead + ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, including special tokens."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def spell(self, token_id: int) -> str:
        """The text of a special or added token."""
        return self._added.get(token_id) or self.tokenizer.convert_ids_to_tokens(token_id)

    def markers(self, text: str) -> list[Marker]:
        """Special tokens and other added tokens in `text` that are not blank, from left to right."""
        return [
            Marker(found[0], found.start(), self._marker_ids[found[0]] in self._specials)
            for found in self._marker_pattern.finditer(text)
        ]

    @property
    def eos(self) -> str | None:
        """The text of EOS."""
        return None if self.eos_id is None else self.spell(self.eos_id)

    def marker_id(self, text: str) -> int:
        """Id of a marker."""
        return self._marker_ids[text]

    @cached_property
    def _marker_ids(self) -> dict[str, int]:
        specials = {self.spell(id_): id_ for id_ in self._specials}
        return specials | {text: id_ for id_, text in self._added.items() if text.strip()}

    @cached_property
    def _marker_pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self._marker_ids, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")


def single_token_id(tokenizer: Any, text: str) -> int | None:
    """Id of `text` if it is a single added token of the tokenizer, else None."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    is_single = len(ids) == 1 and ids[0] != tokenizer.unk_token_id and ids[0] in tokenizer.added_tokens_decoder
    return ids[0] if is_single else None


def _leading_ids(tokenizer: Any) -> list[int]:
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    for start in range(len(full) - len(plain) + 1):
        if full[start : start + len(plain)] == plain:
            return full[:start]
    return []


Made = TypeVar("Made")
TokenRequests = Generator[Sequence[str], list[list[int]], Made]


def run_requests(tokens: Tokens, work: TokenRequests[Made]) -> Made:
    """Runs the encoding of one row, with its errors."""
    try:
        texts = next(work)
        while True:
            texts = work.send(tokens.encode(texts))
    except StopIteration as ended:
        return ended.value


def run_requests_batched(tokens: Tokens, works: Sequence[TokenRequests[Made]]) -> list[Made | RowError]:
    """Runs the encoding of several rows with batched tokenization; returns a RowError for rows that fail."""
    made: list[Made | RowError | None] = [None] * len(works)
    sent: dict[int, list[list[int]] | None] = dict.fromkeys(range(len(works)))
    while sent:
        asked: dict[int, Sequence[str]] = {}
        for number, ids in sent.items():
            try:
                asked[number] = next(works[number]) if ids is None else works[number].send(ids)
            except StopIteration as ended:
                made[number] = ended.value
            except RowError as error:
                made[number] = error.with_traceback(
                    None
                )  # the traceback would keep all local variables alive in a reference cycle
        encoded = iter(tokens.encode([text for texts in asked.values() for text in texts]))
        sent = {number: _take(encoded, len(texts)) for number, texts in asked.items()}
    return [one for one in made if one is not None]


def _take(encoded: Iterator[list[int]], count: int) -> list[list[int]]:
    return [next(encoded) for _ in range(count)]


Span = tuple[int, int]
"""Token positions [start, end) of an answer."""


def fit_answers(
    ids: list[int], answers: Sequence[Span], lead: list[int], context: int, place: str
) -> tuple[list[Example], int]:
    """Splits a sequence into examples of at most `context` tokens, and counts the tokens that are in no example.

    Each answer is trained on at most once. A sequence that fits is one example. A longer one is truncated on the left,
    and answers that lose the turn before them get an example of their own, again with as much context on the left as
    fits. `lead` (BOS) stays in front. An earlier answer that does not fit is dropped.

    Raises:
        RowError: the last answer does not fit.
    """
    num_lead = len(lead) if ids[: len(lead)] == lead else 0
    if len(ids) <= context:
        return [_example(ids, 0, len(ids), answers, 0, place)], 0
    room = context - num_lead
    last_start, last_end = answers[-1]
    # + 1: an answer's first token is predicted from the token before it
    if last_end - last_start + 1 > room:
        raise RowError(
            f"the answer alone is {last_end - last_start} tokens, longer than the context of {context} has room for"
        )
    examples = []
    left = list(answers)
    reached, num_lost = len(ids), 0  # from `reached` on, every token is in an example or counted as lost
    while left:
        start, end = left.pop()
        if end - start + 1 > room:
            continue
        # cut on the left: the end of the prompt says most about the answer, and the answer itself has to stay whole
        cut = max(num_lead, end - room)
        kept = [(start, end)]
        # An earlier answer is kept only if the complete turn before it is kept too.
        while left and (left[-2][1] if len(left) > 1 else num_lead) >= cut:
            kept.append(left.pop())
        examples.append(_example(ids, cut, end, kept, num_lead, place))
        num_lost += max(0, reached - end)
        reached = min(reached, cut)
    return examples[::-1], num_lost + reached - num_lead


def _example(ids: list[int], cut: int, end: int, answers: Sequence[Span], num_lead: int, place: str) -> Example:
    """Tokens [cut, end) of `ids` after its first `num_lead`, with `answers` as labels."""
    labels = [IGNORED] * end
    for start, stop in answers:
        labels[start:stop] = ids[start:stop]
    return Example(ids[:num_lead] + ids[cut:end], [IGNORED] * num_lead + labels[cut:], place)


COLUMNS: Mapping[str, type[numpy.generic]] = {
    "ids": numpy.int32,
    "trained": numpy.bool_,
    "ends": numpy.int64,
    "files": numpy.int32,
    "lines": numpy.int64,
}


OF_TOKENS = ("ids", "trained")
"""Columns with an element for each token, which may be in a file."""


class TokenExamples(Sequence[Example]):
    """A sequence of examples that are created on access, from arrays or from files.

    Args:
        columns: `ids` `[tokens]`; `trained` `[tokens]`, whether each is a label; `ends` `[examples]`, the cumulative
            number of tokens; `files` and `lines` `[examples]`, the location of each.
        names: file names.
    """

    def __init__(self, columns: Mapping[str, Any], names: Sequence[str]) -> None:
        self.columns: dict[str, Any] = {
            name: column if isinstance(column := columns[name], FileColumn) else numpy.asarray(column, dtype)
            for name, dtype in COLUMNS.items()
        }
        self.names = list(names)
        ends = self.columns["ends"]
        self.lengths: numpy.ndarray = numpy.diff(ends, prepend=0)
        """`[examples]`: length of each in tokens."""

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        end = int(self.columns["ends"][number])
        tokens = slice(end - int(self.lengths[number]), end)
        ids = self.columns["ids"][tokens]
        labels = numpy.where(self.columns["trained"][tokens], ids, numpy.int32(IGNORED))
        file = self.names[self.columns["files"][number]]
        return Example(ids, labels, f"{file}:{self.columns['lines'][number]}")

    def __iter__(self) -> Iterator[Example]:
        return (self[number] for number in range(len(self)))

    @property
    def is_whole(self) -> bool:
        """Whether the columns have consistent lengths and no example is empty."""
        ends, tokens = self.columns["ends"], len(self.columns["ids"])
        rows = {len(self.columns[name]) for name in ("ends", "files", "lines")}
        has_tokens = len(self.columns["trained"]) == tokens == (ends[-1] if len(ends) else 0)
        has_names = not len(ends) or self.columns["files"].max() < len(self.names)
        return len(rows) == 1 and has_tokens and has_names and bool((self.lengths > 0).all())

    @cached_property
    def num_trained(self) -> int:
        """Number of tokens in the loss; the first token of an example is never predicted."""
        firsts, number = self.columns["ends"] - self.lengths, 0
        for begin, part in parts_of(self.columns["trained"]):
            low, high = numpy.searchsorted(firsts, [begin, begin + len(part)])
            number += int(part.sum()) - int(part[firsts[low:high] - begin].sum())
        return number


class TokenColumns:
    """Collects examples into `TokenExamples`.

    Args:
        disk: where their tokens are kept; None for memory.
    """

    def __init__(self, disk: Disk | None = None) -> None:
        self._disk = disk
        self._ids, self._trained = array("i"), bytearray()
        self._files_of_tokens = None if disk is None else (disk.open(), disk.open())
        self._num_tokens = 0
        self._ends, self._files, self._lines = array("q"), array("i"), array("q")
        self._names: dict[str, int] = {}

    def add(self, example: Example) -> None:
        """Adds an example.

        Raises:
            MachineError: the disk is full.
        """
        self._ids.extend(example.input_ids)
        self._trained += (numpy.asarray(example.labels) != IGNORED).tobytes()
        self._num_tokens += len(example.input_ids)
        self._ends.append(self._num_tokens)
        if len(self._ids) >= _HELD:
            self._write_out()
        file, _, line = example.place.rpartition(":")
        self._files.append(self._names.setdefault(file, len(self._names)))
        self._lines.append(int(line))

    def done(self) -> TokenExamples:
        """All examples in order of addition."""
        columns: dict[str, Any] = {"ends": self._ends, "files": self._files, "lines": self._lines}
        self._write_out()
        if self._files_of_tokens is None:
            of_tokens: tuple[Column, ...] = (
                numpy.asarray(self._ids, numpy.int32),
                numpy.frombuffer(self._trained, numpy.bool_),
            )
        else:
            of_tokens = tuple(
                FileColumn(file, COLUMNS[name], 0, self._num_tokens)
                for name, file in zip(OF_TOKENS, self._files_of_tokens, strict=True)
            )
        return TokenExamples(columns | dict(zip(OF_TOKENS, of_tokens, strict=True)), list(self._names))

    def _write_out(self) -> None:
        """Appends the tokens that are in memory to the files, if there are any."""
        if self._disk is None or self._files_of_tokens is None:
            return
        with as_disk_error(self._disk.folder):
            for file, tokens in zip(self._files_of_tokens, (self._ids, self._trained), strict=True):
                file.write(tokens.tobytes() if isinstance(tokens, array) else tokens)
        self._ids, self._trained = array("i"), bytearray()


_HELD = 1 << 20
"""Tokens that are in memory before they are appended to a file."""


def token_counts(examples: Sequence[Any]) -> numpy.ndarray:
    """`[examples]` int64: number of tokens of each."""
    if isinstance(examples, TokenExamples):
        return examples.lengths
    return numpy.fromiter((example.num_tokens for example in examples), numpy.int64, len(examples))


def trained_count(examples: Iterable[Any]) -> int:
    """Number of terms in the loss over all examples."""
    if isinstance(examples, TokenExamples):
        return examples.num_trained
    return sum(example.num_trained for example in examples)


def encode_plainly(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text by a transformers tokenizer: special tokens in the text are recognized, none are added."""
    if not texts:
        return []
    # verbose=False: texts longer than the model's maximum are truncated or rejected later, with their location.
    try:
        encoded = tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)
    except BaseException as error:
        if not is_panic(error):
            raise
        raise ModelError(
            "the tokenizer fails on these texts",
            f"Its library reports: {' '.join(str(error).split())[:200]}.",
            "Check the patterns in the model's `tokenizer.json`: they may come to no end",
        ) from error
    return encoded["input_ids"]
