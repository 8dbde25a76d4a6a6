"""A second writer beside a run that trains: none gets in, at whatever moment it tries.

    python bench/second_writer.py [ATTEMPTS]

A `burnish train` runs in a process of its own. At random moments `resume`, `train` of the same name, `merge`,
`evaluate`, `report` and `eject` are tried on it. Each has to be refused, with exit code 2 and without a trace; the
run's log has to hold each step once. At last the run is killed, and `resume` has to go on from there.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

COMMANDS = ("resume mine", "train {rows} --name mine", "merge mine", "evaluate mine", "report mine", "eject mine")
_STEPS, _LONGEST_PAUSE = 4_000, 0.8
_OWN = ("metrics.jsonl", "events.jsonl", "checkpoints")
"""What the run itself writes while it trains."""


def main(attempts: int) -> int:
    """Prints a line for each command, and what became of the run; 1 where anything was written."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "rows.jsonl")
        sets = {"train.max_steps": _STEPS, "train.epochs": _STEPS, "train.early_stopping": "false", "save.every": 20}
        sets |= {"evaluate.every": 50, "evaluate.answers": 0}
        options = " ".join(f"--set {option}={value}" for option, value in sets.items())
        trained = start(folder, f"train rows.jsonl --model seedling --method lora --name mine {options}")
        refused, wrong = try_at_random(folder, trained, attempts)
        for command in COMMANDS:
            verb = command.split()[0]
            print(f"{verb:10} {refused[verb]:3} refused")
        wrong += check_log(folder)
        trained.send_signal(signal.SIGKILL)
        trained.wait()
        resumed = start(folder, "resume mine")
        time.sleep(20)
        alive = resumed.poll() is None and "Continuing from step" in (folder / "runs/mine/events.jsonl").read_text()
        resumed.kill()
        resumed.wait()
        wrong += [] if alive else ["the killed run could not be resumed"]
        wrong += check_log(folder)
        print(
            "\n".join(wrong) or f"{sum(refused.values())} of {attempts} refused, nothing written, resumed after a kill"
        )
    return int(bool(wrong))


def try_at_random(folder: Path, trained: subprocess.Popen[bytes], attempts: int) -> tuple[Counter[str], list[str]]:
    """How often each command was refused, and what went wrong."""
    source, run = random.Random(), folder / "runs" / "mine"
    refused: Counter[str] = Counter()
    wrong: list[str] = []
    while not run.is_dir():
        time.sleep(0.01)
    for number in range(attempts):
        time.sleep(source.random() * _LONGEST_PAUSE)
        command = COMMANDS[number % len(COMMANDS)].format(rows="rows.jsonl")
        before = others(run)
        second = start(folder, command)
        said = second.communicate()[1].decode()
        expected = f"process {trained.pid} on " if (run / "recipe.yaml").exists() else ""
        if second.returncode != 2 or expected not in said or others(run) - before - begun(run):
            wrong.append(f"{command}: exit code {second.returncode}, {said.strip()[-300:]}")
        refused[command.split()[0]] += second.returncode == 2
        if trained.poll() is not None:
            return refused, [*wrong, f"the run ended by itself: {trained.communicate()[1].decode()[-500:]}"]
    return refused, wrong


def others(run: Path) -> set[str]:
    """What is in the folder besides what the run itself writes."""
    return {path.name for path in run.iterdir() if path.name not in _OWN and not path.name.startswith(".writing-")}


def begun(run: Path) -> set[str]:
    """What a run writes once, before its first step."""
    return {"recipe.yaml", "manifest.json", "views.json", "rejected.jsonl"} & others(run)


def check_log(folder: Path) -> list[str]:
    """Whether the log holds each step once and in order."""
    lines = (folder / "runs" / "mine" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [line["step"] for line in map(json.loads, lines[:-1]) if line["event"] == "StepDone"]
    print(f"{len(steps)} steps logged")
    return [] if steps == list(range(1, len(steps) + 1)) else ["the log does not hold each step once"]


def write_rows(path: Path) -> None:
    """A hundred questions."""
    rows = [{"prompt": f"How many hats are {n} and {n}?", "completion": f"{2 * n} hats."} for n in range(100)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def start(folder: Path, words: str) -> subprocess.Popen[bytes]:
    """A command in a process of its own."""
    environment = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **os.environ}
    command = [sys.executable, "-m", "burnish", *words.split()]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50))
