"""The runs to compare, and the rows to compare them on: test rows of all runs, and read the same by all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from burnish.data.files.splits import TEST, VALID
from burnish.data.rows.dataset import Records
from burnish.data.rows.records import content_hash
from burnish.data.rows.row import EncodedRow
from burnish.engine.validation import HeldOut, evaluate_rows
from burnish.errors import DataError
from burnish.evaluate.run_comparison import FEWEST_ROWS, RunScore, score_of
from burnish.lineage.chain import check_start
from burnish.lineage.kept import ready_result
from burnish.lineage.manifest import check_base, rows_of
from burnish.lineage.recipe_differences import Made
from burnish.lineage.saved_recipe import check_present, open_recipe
from burnish.models.device import free_memory
from burnish.prepare.context import Emit, RunContext, encode, open_context, other_rows, read_rows
from burnish.prepare.encode import Encoded
from burnish.prepare.model import measure_examples, needs_base, open_base, open_result
from burnish.recipe.schema import Recipe
from burnish.runs.description import read_manifest
from burnish.runs.event_log import read_events
from burnish.runs.events import Progressed, Stage
from burnish.runs.folder import RunFolder


@dataclass(frozen=True, slots=True)
class SharedRows:
    """The same rows in the same order, as read by each run."""

    by_run: list[Records]
    """With test rows only."""
    described: str
    """The source of the rows, as text."""
    remarks: list[str] = field(default_factory=list)
    """Which rows were left out, in sentences."""

    @property
    def number(self) -> int:
        """Number of rows."""
        return len(self.by_run[0].test)


def find_shared(candidates: Sequence[Candidate], data: str | None, emit: Emit) -> SharedRows:
    """The test rows that all runs share, or those of another file that no run trained on, without repeats.

    If a run has no test split, these are rows that are validation or test rows of every run.

    Args:
        candidates: the runs.
        data: another file; None for the runs' own rows.
        emit: receives every event.

    Raises:
        DataError: there are too few, or they are for another task.
    """
    without = [one.name for one in candidates if not one.records.test] if data is None else []
    offered = [
        other_rows(one.recipe, data, emit) if data else _for_test(one.records, bool(without)) for one in candidates
    ]
    emit(Stage("finding the rows that the runs share"))
    trained = {content_hash(record) for one in candidates for record in one.records.train}
    if data:
        trained |= {content_hash(record) for one in candidates for record in one.records.valid}
    known = [{content_hash(record): record for record in records.test} for records in offered]
    common = [key for key in known[0] if all(key in others for others in known)]
    unseen = [key for key in common if key not in trained]
    alike = _read_alike(candidates, [[rows[key] for key in unseen] for rows in known])
    kept = [key for key, is_alike in zip(unseen, alike, strict=True) if is_alike]
    remarks = [_without_test(without)] if without else []
    if len(common) > len(unseen):
        what = "trained or validated" if data else "trained"
        remarks.append(f"{len(common) - len(unseen)} rows that a run was {what} on are left out.")
    if len(unseen) > len(kept):
        remarks.append(f"{len(unseen) - len(kept)} rows that some of the runs truncate or cannot use are left out.")
    if len(kept) < FEWEST_ROWS:
        raise _too_few(len(kept), candidates, data, remarks)
    chosen = [[rows[key] for key in kept] for rows in known]
    by_run = [replace(records, test=rows) for records, rows in zip(offered, chosen, strict=True)]
    own = "validation or test rows of all of the runs" if without else "test rows of all of the runs"
    return SharedRows(by_run, f"`{data}`" if data else own, remarks)


def _for_test(records: Records, has_validation: bool) -> Records:
    """The test rows of a run alone, or with its validation rows."""
    return replace(records, train=[], valid=[], test=[*(records.valid if has_validation else []), *records.test])


def _without_test(names: Sequence[str]) -> str:
    named, has = ", ".join(f"`{name}`" for name in names), "has" if len(names) == 1 else "have"
    return (
        f"{named} {has} no test split, so validation rows are compared, too. They also chose the checkpoints, so their "
        "figures may be a little too good."
    )


def _read_alike(candidates: Sequence[Candidate], rows: Sequence[Sequence[Any]]) -> list[bool]:
    """For each row, whether every run can learn from it and all truncate it equally."""
    cuts = [list(_cuts(one, own)) for one, own in zip(candidates, rows, strict=True)]
    return [None not in row and len(set(row)) == 1 for row in zip(*cuts, strict=True)]


def _cuts(candidate: Candidate, rows: Sequence[Any]) -> Iterator[int | None]:
    """Number of tokens truncated from each row; None for a row that the run cannot learn from."""
    for row in candidate.context.task.encoder.encode_all(rows, candidate.context.context_length):
        is_learned = isinstance(row, EncodedRow) and any(example.num_trained for example in row.examples)
        yield row.truncated_tokens if isinstance(row, EncodedRow) and is_learned else None


def _too_few(number: int, candidates: Sequence[Candidate], data: str | None, remarks: Sequence[str]) -> DataError:
    runs = len(candidates)
    found = f"{number} row{'s' if number != 1 else ''}" if number else "no row"
    needed = f"At least {FEWEST_ROWS} are needed for reliable intervals."
    if data:
        return DataError(
            f"`{data}` has {found} on which these {runs} runs can be compared",
            " ".join([needed, *remarks]),
            "Give more rows that none of the runs was trained on",
        )
    seeds = {one.recipe.data.split_seed for one in candidates}
    why = "They are determined by the data and `data.split_seed`" + (", which differs." if len(seeds) > 1 else ".")
    return DataError(
        f"these {runs} runs have {found} in common that none of them was trained on",
        " ".join([needed, why, *remarks]),
        "Give other rows with `--data other.jsonl`, or train all with the same `--set data.test=test.jsonl`",
    )


@dataclass(slots=True)
class Candidate:
    """A run to compare with others. Its network is loaded only during its evaluation."""

    name: str
    """As displayed: the folder's name, or its path if two folders have the same name."""
    folder: RunFolder
    recipe: Recipe
    """The one it was trained with."""
    context: RunContext
    """With the seed common to all compared runs, which determines the random draws of an evaluation."""
    result: Path
    records: Records
    """Its rows, by split."""

    @property
    def made(self) -> Made:
        """What it was made from."""
        filled = {line["option"] for line in read_events(self.folder.events) if line["event"] == "Resolved"}
        model = read_manifest(self.folder)["model"]["sha256"]
        return Made(self.recipe, filled, hash_rows(self.records), model)

    def score(self, records: Records, emit: Emit) -> RunScore:
        """Evaluates the result on the test rows of some records; no network is in memory before or after."""
        try:
            return self._score(records, emit)
        finally:
            free_memory()

    def _score(self, records: Records, emit: Emit) -> RunScore:
        context = encode(replace(self.context, records=records, emit=emit))
        encoded, is_against_base = _measured_on_base(context)
        network = open_result(context, self.result)
        task, precision = context.task, context.recipe.model.precision
        task.objective.inspect_model(network)
        held_out = HeldOut.of(context.batch_plan(encoded), encoded.owners)
        emit(Stage(f"evaluating `{self.name}`"))
        evaluated = evaluate_rows(
            network, task, held_out, precision, lambda *done: emit(Progressed("rows evaluated", *done))
        )
        return score_of(evaluated, task.scorer, is_against_base)


