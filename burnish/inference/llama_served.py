"""Runs that llama.cpp serves, from the GGUF files that were exported of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from burnish.errors import InputError, MissingRun
from burnish.inference.engine import Limits
from burnish.inference.llama_cpp import EXACT, QUICK, LlamaCpp
from burnish.inference.llama_rows import LlamaRows
from burnish.inference.served import Served, check_task, places_of
from burnish.inference.session import open_session
from burnish.lineage.saved_recipe import open_recipe
from burnish.runs.folder import RunFolder, find_run, result_of
from burnish.system.shell import quoted
from burnish.visible import parse_json


def open_exported(
    names: Sequence[str],
    runs: str,
    base_model: str | None,
    trusts_code: bool,
    kind: str | None,
    limits: Limits,
    warn: Callable[[str], None],
) -> dict[str, Served]:
    """Starts llama.cpp for each run.

    Args:
        names: runs by name or path; `NAME=RUN` serves it under another name.
        runs: folder that holds the run folders.
        base_model: folder of the runs' base model, if it has been moved: it has the tokenizer.
        trusts_code: whether runs that were begun elsewhere may run the code that they name.
        kind: type of the file; None for the first that was exported.
        limits: answers and tokens at a time.
        warn: receives what the user should know.

    Raises:
        InputError: one is no run, or was not exported so.
        MachineError: llama.cpp is not installed.
        BurnishError: llama.cpp cannot load a file.
    """
    files = {name: _file_of(name, place, runs, trusts_code, kind, warn) for name, place in places_of(names).items()}
    return {name: _opened(name, folder, file, base_model, limits, warn) for name, (folder, file) in files.items()}


def _file_of(
    name: str, place: str, runs: str, trusts_code: bool, kind: str | None, warn: Callable[[str], None]
) -> tuple[RunFolder, Path]:
    """A run, and the file that is served."""
    try:
        folder = find_run(place, runs, trusts_code)
    except MissingRun as missing:
        raise InputError(
            f"llama.cpp serves what a run was exported to, and there is no run `{place}`",
            missing.why,
            "Name a run, or serve the model without `--engine`",
        ) from missing
    check_task(name, open_recipe(folder).task)
    exported = folder.export("gguf")
    asked = f"burnish export {quoted(place)} --to gguf"
    if not (exported / "export.json").is_file():
        raise InputError(
            f"the run `{name}` has no GGUF file", "llama.cpp reads no other files.", f"{asked} --type {kind or 'q8_0'}"
        )
    whole, is_proved = _read(exported)
    if kind is not None and kind not in whole or not whole:
        raise InputError(
            f"the run `{name}` has no GGUF file{'' if kind is None else f' of the type `{kind}`'}",
            f"`{exported.name}` has {', '.join(f'`{one}`' for one in whole) or 'the adapter alone'}.",
            f"Remove that folder, then {asked} --type {kind or 'q8_0'}",
        )
    if not is_proved:
        warn(f"The file of `{name}` was never compared with the run: llama.cpp was not installed when it was exported.")
    if (exported / "export.json").stat().st_mtime < result_of(folder).stat().st_mtime:
        warn(f"The result of `{name}` is newer than its GGUF file, which may be that of an earlier one.")
    return folder, exported / (whole[kind] if kind is not None else next(iter(whole.values())))


def _read(exported: Path) -> tuple[dict[str, str], bool]:
    """The files of whole models by type, and whether they were compared with the run.

    Raises:
        InputError: the list of files is damaged, or names one that is elsewhere.
    """
    try:
        made = parse_json((exported / "export.json").read_bytes())
        names = {str(one["type"]): str(one["name"]) for one in made["files"]}
        is_proved = made.get("outputs") is not None
        if any(Path(name).name != name for name in names.values()):
            raise ValueError("it names a file in another folder")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"`{exported / 'export.json'}` is damaged", f"{error}.", "Remove that folder, and export the run again"
        ) from error
    return {kind: name for kind, name in names.items() if not name.endswith("-lora.gguf")}, is_proved


def _opened(
    name: str, folder: RunFolder, file: Path, base_model: str | None, limits: Limits, warn: Callable[[str], None]
) -> Served:
    session = open_session(str(folder.path), base_model=base_model, warn=warn, opener=_elsewhere)
    precision = EXACT if file.stem.endswith("-f32") else QUICK
    llama = LlamaCpp(file, limits.tokens, torch.get_num_threads(), rows=limits.rows, precision=precision)
    llama.__enter__()
    room = min(llama.room, limits.tokens)
    return Served(name, session, LlamaRows(llama), room, len(session.tokenizer), llama.close)


def _elsewhere(*_: Any) -> None:
    """The network of a model whose weights llama.cpp has."""
