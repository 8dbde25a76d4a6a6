"""The rows on which runs can be compared: none of them was trained on any, and all of them read each one alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from burnish.data.dataset import Records
from burnish.data.records import content_hash
from burnish.errors import DataError
from burnish.evaluate.run_scores import FEWEST_ROWS
from burnish.runs.events import Stage
from burnish.tasks.task import EncodedRow
from burnish.workflows.contender import Contender
from burnish.workflows.evaluate import other_rows
from burnish.workflows.preparation import Emit


@dataclass(frozen=True, slots=True)
class SharedRows:
    """The same rows in the same order, as each run reads them."""

    by_run: list[Records]
    """Those of the validation part; there is no other."""
    described: str
    """Where they come from, in words."""
    remarks: list[str] = field(default_factory=list)
    """Which were left out, in sentences."""

    @property
    def number(self) -> int:
        """How many."""
        return len(self.by_run[0].valid)


def find_shared(contenders: Sequence[Contender], data: str | None, emit: Emit) -> SharedRows:
    """The rows that all runs held out, or those of another file that none was trained on; each once.

    Args:
        contenders: the runs.
        data: another file; None for the rows that were held out.
        emit: told of what happens.

    Raises:
        DataError: there are too few, or they are for another task.
    """
    offered = [other_rows(one.recipe, data, emit) if data else one.records for one in contenders]
    emit(Stage("looking for rows that the runs share"))
    trained = {content_hash(record) for one in contenders for record in one.records.train}
    known = [{content_hash(record): record for record in records.valid} for records in offered]
    common = [key for key in known[0] if all(key in others for others in known)]
    unseen = [key for key in common if key not in trained]
    alike = _read_alike(contenders, [[rows[key] for key in unseen] for rows in known])
    kept = [key for key, is_alike in zip(unseen, alike, strict=True) if is_alike]
    remarks = []
    if len(common) > len(unseen):
        remarks.append(f"{len(common) - len(unseen)} rows that a run was trained on are left out.")
    if len(unseen) > len(kept):
        remarks.append(f"{len(unseen) - len(kept)} rows that some of the runs cut, or cannot read, are left out.")
    if len(kept) < FEWEST_ROWS:
        raise _too_few(len(kept), len(contenders), data, remarks)
    chosen = [[rows[key] for key in kept] for rows in known]
    by_run = [replace(records, train=[], valid=rows) for records, rows in zip(offered, chosen, strict=True)]
    described = f"`{data}`" if data else "held out by all of the runs"
    return SharedRows(by_run, described, remarks)


def _read_alike(contenders: Sequence[Contender], rows: Sequence[Sequence[Any]]) -> list[bool]:
    """For each row whether every run learns something of it, and cuts as much of it as the others."""
    cuts = [list(_cuts(one, own)) for one, own in zip(contenders, rows, strict=True)]
    return [None not in told and len(set(told)) == 1 for told in zip(*cuts, strict=True)]


def _cuts(contender: Contender, rows: Sequence[Any]) -> Iterator[int | None]:
    """Tokens that are cut of each row; None for one that the run cannot learn from."""
    for row in contender.setting.task.encode_all(rows, int(contender.judged_by.data.context)):
        is_learned = isinstance(row, EncodedRow) and any(example.num_trained for example in row.examples)
        yield row.truncated_tokens if isinstance(row, EncodedRow) and is_learned else None


def _too_few(number: int, runs: int, data: str | None, remarks: Sequence[str]) -> DataError:
    found = f"{number} row{'s' if number != 1 else ''}" if number else "no row"
    needed = f"At least {FEWEST_ROWS} are needed for intervals that hold what they say."
    if data:
        return DataError(
            f"`{data}` has {found} on which these {runs} runs can be compared",
            " ".join([needed, *remarks]),
            "Name more rows that none of the runs was trained on",
        )
    why = "Which rows are held out follows from the data and the seed; a row that a run was trained on flatters it."
    return DataError(
        f"these {runs} runs have {found} in common that all of them held out",
        " ".join([needed, why, *remarks]),
        "Name other rows with `--data other.jsonl`; or train all with the same `--set data.validation=valid.jsonl`",
    )
