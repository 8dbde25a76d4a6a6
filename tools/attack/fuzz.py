"""Gives Burnish damaged data, recipes, pictures, templates, models and run folders, and checks how it ends.

    python -m tools.attack.fuzz [--inputs 5000] [--seed 0] [--only data|recipes|pictures|templates|models|runs]
                                [--keep FOLDER]

An input is a good one with a few damages (`mutations.py`), or is put together of harmful pieces (`templates.py`). Each
is given to a command in a process of its own. A command may refuse an input, or make something of it. It may not print
a traceback, exit with 1, be killed by a signal, take longer than 10 seconds or 1.5 GB, or leave rows uncounted: of JSON
Lines, every line that is not empty is a row or is rejected.

Prints a table, and each fault with the number by which `--seed` makes it again; `--keep` keeps its files. The exit code
is 1 if there was one.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from tests.architecture_table import rows_for
from tests.tiny_architectures import save_architecture
from tests.tiny_vision import save_vision_model, write_picture_rows
from tests.unit.data.files.workbooks import workbook
from tools.attack.forked import faults_of, in_child, run_command, warm_up
from tools.attack.mutations import damage_bytes, damage_value
from tools.attack.templates import odd_template
from tools.attack.victims import RUN, TRAININGS, settings

_SAMPLES = Path(str(resources.files("burnish"))) / "assets" / "samples"
_LIMIT_SECONDS = 120.0
_ONE_STEP = settings(
    {"model.device": "cpu", "model.precision": "fp32", "train.max_steps": 1, "evaluate.answers": 0, "data.context": 64}
)


@dataclass(frozen=True, slots=True)
class Input:
    """What is given to Burnish."""

    words: list[str]
    """The command."""
    counted: Path | None = None
    """A file of JSON Lines whose rows have to be accounted for."""


@dataclass
class Good:
    """What is damaged: good files, made once.

    Args:
        folder: an empty one.
    """

    folder: Path
    models: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.models = {name: save_architecture(name, self.folder / name) for name in ("Llama", "BERT")}
        self.models["idefics3"] = save_vision_model("idefics3", self.folder / "idefics3")
        (self.folder / "pictures").mkdir()
        write_picture_rows(self.folder / "pictures", 4)
        self.data = self._data()
        words = TRAININGS[0].words(self.folder)
        made = run_command(words, self.folder, 120)
        if made.code:
            raise SystemExit(made.output)
        self.run = self.folder / RUN
        self.recipe = yaml.safe_load((self.run / "recipe.yaml").read_text(encoding="utf-8"))

    def _data(self) -> dict[str, bytes]:
        """Data files by name."""
        found = {path.name: _first_lines(path) for path in sorted(_SAMPLES.iterdir()) if path.suffix != ".md"}
        for task in ("preference", "tag", "span", "score"):
            found[f"{task}.jsonl"] = rows_for(task, self.folder).read_bytes()
        chats: list[dict[str, Any]] = [
            {"messages": [{"role": "user", "content": f"Say {n}."}, {"role": "assistant", "content": "Yes."}]}
            for n in range(9)
        ]
        calls = {"function": {"name": "find", "arguments": '{"x": 1}'}, "type": "function", "id": "1"}
        for chat in chats[:4]:
            chat["messages"][1] |= {"tool_calls": [calls]}
        found["chats.jsonl"] = "".join(json.dumps(chat) + "\n" for chat in chats).encode()
        rows = [json.loads(line) for line in found["reviews.jsonl"].splitlines()]
        return found | _tables(rows) | {"story.txt": b"One day.\n\nAnother day, and a long one.\n" * 20}


def _first_lines(path: Path) -> bytes:
    """All of a document, or the beginning of a file of lines."""
    content = path.read_bytes()
    return content if path.suffix == ".json" else b"".join(content.splitlines(keepends=True)[:40])


def _tables(rows: list[dict[str, Any]]) -> dict[str, bytes]:
    """The same rows as tables of all kinds."""
    import pyarrow
    import pyarrow.feather
    import pyarrow.parquet

    names = list(rows[0])
    lines = [names, *([str(row[name]) for name in names] for row in rows)]
    found = {
        "rows.csv": "\n".join(
            ",".join('"' + cell.replace('"', '""') + '"' for cell in line) for line in lines
        ).encode(),
        "rows.tsv": "\n".join("\t".join(cell.replace("\t", " ") for cell in line) for line in lines).encode(),
        "rows.json": json.dumps(rows).encode(),
    }
    table, buffer = pyarrow.Table.from_pylist(rows), io.BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    found["rows.parquet"] = buffer.getvalue()
    buffer = io.BytesIO()
    pyarrow.feather.write_feather(table, buffer)
    found["rows.arrow"] = buffer.getvalue()
    return found | {"rows.xlsx": workbook({"rows": lines})}


def data(good: Good, here: Path, source: random.Random) -> Input:
    """A damaged data file, checked; sometimes trained on."""
    name, content = source.choice(list(good.data.items()))
    if name.endswith((".jsonl", ".json")) and source.random() < 0.5:
        content = _damaged_json(name, content, source)
    else:
        content = damage_bytes(content, source)
    path = here / name
    path.write_bytes(content)
    counted = path if name.endswith(".jsonl") else None
    if source.random() < 0.15:
        model = good.models["BERT" if source.random() < 0.3 else "Llama"]
        return Input(["train", name, "--model", str(model), *_ONE_STEP], counted)
    return Input(["check", name, "--model", str(good.models["Llama"]), "--json"], counted)


def _damaged_json(name: str, content: bytes, source: random.Random) -> bytes:
    if name.endswith(".json"):
        return _dumped(damage_value(json.loads(content), source))
    lines = content.splitlines()
    for _ in range(source.choice((1, 3, len(lines)))):
        at = source.randrange(len(lines))
        try:
            lines[at] = _dumped(damage_value(json.loads(lines[at]), source))
        except ValueError:
            continue
    return b"\n".join(lines) + b"\n"


def _dumped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=True).encode()


def recipes(good: Good, here: Path, source: random.Random) -> Input:
    """A damaged recipe."""
    shutil.copy(good.recipe["data"]["path"], here / "rows.jsonl")
    sound = good.recipe | {"data": {**good.recipe["data"], "path": "rows.jsonl"}}
    if source.random() < 0.6:
        text = yaml.safe_dump(damage_value(sound, source), sort_keys=False, allow_unicode=True).encode(
            "utf-8", "replace"
        )
    else:
        text = damage_bytes(yaml.safe_dump(sound, sort_keys=False).encode(), source)
    (here / "recipe.yaml").write_bytes(text)
    # compiling takes a minute, and a recipe may ask for it
    train = ["train", "--set", "train.max_steps=1", "--set", "model.compile=false"]
    command = source.choice((["check"], ["plan"], train))
    return Input([command[0], "recipe.yaml", *command[1:]])


def pictures(good: Good, here: Path, source: random.Random) -> Input:
    """Rows with damaged pictures."""
    from PIL import Image

    for path in (good.folder / "pictures").iterdir():
        shutil.copy(path, here)
    kind = source.choice(("png", "jpeg", "gif", "bmp", "webp", "tiff"))
    buffer = io.BytesIO()
    Image.open(here / "0.png").convert("RGB").save(buffer, kind)
    content = damage_bytes(buffer.getvalue(), source) if source.random() < 0.8 else _huge_picture(source)
    (here / "0.png").write_bytes(content)
    if source.random() < 0.2:
        rows = here / "squares.jsonl"
        rows.write_bytes(_damaged_json("squares.jsonl", rows.read_bytes(), source))
    return Input(["check", "squares.jsonl", "--model", str(good.models["idefics3"]), "--set", "data.context=256"])


def _huge_picture(source: random.Random) -> bytes:
    """A small file that says that it is a large picture."""
    import struct
    import zlib

    width, height = source.choice(((60_000, 60_000), (2**31 - 1, 1), (1, 2**31 - 1), (9_000, 9_000), (0, 0)))

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    rows = zlib.compress(bytes(100_000))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def templates(good: Good, here: Path, source: random.Random) -> Input:
    """A model with a damaged chat template."""
    model = _copied(good.models["Llama"], here / "model")
    (model / "chat_template.jinja").write_text(odd_template(source), encoding="utf-8")
    (here / "chats.jsonl").write_bytes(good.data["chats.jsonl"])
    if source.random() < 0.2:
        return Input(["train", "chats.jsonl", "--model", "model", *_ONE_STEP])
    return Input(["check", "chats.jsonl", "--model", "model"])


def models(good: Good, here: Path, source: random.Random) -> Input:
    """A damaged model folder."""
    kind = source.choice(("Llama", "BERT"))
    model = _copied(good.models[kind], here / "model")
    _damage_file(source.choice([path for path in model.iterdir() if path.is_file()]), source)
    rows = rows_for("chat" if kind == "Llama" else "classify", here)
    if source.random() < 0.3:
        return Input(["plan", rows.name, "--model", "model"])
    return Input(["train", rows.name, "--model", "model", *_ONE_STEP])


_ON_RUNS = (
    ["runs"], ["show", "made"], ["resume", "made"], ["report", "made"],
    ["generate", "made", "Hello", "--max-new-tokens", "2"], ["evaluate", "made", "--answers", "1"], ["merge", "made"],
    ["eject", "made"], ["compare", "made", "other"], ["reproduce", "made", "--steps", "1"],
)  # fmt: skip


def runs(good: Good, here: Path, source: random.Random) -> Input:
    """A damaged run folder."""
    run = _copied(good.run, here / "runs" / "made")
    _copied(good.run, here / "runs" / "other")
    files = [path for path in sorted(run.rglob("*")) if path.is_file()]
    top = [path for path in files if path.parent == run]
    for _ in range(source.choice((1, 1, 2))):
        path = source.choice(top if source.random() < 0.6 else files)
        if path.is_file():  # not removed, nor replaced by a folder, by the damage before
            _damage_file(path, source)
    return Input(list(source.choice(_ON_RUNS)))


def _copied(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    return target


def _damage_file(path: Path, source: random.Random) -> None:
    """Damages a file by its kind, removes it, or puts a folder in its place."""
    kind = source.random()
    if kind < 0.08:
        path.unlink()
        if kind < 0.03:
            path.mkdir()
        return
    content = path.read_bytes()
    damaged = _damaged_as_value(path.suffix, content, source) if kind < 0.6 else None
    path.write_bytes(damage_bytes(content, source) if damaged is None else damaged)


def _damaged_as_value(suffix: str, content: bytes, source: random.Random) -> bytes | None:
    """A file damaged by its format; None if it has none, or is damaged already."""
    try:
        if suffix == ".json":
            return _dumped(damage_value(json.loads(content), source))
        if suffix == ".yaml":
            return yaml.safe_dump(damage_value(yaml.safe_load(content), source)).encode("utf-8", "replace")
        if suffix == ".jsonl":
            return _damaged_json(suffix, content, source)
        return _damaged_header(content, source) if suffix == ".safetensors" else None
    except (ValueError, yaml.YAMLError, IndexError):
        return None


def _damaged_header(content: bytes, source: random.Random) -> bytes:
    """Weights whose list of tensors is damaged as a value."""
    size = int.from_bytes(content[:8], "little")
    header = _dumped(damage_value(json.loads(content[8 : 8 + size]), source))
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


KINDS: dict[str, tuple[Callable[[Good, Path, random.Random], Input], int]] = {
    "data": (data, 40), "recipes": (recipes, 20), "pictures": (pictures, 8), "templates": (templates, 10),
    "models": (models, 10), "runs": (runs, 12),
}  # fmt: skip
"""Each with its share of the inputs in percent."""


@dataclass
class Tally:
    """What became of the inputs of one kind."""

    inputs: int = 0
    refused: int = 0
    slowest: float = 0.0
    largest: int = 0
    faults: list[str] = field(default_factory=list)


def uncounted(path: Path, folder: Path) -> str:
    """How many rows of a file of JSON Lines are neither read nor rejected, in words; empty if none."""
    lines = sum(map(_rows_in, path.read_bytes().split(b"\n")))

    def work() -> int:
        from burnish.data.files.readers import read_rows
        from burnish.errors import BurnishError

        try:
            print(sum(1 for _ in read_rows(path)))
        except BurnishError:  # the file is refused as a whole
            print(lines)
        return 0

    ended = in_child(work, folder, _LIMIT_SECONDS)
    found = ended.output.split()[-1] if ended.code == 0 else ended.last_line
    return "" if found == str(lines) else f"{lines} lines, of which {found} are counted"


def _rows_in(line: bytes) -> int:
    """How many rows a line is: one if it is JSON, else as many as old line ends make of it."""
    with contextlib.suppress(ValueError, RecursionError):
        json.loads(line)
        return 1
    return sum(1 for part in line.split(b"\r") if part.strip())


def attack(good: Good, kind: str, count: int, seed: int, keep: Path | None) -> Tally:
    """Gives so many inputs of a kind to Burnish."""
    make, tally = KINDS[kind][0], Tally()
    for number in range(count):
        with tempfile.TemporaryDirectory() as name:
            here = Path(name)
            given = make(good, here, random.Random(f"{seed} {kind} {number}"))
            ended = run_command(given.words, here, _LIMIT_SECONDS)
            tally.inputs += 1
            tally.refused += ended.code != 0
            tally.slowest, tally.largest = max(tally.slowest, ended.seconds), max(tally.largest, ended.peak_bytes)
            found = faults_of(ended)
            if given.counted is not None and not found and (missing := uncounted(given.counted, here)):
                found.append(missing)
            if found:
                tally.faults.append(f"{kind} {number} `burnish {' '.join(given.words)}`: {'; '.join(found)}")
                if keep is not None:
                    shutil.copytree(here, keep / f"{kind}-{number}", dirs_exist_ok=True)
                    (keep / f"{kind}-{number}.txt").write_text(
                        f"{tally.faults[-1]}\n\n{ended.output}", encoding="utf-8"
                    )
    return tally


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    warm_up()
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    faults: list[str] = []
    print("| | inputs | refused | slowest | most memory | faults |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BURNISH_CACHE"] = f"{folder}/cache"
        good = Good(Path(folder))
        for kind, (_, share) in KINDS.items():
            if options.only not in (None, kind):
                continue
            count = options.inputs if options.only else round(options.inputs * share / 100)
            tally = attack(good, kind, count, options.seed, options.keep)
            numbers = f"{tally.slowest:.1f} s | {tally.largest / 1e9:.2f} GB | {len(tally.faults)}"
            print(f"| {kind} | {tally.inputs} | {tally.refused} | {numbers} |", flush=True)
            faults += tally.faults
    for fault in faults:
        print(fault)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
