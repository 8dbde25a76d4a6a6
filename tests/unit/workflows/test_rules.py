"""Each rule of arithmetic holds on a tiny model, and fails where something breaks it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.data.batching.batches import Batch
from burnish.engine.random_state import seed_everything
from burnish.engine.step import StepResult, Trainer
from burnish.recipe.schema import Recipe
from burnish.runs.event_log import EventLog
from burnish.selftest import gradient_rules, process_rules, weight_rules
from burnish.selftest.workbench import Bench, RuleLine, RuleReport, Subject, left_out
from burnish.tasks.task import Task
from burnish.workflows.selftest import RULES, make_bench
from tests.tiny_data import make_recipe, write_rows
from tests.tiny_training import without_borders


@pytest.fixture(scope="module")
def made(tiny_model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """On a tiny Llama. Shared: nothing changes it."""
    folder = tmp_path_factory.mktemp("bench")
    return make_bench(make_recipe(write_rows(folder / "rows.jsonl"), tiny_model("llama"), folder), EventLog(None))


@pytest.fixture
def bench(made: Bench) -> Bench:
    """To be spoiled: with a copy of the trained network."""
    bench = Bench(made.context)
    bench.subject = made.copy(made.recipe)
    return bench


@pytest.mark.parametrize(
    "rule",
    [*RULES[:-1], pytest.param(RULES[-1], marks=pytest.mark.slow)],  # the last one starts two processes
    ids=lambda rule: rule.__name__,
)
def test_the_rule_holds(rule: Callable[[Bench], RuleLine], made: Bench) -> None:
    line = rule(made)
    assert line.passed is True, line
    assert line.why


class Spoiled:
    """A part of a task of which one member is another."""

    def __init__(self, part: Any, **members: Any) -> None:
        self._part = part
        vars(self).update(members)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)


def spoiled(task: Task, part: str, **members: Any) -> Task:
    """The task with these members in place of a part's own."""
    return replace(task, **{part: Spoiled(getattr(task, part), **members)})


def assert_fails(line: RuleLine, at_least: float) -> None:
    """And by far: a rule that fails narrowly is measured with too blunt a tool."""
    assert line.passed is False, line
    assert line.difference is not None
    assert line.difference >= at_least


def test_packing_that_leaks_is_seen(bench: Bench) -> None:
    task = bench.subject.trainer.task

    def leaking(examples: Any, rows: Any, packed: bool, epoch: int | None) -> Batch:
        batch = task.encoder.collate(examples, rows, packed, epoch)
        return without_borders(batch) if packed else batch

    bench.subject.trainer.task = spoiled(task, "encoder", collate=leaking)
    assert_fails(gradient_rules.packed(bench), 0.01)
    assert gradient_rules.padded(bench).passed


def test_padding_that_is_trained_on_is_seen(bench: Bench) -> None:
    task = bench.subject.trainer.task

    def training_on_padding(examples: Any, rows: Any, packed: bool, epoch: int | None) -> Batch:
        batch = task.encoder.collate(examples, rows, packed, epoch)
        lengths = torch.tensor([[sum(examples[index].num_tokens for index in row)] for row in rows])
        is_padding = torch.arange(batch.input_ids.shape[1])[None] >= lengths
        return replace(batch, targets=batch.targets.masked_fill(is_padding, 0))

    bench.subject.trainer.task = spoiled(task, "encoder", collate=training_on_padding)
    assert_fails(gradient_rules.padded(bench), 0.01)


