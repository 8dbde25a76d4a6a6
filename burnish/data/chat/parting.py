"""Answers of templates that write a conversation otherwise than its prompt: what follows the prompt of inference.

Such templates move the system text to the last user turn, drop thoughts or tools from earlier turns, or end their
prompt with a thought that they leave out of the conversation.
"""

from __future__ import annotations

from collections.abc import Sequence
from os.path import commonprefix

from burnish.data.chat.probe import (
    ThoughtBlock,
    before_thought,
    closing_tag,
    fill_empty_thought,
    thought_at_end,
)
from burnish.data.chat.template import THOUGHT_FIELDS, ChatTemplate, Message, contains, thought_and_words
from burnish.data.rows.row import RowError

_SHOWN = 40
"""Characters of each text in an error."""
# two that no data begins with, so that one of them differs from the answer's own beginning
_SIGNS = ("\u2021", "\u2042")


def rest_after_prompt(
    template: ChatTemplate, prompt: str, whole: str, messages: Sequence[Message], tools: list[Message] | None
) -> str:
    """What the template writes of the last of `messages` after the end of its prompt.

    Args:
        template: renders the messages.
        prompt: of the last message, which `whole` does not begin with.
        whole: text of all messages.
        messages: of the conversation up to the answer; something comes before it.
        tools: of the conversation.

    Raises:
        RowError: the end of the prompt is not found before the answer.
    """
    head = _before(template, whole, messages, -1, tools)
    # the end of the prompt follows the last message before the answer; the same words may end an earlier prompt
    asked_from = len(_before(template, whole, messages, -2, tools))
    asked = _last_words(template, prompt, messages[:-1], tools)
    for words in (asked, prompt.removeprefix(template.render(messages[:-1], tools, answer_next=False))):
        if words.strip() and words in head[asked_from:]:
            return whole[head.rindex(words) + len(words) :]
    thought = thought_at_end(asked)
    begun = before_thought(asked) if thought else asked.strip()
    if not begun.strip() or begun not in head[asked_from:]:
        # some templates open a turn for every prompt, but in the conversation once for a call and what follows it
        if prompt.startswith(head) and prompt[len(head) :] in head:
            return whole[len(head) :]
        raise _parted(prompt, head)
    rest = whole[head.rindex(begun) + len(begun) :]
    if not thought:  # blanks alone differ
        return rest.lstrip() if asked[-1:].isspace() else rest
    tag = closing_tag(asked)
    if thought == "open":
        # some templates write the closing tag here, too: with a thought, after the opening tag, or alone
        rest = rest.removeprefix(asked[len(begun) :].strip())
        words = thought_and_words(messages[-1])[1]
        is_shut = tag in (rest.partition(words)[0] if words else rest)
        return rest if is_shut else f"\n{tag}\n\n{rest.lstrip()}"
    rest = rest.removeprefix(asked[len(begun) :])
    return rest.lstrip().removeprefix(tag) if rest.lstrip().startswith(tag) else rest


def _before(
    template: ChatTemplate, whole: str, messages: Sequence[Message], index: int, tools: list[Message] | None
) -> str:
    """What `whole` has before anything that depends on the message at `index`."""
    heads = []
    for sign in _SIGNS:
        marked = list(messages)
        marked[index] = _marked(messages[index], sign)
        heads.append(commonprefix([whole, template.render(marked, tools, answer_next=False)]))
    return min(heads, key=len)


def _marked(message: Message, sign: str) -> Message:
    """The message with other words, in the same form."""
    marked = {**message, **{key: sign for key in ("content", *THOUGHT_FIELDS) if message.get(key)}}
    content = message.get("content")
    if isinstance(content, list):
        marked["content"] = [{"type": "text", "text": sign}]
    elif isinstance(content, dict):
        marked["content"] = {"blocks": [{"type": "response", "text": sign}]}
    if message.get("tool_calls"):
        calls = message["tool_calls"]
        marked["tool_calls"] = [{**call, "function": {**call["function"], "name": sign}} for call in calls]
    return marked


def _last_words(template: ChatTemplate, prompt: str, messages: Sequence[Message], tools: list[Message] | None) -> str:
    """The text of a prompt after the last message, without which the answer cannot be placed.

    It is what stays where the message has other words, so the template may write them in any form.
    """
    tails = []
    for sign in _SIGNS:
        marked = _marked(messages[-1], sign)
        if marked != messages[-1]:
            other = template.render([*messages[:-1], marked], tools, answer_next=True)
            tails.append(commonprefix([prompt[::-1], other[::-1]])[::-1])
    words = min(tails, key=len, default="")
    return words if words.strip() else prompt[-_SHOWN:]


def _parted(prompt: str, head: str) -> RowError:
    shared = len(commonprefix([prompt, head]))
    expected, found = prompt[shared : shared + _SHOWN], head[shared : shared + _SHOWN]
    after = prompt[max(0, shared - _SHOWN) : shared]
    return RowError(
        f"the chat template writes something else before the answer than its prompt: after {after!r} the prompt has "
        f"{expected!r}, the conversation {found!r}; try another value of `template.kwargs`, or another `chat_template`"
    )


def check_prompt(template: ChatTemplate, prompt: str) -> None:
    """Raises RowError if a prompt ends with an empty thought, so that an answer with a thought would have two."""
    if thought_at_end(prompt) == "closed":
        raise RowError(
            "the prompt ends with an empty thought, but the answer has a thought: let the template think with "
            f"{template.thinking_options()}, or remove the thoughts from the rows"
        )


def insert_thought(
    template: ChatTemplate, prompt: str, rest: str, answer: Message, thought: str, block: ThoughtBlock | None
) -> str:
    """What follows the prompt, with a thought that the template itself leaves out.

    Args:
        template: of the answer.
        prompt: of the answer.
        rest: what the template writes after it.
        answer: the message.
        thought: to be put before its words or calls.
        block: what the template writes around thoughts elsewhere, if it does.

    Raises:
        RowError: there is no place for it.
    """
    words = thought_and_words(answer)[1]
    if contains(rest.partition(words)[0] if words else rest, thought):
        return rest  # some templates leave it out of the first answer alone
    if thought_at_end(prompt) == "open":
        return thought.strip() + rest
    filled = fill_empty_thought(rest, thought)
    if filled is not None:
        return filled
    if block is None:
        raise RowError(
            "the chat template has no place for the thought of this answer, for example because it follows the result "
            "of a call: remove the thought from the row"
        )
    return block.opening + thought + block.closing + rest
