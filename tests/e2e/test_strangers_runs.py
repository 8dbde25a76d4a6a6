"""Recipes and run folders from someone else: what they name is run only if the user says so."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import burnish as burnish_api
from burnish.cli.main import main
from burnish.errors import InputError
from burnish.lineage.trust import record_trust
from burnish.recipe.load import recipe_from_saved
from burnish.runs.folder import RunFolder
from tests.e2e.conftest import EXACT, SHORT, Burnish
from tests.tiny_data import write_rows

METRIC = """
from pathlib import Path

with Path("imported").open("a") as file:
    file.write("x")


def score(answer, expected):
    return len(answer)
"""
ANSWERED = f"{SHORT} --set evaluate.answers=10"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    """The folder of a run with a metric of its own; nothing writes into it."""
    folder = tmp_path_factory.mktemp("scored")
    (folder / "mine.py").write_text(METRIC, encoding="utf-8")
    write_rows(folder / "rows.jsonl", 40)
    words = f"train rows.jsonl --model {base} --name scored {ANSWERED} --set evaluate.metric=mine:score --quiet"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(shlex.split(words)) == 0
    (folder / "imported").unlink()
    return folder


@pytest.fixture
def scored(here: Path, made: Path) -> Path:
    """That run as the user's own, its metric in a file of the current folder, where it leaves a trace when imported."""
    shutil.copytree(made, here, dirs_exist_ok=True)
    run = RunFolder(here / "runs" / "scored")
    record_trust(run, recipe_from_saved(run.recipe))  # as training here does
    return run.path


def edit(run: Path, section: str, **values: Any) -> None:
    recipe = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    recipe[section].update(values)
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")


def given(run: Path, here: Path) -> Path:
    """The run as someone else would get it."""
    return shutil.copytree(run, here / "given")


@pytest.mark.parametrize(
    ("section", "option", "value"),
    [
        ("model", "trust_remote_code", True),
        ("model", "allow_pickle", True),
        ("evaluate", "metric", "mine:score"),
    ],
)
@pytest.mark.parametrize("command", ["train", "check", "plan"])
def test_a_recipe_runs_no_code(
    command: str, section: str, option: str, value: Any, here: Path, base: Path, burnish: Burnish
) -> None:
    (here / "mine.py").write_text(METRIC, encoding="utf-8")
    write_rows(here / "rows.jsonl", 40)
    recipe = {"data": {"path": "rows.jsonl"}, "model": {"name": str(base)}, section: {option: value}}
    recipe[section] = {**({"name": str(base)} if section == "model" else {}), option: value}
    (here / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    refused = burnish(f"{command} recipe.yaml {EXACT if command != 'check' else ''}")
    assert refused.code == 2
    assert f"`{section}.{option}` (recipe.yaml line" in refused.err
    assert f"--set {section}.{option}=" in refused.err
    assert not (here / "imported").exists()
    assert not (here / "runs").exists()


def test_what_a_recipe_names_runs_if_the_user_says_so(here: Path, base: Path, burnish: Burnish) -> None:
    (here / "mine.py").write_text(METRIC, encoding="utf-8")
    write_rows(here / "rows.jsonl", 60)
    recipe = {"data": {"path": "rows.jsonl"}, "model": {"name": str(base)}, "evaluate": {"metric": "mine:score"}}
    (here / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    assert burnish(f"train recipe.yaml --name one {ANSWERED} --set evaluate.metric=mine:score").code == 0
    assert (here / "imported").exists()
    figures = json.loads((here / "runs/one/evaluation.json").read_text(encoding="utf-8"))["figures"]
    assert "score" in [figure["name"] for figure in figures]


def test_the_users_own_run_needs_no_word(here: Path, base: Path, burnish: Burnish) -> None:
    (here / "mine.py").write_text(METRIC, encoding="utf-8")
    write_rows(here / "rows.jsonl", 40)
    words = f"train rows.jsonl --model {base} --name scored {ANSWERED} --set evaluate.metric=mine:score"
    assert burnish(words).code == 0
    (here / "imported").unlink()
    assert burnish("evaluate scored --answers 4").code == 0
    assert (here / "imported").exists()


@pytest.mark.parametrize(
    "command",
    ["evaluate {} --answers 4", pytest.param("evaluate {} rows.jsonl --answers 4", marks=pytest.mark.slow)],
)
def test_a_run_from_elsewhere_evaluates_with_its_metric_only_if_trusted(
    command: str, scored: Path, burnish: Burnish, here: Path
) -> None:
    run = given(scored, here)
    refused = burnish(command.format(run))
    assert refused.code == 2
    assert "the run `given` asks to run code: `evaluate.metric: mine:score`" in " ".join(refused.err.split())
    assert "--trust" in refused.err
    assert not (here / "imported").exists()
    assert burnish(f"{command.format(run)} --trust").code == 0
    assert (here / "imported").exists()


@pytest.mark.parametrize(
    "command",
    [
        "generate {} hello --max-new-tokens 2",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("merge {}", "eject {}", "reproduce {} --steps 1")),
        "show {}",
        "report {}",
    ],
)
def test_commands_that_need_no_metric_import_none(command: str, scored: Path, burnish: Burnish, here: Path) -> None:
    run = given(scored, here)
    assert burnish(command.format(run)).code == 0
    assert not (here / "imported").exists()


def test_the_users_word_is_about_one_metric(scored: Path, burnish: Burnish, here: Path) -> None:
    edit(scored, "evaluate", metric="mine:other")
    refused = burnish(f"evaluate {scored} --answers 4")
    assert refused.code == 2
    assert "mine:other" in refused.err
    assert not (here / "imported").exists()


@pytest.mark.parametrize("command", ["generate {} hello", "evaluate {}", "merge {}", "reproduce {}", "eject {}"])
def test_code_in_a_run_folder_is_not_run(
    command: str, here: Path, runs: Path, tmp_path: Path, burnish: Burnish
) -> None:
    run = shutil.copytree(runs / "whole", tmp_path / "given")
    tokenizer = run / "adapter" / "tokenizer_config.json"
    config = json.loads(tokenizer.read_text(encoding="utf-8"))
    config |= {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["mine.Mine", "mine.Mine"]}}
    tokenizer.write_text(json.dumps(config), encoding="utf-8")
    trace = tmp_path / "trace"
    (run / "adapter" / "mine.py").write_text(f"open({str(trace)!r}, 'w').close()\nclass Mine: pass\n", encoding="utf-8")
    edit(run, "model", trust_remote_code=True)
    result = burnish(command.format(run))
    assert result.code == 2
    assert "`model.trust_remote_code: true`" in result.err
    assert not trace.exists()


