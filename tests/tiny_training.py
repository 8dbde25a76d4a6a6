"""Engine parts set up for comparing gradients and losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from burnish.data.batching.batches import Batch, BatchPlan, collate_tokens
from burnish.data.rows.row import Example
from burnish.engine.loop import Loop
from burnish.engine.optimizer import make_optimizer
from burnish.engine.progress import Progress
from burnish.engine.step import StepResult, Trainer
from burnish.engine.validation import HeldOut
from burnish.methods import make_method
from burnish.models.heads import Target
from burnish.recipe.schema import LoraSection, Recipe
from burnish.runs.events import Event, StepDone
from burnish.tasks import make_task


class KeepGradients(torch.optim.Optimizer):
    """Moves nothing and remembers every gradient it is given, by name."""

    def __init__(self, network: Any) -> None:
        self._named = {name: p for name, p in network.named_parameters() if p.requires_grad}
        self.kept: dict[str, torch.Tensor] = {}
        super().__init__(list(self._named.values()), {})

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Remembers."""
        self.kept = {name: p.grad.clone() for name, p in self._named.items() if p.grad is not None}


def token_plan(examples: Sequence[Example], pad_id: int = 0, **options: Any) -> BatchPlan:
    """A batch plan of next-token examples."""

    def collate(chosen: Sequence[Any], rows: Sequence[Sequence[int]], packed: bool, epoch: int | None) -> Batch:
        return collate_tokens(chosen, rows, pad_id, packed)

    return BatchPlan(examples, collate=collate, **options)


def make_trainer(network: Any, tokenizer: Any, optimizer: torch.optim.Optimizer, clip: float = 0.0) -> Trainer:
    """A trainer on the CPU in fp32."""
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    task = make_task("chat", tokenizer, Recipe())
    return Trainer(network, task, optimizer, torch.device("cpu"), "fp32", clip, scaler)


def gradients_of(network: Any, tokenizer: Any, batches: Sequence[Batch]) -> tuple[StepResult, dict[str, torch.Tensor]]:
    """Loss and gradients of one optimizer step that moves nothing."""
    keeper = KeepGradients(network)
    result = make_trainer(network, tokenizer, keeper).step(batches)
    return result, keeper.kept


def with_method(network: Any, method: str, seed: int = 0, dropout: float = 0.0) -> Any:
    """The network under a method. Adapters begin at random values: at zero, half their gradients would vanish."""
    recipe = Recipe(method=method, lora=LoraSection(rank=4, dropout=dropout))
    torch.manual_seed(seed)
    network = make_method(method).apply(network, recipe, Target())
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    return network


def largest_difference(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    """The largest relative difference among tensors of the same names: max |a - b| / max |a| of each tensor."""
    assert first.keys() == second.keys()
    assert first
    return max(relative_difference(first[name], second[name]) for name in first)


def relative_difference(first: torch.Tensor, second: torch.Tensor) -> float:
    """max |a - b| / max |a|."""
    return ((first - second).abs().max() / first.abs().max()).item()


def run_loop(network: Any, tokenizer: Any, plan: BatchPlan, recipe: Recipe, checkpoints: Path) -> list[StepDone]:
    """Trains `recipe.train.max_steps` steps with the engine's own loop; returns what it reported of each step."""
    events: list[Event] = []
    trainer = make_trainer(network, tokenizer, make_optimizer(network, recipe.train, {}), recipe.train.clip)
    steps = recipe.train.max_steps or plan.steps_per_epoch
    rhythm = {
        "evaluate": recipe.evaluate.model_copy(update={"every": steps}),
        "save": recipe.save.model_copy(update={"every": steps}),
    }
    checkpoints.mkdir(parents=True, exist_ok=True)
    held_out = HeldOut([], [], [])
    loop = Loop(
        trainer, plan, held_out, recipe.model_copy(update=rhythm), steps, checkpoints, events.append, Progress()
    )
    loop.run()
    return [event for event in events if isinstance(event, StepDone)]


def without_borders(batch: Batch) -> Batch:
    """The same tokens, with nothing that separates one packed example from the next."""
    return replace(batch, inputs={"input_ids": batch.input_ids})
