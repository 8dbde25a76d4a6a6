"""Whether the blocks of a run are compiled: where a trial on its own rows saves more time than compiling takes.

A trial moves no weight, has no optimizer and leaves the random state as it was.
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
from burnish.plan.time import KnownTrial, find_trial, keep_trial
from burnish.prepare.context import Emit, RunContext
from burnish.runs.events import Note, Resolved, Stage, Warned

LONGEST_TRIAL = 180.0
"""Seconds that a trial is taken to need where none was made here: on the safe side, as blocks of two kinds, or rows of
two shapes, compile twice."""
WORTH_TRYING = 0.05
"""Share of a run's time that a trial, which may come to nothing, may take."""
_PAIRS = 5
_COMPILERS = {"cpu": ("g++", "c++", "clang++", "cl"), "cuda": ("gcc", "cc", "clang", "cl")}
"""Programs that torch's compiler needs, any one of them; on CUDA for what starts Triton's kernels."""


class Choice(NamedTuple):
    """Whether blocks are compiled, and why, in words."""

    is_compiled: bool
    reason: str
    is_told: bool = True
    """Whether anybody wants to know."""
    saved: float = 0.0
    """Share of a step's time that compiled blocks save."""


def choose_compiling(
    network: Any, context: RunContext, plan: BatchPlan, pace: float | None, seconds: float | None, key: str
) -> tuple[RunContext, float | None]:
    """Resolves `model.compile`, and compiles the blocks where it is true.

    Args:
        network: trainable; its weights and the random state are left as they are.
        context: of the run; everything else in its recipe is resolved.
        plan: of the training rows.
        pace: seconds per token of an uncompiled step; None where none was measured.
        seconds: that the run takes at this pace; None where it is not known.
        key: of the run's pace.

    Returns:
        The run as it was decided, and its pace.
    """
    wanted = context.recipe.model.compile
    if wanted is False:
        return context, pace
    trial = Trial(network, context, plan)
    hindrance = cannot_compile(context.device.type)
    if wanted is True:
        return _compile_as_asked(trial, hindrance), pace
    if hindrance or context.recipe.model.kernels == "plain" or pace is None or seconds is None:
        choice = Choice(False, hindrance or "not tried", is_told=False)
    else:
        choice = decide(trial, pace, seconds, key, context.emit)
    if choice.is_told:
        context.emit(Resolved("model.compile", choice.is_compiled, choice.reason))
    context = context.with_options(model={"compile": choice.is_compiled})
    return context, pace if pace is None else pace * (1 - choice.saved)


def compile_again(network: Any, context: RunContext, plan: BatchPlan) -> None:
    """Compiles the blocks of a run that goes on, in the way and the order in which it was done when the run began.

    Args:
        network: trainable; its weights and the random state are left as they are.
        context: of the run, from its saved recipe.
        plan: of the training rows, with the micro-batches that the run has.
    """
    if context.recipe.model.compile is not True:
        return
    hindrance = cannot_compile(context.device.type)
    hindrance = hindrance or Trial(network, context, plan).compile()
    if hindrance:
        context.emit(
            Warned(f"The blocks were compiled until now and are no more: {hindrance}. Last digits may differ.")
        )


def cannot_compile(device: str) -> str:
    """Why torch cannot compile for a kind of device here, in words; empty where nothing is known to be missing.

    Args:
        device: `cpu`, `cuda` …
    """
    if device not in _COMPILERS:
        return f"Burnish compiles nothing for {device}"
    chosen = os.environ.get("CXX" if device == "cpu" else "CC", "")
    if not any(shutil.which(name) for name in (chosen, *_COMPILERS[device]) if name):
        return f"there is no {'C++' if device == 'cpu' else 'C'} compiler here"
    if device == "cuda" and importlib.util.find_spec("triton") is None:
        return "the package `triton` is not installed"
    return ""


