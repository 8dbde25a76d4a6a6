"""Figures of each of several sources of rows: both models on the test rows, and the validation loss while training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from burnish.data.rows.mixing import Origins
from burnish.data.rows.records import Record
from burnish.evaluate.comparison import make_figures
from burnish.evaluate.figure import Figure
from burnish.runs.damage import DamagedRun
from burnish.runs.event_log import read_events
from burnish.runs.folder import RunFolder, finished_events
from burnish.tasks.evaluated import EvaluatedExamples
from burnish.tasks.task import Task


@dataclass(frozen=True, slots=True)
class SourceFigures:
    """Both models on the rows of one source."""

    name: str
    rows: int
    figures: list[Figure]


def figures_by_source(
    base: EvaluatedExamples, tuned: EvaluatedExamples, records: Sequence[Record], origins: Origins | None, task: Task
) -> list[SourceFigures]:
    """The loss and the task's metrics on the rows of each source that has any; none for a single source.

    Args:
        base: the base model's results on the test rows.
        tuned: the tuned model's.
        records: the test rows.
        origins: which row is from which source.
        task: names the metrics.
    """
    if origins is None:
        return []
    source_of = [origins.of(records[owner].place) for owner in base.owners]
    found = []
    for number, name in enumerate(origins.names):
        kept = [at for at, source in enumerate(source_of) if source == number]
        if not kept:
            continue
        before, after = ([one.loss(), *task.scorer.measures(one)] for one in (base.taken(kept), tuned.taken(kept)))
        found.append(SourceFigures(name, len({base.owners[at] for at in kept}), make_figures(before, after)))
    return found


def validation_by_source(folder: RunFolder, best: int | None = None) -> dict[str, list[float]]:
    """The validation loss of each source before training and at the step that is kept; empty for a single source.

    Args:
        folder: of the run.
        best: the step that is kept; None for that of the run's result.
    """
    try:
        seen = {line["step"]: line for line in read_events(folder.metrics) if line["event"] == "Validated"}
        if best is None:
            finished: list[dict[str, Any]] = finished_events(folder)
            best = folder.step or (int(finished[-1]["best_step"]) if finished else 0)
    except DamagedRun:
        return {}
    before, after = (seen.get(step, {}).get("sources", {}) for step in (0, best))
    return {name: [before[name], after[name]] for name in before if name in after}
