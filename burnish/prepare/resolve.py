"""Replaces the `auto` values of a recipe that follow from data and model, each with its reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.data.labels.rows import FreeTextLabels
from burnish.data.rows.dataset import Records
from burnish.engine.averaged import SCHEDULE_FREE
from burnish.engine.optimizer import check_optimizer
from burnish.errors import RecipeError
from burnish.methods.method import Method
from burnish.models.config import WORDS, context_limit, has_scaled_positions
from burnish.models.heads import Head, is_supported
from burnish.recipe.micro_batch import FEWEST_STEP_TOKENS, MOST_STEP_TOKENS, most_rows
from burnish.recipe.schema import AUTO, BALANCED, BUNDLED, NONE, Recipe, TrainSection
from burnish.runs.events import Event, Resolved, Warned
from burnish.tasks.task import TaskFacts

WRITER, READER = "seedling", "acorn"
"""The bundled base models: one generates text, one labels it."""


def check_shape(recipe: Recipe, shape: str, tasks: Sequence[str]) -> None:
    """Checks that the rows suit the requested task.

    Raises:
        RecipeError: naming the tasks that they suit.
    """
    if recipe.task not in (AUTO, *tasks):
        raise RecipeError(
            f"the rows do not fit the task `{recipe.task}`",
            f"They have the shape `{shape}`, which is for the task {_either(tasks)}.",
            "Leave `task` at `auto`, or map the columns with `--set data.columns.text=...`",
        )


def default_model(task: TaskFacts) -> tuple[str, str]:
    """The bundled base model for a task, and the reason.

    Raises:
        RecipeError: no bundled model can do it.
    """
    if task.kinds[0] == "masked":
        return READER, "the bundled model that labels text"
    if "causal" in task.kinds:
        return WRITER, "the bundled model that writes text"
    raise RecipeError(
        f"the task `{task.name}` has no bundled model",
        f"It needs a model that {' or '.join(WORDS[kind] for kind in task.kinds)}.",
        "Add `--model` with a folder or a hub name",
    )


def choose_task(wanted: str, tasks: Sequence[TaskFacts], kind: str, model: str) -> tuple[TaskFacts, str]:
    """The first task that suits both the rows and the model, and the reason.

    Args:
        wanted: the name of a task, or `auto`.
        tasks: tasks for rows of this shape, the most likely first.
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
        f"`{model}` cannot be used for the task {named}",
        f"It {WORDS[kind]}; the task needs a model that {' or that '.join(WORDS[kind] for kind in kinds)}.",
        "Choose another model with `--model`",
    )


def check_pair(task: TaskFacts, head: Head, method: Method, config: Any, model: str) -> None:
    """Rejects a task, method and model that cannot be used together.

    Raises:
        RecipeError: naming them, and why.
    """
    if not is_supported(head, config):
        raise RecipeError(
            f"`{model}` cannot be used for the task `{task.name}`",
            f"transformers has no {head.auto_class.removeprefix('AutoModelFor')} model for weights "
            f"of type `{config.model_type}`.",
            "Choose another model with `--model`",
        )
    reason = method.refuses(head, config)
    if reason:
        raise RecipeError(
            f"the method `{method.name}` cannot be used for the task `{task.name}` with `{model}`",
            reason,
            "Choose another method, for example `--method lora`",
        )


def _either(names: Sequence[str]) -> str:
    return " or ".join(f"`{name}`" for name in names)


LONGEST_AUTO_CONTEXT = 1024
_LOGITS_BYTES = 1 << 30
_MICRO_BATCH_TOKENS = 4096
_NO_LIMIT = 10**9
"""transformers gives tokenizers without a limit a far larger number than this."""
_FEWEST_STEPS, _FEWEST_STEPS_OF_HEAD = 100, 900
"""Steps in which few rows are learned (`bench/outcomes.py`), and where an output layer has much to learn."""
_FEW_LABELS = 8
"""Up to so many labels, an output layer of its own has learned them long before."""
_USUAL_EPOCHS, _MOST_EPOCHS, _MOST_EPOCHS_OF_HEAD = 3, 10, 15
_FEWEST_STEP_ROWS, _STEPS_OF_FEW_ROWS = 8, 20
"""Fewest rows of a step, and as many steps an epoch as few rows should make."""
HEAD_RATE = 2e-3
"""Least learning rate of an output layer that starts at random."""
MANY_ROWS = 10_000
"""Training rows above which fewer epochs and a higher rank work better."""
FEWEST_GENERAL_TOKENS, MOST_GENERAL_TOKENS = 500, 8_000
"""Limits of `evaluate.general_tokens: auto`: 16 tokens each of half the bundled texts, and about 130 each of all."""
_QUICK_TO_WRITE = 200_000_000
"""Parameters up to which a CPU generates a batch of answers in about a minute."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Measurements of data and model on which the choices depend."""

    device: str
    parameters: int
    outputs: int
    """Logits of each position: the vocabulary, the labels, or one for a number."""
    tokens: int
    """Training tokens of one epoch."""
    rows: int
    """Training rows of one epoch."""
    step_rows: int
    """Rows per step; 0 where the step size is set in tokens."""
    has_own_head: bool
    """Whether the task needs an output layer that language models do not have."""
    longest_answer: int
    """Tokens of the longest known answer in the validation rows; 0 if there is none."""
    rate_factor: float = 1.0
    """Factor by which the task multiplies the method's learning rate."""
    processes: int = 1
    """That compute each step together."""


