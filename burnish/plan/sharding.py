"""What several GPUs do to the memory and the time of a step, when weights, gradients and optimizer are cut in shards.

Fully sharded data parallel training (FSDP2; stage 3 of ZeRO, arXiv 1910.02054, sections 5 and 7): every rank holds one
part of each weight and sees rows of its own. A block's weights are gathered before it computes and let go after it, and
its gradient is summed over the ranks, each of which keeps its part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from burnish.plan.live_storage import GRADIENTS, OPTIMIZER, WEIGHTS
from burnish.plan.roofline import TimeEstimate

GATHERED = "gathered blocks"
"""Name of the part of memory that holds whole blocks while they compute."""
NETWORK = 25e9
"""Bytes per second and GPU between nodes: one 200 Gbit/s InfiniBand port each, as in the NVIDIA DGX A100 datasheet."""
_LINKS_REACH = 0.65
"""Share of their named speed that links reach at worst: NVLink in Calculon's description of an A100 (Isaev and others,
SC 2023)."""
_AT_ONCE = 2
"""Blocks whose weights are whole at one time: the one that computes, and the next, fetched meanwhile."""


@dataclass(frozen=True, slots=True)
class Shards:
    """How many GPUs share a training."""

    gpus: int = 1
    """GPUs in each node."""
    nodes: int = 1

    @property
    def ranks(self) -> int:
        """GPUs in all nodes together."""
        return self.gpus * self.nodes

    def share(self, amount: int) -> int:
        """One rank's part of some bytes, tokens or rows; the last may get less."""
        return -(-amount // self.ranks)


def sharded_memory(
    parts: Mapping[str, int], block_bytes: int, trained_block_bytes: int, shards: Shards
) -> dict[str, int]:
    """Bytes on each GPU, by what they are used for.

    Activations, logits and batch stay as they are: each rank has micro-batches of its own.

    Args:
        parts: bytes of a step on one GPU, as a peak of the simulation has them.
        block_bytes: weights of the largest block, in the precision in which they are gathered.
        trained_block_bytes: gradient of the largest block's trained weights; it is whole until it has been summed.
        shards: over which the step is spread.

    Returns:
        The parts, and `gathered blocks`; just the parts for one GPU, where nothing is gathered.
    """
    if shards.ranks == 1:
        return dict(parts)
    cut = (WEIGHTS, GRADIENTS, OPTIMIZER)
    held = {part: shards.share(size) if part in cut else size for part, size in parts.items()}
    return held | {GATHERED: _AT_ONCE * block_bytes + trained_block_bytes}


def communication_seconds(
    weight_bytes: int,
    trained_bytes: int,
    shards: Shards,
    link: float | None,
    network: float = NETWORK,
    micro_batches: int = 1,
    stay_gathered: bool = False,
) -> float | None:
    """Seconds per step that a rank spends on passing weights and gradients around.

    For each micro-batch the weights are gathered before the forward pass and again before the backward pass, and the
    gradients are summed and scattered. In a ring of n ranks each of these moves (n - 1) / n of the bytes through every
    rank (Patarasuk and Yuan, Journal of Parallel and Distributed Computing 69, 2009).

    Args:
        weight_bytes: all weights, in the precision in which they are gathered.
        trained_bytes: all gradients, in the precision in which they are summed.
        shards: over which the step is spread.
        link: bytes per second from one GPU to another of its node, in one direction; None where it is not known.
        network: bytes per second and GPU between nodes.
        micro_batches: of one rank, in a step.
        stay_gathered: whether the weights, once gathered, stay whole until the step ends. It saves all gathers but the
            first, and takes the memory of the whole weights.

    Returns:
        Zero for one GPU; None where the GPUs of a node share it over a link whose speed is not known.
    """
    speed = _ring_speed(shards, link, network)
    if speed is None:
        return None
    gathers = 1 if stay_gathered else 2 * micro_batches
    passed = gathers * weight_bytes + micro_batches * trained_bytes
    return passed * (shards.ranks - 1) / shards.ranks / speed


def sharded_time(compute: TimeEstimate, communication: float) -> TimeEstimate:
    """How long a step takes when its blocks are passed around while others compute.

    At best the shorter of the two hides behind the longer; at worst they take turns, and links are slower than named.

    Args:
        compute: one rank's micro-batches.
        communication: what `communication_seconds` tells.
    """
    longest = communication / _LINKS_REACH
    return TimeEstimate(
        seconds=math.sqrt(max(compute.seconds, communication) * (compute.seconds + longest)),
        low=max(compute.low, communication),
        high=compute.high + longest,
    )


def _ring_speed(shards: Shards, link: float | None, network: float) -> float | None:
    """Bytes per second that go round: NCCL lays a ring through every network port of a node, and all GPUs of a node.

    So the ports of a node work side by side, and the slower of node and network sets the pace.
    """
    if shards.gpus == 1:
        return network
    if link is None or shards.nodes == 1:
        return link
    return min(link, shards.gpus * network)
