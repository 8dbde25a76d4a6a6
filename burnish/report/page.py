"""`report.html` and the model card: a run as one page, made from its folder alone."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from importlib import resources
from pathlib import Path

from burnish.errors import InputError
from burnish.report import sections_course, sections_origin, sections_result
from burnish.report import sections_origin as sections_rows
from burnish.report.card import model_card
from burnish.report.markup import Html, Section, join, tag
from burnish.report.record import RunRecord, read_record
from burnish.runs.atomic import write_text
from burnish.runs.folder import RunFolder


def check_place(page: Path) -> None:
    """Refuses a place that no page can be written to. Raises InputError."""
    if page.is_dir() or not page.absolute().parent.is_dir():
        raise InputError(
            f"cannot write a page to `{page}`",
            "It is a folder." if page.is_dir() else f"There is no folder `{page.parent}`.",
            "Name a file in a folder that is there, such as `page.html`",
        )


_SECTIONS = (
    sections_result.setup,
    sections_result.before_after,
    sections_course.curves,
    sections_course.findings,
    sections_result.samples,
    sections_rows.seen_rows,
    sections_rows.data,
    sections_course.plan,
    sections_origin.recipe,
    sections_origin.manifest,
    sections_origin.use,
    sections_origin.again,
)
"""In the order of what a reader asks."""


def report_page(record: RunRecord) -> str:
    """The page of a run.

    Args:
        record: of a run that may be unfinished.
    """
    sections = [make(record) for make in _SECTIONS]
    body = join([sections_result.heading(record), _contents(sections), tag("main", join(map(_shown, sections)))])
    page = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{escape(record.name)}: Burnish report</title>\n'
        f"<style>\n{style()}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
    return page.encode("utf-8", "replace").decode("utf-8")  # a row may hold half a surrogate pair, which is no text


def write_report(folder: RunFolder, out: Path | None = None) -> Path:
    """Writes the page of a run, and returns where it lies.

    Args:
        folder: of the run.
        out: the file to write; None for `report.html` in the run folder.

    Raises:
        InputError: there is no folder to write `out` into.
        MachineError: the disk is full.
    """
    path = folder.report if out is None else out
    check_place(path)
    write_text(path, report_page(read_record(folder)))
    return path


def style() -> str:
    """The page's style sheet."""
    return (resources.files("burnish") / "assets" / "report.css").read_text(encoding="utf-8")


def _contents(sections: Iterable[Section]) -> Html:
    links = (tag("a", section.title, href=f"#{section.name}") for section in sections)
    return tag("nav", join(links), aria_label="Sections")


def _shown(section: Section) -> Html:
    return tag("section", join([tag("h2", section.title), section.body]), id=section.name)


def write_papers(folder: RunFolder) -> None:
    """Writes `report.html`, and `README.md` into the result's folder.

    Args:
        folder: of a run.

    Raises:
        MachineError: the disk is full.
    """
    if folder.result is not None:
        write_text(folder.result / "README.md", model_card(read_record(folder)))
    write_report(folder)
