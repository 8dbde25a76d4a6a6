"""`--processes auto`: how many processes train fastest on this machine, measured on the first steps of the run."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from burnish.errors import BurnishError
from burnish.jobs.together import started, threads_for, words_of
from burnish.recipe.load import LoadedRecipe
from burnish.runs.event_log import read_events
from burnish.runs.events import StepDone
from burnish.runs.paths import RunFolder
from burnish.system.machine import this_machine

_NAME = "trial"
_LEAST_STEPS, _MOST_STEPS, _LEAST_SECONDS = 3, 12, 4.0
"""Steps that are measured after the first one: at least so many, and more of them until they have taken a while."""
_PATIENCE_SECONDS = 900.0
_PAUSE_SECONDS = 0.1
_NEVER = 10**6


@dataclass(frozen=True, slots=True)
class Trial:
    """What a number of processes was measured to take."""

    processes: int
    threads: int
    """Of each."""
    seconds: float | None
    """Of a step, on average; None if it could not train."""
    steps: int
    """From the second one on."""
    why: str = ""
    """It could not."""

    def in_words(self) -> str:
        """As a phrase."""
        many = f"{self.processes} process{'es' if self.processes > 1 else ''}"
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        took = f"{self.seconds:.3g} s a step" if self.seconds is not None else f"not possible ({self.why})"
        return f"{many} with {threads}{' each' if self.processes > 1 else ''}: {took}"


Measure = Callable[[LoadedRecipe, int, int | None], Trial]


def choose_processes(loaded: LoadedRecipe, say: Callable[[str], None], measure: Measure | None = None) -> int:
    """The number of processes with which this machine trains the recipe fastest.

    With GPUs, it is their number. On the processor, one process with all cores is measured beside two with half of them
    each, then four and so on as long as that is faster. All of them compute the same steps.

    Args:
        loaded: what was asked for.
        say: receives what was found, as a sentence.
        measure: instead of `try_processes`.

    Raises:
        BurnishError: one process cannot train the recipe either.
    """
    from burnish.models.device import choose_device

    device = choose_device(loaded.recipe.model.device)
    if device.type != "cpu":
        import torch

        number = torch.cuda.device_count() if device.type == "cuda" and device.index is None else 1
        say(f"`--processes auto` is {number}: one for each GPU.")
        return number
    measure = measure or try_processes
    cores = this_machine().cores
    if cores == 1:
        say("`--processes auto` is 1: there is one core.")
        return 1
    trials = [measure(loaded, 1, None)]
    if trials[0].seconds is None:
        raise BurnishError(
            "the first steps of this run could not be measured",
            trials[0].why,
            "Leave out `--processes auto` to see the error",
        )
    while 2 * trials[-1].processes <= cores:
        trials.append(measure(loaded, 2 * trials[-1].processes, trials[0].steps))
        if not _is_faster(trials[-1], trials[-2]):
            break
    best = min((one for one in trials if one.seconds is not None), key=lambda one: one.seconds or 0.0)
    say(f"{'; '.join(one.in_words() for one in trials)}. So `--processes auto` is {best.processes}.")
    return best.processes


def _is_faster(later: Trial, earlier: Trial) -> bool:
    return later.seconds is not None and earlier.seconds is not None and later.seconds < earlier.seconds


def try_processes(loaded: LoadedRecipe, processes: int, steps: int | None) -> Trial:
    """Trains the first steps of a recipe in a folder that is then removed.

    Args:
        loaded: what was asked for.
        processes: their number.
        steps: that are measured, from the second one on; None for as many as take a few seconds.
    """
    threads = threads_for(processes, this_machine().cores)
    with tempfile.TemporaryDirectory(prefix="burnish-trial-") as name, tempfile.TemporaryFile() as errors:
        folder = RunFolder(Path(name) / _NAME)
        most = 1 + (steps or _MOST_STEPS)
        asked = loaded.recipe.train.max_steps
        changes = {
            "runs": name,
            "name": _NAME,
            "track": [],
            "train.max_steps": most if asked is None else min(most, asked),
            "evaluate.every": _NEVER,
            "save.every": _NEVER,
        }
        words = [*words_of(loaded, Path(name), changes), "--processes", str(processes), "--quiet"]
        with started(words, subprocess.DEVNULL, errors) as child:
            found = _first_steps(folder, child, steps)
        errors.seek(0)
        said = errors.read().decode("utf-8", "replace").splitlines()
    if not found:
        why = next((line.partition("error: ")[2] for line in said if line.startswith("error: ")), "it made no steps")
        return Trial(processes, threads, None, 0, why)
    return Trial(processes, threads, sum(found) / len(found), len(found))


def _first_steps(folder: RunFolder, child: subprocess.Popen[bytes], steps: int | None) -> list[float]:
    """Seconds of the steps after the first one, which allocates and compiles; of the first alone if there is no other.

    Args:
        folder: of the run, which need not exist yet.
        child: that trains it.
        steps: to wait for; None for as many as take a few seconds.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        has_ended = child.poll() is not None
        took = [line["seconds"] for line in read_events(folder.metrics) if line["event"] == StepDone.__name__]
        later = took[1:]
        enough = len(later) >= steps if steps else len(later) >= _LEAST_STEPS and sum(later) >= _LEAST_SECONDS
        if enough or has_ended or time.monotonic() > deadline:
            return later[:steps] or took
        time.sleep(_PAUSE_SECONDS)
