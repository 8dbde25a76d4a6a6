"""A training in several processes, started by one that takes no part in it: a script, or a command that measures.

It is the command `burnish train` in a child process, with what was asked for in a recipe of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from burnish.errors import BurnishError, Interrupted
from burnish.jobs.job import nested
from burnish.recipe.load import LoadedRecipe, code_options
from burnish.recipe.origins import DEFAULT
from burnish.runs.events import Listener, event_of
from burnish.templates import yaml_text

_RESULT, _FAILED = "Result", "Failed"
"""The last line of `--json-lines`."""
_ENDING_SECONDS = 60.0
"""For a child to save its state and end."""


def words_of(loaded: LoadedRecipe, folder: Path, changes: Mapping[str, Any] | None = None) -> list[str]:
    """The command that trains a recipe, without what follows from it by default.

    Args:
        loaded: what was asked for.
        folder: where the recipe is written.
        changes: options by dotted name, in place of those that were asked for.
    """
    values = loaded.recipe.model_dump(mode="json")
    asked = {name: _at(values, name) for name, origin in loaded.origins.items() if origin != DEFAULT}
    asked |= {"runs": loaded.recipe.runs, **(changes or {})}
    # a file must not decide that code is run, so the command does
    code = {name: asked.pop(name) for name in code_options(loaded.recipe) if name in asked}
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml_text(nested(asked)), encoding="utf-8")
    return ["train", str(recipe), *(word for name in code for word in ("--set", f"{name}={json.dumps(code[name])}"))]


@contextmanager
def started(words: Sequence[str], output: IO[bytes] | int, errors: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """A command of Burnish in a child process, which is ended when the context is left.

    Args:
        words: what follows `burnish`.
        output: for what it prints.
        errors: for its messages.
    """
    child = subprocess.Popen(
        [sys.executable, "-m", "burnish", *words], stdin=subprocess.DEVNULL, stdout=output, stderr=errors
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(_ENDING_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        if child.stdout is not None:
            child.stdout.close()


def train_together(loaded: LoadedRecipe, processes: int, listeners: Sequence[Listener]) -> Path:
    """Trains a recipe in several processes of this machine, and returns the run folder.

    Args:
        loaded: what was asked for.
        processes: their number.
        listeners: called with every event.

    Raises:
        BurnishError: the same that `burnish train` shows.
        Interrupted: by Ctrl-C; its state is saved.
    """
    with tempfile.TemporaryDirectory(prefix="burnish-together-") as name:
        words = [*words_of(loaded, Path(name)), "--processes", str(processes)]
        return run_together(words, listeners)


def run_together(words: Sequence[str], listeners: Sequence[Listener]) -> Path:
    """Runs a command that trains, passes its events on, and returns the run folder.

    Args:
        words: what follows `burnish`.
        listeners: called with every event.

    Raises:
        BurnishError: what the command shows.
    """
    result: dict[str, Any] = {}
    failed: Any = None
    with tempfile.TemporaryFile() as errors, started([*words, "--json-lines"], subprocess.PIPE, errors) as child:
        assert child.stdout is not None
        for line in child.stdout:
            said = json.loads(line)
            if said["event"] == _RESULT:
                result = said["result"]
            elif said["event"] == _FAILED:
                failed = said["error"]
            else:
                event = event_of(said)
                for listener in listeners:
                    listener(event)
        code = child.wait()
        errors.seek(0)
        written = errors.read().decode("utf-8", "replace").strip()
    if code == 0 and "path" in result:
        return Path(result["path"])
    raise _error_of(failed, code, written)


def _error_of(parts: Any, code: int, written: str) -> BurnishError:
    """The error of a command that has ended.

    Args:
        parts: of it, as `--json` has them; anything else where it could not say.
        code: with which it ended.
        written: its messages.
    """
    if not isinstance(parts, dict):
        return BurnishError("the processes ended without saying why", f"Exit code {code}. {written[-500:]}".strip())
    kind = Interrupted if code == Interrupted.exit_code else BurnishError
    error = kind(parts["what"], parts["why"], parts["fix"])
    error.exit_code = int(parts["exit_code"])
    return error


def _at(values: Any, option: str) -> Any:
    for part in option.split("."):
        values = values[part]
    return values


def threads_for(processes: int, cores: int) -> int:
    """Threads of each process: as many as the environment says, or its share of the cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) else max(1, cores // processes)
