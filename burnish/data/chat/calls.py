"""The form in which a chat template writes tool calls, found by rendering marked calls: read from answers, and asked of
them.

A form is four texts around the names and the arguments of calls, which are JSON:

    opening NAME middle ARGUMENTS (joint NAME middle ARGUMENTS)* closing

Templates have none whose calls hold no JSON object of arguments, or begin with nothing of their own.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from os.path import commonprefix

from burnish.data.chat.probe import EMPTY, NAME, QUESTION, TOOLS, VALUES, TemplateProbe, calling_turns, rendered
from burnish.data.chat.template import ChatTemplate, Message, TemplateFeatures, adapt
from burnish.data.rows.row import RowError

ID = "\0"
"""In the texts of a form: the id of a call."""
_ID = r"[A-Za-z0-9_-]+"
_ID_LETTERS = string.ascii_letters + string.digits + "_-"
_NAMED = r"[\w.-]+"
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class CallForm:
    """How a template writes calls."""

    opening: str
    middle: str
    """Between the name and the arguments of a call."""
    closing: str
    joint: str | None
    """From the arguments of a call to the name of the next; None if an answer has one call at most."""
    id_size: int = 0
    """Letters and digits of an id, where the texts have any."""

    @property
    def texts(self) -> tuple[str, ...]:
        """All that is not of a call itself."""
        return self.opening, self.middle, self.closing, self.joint or ""

    @cached_property
    def begins(self) -> re.Pattern[str]:
        """The beginning of an answer's calls, with what is blank before it."""
        return re.compile(_pattern(self.opening))

    @cached_property
    def first(self) -> re.Pattern[str]:
        """From the opening to the arguments."""
        return re.compile(_pattern(self.opening) + self._named)

    @cached_property
    def next(self) -> re.Pattern[str] | None:
        """From the arguments of a call to those of the next."""
        return None if self.joint is None else re.compile(_pattern(self.joint) + self._named)

    @cached_property
    def ends(self) -> re.Pattern[str]:
        """What follows the last call."""
        return re.compile(_pattern(self.closing))

    @property
    def _named(self) -> str:
        return rf"(?P<name>{_NAMED})" + _pattern(self.middle)


@dataclass(frozen=True, slots=True)
class Call:
    """A call as an answer has it."""

    name: str
    arguments: str
    """JSON, as it is written."""
    end: int
    """Where the arguments end in the text."""


def read_call(text: str, head: re.Pattern[str]) -> Call | None:
    """The call at the beginning of a text; None until it is whole.

    Args:
        text: that begins with the head of a call.
        head: `first` or `next` of a form.
    """
    found = head.match(text)
    if found is None:
        return None
    begin = found.end()
    try:
        arguments, end = _DECODER.raw_decode(text, begin)
    except (ValueError, RecursionError):
        return None
    return Call(found["name"], text[begin:end], end) if isinstance(arguments, dict) else None


class ArgumentScan:
    """Finds the end of a call's arguments while they are written, by their braces. Whether they are JSON would be known
    only at the end."""

    def __init__(self) -> None:
        self._depth, self._in_string, self._is_escaped = 0, False, False
        self.is_whole = False

    def take(self, text: str) -> int:
        """How many of the next characters are arguments; all of them until they are whole."""
        for number, letter in enumerate(text):
            if self._in_string:
                self._in_string = self._is_escaped or letter != '"'
                self._is_escaped = letter == "\\" and not self._is_escaped
            elif letter == '"':
                self._in_string = True
            elif letter in "{[":
                self._depth += 1
            elif letter in "}]":
                self._depth -= 1
                if self._depth == 0:
                    self.is_whole = True
                    return number + 1
        return len(text)


def begun_call(text: str, head: re.Pattern[str]) -> re.Match[str] | None:
    """The head of the call at the beginning of a text, once its arguments have begun, too.

    Args:
        text: that begins with the head of a call.
        head: `first` or `next` of a form.
    """
    found = head.match(text)
    return found if found is not None and text[found.end() : found.end() + 1] == "{" else None


