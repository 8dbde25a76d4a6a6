"""Kills trainings and other commands at file operations, lets them continue, and compares with undisturbed ones.

    python -m tools.attack.kills [--kills 300] [--seed 0] [--only PATTERN] [--power-cuts]

Each training and each command runs once undisturbed, which counts its file operations: files opened for writing,
folders made, renames and removals, in the folder of runs and in the cache. Then it is killed by SIGKILL right before
one of them, as many as `--kills` allows, evenly from the first to the last; a third of the time, what continues it is
killed as well. Afterwards `runs` and `show` must work, `resume` (or, before the first step, the same command) must end
well, and the folder must hold the same files with the same contents, except for times, and nothing else.

`--power-cuts` inspects each training before each of its operations instead: its folder is copied as a power cut may
leave it, with only so much of each file as was flushed to the disk. Each copy must be readable and end as above.

Prints a table, then what went wrong; the exit code is 1 if anything did.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tools.attack.forked import run_command, warm_up
from tools.attack.operations import keep_prefixes, kill_at, list_to
from tools.attack.victims import COMMANDS, RUN, TRAININGS, Command, Training, contents, differences

_PATIENCE = 120.0


@dataclass
class Tally:
    """What became of one victim."""

    name: str
    operations: int
    kills: int = 0
    again: int = 0
    """Of `kills`: so early that there was no run yet, and the command was given again."""
    twice: int = 0
    """Of `kills`: what continued was killed, too."""
    faults: list[str] = field(default_factory=list)


class Attack:
    """Kills in folders below one.

    Args:
        root: an empty folder.
        seed: of the choice of what is killed twice, and when.
    """

    def __init__(self, root: Path, seed: int = 0) -> None:
        self.root = root
        self.files = root / "files"
        self.files.mkdir()
        self.cache = root / "cache"
        os.environ["BURNISH_CACHE"] = str(self.cache)
        self._source = random.Random(seed)
        self._number = 0

    def fresh(self) -> Path:
        """Another empty folder."""
        self._number += 1
        folder = self.root / f"{self._number:04d}"
        folder.mkdir()
        return folder

    def watched(self, folder: Path) -> tuple[Path, ...]:
        """Where operations count."""
        return (folder, self.cache)

    def training(self, victim: Training, kills: int) -> Tally:
        """Kills a training at so many of its operations."""
        words = victim.words(self.files)
        straight, made = self.fresh(), self.fresh()
        first = run_command(words, made, _PATIENCE)  # fills the cache, so that all others do the same
        if first.code:
            raise SystemExit(f"{victim.name}: {first.output}")
        run_command(words, straight, _PATIENCE, lambda: list_to(self.watched(straight), self.root / "operations"))
        tally = Tally(victim.name, len((self.root / "operations").read_text(encoding="utf-8").splitlines()))
        expected = contents(straight / "runs")
        for number in spread(tally.operations, kills):
            folder = self.fresh()
            at = f"{victim.name}, before operation {number}"
            ended = run_command(words, folder, _PATIENCE, lambda n=number, f=folder: kill_at(self.watched(f), n))
            if ended.code == -signal.SIGKILL:
                tally.kills += 1
                tally.faults += [f"{at}: {fault}" for fault in self.go_on(words, folder, tally)]
            elif ended.code:
                tally.faults.append(f"{at}: was not killed, but ended with {ended.code}: {ended.last_line}")
            # else it had fewer operations, because the pace was in the cache by then; the run is compared all the same
            found = contents(folder / "runs") if (folder / "runs").is_dir() else {}
            tally.faults += [f"{at}: {line}" for line in differences(found, expected)]
            tally.faults += [f"{at}: {path} is left over" for path in self.leftovers(folder)]
            shutil.rmtree(folder)
        return tally

    def go_on(self, words: list[str], folder: Path, tally: Tally) -> list[str]:
        """Reads what a killed training left, and trains it to its end; returns what went wrong."""
        faults = [
            f"`{' '.join(looked)}` ended with {ended.code}: {ended.last_line}"
            for looked in (["runs"], ["show", RUN])
            if (ended := run_command(looked, folder, _PATIENCE)).is_unexpected
        ]
        if self._source.random() < 1 / 3:
            at = self._source.randrange(1, 60)
            if run_command(["resume", RUN], folder, _PATIENCE, lambda: kill_at((folder,), at)).code < 0:
                tally.twice += 1
        has_begun = (folder / RUN / "recipe.yaml").is_file()
        resumed = run_command(["resume", RUN], folder, _PATIENCE)
        if resumed.code == 2 and not has_begun:
            tally.again += 1
            resumed = run_command(words, folder, _PATIENCE)
        elif resumed.code == 2 and "is finished" in resumed.output:
            return faults
        if resumed.code:
            faults.append(f"going on ended with {resumed.code}: {' '.join(resumed.output.split())[-300:]}")
        return faults

    def leftovers(self, folder: Path) -> list[str]:
        """What interrupted writes have left in a folder, or in the cache."""
        return [
            str(path.relative_to(self.root)) for place in (folder, self.cache) for path in place.rglob(".writing-*")
        ]

    def command(self, victim: Command, kills: int) -> Tally:
        """Kills a command on a finished run, and gives it again."""
        original = self.fresh()
        words = TRAININGS[0].words(self.files)
        run_command(words, original, _PATIENCE)
        straight = self.fresh()
        shutil.copytree(original, straight, dirs_exist_ok=True)
        done = run_command(
            victim.words, straight, _PATIENCE, lambda: list_to(self.watched(straight), self.root / "operations")
        )
        if done.code:
            raise SystemExit(f"{victim.name}: {done.output}")
        tally = Tally(victim.name, len((self.root / "operations").read_text(encoding="utf-8").splitlines()))
        expected = contents(straight)
        for number in spread(tally.operations, kills):
            folder = self.fresh()
            shutil.copytree(original, folder, dirs_exist_ok=True)
            at = f"{victim.name}, before operation {number}"
            run_command(victim.words, folder, _PATIENCE, lambda n=number, f=folder: kill_at(self.watched(f), n))
            tally.kills += 1
            again = run_command(victim.words, folder, _PATIENCE)
            is_done = again.code == 2 and "already exists" in again.output
            if again.code and not is_done:
                tally.faults.append(f"{at}: again, it ended with {again.code}: {again.last_line}")
            tally.faults += [f"{at}: {line}" for line in differences(contents(folder), expected)]
            tally.faults += [f"{at}: {path} is left over" for path in self.leftovers(folder)]
            shutil.rmtree(folder)
        return tally

    def power_cuts(self, victim: Training) -> Tally:
        """Inspects a training before each operation, as a power cut may leave its folder, and goes on from there."""
        words = victim.words(self.files)
        straight, prefixes = self.fresh(), self.fresh()
        run_command(words, self.fresh(), _PATIENCE)
        run_command(words, straight, _PATIENCE, lambda: keep_prefixes(straight, prefixes))
        expected = contents(straight / "runs")
        tally = Tally(f"{victim.name}, power cuts", len(list(prefixes.glob("*.txt"))))
        for note in sorted(prefixes.glob("*.txt")):
            folder = note.with_suffix("")
            tally.kills += 1
            faults = self.go_on(words, folder, tally)
            faults += differences(contents(folder / "runs") if (folder / "runs").is_dir() else {}, expected)
            faults += [f"{path} is left over" for path in self.leftovers(folder)]
            tally.faults += [f"{note.stem} ({note.read_text(encoding='utf-8')}): {fault}" for fault in faults]
            shutil.rmtree(folder)
        return tally


def spread(operations: int, kills: int) -> list[int]:
    """So many operations, evenly from the first to the last; all of them if there are no more."""
    if kills >= operations:
        return list(range(1, operations + 1))
    return sorted({1 + round(number * (operations - 1) / max(1, kills - 1)) for number in range(kills)})


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--power-cuts", action="store_true")
    options = parser.parse_args()
    warm_up()
    trainings = [victim for victim in TRAININGS if re.search(options.only, victim.name)]
    commands = [victim for victim in COMMANDS if re.search(options.only, victim.name)]
    faults: list[str] = []
    print("| | operations | kills | given again | killed twice | faults |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        attack = Attack(Path(folder), options.seed)
        each = -(-options.kills // max(1, len(trainings) + len(commands)))
        for victim in trainings:
            faults += _shown(attack.power_cuts(victim) if options.power_cuts else attack.training(victim, each))
        for victim in () if options.power_cuts else commands:
            faults += _shown(attack.command(victim, each))
    for fault in faults:
        print(fault)
    sys.exit(1 if faults else 0)


def _shown(tally: Tally) -> list[str]:
    numbers = (tally.operations, tally.kills, tally.again, tally.twice, len(tally.faults))
    print(f"| {tally.name} | {' | '.join(map(str, numbers))} |", flush=True)
    return tally.faults


if __name__ == "__main__":
    main()
