"""Takes processes away from trainings that several share, lets them continue, and compares with undisturbed ones.

    python -m tools.attack.ranks [--kills 30] [--seed 0] [--only PATTERN]

Each training runs once undisturbed in two processes. Then `--kills` times, at random moments of it, a random process
gets SIGKILL; what torchrun's agent does then is done, too: the others get SIGTERM, at once or after some seconds.
Besides: all get SIGTERM, or SIGINT as by Ctrl-C; memory runs out in the last one; its disk is full; it has other rows.

Whatever was lost, all must have ended within 30 s, without a traceback; every checkpoint must be complete; and the run
must end with the same files as the undisturbed one, bit for bit, when as many processes continue it, and with the same
weights up to rounding when one or four do.

Prints a table, then what went wrong; the exit code is 1 if anything did.
"""

from __future__ import annotations

import argparse
import errno
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.together import places
from tools.attack.forked import Ended, Running, warm_up
from tools.attack.victims import RUN, Training, contents, differences

WORLD, OTHER_WORLDS = 2, (1, 4)
MOST_SECONDS = 30.0
"""For all processes to end after one of them has."""
CLOSE = 1e-5
"""Relative to the size of the weights."""
_PATIENCE = 300.0
_DELAYS = (0.0, 3.0)
"""Seconds until an agent ends the others; the longer one leaves them time to find out themselves."""
_OTHER_WORLD = 1 / 4
"""How often another number of processes continues a run."""
_STEP = re.compile(r"/step-\d+/")

VICTIMS = {
    "replicas": Training("chat", "lora", "Llama", {"train.max_steps": 12}),
    "sharded": Training("chat", "full", "Llama", {"distributed.strategy": "sharded", "train.max_steps": 12}),
}

Before = Callable[[int], None]
"""What is done in a process of this rank before it begins."""


class Launch:
    """Processes that run a command together, as an agent starts them.

    Args:
        words: of the command.
        folders: the working directory of each.
        before: what is done in each before it begins.
    """

    def __init__(self, words: Sequence[str], folders: Sequence[Path], before: Before = lambda rank: None) -> None:
        variables = list(places(len(folders))) if len(folders) > 1 else [{}]
        self.ranks = [
            Running(lambda rank=rank: self._work(words, variables[rank], rank, before), folder)
            for rank, folder in enumerate(folders)
        ]

    @staticmethod
    def _work(words: Sequence[str], variables: dict[str, str], rank: int, before: Before) -> int:
        os.environ |= variables
        sys.argv = ["burnish", *words]
        before(rank)
        from burnish.cli.main import main

        return main()

    def has_ended(self, seconds: float = 0.0) -> bool:
        """Whether any of them ends within so many seconds."""
        deadline = time.monotonic() + seconds
        while not any(one.has_ended() for one in self.ranks):
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)
        return True

    def send(self, number: signal.Signals, rank: int | None = None) -> None:
        """Sends one of them a signal, or all."""
        for one in self.ranks if rank is None else [self.ranks[rank]]:
            one.send(number)

    def end(self, delay: float = 0.0) -> tuple[list[Ended], float]:
        """Waits until all have ended, as an agent does: when one fails, it ends the others.

        Args:
            delay: seconds until it does.

        Returns:
            How each ended, and how long the last one took after the first.
        """
        self.has_ended(_PATIENCE)
        first = time.monotonic()
        while not all(one.has_ended() for one in self.ranks) and time.monotonic() < first + delay:
            time.sleep(0.01)
        pending = [one for one in self.ranks if not one.has_ended()]
        if len(pending) < len(self.ranks) and not self._is_well(pending):
            self.send(signal.SIGTERM)
        patience = max(0.0, first + MOST_SECONDS - time.monotonic())
        ended = [one.end(patience if pending else 0.0) for one in self.ranks]
        return ended, time.monotonic() - first

    def _is_well(self, pending: Sequence[Running]) -> bool:
        """Whether those that have ended did so without an error; their exit status is left to `end`."""
        over = [one for one in self.ranks if one not in pending]
        return all(one.peek() == 0 for one in over)


