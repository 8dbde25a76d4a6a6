"""Decides whether to compile the blocks of a run: if that saves more time than compiling takes, by a trial on its rows.

A trial changes no weight, has no optimizer and leaves the random state unchanged.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from burnish.data.batching.batches import Batch, BatchPlan
from burnish.engine.random_state import random_tensors, random_values, restore_random
from burnish.engine.step import make_trainer
from burnish.models.compiled_blocks import (
    RAISED,
    Computed,
    agree,
    compile_blocks,
    compute,
    uncompiled,
    undo_compiling,
)
from burnish.plan.known import KnownTrial, find_trial, keep_trial
from burnish.prepare.context import Emit, RunContext
from burnish.runs.events import Note, Resolved, Stage, Warned

LONGEST_TRIAL = 180.0
"""Assumed seconds of a trial before the first one: a safe estimate, since blocks of two kinds, or rows of two shapes,
compile twice."""
WORTH_TRYING = 0.05
"""Maximum share of a run's time for a trial, which may be in vain."""
_PAIRS = 5
_COMPILERS = {"cpu": ("g++", "c++", "clang++", "cl"), "cuda": ("gcc", "cc", "clang", "cl")}
"""Compilers of which torch needs one; on CUDA for Triton's kernel launchers."""


class Choice(NamedTuple):
    """Whether blocks are compiled, and why."""

    is_compiled: bool
    reason: str
    is_reported: bool = True
    """Whether to report it to the user."""
    saved: float = 0.0
    """Share of a step's time saved by compiled blocks."""


def choose_compiling(
    network: Any, context: RunContext, plan: BatchPlan, pace: float | None, seconds: float | None, key: str
) -> tuple[RunContext, float | None]:
    """Resolves `model.compile`, and compiles the blocks if it is true.

    Args:
        network: trainable; its weights and the random state are unchanged.
        context: of the run; everything else in its recipe is resolved.
        plan: of the training rows.
        pace: seconds per token of an uncompiled step; None if it was not measured.
        seconds: duration of the run at this pace; None if unknown.
        key: of the run's pace.

    Returns:
        The run with the option resolved, and its pace.
    """
    wanted = context.recipe.model.compile
    if wanted is False:
        return context, pace
    trial = Trial(network, context, plan)
    obstacle = cannot_compile(context.device.type)
    if wanted is True:
        return _compile_as_asked(trial, obstacle), pace
    if obstacle or context.recipe.model.kernels == "plain" or pace is None or seconds is None:
        choice = Choice(False, obstacle or "not tried", is_reported=False)
    else:
        choice = decide(trial, pace, seconds, key, context.emit)
    if choice.is_reported:
        context.emit(Resolved("model.compile", choice.is_compiled, choice.reason))
    context = context.with_options(model={"compile": choice.is_compiled})
    return context, pace if pace is None else pace * (1 - choice.saved)


def compile_again(network: Any, context: RunContext, plan: BatchPlan) -> None:
    """Compiles the blocks of a resumed run in the same way and order as when the run started.

    Args:
        network: trainable; its weights and the random state are unchanged.
        context: of the run, from its saved recipe.
        plan: of the training rows, with the run's micro-batches.
    """
    if context.recipe.model.compile is not True:
        return
    obstacle = cannot_compile(context.device.type)
    obstacle = obstacle or Trial(network, context, plan).compile()
    if obstacle:
        context.emit(Warned(f"The blocks are no longer compiled: {obstacle}. The last digits of losses may differ."))


def cannot_compile(device: str) -> str:
    """Why torch cannot compile for a kind of device on this machine; empty if nothing is known to be missing.

    Args:
        device: `cpu`, `cuda` …
    """
    if device not in _COMPILERS:
        return f"Burnish does not compile for {device}"
    chosen = os.environ.get("CXX" if device == "cpu" else "CC", "")
    if not any(shutil.which(name) for name in (chosen, *_COMPILERS[device]) if name):
        return f"there is no {'C++' if device == 'cpu' else 'C'} compiler on this machine"
    if device == "cuda" and importlib.util.find_spec("triton") is None:
        return "the package `triton` is not installed"
    return ""


def decide(trial: Trial, pace: float, seconds: float, key: str, emit: Emit) -> Choice:
    """Compiles if it is worthwhile, according to an earlier trial of such steps on this machine, or to one made now.

    Args:
        trial: of the run's network and rows.
        pace: seconds per token of an uncompiled step.
        seconds: duration of the run uncompiled.
        key: of the run's pace.
        emit: receives a note if the trial cannot be cached.
    """
    known = find_trial(key)
    cost = LONGEST_TRIAL if known is None else known.compiling
    if cost > WORTH_TRYING * seconds:
        return Choice(False, f"a run of {_words(seconds)} is too short to try it", is_reported=False)
    when = "measured" if known is None else "measured earlier"
    if known is not None and not pays(known, seconds):
        return Choice(False, f"{when}: {_figures(known, seconds)}")
    if obstacle := trial.compile():
        return Choice(False, obstacle)
    if known is None:
        known = trial.measure(pace)
        if reason := keep_trial(key, known):
            emit(Note(f"The measurement cannot be cached for later runs: {reason}."))
        if not pays(known, seconds):
            trial.undo()
            return Choice(False, f"{when}: {_figures(known, seconds)}")
    return Choice(True, f"{when}: {_figures(known, seconds)}", saved=known.saved)


