"""When blocks are compiled: decided from times that were measured, and never where that could cost more than it saves.

The trial's own compiling is replaced: what is timed, what failed and what was computed are given.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from burnish.models.compiled_blocks import Computed
from burnish.plan import compiling
from burnish.plan.compiling import (
    LONGEST_TRIAL,
    WORTH_TRYING,
    cannot_compile,
    choose_compiling,
    compile_again,
    saved_for_sure,
)
from burnish.plan.known import KnownTrial, find_trial, keep_trial
from burnish.prepare.context import RunContext
from burnish.recipe.schema import Recipe
from burnish.runs.events import Event, Resolved, Warned
from tests.tiny_contexts import tiny_context

PACE, KEY = 0.01, "key"
LONG = LONGEST_TRIAL / WORTH_TRYING
"""Seconds of the shortest run in which a trial is made."""


class Given:
    """Stands in for a trial; `tries` counts how often something was compiled."""

    hindrance = ""
    known = KnownTrial(60.0, 0.12, 1e9)
    tries = undone = 0

    def of(self, network: Any, context: RunContext, plan: Any) -> Given:
        """Takes the place of the class."""
        self.context = context
        return self

    def compile(self) -> str:
        """As reported."""
        self.tries += 1
        return self.hindrance

    def measure(self, pace: float) -> KnownTrial:
        """As reported."""
        assert pace == PACE
        return self.known

    def undo(self) -> None:
        """Counts."""
        self.undone += 1


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Given:
    """Of a machine that can compile and has tried nothing yet."""
    given = Given()
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path))
    monkeypatch.setattr(compiling, "Trial", given.of)
    monkeypatch.setattr(compiling, "cannot_compile", lambda device: "")
    return given


def chosen(seconds: float = LONG, pace: float | None = PACE, **model: Any) -> tuple[Any, float | None, list[Event]]:
    """What `model.compile` became, the pace, and what was reported."""
    events: list[Event] = []
    context = tiny_context(Recipe.model_validate({"model": model}), emit=events.append)
    plan: Any = None
    context, made = choose_compiling(None, context, plan, pace, seconds, KEY)
    return context.recipe.model.compile, made, events


def test_where_it_pays_blocks_are_compiled_with_a_reason(trial: Given) -> None:
    is_compiled, pace, result = chosen()
    assert is_compiled is True
    assert pace == pytest.approx(PACE * 0.88)
    assert result == [Resolved("model.compile", True, "measured: 12 % faster, 60 s to compile, 60 minutes to run")]
    assert (trial.tries, trial.undone) == (1, 0)
    assert find_trial(KEY) == trial.known


@pytest.mark.parametrize(
    ("saved", "reason"),
    [
        (60.0 / LONG - 1e-6, "2 % faster, 60 s to compile, 60 minutes to run"),
        (0.0, "not measurably faster, 60 s to compile, 60 minutes to run"),
        (-0.2, "not measurably faster, 60 s to compile, 60 minutes to run"),
    ],
)
def test_where_it_saves_less_than_it_takes_it_is_taken_back(trial: Given, saved: float, reason: str) -> None:
    trial.known = KnownTrial(60.0, saved, 1e9)
    assert chosen() == (False, PACE, [Resolved("model.compile", False, f"measured: {reason}")])
    assert (trial.tries, trial.undone) == (1, 1)
    assert find_trial(KEY) == trial.known


def test_short_runs_try_nothing_and_report_nothing(trial: Given) -> None:
    assert chosen(LONG - 1) == (False, PACE, [])
    assert chosen(pace=None) == (False, None, [])
    assert trial.tries == 0
    assert find_trial(KEY) is None


def test_an_earlier_trial_decides_without_another(trial: Given) -> None:
    keep_trial(KEY, KnownTrial(20.0, 0.1, 1e9))
    enough = 20.0 / WORTH_TRYING
    assert chosen(enough - 1) == (False, PACE, []), "compiling alone would take too much of the run"
    assert trial.tries == 0
    is_compiled, pace, result = chosen(enough)
    assert is_compiled is True
    assert pace == pytest.approx(PACE * 0.9)
    assert result == [
        Resolved("model.compile", True, "measured earlier: 10 % faster, 20 s to compile, 7 minutes to run")
    ]
    assert trial.tries == 1
    keep_trial(KEY, KnownTrial(20.0, 0.01, 1e9))
    assert chosen(enough)[0] is False
    assert trial.tries == 1


def test_what_fails_leaves_the_run_uncompiled(trial: Given) -> None:
    trial.hindrance = "compiling failed (RuntimeError)"
    assert chosen() == (False, PACE, [Resolved("model.compile", False, trial.hindrance)])
    assert find_trial(KEY) is None
    result = [Warned(f"`model.compile` has no effect: {trial.hindrance}.")]
    assert chosen(compile=True) == (False, PACE, result), "what is saved is what was done"


def test_what_was_asked_for_is_done_however_short_the_run(trial: Given) -> None:
    assert chosen(1.0, compile=True) == (True, PACE, [])
    assert chosen(1.0, compile=True, kernels="plain") == (True, PACE, [])
    assert trial.tries == 2
    assert chosen(compile=False) == (False, PACE, [])
    assert chosen(kernels="plain") == (False, PACE, [])
    assert trial.tries == 2


def test_without_a_compiler_only_those_who_asked_hear_of_it(trial: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "cannot_compile", lambda device: f"no compiler for {device}")
    assert chosen() == (False, PACE, [])
    result = [Warned("`model.compile` has no effect: no compiler for cpu.")]
    assert chosen(compile=True) == (False, PACE, result)
    assert trial.tries == 0


def test_a_run_that_goes_on_compiles_again_or_says_that_it_cannot(trial: Given) -> None:
    events: list[Event] = []
    plan: Any = None

    def go_on(is_compiled: bool) -> None:
        recipe = Recipe.model_validate({"model": {"compile": is_compiled}})
        compile_again(None, tiny_context(recipe, emit=events.append), plan)

    go_on(False)
    assert trial.tries == 0
    go_on(True)
    assert (trial.tries, events) == (1, [])
    trial.hindrance = "compiling failed (OSError)"
    go_on(True)
    text = f"The blocks are no longer compiled: {trial.hindrance}. The last digits of losses may differ."
    assert events == [Warned(text)]


def test_compilers_are_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cannot_compile("cpu") == "there is no C++ compiler on this machine"
    assert cannot_compile("mps") == "Burnish does not compile for mps"
    own = tmp_path / "mine"
    own.write_text("")
    own.chmod(0o755)
    monkeypatch.setenv("CXX", str(own))
    assert cannot_compile("cpu") == ""
    monkeypatch.delenv("CXX")
    own.rename(tmp_path / "clang++")
    assert cannot_compile("cpu") == ""
    assert cannot_compile("cuda") == "there is no C compiler on this machine"


@pytest.mark.parametrize(
    ("compiled", "saved"),
    [
        ([0.9, 0.9, 0.9, 0.9, 0.9], 0.1),
        ([0.9, 0.9, 0.9, 0.9, 9.0], 0.1),  # one of them was disturbed
        ([0.8, 0.9, 1.0, 1.1, 1.2], -0.1),  # no faster
        ([0.7, 0.8, 0.9, 1.0, 1.1], 0.0),  # faster by no more than the noise
    ],
)
def test_noise_counts_against_compiling(compiled: list[float], saved: float) -> None:
    assert saved_for_sure([1.0] * 5, compiled) == pytest.approx(saved, abs=1e-9)


@pytest.mark.parametrize(
    ("step", "hindrance"),
    [
        (lambda network: None, ""),
        (lambda network: network.update(loss=3.0), "compiling changes the results of this model"),
        (lambda network: network.update(error=KeyError()), "compiling failed (KeyError)"),
    ],
    ids=["fine", "wrong", "broken"],
)
def test_a_model_that_the_compiler_breaks_is_left_as_it_was(
    step: Callable[[dict[str, Any]], None], hindrance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network: dict[str, Any] = {"loss": 2.0, "error": None}
    undone = []

    def computed(network: dict[str, Any], run: Any) -> Computed:
        torch.rand(3)  # as dropout draws
        if network["error"]:
            raise network["error"]
        return Computed(network["loss"], torch.ones(1), [torch.ones(1)])

    monkeypatch.setattr(compiling, "make_trainer", lambda *arguments: SimpleNamespace(discard_attempt=lambda: None))
    monkeypatch.setattr(compiling, "kinds_of_batches", lambda plan: [])
    monkeypatch.setattr(compiling, "compute", computed)
    monkeypatch.setattr(compiling, "compile_blocks", step)
    monkeypatch.setattr(compiling, "undo_compiling", undone.append)
    plan: Any = None
    before = torch.get_rng_state()
    made = compiling.Trial(network, tiny_context(), plan).compile()
    assert made == hindrance
    assert undone == ([network] if hindrance else [])
    assert torch.equal(torch.get_rng_state(), before)
