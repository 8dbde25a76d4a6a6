"""Finds the method, micro-batch and checkpointing that fit into memory, by simulating a step for each combination."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from burnish.data.batching.batches import Batch
from burnish.engine.optimizer import state_bytes
from burnish.engine.step import make_trainable, make_trainer
from burnish.methods import AUTO_METHODS, make_method
from burnish.models.config import depth, with_depth
from burnish.models.skeleton import Skeleton, quiet_fakes
from burnish.plan.live_storage import ACTIVATIONS, OPTIMIZER, WEIGHTS, Peak
from burnish.plan.sharding import AT_ONCE, Gathered, Shards, offloaded_memory, sharded_memory
from burnish.plan.simulate import INPUTS, MOVE, Enough, Simulation, simulate, simulate_deep
from burnish.prepare.context import RunContext
from burnish.prepare.encode import Encoded
from burnish.prepare.model import fast_device, loading_for
from burnish.prepare.resolve import Facts
from burnish.prepare.shared import once
from burnish.recipe.schema import AUTO, DistributedSection, Recipe, TrainSection

SMALL, LARGE = 1_000, 10_000
"""Training rows below which overfitting is likely, and above which full fine-tuning is worthwhile."""
SMALL_ENCODER = 150_000_000
"""Parameters up to which an encoder is trained as a whole. On 200 rows, too, the bundled one and one of 23 M parameters
did better so than with an adapter, at the default rates."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to run a step."""

    method: str
    micro_rows: int
    """Rows of the context length in memory at a time."""
    checkpointing: bool
    is_sharded: bool = False
    """Whether each of several devices holds a part of every weight, rather than all of them."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A way to run a step, its simulation, and whether it fits."""

    way: Way
    simulation: Simulation
    fits: bool


Simulate = Callable[[Way, int | None], Simulation]
"""Simulates a step; beyond this many bytes, a lower bound is enough."""


def methods_for(rows: int | None, kind: str = "causal", parameters: int = 0) -> tuple[tuple[str, ...], str]:
    """The methods to try, best first, and why.

    Args:
        rows: for training; None if unknown.
        kind: of the base model, see `models/config.py`.
        parameters: of the base model.
    """
    if rows is None:
        return AUTO_METHODS, "no data was given, so memory alone decides"
    if kind == "masked" and parameters <= SMALL_ENCODER:
        return (
            AUTO_METHODS,
            f"an encoder of {parameters / 1e6:,.1f} M parameters learns more as a whole, from few rows too",
        )
    if rows < SMALL:
        reason = f"a fully trained model memorizes fewer than {SMALL:,} rows; an adapter has less capacity for that"
        return AUTO_METHODS[1:], reason
    if rows <= LARGE:
        reason = f"with {SMALL:,} to {LARGE:,} rows an adapter learns as well as the whole model, in less memory"
        return AUTO_METHODS[1:], reason
    return AUTO_METHODS, f"more than {LARGE:,} rows are enough to train the whole model"


def find_fit(
    methods: Sequence[str],
    rows: Sequence[int],
    checkpointing: Sequence[bool],
    run: Simulate,
    room: int,
    sharding: Callable[[str], Sequence[bool]] = lambda method: (False,),
) -> Fit:
    """The first way that fits, from the best method to the last.

    Smaller micro-batches, activation checkpointing and sharded weights change the time but not the result, so all are
    tried before a method of lower quality. Of the ways that fit with a method, those with whole weights on each device
    come first, then those that keep activations, then those with more rows.

    Args:
        methods: the best first.
        rows: micro-batches to choose from, the largest first.
        checkpointing: whether to try keeping activations, recomputing them, or both.
        run: simulates a step.
        sharding: of a method, whether to try whole weights on each device, sharded ones, or both.
        room: bytes available to tensors.

    Returns:
        The fit; if nothing fits, the way that takes the least memory.
    """
    least: Fit | None = None
    for method in methods:
        for shards, again in itertools.product(sharding(method), checkpointing):
            larger: Fit | None = None
            for number in _extremes(rows):
                way = Way(method, number, again, shards)
                bound = None if larger is None else _at_least(larger, number)
                seen = run(way, room) if bound is None or bound.peak.total <= room else bound
                fit = Fit(way, seen, not seen.is_bound and seen.peak.total <= room)
                if fit.fits:
                    return _grown(fit, larger, rows, run, room)
                larger = fit
                if least is None or seen.peak.total < least.simulation.peak.total:
                    least = fit
    assert least is not None  # there is always a method, and always a micro-batch
    return Fit(least.way, run(least.way, None), False) if least.simulation.is_bound else least


