"""Trains two steps on a file that is larger than the memory it may take, and measures that memory.

    python bench/large.py [--gigabytes 3] [--shape text|chat] [--folder FOLDER] [--write]

Writes a file of made-up rows, no two alike, of some 2,500 bytes each; trains two steps of LoRA on it with the bundled
model, as a command in a process of its own with `data.keep_in_memory=false`; stops it after the first step, resumes it,
and compares the weights with those of the run that was not stopped. The figures are the largest resident memory of any
of these processes, as the system counts it, the most that the cache took on the disk, and the time. Everything is in a
temporary folder (in FOLDER, if given) that is removed: it takes about five times the size of the file. `--write` puts
the table into docs/performance.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy
from page import DOCS, write_between

from burnish.system.machine import this_machine

_COMMON = (
    "the of and a to in is was for on as with by he that at from it his an which had were are this also be but first "
    "one has their not after two or who its other new been they more when some time there many would into only year "
    "over such between city during world about later used state early three known while most under where made up years "
    "people river season company family government against because number before water school music second church "
    "general history university north south line part album station building system several through league island "
    "harbour lantern keeper meadow orchard mountain winter summer railway bridge village council theatre journal"
)
WORDS = tuple(_COMMON.split())
ROW_BYTES = 2_500
_ROWS_AT_ONCE = 2_000
_ASK = 0.05
"""Seconds until the disk is asked again."""


def write_rows(file: Path, size: int, shape: str) -> int:
    """Rows of random words until the file has so many bytes; their number."""
    source, number = numpy.random.default_rng(0), 0
    words = numpy.array(WORDS)
    mean = sum(map(len, WORDS)) / len(WORDS) + 1
    with file.open("w", encoding="utf-8") as out:
        while out.tell() < size:
            for _ in range(_ROWS_AT_ONCE):
                length = int(source.lognormal(numpy.log(ROW_BYTES / mean) - 0.08, 0.4))
                text = " ".join(words[source.integers(0, len(words), length)].tolist())
                number += 1
                row: dict[str, str] = {"text": f"{number}: {text}."}
                if shape == "chat":
                    row = {"prompt": f"{number}: {text[:200]}?", "completion": f"{text[200:]}."}
                out.write(json.dumps(row) + "\n")
    return number


def run(arguments: list[str], cache: Path, is_stopped: bool = False) -> dict[str, Any]:
    """One command: its seconds, the peak of its memory, and the most that its cache took on the disk.

    Args:
        arguments: of `burnish`.
        cache: folder of the cache.
        is_stopped: whether it gets a SIGINT after its first step.
    """
    before = shutil.disk_usage(cache).free
    begun, used = time.perf_counter(), 0
    command = [sys.executable, "-m", "burnish", *arguments, "--json-lines"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "BURNISH_CACHE": str(cache)}
    )
    events: list[dict[str, Any]] = []

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            events.append(json.loads(line))
            if is_stopped and events[-1].get("event") == "StepDone":
                process.send_signal(signal.SIGINT)

    listener = threading.Thread(target=listen)
    listener.start()
    peak = 0
    while (status := process.poll()) is None:
        # asked again and again, since the training itself restarts the system's count of the peak
        peak = max(peak, _peak_of(process.pid))
        used = max(used, before - shutil.disk_usage(cache).free)
        time.sleep(_ASK)
    listener.join()
    if status != (130 if is_stopped else 0):
        raise SystemExit(f"`{' '.join(command)}` ended with {status}: {events[-3:]}")
    found = {"seconds": time.perf_counter() - begun, "peak": peak, "disk": used}
    print(json.dumps(found), file=sys.stderr, flush=True)
    return found | {"data": next((one for one in events if one.get("event") == "DataReady"), {})}


def _peak_of(process: int) -> int:
    """Bytes of the largest resident memory of a process, by Linux; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def weights_of(run_folder: Path) -> str:
    """SHA-256 of the trained weights."""
    return hashlib.sha256((run_folder / "adapter" / "adapter_model.safetensors").read_bytes()).hexdigest()


def measure(options: argparse.Namespace, folder: Path) -> str:
    """The table."""
    file, cache, runs = folder / "rows.jsonl", folder / "cache", folder / "runs"
    cache.mkdir()
    rows = write_rows(file, int(options.gigabytes * 1e9), options.shape)
    settings = [
        *("data.keep_in_memory=false", "train.max_steps=2", "evaluate.every=2", "evaluate.answers=0"),
        *("evaluate.general=none", "save.every=1", "data.validation_rows=50", "data.test_rows=50"),
    ]
    given = [str(file), "--model", "seedling", "--method", "lora", "--runs", str(runs)]
    given += [part for setting in settings for part in ("--set", setting)]
    found = {
        "two steps, straight through": run(["train", *given, "--name", "straight"], cache),
        "stopped after the first step; tokens from the cache": run(
            ["train", *given, "--name", "stopped"], cache, is_stopped=True
        ),
        "resumed": run(["resume", "stopped", "--runs", str(runs)], cache),
    }
    if weights_of(runs / "straight") != weights_of(runs / "stopped"):
        raise SystemExit("the resumed run has other weights than the one that was not stopped")
    data, machine = found["two steps, straight through"]["data"], this_machine()
    size = file.stat().st_size / 1e9
    lines = [
        f"| {size:.2f} GB of JSON Lines ({options.shape}), {rows:,} rows | time | peak memory | disk taken |",
        "|---|---:|---:|---:|",
        *(
            f"| {name} | {one['seconds'] / 60:.1f} min | {one['peak'] / 1e9:.2f} GB | {one['disk'] / 1e9:.1f} GB |"
            for name, one in found.items()
        ),
        "",
        f"{data.get('tokens', 0):,} tokens in {data.get('training_rows', 0):,} training rows; the resumed run has the "
        f"weights of the straight one, bit for bit. {machine.processor}, {machine.cores} cores.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=3.0)
    parser.add_argument("--shape", choices=("text", "chat"), default="text")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        table = measure(options, Path(name))
    print(table)
    if options.write:
        write_between(DOCS / "performance.md", "large", table)


if __name__ == "__main__":
    main()
