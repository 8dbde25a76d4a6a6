"""The start of every workflow: read the rows, find the model, resolve options, encode the rows.

    recipe ─► read_rows ─► open_context ─► encode ─► RunContext

A `RunContext` is frozen. Each later decision about a run (the plan, the loaded model) returns a new one with fewer
`auto` values left in its recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import torch

from burnish.data.batching.batches import BatchPlan
from burnish.data.batching.parts import PartOfBatches
from burnish.data.files.splits import TEST, VALID
from burnish.data.rows.dataset import MEANINGS, Records, load_records
from burnish.data.rows.row import Rejected
from burnish.data.rows.settled import Asked
from burnish.engine.process import ONE, Process
from burnish.engine.source import BatchSource
from burnish.errors import DataError, RecipeError
from burnish.methods import LIKELY_METHOD, make_method, method_names
from burnish.methods.method import Method
from burnish.models.base import load_tokenizer
from burnish.models.config import context_limit, model_kind
from burnish.models.device import choose_device, choose_precision, compute_repeatably
from burnish.models.location import FoundModel, ModelLocation, read_config
from burnish.models.tokenizer import choose_pad_token, missing_rows
from burnish.prepare.encode import Encoded, check_rows, encode_cached, encode_records, rows_key, tokenizer_hash
from burnish.prepare.ends import resolve_ends, taught_inside, without_taught
from burnish.prepare.final import FinalRows
from burnish.prepare.first_checks import check_options
from burnish.prepare.remarks import report_messages, report_shape
from burnish.prepare.resolve import (
    Resolver,
    check_pair,
    check_shape,
    choose_task,
    default_model,
    resolve_choices,
    resolve_context,
    resolve_general,
    resolve_task,
    unread_sections,
)
from burnish.prepare.same_inputs import check_alike
from burnish.prepare.shared import Shared, once
from burnish.prepare.start import locate_base, tokenizer_place
from burnish.prepare.vocabulary import check_tokenizer
from burnish.recipe.schema import AUTO, SHARDED, Recipe
from burnish.recipe.section import CONTINUE
from burnish.runs.events import Event, Note, Stage, Warned
from burnish.tasks import make_task, task_facts, task_names, task_names_for
from burnish.tasks.task import Question, Task

Emit = Callable[[Event], None]
_NAMED_ROWS = 3
PLAIN_TEXT = "text"
"""The shape of rows of which the text alone is learned."""
_NO_ANNOTATION = {
    "annotation.separator": "none",
    "annotation.columns": [],
    "annotation.missing": [],
    "annotation.rename": {},
    "annotation.good": [],
}
"""What remains of these options where the shape of the rows did not choose them."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """What has been decided about a run so far: recipe, rows, base model, task, method and device."""

    asked: Recipe
    """As the user gave it, with `auto` values."""
    recipe: Recipe
    """With every option filled in that has been decided so far."""
    records: Records
    location: ModelLocation
    """Of the base model."""
    config: Any
    """The base model's transformers config."""
    tokenizer: Any
    task: Task
    method: Method
    device: torch.device
    emit: Emit
    """Receives every event."""
    shared: Shared | None = None
    """What it has in common with other runs of this process; None for a run by itself."""
    process: Process = ONE
    """Of those that train it together."""
    draws_by_batch: bool = False
    """Whether what is drawn in a step, such as dropout, follows from the micro-batch: see `source`."""
    training: Encoded = field(default_factory=Encoded.empty)
    validation: Encoded = field(default_factory=Encoded.empty)
    """They choose the checkpoint."""
    test: Encoded = field(default_factory=Encoded.empty)
    """They choose nothing: base and tuned model are compared on them at the end."""
    new_modules: tuple[str, ...] = ()
    """Parts of the network that the base model has no weights for; known once it is loaded."""

    @property
    def context_length(self) -> int:
        """Maximum length of an example in tokens."""
        return int(self.recipe.data.context)

    @property
    def rejected(self) -> list[Rejected]:
        """Every row that was left out during reading or encoding."""
        encoded = (self.training, self.validation, self.test)
        return [*self.records.rejected, *(row for part in encoded for row in part.rejected)]

    @property
    def num_training_rows(self) -> int:
        """Rows with at least one training example."""
        return self.training.num_rows

    @property
    def num_validation_rows(self) -> int:
        """Rows with at least one validation example."""
        return self.validation.num_rows

    @property
    def num_test_rows(self) -> int:
        """Rows with at least one test example."""
        return self.test.num_rows

    @property
    def final(self) -> FinalRows:
        """The rows of the comparison at the end: those of the test split, or without one the validation rows."""
        if self.test.examples:
            return FinalRows(TEST, self.records.test, self.test)
        return FinalRows(VALID, self.records.valid, self.validation)

    def with_recipe(self, recipe: Recipe) -> RunContext:
        """The same run with another recipe."""
        return replace(self, recipe=recipe)

    def with_options(self, **sections: dict[str, Any]) -> RunContext:
        """The same run with some options changed, by section and name."""
        return replace(self, recipe=self.recipe.with_options(**sections))

    def batch_plan(self, encoded: Encoded) -> BatchPlan:
        """The batches of some encoded rows; the recipe's batch options must be resolved."""
        return BatchPlan(
            encoded.examples,
            collate=self.task.encoder.collate,
            context=self.context_length,
            packing=self.recipe.data.packing,
            step_tokens=int(self.recipe.batch.tokens),
            micro_rows=int(self.recipe.batch.rows),
            seed=self.recipe.seed,
        )

    def source(self, plan: BatchPlan) -> BatchSource:
        """What the loop of this process takes its batches from. What several processes began draws by micro-batch, also
        where one continues it, so that what is drawn does not depend on their number."""
        if self.process.is_alone and not self.draws_by_batch:
            return plan
        return PartOfBatches(plan, self.process.rank, self.process.world, is_even=self.is_sharded)

    @property
    def continues(self) -> bool:
        """Whether the adapter of an earlier run goes on training, rather than a new one."""
        return self.recipe.start.how == CONTINUE

    @property
    def is_sharded(self) -> bool:
        """Whether the processes of this run hold a part of each weight, rather than the whole model."""
        return not self.process.is_alone and self.recipe.distributed.strategy == SHARDED

    def questions(self, most: int) -> list[Question]:
        """The first validation rows that are questions with a known answer, at most `most` of them. What depends on
        them may choose: test rows are not among them."""
        return self._questions(self.records.valid, self.validation, most)

    def final_questions(self, most: int) -> list[Question]:
        """The same of the rows of the comparison at the end."""
        return self._questions(self.final.records, self.final.encoded, most)

    def _questions(self, records: Sequence[Any], encoded: Encoded, most: int) -> list[Question]:
        asked = (self.task.question(records[index]) for index in sorted(set(encoded.owners)))
        return list(islice((question for question in asked if question is not None), most))

    def unread_sections(self) -> set[str]:
        """Sections of the recipe that neither the task nor the method of this run uses, nor its number of processes."""
        tasks, methods = [task_facts(name) for name in task_names()], [make_method(name) for name in method_names()]
        alone = {"distributed"} if self.process.is_alone else set[str]()
        return unread_sections(self.task, self.method, tasks, methods) | alone


