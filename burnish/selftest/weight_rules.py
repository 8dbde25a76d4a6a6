"""Rules about checkpoints, adapters, empty batches and prompts."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from burnish.data.rows.row import RowError
from burnish.engine.checkpoint import checkpoint_path, restore_checkpoint, trained_weights
from burnish.engine.loop import Loop
from burnish.engine.progress import Progress
from burnish.engine.random_state import seed_everything
from burnish.engine.validation import HeldOut
from burnish.errors import BurnishError
from burnish.selftest.workbench import Bench, RuleLine, Subject, left_out
from burnish.tasks.task import Task

_WHOLE = 1 << 20
"""A context, in tokens, that is longer than any row."""


@dataclass(frozen=True, slots=True)
class ServedTokens:
    """The result of the comparison."""

    prompts: int
    tokens: int
    """Tokens of all served prompts."""
    wrong: int
    """Tokens that differ, and answers that do not end with a stop token."""


def compare_served(task: Task, records: Sequence[Any]) -> ServedTokens:
    """Compares the served prompt of each record's last answer with the prompt that it is trained with.

    Args:
        task: a task that generates.
        records: its rows.
    """
    prompts = tokens = wrong = 0
    for record in records:
        try:
            examples = task.encoder.encode(record, _WHOLE).examples
        except RowError:
            continue  # also excluded from training
        for served in task.predictor.served_prompts(record):
            trained, answer = task.predictor.trained_prompt(record, examples[-1])
            prompts, tokens = prompts + 1, tokens + len(served)
            wrong += sum(one != two for one, two in zip_longest(served, trained))
            wrong += bool(task.predictor.stop_ids) and bool(answer) and answer[-1] not in task.predictor.stop_ids
    return ServedTokens(prompts, tokens, wrong)


_STEPS = 4
_MERGED = {"fp32": 1e-4, "bf16": 0.1, "fp16": 0.02}
"""Relative to what an adapter changes."""
_ROUNDS = {
    "fp32": "the product of the two matrices is rounded once more",
    "bf16": "the merged weights are rounded to 8 bits",
    "fp16": "the merged weights are rounded to 11 bits",
}


def resumed(bench: Bench) -> RuleLine:
    """A resumed run ends with exactly the same weights as an uninterrupted one."""
    recipe = bench.recipe.with_options(
        lora={"dropout": 0.1},
        train={"clip": 1.0, "schedule": "cosine"},
        save={"every": _STEPS // 2, "keep": 2},
        evaluate={"every": _STEPS},
    )
    with tempfile.TemporaryDirectory(prefix="burnish-") as name:
        checkpoints = Path(name)
        straight = bench.fresh(recipe)
        seed_everything(recipe.seed)
        _loop(bench, straight, recipe, checkpoints, Progress()).run()
        weights = {name: weight.cpu().clone() for name, weight in trained_weights(straight.network).items()}
        del straight
        again = bench.fresh(recipe)
        seed_everything(recipe.seed + 1)  # another seed: the checkpoint must restore the generators
        progress = restore_checkpoint(checkpoint_path(checkpoints, _STEPS // 2), again.trainer)
        _loop(bench, again, recipe, checkpoints / "again", progress).run()
    found = trained_weights(again.network)
    difference = max(float((weight - found[name].cpu()).abs().max()) for name, weight in weights.items())
    compared = f"every trained weight after {_STEPS} steps, and after resuming from step {_STEPS // 2}; bit for bit"
    return RuleLine("resumed = uninterrupted", difference, 0.0, compared)


def _loop(bench: Bench, subject: Subject, recipe: Any, checkpoints: Path, progress: Progress) -> Loop:
    checkpoints.mkdir(parents=True, exist_ok=True)
    plan = bench.plan_of_steps(subject, _STEPS)
    return Loop(subject.trainer, plan, HeldOut([], [], []), recipe, _STEPS, checkpoints, lambda event: None, progress)


def merged(bench: Bench) -> RuleLine:
    """A merged adapter gives the same outputs as a separate one."""
    rule, subject = "merged = adapter", bench.subject
    hindrance = _no_merging(subject)
    without = subject.method.without(subject.network)
    if hindrance or without is None:
        return left_out(rule, hindrance or "the adapter cannot be switched off, so its effect is not known")
    batch = bench.alone(subject)[0]
    with without:
        base = subject.outputs(batch)
    separate = subject.outputs(batch)
    tuner = subject.network.base_model
    tuner.merge_adapter()
    is_merged = any(getattr(module, "merged", False) for module in subject.network.modules())
    merged_outputs = subject.outputs(batch)
    tuner.unmerge_adapter()
    difference = float((merged_outputs - separate).norm() / (separate - base).norm()) if is_merged else math.inf
    compared, precision = "logits, relative to what the adapter changes in them", bench.recipe.model.precision
    return RuleLine(rule, difference, _MERGED[precision], f"{compared}; {_ROUNDS[precision]}")


def fresh(bench: Bench) -> RuleLine:
    """An untrained adapter does not change the outputs."""
    rule = "fresh adapter = base"
    hindrance = _no_adapter(bench.subject) or bench.context.method.changes_at_start(bench.recipe)
    if hindrance:
        return left_out(rule, hindrance)
    subject = bench.fresh()
    without = subject.method.without(subject.network)
    if without is None:
        return left_out(rule, "the adapter cannot be switched off")
    batch = bench.alone(subject)[0]
    with without:
        base = subject.outputs(batch)
    difference = float((subject.outputs(batch) - base).abs().max())
    return RuleLine(rule, difference, 0.0, "logits before the first step; bit for bit")


def trained(bench: Bench) -> RuleLine:
    """A trained adapter changes the logits; otherwise it is not part of the computation."""
    rule, subject = "a trained adapter changes the logits", bench.subject
    without = subject.method.without(subject.network)
    if _no_adapter(subject) or without is None:
        return left_out(rule, _no_adapter(subject) or "the adapter cannot be switched off")
    batch = bench.alone(subject)[0]
    with without:
        base = subject.outputs(batch)
    difference = float((subject.outputs(batch) - base).norm() / base.norm())
    return RuleLine(rule, difference, 0.0, "logits with and without the adapter; must differ", is_least=True)


def empty(bench: Bench) -> RuleLine:
    """A batch with no trained token is an error, never a loss of zero."""
    subject = bench.subject
    batch = bench.alone(subject)[0]
    nothing = replace(batch, owners=batch.owners[:0])
    try:
        subject.trainer.step([nothing])
    except BurnishError:
        wrong = 0.0
    else:
        wrong = 1.0
    return RuleLine("a batch with no trained token is an error", wrong, 0.0, "0 if it was refused")


def served(bench: Bench) -> RuleLine:
    """`generate` and `chat` use exactly the prompt tokens of training."""
    rule, task = "served tokens = trained tokens", bench.context.task
    if not task.generates:
        return left_out(rule, f"the task `{task.name}` does not generate text")
    seen = compare_served(task, bench.records)
    if not seen.prompts:
        return left_out(rule, "no row has an answer as text")
    compared = f"{seen.tokens:,} tokens of {seen.prompts} prompts, and the token that ends each answer; none may differ"
    return RuleLine(rule, float(seen.wrong), 0.0, compared)


def _no_adapter(subject: Subject) -> str:
    """Why there is no adapter; empty if there is one."""
    is_adapter = hasattr(subject.network, "peft_config")
    return "" if is_adapter else f"the method `{subject.method.name}` trains the base weights themselves"


def _no_merging(subject: Subject) -> str:
    """Why the adapter cannot be merged; empty if it can."""
    if hindrance := _no_adapter(subject):
        return hindrance
    if subject.network.active_peft_config.is_prompt_learning:
        return "virtual tokens cannot be merged into weights"
    if not all(weight.is_floating_point() for weight in subject.network.parameters()):
        return "merging into quantized weights would round the adapter away"
    return ""
