"""Commands that several processes run together: started by `--processes`, or by torchrun."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from burnish.cli.options import AUTO_PROCESSES
from burnish.errors import BurnishError, InputError, Interrupted, MachineError, PeerLost
from burnish.jobs.together import threads_for
from burnish.system.hangup import ending_signals
from burnish.system.machine import this_machine
from burnish.system.place import OWN_LAUNCH, Place, place_here
from burnish.visible import parse_json

if TYPE_CHECKING:
    from burnish.cli.console import Console

_TOGETHER = ("train", "resume", "doctor")
"""Commands that several processes may run."""
_STORE_SECONDS = 5.0
"""To wait for the place where the processes meet, which may have ended."""
_OWN_FIRST_SECONDS, _LOST_LAST_SECONDS = 0.5, 2.0
"""How long another rank than 0, and one that has only lost another, leave it to others to report an error."""


def refuse_together(arguments: Sequence[str]) -> None:
    """Refuses a command that several processes cannot run together, where torchrun has started several.

    Raises:
        InputError: naming the command.
    """
    place = place_here()
    if place is None or place.world == 1:
        return
    words = [word for word in arguments if not word.startswith("-")]
    if not words or words[0] not in _TOGETHER:
        name = f"burnish {words[0]}" if words else "burnish"
        raise InputError(
            f"`{name}` runs in one process, and torchrun has started {place.world}",
            "Only `burnish train`, `burnish resume` and `burnish doctor` share their work.",
            f"Start it without torchrun: `{name}`",
        )


def hush_beside_main() -> None:
    """Keeps what libraries log off the terminal in processes beside the main one, where it would appear again."""
    place = place_here()
    if place is not None and not place.is_main:
        logging.disable(logging.WARNING)


def place_for(processes: int | str | None) -> Place | None:
    """The place of this process among several, or None.

    Args:
        processes: the value of `--processes`.

    Raises:
        InputError: torchrun has started another number.
    """
    place = place_here()
    if place is not None and processes not in (None, AUTO_PROCESSES, place.world):
        raise InputError(
            f"`--processes {processes}` does not fit torchrun, which has started {place.world}",
            "Torchrun decides how many there are.",
            "Leave out `--processes`",
        )
    return place


def launch(console: Console, processes: int) -> int:
    """Runs the command in several processes of this machine, by torchrun's own agent; returns its exit code.

    Errors are reported here, once, with the rank of the process that failed.

    Args:
        console: of the command.
        processes: their number.
    """
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    if not console.output.debug:
        _quiet_agent()
    # torchrun, too, leaves it to the environment how many threads a process has; all cores each would be too many
    os.environ.setdefault("OMP_NUM_THREADS", str(threads_for(processes, this_machine().cores)))
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    codes: dict[int, int] = {}
    with tempfile.TemporaryDirectory(prefix="burnish-processes-") as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=f"{OWN_LAUNCH}{uuid.uuid4().hex}",
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=logs),
        )
        try:
            elastic_launch(config, sys.executable)("-m", "burnish", *console.arguments)
        except ChildFailedError as error:
            codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
        except SignalException as error:
            codes = {0: 128 + error.sigval}
        else:
            return 0
        failures = _failures_in(Path(logs))
    error = what_failed(failures, codes, processes)
    console.error(error)
    return error.exit_code


def _quiet_agent() -> None:
    """Keeps the agent's own messages off the terminal: what went wrong is reported in our words."""
    for name in logging.root.manager.loggerDict:
        if name.startswith("torch.distributed.elastic"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True)