def open_candidate(
    folder: RunFolder, name: str, seed: int, has_rows: bool, emit: Emit, base_model: str | None = None
) -> Candidate:
    """Reads a run's recipe, rows and tokenizer, and checks that they have not changed since the run.

    Args:
        folder: of the run.
        name: to display.
        seed: common to all evaluations.
        has_rows: whether it is evaluated on its own test rows, so its data must not have changed.
        emit: receives every event.
        base_model: folder of its base model, if it has been moved.

    Raises:
        InputError: the run has no result yet.
        DataError: its data has changed.
        ModelError: its base model has changed.
    """
    result = ready_result(folder, emit, base_model)
    recipe = open_recipe(folder, base_model)
    check_present(folder, recipe)
    otherwise = "Give rows that none of the runs was trained on: `--data other.jsonl`"
    records = rows_of(folder, recipe, otherwise, emit) if has_rows else read_rows(recipe, emit)
    context = open_context(recipe.model_copy(update={"seed": seed}), records, emit)
    check_base(folder, context.location)
    check_start(folder, recipe)
    return Candidate(name, folder, recipe, context, result, records)


def hash_rows(records: Records) -> str:
    """SHA-256 (hex) of all rows of a run, independent of which of them were held out."""
    if not records.held_out:
        return records.sha256
    splits = {VALID: records.valid, TEST: records.test}
    divided = chain(records.train, *(splits.pop(split) for split in records.held_out))
    digest = hashlib.sha256("".join(sorted(map(content_hash, divided))).encode("ascii"))
    digest.update("".join(content_hash(record) for given in splits.values() for record in given).encode("ascii"))
    return digest.hexdigest()


def _measured_on_base(context: RunContext) -> tuple[Encoded, bool]:
    """The test examples with what the task needs of the base model, and whether it needs anything.

    The base model is freed again.
    """
    encoded = context.test
    if not needs_base(context, encoded):
        return encoded, False
    context.emit(Stage("measuring the base model"))
    base = open_base(context)
    context.task.objective.inspect_model(base)
    encoded = measure_examples(context, encoded, base)
    del base
    free_memory()
    return encoded, True
