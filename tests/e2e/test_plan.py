"""`burnish plan`, and what `burnish train` makes of too little memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from burnish.plan import budget
from tests.e2e.conftest import SHORT, Burnish
from tests.tiny_data import write_rows

ON_A100 = "--model Llama-2-7b --method full --set batch.rows=1 --set train.gradient_checkpointing=true --on A100-80GB"
SMALL = "--set model.device=cpu --set model.precision=fp32 --set evaluate.answers=0 --set train.max_steps=2"


def planned(burnish: Burnish, words: str) -> dict:
    result = burnish(f"plan {words} --json")
    assert result.code == 0, result.err
    return json.loads(result.out)


def test_a_model_of_70_billion_is_planned_for_from_its_config_alone(burnish: Burnish) -> None:
    step = "--set batch.rows=1 --set data.context=512"
    plan = planned(burnish, f"--model meta-llama/Meta-Llama-3-70B --method qlora --on H100 {step}")
    assert plan["parameters"] == 70_553_706_496
    assert sum(plan["memory"].values()) == plan["peak"] < plan["room"]
    linear = 70_553_706_496 - 2 * 128256 * 8192
    sides = 2 * (8192 + 8192) + 2 * (8192 + 1024) + 3 * (8192 + 28672)  # of one block's layers
    adapters = 80 * 16 * sides
    base = linear * 4.127 / 8 + 2 * 2 * 128256 * 8192
    assert plan["memory"]["weights"] == pytest.approx(base + 4 * adapters, rel=0.001)
    assert plan["step"]["low"] < plan["step"]["seconds"] < plan["step"]["high"]
    assert plan["steps"] is None, "there is no data"


@pytest.mark.slow
def test_the_textbook_is_right_about_what_parameters_need(burnish: Burnish) -> None:
    """GPT-2: 2 GB; a 7 B model: 28 + 28 + 56 GB; both before activations."""
    for model, gigabytes in (("gpt2", 1.99), ("Llama-2-7b", 107.8)):
        plan = planned(burnish, f"--model {model} --method full --on B200 --set batch.rows=1")
        parts = plan["memory"]
        assert (parts["weights"] + parts["gradients"] + parts["optimizer"]) / 1e9 == pytest.approx(gigabytes, rel=0.01)
        assert plan["peak"] > plan["rule_of_thumb"]


@pytest.mark.slow
def test_several_gpus_share_weights_and_not_activations(burnish: Burnish) -> None:
    """Adam's 8 bytes for each weight are held in parts, as the weights are."""
    several = planned(burnish, f"{ON_A100} --gpus 2")
    assert several["devices"] == 2
    strategy = next(choice for choice in several["choices"] if choice["option"] == "distributed.strategy")
    assert strategy["value"] == "sharded"
    assert several["memory"]["optimizer"] == pytest.approx(6_738_415_616 * 8 / 2, rel=0.01)
    assert several["memory"]["weights"] == pytest.approx(6_738_415_616 * 4 / 2, rel=0.01)
    assert several["memory"]["gathered blocks"] > 0


@pytest.mark.slow
def test_on_many_gpus_the_base_model_takes_the_most(burnish: Burnish) -> None:
    several = planned(burnish, f"{ON_A100} --gpus 8 --nodes 2")
    assert several["memory"]["weights"] == pytest.approx(6_738_415_616 * 4 * (1 + 1 / 16), rel=0.01)


@pytest.mark.slow
def test_offloaded_weights_take_the_memory_of_the_machine(burnish: Burnish) -> None:
    """Two GPUs of 24 GB do not hold 7 billion weights with their moments, nor the weights alone."""
    words = "--model Llama-2-7b --method full --on 'RTX 4090' --gpus 2 --set batch.rows=1 --set data.context=512"
    refused = burnish(f"plan {words}")
    assert refused.code == 3
    assert "`--set distributed.offload=true`" in refused.err
    offloaded = planned(burnish, f"{words} --set distributed.offload=true")
    assert not {"weights", "gradients", "optimizer"} & set(offloaded["memory"])
    assert offloaded["peak"] < offloaded["room"]
    assert offloaded["offloaded"] == pytest.approx(6_738_415_616 * 16, rel=0.01)
    assert offloaded["step"] is None
    assert "distributed.offload" in offloaded["why_no_time"]


@pytest.mark.slow
def test_one_gpu_is_too_small_for_what_several_hold(burnish: Burnish) -> None:
    alone = burnish(f"plan {ON_A100}")
    assert alone.code == 3
    assert "does not fit into the memory of A100-80GB" in alone.err


@pytest.mark.parametrize(
    ("size", "method"),
    [
        ("80GB", "full"),
        pytest.param("16GB", "lora", marks=pytest.mark.slow),
        pytest.param("2GB", "qlora", marks=pytest.mark.slow),
    ],
)
def test_the_method_follows_from_memory(size: str, method: str, burnish: Burnish) -> None:
    step = "--set batch.rows=1 --set data.context=256"
    assert planned(burnish, f"--model TinyLlama-1.1B --memory {size} {step}")["method"] == method


