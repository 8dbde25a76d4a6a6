"""Encodes conversations as examples: only answers are trained on, each after the prompt that inference will use."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from burnish.data.chat.calls import CallForm, find_call_form
from burnish.data.chat.messages import is_learned
from burnish.data.chat.own_template import ensure_template, set_kwargs
from burnish.data.chat.parting import check_prompt, insert_thought, rest_after_prompt
from burnish.data.chat.probe import (
    PLAIN,
    THOUGHT_TAGS,
    TemplateProbe,
    closing_tag,
    notes_on_keys,
    probe_template,
    thought_at_end,
)
from burnish.data.chat.reading import AnswerReader
from burnish.data.chat.template import (
    CLOSED,
    INSERTED,
    ChatTemplate,
    Message,
    adapt,
    check_answer,
    contains,
    thought_and_words,
)
from burnish.data.rows.row import EncodedRow, Example, RowError
from burnish.data.tokens.tokens import TokenRequests, Tokens, fit_answers, run_requests
from burnish.errors import ModelError

# SentencePiece adds a space before a text. To tokenize a text as a continuation, it is put after a stem that does not
# merge with it, whose tokens are then removed. Byte-level tokenizers need no stem.
_SHOWN = 40
"""Characters of a text in an error."""
_TAG_TOKENS = 40
"""At the end of a prompt, that may open a thought."""
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
    name: str
    """Begins the reason why it is refused; empty for the only answer of a conversation."""


@dataclass(frozen=True, slots=True)
class PlacedAnswers:
    """The answers of one conversation as token sequences, and for each answer that cannot be placed the reason."""

    sequences: list[MaskedTokens]
    refused: list[str]


class AnswerMask:
    """Finds answers for one template and tokenizer."""

    def __init__(self, template: ChatTemplate, tokens: Tokens, found: TemplateProbe) -> None:
        self._template = template
        self._tokens = tokens
        self._features = found.features
        self._block = found.block
        self._closings = found.closings
        self._end_ids = set(found.end_ids)
        self._ends = re.compile("|".join(re.escape(tokens.spell(id_)) for id_ in found.end_ids))
        self._stems = list(zip(_STEMS, tokens.encode(_STEMS), strict=True))

    def find(
        self, messages: Sequence[Message], learned: Sequence[int], tools: list[Message] | None
    ) -> TokenRequests[PlacedAnswers]:
        """Token sequences in which every answer follows exactly the prompt that inference will use.

        Answers share a sequence as far as the template renders earlier answers like the last one. Where it does not (it
        strips earlier turns, or ends only the last one), another sequence begins. An answer that cannot be placed after
        its own prompt is refused alone.

        Args:
            messages: of the conversation, in the form that the template supports.
            learned: indices of the answers to train on.
            tools: of the conversation.

        Raises:
            RowError: no answer can be placed, or the template omits another message.
        """
        turns: list[_Turn] = []
        refused: list[str] = []
        asked: Sequence[Message] = ()
        for index in learned:
            number = sum(message["role"] == "assistant" for message in messages[: index + 1])
            name = f"answer {number}: " if len(learned) > 1 else ""
            try:
                turns.append(self._turn(messages[: index + 1], tools, name))
                asked = messages[:index]
            except RowError as error:
                refused.append(f"{name}{error}")
        if turns:
            self._check_written(turns[-1].prompt, asked)
        sequences: list[MaskedTokens] = []
        for run in _agreeing(turns):
            shared = yield from self._in_one_sequence(run)
            if shared:
                sequences.append(shared)
                continue
            for turn in run:
                try:
                    sequences.append((yield from self._in_own_sequence(turn)))
                except RowError as error:
                    refused.append(f"{turn.name}{error}")
        if not sequences:
            raise RowError(refused[0])
        return PlacedAnswers(sequences, refused)

    def _check_written(self, prompt: str, messages: Sequence[Message]) -> None:
        for message in messages:
            if message["role"] in ("system", "user") and not contains(prompt, message["content"]):
                raise RowError(f"the chat template omits a {message['role']} message")

    def _turn(self, messages: Sequence[Message], tools: list[Message] | None, name: str) -> _Turn:
        """The last message as an answer."""
        prompt = self._template.render(messages[:-1], tools, answer_next=True)
        if thought := thought_and_words(messages[-1])[0]:
            check_prompt(self._template, prompt)
        whole = self._template.render(messages, tools, answer_next=False)
        if whole.startswith(prompt):
            rest = whole[len(prompt) :]
        else:
            rest = rest_after_prompt(self._template, prompt, whole, messages, tools)
        form = self._features.call_thoughts if "tool_calls" in messages[-1] else self._features.thoughts
        if thought and form in (INSERTED, CLOSED):
            rest = insert_thought(self._template, prompt, rest, messages[-1], thought, self._block)
        check_answer(rest, messages[-1])
        body, mark = self._split_end(rest, messages[-1])
        return _Turn(prompt, prompt + body + mark, bool(mark), name)

    def _split_end(self, rest: str, answer: Message) -> tuple[str, str]:
        """The text of an answer and the marker that ends it, which is empty if the template writes none.

        The answer is the last message, so its end is found from the end of the text: markers inside it end nothing.
        """
        plain, call = self._closings
        closing = call if "tool_calls" in answer else plain
        text = rest.rstrip()
        for tried in (closing, plain, call):
            if tried is not None and text.endswith(tail := tried.tail.rstrip()):
                return text[: len(text) - len(tail)], tried.mark
        if closing is None:
            return text, ""
        raise RowError(f"the chat template does not end the answer with {closing.mark!r}, but with {text[-_SHOWN:]!r}")

    def _in_one_sequence(self, turns: list[_Turn]) -> TokenRequests[MaskedTokens | None]:
        """All answers in the tokens of the last one's text, or None if their tokens differ from inference."""
        if not all(turn.is_closed for turn in turns):
            return None
        whole = turns[-1].answered
        plain, *prompts = yield [whole, *(turn.prompt for turn in turns)]
        ids = self._tokens.with_lead(plain)
        added = len(ids) - len(plain)
        marks = [place for place, id_ in enumerate(plain, start=added) if id_ in self._end_ids]
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


