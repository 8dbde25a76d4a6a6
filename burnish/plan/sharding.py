"""Memory and time of a step on several GPUs, with weights, gradients and optimizer state sharded.

Fully sharded data parallel training (FSDP2; stage 3 of ZeRO, arXiv 1910.02054, sections 5 and 7): every rank holds one
part of each weight and trains on its own rows. A block's weights are gathered before it computes and freed after it,
and its gradient is reduced over the ranks, each of which keeps its part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from burnish.plan.live_storage import GRADIENTS, OPTIMIZER, WEIGHTS
from burnish.plan.roofline import TimeEstimate

GATHERED = "gathered blocks"
"""Name of the part of memory that holds unsharded blocks while they compute."""
NETWORK = 25e9
"""Bytes per second per GPU between nodes: one 200 Gbit/s InfiniBand port each, as in the NVIDIA DGX A100 datasheet."""
_WORST_LINK_SHARE = 0.65
"""Share of their rated speed that links achieve at worst: NVLink in Calculon's description of an A100 (Isaev and
others, SC 2023)."""
AT_ONCE = 2
"""Blocks gathered at a time: the one that computes, and the next one, prefetched."""


@dataclass(frozen=True, slots=True)
class Shards:
    """The GPUs that share a training run."""

    gpus: int = 1
    """GPUs in each node."""
    nodes: int = 1

    @property
    def ranks(self) -> int:
        """Total number of GPUs."""
        return self.gpus * self.nodes

    def share(self, amount: int) -> int:
        """One rank's part of some bytes, tokens or rows; the last rank may get less."""
        return -(-amount // self.ranks)


@dataclass(frozen=True, slots=True)
class Gathered:
    """What is whole on each GPU for a while."""

    weights: int
    """Bytes of weights, as they are stored."""
    gradients: int
    """Bytes of the gradients of those that are trained."""


def sharded_memory(
    parts: Mapping[str, int], outside: Gathered, blocks: Gathered, shards: Shards, offloads: bool = False
) -> dict[str, int]:
    """Bytes on each GPU, by use.

    Activations, logits and batch are not sharded: each rank has its own micro-batches. What is outside of the blocks is
    whole during a pass. The gradients of a block are copied side by side before they are reduced.

    Args:
        parts: bytes of a step on one GPU, from a peak of the simulation.
        outside: the weights outside of the blocks.
        blocks: those of the blocks that are whole at the same time, and the gradients of one of them.
        shards: the GPUs that share the step.
        offloads: whether weights, gradients and optimizer state are in CPU memory. A rank's part of what is whole is
            then on the GPU besides, on its way there or back.

    Returns:
        The parts and `gathered blocks`; for one GPU only the parts.
    """
    if shards.ranks == 1:
        return dict(parts)
    gathered = outside.weights + outside.gradients + blocks.weights + _COPIES * blocks.gradients
    if offloads:
        held = {part: 0 if part in _SHARDED else size for part, size in parts.items()}
        return held | {GATHERED: gathered + shards.share(outside.weights + blocks.weights + blocks.gradients)}
    held = {part: shards.share(size) if part in _SHARDED else size for part, size in parts.items()}
    return held | {GATHERED: gathered}


def offloaded_memory(weights: int, trained: int, shards: Shards) -> int:
    """Bytes of CPU memory on each machine that hold weights, gradients and AdamW's moments.

    While the model is loaded, each process has all weights there.

    Args:
        weights: bytes of all weights.
        trained: number of trained parameters, in fp32 as their gradients and moments.
        shards: the GPUs that share the step.
    """
    kept = shards.share(weights + _STATE_BYTES * trained)
    return shards.gpus * max(kept, weights)


_COPIES = 2
_SHARDED = (WEIGHTS, GRADIENTS, OPTIMIZER)
_STATE_BYTES = 12


def communication_seconds(
    weight_bytes: int,
    trained_bytes: int,
    shards: Shards,
    link: float | None,
    network: float = NETWORK,
    micro_batches: int = 1,
    reshards: bool = True,
) -> float | None:
    """Seconds per step that a rank spends communicating weights and gradients.

    For each micro-batch the weights are all-gathered before the forward pass and again before the backward pass, and
    the gradients are reduce-scattered. In a ring of n ranks each of these moves (n - 1) / n of the bytes through every
    rank (Patarasuk and Yuan, Journal of Parallel and Distributed Computing 69, 2009).

    Args:
        weight_bytes: all weights, in the precision in which they are gathered.
        trained_bytes: all gradients, in the precision in which they are reduced.
        shards: the GPUs that share the step.
        link: bytes per second between GPUs of a node, in one direction; None if unknown.
        network: bytes per second per GPU between nodes.
        micro_batches: of one rank, in a step.
        reshards: whether weights are freed after the forward pass; if not, they are gathered once for both passes.

    Returns:
        Zero for one GPU; None if the speed of the link within a node is needed but unknown.
    """
    speed = _ring_speed(shards, link, network)
    if speed is None:
        return None
    passed = micro_batches * ((2 if reshards else 1) * weight_bytes + trained_bytes)
    return passed * (shards.ranks - 1) / shards.ranks / speed


def summing_seconds(trained_bytes: int, shards: Shards, link: float | None, network: float = NETWORK) -> float | None:
    """Seconds per step in which GPUs that hold all weights each add up their gradients, once.

    An all-reduce in a ring is a reduce-scatter and an all-gather.

    Args:
        trained_bytes: all gradients.
        shards: the GPUs that share the training.
        link: bytes per second between GPUs of a node, in one direction; None if unknown.
        network: bytes per second per GPU between nodes.

    Returns:
        Zero for one GPU; None if the speed of the link within a node is needed but unknown.
    """
    speed = _ring_speed(shards, link, network)
    return None if speed is None else 2 * trained_bytes * (shards.ranks - 1) / shards.ranks / speed


def sharded_time(compute: TimeEstimate, communication: float) -> TimeEstimate:
    """The time of a step whose communication overlaps with computation.

    At best the shorter of the two is hidden by the longer; at worst they alternate, and links are slower than rated.

    Args:
        compute: one rank's micro-batches.
        communication: seconds, from `communication_seconds`.
    """
    longest = communication / _WORST_LINK_SHARE
    return TimeEstimate(
        seconds=math.sqrt(max(compute.seconds, communication) * (compute.seconds + longest)),
        low=max(compute.low, communication),
        high=compute.high + longest,
    )


def _ring_speed(shards: Shards, link: float | None, network: float) -> float | None:
    """Bytes per second around the ring: NCCL builds one per network port, each through all GPUs of a node.

    So the ports of a node work in parallel, and the slower of link and network determines the speed.
    """
    if shards.gpus == 1:
        return network
    if link is None or shards.nodes == 1:
        return link
    return min(link, shards.gpus * network)
