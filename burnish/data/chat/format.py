"""Encodes conversations as examples: only answers are trained on, each after the prompt that inference will use."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from burnish.data.chat.template import (
    PLAIN,
    ChatTemplate,
    Message,
    adapt,
    ensure_template,
    probe_template,
    split_thought,
)
from burnish.data.rows.row import IGNORED, Example, RowError
from burnish.data.tokens.tokens import TokenRequests, Tokens, run_requests
from burnish.errors import ModelError

# SentencePiece adds a space before a text. To tokenize a text as a continuation, it is put after a stem that does not
# merge with it, whose tokens are then removed. Byte-level tokenizers need no stem.
_STEMS = ("", "\n", ".", ")", "0", "z", "Q")


@dataclass(frozen=True, slots=True)
class MaskedTokens:
    """Token ids of one sequence, and its answers as token positions [start, end)."""

    ids: list[int]
    answers: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Turn:
    """One answer as text: `prompt` is the model's input, `answered` the same followed by the answer."""

    prompt: str
    answered: str
    is_closed: bool
    """Whether `answered` ends with an end marker."""


class AnswerMask:
    """Finds answers for one template and tokenizer; `end_ids` are the tokens that may end an answer."""

    def __init__(self, template: ChatTemplate, tokens: Tokens, end_ids: Sequence[int]) -> None:
        self._template = template
        self._tokens = tokens
        self._end_ids = set(end_ids)
        spelled = sorted((tokens.spell(id_) for id_ in end_ids), key=len, reverse=True)
        self._ends = re.compile("|".join(map(re.escape, spelled)))
        self._stems = list(zip(_STEMS, tokens.encode(_STEMS), strict=True))

    def find(self, messages: Sequence[Message], tools: list[Message] | None) -> TokenRequests[list[MaskedTokens]]:
        """Token sequences in which every answer in `messages` follows exactly the prompt that inference will use.

        One sequence if the template renders earlier answers like the last one; otherwise (it strips earlier turns, or
        ends only the last one) one sequence per answer.

        Raises:
            RowError: the template rejects the messages, or omits part of an answer.
        """
        turns = [
            self._turn(messages, index, tools)
            for index, message in enumerate(messages)
            # An assistant message at the start answers nothing: it is part of the prompt, not trained on.
            # One with the weight 0 is part of the prompts of later answers, too.
            if message["role"] == "assistant" and index > 0 and message.get("weight") != 0
        ]
        if not turns:
            raise RowError("the conversation has no answer to a question")
        prompt = turns[-1].prompt
        for message in messages[:-1]:
            if message["role"] in ("system", "user") and not _contains(prompt, message["content"]):
                raise RowError(f"the chat template omits a {message['role']} message")
        shared = yield from self._in_one_sequence(turns)
        if shared:
            return [shared]
        separate = []
        for turn in turns:
            separate.append((yield from self._in_own_sequence(turn)))
        return separate

    def _turn(self, messages: Sequence[Message], index: int, tools: list[Message] | None) -> _Turn:
        prompt = self._template.render(messages[:index], tools, answer_next=True)
        whole = self._template.render(messages[: index + 1], tools, answer_next=False)
        if not whole.startswith(prompt):
            return self._turn_after_open_thought(prompt, whole, messages[: index + 1], tools)
        rest = whole[len(prompt) :]
        marker = self._end_marker(rest, messages[index])
        if marker is None:
            return _Turn(prompt, prompt + rest.rstrip(), is_closed=False)
        return _Turn(prompt, prompt + rest[: marker.end()], is_closed=True)

    def _turn_after_open_thought(
        self, prompt: str, whole: str, messages: Sequence[Message], tools: list[Message] | None
    ) -> _Turn:
        """For templates whose prompt opens <think> but which omit the thought when they render the answer.

        The model will continue from the open tag, so it is trained on the thought (or none), the closing tag and the
        answer.
        """
        before = self._template.render(messages[:-1], tools, answer_next=False)
        answer = messages[-1]
        if not (prompt.rstrip().endswith("<think>") and whole.startswith(before)) or "tool_calls" in answer:
            raise RowError("the chat template starts an answer differently from its generation prompt")
        spelled, content = split_thought(answer["content"])
        marker = self._end_marker(whole[len(before) :], {"content": content})
        thought = answer.get("reasoning_content") or spelled
        answered = f"{prompt}{thought.strip()}\n</think>\n\n{content.strip()}"
        return _Turn(prompt, answered + (marker[0] if marker else ""), is_closed=marker is not None)

    def _end_marker(self, rest: str, message: Message) -> re.Match[str] | None:
        """The first end marker after the answer's text in `rest`, or None.

        Markers inside the answer itself are skipped.
        """
        parts = [message.get(key) or "" for key in ("reasoning_content", "content")]
        calls = message.get("tool_calls") or []
        if not all(_contains(rest, part) for part in [*parts, *(call["function"]["name"] for call in calls)]):
            raise RowError("the chat template omits part of an answer")
        # arguments of a call may contain the marker as text; those occurrences come first and end nothing
        num_spelled = len(self._ends.findall(json.dumps(calls, ensure_ascii=False))) if calls else 0
        for number, marker in enumerate(self._ends.finditer(rest)):
            if number >= num_spelled and all(_contains(rest[: marker.start()], part) for part in parts):
                return marker
        return None

    def _in_one_sequence(self, turns: list[_Turn]) -> TokenRequests[MaskedTokens | None]:
        """All answers in the tokens of the complete conversation, or None if their tokens differ from inference."""
        whole = turns[-1].answered
        if not all(turn.is_closed and whole.startswith(turn.answered) for turn in turns):
            return None
        plain, *prompts = yield [whole, *(turn.prompt for turn in turns)]
        ids = self._tokens.with_lead(plain)
        marks = [len(ids) - len(plain) + place for place in _positions(plain, self._end_ids)]
        if len(marks) != self._num_marks(whole):
            return None
        answers = []
        for turn, prompt in zip(turns, map(self._tokens.with_lead, prompts), strict=True):
            if ids[: len(prompt)] != prompt:
                return None
            answers.append((len(prompt), marks[self._num_marks(turn.answered) - 1] + 1))
        return MaskedTokens(ids, answers)

    def _in_own_sequence(self, turn: _Turn) -> TokenRequests[MaskedTokens]:
        """The answer of `turn` after its own prompt."""
        whole, prompt = map(self._tokens.with_lead, (yield [turn.answered, turn.prompt]))
        if whole[: len(prompt)] != prompt:
            whole = prompt + (yield from self._continuation(turn, prompt, whole))
        if not turn.is_closed:
            if self._tokens.eos_id is None:
                raise RowError("no token ends the answer")
            whole = [*whole, self._tokens.eos_id]
        elif whole[-1] not in self._end_ids:
            raise RowError("the token that ends the answer is not found")
        return MaskedTokens(whole, [(len(prompt), len(whole))])

    def _continuation(self, turn: _Turn, prompt: list[int], whole: list[int]) -> TokenRequests[list[int]]:
        """Tokens of the answer if its first characters would merge with the prompt's last token."""
        rest = turn.answered[len(turn.prompt) :]
        text = self._tokens.decode(whole)
        for stem, stem_ids in self._stems:
            (ids,) = yield [stem + rest]
            if ids[: len(stem_ids)] == stem_ids and self._tokens.decode(prompt + ids[len(stem_ids) :]) == text:
                return ids[len(stem_ids) :]
        raise RowError("the tokens of the answer cannot be separated from those of its prompt")

    def _num_marks(self, text: str) -> int:
        return len(self._ends.findall(text))


