"""A step that runs out of memory is done again in smaller pieces, with the same arithmetic."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.engine.checkpoint import is_complete, newest_complete, restore_checkpoint
from burnish.engine.loop import Loop
from burnish.engine.optimizer import make_optimizer
from burnish.engine.progress import Progress
from burnish.engine.validation import HeldOut
from burnish.errors import Interrupted, MachineError
from burnish.recipe.schema import EvaluateSection, Recipe, SaveSection, TrainSection
from burnish.runs.events import Event, MicroBatchHalved, StepDone, Validated
from tests.little_memory import LittleMemory, refusing
from tests.tiny_data import random_examples
from tests.tiny_models import CONTEXT, make_network
from tests.tiny_training import make_trainer, token_plan, with_method

TOTAL = 6
ROWS = 16
"""Rows of the context length in a micro-batch, before any is halved."""


@dataclass
class Made:
    """A loop and what it reported."""

    loop: Loop
    events: list[Event]

    def of(self, kind: type[Any]) -> list[Any]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def losses(self) -> list[float]:
        """Of each step."""
        return [event.loss for event in self.of(StepDone)]

    @property
    def exact(self) -> list[tuple[Any, ...]]:
        """What must be the same to the last bit."""
        steps = [(event.step, event.loss, event.gradient_norm) for event in self.of(StepDone)]
        return steps + [(event.step, event.loss, event.is_best) for event in self.of(Validated)]

    def weights(self) -> dict[str, torch.Tensor]:
        """Every weight of the network."""
        return {name: weight.detach().clone() for name, weight in self.loop.trainer.network.named_parameters()}


def make(tokenizer: Any, folder: Path, method: str = "lora", react: Any = None, **options: Any) -> Made:
    """A loop of six steps, each of one micro-batch of about 380 tokens, padded rows."""
    dropout = options.pop("dropout", 0.0)
    train = TrainSection(learning_rate=5e-3, early_stopping=False)
    recipe = Recipe(
        method=method,
        train=train,
        data=Recipe().data.model_copy(update={"context": CONTEXT}),
        evaluate=EvaluateSection(every=options.pop("evaluate_every", 4)),
        save=SaveSection(every=options.pop("save_every", 100), keep=9),
    )
    network = with_method(make_network("llama"), method, dropout=dropout)
    trainer = make_trainer(network, tokenizer, make_optimizer(network, train, {}), train.clip)
    shared: dict[str, Any] = {"context": CONTEXT, "packing": False, "micro_rows": ROWS, "seed": 1}
    plan = token_plan(random_examples(40, 20, CONTEXT), step_tokens=380, **shared)
    held_out = token_plan(random_examples(8, 20, CONTEXT, seed=5), step_tokens=1, **shared)
    assert not options
    events: list[Event] = []

    def tell(event: Event) -> None:
        events.append(event)
        if react is not None:
            react(event)

    torch.manual_seed(11)
    folder.mkdir(exist_ok=True)
    loop = Loop(trainer, plan, HeldOut.of(held_out, range(8)), recipe, TOTAL, folder, tell, Progress())
    return Made(loop, events)


def run(made: Made) -> Made:
    """To the end."""
    made.loop.run()
    return made


def stop_at(step: int) -> Callable[[Event], None]:
    """Sends this process SIGTERM when a step is done."""

    def react(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return react


@pytest.mark.parametrize(
    ("method", "share", "halvings"),
    [
        ("lora", 0.32, 2),
        ("full", 0.8, 1),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in [("lora", 0.8, 1), ("full", 0.32, 2)]),
    ],
)
def test_a_device_with_less_memory_gives_the_same_loss_curve(
    method: str, share: float, halvings: int, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    """The limit lies below the peak of undisturbed steps, above what moments and gradients need."""
    with LittleMemory(float("inf")) as free:
        undisturbed = run(make(tiny_tokenizer, tmp_path / "free", method))
    with LittleMemory(share * free.peak) as little:
        survived = run(make(tiny_tokenizer, tmp_path / "little", method))
    assert little.refused >= halvings
    assert little.peak > little.limit
    result = [event for event in survived.of(MicroBatchHalved) if not event.held_out]
    assert len(result) >= halvings
    assert undisturbed.of(MicroBatchHalved) == []
    for event in result:
        assert event.tokens_after == event.tokens_before // 2
        assert event.batches_after > event.batches_before
    assert [event.step for event in survived.of(StepDone)] == list(range(1, TOTAL + 1))
    assert survived.losses == pytest.approx(undisturbed.losses, rel=1e-6)
    assert survived.losses[-1] < survived.losses[0]
    evaluated = [[event.loss for event in made.of(Validated)] for made in (survived, undisturbed)]
    assert evaluated[0] == pytest.approx(evaluated[1], rel=1e-6)
    tokens = [[(event.tokens, event.trained_tokens) for event in made.of(StepDone)] for made in (survived, undisturbed)]
    assert tokens[0] == tokens[1]


def test_nothing_of_a_failed_attempt_is_kept_alive(tiny_tokenizer: Any, tmp_path: Path) -> None:
    """What lives when the loop ends is the moments and nothing else, as without a failure."""
    ends = []
    for share in (None, 0.6):
        limit = float("inf") if share is None else share * ends[0][1]
        made = make(tiny_tokenizer, tmp_path / str(share))
        with LittleMemory(limit) as memory:
            made.loop.run()
            ends.append((memory.live, memory.peak, memory.refused))
    assert ends[1][2] > 0
    assert ends[1][0] == ends[0][0]


def test_a_failed_attempt_leaves_no_trace(tiny_tokenizer: Any, tmp_path: Path) -> None:
    """With dropout: to the last bit as if the micro-batches had been smaller when the step began."""
    made = make(tiny_tokenizer, tmp_path / "failed", dropout=0.3)
    made.loop.source.micro_tokens = 256
    calls: list[int] = []

    def refuses(tokens: int) -> bool:
        if training(made) and made.loop.progress.step == 5:
            calls.append(tokens)
            return len(calls) == 2
        return False

    with refusing(made.loop.trainer.network, refuses) as refused:
        made.loop.run()
    assert len(refused) == 1
    (halved,) = made.of(MicroBatchHalved)
    assert (halved.step, halved.held_out) == (6, False)
    assert halved.batches_before >= 2, "the first had left its gradient"

    def shrink(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == 5:
            other.loop.source.micro_tokens = halved.tokens_after

    other = make(tiny_tokenizer, tmp_path / "smaller", dropout=0.3, react=shrink)
    other.loop.source.micro_tokens = 256
    other.loop.run()
    assert made.exact == other.exact
    assert same(made.weights(), other.weights())


def training(made: Made) -> bool:
    """Whether the loop is in a step, and not looking at held-out rows."""
    return made.loop.trainer.network.training


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """To the last bit."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    "stop",
    [
        pytest.param(2, marks=pytest.mark.slow),
        4,
        pytest.param(5, marks=pytest.mark.slow),
        pytest.param(3, marks=pytest.mark.slow),
    ],
)
def test_a_resumed_run_keeps_the_smaller_micro_batches(stop: int, tiny_tokenizer: Any, tmp_path: Path) -> None:
    """Halved in step 2, in training and in evaluating; stopped later, and resumed on a device where all would fit."""
    straight = make(tiny_tokenizer, tmp_path / "straight", dropout=0.3, evaluate_every=2)
    with refusing(straight.loop.trainer.network, lambda tokens: straight.loop.progress.step > 0 and tokens > 200):
        straight.loop.run()
    assert {event.held_out for event in straight.of(MicroBatchHalved)} == {False, True}
    stopped = make(tiny_tokenizer, tmp_path / "stopped", dropout=0.3, evaluate_every=2, react=stop_at(stop))
    network = stopped.loop.trainer.network
    with (
        refusing(network, lambda tokens: stopped.loop.progress.step > 0 and tokens > 200),
        pytest.raises(Interrupted),
    ):
        stopped.loop.run()
    resumed = make(tiny_tokenizer, tmp_path / "stopped", dropout=0.3, evaluate_every=2)
    checkpoint = newest_complete(tmp_path / "stopped")
    assert checkpoint is not None
    resumed.loop.progress = restore_checkpoint(checkpoint, resumed.loop.trainer)
    assert resumed.loop.progress.step == stop
    assert resumed.loop.progress.micro_tokens == straight.loop.progress.micro_tokens
    resumed.loop.run()
    assert resumed.of(MicroBatchHalved) == []
    assert sorted(stopped.exact + resumed.exact) == sorted(straight.exact)
    assert same(resumed.weights(), straight.weights())


