"""What train, resume and evaluate have in common: from a recipe to encoded rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch

from burnish.data.batching.plan import BatchPlan
from burnish.data.files.passages import is_own, read_passages
from burnish.data.rows.dataset import Records, load_records
from burnish.data.rows.row import Rejected
from burnish.errors import DataError
from burnish.methods import LIKELY_METHOD, make_method, method_names
from burnish.methods.method import Method
from burnish.metrics.own_metric import load_metric
from burnish.models.base import Loading, load_tokenizer
from burnish.models.config import context_limit, model_kind
from burnish.models.device import PRECISIONS, choose_device, choose_precision
from burnish.models.location import ModelLocation, locate_model, read_config
from burnish.models.tokenizer import ensure_pad_token
from burnish.prepare.encode import Encoded, encode_records, find_encoded, keep_encoded, rows_key, tokenizer_hash
from burnish.prepare.resolve import (
    Resolver,
    check_choices,
    check_pair,
    check_shape,
    choose_task,
    default_model,
    resolve_choices,
    resolve_context,
    resolve_general,
    unread_sections,
)
from burnish.recipe.schema import AUTO, Recipe
from burnish.runs.events import DataReady, Event, Note, Stage
from burnish.tasks import make_task, task_facts, task_names, task_names_for
from burnish.tasks.task import Question, Task

Emit = Callable[[Event], None]
_NAMED_ROWS = 3
_WORTH_KEEPING = 1.0
"""Seconds of tokenizing from which on its result is kept for the next run."""


@dataclass(slots=True)
class Setting:
    """Where a run takes place: model folder, tokenizer, task, method, device."""

    location: ModelLocation
    tokenizer: Any
    config: Any
    task: Task
    method: Method
    device: torch.device


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A base model as far as it is known without its weights."""

    location: ModelLocation
    config: Any
    tokenizer: Any


@dataclass(slots=True)
class Rows:
    """The run's rows, as records and as examples."""

    records: Records
    training: Encoded
    validation: Encoded

    @property
    def rejected(self) -> list[Rejected]:
        """Every row that was left out, while reading or while encoding."""
        return [*self.records.rejected, *self.training.rejected, *self.validation.rejected]


def check_options(recipe: Recipe) -> None:
    """What can be told of a recipe before anything is read. Raises RecipeError."""
    check_choices(recipe, task_names(), method_names())
    if recipe.evaluate.metric:
        load_metric(recipe.evaluate.metric)  # no mistake in it, nor in the next, should show after training
    if is_own(recipe.evaluate.general):
        read_passages(recipe.evaluate.general)


def read_rows(recipe: Recipe, emit: Emit) -> Records:
    """Reads the data; no model is needed for that, so mistakes in it show in a second."""
    check_options(recipe)
    emit(Stage("reading data"))
    records = load_records(recipe.data, recipe.seed)
    check_shape(recipe, records.shape.name, task_names_for(records.shape.record))
    for note in records.shape.notes:
        emit(Note(note))
    if records.ignored_columns:
        named = ", ".join(f"`{column}`" for column in records.ignored_columns)
        emit(Note(f"Columns that are not read: {named}."))
    return records


def set_up(resolver: Resolver, records: Records, emit: Emit) -> Setting:
    """Finds model, tokenizer and device of this machine; fills in what follows from them.

    Raises:
        RecipeError: task, method and model make no sense together.
    """
    name_model(resolver, records)
    section = resolver.recipe.model
    device = choose_device(section.device)
    location = locate_model(section)
    model = FoundModel(location, read_config(location, section), load_tokenizer(location, section))
    return settle(resolver, records, model, device, choose_precision(section.precision, device), emit)


def name_model(resolver: Resolver, records: Records) -> None:
    """Fills in the bundled model for the task, where none was named."""
    if resolver.recipe.model.name == AUTO:
        wanted = resolver.recipe.task
        task = task_facts(task_names_for(records.shape.record)[0] if wanted == AUTO else wanted)
        resolver.fill("model.name", *default_model(task))


def settle(
    resolver: Resolver,
    records: Records,
    model: FoundModel,
    device: torch.device,
    precision: tuple[str, str],
    emit: Emit,
) -> Setting:
    """The setting of a run of this model on this device; fills in what follows from them.

    Args:
        resolver: of the recipe.
        records: the rows.
        model: location, config and tokenizer.
        device: where the run takes place, or would.
        precision: the number format and the reason for it.
        emit: told what was adapted.

    Raises:
        RecipeError: task, method and model make no sense together.
    """
    likely = [task_facts(name) for name in task_names_for(records.shape.record)]
    task, reason = choose_task(resolver.recipe.task, likely, model_kind(model.config), model.location.name)
    resolver.fill("task", task.name, reason)
    resolver.fill("model.device", device.type, "the fastest device here")
    resolver.fill("model.precision", *precision)
    method = make_method(LIKELY_METHOD if resolver.recipe.method == AUTO else resolver.recipe.method)
    tokenizer = model.tokenizer
    tokenizer.add_tokens(method.added_tokens(resolver.recipe))
    for note in ensure_pad_token(tokenizer, model.config.get_text_config().vocab_size):
        emit(Note(note))
    resolve_context(resolver, model.config, tokenizer, method.virtual_tokens(resolver.recipe))
    resolve_choices(resolver, task.choices(records.train, resolver.recipe))
    resolver.fill("data.labels", [], "the task has none", is_told=False)
    resolve_general(resolver, task, model_kind(model.config), emit)
    made = make_task(task.name, tokenizer, resolver.recipe)
    if not method.can_pack:
        made.encoder.disable_packing()
    check_pair(task, made.objective.head, method, model.config, model.location.name)
    for note in made.encoder.notes:
        emit(Note(note))
    return Setting(model.location, tokenizer, model.config, made, method, device)


