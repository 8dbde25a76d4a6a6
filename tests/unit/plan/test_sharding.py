"""Shards over several GPUs: memory and communication, held against numbers counted by hand."""

from __future__ import annotations

import math

import pytest

from burnish.plan.roofline import TimeEstimate
from burnish.plan.sharding import (
    GATHERED,
    NETWORK,
    Gathered,
    Shards,
    communication_seconds,
    offloaded_memory,
    sharded_memory,
    sharded_time,
    summing_seconds,
)

GB = 10**9
SEVEN_BILLION = {  # fp32 with Adam
    "weights": 28 * GB, "gradients": 28 * GB, "optimizer": 56 * GB, "activations": 5 * GB, "logits": GB, "batch": 1000,
}  # fmt: skip
BLOCK = 800_000_000
OUTSIDE, BLOCKS = Gathered(500_000_000, 400_000_000), Gathered(2 * BLOCK, BLOCK)
NOTHING = Gathered(0, 0)
NVLINK = 300e9


def test_one_gpu_changes_nothing() -> None:
    one = Shards()
    compute = TimeEstimate(2.0, 1.0, 4.0)
    assert sharded_memory(SEVEN_BILLION, OUTSIDE, BLOCKS, one) == SEVEN_BILLION
    assert communication_seconds(28 * GB, 28 * GB, one, None) == 0
    assert summing_seconds(28 * GB, one, None) == 0
    assert sharded_time(compute, 0.0) == compute
    assert one.share(4097) == 4097


def test_eight_gpus_hold_an_eighth_and_gather_blocks() -> None:
    """The gradients of a block are there twice, because they are copied side by side before they are reduced."""
    held = sharded_memory(SEVEN_BILLION, OUTSIDE, BLOCKS, Shards(8))
    assert held == {
        "weights": 3.5 * GB, "gradients": 3.5 * GB, "optimizer": 7 * GB, "activations": 5 * GB, "logits": GB,
        "batch": 1000, GATHERED: 900_000_000 + 2 * BLOCK + 2 * BLOCK,
    }  # fmt: skip


def test_offloaded_weights_are_on_the_device_while_their_block_computes() -> None:
    held = sharded_memory(SEVEN_BILLION, OUTSIDE, BLOCKS, Shards(8), offloads=True)
    on_the_way = (OUTSIDE.weights + 3 * BLOCK) // 8
    assert held == {
        "weights": 0, "gradients": 0, "optimizer": 0, "activations": 5 * GB, "logits": GB,
        "batch": 1000, GATHERED: 900_000_000 + 2 * BLOCK + 2 * BLOCK + on_the_way,
    }  # fmt: skip
    # 16 bytes for each of 7 B parameters; or the weights alone, once for each process that loads them
    assert offloaded_memory(28 * GB, 7 * GB, Shards(2)) == 112 * GB
    assert offloaded_memory(28 * GB, 7 * GB, Shards(8)) == 8 * 28 * GB
    assert offloaded_memory(28 * GB, 7 * GB, Shards(2, 2)) == 56 * GB


def test_nodes_count_like_gpus_for_memory() -> None:
    found = [sharded_memory(SEVEN_BILLION, OUTSIDE, BLOCKS, shards) for shards in (Shards(8, 4), Shards(32))]
    assert found[0] == found[1]
    assert Shards(8, 4).ranks == 32


def test_a_share_is_rounded_up() -> None:
    assert [Shards(8).share(tokens) for tokens in (4096, 4097, 1, 0)] == [512, 513, 1, 0]
    assert sharded_memory({"weights": 9, "batch": 9}, NOTHING, NOTHING, Shards(2))["weights"] == 5


def test_what_is_held_shrinks_with_every_gpu() -> None:
    totals = [sum(sharded_memory(SEVEN_BILLION, OUTSIDE, BLOCKS, Shards(gpus)).values()) for gpus in range(2, 65)]
    assert totals == sorted(set(totals), reverse=True)


