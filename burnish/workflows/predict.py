"""Predicts for every row of a file: `burnish predict`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from burnish.data.files.sources import Source, Sources, file_name, find_sources, read_source
from burnish.data.rows.row import Rejected, Row, as_text, did_you_mean, quoted
from burnish.errors import DataError
from burnish.inference.rows import LEFT_OUT, Answer, RowAnswers
from burnish.inference.session import Session
from burnish.models.fingerprint import fingerprint
from burnish.runs.events import Event, Listener, Note, Progressed, Warned
from burnish.runs.partial import PartialLines

PART_ROWS = 256
"""Rows that are predicted and written at a time. What is interrupted continues behind the last of them."""
_NAMED = 3
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Choices:
    """What decides how rows are answered."""

    max_new_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0
    columns: Mapping[str, str] | None = None
    """Field -> column of the file."""
    keep: tuple[str, ...] = ()
    """Columns of the file whose values are copied into `given`."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """A finished file of predictions."""

    path: str
    rows: int
    failed: int
    """Rows for which nothing could be predicted; their lines have an `error`."""
    cut: int
    """Rows that are longer than the context."""
    resumed_rows: int
    """Rows that an interrupted command had predicted before."""


def predict(session: Session, data: str, out: Path, choices: Choices, listeners: Iterable[Listener] = ()) -> Predicted:
    """Writes a line for every row of a file, in the order of its rows; continues what was interrupted.

    The finished file has the same bytes, however often it was interrupted.

    Args:
        session: with the model.
        data: a file, a folder or a hub dataset; of several splits all rows, those for training first.
        out: the file to write.
        choices: how rows are answered.
        listeners: receive every event.

    Raises:
        InputError: the file exists, or was begun with another model, data or choices.
        DataError: the data cannot be read.
        MachineError: the disk is full.
    """

    emit, answers = _emitter(listeners), make_answers(session, choices)
    sources, total = _found(data, answers, choices.keep, _KEEP, emit)
    origin = {"model": _model_of(session), "data": _hash_of(sources), **asdict(choices)}
    lines = PartialLines(out, origin, PART_ROWS)
    with lines.opened():
        resumed = lines.done
        if resumed:
            emit(Note(f"Continuing after row {min(total, resumed * PART_ROWS):,} of {total:,}."))
        for number, rows in enumerate(parts_of(sources)):
            if number < resumed:
                continue
            lines.add(_numbered(rows, answers.predict(rows, number), number * PART_ROWS, choices.keep))
            emit(Progressed("rows predicted", number * PART_ROWS + len(rows), total))
        lines.finish()
    failed, num_cut = _remarkable(out)
    if failed:
        first = "; ".join(failed[:_NAMED]) + ("; …" if len(failed) > _NAMED else "")
        number = "1 row has" if len(failed) == 1 else f"{len(failed):,} rows have"
        emit(Warned(f"{number} no prediction, but an `error` in the file: {first}"))
    if num_cut:
        number = "1 row is" if num_cut == 1 else f"{num_cut:,} rows are"
        emit(Warned(f"{number} longer than the context; how many tokens were not used is in `{LEFT_OUT}`."))
    return Predicted(str(out), total, len(failed), num_cut, min(total, resumed * PART_ROWS))


_KEEP = "`--keep COLUMN` copies a column of the data into `given`."


def predict_rows(session: Session, data: str, choices: Choices, listeners: Iterable[Listener] = ()) -> list[Answer]:
    """What `predict` writes for every row, without its number.

    Args:
        session: with the model.
        data: a file, a folder or a hub dataset; of several splits all rows, those for training first.
        choices: how rows are answered.
        listeners: receive every event.

    Raises:
        DataError: the data cannot be read.
    """
    answers = make_answers(session, choices)
    sources, _ = _found(data, answers, choices.keep, "", _emitter(listeners))
    return [one for number, rows in enumerate(parts_of(sources)) for one in answers.predict(rows, number)]


def _emitter(listeners: Iterable[Listener]) -> Listener:
    heard = tuple(listeners)

    def emit(event: Event) -> None:
        for listener in heard:
            listener(event)

    return emit


def _found(data: str, answers: RowAnswers, keep: Sequence[str], hint: str, emit: Listener) -> tuple[list[Source], int]:
    """The sources of some data, and the number of their rows; what is unused is named, with a hint if there is one."""
    found = find_sources(data, columns=answers.columns)
    for note in found.notes:
        emit(Note(note))
    sources = all_sources(found)
    _check_kept(sources, keep)
    total, unused = _survey(sources, answers, keep)
    if unused:
        emit(Note(f"Not used: {quoted(unused)}. {hint}".rstrip()))
    return sources, total


def _numbered(
    rows: Sequence[Row | Rejected], predicted: Sequence[Answer], before: int, keep: Sequence[str]
) -> list[dict[str, Any]]:
    """The lines of a part: predictions with the numbers of their rows, and where rows without one are."""
    return [
        {
            "row": before + at,
            **({"place": row.place} if "error" in one else {}),
            **({"given": _given(row, keep)} if keep and isinstance(row, Row) else {}),
            **one,
        }
        for at, (row, one) in enumerate(zip(rows, predicted, strict=True), start=1)
    ]


def _given(row: Row, names: Sequence[str]) -> dict[str, Any]:
    """Values of some columns, as JSON can have them."""
    values = {name: row.values.get(name) for name in names}
    return {name: value if isinstance(value, int | float) else as_text(value, name) for name, value in values.items()}


def _check_kept(sources: Sequence[Source], names: Sequence[str]) -> None:
    """Raises DataError if the first row has not all columns that are to be kept."""
    first = next((row for row in rows_of(sources) if isinstance(row, Row)), None)
    missing = [name for name in names if first is not None and name not in first.values]
    if first is not None and missing:
        raise DataError(
            f"there is no column `{missing[0]}` to keep",
            f"The columns are {quoted(map(str, first.values))}.",
            did_you_mean(missing[0], map(str, first.values)) or "Name one of these with `--keep`",
        )


def _survey(sources: Sequence[Source], answers: RowAnswers, keep: Sequence[str]) -> tuple[int, list[str]]:
    """The number of rows, and the columns that are used in none of them."""
    total, firsts = 0, dict[tuple[str, ...], Row]()
    for row in rows_of(sources):
        total += 1
        if isinstance(row, Row):
            firsts.setdefault(tuple(row.values), row)
    used = set(keep).union(*map(answers.used, firsts.values()))
    return total, [name for name in dict.fromkeys(name for names in firsts for name in names) if name not in used]


def _remarkable(path: Path) -> tuple[list[str], int]:
    """Rows without a prediction, with the reason, and the number of rows that were cut."""
    failed, num_cut = list[str](), 0
    with path.open(encoding="utf-8") as file:
        for line in file:
            if '"error"' in line and "error" in (found := json.loads(line)):
                failed.append(f"{found['place']}: {found['error']}")
            elif f'"{LEFT_OUT}"' in line and LEFT_OUT in json.loads(line):
                num_cut += 1
    return failed, num_cut


def make_answers(session: Session, choices: Choices) -> RowAnswers:
    """What answers rows as chosen."""
    return RowAnswers(session, choices.columns, choices.max_new_tokens, choices.temperature, choices.seed)


def all_sources(found: Sources) -> list[Source]:
    """Those of all splits, those for training first."""
    return [*found.train, *(found.valid or []), *(found.test or [])]


def rows_of(sources: Sequence[Source]) -> Iterator[Row | Rejected]:
    """The rows of all sources in order, those that cannot be read too."""
    for source in sources:
        yield from read_source(source)


def parts_of(sources: Sequence[Source]) -> Iterator[list[Row | Rejected]]:
    """The same in lists of `PART_ROWS`."""
    rows = rows_of(sources)
    while part := list(islice(rows, PART_ROWS)):
        yield part


def _model_of(session: Session) -> str:
    """The base model by name, and the result by its hash."""
    opened = session.opened
    run = opened.run
    where = None if run is None else run.result
    tuned = "" if where is None or opened.is_base else fingerprint(where)
    return f"{opened.base} {tuned}".strip()


def _hash_of(sources: Sequence[Source]) -> str:
    """SHA-256 (hex) over the content of files, and the names of splits of hub datasets."""
    digest = hashlib.sha256()
    for source in sources:
        path = Path(file_name(source))
        digest.update(f"{source}\n".encode())
        if path.is_file():
            with path.open("rb") as file:
                while block := file.read(_BLOCK_BYTES):
                    digest.update(block)
    return digest.hexdigest()
