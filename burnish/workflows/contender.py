"""A run that is compared with others: what it was made from, and how it does on given rows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from burnish.data.dataset import Records
from burnish.data.records import content_hash
from burnish.engine.judging import HeldOut, judge
from burnish.engine.out_of_memory import free_memory
from burnish.evaluate.recipe_differences import Made
from burnish.evaluate.run_scores import RunScore
from burnish.plan.resolve import Resolver
from burnish.recipe.load import recipe_from_saved
from burnish.recipe.schema import Recipe
from burnish.runs.event_log import read_events
from burnish.runs.events import Progressed, Stage
from burnish.runs.folder import RunFolder
from burnish.runs.manifest import read_manifest
from burnish.tasks.encoded import Encoded
from burnish.workflows.network import load_from, open_result, prepare_examples
from burnish.workflows.origin import check_base, result_of, rows_of
from burnish.workflows.preparation import Emit, Setting, encode_rows, make_plan, read_rows, set_up


@dataclass(slots=True)
class Contender:
    """A run that is judged beside others. Its network is loaded only while it is judged."""

    name: str
    """As it is told: the folder's name, or its path where two folders have the same."""
    folder: RunFolder
    recipe: Recipe
    """As it was trained."""
    judged_by: Recipe
    """The same under the seed of all who are compared, which decides what is drawn where rows are judged."""
    result: Path
    records: Records
    """The rows that it was trained on and those that it held out."""
    setting: Setting

    @property
    def made(self) -> Made:
        """What it was made from."""
        filled = {line["option"] for line in read_events(self.folder.events) if line["event"] == "Resolved"}
        model = read_manifest(self.folder)["model"]["sha256"]
        return Made(self.recipe, filled, hash_rows(self.records), model)

    def score(self, records: Records, emit: Emit) -> RunScore:
        """Judges the result on the validation part of some records; no network is in memory before or after."""
        try:
            return self._score(records, emit)
        finally:
            free_memory()

    def _score(self, records: Records, emit: Emit) -> RunScore:
        setting, recipe = self.setting, self.judged_by
        encoded = encode_rows(records, setting, recipe, emit).validation
        is_against_base = _measure_base(encoded, setting, recipe, emit)
        network = open_result(self.result, setting, recipe, emit)
        setting.task.adapt(network)
        held_out = HeldOut.of(make_plan(encoded, setting, recipe), encoded.owners)
        emit(Stage(f"judging `{self.name}`"))
        precision = recipe.model.precision
        judged = judge(network, setting.task, held_out, precision, lambda *told: emit(Progressed("rows judged", *told)))
        sums, counts = judged.summed_by_row(judged.sums, judged.counts)
        measures = setting.task.measures(judged)
        headline = next((one for one in measures if one.name == setting.task.headline), None)
        return RunScore(sums, counts, headline, is_against_base)


def open_contender(folder: RunFolder, name: str, seed: int, has_rows: bool, emit: Emit) -> Contender:
    """Reads a run's recipe, rows and tokenizer, and makes sure that they are what it was made from.

    Args:
        folder: of the run.
        name: as it is told.
        seed: that all runs are judged under.
        has_rows: whether its held-out rows are what it is judged on, so that its data must not have changed.
        emit: told of what happens.

    Raises:
        InputError: the run has no result yet.
        DataError: its data has changed.
        ModelError: its base model has changed.
    """
    result = result_of(folder)
    recipe = recipe_from_saved(folder.recipe)
    otherwise = "Name rows that none of the runs was trained on: `--data other.jsonl`"
    records = rows_of(folder, recipe, otherwise, emit) if has_rows else read_rows(recipe, emit)
    judged_by = recipe.model_copy(update={"seed": seed})
    setting = set_up(Resolver(judged_by, emit), records, emit)
    check_base(folder, setting.location)
    return Contender(name, folder, recipe, judged_by, result, records, setting)


def hash_rows(records: Records) -> str:
    """SHA-256 (hex) of all rows of a run, whichever of them its seed has held out."""
    if not records.held_out:
        return records.sha256
    keys = sorted(content_hash(record) for record in (*records.train, *records.valid))
    return hashlib.sha256("".join(keys).encode("ascii")).hexdigest()


def _measure_base(encoded: Encoded, setting: Setting, recipe: Recipe, emit: Emit) -> bool:
    """Lets the task measure on the base model what its loss is held against, where it does so.

    That model is let go of again.
    """
    first = [encoded.examples[0]]
    if setting.task.stand_in(first)[0] is first[0]:
        return False
    emit(Stage("looking at the base model"))
    base = load_from(setting.location, setting, recipe).network
    setting.task.adapt(base)
    prepare_examples(encoded, base, setting, recipe, emit)
    del base
    free_memory()
    return True