class MeanOfMeans(Trainer):
    """Weights each micro-batch alike, however much of it is trained on."""

    def accumulate(
        self, batches: Sequence[Batch], trained_tokens: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The classic mistake of gradient accumulation."""
        self.network.train()
        total = torch.zeros(())
        for batch in batches:
            loss = self.task.objective.losses(self.network, batch).mean() / len(batches)
            loss.backward()
            total += loss.detach()
        return total, total


def spoil_trainer(bench: Bench, kind: type[Trainer]) -> None:
    """Has the bench's network trained by another kind of trainer."""
    mine = bench.subject.trainer
    bench.subject.trainer = kind(
        mine.network, mine.task, mine.optimizer, mine.device, mine.precision, mine.clip, mine.scaler
    )


def test_a_mean_of_means_is_seen(bench: Bench) -> None:
    spoil_trainer(bench, MeanOfMeans)
    assert_fails(gradient_rules.accumulated(bench), 0.01)


class WrongCopy(Bench):
    """Whose other network computes something else by half a percent."""

    def copy(self, recipe: Recipe) -> Subject:
        """With one matrix a little larger."""
        made = super().copy(recipe)
        with torch.no_grad():
            made.network.get_output_embeddings().weight.mul_(1.005)
        return made


@pytest.mark.parametrize("rule", [gradient_rules.fused, gradient_rules.recomputed], ids=lambda rule: rule.__name__)
def test_arithmetic_that_is_off_by_half_a_percent_is_seen(rule: Callable[[Bench], RuleLine], made: Bench) -> None:
    assert_fails(rule(WrongCopy(made.context)), 1e-3)


class ForgetsMoments(Bench):
    """Whose optimizers take no moments back."""

    def fresh(self, recipe: Recipe | None = None) -> Subject:
        """With an optimizer that restores nothing."""
        made = super().fresh(recipe)
        made.trainer.optimizer.load_state_dict = lambda state: None  # pyright: ignore[reportAttributeAccessIssue]
        return made


def test_a_checkpoint_without_moments_is_seen(made: Bench) -> None:
    assert_fails(weight_rules.resumed(ForgetsMoments(made.context)), 1e-6)


def test_a_random_state_that_is_not_restored_is_seen(made: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from burnish.engine import checkpoint

    monkeypatch.setattr(checkpoint, "restore_random", lambda tensors, values: seed_everything(77))
    assert_fails(weight_rules.resumed(made), 1e-6)


def test_merging_that_rounds_too_much_is_seen(bench: Bench) -> None:
    tuner = bench.subject.network.base_model
    merge = tuner.merge_adapter

    def coarse() -> None:
        merge()
        with torch.no_grad():
            for weight in tuner.parameters():
                weight.copy_(weight.to(torch.float8_e4m3fn).float())

    tuner.merge_adapter = coarse
    assert_fails(weight_rules.merged(bench), 0.01)


def test_merging_that_folds_nothing_is_seen(bench: Bench) -> None:
    bench.subject.network.base_model.merge_adapter = lambda: None
    bench.subject.network.base_model.unmerge_adapter = lambda: None
    assert_fails(weight_rules.merged(bench), 1.0)


class AlreadyLearned(Bench):
    """Whose adapters begin with something in them."""

    def fresh(self, recipe: Recipe | None = None) -> Subject:
        """With matrices B that are not zero."""
        made = super().fresh(recipe)
        with torch.no_grad():
            for name, weight in made.network.named_parameters():
                if "lora_B" in name:
                    weight.fill_(1e-3)
        return made


def test_an_adapter_that_changes_something_at_once_is_seen(made: Bench) -> None:
    assert_fails(weight_rules.fresh(AlreadyLearned(made.context)), 1e-4)


def test_an_adapter_that_changes_nothing_is_seen(bench: Bench) -> None:
    network = bench.subject.network
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "lora_B" in name:
                weight.zero_()
    line = weight_rules.trained(bench)
    assert (line.passed, line.difference) == (False, 0.0)


class Lenient(Trainer):
    """Takes an empty step for a loss of zero."""

    def step(self, batches: Sequence[Batch]) -> StepResult:
        """Nothing to complain about."""
        return StepResult(0.0, 0.0, 0, 0, 1)


def test_an_empty_batch_that_passes_is_seen(bench: Bench) -> None:
    spoil_trainer(bench, Lenient)
    assert weight_rules.empty(bench).passed is False


@pytest.mark.parametrize("part", ["prompt_ids", "question", "stop_ids"])
def test_served_tokens_that_were_not_trained_are_seen(part: str, made: Bench) -> None:
    task: Any = made.context.task
    right = task.predictor
    members = {
        "prompt_ids": lambda self, prompt, tools=None: [*right.prompt_ids(prompt, tools), 5],
        "question": lambda self, record: replace(
            right.question(record), prompt_ids=right.question(record).prompt_ids[1:]
        ),
        "stop_ids": property(lambda self: [0]),
    }
    wrong = copy(right)
    wrong.__class__ = type("Spoiled", (type(right),), {part: members[part]})
    context = replace(made.context, task=replace(task, predictor=wrong))
    assert_fails(weight_rules.served(Bench(context)), len(made.records))


def test_gradients_that_are_missing_or_no_numbers_are_infinitely_apart() -> None:
    from burnish.selftest.gradient_rules import Gradients

    one = Gradients(1.0, {"a": torch.ones(2), "b": torch.zeros(2)})
    assert one.difference(one) == 0.0
    assert one.difference(Gradients(1.0, {"a": torch.ones(2)})) == float("inf")
    assert one.difference(Gradients(float("nan"), one.by_name)) == float("inf")
    assert one.difference(Gradients(1.0, {**one.by_name, "a": torch.tensor([1.0, float("nan")])})) == float("inf")
    assert one.difference(Gradients(1.5, one.by_name)) == 0.5
    assert one.difference(Gradients(1.0, {**one.by_name, "b": torch.ones(2)})) == pytest.approx(2**0.5)


def test_a_report_says_what_does_not_hold() -> None:
    lines = [RuleLine("a = b", 0.5, 0.1, "ok"), RuleLine("c = d", 0.0, 0.0, "ok"), left_out("e = f", "no e here")]
    report = RuleReport("tiny", "chat", "lora", "cpu", "fp32", 8, lines, 1.0)
    assert report.verdict == "1 of 2 rules of arithmetic do NOT hold here: a = b."
    assert report.exit_code == 1
    assert [line["passed"] for line in report.to_dict()["lines"]] == [False, True, None]
    good = replace(report, lines=lines[1:])
    assert (good.verdict, good.exit_code) == ("All 1 rules of arithmetic hold here (1 not applicable).", 0)
    assert RuleLine("a = b", float("nan"), 0.1, "ok").passed is False


@pytest.mark.parametrize(
    ("gradient", "loss", "holds"), [(1.0, 1.0, True), (0.5, 1.0, False), (1.0, 0.5, False), (float("nan"), 1.0, False)]
)
def test_processes_that_get_other_gradients_are_seen(
    gradient: float, loss: float, holds: bool, made: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In place of the processes: the gradients of the step, of which those of the second process may be off."""

    def run(folder: Path) -> str:
        subject = made.copy(made.recipe)
        found = gradient_rules.gradients_of(subject.trainer, made.pieces(subject))
        for rank, (factor, share) in enumerate([(1.0, 1.0), (gradient, loss)]):
            scaled = {name: factor * one for name, one in found.by_name.items()}
            process_rules.write_gradients(folder / str(rank), gradient_rules.Gradients(share * found.loss, scaled))
        return ""

    monkeypatch.setattr(process_rules, "run_processes", run)
    assert process_rules.together(made).passed is holds


def test_processes_that_end_are_seen_and_too_little_memory_is_named(
    made: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_rules, "run_processes", lambda folder: "one of two processes ended with 1: boo")
    assert_fails(process_rules.together(made), 1.0)
    monkeypatch.setattr(process_rules, "free_memory", lambda limit: 1000)
    line = process_rules.together(made)
    assert line.passed is None
    assert "two more processes need" in line.why
