"""Run folders: which file is where, and how folders are created, found and listed."""

from __future__ import annotations

import contextlib
import difflib
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from burnish.errors import InputError, MachineError, MissingRun, PeerLost
from burnish.runs.atomic import TEMPORARY_PREFIX, DiskError, as_disk_error
from burnish.runs.damage import check_plain
from burnish.runs.event_log import EVENTS, read_events
from burnish.runs.lock import LOCK, RECORD, Locked, write_lock, writer_of
from burnish.runs.paths import RunFolder, checkpoint_folder, checkpoint_folders, split_step
from burnish.system.machine import memory_size
from burnish.system.shell import quoted

DEFAULT_RUNS = "runs"


def check_name(name: str) -> None:
    """Refuses a name that no folder should have, on any system.

    Raises:
        InputError: it has other characters than a name consists of, or Windows reserves it.
    """
    why = ""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}", name) or name.endswith("."):
        why = (
            "A name consists of letters, digits, `.`, `_` and `-`, starts with a letter or digit, and does not end in "
            "`.`."
        )
    elif _is_reserved(name):
        why = "Windows keeps this name for a device, so the run could not be copied there."
    if why:
        raise InputError(f"`{name}` is not a valid run name", why, "Choose another with `--name`")


def _is_reserved(name: str) -> bool:
    return re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)", name.partition(".")[0], re.IGNORECASE) is not None


def check_new_run(runs: Path, name: str | None) -> None:
    """Checks what is known of a new run's folder before anything is read or loaded; writes nothing that stays.

    Args:
        runs: the folder that will hold it.
        name: of the run; None if it will be chosen later.

    Raises:
        InputError: the name is not valid or taken, a process trains that run now, or `runs` cannot be written.
        MachineError: the disk is full or read-only.
    """
    if name is not None:
        check_name(name)
        if writer := writer_of(runs / name):
            raise Locked(f"the run `{runs / name}` is being {writer}", "", "Choose another `--name`")
        if (runs / name).exists() and not is_leftover(runs / name):
            raise _taken(runs / name)
    nearest = next(path for path in (runs.absolute(), *runs.absolute().parents) if path.exists())
    try:
        # a file without a name, where the system has such: a power cut at this moment leaves nothing behind
        with as_disk_error(runs), tempfile.TemporaryFile(dir=nearest) as trial:
            trial.write(bytes(1 << 16))
    except OSError as error:
        raise _unwritable(runs if name is None else runs / name, error) from None


def check_room(folder: Path, needed: int) -> None:
    """Checks that a disk has room for what a run will write at least.

    Args:
        folder: on that disk; it need not exist yet.
        needed: bytes.

    Raises:
        MachineError: it has not.
    """
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(nearest).free
    if free < needed:
        raise MachineError(
            f"the disk has no room for this run: it needs at least {memory_size(needed)}",
            f"{memory_size(free)} are free for `{folder}`; checkpoints and the result are written there.",
            "Free some space, write elsewhere with `--runs`, or train fewer weights, for example with `--method lora`",
        )


def check_unfinished(run: RunFolder) -> None:
    """Refuses a run that has its result, evaluation, model card and report, or that a sweep trained to its end.

    Raises:
        InputError: it is finished.
        DamagedRun: its log of events is damaged.
    """
    # a sweep ends its runs without an evaluation, so without losses of base and tuned model
    is_of_sweep = any(line.get("loss_after") is None for line in finished_events(run))
    if run.result is not None and (is_of_sweep or (is_evaluated(run) and _has_pages(run))):
        raise InputError(
            f"the run `{run.name}` is finished", f"Its result is `{run.result}`.", f"See `burnish show {run.path}`"
        )


def is_evaluated(run: RunFolder) -> bool:
    """Whether a run has its result and its evaluation, and has logged both.

    Raises:
        DamagedRun: its log of events is damaged.
    """
    return run.result is not None and run.evaluation.is_file() and bool(finished_events(run))


def _has_pages(run: RunFolder) -> bool:
    return run.report.is_file() and run.result is not None and (run.result / "README.md").is_file()


@contextlib.contextmanager
def can_be_resumed(run: RunFolder) -> Iterator[None]:
    """While entered, an interruption, a full disk and a lost process name the command that continues the run."""
    command = f"`burnish resume {quoted(str(run.path))}`"
    try:
        yield
    except (DiskError, PeerLost) as error:
        first = "Free some space on that disk, then c" if isinstance(error, DiskError) else "C"
        raise type(error)(error.what, error.why, f"{first}ontinue with {command}") from error
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"Continue with {command}") from error


