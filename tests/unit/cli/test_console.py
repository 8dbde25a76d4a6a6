"""The console: which line goes where, and when it is left out."""

from __future__ import annotations

import json
import math
import re

import pytest

from burnish.cli.console import Output
from burnish.cli.table import Facts, Table
from burnish.errors import BurnishError, Interrupted, RecipeError
from tests.unit.cli.streams import Screen

TABLE = Table(["run", "loss"], [["first", "1.5"]])


def fill(screen: Screen) -> Screen:
    console = screen.console
    console.result("result")
    console.say("around")
    console.note("meanwhile")
    console.warn("look")
    console.table(TABLE)
    console.facts(Facts([("model", "seedling")]))
    console.command("burnish runs")
    console.json({"loss": math.inf, "text": "ä", "list": [1.5, math.nan]})
    return screen


def test_plain_lines() -> None:
    screen = fill(Screen())
    assert screen.out == "result\naround\nrun    loss\nfirst  1.5\nmodel  seedling\n  burnish runs\n"
    assert screen.err == "meanwhile\nwarning: look\n"


def test_quiet_leaves_the_bare_result() -> None:
    screen = fill(Screen("runs", "--quiet"))
    assert screen.out == "result\nrun    loss\nfirst  1.5\n"
    assert screen.err == "warning: look\n"


def test_json_is_one_object_and_nothing_else() -> None:
    screen = fill(Screen("runs", "--json"))
    assert json.loads(screen.out) == {
        "loss": None,
        "text": "ä",
        "list": [1.5, None],
        "warnings": ["look"],
        "notes": [],
    }
    assert "ä" in screen.out
    assert screen.err == ""


def test_a_terminal_gets_colors_and_drawn_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    screen = Screen(is_terminal=True)
    screen.console.warn("look [bold]here[/bold]")
    screen.console.table(TABLE)
    assert "\x1b[1;33mwarning:\x1b[0m look [bold]here[/bold]" in screen.err
    assert "─" in screen.out


def test_no_color_means_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    screen = Screen(is_terminal=True)
    screen.console.warn("look")
    screen.console.say("next:", "cyan")
    assert re.sub(r"\x1b\[[01]?m", "", screen.err) == "warning: look\n", "bold is no color"
    assert screen.out == "next:\n"


def test_names_are_printed_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich would replace `:100:` by a picture of it."""
    monkeypatch.setenv("COLUMNS", "80")
    screen = Screen(is_terminal=True)
    screen.console.say("rows.jsonl:100: [bold]no answer[/bold] :fire:")
    assert screen.out == "rows.jsonl:100: [bold]no answer[/bold] :fire:\n"


def test_a_terminal_wraps_prose_between_words_and_never_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    screen = Screen(is_terminal=True)
    screen.console.say("word " * 20)
    screen.console.command("burnish generate " + "run " * 20)
    *prose, command = screen.out.splitlines()
    assert max(map(len, prose)) <= 40
    assert len(command) > 80


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (BurnishError("it broke"), "error: it broke\n"),
        (BurnishError("it broke", "Because.", "Mend it"), "error: it broke\n\nwhy: Because.\nhint: Mend it\n"),
        (BurnishError("it broke", fix="Mend it"), "error: it broke\n\nhint: Mend it\n"),
        (BurnishError("two broke", "- one\n- two"), "error: two broke\n\nwhy:\n- one\n- two\n"),
    ],
)
def test_errors_have_three_short_parts(error: BurnishError, text: str) -> None:
    screen = Screen()
    screen.console.error(error)
    assert (screen.out, screen.err) == ("", text)


def test_errors_as_json() -> None:
    screen = Screen("--json")
    screen.console.error(RecipeError("wrong", "why", "fix"))
    found = json.loads(screen.out)
    assert found["error"] == {"what": "wrong", "why": "why", "fix": "fix", "exit_code": 2}
    assert (found["warnings"], found["notes"]) == ([], [])
    assert screen.err == ""


def test_words_after_two_dashes_are_not_options() -> None:
    assert Output.of(["generate", "run", "--", "--json", "--debug"]) == Output()
    assert Output.of(["runs", "--json", "--debug"]) == Output(json=True, debug=True)


HOSTILE = "\x1b]0;owned\x07 \x1b[2J \x9b31m a\x08b \rc \u202egpj [bold]d[/bold] [/x]"
ACTIVE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


def say_everything(screen: Screen) -> None:
    console = screen.console
    for show in (console.result, console.say, console.note, console.warn, console.command):
        show(HOSTILE)
    console.table(Table([HOSTILE, "b"], [[f"{HOSTILE}\nnew line", "1"]]))
    console.facts(Facts([(f"{HOSTILE}\n", HOSTILE)]))
    console.facts(Facts([(HOSTILE, HOSTILE)], longest=2), is_progress=True)
    console.pieces(HOSTILE, [(HOSTILE, ""), (HOSTILE, "")])
    console.error(RecipeError(HOSTILE, HOSTILE, HOSTILE))
    console.error(Interrupted(HOSTILE))
    console.traceback(ValueError(HOSTILE))


@pytest.mark.parametrize("is_terminal", [False, True])
def test_nothing_that_a_terminal_would_obey_gets_through(is_terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "4000")
    screen = Screen(is_terminal=is_terminal)
    say_everything(screen)
    for shown in (screen.out, screen.err):
        assert not ACTIVE.search(re.sub("\x1b\\[[0-9;]*m", "", shown)), "but what Burnish itself styles"
        assert "\\x1b]0;owned\\x07" in shown
        assert "[bold]d[/bold] [/x]" in shown
    assert "\\nnew line" in screen.out


def test_an_answer_is_data_in_a_pipe_and_text_on_a_terminal() -> None:
    piped, shown = Screen(), Screen(is_terminal=True)
    for screen in (piped, shown):
        for piece in ("one\n\ttwo ", HOSTILE):
            screen.console.stream(piece)
        screen.console.answer(HOSTILE)
    assert piped.out == f"one\n\ttwo {HOSTILE}{HOSTILE}\n"
    assert shown.out.startswith("one\n\ttwo \\x1b]0;owned\\x07")
    assert not re.search("[\x0b-\x1f\x7f-\x9f\u202e]", shown.out)
    silent = Screen("generate", "--json")
    silent.console.answer(HOSTILE)
    assert silent.out == ""


def test_json_escapes_by_its_own_rules() -> None:
    screen = Screen("runs", "--json")
    screen.console.json({HOSTILE: HOSTILE})
    assert json.loads(screen.out)[HOSTILE] == HOSTILE
    assert not ACTIVE.search(screen.out)
