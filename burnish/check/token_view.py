"""Rows as the model sees them: every token and whether it is trained on, and statistics over all rows."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import singledispatch
from typing import Any, NamedTuple

import numpy

from burnish.check.finding import Tally
from burnish.data.preference.format import Answer, PairExample, RatedExample
from burnish.data.rows.row import IGNORED, Example
from burnish.data.spans.windows import Window
from burnish.data.tags.words import TagExample
from burnish.data.tokens.masking import NO_WORD, MaskExample
from burnish.data.tokens.text import SequencePair
from burnish.tasks.classify import LabelledExample
from burnish.tasks.reward import ScoredPair
from burnish.tasks.task import EncodedRow


@dataclass(frozen=True, slots=True)
class SeenToken:
    """One token."""

    id: int
    text: str
    is_learned: bool
    is_special: bool


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a row's tokens."""

    name: str
    """The name of the part, for example `chosen`; empty if the row has only one."""
    tokens: list[SeenToken]
    note: str = ""
    """What else is learned, in words: a label, a position."""


@dataclass(frozen=True, slots=True)
class TokenView:
    """One row as tokens."""

    place: str
    passages: list[Passage]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


Part = tuple[str, Any, Sequence[bool], str]
"""Name, token ids, whether each is trained on, note."""


def view_tokens(example: Any, tokenizer: Any, labels: Sequence[str]) -> TokenView:
    """An example as the model sees it.

    Args:
        example: an example of any task.
        tokenizer: the model's tokenizer.
        labels: names of the task's labels in order; empty if it has none.
    """
    special = set(tokenizer.all_special_ids) | {
        number for number, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    passages = []
    for name, ids, learned, note in parts_of(example, labels):
        texts = _texts(ids, tokenizer)
        tokens = zip(map(int, ids), texts, learned, strict=True)
        seen = [SeenToken(number, text, bool(is_learned), number in special) for number, text, is_learned in tokens]
        passages.append(Passage(name, seen, note))
    return TokenView(example.place if hasattr(example, "place") else example.record.place, passages)


def _texts(ids: Sequence[int], tokenizer: Any) -> list[str]:
    """The text of each token."""
    plain = tokenizer.convert_ids_to_tokens(list(map(int, ids)))
    decoded = [tokenizer.decode([int(number)], clean_up_tokenization_spaces=False) for number in ids]
    return [text if text and "\ufffd" not in text else piece for text, piece in zip(decoded, plain, strict=True)]


@singledispatch
def parts_of(example: Any, labels: Sequence[str]) -> Iterable[Part]:
    """The passages of an example, by the type of example."""
    raise TypeError(f"no view of {type(example).__name__}")


@parts_of.register
def _(example: Example, labels: Sequence[str]) -> Iterable[Part]:
    # the first token is never predicted, so it is not trained on even if it has a label
    learned = [number > 0 and label != IGNORED for number, label in enumerate(example.labels)]
    yield "", example.input_ids, learned, ""


@parts_of.register
def _(example: PairExample, labels: Sequence[str]) -> Iterable[Part]:
    yield "prompt", example.prompt_ids, [False] * len(example.prompt_ids), ""
    yield _answer("chosen", example.chosen)
    yield _answer("rejected", example.rejected)


@parts_of.register
def _(example: RatedExample, labels: Sequence[str]) -> Iterable[Part]:
    yield "prompt", example.prompt_ids, [False] * len(example.prompt_ids), ""
    yield _answer("answer, rated good" if example.good else "answer, rated bad", example.answer)


def _answer(name: str, answer: Answer) -> Part:
    return name, answer.ids, [label != IGNORED for label in answer.labels], ""


@parts_of.register
def _(example: LabelledExample, labels: Sequence[str]) -> Iterable[Part]:
    named = ", ".join(labels[number] for number in example.labels) or "none"
    yield "", example.input_ids, [False] * len(example.input_ids), f"label: {named}"


@parts_of.register
def _(example: ScoredPair, labels: Sequence[str]) -> Iterable[Part]:
    yield "chosen", example.chosen.input_ids, [False] * len(example.chosen.input_ids), "learned: a higher score"
    yield "rejected", example.rejected.input_ids, [False] * len(example.rejected.input_ids), "learned: a lower score"


@parts_of.register
def _(example: TagExample, labels: Sequence[str]) -> Iterable[Part]:
    tags_by_place = {
        place: label for place, label in zip(example.deciding, example.labels, strict=True) if label != IGNORED
    }
    tags = " ".join(labels[label] for label in tags_by_place.values())
    yield "", example.input_ids, [place in tags_by_place for place in range(len(example.input_ids))], f"tags: {tags}"


@parts_of.register
def _(example: Window, labels: Sequence[str]) -> Iterable[Part]:
    answered = example.first != example.nothing
    learned = [answered and example.first <= place <= example.last for place in range(len(example.input_ids))]
    yield "", example.input_ids, learned, "" if answered else "no answer in this part of the text"


@parts_of.register
def _(example: MaskExample, labels: Sequence[str]) -> Iterable[Part]:
    learned = [word != NO_WORD for word in example.words]
    yield (
        "",
        example.input_ids,
        learned,
        f"{100 * example.share:.0f} % of these words are masked, different ones each epoch",
    )


@parts_of.register
def _(example: SequencePair, labels: Sequence[str]) -> Iterable[Part]:
    yield "read", example.source_ids, [False] * len(example.source_ids), ""
    yield "written", example.target_ids, [True] * len(example.target_ids), ""


_OF_TOKENS = (Example, SequencePair)


class Lengths(NamedTuple):
    """Lengths of rows in tokens."""

    median: int
    most_of_95: int
    """95 % of the rows are not longer."""
    longest: int


class TokenStatistics:
    """Accumulates token counts over the rows."""

    def __init__(self, stop_ids: Collection[int]) -> None:
        """Starts without rows.

        Args:
            stop_ids: tokens of which each row should learn one; empty where nothing is generated.
        """
        self.tokens = self.trained = 0
        self.counts_tokens = True
        """Whether tokens are trained on, rather than a label or a choice per row."""
        self.longest_place = ""
        self._longest = -1
        self._lengths = array("i")
        self._stop_ids = frozenset(stop_ids)

    def add(self, record: Any, row: EncodedRow, tally: Tally) -> None:
        """Adds a row.

        Args:
            record: the row's record.
            row: the encoded row.
            tally: receives the problems.
        """
        length = sum(example.num_tokens for example in row.examples)
        if length > self._longest:
            self._longest, self.longest_place = length, record.place
        self._lengths.append(length)
        self.tokens += length
        self.trained += sum(example.num_trained for example in row.examples)
        self.counts_tokens = self.counts_tokens and all(type(example) in _OF_TOKENS for example in row.examples)
        if row.truncated_tokens:
            tally.add("cut", record.place, f"{row.truncated_tokens:,} tokens too many")
        if self._stop_ids and getattr(record, "ends", True) and not self._learns_end(row):
            tally.add("end-not-learned", record.place)

    def join(self, later: TokenStatistics) -> None:
        """Adds the rows that come after these."""
        self.tokens += later.tokens
        self.trained += later.trained
        self.counts_tokens = self.counts_tokens and later.counts_tokens
        self._lengths.extend(later._lengths)
        if later._longest > self._longest:
            self._longest, self.longest_place = later._longest, later.longest_place

    def _learns_end(self, row: EncodedRow) -> bool:
        plain = [example for example in row.examples if isinstance(example, Example)]
        return not plain or not all(self._stop_ids.isdisjoint(example.labels[-8:]) for example in plain)

    def lengths(self) -> Lengths:
        """Lengths over all rows; zeros if there are none."""
        if not self._lengths:
            return Lengths(0, 0, 0)
        numbers = numpy.frombuffer(self._lengths, dtype=numpy.int32)
        median, most = numpy.quantile(numbers, [0.5, 0.95])
        return Lengths(round(median), round(most), int(numbers.max()))

    @property
    def share(self) -> float:
        """Share of the tokens that are trained on."""
        return self.trained / self.tokens if self.tokens else 0.0