def _at_least(larger: Fit, rows: int) -> Simulation:
    """A lower bound for a smaller micro-batch: everything but weights and optimizer scales with the rows."""
    peak, whole = larger.simulation.peak, (WEIGHTS, OPTIMIZER)
    fixed = sum(peak.parts.get(part, 0) for part in whole)
    total = fixed + (peak.total - fixed) * rows // larger.way.micro_rows
    parts = {part: size if part in whole else size * rows // larger.way.micro_rows for part, size in peak.parts.items()}
    return replace(larger.simulation, phases={"at least": Peak(total, parts)}, is_bound=True)


def _extremes(rows: Sequence[int]) -> list[int]:
    """The largest and the smallest: if only the smallest fits, the best is in between."""
    return list(dict.fromkeys((rows[0], rows[-1])))


def _grown(fit: Fit, largest: Fit | None, rows: Sequence[int], run: Simulate, room: int) -> Fit:
    """The largest micro-batch that fits, for a way that fits with the smallest.

    Live bytes are linear in the rows within a phase, and convex where the peak moves to another phase. So a line
    between two sizes never underestimates, and a size that it accepts is simulated only to make sure.
    """
    if largest is None:
        return fit
    low, high = fit.simulation.peak.total, largest.simulation.peak.total
    each = (high - low) / (largest.way.micro_rows - fit.way.micro_rows)
    for number in rows[1:-1]:
        if low + each * (number - fit.way.micro_rows) > room:
            continue
        way = replace(fit.way, micro_rows=number)
        seen = run(way, room)
        if not seen.is_bound and seen.peak.total <= room:
            return Fit(way, seen, True)
    return fit


class CannotSimulate(Exception):
    """Torch, or the code of a model, needs values that the tensors of a simulated step do not have."""


def simulate_way(way: Way, context: RunContext, facts: Facts, room: int | None = None) -> Simulation:
    """The heaviest step of a run, simulated.

    Args:
        way: method, micro-batch and checkpointing.
        context: of the run, encoded.
        facts: of model and data.
        room: bytes beyond which a lower bound is enough.

    Raises:
        CannotSimulate: this model's step needs the values of tensors.
    """
    recipe, task, tokenizer = _with_way(context.recipe, way), context.task, context.tokenizer
    method = make_method(way.method)
    batches = heaviest_step(context.with_recipe(recipe))
    loading = replace(loading_for(method, recipe, torch.device("cpu")), fast_on=fast_device(recipe, context.device))

    def run(blocks: int | None, enough: Enough | None) -> Simulation:
        config = context.config if blocks is None else with_depth(context.config, blocks)
        skeleton = Skeleton(config, task.objective.head, loading, tokenizer, recipe.model.trust_remote_code)
        network = make_trainable(skeleton.network, task.objective, method, recipe, tokenizer, skeleton.new_modules)
        skeleton.fill(network)
        trainer = make_trainer(network, task, method, recipe, torch.device("cpu"))
        seen = simulate(trainer, batches[:1], facts.outputs, has_gradients=len(batches) > 1, enough=enough)
        train = context.recipe.train
        return seen if train.optimizer in (AUTO, "adamw") else _with_state(seen, network, train)

    bounds: list[Simulation] = []

    def simulated() -> Simulation | None:
        """Of the exact ones; a lower bound depends on the room, which is never the same."""
        seen = simulate_deep(context.config, run, method.is_uniform(recipe), room)
        if seen.is_bound:
            bounds.append(seen)
        return None if seen.is_bound else seen

    def key() -> list[Any]:
        return [
            context.config.to_json_string(use_diff=False),
            recipe.model_dump(mode="json", exclude=_NOT_OF_A_STEP),
            context.recipe.train.optimizer,  # the recipe of a simulated step has AdamW
            facts.outputs,
            [_content(one) for one in batches],
        ]

    try:
        with quiet_fakes():
            return once(context.shared, "steps", key, simulated) or bounds[0]
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError) as error:
        # any of these may be raised by a model's own code on a tensor without values
        raise CannotSimulate(" ".join(str(error).split())[:200]) from error


