"""What train, resume and evaluate have in common: the base model, looked at and made trainable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from burnish.data.batching.batches import Batch
from burnish.engine.step import make_trainable
from burnish.models.base import BaseModel, load_base
from burnish.models.blocks import count_parameters, memory_bytes
from burnish.models.location import ModelLocation
from burnish.models.packing import keeps_packed_apart
from burnish.prepare.context import Emit, Rows, Setting, loading_for, make_plan
from burnish.prepare.encode import Encoded
from burnish.prepare.resolve import Resolver, resolve_choices
from burnish.recipe.schema import Recipe
from burnish.runs.events import ModelReady, Note, Progressed, Stage


def load_network(setting: Setting, recipe: Recipe, emit: Emit) -> BaseModel:
    """Loads the base model in the type its method wants."""
    emit(Stage("loading the model"))
    base = load_from(setting.location, setting, recipe)
    for note in base.notes:
        emit(Note(note))
    return base


def load_from(location: ModelLocation, setting: Setting, recipe: Recipe) -> BaseModel:
    """Loads the network that lies somewhere, as the run's method and task want their base."""
    loading = loading_for(setting.method, recipe, setting.device)
    return load_base(location, recipe.model, setting.tokenizer, setting.device, loading, setting.task.objective.head)


def open_result(result: Path, setting: Setting, recipe: Recipe, emit: Emit) -> Any:
    """Loads what a run has made, for use."""
    emit(Stage("loading the result"))
    return setting.method.open(lambda where: load_from(where, setting, recipe).network, setting.location, result)


@contextmanager
def as_base(network: Any, setting: Setting, recipe: Recipe) -> Iterator[Any]:
    """The base model of a tuned network: the same one where the method can switch itself off, else loaded once more."""
    without = setting.method.without(network)
    if without is None:
        yield load_from(setting.location, setting, recipe).network
        return
    with without:
        yield network


def tell_stops(network: Any, setting: Setting) -> None:
    """Writes into a network that is to be saved where its answers end, so that other programs stop there, too."""
    if setting.task.generates and network.generation_config is not None:
        network.generation_config.eos_token_id = setting.task.predictor.stop_ids


def write_stops(setting: Setting, folder: Path) -> None:
    """Writes beside an adapter where answers end, in transformers' layout; a whole model has told that itself."""
    if setting.task.generates and not (folder / "generation_config.json").exists():
        from transformers import GenerationConfig

        GenerationConfig(eos_token_id=list(setting.task.predictor.stop_ids) or None).save_pretrained(str(folder))


def look_at(base: BaseModel, setting: Setting, resolver: Resolver, emit: Emit) -> None:
    """Fills in what only the loaded model can tell: what the task may do with it, and whether rows may be packed."""
    for note in setting.task.objective.inspect_model(base.network):
        emit(Note(note))
    if resolver.recipe.data.packing and not keeps_packed_apart(base.network):
        emit(Note("This model does not keep packed examples apart, so each example gets a row of its own."))
        resolver.fill_packing(False)
    resolve_choices(resolver, setting.method.choices(base.network, resolver.recipe))


def prepare_rows(base: BaseModel, rows: Rows, setting: Setting, recipe: Recipe, emit: Emit) -> None:
    """Measures on the base model, before it is trained, what the task wants to know of it."""
    emit(Stage("looking at the base model"))
    prepare_examples(rows.training, base.network, setting, recipe, emit)
    prepare_examples(rows.validation, base.network, setting, recipe, emit)


def prepare_examples(encoded: Encoded, network: Any, setting: Setting, recipe: Recipe, emit: Emit) -> None:
    """Measures on the base model what the task wants to know of it, once for each example."""

    def batches() -> Iterator[Batch]:
        done = 0
        for batch in make_plan(encoded, setting, recipe).each_batch():
            yield batch
            done += len(batch.examples)
            emit(Progressed("rows measured", done, len(encoded.examples)))

    if encoded.examples:
        encoded.examples = setting.task.objective.prepare_examples(
            network, encoded.examples, batches(), recipe.model.precision
        )


def apply_method(base: BaseModel, setting: Setting, recipe: Recipe, emit: Emit) -> Any:
    """Makes the method's weights trainable, from the recipe's seed."""
    base_bytes = memory_bytes(base.network)
    fp32_bytes = 4 * count_parameters(base.network)[1]
    network = make_trainable(
        base.network, setting.task.objective, setting.method, recipe, setting.tokenizer, base.new_modules
    )
    trained, parameters = count_parameters(network)
    emit(
        ModelReady(
            name=setting.location.name,
            method=setting.method.name,
            device=setting.device.type,
            precision=recipe.model.precision,
            parameters=parameters,
            trained_parameters=trained,
            base_bytes=base_bytes,
            fp32_bytes=fp32_bytes,
        )
    )
    return network