def prepare(recipe: Recipe, emit: Emit, shared: Shared | None = None, process: Process = ONE) -> RunContext:
    """Everything known about a run before its plan.

    Of several processes, each prepares it; the first of a machine fetches the model and caches the tokens for others.

    Args:
        recipe: may hold `auto` values.
        emit: receives every event.
        shared: what it has in common with other runs of this process.
        process: of those that train it together.

    Raises:
        RecipeError: task, method and model cannot be combined, or an option is out of range.
        DataError: the data cannot be read, or nothing can be learned from it.
        ModelError: there is no such model.
        MachineError: the device is missing.
    """
    choose_device(recipe.model.device)  # a device that is missing is refused before the rows are read
    with process.first_of_node():
        context = open_context(recipe, read_rows(recipe, emit, shared=shared), emit)
        context = encode(replace(context, shared=shared, process=process))
    if process.is_alone:
        return context
    check_alike(process, context.records.sha256, context.recipe)
    return replace(context, device=process.device(context.device), draws_by_batch=True)


def read_rows(
    recipe: Recipe, emit: Emit, asked: Asked | None = None, is_whole: bool = False, shared: Shared | None = None
) -> Records:
    """Reads the data; this needs no model, so mistakes show within a second.

    Args:
        recipe: may hold `auto` values.
        emit: receives every event.
        asked: what is said about the meaning of the rows; by default what the recipe says.
        is_whole: whether all rows are used as test rows, whatever split they are said to be of.
        shared: may hold them already.
    """
    check_options(recipe)
    emit(Stage("reading data"))
    asked = asked or what_is_asked(recipe)

    def key() -> list[Any]:
        return [recipe.data.model_dump(mode="json", exclude={"context", "packing"}), asked, is_whole]

    records = once(shared, "rows", key, lambda: load_records(recipe.data, asked, is_whole))
    check_shape(recipe, records.shape.name, task_names_for(records.shape.record))
    report_shape(records.shape, emit)
    return records


