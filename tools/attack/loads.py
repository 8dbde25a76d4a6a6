"""Large inputs and bombs: time and memory of the commands that are given them.

    python -m tools.attack.loads [--only PATTERN] [--scale 1.0]

Each load is made, given to a command in a process of its own, and removed. `--scale` makes the honest loads smaller.
The table has the limit of each; the exit code is 1 if one was passed, or a command ended otherwise than it should.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.tiny_architectures import save_architecture
from tools.attack.forked import run_fresh
from tools.attack.victims import settings

_PATIENCE = 5400.0
_MB = 1_000_000
_BOMB_SECONDS, _BOMB_BYTES = 5.0, 500 * _MB
_TWO_STEPS = settings({"train.max_steps": 2, "evaluate.answers": 0, "model.device": "cpu", "data.context": 64})


@dataclass(frozen=True, slots=True)
class Load:
    """Something large, and what it may take."""

    name: str
    make: Callable[[Path, float], list[str]]
    """Writes it into a folder, for a scale; returns the command."""
    code: int
    """The exit code that is right."""
    seconds: float | None
    """At most; None for any."""
    peak: int
    """At most so many bytes."""


def _rows(path: Path, text: str) -> Path:
    path.write_text(
        "".join(json.dumps({"prompt": f"{n}?", "completion": text}) + "\n" for n in range(20)), encoding="utf-8"
    )
    return path


def gzip_line(here: Path, scale: float) -> list[str]:
    """One line that unfolds to 6 GB."""
    block = b"a" * _MB
    with gzip.open(here / "rows.jsonl.gz", "wb", compresslevel=1) as file:
        file.write(b'{"text": "')
        for _ in range(6_000):
            file.write(block)
        file.write(b'"}\n')
    return ["check", "rows.jsonl.gz", "--model", "model"]


def aliases(here: Path, scale: float) -> list[str]:
    """A recipe that unfolds."""
    names = "abcdefghij"
    lines = [f"{one}: &{one} [{', '.join([f'*{before}'] * 9)}]" for before, one in zip(names, names[1:], strict=False)]
    (here / "recipe.yaml").write_text("\n".join(["a: &a [x, x, x, x, x, x, x, x, x]", *lines]), encoding="utf-8")
    return ["check", "recipe.yaml"]


def deep(here: Path, scale: float) -> list[str]:
    """A recipe nested 5,000 deep."""
    (here / "recipe.yaml").write_text(f"data:\n  path: {'[' * 5000}{']' * 5000}\n", encoding="utf-8")
    return ["check", "recipe.yaml"]


def keys(here: Path, scale: float) -> list[str]:
    """A recipe of 50,000 unknown options."""
    (here / "recipe.yaml").write_text("".join(f"k{number}: 1\n" for number in range(50_000)), encoding="utf-8")
    return ["check", "recipe.yaml"]


def template(text: str) -> Callable[[Path, float], list[str]]:
    """A model with this chat template."""

    def make(here: Path, scale: float) -> list[str]:
        (here / "model" / "chat_template.jinja").write_text(text, encoding="utf-8")
        return ["check", str(_rows(here / "rows.jsonl", "yes").name), "--model", "model"]

    return make


def parquet(here: Path, scale: float) -> list[str]:
    """A few MB that unfold to 4 GB."""
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([("text", pyarrow.string())])
    with pyarrow.parquet.ParquetWriter(
        here / "rows.parquet", schema, compression="zstd", use_dictionary=False
    ) as writer:
        table = pyarrow.table({"text": ["a" * (8 * _MB) for _ in range(8)]}, schema)
        for _ in range(64):
            writer.write_table(table)
    return ["check", "rows.parquet", "--model", "model"]


def dictionary(here: Path, scale: float) -> list[str]:
    """A few kB, with one value of 8 MB that 100,000 rows have."""
    import pyarrow
    import pyarrow.parquet

    values = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 100_000, "int32"), ["a" * (8 * _MB)])
    pyarrow.parquet.write_table(
        pyarrow.table({"text": values}), here / "rows.parquet", compression="zstd", store_schema=False
    )
    return ["check", "rows.parquet", "--model", "model"]


def arrow(here: Path, scale: float) -> list[str]:
    """A few kB, with a batch that unpacks to 2 GB."""
    import pyarrow

    schema = pyarrow.schema([("text", pyarrow.string())])
    options = pyarrow.ipc.IpcWriteOptions(compression="zstd")
    with pyarrow.ipc.new_file(str(here / "rows.arrow"), schema, options=options) as writer:
        writer.write(pyarrow.record_batch({"text": ["a" * (8 * _MB)] * 250}))
    return ["check", "rows.arrow", "--model", "model"]


def beginnings(here: Path, scale: float) -> list[str]:
    """A few kB, with 900 values of 8 MB that begin alike."""
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([("text", pyarrow.string())])
    options: dict[str, Any] = {"use_dictionary": False, "column_encoding": "DELTA_BYTE_ARRAY"}
    with pyarrow.parquet.ParquetWriter(here / "rows.parquet", schema, compression="zstd", **options) as writer:
        for _ in range(30):
            writer.write_table(pyarrow.table({"text": ["a" * (8 * _MB) + str(n) for n in range(30)]}, schema))
    return ["check", "rows.parquet", "--model", "model"]


def text(here: Path, scale: float) -> list[str]:
    """3 GB of running text."""
    line = "The old man lives by the river, and the small boat sails over the blue water.\n"
    with (here / "book.txt").open("w", encoding="utf-8") as file:
        for number in range(int(3_000 * scale)):
            file.write(f"Chapter {number}.\n" + line * (_MB // len(line)) + "\n")
    return ["check", "book.txt", "--model", "model"]


def million(here: Path, scale: float) -> list[str]:
    """A million short rows."""
    with (here / "rows.jsonl").open("w", encoding="utf-8") as file:
        for number in range(int(1_000_000 * scale)):
            file.write(f'{{"prompt": "What is {number}?", "completion": "It is {number % 97}."}}\n')
    return ["train", "rows.jsonl", "--model", "model", *_TWO_STEPS]


def labels(here: Path, scale: float) -> list[str]:
    """10,000 labels of two rows each, in a column called label."""
    rows = [
        {"text": f"This is number {n % 10_000}, seen {n // 10_000}.", "label": f"l{n % 10_000}"} for n in range(20_000)
    ]
    (here / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return ["check", "rows.jsonl", "--model", "model"]


def hundred_runs(here: Path, scale: float) -> list[str]:
    """100 runs of 20,000 steps."""
    from burnish.runs.events import StepDone, as_dict

    step = as_dict(StepDone(1, 20_000, 0.1, 1.0, 1e-3, 0.5, 9, 9, 0.1, 1.0))
    lines = "".join(json.dumps(step | {"step": number}) + "\n" for number in range(1, int(20_000 * scale) + 1))
    for number in range(100):
        run = here / "runs" / f"run-{number}"
        run.mkdir(parents=True)
        recipe = "task: chat\nmethod: lora\nmodel: {name: model}\ndata: {path: rows.jsonl}\n"
        (run / "recipe.yaml").write_text(recipe, encoding="utf-8")
        (run / "metrics.jsonl").write_text(lines, encoding="utf-8")
        (run / "events.jsonl").write_text('{"event": "Stage", "name": "training", "time": 1.0}\n', encoding="utf-8")
        (run / "manifest.json").write_text("{}", encoding="utf-8")
    return ["runs"]


_LOOPS = "{% for a in range(99999) %}{% for b in range(99999) %}{% set c = a %}{% endfor %}{% endfor %}"
_BOMBS: tuple[tuple[str, Callable[[Path, float], list[str]]], ...] = (
    ("a gzip file whose only line unfolds to 6 GB", gzip_line),
    ("a recipe that unfolds to 3.5 billion values", aliases),
    ("a recipe nested 5,000 deep", deep),
    ("a recipe of 50,000 unknown options", keys),
    ("a template with nested loops", template(_LOOPS)),
    ("a template that makes a text of 4 GB", template("{{ 'a' * 4000000000 }}")),
    ("a template that makes a number of 100 million digits", template("{{ 10 ** 100000000 }}")),
    ("a template that pads to a billion characters", template("{{ '%1000000000d' % 1 }}")),
    ("a parquet file that unfolds to 4 GB", parquet),
    ("a parquet file of one value, repeated to 800 GB", dictionary),
    ("an Arrow file whose batch unpacks to 2 GB", arrow),
    ("a parquet file of values that begin alike, 7 GB", beginnings),
)
LOADS = (
    *(Load(name, make, 2, _BOMB_SECONDS, _BOMB_BYTES) for name, make in _BOMBS),
    Load("3 GB of running text, checked", text, 0, None, 1_500 * _MB),
    Load("a million rows, two steps", million, 0, None, 1_200 * _MB),
    Load("10,000 labels of two rows", labels, 0, None, 700 * _MB),
    Load("`runs` with 100 runs of 20,000 steps", hundred_runs, 0, 1.0, 200 * _MB),
)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="")
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    faults: list[str] = []
    print("| load | exit code | time | limit | memory | limit |\n|---|---:|---:|---:|---:|---:|")
    for load in LOADS:
        if not re.search(options.only, load.name):
            continue
        with tempfile.TemporaryDirectory() as folder:
            here = Path(folder)
            os.environ["BURNISH_CACHE"] = str(here / "cache")
            save_architecture("Llama", here / "model")
            words = load.make(here, options.scale)
            ended = run_fresh(words, here, _PATIENCE)
        limits = "any" if load.seconds is None else f"{load.seconds:.0f} s", f"{load.peak / 1e9:.2f} GB"
        taken = f"{ended.seconds:.1f} s", f"{ended.peak_bytes / 1e9:.2f} GB"
        print(f"| {load.name} | {ended.code} | {taken[0]} | {limits[0]} | {taken[1]} | {limits[1]} |", flush=True)
        if ended.code != load.code or ended.is_unexpected:
            faults.append(f"{load.name}: ended with {ended.code}: {ended.last_line}")
        if load.seconds is not None and ended.seconds > load.seconds:
            faults.append(f"{load.name}: took {ended.seconds:.1f} s")
        if ended.peak_bytes > load.peak:
            faults.append(f"{load.name}: took {ended.peak_bytes / 1e9:.2f} GB")
    for fault in faults:
        print(fault)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
