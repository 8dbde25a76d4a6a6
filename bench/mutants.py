"""How many small faults in the code the tests notice.

    pip install pytest-cov
    python bench/mutants.py cover COVERAGE                one run of `make test`, which notes who runs which line
    python bench/mutants.py run COVERAGE [--count 150] [--seed 0] [--rooms engine tasks] [--seconds 120] [--jobs 2]

Each mutant changes one place of one file: a comparison, an operator, a constant, a condition, a call left out. It is
killed if a test fails, or takes far longer than before. Only tests that run the changed line can notice, so only they
are run, up to `--seconds` of them: first those of the file's own room, then the others, the quick ones first. So the
share that is killed is a lower bound. A line that no test runs counts as a survivor.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ROOMS = ("engine", "tasks", "methods", "data/chat", "metrics")
_COPIED = ("burnish", "tests", "bench", "tools", "docs", "pyproject.toml", "README.md", "CONTRIBUTING.md")
_QUIET = {
    "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1",
}  # fmt: skip
_RUNNING: set[int] = set()
"""Process groups of tests."""
_SWAPS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Add: ast.Sub, ast.Sub: ast.Add,
    ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutant:
    """One changed place."""

    file: str
    """Relative to the root."""
    first: int
    """Line of the statement's first line; with `last`, what a test has to run to notice."""
    last: int
    span: tuple[int, int]
    """Characters of the file's text that are replaced."""
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a mutant."""

    mutant: Mutant
    is_killed: bool
    how: str
    tests: int
    """That run the line."""


def main() -> None:
    """Runs one of the two commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["cover", "run"])
    parser.add_argument("coverage", type=Path)
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rooms", nargs="+", default=list(ROOMS))
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--again", type=Path, help="a file of outcomes: only its survivors are run")
    parser.add_argument("--also", nargs="*", default=[], help="test files that are run first, whatever they covered")
    parser.add_argument("--out", type=Path, help="where to write the outcomes as JSON lines; continued if it exists")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    if options.verb == "cover":
        cover(options.coverage, options.rooms, options.jobs)
    else:
        run(options)


def stop(number: int, frame: object) -> None:
    """Ends the tests that run, which have sessions of their own, and this process."""
    for group in list(_RUNNING):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    os._exit(128 + number)


def cover(folder: Path, rooms: Sequence[str], jobs: int) -> None:
    """Runs the suite once and keeps which test ran which line of the rooms, and how long each test took."""
    folder.mkdir(parents=True, exist_ok=True)
    data, report = folder.resolve() / "coverage", folder.resolve() / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-n", str(jobs), "--dist", "worksteal", "-m", "not slow"]
    command += [f"--cov={ROOT / 'burnish' / room}" for room in rooms]
    command += ["--cov-context=test", "--cov-report=", f"--junit-xml={report}"]
    subprocess.run(command, cwd=ROOT, env=os.environ | _QUIET | {"COVERAGE_FILE": str(data)}, check=True)


def run(options: argparse.Namespace) -> None:
    """Tries a sample of mutants and prints the survivors and the share of killed ones by room."""
    known = Coverage(options.coverage)
    if options.again:
        survivors = [outcome.mutant for outcome in earlier_outcomes(options.again) if not outcome.is_killed]
        chosen = [found for one in survivors if (found := found_again(one)) is not None]
    else:
        chosen = sample(options.rooms, options.count, options.seed)
    earlier = earlier_outcomes(options.out)
    tried_before = [outcome for outcome in earlier if outcome.mutant in chosen]
    chosen = [mutant for mutant in chosen if mutant not in {outcome.mutant for outcome in earlier}]
    with tempfile.TemporaryDirectory() as name:
        workers = [Worker(Path(name) / str(number)) for number in range(options.jobs)]
        queues = [chosen[number :: options.jobs] for number in range(options.jobs)]
        with ThreadPoolExecutor(options.jobs) as pool:
            tried = pool.map(lambda worker, queue: list(worker.tries(queue, known, options)), workers, queues)
            outcomes = [*tried_before, *(outcome for some in tried for outcome in some)]
    print()
    for outcome in sorted(outcomes, key=lambda one: (one.mutant.file, one.mutant.first)):
        if not outcome.is_killed:
            print(f"survived: {shown(outcome)}")
    counts = Counter((room_of(one.mutant.file), one.is_killed) for one in outcomes)
    for room in sorted({room for room, _ in counts}):
        killed, total = counts[room, True], counts[room, True] + counts[room, False]
        print(f"{room}: {killed} of {total} killed, {killed / total:.0%}")
    killed = sum(one.is_killed for one in outcomes)
    print(f"all: {killed} of {len(outcomes)} killed, {killed / max(1, len(outcomes)):.1%}")


