"""The identity of a model: a hash of all that its result depends on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from burnish.errors import BurnishError, ModelError
from burnish.models.weight_files import weight_files
from burnish.runs.atomic import write_json
from burnish.system.machine import cache_folder
from burnish.visible import parse_json

GENERATION = "generation_config.json"
"""Settings of generation, which Burnish does not use (`make_greedy`), so they can be changed at any time."""
_SUFFIXES = (".json", ".safetensors", ".model", ".txt", ".bin", ".jinja")
_CODE = ".py"
_PART_BYTES = 1 << 16
"""Read at once: a run that is short of memory can still do this."""
_CACHED_BYTES = 1 << 24
"""Files of this size or more are not hashed again while they are the same files."""
_ENDS_BYTES = 1 << 25


def fingerprint(folder: Path) -> str:
    """SHA-256 (hex) over config, tokenizer, weights and code of a model folder, every byte of their files.

    An 8 B model takes half a minute the first time. The hash of a large file is cached by its place, size, times and
    inode, which change with its content.
    """
    digest = hashlib.sha256()
    for file in sorted({*_files(folder), *folder.glob(f"*{_CODE}"), *_deeper_weights(folder)}):
        size, name = file.stat().st_size, file.relative_to(folder).as_posix()
        digest.update(f"{name}:{size}:{_cached(file) if size >= _CACHED_BYTES else _hash(file)}\n".encode())
    return digest.hexdigest()


def identity(folder: Path) -> dict[str, str]:
    """What a manifest says of the model in a folder, for `is_same_model`."""
    return {"sha256": fingerprint(folder), "hashed": "whole"}


def is_same_model(recorded: Mapping[str, Any], folder: Path) -> bool:
    """Whether a folder holds the model that a manifest has recorded, by this version or an earlier one."""
    return recorded["sha256"] == comparable_fingerprint(recorded, folder)


def comparable_fingerprint(recorded: Mapping[str, Any], folder: Path) -> str:
    """The hash of a folder, made as that in a manifest was made."""
    return fingerprint(folder) if recorded.get("hashed") == "whole" else _fingerprint_of_ends(folder)


def _files(folder: Path) -> list[Path]:
    found = sorted(folder.iterdir())
    return [file for file in found if file.name != GENERATION and file.suffix in _SUFFIXES and file.is_file()]


def _deeper_weights(folder: Path) -> list[Path]:
    """Files of weights in folders below, which an index or the config may name."""
    try:
        names = weight_files(folder.name, folder, allow_pickle=True)
    except ModelError:  # whoever loads the model reports it
        return []
    return [folder / name for name in names if "/" in name and (folder / name).is_file()]


def _hash(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        _add(digest, stream, file.stat().st_size)
    return digest.hexdigest()


def _cached(file: Path) -> str:
    state = _state(file)
    key = hashlib.sha256(os.fsencode(state["file"])).hexdigest()
    place = cache_folder() / "hashes" / f"{key}.json"
    try:
        known = parse_json(place.read_text(encoding="utf-8"))
        if {**known, "sha256": ""} == {**state, "sha256": ""}:
            return str(known["sha256"])
    except (OSError, ValueError, TypeError, KeyError):
        pass  # there is none, or it is damaged
    found = _hash(file)
    if _state(file) == state:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_json(place, {**state, "sha256": found})
        except (OSError, BurnishError):
            pass  # it is hashed again the next time
    return found


def _state(file: Path) -> dict[str, Any]:
    """What changes with the content of a file; its change time cannot be set back."""
    stat = file.stat()
    return {
        "file": str(file.resolve()),
        "size": stat.st_size,
        "modified": stat.st_mtime_ns,
        "changed": stat.st_ctime_ns,
        "inode": stat.st_ino,
    }


def _fingerprint_of_ends(folder: Path) -> str:
    """As earlier versions made it: of files larger than 64 MiB the size and the first and last 32 MiB."""
    digest = hashlib.sha256()
    for file in _files(folder):
        size = file.stat().st_size
        digest.update(f"{file.name}:{size}\n".encode())
        with file.open("rb") as stream:
            _add(digest, stream, _ENDS_BYTES)
            if size > _ENDS_BYTES:
                stream.seek(max(_ENDS_BYTES, size - _ENDS_BYTES))
                _add(digest, stream, _ENDS_BYTES)
    return digest.hexdigest()


def _add(digest: Any, stream: BinaryIO, most: int) -> None:
    """Adds at most so many bytes to a hash."""
    while most > 0 and (part := stream.read(min(most, _PART_BYTES))):
        digest.update(part)
        most -= len(part)
