"""What the loop keeps and advises when memory runs out, and what it saves when a run goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from burnish.data.rows.row import Example
from burnish.engine import loop as engine_loop
from burnish.engine.progress import Progress
from burnish.engine.step import NotFinite, StepResult, Trainer, Validation
from burnish.engine.validation import HeldOut
from burnish.errors import BurnishError, MachineError
from burnish.runs.events import CheckpointSaved, MicroBatchHalved, StepDone, Validated
from tests.tiny_data import random_examples
from tests.tiny_models import CONTEXT
from tests.tiny_training import token_plan
from tests.unit.engine.made_curves import loss_of
from tests.unit.engine.test_loop import Listener, make_loop, saved_steps


def run_out_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes every attempt at a step run out of memory; those before it compute nothing."""
    attempts = iter([StepResult(1.0, 1.0, 10, 5, 1)] * (step - 1))

    def attempt(*_: Any) -> StepResult:
        found = next(attempts, None)
        if found is None:
            raise MemoryError
        return found

    monkeypatch.setattr(Trainer, "step", attempt)


@pytest.mark.parametrize(
    ("checkpointing", "is_quantized", "fix"),
    [
        (False, False, "set `train.gradient_checkpointing=true` or use `--method qlora`"),
        (True, False, "use `--method qlora`"),
        (False, True, "set `train.gradient_checkpointing=true`"),
        (True, True, ""),
    ],
)
def test_a_row_too_large_is_answered_by_what_is_left_to_try(
    checkpointing: bool,
    is_quantized: bool,
    fix: str,
    tiny_tokenizer: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_out_at(1, monkeypatch)
    train = {"gradient_checkpointing": checkpointing}
    loop = make_loop(tiny_tokenizer, tmp_path, Listener(), losses=[], train=train)
    if is_quantized:
        codes = nn.Parameter(torch.zeros(2, dtype=torch.int8), requires_grad=False)
        loop.trainer.network.register_parameter("codes", codes)
    with pytest.raises(MachineError) as caught:
        loop.run()
    assert caught.value.fix == f"Shorten `data.context` (now auto){' or ' * bool(fix)}{fix}, in a new run"
    assert "Memory ran out after step 0 with one row at a time. No step has been saved yet." in caught.value.why


@pytest.mark.parametrize(("failing", "saved"), [(6, [5]), (8, [5, 7])])
def test_the_last_step_is_saved_once(
    failing: int, saved: list[int], tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_out_at(failing, monkeypatch)
    result = Listener()
    with pytest.raises(MachineError, match="one training row of") as caught:
        make_loop(tiny_tokenizer, tmp_path, result, losses=[]).run()
    assert [event.step for event in result.of(CheckpointSaved)] == saved
    assert f"The checkpoint `step-00000{failing - 1}` is complete." in caught.value.why
    assert caught.value.fix.endswith(f"; or free some memory and continue with `burnish resume {tmp_path.parent}`")


@pytest.mark.parametrize(
    ("error", "raised", "text"),
    [
        (MemoryError(), MachineError, "The checkpoint `step-000005` is complete."),
        (RuntimeError("a shape is wrong"), RuntimeError, "a shape is wrong"),
    ],
)
def test_a_state_that_cannot_be_saved_either(
    error: Exception,
    raised: type[Exception],
    text: str,
    tiny_tokenizer: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Memory may not suffice for that; the checkpoint before is named. Any other error is reported as it is."""
    run_out_at(8, monkeypatch)
    save = engine_loop.save_checkpoint

    def save_or_fail(folder: Path, trainer: Trainer, progress: Progress) -> Path:
        if progress.step == 7:
            raise error
        return save(folder, trainer, progress)

    monkeypatch.setattr(engine_loop, "save_checkpoint", save_or_fail)
    with pytest.raises(raised) as caught:
        make_loop(tiny_tokenizer, tmp_path, Listener(), losses=[]).run()
    assert text in str(getattr(caught.value, "why", caught.value))
    assert saved_steps(tmp_path) == [5]


@pytest.mark.parametrize(("rows", "more"), [(5, ""), (6, " and 1 more")])
def test_five_rows_of_a_loss_that_is_not_finite_are_listed(
    rows: int, more: str, tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> StepResult:
        raise NotFinite("the loss became nan")

    monkeypatch.setattr(Trainer, "step", fail)
    loop = make_loop(tiny_tokenizer, tmp_path, Listener(), losses=[])
    monkeypatch.setattr(engine_loop, "places", lambda *_: [f"rows.jsonl:{number}" for number in range(1, rows + 1)])
    with pytest.raises(BurnishError, match="at step 1") as caught:
        loop.run()
    listed = "rows.jsonl:1, rows.jsonl:2, rows.jsonl:3, rows.jsonl:4, rows.jsonl:5"
    assert caught.value.why.startswith(f"Rows of that step: {listed}{more}. No weight was changed")


def test_weights_whose_loss_is_no_number_are_no_result(
    tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "step", lambda *_: StepResult(1.0, 1.0, 10, 5, 1))
    nan = float("nan")
    loop = make_loop(tiny_tokenizer, tmp_path, Listener(), evaluate_every=5, losses=[9.0, nan, nan])
    with pytest.raises(BurnishError, match="the validation loss is nan after training") as caught:
        loop.run()
    assert "Lower `train.learning_rate`" in caught.value.fix
    loop = make_loop(tiny_tokenizer, tmp_path / "better", Listener(), evaluate_every=5, losses=[9.0, 8.0, nan])
    assert loop.run().best_step == 5


@pytest.mark.parametrize(
    ("loss", "patience", "saved"),
    [(7.0, 5, [8, 10]), (9.0, 5, [10]), (9.0, 1, [8])],
    ids=["better", "not better", "out of patience"],
)
def test_a_step_that_lacks_its_validation_is_validated_first(
    loss: float, patience: int, saved: list[int], tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saved again where that changes the state that a run goes on from: it is the best, or the run is over."""
    monkeypatch.setattr(Trainer, "step", lambda *_: StepResult(1.0, 1.0, 10, 5, 1))
    result = Listener()
    train = {"patience": patience}
    loop = make_loop(tiny_tokenizer, tmp_path, result, evaluate_every=8, keep=9, train=train, losses=[loss, 9.5])
    loop.progress = Progress(
        step=8, validations=[(0, 9.0), (4, 8.0)], best_step=4, best_score=-8.0, highest_step=4, highest_score=-8.0
    )
    loop.run()
    assert [event.step for event in result.of(CheckpointSaved)] == saved
    assert [event.step for event in result.of(Validated)] == ([8] if saved == [8] else [8, 10])
    assert [event.step for event in result.of(StepDone)] == ([] if saved == [8] else [9, 10])


def test_the_limits_of_a_run_that_ran_out_of_memory_are_kept_when_it_goes_on(
    tiny_tokenizer: Any, tmp_path: Path
) -> None:
    loop = make_loop(tiny_tokenizer, tmp_path, Listener())
    plan = token_plan(random_examples(3, 4, 20), context=CONTEXT, packing=False, step_tokens=1, micro_rows=2, seed=1)
    loop.held_out = HeldOut.of(plan, range(3))
    loop.progress = Progress(step=6, stopped=True, micro_tokens=96, held_out_tokens=40)
    loop.run()
    assert (loop.source.micro_tokens, plan.micro_tokens) == (96, 40)
    assert len(loop.held_out.batches) == len(plan.all_batches())


def test_smaller_batches_of_held_out_rows_are_reported_and_remembered(
    tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of 8, 6, 4 and 2 tokens, two to a batch, until memory runs out in the validation after four steps."""
    monkeypatch.setattr(Trainer, "step", lambda *_: StepResult(1.0, 1.0, 10, 5, 1))
    halves = iter([False, False, True])

    def validate(_: Trainer, held_out: HeldOut) -> Validation:
        assert not next(halves, False) or held_out.halve()
        return Validation(2.0, {}, -2.0, [loss_of([2.0] * 4)], None)

    monkeypatch.setattr(Trainer, "validate", validate)
    examples = [Example([5] * length, [5] * length, f"made.jsonl:{length}") for length in (2, 4, 6, 8)]
    plan = token_plan(examples, context=8, packing=False, step_tokens=1, micro_rows=2, seed=0)
    result = Listener()
    loop = make_loop(tiny_tokenizer, tmp_path, result)
    loop.held_out = HeldOut.of(plan, range(4))
    progress = loop.run()
    assert result.of(MicroBatchHalved) == [MicroBatchHalved(4, True, 16, 8, 2, 3)]
    assert (progress.held_out_tokens, progress.micro_tokens) == (8, None)
