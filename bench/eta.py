"""Accuracy of the predicted time of a run before its first step, and after a tenth of its steps.

    python bench/eta.py [--runs 5] [--steps 60] [--sample orders.jsonl] [--method lora] [--model …]

Trains on a bundled sample, each run with its own seed, and compares the prediction after a tenth of the steps (the time
taken so far and the time left) with what the training loop took, from its start to its last event. Early stopping is
turned off, because it cannot be predicted. On a shared machine, the wall clock depends on other programs; so the same
arithmetic is also fed with the processor time of this process, and held to the processor time of its loop.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import burnish
from burnish.engine.progress import RemainingTime
from burnish.runs.events import CheckpointSaved, Event, StepDone, TimePlanned, TrainingStarted, Validated
from burnish.system.machine import yield_cores

SAMPLES = Path(str(resources.files("burnish"))) / "assets" / "samples"
SHARE = 0.1


@dataclass
class Clock:
    """A listener that notes the events of the loop with the wall's and the processor's seconds."""

    noted: list[tuple[float, float, Event]] = field(default_factory=list)
    planned: float = 0.0
    """Seconds predicted by the plan."""

    def __call__(self, event: Event) -> None:
        if isinstance(event, TimePlanned):
            self.planned = event.seconds
        if isinstance(event, TrainingStarted | StepDone | Validated | CheckpointSaved):
            self.noted.append((time.perf_counter(), time.process_time(), event))

    def errors(self, every: int) -> tuple[float, float, float, float, float]:
        """By wall clock: predicted seconds, actual seconds, relative error; by processor time: relative error; the
        plan's relative error.

        Args:
            every: steps between validations, and between checkpoints.
        """
        (begun, begun_cpu, _), (ended, ended_cpu, _) = self.noted[0], self.noted[-1]
        steps = [event for _, _, event in self.noted if isinstance(event, StepDone)]
        pace = RemainingTime([event.tokens for event in steps], 1, every, every)
        before = begun_cpu
        for now, cpu, event in self.noted[1:]:
            taken, before = cpu - before, cpu
            if isinstance(event, Validated):
                pace.validated(event.step, taken, event.is_best)
            elif isinstance(event, CheckpointSaved):
                pace.saved(taken)
            elif isinstance(event, StepDone):
                pace.step_done(event.step - 1, taken)
                if event.step >= SHARE * len(steps):
                    predicted, predicted_cpu = (
                        now - begun + event.seconds_left,
                        cpu - begun_cpu + pace.seconds_left(event.step),
                    )
                    took, took_cpu = ended - begun, ended_cpu - begun_cpu
                    return predicted, took, predicted / took - 1, predicted_cpu / took_cpu - 1, self.planned / took - 1
        raise ValueError("the run has no steps")


def measure(options: argparse.Namespace, seed: int, runs: Path) -> tuple[float, float, float, float, float]:
    """What `Clock.errors` gives for one run."""
    clock, every = Clock(), max(1, options.steps // 10)
    settings: dict[str, Any] = {
        "seed": seed,
        "train.max_steps": options.steps,
        "train.epochs": 100,
        "train.early_stopping": False,
        "evaluate.every": every,
        "save.every": every,
        "evaluate.answers": 0,
    }
    model = {"model": options.model} if options.model else {}
    sample = SAMPLES / options.sample
    burnish.train(sample, method=options.method, runs=str(runs), set=settings, listeners=[clock], **model)
    return clock.errors(every)


def main() -> None:
    """Prints one line a run, and the median error."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--sample", default="orders.jsonl")
    parser.add_argument("--method", default="lora")
    parser.add_argument("--model", default="")
    options = parser.parse_args()
    yield_cores()
    made = []
    print("seed   plan s   took s    error   by processor time   plan's error   load")
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.runs):
            made.append(measure(options, seed, Path(folder)))
            predicted, took, error, error_cpu, planned = made[-1]
            load = os.getloadavg()[0]
            line = f"{seed:4}  {predicted:7.2f}  {took:7.2f}  {error:+7.1%}  {error_cpu:+18.1%}  {planned:+12.1%}"
            print(f"{line}  {load:5.2f}", flush=True)
    wall, cpu, plan = (statistics.median(abs(one[column]) for one in made) for column in (2, 3, 4))
    print(f"median error {wall:.1%}, by processor time {cpu:.1%}; of the plan {plan:.1%}")


if __name__ == "__main__":
    main()
