"""How far the outputs of two models are apart on the same rows, and how far they may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from burnish.data.batches import Batch
from burnish.models.device import arithmetic
from burnish.models.outputs import all_logits
from burnish.tasks.task import Task

ROWS = 16
_POSITIONS = 32
"""Most positions of a row that are compared: the logits of all would take gigabytes with large vocabularies."""

_MEAN = {"fp32": 2e-5, "fp16": 1e-2, "bf16": 5e-2}
_LARGEST = 20
REASONS = {
    "fp32": "sums of 24-bit numbers in another order",
    "fp16": "merged weights are rounded to 11 bits, once more than base and adapter apart",
    "bf16": "merged weights are rounded to 8 bits, once more than base and adapter apart",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two models' logits are apart."""

    largest: float
    """Largest absolute difference."""
    mean: float
    """Mean absolute difference."""
    same_choice: float
    """Share of the positions at which both find the same output most likely."""

    def to_dict(self) -> dict[str, float]:
        """JSON-ready."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a merged model may be from base and adapter."""

    mean: float
    largest: float
    reason: str

    @classmethod
    def of(cls, precision: str, logits: Sequence[torch.Tensor]) -> Tolerance:
        """What rounding explains in a number format.

        The unit is the spread (standard deviation) of the logits. One rounding to n bits moves a weight by up to 2^-n
        of itself; over the layers of a deep model these add up like a random walk, to a few times as much. On average
        a fifty-thousandth of the spread is granted in fp32, a hundredth in fp16 and a twentieth in bf16; to the largest
        of many differences twenty times the average.

        Args:
            precision: of the merged weights.
            logits: those that are compared.
        """
        values = torch.cat([piece.flatten() for piece in logits])
        spread = values.std(correction=0).item() or values.abs().max().item()  # a single score has no spread
        mean = _MEAN[precision] * spread
        return cls(mean, _LARGEST * mean, REASONS[precision])

    def admits(self, difference: Difference) -> bool:
        """Whether a difference is within it. One that is not a number never is."""
        return difference.mean <= self.mean and difference.largest <= self.largest


def row_batches(task: Task, examples: Sequence[Any]) -> list[Batch]:
    """The first examples, each as a batch of its own, unpacked."""
    return [task.collate(examples, [[index]], False, None) for index in range(min(ROWS, len(examples)))]


@torch.no_grad()
def logits_of(network: Any, batches: Sequence[Batch], precision: str) -> list[torch.Tensor]:
    """For each output of each batch `[positions, choices]` fp32 in main memory.

    Args:
        network: any model of transformers, with or without an adapter.
        batches: as `row_batches` makes them.
        precision: of the arithmetic.
    """
    network.eval()
    found = []
    for batch in batches:
        inputs = batch.to(network.device).inputs
        if network.config.is_encoder_decoder:
            targets = batch.targets.to(network.device)
            inputs = {**inputs, "decoder_input_ids": network.prepare_decoder_input_ids_from_labels(labels=targets)}
        with arithmetic(network.device, precision):
            output = network(**inputs)
        found += map(_thinned, all_logits(output))
    return found


def _thinned(logits: torch.Tensor) -> torch.Tensor:
    flat = logits.reshape(-1, logits.shape[-1])
    chosen = torch.linspace(0, len(flat) - 1, min(_POSITIONS, len(flat))).round().long()
    return flat[chosen.to(flat.device)].float().cpu()


def difference(first: Sequence[torch.Tensor], second: Sequence[torch.Tensor]) -> Difference:
    """How far the outputs of two models are apart. Both have at least one."""
    apart = [(a - b).abs() for a, b in zip(first, second, strict=True)]
    count = sum(piece.numel() for piece in apart)
    same = [(a.argmax(-1) == b.argmax(-1)).float() for a, b in zip(first, second, strict=True)]
    return Difference(
        max(piece.max().item() for piece in apart),
        sum(piece.sum(dtype=torch.float64).item() for piece in apart) / count,
        torch.cat(same).mean().item(),
    )
