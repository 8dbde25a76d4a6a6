"""Runs with damaged files: named by `runs` and `show`, in no other run's way; and checkpoints that are passed over."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from burnish.engine.checkpoint import checkpoint_path
from burnish.runs.folder import RunFolder, checkpoint_folders
from tests.e2e.bad_case import check_hint
from tests.e2e.command_result import adapter_bytes, read_lines
from tests.e2e.conftest import Burnish

_DAMAGES: dict[str, bytes] = {
    "recipe.yaml": b"task: [chat\n",
    "manifest.json": b'{"versions": ',
    "evaluation.json": b'{"verdict": "\xff"}',
    "events.jsonl": b"not an event\n",
    "metrics.jsonl": b"\xff\n",
}


@pytest.fixture
def damaged(runs: Path) -> list[str]:
    """Copies of a finished run, each with another damaged file, beside it."""
    for name, content in _DAMAGES.items():
        shutil.copytree(runs / "whole", runs / f"bad-{name}")
        (runs / f"bad-{name}" / name).write_bytes(content)
    return sorted(f"bad-{name}" for name in _DAMAGES)


def test_are_listed_and_the_others_work(damaged: list[str], runs: Path, burnish: Burnish) -> None:
    shutil.copytree(
        checkpoint_path(runs / "stopped" / "checkpoints", 2), runs / "stopped" / "checkpoints" / "step-000008 (copy)"
    )
    listed = burnish("runs --json").json["runs"]
    assert sorted(run["name"] for run in listed if run["state"] == "damaged") == damaged
    shown = burnish("runs")
    assert shown.code == 0
    for name in damaged:
        assert f"The run `{name}` is damaged. `runs/{name}/{name[4:]}`: " in " ".join(shown.out.split())
    assert burnish("show whole").code == 0
    assert burnish("show stopped").code == 0
    for name in damaged:
        result = burnish(f"show {name}")
        assert result.code == 2
        assert result.what == f"the run `{name}` is damaged: `{name[4:]}` cannot be read"
        assert result.why and result.hint
        check_hint(result.hint)
    assert burnish("resume stopped").code == 0
    assert (runs / "stopped" / "checkpoints" / "step-000008 (copy)").is_dir(), "it is the user's"
    assert burnish("evaluate bad-evaluation.json").code == 0, "as `show` says"
    assert burnish("show bad-evaluation.json").code == 0


def test_cannot_be_resumed_and_nothing_is_written(runs: Path, burnish: Burnish) -> None:
    for name in ("recipe.yaml", "manifest.json", "events.jsonl", "metrics.jsonl"):
        folder = runs / "stopped"
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(before + b"\xff\n")
        result = burnish("resume stopped")
        assert result.code == 2, name
        assert name in result.what + result.why, name
        assert result.why and result.hint
        assert "unexpected" not in result.what
        assert (folder / name).read_bytes().startswith(before + b"\xff\n"), name
        (folder / name).write_bytes(before)
    assert burnish("resume stopped").code == 0


def _last_steps(run: RunFolder) -> list[int]:
    return [int(path.name.removeprefix("step-")) for path in checkpoint_folders(run.checkpoints)]


def test_a_damaged_checkpoint_is_named_and_an_older_one_used(runs: Path, burnish: Burnish) -> None:
    assert burnish("resume stopped").code == 0
    run = RunFolder(runs / "stopped")
    undisturbed, steps = adapter_bytes(run.path), _last_steps(run)
    shutil.rmtree(run.adapter)
    damaged = checkpoint_path(run.checkpoints, steps[-1])
    (damaged / "optimizer.safetensors").write_bytes(b"")
    result = burnish("resume stopped")
    assert result.code == 0, result.err
    said = " ".join((result.out + result.err).split())
    assert f"The checkpoint `{damaged.name}` cannot be used" in said
    assert "`optimizer.safetensors` does not match its checksum." in said
    assert f"Continuing from step {steps[-2]} of 4." in said
    assert adapter_bytes(run.path) == undisturbed
    assert (run.checkpoints / f"{damaged.name}.damaged").is_dir()
    assert _last_steps(run) == steps


def test_without_any_whole_checkpoint_the_run_starts_over_and_says_so(runs: Path, burnish: Burnish) -> None:
    run = RunFolder(runs / "stopped")
    steps = _last_steps(run)
    for step in steps:
        (checkpoint_path(run.checkpoints, step) / "weights.safetensors").unlink()
    result = burnish("resume stopped")
    assert result.code == 0, result.err
    said = " ".join((result.out + result.err).split())
    assert "Every checkpoint is damaged, so the run starts over." in said
    for step in steps:
        assert f"The checkpoint `step-{step:06d}` cannot be used" in said
    assert adapter_bytes(run.path) == adapter_bytes(runs / "whole")


def _evaluation(run: RunFolder) -> None:
    """Killed before the evaluation was logged, so also before the model card."""
    lines = run.events.read_bytes().split(b"\n")
    run.events.write_bytes(b"\n".join(line for line in lines if b'"Finished"' not in line))
    _card(run)


def _card(run: RunFolder) -> None:
    """Killed before the model card."""
    (run.adapter / "README.md").unlink()
    run.report.unlink()


def _report(run: RunFolder) -> None:
    """Killed in the middle of writing the report."""
    run.report.rename(run.path / ".writing-report.html-1")


def _result(run: RunFolder) -> None:
    """Killed in the middle of writing the result."""
    run.adapter.rename(run.path / ".writing-adapter-1")
    run.evaluation.unlink()
    _evaluation_log_only(run)


def _evaluation_log_only(run: RunFolder) -> None:
    lines = run.events.read_bytes().split(b"\n")
    run.events.write_bytes(b"\n".join(line for line in lines if b'"Finished"' not in line))
    run.report.unlink()


@pytest.mark.parametrize("killed", [_result, _evaluation, _card, _report], ids=lambda one: one.__name__.strip("_"))
def test_every_stage_after_training_is_taken_up_again(
    killed: Callable[[RunFolder], None], runs: Path, burnish: Burnish
) -> None:
    run = RunFolder(runs / "whole")
    weights, card, evaluation = adapter_bytes(run.path), (run.adapter / "README.md").read_bytes(), run.evaluation
    before = evaluation.read_bytes()
    killed(run)
    result = burnish("resume whole")
    assert result.code == 0, result.err
    assert adapter_bytes(run.path) == weights
    assert evaluation.read_bytes() == before
    assert (run.adapter / "README.md").read_bytes() == card
    assert run.report.is_file()
    assert len(read_lines(run.events, "Finished")) == 1
    assert not list(run.path.rglob(".writing-*"))
    assert burnish("resume whole").code == 2, "it is finished"