@dataclass
class Tally:
    """What became of one kind of loss."""

    name: str
    losses: int = 0
    again: int = 0
    """Of `losses`: so early that there was no run yet, and the command was given again."""
    others: int = 0
    """Of `losses`: continued by another number of processes."""
    slowest: float = 0.0
    """Seconds from the first end to the last."""
    faults: list[str] = field(default_factory=list)


class Attack:
    """Losses of one training.

    Args:
        root: an empty folder.
        victim: what is trained.
        seed: of everything that is drawn.
    """

    def __init__(self, root: Path, victim: Training, seed: int = 0) -> None:
        self.root = root
        self.source = random.Random(seed)
        self._number = 0
        files = root / "files"
        files.mkdir(parents=True)
        os.environ["BURNISH_CACHE"] = str(root / "cache")
        words = victim.words(files)
        self.rows = Path(words[1])
        self.words = words
        self.run_straight()  # fills the cache, so that all others do the same
        begun = time.monotonic()
        straight = self.run_straight()
        self.seconds = time.monotonic() - begun
        self.expected = _by_tensor(contents(straight / "runs"))

    def run_straight(self) -> Path:
        """An undisturbed run."""
        folder = self.fresh()
        ended, _ = Launch(self.words, [folder] * WORLD).end()
        if any(one.code for one in ended):
            raise SystemExit("\n".join(one.output for one in ended))
        return folder

    def fresh(self) -> Path:
        """Another folder."""
        self._number += 1
        folder = self.root / f"{self._number:04d}"
        folder.mkdir()
        return folder

    def kill(self, tally: Tally) -> None:
        """SIGKILL of a random process at a random moment."""
        rank, moment = self.source.randrange(WORLD), self.source.uniform(0.0, self.seconds)
        self._lose(
            tally, f"rank {rank} killed after {moment:.2f} s", lambda one: one.send(signal.SIGKILL, rank), moment
        )

    def stop(self, tally: Tally, number: signal.Signals) -> None:
        """A signal to all processes at a random moment."""
        moment = self.source.uniform(0.0, self.seconds)
        self._lose(tally, f"{number.name} after {moment:.2f} s", lambda launch: launch.send(number), moment, True)

    def _lose(
        self, tally: Tally, what: str, strike: Callable[[Launch], None], moment: float, saves: bool = False
    ) -> None:
        folder = self.fresh()
        launch, begun = Launch(self.words, [folder] * WORLD), time.monotonic()
        if launch.has_ended(moment):  # sooner than the undisturbed one
            launch.end()
            self.seconds = time.monotonic() - begun
            return
        strike(launch)
        ended, seconds = launch.end(self.source.choice(_DELAYS))
        self._account(tally, what, folder, ended, seconds, saves=saves)

    def fail(self, tally: Tally, what: str, before: Before, expected: str) -> None:
        """Something fails in the last process, which must say so.

        Args:
            tally: of this kind.
            what: fails.
            before: lets it fail; called in each process.
            expected: part of the error that is shown, once; empty where the run must go on to its end.
        """
        folder = self.fresh()
        launch = Launch(self.words, [folder] * WORLD, before)
        ended, seconds = launch.end(_DELAYS[1])
        said = "".join(one.output for one in ended)
        if not expected and any(one.code for one in ended):
            tally.faults.append(f"{what}: the run ended with {[one.code for one in ended]}: {ended[0].last_line}")
        if expected and (said.count("error: ") != 1 or expected not in said):
            tally.faults.append(f"{what}: not said once, but {said.count('error: ')} times: {said[-500:]}")
        self._account(tally, what, folder, ended, seconds, is_close=not expected)

    def mislead(self, tally: Tally) -> None:
        """The last process has other rows under the same name."""
        folder, other = self.fresh(), self.fresh()
        content = self.rows.read_bytes()
        (folder / self.rows.name).write_bytes(content)
        (other / self.rows.name).write_bytes(content.replace(b"a", b"o"))
        words = [self.words[0], self.rows.name, *self.words[2:]]
        ended, seconds = Launch(words, [*[folder] * (WORLD - 1), other]).end(_DELAYS[1])
        said = "".join(one.output for one in ended)
        tally.losses += 1
        tally.slowest = max(tally.slowest, seconds)
        tally.faults += _faults_of(ended)
        if (
            said.count("error: ") != 1
            or f"rank {WORLD - 1} of {WORLD} processes has other rows than rank 0" not in said
        ):
            tally.faults.append(f"other rows: not said once: {said[-500:]}")
        if list(folder.glob("runs/*/recipe.yaml")):
            tally.faults.append("other rows: a run has begun")

    def _account(
        self,
        tally: Tally,
        what: str,
        folder: Path,
        ended: Sequence[Ended],
        seconds: float,
        is_close: bool = False,
        saves: bool = False,
    ) -> None:
        """Inspects what is left, and lets it continue.

        Args:
            tally: of this kind.
            what: was lost.
            folder: of the run.
            ended: its processes.
            seconds: that they took to end.
            is_close: whether it was continued in other micro-batches, so that weights differ by rounding.
            saves: whether it has saved where it was stopped, which an undisturbed run does not.
        """
        tally.losses += 1
        tally.slowest = max(tally.slowest, seconds)
        faults = [*_faults_of(ended), *_broken(folder / RUN)]
        world = self.source.choice(OTHER_WORLDS) if self.source.random() < _OTHER_WORLD else WORLD
        tally.others += world != WORLD
        faults += self.go_on(folder, world, tally)
        found = _by_tensor(contents(folder / "runs")) if (folder / "runs").is_dir() else {}
        if world != WORLD or is_close:
            faults += self._far(found)
        else:
            faults += differences(*_without_stops(found, self.expected) if saves else (found, self.expected))
        faults += [f"{path.relative_to(folder)} is left over" for path in folder.rglob(".writing-*")]
        tally.faults += [f"{what}: {fault}" for fault in faults]
        shutil.rmtree(folder)

    def go_on(self, folder: Path, world: int, tally: Tally) -> list[str]:
        """Trains what is left to its end, in so many processes; returns what went wrong."""
        has_begun = (folder / RUN / "recipe.yaml").is_file()
        tally.again += not has_begun
        words = ["resume", RUN] if has_begun else self.words
        ended, _ = Launch(words, [folder] * world).end()
        codes = [one.code for one in ended]
        if any(codes) and "is finished" not in ended[0].output:
            return [f"{world} processes that went on ended with {codes}: {ended[0].output[-500:]}"]
        return []

    def _far(self, found: dict[str, Any]) -> list[str]:
        """Which weights of a result differ by more than rounding."""
        from safetensors.torch import load

        wrong = []
        for name, expected in self.expected.items():
            if name.endswith(".safetensors") and "checkpoints" not in name:
                if name not in found:
                    wrong.append(f"{name} is missing")
                    continue
                mine, theirs = load(found[name]), load(expected)
                off = sum(float((mine[key] - theirs[key]).double().square().sum()) for key in theirs) ** 0.5
                size = sum(float(theirs[key].double().square().sum()) for key in theirs) ** 0.5
                if not off <= CLOSE * size:
                    wrong.append(f"{name} differs by {off / size:.1e} of its size")
        return wrong


