"""The real models, as far as they are on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = "BURNISH_REAL_MODELS"


@pytest.fixture(scope="session")
def real_model() -> Callable[[str], Path]:
    """The folder of `smollm2` (SmolLM2-135M-Instruct) or `minilm` (all-MiniLM-L6-v2).

    Skips where no folder is named. A folder that is named has to hold the model.
    """

    def folder(name: str) -> Path:
        root = os.environ.get(FOLDER)
        if not root:
            pytest.skip(f"{FOLDER} is not set: it names a folder with the model `{name}`")
        assert (Path(root) / name / "config.json").is_file(), f"{FOLDER} has no model `{name}`"
        return Path(root) / name

    return folder
