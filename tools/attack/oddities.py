"""Odd data, recipes and names, each with the commands that are given it; `odd_models.py` has models and runs."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.unit.data.files.workbooks import workbook
from tools.attack.traps import Place, Trap

MB = 1_000_000
MODEL = "--model model"
ONE_STEP = (
    "--set model.device=cpu --set model.precision=fp32 --set train.max_steps=1 --set evaluate.answers=1 "
    "--set data.context=64"
)
_BOMB_MB = 1_500


@dataclass(frozen=True, slots=True)
class Oddity:
    """What is laid down, and the commands that must end well or with a message."""

    lay: Trap
    commands: tuple[str, ...]


ODDITIES: dict[str, Oddity] = {}


def odd(name: str, *commands: str) -> Callable[[Trap], Trap]:
    """Adds a function that lays down something odd, with the commands that are given it."""

    def add(lay: Trap) -> Trap:
        ODDITIES[name] = Oddity(lay, commands)
        return lay

    return add


def check_and_train(name: str) -> tuple[str, str]:
    """Both commands on a data file."""
    return f"check {name} {MODEL}", f"train {name} {MODEL} {ONE_STEP}"


def write_rows(path: Path, rows: list[Any]) -> None:
    """JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


_GOOD = [{"prompt": f"What is {number}?", "completion": "It is a number."} for number in range(20)]
_LINES = "".join(json.dumps(row) + "\n" for row in _GOOD)
_ENDINGS = ("jsonl", "txt", "csv", "parquet", "json", "xlsx", "zip", "conll")


@odd("pipes in place of files", *check_and_train("pipe.jsonl"), "predict runs/made pipe.jsonl out.jsonl")
def _(place: Place) -> None:
    os.mkfifo(place.here / "pipe.jsonl")


@odd("devices in place of files", *(f"check zero.{ending} {MODEL}" for ending in _ENDINGS))
def _(place: Place) -> None:
    for ending in _ENDINGS:
        (place.here / f"zero.{ending}").symlink_to("/dev/zero")


@odd("a folder of pipes, devices and itself", *check_and_train("folder"), f"check other {MODEL}")
def _(place: Place) -> None:
    (place.here / "folder").mkdir()
    os.mkfifo(place.here / "folder" / "a.jsonl")
    (place.here / "folder" / "train.jsonl").symlink_to("/dev/zero")
    (place.here / "other").mkdir()
    (place.here / "other" / "data").symlink_to(".")


@odd("links in a circle", *check_and_train("a.jsonl"), "show a.jsonl", "generate a.jsonl hello")
def _(place: Place) -> None:
    (place.here / "a.jsonl").symlink_to("b.jsonl")
    (place.here / "b.jsonl").symlink_to("a.jsonl")


def _zstd(path: Path) -> Any:
    import pyarrow

    return pyarrow.CompressedOutputStream(str(path), "zstd")


_BOMBS: dict[str, Callable[[Path], Any]] = {
    "rows.jsonl.xz": partial(lzma.open, mode="wb", preset=0),
    "rows.jsonl.bz2": partial(bz2.open, mode="wb", compresslevel=1),
    "rows.jsonl.zst": _zstd,
    "rows.txt.gz": partial(gzip.open, mode="wb", compresslevel=1),
    "rows.csv.gz": partial(gzip.open, mode="wb", compresslevel=1),
    "rows.json.gz": partial(gzip.open, mode="wb", compresslevel=1),
}


def _bomb(name: str) -> Trap:
    def lay(place: Place) -> None:
        with _BOMBS[name](place.here / name) as file:
            file.write(b'{"prompt": "')
            for _ in range(_BOMB_MB):
                file.write(b"a" * MB)
            file.write(b'"}\n')

    return lay


for _name in _BOMBS:
    odd(f"a bomb in {_name}", f"check {_name} {MODEL}")(_bomb(_name))

_HEAD = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
_CELL = '<c r="{}" t="inlineStr"><is><t>{}</t></is></c>'
_END = b"</sheetData></worksheet>"


def _workbook(place: Place, content: bytes, filling: int = 0) -> None:
    """A workbook with a part of its own making, and so many MB more in it."""
    good = zipfile.ZipFile(io.BytesIO(workbook({"rows": [["text", "label"], ["a", "b"]]})))
    with zipfile.ZipFile(place.here / "rows.xlsx", "w", zipfile.ZIP_DEFLATED) as made:
        for name in good.namelist():
            if "worksheets/" not in name:
                made.writestr(name, good.read(name))
                continue
            with made.open(name, "w") as file:
                file.write(content)
                for _ in range(filling):
                    file.write(b"<row>" + b"a" * MB + b"</row>")