def test_a_row_that_does_not_fit_ends_the_run_with_its_last_step_saved(tiny_tokenizer: Any, tmp_path: Path) -> None:
    made = make(tiny_tokenizer, tmp_path, evaluate_every=100)
    made.loop.held_out = HeldOut([], [], [])
    before: dict[str, torch.Tensor] = {}

    def refuses(tokens: int) -> bool:
        if made.loop.progress.step == 3:
            before.update(before or made.weights())
        return made.loop.progress.step == 3

    with refusing(made.loop.trainer.network, refuses) as refused, pytest.raises(MachineError) as caught:
        made.loop.run()
    longest = max(width for _, width in made.loop.source.micro_batch_sizes(3))
    assert refused[-1] <= longest < refused[0]
    assert caught.value.exit_code == 3
    assert f"one training row of {longest} tokens" in caught.value.what
    assert "after step 3 " in caught.value.why
    assert "`step-000003`" in caught.value.why
    for word in ("`data.context` (now 64)", "gradient_checkpointing=true", "--method qlora", "burnish resume"):
        assert word in caught.value.fix
    assert is_complete(tmp_path / "step-000003")
    assert same(made.weights(), before), "no weight has moved"
    halved = made.of(MicroBatchHalved)
    assert [event.step for event in halved] == [4] * len(halved)
    assert halved[-1].batches_after == made.loop.source.rows_per_step

    straight = run(make(tiny_tokenizer, tmp_path / "straight", evaluate_every=100))
    resumed = make(tiny_tokenizer, tmp_path, evaluate_every=100)
    resumed.loop.progress = restore_checkpoint(tmp_path / "step-000003", resumed.loop.trainer)
    resumed.loop.run()
    assert made.losses + resumed.losses == pytest.approx(straight.losses, rel=1e-6)