def pays(trial: KnownTrial, seconds: float) -> bool:
    """Whether compiling saves more than it takes, for a run of this duration uncompiled."""
    return trial.saved * seconds > trial.compiling


def saved_for_sure(plain: Sequence[float], compiled: Sequence[float]) -> float:
    """Seconds saved by a compiled pass, minus the noise: half the interquartile range of the differences.

    Args:
        plain: seconds of uncompiled passes.
        compiled: seconds of compiled passes, each run right after its uncompiled pair.
    """
    differences = sorted(one - two for one, two in zip(plain, compiled, strict=True))
    quarter = len(differences) // 4
    noise = (differences[-1 - quarter] - differences[quarter]) / 2
    return statistics.median(differences) - noise


def _compile_as_asked(trial: Trial, obstacle: str) -> RunContext:
    """Compiles as requested; the recipe records the outcome, so that a resumed run does the same."""
    obstacle = obstacle or trial.compile()
    if not obstacle:
        return trial.context
    trial.context.emit(Warned(f"`model.compile` has no effect: {obstacle}."))
    return trial.context.with_options(model={"compile": False})


def _figures(trial: KnownTrial, seconds: float) -> str:
    percent = 100 * trial.saved
    gain = f"{percent:.0f} % faster" if percent >= 1 else "not measurably faster"
    return f"{gain}, {trial.compiling:.0f} s to compile, {_words(seconds)} to run"


def _words(seconds: float) -> str:
    """`40 seconds`, `35 minutes` or `2.5 hours`."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


@dataclass
class Trial:
    """Forward and backward passes over a run's own rows, compiled and uncompiled."""

    network: Any
    context: RunContext
    plan: BatchPlan
    compiling: float = 0.0
    """Seconds of compiling."""

    def __post_init__(self) -> None:
        context = self.context
        self._trainer = make_trainer(self.network, context.task, context.method, context.recipe, context.device)

    def compile(self) -> str:
        """Compiles the blocks, unless that fails or changes their results.

        Returns:
            Why they were left uncompiled; empty if they are compiled.
        """
        self.context.emit(Stage("compiling the blocks"))
        batches, drawn = kinds_of_batches(self.plan), (random_tensors(), random_values())
        try:
            self._compute(batches, drawn)  # a first pass takes longer than later ones
            begun = time.perf_counter()
            plain = self._compute(batches, drawn)
            between = time.perf_counter()
            compile_blocks(self.network)
            compiled = self._compute(batches, drawn)
            self.compiling = max(0.0, time.perf_counter() - between - (between - begun))
        except RAISED as error:
            obstacle = f"compiling failed ({type(error).__name__})"
        else:
            is_same = agree(plain, compiled, self.context.recipe.model.precision != "fp32")
            obstacle = "" if is_same else "compiling changes the results of this model"
        finally:
            restore_random(*drawn)
        if obstacle:
            self.undo()
        return obstacle

    def undo(self) -> None:
        """Restores the uncompiled blocks, and frees the memory of the last pass."""
        undo_compiling(self.network)
        self._trainer.discard_attempt()

    def measure(self, pace: float) -> KnownTrial:
        """Measures how much faster compiled passes are. The blocks must be compiled, and stay so.

        Args:
            pace: seconds per token of an uncompiled step, with the optimizer's update, which is not compiled.
        """
        batch, drawn = next(self.plan.each_batch()), (random_tensors(), random_values())
        plain, compiled = [], []
        for _ in range(_PAIRS):
            with uncompiled(self.network):
                plain.append(self._seconds(batch))
            compiled.append(self._seconds(batch))
        restore_random(*drawn)
        saved = saved_for_sure(plain, compiled) / (pace * batch.input_ids.numel())
        return KnownTrial(self.compiling, min(saved, 0.99), time.time())

    def _compute(self, batches: Sequence[Batch], drawn: Any) -> Computed:
        restore_random(*drawn)
        try:
            return compute(self.network, lambda: self._trainer.accumulate(batches)[0])
        finally:
            self._trainer.discard_attempt()

    def _seconds(self, batch: Batch) -> float:
        begun = time.perf_counter()
        self._trainer.accumulate([batch])[0].item()
        seconds = time.perf_counter() - begun
        self._trainer.discard_attempt()
        return seconds


def kinds_of_batches(plan: BatchPlan) -> list[Batch]:
    """The largest micro-batch, and one of each kind that torch compiles separately: of one row or more, padded or not.

    Compiled in this order, the code does not depend on which of them comes first in a run.
    """
    usual, found = plan.micro_tokens, {}
    batches = [next(plan.each_batch())]
    plan.micro_tokens = 1  # a row at a time
    batches.append(next(plan.each_batch()))
    plan.micro_tokens = usual
    for batch in (*batches, *plan.step_batches(0)):
        found.setdefault((batch.input_ids.shape[0] > 1, batch.num_tokens < batch.input_ids.numel()), batch)
    return list(found.values())
