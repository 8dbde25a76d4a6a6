"""What the loop measures, on a clock that goes on by one second whenever it is read."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from burnish.engine import loop as engine_loop
from burnish.engine.progress import Progress
from burnish.engine.step import StepResult, Trainer
from burnish.runs.events import Event, MicroBatchHalved, StepDone, TrainingStarted, Validated
from tests.unit.engine.test_loop import TOTAL, Listener, NotPlanned, make_loop


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies between two readings takes a second; steps compute nothing."""
    seconds = count(1000.0)
    monkeypatch.setattr(engine_loop, "time", SimpleNamespace(perf_counter=lambda: next(seconds)))
    monkeypatch.setattr(Trainer, "step", lambda *_: StepResult(1.0, 1.0, 10, 5, 1))


def unplanned(tokenizer: Any, folder: Path, result: Listener, first: int = 0, **options: Any) -> Any:
    """A loop whose steps all count the same."""
    loop = make_loop(tokenizer, folder, result, **options)
    loop.source = NotPlanned(loop.source, first)
    return loop


def left(result: Listener) -> list[float]:
    """Seconds that each step reports to be left."""
    return [event.seconds_left for event in result.of(StepDone)]


def test_steps_and_checkpoints_take_a_second_each(tiny_tokenizer: Any, tmp_path: Path) -> None:
    """Saved after 5 and 10 steps: what that takes is known when it has been done once."""
    result = Listener()
    progress = unplanned(tiny_tokenizer, tmp_path, result, losses=[]).run()
    assert left(result) == pytest.approx([9, 8, 7, 6, 5, 4 + 1, 3 + 1, 2 + 1, 1 + 1, 1])
    assert {event.seconds for event in result.of(StepDone)} == {1.0}
    assert progress.seconds == TOTAL


def test_a_validation_takes_a_second_too(tiny_tokenizer: Any, tmp_path: Path) -> None:
    """Of the base, and after 5 and 10 steps, where checkpoints are due anyway."""
    result = Listener()
    progress = unplanned(tiny_tokenizer, tmp_path, result, evaluate_every=5, losses=[3.0, 2.0, 2.5]).run()
    assert left(result) == pytest.approx([11, 10, 9, 8, 7, 4 + 2, 3 + 2, 2 + 2, 1 + 2, 2])
    assert {event.seconds for event in result.of(Validated)} == {1.0}
    assert progress.seconds == TOTAL + 3


def test_better_validations_are_counted_for_the_checkpoints_to_come(tiny_tokenizer: Any, tmp_path: Path) -> None:
    """Validated after 2, 4, 6, 8 and 10 steps, saved after 5 and 10. The first two were the best when step 5 is done,
    so of those after 6 and 8 three quarters are expected to be (Laplace): (2 + 1) / (2 + 2)."""
    result = Listener()
    unplanned(tiny_tokenizer, tmp_path, result, losses=[3.0, 2.0, 1.0, 1.0, 1.0, 1.0]).run()
    assert left(result)[4] == pytest.approx(5 + 3 + (2 + 2 * 3 / 4))


def test_a_resumed_run_takes_a_validation_for_a_third_of_as_many_tokens(tiny_tokenizer: Any, tmp_path: Path) -> None:
    """A step that is not planned counts as one micro-batch, so that the two can be compared."""
    result = Listener()
    loop = unplanned(tiny_tokenizer, tmp_path, result, first=7, evaluate_every=5, losses=[2.0])
    loop.progress = Progress(step=7, validations=[(0, 9.0), (5, 8.0)], best_step=5)
    loop.run()
    validation = loop.held_out.padded_tokens() / loop.source.micro_tokens / 3
    assert left(result) == pytest.approx([2 + validation, 1 + validation, validation])


def test_a_repeated_attempt_counts_for_the_step_and_not_for_its_pace(
    tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third step runs out of memory; repeated with smaller micro-batches, which begin the measure again, it takes
    two passes at fp16's scales, of half a second each. It draws what it drew before."""
    plain = StepResult(1.0, 1.0, 10, 5, 1)
    results = iter([plain, plain, MemoryError(), replace(plain, attempts=2)])
    drawn, discarded = list[float](), list[int]()

    def attempt(*_: Any) -> StepResult:
        drawn.append(torch.rand(1).item())
        found = next(results, plain)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(Trainer, "step", attempt)
    monkeypatch.setattr(Trainer, "discard_attempt", lambda *_: discarded.append(len(drawn)))
    result = Listener()
    loop = unplanned(tiny_tokenizer, tmp_path, result, losses=[])
    before = loop.source.micro_tokens
    loop.run()
    (halved,) = result.of(MicroBatchHalved)
    assert (halved.step, halved.held_out, halved.tokens_after) == (3, False, loop.source.micro_tokens)
    assert loop.progress.micro_tokens == loop.source.micro_tokens < before
    assert [event.seconds for event in result.of(StepDone)] == [1.0, 1.0, 2.0] + [1.0] * (TOTAL - 3)
    assert left(result)[:5] == pytest.approx([9, 8, 7 * 0.5, 6 * (0.5 + 1) / 2, 5])
    assert discarded == [3]
    assert drawn[2] == drawn[3]
    assert len(set(drawn)) == TOTAL


def test_the_heap_is_trimmed_before_the_run_begins(
    tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[Event] = []
    monkeypatch.setattr(engine_loop, "trim_heap", lambda: events.append(TrainingStarted(-1, -1, -1.0)))
    make_loop(tiny_tokenizer, tmp_path, Listener(react=events.append), losses=[]).run()
    assert [event.step for event in events[:2] if isinstance(event, TrainingStarted)] == [-1, 0]
