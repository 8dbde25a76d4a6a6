"""Running text, and text to text, as examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy
import torch

from burnish.data.batching.batches import Batch
from burnish.data.rows.columns import as_text
from burnish.data.rows.patterns import Pattern, pick
from burnish.data.rows.records import TextRecord
from burnish.data.rows.row import IGNORED, Example, RowError
from burnish.data.tokens.tokens import TokenRequests, Tokens, answer_alone


def text_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> TextRecord:
    """A row whose text is learned whole. Raises RowError where it is empty."""
    name, value = pick(values, pattern.required[0])
    text = as_text(value, name)
    if text is None or not text.strip():
        raise RowError("the text is empty")
    return TextRecord(text, values.get("ends") is not False, place)


class Text(Protocol):
    """A text record."""

    @property
    def text(self) -> str: ...

    @property
    def ends(self) -> bool: ...

    @property
    def place(self) -> str: ...


class TextFormat:
    """Turns text records into examples of at most a context of tokens.

    A tokenizer that begins texts with BOS by itself gets it in front of every chunk, never twice; it is read, not
    trained. EOS is appended where the record's text ends, and trained.

    Attributes:
        tokens: answers what `requests` asks.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokens = Tokens(tokenizer)

    def prompt_ids(self, text: str) -> list[int]:
        """The beginning of a text as training saw beginnings: behind BOS where the tokenizer begins texts with it."""
        return self.tokens.encode_led([text])[0]

    def encode(self, record: Text, context: int) -> list[Example]:
        """One text encoded on its own, as `requests` does it. Raises RowError where that does."""
        return answer_alone(self.tokens, self.requests(record, context))

    def requests(self, record: Text, context: int) -> TokenRequests[list[Example]]:
        """Consecutive chunks that together hold every token of the record's text.

        Raises:
            RowError: there is no text, or only one token of it.
        """
        if not record.text.strip():
            raise RowError("the text is empty")
        lead = self.tokens.lead
        (ids,) = yield [record.text]
        if ids[: len(lead)] == lead:
            ids = ids[len(lead) :]
        eos = self.tokens.eos_id
        if record.ends and eos is not None and ids[-1:] != [eos]:
            ids = [*ids, eos]
        if len(lead) + len(ids) < 2:
            raise RowError("the text is a single token: there is nothing to predict")
        return [
            Example(lead + chunk, [IGNORED] * len(lead) + chunk, record.place)
            for chunk in _chunks(ids, context - len(lead), least=1 if lead else 2)
        ]


def _chunks(ids: list[int], size: int, least: int) -> list[list[int]]:
    """`ids` in pieces of `size`, the last of at least `least` (the one before it then gives a token away)."""
    if size < 2 * least - 1:
        raise RowError("the context is too short to hold a token and what it is predicted from")
    cuts = list(range(0, len(ids), size))
    if len(cuts) > 1 and len(ids) - cuts[-1] < least:
        cuts[-1] = len(ids) - least
    return [ids[start:end] for start, end in zip(cuts, [*cuts[1:], len(ids)], strict=True)]


@dataclass(frozen=True, slots=True)
class SequencePair:
    """Token ids of a source text and of the text to be written."""

    source_ids: list[int]
    target_ids: list[int]
    place: str

    @property
    def num_tokens(self) -> int:
        """Tokens read and written."""
        return len(self.source_ids) + len(self.target_ids)

    @property
    def num_trained(self) -> int:
        """Tokens written; all of them are trained on."""
        return len(self.target_ids)


def collate_pairs(examples: Sequence[SequencePair], rows: Sequence[Sequence[int]], pad_id: int) -> Batch:
    """Pairs side by side: sources padded at the end and masked there, `targets` `[rows, width]` padded with `IGNORED`.

    Args:
        examples: all examples.
        rows: for each row of the batch, the one example that it holds.
        pad_id: token that fills sources up.
    """
    chosen = [index for (index,) in rows]
    sources = [examples[index].source_ids for index in chosen]
    targets = [examples[index].target_ids for index in chosen]
    ids = _padded(sources, pad_id)
    attention = _padded([[1] * len(source) for source in sources], 0)
    lengths = torch.tensor([len(target) for target in targets])
    return Batch(
        {"input_ids": ids, "attention_mask": attention},
        _padded(targets, IGNORED),
        tuple(chosen),
        torch.repeat_interleave(torch.tensor(chosen), lengths),
        sum(examples[index].num_tokens for index in chosen),
    )


def _padded(lists: Sequence[list[Any]], fill: int) -> torch.Tensor:
    filled = numpy.full((len(lists), max(map(len, lists))), fill, dtype=numpy.int64)
    for row, values in enumerate(lists):
        filled[row, : len(values)] = values
    return torch.from_numpy(filled)
