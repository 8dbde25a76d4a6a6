"""Progress: a bar on a terminal, plain lines when piped, nothing with `--json`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import pytest

from burnish.cli import progress as progress_module
from burnish.cli.progress import Progress
from burnish.recipe.load import load_recipe
from burnish.runs.events import (
    CheckpointSaved,
    CommandMeasured,
    DataReady,
    Event,
    MemoryBounded,
    MemoryMeasured,
    MemoryPlanned,
    MemoryPredicted,
    MicroBatchHalved,
    ModelReady,
    Note,
    Progressed,
    ResidentMeasured,
    Resolved,
    Stage,
    StepDone,
    StoppedEarly,
    TimeMeasured,
    TimePlanned,
    TrainingStarted,
    Validated,
    Warned,
)
from tests.snapshots import check_snapshot
from tests.unit.cli.streams import Screen

MIB = 2**20


def step(number: int, total: int = 12) -> StepDone:
    loss = 3.0 - number / 12
    left = 70.0 * (total - number)
    return StepDone(number, total, number / 4, loss, 1e-4, 1.0, 500, trained_tokens=400, seconds=0.5, seconds_left=left)


SETUP: list[Event] = [
    Stage("reading data"),
    Note("a note"),
    Resolved("data.shape", "alpaca", "the columns of the rows"),
    Resolved("task", "chat", "the shape of the rows"),
    Resolved("model.name", "seedling", "the bundled model that writes text"),
    Resolved("data.context", 512, "the model's own limit"),
    Resolved("batch.tokens", 2048, "about 40 steps an epoch"),
    Resolved("batch.rows", 2, "as many as fit"),
    Resolved("train.learning_rate", 0.0002, "lora on 1.0 M parameters"),
    Resolved("lora.rank", 16, "900 rows"),
    MemoryPlanned(
        "this machine's memory",
        "lora",
        2,
        512,
        True,
        {"weights": 12 * MIB, "gradients": 0, "activations": 300 * MIB},
        {"Python and libraries": 400 * MIB},
        5 * MIB,
        2000 * MIB,
        "free on this machine",
    ),
    Warned("a warning"),
    DataReady("alpaca", "chat", 900, 100, 3, tokens=12345, trained_tokens=6000, packed_rows=40, test_rows=90),
    ModelReady("seedling", "lora", "cpu", "fp32", 1_000_000, 25_000, base_bytes=2_000_000, fp32_bytes=4_000_000),
    MemoryMeasured(200 * MIB, 210 * MIB),
    Resolved("evaluate.every", 4, "about ten validations"),
    Resolved("name", "rows-seedling-lora", "data, model and method"),
    TimePlanned(185.0, 1234.5, so_far=6.0, evaluation=22.0, others=0.4, longest=555.0),
    MemoryPredicted(620 * MIB, 2400 * MIB),
]
TRAINING: list[Event] = [
    TrainingStarted(0, 12, 3.0),
    Validated(0, 3.5, {"perplexity": 33.1}, is_best=False, seconds=0.1),
    *(step(number) for number in range(1, 5)),
    Validated(4, 2.5, {"perplexity": 12.18, "accuracy": 0.75}, is_best=True, seconds=0.1),
    CheckpointSaved(4, "checkpoints/step-000004", 1000),
    *(step(number) for number in range(5, 13)),
    StoppedEarly(12, "no better for 5 validations"),
    ResidentMeasured(400 * MIB, 500 * MIB),
    TimeMeasured(100.0, 125.0),
    CommandMeasured(213.0, 200.0),
    Progressed("answers", 2, 8),
    Progressed("answers", 8, 8),
]
EVENTS = [*SETUP, *TRAINING]
RECIPE = load_recipe("rows.jsonl", {"method": "lora", "train.epochs": 3.0}, []).recipe


def play(screen: Screen, events: Sequence[Event] = EVENTS, has_recipe: bool = False) -> Screen:
    with Progress(screen.console, RECIPE if has_recipe else None) as progress:
        for event in events:
            progress(event)
    return screen


def without_control(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).replace("\r", "\n")


@pytest.mark.parametrize("words", [(), ("--verbose",)], ids=["default", "verbose"])
def test_plain_lines(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(progress_module, "_SHARE_BETWEEN_LINES", 0.0)
    screen = play(Screen(*words), has_recipe=True)
    assert screen.out == ""
    assert "\x1b" not in screen.err
    check_snapshot(f"unit/cli/test_progress::piped {' '.join(words)}".rstrip(), screen.err)


def test_what_was_chosen_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "80")
    screen = play(Screen(is_terminal=True), [*SETUP, TrainingStarted(4, 12, 3.0)], has_recipe=True)
    assert max(map(len, without_control(screen.err).splitlines())) <= 80
    check_snapshot("unit/cli/test_progress::resumed, 80 columns", without_control(screen.err))


def test_what_is_not_known_is_left_out() -> None:
    shown = play(Screen(), [TrainingStarted(0, 12, 3.0)], has_recipe=True).err
    assert [name in shown for name in ("method", "epochs", "memory", "time", "batch", "run folder")] == [
        True, True, False, False, False, False,
    ]  # fmt: skip


def test_all_parameters_are_100_percent() -> None:
    setup = [
        replace(event, trained_parameters=1_000_000) if isinstance(event, ModelReady) else event for event in SETUP
    ]
    assert "parameters trainable (100 %)" in play(Screen(), [*setup, TrainingStarted(0, 12, 3.0)], has_recipe=True).err


def test_a_run_that_was_not_simulated_shows_its_bound() -> None:
    setup = [
        event for event in SETUP if not isinstance(event, (MemoryPlanned, MemoryMeasured, MemoryPredicted, TimePlanned))
    ]
    bounded = MemoryBounded("this machine's memory", "lora", 2, 256, 300 * MIB, 4000 * MIB, "free on this machine")
    shown = play(Screen(), [*setup, bounded, TrainingStarted(0, 12, 3.0)], has_recipe=True).err
    check_snapshot("unit/cli/test_progress::not simulated", without_control(shown))


def test_a_shortened_context_is_what_is_shown() -> None:
    (planned,) = [event for event in SETUP if isinstance(event, MemoryPlanned)]
    assert planned.context == 512
    events = [Resolved("data.context", 1024, "the model's own limit"), planned, TrainingStarted(0, 12, 3.0)]
    shown = play(Screen(), events, has_recipe=True).err
    assert "512 tokens" in shown
    assert "1,024" not in shown


def test_fast_steps_make_a_short_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "SECONDS_BETWEEN_LINES", 1e9)
    lines = [line for line in play(Screen()).err.splitlines() if re.match(r"step +\d+/", line)]
    assert [line[:10] for line in lines] == ["step 12/12"]


def test_lines_of_a_long_run_come_ever_further_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step a second for 10,000 s: a line every 5 s at first, then one per 5 % of the time so far."""
    clock = iter(range(20_000))
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    shown = play(Screen(), [step(number, 10_000) for number in range(1, 10_001)]).err.splitlines()
    assert 90 <= len(shown) <= 140


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    for columns, has_rate in (("80", False), ("140", True)):
        monkeypatch.setenv("COLUMNS", columns)
        screen = play(Screen(is_terminal=True), EVENTS[: EVENTS.index(step(12)) + 1])
        text = without_control(screen.err)
        assert "loss 2.000  validation 2.500" in text
        assert ("1,000 tokens/s" in text) == has_rate
        assert "12/12" in text and "0 s left" in text
        assert screen.err.rstrip().endswith("\x1b[2K"), "the bar is removed at the end"


