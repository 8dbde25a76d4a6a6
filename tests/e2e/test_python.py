"""`import burnish`: the same objects, and the same bytes, as the command line."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import burnish as burnish_api
from burnish.runs.events import Finished, StepDone
from tests.e2e.command_result import adapter_bytes
from tests.e2e.conftest import SHORT, Burnish

FEW = {"batch.tokens": 256, "evaluate.answers": 0, "evaluate.general": "none"}


def test_train_gives_what_the_command_gives(runs: Path, base: Path, rows_file: Path, burnish: Burnish) -> None:
    """`whole` was made from Python; here the same comes from the command line, and from a recipe."""
    assert burnish(f"train {rows_file} --model {base} --name mine {SHORT}").code == 0
    assert adapter_bytes(runs / "mine") == adapter_bytes(runs / "whole")
    again = burnish_api.train("runs/whole/recipe.yaml", name="again", runs="runs")
    assert adapter_bytes(again.path) == adapter_bytes(runs / "whole")


def test_a_run_answers_and_describes_itself(here: Path, base: Path, rows_file: Path) -> None:
    events: list[Any] = []
    run = burnish_api.train(rows_file, model=str(base), name="mine", max_steps=2, set=FEW, listeners=[events.append])
    assert (run.name, run.path) == ("mine", Path("runs/mine"))
    assert [event.step for event in events if isinstance(event, StepDone)] == [1, 2]
    assert isinstance(events[-1], Finished)
    assert run.summary["state"] == "finished"
    assert run.evaluation is not None
    assert (run.evaluation["split"], run.evaluation["rows"]) == ("test", 8)
    answer = run.generate("What is red?", max_new_tokens=6)
    assert answer == burnish_api.load_run("mine").generate("What is red?", max_new_tokens=6)
    assert answer == burnish_api.load_run("mine", runs=here / "runs").generate("What is red?", max_new_tokens=6)
    assert answer == run.chat([{"role": "user", "content": "What is red?"}], max_new_tokens=6)


def test_every_public_name_is_what_it_says_after_training(runs: Path) -> None:
    """Packages of the same name that training imports must not take their places."""
    burnish_api.load_run("whole").generate("What is red?", max_new_tokens=1)
    for name in set(burnish_api.__all__) - {"__version__"}:
        assert callable(getattr(burnish_api, name)), name
    comparison = burnish_api.load_run("whole").evaluate(answers=0)
    assert (comparison.split, comparison.rows) == ("test", 8)
    assert next(figure for figure in comparison.figures if figure.name == "loss").difference.value < 0


def test_resume_ends_as_if_never_stopped(runs: Path) -> None:
    run = burnish_api.resume(runs / "stopped")
    assert run.summary["state"] == "finished"
    assert adapter_bytes(run.path) == adapter_bytes(runs / "whole")


def test_a_run_folder_can_be_moved(runs: Path, here: Path) -> None:
    shutil.move(runs / "stopped", here / "elsewhere")
    run = burnish_api.resume(here / "elsewhere")
    assert run.path == here / "elsewhere"
    assert adapter_bytes(run.path) == adapter_bytes(runs / "whole")


@pytest.mark.parametrize(
    ("options", "what", "hint"),
    [
        ({"lerning_rate": 1e-4}, "`lerning_rate` is not an option", "Did you mean `train.learning_rate`?"),
        ({"epochs": "many"}, "`train.epochs` cannot be `many`", "It takes `auto` or a number above 0"),
        ({"every": 3}, "`every` could mean `evaluate.every`, `save.every`", "Say which: `set={'evaluate.every': ...}`"),
        ({"set": {"lora.rnk": 3}}, "`lora.rnk` is not an option", "Did you mean `lora.rank`?"),
    ],
)
def test_mistakes(options: dict[str, Any], what: str, hint: str, here: Path, rows_file: Path) -> None:
    with pytest.raises(burnish_api.BurnishError) as caught:
        burnish_api.train(rows_file, **options)
    assert (caught.value.what, caught.value.fix, caught.value.exit_code) == (what, hint, 2)
    assert not list(here.iterdir())


def test_a_run_that_is_not_there(runs: Path) -> None:
    with pytest.raises(burnish_api.BurnishError, match="there is no run `whol`") as caught:
        burnish_api.load_run("whol")
    assert caught.value.fix == "Did you mean `whole`?"


def given_rows() -> list[dict[str, Any]]:
    return [{"prompt": f"What is number {n}?", "completion": f"It is {n}."} for n in range(40)]


def test_a_run_on_given_data_keeps_it_and_can_be_moved_and_evaluated(here: Path, base: Path) -> None:
    options: dict[str, Any] = {"model": str(base), "max_steps": 2, "set": FEW}
    run = burnish_api.train(given_rows(), name="given", **options)
    stored = json.loads((run.path / "data" / "_given.json").read_text(encoding="utf-8"))
    assert stored["given"] == {"train": "list with 40 rows"} and len(stored["sha256"]) == 64
    assert "path: data/train.jsonl\n" in (run.path / "recipe.yaml").read_text(encoding="utf-8")
    (here / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given_rows()), encoding="utf-8")
    assert adapter_bytes(burnish_api.train("rows.jsonl", name="named", **options).path) == adapter_bytes(run.path)
    shutil.rmtree(Path(os.environ["BURNISH_CACHE"]), ignore_errors=True)
    shutil.move(run.path, here / "moved")
    moved = burnish_api.load_run(here / "moved")
    assert moved.evaluate(answers=0).rows == 8
    assert moved.evaluate(given_rows()[:7], answers=0).rows == 7


def test_a_stopped_run_on_given_data_is_resumed(here: Path, base: Path) -> None:
    def stop(event: Any) -> None:
        if isinstance(event, StepDone) and event.step == 2:
            raise KeyboardInterrupt

    options: dict[str, Any] = {
        "model": str(base), "max_steps": 4,
        "set": {**FEW, "save.every": 1, "model.precision": "fp32"},
    }  # fmt: skip
    splits = {"train": given_rows()[8:], "validation": given_rows()[:8]}
    with pytest.raises((burnish_api.BurnishError, KeyboardInterrupt)):
        burnish_api.train(splits, name="stopped", listeners=[stop], **options)
    shutil.rmtree(Path(os.environ["BURNISH_CACHE"]), ignore_errors=True)
    resumed = burnish_api.resume("runs/stopped")
    whole = burnish_api.train(splits, name="whole", **options)
    assert adapter_bytes(resumed.path) == adapter_bytes(whole.path)
