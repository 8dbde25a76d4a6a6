"""An answer taken apart while it is written: thoughts, words and tool calls."""

from __future__ import annotations

import re
from typing import NamedTuple

from burnish.data.chat.calls import ArgumentScan, CallForm, agree, begun_call, read_call
from burnish.data.chat.probe import THOUGHT_TAGS

THOUGHT, WORDS, CALL = "thought", "words", "call"
_BLANKS = 64
"""Before a call, that are held back."""


class Part(NamedTuple):
    """A part of an answer."""

    kind: str
    """`THOUGHT`, `WORDS` or `CALL`."""
    text: str
    """For a call its arguments: JSON, as they are written."""
    name: str = ""
    """Of the function that is called; empty for more arguments of the call before."""
    is_whole: bool = True
    """Whether nothing more of this call follows."""


class AnswerReader:
    """Takes the text of one answer apart, as it comes. What may begin a thought's tag or a call is held back until that
    is clear; a call is one part, once it is whole. What only looks like a call is words.

    With `stream_calls`, a call is handed on as it is written: its name, then its arguments. Then what is cut off, or
    is no JSON within its braces, has been handed on as a call.

    Args:
        tag: that closes the thought which the prompt has opened; empty if it has not.
        form: of calls; None to read none.
        kept_ids: special tokens whose text has to reach it.
        reads_thoughts: whether a tag at the beginning opens a thought.
    """

    def __init__(
        self,
        tag: str = "",
        form: CallForm | None = None,
        kept_ids: frozenset[int] = frozenset(),
        reads_thoughts: bool = True,
    ) -> None:
        self.tag, self.kept_ids = tag, kept_ids
        self._tag, self._form, self._held = tag, form, ""
        self._step = self._thought if tag else self._beginning if reads_thoughts else self._words
        self._is_streaming, self._scan = False, ArgumentScan()
        self._after_tag = bool(tag)
        """Whether line breaks that come now belong to a tag."""

    def stream_calls(self) -> None:
        """From now on, calls are handed on as they are written."""
        self._is_streaming = True

    def add(self, text: str) -> list[Part]:
        """The parts that are clear with this text."""
        self._held += text
        return self._parts(is_last=False)

    def end(self) -> list[Part]:
        """The rest, once the answer is finished."""
        return self._parts(is_last=True)

    def _parts(self, is_last: bool) -> list[Part]:
        parts: list[Part] = []
        while True:
            if self._after_tag:
                self._held = self._held.lstrip("\n")
                self._after_tag = not self._held
            before = len(self._held), self._step
            part = self._step(is_last) if self._held else None
            if part is not None and (part.text or part.name):
                parts.append(part)
            if before == (len(self._held), self._step):
                return parts

    def _take(self, size: int) -> str:
        taken, self._held = self._held[:size], self._held[size:]
        return taken

    def _beginning(self, is_last: bool) -> None:
        """Until it is known whether the answer begins with a thought."""
        held = self._held.lstrip()
        opened = next((tag for tag in THOUGHT_TAGS if held.startswith(tag)), None)
        if opened is not None:
            self._held, self._tag = held[len(opened) :], THOUGHT_TAGS[opened]
            self._step, self._after_tag = self._thought, True
        elif is_last or not any(tag.startswith(held) for tag in THOUGHT_TAGS):
            self._step = self._words

    def _thought(self, is_last: bool) -> Part | None:
        thought, closed, rest = self._held.partition(self._tag)
        if closed:
            self._held, self._step, self._after_tag = rest, self._words, True
            return Part(THOUGHT, thought.rstrip("\n"))
        if is_last:
            return Part(THOUGHT, self._take(len(self._held)))
        # a line break before the tag is the template's
        sizes = range(len(self._held), 0, -1)
        kept = next((size for size in sizes if self._tag.startswith(self._held[-size:].lstrip("\n"))), 0)
        return Part(THOUGHT, self._take(len(self._held) - kept))

    def _words(self, is_last: bool) -> Part | None:
        if self._form is None:
            return Part(WORDS, self._take(len(self._held)))
        begun = self._form.begins.search(self._held)
        if begun is not None:
            self._step = self._first_call
            return Part(WORDS, self._take(begun.start()))
        if is_last:
            return Part(WORDS, self._take(len(self._held)))
        least = max(0, len(self._held) - 2 * len(self._form.opening) - _BLANKS)
        places = range(least, len(self._held))
        place = next((at for at in places if agree(self._held[at:], self._form.opening)), len(self._held))
        return Part(WORDS, self._take(place))

    def _first_call(self, is_last: bool) -> Part | None:
        assert self._form is not None
        call = self._call(self._form.first)
        if call is not None:
            return call
        if is_last:  # it only began like a call, or was cut off
            return Part(WORDS, self._take(len(self._held)))
        return None

    def _call(self, head: re.Pattern[str]) -> Part | None:
        """The call that the held text begins with, or its beginning where calls are handed on as they are written."""
        if self._is_streaming:
            begun = begun_call(self._held, head)
            if begun is None:
                return None
            self._take(begun.end())
            self._step, self._scan = self._arguments, ArgumentScan()
            return Part(CALL, "", begun["name"], is_whole=False)
        call = read_call(self._held, head)
        if call is None:
            return None
        self._take(call.end)
        self._step = self._after_call
        return Part(CALL, call.arguments, call.name)

    def _arguments(self, is_last: bool) -> Part:
        taken = self._take(self._scan.take(self._held))
        if self._scan.is_whole:
            self._step = self._after_call
        return Part(CALL, taken, is_whole=self._scan.is_whole)

    def _after_call(self, is_last: bool) -> Part | None:
        form = self._form
        assert form is not None
        if form.next is not None and form.joint is not None:
            call = self._call(form.next)
            if call is not None:
                return call
            if not is_last and agree(self._held, form.joint):
                return None
        ended = form.ends.match(self._held)
        if ended is not None:
            self._take(ended.end())
            self._step = self._words
        elif agree(self._held, form.closing):
            if is_last:
                self._held = ""
        else:
            self._step = self._words
        return None