def result_of(run: RunFolder) -> Path:
    """The folder of a run's result.

    Raises:
        InputError: it has no result yet.
    """
    if run.result is not None:
        return run.result
    if run.step is not None:
        _check_step(run)
        raise InputError(
            f"the result of `{run.named}` has not been written yet",
            "",
            f"Use it once: `burnish generate {run.named} hi`",
        )
    if writer := writer_of(run.path):
        raise Locked(
            f"the run `{run.name}` has no result yet", f"It is being {writer}.", "Wait until its training has ended"
        )
    kept = steps_kept(run)
    other = f"; or use a checkpoint of it: `{run.path}@{kept[-1]}`" if kept else ""
    raise InputError(
        f"the run `{run.name}` has no result yet",
        "Its training has not finished.",
        f"`burnish resume {run.path}`{other}",
    )


def check_usable(run: RunFolder) -> None:
    """Refuses a run that has no result, unless it is a checkpoint, whose result is written when it is first used.

    Raises:
        InputError: it has none.
    """
    if run.step is None:
        result_of(run)


class NewRun:
    """A run folder in the making: locked from the moment it has its name, removed again if nothing comes of it.

    A context manager that is entered when the work begins and left when the run has ended.

    Args:
        runs: the folder that will hold it.
    """

    def __init__(self, runs: Path) -> None:
        self.folder: RunFolder | None = None
        self._runs = runs
        self._held = contextlib.ExitStack()
        self._made: list[Path] = []

    def __enter__(self) -> NewRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.folder is not None and is_leftover(self.folder.path):
            _clear(self.folder.path)
        self._held.close()
        for path in reversed(self._made):
            with contextlib.suppress(OSError):  # something came of it, or another run is there by now
                path.rmdir()

    def take(self, name: str) -> RunFolder:
        """Creates and locks the folder of this name.

        Raises:
            InputError: the name is not valid or taken, or the folder cannot be created.
            MachineError: the disk is full or read-only.
        """
        check_name(name)
        path = self._runs / name
        while self.folder is None:
            missing = [one for one in (path, *path.parents) if not one.exists()]
            try:
                with as_disk_error(path):
                    path.mkdir(parents=True)
            except FileExistsError:
                if path.is_dir() and not is_leftover(path):
                    raise _taken(path) from None
                missing = [path]
            except OSError as error:
                raise _unwritable(path, error) from None
            self._made += missing[::-1]  # also of a name that turns out to be locked: no other run would remove it
            # the folder may be removed at this very moment, by a run that came to nothing; if that happens while the
            # lock is being created, filelock reports a file in its place
            with contextlib.suppress(FileNotFoundError, FileExistsError):
                self._held.enter_context(write_lock(path, "trained"))
                if not is_leftover(path):  # another process has begun a run there by now
                    raise _taken(path)
                _clear(path)
                self.folder = RunFolder(path)
        return self.folder

    def take_fresh(self, stem: str) -> RunFolder:
        """Creates and locks a folder named `stem`, or the first of `stem-2`, `stem-3` … that is free."""
        while True:
            with contextlib.suppress(NameTaken, Locked):  # by a run that began at the same moment
                return self.take(fresh_name(self._runs, stem))


class NameTaken(InputError):
    """There is a run of that name already."""


def _taken(path: Path) -> NameTaken:
    return NameTaken(
        f"the run `{path}` already exists",
        "A run is never overwritten.",
        f"Choose another `--name`, or continue that run: `burnish resume {path}`",
    )


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(f"cannot create the run folder `{path}`", f"{error.strerror}.", "Choose another `--runs`")


_BEFORE_RECIPE = {
    LOCK,
    RECORD,
    EVENTS,
    "manifest.json",
    "rejected.jsonl",
    "views.json",
    "checkpoints",
    "data",
    "data-validation",
    "data-test",
}


def is_leftover(path: Path) -> bool:
    """Whether a folder is empty, or holds the lock of a run, and only what that writes before its recipe, so before its
    first step.

    Its process was killed, or the disk was full. Such a folder is not a run: the next run of its name replaces it.
    """
    try:
        names = {entry.name for entry in path.iterdir()}
    except OSError:  # it is no folder, or cannot be opened
        return False
    if not names:
        return True
    others = [name for name in names - _BEFORE_RECIPE if not name.startswith(TEMPORARY_PREFIX)]
    return LOCK in names and not others and not ("checkpoints" in names and any((path / "checkpoints").iterdir()))


