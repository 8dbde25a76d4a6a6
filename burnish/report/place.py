"""Where a page may be written."""

from __future__ import annotations

from pathlib import Path

from burnish.errors import InputError


def check_place(page: Path) -> None:
    """Refuses a place that no page can be written to. Raises InputError."""
    if page.is_dir() or not page.absolute().parent.is_dir():
        raise InputError(
            f"cannot write a page to `{page}`",
            "It is a folder." if page.is_dir() else f"There is no folder `{page.parent}`.",
            "Name a file in a folder that is there, such as `page.html`",
        )
