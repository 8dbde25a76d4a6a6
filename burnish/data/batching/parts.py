"""The part of every step that one of several processes computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from burnish.data.batching.batches import Batch, BatchPlan


def share_out(costs: Sequence[int], parts: int) -> list[list[int]]:
    """Divides pieces of work into parts of nearly equal cost: the dearest first, each to the part that has least.

    No part costs more than 4/3 of what the best division would (Graham 1969).

    Args:
        costs: of each piece.
        parts: number of parts.

    Returns:
        The numbers of the pieces of each part, ascending; a part is empty where there are more parts than pieces.
    """
    shares: list[list[int]] = [[] for _ in range(parts)]
    loads = [0] * parts
    for piece in sorted(range(len(costs)), key=lambda number: (-costs[number], number)):
        least = loads.index(min(loads))
        shares[least].append(piece)
        loads[least] += costs[piece]
    return [sorted(share) for share in shares]


def own_and_spare(costs: Sequence[int], parts: int, part: int) -> tuple[list[int], list[int]]:
    """The pieces of one part, and those that it does besides, so that all parts do equally many.

    Args:
        costs: of each piece.
        parts: number of parts.
        part: from 0.

    Returns:
        Their numbers. What is done besides is the cheapest piece, once or several times, and counts nothing.
    """
    shares = share_out(costs, parts)
    most = max(map(len, shares))
    cheapest = min(range(len(costs)), key=costs.__getitem__, default=0)
    return shares[part], [cheapest] * (most - len(shares[part]))


class PartOfBatches:
    """The micro-batches of a plan that one process computes: a source for the training loop.

    The rows of a step are those of the plan whatever the number of processes is, and so are its micro-batches, except
    in a step that has fewer of them than there are processes: there the largest are split. Each process gets about
    equally many tokens, padding included.

    Every micro-batch has a `draw`, from the run's seed and its place in the step: what is drawn while it is computed,
    such as dropout, does not depend on the process that computes it.

    Args:
        plan: of all rows.
        rank: of the process, from 0.
        world: number of processes.
        is_even: whether every process gets equally many micro-batches, some of which may be `Batch.is_spare`.
    """

    def __init__(self, plan: BatchPlan, rank: int, world: int, is_even: bool = False) -> None:
        self.plan = plan
        self.examples: Sequence[Any] = plan.examples
        self._rank = rank
        self._world = world
        self._is_even = is_even

    @property
    def micro_tokens(self) -> int:
        """Token limit of a micro-batch of several rows, padding included."""
        return self.plan.micro_tokens

    @micro_tokens.setter
    def micro_tokens(self, tokens: int) -> None:
        self.plan.micro_tokens = tokens

    @property
    def is_planned(self) -> bool:
        """Every step is known from the start."""
        return self.plan.is_planned

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps per epoch."""
        return self.plan.steps_per_epoch

    def step_batches(self, step: int) -> list[Batch]:
        """The micro-batches of a step that this process computes; none where there are too few rows."""
        groups = self._groups(step)
        costs = [rows * width for rows, width in map(self.plan.size_of, groups)]
        mine, spare = own_and_spare(costs, self._world, self._rank)
        epoch = step // self.steps_per_epoch
        own = [
            self.plan.built(groups[number], epoch).changed(draw=draw_of(self.plan.seed, step, number))
            for number in mine
        ]
        return own + [self.plan.built(groups[number], epoch).spare() for number in spare if self._is_even]

    def step_examples(self, step: int) -> list[int]:
        """Indices of the examples of a step, of all processes."""
        return self.plan.step_examples(step)

    def padded_tokens(self, step: int) -> int:
        """Tokens through the network in a step, in all processes, padding included."""
        return sum(rows * width for rows, width in self.micro_batch_sizes(step))

    def micro_batch_sizes(self, step: int) -> list[tuple[int, int]]:
        """Rows and width in tokens of each micro-batch of a step, of all processes."""
        return [self.plan.size_of(group) for group in self._groups(step)]

    def halve_micro_batch(self, step: int) -> bool:
        """Limits micro-batches to half of the largest one of a step; False if they are single rows already."""
        largest = max((rows * width for rows, width in self.micro_batch_sizes(step) if rows > 1), default=0)
        if largest:
            self.plan.micro_tokens = largest // 2
        return largest > 0

    def _groups(self, step: int) -> list[list[int]]:
        """Rows of each micro-batch of a step: at least one for each process, as far as there are rows."""
        groups = self.plan.step_groups(step)
        while len(groups) < self._world:
            largest = max(range(len(groups)), key=lambda number: (len(groups[number]), -number))
            group = groups[largest]
            if len(group) == 1:
                break
            half = -(-len(group) // 2)
            groups[largest : largest + 1] = [group[:half], group[half:]]
        return groups


def draw_of(seed: int, step: int, number: int) -> int:
    """The seed of what is drawn in one micro-batch.

    Args:
        seed: of the run.
        step: from 0.
        number: of the micro-batch in its step, over all processes.
    """
    return int(numpy.random.SeedSequence([seed, step, number]).generate_state(1, numpy.uint64)[0] >> 1)
