"""Takes back each protection against kills, strangers and large loads, and shows that a test fails without it.

    python -m tools.attack.undone [--only PATTERN] [--file FILE]

`undone.yaml` lists them: what is claimed, the lines of the package that make it true with those that would not, and the
tests that hold it. First all these tests must pass on a copy of the repository as it is. Then each protection is taken
back in the copy, its tests run in a child of a process that has imported the libraries, and the file is restored. A
test that still passes holds nothing. One that cannot even be collected shows nothing either.

Prints a table; the exit code is 1 if a claim was not shown.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.attack.forked import Ended, in_child, warm_up_libraries

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_suffix(".yaml")
_COPIED = ("burnish", "tests", "tools", "docs", "bench", "pyproject.toml", "README.md")
_PATIENCE = 180.0


@dataclass(frozen=True, slots=True)
class Change:
    """Lines of a file of the package, and what is put in their place."""

    file: str
    """Relative to the root."""
    old: str
    new: str

    def fault(self, root: Path) -> str:
        """Why it cannot be made, as a phrase; empty if it can."""
        path = root / self.file
        found = path.read_text(encoding="utf-8").count(self.old) if path.is_file() else 0
        return "" if found == 1 else f"`{self.old.strip()}` is {found} times in `{self.file}`, and not once"


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that Burnish promises, how the promise is broken, and who notices."""

    group: str
    says: str
    undo: tuple[Change, ...]
    tests: tuple[str, ...]
    """Names of tests as pytest takes them."""
    hangs: bool = False
    """Whether a test that comes to no end, or takes the process with it, shows it."""

    def faults(self, root: Path) -> list[str]:
        """Why it cannot be tried."""
        missing = [test for test in self.tests if not _is_there(root, test)]
        return [fault for change in self.undo if (fault := change.fault(root))] + [
            f"there is no test `{test}`" for test in missing
        ]


def _is_there(root: Path, test: str) -> bool:
    file, _, name = test.partition("::")
    path = root / file
    return path.is_file() and f"def {name.partition('[')[0]}(" in path.read_text(encoding="utf-8")


def read_claims(path: Path = LIST) -> list[Claim]:
    """All claims, in the order of the file."""
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [
        Claim(
            group,
            one["says"],
            tuple(Change(**change) for change in one["undo"]),
            tuple(one["tests"]),
            one.get("hangs", False),
        )
        for group, claims in found.items()
        for one in claims
    ]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What tests said."""

    passed: frozenset[str]
    failed: frozenset[str]
    ended: Ended

    @property
    def words(self) -> str:
        """In a cell of the table."""
        if self.ended.is_late:
            return f"does not end in {_PATIENCE:.0f} s"
        if self.failed:
            return f"`{min(self.failed).rpartition('::')[2]}` fails"
        if self.ended.code < 0:
            return f"killed by signal {-self.ended.code}"
        return "NOTHING FAILS" if self.passed else "NOTHING RAN"

    def shows(self, claim: Claim) -> bool:
        """Whether a test fails, or the process comes to no end or is killed where that is meant."""
        return bool(self.failed) or (claim.hangs and (self.ended.is_late or self.ended.code < 0))


class _Noted:
    """A plugin of pytest that writes the outcome of each test into a file at once: the process may be killed."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed or report.when == "call":
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps([report.nodeid, report.outcome]) + "\n")


class Copy:
    """A copy of the repository, in which one protection at a time is taken back.

    Args:
        folder: to create.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name in _COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(ROOT / name, folder / name)

    @contextmanager
    def without(self, claim: Claim) -> Iterator[None]:
        """While entered, the copy lacks a protection."""
        before = {path: (path.read_bytes(), path.stat()) for path in (self.folder / one.file for one in claim.undo)}
        for change in claim.undo:
            path = self.folder / change.file
            path.write_text(path.read_text(encoding="utf-8").replace(change.old, change.new), encoding="utf-8")
        try:
            yield
        finally:
            for path, (content, found) in before.items():
                path.write_bytes(content)
                os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))  # what was compiled of it counts again

    def outcome(self, tests: Sequence[str], options: Sequence[str] = (), seconds: float = _PATIENCE) -> Outcome:
        """Runs tests on the copy, with more options of pytest."""
        with tempfile.TemporaryDirectory() as name:
            noted = Path(name) / "noted.jsonl"
            ended = in_child(lambda: self._run([*tests, *options], noted), self.folder, seconds)
            lines = noted.read_text(encoding="utf-8").splitlines() if noted.exists() else []
        outcomes = dict(map(json.loads, lines))
        failed = frozenset(test for test, outcome in outcomes.items() if outcome == "failed")
        return Outcome(frozenset(test for test in outcomes if outcomes[test] == "passed"), failed, ended)

    def _run(self, words: Sequence[str], noted: Path) -> int:
        """In a child: with the copy in the place of the package."""
        sys.path[:] = [str(self.folder), *(path for path in sys.path if Path(path).resolve() != ROOT)]
        os.environ["PYTHONPATH"] = str(self.folder)
        for name in [name for name in sys.modules if name.partition(".")[0] in ("burnish", "tests", "tools")]:
            del sys.modules[name]
        import burnish

        if not Path(burnish.__file__).is_relative_to(self.folder):
            raise SystemExit(f"`{burnish.__file__}` would be tested, and not the copy")
        options = ["-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", str(self.folder)]
        return int(pytest.main([*options, *words], plugins=[_Noted(noted)]))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help="a pattern in the group or the claim")
    parser.add_argument("--file", type=Path, default=LIST)
    parser.add_argument("--without-trial", action="store_true", help="the tests were seen to pass on this code")
    options = parser.parse_args()
    claims = [one for one in read_claims(options.file) if re.search(options.only, f"{one.group}: {one.says}")]
    if faults := [f"{one.says}: {fault}" for one in claims for fault in one.faults(ROOT)]:
        raise SystemExit("\n".join(faults))
    warm_up_libraries()
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(Path(folder) / "copy")
        tests = sorted({test for claim in claims for test in claim.tests})
        before = None if options.without_trial else copy.outcome(tests, seconds=_PATIENCE * len(tests))
        if before is not None and (before.failed or not before.passed):
            raise SystemExit(f"these fail as it is: {', '.join(sorted(before.failed))}\n{before.ended.output[-4000:]}")
        print("| | claim | tests | without it |\n|---|---|---|---|", flush=True)
        left = 0
        for claim in claims:
            with copy.without(claim):
                outcome = copy.outcome(claim.tests, ["-x"])
            left += not outcome.shows(claim)
            named = ", ".join(f"`{test.rpartition('/')[2]}`" for test in claim.tests)
            print(f"| {claim.group} | {claim.says} | {named} | {outcome.words} |", flush=True)
            if not outcome.shows(claim):
                print(outcome.ended.output[-1500:], file=sys.stderr)
    sys.exit(1 if left else 0)


if __name__ == "__main__":
    main()
