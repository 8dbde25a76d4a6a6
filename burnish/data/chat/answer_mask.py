"""Finds the answers in a rendered conversation by rendering the messages before each of them.

Works for any template. It assumes only that the prompt of an answer is the rendering of the messages before it, and
that the answer is what the template writes after that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from burnish.data.chat.messages import Message, split_thought
from burnish.data.chat.template import ChatTemplate
from burnish.data.rows.row import RowError
from burnish.data.tokens.tokens import TokenRequests, Tokens

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
            if message["role"] == "assistant" and index > 0
        ]
        if not turns:
            raise RowError("the conversation has no answer to a question")
        read = turns[-1].prompt
        for message in messages[:-1]:
            if message["role"] in ("system", "user") and not _contains(read, message["content"]):
                raise RowError(f"the chat template omits a {message['role']} message")
        together = yield from self._in_one_sequence(turns)
        if together:
            return [together]
        alone = []
        for turn in turns:
            alone.append((yield from self._in_own_sequence(turn)))
        return alone

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
        asked = self._template.render(messages[:-1], tools, answer_next=False)
        answer = messages[-1]
        if not (prompt.rstrip().endswith("<think>") and whole.startswith(asked)) or "tool_calls" in answer:
            raise RowError("the chat template does not start an answer with the prompt for it")
        spelled, content = split_thought(answer["content"])
        marker = self._end_marker(whole[len(asked) :], {"content": content})
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
