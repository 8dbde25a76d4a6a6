"""The step of a deep model, from the steps of two shallow ones, is its own step to the byte."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest

from burnish.plan.fit import shard
from burnish.plan.live_storage import GRADIENTS, OPTIMIZER, WEIGHTS
from burnish.plan.roofline import Work
from burnish.plan.sharding import AT_ONCE, GATHERED, Shards
from burnish.plan.simulate import INPUTS, Enough, Simulation, simulate_deep
from burnish.recipe.schema import DistributedSection
from tests.tiny_steps import TinyStep, tiny_config

CASES = (
    ("gpt2", "full", False, 1),
    ("gpt2", "full", False, 2),
    ("llama", "full", False, 2),
    ("bert", "lora", True, 2),
    ("bert", "prompt", False, 1),
    ("modernbert", "full", True, 1),
    ("gemma2", "qlora", False, 2),
    ("t5", "full", False, 1),
)
ALIKE = CASES[0], CASES[1], CASES[3], CASES[6], CASES[7]
"""What they add to the others is left to the long run."""
OUTSIDE = ("outside", "trained_outside", "shared_outside")
LAYERS = {"gpt2": 7, "llama": 7, "bert": 7, "modernbert": 10, "gemma2": 7, "t5": 7}


@pytest.mark.parametrize(
    ("model", "method", "checkpointing", "micro_batches"),
    [pytest.param(*case, marks=pytest.mark.slow) if case in ALIKE else case for case in CASES],
)
def test_extrapolated_is_whole(model: str, method: str, checkpointing: bool, micro_batches: int) -> None:
    config, step = tiny_config(model, LAYERS[model]), TinyStep(model, method, checkpointing, micro_batches)
    depths: list[int | None] = []

    def run(blocks: int | None, enough: Enough | None) -> Simulation:
        depths.append(blocks)
        return step.simulated(config, blocks, enough)

    deep, whole = simulate_deep(config, run, is_uniform=True), step.simulated(config)
    assert len(depths) == 2
    assert all(blocks is not None and blocks < LAYERS[model] for blocks in depths)
    assert deep.peak.total == whole.peak.total
    assert deep.peak.parts == whole.peak.parts
    assert (deep.weights, deep.trained) == (whole.weights, whole.trained)
    assert [getattr(deep, name) for name in OUTSIDE] == [getattr(whole, name) for name in OUTSIDE]
    assert deep.work.flops == whole.work.flops
    read = [sum(one.traffic * times for one, times in seen.work.operations.items()) for seen in (deep, whole)]
    assert read[0] == pytest.approx(read[1], rel=1e-3), (
        "but for the norms of all gradients, which are laid side by side"
    )


@pytest.mark.parametrize(
    ("model", "method", "checkpointing", "micro_batches"),
    [CASES[0], *(pytest.param(*case, marks=pytest.mark.slow) for case in CASES[1:])],
)
def test_a_step_that_takes_far_more_than_there_is_room_is_simulated_once(
    model: str, method: str, checkpointing: bool, micro_batches: int
) -> None:
    config, step = tiny_config(model, LAYERS[model]), TinyStep(model, method, checkpointing, micro_batches)
    depths: list[int | None] = []

    def run(blocks: int | None, enough: Enough | None) -> Simulation:
        depths.append(blocks)
        return step.simulated(config, blocks, enough)

    least, whole = simulate_deep(config, run, True, room=0), step.simulated(config)
    assert len(depths) == 1
    assert least.is_bound
    assert whole.weights <= least.peak.total <= whole.peak.total
    assert not simulate_deep(config, run, True, room=whole.peak.total).is_bound


@pytest.mark.parametrize(("layers", "is_uniform", "depth"), [(6, True, None), (9, False, None), (7, True, 3)])
def test_shallow_models_and_uneven_methods_are_simulated_whole(
    layers: int, is_uniform: bool, depth: int | None
) -> None:
    whole, asked = Simulation({}, 5, 3, Work(), is_bound=True), []

    def run(blocks: int | None, enough: Enough | None) -> Simulation:
        asked.append((blocks, enough is None))
        if blocks is not None:
            raise InterruptedError  # this is not a simulation of the whole model
        return whole

    with contextlib.suppress(InterruptedError):
        assert simulate_deep(tiny_config("llama", layers), run, is_uniform, room=1) is whole
    assert asked == [(depth, depth is None)]


@pytest.mark.parametrize(
    ("model", "method", "is_shared"), [("gpt2", "full", True), ("gpt2", "lora", False), ("bert", "full", False)]
)
def test_the_gradients_of_a_shared_matrix_are_counted_once(model: str, method: str, is_shared: bool) -> None:
    """GPT-2's input layer is its output layer, and a classifier of BERT's kind has no output layer of words."""
    step, config = TinyStep(model, method), tiny_config(model, 2)
    seen = step.simulated(config)
    assert 0 < seen.shared_outside <= seen.trained_outside if is_shared else seen.shared_outside == 0
    alone = replace(seen, shared_outside=0)
    gathered = [
        shard(one, config, Shards(2), DistributedSection()).phases["begin"].parts[GATHERED] for one in (alone, seen)
    ]
    assert gathered[0] - gathered[1] == 4 * seen.shared_outside


@pytest.mark.parametrize(("model", "checkpointing"), [("llama", False), ("llama", True), ("gpt2", False)])
def test_no_block_is_gathered_any_more_when_the_gradients_of_the_embeddings_are_made(
    model: str, checkpointing: bool
) -> None:
    step, config = TinyStep(model, "full", checkpointing), tiny_config(model, 2)
    seen = step.simulated(config)
    block = (seen.weights - seen.outside) // 2
    phases = shard(seen, config, Shards(2), DistributedSection()).phases
    before, after = (phases[name].parts[GATHERED] for name in ("backward 0 0", INPUTS))
    assert before - after == AT_ONCE * block
    assert seen.phases[INPUTS].parts["gradients"] > 0


def test_what_is_offloaded_is_not_on_the_device() -> None:
    """Not even while it is loaded: of a model that no device holds, only blocks ever come there."""
    step, config = TinyStep("llama", "full"), tiny_config("llama", 8)
    seen = step.simulated(config)
    kept, offloaded = (shard(seen, config, Shards(2), DistributedSection(offload=one)) for one in (False, True))
    assert kept.offloaded == 0
    assert "base" in kept.phases
    assert "base" not in offloaded.phases
    for peak in offloaded.phases.values():
        assert [peak.parts[part] for part in (WEIGHTS, GRADIENTS, OPTIMIZER)] == [0, 0, 0]
    assert offloaded.peak.total < kept.peak.total
    # two processes of one machine, each with half of weights, gradients and two moments
    assert offloaded.offloaded == seen.weights + 12 * seen.trained
    apart = shard(seen, config, Shards(1, 8), DistributedSection(offload=True))
    assert apart.offloaded == seen.weights  # while it is loaded
