"""A run that is extended equals its rule: the state of its checkpoint, then the steps of a run of the new length."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import burnish
from burnish.engine.checkpoint import checkpoint_path, damage_of
from burnish.engine.schedule import learning_rate_at
from burnish.errors import InputError, Interrupted, RecipeError
from burnish.prepare.extension import read_extension
from burnish.recipe.load import recipe_from_saved
from burnish.runs.description import describe_run, read_manifest
from burnish.runs.event_log import read_events
from burnish.runs.folder import RunFolder, find_run, result_of
from burnish.workflows.accept import accept
from burnish.workflows.evaluate import evaluate
from burnish.workflows.extend import extend
from burnish.workflows.reproduce import reproduce
from burnish.workflows.resume import resume
from burnish.workflows.train import train
from tests.numeric.test_further import recipe_for
from tests.numeric.test_resume import stopper
from tests.tiny_data import write_rows

SHORT, LONG = 4, 8


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the runs of this file."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module", params=["constant", pytest.param("cosine", marks=pytest.mark.slow)])
def made(
    request: pytest.FixtureRequest, runs: Path, tiny_model: Callable[[str], Path]
) -> tuple[RunFolder, RunFolder, RunFolder]:
    """A run of 4 steps, the same extended to 8, and one of 8 steps from the beginning."""
    rows, base = write_rows(runs / "rows.jsonl"), tiny_model("llama")

    def trained(name: str, steps: int) -> RunFolder:
        options = {"train__schedule": request.param, "train__warmup": 0.0, "lora__dropout": 0.1}
        name = f"{name}-{request.param}"
        return train(recipe_for(rows, base, runs, name=name, train__max_steps=steps, **options)).folder

    short = trained("short", SHORT)
    longer = extend(longer_than(short)).folder
    return short, longer, trained("straight", LONG)


def longer_than(run: RunFolder, source: str = "", **options: Any) -> Any:
    """The run extended to 8 steps."""
    words = [f"train.max_steps={LONG}", *(f"{key.replace('__', '.')}={value}" for key, value in options.items())]
    return read_extension(source or str(run.path), {}, words)


def test_python_has_the_same(made: tuple[RunFolder, RunFolder, RunFolder], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="would not get longer"):
        burnish.extend(made[0].path, max_steps=2, runs=tmp_path)


def steps_of(run: RunFolder) -> list[tuple[int, float, float]]:
    """Step, loss and learning rate of every step."""
    lines = [line for line in read_events(run.metrics) if line["event"] == "StepDone"]
    return [(line["step"], line["loss"], line["learning_rate"]) for line in lines]


def test_with_a_constant_rate_it_is_as_if_it_had_been_longer(
    made: tuple[RunFolder, RunFolder, RunFolder],
) -> None:
    short, longer, straight = made
    if recipe_from_saved(short.recipe).train.schedule == "constant":
        assert steps_of(longer) == steps_of(straight)
        for name in ("weights", "optimizer", "random"):
            files = [checkpoint_path(run.checkpoints, LONG) / f"{name}.safetensors" for run in (longer, straight)]
            assert files[0].read_bytes() == files[1].read_bytes()


def test_with_another_schedule_it_is_a_longer_run_from_there_on(
    made: tuple[RunFolder, RunFolder, RunFolder],
) -> None:
    short, longer, straight = made
    options = recipe_from_saved(short.recipe).train
    rates = [learning_rate_at(step, SHORT if step < SHORT else LONG, options) for step in range(LONG)]
    assert [rate for _, _, rate in steps_of(longer)] == rates
    assert steps_of(longer)[:SHORT] == steps_of(short)
    assert [step for step, _, _ in steps_of(longer)] == list(range(1, LONG + 1))
    assert [rate for _, _, rate in steps_of(longer)][SHORT:] == [rate for _, _, rate in steps_of(straight)][SHORT:]


def test_an_extended_run_that_was_stopped_goes_on_bit_for_bit(
    made: tuple[RunFolder, RunFolder, RunFolder], tmp_path: Path
) -> None:
    short, longer, _ = made
    with pytest.raises(Interrupted):
        extend(longer_than(short, runs=tmp_path, name="again"), [stopper(6)])
    again = resume(RunFolder(tmp_path / "again")).folder
    assert steps_of(again) == steps_of(longer)
    weights = [load_file(checkpoint_path(run.checkpoints, LONG) / "weights.safetensors") for run in (again, longer)]
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[0])


def test_its_folder_stands_by_itself(made: tuple[RunFolder, RunFolder, RunFolder]) -> None:
    short, longer, _ = made
    link = read_manifest(longer)["chain"][0]
    assert (link["name"], link["how"], link["step"]) == (f"{short.name}@{SHORT}", "extend", SHORT)
    assert [line["event"] for line in read_events(longer.events)].count("Finished") == 1
    assert not damage_of(checkpoint_path(longer.checkpoints, SHORT))
    assert recipe_from_saved(longer.recipe).train.max_steps == LONG
    assert recipe_from_saved(short.recipe).train.max_steps == SHORT
    assert json.loads(longer.evaluation.read_text())["figures"]
    with pytest.raises(InputError, match="cannot be reproduced from its first step"):
        reproduce(longer)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train.epochs=50"], "would not get longer"),
        (["train.max_steps=9", "lora.rank=2"], "`lora.rank` cannot change"),
        (["train.max_steps=3"], "would not get longer"),
    ],
    ids=["limited", "another form", "shorter"],
)
def test_what_is_no_extension_is_refused(
    words: list[str], message: str, made: tuple[RunFolder, RunFolder, RunFolder]
) -> None:
    with pytest.raises(RecipeError, match=message):
        read_extension(str(made[0].path), {}, words)


def test_an_earlier_checkpoint_can_be_extended(made: tuple[RunFolder, RunFolder, RunFolder], tmp_path: Path) -> None:
    short = made[0]
    run = extend(longer_than(short, f"{short.path}@2", runs=tmp_path, name="from-2")).folder
    assert steps_of(run)[:2] == steps_of(short)[:2]
    assert len(steps_of(run)) == LONG


def test_a_run_that_stopped_early_is_extended_all_the_same(
    made: tuple[RunFolder, RunFolder, RunFolder], tmp_path: Path
) -> None:
    short, longer, _ = made
    copy = RunFolder(tmp_path / "copy")
    shutil.copytree(short.path, copy.path)
    checkpoint = checkpoint_path(copy.checkpoints, SHORT)
    state = json.loads((checkpoint / "state.json").read_text())
    state["progress"] |= {"stopped": True, "worse": 5}
    (checkpoint / "state.json").write_text(json.dumps(state))
    sums = json.loads((checkpoint / "checksums.json").read_text())
    sums["state.json"] = hashlib.sha256((checkpoint / "state.json").read_bytes()).hexdigest()
    (checkpoint / "checksums.json").write_text(json.dumps(sums))
    assert steps_of(extend(longer_than(copy, runs=tmp_path, name="on")).folder) == steps_of(longer)


def test_a_checkpoint_of_a_stopped_run_is_accepted_as_it_was_judged(
    runs: Path, tiny_model: Callable[[str], Path]
) -> None:
    rows = write_rows(runs / "rows.jsonl")
    with pytest.raises(Interrupted):
        train(recipe_for(rows, tiny_model("llama"), runs, name="stopped", train__max_steps=8), listeners=[stopper(5)])
    run = RunFolder(runs / "stopped")
    with pytest.raises(InputError, match="has no result yet"):
        result_of(run)
    kept = find_run(f"{run.path}@2", takes_step=True)
    judged = evaluate(kept, answers=0).to_dict()["figures"]
    accept(kept)
    assert json.loads(run.evaluation.read_text())["figures"] == judged
    names = [path.name for path in kept.adapter.iterdir() if path.name != "README.md"]
    assert all((run.adapter / name).read_bytes() == (kept.adapter / name).read_bytes() for name in names)
    assert describe_run(run)["state"] == "finished"
    assert describe_run(run)["kept"]["step"] == 2
    with pytest.raises(InputError, match="is finished"):
        resume(run)
    with pytest.raises(InputError, match="is the result of the run `stopped` already"):
        accept(kept)
    burnish.load_run(f"{run.path}@4").accept()
    assert (kept.evaluation.is_file(), kept.adapter.is_dir(), run.adapter.is_dir()) == (True, True, True)
    weights = [load_file(folder / "adapter_model.safetensors") for folder in (run.adapter, kept.adapter)]
    assert any(not weights[0][name].equal(weights[1][name]) for name in weights[0])