@odd("a workbook that unfolds", f"check rows.xlsx {MODEL}")
def _(place: Place) -> None:
    _workbook(place, _HEAD, _BOMB_MB)


@odd("a workbook of two cells far apart", f"check rows.xlsx {MODEL}")
def _(place: Place) -> None:
    rows = f'<row r="1">{_CELL.format("A1", "text")}</row><row r="9">{_CELL.format("XFD1048576", "far")}</row>'
    _workbook(place, _HEAD + rows.encode() + _END)


@odd("a workbook with entities", f"check rows.xlsx {MODEL}")
def _(place: Place) -> None:
    names = "abcdefghij"
    inner = [f'<!ENTITY {one} "{f"&{last};" * 10}">' for last, one in zip(names, names[1:], strict=False)]
    kinds = f'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">{"".join(inner)}<!ENTITY z SYSTEM "file:///etc/passwd">]>'
    rows = f'<row r="1">{_CELL.format("A1", "text")}</row><row r="2">{_CELL.format("A2", "&j;&z;")}</row>'
    _workbook(place, f'<?xml version="1.0"?>{kinds}'.encode() + _HEAD + rows.encode() + _END)


@odd("archives that lie or that others pack", *(f"check {name} {MODEL}" for name in ("a.zip", "b.zip", "c.7z")))
def _(place: Place) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.jsonl", b"a" * 300 * MB)
    lying = packed.getvalue().replace(struct.pack("<I", 300 * MB), struct.pack("<I", 1000))
    (place.here / "a.zip").write_bytes(lying)
    with zipfile.ZipFile(place.here / "b.zip", "w") as archive:
        archive.writestr("inner.zip", packed.getvalue())
    (place.here / "c.7z").write_bytes(b"7z\xbc\xaf'\x1c" + bytes(99))


@odd(
    "numbers of a million digits", *check_and_train("rows.jsonl"), f"check rows.json {MODEL}", f"check rows.csv {MODEL}"
)
def _(place: Place) -> None:
    number = "9" * MB
    (place.here / "rows.jsonl").write_text(f'{_LINES}{{"prompt": {number}, "completion": "a"}}\n', encoding="utf-8")
    (place.here / "rows.json").write_text(f'[{{"prompt": {number}, "completion": "a"}}]', encoding="utf-8")
    rows = "".join(f"this is {n},{n % 2}\n" for n in range(20))
    (place.here / "rows.csv").write_text(f"text,label\n{rows}that,{number}\n", encoding="utf-8")


@odd("rows nested deep", *check_and_train("rows.jsonl"), f"check rows.json {MODEL}")
def _(place: Place) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    (place.here / "rows.jsonl").write_text(f"{_LINES}{deep}\n", encoding="utf-8")
    (place.here / "rows.json").write_text(deep, encoding="utf-8")


@odd("numbers that are none, and keys that are there twice", *check_and_train("rows.jsonl"))
def _(place: Place) -> None:
    values = ("NaN", "Infinity", "1e999", "0.5", "1.5", "2")
    lines = [f'{{"text": "a{n}", "text": "b{n}", "score": {value}}}\n' for n in range(4) for value in values]
    (place.here / "rows.jsonl").write_text("".join(lines), encoding="utf-8")


@odd("a table of 100,000 columns, and one of quotes", f"check wide.csv {MODEL}", f"check quotes.csv {MODEL}")
def _(place: Place) -> None:
    wide = ",".join(f"c{number}" for number in range(100_000))
    (place.here / "wide.csv").write_text(f"{wide}\n{wide}\n{wide}\n", encoding="utf-8")
    (place.here / "quotes.csv").write_text("text,label\n" + '"a","b\n' * 5_000, encoding="utf-8")


@odd("a folder of files with odd names", *check_and_train("folder"))
def _(place: Place) -> None:
    (place.here / "folder").mkdir()
    write_rows(place.here / "folder" / "train\n\x1b[31m[red]{x}%s.jsonl", _GOOD)
    (place.here / "folder" / "b\n: c.jsonl").write_text("no json\n", encoding="utf-8")


_LONG = "a" * 5_000


@odd(
    "names that are too long",
    *check_and_train(f"{_LONG}.jsonl"),
    f"show {_LONG}",
    f"generate {_LONG} hello",
    f"compare {_LONG} made",
    f"merge runs/made --out {_LONG}",
    f"train rows.jsonl --model {_LONG}",
    f"explain {_LONG}",
)
def _(place: Place) -> None:
    """They are in the commands."""


