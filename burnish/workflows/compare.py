"""`burnish compare`: runs against each other, on the same rows.

    recipes, rows ─► same task? ─► rows that no run trained on ─► evaluate the runs one by one ─► pairs ─► verdict

At most one network is in memory at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from burnish.errors import InputError
from burnish.evaluate.compared_runs import Candidate, SharedRows, find_shared, open_candidate
from burnish.evaluate.noise import compare_recipes
from burnish.evaluate.run_comparison import (
    Comparable,
    ComparedRun,
    Curve,
    RunComparison,
    RunScore,
    find_comparable,
    learned_bytes,
    measured_seeds,
    training_noises,
)
from burnish.lineage.recipe_differences import LOSS_OPTIONS, Made, find_differences, group_recipes
from burnish.models.fingerprint import is_same_model
from burnish.recipe.load import recipe_from_saved
from burnish.recipe.schema import Recipe
from burnish.runs.description import read_manifest
from burnish.runs.event_log import EventLog, read_events
from burnish.runs.events import Listener
from burnish.runs.folder import RunFolder, check_usable


def compare(
    folders: Sequence[RunFolder],
    data: str | None = None,
    listeners: Iterable[Listener] = (),
    base_model: str | None = None,
) -> RunComparison:
    """Evaluates finished runs on the same rows and reports which differences are beyond the noise.

    Args:
        folders: of two runs or more; the others are compared with the first.
        data: rows to evaluate on; None for the test rows that all runs share.
        listeners: receive every event.
        base_model: folder of a base model that has been moved, for those of the runs that were trained on it.

    Raises:
        InputError: fewer than two runs, a run named twice or without a result, or different tasks.
        DataError: a run's data has changed, or the runs share too few rows.
        ModelError: the base model of a run has changed.
    """
    emit = EventLog(None, listeners)
    _check_folders(folders)
    recipes = [recipe_from_saved(folder.recipe) for folder in folders]
    _check_task(folders, recipes)
    seed = recipes[0].seed
    names = _names(folders)
    candidates = [
        open_candidate(folder, name, seed, data is None, emit, moved)
        for folder, name, moved in zip(folders, names, _moved(folders, base_model), strict=True)
    ]
    shared = find_shared(candidates, data, emit)
    scores = [one.score(records, emit) for one, records in zip(candidates, shared.by_run, strict=True)]
    return _summarize(candidates, shared, scores)


def _moved(folders: Sequence[RunFolder], base_model: str | None) -> list[str | None]:
    """For each run the folder of the moved base model, if it was trained on that.

    Raises:
        InputError: none of the runs was.
    """
    if base_model is None or not Path(base_model).is_dir():
        return [base_model] * len(folders)
    place = Path(base_model)
    moved = [base_model if is_same_model(read_manifest(folder)["model"], place) else None for folder in folders]
    if not any(moved):
        raise InputError(
            f"none of the runs was trained on the model in `{base_model}`",
            "Its files are not those of a base model of these runs.",
            "Give the folder of the model that they were trained on",
        )
    return moved


def _summarize(candidates: Sequence[Candidate], shared: SharedRows, scores: Sequence[RunScore]) -> RunComparison:
    """The comparison, from the scores and the run folders."""
    made = [one.made for one in candidates]
    metrics = [read_events(one.folder.metrics) for one in candidates]
    found = _comparable(candidates, made, shared, scores)
    recipe_of = {run: number for number, group in enumerate(group_recipes(made)) for run in group}
    runs = [
        ComparedRun(one.name, str(one.folder.path), one.recipe.seed, recipe_of[number])
        for number, one in enumerate(candidates)
    ]
    groups = measured_seeds(runs)
    figures = []
    for measures in found.figures:
        scatters = training_noises(measures[0].name, found.scales, metrics)
        figures.append(compare_recipes(measures, groups, scatters))
    return RunComparison(
        rows=shared.number,
        held_out=shared.described,
        runs=runs,
        figures=figures,
        options=find_differences(made),
        curves=[_curve(one.name, lines) for one, lines in zip(candidates, metrics, strict=True)],
        remarks=[*shared.remarks, *found.remarks],
    )


def _comparable(
    candidates: Sequence[Candidate], made: Sequence[Made], shared: SharedRows, scores: Sequence[RunScore]
) -> Comparable:
    """The figures that can be compared.

    Raises:
        InputError: there are none.
    """
    task = candidates[0].context.task
    is_text = task.generates and task.scorer.headline == "loss"
    sizes = learned_bytes(shared.by_run[0].test) if is_text else None
    apart = [one.option for one in find_differences(made) if one.option in LOSS_OPTIONS]
    if any(score.is_against_base for score in scores) and len({one.model for one in made}) > 1:
        apart.append("model.name")
    found = find_comparable(scores, sizes, apart)
    if not found.figures:
        raise InputError(
            "these runs have no metric that can be compared", " ".join(found.remarks), "Compare runs of the same kind"
        )
    return found


def _curve(run: str, metrics: Sequence[Mapping[str, Any]]) -> Curve:
    """The eval loss over the steps and tokens of a run."""
    steps = [line for line in metrics if line["event"] == "StepDone"]
    read = dict(zip([line["step"] for line in steps], accumulate(line["tokens"] for line in steps), strict=True))
    seen = [line for line in metrics if line["event"] == "Validated"]
    return Curve(run, [(line["step"], read.get(line["step"], 0), line["loss"]) for line in seen])


def _check_folders(folders: Sequence[RunFolder]) -> None:
    if len(folders) < 2:
        raise InputError(
            "a comparison needs at least two runs",
            "`burnish evaluate` compares a single run with its base.",
            "Give two or more: `burnish compare RUN RUN`; `burnish runs` lists them",
        )
    places = Counter(replace(folder, path=folder.path.resolve()) for folder in folders)
    twice = [folder for folder, count in places.items() if count > 1]
    if twice:
        raise InputError(
            f"the run `{twice[0].name}` is named twice", "A run cannot be compared with itself.", "Name it once"
        )
    for folder in folders:
        check_usable(folder)


def _check_task(folders: Sequence[RunFolder], recipes: Sequence[Recipe]) -> None:
    first = recipes[0].task
    for folder, recipe in zip(folders, recipes, strict=True):
        if recipe.task != first:
            raise InputError(
                f"the runs `{folders[0].name}` and `{folder.name}` have different tasks, `{first}` and `{recipe.task}`",
                "They have no metric in common.",
                f"Compare runs of the task `{first}` with each other",
            )


def _names(folders: Sequence[RunFolder]) -> list[str]:
    """Each folder's name, or its path if another has the same name."""
    counts = Counter(folder.name for folder in folders)
    return [folder.name if counts[folder.name] == 1 else folder.named for folder in folders]
