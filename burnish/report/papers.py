"""What a person reads of a run, made anew from its folder: the page, and the card beside the weights."""

from __future__ import annotations

from burnish.report.card import model_card
from burnish.report.page import write_report
from burnish.report.record import read_record
from burnish.runs.atomic import write_text
from burnish.runs.folder import RunFolder


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
