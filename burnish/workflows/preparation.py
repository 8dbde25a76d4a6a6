"""What train, resume and evaluate have in common: from a recipe to encoded rows and a loaded model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from burnish.data.batches import BatchPlan
from burnish.data.dataset import Records, load_records
from burnish.data.row import Rejected
from burnish.engine.random_state import seed_everything
from burnish.errors import DataError, RecipeError
from burnish.methods import METHODS, make_method
from burnish.methods.method import Method
from burnish.models.base import BaseModel, load_base, load_tokenizer
from burnish.models.blocks import count_parameters
from burnish.models.device import PRECISIONS, choose_device, choose_precision
from burnish.models.location import ModelLocation, locate_model, read_config
from burnish.models.packing_probe import keeps_packed_apart
from burnish.plan.resolve import (
    Facts,
    Resolver,
    check_choices,
    context_limit,
    resolve_context,
    resolve_method,
    resolve_training,
)
from burnish.recipe.schema import Recipe
from burnish.runs.events import DataReady, Event, ModelReady, Note, Stage
from burnish.tasks import TASKS, make_task
from burnish.tasks.task import Encoded, Question, Task, encode_records

Emit = Callable[[Event], None]
_MEASURED_ANSWERS = 200


@dataclass(slots=True)
class Setting:
    """Where a run takes place: model folder, tokenizer, task, method, device."""

    location: ModelLocation
    tokenizer: Any
    config: Any
    task: Task
    method: Method
    device: torch.device


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


def read_rows(recipe: Recipe, emit: Emit) -> Records:
    """Reads the data; no model is needed for that, so mistakes in it show in a second."""
    check_choices(recipe, TASKS, METHODS)
    emit(Stage("reading data"))
    records = load_records(recipe.data, recipe.seed)
    if recipe.task not in ("auto", records.shape.task):
        raise RecipeError(
            f"the rows do not fit the task `{recipe.task}`",
            f"They have the shape `{records.shape.name}`, which is for the task `{records.shape.task}`.",
            "Leave `task` at `auto`, or map the columns with `--set data.columns.text=...`",
        )
    if records.ignored_columns:
        named = ", ".join(f"`{column}`" for column in records.ignored_columns)
        emit(Note(f"Columns that are not read: {named}."))
    return records


def set_up(resolver: Resolver, task: str, emit: Emit) -> Setting:
    """Finds model, tokenizer and device; fills in what follows from them."""
    section = resolver.recipe.model
    device = choose_device(section.device)
    location = locate_model(section)
    config = read_config(location, section)
    tokenizer = load_tokenizer(location, section)
    resolver.fill("task", task, "the shape of the rows")
    resolver.fill("model.device", device.type, "the fastest device here")
    resolver.fill("model.precision", *choose_precision(section.precision, device))
    resolve_context(resolver, config)
    made = make_task(task, tokenizer)
    for note in made.notes:
        emit(Note(note))
    return Setting(location, tokenizer, config, made, make_method(resolver.recipe.method), device)


def encode_rows(records: Records, setting: Setting, recipe: Recipe, emit: Emit) -> Rows:
    """Turns records into token ids and labels.

    Raises:
        DataError: no training row is left to learn from.
    """
    emit(Stage("tokenizing"))
    context = int(recipe.data.context)
    rows = Rows(
        records,
        encode_records(setting.task, records.train, context),
        encode_records(setting.task, records.valid, context),
    )
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
                f"{rows.training.truncated_tokens} tokens were cut from the left of their prompts."
            )
        )
    return rows


def load_network(setting: Setting, recipe: Recipe, emit: Emit) -> BaseModel:
    """Loads the base model in the type its method wants."""
    emit(Stage("loading the model"))
    base = load_from(setting.location, setting, recipe)
    for note in base.notes:
        emit(Note(note))
    return base


def load_from(location: ModelLocation, setting: Setting, recipe: Recipe) -> BaseModel:
    """Loads the network that lies somewhere, as the run's method wants its base."""
    weights = setting.method.weights_dtype(PRECISIONS[recipe.model.precision])
    return load_base(location, recipe.model, setting.tokenizer, setting.device, weights)


def open_result(result: Path, setting: Setting, recipe: Recipe, emit: Emit) -> Any:
    """Loads what a run has made, for use."""
    emit(Stage("loading the result"))
    return setting.method.open(lambda where: load_from(where, setting, recipe).network, setting.location, result)


def fill_from_facts(resolver: Resolver, base: BaseModel, rows: Rows, setting: Setting, emit: Emit) -> None:
    """Fills in what follows from the size of model and data, and whether rows may be packed."""
    if resolver.recipe.data.packing and not keeps_packed_apart(base.network):
        emit(Note("This model does not keep packed examples apart, so each example gets a row of its own."))
        unpacked = resolver.recipe.data.model_copy(update={"packing": False})
        resolver.recipe = resolver.recipe.model_copy(update={"data": unpacked})
    answers = [question.answer for question in held_out_questions(rows, setting, _MEASURED_ANSWERS)]
    facts = Facts(
        parameters=count_parameters(base.network)[1],
        vocabulary=base.network.get_input_embeddings().num_embeddings,
        tokens=rows.training.num_tokens,
        longest_answer=max((len(setting.tokenizer(answer).input_ids) for answer in answers), default=0),
    )
    resolve_training(resolver, facts, setting.method)
    resolve_method(resolver, base.network, setting.method, [make_method(name) for name in METHODS])


def held_out_questions(rows: Rows, setting: Setting, most: int) -> list[Question]:
    """The first held-out rows that can be asked as questions, at most so many."""
    used = sorted(set(rows.validation.owners))
    asked = (setting.task.question(rows.records.valid[index]) for index in used)
    return list(islice((question for question in asked if question is not None), most))


def apply_method(base: BaseModel, setting: Setting, recipe: Recipe, emit: Emit) -> Any:
    """Makes the method's weights trainable, from the recipe's seed."""
    seed_everything(recipe.seed)
    network = setting.method.apply(base.network, recipe)
    if recipe.train.gradient_checkpointing:
        base.network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        base.network.enable_input_require_grads()
    trained, parameters = count_parameters(network)
    name, method = setting.location.name, setting.method.name
    emit(ModelReady(name, method, setting.device.type, recipe.model.precision, parameters, trained))
    return network


def make_plan(encoded: Encoded, setting: Setting, recipe: Recipe) -> BatchPlan:
    """The batches of some rows under a resolved recipe."""
    return BatchPlan(
        encoded.examples,
        context=int(recipe.data.context),
        packing=recipe.data.packing,
        step_tokens=int(recipe.batch.tokens),
        micro_rows=int(recipe.batch.rows),
        pad_id=setting.tokenizer.pad_token_id,
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
