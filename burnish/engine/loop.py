"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from burnish.data.batch_plan import BatchPlan
from burnish.data.batches import Batch
from burnish.engine.checkpoint import checkpoint_path, folder_bytes, prune_checkpoints, save_checkpoint
from burnish.engine.judging import HeldOut
from burnish.engine.optimizer import learning_rate_at, set_learning_rate
from burnish.engine.progress import Progress
from burnish.engine.step import NotFinite, StepResult, Trainer
from burnish.engine.stop_signal import StopSignal
from burnish.errors import BurnishError, Interrupted
from burnish.recipe.schema import Recipe
from burnish.runs.events import CheckpointSaved, Event, StepDone, StoppedEarly, TrainingStarted, Validated


@dataclass(slots=True)
class Loop:
    """Runs a trainer over a batch plan, from wherever `progress` stands to the end.

    Each pass through the body of `run` is one step: train, tell, validate, save. Everything it decides follows from
    the recipe, the step number and `progress`, so a resumed loop takes the same turns as one that never stopped.
    """

    trainer: Trainer
    plan: BatchPlan
    held_out: HeldOut
    recipe: Recipe
    """Fully resolved."""
    total_steps: int
    checkpoints: Path
    emit: Callable[[Event], None]
    progress: Progress

    def run(self) -> Progress:
        """Trains to the end.

        Raises:
            Interrupted: Ctrl-C or SIGTERM; a checkpoint of the last whole step is saved.
            BurnishError: the loss is not finite; the last good checkpoint is kept.
            MachineError: the disk is full; the last good checkpoint is kept.
        """
        epochs = self.total_steps / self.plan.steps_per_epoch
        self.emit(TrainingStarted(self.progress.step, self.total_steps, epochs))
        with StopSignal() as stop:
            if self.progress.step == 0 and self.held_out.batches:
                self._validate()
            while self.progress.step < self.total_steps and not self.progress.stopped:
                self._train_step()
                is_last = self.progress.step == self.total_steps
                is_judged = bool(self.held_out.batches) and self._is_due(self.recipe.evaluate.every, is_last)
                is_best = is_judged and self._validate()
                if self._is_due(self.recipe.save.every, is_last) or is_best or self.progress.stopped or stop.wanted:
                    self._save()
                if stop.wanted and self.progress.step < self.total_steps:
                    raise self._interrupted()
        return self.progress

    def _interrupted(self) -> Interrupted:
        return Interrupted(
            f"stopped after step {self.progress.step} of {self.total_steps}; the state is saved",
            fix=f"Go on with `burnish resume {self.checkpoints.parent}`",
        )

    def _is_due(self, every: int | str, is_last: bool) -> bool:
        return is_last or self.progress.step % int(every) == 0

    def _train_step(self) -> None:
        begun = time.perf_counter()
        step = self.progress.step
        rate = learning_rate_at(step, self.total_steps, self.recipe.train)
        set_learning_rate(self.trainer.optimizer, rate)
        batches = self.plan.step_batches(step)
        try:
            result = self.trainer.step(batches)
        except NotFinite as error:
            raise self._explained(error, batches) from error
        self.progress.step += 1
        self._tell_step(result, rate, time.perf_counter() - begun)

    def _tell_step(self, result: StepResult, rate: float, seconds: float) -> None:
        self.progress.seconds += seconds
        self.emit(
            StepDone(
                step=self.progress.step,
                total_steps=self.total_steps,
                epoch=self.progress.step / self.plan.steps_per_epoch,
                loss=result.loss,
                learning_rate=rate,
                gradient_norm=result.gradient_norm,
                tokens=result.tokens,
                trained_tokens=result.trained_tokens,
                seconds=seconds,
            )
        )

    def _explained(self, error: NotFinite, batches: list[Batch]) -> BurnishError:
        """A loss that is not finite, with the step, the rows and what to do."""
        places = [self.plan.examples[index].place for batch in batches for index in batch.examples]
        named = ", ".join(places[:5]) + (f" and {len(places) - 5} more" if len(places) > 5 else "")
        return BurnishError(
            f"{error.what} at step {self.progress.step + 1}",
            f"The rows of that step: {named}. No weight was changed; earlier checkpoints are kept.",
            f"Lower `train.learning_rate` (now {self.recipe.train.learning_rate}), and look at those rows",
        )

    def _validate(self) -> bool:
        begun = time.perf_counter()
        seen = self.trainer.validate(self.held_out)
        loss = seen.loss
        is_best = self.progress.record(self.progress.step, seen.loss, seen.score)
        seconds = time.perf_counter() - begun
        self.progress.seconds += seconds
        self.emit(Validated(self.progress.step, loss, seen.figures, is_best, seconds))
        patience = self.recipe.train.patience
        is_last = self.progress.step == self.total_steps
        if self.recipe.train.early_stopping and not is_last and self.progress.validations_since_best() >= patience:
            self.progress.stopped = True
            reason = f"the held-out {self.trainer.task.headline} has not improved for {patience} validations"
            self.emit(StoppedEarly(self.progress.step, f"{reason}; best at step {self.progress.best_step}"))
        return is_best

    def _save(self) -> None:
        save_checkpoint(self.checkpoints, self.trainer, self.progress)
        prune_checkpoints(self.checkpoints, self.recipe.save.keep, self.progress.best_step)
        path = checkpoint_path(self.checkpoints, self.progress.step)
        self.emit(CheckpointSaved(self.progress.step, path.name, folder_bytes(path)))
