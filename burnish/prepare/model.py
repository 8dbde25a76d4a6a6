"""The base model of a run: loaded, inspected, made trainable, and handed to the training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from burnish.data.batching.batches import Batch, BatchPlan
from burnish.data.batching.parts import own_and_spare
from burnish.engine.checkpoint import share_weights
from burnish.engine.loop import Loop
from burnish.engine.process import Process
from burnish.engine.progress import Progress
from burnish.engine.random_state import seed_everything
from burnish.engine.samples import Samples
from burnish.engine.step import make_trainable, make_trainer
from burnish.engine.validation import HeldOut
from burnish.methods.method import Method
from burnish.models.base import BaseModel, Loading, load_base
from burnish.models.blocks import count_parameters, memory_bytes
from burnish.models.device import PRECISIONS
from burnish.models.location import ModelLocation
from burnish.models.packing import separates_packed
from burnish.models.quantization import skipped_modules
from burnish.models.sharded import compute, is_sharded, shard_network
from burnish.models.tokenizer import choose_pad_token
from burnish.prepare.context import RunContext
from burnish.prepare.encode import Encoded, tokenizer_hash
from burnish.prepare.resolve import Resolver, resolve_choices, resolve_head_rate, total_steps
from burnish.prepare.shared import once
from burnish.prepare.start import start_folder
from burnish.recipe.schema import AUTO, Recipe
from burnish.runs.events import ModelReady, Note, Progressed, Resolved, Stage, Warned
from burnish.runs.folder import RunFolder


def loading_for(method: Method, recipe: Recipe, device: torch.device) -> Loading:
    """How a method's base model is stored and computes.

    Args:
        method: of the run.
        recipe: its precision is resolved.
        device: where the weights are.
    """
    precision = PRECISIONS[recipe.model.precision]
    loading = method.loading(precision, device)
    dropout = recipe.model.dropout
    has_dropout = method.trains_base if dropout == AUTO else bool(dropout)
    return replace(loading, fast_on=fast_device(recipe, device), has_dropout=has_dropout, computed_in=precision)


def unquantized(context: RunContext) -> list[str]:
    """Layers of a quantized base that are not quantized, as patterns; none if it is not quantized."""
    if loading_for(context.method, context.recipe, context.device).quantization is None:
        return []
    return skipped_modules(context.config, context.task.objective.head, context.recipe.model.trust_remote_code)


def fast_device(recipe: Recipe, device: torch.device) -> str:
    """The value of `Loading.fast_on` for a device."""
    return device.type if recipe.model.kernels == "fast" else ""


def _offloads(context: RunContext) -> bool:
    """Whether the parts of the weights are in CPU memory rather than on the devices that compute with them."""
    return context.is_sharded and context.recipe.distributed.offload


def load_network(context: RunContext) -> BaseModel:
    """Loads the base model in the dtype its method needs."""
    context.emit(Stage("loading the model"))
    base = _load_or_copy(context)
    for note in base.notes:
        context.emit(Note(note))
    if _offloads(context) and fast_device(context.recipe, context.device):
        context.emit(Note(_NO_FAST_KERNELS))
    if base.unloaded and context.method.trains_base:
        context.emit(Warned(f"{base.unloaded} An adapter (`--method lora`) leaves the base as it is."))
    return base


_NO_FAST_KERNELS = (
    "With `distributed.offload` the model computes with its own kernels: no GPU holds all of it, so the fast ones "
    "cannot be tried out."
)


def _load_or_copy(context: RunContext) -> BaseModel:
    """The base model loaded, or a copy of the one that runs of this process share."""

    def load() -> BaseModel:
        return load_from(context.location, context)

    if context.shared is None:
        return load()
    base = replace(context.shared.base(base_key(context), load), tokenizer=context.tokenizer)
    rows = base.network.get_input_embeddings().num_embeddings
    # as loading does
    choose_pad_token(base.tokenizer, base.network.config, context.task.objective.head.auto_class, rows)
    return base


def base_key(context: RunContext) -> list[str]:
    """What determines the loaded base model of a run: with the same values, the network is the same."""
    folder = context.location.folder
    files = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(folder.iterdir())]
    loading = loading_for(context.method, context.recipe, context.device)
    tokenizer = tokenizer_hash(context.tokenizer) or len(context.tokenizer)
    parts = (context.location, files, tokenizer, context.recipe.model, context.task.objective.head, loading)
    return [*map(str, parts), str(context.device)]


def load_from(location: ModelLocation, context: RunContext) -> BaseModel:
    """Loads the network at a location as the base that the run's method and task need.

    If the run offloads its weights, it is loaded into CPU memory, without fast kernels: no device may hold all of it.
    """
    loading, device = loading_for(context.method, context.recipe, context.device), context.device
    if _offloads(context):
        loading, device = replace(loading, fast_on=""), torch.device("cpu")
    section, head = context.recipe.model, context.task.objective.head
    return load_base(location, section, context.tokenizer, device, loading, head)


def open_result(context: RunContext, result: Path) -> Any:
    """Loads the result of a run for use."""
    context.emit(Stage("loading the result"))
    return context.method.open(lambda where: load_from(where, context).network, context.location, result)


@contextmanager
def as_base(network: Any, context: RunContext) -> Iterator[Any]:
    """The model that a tuned network began as: the same network if the method can be switched off, or takes the weights
    of the adapter that went on training; else loaded again."""
    if context.continues:
        with _at_start(network, context):
            yield network
        return
    without = context.method.without(network)
    if without is None:
        base = load_from(context.location, context).network
        if context.is_sharded:
            shard_network(base, context.device, reshards=True, offloads=_offloads(context))
        yield base
        return
    with without:
        yield network


@contextmanager
def _at_start(network: Any, context: RunContext) -> Iterator[None]:
    """While entered, an adapter has the weights that it went on from."""
    trained = context.method.weights_of(network)
    context.method.take(network, start_folder(context.recipe))
    try:
        yield
    finally:
        context.method.put(network, trained)


def unmoved(network: Any, context: RunContext) -> str:
    """Why a trained network equals the model that it began as; empty if it does not."""
    if not context.continues:
        return context.method.unmoved(network)
    trained = context.method.weights_of(network)
    with _at_start(network, context):
        began = context.method.weights_of(network)
    is_same = all(torch.equal(trained[name], began[name]) for name in trained)
    return "Its weights are those that it went on from" if is_same else ""


def open_base(context: RunContext) -> Any:
    """The model that a run began as, loaded by itself."""
    if context.continues:
        return open_result(context, start_folder(context.recipe))
    return load_from(context.location, context).network


def network_before(context: RunContext, base: BaseModel) -> Any:
    """The trainable network, where it is needed before anything is measured on it; else None.

    That is a network with the adapter that goes on training, and a sharded one: no device may hold all of it.

    Raises:
        ModelError: the adapter does not fit the model.
    """
    if context.is_sharded:
        return apply_method(context, base)
    if not context.continues:
        return None
    network = apply_method(context, base)
    context.method.take(network, start_folder(context.recipe))
    return network


def inspect_base(context: RunContext, base: BaseModel, report: Callable[[Resolved], None] | None = None) -> RunContext:
    """Resolves what depends on the loaded model: what the task can do with it, and whether rows can be packed.

    Args:
        context: of the run.
        base: loaded.
        report: receives each choice instead of the context's `emit`.
    """
    resolver = Resolver(context.recipe, report or context.emit)
    for note in context.task.objective.inspect_model(base.network):
        context.emit(Note(note))
    if resolver.recipe.data.packing and not separates_packed(base.network, base.identity):
        context.emit(Note("This model does not keep packed examples apart, so each example gets its own row."))
        resolver.fill_packing(False)
    resolve_choices(resolver, context.method.choices(base.network, resolver.recipe))
    resolve_head_rate(resolver, base.new_modules, context.emit)
    if context.method.needs_values:
        _check_on_whole(resolver, context, base.network)
    return replace(context.with_recipe(resolver.recipe), new_modules=base.new_modules)


def _check_on_whole(resolver: Resolver, context: RunContext, network: Any) -> None:
    """Corrects the options that the plan chose on a few blocks with random weights, if the whole model differs."""
    for option, value, reason in context.method.choices(network, context.asked):
        section, _, name = option.rpartition(".")
        planned = getattr(getattr(resolver.recipe, section), name)
        if getattr(getattr(context.asked, section), name) == AUTO and planned != value:
            context.emit(Note(f"In the whole model `{option}` is not what a few of its blocks showed: {planned}."))
            resolver.recipe = resolver.recipe.with_options(**{section: {name: AUTO}})
            resolver.fill(option, value, reason)


def measure_on_base(context: RunContext, network: Any) -> RunContext:
    """Runs the base model, before training, for what the task needs of it for each example of both splits."""
    context.emit(Stage("measuring the base model"))
    measured = {
        split: once(
            context.shared, split, partial(_values_key, context), partial(measure_examples, context, encoded, network)
        )
        for split, encoded in (("training", context.training), ("validation", context.validation))
    }
    return replace(context, **measured)


def _values_key(context: RunContext) -> list[Any]:
    """What determines the base model's values of the rows of a split: batches decide how sums are rounded."""
    recipe = context.recipe
    options = [getattr(recipe, name).model_dump(mode="json") for name in ("data", "batch", *context.task.sections)]
    return [base_key(context), context.records.sha256, recipe.task, recipe.seed, options]


