"""Rules that compare the gradients of a step computed in two ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from burnish.data.batching.batches import Batch
from burnish.engine.random_state import seed_everything
from burnish.engine.step import Trainer
from burnish.models.packing import separates_packed
from burnish.selftest.workbench import Bench, RuleLine, Subject, left_out

_SEED = 11


@dataclass(frozen=True, slots=True)
class Gradients:
    """The results of a forward and backward pass over one step."""

    loss: float
    """In nats."""
    by_name: dict[str, torch.Tensor]
    """Gradient of each trained weight, fp32, on the CPU."""

    def difference(self, other: Gradients) -> float:
        """The largest relative difference of the loss or of any gradient; `self` is the reference.

        That of a gradient is `|a - b| / (|a| + r)` in Euclidean norms, `r` being the root mean square of all norms:
        some gradients, such as those of the biases of keys, are zero up to rounding. Infinite if a gradient is missing
        on one side, or anything is not a number.
        """
        if self.by_name.keys() != other.by_name.keys():
            return float("inf")
        norms = torch.stack([gradient.norm() for gradient in self.by_name.values()])
        off = torch.stack([(gradient - other.by_name[name]).norm() for name, gradient in self.by_name.items()])
        largest = float((off / (norms + norms.square().mean().sqrt())).max())
        loss = abs(self.loss - other.loss) / abs(self.loss) if self.loss else abs(other.loss)
        return max(largest, loss) if largest == largest and loss == loss else float("inf")


def gradients_of(trainer: Trainer, batches: Sequence[Batch], trained_tokens: int | None = None) -> Gradients:
    """Runs forward and backward over the micro-batches of one step, always with the same random numbers.

    Args:
        trainer: without clipping; its weights and its optimizer are not changed.
        batches: micro-batches of the step, that its process computes.
        trained_tokens: of the step in all processes; None for those of `batches`.
    """
    seed_everything(_SEED)
    loss = trainer.accumulate(batches, trained_tokens)[0].item()
    named = trainer.network.named_parameters()
    found = {name: weight.grad.detach().float().cpu().clone() for name, weight in named if weight.grad is not None}
    trainer.discard_attempt()
    return Gradients(loss, found)


TOLERANCES = {"fp32": 5e-5, "bf16": 0.05, "fp16": 0.01}
"""Relative, for the loss and each gradient. Measured on the bundled models: at most 1e-6 in fp32 and 0.03 in bf16. On
tiny random models, where some gradients nearly cancel, 1.3e-5 in fp32. Packing that leaks is off by 1.2, a mean of
means by 0.2."""
WHY = {
    "fp32": "fp32 keeps 24 bits; sums in another order differ by about 1e-6, or 1e-5 if they nearly cancel",
    "bf16": "bf16 keeps 8 bits, so each operation is off by up to 0.4 %, and gradients of many layers by a few percent",
    "fp16": "fp16 keeps 11 bits, so each operation is off by up to 0.05 %",
}


def packed(bench: Bench) -> RuleLine:
    """Packed examples have the same gradients as separate ones."""
    rule, subject = "packed = unpacked", bench.subject
    if not subject.trainer.task.encoder.can_pack:
        return left_out(rule, f"the task `{subject.trainer.task.name}` gives each example its own row")
    if not subject.method.can_pack:
        return left_out(rule, f"the method `{subject.method.name}` gives each example its own row")
    if not separates_packed(subject.network):
        return left_out(rule, "this model would mix packed examples, so each gets its own row")
    batches = bench.packed(subject)
    compared = f"{len(bench.examples)} examples in {len(batches[0].input_ids)} rows, and each alone"
    return _compared(rule, compared, bench, subject, batches)


def padded(bench: Bench) -> RuleLine:
    """Examples padded to one width have the same gradients as separate ones."""
    rule, subject = "padded = unpadded", bench.subject
    batches = bench.padded(subject)
    filled = 1 - batches[0].num_tokens / max(1, batches[0].input_ids.numel())
    compared = f"{len(bench.examples)} examples in one batch, {max(0.0, filled):.0%} of it padding, and each alone"
    return _compared(rule, compared, bench, subject, batches)


def accumulated(bench: Bench) -> RuleLine:
    """Accumulated micro-batches have the same gradients as one big batch."""
    rule, subject = "accumulated = one big batch", bench.subject
    batches = bench.pieces(subject)
    compared = f"{len(batches)} micro-batches, and one of all examples"
    return _compared(rule, compared, bench, subject, bench.padded(subject), batches)


def fused(bench: Bench) -> RuleLine:
    """Fast kernels have the same gradients as the libraries' own.

    With less than fp32, both round, in other places. Then both are compared with fp32, and the fast kernels may be off
    by twice as much as the libraries' own.
    """
    rule = "fused = reference"
    if bench.recipe.model.kernels != "fast":
        return left_out(rule, "`model.kernels` is `plain`, which is the reference")
    plain = bench.copy(bench.recipe.with_options(model={"kernels": "plain"}))
    compared = "`model.kernels=fast` and `plain`"
    precision = bench.recipe.model.precision
    if precision == "fp32":
        return _across(rule, compared, bench, plain)
    exact = bench.copy(bench.recipe.with_options(model={"kernels": "plain", "precision": "fp32"}))
    reference, own, fast = (gradients_of(one.trainer, bench.padded(one)) for one in (exact, plain, bench.subject))
    rounding = reference.difference(own)
    why = f"{compared} in fp32, from which `plain` in {precision} is off by {rounding:.1e}; {WHY[precision]}"
    return RuleLine(rule, reference.difference(fast), max(TOLERANCES[precision], 2 * rounding), why)


def recomputed(bench: Bench) -> RuleLine:
    """Recomputed activations have the same gradients as stored ones."""
    rule = "checkpointed activations = not"
    if not bench.context.method.can_checkpoint:
        return left_out(rule, f"the method `{bench.context.method.name}` keeps all activations")
    try:
        again = bench.copy(bench.recipe.with_options(train={"gradient_checkpointing": True}))
    except ValueError:  # raised by transformers
        return left_out(rule, "this model cannot recompute its activations")
    return _across(rule, "recomputed and stored activations", bench, again)


def _compared(
    rule: str, compared: str, bench: Bench, subject: Subject, batches: Sequence[Batch], others: Sequence[Batch] = ()
) -> RuleLine:
    """Compares the same network on the same examples in different batches."""
    expected = gradients_of(subject.trainer, others or bench.alone(subject))
    return _line(rule, expected.difference(gradients_of(subject.trainer, batches)), compared, bench)


def _across(rule: str, compared: str, bench: Bench, other: Subject) -> RuleLine:
    """Compares two networks with the same weights on the same batches."""
    first, second = (gradients_of(one.trainer, bench.padded(one)) for one in (other, bench.subject))
    return _line(rule, first.difference(second), compared, bench)


def _line(rule: str, difference: float, compared: str, bench: Bench) -> RuleLine:
    precision = bench.recipe.model.precision
    return RuleLine(rule, difference, TOLERANCES[precision], f"{compared}; {WHY[precision]}")