def agree(text: str, part: str) -> bool:
    """Whether a text begins with a part of a form, or may do so once it is longer; blanks count for nothing."""
    given, wanted = "".join(text.split()), "".join(part.split())
    for number, piece in enumerate(wanted.split(ID)):
        if number:
            given = given.lstrip(_ID_LETTERS)
        if not given.startswith(piece):
            return piece.startswith(given)
        given = given[len(piece) :]
    return True


def find_call_form(template: ChatTemplate, found: TemplateProbe) -> CallForm | None:
    """The form of a template's calls; None if it has none that can be read.

    Args:
        template: renders the calls.
        found: what it supports.
    """
    features = found.features
    tools = TOOLS if features.tools else None
    one, ids = _body(template, found, 1, tools)
    head, _, rest = one.partition(NAME)
    arguments = _written(rest, 0)
    if not head.strip() or not arguments:
        return None
    middle, _, closing = rest.partition(arguments)
    two, more_ids = _body(template, found, 2, tools)
    joint = None
    if two.count(NAME) == 2 and (whole := _written(two, 0)):
        joint = two.partition(whole)[2].partition(NAME)[0]
        expected = head + NAME + middle + whole + joint + NAME + middle + _written(two, 1) + closing
        if _unnumbered(two, more_ids) != _unnumbered(expected, [*ids, *more_ids]) or not joint.strip():
            joint = None
    texts = [None if text is None else _unnumbered(text, [*ids, *more_ids]) for text in (head, middle, closing, joint)]
    if texts[0] is None or texts[1] is None or texts[2] is None or ID in texts[0]:
        return None
    size = len(ids[0]) if ids and any(ID in text for text in texts if text) else 0
    return CallForm(texts[0].lstrip(), texts[1], texts[2].rstrip(), texts[3], size)


def _body(
    template: ChatTemplate, found: TemplateProbe, number: int, tools: list[Message] | None
) -> tuple[str, list[str]]:
    """What an answer of so many calls has after its prompt and before its end, and the ids of the calls; empty if the
    template rejects them."""
    messages = calling_turns(number)
    whole = rendered(template, messages, tools, found.features)
    try:
        prompt = template.render(adapt(messages[:1], None, found.features)[0], tools, answer_next=True)
    except RowError:
        return "", []
    asked, after = prompt.partition(QUESTION)[2], whole.partition(QUESTION)[2]
    rest = after[len(commonprefix([asked, after])) :]
    rest = rest.removeprefix(found.header)  # which is no part of a call
    if empty := EMPTY.search(rest.partition(NAME)[0]):
        rest = rest[empty.end() :]
    closing = found.closings[1] or found.closings[0]
    if closing is not None:
        rest = rest.rstrip().removesuffix(closing.tail.rstrip())
    return rest, _ids(messages, found.features)


def _ids(messages: Sequence[Message], features: TemplateFeatures) -> list[str]:
    calls = adapt(messages, None, features)[0][-1].get("tool_calls") or []
    return [call["id"] for call in calls]


def _written(text: str, number: int) -> str:
    """The arguments of a probing call as a text has them; empty if they are no JSON object there."""
    wanted = dict(zip("ab", VALUES[number], strict=True))
    for place in (found.start() for found in re.finditer(r"\{", text)):
        try:
            arguments, end = _DECODER.raw_decode(text, place)
        except ValueError:
            continue
        if arguments == wanted:
            return text[place:end]
    return ""


def _unnumbered(text: str, ids: Sequence[str]) -> str:
    for id_ in ids:
        text = text.replace(id_, ID)
    return text


def _pattern(text: str) -> str:
    """Matches a text with other blanks, or none; and any id."""
    words = [re.escape(word).replace(re.escape(ID), _ID) for word in text.split()]
    return r"\s*" + r"\s*".join(words) + r"\s*"
