"""Replaces the `auto` values of a recipe that follow from data and model, each with its reason."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.engine.optimizer import check_optimizer
from burnish.errors import RecipeError
from burnish.methods.method import Method
from burnish.models.config import WORDS, context_limit
from burnish.models.heads import Head, is_supported
from burnish.recipe.schema import AUTO, BUNDLED, NONE, Recipe
from burnish.runs.events import Event, Resolved, Warned
from burnish.tasks.task import TaskFacts

WRITER, READER = "seedling", "acorn"
"""The bundled base models: one writes text, one labels it."""


def check_choices(recipe: Recipe, tasks: Iterable[str], methods: Iterable[str]) -> None:
    """Refuses a task or method that does not exist, before anything heavy begins.

    Raises:
        RecipeError: with the nearest name.
    """
    for option, value, known in (("task", recipe.task, [AUTO, *tasks]), ("method", recipe.method, [AUTO, *methods])):
        if value not in known:
            near = difflib.get_close_matches(value, known, n=1)
            names = ", ".join(f"`{name}`" for name in known)
            raise RecipeError(
                f"`{value}` is no {option}", f"There are {names}.", f"Did you mean `{near[0]}`?" if near else ""
            )


def check_shape(recipe: Recipe, shape: str, tasks: Sequence[str]) -> None:
    """The rows must be of use for the task that was asked for.

    Raises:
        RecipeError: naming the tasks that they are for.
    """
    if recipe.task not in (AUTO, *tasks):
        raise RecipeError(
            f"the rows do not fit the task `{recipe.task}`",
            f"They have the shape `{shape}`, which is for the task {_either(tasks)}.",
            "Leave `task` at `auto`, or map the columns with `--set data.columns.text=...`",
        )


def default_model(task: TaskFacts) -> tuple[str, str]:
    """The bundled base model for a task, and why it.

    Raises:
        RecipeError: none of the bundled models can do it.
    """
    if task.kinds[0] == "masked":
        return READER, "the bundled model that labels text"
    if "causal" in task.kinds:
        return WRITER, "the bundled model that writes text"
    raise RecipeError(
        f"the task `{task.name}` needs a model to be named",
        f"It is for one that {' or '.join(WORDS[kind] for kind in task.kinds)}, and no such model is bundled.",
        "Add `--model` with a folder or a hub name",
    )


def choose_task(wanted: str, tasks: Sequence[TaskFacts], kind: str, model: str) -> tuple[TaskFacts, str]:
    """The first task that both the rows and the model are for, and why it.

    Args:
        wanted: the name of a task, or `auto`.
        tasks: those that the shape of the rows is for, the likeliest first.
        kind: of the model, see `models/config.py`.
        model: its name.

    Raises:
        RecipeError: the model cannot do it.
    """
    if wanted != AUTO:
        tasks = [task for task in tasks if task.name == wanted]
    for task in tasks:
        if kind in task.kinds:
            return task, "the shape of the rows" if task is tasks[0] else "the shape of the rows and the kind of model"
    named = _either([task.name for task in tasks])
    kinds = dict.fromkeys(kind for task in tasks for kind in task.kinds)
    raise RecipeError(
        f"`{model}` makes no sense for the task {named}",
        f"It {WORDS[kind]}; the task is for a model that {' or that '.join(WORDS[kind] for kind in kinds)}.",
        "Name another model with `--model`",
    )


def check_pair(task: TaskFacts, head: Head, method: Method, config: Any, model: str) -> None:
    """Refuses a task, a method and a model that make no sense together.

    Raises:
        RecipeError: naming them, with the reason.
    """
    if not is_supported(head, config):
        raise RecipeError(
            f"`{model}` makes no sense for the task `{task.name}`",
            f"transformers has no {head.auto_class.removeprefix('AutoModelFor')} model that could read the weights "
            f"of the type `{config.model_type}`.",
            "Name another model with `--model`",
        )
    reason = method.refuses(head, config)
    if reason:
        raise RecipeError(
            f"the method `{method.name}` makes no sense for the task `{task.name}` with `{model}`",
            reason,
            "Name another method, for example `--method lora`",
        )


def _either(names: Sequence[str]) -> str:
    return " or ".join(f"`{name}`" for name in names)


LONGEST_AUTO_CONTEXT = 1024
_LOGITS_BYTES = 1 << 30
_MICRO_BATCH_TOKENS = 4096
_NO_LIMIT = 10**9
"""transformers gives tokenizers without a limit a much larger one."""
MANY_ROWS = 10_000
"""Training rows above which fewer epochs and a higher rank do better."""
_QUICK_TO_WRITE = 200_000_000
"""Parameters up to which a CPU writes a batch of answers in a minute or so."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the choices rest on: measured from the data and the loaded model."""

    device: str
    parameters: int
    outputs: int
    """Logits of each position: the vocabulary, or the labels."""
    tokens: int
    """Training tokens of one epoch."""
    rows: int
    """Training rows of one epoch."""
    step_rows: int
    """Rows that a step should hold; 0 where tokens count."""
    longest_answer: int
    """Tokens of the longest known answer among the held-out rows; 0 where there is none."""
    rate_factor: float = 1.0
    """What the task wants the method's learning rate multiplied by."""


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

    def fill_packing(self, is_possible: bool) -> None:
        """Turns packing off where task, method or model would mix what shares a row."""
        if self.recipe.data.packing and not is_possible:
            data = self.recipe.data.model_copy(update={"packing": False})
            self.recipe = self.recipe.model_copy(update={"data": data})