_NOT_OF_A_STEP: Any = {"name": True, "runs": True, "evaluate": True, "save": True, "batch": {"tokens"}}
"""Options on which the memory of a step does not depend: its batches are known."""


def _content(batch: Batch) -> list[Any]:
    """What a step depends on of a batch."""
    hashed = hashlib.sha256()
    for tensor in batch.tensors():
        hashed.update(tensor.numpy().tobytes())
    return [[list(tensor.shape) for tensor in batch.tensors()], batch.num_tokens, hashed.hexdigest()]


def _with_state(simulation: Simulation, network: Any, train: TrainSection) -> Simulation:
    """The same with the state of another optimizer than AdamW, whose update reads values that no tensor has here.

    During the update each has, one matrix at a time, a few copies of the largest.
    """
    share = state_bytes(network, train.optimizer) / max(1, state_bytes(network, "adamw"))
    largest = max((weight.numel() for weight in network.parameters() if weight.requires_grad), default=0)
    phases = {}
    for name, peak in simulation.phases.items():
        parts = {**peak.parts, OPTIMIZER: round(peak.parts[OPTIMIZER] * share)}
        if name == MOVE:
            parts[ACTIVATIONS] += _UPDATE_BYTES * largest
        phases[name] = Peak(sum(parts.values()), parts)
    return replace(simulation, phases=phases)


_UPDATE_BYTES = 16
"""For each value of a matrix while it is updated: four copies in fp32, or Muon's in fp32 and several in bf16."""


def shard(simulation: Simulation, config: Any, shards: Shards, how: DistributedSection) -> Simulation:
    """The memory of a run on each of several devices that share its weights.

    Args:
        simulation: of a step on one device.
        config: of the model.
        shards: the devices.
        how: whether blocks are freed between forward and backward pass, and whether the parts are in CPU memory.
    """
    if shards.ranks == 1:
        return simulation
    reshards, offloads = how.reshard_after_forward, how.offload
    blocks = depth(config) or 1
    block = (simulation.weights - simulation.outside) // blocks
    trained = 4 * (simulation.trained - simulation.trained_outside) // blocks
    # a gradient is copied before it is reduced; of a shared matrix that is after its two gradients have been added up,
    # which took more
    outside = Gathered(simulation.outside, 4 * (simulation.trained_outside - simulation.shared_outside))
    whole = Gathered(block * (AT_ONCE if reshards else blocks), trained)
    phases = {}
    for name, peak in simulation.phases.items():
        # by then all blocks have been freed, and the gradient of the last one is being reduced
        held = Gathered(0, trained) if name == INPUTS else whole
        parts = sharded_memory(peak.parts, outside, held, shards, offloads)
        phases[name] = Peak(sum(parts.values()), parts)
    if offloads:
        offloaded = offloaded_memory(simulation.weights, simulation.trained, shards)
        return replace(simulation, phases=phases, offloaded=offloaded)
    # the base model is loaded as a whole before it is sharded, and again at the end, to be compared with
    parts = dict.fromkeys(simulation.peak.parts, 0)
    parts |= {WEIGHTS: simulation.weights + shards.share(simulation.weights)}
    phases["base"] = Peak(sum(parts.values()), parts)
    return replace(simulation, phases=phases)


def _with_way(recipe: Recipe, way: Way) -> Recipe:
    """The recipe of a simulated step, without `auto` in options that it uses; the rate does not affect memory."""
    rate = 1e-4 if recipe.train.learning_rate == AUTO else recipe.train.learning_rate
    train = {"gradient_checkpointing": way.checkpointing, "learning_rate": rate, "optimizer": "adamw"}
    return recipe.model_copy(
        update={
            "method": way.method,
            "train": recipe.train.model_copy(update=train),
            "batch": recipe.batch.model_copy(update={"rows": way.micro_rows}),
        }
    )


def heaviest_step(context: RunContext) -> list[Batch]:
    """The micro-batches of a step on the longest rows: at most two, since the second adds to existing gradients."""
    encoded = context.training
    plan = context.batch_plan(
        Encoded(context.task.objective.placeholder_examples(encoded.examples), encoded.owners, [])
    )
    longest = next(plan.each_batch())
    rows = max(1, longest.input_ids.shape[0])
    return [longest] * (2 if plan.rows_per_step > rows else 1)
