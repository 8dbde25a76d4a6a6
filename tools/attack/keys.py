"""Every key in the files of a run folder, removed and given other values, one at a time; and how commands take it.

    python -m tools.attack.keys [--victims NUMBER ...] [--file NAME]

`fuzz.py` damages at random, and meets one key of an evaluation in a thousand inputs. Here each is met: of an event log,
those of the first event of each kind. No command may end with exit code 1 or print a traceback. Prints a table, and
each fault; the exit code is 1 if there was one.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from tools.attack.forked import in_child, run_command, warm_up
from tools.attack.victims import RUN, TRAININGS, settings

OTHERS: tuple[Any, ...] = (None, -1, "word", [], ["word"], {})
"""Put in the place of a value, beside removing it."""
COMMANDS = (
    ["show", "made", "--verbose"],
    ["report", "made"],
    ["runs"],
)
_AT_ONCE = 40
_MOST_ITEMS = 2


@dataclass(frozen=True, slots=True)
class Change:
    """One key of one file, and what became of it."""

    file: str
    """In the run folder."""
    line: int | None
    """Of an event log, from 0."""
    path: tuple[str | int, ...]
    value: Any
    is_removed: bool = False

    def __str__(self) -> str:
        place = ".".join(map(str, self.path))
        where = self.file if self.line is None else f"{self.file}:{self.line + 1}"
        return f"{where}: `{place}` " + ("removed" if self.is_removed else f"= {json.dumps(self.value)}")

    def apply(self, content: str) -> str:
        """The file's content with the change."""
        if self.line is not None:
            lines = content.splitlines()
            lines[self.line] = json.dumps(self._changed(json.loads(lines[self.line])))
            return "\n".join(lines) + "\n"
        if self.file.endswith(".yaml"):
            return yaml.safe_dump(self._changed(yaml.safe_load(content)), sort_keys=False)
        return json.dumps(self._changed(json.loads(content)))

    def _changed(self, found: Any) -> Any:
        holder = found = copy.deepcopy(found)
        for key in self.path[:-1]:
            holder = holder[key]
        if self.is_removed:
            del holder[self.path[-1]]
        else:
            holder[self.path[-1]] = self.value
        return found


@dataclass(slots=True)
class Tally:
    """What became of the changes in one file."""

    changes: int = 0
    faults: list[str] = field(default_factory=list)


def changes(run: Path) -> Iterator[Change]:
    """All changes in the files of a run folder.

    Args:
        run: the folder.
    """
    for path in sorted(path for path in run.iterdir() if path.suffix in {".json", ".jsonl", ".yaml"}):
        name = path.name
        content = path.read_text(encoding="utf-8")
        if path.suffix == ".jsonl":
            kinds = set()
            for number, line in enumerate(content.splitlines()):
                found = json.loads(line)
                if (kind := found.get("event")) not in kinds:
                    kinds.add(kind)
                    yield from _changes_of(name, number, found)
        else:
            yield from _changes_of(name, None, yaml.safe_load(content))


def _changes_of(file: str, line: int | None, found: Any) -> Iterator[Change]:
    for path in _paths(found):
        yield Change(file, line, path, None, is_removed=True)
        yield from (Change(file, line, path, other) for other in OTHERS)


def _paths(found: Any, to: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where the values are; of a list, those in its first items."""
    inner = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    for key, value in inner if isinstance(found, dict) else islice(inner, _MOST_ITEMS):
        yield (*to, key)
        yield from _paths(value, (*to, key))


def attack(folder: Path, given: Sequence[Change], commands: Sequence[Sequence[str]] = COMMANDS) -> list[str]:
    """Gives changed run folders to commands.

    Args:
        folder: that holds the run, as `make_runs` returns it.
        given: the changes.
        commands: to be given.

    Returns:
        What went wrong, a line each.
    """
    found: list[str] = []
    for start in range(0, len(given), _AT_ONCE):
        some = given[start : start + _AT_ONCE]
        ended = in_child(lambda some=some: _try(folder, some, commands), folder, 600)
        lines = [line for line in ended.output.splitlines() if line.startswith(_MARK)]
        found += [line.removeprefix(_MARK) for line in lines]
        if ended.code:
            found.append(f"from {some[0]} on: the child ended with {ended.code}: {ended.last_line}")
    return found


_MARK = "fault of a key: "


def _try(folder: Path, some: Sequence[Change], commands: Sequence[Sequence[str]]) -> int:
    """In a child: each change, each command."""
    from burnish.cli.main import main

    run = folder / RUN
    for change in some:
        path = run / change.file
        whole = path.read_bytes()
        path.write_text(change.apply(whole.decode()), encoding="utf-8")
        for words in commands:
            output = io.StringIO()
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                try:
                    code = main(list(words))
                except SystemExit as error:
                    code = error.code if isinstance(error.code, int) else 1
            if code == 1 or "Traceback (most recent" in output.getvalue():
                said = next((x for x in output.getvalue().splitlines() if x.startswith("error")), "")
                print(f"{_MARK}{change}, `burnish {' '.join(words)}`: {said}", flush=True)
        path.write_bytes(whole)
    return 0


def make_runs(folder: Path, number: int = 0) -> Path:
    """Trains a run.

    Args:
        folder: an empty one.
        number: which of the victims is trained.

    Returns:
        The folder with the run.
    """
    here = folder / TRAININGS[number].name.replace(" ", "-")
    here.mkdir()
    made = run_command([*TRAININGS[number].words(folder), *settings({"train.max_steps": 6})], here, 300)
    if made.code:
        raise SystemExit(made.output)
    return here


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--victims", type=int, nargs="*", default=[0])
    parser.add_argument("--file", help="only this file of the run")
    options = parser.parse_args()
    warm_up()
    faults: list[str] = []
    print("| | changes | faults |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        os.environ["BURNISH_CACHE"] = f"{name}/cache"
        for number in options.victims:
            here = make_runs(Path(name), number)
            by_file: dict[str, list[Change]] = {}
            for change in changes(here / RUN):
                by_file.setdefault(change.file, []).append(change)
            for file, given in by_file.items():
                if options.file in (None, file):
                    found = attack(here, given)
                    print(f"| {here.name} {file} | {len(given)} | {len(found)} |", flush=True)
                    faults += found
    for fault in faults:
        print(fault)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