def _positions(ids: list[int], wanted: Iterable[int]) -> list[int]:
    """Sorted positions of any of the wanted ids."""
    found = []
    for id_ in wanted:
        position = -1
        with suppress(ValueError):  # no further occurrence
            while True:
                position = ids.index(id_, position + 1)
                found.append(position)
    return sorted(found)


def _contains(text: str, part: str) -> bool:
    """Whether a text contains a part, ignoring whitespace: templates trim and re-wrap contents."""
    return part.strip() in text or _squeeze(part) in _squeeze(text)


def _squeeze(text: str) -> str:
    return "".join(text.split())


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
    """The examples of one conversation, and how many of its tokens were truncated to fit the context."""

    examples: list[Example]
    truncated_tokens: int


class ChatFormat:
    """Encodes conversations with the tokenizer's chat template, identically for training and generation.

    A tokenizer without a template gets ChatML (see `ensure_template`).

    Args:
        tokenizer: the model's tokenizer.
        template: renders the messages, if they differ from those that the tokenizer's own template takes.

    Attributes:
        notes: adaptations to the template, as sentences for the user.
        tokens: encodes the texts that `requests` yields.

    Raises:
        ModelError: the answers cannot be located reliably in what the template writes.
    """

    def __init__(self, tokenizer: Any, template: ChatTemplate | None = None) -> None:
        self.notes: list[str] = []
        if ensure_template(tokenizer):
            self.notes.append("the tokenizer has no chat template: ChatML is used and saved with it")
        self._template = template or ChatTemplate(tokenizer)
        self.tokens = Tokens(tokenizer)
        try:
            found = probe_template(self._template, self.tokens)
            if not found.end_ids:
                raise RowError("no token ends an answer, and the tokenizer has no end-of-sequence token")
            self._features = found.features
            self._end_ids = found.end_ids
            self._header = found.header
            self._mask = AnswerMask(self._template, self.tokens, found.end_ids)
            self._find(PLAIN)  # raises an error if the answer cannot be located
            self.notes += found.notes
        except RowError as error:
            raise ModelError(
                "the model's chat template cannot be used for training",
                f"It fails on a conversation of one question and one answer: {error}",
                "Give the tokenizer another `chat_template`, or remove it to use ChatML",
            ) from error
        # A template may reject a second question; rows that have one are then rejected individually.
        with suppress(RowError):
            if len(self._find([*PLAIN, *PLAIN])) > 1:
                self.notes.append(
                    "the answers of a conversation cannot share one sequence: each becomes its own example"
                )
        if self.tokens.lead and not self._writes_lead():
            self.notes.append("the template does not write BOS, but the tokenizer adds it: BOS is put in front once")

    @property
    def stop_ids(self) -> list[int]:
        """Ids of the tokens that end an answer: generation stops at any of them. EOS comes first, if there is one."""
        return list(self._end_ids)

    def prompt_ids(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None = None
    ) -> list[int]:
        """The prompt of generation for the next answer: exactly the tokens that precede that answer in training.

        Raises:
            RowError: the template rejects the messages.
        """
        return self.tokens.encode_led([self.prompt(messages, tools)])[0]

    def prompt(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None = None) -> str:
        """The text of `prompt_ids`. Raises RowError if the template rejects the messages."""
        adapted, listed = adapt(messages, tools, self._features)
        return self._template.render(adapted, listed, answer_next=True)

    def visible_ids(self, ids: Sequence[int]) -> Sequence[int]:
        """The ids of a generated answer without the header that the template writes before an answer.

        Empty while they may be the beginning of the header.
        """
        if not self._header:
            return ids
        for end in range(1, len(ids) + 1):
            text = self.tokens.decode(ids[:end])
            if text.startswith(self._header):
                return ids[end:] if text == self._header else ids
            # an incomplete UTF-8 character at the end is decoded as U+FFFD
            if not self._header.startswith(text.rstrip("\ufffd")):
                return ids
        return []

    def _find(self, messages: list[Message]) -> list[MaskedTokens]:
        return run_requests(self.tokens, self._mask.find(messages, None))

    def _writes_lead(self) -> bool:
        """Whether the template itself writes BOS: then `with_lead` has nothing to add and returns its argument."""
        ids = self.tokens.encode([self._template.render(PLAIN, None, answer_next=False)])[0]
        return self.tokens.with_lead(ids) is ids

    def encode(self, record: Chat, context: int) -> EncodedChat:
        """Encodes a single conversation like `requests`, with the same errors."""
        return run_requests(self.tokens, self.requests(record, context))

    def requests(self, record: Chat, context: int) -> TokenRequests[EncodedChat]:
        """Examples of at most `context` tokens; messages after the last answer are dropped.

        Raises:
            RowError: there is no answer, or an empty one; the template rejects the conversation or omits an answer; the
                last answer does not fit `context`.
        """
        adapted, listed = adapt(_up_to_last_answer(record.messages), record.tools, self._features)
        sequences = yield from self._mask.find(adapted, listed)
        examples: list[Example] = []
        truncated = 0
        for number, sequence in enumerate(sequences, start=1):
            fitting, cut = self._fit(sequence, context, record.place, is_last=number == len(sequences))
            examples += fitting
            truncated += cut
        return EncodedChat(examples, truncated)

    def _fit(self, sequence: MaskedTokens, context: int, place: str, is_last: bool) -> tuple[list[Example], int]:
        # A BOS that only the template writes also stays in front.
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
