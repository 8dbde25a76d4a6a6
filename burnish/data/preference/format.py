"""Better and worse answers as token ids: pairs and rated answers behind one prompt, and dialogues that are scored."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import torch

from burnish.data.chat.format import ChatFormat
from burnish.data.rows.records import ChatRecord, Messages, PreferenceRecord, RatedRecord
from burnish.data.rows.row import IGNORED, RowError
from burnish.data.tokens.text_pairs import PairFormat, ReadTokens
from burnish.data.tokens.tokens import TokenRequests, Tokens, answer_alone


@dataclass(frozen=True, slots=True)
class AnswerRows:
    """Prompts with their answers, ready for a network. Answers are counted row by row, from left to right."""

    input_ids: torch.Tensor
    """`[rows, width]` int64."""
    position_ids: torch.Tensor
    """`[rows, width]` int64: every answer goes on from its prompt."""
    segments: torch.Tensor
    """`[rows, width]` int64: 0 in the prompt, then the number of the answer in its row; padding is one more."""
    places: torch.Tensor
    """`[answers, longest]` int64: where each learned token is predicted, as an index into rows x width."""
    targets: torch.Tensor
    """`[answers, longest]` int64: the learned tokens, filled up with `IGNORED`."""


def lay_out(rows: Sequence[tuple[list[int], Sequence[Answer]]], pad_id: int) -> AnswerRows:
    """Rows of a prompt (never empty) with the answers behind it; as wide as the longest."""
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


_PROMPT_PART = 4
"""A long answer leaves its prompt one part in so many of the context."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The tokens behind a prompt, up to and with the one that ends the answer."""

    ids: list[int]
    labels: list[int]
    """As long as `ids`: the token where the assistant speaks, `IGNORED` where somebody else does."""

    @property
    def num_learned(self) -> int:
        """Tokens whose probability counts."""
        return sum(label != IGNORED for label in self.labels)


@dataclass(frozen=True, slots=True)
class PairExample:
    """A prompt with its better and its worse answer."""

    prompt_ids: list[int]
    chosen: Answer
    rejected: Answer
    place: str
    reference: tuple[float, float] | None = None
    """Log-probabilities of both answers under the base model, in nats; None until they are measured, or not needed."""

    num_trained = 1

    @property
    def num_tokens(self) -> int:
        """Tokens of the prompt and of both answers, each once."""
        return len(self.prompt_ids) + len(self.chosen.ids) + len(self.rejected.ids)


@dataclass(frozen=True, slots=True)
class RatedExample:
    """A prompt with an answer that is good or bad."""

    prompt_ids: list[int]
    answer: Answer
    good: bool
    place: str
    reference: tuple[float, float] | None = None
    """Log-probabilities under the base model, in nats: of the answer, and of another row's answer to this prompt."""

    num_trained = 1

    @property
    def num_tokens(self) -> int:
        """Tokens of the prompt and of the answer."""
        return len(self.prompt_ids) + len(self.answer.ids)


class PreferenceFormat:
    """Turns records into token ids with the tokenizer's chat template, as `ChatFormat` does for conversations.

    Attributes:
        chat: the format of each dialogue.
        tokens: answers what `pair_requests` and `rated_requests` ask.

    Raises:
        ModelError: the template is of a kind whose answers cannot be found for sure.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.chat = ChatFormat(tokenizer)
        self.tokens: Tokens = self.chat.tokens

    def pair(self, record: PreferenceRecord, context: int) -> tuple[PairExample, int]:
        """One pair encoded on its own, as `pair_requests` does it. Raises RowError where that does."""
        return answer_alone(self.tokens, self.pair_requests(record, context))

    def rated(self, record: RatedRecord, context: int) -> tuple[RatedExample, int]:
        """One rated answer encoded on its own, as `rated_requests` does it. Raises RowError where that does."""
        return answer_alone(self.tokens, self.rated_requests(record, context))

    def pair_requests(self, record: PreferenceRecord, context: int) -> TokenRequests[tuple[PairExample, int]]:
        """The pair, and how many tokens it lost so that the prompt and either answer fit `context`.

        An answer that leaves less than a quarter of the context to the prompt loses its end: which answer is better
        mostly shows before. The prompt then loses its beginning.

        Raises:
            RowError: both answers have the same tokens, or the template refuses a dialogue.
        """
        prompt = yield from self._prompt(record)
        first = yield from self._answer(prompt, record.chosen, record)
        whole = [first, (yield from self._answer(prompt, record.rejected, record))]
        chosen, rejected = (_cut(answer, prompt, context) for answer in whole)
        if chosen.ids == rejected.ids:
            where = "" if chosen == whole[0] else f" as far as the context of {context} reaches"
            raise RowError(f"the chosen and the rejected answer are the same in tokens{where}")
        kept = self.fit(prompt, max(len(chosen.ids), len(rejected.ids)), context)
        num_lost = len(prompt) - len(kept) + sum(len(answer.ids) for answer in whole)
        return PairExample(kept, chosen, rejected, record.place), num_lost - len(chosen.ids) - len(rejected.ids)

    def rated_requests(self, record: RatedRecord, context: int) -> TokenRequests[tuple[RatedExample, int]]:
        """The rated answer, and how many tokens it lost, as with `pair_requests`. Raises RowError as that does."""
        prompt = yield from self._prompt(record)
        whole = yield from self._answer(prompt, record.completion, record)
        answer = _cut(whole, prompt, context)
        kept = self.fit(prompt, len(answer.ids), context)
        num_lost = len(prompt) - len(kept) + len(whole.ids) - len(answer.ids)
        return RatedExample(kept, answer, record.good, record.place), num_lost

    def fit(self, prompt: list[int], longest: int, context: int) -> list[int]:
        """The prompt, cut on the left behind BOS so that an answer of `longest` tokens has room in `context`.

        Raises:
            RowError: not one token of the prompt would be left.
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
        dialogue = ChatRecord((*record.prompt, *answer), record.tools, record.place)
        examples = (yield from self.chat.requests(dialogue, sys.maxsize)).examples
        if len(examples) > 1 and sum(message["role"] == "assistant" for message in answer) > 1:
            raise RowError("the dialogues part before their last answers, and the template does not keep earlier ones")
        ids, labels = list(examples[-1].input_ids), list(examples[-1].labels)
        if ids[: len(prompt)] != prompt:
            raise RowError("the chat template writes the prompt in another way once it is answered")
        return Answer(ids[len(prompt) :], labels[len(prompt) :])


