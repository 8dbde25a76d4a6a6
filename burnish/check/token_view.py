"""Rows as the model sees them: every token, and whether it is learned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import singledispatch
from typing import Any

from burnish.data.masking import NO_WORD, MaskExample
from burnish.data.preference_format import Answer, PairExample, RatedExample
from burnish.data.row import IGNORED, Example
from burnish.data.sequence_pairs import SequencePair
from burnish.data.span_format import Window
from burnish.data.word_pieces import TagExample
from burnish.tasks.classify import LabelledExample
from burnish.tasks.reward import ScoredPair


@dataclass(frozen=True, slots=True)
class SeenToken:
    """One token."""

    id: int
    text: str
    is_learned: bool
    is_special: bool


@dataclass(frozen=True, slots=True)
class Passage:
    """Some tokens of a row."""

    name: str
    """What they are, for example `chosen`; empty where the row is all there is."""
    tokens: list[SeenToken]
    note: str = ""
    """What else is learned, in words: a label, a place."""


@dataclass(frozen=True, slots=True)
class TokenView:
    """One row."""

    place: str
    passages: list[Passage]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


Part = tuple[str, Any, Sequence[bool], str]
"""Name, ids, whether each is learned, note."""


def view_tokens(example: Any, tokenizer: Any, labels: Sequence[str]) -> TokenView:
    """An example as the model sees it.

    Args:
        example: of any task.
        tokenizer: of the model.
        labels: names of the task's labels, in their order; empty where it has none.
    """
    special = set(tokenizer.all_special_ids) | {
        number for number, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    passages = []
    for name, ids, learned, note in parts_of(example, labels):
        texts = _texts(ids, tokenizer)
        told = zip(map(int, ids), texts, learned, strict=True)
        seen = [SeenToken(number, text, bool(is_learned), number in special) for number, text, is_learned in told]
        passages.append(Passage(name, seen, note))
    return TokenView(example.place if hasattr(example, "place") else example.record.place, passages)


def _texts(ids: Sequence[int], tokenizer: Any) -> list[str]:
    """What each token adds to the text."""
    plain = tokenizer.convert_ids_to_tokens(list(map(int, ids)))
    decoded = [tokenizer.decode([int(number)], clean_up_tokenization_spaces=False) for number in ids]
    return [text if text and "\ufffd" not in text else piece for text, piece in zip(decoded, plain, strict=True)]


@singledispatch
def parts_of(example: Any, labels: Sequence[str]) -> Iterable[Part]:
    """The passages of an example of some task."""
    raise TypeError(f"no view of {type(example).__name__}")


@parts_of.register
def _(example: Example, labels: Sequence[str]) -> Iterable[Part]:
    # the first token is never predicted, so it is not learned even where it is a label
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
    told = {place: label for place, label in zip(example.deciding, example.labels, strict=True) if label != IGNORED}
    tags = " ".join(labels[label] for label in told.values())
    yield "", example.input_ids, [place in told for place in range(len(example.input_ids))], f"tags: {tags}"


@parts_of.register
def _(example: Window, labels: Sequence[str]) -> Iterable[Part]:
    answered = example.first != example.nothing
    learned = [answered and example.first <= place <= example.last for place in range(len(example.input_ids))]
    yield "", example.input_ids, learned, "" if answered else "no answer in this part of the text"


@parts_of.register
def _(example: MaskExample, labels: Sequence[str]) -> Iterable[Part]:
    learned = [word != NO_WORD for word in example.words]
    yield "", example.input_ids, learned, f"{100 * example.share:.0f} % of these words are hidden, others each epoch"


@parts_of.register
def _(example: SequencePair, labels: Sequence[str]) -> Iterable[Part]:
    yield "read", example.source_ids, [False] * len(example.source_ids), ""
    yield "written", example.target_ids, [True] * len(example.target_ids), ""
