"""The training loop."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType

from burnish.data.batching.batches import Batch
from burnish.engine.adaptation import adaptation
from burnish.engine.checkpoint import checkpoint_path, folder_bytes, newest_complete, prune_checkpoints, save_checkpoint
from burnish.engine.process import Process
from burnish.engine.progress import Progress, RemainingTime
from burnish.engine.random_state import random_tensors, random_values, restore_random
from burnish.engine.samples import Samples
from burnish.engine.schedule import last_step, learning_rate_at
from burnish.engine.source import BatchSource, Prefetch
from burnish.engine.step import NotFinite, PartialUpdate, StepResult, Trainer, Validation
from burnish.engine.validation import HeldOut
from burnish.engine.watch import Watch, places
from burnish.errors import BurnishError, Interrupted, MachineError, ModelError
from burnish.models.device import RAISED, RowTooLarge, ran_out
from burnish.models.sharded import is_sharded
from burnish.recipe.schema import Recipe
from burnish.runs.event_log import flush_logs
from burnish.runs.events import (
    Adapted,
    CheckpointSaved,
    Event,
    MicroBatchHalved,
    StepDone,
    StoppedEarly,
    TrainingStarted,
    Validated,
)
from burnish.system.hangup import ending_signals, is_hangup, leave, terminals
from burnish.system.machine import trim_heap


class StopSignal:
    """A context in which the first SIGINT, SIGTERM or SIGHUP only sets `wanted`; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.wanted = False
        self._terminals = terminals()
        self._previous: dict[int, object] = {}

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():  # signal handlers can only be set in the main thread
            for number in ending_signals():
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if is_hangup(number):
            leave(self._terminals)
        if self.wanted and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.wanted = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]