def _by_tensor(found: dict[str, Any]) -> dict[str, Any]:
    """Contents with the tensors of sharded checkpoints instead of their files, in which their order is not fixed."""
    from safetensors.torch import load

    kept = {name: content for name, content in found.items() if "/shard-" not in name}
    for name in found.keys() - kept.keys():
        whole = kept.setdefault(f"{name.rpartition('/')[0]}/shards", [])
        whole.extend((key, tensor.tolist()) for key, tensor in load(found[name]).items())
        whole.sort(key=str)
    return kept


def _without_stops(found: dict[str, Any], expected: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both without checkpoints of steps that only one of them has: that of a stop takes the place of an older one.

    The newest is that of the last step, so it is compared.
    """
    steps = [{match[0] for name in one if (match := _STEP.search(name))} for one in (found, expected)]
    last = max(steps[1])
    shared = (steps[0] & steps[1]) | {last}

    def is_kept(name: str) -> bool:
        match = _STEP.search(name)
        return match is None or match[0] in shared

    first, second = ({name: one[name] for name in one if is_kept(name)} for one in (found, expected))
    return first, second


def _faults_of(ended: Sequence[Ended]) -> list[str]:
    """What a user must never see, and processes that did not end."""
    late = [f"rank {rank} did not end within {MOST_SECONDS:g} s" for rank, one in enumerate(ended) if one.is_late]
    words = ("Traceback (most recent call last)", "unexpected failure")
    return late + [
        f"rank {rank} said: {one.output[-700:]}"
        for rank, one in enumerate(ended)
        if any(word in one.output for word in words)
    ]


def _broken(run: Path) -> list[str]:
    """Checkpoints under their final name that are not complete."""
    from burnish.engine.checkpoint import damage_of
    from burnish.runs.folder import checkpoint_folders

    checkpoints = run / "checkpoints"
    found = {path.name: damage_of(path) for path in checkpoint_folders(checkpoints)} if checkpoints.is_dir() else {}
    return [f"the checkpoint {name} is broken: {damage}" for name, damage in found.items() if damage]


def out_of_memory(rank: int) -> None:
    """Lets memory run out in the fifth backward pass of the last process."""
    import torch

    whole, calls = torch.autograd.backward, [0]

    def backward(*given: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == 5:
            raise torch.OutOfMemoryError("made to fail")
        return whole(*given, **named)

    if rank == WORLD - 1:
        torch.autograd.backward = backward


def full_disk(rank: int) -> None:
    """Lets the disk of the last process be full from its second checkpoint on."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter

    write, calls = HuggingFaceStorageWriter.write_data, [0]

    def write_data(self: Any, *given: Any) -> Any:
        calls[0] += 1
        if calls[0] > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, *given)

    if rank == WORLD - 1:
        setattr(HuggingFaceStorageWriter, "write_data", write_data)  # noqa: B010  of another signature


