"""`burnish eject`: the script, run without Burnish, takes the same steps as the run."""

from __future__ import annotations

import ast
import json
import os
import random
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import burnish as burnish_api
from burnish.runs.folder import RunFolder
from tests.e2e.command_result import read_lines
from tests.e2e.conftest import Burnish
from tests.tiny_classifiers import reviews, save_reader
from tests.tiny_models import make_network, make_tokenizer, save_model

STEPS = 5
TOLERANCE = 1e-4
"""Relative, of losses and norms in fp32 on the CPU: both add up the same numbers in another order. TRL logs losses to
about nine digits; five steps of Adam at a high rate multiply the differences."""
QUICK: dict[str, Any] = {
    "max_steps": STEPS,
    "precision": "fp32",
    "device": "cpu",
    "name": "mine",
    "learning_rate": 5e-3,
}
FEW = {
    "batch.tokens": 512,
    "batch.rows": 2,
    "evaluate.answers": 0,
    "evaluate.general": "none",
    "train.early_stopping": False,
}
LIBRARIES = {"json", "math", "pathlib", "torch", "datasets", "peft", "transformers", "trl"}


def train(rows: Path, model: Path, **options: Any) -> RunFolder:
    """A short run; options by dotted names besides `QUICK`."""
    sets = {**FEW, **{name: value for name, value in options.items() if "." in name}}
    plain = {name: value for name, value in options.items() if "." not in name}
    return burnish_api.train(rows, model=model, set=sets, **{**QUICK, **plain}).folder


def run_script(script: Path, in_process: bool = True) -> list[dict[str, Any]]:
    """What the script logs of each step.

    Args:
        script: ejected.
        in_process: False runs it in a process of its own that cannot import Burnish, which takes seconds to begin.
    """
    script = script.absolute()
    (_run_here if in_process else _run_apart)(script)
    state = json.loads((script.parent / "ejected" / "trainer_state.json").read_text(encoding="utf-8"))
    return [line for line in state["log_history"] if "grad_norm" in line]


def _run_here(script: Path) -> None:
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    random_state, here = torch.get_rng_state(), Path.cwd()
    os.chdir(script.parent)
    try:
        runpy.run_path(str(script), run_name="__main__")
    finally:
        os.chdir(here)
        torch.set_rng_state(random_state)


def _run_apart(script: Path) -> None:
    blocked = script.parent / "blocked" / "burnish"
    blocked.mkdir(parents=True, exist_ok=True)
    (blocked / "__init__.py").write_text("raise ImportError('a script must do without')\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(blocked.parent), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, cwd=script.parent
    )
    assert done.returncode == 0, done.stderr[-3000:]


def compare(folder: RunFolder, theirs: list[dict[str, Any]], tolerance: float = TOLERANCE) -> None:
    """Every step that the script took is the run's."""
    ours = read_lines(folder.metrics, "StepDone")
    assert 2 <= len(theirs) <= len(ours) == STEPS
    for mine, other in zip(ours, theirs, strict=False):
        assert other["loss"] == pytest.approx(mine["loss"], rel=tolerance)
        assert other["grad_norm"] == pytest.approx(mine["gradient_norm"], rel=10 * tolerance)
        assert other["learning_rate"] == pytest.approx(mine["learning_rate"], rel=1e-9)
    losses = [mine["loss"] for mine in ours]
    assert max(losses) - min(losses) > 50 * tolerance * max(losses), "losses that are all alike compare nothing"


CASES: dict[str, dict[str, Any]] = {
    "lora": {},
    "unpacked": {"data.packing": False},
    "epochs": {"data.packing": False, "data.rows": 18, "batch.tokens": 256, "train.epochs": 9},
    "full": {"method": "full", "learning_rate": 1e-3},
    "variants": {"lora.rslora": True, "lora.dora": True, "lora.plus_ratio": 8.0, "train.schedule": "linear"},
    "pissa": {"lora.init": "pissa", "lora.rank": 4},
    "head": {"lora.modules_to_save": ["lm_head"], "lora.bias": "all"},
    "qlora": {"method": "qlora"},
}
LONG_RUN = "lora", "unpacked", "pissa", "head", "qlora", "epochs"


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow) if case in LONG_RUN else case for case in CASES]
)
def test_the_script_takes_the_steps_of_the_run(
    case: str, here: Path, base: Path, rows_file: Path, burnish: Burnish
) -> None:
    folder = train(rows_file, base, **CASES[case])
    result = burnish("eject mine")
    assert result.code == 0, result.err
    assert [line.split()[-1] for line in result.out.splitlines()[:2]] == [
        "runs/mine/eject.py",
        "runs/mine/eject_rows.jsonl",
    ]
    compare(folder, run_script(folder.path / "eject.py", in_process=case != "lora"))