def test_a_full_fine_tuning_gathers_twice_and_scatters_once() -> None:
    """16 GB in bf16 gathered twice and 16 GB of gradients: 48 GB, of which 7/8 pass each rank, are 42 GB."""
    assert communication_seconds(16 * GB, 16 * GB, Shards(8), NVLINK) == pytest.approx(42 / 300)


def test_adapters_scatter_next_to_nothing() -> None:
    whole = communication_seconds(16 * GB, 16 * GB, Shards(8), NVLINK)
    adapter = communication_seconds(16 * GB, GB // 100, Shards(8), NVLINK)
    assert whole is not None
    assert adapter == pytest.approx(whole * 2 / 3, rel=1e-3)


def test_every_micro_batch_gathers_twice_unless_weights_stay() -> None:
    args = (16 * GB, 8 * GB, Shards(8), NVLINK)
    assert communication_seconds(*args, micro_batches=4) == pytest.approx((2 * 16 + 8) * 4 * 7 / 8 / 300)
    kept = communication_seconds(*args, micro_batches=4, reshards=False)
    assert kept == pytest.approx((16 + 8) * 4 * 7 / 8 / 300)


def test_replicas_add_up_gradients_once() -> None:
    """Reduced and gathered: 16 GB pass each rank twice, less its own eighth."""
    assert summing_seconds(16 * GB, Shards(8), NVLINK) == pytest.approx(2 * 16 * 7 / 8 / 300)
    assert summing_seconds(16 * GB, Shards(2), None) is None
    assert summing_seconds(16 * GB, Shards(1, 2), None) == pytest.approx(2 * 16 / 2 / 25)


def test_between_nodes_their_ports_work_side_by_side() -> None:
    """Eight ports of 25 GB/s carry 200 GB/s, less than NVLink; a single one is all that a single GPU has."""
    assert NETWORK == 200e9 / 8
    assert communication_seconds(16 * GB, 0, Shards(8, 2), NVLINK) == pytest.approx(32 * 15 / 16 / 200)
    assert communication_seconds(16 * GB, 0, Shards(1, 2), NVLINK) == pytest.approx(32 / 2 / 25)
    assert communication_seconds(16 * GB, 0, Shards(1, 2), None, network=50e9) == pytest.approx(32 / 2 / 50)


def test_a_fast_network_leaves_the_links_of_a_node_to_set_the_pace() -> None:
    fast = communication_seconds(16 * GB, 0, Shards(8, 2), NVLINK, network=400e9)
    assert fast == pytest.approx(32 * 15 / 16 / 300)


def test_communication_grows_with_ranks_and_with_slower_links() -> None:
    by_ranks = [communication_seconds(16 * GB, GB, Shards(gpus), NVLINK) or 0.0 for gpus in range(1, 17)]
    assert by_ranks == sorted(set(by_ranks))
    slower = communication_seconds(16 * GB, GB, Shards(8), NVLINK / 10)
    assert slower == pytest.approx(10 * by_ranks[7])


@pytest.mark.parametrize("shards", [Shards(2), Shards(8, 2)])
def test_over_a_link_of_unknown_speed_no_time_is_reported(shards: Shards) -> None:
    assert communication_seconds(16 * GB, GB, shards, None) is None


def test_communication_hides_at_best_and_adds_at_worst() -> None:
    """At worst the links reach 65 % of their speed: 1.3 s become 2."""
    found = sharded_time(TimeEstimate(2.0, 1.0, 4.0), 1.3)
    assert found.low == 1.3
    assert found.high == pytest.approx(6.0)
    assert found.seconds == pytest.approx(math.sqrt(2.0 * 4.0))


def test_a_step_is_never_shorter_than_its_communication_nor_than_its_arithmetic() -> None:
    compute = TimeEstimate(2.0, 1.0, 4.0)
    found = [sharded_time(compute, seconds) for seconds in (0.0, 0.5, 1.0, 2.0, 8.0)]
    for bound in ("seconds", "low", "high"):
        assert [getattr(one, bound) for one in found] == sorted(getattr(one, bound) for one in found)
    assert all(one.low <= one.seconds <= one.high for one in found)
    assert found[-1].low == 8.0
