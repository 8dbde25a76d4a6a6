"""`burnish reproduce`: finished and resumed runs come out again; what was changed since is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e import changed_runs as changed
from tests.e2e.command_result import read_lines
from tests.e2e.conftest import SHORT, Burnish
from tests.tiny_data import write_rows

DROPPING = "--set lora.dropout=0.3 --set evaluate.every=1 --set batch.rows=1"
"""Validations between all steps, and random numbers in each."""


def contents(run: Path) -> dict[str, bytes]:
    """Every file of a run folder."""
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("method", "options"), [("lora", DROPPING), ("full", "")])
def test_a_finished_run_comes_out_again_to_the_bit(
    method: str, options: str, here: Path, base: Path, rows_file: Path, burnish: Burnish
) -> None:
    result = burnish(f"train {rows_file} --model {base} --name mine --method {method} {SHORT} {options}")
    assert result.code == 0, result.err
    before = contents(here / "runs" / "mine")
    result = burnish("reproduce mine --json")
    assert result.code == 0, result.json
    assert result.json["passed"]
    losses = [line["loss"] for line in read_lines(here / "runs/mine/metrics.jsonl", "StepDone")]
    assert [step["expected"] for step in result.json["steps"]] == losses
    assert [step["found"] for step in result.json["steps"]] == losses
    assert {step["tolerance"] for step in result.json["steps"]} == {0.0}
    assert len(set(losses)) == 4
    assert result.json["rule"].startswith("Bit for bit")
    assert {one["state"] for one in result.json["ingredients"]} == {"same"}
    assert contents(here / "runs" / "mine") == before


def test_a_person_reads_each_loss_and_the_verdict(runs: Path, burnish: Burnish) -> None:
    result = burnish("reproduce whole --steps 2")
    assert result.code == 0, result.err
    assert "The first 2 steps gave the same losses as `whole`, bit for bit." in result.out
    assert result.out.count(" same\n") >= 5
    assert burnish("reproduce whole --steps 1 --quiet").out.startswith("Reproduced: ")


def test_a_resumed_run_comes_out_again(runs: Path, burnish: Burnish) -> None:
    assert burnish("resume stopped").code == 0
    result = burnish("reproduce stopped --all --json")
    assert result.code == 0, result.json
    assert [step["step"] for step in result.json["steps"]] == [1, 2, 3, 4]
    assert result.json["rule"].startswith("Bit for bit")


def test_a_stopped_run_comes_out_as_far_as_it_went(runs: Path, burnish: Burnish) -> None:
    assert [step["step"] for step in burnish("reproduce stopped --json").json["steps"]] == [1, 2]


def own_data(here: Path, run: str) -> Path:
    """The run's data as a file of its own, at the same bytes."""
    old = changed._repoint(here, run, "data.path", here / "rows.jsonl")
    shutil.copy(old, here / "rows.jsonl")
    return here / "rows.jsonl"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b"What is 7 like", b"What is 8 like", "rows: as many as before, but not the same"),
        (
            b'"prompt": "What is 7 ',
            b'"prompt" "What is 7 ',
            "1 fewer for validation (7 instead of 8), 1 fewer to test on (7 instead of 8)",
        ),
        (b'"completion"', b'"completion" ', "its content has changed"),
    ],
    ids=["a letter", "a colon", "a blank that no row reads"],
)
def test_one_byte_of_the_data_is_enough(
    old: bytes, new: bytes, says: str, here: Path, runs: Path, burnish: Burnish
) -> None:
    data = own_data(here, "whole")
    assert burnish("reproduce whole --steps 1 --quiet").code == 0
    content = data.read_bytes()
    assert old in content
    data.write_bytes(content.replace(old, new, 1))
    assert abs(len(data.read_bytes()) - len(content)) <= 1
    before = contents(runs / "whole")
    result = burnish("reproduce whole")
    assert result.code == 1
    assert "Not reproduced: what `whole` was made from has changed" in result.out
    assert "file `./rows.jsonl`: its content has changed" in result.out
    assert says in result.out
    assert "Restore what has changed" in result.out
    assert contents(runs / "whole") == before
    made = burnish("reproduce whole --json")
    assert (made.code, made.json["passed"], made.json["steps"]) == (1, False, [])


def test_more_rows_are_counted(here: Path, base: Path, runs: Path, burnish: Burnish) -> None:
    changed.data_changed("whole")(here, base)
    result = burnish("reproduce whole --json")
    assert result.code == 1
    assert "1 more to train on (25 instead of 24)" in result.json["verdict"]


def test_rows_that_nobody_can_read_any_more(here: Path, runs: Path, burnish: Burnish) -> None:
    own_data(here, "whole").write_text("\n", encoding="utf-8")
    result = burnish("reproduce whole --json")
    assert result.code == 1
    assert "`./rows.jsonl` has no rows" in result.json["verdict"].replace(str(here), ".")


def test_data_that_was_moved_away(here: Path, base: Path, runs: Path, burnish: Burnish) -> None:
    changed.data_gone("whole")(here, base)
    result = burnish("reproduce whole")
    assert result.code == 2
    assert result.what == "the data of the run `whole` is not where it was: no such file: `./rows.jsonl`"
    assert result.hint == "Put it back, or write where it is now under `data.path` in `runs/whole/recipe.yaml`"


def test_another_base_model(here: Path, base: Path, runs: Path, burnish: Burnish) -> None:
    changed.base_changed("whole")(here, base)
    result = burnish("reproduce whole --json")
    assert result.code == 1
    assert "its config, tokenizer or weights have changed" in result.json["verdict"]
    assert [one["name"] for one in result.json["ingredients"] if one["state"] == "changed"] == ["base model `./model`"]


