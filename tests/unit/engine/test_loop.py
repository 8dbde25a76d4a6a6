"""The loop: what it reports, when it validates and saves, and how it stops."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.data.batching.batches import Batch
from burnish.engine.loop import Loop
from burnish.engine.optimizer import make_optimizer
from burnish.engine.progress import Progress
from burnish.engine.validation import HeldOut
from burnish.errors import BurnishError, Interrupted, MachineError, ModelError
from burnish.metrics.measure import Measure
from burnish.recipe.schema import EvaluateSection, Recipe, SaveSection, TrainSection
from burnish.runs.events import CheckpointSaved, Diagnosed, Event, StepDone, StoppedEarly, TrainingStarted, Validated
from burnish.tasks.defaults import ScorerDefaults
from burnish.tasks.evaluated import BatchOutcome, EvaluatedExamples
from tests.tiny_data import random_examples
from tests.tiny_models import CONTEXT, make_network
from tests.tiny_training import make_trainer, token_plan, with_method

TOTAL = 10


@dataclass
class Listener:
    """A listener that remembers."""

    events: list[Event] = field(default_factory=list)
    react: Callable[[Event], None] = lambda event: None

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self.react(event)

    def of(self, kind: type[Any]) -> list[Any]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]


class ScriptedScorer(ScorerDefaults):
    """The losses of validations follow a script."""

    def __init__(self, losses: list[float]) -> None:
        self._losses = list(losses)

    def measures(self, evaluated: EvaluatedExamples) -> list[Measure]:
        """As the real one."""
        return [evaluated.perplexity()]

    def evaluate_batch(self, network: Any, batch: Batch) -> BatchOutcome:
        """One number of the script for all tokens."""
        return BatchOutcome(torch.full((batch.num_trained,), self._losses.pop(0)), [])


def make_loop(tokenizer: Any, folder: Path, result: Listener, **options: Any) -> Loop:
    """A loop over ten steps that validates every second and saves every fifth."""
    train = TrainSection(**{"learning_rate": 1e-2, "patience": 5, **options.pop("train", {})})
    recipe = Recipe(
        method="lora",
        train=train,
        evaluate=EvaluateSection(every=options.pop("evaluate_every", 2)),
        save=SaveSection(every=options.pop("save_every", 5), keep=options.pop("keep", 1)),
    )
    network = with_method(make_network("llama"), "lora")
    trainer = make_trainer(network, tokenizer, make_optimizer(network, train, {}), train.clip)
    numbers: dict[str, Any] = {"context": CONTEXT, "packing": True, "micro_rows": 2, "seed": 1}
    plan = token_plan(random_examples(20, 4, 30), step_tokens=150, **numbers)
    rows = random_examples(3, 4, 20, seed=5)
    validation = token_plan(rows, step_tokens=1, **numbers).all_batches()
    assert len(validation) == 1
    script = options.pop("losses", None)
    if script is not None:
        trainer.task = replace(trainer.task, scorer=ScriptedScorer(script))
    assert not options
    held_out = HeldOut(validation if script != [] else [], rows, range(len(rows)))
    return Loop(trainer, plan, held_out, recipe, TOTAL, folder, result, Progress())


def saved_steps(folder: Path) -> list[int]:
    """The steps of the checkpoints on disk."""
    return sorted(int(path.name.removeprefix("step-")) for path in folder.iterdir())


def test_reports_every_step_in_order(tiny_tokenizer: Any, tmp_path: Path) -> None:
    result = Listener()
    loop = make_loop(tiny_tokenizer, tmp_path, result)
    progress = loop.run()
    assert isinstance(result.events[0], TrainingStarted)
    assert (result.events[0].step, result.events[0].total_steps) == (0, TOTAL)
    assert result.events[0].epochs == pytest.approx(TOTAL / loop.source.steps_per_epoch)
    steps = result.of(StepDone)
    assert [event.step for event in steps] == list(range(1, TOTAL + 1))
    assert {event.total_steps for event in steps} == {TOTAL}
    first_batches = loop.source.step_batches(0)
    assert steps[0].tokens == sum(batch.num_tokens for batch in first_batches)
    assert steps[0].trained_tokens == sum(batch.num_trained for batch in first_batches)
    assert steps[-1].epoch == pytest.approx(TOTAL / loop.source.steps_per_epoch)
    assert progress.step == TOTAL
    assert progress.seconds >= sum(event.seconds for event in steps) > 0


def test_validates_the_base_then_at_its_rhythm_and_at_the_end(tiny_tokenizer: Any, tmp_path: Path) -> None:
    result = Listener()
    make_loop(tiny_tokenizer, tmp_path, result, evaluate_every=4).run()
    assert [event.step for event in result.of(Validated)] == [0, 4, 8, 10]
    for event in result.of(Validated):
        assert event.figures == {"perplexity": pytest.approx(math.exp(event.loss))}


def test_saves_at_its_rhythm_at_every_best_and_at_the_end(tiny_tokenizer: Any, tmp_path: Path) -> None:
    result = Listener()
    losses = [3.0, 2.0, 2.5, 1.0, 1.5, 1.5]
    progress = make_loop(tiny_tokenizer, tmp_path, result, losses=losses).run()
    assert [event.is_best for event in result.of(Validated)] == [False, True, False, True, False, False]
    assert [event.step for event in result.of(CheckpointSaved)] == [2, 5, 6, 10]
    assert progress.best_step == 6
    assert saved_steps(tmp_path) == [6, 10]
    saved = result.of(CheckpointSaved)[-1]
    assert (saved.path, saved.bytes) == (
        "step-000010",
        sum(file.stat().st_size for file in (tmp_path / "step-000010").iterdir()),
    )


def test_stops_early_when_patience_is_at_its_end(tiny_tokenizer: Any, tmp_path: Path) -> None:
    result = Listener()
    losses = [3.0, 2.0, 2.5, 2.2]
    progress = make_loop(tiny_tokenizer, tmp_path, result, losses=losses, train={"patience": 2}).run()
    assert progress.stopped
    assert (progress.step, progress.best_step) == (6, 2)
    (stopped,) = result.of(StoppedEarly)
    assert stopped.step == 6
    assert stopped.reason == "the validation loss has been worse than at step 2 for 2 validations; step 2 is kept"
    assert saved_steps(tmp_path) == [2, 6], "the state of the end is saved, so that resuming does not train on"


def test_a_better_validation_begins_the_count_again(tiny_tokenizer: Any, tmp_path: Path) -> None:
    result = Listener()
    losses = [3.0, 2.0, 2.5, 1.9, 2.0, 2.0]
    progress = make_loop(tiny_tokenizer, tmp_path, result, losses=losses, train={"patience": 2}).run()
    assert progress.step == TOTAL
    assert result.of(StoppedEarly) == [], "patience ran out with the last step: that is no early end"
    assert not progress.stopped


def test_early_stopping_can_be_turned_off(tiny_tokenizer: Any, tmp_path: Path) -> None:
    result = Listener()
    losses = [3.0, 2.0, 2.5, 2.5, 2.5, 2.5]
    progress = make_loop(
        tiny_tokenizer, tmp_path, result, losses=losses, train={"early_stopping": False, "patience": 2}
    ).run()
    assert (progress.step, progress.stopped) == (TOTAL, False)


def test_without_held_out_rows_the_last_checkpoint_is_kept(tiny_tokenizer: Any, tmp_path: Path) -> None:
    result = Listener()
    progress = make_loop(tiny_tokenizer, tmp_path, result, losses=[]).run()
    assert result.of(Validated) == []
    assert progress.best_step is None
    assert saved_steps(tmp_path) == [TOTAL]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_last_whole_step_and_interrupts(number: int, tiny_tokenizer: Any, tmp_path: Path) -> None:
    def react(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == 3:
            os.kill(os.getpid(), number)

    result = Listener(react=react)
    loop = make_loop(tiny_tokenizer, tmp_path, result, evaluate_every=5)
    with pytest.raises(Interrupted, match="stopped after step 3 of 10; the state is saved") as caught:
        loop.run()
    assert caught.value.exit_code == 130
    assert saved_steps(tmp_path) == [3]
    assert result.of(StepDone)[-1].step == 3


def test_a_signal_in_the_last_step_is_too_late_to_matter(tiny_tokenizer: Any, tmp_path: Path) -> None:
    def react(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == TOTAL:
            os.kill(os.getpid(), signal.SIGTERM)

    assert make_loop(tiny_tokenizer, tmp_path, Listener(react=react)).run().step == TOTAL


def test_a_loss_that_is_not_finite_before_any_training_is_a_fault_of_the_model(
    tiny_tokenizer: Any, tmp_path: Path
) -> None:
    loop = make_loop(tiny_tokenizer, tmp_path, Listener())
    with torch.no_grad():
        loop.trainer.network.get_input_embeddings().weight.fill_(math.nan)
    with pytest.raises(ModelError) as caught:
        loop.run()
    assert caught.value.what == "the loss of the base model is nan, before any training"
    assert caught.value.exit_code == 2


def test_a_loss_that_is_not_finite_names_step_and_rows_and_keeps_the_last_checkpoint(
    tiny_tokenizer: Any, tmp_path: Path
) -> None:
    def react(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == 6:
            with torch.no_grad():
                loop.trainer.network.get_input_embeddings().weight.fill_(math.nan)

    result = Listener(react=react)
    loop = make_loop(tiny_tokenizer, tmp_path, result, evaluate_every=5)
    with pytest.raises(BurnishError, match="the loss became nan") as caught:
        loop.run()
    assert "at step 7" in caught.value.what
    places = [loop.source.examples[i].place for batch in loop.source.step_batches(6) for i in batch.examples]
    assert len(places) > 5
    assert f"{', '.join(places[:5])} and {len(places) - 5} more" in caught.value.why
    assert "No weight was changed" in caught.value.why
    assert "train.learning_rate" in caught.value.fix
    assert "0.01" in caught.value.fix
    assert caught.value.exit_code == 1
    assert saved_steps(tmp_path) == [5]
    assert len(result.of(StepDone)) == 6
    assert [(one.name, "at step 7" in one.evidence) for one in result.of(Diagnosed)][-1] == ("diverging", True)


@pytest.mark.parametrize(
    ("failing", "newest"), [(1, "There is no checkpoint yet."), (7, "The checkpoint `step-000005` is complete.")]
)
def test_memory_that_runs_out_in_an_update_names_the_step_and_the_newest_checkpoint(
    failing: int, newest: str, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    result = Listener()
    loop = make_loop(tiny_tokenizer, tmp_path, result, losses=[])
    whole, calls = loop.trainer.optimizer.step, iter(range(1, TOTAL + 1))

    def update(*given: Any, **options: Any) -> Any:
        if next(calls) == failing:
            raise MemoryError
        return whole(*given, **options)

    loop.trainer.optimizer.step = update  # type: ignore[method-assign]
    with pytest.raises(MachineError, match=f"in step {failing}$") as caught:
        loop.run()
    assert caught.value.why.endswith(newest)
    assert f"burnish resume {tmp_path.parent}" in caught.value.fix
    assert len(result.of(StepDone)) == failing - 1


def test_goes_on_from_where_progress_stands(tiny_tokenizer: Any, tmp_path: Path) -> None:
    result = Listener()
    loop = make_loop(tiny_tokenizer, tmp_path, result)
    loop.progress = Progress(step=7, validations=[(0, 9.0), (2, 8.0)], best_step=2)
    loop.run()
    assert result.events[0] == TrainingStarted(7, TOTAL, TOTAL / loop.source.steps_per_epoch, loop.source.micro_tokens)
    assert [event.step for event in result.of(StepDone)] == [8, 9, 10]
    assert [event.step for event in result.of(Validated)] == [8, 10], "the base is not evaluated again"


def test_a_run_that_had_stopped_early_does_not_train_on(tiny_tokenizer: Any, tmp_path: Path) -> None:
    result = Listener()
    loop = make_loop(tiny_tokenizer, tmp_path, result)
    loop.progress = Progress(step=6, stopped=True, best_step=2, validations=[(2, 1.0)])
    assert loop.run().step == 6
    assert result.of(StepDone) == result.of(Validated) == []


def test_the_time_left_falls_with_the_tokens_to_come(tiny_tokenizer: Any, tmp_path: Path) -> None:
    """It is what the loop's pace says; of the last step only its validation and its checkpoint are left."""
    result = Listener()
    loop = make_loop(tiny_tokenizer, tmp_path, result)
    loop.run()
    steps = result.of(StepDone)
    assert all(event.seconds_left > 0 for event in steps)
    rest = loop.pace.seconds_left(TOTAL - 1) - loop.pace.seconds_left(TOTAL)
    rates = [event.seconds for event in steps[1:]]
    share = loop.source.padded_tokens(TOTAL - 1) / sum(loop.source.padded_tokens(step) for step in range(1, TOTAL))
    assert rest == pytest.approx(share * sum(rates), rel=1e-6)
    assert steps[-1].seconds_left < max(event.seconds for event in result.of(Validated)) + steps[0].seconds_left
    assert steps[2].seconds_left > sum(rates[:1])


