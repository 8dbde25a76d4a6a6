"""What a user writes beside runs: names, notes and tags; and runs that are deleted, which can be undone for a while.

notes/ftjob-….json
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from burnish.jobs.job import read_json
from burnish.runs.atomic import write_json
from burnish.studio.drafts import shown_name
from burnish.visible import visible

UNDO_SECONDS = 600.0
"""In which a deleted run can be taken back."""
_SAFE = re.compile(r"[A-Za-z0-9._-]{1,120}")
_MOST_TAGS, _LONGEST_NOTE = 12, 20_000


@dataclass(frozen=True, slots=True)
class Note:
    """What is written beside a run."""

    name: str = ""
    text: str = ""
    tags: list[str] = field(default_factory=list)
    deleted: float | None = None
    """When it was deleted, in seconds since the epoch."""

    @property
    def seconds_left(self) -> float:
        """In which the deletion can be undone."""
        return 0.0 if self.deleted is None else max(0.0, self.deleted + UNDO_SECONDS - time.time())


class Notes:
    """The notes of a project, by the name of the run.

    Args:
        folder: that holds them; it is made if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        names = [path.stem for path in folder.glob("*.json")]
        self._notes = {name: _note(read_json(folder / f"{name}.json") or {}) for name in names}

    def of(self, run: str) -> Note:
        """What is written beside a run; empty if nothing is."""
        return self._notes.get(run, Note())

    def write(self, run: str, text: str, tags: str) -> Note:
        """Replaces note and tags.

        Args:
            run: its name.
            text: of the note.
            tags: separated by commas.
        """
        found = [shown_name(tag) for tag in tags.split(",") if tag.strip()]
        clean = visible(text)[:_LONGEST_NOTE]
        return self._put(run, replace(self.of(run), text=clean, tags=list(dict.fromkeys(found))[:_MOST_TAGS]))

    def rename(self, run: str, name: str) -> Note:
        """Gives a run another name on the pages; its folder keeps its own."""
        return self._put(run, replace(self.of(run), name=shown_name(name)))

    def delete(self, run: str) -> Note:
        """Notes that a run is to be removed; its folder stays until that can no longer be undone."""
        return self._put(run, replace(self.of(run), deleted=time.time()))

    def restore(self, run: str) -> Note:
        """Undoes a deletion."""
        return self._put(run, replace(self.of(run), deleted=None))

    def purge(self, remove: Callable[[str], None]) -> None:
        """Removes the runs whose deletion can no longer be undone.

        Args:
            remove: removes the folder of a run by its name.
        """
        over = [run for run, note in self._notes.items() if note.deleted is not None and not note.seconds_left]
        for run in over:
            remove(run)
            del self._notes[run]
            (self._folder / f"{run}.json").unlink(missing_ok=True)

    def _put(self, run: str, note: Note) -> Note:
        if _SAFE.fullmatch(run):  # the names that Burnish gives to run folders
            self._notes[run] = note
            write_json(self._folder / f"{run}.json", asdict(note))
        return note


def _note(found: object) -> Note:
    known = found if isinstance(found, dict) else {}
    return Note(**{name: known[name] for name in Note.__dataclass_fields__ if name in known})
