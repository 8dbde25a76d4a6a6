"""Finds the answers in a rendered conversation, by rendering what stands before each of them.

Works for any template: nothing is assumed about its markers but that the model is prompted with the rendering of the
messages before an answer, and that the answer is what the template writes behind that.
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

# SentencePiece puts a blank of its own before a text, but none behind a stem: a text's tokens in the middle of another
# are what follows a stem that does not merge with them. Byte-level tokenizers need none.
_STEMS = ("", "\n", ".", ")", "0", "z", "Q")


@dataclass(frozen=True, slots=True)
class MaskedTokens:
    """Token ids of one sequence, and the answers in it as positions [start, end)."""

    ids: list[int]
    answers: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Turn:
    """One answer as text: `prompt` is what the model is fed, `answered` the same with the answer behind it."""

    prompt: str
    answered: str
    is_closed: bool
    """Whether `answered` ends with an end marker."""


class AnswerMask:
    """Finds answers for one template and tokenizer; `end_ids` are the tokens that can end an answer."""

    def __init__(self, template: ChatTemplate, tokens: Tokens, end_ids: Sequence[int]) -> None:
        self._template = template
        self._tokens = tokens
        self._end_ids = set(end_ids)
        spelled = sorted((tokens.spell(id_) for id_ in end_ids), key=len, reverse=True)
        self._ends = re.compile("|".join(map(re.escape, spelled)))
        self._stems = list(zip(_STEMS, tokens.encode(_STEMS), strict=True))

    def find(self, messages: Sequence[Message], tools: list[Message] | None) -> TokenRequests[list[MaskedTokens]]:
        """The sequences that train every answer in `messages` from exactly the prompt that inference will see.

        One sequence where the template writes earlier answers just as it writes the last one; otherwise (it strips
        earlier turns, or ends only the last one) a sequence for each answer.

        Raises:
            RowError: the template refuses the messages, or leaves out part of an answer.
        """
        turns = [
            self._turn(messages, index, tools)
            for index, message in enumerate(messages)
            # An answer that opens the conversation answers nothing: it is read, not trained.
            if message["role"] == "assistant" and index > 0
        ]
        if not turns:
            raise RowError("the conversation has no answer to a question")
        read = turns[-1].prompt
        for message in messages[:-1]:
            if message["role"] in ("system", "user") and not _says(read, message["content"]):
                raise RowError(f"the chat template leaves out a {message['role']} message")
        together = yield from self._together(turns)
        if together:
            return [together]
        alone = []
        for turn in turns:
            alone.append((yield from self._alone(turn)))
        return alone

    def _turn(self, messages: Sequence[Message], index: int, tools: list[Message] | None) -> _Turn:
        prompt = self._template.render(messages[:index], tools, answer_next=True)
        whole = self._template.render(messages[: index + 1], tools, answer_next=False)
        if not whole.startswith(prompt):
            return self._turn_behind_opened_thought(prompt, whole, messages[: index + 1], tools)
        rest = whole[len(prompt) :]
        marker = self._end_marker(rest, messages[index])
        if marker is None:
            return _Turn(prompt, prompt + rest.rstrip(), is_closed=False)
        return _Turn(prompt, prompt + rest[: marker.end()], is_closed=True)

    def _turn_behind_opened_thought(
        self, prompt: str, whole: str, messages: Sequence[Message], tools: list[Message] | None
    ) -> _Turn:
        """For templates that prompt with an opening <think> and then leave the thought out of what they write.

        The model will go on from the open tag, so it is trained to: the thought (or none), its end, the answer.
        """
        asked = self._template.render(messages[:-1], tools, answer_next=False)
        answer = messages[-1]
        if not (prompt.rstrip().endswith("<think>") and whole.startswith(asked)) or "tool_calls" in answer:
            raise RowError("the chat template does not begin an answer as it prompts for one")
        spelled, content = split_thought(answer["content"])
        marker = self._end_marker(whole[len(asked) :], {"content": content})
        thought = answer.get("reasoning_content") or spelled
        answered = f"{prompt}{thought.strip()}\n</think>\n\n{content.strip()}"
        return _Turn(prompt, answered + (marker[0] if marker else ""), is_closed=marker is not None)

    def _end_marker(self, rest: str, message: Message) -> re.Match[str] | None:
        """The first end marker behind the answer's text in `rest`, or None if there is none.

        A marker that is spelled in the answer itself is passed over.
        """
        parts = [message.get(key) or "" for key in ("reasoning_content", "content")]
        calls = message.get("tool_calls") or []
        if not all(_says(rest, part) for part in [*parts, *(call["function"]["name"] for call in calls)]):
            raise RowError("the chat template leaves out part of an answer")
        num_spelled = len(self._ends.findall(json.dumps(calls, ensure_ascii=False))) if calls else 0
        for number, marker in enumerate(self._ends.finditer(rest)):
            if number >= num_spelled and all(_says(rest[: marker.start()], part) for part in parts):
                return marker
        return None

    def _together(self, turns: list[_Turn]) -> TokenRequests[MaskedTokens | None]:
        """All answers in the tokens of the whole conversation, or None if they do not stand there as in inference."""
        whole = turns[-1].answered
        if not all(turn.is_closed and whole.startswith(turn.answered) for turn in turns):
            return None
        plain, *prompts = yield [whole, *(turn.prompt for turn in turns)]
        ids = self._tokens.with_lead(plain)
        marks = [len(ids) - len(plain) + place for place in _places(plain, self._end_ids)]
        if len(marks) != self._num_marks(whole):
            return None
        answers = []
        for turn, prompt in zip(turns, map(self._tokens.with_lead, prompts), strict=True):
            if ids[: len(prompt)] != prompt:
                return None
            answers.append((len(prompt), marks[self._num_marks(turn.answered) - 1] + 1))
        return MaskedTokens(ids, answers)

    def _alone(self, turn: _Turn) -> TokenRequests[MaskedTokens]:
        """The answer of `turn` behind its own prompt."""
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
        """Tokens of the answer where its first characters would merge with the prompt's last token."""
        rest = turn.answered[len(turn.prompt) :]
        text = self._tokens.decode(whole)
        for stem, stem_ids in self._stems:
            (ids,) = yield [stem + rest]
            if ids[: len(stem_ids)] == stem_ids and self._tokens.decode(prompt + ids[len(stem_ids) :]) == text:
                return ids[len(stem_ids) :]
        raise RowError("the tokens of the answer cannot be told from those of its prompt")

    def _num_marks(self, text: str) -> int:
        return len(self._ends.findall(text))


def _places(ids: list[int], wanted: Iterable[int]) -> list[int]:
    """Where any of the wanted ids stands, in order."""
    found = []
    for id_ in wanted:
        place = -1
        with suppress(ValueError):  # there is no other
            while True:
                place = ids.index(id_, place + 1)
                found.append(place)
    return sorted(found)


def _says(text: str, part: str) -> bool:
    """Whether a part stands in a text, white space aside: templates trim and re-wrap what they are given."""
    return part.strip() in text or _squeeze(part) in _squeeze(text)


def _squeeze(text: str) -> str:
    return "".join(text.split())
