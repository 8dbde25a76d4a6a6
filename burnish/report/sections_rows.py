"""The rows of a run: the first of them as the model sees them, how many there are, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from burnish.report.markup import Html, Section, facts, join, paragraph, table, tag, unfold
from burnish.report.numbers import counted
from burnish.report.record import RunRecord, bare_place
from burnish.report.token_page import token_row

_LEGEND = (
    "Every token that the model reads of the first training rows. {learned} tokens are learned, {read} ones are only "
    "read; {special} ones mark turns and ends. Point at a token for its number."
)
_SHOWN_AT_ONCE = 2


def seen_rows(record: RunRecord) -> Section:
    """The first rows token by token, those that are learned apart from the others."""
    title = "Rows as the model sees them"
    if not record.views:
        return Section("rows", title, paragraph("The run folder holds no tokens: it has no `views.json`."))
    shown = [Html(token_row({**view, "place": bare_place(view["place"])}, level=3)) for view in record.views]
    marks = {
        "learned": tag("span", "Green", class_="t learned"),
        "read": tag("span", "grey", class_="t"),
        "special": tag("span", "special", class_="t special"),
    }
    more = len(shown) - _SHOWN_AT_ONCE
    parts = [
        paragraph(Html(_LEGEND.format(**marks))),
        *shown[:_SHOWN_AT_ONCE],
        unfold(counted(more, "more row"), join(shown[_SHOWN_AT_ONCE:])) if more > 0 else "",
    ]
    return Section("rows", title, tag("div", join(parts), class_="seen"))


def data(record: RunRecord) -> Section:
    """How many rows there are, which were left out and why, and what was found wrong with the others."""
    ready, told = record.last("DataReady"), record.manifest.get("data", {})
    pairs = [
        ("files", ", ".join(bare_place(file) for file in told.get("files", []))),
        ("shape", ready.get("shape", "")),
        ("trained on", counted(ready["training_rows"], "row") if ready else ""),
        ("held out", counted(ready["validation_rows"], "row") if ready else ""),
        ("left out", counted(ready["rejected_rows"], "row") if ready else ""),
        ("tokens an epoch", f"{ready['tokens']:,}" if ready else ""),
        ("terms of the loss an epoch", f"{ready['trained_tokens']:,}" if ready else ""),
        ("rows after packing", f"{ready['packed_rows']:,}" if ready else ""),
        ("SHA-256 of the rows", tag("code", told["sha256"]) if told.get("sha256") else ""),
    ]
    return Section("data", "Data", join([facts(pairs), _defects(record), _left_out(record)]))


def _defects(record: RunRecord) -> Html:
    checked = record.last("DataChecked")
    heading = tag("h3", "Defects that were found")
    if not checked:
        return join([heading, paragraph("A brief look at the rows found nothing wrong with them.")])
    rows = [
        [one["what"], f"{one['count']:,}", one["severity"], _places(one), one["fix"]] for one in checked["findings"]
    ]
    told = paragraph(f"In the {checked['rows']:,} rows that were looked at.", "note")
    return join([heading, table(["defect", "rows", "severity", "first", "what to do"], rows, figures=(1,)), told])


def _places(one: Mapping[str, Any]) -> Html:
    """Where a defect is, one place a line."""
    return join((tag("div", bare_place(place)) for place in one["places"]), "")


def _left_out(record: RunRecord) -> Html:
    if not record.num_rejected:
        return Html("")
    rows = [[f"{bare_place(row['file'])}:{row['line']}", row["reason"]] for row in record.rejected]
    more = record.num_rejected - len(rows)
    rest = paragraph(f"{counted(more, 'more row')} in rejected.jsonl.", "note") if more > 0 else ""
    shown = join([table(["row", "why"], rows), rest])
    title = f"Rows that were left out: {record.num_rejected:,}"
    return join([tag("h3", title), shown]) if len(rows) <= 10 else unfold(title, shown)
