"""A step of a run, simulated as one way to run it would take it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from burnish.data.batches import Batch
from burnish.engine.trainable import make_trainable, make_trainer
from burnish.methods import make_method
from burnish.models.depth import depth, with_depth
from burnish.models.skeleton import Skeleton
from burnish.plan.extrapolate import simulate_deep
from burnish.plan.fit import Way
from burnish.plan.live_storage import Peak
from burnish.plan.resolve import Facts
from burnish.plan.sharding import Shards, sharded_memory
from burnish.plan.simulate import Enough, Simulation, simulate
from burnish.recipe.schema import AUTO, Recipe
from burnish.tasks.encoded import Encoded
from burnish.workflows.preparation import Setting, fast_device, loading_for, make_plan


class CannotSimulate(Exception):
    """Torch, or the code of a model, needs numbers where a simulated step has none."""


def simulate_way(
    way: Way, recipe: Recipe, setting: Setting, encoded: Encoded, facts: Facts, room: int | None = None
) -> Simulation:
    """The heaviest step of a run, simulated.

    Args:
        way: method, micro-batch and checkpointing.
        recipe: for the rest.
        setting: of the run.
        encoded: the training rows.
        facts: of model and data.
        room: bytes beyond which no more is told than that the step takes more.

    Raises:
        CannotSimulate: the step of this model cannot be taken without numbers.
    """
    recipe = _with_way(recipe, way)
    method = make_method(way.method)
    batches = heaviest_step(recipe, setting, encoded)
    loading = replace(loading_for(method, recipe, torch.device("cpu")), fast_on=fast_device(recipe, setting.device))

    def run(blocks: int | None, enough: Enough | None) -> Simulation:
        config = setting.config if blocks is None else with_depth(setting.config, blocks)
        trust = recipe.model.trust_remote_code
        skeleton = Skeleton(config, setting.task.head, loading, setting.tokenizer, trust)
        network = make_trainable(
            skeleton.network, setting.task, method, recipe, setting.tokenizer, skeleton.new_modules
        )
        skeleton.fill(network)
        trainer = make_trainer(network, setting.task, method, recipe, torch.device("cpu"))
        return simulate(trainer, batches[:1], facts.outputs, has_gradients=len(batches) > 1, enough=enough)

    try:
        return simulate_deep(setting.config, run, method.is_uniform, room)
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError) as error:
        # whatever a model's own code comes to where it meets a tensor without numbers
        raise CannotSimulate(" ".join(str(error).split())[:200]) from error


def shard(simulation: Simulation, config: Any, shards: Shards) -> Simulation:
    """What each of several devices takes of a step."""
    if shards.ranks == 1:
        return simulation
    blocks = depth(config) or 1
    block, trained = simulation.weights // blocks, 4 * simulation.trained // blocks
    phases = {}
    for name, peak in simulation.phases.items():
        parts = sharded_memory(peak.parts, block, trained, shards)
        phases[name] = Peak(sum(parts.values()), parts)
    return replace(simulation, phases=phases)


def _with_way(recipe: Recipe, way: Way) -> Recipe:
    """The recipe of a simulated step: nothing left to `auto` that the step reads; the rate changes no memory."""
    rate = 1e-4 if recipe.train.learning_rate == AUTO else recipe.train.learning_rate
    train = {"gradient_checkpointing": way.checkpointing, "learning_rate": rate, "optimizer": "adamw"}
    return recipe.model_copy(
        update={
            "method": way.method,
            "train": recipe.train.model_copy(update=train),
            "batch": recipe.batch.model_copy(update={"rows": way.micro_rows}),
        }
    )


def heaviest_step(recipe: Recipe, setting: Setting, encoded: Encoded) -> list[Batch]:
    """The micro-batches of a step on the longest rows; two stand for any number, for the second finds gradients."""
    stand_in = Encoded(setting.task.stand_in(encoded.examples), encoded.owners, [])
    plan = make_plan(stand_in, setting, recipe)
    longest = next(plan.each_batch())
    rows = max(1, longest.input_ids.shape[0])
    return [longest] * (2 if plan.rows_per_step > rows else 1)