@pytest.mark.slow
def test_the_result_is_the_runs(here: Path, base: Path, rows_file: Path, burnish: Burnish) -> None:
    """The step whose weights were kept is where the script ends."""
    folder = train(rows_file, base, **{"evaluate.every": 2, "learning_rate": 2e-2})
    assert burnish("eject mine --out again.py --quiet").out == "again.py\n"
    theirs = run_script(here / "again.py")
    (finished,) = read_lines(folder.events, "Finished")
    assert len(theirs) == finished["best_step"]
    mine = load_file(str(folder.adapter / "adapter_model.safetensors"))
    other = load_file("ejected/adapter_model.safetensors")
    assert mine.keys() == other.keys()
    for name, tensor in mine.items():
        assert (tensor - other[name]).abs().max() < 0.02 * tensor.abs().max()


@pytest.mark.slow
def test_running_text(here: Path, base: Path, burnish: Burnish) -> None:
    source = random.Random(3)
    tale = "".join(f"The {source.choice(('red', 'old', 'blue'))} fox sails {number}.\n\n" for number in range(200))
    Path("tale.txt").write_text(tale, encoding="utf-8")
    folder = train(Path("tale.txt"), base)
    assert burnish("eject mine").code == 0
    compare(folder, run_script(folder.path / "eject.py"))


@pytest.mark.slow
def test_a_base_with_dropout(here: Path, rows_file: Path, burnish: Burnish) -> None:
    """A frozen base drops nothing, in the script as in the run."""
    tokenizer: Any = make_tokenizer()
    network = make_network("llama", len(tokenizer), attention_dropout=0.3)
    folder = train(rows_file, save_model(here / "model", network, tokenizer))
    assert burnish("eject mine").code == 0
    text = (folder.path / "eject.py").read_text(encoding="utf-8")
    assert 'CONFIG = {"attention_dropout": 0.0}' in text
    compare(folder, run_script(folder.path / "eject.py"))


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="dpo", marks=pytest.mark.slow),
        pytest.param({"preference.loss": "ipo", "preference.beta": 0.5}, id="ipo", marks=pytest.mark.slow),
        pytest.param({"method": "full", "learning_rate": 2e-4}, id="full", marks=pytest.mark.slow),
    ],
)
def test_pairs(options: dict[str, Any], here: Path, base: Path, burnish: Burnish) -> None:
    source = random.Random(5)
    rows = [
        {"prompt": f"What is {number}?", "chosen": f"It is {source.choice(('red', 'blue'))}.", "rejected": "No idea."}
        for number in range(43)
    ]
    Path("pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    folder = train(Path("pairs.jsonl"), base, **options)
    assert burnish("eject mine").code == 0
    compare(folder, run_script(folder.path / "eject.py"))


def test_the_script_is_readable_and_needs_nothing_else(runs: Path, burnish: Burnish) -> None:
    made = burnish("eject whole --json").json
    assert (made["script"], made["rows"]) == ("runs/whole/eject.py", "runs/whole/eject_rows.jsonl")
    text = (runs / "whole" / "eject.py").read_text(encoding="utf-8")
    tree = ast.parse(text)
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {module.partition(".")[0] for module in modules} <= LIBRARIES
    assert len(text.splitlines()) < 240
    rows = [json.loads(line) for line in (runs / "whole" / "eject_rows.jsonl").read_text().splitlines()]
    read = sorted(step for row in rows for step in row["steps"])
    assert read[0] == 0
    assert all(len(row["input_ids"]) == len(row["labels"]) == len(row["position_ids"]) for row in rows)


def test_what_is_there_is_never_replaced(runs: Path, burnish: Burnish) -> None:
    (runs / "whole" / "eject_rows.jsonl").write_text("mine\n", encoding="utf-8")
    outcome = burnish("eject whole")
    assert (outcome.code, outcome.what) == (2, "`runs/whole/eject_rows.jsonl` already exists")
    assert "reading data" not in outcome.err, "it is refused before the rows are read"
    assert not (runs / "whole" / "eject.py").exists()
    assert burnish("eject whole --out none/eject.py").what == "the folder `none` does not exist"
    assert burnish("eject whole --out eject.txt").what == "`eject.txt` does not end in .py"
    assert burnish("eject stopped").what == "the run `stopped` has no result yet"


def test_runs_without_a_counterpart(here: Path, base: Path, rows_file: Path, burnish: Burnish) -> None:
    train(rows_file, base, method="ia3", max_steps=1)
    result = burnish("eject mine")
    assert (result.code, result.what) == (2, "a run of the method `ia3` cannot be ejected")
    assert "scripts are written for `full`, `lora`, `qlora`, `int8-lora`" in result.why
    assert "`burnish merge`" in result.hint
    rows = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in reviews(40))
    Path("reviews.jsonl").write_text(rows, encoding="utf-8")
    train(Path("reviews.jsonl"), save_reader(here / "model", "bert"), name="labels", max_steps=1)
    result = burnish("eject labels")
    assert (result.code, result.what) == (2, "a run of the task `classify` cannot be ejected")
    assert result.why
    assert result.hint
