"""Run folders: made, found, listed, described."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from burnish.errors import InputError
from burnish.recipe.load import dump_recipe
from burnish.recipe.schema import Recipe
from burnish.runs.description import describe_run
from burnish.runs.event_log import EventLog
from burnish.runs.events import Finished, StepDone, Validated
from burnish.runs.folder import NewRun, RunFolder, check_new_run, find_run, fresh_name, list_runs
from tests.snapshots import check_message


def create_run(runs: Path, name: str) -> RunFolder:
    """A run folder with a file in it, as of a run that has ended."""
    check_new_run(runs, name)
    new = NewRun(runs)
    folder = new.take(name)
    (folder.path / "kept").touch()
    new.__exit__(None, None, None)
    return folder


def make_run(runs: Path, name: str, age: int = 0) -> RunFolder:
    """A run folder with a recipe in it."""
    folder = create_run(runs, name)
    folder.recipe.write_text(dump_recipe(Recipe(name=name)), encoding="utf-8")
    os.utime(folder.recipe, (10**9 - age, 10**9 - age))
    return folder


def test_makes_the_folder_and_those_above(tmp_path: Path) -> None:
    folder = create_run(tmp_path / "a" / "b", "first")
    assert folder.path == tmp_path / "a" / "b" / "first"
    assert folder.name == "first"
    assert [path.name for path in folder.path.iterdir()] == ["kept"]


def test_never_writes_over_a_run(tmp_path: Path) -> None:
    create_run(tmp_path, "first")
    with pytest.raises(InputError) as caught:
        create_run(tmp_path, "first")
    check_message(caught.value, {tmp_path: "FOLDER"})
    assert "burnish resume" in caught.value.fix


def test_takes_an_empty_folder(tmp_path: Path) -> None:
    """A process that was killed right after it had made the folder leaves one."""
    (tmp_path / "first").mkdir()
    assert create_run(tmp_path, "first").path == tmp_path / "first"


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "-flag", "sp ace", "x" * 122, "new\nline"])
def test_refuses_names_that_no_folder_should_have(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        create_run(tmp_path / "runs", name)
    check_message(caught.value, {tmp_path: "FOLDER"})
    assert list(tmp_path.iterdir()) == []


def test_runs_cannot_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(InputError) as caught:
        create_run(tmp_path / "runs", "first")
    check_message(caught.value, {tmp_path: "FOLDER"})


def test_fresh_names_count_on(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        names.append(fresh_name(tmp_path, "data-model-lora"))
        create_run(tmp_path, names[-1])
    assert names == ["data-model-lora", "data-model-lora-2", "data-model-lora-3"]


@pytest.mark.parametrize("stem", ["a b/c:d", "..", "ü", "x" * 200, "-._"])
def test_fresh_names_are_names(stem: str, tmp_path: Path) -> None:
    assert create_run(tmp_path, fresh_name(tmp_path, stem)).path.is_dir()


def test_finds_by_name_and_by_path(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "runs", "first")
    assert find_run("first", str(tmp_path / "runs")) == folder
    assert find_run(str(folder.path)) == folder


def test_names_the_nearest_run(tmp_path: Path) -> None:
    make_run(tmp_path, "gardening")
    with pytest.raises(InputError, match="there is no run `gardning`") as caught:
        find_run("gardning", str(tmp_path))
    assert caught.value.fix == "Did you mean `gardening`?"


def test_lists_oldest_first_and_only_runs(tmp_path: Path) -> None:
    for name, age in (("new", 1), ("old", 3), ("middle", 2)):
        make_run(tmp_path, name, age)
    create_run(tmp_path, "empty")
    (tmp_path / "notes.txt").write_text("mine")
    assert [run.name for run in list_runs(str(tmp_path))] == ["old", "middle", "new"]
    assert list_runs(str(tmp_path / "nowhere")) == []


def test_describes_a_run_from_its_files(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "first")
    assert describe_run(folder)["state"] == "no checkpoint yet"
    (folder.checkpoints / "step-000002").mkdir(parents=True)
    assert describe_run(folder)["state"] == "can be resumed"
    log = EventLog(folder.path)
    log(Validated(0, 4.0, {}, False, 0.1))
    for number, loss in ((1, 3.5), (2, 3.0)):
        log(StepDone(number, 2, number / 2, loss, 1e-3, 0.7, 100, 60, 0.25, 2.0))
    log(Validated(2, 2.5, {"perplexity": 12.2}, True, 0.1))
    folder.adapter.mkdir()
    log(Finished(2, 4.0, 2.5, 3.25, str(folder.adapter)))
    outcome = describe_run(folder)
    assert outcome["state"] == "finished"
    assert (outcome["step"], outcome["total_steps"], outcome["training_loss"]) == (2, 2, 3.0)
    assert (outcome["validation_loss_before"], outcome["validation_loss_best"], outcome["best_step"]) == (4.0, 2.5, 2)
    assert (outcome["seconds"], outcome["result"]) == (3.25, str(folder.adapter))
    assert outcome["recipe"]["name"] == "first"
    assert outcome["kept"] is None, "earlier versions do not say why"


def test_the_step_that_was_kept_is_described_beside_the_last_one(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "first")
    log = EventLog(folder.path)
    for step, loss, accuracy in ((0, 4.0, 0.1), (2, 2.5, 0.7), (4, 2.6, 0.6)):
        log(Validated(step, loss, {"accuracy": accuracy}, step == 2, 0.1, {}, "accuracy", True))
    log(StepDone(4, 9, 1.0, 3.0, 1e-3, 0.7, 100, 60, 0.25, 2.0))
    assert describe_run(folder)["kept"] is None
    log(Finished(2, 4.0, 2.5, 3.25, "adapter", "it has the best score of 2 validations"))
    common = {"headline": "accuracy", "is_share": True}
    assert describe_run(folder)["kept"] == {
        "step": 2,
        "last_step": 4,
        "reason": "it has the best score of 2 validations",
        "validation": {**common, "loss": 2.5, "figures": {"accuracy": 0.7}},
        "last_validation": {**common, "loss": 2.6, "figures": {"accuracy": 0.6}},
    }


def test_the_untrained_base_is_never_the_best(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "first")
    log = EventLog(folder.path)
    for step, loss, is_best in ((0, 2.0, False), (1, 3.0, True), (2, 2.5, True), (3, 2.4, False)):
        log(Validated(step, loss, {"accuracy": 0.5}, is_best, 0.1))
    result = describe_run(folder)
    assert (result["validation_loss_before"], result["validation_loss_best"], result["best_step"]) == (2.0, 2.5, 2), (
        "ranked by the task's figure, not by the loss"
    )


def test_the_result_is_the_adapter_or_the_model(tmp_path: Path) -> None:
    folder = create_run(tmp_path, "first")
    assert folder.result is None
    folder.model.mkdir()
    assert folder.result == folder.path / "model"
    folder.adapter.mkdir()
    assert folder.result == folder.path / "adapter"
