"""Progress: a bar on a terminal, plain lines when piped, nothing with `--json`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from burnish.cli import progress as progress_module
from burnish.cli.progress import Progress
from burnish.runs.events import (
    CheckpointSaved,
    DataReady,
    Event,
    MicroBatchHalved,
    ModelReady,
    Note,
    Progressed,
    Resolved,
    Stage,
    StepDone,
    StoppedEarly,
    TrainingStarted,
    Validated,
    Warned,
)
from tests.unit.cli.streams import Screen


def step(number: int, total: int = 4) -> StepDone:
    loss = 3.0 - number / 4
    left = 70.0 * (total - number)
    return StepDone(
        number, total, number / total, loss, 1e-4, 1.0, 500, trained_tokens=400, seconds=0.5, seconds_left=left
    )


EVENTS: list[Event] = [
    Stage("reading data"),
    DataReady("alpaca", "chat", 900, 100, 3, tokens=12345, trained_tokens=6000, packed_rows=40),
    ModelReady("seedling", "lora", "cpu", "fp32", 1_000_000, 25_000, base_bytes=2_000_000, fp32_bytes=4_000_000),
    Resolved("train.learning_rate", 0.0002, "lora"),
    TrainingStarted(0, 4, 3.0),
    step(1),
    Validated(1, 2.5, {"perplexity": 12.18, "accuracy": 0.75}, is_best=True, seconds=0.1),
    CheckpointSaved(1, "checkpoints/step-000001", 1000),
    step(2),
    step(3),
    step(4),
    Note("a note"),
    Warned("a warning"),
    StoppedEarly(4, "no better for 5 validations"),
    Progressed("answers", 2, 8),
    Progressed("answers", 8, 8),
]


def play(screen: Screen, events: Sequence[Event] = EVENTS) -> Screen:
    with Progress(screen.console) as progress:
        for event in events:
            progress(event)
    return screen


def test_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "SECONDS_BETWEEN_LINES", 0.0)
    screen = play(Screen())
    assert screen.out == ""
    assert screen.err.splitlines() == [
        "reading data",
        "data: rows of shape `alpaca`, task `chat`; 900 to train on, 100 held out, 3 left out",
        "tokens: 12,345 an epoch, 6,000 of them trained, in 40 rows",
        "model: seedling on cpu in fp32, 2.0 MB (4.0 MB in fp32); lora trains 25,000 of 1,000,000 parameters (2.50 %)",
        "train.learning_rate: 0.0002 (lora)",
        "step 1/4  loss 2.750  1,000 tokens/s  3 min 30 s left",
        "step 1: held-out loss 2.500, perplexity 12.180, accuracy 0.750, best so far",
        "step 2/4  loss 2.500  1,000 tokens/s  2 min 20 s left",
        "step 3/4  loss 2.250  1,000 tokens/s  1 min 10 s left",
        "step 4/4  loss 2.000  1,000 tokens/s  0 s left",
        "a note",
        "warning: a warning",
        "stopped at step 4: no better for 5 validations",
        "answers 2/8",
        "answers 8/8",
    ]


def test_fast_steps_make_a_short_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "SECONDS_BETWEEN_LINES", 1e9)
    lines = [line for line in play(Screen()).err.splitlines() if re.match(r"step \d/", line)]
    assert [line[:8] for line in lines] == ["step 4/4"]


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setenv("NO_COLOR", "1")
    screen = play(Screen(is_terminal=True), EVENTS[: EVENTS.index(step(4)) + 1])
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.err)
    assert "4/4 loss 2.000  held out 2.500  1,000 tokens/s 0 s left" in text
    assert "\nstep 1: held-out loss 2.500, perplexity 12.180, accuracy 0.750, best so far\n" in text.replace("\r", "\n")
    assert screen.err.rstrip().endswith("\x1b[2K"), "the bar is taken away at the end"


def test_a_bar_counts_other_work_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "140")
    screen = play(Screen(is_terminal=True))
    assert "8/8" in screen.err
    assert "warning: a warning" in screen.err


def test_a_bar_tells_how_long_counted_work_will_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setenv("NO_COLOR", "1")
    clock = iter([100.0, 100.0, 110.0])
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    screen = play(Screen(is_terminal=True), [Progressed("answers", 2, 8), Progressed("answers", 4, 8)])
    assert re.search(r"4/8\s+20 s left", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.err))


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            MicroBatchHalved(3, False, 2048, 1024, 1, 2),
            "Memory ran out in step 3, so a micro-batch now holds at most 1,024 tokens instead of 2,048. The step "
            "keeps its rows and its arithmetic, and takes 2 micro-batches instead of 1.",
        ),
        (
            MicroBatchHalved(0, True, 2000, 500, 3, 12),
            "Memory ran out in judging the held-out rows after step 0, so a micro-batch now holds at most 500 tokens "
            "instead of 2,000. The held-out rows take 12 micro-batches instead of 3.",
        ),
    ],
)
@pytest.mark.parametrize("is_terminal", [True, False])
def test_smaller_micro_batches_are_a_warning(is_terminal: bool, event: MicroBatchHalved, line: str) -> None:
    screen = play(Screen(is_terminal=is_terminal), [event])
    told = " ".join(re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.err).split())
    assert f"warning: {line}" in told


@pytest.mark.parametrize("word", ["--json", "--quiet"])
def test_silence(word: str) -> None:
    screen = play(Screen(word, is_terminal=True))
    assert screen.out == ""
    assert ["a warning" in line for line in screen.err.splitlines()] == ([True] if word == "--quiet" else [])
