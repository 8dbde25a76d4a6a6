"""Evaluates the held-out rows and keeps each row's result for comparisons."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy
import torch

from burnish.data.batching.batches import Batch, BatchPlan
from burnish.data.batching.parts import own_and_spare
from burnish.engine.process import ONE, Process
from burnish.errors import MachineError
from burnish.metrics.intervals import Estimate, difference
from burnish.metrics.measure import Measure
from burnish.metrics.measure import value as value_of
from burnish.models.device import RAISED, RowTooLarge, arithmetic, free_memory, ran_out
from burnish.models.sharded import compute, device_of, is_sharded
from burnish.tasks.evaluated import EvaluatedExamples
from burnish.tasks.task import Task


@dataclass(slots=True)
class HeldOut:
    """The held-out rows in batches; no batches if there are none."""

    batches: Sequence[Batch]
    """Contain every example once."""
    examples: Sequence[Any]
    owners: Sequence[int]
    """Row number of each example, from 0."""
    plan: BatchPlan | None = None
    """Builds the batches, and smaller ones if memory runs out."""
    sources: Sequence[str] = ()
    """The source of each example, empty for one of none; nothing where there is one source."""

    @classmethod
    def of(cls, plan: BatchPlan, owners: Sequence[int], sources: Sequence[str] = ()) -> HeldOut:
        """All examples of a plan."""
        return cls(plan.all_batches(), plan.examples, owners, plan, sources)

    def losses_by_source(self, evaluated: EvaluatedExamples) -> dict[str, float]:
        """The mean loss on the rows of each source; nothing where there is one source."""
        found = {}
        for name in dict.fromkeys(filter(None, self.sources)):
            own = evaluated.taken([at for at, source in enumerate(self.sources) if source == name])
            if own.counts.sum() > 0:
                found[name] = value_of(own.loss())
        return found

    def halve(self) -> bool:
        """Halves the batches; False if each is a single row already."""
        if self.plan is None or not self.plan.halve_micro_batch(None):
            return False
        self.batches = self.plan.all_batches()
        return True

    def padded_tokens(self) -> int:
        """Tokens through the network in one validation, padding included."""
        if self.plan is None:
            return sum(batch.num_tokens for batch in self.batches)
        return self.plan.padded_tokens(None)

    def longest_row(self) -> int:
        """Length of the longest row of the batches, in tokens."""
        if self.plan is None:
            return max(example.num_tokens for example in self.examples)
        return max(width for _, width in self.plan.micro_batch_sizes(None))

    def limit(self, micro_tokens: int) -> None:
        """Rebuilds the batches with at most `micro_tokens` tokens each."""
        if self.plan is not None and self.plan.micro_tokens != micro_tokens:
            self.plan.micro_tokens = micro_tokens
            self.batches = self.plan.all_batches()


@torch.no_grad()
def evaluate_rows(
    network: Any,
    task: Task,
    held_out: HeldOut,
    precision: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
    process: Process = ONE,
) -> EvaluatedExamples:
    """The loss and the output of every held-out example. If memory runs out, starts again with smaller batches.

    Several processes evaluate the batches that one would, each some of them, and all return the results of all rows.

    Args:
        network: on its device; left in evaluation mode.
        task: computes losses and outputs.
        held_out: the rows.
        precision: number format of the computation.
        progress: called with the number of batches done and the total.
        process: of those that evaluate together.

    Raises:
        RowTooLarge: a single row does not fit into memory.
        MachineError: memory ran out, and the weights are sharded.
    """
    while True:
        found = None
        try:
            found = _evaluate(network, task, held_out, precision, progress, process)
        except RAISED as error:
            if not ran_out(error):
                raise
            if is_sharded(network):
                raise out_of_memory_sharded(process) from error
        if not process.any(found is None) and found is not None:
            return found if process.is_alone else _united(found, process)
        free_memory()
        if not held_out.halve():
            raise RowTooLarge(held_out.longest_row())


def _evaluate(
    network: Any,
    task: Task,
    held_out: HeldOut,
    precision: str,
    progress: Callable[[int, int], None],
    process: Process,
) -> EvaluatedExamples:
    """The results of this process's batches; those of other examples are empty."""
    network.eval()
    device = device_of(network)
    number = len(held_out.examples)
    sums, counts = numpy.zeros(number), numpy.zeros(number, dtype=numpy.int64)
    outputs: list[Any] = [None] * number
    batches = _own_batches(held_out.batches, process, is_even=is_sharded(network))
    _begin(network, task, batches, device, precision, process)
    for done, batch in enumerate(batches, 1):
        with arithmetic(device, precision):
            outcome = compute(network, task.scorer.evaluate_batch, batch.to(device))
        if batch.is_spare:
            continue
        owners = batch.owners.numpy()
        # moved first, then widened: MPS has no float64
        numpy.add.at(sums, owners, outcome.losses.cpu().double().numpy())
        numpy.add.at(counts, owners, 1)
        for example, output in zip(batch.examples, outcome.outputs, strict=bool(outcome.outputs)):
            outputs[example] = output
        progress(done, len(batches))
    return EvaluatedExamples(held_out.examples, held_out.owners, outputs, sums, counts)


