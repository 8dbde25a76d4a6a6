"""Encodes preference data: pairs and rated answers with their prompts, and conversations for reward models."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import torch

from burnish.data.chat.format import ChatFormat
from burnish.data.chat.own_template import set_kwargs
from burnish.data.rows.records import ChatRecord, Messages, PreferenceRecord, RatedRecord
from burnish.data.rows.row import IGNORED, RowError
from burnish.data.tokens.text_pairs import PairFormat, ReadTokens
from burnish.data.tokens.tokens import TokenRequests, Tokens, run_requests


@dataclass(frozen=True, slots=True)
class AnswerRows:
    """Prompts with their answers as tensors. Answers are numbered row by row, from left to right."""

    input_ids: torch.Tensor
    """`[rows, width]` int64."""
    position_ids: torch.Tensor
    """`[rows, width]` int64: positions of every answer continue from its prompt."""
    segments: torch.Tensor
    """`[rows, width]` int64: 0 in the prompt, then the number of the answer in its row; padding has the next number."""
    places: torch.Tensor
    """`[answers, longest]` int64: where each trained token is predicted, as an index into rows x width."""
    targets: torch.Tensor
    """`[answers, longest]` int64: the trained tokens, padded with `IGNORED`."""


def lay_out(rows: Sequence[tuple[list[int], Sequence[Answer]]], pad_id: int) -> AnswerRows:
    """Collates rows of a (non-empty) prompt followed by its answers, as wide as the longest row."""
    width = max(len(prompt) + sum(len(answer.ids) for answer in answers) for prompt, answers in rows)
    input_ids = numpy.full((len(rows), width), pad_id, dtype=numpy.int64)
    position_ids = numpy.zeros((len(rows), width), dtype=numpy.int64)
    segments = numpy.zeros((len(rows), width), dtype=numpy.int64)
    learned: list[tuple[list[int], list[int]]] = []
    for number, (prompt, answers) in enumerate(rows):
        begin = len(prompt)
        input_ids[number, :begin] = prompt
        position_ids[number, :begin] = numpy.arange(begin)
        for count, answer in enumerate(answers, start=1):
            end = begin + len(answer.ids)
            input_ids[number, begin:end] = answer.ids
            position_ids[number, begin:end] = numpy.arange(len(prompt), len(prompt) + end - begin)
            segments[number, begin:end] = count
            before = [len(prompt) - 1, *range(begin, end - 1)]
            kept = [index for index, label in enumerate(answer.labels) if label != IGNORED]
            learned.append(([number * width + before[index] for index in kept], [answer.ids[index] for index in kept]))
            begin = end
        segments[number, begin:] = len(answers) + 1
    longest = max(len(tokens) for _, tokens in learned)
    places = numpy.zeros((len(learned), longest), dtype=numpy.int64)
    targets = numpy.full((len(learned), longest), IGNORED, dtype=numpy.int64)
    for number, (where, tokens) in enumerate(learned):
        places[number, : len(where)] = where
        targets[number, : len(tokens)] = tokens
    return AnswerRows(*map(torch.from_numpy, (input_ids, position_ids, segments, places, targets)))


_PROMPT_SHARE = 4
"""A long answer leaves at least 1 / _PROMPT_SHARE of the context to its prompt."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The tokens after a prompt, up to and including the end of the answer."""

    ids: list[int]
    labels: list[int]
    """As long as `ids`: the token itself in assistant turns, `IGNORED` elsewhere."""

    @property
    def num_learned(self) -> int:
        """Number of trained tokens."""
        return sum(label != IGNORED for label in self.labels)


@dataclass(frozen=True, slots=True)
class PairExample:
    """A prompt with its better and worse answer."""

    prompt_ids: list[int]
    chosen: Answer
    rejected: Answer
    place: str
    reference: tuple[float, float] | None = None
    """Log-probabilities of both answers under the base model, in nats; None until computed, or if not needed."""

    num_trained = 1

    @property
    def num_tokens(self) -> int:
        """Tokens of the prompt and both answers, each counted once."""
        return len(self.prompt_ids) + len(self.chosen.ids) + len(self.rejected.ids)