def what_is_asked(recipe: Recipe) -> Asked:
    """What a recipe says about the meaning of rows.

    Raises:
        RecipeError: a role is said to mean something else than `MEANINGS`.
    """
    for role, meaning in recipe.data.roles.items():
        if meaning not in MEANINGS:
            raise RecipeError(
                f"`data.roles.{role}` is `{meaning}`, which is not a role",
                f"A role can be mapped to {', '.join(f'`{one}`' for one in MEANINGS)}.",
                f"For example `--set data.roles.{role}=assistant`",
            )
    records = () if recipe.task == AUTO else task_facts(recipe.task).records
    return Asked(records=records, roles=recipe.data.roles, annotation=recipe.annotation, group=recipe.data.group)


def other_rows(recipe: Recipe, data: str, emit: Emit) -> Records:
    """All rows of another file as test rows, read with the options of this recipe.

    Raises:
        DataError: they are for another task.
    """
    # the columns beside a plain text were ignored on purpose
    shape = PLAIN_TEXT if recipe.data.shape == PLAIN_TEXT else AUTO
    other = {"path": data, "validation": None, "test": None, "group": None, "rows": None, "shape": shape}
    own = recipe.data.model_copy(update=other)
    records = read_rows(
        recipe.model_copy(update={"data": own, "task": AUTO}), emit, what_is_asked(recipe), is_whole=True
    )
    if recipe.task not in task_names_for(records.shape.record):
        raise DataError(
            f"the rows of `{data}` do not fit the run `{recipe.name}`",
            f"They have the shape `{records.shape.name}`, which is for the task "
            f"`{task_names_for(records.shape.record)[0]}`.",
            f"Give rows for the task `{recipe.task}`",
        )
    return records


def open_context(
    recipe: Recipe, records: Records, emit: Emit, report: Callable[[Any], None] | None = None
) -> RunContext:
    """Finds the base model, its tokenizer and a device on this machine, and resolves the options that depend on them.

    Args:
        recipe: may hold `auto` values.
        records: the rows.
        emit: receives every event.
        report: receives each choice instead of `emit`.

    Raises:
        RecipeError: task, method and model cannot be combined.
    """
    resolver = Resolver(recipe, report or emit)
    name_model(resolver, records)
    section = resolver.recipe.model
    device = choose_device(section.device)
    compute_repeatably(device)
    location = locate_base(resolver.recipe)
    config = read_config(location, section)
    model = FoundModel(location, config, load_tokenizer(tokenizer_place(resolver.recipe, location), section))
    check_tokenizer(resolver.recipe, model)
    return resolve_run(resolver, recipe, records, model, device, choose_precision(section.precision, device), emit)


def name_model(resolver: Resolver, records: Records) -> None:
    """Fills in the bundled model for the task where no model was named."""
    if resolver.recipe.model.name == AUTO:
        wanted = resolver.recipe.task
        task = task_facts(task_names_for(records.shape.record)[0] if wanted == AUTO else wanted)
        resolver.fill("model.name", *default_model(task))


def resolve_run(
    resolver: Resolver,
    asked: Recipe,
    records: Records,
    model: FoundModel,
    device: torch.device,
    precision: tuple[str, str],
    emit: Emit,
) -> RunContext:
    """Resolves the options that depend on rows, model and device. Returns the run, its rows not encoded yet.

    Args:
        resolver: of the recipe.
        asked: the recipe as the user gave it.
        records: the rows.
        model: location, config and tokenizer.
        device: where the run takes place, or would take place if it is only planned.
        precision: the precision and the reason for it.
        emit: receives notes on adaptations.

    Raises:
        RecipeError: task, method and model cannot be combined.
    """
    resolver.fill("data.shape", records.shape.name, "the columns of the rows", is_reported=bool(asked.data.path))
    resolver.replace("data.columns", dict(records.shape.column_map.columns), "the columns have no names")
    on_disk = records.disk.why if records.disk else ""
    resolver.fill("data.keep_in_memory", not on_disk, on_disk or "they fit", is_reported=bool(on_disk))
    likely = [task_facts(name) for name in task_names_for(records.shape.record)]
    task, reason = choose_task(resolver.recipe.task, likely, model_kind(model.config), model.location.name)
    resolver.fill("task", task.name, reason)
    resolve_choices(resolver, records.shape.choices)
    resolver.fill("start.how", None, "it starts from a base model", is_reported=False)
    for option, value in _NO_ANNOTATION.items():
        resolver.fill(option, value, "the rows have none", is_reported=False)
    resolver.fill("model.device", device.type, "the fastest device available")
    resolver.fill("model.precision", *precision)
    method = make_method(LIKELY_METHOD if resolver.recipe.method == AUTO else resolver.recipe.method)
    tokenizer = model.tokenizer
    tokenizer.add_tokens(method.added_tokens(resolver.recipe))
    for note in choose_pad_token(tokenizer, model.config, task.auto_class):
        emit(Note(note))
    resolve_context(resolver, model.config, tokenizer, method.virtual_tokens(resolver.recipe))
    resolve_task(resolver, task, records)
    resolve_general(resolver, task, model_kind(model.config), emit)
    made = make_task(task.name, tokenizer, resolver.recipe)
    if not method.can_pack:
        made.encoder.disable_packing()
    check_pair(task, made.objective.head, method, model.config, model.location.name)
    for note in made.encoder.notes:
        emit(Note(note))
    resolve_ends(resolver, made, model, emit)
    recipe = resolver.recipe
    return RunContext(asked, recipe, records, model.location, model.config, tokenizer, made, method, device, emit)


