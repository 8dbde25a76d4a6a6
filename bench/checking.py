"""Speed of `burnish check` in megabytes per second, and its memory, for increasing numbers of rows.

    python bench/checking.py --data alpaca_en_demo.json wikitext-2/valid.txt [--rows 10000,100000,1000000] [--write]

The rows of a file are repeated with a different number in every text, up to the requested count. So there are no exact
duplicates but many near duplicates, the expensive case. A line of a text file is a row. The model is the bundled one.
Memory is the sum over all processes, sampled ten times per second; what processes share counts each time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice, product
from pathlib import Path
from typing import Any

import psutil
from page import DOCS, write_between


def write_rows(source: Path, count: int, target: Path) -> int:
    """Writes so many rows, and returns their size in bytes."""
    text = source.read_text(encoding="utf-8")
    lines = [{"text": line} for line in text.splitlines() if not line.isspace() and line]
    rows = json.loads(text) if source.suffix == ".json" else lines
    with target.open("w", encoding="utf-8") as file:
        for number, row in enumerate(islice(cycle(rows), count)):
            file.write(json.dumps(_numbered(row, number), ensure_ascii=False) + "\n")
    return target.stat().st_size


def _numbered(row: dict[str, Any], number: int) -> dict[str, Any]:
    return {name: f"{number}. {value}" if isinstance(value, str) and value else value for name, value in row.items()}


def look(file: Path, cores: int) -> tuple[float, int, list[str]]:
    """Seconds, peak bytes, and the names of what was found."""
    before = os.sched_getaffinity(0)
    command = [sys.executable, "-m", "burnish", "check", str(file), "--json"]
    begun, peak = time.perf_counter(), 0
    os.sched_setaffinity(0, sorted(before)[:cores])
    try:
        with tempfile.TemporaryFile("w+") as out, subprocess.Popen(command, stdout=out) as process:
            while process.poll() is None:
                peak = max(peak, resident(psutil.Process(process.pid)))
                time.sleep(0.1)
            seconds = time.perf_counter() - begun
            out.seek(0)
            result = json.loads(out.read())
    finally:
        os.sched_setaffinity(0, before)
    return seconds, peak, [finding["name"] for finding in result["findings"]]


def resident(process: psutil.Process) -> int:
    """Bytes of a process and of all that it has begun."""
    found = 0
    try:
        for one in (process, *process.children(recursive=True)):
            found += one.memory_info().rss
    except psutil.NoSuchProcess:
        pass  # it ended between being listed and being read
    return found


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="JSON files of rows, or texts")
    parser.add_argument("--rows", default="10000,100000,1000000")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    asked = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    lines = [
        "| rows of | rows | MB | cores | seconds | MB/s | peak memory, MB |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for data, count in product(asked.data, map(int, asked.rows.split(","))):
            file = Path(folder) / "rows.jsonl"
            size = write_rows(data, count, file) / 1e6
            for used in sorted({1, cores}):
                seconds, peak, found = look(file, used)
                result = f"{data.name} | {count:,} | {size:,.1f} | {used} | {seconds:.1f} | {size / seconds:.1f}"
                lines.append(f"| {result} | {peak / 2**20:,.0f} |")
                print(f"{lines[-1]} {', '.join(found)}", flush=True)
    text = "\n".join(lines)
    print(f"\n{text}")
    if asked.write:
        write_between(DOCS / "performance.md", "checking", text)


if __name__ == "__main__":
    main()
