"""What a run is made from, as its manifest tells it: data, base model, and where its numbers are computed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from burnish.data.dataset import Records
from burnish.machine import this_machine
from burnish.models.base import fingerprint
from burnish.models.location import ModelLocation
from burnish.recipe.schema import Recipe
from burnish.runs.atomic import write_json
from burnish.runs.folder import RunFolder
from burnish.runs.manifest import all_versions, make_manifest, read_manifest


def manifest_of(recipe: Recipe, records: Records, location: ModelLocation, device: torch.device) -> dict[str, Any]:
    """The manifest of a run that begins here.

    Args:
        recipe: resolved.
        records: its rows.
        location: of its base model.
        device: where it is trained.
    """
    data = {
        "sha256": records.sha256,
        "files": records.files,
        "file_sha256": hash_files(records.files),
        "rows": len(records.train),
        "validation_rows": len(records.valid),
    }
    model = {"name": location.name, "sha256": fingerprint(location.folder)}
    return make_manifest(data, model, recipe.seed, recipe.model.precision, arithmetic_of(device))


def arithmetic_of(device: torch.device) -> dict[str, Any]:
    """What of a device, and of this process, decides in which order numbers are summed."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {"device": device.type, "accelerator": name, "threads": torch.get_num_threads()}


def note_session(folder: RunFolder, step: int, device: torch.device) -> None:
    """Notes in the manifest that a run goes on where numbers may be rounded otherwise than where it began.

    Args:
        folder: of the run.
        step: the last one that was done before.
        device: where it goes on.
    """
    manifest, here = read_manifest(folder), rounding_here(device)
    if rounding_of(manifest) != here:
        earlier = [session for session in manifest.get("resumed", []) if session["step"] < step]
        write_json(folder.manifest, {**manifest, "resumed": [*earlier, {"step": step, **here}]})


def rounding_here(device: torch.device) -> dict[str, str]:
    """`rounding_of` a run that would begin now."""
    return rounding_of({"versions": all_versions(), "machine": asdict(this_machine()), **arithmetic_of(device)})


def rounding_of(manifest: dict[str, Any]) -> dict[str, str]:
    """Everything in a manifest that the last digits of a loss depend on, by name; `?` for what it does not tell."""
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
    return {name: "?" if value is None else str(value) for name, value in facts.items()}


def hash_files(names: Sequence[str]) -> list[str | None]:
    """SHA-256 (hex) of each file's bytes; None for what is no file, such as a split of a hub dataset."""
    return [_hash_file(Path(name)) if Path(name).is_file() else None for name in names]


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