def _own_batches(batches: Sequence[Batch], process: Process, is_even: bool) -> Sequence[Batch]:
    """Those that this process evaluates; where all are to evaluate equally many, with spare ones at the end."""
    if process.is_alone:
        return batches
    own, spare = own_and_spare([batch.input_ids.numel() for batch in batches], process.world, process.rank)
    return [batches[index] for index in own] + [batches[index].spare() for index in spare if is_even]


def out_of_memory_sharded(process: Process) -> MachineError:
    """The error of a process whose memory runs out in the middle of a pass through sharded weights."""
    return MachineError(
        f"memory ran out in rank {process.rank} of {process.world}",
        "The others wait for its part of the weights, so smaller micro-batches cannot be tried now.",
        "Start again with `--set batch.rows=1` or `--set train.gradient_checkpointing=true`, or with more processes",
    )


def _begin(
    network: Any, task: Task, batches: Sequence[Batch], device: torch.device, precision: str, process: Process
) -> None:
    """Gives the objective all batches before the first loss, in all processes."""
    ran_out_here = False
    try:
        with arithmetic(device, precision):
            compute(network, task.objective.begin_step, (batch.to(device) for batch in batches))
    except RAISED as error:
        if process.is_alone or is_sharded(network) or not ran_out(error) or not task.objective.shared_sums():
            raise
        ran_out_here = True
    if process.is_alone or not (sums := task.objective.shared_sums()):
        return
    failed, *sums = process.total([float(ran_out_here), *sums])
    if failed:
        raise MemoryError("memory ran out in one of the processes")
    task.objective.take_sums(sums)


def _united(own: EvaluatedExamples, process: Process) -> EvaluatedExamples:
    """The results of all processes, each of which has those of its own batches."""
    given = {index: output for index, output in enumerate(own.outputs) if output is not None}
    parts = process.gather((own.sums, own.counts, given))
    outputs = list(own.outputs)
    for _, _, found in parts:
        for index, output in found.items():
            outputs[index] = output
    sums = numpy.sum([part_sums for part_sums, _, _ in parts], axis=0)
    counts = numpy.sum([part_counts for _, part_counts, _ in parts], axis=0)
    return EvaluatedExamples(own.examples, own.owners, outputs, sums, counts)


FEWEST_ROWS = 5
"""With fewer rows an interval says next to nothing: Student's quantile for 4 rows is 3.2, and their skew is unknown."""


def paired_change(before: Measure, later: Measure) -> Estimate | None:
    """A later metric minus an earlier one, paired by row, with its 95 % interval.

    Returns:
        None if there are too few rows, or their numbers differ.
    """
    rows = len(later.table)
    return difference(before, later) if rows >= FEWEST_ROWS and rows == len(before.table) else None


@dataclass(slots=True)
class RowResults:
    """The row results of one validation, in a JSON-ready form."""

    step: int
    loss: float
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The compressed table of each metric."""

    @classmethod
    def of(cls, step: int, loss: float, measures: Sequence[Measure]) -> RowResults:
        """The row results of a validation."""
        return cls(step, loss, {one.name: _packed(one.table) for one in measures})

    def change(self, later: Measure) -> Estimate | None:
        """A later metric minus the same one here: see `paired_change`. None if it is not known here."""
        kept = self.tables.get(later.name)
        if kept is None:
            return None
        before = Measure(later.name, _unpacked(kept), later.formula, later.higher_is_better, later.is_share)
        return paired_change(before, later)

    def is_better_than(self, later: Measure) -> bool | None:
        """Whether a metric is worse later, beyond the 95 % interval of the paired difference.

        Returns:
            None if there are too few rows.
        """
        change = self.change(later)
        if change is None:
            return None
        return change.high < 0 if later.higher_is_better else change.low > 0


def _packed(table: numpy.ndarray) -> dict[str, Any]:
    content = zlib.compress(numpy.ascontiguousarray(table, dtype="<f8").tobytes())
    rows, columns = table.shape
    return {"rows": rows, "columns": columns, "packed": base64.b85encode(content).decode("ascii")}


def _unpacked(kept: dict[str, Any]) -> numpy.ndarray:
    """`[rows, k]` float64."""
    content = zlib.decompress(base64.b85decode(kept["packed"]))
    # states of earlier versions have no `columns`, which only matters where there are no rows
    return numpy.frombuffer(content, dtype="<f8").reshape(kept["rows"], kept.get("columns", -1))