class NotPlanned:
    """The batches of a plan, each known only when it is asked for; fails where one is asked for too early."""

    is_planned = False

    def __init__(self, plan: Any, first: int = 0) -> None:
        self._plan, self._known = plan, first - 1
        self.examples, self.steps_per_epoch = plan.examples, plan.steps_per_epoch

    @property
    def micro_tokens(self) -> int:
        """Those of the plan beneath."""
        return self._plan.micro_tokens

    def step_batches(self, step: int) -> list[Any]:
        """Of the next step only."""
        assert step <= self._known + 1
        self._known = step
        return self._plan.step_batches(step)

    def padded_tokens(self, step: int) -> int:
        """Nobody can know."""
        raise AssertionError("asked for the tokens of a step that is not planned")

    def micro_batch_sizes(self, step: int) -> list[tuple[int, int]]:
        """Of a step that was made."""
        assert step <= self._known
        return self._plan.micro_batch_sizes(step)

    def halve_micro_batch(self, step: int) -> bool:
        """As the plan."""
        return self._plan.halve_micro_batch(step)


def test_the_loop_needs_no_batch_before_its_step(tiny_tokenizer: Any, tmp_path: Path) -> None:
    planned, result = Listener(), Listener()
    make_loop(tiny_tokenizer, tmp_path / "planned", planned).run()
    loop = make_loop(tiny_tokenizer, tmp_path / "not", result)
    loop.source = NotPlanned(loop.source)
    loop.run()
    assert [event.loss for event in result.of(StepDone)] == [event.loss for event in planned.of(StepDone)]
    assert all(math.isfinite(event.seconds_left or 0.0) for event in result.of(StepDone))