class Resolver:
    """Replaces `auto` options one by one and reports the reasons.

    Args:
        recipe: the recipe to begin with.
        report: called with every choice.
    """

    def __init__(self, recipe: Recipe, report: Callable[[Resolved], None]) -> None:
        self.recipe = recipe
        self._report = report

    def fill(self, option: str, value: Any, reason: str, is_reported: bool = True) -> None:
        """Sets a dotted option if it is still `auto`, or `balanced`."""
        section, _, name = option.rpartition(".")
        holder = getattr(self.recipe, section) if section else self.recipe
        if getattr(holder, name) not in (AUTO, BALANCED):
            return
        changed = holder.model_copy(update={name: value})
        self.recipe = self.recipe.model_copy(update={section: changed}) if section else changed
        if is_reported:
            self._report(Resolved(option, value, reason))

    def replace(self, option: str, value: Any, reason: str) -> None:
        """Sets a dotted option of a section, whatever it was."""
        section, _, name = option.partition(".")
        if getattr(getattr(self.recipe, section), name) != value:
            self.recipe = self.recipe.with_options(**{section: {name: value}})
            self._report(Resolved(option, value, reason))

    def fill_packing(self, is_possible: bool) -> None:
        """Turns packing off where task, method or model cannot keep packed examples apart."""
        if self.recipe.data.packing and not is_possible:
            data = self.recipe.data.model_copy(update={"packing": False})
            self.recipe = self.recipe.model_copy(update={"data": data})


def resolve_context(resolver: Resolver, config: Any, tokenizer: Any, taken: int = 0) -> None:
    """Resolves the context length: the model's own limit, up to `LONGEST_AUTO_CONTEXT`.

    Args:
        resolver: of the recipe.
        config: of the model.
        tokenizer: of the model; its limit counts too. Not with rope scaling, which is often set in the config alone.
        taken: positions that the method occupies.

    Raises:
        RecipeError: the requested context is longer than the model accepts.
    """
    of_tokenizer = None if has_scaled_positions(config) else tokenizer.model_max_length
    limits = [limit for limit in (context_limit(config), of_tokenizer) if limit is not None]
    limit = min(limits) - taken if min(limits) < _NO_LIMIT else None
    wanted = resolver.recipe.data.context
    if wanted != AUTO and limit is not None and int(wanted) > limit:
        raise RecipeError(
            f"`data.context` is {wanted}, but this model accepts at most {limit} tokens",
            "Its positions end there.",
            f"Use `--set data.context={limit}` or leave it at `auto`",
        )
    if limit is None or limit > LONGEST_AUTO_CONTEXT:
        resolver.fill("data.context", LONGEST_AUTO_CONTEXT, "enough for most rows; the model accepts more")
    else:
        reason = "the model's own limit" + (", less the virtual tokens" if taken else "")
        resolver.fill("data.context", limit, reason)


def reads_texts(task: TaskFacts, kind: str) -> bool:
    """Whether a run's models can be evaluated on any text: they are decoders that generate text.

    Args:
        task: of the run.
        kind: of the model, see `models/config.py`.
    """
    return task.generates and kind == "causal"


def resolve_general(resolver: Resolver, task: TaskFacts, kind: str, emit: Callable[[Event], None]) -> None:
    """Resolves the source of texts outside the task; warns if they were requested but cannot be used."""
    is_read = reads_texts(task, kind)
    why = "texts of many kinds" if is_read else f"the model of the task `{task.name}` does not continue plain text"
    resolver.fill("evaluate.general", BUNDLED if is_read else NONE, why, is_reported=False)
    if resolver.recipe.evaluate.general != NONE and not is_read:
        emit(Warned(f"`evaluate.general` has no effect: {why}."))


