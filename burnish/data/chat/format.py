"""Conversations to examples: only the answers are trained, each from the prompt that inference will see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from burnish.data.chat.answer_mask import AnswerMask, MaskedTokens
from burnish.data.chat.messages import Message, adapt
from burnish.data.chat.template import PLAIN, ChatTemplate, ensure_template, probe_template
from burnish.data.rows.row import IGNORED, Example, RowError
from burnish.data.tokens.tokens import TokenRequests, Tokens, answer_alone
from burnish.errors import ModelError

Span = tuple[int, int]
"""Token positions [start, end) of an answer."""


def fit_answers(
    ids: list[int], answers: Sequence[Span], lead: list[int], context: int, place: str
) -> tuple[list[Example], int]:
    """Examples of at most `context` tokens that train each answer at most once, and how many tokens stand in none.

    A sequence that fits is one example. A longer one is cut from the left, and answers that lost the turn before
    them are trained in an example of their own, again with as much as fits to their left. `lead` (BOS) stays in
    front. An earlier answer that fits nowhere is left out.

    Raises:
        RowError: the last answer does not fit.
    """
    num_lead = len(lead) if ids[: len(lead)] == lead else 0
    if len(ids) <= context:
        return [_example(ids, 0, len(ids), answers, 0, place)], 0
    room = context - num_lead
    last_start, last_end = answers[-1]
    if last_end - last_start + 1 > room:
        raise RowError(
            f"the answer alone is {last_end - last_start} tokens, longer than the context of {context} has room for"
        )
    examples = []
    left = list(answers)
    reached, num_lost = len(ids), 0
    while left:
        start, end = left.pop()
        if end - start + 1 > room:
            continue
        cut = max(num_lead, end - room)
        kept = [(start, end)]
        # An earlier answer belongs here only if the whole turn that it answers does.
        while left and (left[-2][1] if len(left) > 1 else num_lead) >= cut:
            kept.append(left.pop())
        examples.append(_example(ids, cut, end, kept[::-1], num_lead, place))
        num_lost += max(0, reached - end)
        reached = min(reached, cut)
    return examples[::-1], num_lost + reached - num_lead


def _example(ids: list[int], cut: int, end: int, answers: Sequence[Span], num_lead: int, place: str) -> Example:
    """Tokens [cut, end) of `ids` behind its first `num_lead`, with `answers` trained."""
    labels = [IGNORED] * end
    for start, stop in answers:
        labels[start:stop] = ids[start:stop]
    return Example(ids[:num_lead] + ids[cut:end], [IGNORED] * num_lead + labels[cut:], place)


__all__ = ["ChatFormat", "EncodedChat", "ensure_template"]


class Chat(Protocol):
    """A chat record."""

    @property
    def messages(self) -> Sequence[Mapping[str, Any]]: ...

    @property
    def tools(self) -> Sequence[Mapping[str, Any]] | None: ...

    @property
    def place(self) -> str: ...


@dataclass(frozen=True, slots=True)
class EncodedChat:
    """The examples of one conversation, and how many of its tokens were cut off to fit the context."""

    examples: list[Example]
    truncated_tokens: int


class ChatFormat:
    """Turns conversations into token ids with a tokenizer's chat template, alike for training and generation.

    A tokenizer without a template is given ChatML (see `ensure_template`).

    Args:
        tokenizer: of the model.
        template: renders the messages, where the tokenizer's own template needs them in another form.

    Attributes:
        notes: what was adapted to the template, in plain words.
        tokens: answers what `requests` asks.

    Raises:
        ModelError: the template is of a kind whose answers cannot be found for sure.
    """

    def __init__(self, tokenizer: Any, template: ChatTemplate | None = None) -> None:
        self.notes: list[str] = []
        if ensure_template(tokenizer):
            self.notes.append("the tokenizer has no chat template: ChatML is used, and saved with it")
        self._template = template or ChatTemplate(tokenizer)
        self.tokens = Tokens(tokenizer)
        try:
            found = probe_template(self._template, self.tokens)
            if not found.end_ids:
                raise RowError("no token ends an answer, and the tokenizer has no end-of-sequence token")
            self._abilities = found.abilities
            self._end_ids = found.end_ids
            self._header = found.header
            self._mask = AnswerMask(self._template, self.tokens, found.end_ids)
            self._find(PLAIN)
            self.notes += found.notes
        except RowError as error:
            raise ModelError(
                "the model's chat template cannot be trained with",
                f"for one question and one answer: {error}",
                "give the tokenizer another `chat_template`, or none at all for ChatML",
            ) from error
        # A template may well refuse a second question; then its rows are refused one by one.
        with suppress(RowError):
            if len(self._find([*PLAIN, *PLAIN])) > 1:
                self.notes.append("the answers of a conversation cannot share one sequence: each has its own")
        if self.tokens.lead and not self._writes_lead():
            self.notes.append("the template writes no BOS, the tokenizer does: it is put in front, once")

    @property
    def stop_ids(self) -> list[int]:
        """Ids of the tokens that end an answer: generation stops at any of them. EOS first, where there is one."""
        return list(self._end_ids)

    def prompt_ids(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None = None
    ) -> list[int]:
        """What generation feeds the model for the next answer: token for token what that answer is trained from.

        Raises:
            RowError: the template refuses the messages.
        """
        return self.tokens.encode_led([self.prompt(messages, tools)])[0]

    def prompt(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None = None) -> str:
        """The text of `prompt_ids`. Raises RowError where the template refuses the messages."""
        said, listed = adapt(messages, tools, self._abilities)
        return self._template.render(said, listed, answer_next=True)

    def spoken(self, ids: Sequence[int]) -> Sequence[int]:
        """What a generated answer says: its ids without what the template itself writes before an answer.

        Nothing as long as they may be the beginning of that.
        """
        if not self._header:
            return ids
        for end in range(1, len(ids) + 1):
            text = self.tokens.decode(ids[:end])
            if text.startswith(self._header):
                return ids[end:] if text == self._header else ids
            if not self._header.startswith(text.rstrip("\ufffd")):
                return ids
        return []

    def _find(self, messages: list[Message]) -> list[MaskedTokens]:
        return answer_alone(self.tokens, self._mask.find(messages, None))

    def _writes_lead(self) -> bool:
        ids = self.tokens.encode([self._template.render(PLAIN, None, answer_next=False)])[0]
        return self.tokens.with_lead(ids) is ids

    def encode(self, record: Chat, context: int) -> EncodedChat:
        """One conversation encoded on its own, as `requests` does it. Raises RowError where that does."""
        return answer_alone(self.tokens, self.requests(record, context))

    def requests(self, record: Chat, context: int) -> TokenRequests[EncodedChat]:
        """Examples of at most `context` tokens; messages behind the last answer are left out.

        Raises:
            RowError: there is no answer, or an empty one; the template refuses the conversation or hides an answer;
                the last answer does not fit `context`.
        """
        said, listed = adapt(_up_to_last_answer(record.messages), record.tools, self._abilities)
        sequences = yield from self._mask.find(said, listed)
        examples: list[Example] = []
        truncated = 0
        for number, sequence in enumerate(sequences, start=1):
            fitting, cut = self._fit(sequence, context, record.place, is_last=number == len(sequences))
            examples += fitting
            truncated += cut
        return EncodedChat(examples, truncated)

    def _fit(self, sequence: MaskedTokens, context: int, place: str, is_last: bool) -> tuple[list[Example], int]:
        # A BOS that only the template writes stays in front too.
        lead = sequence.ids[:1] if sequence.ids[0] == self.tokens.bos_id else self.tokens.lead
        try:
            return fit_answers(sequence.ids, sequence.answers, lead, context, place)
        except RowError:
            if is_last:
                raise
            return [], len(sequence.ids)


def _up_to_last_answer(messages: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    if not answers:
        raise RowError("the conversation has no answer (no assistant message)")
    for number, index in enumerate(answers, start=1):
        message = messages[index]
        if not (str(message.get("content") or "").strip() or message.get("tool_calls")):
            raise RowError("the answer is empty" if len(answers) == 1 else f"answer {number} is empty")
    return messages[: answers[-1] + 1]
