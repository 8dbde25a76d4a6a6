"""What a run was made from: its manifest and its recipe, and whether data and base model are still the same."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from burnish.data.files.given import keep_section
from burnish.data.rows.dataset import Records
from burnish.engine.process import ONE, Process
from burnish.errors import DataError, ModelError
from burnish.lineage.chain import chain_of
from burnish.models.fingerprint import identity, is_same_model
from burnish.models.location import ModelLocation
from burnish.prepare.context import Emit, RunContext, read_rows
from burnish.prepare.model import unquantized
from burnish.recipe.load import dump_recipe
from burnish.recipe.schema import Recipe
from burnish.runs.atomic import write_json, write_text
from burnish.runs.description import read_manifest
from burnish.runs.folder import RunFolder
from burnish.system.machine import all_versions, this_machine


def make_manifest(
    data: dict[str, Any], model: dict[str, Any], seed: int, precision: str, arithmetic: dict[str, Any]
) -> dict[str, Any]:
    """A manifest with versions, hardware, seed, and the given values.

    Args:
        data: hashes of the rows and of their files.
        model: hash of the base model.
        seed: seed of the run.
        precision: number format.
        arithmetic: `device`, and what else determines the order of summation.
    """
    return {
        "versions": all_versions(),
        "machine": dataclasses.asdict(this_machine()),
        **arithmetic,
        "precision": precision,
        "seed": seed,
        "data": data,
        "model": model,
    }


def write_manifest(context: RunContext, folder: RunFolder) -> None:
    """Writes the manifest of a new run, whose recipe is resolved."""
    chain = chain_of(context.recipe)
    write_json(folder.manifest, {**_manifest_of(context), **({"chain": chain} if chain else {})})


def write_recipe(context: RunContext, folder: RunFolder) -> None:
    """Writes the recipe of a new run, without sections that it does not read, and keeps rows that only Python has."""
    recipe = context.recipe
    saved = recipe.model_copy(update={"data": keep_section(recipe.data, folder.data)})
    write_text(folder.recipe, dump_recipe(saved, context.unread_sections()))


def _manifest_of(context: RunContext) -> dict[str, Any]:
    recipe, records, location = context.recipe, context.records, context.location
    data = {
        "sha256": records.sha256,
        "files": records.files,
        "file_sha256": hash_files(records.files),
        "rows": len(records.train),
        "validation_rows": len(records.valid),
        "test_rows": len(records.test),
        "held_out": sorted(records.held_out),
    }
    if records.drawn:
        data["sources"] = [one.to_dict() for one in records.drawn]
    model: dict[str, Any] = {"name": location.name, **identity(location.folder)}
    if whole := unquantized(context):
        model["unquantized"] = whole
    arithmetic = arithmetic_of(context.device, context.process)
    made = make_manifest(data, model, recipe.seed, recipe.model.precision, arithmetic)
    return {**made, "recipe": recipe.model_dump(mode="json", exclude=context.unread_sections())}


def arithmetic_of(device: torch.device, process: Process = ONE) -> dict[str, Any]:
    """The properties of a device and of the processes that determine the order of summation."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    made = {"device": device.type, "accelerator": name, "threads": torch.get_num_threads()}
    return made if process.is_alone else {**made, "processes": process.world}


def note_session(folder: RunFolder, step: int, device: torch.device, process: Process = ONE) -> None:
    """Records in the manifest that a run is resumed where numbers may be rounded differently.

    Args:
        folder: the run.
        step: the last step before.
        device: the device of the resumed run.
        process: of those that resume it.
    """
    manifest, here = read_manifest(folder), rounding_here(device, process)
    if rounding_of(manifest) != here:
        earlier = [session for session in manifest.get("resumed", []) if session["step"] < step]
        write_json(folder.manifest, {**manifest, "resumed": [*earlier, {"step": step, **here}]})


def draws_by_batch(folder: RunFolder) -> bool:
    """Whether several processes began or resumed a run, so that it draws by micro-batch: see `RunContext.source`."""
    manifest = read_manifest(folder)
    return any("processes" in session for session in (manifest, *manifest.get("resumed", [])))


def processes_of(folder: RunFolder) -> int:
    """The number of processes that began a run."""
    return read_manifest(folder).get("processes", 1)


def rounding_here(device: torch.device, process: Process = ONE) -> dict[str, str]:
    """`rounding_of` a run that starts now."""
    arithmetic = arithmetic_of(device, process)
    return rounding_of({"versions": all_versions(), "machine": asdict(this_machine()), **arithmetic})


def rounding_of(manifest: dict[str, Any]) -> dict[str, str]:
    """Everything in a manifest that affects the last digits of a loss, by name; `?` for what is missing."""
    machine = manifest["machine"]
    facts = {
        **manifest["versions"],
        "processor": machine["processor"],
        "its features": ", ".join(machine["processor_features"]) or "none",
        "system": machine["platform"],
        "device": manifest["device"],
        "accelerator": manifest.get("accelerator") or "none",
        "threads": manifest.get("threads"),
    }
    if "processes" in manifest:
        facts["processes"] = manifest["processes"]
    return {name: "?" if value is None else str(value) for name, value in facts.items()}


def hash_files(names: Sequence[str]) -> list[str | None]:
    """SHA-256 (hex) of each file's bytes; None for what is not a file, such as a split of a hub dataset."""
    return [_hash_file(Path(name)) if Path(name).is_file() else None for name in names]


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def has_same_data(folder: RunFolder, sha256: str) -> bool:
    """Whether this is the hash (hex) of the rows that the run was trained, validated and tested on."""
    return read_manifest(folder)["data"]["sha256"] == sha256


def rows_of(folder: RunFolder, recipe: Recipe, otherwise: str, emit: Emit) -> Records:
    """The rows of a run: training, validation and test split.

    Args:
        folder: the run.
        recipe: its recipe.
        otherwise: the hint of the error.
        emit: receives notes on what was adapted.

    Raises:
        DataError: the data has changed.
    """
    records = read_rows(recipe, emit)
    if not has_same_data(folder, records.sha256):
        raise DataError(
            f"the data of the run `{folder.name}` has changed since it was trained",
            "The test and validation rows were taken from that data, so they are no longer known.",
            otherwise,
        )
    return records


def check_base(folder: RunFolder, location: ModelLocation) -> None:
    """Checks that the base model is the one that the run was trained on.

    Raises:
        ModelError: it is a different one.
    """
    if not is_same_model(read_manifest(folder)["model"], location.folder):
        raise ModelError(
            f"the base model `{location.name}` has changed since the run `{folder.name}` started",
            "The trained weights belong to the model they were trained on.",
            "Restore the model, name the folder where it is now with `--base-model`, or start a new run with "
            "`burnish train`",
        )