@dataclass(frozen=True, slots=True)
class RatedExample:
    """A prompt with an answer rated good or bad."""

    prompt_ids: list[int]
    answer: Answer
    good: bool
    place: str
    reference: tuple[float, float] | None = None
    """Log-probabilities under the base model, in nats: of the answer, and of another row's answer to this prompt (for
    the KL estimate of KTO)."""

    num_trained = 1

    @property
    def num_tokens(self) -> int:
        """Tokens of the prompt and the answer."""
        return len(self.prompt_ids) + len(self.answer.ids)


class PreferenceFormat:
    """Encodes preference records with the tokenizer's chat template, like `ChatFormat` for conversations.

    Attributes:
        chat: the format of each dialogue.
        tokens: answers what `pair_requests` and `rated_requests` ask.

    Raises:
        ModelError: the answers cannot be located reliably in what the template writes.
    """

    def __init__(self, tokenizer: Any, kwargs: Mapping[str, Any] | None = None) -> None:
        self.chat = ChatFormat(tokenizer, kwargs=kwargs)
        self.tokens: Tokens = self.chat.tokens

    def pair(self, record: PreferenceRecord, context: int) -> tuple[PairExample, int]:
        """Encodes a single pair like `pair_requests`, with the same errors."""
        return run_requests(self.tokens, self.pair_requests(record, context))

    def rated(self, record: RatedRecord, context: int) -> tuple[RatedExample, int]:
        """Encodes a single rated answer like `rated_requests`, with the same errors."""
        return run_requests(self.tokens, self.rated_requests(record, context))

    def pair_requests(self, record: PreferenceRecord, context: int) -> TokenRequests[tuple[PairExample, int]]:
        """The pair, and how many tokens were truncated so that the prompt with either answer fits `context`.

        An answer that leaves less than a quarter of the context to the prompt is truncated at its end, because which
        answer is better usually shows earlier. Then the prompt is truncated at its beginning.

        Raises:
            RowError: both answers have the same tokens, or the template rejects a conversation.
        """
        prompt = yield from self._prompt(record)
        first = yield from self._answer(prompt, record.chosen, record)
        whole = [first, (yield from self._answer(prompt, record.rejected, record))]
        chosen, rejected = (_cut(answer, prompt, context) for answer in whole)
        if chosen.ids == rejected.ids:
            where = "" if chosen == whole[0] else f" within the context of {context}"
            raise RowError(f"the chosen and the rejected answer are the same tokens{where}")
        kept = self.fit(prompt, max(len(chosen.ids), len(rejected.ids)), context)
        num_lost = len(prompt) - len(kept) + sum(len(answer.ids) for answer in whole)
        return PairExample(kept, chosen, rejected, record.place), num_lost - len(chosen.ids) - len(rejected.ids)

    def rated_requests(self, record: RatedRecord, context: int) -> TokenRequests[tuple[RatedExample, int]]:
        """The rated answer, and how many tokens were truncated, as in `pair_requests`, with the same errors."""
        prompt = yield from self._prompt(record)
        whole = yield from self._answer(prompt, record.completion, record)
        answer = _cut(whole, prompt, context)
        kept = self.fit(prompt, len(answer.ids), context)
        num_lost = len(prompt) - len(kept) + len(whole.ids) - len(answer.ids)
        return RatedExample(kept, answer, record.good, record.place), num_lost

    def fit(self, prompt: list[int], longest: int, context: int) -> list[int]:
        """Truncates the prompt on the left, after BOS, so that an answer of `longest` tokens fits `context`.

        Raises:
            RowError: no token of the prompt would be left.
        """
        room = context - longest
        if len(prompt) <= room:
            return prompt
        lead = prompt[:1] if prompt[0] == self.tokens.bos_id else self.tokens.lead
        num_lead = len(lead) if prompt[: len(lead)] == lead else 0
        if room <= num_lead:
            raise RowError(f"the answer alone is {longest} tokens, longer than the context of {context} has room for")
        return prompt[:num_lead] + prompt[len(prompt) - room + num_lead :]

    def _prompt(self, record: PreferenceRecord | RatedRecord) -> TokenRequests[list[int]]:
        (ids,) = yield [self.chat.prompt(record.prompt, record.tools)]
        return self.tokens.with_lead(ids)

    def _answer(
        self, prompt: list[int], answer: Messages, record: PreferenceRecord | RatedRecord
    ) -> TokenRequests[Answer]:
        before = [{**message, "weight": 0} if message["role"] == "assistant" else message for message in record.prompt]
        dialogue = ChatRecord((*before, *answer), record.tools, record.place)
        encoded = yield from self.chat.requests(dialogue, sys.maxsize)
        if encoded.refused:
            raise RowError(encoded.refused[-1])
        examples = encoded.examples
        if len(examples) > 1 and sum(message["role"] == "assistant" for message in answer) > 1:
            raise RowError(
                "the conversations diverge before their last answers, and the template does not keep earlier ones"
            )
        ids, labels = list(examples[-1].input_ids), list(examples[-1].labels)
        if ids[: len(prompt)] != prompt:
            raise RowError("the chat template writes the prompt differently once an answer follows")
        return Answer(ids[len(prompt) :], labels[len(prompt) :])


