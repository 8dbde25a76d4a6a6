"""How soon a mistake is shown: seconds from the command to its end, each in a process of its own.

    python bench/early_words.py [--rounds 3]

The commands are those of `tests/e2e/test_early_words.py`, which checks that none of them imports torch.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import burnish
from tests.e2e.test_early_words import COMMANDS
from tests.tiny_data import write_rows


def main() -> None:
    """Measures and prints them, the slowest first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        make_runs(here)
        taken = {
            case: statistics.median(seconds(words, here) for _ in range(rounds)) for case, words in COMMANDS.items()
        }
    print("| mistake | seconds |\n|---|---|")
    for case, median in sorted(taken.items(), key=lambda one: -one[1]):
        print(f"| {case} | {median:.2f} |")


def make_runs(here: Path) -> None:
    """Rows, and the runs `whole` and `stopped` that the commands name."""
    rows, runs = write_rows(here / "rows.jsonl"), here / "runs"
    for run in ("whole", "stopped"):
        burnish.train(rows, model="seedling", runs=runs, name=run, max_steps=1, set={"evaluate.answers": 0})
    for file in ("evaluation.json", "report.html"):
        (runs / "stopped" / file).unlink()
    (runs / "stopped" / "adapter").rename(here / "unused")


def seconds(words: str, here: Path) -> float:
    """From the command to its end."""
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "burnish", *shlex.split(words)], cwd=here, capture_output=True, check=False
    )
    if done.returncode not in (2, 3):
        raise SystemExit(f"burnish {words} ended with {done.returncode}:\n{done.stderr.decode()}")
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