class Failure:
    """The error with which a process ended."""

    rank: int
    world: int
    what: str
    why: str
    fix: str
    exit_code: int
    is_lost: bool
    """Whether it only found that another process had ended."""
    timestamp: int
    """When, in seconds since 1970; the name is the agent's."""
    message: str
    """In one text, for the agent's own report."""

    @classmethod
    def of(cls, place: Place, error: BurnishError) -> Failure:
        """The failure of this process."""
        parts = (error.what, error.why, error.fix)
        text = " ".join(filter(None, parts))
        is_lost = isinstance(error, PeerLost)
        return cls(place.rank, place.world, *parts, error.exit_code, is_lost, int(time.time()), text)

    def as_error(self, others: Sequence[Failure]) -> BurnishError:
        """As an error, with its rank where not every process has the same."""
        is_common = sum(other.what == self.what for other in others) == self.world
        shown = what_of(self, "" if is_common else f" (rank {self.rank} of {self.world})")
        shown.exit_code = self.exit_code
        return shown


def what_of(failure: Failure, suffix: str = "") -> BurnishError:
    """The error of a failure, of the kind by which it is shown."""
    kind = Interrupted if failure.exit_code == Interrupted.exit_code else BurnishError
    return kind(failure.what + suffix, failure.why, failure.fix)


def what_failed(failures: Sequence[Failure], codes: Mapping[int, int], world: int) -> BurnishError:
    """The error of the process that failed first, from what all have left.

    Args:
        failures: of the processes that could say why.
        codes: exit codes by rank, as far as the agent has seen them; below 0 for a signal.
        world: number of processes.
    """
    ordered = sorted(failures, key=lambda one: (one.timestamp, one.rank))
    own = [one for one in ordered if not one.is_lost and one.exit_code != Interrupted.exit_code]
    if own:
        return own[0].as_error(ordered)
    lost = [one for one in ordered if one.is_lost]
    silent = {rank: code for rank, code in codes.items() if code < 0}
    interrupted = [one for one in ordered if not one.is_lost]
    if silent and not (interrupted and not lost):
        # the agent ends the others by SIGTERM
        rank, code = min(silent.items(), key=lambda one: (one[1] == -signal.SIGTERM, one[0]))
        fix = next((one.fix for one in (*lost, *interrupted) if one.fix), "Give the command again")
        return BurnishError(
            f"rank {rank} of {world} was ended by {_signal_name(-code)}",
            "The system does that to a process that takes too much memory.",
            fix,
        )
    if found := interrupted or lost:
        return found[0].as_error(ordered)
    ranks = ", ".join(f"rank {rank} with {code}" for rank, code in sorted(codes.items()))
    return BurnishError("the processes ended without saying why", f"Exit codes: {ranks}.", "Add `--debug`")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _failures_in(logs: Path) -> list[Failure]:
    found = []
    for path in sorted(logs.rglob("error.json")):
        with contextlib.suppress(OSError, ValueError, TypeError):
            found.append(Failure(**parse_json(path.read_text(encoding="utf-8"))))
    return found


def is_reported_here(error: BurnishError) -> bool:
    """Whether this process shows an error with which it ends; always, where it was started by itself.

    Of several it is one: under `--processes` the parent, which finds the error in the file that the agent has named;
    under torchrun the first that has an error of its own, and rank 0 where all have the same.
    """
    place = place_here()
    if place is None:
        return True
    with _in_peace():
        if place.error_file:
            with contextlib.suppress(OSError):
                path = Path(place.error_file)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(asdict(Failure.of(place, error))), encoding="utf-8")
        return not place.is_own_launch and (place.world == 1 or _is_first(place, error))


@contextlib.contextmanager
def _in_peace() -> Iterator[None]:
    """Ignores the signal by which an agent ends the others of a failed process: it comes while they report, and end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ending_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_first(place: Place, error: BurnishError) -> bool:
    from burnish.engine.meeting import stores

    is_secondary = isinstance(error, PeerLost | Interrupted)
    time.sleep(_LOST_LAST_SECONDS if is_secondary else 0.0)
    time.sleep(0.0 if place.is_main else _OWN_FIRST_SECONDS)
    try:
        _, store = stores(place, _STORE_SECONDS)
        return store.compare_set("reported", "", str(place.rank)).decode() == str(place.rank)
    except (RuntimeError, MachineError):  # the place where they meet is gone, and with it the others
        return place.is_main
