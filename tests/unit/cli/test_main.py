"""The command line from words to exit codes."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from burnish.cli import main as main_module
from burnish.cli.console import Console, Output
from burnish.cli.main import escape_library_messages, fail, main
from burnish.errors import Interrupted, MachineError
from burnish.recipe.load import dump_recipe, load_recipe
from burnish.runs.event_log import EventLog
from burnish.runs.events import Finished, StepDone, Validated
from burnish.runs.folder import RunFolder
from burnish.version import __version__
from tests.snapshots import check_snapshot

Captured = Callable[[], tuple[str, str]]


@pytest.fixture
def captured(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Captured:
    """What was printed since the last call; the command runs in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda: tuple(capsys.readouterr())  # type: ignore[return-value]


def make_run(runs: Path, name: str) -> RunFolder:
    """The folder of a finished run."""
    folder = RunFolder(runs / name)
    folder.adapter.mkdir(parents=True)
    recipe = load_recipe(
        "rows.jsonl", {"task": "chat", "method": "lora", "name": name, "model.name": "seedling"}, []
    ).recipe
    folder.recipe.write_text(dump_recipe(recipe), encoding="utf-8")
    log = EventLog(folder.path)
    log(Validated(0, 3.0, {"perplexity": 20.1}, is_best=True, seconds=0.1))
    log(StepDone(9, 9, 3.0, 1.0, 1e-4, 1.0, 100, 50, 0.1, 0.0))
    log(Validated(9, 1.5, {"perplexity": 4.5}, is_best=True, seconds=0.1))
    log(Finished(9, 3.0, 1.5, 65.0, str(folder.adapter)))
    estimate = {"value": 3.0, "low": 2.9, "high": 3.1}
    figures = [
        {"name": "loss", "base": estimate, "tuned": estimate, "difference": estimate, "is_share": False, "rows": 7}
    ]
    tables = [{"title": "Each label", "columns": ["label", "F1"], "rows": [["red", 0.5]]}]
    common = {"rows": 7, "held_out": "held out", "verdict": "No difference.", "note": "Read with care."}
    evaluation = {**common, "figures": figures, "tables": tables, "answers": []}
    folder.evaluation.write_text(json.dumps(evaluation), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("words", "what", "hint"),
    [
        (["trian", "rows.jsonl"], "there is no command `trian`", "Did you mean `burnish train`?"),
        (["qqqq"], "there is no command `qqqq`", "See `burnish --help`"),
        (["train", "a", "--modle", "gpt2"], "`burnish train` has no option `--modle`", "Did you mean `--model`?"),
        (["train", "a", "--zzzz", "1"], "`burnish train` has no option `--zzzz`", "See `burnish train --help`"),
        (["train"], "`burnish train` needs DATA", "See `burnish train --help`"),
        (["generate", "run"], "`burnish generate` needs PROMPT", "See `burnish generate --help`"),
        (["train", "a", "--seed", "x"], "`seed` cannot be `x`", "It takes a whole number"),
        (["generate", "r", "p", "--max-new-tokens", "0"], "`burnish generate`: invalid value", "--help"),
        (["show", "nothing"], "there is no run `nothing`", "burnish runs"),
        (["train", "a", "--set", "epochs=2"], "`epochs` is not an option (--set)", "`train.epochs`"),
    ],
)
def test_wrong_arguments_are_errors_with_exit_code_2(
    words: list[str], what: str, hint: str, captured: Captured
) -> None:
    assert main(words) == 2
    out, err = captured()
    assert out == ""
    assert err.splitlines()[0].startswith(f"error: {what}")
    assert err.splitlines()[-1].startswith("hint: ")
    assert hint in err.splitlines()[-1]


def test_a_file_where_a_command_belongs(captured: Captured) -> None:
    Path("rows.jsonl").touch()
    assert main(["rows.jsonl"]) == 2
    assert "`burnish train rows.jsonl`" in captured()[1]


@pytest.mark.parametrize("line", ["trian", "train", "train a --set x", "show nothing", "runs -z"])
def test_errors_as_json_whatever_is_wrong(line: str, captured: Captured) -> None:
    assert main([*line.split(), "--json"]) == 2
    out, err = captured()
    assert json.loads(out)["error"]["exit_code"] == 2
    assert err == ""


def test_a_name_that_is_not_text_can_be_shown(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "burnish", "show", "run-\udcff"]
    for more in ([], ["--json"]):
        done = subprocess.run([*words, *more], capture_output=True, cwd=tmp_path)
        assert done.returncode == 2
        assert b"Traceback" not in done.stderr
        assert b"run-\\udcff" in done.stdout + done.stderr


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "burnish", "--help"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() in (0, 1)


def test_version(captured: Captured) -> None:
    assert main(["--version"]) == 0
    assert captured()[0] == f"{__version__}\n"