def _clear(path: Path) -> None:
    """Empties the folder of a run that never began, up to the lock, which this process holds."""
    for entry in path.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name not in (LOCK, RECORD):
            entry.unlink(missing_ok=True)


def fresh_name(runs: Path, stem: str) -> str:
    """`stem`, or `stem-2`, `stem-3` … if that is taken; a run that never began takes no name."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:60].rstrip(".") or "run"
    stem = f"run-{stem}" if _is_reserved(stem) else stem
    number, name = 1, stem
    while (runs / name).exists() and not (is_leftover(runs / name) and writer_of(runs / name) is None):
        number += 1
        name = f"{stem}-{number}"
    return name


def find_run(name: str, runs: str = DEFAULT_RUNS, trusts_code: bool = False, takes_step: bool = False) -> RunFolder:
    """Finds a run folder by name or path.

    Args:
        name: of the run, or the path of its folder.
        runs: the folder that holds the run folders.
        trusts_code: whether the user lets it run the code that its recipe names.
        takes_step: whether a checkpoint of it may be named: `sft@200`.

    Raises:
        MissingRun: there is none; similar names are suggested.
        InputError: it never began, or has links or devices; or a checkpoint is named that it does not have, or that
            cannot stand in for the run.
    """
    stem, step = split_step(name)
    if step is not None and begun_at(RunFolder(Path(name))) is None:
        run = replace(find_run(stem, runs, trusts_code), step=step)
        if not takes_step:
            raise InputError(
                f"`{name}` is a checkpoint, and this command takes a run as a whole",
                "Checkpoints can be used, evaluated, merged, exported, trained further and accepted as the result.",
                f"Give the run: `{stem}`",
            )
        _check_step(run)
        return run
    places = (Path(name), Path(runs) / name)
    for path in places:
        run = RunFolder(path, trusts_code)
        if begun_at(run) is not None:
            check_plain(path)
            return run
    if leftover := next(filter(is_leftover, places), None):
        raise _never_began(leftover)
    known = [run.name for run in list_runs(runs)]
    near = difflib.get_close_matches(name, known, n=1)
    fix = f"Did you mean `{near[0]}`?" if near else "List the runs with `burnish runs`"
    raise MissingRun(
        f"there is no run `{name}`", f"There is no `recipe.yaml` in `{name}` or `{Path(runs) / name}`.", fix
    )


def _check_step(run: RunFolder) -> None:
    """Refuses a checkpoint that a run does not have, unless its result was written earlier."""
    if run.result is not None or checkpoint_folder(run, int(run.step or 0)).is_dir():
        return
    kept = steps_kept(run)
    raise InputError(
        f"the run `{run.path.name}` has no checkpoint of step {run.step}",
        f"It keeps those of the steps {', '.join(map(str, kept))}." if kept else "It keeps none.",
        f"Name one of them, for example `{run.path}@{kept[-1]}`; `save.keep` sets how many a run keeps"
        if kept
        else "Train it first, or set `save.every` to a smaller number of steps",
    )


def steps_kept(run: RunFolder) -> list[int]:
    """Steps of the checkpoints that a run still has, in order."""
    return [int(path.name.removeprefix("step-")) for path in checkpoint_folders(run.checkpoints)]


def _never_began(path: Path) -> InputError:
    if writer := writer_of(path):
        return Locked(f"the run `{path}` has not begun yet", f"It is being {writer}.", "Wait until it has begun")
    return InputError(
        f"the run `{path}` never started",
        "Its process ended before the first step, so there is nothing to continue or to show.",
        f"Run its command again: `burnish train DATA --name {path.name}`",
    )


def list_runs(runs: str = DEFAULT_RUNS) -> list[RunFolder]:
    """Every run folder below `runs`, oldest first."""
    root = Path(runs)
    if not root.is_dir():
        return []
    found = [(begun, RunFolder(path)) for path in root.iterdir() if (begun := begun_at(RunFolder(path))) is not None]
    return [run for _, run in sorted(found, key=lambda pair: (pair[0], pair[1].name))]


def begun_at(run: RunFolder) -> float | None:
    """When a run began, in seconds since the epoch; None for a folder that is not a run, or cannot be opened."""
    try:
        return run.recipe.stat().st_mtime if run.recipe.is_file() else None
    except OSError:
        return None


def finished_events(run: RunFolder) -> list[dict[str, Any]]:
    """The events that say that a run has its result; a sweep adds one to the run that it chooses.

    Raises:
        DamagedRun: the log of events is damaged.
    """
    return [line for line in read_events(run.events) if line["event"] == "Finished"]
