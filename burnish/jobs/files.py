"""Stored files: rows that clients uploaded, and tables that jobs made. No client chooses where one is.

files/file-…/file.json      name, size, purpose
files/file-…/rows.jsonl     the content; its suffix says what it is
files/file-…/check.json     what `burnish check` said of it
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from burnish.errors import InputError, MachineError
from burnish.jobs.job import in_words, read_json
from burnish.runs.atomic import remove_folder, write_folder
from burnish.visible import visible

ROWS, RESULTS = "fine-tune", "fine-tune-results"
"""Purposes."""
SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".conll", ".conllu", ".txt")
"""Of rows that may be uploaded: plain text, which takes no more room when it is read."""
CHECKING, USABLE, UNUSABLE = "uploaded", "processed", "error"
_ID = re.compile(r"file-[0-9a-f]{24}")
_LONGEST_NAME = 255
_SPARE_BYTES = 1 << 28
"""That stay free on the disk."""
_CHUNK = 1 << 20


class MissingFile(InputError):
    """There is no stored file of that id."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A stored file."""

    id: str
    filename: str
    """As the client calls it; only shown."""
    bytes: int
    created: float
    """In seconds since the epoch."""
    purpose: str
    suffix: str


class FileStore:
    """The stored files. One process at a time has them.

    Args:
        folder: that holds them; it exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        names = [path.name for path in self._folder.iterdir() if _ID.fullmatch(path.name)]
        found = [read_json(self._folder / name / "file.json") for name in names]
        self._files = {one["id"]: StoredFile(**one) for one in found if one}
        self._checked: set[str] = set()
        self._path = re.compile(rf"{re.escape(str(self._folder))}[/\\](file-[0-9a-f]{{24}})[/\\]rows\.[a-z]+")

    def content(self, file: StoredFile) -> Path:
        """The path of a file's content."""
        return self._folder / file.id / f"rows{file.suffix}"

    def checked(self, file: StoredFile) -> Path:
        """The path of what `burnish check` said of it."""
        return self._folder / file.id / "check.json"

    def add(self, source: IO[bytes], filename: str, purpose: str) -> StoredFile:
        """Stores a file, whole or not at all.

        Args:
            source: its content, from where it is read to its end.
            filename: what the client calls it.
            purpose: `ROWS` or `RESULTS`.

        Raises:
            InputError: it is empty, or of a kind that is not read.
            MachineError: the disk has no room.
        """
        name = shown_name(filename)
        suffix = suffix_of(name)
        file_id = f"file-{secrets.token_hex(12)}"
        size = 0
        with write_folder(self._folder / file_id) as folder:
            with (folder / f"rows{suffix}").open("wb") as target:
                while part := source.read(_CHUNK):
                    size += len(part)
                    self._check_room(len(part))
                    target.write(part)
            if not size:
                raise InputError("the file is empty", "", "Send a file with rows")
            file = StoredFile(file_id, name, size, time.time(), purpose, suffix)
            (folder / "file.json").write_text(json.dumps(asdict(file)), encoding="utf-8")
        self._files[file.id] = file
        return file

    def _check_room(self, needed: int) -> None:
        if shutil.disk_usage(self._folder).free < needed + _SPARE_BYTES:
            raise MachineError("the disk has no room for this file", "", "Delete files that are not needed any more")

    def get(self, file_id: str) -> StoredFile:
        """A file by its id.

        Raises:
            MissingFile: there is none.
        """
        if file_id not in self._files:
            raise MissingFile(f"there is no file `{visible(file_id[:80])}`", "", "Ask for the list of files")
        return self._files[file_id]

    def all(self) -> list[StoredFile]:
        """Every file, the oldest first."""
        return sorted(list(self._files.values()), key=lambda file: (file.created, file.id))

    def remove(self, file_id: str) -> None:
        """Removes a file.

        Raises:
            MissingFile: there is none.
        """
        file = self.get(file_id)
        del self._files[file.id]
        self._checked.discard(file.id)
        remove_folder(self._folder / file.id)

    def is_checked(self, file: StoredFile) -> bool:
        """Whether it is known if the file can be used."""
        if file.purpose == ROWS and file.id not in self._checked:
            if read_json(self.checked(file)) is None:
                return False
            self._checked.add(file.id)
        return True

    def state(self, file: StoredFile) -> tuple[str, str]:
        """Whether a file can be used, and what is wrong with it, with line numbers."""
        if file.purpose != ROWS:
            return USABLE, ""
        found = read_json(self.checked(file))
        if found is None:
            return CHECKING, ""
        if isinstance(error := found.get("error"), dict):
            return UNUSABLE, self.named(in_words(error))
        text = " ".join(map(_finding, found.get("findings", [])))
        return UNUSABLE if found.get("blocks") else USABLE, self.named(text)

    def named(self, text: str) -> str:
        """A text with the clients' names for their files instead of the paths of these; with the id of one that is
        gone."""

        def name(match: re.Match[str]) -> str:
            file = self._files.get(match[1])
            return match[1] if file is None else file.filename

        return self._path.sub(name, text)


def suffix_of(filename: str) -> str:
    """The suffix of a file of rows; that of JSON Lines if it has none.

    Raises:
        InputError: Burnish reads no such files, or only by unpacking them.
    """
    suffix = Path(filename).suffix.lower() or ".jsonl"
    if suffix not in SUFFIXES:
        raise InputError(
            f"files ending in `{suffix}` are not taken",
            f"Those that end in {', '.join(SUFFIXES)} are.",
            "Send the rows as JSON Lines",
        )
    return suffix


def shown_name(filename: str) -> str:
    """The last part of a client's name for a file, as text that can be shown anywhere."""
    last = re.split(r"[/\\]", filename)[-1].strip()
    return visible(last, kept="")[-_LONGEST_NAME:] or "file"


def _finding(finding: dict[str, Any]) -> str:
    places = "; ".join(finding["places"])
    more = finding["count"] - len(finding["places"])
    others = f"; and {more:,} more" if more > 0 else ""
    return f"{finding['name']} ({finding['severity']}): {finding['count']:,} × {finding['what']} ({places}{others})."
