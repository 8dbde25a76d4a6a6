"""The console: which line goes where, and when it is left out."""

from __future__ import annotations

import json
import math
import re

import pytest

from burnish.cli.console import Output
from burnish.cli.table import Facts, Table
from burnish.errors import BurnishError, RecipeError
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
    assert json.loads(screen.out) == {"loss": None, "text": "ä", "list": [1.5, None]}
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
    assert json.loads(screen.out) == {"error": {"what": "wrong", "why": "why", "fix": "fix", "exit_code": 2}}
    assert screen.err == ""


def test_words_after_two_dashes_are_not_options() -> None:
    assert Output.of(["generate", "run", "--", "--json", "--debug"]) == Output()
    assert Output.of(["runs", "--json", "--debug"]) == Output(json=True, debug=True)