def resolve_context(resolver: Resolver, config: Any, tokenizer: Any, taken: int = 0) -> None:
    """The context length: the model's own limit, within reason.

    Args:
        resolver: of the recipe.
        config: of the model.
        tokenizer: of the model; its limit counts too, for some models lose positions to padding (RoBERTa has 514
            and reads 512 tokens).
        taken: positions that the method needs for itself.

    Raises:
        RecipeError: a longer context was asked for than the model can read.
    """
    limits = [limit for limit in (context_limit(config), tokenizer.model_max_length) if limit is not None]
    limit = min(limits) - taken if min(limits) < _NO_LIMIT else None
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
        reason = "the model's own limit" + (", less the virtual tokens" if taken else "")
        resolver.fill("data.context", limit, reason)


def reads_texts(task: TaskFacts, kind: str) -> bool:
    """Whether a run's models can be judged on any text: they are decoders that write text.

    Args:
        task: of the run.
        kind: of the model, see `models/config.py`.
    """
    return task.generates and kind == "causal"


def resolve_general(resolver: Resolver, task: TaskFacts, kind: str, emit: Callable[[Event], None]) -> None:
    """Where texts outside the task come from, if any; tells where they were asked for in vain."""
    is_read = reads_texts(task, kind)
    why = "texts of many kinds" if is_read else f"the model of the task `{task.name}` does not go on with any text"
    resolver.fill("evaluate.general", BUNDLED if is_read else NONE, why, is_told=False)
    if resolver.recipe.evaluate.general != NONE and not is_read:
        emit(Warned(f"`evaluate.general` has no effect: {why}."))


def resolve_training(resolver: Resolver, facts: Facts, method: Method) -> None:
    """Learning rate, epochs and step size, from the size of model and data.

    Raises:
        MachineError: the optimizer that was asked for does not run on this device.
    """
    millions = facts.parameters / 1e6
    rate = float(f"{method.learning_rate(facts.parameters) * facts.rate_factor:.2g}")
    factor = f", times {facts.rate_factor:g} for this task" if facts.rate_factor != 1 else ""
    resolver.fill("train.learning_rate", rate, f"{method.name} on {millions:,.1f} M parameters{factor}")
    resolver.fill("train.optimizer", "adamw", "exact moments", is_told=False)
    check_optimizer(resolver.recipe.train, resolver.recipe.model.device)
    epochs = 3.0 if facts.rows <= MANY_ROWS else 2.0 if facts.rows <= 10 * MANY_ROWS else 1.0
    more = "later ones mostly repeat" if epochs == 3 else "so many rows say most in the first pass"
    resolver.fill("train.epochs", epochs, f"{facts.rows:,} rows: {more}; the best checkpoint is kept")
    resolve_choices(resolver, method.choices_for_rows(facts.rows))
    is_quick = facts.device != "cpu" or facts.parameters <= _QUICK_TO_WRITE
    answers, reason = (32, "one batch of them") if is_quick else (2, "a model of this size writes slowly on the CPU")
    resolver.fill("evaluate.answers", answers, reason, is_told=facts.longest_answer > 0)
    longest = min(256, math.ceil(facts.longest_answer * 1.25) + 8) if facts.longest_answer else 64
    resolver.fill("evaluate.max_new_tokens", longest, "room for the longest known answer")


def resolve_step(resolver: Resolver, facts: Facts) -> None:
    """Tokens of an optimizer step."""
    if facts.step_rows:
        tokens = max(1, round(facts.step_rows * facts.tokens / max(1, facts.rows)))
        resolver.fill("batch.tokens", tokens, f"about {facts.step_rows} rows a step")
    else:
        tokens = max(512, min(16384, round(facts.tokens / 40)))
        resolver.fill("batch.tokens", tokens, "about 40 steps an epoch, between 512 and 16,384 tokens each")


def micro_batches(recipe: Recipe, facts: Facts) -> list[int]:
    """Rows of the context length that may be in memory at once, the most first, each half of the one before.

    More rows than a step has are of no use, and on the CPU more than some thousands of tokens make nothing faster.
    """
    if recipe.batch.rows != AUTO:
        return [int(recipe.batch.rows)]
    context = int(recipe.data.context)
    most = math.ceil(int(recipe.batch.tokens) / context)
    if facts.device == "cpu":
        most = min(most, _LOGITS_BYTES // (context * facts.outputs * 4 * 3), _MICRO_BATCH_TOKENS // context)
    found = [max(1, most)]
    while found[-1] > 1:
        found.append(found[-1] // 2)
    return found


def resolve_choices(resolver: Resolver, choices: Iterable[tuple[str, Any, str]]) -> None:
    """Options of a method or a task, as it chose them."""
    for option, value, reason in choices:
        resolver.fill(option, value, reason)


def resolve_rhythm(resolver: Resolver, total_steps: int) -> None:
    """When to validate and save."""
    every = max(1, total_steps // 10)
    resolver.fill("evaluate.every", every, f"about ten validations in {total_steps} steps")
    resolver.fill("save.every", int(resolver.recipe.evaluate.every), "at every validation")


def total_steps(recipe: Recipe, steps_per_epoch: int) -> int:
    """Optimizer steps of the whole run."""
    steps = math.ceil(float(recipe.train.epochs) * steps_per_epoch - 1e-9)
    return min(steps, recipe.train.max_steps) if recipe.train.max_steps else max(1, steps)


def run_stem(recipe: Recipe) -> str:
    """A telling name for a run: data, model, method."""
    data = Path(recipe.data.path).name.split(".")[0] or "data"
    return f"{data}-{Path(recipe.model.name).name}-{recipe.method}"


def unread_sections(task: TaskFacts, method: Method, tasks: Iterable[TaskFacts], methods: Iterable[Method]) -> set[str]:
    """Sections of the recipe that belong to other tasks or methods, and that this run does not read."""
    theirs = {section for other in (*tasks, *methods) for section in other.sections}
    return theirs - {*task.sections, *method.sections}