@dataclass(slots=True)
class Loop:
    """Runs a trainer over a source of batches, from the step in `progress` to the end.

    Each pass through the body of `run` is one step: train, report, validate, save. All decisions follow from
    the recipe, the step number and `progress`, so a resumed loop does the same as one that never stopped. A step that
    runs out of memory is repeated with micro-batches of half the size, which is kept from then on.

    Each of several processes runs such a loop over its part of the batches, all at the same step: memory that runs out
    and a signal that stops are known to all, and after a validation they go by the decisions of the main process, which
    alone writes checkpoints.
    """

    trainer: Trainer
    source: BatchSource
    held_out: HeldOut
    recipe: Recipe
    """Fully resolved."""
    planned_steps: int
    """Of the first schedule; `progress.cycles` may add more."""
    checkpoints: Path
    emit: Callable[[Event], None]
    progress: Progress
    samples: Samples | None = None
    pace: RemainingTime = field(init=False)
    watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        self.watch = Watch(self.emit, self.recipe, self.planned_steps, self.trainer.device)

    @property
    def process(self) -> Process:
        """Of those that train together."""
        return self.trainer.process

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run, as far as is known."""
        return last_step(self.planned_steps, self.progress.cycles)

    def run(self) -> Progress:
        """Trains to the end.

        Raises:
            Interrupted: Ctrl-C or SIGTERM; a checkpoint of the last complete step is saved.
            BurnishError: the loss is not finite, and the last good checkpoint is kept; or no validation's was.
            MachineError: the disk is full, or a single row does not fit into memory; the last good state is kept.
        """
        trim_heap()  # of what simulating and confirming the plan has freed
        self._restore_limits()
        epochs = self.total_steps / self.source.steps_per_epoch
        self.watch(TrainingStarted(self.progress.step, self.total_steps, epochs, self.source.micro_tokens))
        with StopSignal() as stop, Prefetch(self.source, lambda: self.total_steps, self.trainer.device) as prefetch:
            if self._needs_validation() and (self._validate() or self.progress.stopped):
                self._save()
            while self.progress.step < self.total_steps and not self.progress.stopped:
                self._train_step(prefetch)
                is_last = self.progress.step == self.total_steps
                is_validated = bool(self.held_out.batches) and self._is_due(self.recipe.evaluate.every, is_last)
                is_best = is_validated and self._validate()
                is_stop_wanted = self.process.any(stop.wanted)  # in any process: all stop after the same step
                if self._is_due(self.recipe.save.every, is_last) or is_best or self.progress.stopped or is_stop_wanted:
                    self._save()
                if is_stop_wanted and self.progress.step < self.total_steps:
                    raise self._interrupted()
        self.progress.check_kept(self.recipe.train.learning_rate)
        return self.progress

    def _restore_limits(self) -> None:
        """Restores reduced micro-batch sizes, and plans the time of all steps."""
        if self.progress.micro_tokens:
            self.source.micro_tokens = self.progress.micro_tokens
        if self.progress.held_out_tokens:
            self.held_out.limit(self.progress.held_out_tokens)
        held_out_tokens = self.held_out.padded_tokens()
        evaluate, save = int(self.recipe.evaluate.every), int(self.recipe.save.every)
        self.pace = RemainingTime(self._step_tokens(), held_out_tokens, evaluate, save)

    def _step_tokens(self) -> list[int]:
        """Tokens of each step; each counts as a micro-batch if the batches are not planned."""
        if not self.source.is_planned:
            return [self.source.micro_tokens] * self.total_steps
        return [self.source.padded_tokens(step) for step in range(self.total_steps)]

    def _needs_validation(self) -> bool:
        """Whether the current step still needs its validation: the base model, or a step saved before it was
        validated."""
        step = self.progress.step
        is_due = self._is_due(self.recipe.evaluate.every, step == self.total_steps)  # 0 is a multiple of everything
        is_done = self.progress.stopped or step in dict(self.progress.validations)
        return bool(self.held_out.batches) and is_due and not is_done

    def _interrupted(self) -> Interrupted:
        self.process.any(False)  # no process leaves before the main one has saved
        return Interrupted(
            f"stopped after step {self.progress.step} of {self.total_steps}; the state is saved",
            fix=f"Continue with `burnish resume {self.checkpoints.parent}`",
        )

    def _is_due(self, every: int | str, is_last: bool) -> bool:
        return is_last or self.progress.step % int(every) == 0

    def _train_step(self, prefetch: Prefetch) -> None:
        started = attempted = time.perf_counter()
        step = self.progress.step
        recipe = self.recipe
        rate = learning_rate_at(step, self.planned_steps, recipe.train, self.progress.cycles, recipe.optimization)
        while (done := self._attempt(step, rate, prefetch)) is None:
            self._halve(step)
            attempted = time.perf_counter()
        self.progress.step += 1
        ended = time.perf_counter()
        self.pace.step_done(step, (ended - attempted) / done[0].attempts)
        self._report_step(*done, rate, ended - started)

    def _attempt(self, step: int, rate: float, prefetch: Prefetch) -> tuple[StepResult, list[Batch]] | None:
        """One step; None if it ran out of memory, with everything as it was before."""
        generators = random_tensors(), random_values()
        batches: list[Batch] = []
        try:
            batches = self._take(prefetch, step)
            return self.trainer.step(batches, rate), batches
        except NotFinite as error:
            raise self._not_finite(error, self._examples_of(step, batches)) from error
        except PartialUpdate as error:
            raise self._partial_update(error) from error
        except RAISED as error:
            if not ran_out(error):
                raise
        # outside of the except block, because its traceback keeps the step's tensors alive
        self.trainer.discard_attempt()
        restore_random(*generators)
        return None

    def _take(self, prefetch: Prefetch, step: int) -> list[Batch]:
        """The batches of a step.

        Raises:
            MemoryError, RuntimeError: memory ran out, in any of the processes.
        """
        if self.process.is_alone:
            return prefetch.take(step)
        batches = None
        try:
            batches = prefetch.take(step)
        except RAISED as error:
            if not ran_out(error):
                raise
        if self.process.any(batches is None) or batches is None:
            raise MemoryError("memory ran out in one of the processes")
        return batches

    def _examples_of(self, step: int, batches: list[Batch]) -> list[int]:
        """Indices of the examples of a step, those of other processes included."""
        if self.process.is_alone:
            return [index for batch in batches for index in batch.examples]
        return self.source.step_examples(step)

    def _halve(self, step: int) -> None:
        """Halves the micro-batches after a step that ran out of memory."""
        before = self.source.micro_batch_sizes(step)
        if not self.source.halve_micro_batch(step):
            raise self._row_too_large("training", max(width for _, width in before))
        self.progress.micro_tokens = self.source.micro_tokens
        self.pace.replan(self._step_tokens())
        self._report_halved(False, before, self.source.micro_batch_sizes(step), self.source.micro_tokens)

    def _report_halved(
        self, held_out: bool, before: list[tuple[int, int]], after: list[tuple[int, int]], tokens: int
    ) -> None:
        step = self.progress.step if held_out else self.progress.step + 1
        largest = max(rows * width for rows, width in before)
        self.emit(MicroBatchHalved(step, held_out, largest, tokens, len(before), len(after)))

    def _partial_update(self, error: PartialUpdate) -> MachineError:
        newest = newest_complete(self.checkpoints)
        return MachineError(
            f"{error.what} in step {self.progress.step + 1}",
            "Some weights may be updated and others not, so the step cannot be repeated. "
            + (f"The checkpoint `{newest.name}` is complete." if newest else "There is no checkpoint yet."),
            f"Free some memory, then continue with `burnish resume {self.checkpoints.parent}`",
        )

    def _row_too_large(self, kind: str, tokens: int) -> MachineError:
        """The error for a single row that does not fit into memory; the state before it is saved."""
        options = [f"Shorten `data.context` (now {self.recipe.data.context})"]
        if kind == "training" and self.recipe.train.gradient_checkpointing is not True:
            options.append("set `train.gradient_checkpointing=true`")
        if all(weight.is_floating_point() for weight in self.trainer.network.parameters()):
            options.append("use `--method qlora`")
        resumed = f"; or free some memory and continue with `burnish resume {self.checkpoints.parent}`"
        return MachineError(
            f"one {kind} row of {tokens:,} tokens does not fit into memory",
            f"Memory ran out after step {self.progress.step} with one row at a time. {self._keep_state()}",
            f"{' or '.join(options)}, in a new run" + (resumed if self.progress.step else ""),
        )

    def _keep_state(self) -> str:
        """Saves the last complete step if it is not saved yet; returns a sentence about the newest checkpoint."""
        step = self.progress.step
        if step and not checkpoint_path(self.checkpoints, step).is_dir():
            try:
                self._save()
            except RAISED as error:
                if not ran_out(error):
                    raise
        self.process.any(False)  # no process leaves before the main one has saved
        newest = newest_complete(self.checkpoints)
        return f"The checkpoint `{newest.name}` is complete." if newest else "No step has been saved yet."

    def _report_step(self, result: StepResult, batches: list[Batch], rate: float, seconds: float) -> None:
        self.progress.seconds += seconds
        done = StepDone(
            step=self.progress.step,
            total_steps=self.total_steps,
            epoch=self.progress.step / self.source.steps_per_epoch,
            loss=result.loss,
            learning_rate=rate,
            gradient_norm=result.gradient_norm,
            tokens=result.tokens,
            trained_tokens=result.trained_tokens,
            seconds=seconds,
            seconds_left=self.pace.seconds_left(self.progress.step),
        )
        self.watch.step_done(done, self._examples_of(done.step - 1, batches), self.source.examples)

    def _not_finite(self, error: NotFinite, examples: list[int]) -> BurnishError:
        """The error for a loss that is not finite: the step, its rows and what to do."""
        before = [loss for step, loss in self.progress.validations if step == 0]
        if self.progress.step == 0 and before and not math.isfinite(before[0]):
            return ModelError(
                f"the loss of the base model is {before[0]}, before any training",
                "Its weights or its config are damaged, or its numbers do not fit into the precision.",
                "Download the model again, or try `--set model.precision=fp32`",
            )
        rows = places(examples, self.source.examples)
        listed = ", ".join(rows[:5]) + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")
        self.watch.not_finite(self.progress.step + 1, error.what)
        return BurnishError(
            f"{error.what} at step {self.progress.step + 1}",
            f"Rows of that step: {listed}. No weight was changed; earlier checkpoints are kept.",
            f"Lower `train.learning_rate` (now {self.recipe.train.learning_rate}), and check those rows",
        )

    def _validate(self) -> bool:
        """Validates, and decides what follows from it; returns whether the weights are the best."""
        started = time.perf_counter()
        validation, network = self._evaluate(), self.trainer.network
        seconds, step = self.progress.seconds, self.progress.step
        sampled = self.samples and self.samples.take(network, validation.evaluated, step, seconds)
        is_best, self.progress = self.process.decide(lambda: (self._decide(validation, started), self.progress))
        if not self.process.is_main:
            self.pace.replan(self._step_tokens())  # the run may have become longer
        if sampled:
            self.emit(sampled)
        return is_best

    def _decide(self, validation: Validation, started: float) -> bool:
        changes = self.progress.changes(validation.measures[0], validation.chance)
        is_best = self.progress.record(self.progress.step, validation.loss, validation.score, validation.measures)
        seconds = time.perf_counter() - started
        self.progress.seconds += seconds
        self.pace.validated(self.progress.step, seconds, is_best)
        main = validation.measures[-1]
        last = (is_best, seconds, changes, main.name, main.is_share, validation.sources)
        event = Validated(self.progress.step, validation.loss, validation.figures, *last)
        adapted = self._adapt(event)
        self.watch(event)
        if adapted is not None:
            self.emit(adapted)
        patience = self.recipe.train.patience
        is_last = self.progress.step == self.total_steps
        if self.recipe.train.early_stopping and not is_last and self.progress.worse >= patience:
            self.progress.stopped = True
            metric, highest = self.trainer.task.scorer.headline, self.progress.highest_step
            reason = f"the validation {metric} has been worse than at step {highest} for {patience} validations"
            self.watch(StoppedEarly(self.progress.step, f"{reason}; step {self.progress.best_step} is kept"))
        return is_best

    def _adapt(self, validated: Validated) -> Adapted | None:
        """Begins another schedule after a validation, if that is worthwhile."""
        planned, cycles = self.planned_steps, self.progress.cycles
        found = adaptation(validated, self.watch.diagnosis, self.recipe, planned, cycles)
        if found is None:
            return None
        cycles.append(found.cycle)
        self.progress.worse = 0  # with another rate, early stopping counts again
        self.watch.diagnosis.extend(self.total_steps)
        self.pace.replan(self._step_tokens())
        rate = float(self.recipe.train.learning_rate) * found.cycle.factor
        return Adapted(validated.step, self.total_steps, found.cycle.factor, rate, found.reason)

    def _evaluate(self) -> Validation:
        """Evaluates the held-out rows; if memory runs out, this and all later validations use smaller batches."""
        plan = self.held_out.plan
        before = plan.micro_batch_sizes(None) if plan else []
        tokens = plan.micro_tokens if plan else None
        try:
            validation = self.trainer.validate(self.held_out)
        except RowTooLarge as error:
            raise self._row_too_large("held-out", error.tokens) from error
        if plan and plan.micro_tokens != tokens:
            self.progress.held_out_tokens = plan.micro_tokens
            self._report_halved(True, before, plan.micro_batch_sizes(None), plan.micro_tokens)
        return validation

    def _save(self) -> None:
        is_main = self.process.is_main
        started = time.perf_counter()
        if is_main:
            flush_logs(self.checkpoints.parent)
        if is_main or is_sharded(self.trainer.network):
            save_checkpoint(self.checkpoints, self.trainer, self.progress)
        if not is_main:
            return
        prune_checkpoints(self.checkpoints, self.recipe.save.keep, self.progress.best_step)
        path = checkpoint_path(self.checkpoints, self.progress.step)
        self.pace.saved(time.perf_counter() - started)
        self.emit(CheckpointSaved(self.progress.step, path.name, folder_bytes(path)))