def resolve_training(resolver: Resolver, facts: Facts, method: Method) -> None:
    """Learning rate, epochs and step size, from the size of model and data.

    Raises:
        MachineError: the requested optimizer does not run on this device.
    """
    resolver.fill("train.adapt", *_adapts(resolver.recipe.train), is_reported=False)
    millions = facts.parameters / 1e6
    rate = float(f"{method.learning_rate(facts.parameters) * facts.rate_factor:.2g}")
    factor = f", times {facts.rate_factor:g} for this task" if facts.rate_factor != 1 else ""
    resolver.fill("train.learning_rate", rate, f"{method.name} on {millions:,.1f} M parameters{factor}")
    resolver.fill("train.optimizer", "adamw", "exact moments", is_reported=False)
    check_optimizer(resolver.recipe.train, resolver.recipe.model.device.partition(":")[0])
    if resolver.recipe.train.optimizer == SCHEDULE_FREE:
        resolver.replace("train.schedule", "constant", f"`{SCHEDULE_FREE}` averages the weights instead")
    resolver.fill("train.epochs", *_epochs(facts, int(resolver.recipe.batch.tokens)))
    resolve_choices(resolver, method.choices_for_rows(facts.rows))
    is_quick = facts.device != "cpu" or facts.parameters <= _QUICK_TO_WRITE
    answers, reason = (32, "one batch of them") if is_quick else (2, "a model of this size generates slowly on the CPU")
    resolver.fill("evaluate.answers", answers, reason, is_reported=facts.longest_answer > 0)
    longest = min(256, math.ceil(facts.longest_answer * 1.25) + 8) if facts.longest_answer else 64
    resolver.fill("evaluate.max_new_tokens", longest, "room for the longest known answer")


def _adapts(train: TrainSection) -> tuple[bool, str]:
    """Whether a run may change its plan, and why: not what the user has decided."""
    free = train.epochs == AUTO and train.learning_rate == AUTO and train.max_steps is None
    return free, "length and learning rate are Burnish's own" if free else "length or learning rate are yours"


def _epochs(facts: Facts, step_tokens: int) -> tuple[float, str]:
    """Passes over the rows, and the reason: few rows need several to make enough steps, and many are learned in one.

    Args:
        facts: about the data.
        step_tokens: tokens of an optimizer step.
    """
    if facts.rows > MANY_ROWS:
        epochs = 2.0 if facts.rows <= 10 * MANY_ROWS else 1.0
        return epochs, f"{facts.rows:,} rows: with this many, most is learned in the first pass"
    per_epoch = math.ceil(facts.tokens / step_tokens)
    fewest, most = _FEWEST_STEPS, _MOST_EPOCHS
    if facts.has_own_head and not 2 <= facts.outputs <= _FEW_LABELS:
        fewest, most = _FEWEST_STEPS_OF_HEAD, _MOST_EPOCHS_OF_HEAD
    epochs = min(most, max(_USUAL_EPOCHS, math.ceil(fewest / per_epoch)))
    if epochs == _USUAL_EPOCHS:
        return float(epochs), f"{facts.rows:,} rows: more epochs would mostly memorize"
    made = f"{facts.rows:,} row{'s' * (facts.rows != 1)} make {per_epoch} step{'s' * (per_epoch != 1)} an epoch"
    return float(epochs), f"{made}, and learning takes about {fewest} steps"


def resolve_head_rate(resolver: Resolver, new_modules: Sequence[str], emit: Callable[[Event], None]) -> None:
    """Resolves the learning rate of an output layer that starts at random; warns if one was asked for that has none.

    Args:
        resolver: of a recipe with its learning rate.
        new_modules: randomly initialized modules.
        emit: receives the warning.
    """
    train = resolver.recipe.train
    rate = float(train.learning_rate)
    if new_modules:
        if train.head_learning_rate is None:  # saved for a model that has its output layer
            resolver.recipe = resolver.recipe.with_options(train={"head_learning_rate": AUTO})
        value = max(rate, HEAD_RATE)
        resolver.fill("train.head_learning_rate", value, "it starts at random", is_reported=value != rate)
        return
    # recipes that earlier versions saved have the rate itself
    if train.head_learning_rate not in (AUTO, None, rate):
        emit(Warned("`train.head_learning_rate` has no effect: every part of this model has trained weights."))
    resolver.fill("train.head_learning_rate", None, "the model has its output layer", is_reported=False)