def test_a_first_step_that_does_not_fit_saves_nothing_and_says_so(tiny_tokenizer: Any, tmp_path: Path) -> None:
    made = make(tiny_tokenizer, tmp_path)
    made.loop.held_out = HeldOut([], [], [])
    with refusing(made.loop.trainer.network, lambda tokens: True), pytest.raises(MachineError) as caught:
        made.loop.run()
    assert "No step has been saved yet." in caught.value.why
    assert "burnish resume" not in caught.value.fix
    assert list(tmp_path.iterdir()) == []


def test_held_out_rows_are_evaluated_in_smaller_batches(tiny_tokenizer: Any, tmp_path: Path) -> None:
    undisturbed = run(make(tiny_tokenizer, tmp_path / "free"))
    made = make(tiny_tokenizer, tmp_path / "little")
    with refusing(made.loop.trainer.network, lambda tokens: not training(made) and tokens > 130):
        made.loop.run()
    (halved,) = made.of(MicroBatchHalved)
    assert (halved.step, halved.held_out, halved.batches_before) == (0, True, 1)
    assert halved.tokens_after <= 130 < halved.tokens_before
    assert made.loop.progress.held_out_tokens == halved.tokens_after
    assert made.loop.progress.micro_tokens is None
    assert made.losses == undisturbed.losses, "training is not touched"
    for one, other in zip(made.of(Validated), undisturbed.of(Validated), strict=True):
        assert (one.step, one.is_best) == (other.step, other.is_best)
        assert one.loss == pytest.approx(other.loss, rel=1e-6)