def needs_base(context: RunContext, encoded: Encoded) -> bool:
    """Whether the task computes something for each of these rows with the base model."""
    first = list(encoded.examples[:1])
    return bool(first) and context.task.objective.placeholder_examples(first)[0] is not first[0]


def measure_examples(context: RunContext, encoded: Encoded, network: Any) -> Encoded:
    """The examples with what the task needs of the base model, for example reference log-probabilities."""

    def batches() -> Iterator[Batch]:
        done = 0
        for batch in own_batches(context.batch_plan(encoded), context.process, is_even=is_sharded(network)):
            yield batch
            if batch.is_spare:
                continue
            done += len(batch.examples)
            own.update(batch.examples)
            context.emit(Progressed("rows measured", done * context.process.world, len(encoded.examples)))

    if not encoded.examples:
        return encoded
    if context.records.disk is not None and needs_base(context, encoded):
        context.emit(Note("The rows are on the disk; with what the base model says of each, they are kept in memory."))
    own: set[int] = set()
    prepare = context.task.objective.prepare_examples
    with torch.no_grad():  # so that sharded weights are freed at once
        examples = compute(network, prepare, encoded.examples, batches(), context.recipe.model.precision)
    if not context.process.is_alone and needs_base(context, encoded):
        examples = list(examples)
        for found in context.process.gather({index: examples[index] for index in own}):
            for index, example in found.items():
                examples[index] = example
    return replace(encoded, examples=examples)


