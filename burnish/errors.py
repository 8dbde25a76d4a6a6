"""The errors that a user can meet.

    BurnishError            exit code 1   the run failed
    ├── InputError          exit code 2   the input was wrong: usage, recipe, data, model name
    │   ├── RecipeError                   an option that does not exist, or a value that does not fit it
    │   ├── DataError                     a file that cannot be read or learned from
    │   └── ModelError                    a base model that cannot be found or loaded
    ├── MachineError        exit code 3   the machine cannot do it: memory, disk, device, missing package
    └── Interrupted         exit code 130 stopped by the user; the state is saved

Each carries three short parts: what is wrong (with the value, and file and line for data), why, and what to do.
"""

from __future__ import annotations


class BurnishError(Exception):
    """A failure that is explained to the user in three parts and never shown as a traceback.

    Args:
        what: what is wrong, with the value in it; no full stop.
        why: the reason, where it is not plain from `what`.
        fix: one command or one change that mends it.
    """

    exit_code = 1

    def __init__(self, what: str, why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.fix = fix


class InputError(BurnishError):
    """The input was wrong: usage, recipe, data or model name."""

    exit_code = 2


class RecipeError(InputError):
    """An option that does not exist, or a value that does not fit it."""


class DataError(InputError):
    """A file that cannot be read, or rows that nothing can be learned from."""


class ModelError(InputError):
    """A base model that cannot be found, or is not safe or fit to load."""


class MachineError(BurnishError):
    """The machine cannot do it: memory, disk, device or a missing package."""

    exit_code = 3


class Interrupted(BurnishError):
    """Stopped by Ctrl-C or SIGTERM after the state was saved."""

    exit_code = 130
