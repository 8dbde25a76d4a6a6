"""Which number of processes `--processes auto` is, from what was measured."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from burnish.errors import BurnishError
from burnish.jobs import pace
from burnish.jobs.pace import Trial, choose_processes
from burnish.recipe.load import LoadedRecipe, load_recipe
from burnish.runs.folder import RunFolder


@pytest.fixture
def loaded() -> LoadedRecipe:
    return load_recipe("rows.jsonl", {"model.device": "cpu"}, [])


def choose(
    loaded: LoadedRecipe, cores: int, seconds: dict[int, float | None], monkeypatch: pytest.MonkeyPatch
) -> tuple[int, list[tuple[int, int | None]], str]:
    """The number, what was measured (processes and steps), and what was said."""
    machine = type("Machine", (), {"cores": cores})()
    monkeypatch.setattr(pace, "this_machine", lambda: machine)
    asked: list[tuple[int, int | None]] = []
    said: list[str] = []

    def measure(recipe: LoadedRecipe, processes: int, steps: int | None) -> Trial:
        assert recipe is loaded
        asked.append((processes, steps))
        return Trial(processes, cores // processes, seconds[processes], 5, "" if seconds[processes] else "no memory")

    number = choose_processes(loaded, said.append, measure)
    (text,) = said
    return number, asked, text


@pytest.mark.parametrize(
    ("cores", "seconds", "expected", "measured"),
    [
        (2, {1: 1.0, 2: 0.8}, 2, [1, 2]),
        (2, {1: 0.8, 2: 1.0}, 1, [1, 2]),
        (3, {1: 1.0, 2: 0.8}, 2, [1, 2]),
        (8, {1: 1.0, 2: 0.8, 4: 0.9}, 2, [1, 2, 4]),
        (8, {1: 1.0, 2: 0.8, 4: 0.7, 8: 0.6}, 8, [1, 2, 4, 8]),
        (8, {1: 1.0, 2: 1.1}, 1, [1, 2]),
        (4, {1: 1.0, 2: None}, 1, [1, 2]),
    ],
)
def test_the_fastest_is_taken_and_all_compute_the_same_steps(
    cores: int,
    seconds: dict[int, float | None],
    expected: int,
    measured: list[int],
    loaded: LoadedRecipe,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    number, asked, text = choose(loaded, cores, seconds, monkeypatch)
    assert number == expected
    assert asked == [(one, None if one == 1 else 5) for one in measured]
    assert text.endswith(f"So `--processes auto` is {expected}.")
    assert all(f"{took:g} s a step" in text for took in seconds.values() if took)
    assert ("not possible (no memory)" in text) == (None in seconds.values())


def test_one_core_needs_no_measuring(loaded: LoadedRecipe, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(loaded, 1, {}, monkeypatch) == (1, [], "`--processes auto` is 1: there is one core.")


def test_a_run_that_fails_in_one_process_has_no_number(loaded: LoadedRecipe, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BurnishError, match="could not be measured"):
        choose(loaded, 2, {1: None}, monkeypatch)


class Ended:
    """A child that has ended."""

    def poll(self) -> int:
        return 0


@pytest.mark.parametrize(
    ("took", "steps", "expected"),
    [([9.0, 1.0, 2.0], 2, [1.0, 2.0]), ([9.0, 1.0, 2.0, 3.0], 2, [1.0, 2.0]), ([9.0], None, [9.0]), ([], None, [])],
)
def test_the_first_step_counts_only_where_there_is_no_other(
    took: list[float], steps: int | None, expected: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[dict[str, Any]] = [{"event": "StepDone", "seconds": one} for one in took]
    monkeypatch.setattr(pace, "read_events", lambda path: lines)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it has ended"))
    child: Any = Ended()
    assert pace._first_steps(RunFolder(tmp_path), child, steps) == expected