def test_an_edited_recipe_gives_other_losses(runs: Path, burnish: Burnish) -> None:
    """In a run of an earlier version, whose manifest does not hold the recipe."""
    edit_manifest(runs / "whole", recipe=None)
    file = runs / "whole" / "recipe.yaml"
    recipe = yaml.safe_load(file.read_text(encoding="utf-8"))
    recipe["train"]["learning_rate"] *= 1.001
    file.write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    result = burnish("reproduce whole")
    assert result.code == 1
    assert "losses differ from those of `whole`; the first is that of step 2" in result.out
    assert "If `runs/whole/recipe.yaml` was edited, restore it" in result.out


def edit_manifest(run: Path, **facts: Any) -> None:
    """Lets a run have been made elsewhere."""
    file = run / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), **facts}), encoding="utf-8")


def nudge_losses(run: Path, factor: float) -> None:
    """Changes the losses that a run reported."""
    lines = read_lines(run / "metrics.jsonl")
    for line in lines:
        line["loss"] *= factor
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def test_elsewhere_there_is_a_tolerance_and_a_reason(runs: Path, burnish: Burnish) -> None:
    versions = json.loads((runs / "whole" / "manifest.json").read_text(encoding="utf-8"))["versions"]
    nudge_losses(runs / "whole", 1 + 1e-6)
    assert burnish("reproduce whole --quiet").code == 1
    edit_manifest(runs / "whole", versions={**versions, "torch": "1.0"})
    result = burnish("reproduce whole --json")
    assert result.code == 0, result.json
    assert {step["tolerance"] for step in result.json["steps"]} == {1e-4}
    assert result.json["rule"].startswith("Since torch differs from the run, within 0.0001 of each loss")
    (other,) = [one for one in result.json["ingredients"] if one["state"] == "other"]
    assert (other["name"], other["expected"]) == ("torch", "1.0")
    nudge_losses(runs / "whole", 1.001)
    assert burnish("reproduce whole --quiet").code == 1


@pytest.mark.slow
def test_it_computes_with_as_many_threads_as_the_run(runs: Path, burnish: Burnish) -> None:
    import torch

    before = torch.get_num_threads()
    edit_manifest(runs / "whole", threads=before + 1)
    result = burnish("reproduce whole --steps 1 --json")
    assert result.json["ingredients"][-1]["found"] == f"cpu, {before + 1} threads"
    assert torch.get_num_threads() == before


def test_steps_behind_a_resume_elsewhere_have_a_tolerance(runs: Path, burnish: Burnish) -> None:
    edit_manifest(runs / "whole", resumed=[{"step": 2}])
    steps = burnish("reproduce whole --json").json["steps"]
    assert [step["tolerance"] for step in steps] == [0.0, 0.0, 1e-4, 1e-4]


def test_a_run_that_goes_on_elsewhere_notes_it(runs: Path, burnish: Burnish) -> None:
    edit_manifest(runs / "stopped", threads=99)
    assert burnish("resume stopped").code == 0
    manifest = json.loads((runs / "stopped" / "manifest.json").read_text(encoding="utf-8"))
    assert [session["step"] for session in manifest["resumed"]] == [2]
    assert manifest["resumed"][0]["threads"] != "99"


@pytest.mark.slow
def test_micro_batches_that_were_halved_are_halved_again(
    here: Path, base: Path, tmp_path: Path, burnish: Burnish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory runs out once, in the third step; what is summed in halves must be summed in halves again."""
    from burnish.engine.step import Trainer

    monkeypatch.setenv(
        "BURNISH_CACHE", str(tmp_path / "cache")
    )  # where later runs would find the smaller micro-batches
    step, seen = Trainer.step, []

    def short_of_memory(self: Trainer, batches: Any, learning_rate: float | None = None) -> Any:
        seen.append(len(batches))
        if len(seen) == 3:
            raise MemoryError
        return step(self, batches, learning_rate)

    data = write_rows(tmp_path / "many.jsonl", 60)
    monkeypatch.setattr(Trainer, "step", short_of_memory)
    options = f"{SHORT} --set batch.tokens=800 --set batch.rows=4 --set train.max_steps=8"
    result = burnish(f"train {data} --model {base} --name mine {options}")
    monkeypatch.setattr(Trainer, "step", step)
    assert result.code == 0, result.err
    (halved,) = read_lines(here / "runs/mine/events.jsonl", "MicroBatchHalved")
    assert halved["step"] == 3
    result = burnish("reproduce mine --json")
    assert result.code == 0, result.json
    lines = (here / "runs/mine/events.jsonl").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if "MicroBatchHalved" not in line]
    (here / "runs/mine/events.jsonl").write_text("\n".join(kept) + "\n", encoding="utf-8")
    assert burnish("reproduce mine --json").code == 1, "the order of the sums would not matter"


def test_a_run_without_a_step(runs: Path, burnish: Burnish) -> None:
    (runs / "stopped" / "metrics.jsonl").write_text("", encoding="utf-8")
    result = burnish("reproduce stopped")
    assert (result.code, result.what) == (2, "the run `stopped` has no step to compare")


def test_a_run_without_a_manifest(runs: Path, burnish: Burnish) -> None:
    (runs / "whole" / "manifest.json").write_text("{", encoding="utf-8")
    result = burnish("reproduce whole")
    assert (result.code, result.what) == (2, "the run `whole` is damaged: `manifest.json` cannot be read")
