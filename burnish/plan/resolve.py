"""Fills in every `auto` of a recipe, and says why."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.errors import RecipeError
from burnish.methods.method import Method
from burnish.recipe.schema import AUTO, Recipe
from burnish.runs.events import Resolved

LONGEST_AUTO_CONTEXT = 1024
_LOGITS_BYTES = 1 << 30
_MICRO_BATCH_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Facts:
    """What the choices rest on: measured from the data and the loaded model."""

    parameters: int
    vocabulary: int
    tokens: int
    """Training tokens of one epoch."""
    longest_answer: int
    """Tokens of the longest known answer among the held-out rows; 0 where there is none."""


class Resolver:
    """Replaces options one by one and keeps the reasons.

    Args:
        recipe: the recipe to begin with.
        tell: called with every choice made.
    """

    def __init__(self, recipe: Recipe, tell: Callable[[Resolved], None]) -> None:
        self.recipe = recipe
        self._tell = tell

    def fill(self, option: str, value: Any, reason: str, is_told: bool = True) -> None:
        """Sets a dotted option if it is still `auto`."""
        section, _, name = option.rpartition(".")
        holder = getattr(self.recipe, section) if section else self.recipe
        if getattr(holder, name) != AUTO:
            return
        changed = holder.model_copy(update={name: value})
        self.recipe = self.recipe.model_copy(update={section: changed}) if section else changed
        if is_told:
            self._tell(Resolved(option, value, reason))


def check_choices(recipe: Recipe, tasks: Iterable[str], methods: Iterable[str]) -> None:
    """Refuses a task or method that does not exist, before anything heavy begins.

    Raises:
        RecipeError: with the nearest name.
    """
    for option, value, known in (("task", recipe.task, [AUTO, *tasks]), ("method", recipe.method, list(methods))):
        if value not in known:
            near = difflib.get_close_matches(value, known, n=1)
            names = ", ".join(f"`{name}`" for name in known)
            raise RecipeError(
                f"`{value}` is no {option}", f"There are {names}.", f"Did you mean `{near[0]}`?" if near else ""
            )


def resolve_context(resolver: Resolver, config: Any) -> None:
    """The context length: the model's own limit, within reason.

    Raises:
        RecipeError: a longer context was asked for than the model can read.
    """
    limit = context_limit(config)
    wanted = resolver.recipe.data.context
    if wanted != AUTO and limit is not None and int(wanted) > limit:
        raise RecipeError(
            f"`data.context` is {wanted}, but this model reads at most {limit} tokens",
            "Beyond that it has no positions.",
            f"Use `--set data.context={limit}` or leave it at `auto`",
        )
    if limit is None or limit > LONGEST_AUTO_CONTEXT:
        resolver.fill("data.context", LONGEST_AUTO_CONTEXT, "enough for most rows; the model could read more")
    else:
        resolver.fill("data.context", limit, "the model's own limit")


def context_limit(config: Any) -> int | None:
    """Most tokens a model can read at once; None where its config does not say."""
    text = config.get_text_config()
    for name in ("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length", "seq_length"):
        value = getattr(text, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return None


def resolve_training(resolver: Resolver, facts: Facts, method: Method) -> None:
    """Learning rate, step size and micro-batch, from the size of model and data."""
    millions = facts.parameters / 1e6
    rate = method.learning_rate(facts.parameters)
    resolver.fill("train.learning_rate", rate, f"{method.name} on {millions:,.1f} M parameters")
    context = int(resolver.recipe.data.context)
    tokens = max(512, min(16384, round(facts.tokens / 40)))
    resolver.fill("batch.tokens", tokens, "about 40 steps an epoch, between 512 and 16,384 tokens each")
    by_logits = _LOGITS_BYTES // (context * facts.vocabulary * 4 * 3)
    rows = max(1, min(by_logits, _MICRO_BATCH_TOKENS // context, math.ceil(tokens / context)))
    resolver.fill("batch.rows", rows, "keeps activations and logits of a micro-batch small")
    longest = min(256, math.ceil(facts.longest_answer * 1.25) + 8) if facts.longest_answer else 64
    resolver.fill("evaluate.max_new_tokens", longest, "room for the longest known answer")


def resolve_method(resolver: Resolver, network: Any, method: Method, others: Iterable[Method]) -> None:
    """The method's own options; those of other methods too, for the record, but without a word."""
    for other in others:
        for option, value, reason in other.choices(network, resolver.recipe):
            resolver.fill(option, value, reason, is_told=other.name == method.name)


def resolve_rhythm(resolver: Resolver, total_steps: int) -> None:
    """When to validate and save."""
    every = max(1, total_steps // 10)
    resolver.fill("evaluate.every", every, f"about ten validations in {total_steps} steps")
    resolver.fill("save.every", int(resolver.recipe.evaluate.every), "at every validation")


def total_steps(recipe: Recipe, steps_per_epoch: int) -> int:
    """Optimizer steps of the whole run."""
    steps = math.ceil(recipe.train.epochs * steps_per_epoch - 1e-9)
    return min(steps, recipe.train.max_steps) if recipe.train.max_steps else max(1, steps)


def run_stem(recipe: Recipe) -> str:
    """A telling name for a run: data, model, method."""
    data = Path(recipe.data.path).name.split(".")[0] or "data"
    return f"{data}-{Path(recipe.model.name).name}-{recipe.method}"


def unread_options(recipe: Recipe, origins: dict[str, str], methods: Iterable[str]) -> list[str]:
    """Options that were set but that the chosen method does not read."""
    others = [name for name in methods if name != recipe.method]
    given = [option for option, origin in origins.items() if origin != "default"]
    return [option for option in given if option.partition(".")[0] in others]