@pytest.mark.slow
def test_data_decides_too(burnish: Burnish, here: Path, base: Path) -> None:
    write_rows(here / "rows.jsonl", 30)
    plan = planned(burnish, f"rows.jsonl --model {base}")
    assert plan["method"] == "lora"
    assert plan["steps"] >= 1
    reasons = {choice["option"]: choice["reason"] for choice in plan["choices"]}
    assert "fewer than 1,000 rows" in reasons["method"]
    assert all(reasons.values())


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("--model gpt2 --on 'RTX 4071'", 2, "Did you mean `RTX 4070`?"),
        ("--model gpt2 --memory 12", 2, "has no valid unit of memory"),
        ("--model gpt2 --gpus 8", 2, "need a device"),
        ("--model gpt2 --gpus 0 --on T4", 2, "must be at least 1"),
        ("--model gpt2 --on T4 --set distributed.offload=true", 2, "`--gpus`"),
        ("", 2, "a plan needs DATA or a model"),
        pytest.param("--model Llama-2-70b --method full --on T4", 3, "would fit", marks=pytest.mark.slow),
        ("--model no-such-model-anywhere --on T4", 2, "no-such-model-anywhere"),
    ],
)
def test_what_is_wrong_is_reported(burnish: Burnish, words: str, code: int, said: str) -> None:
    result = burnish(f"plan {words}")
    assert result.code == code, result.err
    assert said in result.err
    assert "Traceback" not in result.err


def test_a_config_that_lacks_what_is_needed(burnish: Burnish, here: Path) -> None:
    (here / "half").mkdir()
    (here / "half/config.json").write_text('{"hidden_size": 64}', encoding="utf-8")
    result = burnish("plan --model ./half --on T4")
    assert result.code == 2
    assert "config" in result.err


def test_training_takes_what_fits(burnish: Burnish, here: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`model.memory` is that of the whole process, which is not always the same; here it counts as nothing."""
    nothing = budget.Overhead("Python and libraries", 0, "for the test")
    monkeypatch.setattr(budget, "_besides_tensors", lambda precision: (nothing,))
    write_rows(here / "rows.jsonl", 30)
    result = burnish(f"train rows.jsonl --model {base} --name roomy {SMALL} --verbose --set model.memory=60MB")
    assert result.code == 0, result.err
    assert "0 % " not in result.err or "predicted" in result.err
    assert "predicted (+0.0 %)" in result.err
    events = [json.loads(line) for line in (here / "runs/roomy/events.jsonl").read_text().splitlines()]
    (measured,) = [event for event in events if event["event"] == "MemoryMeasured"]
    assert measured["predicted"] == pytest.approx(measured["measured"], rel=0.02)
    (memory,) = [event for event in events if event["event"] == "MemoryPlanned"]
    need = sum(memory["parts"].values())
    tight = f"--set model.memory={need * 0.6 / 0.9 / 2**20:.3f}MB"
    result = burnish(f"train rows.jsonl --model {base} --name tight {SMALL} {tight}")
    assert result.code == 0, result.err
    events = [json.loads(line) for line in (here / "runs/tight/events.jsonl").read_text().splitlines()]
    (fitted,) = [event for event in events if event["event"] == "MemoryPlanned"]
    assert sum(fitted["parts"].values()) <= need * 0.6
    assert (fitted["micro_rows"], fitted["checkpointing"]) != (memory["micro_rows"], False) or (
        fitted["context"] < memory["context"]
    )


def test_too_little_for_anything_is_refused_before_the_run_begins(burnish: Burnish, here: Path, base: Path) -> None:
    write_rows(here / "rows.jsonl", 30)
    result = burnish(f"train rows.jsonl --model {base} {SHORT} --set model.memory=100KB")
    assert result.code == 2
    result = burnish(f"train rows.jsonl --model {base} {SHORT} --set model.memory=0.05MB")
    assert result.code == 3
    assert "does not fit into this machine's memory" in result.err
    assert "At least" in result.err
    assert not (here / "runs").exists()


@pytest.mark.slow
def test_a_device_that_is_too_small_is_refused_in_its_own_size(burnish: Burnish, here: Path, base: Path) -> None:
    """Its driver takes more than there is."""
    write_rows(here / "rows.jsonl", 30)
    result = burnish(f"plan rows.jsonl --model {base} {SHORT} --memory 300MB")
    assert result.code == 3
    assert "does not fit into the memory of 300 MB" in result.err
    assert "300 MB is available (memory of the device)" in result.err
    assert "600 MB of it besides tensors" in result.err


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "plan"])
def test_a_size_that_the_process_alone_takes_is_too_little(
    command: str, burnish: Burnish, here: Path, base: Path
) -> None:
    """Python and its libraries take more than this before any tensor."""
    write_rows(here / "rows.jsonl", 30)
    result = burnish(f"{command} rows.jsonl --model {base} {SHORT} --set model.memory=90MB")
    assert result.code == 3, result.err
    assert "of it besides tensors; 90.0 MB is available (`model.memory`)" in result.err
