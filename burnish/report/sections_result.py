"""What came of a run: the verdict, what was trained on what, base against tuned, and answers side by side."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from burnish.report.charts import comparison_bars
from burnish.report.figures import COLUMNS, counted, duration, figure_cells, figures_beside, number
from burnish.report.markup import (
    Html,
    Section,
    code,
    facts,
    figure,
    join,
    paragraph,
    prose,
    shortened,
    table,
    tag,
    unfold,
)
from burnish.report.record import RunRecord, bare_place
from burnish.system.machine import memory_size

_MOST_CHARACTERS = 2_000
_BARS = "Upper bar: base. Lower bar: tuned. The thin line is the 95 % interval."
_MOST_LINES = 40
"""Lines of a finer table that are shown; all of them stand in `evaluation.json`."""


def verdict_of(record: RunRecord) -> str:
    """What came of a run, in a sentence."""
    if record.evaluation:
        return str(record.evaluation["verdict"])
    done = record.steps[-1]["step"] if record.steps else 0
    if record.is_finished:
        return "The run has been trained to its end and not been judged yet."
    if not done:
        return "The run has not been trained yet."
    return f"The run has not been trained to its end: {done:,} of {record.total_steps:,} steps are done."


def standing_of(record: RunRecord) -> str:
    """`better`, `worse` or `open`, by the headline figure; empty where nothing was judged."""
    headline = headline_of(record.evaluation)
    if not headline:
        return ""
    gain = headline["difference"]
    low, high = gain["low"], gain["high"]
    falls, rises = high is not None and high < 0, low is not None and low > 0
    if not falls and not rises:
        return "open"
    return "better" if falls == headline["lower_is_better"] else "worse"


def headline_of(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """The figure that the verdict is about; empty where there is none."""
    figures = evaluation.get("figures", [])
    return next((one for one in figures if one["name"] == evaluation.get("headline")), {})


def heading(record: RunRecord) -> Html:
    """The verdict, and the few facts that a reader asks for first."""
    model = record.last("ModelReady")
    share = 100 * model["trained_parameters"] / model["parameters"] if model.get("parameters") else None
    headline, finished = headline_of(record.evaluation), record.last("Finished")
    tiles = [
        (headline.get("name", ""), _from_to(headline) if headline else ""),
        ("trained rows", f"{record.last('DataReady').get('training_rows', 0):,}" if record.all("DataReady") else ""),
        ("steps", _steps(record)),
        ("trained parameters", "" if share is None else f"{share:.3g} % of {model['parameters']:,}"),
        ("time of training", duration(finished["seconds"]) if finished else ""),
    ]
    parts = [
        paragraph(join([tag("span", "Burnish", class_="brand"), " · ", record.name, " · ", record.started], "")),
        tag("h1", verdict_of(record)),
        paragraph(_sentence(record), "lead"),
        facts(tiles),
    ]
    if not record.is_finished:
        then = f"burnish resume {shlex.quote(record.path)}"
        parts.append(paragraph(join(["It was interrupted, or is running. To go on: ", code(then), "."], ""), "caution"))
    return tag("header", join(parts), class_=f"verdict {standing_of(record) or 'none'}")


def setup(record: RunRecord) -> Section:
    """What was trained, on what, and where."""
    model, data = record.last("ModelReady"), record.last("DataReady")
    versions = record.manifest.get("versions", {})
    machine = record.manifest.get("machine", {})
    device = record.manifest.get("accelerator") or machine.get("processor") or ""
    pairs = [
        ("base model", record.base),
        ("its size", f"{model['parameters']:,} parameters, {memory_size(model['base_bytes'])}" if model else ""),
        ("method", record.method),
        ("trained", f"{model['trained_parameters']:,} parameters" if model else ""),
        ("task", record.task),
        ("data", record.data),
        ("rows", _rows(data)),
        ("context", f"{record.option('data.context')} tokens"),
        ("device", f"{record.manifest.get('device', '')} {device}".strip()),
        ("precision", record.manifest.get("precision", "")),
        ("made with", f"Burnish {versions.get('burnish', '?')}, torch {versions.get('torch', '?')}"),
    ]
    return Section("setup", "What was trained on what", facts(pairs))


def before_after(record: RunRecord) -> Section:
    """Base against tuned: every figure with its interval, as a table and as bars; then the finer tables."""
    evaluation = record.evaluation
    if not evaluation:
        nothing = "Base and tuned model have not been compared: that is done when a run has been trained to its end."
        return Section("figures", "Before and after", paragraph(nothing))
    all_rows = evaluation["rows"]
    on = f"On {counted(all_rows, 'row')}, {evaluation['held_out']}. In brackets: the interval that holds the truth 95 "
    nothing = "There are no held-out rows, so nothing shows whether the tuned model is better than its base."
    judged = [*evaluation["figures"], *figures_beside(evaluation), *evaluation.get("harness", ())]
    better = ["lower" if one["lower_is_better"] else "higher" for one in judged]
    rows = [[*cells, side] for cells, side in zip(figure_cells(judged, all_rows), better, strict=True)]
    drawn = sorted(evaluation["figures"], key=lambda one: one["is_share"])
    parts = [
        paragraph(on + "times in 100." if drawn else nothing),
        table([*COLUMNS, "better is"], rows, figures=(1, 2, 3)) if rows else "",
        figure(comparison_bars(drawn), _BARS) if drawn else "",
        *(paragraph(prose(evaluation[one]), "note") for one in ("note", "by_heart") if evaluation.get(one)),
        *(_finer(one) for one in evaluation["tables"]),
    ]
    return Section("figures", "Before and after", join(parts))


def samples(record: RunRecord) -> Section:
    """The first held-out rows with what both models make of them."""
    answers = record.evaluation.get("answers", [])
    if not answers:
        return Section("samples", "Samples", paragraph("No answers of both models were kept."))
    columns = ["prompt", "expected", "base", "tuned"]
    rows = []
    for answer in answers:
        cells: list[object] = [_said(answer[column]) for column in columns]
        place = tag("p", bare_place(answer["place"]), class_="note")
        rows.append([join([cells[0], place]), cells[1], *(_marked(answer, side) for side in ("base", "tuned"))])
    told = paragraph("The first held-out rows, not chosen. A green edge: just what was expected.")
    return Section("samples", "Samples side by side", join([told, tag("div", table(columns, rows), class_="samples")]))


def _sentence(record: RunRecord) -> str:
    where = f", judged on {counted(record.evaluation['rows'], 'row')}" if record.evaluation.get("rows") else ""
    return f"{record.base}, trained by {record.method} on {record.data} for the task {record.task}{where}."


def _from_to(headline: Mapping[str, Any]) -> str:
    base, tuned = (number(headline[side]["value"], headline["is_share"]) for side in ("base", "tuned"))
    return f"{base} → {tuned}"


def _steps(record: RunRecord) -> str:
    if not record.steps:
        return ""
    kept = f", kept: {record.best_step:,}" if record.best_step is not None else ""
    return f"{record.steps[-1]['step']:,} of {record.total_steps:,}{kept}"


def _rows(data: Mapping[str, Any]) -> str:
    if not data:
        return ""
    told = f"{data['training_rows']:,} trained on, {data['validation_rows']:,} held out"
    return told + (f", {data['rejected_rows']:,} left out" if data["rejected_rows"] else "")


def _finer(one: Mapping[str, Any]) -> Html:
    """A per-class table or a confusion matrix of the tuned model."""
    lines = [[cell if isinstance(cell, str) else _cell(cell) for cell in row] for row in one["rows"][:_MOST_LINES]]
    more = len(one["rows"]) - _MOST_LINES
    left = paragraph(f"{more:,} more lines stand in evaluation.json.", "note") if more > 0 else ""
    is_short = len(lines) <= 10
    shown = join([table(one["columns"], lines, figures=range(1, len(one["columns"]))), left])
    title = f"Tuned model: {one['title']}"
    return join([tag("h3", title), shown]) if is_short else unfold(title, shown)


def _cell(value: float | None) -> str:
    if value is None:
        return "?"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def _said(text: str) -> Html:
    return tag("div", shortened(text.strip(), _MOST_CHARACTERS) or "(nothing)", class_="said")


def _marked(answer: Mapping[str, str], side: str) -> Html:
    given, expected = answer[side].strip(), answer["expected"].strip()
    is_right = re.sub(r" \(\d\.\d\d\)$", "", given) == expected  # a label stands with its probability
    return tag("div", _said(given), class_="right") if is_right else _said(given)
