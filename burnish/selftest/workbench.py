"""The networks and batches that the rules are measured on, and the lines of their report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import torch

from burnish.data.batching.batches import Batch, BatchPlan
from burnish.engine.checkpoint import trained_weights
from burnish.engine.optimizer import set_learning_rate
from burnish.engine.random_state import seed_everything
from burnish.engine.step import Trainer, make_trainable, make_trainer
from burnish.errors import BurnishError
from burnish.methods.method import Method
from burnish.models.device import arithmetic
from burnish.prepare.context import RunContext
from burnish.prepare.encode import Encoded
from burnish.prepare.model import load_from
from burnish.recipe.schema import Recipe
from burnish.tasks import make_task


@dataclass(frozen=True, slots=True)
class RuleLine:
    """One rule, measured."""

    rule: str
    difference: float | None
    """None if the rule does not apply and nothing was measured."""
    tolerance: float
    why: str
    """What was compared and where the tolerance comes from; or why the rule was skipped."""
    is_least: bool = False
    """Whether the difference must be larger than the tolerance, instead of at most as large."""

    @property
    def passed(self) -> bool | None:
        """None if nothing was measured. A difference that is not a number never passes."""
        if self.difference is None:
            return None
        return self.difference > self.tolerance if self.is_least else self.difference <= self.tolerance


def left_out(rule: str, why: str) -> RuleLine:
    """A rule that does not apply."""
    return RuleLine(rule, None, 0.0, why)


@dataclass(frozen=True, slots=True)
class RuleReport:
    """The rules of arithmetic, measured on one model, task and machine."""

    model: str
    task: str
    method: str
    device: str
    precision: str
    rows: int
    """Number of examples."""
    lines: Sequence[RuleLine]
    seconds: float

    @property
    def failed(self) -> list[RuleLine]:
        """The rules that do not hold."""
        return [line for line in self.lines if line.passed is False]

    @property
    def verdict(self) -> str:
        """The outcome in a sentence."""
        measured = sum(line.passed is not None for line in self.lines)
        if self.failed:
            named = "; ".join(line.rule for line in self.failed)
            return f"{len(self.failed)} of {measured} rules of arithmetic do NOT hold here: {named}."
        omitted = len(self.lines) - measured
        more = f" ({omitted} not applicable)" if omitted else ""
        return f"All {measured} rules of arithmetic hold here{more}."

    @property
    def exit_code(self) -> int:
        """0 if all rules hold."""
        return BurnishError.exit_code if self.failed else 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        lines = [{**asdict(line), "passed": line.passed} for line in self.lines]
        return {**asdict(self), "lines": lines, "passed": not self.failed, "verdict": self.verdict}


_EXAMPLES = 8
_STEPS = 4
_RATE_FACTOR = 5.0
"""Steps, and factor on the learning rate, after which the effect of an adapter is large compared with rounding."""
_LARGEST_RATE = 0.01
"""Of these steps. Tiny models are trained with up to 0.03; five times as much leaves networks whose gradients nearly
vanish, so that two ways of computing them differ by rounding alone, by 1e-4 to 0.1 instead of 1e-7."""
_MICRO_BATCH = 3
"""Examples of a micro-batch, if all were as long as the longest."""
_NO_LIMIT = 1 << 30


@dataclass(slots=True)
class Subject:
    """A trainable network with its trainer."""

    trainer: Trainer
    method: Method

    @property
    def network(self) -> Any:
        """The trainable network."""
        return self.trainer.network

    @torch.no_grad()
    def outputs(self, batch: Batch) -> torch.Tensor:
        """`[values]` fp32, on the CPU: all outputs of the network for a batch, in evaluation mode."""
        moved = batch.to(self.trainer.device)
        inputs = {name: value for name, value in moved.inputs.items() if name != "position_ids"}
        if self.network.config.is_encoder_decoder:
            inputs["decoder_input_ids"] = moved.input_ids
        self.network.eval()
        with arithmetic(self.trainer.device, self.trainer.precision):
            output = self.network(**inputs)
        found = [value for value in output.values() if isinstance(value, torch.Tensor) and value.is_floating_point()]
        return torch.cat([value.float().flatten().cpu() for value in found])


class Bench:
    """Builds networks and batches.

    Args:
        context: of a run, resolved and encoded; the rules are measured on its training rows.
    """

    def __init__(self, context: RunContext) -> None:
        self.context = context.with_recipe(_deterministic(context.recipe))
        self.recipe = self.context.recipe
        self.examples = _spread(context.training.examples, _EXAMPLES)
        self._prepared = False

    @property
    def records(self) -> Sequence[Any]:
        """The training records, then those of validation and test."""
        records = self.context.records
        return [*records.train, *records.valid, *records.test]

    def fresh(self, recipe: Recipe | None = None) -> Subject:
        """A new subject: the base model with the method applied.

        Args:
            recipe: instead of the bench's own.
        """
        recipe, tokenizer = recipe or self.recipe, self.context.tokenizer
        method, task = self.context.method, make_task(self.context.task.name, tokenizer, recipe)
        if not method.can_pack:
            task.encoder.disable_packing()
        base = load_from(self.context.location, replace(self.context, task=task, recipe=recipe))
        task.objective.inspect_model(base.network)
        if not self._prepared:
            batches = self._plan(task, False, 1).each_batch()
            self.examples = task.objective.prepare_examples(
                base.network, self.examples, batches, recipe.model.precision
            )
            self._prepared = True
        network = make_trainable(base.network, task.objective, method, recipe, tokenizer, base.new_modules)
        return Subject(make_trainer(network, task, method, recipe, self.context.device, base.new_modules), method)

    @cached_property
    def subject(self) -> Subject:
        """A network after a few steps of training."""
        subject = self.fresh()
        seed_everything(self.recipe.seed)
        rate = min(_LARGEST_RATE, _RATE_FACTOR * float(self.recipe.train.learning_rate))
        for _ in range(_STEPS):
            set_learning_rate(subject.trainer.optimizer, rate)
            subject.trainer.step(self.alone(subject))
        return subject

    def copy(self, recipe: Recipe) -> Subject:
        """A network with the weights of `subject`, but another recipe."""
        weights = trained_weights(self.subject.network)
        copied = self.fresh(recipe)
        with torch.no_grad():
            for name, weight in trained_weights(copied.network).items():
                weight.copy_(weights[name])
        return copied

    def alone(self, subject: Subject) -> list[Batch]:
        """One batch per example."""
        return self._plan(subject.trainer.task, False, 1).step_batches(0)

    def padded(self, subject: Subject) -> list[Batch]:
        """All examples in one batch, one per row."""
        return self._plan(subject.trainer.task, False, _NO_LIMIT).step_batches(0)

    def pieces(self, subject: Subject) -> list[Batch]:
        """All examples in small micro-batches; the last one has fewer trained tokens."""
        widest = max(example.num_tokens for example in self.examples)
        return self._plan(subject.trainer.task, False, _MICRO_BATCH * widest).step_batches(0)

    def packed(self, subject: Subject) -> list[Batch]:
        """Packed examples in one batch."""
        return self._plan(subject.trainer.task, True, _NO_LIMIT).step_batches(0)

    def _plan(self, task: Any, packing: bool, micro_tokens: int) -> BatchPlan:
        plan = BatchPlan(
            self.examples,
            collate=task.encoder.collate,
            context=2 * max(example.num_tokens for example in self.examples),
            packing=packing,
            step_tokens=_NO_LIMIT,
            micro_rows=1,
            seed=self.recipe.seed,
        )
        plan.micro_tokens = micro_tokens
        return plan

    def plan_of_steps(self, subject: Subject, steps: int) -> BatchPlan:
        """A plan of the training rows with about this number of steps per epoch."""
        encoded = Encoded(self.examples, list(range(len(self.examples))), [])
        context = replace(self.context, task=subject.trainer.task)
        return context.with_options(batch={"tokens": max(1, encoded.num_tokens // steps), "rows": 1}).batch_plan(
            encoded
        )


def _deterministic(recipe: Recipe) -> Recipe:
    """The recipe without dropout, which depends on the layout of batches, clipping and checkpointing."""
    return recipe.with_options(
        model={"dropout": False, "compile": False},
        lora={"dropout": 0.0},
        train={"clip": 0.0, "gradient_checkpointing": False},
    )


def _spread(examples: Sequence[Any], count: int) -> list[Any]:
    """Some of the examples, spread over all lengths, in the order of the rows."""
    by_length = sorted(range(len(examples)), key=lambda index: examples[index].num_tokens)
    last = len(by_length) - 1
    chosen = {by_length[round(place * last / max(1, count - 1))] for place in range(count)}
    return [examples[index] for index in sorted(chosen)]