def resolve_step(resolver: Resolver, facts: Facts) -> None:
    """Resolves the tokens of an optimizer step."""
    if facts.step_rows:
        rows = min(facts.step_rows, max(_FEWEST_STEP_ROWS, facts.rows // _STEPS_OF_FEW_ROWS))
        tokens = max(1, round(rows * facts.tokens / max(1, facts.rows)))
        resolver.fill("batch.tokens", tokens, f"about {rows} rows per step")
    else:
        low, high = FEWEST_STEP_TOKENS, MOST_STEP_TOKENS
        tokens = max(low, min(high, round(facts.tokens / 40)))
        resolver.fill("batch.tokens", tokens, f"about 40 steps per epoch, each of {low} to {high:,} tokens")


def most_micro_tokens(facts: Facts) -> int | None:
    """Tokens beyond which a micro-batch of several rows is no faster; None where there is no such limit.

    On the CPU that is a few thousand, and fewer where each has many logits.
    """
    return min(_LOGITS_BYTES // (facts.outputs * 4 * 3), _MICRO_BATCH_TOKENS) if facts.device == "cpu" else None


def micro_batches(recipe: Recipe, facts: Facts) -> list[int]:
    """Micro-batch sizes to try, in rows of the context length: the largest first, each half of the one before.

    A micro-batch never needs more rows than one process computes of a step, or than `most_micro_tokens` hold.
    """
    if recipe.batch.rows != AUTO:
        return [int(recipe.batch.rows)]
    context, tokens = int(recipe.data.context), int(recipe.batch.tokens)
    found = [most_rows(context, tokens, most_micro_tokens(facts), facts.processes)]
    while found[-1] > 1:
        found.append(found[-1] // 2)
    return found


def resolve_choices(resolver: Resolver, choices: Iterable[tuple[str, Any, str]]) -> None:
    """Fills in options that a method or a task chose."""
    for option, value, reason in choices:
        resolver.fill(option, value, reason)


def resolve_task(resolver: Resolver, task: TaskFacts, records: Records) -> None:
    """Fills in what a task chooses by the rows, such as its labels.

    Raises:
        DataError: the rows are none that the task can learn from.
    """
    try:
        resolve_choices(resolver, task.choices(records.decisive, resolver.recipe))
    except FreeTextLabels as error:
        raise error.beside(records.shape.ignored) from None
    # `task.choices` has filled it in for tasks with labels
    resolver.fill("data.labels", [], "the task has none", is_reported=False)


def resolve_rhythm(resolver: Resolver, total_steps: int) -> None:
    """Resolves when to validate and save."""
    every = max(1, total_steps // 10)
    resolver.fill("evaluate.every", every, f"about ten validations in {total_steps} steps")
    resolver.fill("save.every", int(resolver.recipe.evaluate.every), "at every validation")


def resolve_general_tokens(resolver: Resolver, trained: float) -> None:
    """Resolves how many tokens outside the task are evaluated, so that a short run is not outlasted by its evaluation.

    Args:
        resolver: of the recipe.
        trained: tokens that the whole run trains on, repeated ones included.
    """
    tokens = round(min(max(trained, FEWEST_GENERAL_TOKENS), MOST_GENERAL_TOKENS))
    reason = f"training sees {trained:,.0f} tokens"
    resolver.fill("evaluate.general_tokens", tokens, reason, is_reported=False)


def resolve_by_steps(resolver: Resolver, steps_per_epoch: int, epoch_tokens: int) -> int:
    """Resolves what depends on the number of steps, and returns that number.

    Args:
        resolver: of a recipe with its epochs.
        steps_per_epoch: optimizer steps of one pass over the training rows.
        epoch_tokens: tokens of the training rows.
    """
    steps = total_steps(resolver.recipe, steps_per_epoch)
    resolve_rhythm(resolver, steps)
    resolve_general_tokens(resolver, epoch_tokens * steps / steps_per_epoch)
    return steps


def total_steps(recipe: Recipe, steps_per_epoch: int) -> int:
    """Optimizer steps of the whole run."""
    steps = math.ceil(float(recipe.train.epochs) * steps_per_epoch - 1e-9)
    return min(steps, recipe.train.max_steps) if recipe.train.max_steps else max(1, steps)


def run_stem(recipe: Recipe) -> str:
    """A descriptive name for a run: data, model, method."""
    data = "-".join(Path(one.path).name.split(".")[0] for one in recipe.data.sources) or "data"
    return f"{data}-{Path(recipe.model.name).name}-{recipe.method}"


def unread_sections(task: TaskFacts, method: Method, tasks: Iterable[TaskFacts], methods: Iterable[Method]) -> set[str]:
    """Sections of the recipe that only other tasks or methods use."""
    theirs = {section for other in (*tasks, *methods) for section in other.sections}
    return theirs - {*task.sections, *method.sections}
