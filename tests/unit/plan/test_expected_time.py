"""The time of a command, added up from what its trial measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from burnish.plan.known import KnownPace
from burnish.plan.run_plan import RunPlan, plan_run
from burnish.plan.time import MeasuredTime, measured_time, training_seconds
from burnish.prepare.context import RunContext, prepare
from burnish.prepare.resolve import Resolver, resolve_by_steps, total_steps
from tests.tiny_contexts import ignore
from tests.tiny_data import make_recipe, write_rows

NOTHING = KnownPace(1e-12, 0.0, 0.0, 0.0, 0.0, 0, 0, 0.0, False, 512, 1e9)


@dataclass
class Case:
    """A run of several steps."""

    context: RunContext

    def time(self, **amounts: float) -> MeasuredTime:
        """Where only this takes time."""
        return measured_time(replace(NOTHING, **amounts), self.context.batch_plan(self.context.training), self.context)

    @property
    def rest(self) -> MeasuredTime:
        """What takes time however fast the model is."""
        return self.time()


def planned(rows: Path, model: Path, method: str) -> Case:
    recipe = make_recipe(
        rows, model, rows.parent / "runs", method=method, data__context=64, evaluate__answers=3, train__max_steps=6
    )
    plan: RunPlan = plan_run(prepare(recipe, ignore))
    resolver = Resolver(plan.context.recipe, ignore)
    batches = plan.context.batch_plan(plan.context.training)
    resolve_by_steps(resolver, batches.steps_per_epoch, plan.context.training.num_tokens)
    return Case(plan.context.with_recipe(resolver.recipe))


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[[str], Path]) -> Case:
    """LoRA on a tiny llama."""
    return planned(write_rows(tmp_path_factory.mktemp("data") / "rows.jsonl", 60), tiny_model("llama"), "lora")


def test_a_run_that_may_go_on_says_how_long_it_takes_then(case: Case) -> None:
    """Six steps are few: with `train.adapt` the run takes up to three times as many, in a budget that allows it."""
    assert case.time(seconds_per_token=0.5).longest == case.time(seconds_per_token=0.5).run, "`max_steps` is a limit"
    recipe = case.context.recipe
    train = recipe.train.model_copy(update={"adapt": True, "max_steps": None, "epochs": 1})
    free = Case(case.context.with_recipe(recipe.model_copy(update={"train": train})))
    batches = free.context.batch_plan(free.context.training)
    made = free.time(seconds_per_token=0.5, checkpoint=1e9)
    longer = Case(free.context.with_options(train={"epochs": 3, "adapt": False}))
    assert 3 * total_steps(free.context.recipe, batches.steps_per_epoch) == total_steps(
        longer.context.recipe, batches.steps_per_epoch
    )
    assert made.longest == pytest.approx(longer.time(seconds_per_token=0.5, checkpoint=1e9).run)
    assert made.longest > made.run
    unseen = Case(replace(free.context, validation=replace(free.context.validation, examples=[])))
    alone = unseen.time(seconds_per_token=0.5)
    assert alone.longest == alone.run, "without validation rows nothing says whether to go on"


def test_training_counts_every_padded_token(case: Case) -> None:
    batches = case.context.batch_plan(case.context.training)
    steps = total_steps(case.context.recipe, batches.steps_per_epoch)
    tokens = sum(batches.padded_tokens(step) for step in range(steps))
    made = case.time(seconds_per_token=0.5)
    assert made.run - case.rest.run == pytest.approx(0.5 * tokens)
    assert made.step == pytest.approx(0.5 * tokens / steps)
    assert made.tokens_per_second == 2.0
    assert made.evaluation == pytest.approx(case.rest.evaluation)


def test_validations_are_those_of_the_loop_and_both_models(case: Case) -> None:
    context = case.context
    batches = context.batch_plan(context.training)
    held_out = context.batch_plan(context.validation).padded_tokens(None)
    steps, every = total_steps(context.recipe, batches.steps_per_epoch), int(context.recipe.evaluate.every)
    due = 1 + len([step for step in range(1, steps + 1) if step % every == 0 or step == steps])
    known = replace(NOTHING, validation_token=1.0)
    assert training_seconds(known, batches, context) == pytest.approx(due * held_out)
    tested = context.batch_plan(context.test).padded_tokens(None)
    alike = tested + context.num_test_rows * context.training.num_tokens / context.num_training_rows
    others = 0 if context.recipe.evaluate.general == "none" else int(context.recipe.evaluate.general_tokens)
    evaluation = case.time(validation_token=1.0).evaluation - case.rest.evaluation
    assert evaluation == pytest.approx(2 * (alike + others))


def test_the_base_writes_to_the_limit_and_the_tuned_model_as_its_rows(case: Case) -> None:
    context = case.context
    questions = context.final_questions(3)
    answers = [len(context.tokenizer(question.answer).input_ids) for question in questions]
    limit = int(context.recipe.evaluate.max_new_tokens)
    written = case.time(new_token=1.0).evaluation - case.rest.evaluation
    assert written == pytest.approx(limit + min(limit, max(answers) + 1))
    prompts = 3 * max(len(question.prompt_ids) for question in questions)
    assert case.time(prompt_token=1.0).evaluation - case.rest.evaluation == pytest.approx(2 * prompts)


def test_checkpoints_take_the_time_of_their_bytes(case: Case) -> None:
    steps = 6
    saves = len([step for step in range(1, steps + 1) if step % int(case.context.recipe.save.every) == 0 or step == 6])
    assert case.time(checkpoint=5 * 10**8).run - case.rest.run == pytest.approx(saves * 1.0)


def test_only_a_base_that_was_trained_is_loaded_again(
    case: Case, tmp_path: Path, tiny_model: Callable[[str], Path]
) -> None:
    assert case.time(loading=7.0) == case.rest
    full = planned(write_rows(tmp_path / "rows.jsonl", 60), tiny_model("llama"), "full")
    assert full.time(loading=7.0).evaluation - full.rest.evaluation == pytest.approx(7.0)
