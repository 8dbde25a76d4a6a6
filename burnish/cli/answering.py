"""Opening the model that `generate` and `chat` talk with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from burnish.workflows.session import Session


def open_model(name: str, base: bool, runs: str) -> Session:
    """Loads a run's result, or a base model. A name that is neither is refused before anything heavy is loaded.

    Raises:
        InputError: there is neither a run nor a model of that name.
    """
    from burnish.recipe.schema import BUNDLED_MODELS
    from burnish.runs.store import find_run

    if name not in BUNDLED_MODELS and not Path(name).is_dir():
        find_run(name, runs)
    from burnish.workflows.session import open_session

    return open_session(name, base, runs)
