"""Talking: turns, resets and leaving, with a model that repeats the last message."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from burnish.cli.commands.generate import talk
from burnish.system.hangup import Ended
from tests.unit.cli.streams import Screen


class Echo:
    """Answers with the number of messages and the last of them."""

    def chat(self, messages: list[dict[str, str]], max_new_tokens: int, decoding: Any, write: Any) -> str:
        """One answer."""
        answer = f"{len(messages)}: {messages[-1]['content']}"
        if write is not None:
            write(answer)
        return answer


def converse(screen: Screen, typed: str, messages: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    talk(screen.console, Echo(), messages, {"max_new_tokens": 8, "decoding": None})
    return screen.out


def test_each_turn_sees_those_before(monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[dict[str, str]] = []
    assert converse(Screen(), "hello\n\nagain\n", messages, monkeypatch) == "1: hello\n3: again\n"
    assert [message["role"] for message in messages] == ["user", "assistant"] * 2


def test_reset_keeps_the_system_message(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = [{"role": "system", "content": "be brief"}]
    assert converse(Screen(), "a\n/reset\nb\n/exit\nc\n", messages, monkeypatch) == "2: a\n2: b\n"
    assert len(messages) == 3


def test_unknown_words_with_a_slash_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    assert converse(screen, "/what\n", [], monkeypatch) == ""
    assert "/reset" in screen.err


def test_a_terminal_sees_the_answer_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert converse(Screen(is_terminal=True), "hello\n", [], monkeypatch) == "1: hello\n"


def test_json_prints_nothing_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    assert converse(Screen("--json"), "hello\n", [], monkeypatch) == ""


class Interrupted(Echo):
    """Is stopped in the middle of its first answer."""

    def __init__(self, error: type[BaseException]) -> None:
        self._error: type[BaseException] | None = error

    def chat(self, messages: list[dict[str, str]], max_new_tokens: int, decoding: Any, write: Any) -> str:
        """One answer."""
        if self._error is not None:
            error, self._error = self._error, None
            write("half an ")
            raise error
        return super().chat(messages, max_new_tokens, decoding, write)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_ctrl_c_ends_the_answer_and_not_the_chat(is_terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    screen, messages = Screen(is_terminal=is_terminal), list[dict[str, str]]()
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello\nagain\n"))
    talk(screen.console, Interrupted(KeyboardInterrupt), messages, {"max_new_tokens": 8, "decoding": None})
    assert [message["content"] for message in messages] == ["hello", "half an", "again", "3: again"]
    assert [line.strip() for line in screen.out.splitlines()] == ["half an", "3: again"]


def test_a_signal_that_ends_the_process_ends_the_chat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello\nagain\n"))
    with pytest.raises(Ended):
        talk(Screen().console, Interrupted(Ended), [], {"max_new_tokens": 8, "decoding": None})