def own_batches(plan: BatchPlan, process: Process, is_even: bool = False) -> Iterator[Batch]:
    """The evaluation batches of a plan that this process computes, built one by one; together they are all of them.

    Args:
        plan: of some rows.
        process: of those that compute them.
        is_even: whether all processes compute equally many, some of them spare ones.
    """
    groups = plan.all_groups()
    own, spare = own_and_spare([rows * width for rows, width in map(plan.size_of, groups)], process.world, process.rank)
    yield from (plan.built(groups[number], None) for number in own)
    yield from (plan.built(groups[number], None).spare() for number in spare if is_even)


def apply_method(context: RunContext, base: BaseModel) -> Any:
    """Makes the method's weights trainable, from the recipe's seed, and shards them if the run does.

    Returns:
        The trainable network.

    Raises:
        ModelError: this model cannot be sharded.
    """
    base_bytes = memory_bytes(base.network)
    fp32_bytes = 4 * count_parameters(base.network)[1]
    recipe, task, method = context.recipe, context.task, context.method
    network = make_trainable(base.network, task.objective, method, recipe, context.tokenizer, base.new_modules)
    trained, parameters = count_parameters(network)
    context.emit(
        ModelReady(
            name=context.location.name,
            method=method.name,
            device=context.device.type,
            precision=recipe.model.precision,
            parameters=parameters,
            trained_parameters=trained,
            base_bytes=base_bytes,
            fp32_bytes=fp32_bytes,
        )
    )
    if context.is_sharded:
        share_weights(network, context.process)
        how = context.recipe.distributed
        shard_network(network, context.device, how.reshard_after_forward, _offloads(context))
    return network


def make_loop(context: RunContext, network: Any, batches: BatchPlan, folder: RunFolder) -> Loop:
    """A training loop at step 0.

    Args:
        context: fully resolved.
        network: trainable.
        batches: of the training rows.
        folder: where checkpoints go.
    """
    recipe, source = context.recipe, context.source(batches)
    trainer = make_trainer(
        network, context.task, context.method, recipe, context.device, context.new_modules, context.process
    )
    owners = context.validation.owners
    held_out = HeldOut.of(context.batch_plan(context.validation), owners, context.records.sources_of_valid(owners))
    steps = total_steps(recipe, source.steps_per_epoch)
    progress, samples = Progress(), samples_of(context)
    return Loop(trainer, source, held_out, recipe, steps, folder.checkpoints, context.emit, progress, samples)


def samples_of(context: RunContext) -> Samples | None:
    """The rows whose answers are watched, if any were asked for and can be."""
    recipe, task = context.recipe, context.task
    number = recipe.evaluate.samples
    if not number:
        return None
    if not context.process.is_alone or recipe.model.compile is True:
        why = "several processes train it" if not context.process.is_alone else "`model.compile` is `true`"
        context.emit(Note(f"`evaluate.samples` has no effect: no answers are written during a run if {why}."))
        return None
    questions = context.questions(number) if task.generates else []
    longest = int(recipe.evaluate.max_new_tokens)
    return Samples(task, context.tokenizer, number, questions, longest, recipe.model.precision)


def rebuild_loop(context: RunContext, folder: RunFolder) -> tuple[Loop, BatchPlan]:
    """The loop of an earlier run as before its first step, random state included, and its training batches.

    Args:
        context: from the saved recipe, encoded.
        folder: where checkpoints go.

    Raises:
        ModelError: the base model cannot be loaded.
    """
    base = load_network(context)
    context.task.objective.inspect_model(base.network)
    context = replace(context, new_modules=base.new_modules)
    network = network_before(context, base)
    context = measure_on_base(context, base.network if network is None else network)
    if network is None:
        network = apply_method(context, base)
    batches = context.batch_plan(context.training)
    loop = make_loop(context, network, batches, folder)
    seed_everything(context.recipe.seed)
    return loop, batches
