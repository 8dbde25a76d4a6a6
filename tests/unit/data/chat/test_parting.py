"""What follows a prompt, of texts written out by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from burnish.data.chat.parting import check_prompt, insert_thought, rest_after_prompt
from burnish.data.chat.probe import ThoughtBlock
from burnish.data.chat.template import ChatTemplate, Message
from burnish.data.rows.row import RowError

QUESTION = "Which of all the roads from here leads to Rome?"


class Written(ChatTemplate):
    """A template that is a function of the messages and of whether an answer is next."""

    def __init__(self, write: Callable[[Sequence[Message], bool], str]) -> None:
        self._write = write

    def render(self, messages: Sequence[Message], tools: list[Message] | None, answer_next: bool) -> str:
        return self._write(messages, answer_next)

    def thinking_options(self) -> str:
        return "`template.kwargs.think=true`"


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def answer(text: str, **more: Any) -> Message:
    return {"role": "assistant", "content": text, **more}


def rest(write: Callable[[Sequence[Message], bool], str], *messages: Message) -> str:
    template = Written(write)
    prompt, whole = template.render(messages[:-1], None, True), template.render(messages, None, False)
    assert not whole.startswith(prompt)
    return rest_after_prompt(template, prompt, whole, messages, None)


def in_turns(messages: Sequence[Message], answer_next: bool) -> str:
    """The prompt opens a thought, of which the conversation has nothing."""
    text = "".join(f"<{message['role']}>{message['content']}</>" for message in messages)
    return f"{text}<assistant><think>\n" if answer_next else text


def test_a_closing_tag_within_the_answers_own_words_closes_nothing() -> None:
    spelled = "Still: </think> closes."
    turns = (user("How?"), answer("Fine."), user("Now?"), answer(spelled))
    assert rest(in_turns, *turns) == f"\n</think>\n\n{spelled}</>"
    assert rest(in_turns, user("How?"), answer(f"Hm.</think>{spelled}")) == f"\n</think>\n\nHm.</think>{spelled}</>"


def closing_alone(messages: Sequence[Message], answer_next: bool) -> str:
    """The prompt opens a thought, which the conversation only closes."""
    begun = {"user": "", "assistant": "</think>"}
    text = "".join(f"<{one['role']}>{begun[one['role']]}{one['content']}</>" for one in messages)
    return f"{text}<assistant><think>\n" if answer_next else text


def test_a_closing_tag_that_the_template_writes_is_not_repeated() -> None:
    assert rest(closing_alone, user("How?"), answer("Fine.")) == "</think>Fine.</>"
    call = answer("", tool_calls=[{"function": {"name": "sum"}}])
    assert rest(closing_alone, user("How?"), call) == "</think></>"


def by_mode(messages: Sequence[Message], answer_next: bool) -> str:
    return ("one|" if answer_next else "all|") + in_marks(messages) + ("A:" if answer_next else "")


def in_marks(messages: Sequence[Message]) -> str:
    return "".join(f"{message['role'][0].upper()}:{message['content']}." for message in messages)


def test_a_text_that_begins_otherwise_for_a_prompt_leaves_the_answer_after_its_question() -> None:
    assert rest(by_mode, user("How?"), answer("Fine")) == "Fine."
    assert rest(by_mode, user("How?"), answer("Fine"), user("Now?"), answer("Still")) == "Still."


def system_last(messages: Sequence[Message], answer_next: bool) -> str:
    """The system text stands before the last question, if that is the last message; nothing but a line ends a turn."""
    system, *turns = messages
    lines = [f"{message['content']}\n" for message in turns]
    if turns[-1]["role"] == "user":
        lines[-1] = f"{system['content']}\n\n{lines[-1]}"
    return "".join(lines)


@pytest.mark.parametrize("system", ["Be brief.", "Be brief, and say where you have it from. " * 3])
def test_where_nothing_follows_the_question_its_last_40_characters_stand_for_it(system: str) -> None:
    messages = ({"role": "system", "content": system}, user(QUESTION), answer("All."))
    assert rest(system_last, *messages) == "All.\n"


def test_a_place_that_is_not_found_is_shown_from_the_first_character_that_differs() -> None:
    with pytest.raises(RowError) as caught:
        rest(system_last, {"role": "system", "content": "Be brief."}, user("How?"), answer("Fine."))
    assert "after '' the prompt has 'Be brief.\\n\\nHow?\\n', the conversation 'How?\\n';" in str(caught.value)

    def in_verse(messages: Sequence[Message], answer_next: bool) -> str:
        return in_marks(messages) + ("In verse:" if answer_next else "")

    with pytest.raises(RowError, match=r"after 'U:How\?\.' the prompt has 'In verse:', the conversation 'A:'"):
        rest(in_verse, user("How?"), answer("Fine"))


def alternating(messages: Sequence[Message], answer_next: bool) -> str:
    """Takes roles in turn; the last question is marked."""
    if any((message["role"] == "user") != (at % 2 == 0) for at, message in enumerate(messages)):
        raise RowError("the roles do not alternate")
    marks = ["Q" if at < len(messages) - 1 else "LAST" for at in range(len(messages))]
    return "".join(
        f"{mark}:{message['content']}. A:" if message["role"] == "user" else f" {message['content']}."
        for mark, message in zip(marks, messages, strict=True)
    )


def test_the_place_is_searched_in_the_whole_conversation() -> None:
    turns = (user("How?"), answer("Fine"), user("Now?"), answer("Still"))
    assert rest(alternating, *turns) == " Still."
    assert rest(alternating, *turns[:2]) == " Fine."


OPENED, CLOSED = "<assistant><think>\n", "<assistant><think>\n\n</think>\n\n"
BLOCK = ThoughtBlock("[", "]")


@pytest.mark.parametrize(
    ("prompt", "written", "words", "expected"),
    [
        (OPENED, "\n</think>\nFine.", "Fine.", "Hm.\n</think>\nFine."),
        (OPENED, "Hm.\n</think>\nFine.", "Fine.", "Hm.\n</think>\nFine."),
        (OPENED, "\n</think>\nHm. Fine.", "Hm. Fine.", "Hm.\n</think>\nHm. Fine."),
        (OPENED, "\n</think>\nsum(1)", "", "Hm.\n</think>\nsum(1)"),
        (OPENED, "Hm.\n</think>\nsum(1)", "", "Hm.\n</think>\nsum(1)"),
        ("<assistant>", "<think>\n\n\n\n</think>Fine.", "Fine.", "<think>\n\nHm.\n\n</think>Fine."),
        ("<assistant>", "<think>\n\n\n</think>Fine.", "Fine.", "<think>\nHm.\n</think>Fine."),
        ("<assistant>", "\n<think></think>Fine.", "Fine.", "\n<think>Hm.</think>Fine."),
        ("<assistant>", "So <think></think>.", "So <think></think>.", "[Hm.]So <think></think>."),
        ("<assistant>", "Fine.", "Fine.", "[Hm.]Fine."),
    ],
)  # fmt: skip
def test_a_thought_is_put_once_where_the_template_leaves_it_out(
    prompt: str, written: str, words: str, expected: str
) -> None:
    message = answer(words, reasoning_content="Hm.")
    assert insert_thought(Written(by_mode), prompt, written, message, "Hm.", BLOCK) == expected


def test_a_thought_without_a_place_is_refused() -> None:
    message = answer("Fine.", reasoning_content="Hm.")
    with pytest.raises(RowError, match="ends with an empty thought.*`template.kwargs.think=true`"):
        check_prompt(Written(by_mode), CLOSED)
    check_prompt(Written(by_mode), OPENED)
    with pytest.raises(RowError, match="has no place for the thought"):
        insert_thought(Written(by_mode), "<assistant>", "Fine.", message, "Hm.", None)