def _agreeing(turns: Iterable[_Turn]) -> list[list[_Turn]]:
    """Runs of answers in which the prompt of each begins with the answer before it."""
    runs: list[list[_Turn]] = []
    for turn in turns:
        if runs and runs[-1][-1].is_closed and turn.prompt.startswith(runs[-1][-1].answered):
            runs[-1].append(turn)
        else:
            runs.append([turn])
    return runs


class Chat(Protocol):
    """A chat record."""

    @property
    def messages(self) -> Sequence[Mapping[str, Any]]: ...

    @property
    def tools(self) -> Sequence[Mapping[str, Any]] | None: ...

    @property
    def place(self) -> str: ...


class ChatFormat:
    """Encodes conversations with the tokenizer's chat template, identically for training and generation.

    A tokenizer without a template gets ChatML (see `ensure_template`).

    Args:
        tokenizer: the model's tokenizer.
        template: renders the messages, if they differ from those that the tokenizer's own template takes.
        kwargs: values of the template's variables, which become defaults of the tokenizer's template.

    Attributes:
        notes: adaptations to the template, as sentences for the user.
        tokens: encodes the texts that `requests` yields.

    Raises:
        ModelError: the answers cannot be located reliably in what the template writes.
        RecipeError: the template never reads one of `kwargs`.
    """

    def __init__(
        self, tokenizer: Any, template: ChatTemplate | None = None, kwargs: Mapping[str, Any] | None = None
    ) -> None:
        self.notes: list[str] = []
        if ensure_template(tokenizer):
            self.notes.append("the tokenizer has no chat template: ChatML is used and saved with it")
        set_kwargs(tokenizer, kwargs or {})
        self._template = template or ChatTemplate(tokenizer)
        self.tokens = Tokens(tokenizer)
        try:
            found = self._found = probe_template(self._template, self.tokens)
            if not found.end_ids:
                raise RowError("no token ends an answer, and the tokenizer has no end-of-sequence token")
            self._features = found.features
            self._end_ids = found.end_ids
            self._header = found.header
            self._mask = AnswerMask(self._template, self.tokens, found)
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

    def notes_on(self, keys: Collection[str]) -> list[str]:
        """What the template does not write of messages with these keys: see `notes_on_keys`."""
        return notes_on_keys(self._template, self._features, keys)

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

    @cached_property
    def call_form(self) -> CallForm | None:
        """How the template writes calls; None if it writes none that can be read from an answer."""
        return find_call_form(self._template, self._found)

    def reader(self, prompt_ids: Sequence[int], with_calls: bool = False) -> AnswerReader:
        """Takes an answer to this prompt apart: thoughts, words and, if there are tools, calls."""
        end = self.tokens.decode(prompt_ids[-_TAG_TOKENS:])
        tag = closing_tag(end) if thought_at_end(end) == "open" else ""
        form = self.call_form if with_calls else None
        texts = [*THOUGHT_TAGS, *THOUGHT_TAGS.values(), *(form.texts if form else ())]
        kept = {self.tokens.marker_id(mark.text) for text in texts for mark in self.tokens.markers(text)}
        return AnswerReader(tag, form, frozenset(kept))

    def visible_ids(self, ids: Sequence[int]) -> Sequence[int]:
        """The ids of a generated answer without the header that the template writes before an answer.

        Empty while they may be the beginning of the header.
        """
        if not self._header:
            return ids
        for end, _ in enumerate(ids, start=1):
            text = self.tokens.decode(ids[:end])
            if text.startswith(self._header):
                return ids[end:] if text == self._header else ids
            # an incomplete UTF-8 character at the end is decoded as U+FFFD
            if not self._header.startswith(text.rstrip("\ufffd")):
                return ids
        return []

    def _find(self, messages: list[Message]) -> list[MaskedTokens]:
        return run_requests(self.tokens, self._mask.find(messages, _answers(messages, messages), None)).sequences

    def _writes_lead(self) -> bool:
        """Whether the template itself writes BOS: then `with_lead` has nothing to add and returns its argument."""
        ids = self.tokens.encode([self._template.render(PLAIN, None, answer_next=False)])[0]
        return self.tokens.with_lead(ids) is ids

    def encode(self, record: Chat, context: int) -> EncodedRow:
        """Encodes a single conversation like `requests`, with the same errors."""
        return run_requests(self.tokens, self.requests(record, context))

    def requests(self, record: Chat, context: int) -> TokenRequests[EncodedRow]:
        """Examples of at most `context` tokens; messages after the last answer are dropped, and answers that are not to
        be learned are context alone.

        Raises:
            RowError: there is no answer, or an empty one; the template rejects the conversation or omits an answer; the
                last answer does not fit `context`.
        """
        _check_answers(record.messages)
        adapted, listed = adapt(record.messages, record.tools, self._features)
        placed = yield from self._mask.find(adapted, _answers(adapted, record.messages), listed)
        examples: list[Example] = []
        truncated = 0
        for number, sequence in enumerate(placed.sequences, start=1):
            fitting, cut = self._fit(sequence, context, record.place, is_last=number == len(placed.sequences))
            examples += fitting
            truncated += cut
        return EncodedRow(examples, truncated, refused=placed.refused)

    def _fit(self, sequence: MaskedTokens, context: int, place: str, is_last: bool) -> tuple[list[Example], int]:
        # A BOS that only the template writes also stays in front.
        lead = sequence.ids[:1] if sequence.ids[0] == self.tokens.bos_id else self.tokens.lead
        try:
            return fit_answers(sequence.ids, sequence.answers, lead, context, place)
        except RowError:
            if is_last:
                raise
            return [], len(sequence.ids)


def _check_answers(messages: Sequence[Mapping[str, Any]]) -> None:
    answers = [message for message in messages if message["role"] == "assistant"]
    if not answers:
        raise RowError("the conversation has no answer (no assistant message)")
    for number, message in enumerate(answers, start=1):
        if not (str(message.get("content") or "").strip() or message.get("tool_calls")):
            raise RowError("the answer is empty" if len(answers) == 1 else f"answer {number} is empty")


def _answers(adapted: Sequence[Message], messages: Sequence[Mapping[str, Any]]) -> list[int]:
    """Indices in `adapted` of the answers to train on. An assistant message at the start answers nothing: it is part of
    the prompt.

    Raises:
        RowError: there is none.
    """
    places = [index for index, message in enumerate(adapted) if message["role"] == "assistant"]
    # adapting may merge or add other messages, but the answers stay the same
    marks = [is_learned(message) for message in messages if message["role"] == "assistant"]
    answers = [(index, mark) for index, mark in zip(places, marks, strict=False) if index > 0]
    if not answers:
        raise RowError("the conversation has no answer to a question")
    learned = [index for index, mark in answers if mark]
    if not learned:
        raise RowError("no answer is to be learned: each has `weight: 0` or `train: false`")
    return learned