def test_python_asks_for_the_same_word(scored: Path, here: Path) -> None:
    run = given(scored, here)
    with pytest.raises(InputError, match="asks to run code"):
        burnish_api.load_run(run).evaluate(answers=4)
    assert not (here / "imported").exists()
    burnish_api.load_run(run, trust=True).evaluate(answers=4)
    assert (here / "imported").exists()


def _link(run: Path, aim: Path) -> str:
    (run / "events.jsonl").unlink()
    (run / "events.jsonl").symlink_to(aim)
    return "events.jsonl` is a link"


def _link_of_a_folder(run: Path, aim: Path) -> str:
    shutil.move(run / "checkpoints", run / "moved")
    (run / "checkpoints").symlink_to(run / "moved")
    return "checkpoints` is a link"


def _pipe(run: Path, aim: Path) -> str:
    (run / "metrics.jsonl").unlink()
    os.mkfifo(run / "metrics.jsonl")
    return "metrics.jsonl` is neither a file nor a folder"


@pytest.mark.skipif(os.name == "nt", reason="links need rights there, and there are no pipes")
@pytest.mark.parametrize("change", [_link, _link_of_a_folder, _pipe])
@pytest.mark.parametrize("command", ["resume", "show", "generate", "report", "merge"])
def test_links_and_pipes_are_refused(
    command: str, change: Callable[[Path, Path], str], runs: Path, tmp_path: Path, burnish: Burnish
) -> None:
    run = shutil.copytree(runs / "stopped" if command == "resume" else runs / "whole", tmp_path / "given")
    aim = tmp_path / "aim"
    aim.write_text("as it was\n", encoding="utf-8")
    said = change(run, aim)
    refused = burnish(f"{command} {run} {'hello' if command == 'generate' else ''}")
    assert refused.code == 2
    assert said in " ".join(refused.err.split())
    assert aim.read_text(encoding="utf-8") == "as it was\n"


def test_a_word_that_cannot_be_recorded_stops_no_training(
    here: Path, base: Path, burnish: Burnish, monkeypatch: pytest.MonkeyPatch
) -> None:
    from burnish.lineage import trust
    from burnish.runs.atomic import disk_error

    def full(path: Path, facts: dict[str, Any]) -> None:
        raise disk_error(path, "No space left on device")

    monkeypatch.setattr(trust, "write_json", full)
    (here / "mine.py").write_text(METRIC, encoding="utf-8")
    write_rows(here / "rows.jsonl", 40)
    words = f"train rows.jsonl --model {base} --name scored {ANSWERED} --set evaluate.metric=mine:score"
    assert burnish(words).code == 0
    assert burnish("evaluate scored --answers 4").code == 2
