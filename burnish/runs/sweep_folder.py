"""Sweep folders: the runs of a sweep, each an ordinary run folder, beside `sweep.json`, which holds its table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from burnish.errors import InputError
from burnish.runs.atomic import write_json
from burnish.runs.damage import DamagedRun, why_unreadable
from burnish.runs.folder import DEFAULT_RUNS, RunFolder, check_name, fresh_name, is_leftover
from burnish.visible import parse_json

FILE = "sweep.json"


@dataclass(slots=True)
class SweepRun:
    """One run of a sweep."""

    name: str
    setting: dict[str, Any]
    """Its values of the options that are swept, by dotted name."""
    seed: int
    is_done: bool = False
    """Whether it was trained to its end."""
    failure: str = ""
    """Why it could not be."""
    step: int = 0
    """The step whose weights were kept."""
    seconds: float = 0.0
    """Of its training."""
    preparation: float = 0.0
    """Seconds before its training."""
    score: float = 0.0
    """Its metric on the validation rows, negated for losses: higher is better."""


@dataclass(slots=True)
class SweepState:
    """What `sweep.json` holds."""

    asked: dict[str, Any]
    """What the sweep was asked for; the same again continues it."""
    runs: list[SweepRun] = field(default_factory=list)
    ranking: dict[str, Any] | None = None
    """The table, once all runs are trained."""
    winner: str | None = None
    """Name of the run that was chosen."""
    saved_seconds: float = 0.0
    """By preparing the runs together: the first preparation of a process minus each later one."""
    is_finished: bool = False
    """Whether the winner has been evaluated, too."""


@dataclass(frozen=True, slots=True)
class SweepFolder:
    """Paths of the files of a sweep, and its state."""

    path: Path

    @property
    def name(self) -> str:
        """The sweep's name, which is the name of the folder."""
        return self.path.name

    @property
    def file(self) -> Path:
        """The state, with the table."""
        return self.path / FILE

    def run(self, name: str) -> RunFolder:
        """The folder of one of its runs."""
        return RunFolder(self.path / name)

    def read(self) -> SweepState | None:
        """The state; None if there is none yet.

        Raises:
            DamagedRun: the file is damaged.
        """
        if not self.file.is_file():
            return None
        try:
            values = parse_json(self.file.read_text(encoding="utf-8"))
            state = SweepState(**{**values, "runs": [SweepRun(**run) for run in values["runs"]]})
            for name in filter(None, (*(run.name for run in state.runs), state.winner)):
                check_name(name)  # a name like `../other` would lead out of the folder
            return state
        except InputError as error:
            raise DamagedRun(
                f"`{self.file}` is damaged", f"{error.what[:1].upper()}{error.what[1:]}.", "Choose another `--name`"
            ) from error
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise DamagedRun(
                f"`{self.file}` is damaged", f"{why_unreadable(error)}.", "Choose another `--name` for a new sweep"
            ) from error

    def write(self, state: SweepState) -> None:
        """Writes the state, atomically.

        Raises:
            MachineError: the disk is full.
        """
        write_json(self.file, asdict(state))


def list_sweeps(runs: str = DEFAULT_RUNS) -> list[SweepFolder]:
    """Every sweep folder below `runs`, oldest first."""
    found = [file for file in Path(runs).glob(f"*/{FILE}") if file.is_file()]
    return [SweepFolder(file.parent) for file in sorted(found, key=lambda file: (file.stat().st_mtime, file))]


def describe_sweep(sweep: SweepFolder) -> dict[str, Any]:
    """What `burnish runs` says of a sweep."""
    try:
        state = sweep.read()
    except DamagedRun as error:
        why = f"{error.what}: {error.why.rstrip('.')}"
        return {"name": sweep.name, "path": str(sweep.path), "state": "damaged", "why": why}
    if state is None:
        return {"name": sweep.name, "path": str(sweep.path), "state": "damaged", "why": f"`{sweep.file}` is missing"}
    return {
        "name": sweep.name,
        "path": str(sweep.path),
        "state": "finished" if state.is_finished else "can be continued",
        "runs": len(state.runs),
        "done": sum(run.is_done for run in state.runs),
        "winner": state.winner,
    }


def find_sweep(runs: Path, name: str | None, stem: str, asked: Mapping[str, Any]) -> tuple[SweepFolder, bool]:
    """The folder for a sweep, and whether one that was asked for the same has been begun there.

    Args:
        runs: the folder that holds the run folders.
        name: of the sweep; None for a fresh name.
        stem: of the fresh name.
        asked: what the sweep is asked for.

    Raises:
        InputError: the name is not valid, or taken by something else.
    """
    if name is None:
        same = next((one for one in list_sweeps(str(runs)) if _asked_of(one) == asked), None)
        return (same, True) if same else (SweepFolder(runs / fresh_name(runs, stem)), False)
    check_name(name)
    folder = SweepFolder(runs / name)
    state = folder.read()
    if state is not None and state.asked == asked:
        return folder, True
    if folder.path.exists() and not is_leftover(folder.path):
        different = "" if state is None else _different(state.asked, asked)
        raise InputError(
            f"`{folder.path}` already exists",
            different or "It is not a sweep.",
            "Choose another `--name`, or give the command of that sweep again to continue it",
        )
    return folder, False


def _asked_of(sweep: SweepFolder) -> Mapping[str, Any] | None:
    """What a sweep was asked for; None for a damaged one, which cannot be continued."""
    try:
        state = sweep.read()
    except DamagedRun:
        return None
    return None if state is None else state.asked


def _different(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between two sweeps, in a sentence."""
    names = [name for name in (*before, *now) if before.get(name) != now.get(name)]
    flat = {one for name in names for one in _options(name, before.get(name), now.get(name))}
    return f"That sweep was asked for something else: {', '.join(f'`{one}`' for one in sorted(flat))} differ."


def _options(name: str, before: Any, now: Any) -> list[str]:
    if not isinstance(before, dict) or not isinstance(now, dict):
        return [name]
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    return [key if name in ("recipe", "over") else f"{name}.{key}" for key in keys]
