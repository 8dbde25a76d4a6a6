"""What a run achieved: the verdict, what was trained on which data, base against tuned, and answers side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from burnish.report.charts import comparison_bars
from burnish.report.figures import (
    COLUMNS,
    SHOWN_ANSWERS,
    counted,
    duration,
    figure_cells,
    figures_beside,
    kept_step,
    number,
    row_of,
    shortened,
)
from burnish.report.record import RunRecord, bare_place
from burnish.system.machine import memory_size
from burnish.system.shell import quoted

_MOST_CHARACTERS = 2_000
_MOST_LINES = 40
"""Lines that are shown of a finer table; all of them are in `evaluation.json`."""


def verdict_of(record: RunRecord) -> str:
    """What the run achieved, in a sentence."""
    if record.evaluation:
        return str(record.evaluation["verdict"])
    done = record.steps[-1]["step"] if record.steps else 0
    if record.is_finished and (ranked := record.last("Ranked")):
        return (
            f"The sweep `{ranked['sweep']}` ranked this setting {ranked['rank']} of {ranked['settings']} and chose "
            "another run, so this one is not evaluated."
        )
    if record.is_finished:
        return "Training has finished; the result has not been evaluated yet."
    if not done:
        return "Training has not started yet."
    return f"Training has not finished: {done:,} of {record.total_steps:,} steps are done."


_SHOWN_AS = {
    "better": "better",
    "better_but_forgot": "better",
    "worse": "worse",
    "worse_though_loss_fell": "worse",
    "no_rows": "",
}
"""What a kind of verdict is shown as; all others are open."""


def outcome_of(record: RunRecord) -> str:
    """`better`, `worse` or `open`, by the verdict; empty where nothing was evaluated."""
    evaluation = record.evaluation
    headline = headline_of(evaluation)
    if not headline:
        return ""
    if evaluation["verdict_kind"]:
        return _SHOWN_AS.get(evaluation["verdict_kind"], "open")
    # earlier versions: by the headline
    gain = headline["difference"]
    low, high = gain["low"], gain["high"]
    falls, rises = high is not None and high < 0, low is not None and low > 0
    if not falls and not rises:
        return "open"
    return "better" if falls == headline["lower_is_better"] else "worse"


def headline_of(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """The metric that the verdict is about; empty where there is none."""
    names = [*evaluation.get("deciding", ()), evaluation.get("headline")]
    found = {one["name"]: one for one in evaluation.get("figures", [])}
    return next((found[name] for name in names if name in found), {})


def heading(record: RunRecord) -> dict[str, Any]:
    """The verdict, and the few facts that a reader asks for first."""
    model, data = record.last("ModelReady"), record.last("DataReady")
    share = 100 * model["trained_parameters"] / model["parameters"] if model.get("parameters") else None
    headline, finished = headline_of(record.evaluation), record.last("Finished")
    return {
        "name": record.name,
        "started": record.started,
        "verdict": verdict_of(record),
        "outcome": outcome_of(record),
        "summary": _summary(record),
        "tiles": [
            (headline.get("name", ""), _from_to(headline) if headline else ""),
            ("training rows", f"{data.get('training_rows', 0):,}" if data else ""),
            ("steps", _steps(record)),
            ("trainable parameters", "" if share is None else f"{share:.3g} % of {model['parameters']:,}"),
            ("training time", duration(finished["seconds"]) if finished else ""),
        ],
        "resume": "" if record.is_finished else f"burnish resume {quoted(record.path)}",
    }


def setup(record: RunRecord) -> dict[str, Any]:
    """What was trained, on what, and where."""
    model, manifest = record.last("ModelReady"), record.manifest
    versions = manifest.get("versions", {})
    device = manifest.get("accelerator") or manifest.get("machine", {}).get("processor") or ""
    pairs = [
        ("base model", record.base),
        ("its size", _size(model) if model else ""),
        ("method", record.method),
        ("trainable", f"{model['trained_parameters']:,} parameters" if model else ""),
        ("task", record.task),
        ("data", record.data),
        ("rows", _rows(record.last("DataReady"))),
        ("context", f"{record.option('data.context')} tokens"),
        ("device", f"{manifest.get('device', '')} {device}".strip()),
        ("precision", manifest.get("precision", "")),
        ("made with", f"Burnish {versions.get('burnish', '?')}, torch {versions.get('torch', '?')}"),
    ]
    return {"pairs": pairs}


def _size(model: Mapping[str, Any]) -> str:
    parameters = f"{model['parameters']:,} parameters"
    return f"{parameters}, {memory_size(model['base_bytes'])}" if "base_bytes" in model else parameters


def before_after(record: RunRecord) -> dict[str, Any]:
    """Base against tuned: every metric with its interval, as a table and as bars; then the finer tables."""
    evaluation = record.evaluation
    if not evaluation:
        return {
            "is_compared": False,
            "evaluate": f"burnish evaluate {quoted(record.path)}" if record.is_finished else "",
        }
    measured = [*evaluation["figures"], *figures_beside(evaluation), *evaluation.get("harness", ())]
    better = ["lower" if one["lower_is_better"] else "higher" for one in measured]
    cells = figure_cells(measured, evaluation["rows"])
    return {
        "is_compared": True,
        "rows": counted(evaluation["rows"], row_of(evaluation)),
        "held_out": evaluation["held_out"],
        "columns": [*COLUMNS, "better is"],
        "lines": [[*line, side] for line, side in zip(cells, better, strict=True)],
        "chart": comparison_bars(sorted(evaluation["figures"], key=lambda one: one["is_share"])),
        "notes": [
            *(evaluation[name] for name in ("caveat", "note", "by_heart") if evaluation.get(name)),
            *([kept] if (kept := kept_step(record.kept)) else []),
        ],
        "tables": [_finer(one) for one in evaluation["tables"]],
    }


def samples(record: RunRecord) -> dict[str, Any]:
    """The first rows of the comparison with what both models answer."""
    answers = record.evaluation.get("answers", [])[:SHOWN_ANSWERS]
    return {
        "answers": [
            {
                "prompt": _shown(answer["prompt"]),
                "place": bare_place(answer["place"]),
                "expected": _shown(answer["expected"]),
                "sides": [_marked(answer, side) for side in ("base", "tuned")],
            }
            for answer in answers
        ]
    }


def _summary(record: RunRecord) -> str:
    rows = record.evaluation.get("rows")
    where = f", evaluated on {counted(rows, row_of(record.evaluation))}" if rows else ""
    return f"{record.base}, trained with {record.method} on {record.data} for the task {record.task}{where}."


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
    used = f"{data['training_rows']:,} for training, {data['validation_rows']:,} for validation"
    used += f", {data['test_rows']:,} for the test" if data.get("test_rows") else ""
    return used + (f", {data['rejected_rows']:,} rejected" if data["rejected_rows"] else "")


def _finer(one: Mapping[str, Any]) -> dict[str, Any]:
    """A per-class table or a confusion matrix of the tuned model."""
    lines = [[cell if isinstance(cell, str) else _cell(cell) for cell in row] for row in one["rows"][:_MOST_LINES]]
    more = max(0, len(one["rows"]) - _MOST_LINES)
    return {"title": one["title"], "columns": one["columns"], "rows": lines, "more": more}


def _cell(value: float | None) -> str:
    if value is None:
        return "?"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def _shown(text: str) -> str:
    return shortened(text.strip(), _MOST_CHARACTERS) or "(nothing)"


def _marked(answer: Mapping[str, str], side: str) -> dict[str, Any]:
    given, expected = answer[side].strip(), answer["expected"].strip()
    is_right = re.sub(r" \(\d\.\d\d\)$", "", given) == expected  # a label comes with its probability
    return {"text": _shown(given), "is_right": is_right}
