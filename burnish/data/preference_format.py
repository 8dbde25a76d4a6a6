"""Pairs of answers, and rated answers, as token ids: a prompt, and answers that stand behind that very prompt."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from burnish.data.chat_format import ChatFormat
from burnish.data.records import ChatRecord, Messages, PreferenceRecord, RatedRecord
from burnish.data.row import IGNORED, RowError
from burnish.data.token_requests import TokenRequests, answer_alone
from burnish.data.tokens import Tokens

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
        tokens: answers what `pair_requests` and `rated_requests` ask.

    Raises:
        ModelError: the template is of a kind whose answers cannot be found for sure.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._chat = ChatFormat(tokenizer)
        self.tokens: Tokens = self._chat.tokens

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
        (ids,) = yield [self._chat.prompt(record.prompt, record.tools)]
        return self.tokens.with_lead(ids)

    def _answer(
        self, prompt: list[int], answer: Messages, record: PreferenceRecord | RatedRecord
    ) -> TokenRequests[Answer]:
        dialogue = ChatRecord((*record.prompt, *answer), record.tools, record.place)
        examples = (yield from self._chat.requests(dialogue, sys.maxsize)).examples
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