def attack(root: Path, name: str, kills: int, seed: int = 0, stops: int = 3) -> Iterator[Tally]:
    """Everything that is lost of one training.

    Args:
        root: a folder that does not exist yet.
        name: of the training.
        kills: number of kills.
        seed: of everything that is drawn.
        stops: number of each signal that all get.
    """
    attacked = Attack(root, VICTIMS[name], seed)
    tally = Tally(f"{name}: SIGKILL of one")
    for _ in range(3 * kills):
        if tally.losses < kills:
            attacked.kill(tally)
    yield tally
    for number in (signal.SIGTERM, signal.SIGINT):
        tally = Tally(f"{name}: {number.name} to all")
        for _ in range(3 * stops):
            if tally.losses < stops:
                attacked.stop(tally, number)
        yield tally
    sharded = name == "sharded"
    said = f"memory ran out in rank {WORLD - 1} of {WORLD}" if sharded else ""
    failing: list[tuple[str, Before, str]] = [("no memory in one", out_of_memory, said)]
    if sharded:  # of replicas, the first process writes alone, as in one process
        failing.append(("full disk of one", full_disk, f"(rank {WORLD - 1} of {WORLD})"))
    for what, before, expected in failing:
        tally = Tally(f"{name}: {what}")
        attacked.fail(tally, what, before, expected)
        yield tally
    tally = Tally(f"{name}: other rows in one")
    attacked.mislead(tally)
    yield tally


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=30, help="of all trainings together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    warm_up()
    names = [name for name in VICTIMS if re.search(options.only, name)]
    faults: list[str] = []
    print("| | losses | given again | other number | slowest end (s) | faults |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            for tally in attack(Path(folder) / name, name, -(-options.kills // len(names)), options.seed):
                numbers = (tally.losses, tally.again, tally.others, f"{tally.slowest:.1f}", len(tally.faults))
                print(f"| {tally.name} | {' | '.join(map(str, numbers))} |", flush=True)
                faults += tally.faults
    for fault in faults:
        print(fault)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