@odd("spans and entities far away", f"check rows.jsonl {MODEL}", f"check folder {MODEL}")
def _(place: Place) -> None:
    places = [(0, 4), (0, 10**300), (-1, 4), (1e308, 2), (True, None), (0, 2**63)]
    rows = [{"text": "Anna lives", "entities": [{"start": a, "end": b, "label": "P"}]} for a, b in places]
    write_rows(place.here / "rows.jsonl", rows * 4)
    (place.here / "folder").mkdir()
    for number in range(3):
        (place.here / "folder" / f"{number}.txt").write_text("Anna lives here.\n", encoding="utf-8")
        text = f"T1\tP 0 4\tAnna\nT2\tP 0 {'9' * 400}\tx\nT3\tP -5 99999999\ty\nT4\tP 0 4;{'1 2;' * 9_999}\tz\n"
        (place.here / "folder" / f"{number}.ann").write_text(text, encoding="utf-8")


@odd("a conversation of 20,000 messages", *check_and_train("rows.jsonl"))
def _(place: Place) -> None:
    turns = [{"role": ("user", "assistant")[n % 2], "content": f"turn {n}"} for n in range(20_000)]
    write_rows(place.here / "rows.jsonl", [{"messages": turns}, *[{"messages": turns[:4]}] * 5])


@odd("pictures from everywhere", *check_and_train("rows.jsonl"))
def _(place: Place) -> None:
    sources: list[Any] = [
        "http://169.254.169.254/latest", "file:///etc/passwd", "../outside/profile", "data:text/html,<script>",
        "data:image/png;base64," + "A" * MB, "\x00", "~root/x.png", _LONG, "/dev/zero", "/proc/self/mem",
        {"bytes": "x"}, {"path": "/dev/zero"}, ["x"], 12, None,
    ]  # fmt: skip
    write_rows(place.here / "rows.jsonl", [{"image": one, "question": "What?", "answer": "This."} for one in sources])


@odd(
    "recipes that are pipes, devices or odd YAML",
    *(f"check {name}.yaml" for name in ("pipe", "zero", "merge", "number", "names", "version", "wide")),
)
def _(place: Place) -> None:
    base = "data: {path: rows.jsonl}\nmodel: {name: model}\n"
    os.mkfifo(place.here / "pipe.yaml")
    (place.here / "zero.yaml").symlink_to("/dev/zero")
    texts = {
        "merge": f"{base}<<: {{seed: 1}}\n",
        "number": f"{base}seed: {'9' * MB}\n",
        "names": f"{base}? [a, b]\n: c\n",
        "version": f"%YAML 9.9\n---\n{base}",
    }
    for name, text in texts.items():
        (place.here / f"{name}.yaml").write_text(text, encoding="utf-8")
    (place.here / "wide.yaml").write_bytes(base.encode("utf-16"))


@odd(
    "places of the network, and places that are no runs",
    *(f"train {name} {MODEL}" for name in ("https://example.com/x.jsonl", "s3://bucket/x.jsonl")),
    *(f"train rows.jsonl --model {name}" for name in ("https://example.com/x", "hf://a/b", "../../../etc")),
    *(f"show {name}" for name in ("/proc/self", "/dev/zero", "model")),
    *(f"{words} /" for words in ("resume", "merge", "eject", "report")),
    "runs --runs /proc",
    "generate /dev/zero hello",
    "predict runs/made rows.jsonl /dev/full",
    "predict runs/made rows.jsonl rows.jsonl",
)
def _(place: Place) -> None:
    """They are in the commands."""


@odd(
    "options without measure",
    *(
        f"train rows.jsonl {MODEL} {ONE_STEP} --set {option}"
        for option in (
            f"seed={'9' * 5_000}",
            "train.epochs=1e308",
            "batch.tokens=1000000000000",
            "lora.rank=1000000000",
            "evaluate.metric=a:b:c",
            "evaluate.metric=../x:y",
            "'lora.targets=[\"((([a-z0-9._]+)*)*)*!\"]'",
        )
    ),
)
def _(place: Place) -> None:
    """They are in the commands."""


def all_oddities() -> Iterator[tuple[str, Oddity]]:
    """Each with its name, those of models and runs too."""
    from tools.attack import odd_models  # noqa: F401  which adds its own

    yield from ODDITIES.items()