def _cut(answer: Answer, prompt: list[int], context: int) -> Answer:
    """The answer without what would leave the prompt, or a quarter of the context, no room.

    Raises:
        RowError: nothing of what the assistant says is left.
    """
    most = context - min(len(prompt), context // _PROMPT_PART)
    if len(answer.ids) <= most:
        return answer
    cut = Answer(answer.ids[:most], answer.labels[:most])
    if not cut.num_learned:
        raise RowError(f"the assistant speaks only beyond the context of {context} tokens")
    return cut


class ScoredFormat:
    """Turns records into token ids: with the chat template, or, for an encoder that has none, as a pair of texts.

    Raises:
        ModelError: the chat template is of a kind whose answers cannot be found for sure.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._texts = PairFormat(tokenizer)
        closes = tokenizer("a")["input_ids"][-1:] != tokenizer("a", add_special_tokens=False)["input_ids"][-1:]
        reads_pairs = closes and not tokenizer.chat_template
        self._chat = None if reads_pairs else PreferenceFormat(tokenizer)

    def pair(self, record: PreferenceRecord, context: int) -> tuple[list[ReadTokens], int]:
        """The better and the worse dialogue, and how many tokens their prompt lost on the left to fit `context`.

        Raises:
            RowError: an answer does not fit, both have the same tokens, or the template refuses a dialogue.
        """
        if self._chat is None:
            both, cut = self._as_texts(record.prompt, [record.chosen, record.rejected], context)
            if both[0].input_ids == both[1].input_ids:
                raise RowError("the chosen and the rejected answer are the same in tokens")
            return both, cut
        pair, cut = self._chat.pair(record, context)
        ids = [pair.prompt_ids + answer.ids for answer in (pair.chosen, pair.rejected)]
        return [ReadTokens(each, None, cut) for each in ids], cut

    def single(self, prompt: Messages, answer: Messages, context: int) -> ReadTokens:
        """One dialogue. Raises RowError as `pair` does."""
        if self._chat is None:
            return self._as_texts(prompt, [answer], context)[0][0]
        rated, cut = self._chat.rated(RatedRecord(prompt, answer, True, None, ""), context)
        return ReadTokens(rated.prompt_ids + rated.answer.ids, None, cut)

    def text(self, text: str, context: int) -> ReadTokens:
        """A text that is no dialogue, as it stands."""
        return self._texts.encode([text], context)

    def _as_texts(self, prompt: Messages, answers: Sequence[Messages], context: int) -> tuple[list[ReadTokens], int]:
        asked, said = _in_words(prompt), [_in_words(answer) for answer in answers]
        whole = [self._texts.encode([asked, answer], _UNBOUNDED) for answer in said]
        over = max(len(read.input_ids) for read in whole) - context
        if over <= 0:
            return whole, 0
        ids = self._tokenizer(asked, add_special_tokens=False, verbose=False)["input_ids"]
        if over >= len(ids):
            raise RowError(f"the answer alone is longer than the context of {context} has room for")
        # A few pieces may fall out differently where the text was cut; `encode` sees to the rest.
        asked = self._tokenizer.decode(ids[over:])
        return [self._texts.encode([asked, answer], context) for answer in said], over


_UNBOUNDED = 1 << 30


def _in_words(messages: Messages) -> str:
    """The text of a single turn; of several, a line for each with its speaker."""
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n".join(f"{message['role']}: {message['content']}" for message in messages)