def decide(trial: Trial, pace: float, seconds: float, key: str, emit: Emit) -> Choice:
    """Compiles where that pays, as an earlier trial of such steps on this machine told, or else one that is made now.

    Args:
        trial: of the run's network and rows.
        pace: seconds per token of an uncompiled step.
        seconds: that the run takes uncompiled.
        key: of the run's pace.
        emit: told where a trial cannot be kept.
    """
    known = find_trial(key)
    cost = LONGEST_TRIAL if known is None else known.compiling
    if cost > WORTH_TRYING * seconds:
        return Choice(False, f"{_words(seconds)} are too short a run to try it", is_told=False)
    when = "measured" if known is None else "measured earlier"
    if known is not None and not pays(known, seconds):
        return Choice(False, f"{when}: {_figures(known, seconds)}")
    if hindrance := trial.compile():
        return Choice(False, hindrance)
    if known is None:
        known = trial.measure(pace)
        if reason := keep_trial(key, known):
            emit(Note(f"What was measured cannot be kept for later runs: {reason}."))
        if not pays(known, seconds):
            trial.undo()
            return Choice(False, f"{when}: {_figures(known, seconds)}")
    return Choice(True, f"{when}: {_figures(known, seconds)}", saved=known.saved)


def pays(trial: KnownTrial, seconds: float) -> bool:
    """Whether a run that takes so long uncompiled is shorter by more than compiling takes."""
    return trial.saved * seconds > trial.compiling


def saved_for_sure(plain: Sequence[float], compiled: Sequence[float]) -> float:
    """Seconds that a compiled pass saves, less the noise: half the distance between the quartiles of the differences.

    Args:
        plain: seconds of uncompiled passes.
        compiled: those of compiled ones, each taken right after its fellow.
    """
    differences = sorted(one - two for one, two in zip(plain, compiled, strict=True))
    quarter = len(differences) // 4
    noise = (differences[-1 - quarter] - differences[quarter]) / 2
    return statistics.median(differences) - noise


def _compile_as_asked(trial: Trial, hindrance: str) -> RunContext:
    """The saved recipe says what was done, so that a resumed run does the same."""
    hindrance = hindrance or trial.compile()
    if not hindrance:
        return trial.context
    trial.context.emit(Warned(f"`model.compile` has no effect: {hindrance}."))
    return trial.context.with_options(model={"compile": False})


def _figures(trial: KnownTrial, seconds: float) -> str:
    percent = 100 * trial.saved
    gain = f"{percent:.0f} % faster" if percent >= 1 else "no faster for sure"
    return f"{gain}, {trial.compiling:.0f} s to compile, {_words(seconds)} to run"


def _words(seconds: float) -> str:
    """`40 seconds`, `35 minutes` or `2.5 hours`."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


@dataclass
class Trial:
    """Passes forward and backward over a run's own rows, compiled and not."""

    network: Any
    context: RunContext
    plan: BatchPlan
    compiling: float = 0.0
    """Seconds that compiling took."""

    def __post_init__(self) -> None:
        context = self.context
        self._trainer = make_trainer(self.network, context.task, context.method, context.recipe, context.device)

    def compile(self) -> str:
        """Compiles the blocks, unless that fails or they then compute something else.

        Returns:
            Why they were left as they were, in words; empty where they are compiled.
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
            hindrance = f"compiling failed ({type(error).__name__})"
        else:
            is_same = agree(plain, compiled, self.context.recipe.model.precision != "fp32")
            hindrance = "" if is_same else "compiled, this model computes something else"
        finally:
            restore_random(*drawn)
        if hindrance:
            self.undo()
        return hindrance

    def undo(self) -> None:
        """Puts the blocks back as they were, and frees what the last pass held."""
        undo_compiling(self.network)
        self._trainer.discard_attempt()

    def measure(self, pace: float) -> KnownTrial:
        """How much faster compiled passes are. The blocks are compiled before and after it.

        Args:
            pace: seconds per token of an uncompiled step, with the optimizer's move, which stays as it is.
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
    """The largest micro-batch, and others of kinds that torch compiles apart: of one row or more, padded or not.

    Compiled here, in this order, the code does not depend on which of them a run comes upon first.
    """
    usual, found = plan.micro_tokens, {}
    batches = [next(plan.each_batch())]
    plan.micro_tokens = 1  # a row at a time
    batches.append(next(plan.each_batch()))
    plan.micro_tokens = usual
    for batch in (*batches, *plan.step_batches(0)):
        found.setdefault((batch.input_ids.shape[0] > 1, batch.num_tokens < batch.input_ids.numel()), batch)
    return list(found.values())
