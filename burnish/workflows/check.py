"""`burnish check`: what is wrong with data, before training on it.

    read in blocks ─► shape and labels ─► read again ─► tokenize ─► check rows ─► conclude over all rows

The rows are read twice (only the first ones where no option depends on the rest), so that memory holds no more than a
block per process and a few hundred bytes per row.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import psutil

from burnish.check.contents import SpecialTokens
from burnish.check.examination import Block, Examination, Examiner
from burnish.check.finding import Finding
from burnish.check.labels import is_far_too_small, usual_size
from burnish.check.token_view import TokenView
from burnish.data.files.json_lines import json_lines
from burnish.data.files.opening import is_compressed
from burnish.data.files.readers import is_json_lines
from burnish.data.files.sources import Source, Sources, find_all
from burnish.data.files.splits import CALLED, TEST, VALID, describe_columns, rows_by_split
from burnish.data.files.splits import TRAIN as TRAINING
from burnish.data.rows.dataset import (
    Records,
    find_split_columns,
    refuse_empty,
    why_unusable,
)
from burnish.data.rows.division import planned_rows
from burnish.data.rows.groups import refuse_missing_group
from burnish.data.rows.mixing import Origins
from burnish.data.rows.reading import good_rows, notes_on_formats, notes_on_reading, training_rows
from burnish.data.rows.records import Record, TextRecord
from burnish.data.rows.row import Rejected, Row
from burnish.data.rows.shapes import Shape, detect_shape
from burnish.data.tokens.tokens import Tokens
from burnish.prepare.context import Emit, RunContext, check_options, open_context, what_is_asked
from burnish.prepare.model import base_key
from burnish.prepare.remarks import report_shape
from burnish.prepare.resolve import check_shape
from burnish.prepare.shared import once
from burnish.prepare.start import settle_start
from burnish.recipe.schema import NONE, DataSection, Recipe
from burnish.runs.event_log import EventLog
from burnish.runs.events import DataChecked, Listener, Note, Progressed, Stage
from burnish.system.machine import this_machine
from burnish.system.processes import in_processes
from burnish.tasks import task_names_for

_BLOCK = 4_096
_FIRST_BLOCKS = 2
"""Always checked in this process; their time decides whether more processes are worth starting."""
_WORTH_SECONDS = 20.0
_PROCESS_BYTES = 1 << 30
"""Memory of a process with its libraries, at most."""
_FIRST = 20_000
"""Rows from which the shape is detected."""
_READ_BYTES = 1 << 24
_BRIEF = 2_000
"""Rows of each split that are checked before a run starts."""
_STRETCHES = 10
"""Of the lengths of rows."""
_NO_OPTIONS = TextRecord("", True, "")
"""Replaces a record on which no option depends."""


@dataclass(frozen=True, slots=True)
class Checkup:
    """What was found in a data set."""

    facts: dict[str, str]
    """Rows, tokens and so on, as text by name."""
    findings: list[Finding]
    """The most severe first."""
    views: list[TokenView]
    """The first rows as the model sees them."""
    removable: Mapping[str, str]
    """Places of rows that can be removed without loss, and why."""
    labels: Mapping[str, int] = field(default_factory=dict)
    """Rows of each label, the most common first; none if rows have no labels."""
    lengths: Sequence[tuple[int, int, int]] = ()
    """Rows by their length in tokens: the ends of each stretch, and its rows."""

    @property
    def blocks(self) -> bool:
        """Whether any finding should prevent training."""
        return any(finding.blocks for finding in self.findings)

    @property
    def verdict(self) -> str:
        """The outcome in a sentence."""
        if not self.findings:
            return "Nothing is wrong with these rows."
        worst = sum(finding.blocks for finding in self.findings)
        rest = len(self.findings) - worst
        parts = [f"{worst} to fix before training" if worst else "", f"{rest} to review" if rest else ""]
        return f"Findings: {' and '.join(filter(None, parts))}."

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "facts": self.facts,
            "findings": [finding.to_dict() for finding in self.findings],
            "rows": [view.to_dict() for view in self.views],
            "verdict": self.verdict,
            "blocks": self.blocks,
        }


@dataclass(frozen=True, slots=True)
class _FirstPass:
    """Results of reading the rows for the first time."""

    sources: Sources
    shape: Shape
    thin: list[Record]
    """The training rows, reduced to what options depend on; only the first ones, if none depends on them."""
    number: int
    """Approximate number of training rows."""
    columns: tuple[str, ...]
    """The columns that name the split of each training row."""
    skipped: frozenset[str]
    """Splits whose rows by those columns are not used."""
    held_out: tuple[str, ...]
    """Splits for which training rows are held out."""


def check(recipe: Recipe, listeners: Iterable[Listener] = (), show: int = 0) -> Checkup:
    """Checks all data of a recipe.

    Args:
        recipe: names the data, and the model that tokenizes it; may hold `auto`.
        listeners: receive every event.
        show: number of rows to show token by token.

    Raises:
        DataError: the data cannot be read, or has nothing to learn from.
        InputError: recipe or model is wrong.
    """
    emit = EventLog(None, listeners)
    check_options(recipe)
    recipe = settle_start(recipe)
    emit(Stage("reading data"))
    data = _first_pass(recipe)
    report_shape(data.shape, emit)
    context = open_context(recipe, _as_records(data), emit)
    length, special = context.context_length, _special_tokens(context)
    examiner = Examiner(data.shape, context.task, context.tokenizer, length, special, data.columns, data.skipped)
    emit(Stage("checking the rows"))
    examination, views = _examine(_blocks(data, recipe, show), examiner, data.number, emit)
    for note in context.task.encoder.notes_on(examination.message_keys):
        emit(Note(note))
    if is_far_too_small(context.task, len(examination.rows)):
        examination.tally.add("few-rows", data.sources.described, f"{len(examination.rows):,} rows")
    findings = examination.conclude()
    facts, shown = _facts(data, context, examination), _of_first_rows(views, show)
    labels = dict(examination.labels.counts.most_common())
    return Checkup(facts, findings, shown, examination.removable, labels, examination.figures.stretches(_STRETCHES))


def _of_first_rows(views: Sequence[TokenView], number: int) -> list[TokenView]:
    """The views of the first rows; a conversation whose turns cannot share one sequence has several."""
    shown = set(list(dict.fromkeys(view.place for view in views))[:number])
    return [view for view in views if view.place in shown]


def check_briefly(context: RunContext) -> None:
    """Checks the first rows of a run before training starts, and reports what is wrong with them.

    Rows that were left out are reported separately.
    """

    def key() -> list[Any]:
        return [context.records.sha256, context.recipe.data.model_dump(mode="json"), base_key(context)]

    checked = once(context.shared, "check", key, lambda: _first_findings(context))
    if checked.findings:
        context.emit(checked)


def _first_findings(context: RunContext) -> DataChecked:
    examination = Examination(_special_tokens(context))
    records = context.records
    for split, part in ((TRAINING, records.train), (VALID, records.valid), (TEST, records.test)):
        examination.add(CALLED[split], part[:_BRIEF])
    findings = [finding for finding in examination.conclude() if finding.kind.is_brief]
    return DataChecked(len(examination.rows), [finding.to_dict() for finding in findings])


def _first_pass(recipe: Recipe) -> _FirstPass:
    """Reads the rows once: detects the shape from the first, and keeps what options depend on from all."""
    section = recipe.data
    sources, rejected = find_all(section), list[Rejected]()
    rows = training_rows(sources, section, rejected, Origins.of_paths([one.path for one in section.sources]))
    first = list(islice(rows, _FIRST))
    refuse_empty(first, rejected, section.named)
    columns = find_split_columns(first, section, sources)
    parts = rows_by_split(first, columns) if columns else {TRAINING: first, VALID: [], TEST: []}
    refuse_missing_group(parts[TRAINING], section.group)
    shape = detect_shape(parts[TRAINING], section.columns, section.shape, what_is_asked(recipe))
    check_shape(recipe, shape.name, task_names_for(shape.record))
    thin = list(map(_thin, shape.to_records(parts[TRAINING], rejected)))
    lines = _lines(sources.train) if thin and all(one is _NO_OPTIONS for one in thin) else None
    while lines is None and (block := list(islice(rows, _BLOCK))):
        block = rows_by_split(block, columns)[TRAINING] if columns else block
        thin += map(_thin, shape.to_records(block, rejected))
    refuse_empty(thin, rejected, section.named)
    skipped = _skipped(section, sources)
    said, untested = "", _untested(section, sources, parts[TEST], shape, thin)
    if untested:
        sources, skipped = replace(sources, test=None), skipped | {TEST}
    if columns:
        said = describe_columns(columns, parts if len(first) < _FIRST else None)
    held_out = [*(sources.valid or []), *(sources.test or [])]
    notes = (*sources.notes, said, *shape.notes, *notes_on_formats(sources.train), *notes_on_reading(held_out))
    shape = replace(shape, notes=tuple(dict.fromkeys(note for note in (*notes, untested) if note)))
    number = len(thin) if lines is None else min(lines, section.rows or lines)
    asked = [
        split
        for split, found in ((VALID, sources.valid), (TEST, sources.test))
        if not found and (split in skipped or not parts[split])
    ]
    return _FirstPass(sources, shape, thin, number, columns, skipped, tuple(asked))


def _skipped(section: DataSection, sources: Sources) -> frozenset[str]:
    """The splits of columns that are not used, since the recipe has other data for them or wants none."""
    other = {VALID: bool(sources.valid), TEST: bool(sources.test) or section.test == NONE}
    return frozenset(split for split, has_other in other.items() if has_other)


def _untested(
    section: DataSection, sources: Sources, rows: Sequence[Row], shape: Shape, train: Sequence[Record]
) -> str:
    """A sentence that says why the test split is not used, if its first rows have nothing to compare answers with."""
    if section.test is not None:
        return ""
    rejected: list[Rejected] = []
    name = sources.test[0] if sources.test else section.named
    rows = list(islice(good_rows(sources.test, rejected), _FIRST)) if sources.test else rows
    test = list(shape.to_records(rows, rejected))
    reason = why_unusable(train, test, rejected) if rows or sources.test else ""
    return f"The test data in `{name}` is not used: {reason}." if reason else ""


def _lines(sources: Sequence[Source]) -> int | None:
    """Total number of lines of all sources, if each line is a row; otherwise None."""
    if not all(isinstance(source, Path) and not is_compressed(source) and is_json_lines(source) for source in sources):
        return None
    number = 0
    for source in sources:
        with Path(str(source)).open("rb") as file:
            while part := file.read(_READ_BYTES):
                number += part.count(b"\n")
    return number


def _thin(record: Record) -> Record:
    """A record without its texts."""
    return record.without_texts() or _NO_OPTIONS


def _as_records(data: _FirstPass) -> Records:
    return Records(data.thin, [], [], data.shape, [], "", [])


def _blocks(data: _FirstPass, recipe: Recipe, show: int) -> Iterator[Block]:
    """All rows, block by block; the training split comes first."""
    splits = {TRAINING: data.sources.train, VALID: data.sources.valid or [], TEST: data.sources.test or []}
    for split, sources in ((CALLED[split], sources) for split, sources in splits.items()):
        if split == CALLED[TRAINING] and (recipe.data.rows or any(one.rows for one in recipe.data.sources)):
            rejected = list[Rejected]()
            origins = Origins.of_paths([one.path for one in recipe.data.sources])
            yield from _blocks_of_rows(
                split, training_rows(data.sources, recipe.data, rejected, origins), rejected, show
            )
            continue
        for source in sources:
            if isinstance(source, Path) and is_json_lines(source):
                yield from (Block(split, lines, shown=show) for lines in json_lines(source, _BLOCK))
            else:
                rejected = list[Rejected]()
                yield from _blocks_of_rows(split, good_rows([source], rejected), rejected, show)


def _blocks_of_rows(split: str, rows: Iterator[Row], rejected: list[Rejected], show: int) -> Iterator[Block]:
    while block := list(islice(rows, _BLOCK)):
        yield Block(split, block, rejected.copy(), show)
        rejected.clear()
    if rejected:
        yield Block(split, (), rejected)


def _examine(blocks: Iterator[Block], examiner: Examiner, most: int, emit: Emit) -> tuple[Examination, list[TokenView]]:
    """Checks all blocks: the first ones in this process, the others on all cores if many are left.

    Args:
        blocks: consumed once.
        examiner: checks them.
        most: approximate number of rows.
        emit: receives the progress.
    """
    examination, views = examiner.begin(), list[TokenView]()

    def take(outcome: tuple[Examination, list[TokenView]]) -> None:
        examination.join(outcome[0])
        views.extend(outcome[1])
        emit(Progressed("rows checked", _seen(examination), max(_seen(examination), most)))

    begun = time.monotonic()
    for block in islice(blocks, _FIRST_BLOCKS):
        take(examiner.examine(block))
    seen, seconds = _seen(examination), time.monotonic() - begun
    for outcome in in_processes(examiner.examine, blocks, _processes((most - seen) * seconds / max(seen, 1))):
        take(outcome)
    return examination, views


def _seen(examination: Examination) -> int:
    """Rows checked so far, with those that cannot be used."""
    return len(examination.rows) + examination.rejected


def _processes(seconds: float) -> int:
    """How many processes to use for work that takes one `seconds`: each needs memory and time to start."""
    if seconds < _WORTH_SECONDS:
        return 1
    return max(1, min(this_machine().cores, psutil.virtual_memory().available // _PROCESS_BYTES))


def _special_tokens(context: RunContext) -> SpecialTokens:
    tokens = Tokens(context.tokenizer)
    return SpecialTokens(context.tokenizer, tokens.decode(tokens.lead))


def _scores(records: Sequence[Record]) -> str:
    """The range and the spread of the numbers of the training rows, as a phrase; empty if they have none."""
    amounts = [amount for record in records if (amount := record.amount()) is not None]
    if not amounts:
        return ""
    return f"{min(amounts):g} to {max(amounts):g}, mean {fmean(amounts):.3g}, standard deviation {pstdev(amounts):.3g}"


def _held_out(data: _FirstPass, section: DataSection) -> str:
    """How many training rows `train` will hold out, as a phrase; empty if none."""
    planned = planned_rows(data.number, section, data.held_out)
    named = " and ".join(f"about {number:,} for {CALLED[split]}" for split, number in planned.items())
    return f"{named}, when training" if named else ""


def _facts(data: _FirstPass, context: RunContext, examination: Examination) -> dict[str, str]:
    """Describes the data, as text by name."""
    figures = examination.figures
    rows, (median, most, longest) = len(examination.rows), figures.lengths()
    facts = {
        "rows": f"{rows:,}" + (f", {examination.rejected:,} left out" if examination.rejected else ""),
        "read from": data.sources.described,
        "held out": _held_out(data, context.recipe.data),
        "shape": f"{data.shape.name}, for the task {context.task.name}",
        "tokens": f"{figures.tokens:,} by {context.location.name}: median {median:,}, 95 % up to {most:,}, "
        f"longest {longest:,} ({figures.longest_place})"
        if rows
        else "",
        "trained": f"{100 * figures.share:.0f} % of the tokens" if rows and context.task.counts_tokens else "",
        "labels": examination.labels.summary(),
        "scores": _scores(data.thin),
        "unused": data.shape.unused,
        "languages": examination.languages.summary(),
        "usual size": usual_size(context.task),
    }
    return {name: value for name, value in facts.items() if value}
