"""Several processes compute the same steps only if all of them have the same rows, options and software."""

from __future__ import annotations

from burnish.engine.process import Process
from burnish.errors import DataError, MachineError
from burnish.recipe.schema import Recipe
from burnish.system.machine import all_versions


def check_alike(process: Process, rows: str, recipe: Recipe) -> None:
    """Compares what all processes have prepared.

    Args:
        process: of those that train together.
        rows: hash of this process's rows (hex).
        recipe: as far as it is resolved.

    Raises:
        DataError: a process has other rows.
        MachineError: it has other options or versions.
    """
    options = {
        f"{section}.{name}" if isinstance(value, dict) else section: given
        for section, value in recipe.model_dump(mode="json").items()
        for name, given in (value.items() if isinstance(value, dict) else [(section, value)])
    }
    found = process.gather((rows, options, all_versions()))
    main = found[0]
    for rank, other in enumerate(found):
        if other[0] != main[0]:
            raise DataError(
                f"rank {rank} of {process.world} processes has other rows than rank 0",
                f"Their hashes begin with {other[0][:12]} and {main[0][:12]}.",
                "Give every machine the same files",
            )
        for what, theirs, ours in (("options", other[1], main[1]), ("versions", other[2], main[2])):
            if theirs != ours:
                names = ", ".join(f"`{name}`" for name in ours if theirs.get(name) != ours[name])
                raise MachineError(
                    f"rank {rank} of {process.world} processes has other {what} than rank 0: {names}",
                    "They would not compute the same steps.",
                    "Give the same command on every machine, with the same packages installed",
                )