def test_a_held_out_row_that_does_not_fit(tiny_tokenizer: Any, tmp_path: Path) -> None:
    """The step before is saved; the validation that it still lacks is made up for when the run goes on."""
    straight = run(make(tiny_tokenizer, tmp_path / "straight"))
    made = make(tiny_tokenizer, tmp_path / "made")
    with (
        refusing(made.loop.trainer.network, lambda tokens: not training(made) and made.loop.progress.step == 4),
        pytest.raises(MachineError, match="one held-out row of") as caught,
    ):
        made.loop.run()
    assert caught.value.exit_code == 3
    assert "gradient_checkpointing" not in caught.value.fix
    assert is_complete(tmp_path / "made" / "step-000004")
    resumed = make(tiny_tokenizer, tmp_path / "made")
    resumed.loop.progress = restore_checkpoint(tmp_path / "made" / "step-000004", resumed.loop.trainer)
    resumed.loop.run()
    evaluated = [[(event.step, event.is_best) for event in one.of(Validated)] for one in (made, resumed, straight)]
    assert evaluated[0] + evaluated[1] == evaluated[2]
    assert made.losses + resumed.losses == straight.losses


def test_moments_that_do_not_fit_stop_no_half_moved_weights(tiny_tokenizer: Any, tmp_path: Path) -> None:
    """They are asked for before any weight moves, so the step can be tried again, and is."""
    made = make(tiny_tokenizer, tmp_path, "full")
    seen: list[dict[str, torch.Tensor]] = [made.weights()]
    asked = iter([False, False, False, True])

    class Refusing(LittleMemory):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.ops.aten.zeros_like.default and next(asked, False):
                seen.append({name: weight.detach().clone() for name, weight in weights.items()})
                raise torch.OutOfMemoryError("no room for moments")
            return func(*args, **(kwargs or {}))

    weights = dict(made.loop.trainer.network.named_parameters())
    with Refusing(float("inf")):
        made.loop.run()
    assert len(seen) == 2
    assert same(seen[0], seen[1])
    assert len(made.of(MicroBatchHalved)) == 1
    assert made.losses == pytest.approx(run(make(tiny_tokenizer, tmp_path / "free", "full")).losses, rel=1e-6)


def test_weights_that_may_have_moved_are_not_moved_again(tiny_tokenizer: Any, tmp_path: Path) -> None:
    made = make(tiny_tokenizer, tmp_path, save_every=2)
    moved = []

    class Refusing(LittleMemory):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            if func is torch.ops.aten._fused_adamw_.default:
                moved.append(made.loop.progress.step)
                if made.loop.progress.step == 3:
                    raise torch.OutOfMemoryError("in the middle of a move")
            return result

    with Refusing(float("inf")), pytest.raises(MachineError) as caught:
        made.loop.run()
    assert moved == [0, 1, 2, 3]
    assert caught.value.exit_code == 3
    assert "in step 4" in caught.value.what
    assert "`step-000002`" in caught.value.why
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000002"], "the broken state is not saved"


def test_the_loss_scale_goes_through_a_failed_attempt(tiny_tokenizer: Any, tmp_path: Path) -> None:
    """Memory runs out after the gradient is unscaled: done again, it is unscaled once, and by the same scale."""
    undisturbed, made = (make(tiny_tokenizer, tmp_path / name) for name in ("free", "little"))
    for one in (undisturbed, made):
        one.loop.trainer.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3)
    asked = iter([False, False, True])

    class Refusing(LittleMemory):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.ops.aten._foreach_norm.Scalar and next(asked, False):
                raise torch.OutOfMemoryError("while clipping")
            return func(*args, **(kwargs or {}))

    undisturbed.loop.run()
    with Refusing(float("inf")):
        made.loop.run()
    assert len(made.of(MicroBatchHalved)) == 1
    assert made.losses == pytest.approx(undisturbed.losses, rel=1e-6)
    assert made.loop.trainer.scaler.state_dict() == undisturbed.loop.trainer.scaler.state_dict()


def test_other_errors_go_through(tiny_tokenizer: Any, tmp_path: Path) -> None:
    made = make(tiny_tokenizer, tmp_path)

    def fail(*_: Any) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    made.loop.trainer.network.get_base_model().model.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="shapes cannot"):
        made.loop.run()
    assert made.of(MicroBatchHalved) == []