def earlier_outcomes(file: Path | None) -> list[Outcome]:
    """What an earlier run left in `--out`: such mutants are not tried again."""
    if file is None or not file.exists():
        return []
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    mutants = [Mutant(**{**line["mutant"], "span": tuple(line["mutant"]["span"])}) for line in lines]
    return [Outcome(**{**line, "mutant": mutant}) for line, mutant in zip(lines, mutants, strict=True)]


def room_of(file: str) -> str:
    """The room of a file of the package."""
    inside = file.removeprefix("burnish/")
    return next((room for room in ROOMS if inside.startswith(f"{room}/")), inside.partition("/")[0])


def shown(outcome: Outcome) -> str:
    """A mutant in a line."""
    one = outcome.mutant
    return f"{one.file}:{one.first}: `{one.old}` -> `{one.new}` ({outcome.how}; {outcome.tests} tests run it)"


def sample(rooms: Sequence[str], count: int, seed: int) -> list[Mutant]:
    """As many mutants of each room."""
    source, chosen = random.Random(seed), []
    for number, room in enumerate(rooms):
        files = sorted((ROOT / "burnish" / room).rglob("*.py"))
        every = [mutant for file in files for mutant in mutants_of(file)]
        share = count // len(rooms) + (number < count % len(rooms))
        chosen += source.sample(every, min(share, len(every)))
    source.shuffle(chosen)
    return chosen


def found_again(mutant: Mutant) -> Mutant | None:
    """The mutant in a file that may have changed since, with the lines that the coverage knows; None if it is gone."""
    alike = [one for one in mutants_of(ROOT / mutant.file) if (one.old, one.new) == (mutant.old, mutant.new)]
    nearest = min(alike, key=lambda one: abs(one.first - mutant.first), default=None)
    return None if nearest is None else replace(mutant, span=nearest.span)


def mutants_of(file: Path) -> Iterator[Mutant]:
    """Every mutant of a file."""
    text = file.read_text(encoding="utf-8")
    begins = [0]
    for line in text.splitlines(keepends=True):
        begins.append(begins[-1] + len(line.encode("utf-8")))
    raw = text.encode("utf-8")

    def place(node: Any) -> tuple[int, int]:
        return begins[node.lineno - 1] + node.col_offset, begins[node.end_lineno - 1] + node.end_col_offset

    for statement, node in places(ast.parse(text)):
        for new in changed(node):
            last = node.end_lineno if hasattr(statement, "body") else statement.end_lineno
            start, end = place(node)
            old = raw[start:end].decode("utf-8")
            span = len(raw[:start].decode("utf-8")), len(raw[:end].decode("utf-8"))
            first = min(statement.lineno, node.lineno)
            yield Mutant(str(file.relative_to(ROOT)), first, last or first, span, old, new)


def places(tree: ast.Module) -> Iterator[tuple[Any, Any]]:
    """Statements and the nodes in them that can be changed: no annotations, messages or docstrings."""

    def visit(node: ast.AST, statement: Any) -> Iterator[tuple[Any, Any]]:
        if isinstance(node, (ast.JoinedStr, ast.Raise, ast.Import, ast.ImportFrom, ast.Assert)):
            return
        if isinstance(node, ast.keyword) and node.arg == "strict":  # of `zip`: an assertion, too
            return
        if isinstance(node, ast.stmt):
            statement = node
        if statement is not None:
            yield statement, node
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_params", "bases"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from visit(child, statement)

    yield from visit(tree, None)


