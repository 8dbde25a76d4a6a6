"""The trial of a run before it starts: what it measures, and that it changes nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.data.batching.batches import BatchPlan
from burnish.models.device import RowTooLarge
from burnish.plan import confirmation
from burnish.plan.confirmation import try_run
from burnish.plan.known import KnownPace
from burnish.plan.run_plan import RunPlan, plan_run
from burnish.prepare.context import prepare
from burnish.prepare.model import apply_method, inspect_base, load_network
from burnish.runs.events import Event, MemoryMeasured
from tests.tiny_data import make_recipe, write_rows


@dataclass
class Subject:
    """A run that is ready for its trial."""

    plan: RunPlan
    network: Any
    batches: BatchPlan
    events: list[Event]

    def tried(self, questions: int = 4) -> KnownPace | None:
        """What the trial measures."""
        context = replace(self.plan.context, emit=self.events.append)
        return try_run(self.network, context, self.batches, self.plan, context.questions(questions), loading=1.5)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[[str], Path]) -> Subject:
    """LoRA on a tiny llama. Shared: nothing changes it."""
    events: list[Event] = []
    folder = tmp_path_factory.mktemp("made")
    recipe = make_recipe(
        write_rows(folder / "rows.jsonl", 60), tiny_model("llama"), folder / "runs", method="lora", data__context=64
    )
    plan = plan_run(prepare(recipe, events.append))
    base = load_network(plan.context)
    context = inspect_base(plan.context, base)
    network = apply_method(context, base)
    return Subject(replace(plan, context=context), network, context.batch_plan(context.training), events)


@pytest.fixture
def subject(made: Subject) -> Subject:
    """To be tried."""
    context = made.plan.context
    return Subject(made.plan, copy.deepcopy(made.network), context.batch_plan(context.training), list(made.events))


def test_a_trial_measures_and_changes_nothing(subject: Subject) -> None:
    weights = {name: weight.clone() for name, weight in subject.network.named_parameters()}
    torch.manual_seed(3)
    before = torch.get_rng_state()
    known = subject.tried()
    assert known is not None
    assert known.is_sound
    assert min(known.seconds_per_token, known.validation_token, known.prompt_token) > 0
    assert (known.loading, known.packing, known.micro_tokens) == (
        1.5,
        subject.batches.packing,
        subject.batches.micro_tokens,
    )
    trained = sum(weight.numel() * 4 for weight in subject.network.parameters() if weight.requires_grad)
    assert known.checkpoint == 3 * trained, "the weights and two moments of each"
    assert torch.equal(torch.get_rng_state(), before)
    for name, weight in subject.network.named_parameters():
        assert torch.equal(weight, weights[name]), name
        assert weight.grad is None
    (memory,) = [event for event in subject.events if isinstance(event, MemoryMeasured)]
    assert memory.measured == pytest.approx(memory.predicted, rel=0.02)


def test_without_questions_no_answer_is_timed(subject: Subject) -> None:
    known = subject.tried(questions=0)
    assert known is not None
    assert known.prompt_token == known.new_token == 0


def test_a_step_that_runs_out_of_memory_is_tried_with_half_of_the_rows(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = confirmation._seconds_per_token
    failures = iter([MemoryError(), None])

    def fail(*given: Any) -> float:
        if error := next(failures):
            raise error
        return timed(*given)

    monkeypatch.setattr(confirmation, "_seconds_per_token", fail)
    before = subject.batches.micro_tokens
    known = subject.tried()
    assert known is not None
    assert known.micro_tokens == subject.batches.micro_tokens < before


@pytest.mark.parametrize("error", [MemoryError(), RowTooLarge(9)], ids=["memory", "row"])
def test_memory_that_runs_out_later_is_the_runs_own_affair(
    error: Exception, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(confirmation, "evaluate_rows", fail)
    monkeypatch.setattr(confirmation, "generate_batch", fail)
    before = subject.batches.micro_tokens
    known = subject.tried()
    assert known is not None
    assert known.micro_tokens == subject.batches.micro_tokens == before
    assert known.validation_token == pytest.approx(known.seconds_per_token / 3)
    assert known.prompt_token == 0


def test_another_error_is_not_hidden(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: Any, **options: Any) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(confirmation, "evaluate_rows", fail)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        subject.tried()