def test_a_bar_counts_other_work_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "140")
    screen = play(Screen(is_terminal=True))
    assert "8/8" in screen.err
    assert "warning: a warning" in without_control(screen.err)


def test_a_bar_shows_how_long_counted_work_will_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setenv("NO_COLOR", "1")
    clock = iter([0.0, 100.0, 100.0, 110.0])
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    screen = play(Screen(is_terminal=True), [Progressed("answers", 2, 8), Progressed("answers", 4, 8)])
    assert re.search(r"4/8\s+20 s left", without_control(screen.err))


@pytest.mark.parametrize("is_terminal", [True, False])
def test_warnings_are_counted_and_labelled(is_terminal: bool) -> None:
    screen = Screen(is_terminal=is_terminal)
    with Progress(screen.console) as progress:
        progress(MicroBatchHalved(3, False, 2048, 1024, 1, 2))
        progress(Warned("another"))
    assert progress.num_warnings == 2
    assert without_control(screen.err).count("warning: ") == 2


@pytest.mark.parametrize("word", ["--json", "--quiet"])
def test_silence(word: str) -> None:
    screen = play(Screen(word, is_terminal=True), has_recipe=True)
    assert screen.out == ""
    assert ["a warning" in line for line in screen.err.splitlines()] == ([True] if word == "--quiet" else [])


def test_a_name_in_the_bar_is_neither_markup_nor_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")
    screen = Screen(is_terminal=True)
    with Progress(screen.console) as progress:
        progress(Stage("reading [bold]a[/bold] [/x] \x1b]0;owned\x07\r\n"))
        progress(Progressed("rows of [/x] \x9b2J", 1, 2))
    assert "reading [bold]a[/bold] [/x] \\x1b]0;owned\\x07\\r\\n" in screen.err
    assert "rows of [/x] \\x9b2J" in screen.err
    assert not re.search("\x07|\x9b|\x1b\\]", screen.err)
