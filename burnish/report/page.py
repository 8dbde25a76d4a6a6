"""`report.html` and the model card: a run as one page, made from its folder alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from burnish.report import course, origin, outcome
from burnish.report.card import model_card
from burnish.report.record import RunRecord, read_record
from burnish.runs.atomic import check_target, write_text
from burnish.runs.folder import RunFolder
from burnish.runs.lock import lock_for
from burnish.templates import render, render_html
from burnish.visible import visible

_SECTIONS: dict[str, tuple[str, Callable[[RunRecord], dict[str, Any]]]] = {
    "setup": ("Setup", outcome.setup),
    "figures": ("Before and after", outcome.before_after),
    "curves": ("Curves", course.curves),
    "findings": ("How it went", course.findings),
    "samples": ("Samples side by side", outcome.samples),
    "rows": ("Rows as the model sees them", origin.seen_rows),
    "data": ("Data", origin.data),
    "plan": ("Planned and measured", course.plan),
    "recipe": ("Recipe", origin.recipe),
    "manifest": ("Manifest", origin.manifest),
    "use": ("How to use it", origin.use),
    "again": ("How to reproduce it", origin.again),
}
"""Title and data of each section, in the order of what a reader asks. `assets/templates/report` has a template for
each, under the same name."""


def report_page(record: RunRecord) -> str:
    """The page of a run.

    Args:
        record: of a run that may be unfinished.
    """
    sections = [
        {"name": name, "title": title, "body": render_html(f"report/{name}.html", **gather(record))}
        for name, (title, gather) in _SECTIONS.items()
    ]
    heading = render_html("report/heading.html", **outcome.heading(record))
    return visible(render("report/page.html", name=record.name, style=style(), heading=heading, sections=sections))


def write_report(folder: RunFolder, out: Path | None = None) -> Path:
    """Writes the page of a run, and returns its path.

    Args:
        folder: of the run.
        out: the file to write; None for `report.html` in the run folder.

    Raises:
        InputError: `out` is a folder, or the folder that would hold it does not exist.
        Locked: it would be written into the run folder, and another process writes there.
        MachineError: the disk is full.
    """
    path = folder.report if out is None else out
    check_target(path, may_replace=True)
    with lock_for(folder.path, path, "reported"):
        write_text(path, report_page(read_record(folder)))
    return path


def style() -> str:
    """The page's CSS."""
    return (resources.files("burnish") / "assets" / "report.css").read_text(encoding="utf-8")


def token_page(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """A whole HTML page that shows rows token by token.

    Args:
        rows: maps with `place` and `passages`; a passage has `name`, `note` and `tokens`, a token `id`, `text`,
            `is_learned` and `is_special`.
        title: of the page.
    """
    return visible(render("report/token_page.html", rows=rows, title=title))


def write_pages(folder: RunFolder) -> None:
    """Writes `report.html`, and the model card into the result's folder.

    Args:
        folder: of a run.

    Raises:
        MachineError: the disk is full.
    """
    record = read_record(folder)
    if folder.result is not None:
        write_text(folder.result / "README.md", model_card(record))
    write_text(folder.report, report_page(record))
