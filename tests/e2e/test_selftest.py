"""`burnish selftest`: every rule that makes sense for a task and a method is measured, and holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from burnish.selftest.workbench import RuleLine
from burnish.workflows import selftest
from tests.architecture_table import rows_for
from tests.e2e.conftest import EXACT, Burnish
from tests.tiny_architectures import save_architecture

EVERY = {
    "packed = unpacked",
    "padded = unpadded",
    "accumulated = one big batch",
    "fused = reference",
    "checkpointed activations = not",
    "resumed = uninterrupted",
    "merged = adapter",
    "fresh adapter = base",
    "a trained adapter changes the logits",
    "a batch with no trained token is an error",
    "served tokens = trained tokens",
    "two processes = one",
}
ADAPTER = {"merged = adapter", "fresh adapter = base", "a trained adapter changes the logits"}
PACKED, SERVED = {"packed = unpacked"}, {"served tokens = trained tokens"}


QUICK = {"chat": selftest.RULES[:-1]}
"""The rules that are measured for a task; the last one starts two processes, which only the slow tests do."""


def assert_holds(result: Any, without: set[str], every: set[str] = EVERY) -> None:
    """Every rule but those is measured and holds; those are left out with a reason."""
    assert result.code == 0, [line for line in result.json["lines"] if line["passed"] is False]
    lines = {line["rule"]: line for line in result.json["lines"]}
    assert set(lines) == every
    assert {rule for rule, line in lines.items() if line["passed"] is None} == without
    assert all(line["passed"] is not False and line["why"] for line in lines.values())
    assert result.json["passed"] is True
    measured = [line for line in lines.values() if line["passed"] is not None]
    assert any(0 < line["difference"] <= line["tolerance"] for line in measured), "nothing was computed in two ways"


@pytest.mark.parametrize(
    ("task", "model", "without"),
    [
        pytest.param("chat", "Llama", set(), marks=pytest.mark.slow),
        pytest.param("text", "GPT-2", set(), marks=pytest.mark.slow),
        pytest.param("preference", "Llama", PACKED, marks=pytest.mark.slow),
        pytest.param("reward", "Llama", PACKED | SERVED, marks=pytest.mark.slow),
        pytest.param("text-to-text", "T5", PACKED, marks=pytest.mark.slow),
        pytest.param("classify", "BERT", PACKED | SERVED, marks=pytest.mark.slow),
        pytest.param("tag", "BERT", PACKED | SERVED, marks=pytest.mark.slow),
        pytest.param("span", "BERT", PACKED | SERVED, marks=pytest.mark.slow),
        pytest.param("fill-mask", "RoBERTa", PACKED | SERVED, marks=pytest.mark.slow),
    ],
)
def test_every_task(
    task: str, model: str, without: set[str], here: Path, burnish: Burnish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selftest, "RULES", QUICK.get(task, selftest.RULES))
    folder = save_architecture(model, here / "model")
    result = burnish(f"selftest {rows_for(task, here)} --model {folder} --task {task} {EXACT} --json")
    assert_holds(result, without, EVERY - {"two processes = one"} if task in QUICK else EVERY)
    assert not (here / "runs").exists()


VIRTUAL = {"packed = unpacked", "merged = adapter", "fresh adapter = base"}


@pytest.mark.parametrize(
    ("method", "without"),
    [
        pytest.param("full", ADAPTER, marks=pytest.mark.slow),
        pytest.param("freeze", ADAPTER, marks=pytest.mark.slow),
        pytest.param("ia3", set(), marks=pytest.mark.slow),
        pytest.param("prompt", VIRTUAL, marks=pytest.mark.slow),
        pytest.param("prefix", VIRTUAL | {"checkpointed activations = not"}, marks=pytest.mark.slow),
        pytest.param("lora --set lora.dora=true", {"fresh adapter = base"}, marks=pytest.mark.slow),
        pytest.param(
            "lora --set model.kernels=plain --set lora.dropout=0.2", {"fused = reference"}, marks=pytest.mark.slow
        ),
    ],
)
def test_every_method(method: str, without: set[str], base: Path, rows_file: Path, burnish: Burnish) -> None:
    assert_holds(burnish(f"selftest {rows_file} --model {base} --method {method} {EXACT} --json"), without)


@pytest.mark.parametrize("number", [2, pytest.param(12, marks=pytest.mark.slow)])
def test_a_person_reads_a_table_and_what_was_compared(
    number: int, base: Path, rows_file: Path, burnish: Burnish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selftest, "RULES", selftest.RULES[:number])
    result = burnish(f"selftest {rows_file} --model {base} --set model.device=cpu --set model.precision=bf16")
    assert result.code == 0, result.out
    assert "in bf16, task `chat`, method `lora`" in result.out
    assert "packed = unpacked: 8 examples in" in result.out
    assert "  burnish selftest --set model.precision=fp32" in result.out
    assert f"All {number} rules of arithmetic hold here." in result.out
    assert burnish(f"selftest {rows_file} --task chta").what == "there is no task `chta`"
    assert burnish("selftest --task vision").what == "Burnish has no bundled rows for the task `vision`"


def test_a_rule_that_does_not_hold_is_exit_code_1(
    base: Path, rows_file: Path, burnish: Burnish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selftest, "RULES", (lambda bench: RuleLine("one = two", 0.5, 1e-5, "made up"),))
    result = burnish(f"selftest {rows_file} --model {base} {EXACT}")
    assert result.code == 1
    assert "NO" in result.out
    assert "1 of 1 rules of arithmetic do NOT hold here: one = two." in result.out


def test_memory_that_runs_out_is_reported(
    base: Path, rows_file: Path, burnish: Burnish, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_much(bench: Any) -> RuleLine:
        raise MemoryError

    monkeypatch.setattr(selftest, "RULES", (too_much,))
    result = burnish(f"selftest {rows_file} --model {base} {EXACT}")
    assert (result.code, result.what) == (3, "memory ran out while the rules of arithmetic were measured")


@pytest.mark.slow
def test_without_data_bundled_rows_and_models_are_used(burnish: Burnish) -> None:
    result = burnish(f"selftest {EXACT} --json")
    assert result.json["model"] == "seedling"
    assert_holds(result, set())
    result = burnish(f"selftest --model acorn {EXACT} --json")
    assert result.json["task"] == "classify"
    assert_holds(result, PACKED | SERVED)