def _cut(answer: Answer, prompt: list[int], context: int) -> Answer:
    """Truncates the answer so that the prompt, or a quarter of the context, still fits.

    Raises:
        RowError: no trained token is left.
    """
    most = context - min(len(prompt), context // _PROMPT_SHARE)
    if len(answer.ids) <= most:
        return answer
    cut = Answer(answer.ids[:most], answer.labels[:most])
    if not cut.num_learned:
        raise RowError(f"the assistant's text begins beyond the context of {context} tokens")
    return cut


class ScoredFormat:
    """Encodes records for a reward model: with the chat template, or as a pair of texts for an encoder without one.

    Raises:
        ModelError: the chat template is of a kind whose answers cannot be found for sure.
        RecipeError: the template never reads one of `kwargs`.
    """

    def __init__(self, tokenizer: Any, kwargs: Mapping[str, Any] | None = None) -> None:
        self._tokenizer = tokenizer
        set_kwargs(tokenizer, kwargs or {})
        self._texts = PairFormat(tokenizer)
        closes = tokenizer("a")["input_ids"][-1:] != tokenizer("a", add_special_tokens=False)["input_ids"][-1:]
        reads_pairs = closes and not tokenizer.chat_template
        self._chat = None if reads_pairs else PreferenceFormat(tokenizer, kwargs)

    def pair(self, record: PreferenceRecord, context: int) -> tuple[list[ReadTokens], int]:
        """The better and the worse conversation, and how many tokens of their prompt were truncated on the left.

        Raises:
            RowError: an answer does not fit, both have the same tokens, or the template rejects a conversation.
        """
        if self._chat is None:
            both, cut = self._as_texts(record.prompt, [record.chosen, record.rejected], context)
            if both[0].input_ids == both[1].input_ids:
                raise RowError("the chosen and the rejected answer are the same tokens")
            return both, cut
        pair, cut = self._chat.pair(record, context)
        ids = [pair.prompt_ids + answer.ids for answer in (pair.chosen, pair.rejected)]
        return [ReadTokens(each, None, cut) for each in ids], cut

    def single(self, prompt: Messages, answer: Messages, context: int) -> ReadTokens:
        """Encodes one conversation, with the errors of `pair`."""
        if self._chat is None:
            return self._as_texts(prompt, [answer], context)[0][0]
        rated, cut = self._chat.rated(RatedRecord(prompt, answer, True, None, ""), context)
        return ReadTokens(rated.prompt_ids + rated.answer.ids, None, cut)

    def text(self, text: str, context: int) -> ReadTokens:
        """Encodes a text that is not a conversation."""
        return self._texts.encode([text], context)

    def _as_texts(self, prompt: Messages, answers: Sequence[Messages], context: int) -> tuple[list[ReadTokens], int]:
        asked, said = _as_plain_text(prompt), [_as_plain_text(answer) for answer in answers]
        whole = [self._texts.encode([asked, answer], _UNBOUNDED) for answer in said]
        over = max(len(read.input_ids) for read in whole) - context
        if over <= 0:
            return whole, 0
        ids = self._tokenizer(asked, add_special_tokens=False, verbose=False)["input_ids"]
        if over >= len(ids):
            raise RowError(f"the answer alone is longer than the context of {context} has room for")
        # The text may be tokenized slightly differently where it was cut; `encode` truncates the rest.
        asked = self._tokenizer.decode(ids[over:])
        return [self._texts.encode([asked, answer], context) for answer in said], over


_UNBOUNDED = 1 << 30


def _as_plain_text(messages: Messages) -> str:
    """The text of a single turn; for several, one line per turn with its role."""
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n".join(f"{message['role']}: {message['content']}" for message in messages)