def encode(context: RunContext) -> RunContext:
    """The run with its records encoded as token ids and labels.

    Raises:
        DataError: no training row has anything to learn from.
    """
    context.emit(Stage("tokenizing"))
    records, limit = context.records, context.context_length
    tokenizer = tokenizer_hash(context.tokenizer)
    training = _encode(context, records.train, tokenizer, is_held_out=False)
    validation = _encode(context, records.valid, tokenizer, is_held_out=True)
    test = _encode(context, records.test, tokenizer, is_held_out=True)
    size, encoder = context.config.get_text_config().vocab_size, context.task.encoder
    if missing := missing_rows(context.tokenizer, size):
        for part in (training, validation, test):
            check_rows(encoder, part.examples, missing, context.location.name, size)
    context = _ended(context, (training, validation, test))
    for remark in context.task.encoder.held_out_remarks([*records.valid, *records.test]):
        context.emit(Warned(remark))
    if records.train and not training.examples:
        named = "; ".join(f"{row.place}: {row.reason}" for row in training.rejected[:_NAMED_ROWS])
        most = context_limit(context.config)
        raise DataError(
            f"none of the {len(records.train)} training rows can be learned from",
            f"{named}.",
            f"Raise `data.context`: this model accepts up to {most} tokens"
            if most and most > limit
            else f"Shorten the rows, or choose a model that accepts more than {limit} tokens",
        )
    report_messages(context, [*training.refused, *validation.refused, *test.refused])
    for encoded, kind in ((training, "training"), (validation, "validation"), (test, "test")):
        if encoded.truncated_rows:
            more = encoded.truncated_rows - len(encoded.truncated_places)
            named = ", ".join(encoded.truncated_places) + (f" and {more:,} more" if more else "")
            rows = f"{encoded.truncated_rows:,} {kind} row{'s are' if encoded.truncated_rows > 1 else ' is'}"
            cut = f"{encoded.truncated_tokens:,} tokens were cut {context.task.encoder.cut_from}"
            context.emit(Note(f"{rows} longer than {limit:,} tokens; {cut}: {named}."))
    if records.test and not test.examples:
        first = f": {test.rejected[0].place}: {test.rejected[0].reason}" if test.rejected else ""
        records = replace(records, why_no_test=f"none of the {len(records.test):,} test rows can be used{first}")
    return replace(context, records=records, training=training, validation=validation, test=test)


def _ended(context: RunContext, parts: Iterable[Encoded]) -> RunContext:
    """The run without further ends that occur inside its answers."""
    if not (ends := context.task.predictor.further_ends):
        return context
    inside = set[int]().union(*(taught_inside(context.task.encoder, part.examples, ends) for part in parts))
    asked, names = context.asked.evaluate.ends, list(context.recipe.evaluate.ends)
    kept = without_taught(names, inside, context.tokenizer, asked, context.emit)
    context.task.predictor.further_ends = tuple(context.tokenizer.convert_tokens_to_ids(kept))
    return context.with_options(evaluate={"ends": kept})


def _encode(context: RunContext, part: Sequence[Any], tokenizer: str | None, is_held_out: bool) -> Encoded:
    """One split, tokenized now or taken from the cache."""
    if tokenizer is None:
        return encode_records(context.task.encoder, part, context.context_length, is_held_out, context.records.disk)
    options = {name: getattr(context.recipe, name).model_dump(mode="json") for name in context.task.sections}
    key = rows_key(
        [context.records.sha256, context.task.name, context.context_length, options, tokenizer, is_held_out], part
    )

    def encoded() -> Encoded:
        disk = context.records.disk
        found, why = encode_cached(key, context.task.encoder, part, context.context_length, is_held_out, disk)
        if why:
            context.emit(Note(f"The tokens of these rows are not cached for the next run: {why}."))
        return found

    return once(context.shared, "tokens", lambda: key, encoded)
