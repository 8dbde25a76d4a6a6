"""`burnish reproduce`: runs the first steps of a run again and compares their losses with the logged ones.

Nothing is written into the run folder. Validations are skipped: they do not change the random state, so the training
losses are the same without them.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import torch

from burnish.data.rows.dataset import Records
from burnish.engine.loop import Loop
from burnish.engine.schedule import cycles_of
from burnish.errors import InputError, Interrupted
from burnish.lineage.chain import check_start, check_whole
from burnish.lineage.reproduction import (
    Ingredient,
    Reproduction,
    StepPair,
    check_files,
    check_model,
    check_rounding,
    check_rows,
)
from burnish.lineage.saved_recipe import check_present, open_recipe
from burnish.models.location import locate_model
from burnish.plan.compiling import compile_again
from burnish.prepare.context import encode, open_context
from burnish.prepare.model import rebuild_loop
from burnish.recipe.schema import Recipe
from burnish.runs.description import read_manifest
from burnish.runs.event_log import EventLog, read_events
from burnish.runs.events import Event, Listener, MicroBatchHalved, StepDone
from burnish.runs.folder import RunFolder

FIRST_STEPS = 10
TOLERANCES = {"fp32": 1e-4, "bf16": 0.02, "fp16": 0.01}
"""Relative tolerance of the first `FIRST_STEPS` losses where sums are taken in a different order. Between fast and
plain kernels, which sum in different orders, the losses of ten steps of tiny models differ by at most 1.4e-6 in fp32
and by 0.0005 on average in bf16; larger models sum more."""
_PUT_BACK = "Restore what has changed and run this again, or start a new run: `burnish train {recipe} --name NAME`"
_INVESTIGATE = (
    "If `{recipe}` was edited, restore it. Otherwise the arithmetic here differs from the run's: check it with "
    "`burnish selftest`. (Some GPU kernels sum in no fixed order.)"
)


def reproduce(
    folder: RunFolder,
    steps: int | None = FIRST_STEPS,
    listeners: Iterable[Listener] = (),
    base_model: str | None = None,
) -> Reproduction:
    """Runs the first steps of a run again, from its recipe and its manifest.

    Args:
        folder: of the run; nothing in it is changed.
        steps: how many, at most as many as the run has; None for all.
        listeners: receive every event.
        base_model: folder of its base model, if it has been moved.

    Raises:
        InputError: the run has no step, or its recipe or manifest cannot be read.
        DataError: the data is not where it was.
        ModelError: the base model is missing or cannot be loaded.
        MachineError: the device is missing, or memory does not suffice.
        Interrupted: Ctrl-C or SIGTERM.
    """
    recipe, manifest = open_recipe(folder, base_model), read_manifest(folder)
    check_present(folder, recipe)
    check_whole(folder, "cannot be reproduced from its first step")
    check_start(folder, recipe)
    losses = _logged_losses(folder)[:steps]
    emit = EventLog(None, listeners)
    files = check_files(folder, recipe, manifest)
    rows, records = check_rows(recipe, manifest, emit)
    model = check_model(manifest, locate_model(recipe.model))
    made_from = [*files, rows, model]
    if records is None or any(one.state == "changed" for one in made_from):
        return Reproduction(folder.name, made_from, advice=_PUT_BACK.format(recipe=folder.recipe))
    with _threads(manifest.get("threads")):
        replay = _run_again(folder, recipe, records, manifest, len(losses), listeners)
    made_from += replay.rounding
    rule = _Rule.of(recipe.model.precision, replay, manifest, len(losses))
    pairs = [
        StepPair(step, logged, again, rule.tolerance_at(step))
        for step, (logged, again) in enumerate(zip(losses, replay.losses, strict=True), 1)
    ]
    made = Reproduction(folder.name, made_from, pairs, rule.words)
    return made if made.passed else replace(made, advice=_INVESTIGATE.format(recipe=folder.recipe))


@dataclass(slots=True)
class Replay:
    """The first steps of a run, repeated."""

    losses: list[float]
    rounding: list[Ingredient]
    has_halved: bool
    """Whether memory ran out here but not in the run."""


def _logged_losses(folder: RunFolder) -> list[float]:
    """The losses of the steps, from the first on.

    Raises:
        InputError: there is none.
    """
    by_step = {line["step"]: line["loss"] for line in read_events(folder.metrics) if line["event"] == "StepDone"}
    losses = [by_step[step] for step in takewhile(by_step.__contains__, count(1))]
    if not losses:
        raise InputError(
            f"the run `{folder.name}` has no step to compare",
            f"`{folder.metrics}` contains none.",
            f"Train it first: `burnish resume {folder.path}`",
        )
    return losses


@dataclass(frozen=True, slots=True)
class _Rule:
    """How close the losses must be."""

    tolerance: float
    """Relative, for those of the first `FIRST_STEPS` losses that may differ."""
    exact_until: int
    """The last step whose loss must be bit-identical."""
    words: str

    @classmethod
    def of(cls, precision: str, replay: Replay, manifest: dict[str, Any], steps: int) -> _Rule:
        """Bit-identical as long as nothing that affects rounding differs from the run."""
        others = [one.name for one in replay.rounding if one.state == "other"]
        if replay.has_halved:
            others.append("the micro-batch size (memory ran out)")
        tolerance = TOLERANCES[precision]
        within = (
            f"within {tolerance:g} of each loss for the first {FIRST_STEPS} steps, and proportionally more after that: "
            f"sums in {precision} may be rounded in a different order, and the difference grows with each step."
        )
        if others:
            verb = "differs" if len(others) == 1 else "differ"
            return cls(tolerance, 0, f"Since {', '.join(others)} {verb} from the run, {within}")
        exact_until = min((session["step"] for session in manifest.get("resumed", [])), default=steps)
        words = "Bit for bit: versions, machine, device and threads are the same as in the run."
        if exact_until < steps:
            words += f" From step {exact_until + 1} on, the run continued elsewhere, and there {within}"
        return cls(tolerance, exact_until, words)

    def tolerance_at(self, step: int) -> float:
        """Relative; 0 if the loss must be bit-identical."""
        return 0.0 if step <= self.exact_until else self.tolerance * max(1.0, step / FIRST_STEPS)


def _run_again(
    folder: RunFolder, recipe: Recipe, records: Records, manifest: dict[str, Any], steps: int, listeners: Any
) -> Replay:
    """The first steps, run in the same way as a run resumed from step 0."""
    with tempfile.TemporaryDirectory(prefix="burnish-") as name:
        aside = RunFolder(Path(name) / folder.name)
        aside.checkpoints.mkdir(parents=True)
        watch = _Watch(steps, _micro_tokens(read_events(folder.events)))
        emit = EventLog(None, [*listeners, watch])
        context = encode(open_context(recipe, replace(records, valid=[], test=[]), emit))
        rounding = check_rounding(manifest, context.device)
        loop, batches = rebuild_loop(context.with_options(save={"every": 10**9}), aside)
        loop.progress.cycles = cycles_of(read_events(folder.events))  # without validations, it would add none itself
        watch.follow(loop)
        compile_again(loop.trainer.network, context, batches)
        try:
            loop.run()
        except _Enough:
            pass
        except Interrupted as stopped:
            raise Interrupted(
                f"stopped after {len(watch.losses)} of {steps} steps", "Nothing was written to the run."
            ) from stopped
        return Replay(watch.losses, rounding, watch.has_halved)


class _Enough(Exception):
    """Ends the loop when the requested steps are done."""


class _Watch:
    """Listens to a loop: records its losses, sets the micro-batch sizes of the run, and ends it.

    Args:
        steps: number of steps after which to end the loop.
        micro_tokens: size of the micro-batches from each step on, counted from 1.
    """

    def __init__(self, steps: int, micro_tokens: dict[int, int]) -> None:
        self.losses: list[float] = []
        self.has_halved = False
        self._steps = steps
        self._micro_tokens = micro_tokens
        self._loop: Loop | None = None

    def follow(self, loop: Loop) -> None:
        """Sets the micro-batch size of the first step."""
        self._loop = loop
        self._set(1)

    def __call__(self, event: Event) -> None:
        if isinstance(event, MicroBatchHalved):
            self.has_halved = True
        elif isinstance(event, StepDone):
            self.losses.append(event.loss)
            if event.step == self._steps:
                raise _Enough
            self._set(event.step + 1)

    def _set(self, step: int) -> None:
        if self._loop is not None and not self.has_halved and step in self._micro_tokens:
            self._loop.source.micro_tokens = self._micro_tokens[step]


def _micro_tokens(events: Iterable[dict[str, Any]]) -> dict[int, int]:
    """Size of the micro-batches from each step on, counted from 1; discarded steps do not count."""
    found: dict[int, int] = {}
    for event in events:
        if event["event"] == "TrainingStarted" and event.get("micro_tokens"):
            found = {step: tokens for step, tokens in found.items() if step <= event["step"]}
            found[event["step"] + 1] = event["micro_tokens"]
        elif event["event"] == "MicroBatchHalved" and not event["held_out"]:
            found[event["step"]] = event["tokens_after"]
    return found


@contextlib.contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """Computes with as many threads as the run: the order of sums depends on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