def encode_rows(records: Records, setting: Setting, recipe: Recipe, emit: Emit) -> Rows:
    """Turns records into token ids and labels.

    Raises:
        DataError: no training row is left to learn from.
    """
    emit(Stage("tokenizing"))
    context = int(recipe.data.context)
    tokenizer = tokenizer_hash(setting.tokenizer)
    parts = records.train, records.valid
    training, validation = (_encode(part, records, setting, recipe, tokenizer, emit) for part in parts)
    rows = Rows(records, training, validation)
    if records.train and not rows.training.examples:
        named = "; ".join(f"{row.place}: {row.reason}" for row in rows.training.rejected[:3])
        limit = context_limit(setting.config)
        raise DataError(
            f"none of the {len(records.train)} training rows can be learned from",
            f"{named}.",
            f"Raise `data.context`: this model reads up to {limit} tokens"
            if limit and limit > context
            else f"Shorten the rows, or choose a model that reads more than {context} tokens",
        )
    if rows.training.truncated_rows:
        emit(
            Note(
                f"{rows.training.truncated_rows} rows are longer than {context} tokens; "
                f"{rows.training.truncated_tokens} of their tokens were cut {setting.task.encoder.cut_from}."
            )
        )
    return rows


def _encode(
    part: Sequence[Any], records: Records, setting: Setting, recipe: Recipe, tokenizer: str | None, emit: Emit
) -> Encoded:
    """One part of the rows, tokenized now or by an earlier command."""
    context = int(recipe.data.context)
    if tokenizer is None:
        return encode_records(setting.task.encoder, part, context)
    options = {name: getattr(recipe, name).model_dump(mode="json") for name in setting.task.sections}
    key = rows_key([records.sha256, setting.task.name, context, options, tokenizer], part)
    if (kept := find_encoded(key)) is not None:
        return kept
    begun = time.perf_counter()
    encoded = encode_records(setting.task.encoder, part, context)
    if time.perf_counter() - begun > _WORTH_KEEPING and (why := keep_encoded(key, encoded)):
        emit(Note(f"The tokens of these rows are not kept for the next run: {why}."))
    return encoded


def left_out(rows: Rows) -> str:
    """The first rows that were left out, with their reasons."""
    first = "; ".join(f"{row.place}: {row.reason}" for row in rows.rejected[:_NAMED_ROWS])
    more = len(rows.rejected) - _NAMED_ROWS
    return f"Left out: {first}" + (f"; and {more:,} more, all of them in `rejected.jsonl`" if more > 0 else "")


def held_out_questions(rows: Rows, setting: Setting, most: int) -> list[Question]:
    """The first held-out rows that can be asked as questions, at most so many."""
    used = sorted(set(rows.validation.owners))
    asked = (setting.task.predictor.question(rows.records.valid[index]) for index in used)
    return list(islice((question for question in asked if question is not None), most))


def make_plan(encoded: Encoded, setting: Setting, recipe: Recipe) -> BatchPlan:
    """The batches of some rows under a resolved recipe."""
    return BatchPlan(
        encoded.examples,
        collate=setting.task.encoder.collate,
        context=int(recipe.data.context),
        packing=recipe.data.packing,
        step_tokens=int(recipe.batch.tokens),
        micro_rows=int(recipe.batch.rows),
        seed=recipe.seed,
    )


def describe_data(rows: Rows, plan: BatchPlan, setting: Setting) -> DataReady:
    """What the rows became."""
    return DataReady(
        shape=rows.records.shape.name,
        task=setting.task.name,
        training_rows=len(set(rows.training.owners)),
        validation_rows=len(set(rows.validation.owners)),
        rejected_rows=len(rows.rejected),
        tokens=rows.training.num_tokens,
        trained_tokens=rows.training.num_trained,
        packed_rows=len(plan.rows),
    )


def unread_by(setting: Setting) -> set[str]:
    """Sections of the recipe that neither the task nor the method of a run reads."""
    tasks, methods = [task_facts(name) for name in task_names()], [make_method(name) for name in method_names()]
    return unread_sections(setting.task, setting.method, tasks, methods)


def loading_for(method: Method, recipe: Recipe, device: torch.device) -> Loading:
    """How a method wants its base model held, and how it computes.

    Args:
        method: of the run.
        recipe: whose precision is filled in.
        device: where the weights lie.
    """
    loading = method.loading(PRECISIONS[recipe.model.precision], device)
    dropout = recipe.model.dropout
    has_dropout = method.trains_base if dropout == AUTO else bool(dropout)
    return replace(loading, fast_on=fast_device(recipe, device), has_dropout=has_dropout)


def fast_device(recipe: Recipe, device: torch.device) -> str:
    """What `Loading.fast_on` is on a device."""
    return device.type if recipe.model.kernels == "fast" else ""


def other_rows(recipe: Recipe, data: str, emit: Emit) -> Records:
    """All rows of another file, read as those of a run, as held-out rows.

    Raises:
        DataError: they are for another task.
    """
    own = recipe.data.model_copy(update={"path": data, "validation": None, "rows": None, "shape": AUTO})
    records = read_rows(recipe.model_copy(update={"data": own, "task": AUTO}), emit)
    if recipe.task not in task_names_for(records.shape.record):
        raise DataError(
            f"the rows of `{data}` do not fit the run `{recipe.name}`",
            f"They have the shape `{records.shape.name}`, which is for the task "
            f"`{task_names_for(records.shape.record)[0]}`.",
            f"Name rows for the task `{recipe.task}`",
        )
    return replace(records, valid=[*records.train, *records.valid])
