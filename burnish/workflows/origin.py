"""Whether data and base model are still what a run was made from, as its manifest tells."""

from __future__ import annotations

import json
from typing import Any

from burnish.errors import ModelError
from burnish.models.base import fingerprint
from burnish.models.location import ModelLocation
from burnish.runs.folder import RunFolder


def has_same_data(folder: RunFolder, sha256: str) -> bool:
    """Whether rows with this hash (hex) are those that the run was trained and validated on."""
    return _manifest(folder)["data"]["sha256"] == sha256


def check_base(folder: RunFolder, location: ModelLocation) -> None:
    """The base model must be the one that the run was trained on.

    Raises:
        ModelError: it is another.
    """
    if _manifest(folder)["model"]["sha256"] != fingerprint(location.folder):
        raise ModelError(
            f"the base model `{location.name}` has changed since the run `{folder.name}` began",
            "The trained weights belong to the model they were trained on.",
            "Put the model back as it was, or start a new run with `burnish train`",
        )


def _manifest(folder: RunFolder) -> dict[str, Any]:
    return json.loads(folder.manifest.read_text(encoding="utf-8"))