def test_no_command_shows_the_help(captured: Captured) -> None:
    assert main([]) == 0
    assert "quickstart" in captured()[0]


_TOO_LONG = OSError(errno.ENAMETOOLONG, "File name too long", "a" * 300)


@pytest.mark.parametrize(
    ("error", "code", "first_line"),
    [
        (MachineError("no memory"), 3, "error: no memory"),
        (Interrupted("stopped"), 130, "stopped"),
        (KeyError("x"), 1, "error: unexpected failure: KeyError: 'x'"),
        (MemoryError(), 3, "error: memory ran out"),
        (_TOO_LONG, 2, f"error: `{'a' * 60}…` is too long for the name of a file"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 3, "error: memory ran out"),
        (RuntimeError("shape mismatch"), 1, "error: unexpected failure: RuntimeError: shape mismatch"),
    ],
)
def test_every_error_has_its_exit_code(error: Exception, code: int, first_line: str, captured: Captured) -> None:
    assert fail(Console(Output()), error) == code
    err = captured()[1]
    assert err.splitlines()[0] == first_line
    assert "Traceback" not in err


def test_debug_shows_where_an_error_came_from(captured: Captured) -> None:
    assert main(["show", "nothing", "--debug"]) == 2
    assert "Traceback" in captured()[1]


def test_runs_lists_what_is_there(captured: Captured) -> None:
    assert main(["runs"]) == 0
    assert "burnish quickstart" in captured()[0]
    make_run(Path("runs"), "first")
    assert main(["runs"]) == 0
    assert captured()[0].splitlines()[1].split()[:3] == ["first", "finished", "9/9"]
    assert main(["runs", "--quiet"]) == 0
    assert captured()[0] == "first\n"
    assert main(["runs", "--json"]) == 0
    assert [run["name"] for run in json.loads(captured()[0])["runs"]] == ["first"]


def test_show_describes_a_run_from_its_folder(captured: Captured) -> None:
    make_run(Path("elsewhere"), "mine")
    assert main(["show", "mine", "--runs", "elsewhere"]) == 0
    check_snapshot("unit/cli/test_main::show", re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "DATE", captured()[0]))
    assert main(["show", "mine", "--runs", "elsewhere", "--verbose"]) == 0
    assert "\nEach label:\nlabel     F1\nred    0.500\n" in captured()[0]
    assert main(["show", "elsewhere/mine", "--json"]) == 0
    described = json.loads(captured()[0])
    assert (described["best_step"], described["evaluation"]["rows"]) == (9, 7)


@pytest.mark.parametrize("command", ["resume", "evaluate", "generate"])
def test_a_run_that_is_not_there(command: str, captured: Captured) -> None:
    words = [command, "nothing", *(["prompt"] if command == "generate" else [])]
    assert main(words) == 2
    assert "there is no run `nothing`" in captured()[1]


def test_messages_of_other_libraries_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model's config has words in what transformers logs and warns of."""
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    factory, lines = logging.getLogRecordFactory(), io.StringIO()
    logger, handler = logging.Logger("library"), logging.StreamHandler(lines)
    logger.addHandler(handler)
    try:
        for _ in range(2):
            escape_library_messages()
        logger.warning("the class `%s`\nis not known", "\x1b]0;owned\x07")
    finally:
        logging.setLogRecordFactory(factory)
    assert lines.getvalue() == "the class `\\x1b]0;owned\\x07`\nis not known\n"
    shown = warnings.formatwarning(UserWarning("\x1b[2J"), UserWarning, "a.py", 3)
    assert "a.py:3: UserWarning: \\x1b[2J\n" in shown


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.parametrize("words", ["show NAME", "NAME", "runs --NAME"])
def test_a_terminal_obeys_no_name(words: str, tmp_path: Path) -> None:
    import pty

    name = "\x1b]0;owned\x07\x9b2J\u202e[/x]"
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "burnish", *(word.replace("NAME", name) for word in words.split())]
    subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, cwd=tmp_path, check=False, timeout=60
    )
    os.write(theirs, b"end")  # so that there is always something to read
    shown = os.read(ours, 1 << 16).decode()
    os.close(theirs)
    os.close(ours)
    assert "\\x1b]0;owned\\x07" in shown
    assert not re.search("\x07|\x9b|\x1b\\]|\u202e", shown)


def test_a_panic_of_a_library_in_rust_shows_no_traceback(monkeypatch: pytest.MonkeyPatch, captured: Captured) -> None:
    """`except Exception` does not catch it."""

    def fails(*words: object, **options: object) -> None:
        raise type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})("out of its range")

    monkeypatch.setattr(main_module, "_parser", lambda: fails)
    assert main(["runs"]) == 1
    assert captured()[1].startswith("error: unexpected failure: RuntimeError: a library failed: out of its range\n")