def changed(node: Any) -> Iterator[str]:
    """What a node may be replaced by."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _SWAPS:
        other = copy.deepcopy(node)
        other.ops[0] = _SWAPS[type(node.ops[0])]()
        yield f"({ast.unparse(other)})"
    elif isinstance(node, (ast.BinOp, ast.BoolOp)) and type(node.op) in _SWAPS:
        if not isinstance(node, ast.BinOp) or not _is_text(node):
            other = copy.deepcopy(node)
            other.op = _SWAPS[type(node.op)]()
            yield f"({ast.unparse(other)})"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield f"({ast.unparse(node.operand)})"
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield str(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield repr(node.value + 1)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield "pass"
    elif isinstance(node, ast.IfExp):
        yield f"({ast.unparse(node.body)})"
        yield f"({ast.unparse(node.orelse)})"
    elif isinstance(node, ast.Continue):
        yield "break"
    elif isinstance(node, ast.Break):
        yield "continue"


def _is_text(node: ast.AST) -> bool:
    """Whether strings are put together, which nothing but addition can do."""
    return any(
        isinstance(one, ast.JoinedStr) or (isinstance(one, ast.Constant) and isinstance(one.value, str))
        for one in ast.walk(node)
    )


class Coverage:
    """Which tests run which lines.

    Args:
        folder: that `cover` wrote.
    """

    def __init__(self, folder: Path) -> None:
        from xml.etree import ElementTree

        from coverage import CoverageData

        self._data = CoverageData(str(folder / "coverage"))
        self._data.read()
        self._lines: dict[str, dict[int, list[str]]] = {}
        self.seconds: dict[str, float] = {}
        self.existing = existing_tests()
        for case in ElementTree.parse(folder / "report.xml").iter("testcase"):
            module, _, _ = case.attrib["classname"].partition(" ")
            name = f"{module.replace('.', '/')}.py::{case.attrib['name']}"
            self.seconds[name] = float(case.attrib["time"])

    def tests(self, mutant: Mutant) -> list[str]:
        """The tests that run a mutant's lines, those of its own room first, quick ones first."""
        if mutant.file not in self._lines:
            self._lines[mutant.file] = self._data.contexts_by_lineno(mutant.file)
        lines = self._lines[mutant.file]
        found = {test for line in range(mutant.first, mutant.last + 1) for test in lines.get(line, ())}
        if "" in found:  # run while the module was imported: whoever uses the module may notice
            found = {test for tests in lines.values() for test in tests}
        names = {context.partition("|")[0] for context in found} & self.seconds.keys() & self.existing
        own = own_tests(mutant)
        return sorted(names, key=lambda name: (not name.startswith(own), self.seconds[name], name))

    def within(self, tests: Sequence[str], seconds: float) -> list[str]:
        """As many of them as fit."""
        chosen, spent = [], 0.0
        for test in tests:
            spent += self.seconds.get(test, 0.0)
            if spent > seconds and chosen:
                break
            chosen.append(test)
        return chosen


def own_tests(mutant: Mutant) -> str:
    """How the names of the tests of a mutant's own room begin."""
    return f"tests/unit/{room_of(mutant.file)}/"


def existing_tests() -> set[str]:
    """Names of the tests that there are now; the coverage may know others."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | _QUIET, check=True, capture_output=True, text=True)
    return {line for line in done.stdout.splitlines() if "::" in line}


class Worker:
    """A copy of the repository in which one mutant at a time is tried.

    Args:
        folder: to create.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in _COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, folder / name)

    def tries(self, mutants: Sequence[Mutant], known: Coverage, options: argparse.Namespace) -> Iterator[Outcome]:
        """The outcome of each mutant."""
        for mutant in mutants:
            tests = [*options.also, *known.tests(mutant)]
            own = [test for test in tests if test.startswith((own_tests(mutant), *options.also))]
            outcome = Outcome(mutant, False, "-", len(tests))
            # first those of its room: a process that collects few files begins much sooner
            for chosen in (own, [test for test in tests if test not in set(own)]):
                if chosen and not outcome.is_killed:
                    outcome = replace(self._try(mutant, known, chosen, options.seconds), tests=len(tests))
            print("killed  " if outcome.is_killed else "SURVIVED", shown(outcome), flush=True)
            if options.out:
                with options.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(outcome)) + "\n")
            yield outcome

    def _try(self, mutant: Mutant, known: Coverage, tests: Sequence[str], seconds: float) -> Outcome:
        file = self.folder / mutant.file
        text = file.read_text(encoding="utf-8")
        start, end = mutant.span
        file.write_text(text[:start] + mutant.new + text[end:], encoding="utf-8")
        try:
            chosen = known.within(tests, seconds)
            limit = 120 + 4 * sum(known.seconds.get(test, 0.0) for test in chosen)
            return Outcome(mutant, *self._run(chosen, limit), len(chosen))
        finally:
            file.write_text(text, encoding="utf-8")

    def _run(self, tests: Sequence[str], limit: float) -> tuple[bool, str]:
        """Whether a test fails, and which or why."""
        arguments = self.folder / "tests.txt"
        arguments.write_text("".join(f"{test}\n" for test in tests), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
        environment = os.environ | _QUIET | {"PYTHONPATH": str(self.folder)}
        begun = time.monotonic()
        process = subprocess.Popen(
            [*command, f"@{arguments}"], cwd=self.folder, env=environment, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        _RUNNING.add(process.pid)
        try:
            out, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return True, f"stopped after {limit:.0f} s"
        finally:
            _RUNNING.discard(process.pid)
        took = f"{time.monotonic() - begun:.0f} s"
        if process.returncode == 0:
            return False, took
        failed = [line for line in out.splitlines() if line.startswith(("FAILED ", "ERROR tests/"))]
        if process.returncode in (4, 5) and not failed:
            raise SystemExit(f"these tests cannot be run, so cover again:\n{out[-2000:]}")
        return True, (failed[0].split(" - ")[0] if failed else out.strip().splitlines()[-1])[:160]


if __name__ == "__main__":
    main()
