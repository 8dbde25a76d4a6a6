"""Zip archives of data: unpacked once into the cache, in a folder named after their content."""

from __future__ import annotations

import hashlib
import shutil
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from burnish.data.files.opening import MOST_TIMES, SMALL_BYTES, open_binary
from burnish.errors import DataError
from burnish.runs.atomic import as_disk_error, remove_abandoned, write_folder
from burnish.system.machine import cache_folder
from burnish.system.shell import quoted as shell_quoted

SUFFIX = ".zip"
_HASH_CHARACTERS = 16
_MOST_FILES = 1_000_000
_JUNK = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")


def unpacked(path: Path) -> Path:
    """The folder or the only file that a zip archive holds, unpacked in the cache.

    Raises:
        DataError: it is no zip archive, is damaged, needs a password, holds nothing, names a file outside of itself, or
            would take far more room than such an archive of data.
        MachineError: the disk is full, or the cache cannot be written.
    """
    folder = (cache_folder() / "unpacked" / _hash(path)[:_HASH_CHARACTERS]).absolute()
    if not folder.is_dir():
        try:
            with zipfile.ZipFile(path) as archive:
                _unpack(path, archive, folder)
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DataError(
                f"`{path}` cannot be unpacked",
                f"It is incomplete, or packed in a way that is not supported: {reason}.",
                f"Pack or download it again, or unpack it yourself: `unzip {shell_quoted(str(path))}`",
            ) from error
    return _within(folder)


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with open_binary(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _within(folder: Path) -> Path:
    """What a folder holds: itself, or the only entry in it, at any depth."""
    entries = list(folder.iterdir())
    if len(entries) == 1:
        return _within(entries[0]) if entries[0].is_dir() else entries[0]
    return folder


def _unpack(path: Path, archive: zipfile.ZipFile, folder: Path) -> None:
    entries = [entry for entry in archive.infolist() if not entry.is_dir() and not _is_junk(entry.filename)]
    _check(path, entries)
    with as_disk_error(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(folder.parent)
        with write_folder(folder) as target:
            for entry in entries:
                place = target.joinpath(*PurePosixPath(entry.filename).parts)
                place.parent.mkdir(parents=True, exist_ok=True)
                # an entry is read only up to the size that it names, which was checked
                with archive.open(entry) as source, place.open("xb") as written:
                    shutil.copyfileobj(source, written)


def _is_junk(name: str) -> bool:
    return not set(_JUNK).isdisjoint(PurePosixPath(name).parts)


def _check(path: Path, entries: Sequence[zipfile.ZipInfo]) -> None:
    """Raises DataError for an archive that is empty, locked, dangerous or absurdly large."""
    if not entries:
        raise DataError(f"`{path}` is empty", "The archive holds no file.", "Add a file of data to it")
    outside = next((entry.filename for entry in entries if _is_unsafe(entry)), None)
    if outside is not None:
        raise DataError(
            f"`{path}` holds `{outside}`, which is a link or would be written outside of its folder",
            "Archives of data have no such entries, so it is not unpacked.",
            "Pack it again, or get it from a source that you trust",
        )
    names = Counter(entry.filename.lower() for entry in entries)
    folders = {str(folder) for name in names for folder in PurePosixPath(name).parents}
    twice = next((name for name, times in names.items() if times > 1 or name in folders), None)
    if twice is not None:
        raise DataError(f"`{path}` holds `{twice}` twice", "Which one is meant is not clear.", "Pack it again")
    if any(entry.flag_bits & 1 for entry in entries):
        raise DataError(
            f"`{path}` needs a password", "Its files are encrypted.", f"Unpack it: `unzip {shell_quoted(str(path))}`"
        )
    size, packed = sum(entry.file_size for entry in entries), path.stat().st_size
    if size > SMALL_BYTES and size > MOST_TIMES * packed or len(entries) > _MOST_FILES:
        raise DataError(
            f"`{path}` would unpack to {size / 1e9:,.1f} GB in {len(entries):,} files, from {packed / 1e6:,.1f} MB",
            f"That is more than {MOST_TIMES} times its size, far more than data can be compressed.",
            "If you trust it, unpack it yourself and give the folder",
        )


def _is_unsafe(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry is a link or a device, or leads out of the folder it is unpacked into, on any system."""
    kind = stat.S_IFMT(entry.external_attr >> 16)
    name = entry.filename
    parts = PurePosixPath(name).parts
    is_odd = "\\" in name or ":" in name or "\0" in name or not parts
    return kind not in (0, stat.S_IFREG) or is_odd or name.startswith("/") or ".." in parts
