"""Next-token loss, on trained tokens only."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from torch.utils.flop_counter import register_flop_formula

from burnish.kernels.precision import arithmetic_type


def token_losses(
    logits: torch.Tensor, targets: torch.Tensor, places: torch.Tensor | None = None, ignored: int = -100
) -> torch.Tensor:
    """Negative log-likelihood of every trained token.

    Args:
        logits: `[batch, seq, vocab]`, any float dtype; the softmax is computed in fp32.
        targets: `[batch, seq]`, the token that follows each position, or `ignored`.
        places: `[trained]` int64, the positions that count, as indices into batch x seq. None finds them in the
            targets, for which the CPU has to wait for the device.
        ignored: target of positions that do not count.

    Returns:
        `[trained]` fp32, in nats, in the order of the positions.
    """
    # indices, not a mask: a mask would be counted again at each use
    chosen = (targets != ignored).flatten().nonzero()[:, 0] if places is None else places
    return functional.cross_entropy(logits.flatten(0, -2)[chosen].float(), targets.flatten()[chosen], reduction="none")


_CHUNK_TOKENS = 256
"""Tokens per chunk, whose logits exist at once: enough for matrix products at full speed."""
_BLOCK_BYTES = 1 << 21
"""Size of the fp32 rows that the softmax works on, so that they stay in the processor's cache between passes."""


def head_losses_reference(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, targets: torch.Tensor
) -> torch.Tensor:
    """Reference for `head_losses`, with all logits at once."""
    return token_losses(functional.linear(hidden, weight, bias), targets)


def head_losses(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, targets: torch.Tensor
) -> torch.Tensor:
    """Negative log-likelihood of tokens, from the hidden states that predict them, without storing all logits.

    Args:
        hidden: `[tokens, width]`, any float dtype; the products are computed in it, or in that of autocast.
        weight: `[vocabulary, width]`, weight of the output layer.
        bias: `[vocabulary]`, or None.
        targets: `[tokens]`, the token to predict at each position.

    Returns:
        `[tokens]` fp32, in nats.
    """
    dtype = arithmetic_type(hidden)
    if not torch.is_grad_enabled():  # detached, or forward would compute gradients that are not needed
        hidden, weight, bias = hidden.detach(), weight.detach(), None if bias is None else bias.detach()
    with torch.autocast(hidden.device.type, enabled=False):
        return _HeadLosses.apply(hidden.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype), targets)


class _HeadLosses(torch.autograd.Function):
    """Forward computes the gradients of the sum of all losses while a chunk's logits exist; `backward` only scales
    them."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, targets: torch.Tensor
    ) -> torch.Tensor:
        losses, *made = _losses_and_gradients(hidden, weight, bias, targets, None, *ctx.needs_input_grad[:3])
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(hidden, weight, bias, targets, *made)
        return losses

    @staticmethod
    def backward(ctx: Any, factors: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden, weight, bias, targets, *made = ctx.saved_tensors
        wants_hidden, *wants_head, _ = ctx.needs_input_grad
        is_one_number = factors.stride() == (0,) and len(factors) > 0  # an expanded scalar, as the gradient of a sum is
        if any(wants_head) and not is_one_number:
            _, _, *made[1:] = _losses_and_gradients(hidden, weight, bias, targets, factors, False, *wants_head)
        elif any(wants_head):
            made[1:] = [_scaled(one, factors[0]) for one in made[1:]]
        hidden_gradient = _scaled(made[0], factors[:, None]) if wants_hidden else None
        weight_gradient, bias_gradient = (
            one if is_wanted else None for one, is_wanted in zip(made[1:], wants_head, strict=True)
        )
        return hidden_gradient, weight_gradient, bias_gradient, None


def _scaled(gradient: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Multiplied in fp32: rounding the factor to bf16's 8 bits would scale the complete gradient wrongly."""
    return (gradient.float() * factor).to(gradient.dtype)


@torch.library.custom_op("burnish::losses_and_gradients", mutates_args=())
def _losses_and_gradients(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    targets: torch.Tensor,
    factors: torch.Tensor | None,
    wants_hidden: bool,
    wants_weight: bool,
    wants_bias: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Losses, and the gradients of their sum weighted by `factors`; empty tensors for those not wanted.

    A custom operator, so that a simulated step sees a single operation instead of several per chunk.
    """
    made = _allocate_results(hidden, weight, bias, wants_hidden, wants_weight, wants_bias)
    losses, hidden_gradient, weight_gradient, bias_gradient = made
    wants_gradients = wants_hidden or wants_weight or wants_bias
    for begin, end in _chunks(len(hidden)):
        logit_gradient = functional.linear(hidden[begin:end], weight, bias)
        losses[begin:end] = _softmax_losses(logit_gradient, targets[begin:end], wants_gradients)
        if factors is not None:
            logit_gradient.mul_(factors[begin:end, None].to(logit_gradient.dtype))
        if wants_hidden:
            torch.mm(logit_gradient, weight, out=hidden_gradient[begin:end])
        if wants_weight:
            weight_gradient.addmm_(logit_gradient.T, hidden[begin:end])
        if wants_bias:
            bias_gradient += logit_gradient.sum(0)
        del logit_gradient  # freed before the next chunk's are allocated
    return made


@_losses_and_gradients.register_fake
def _allocate_results(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, *wanted: Any
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Zero tensors for the results that are wanted."""
    wants_hidden, wants_weight, wants_bias = wanted[-3:]
    return (
        hidden.new_zeros(len(hidden), dtype=torch.float32),
        hidden.new_zeros(hidden.shape if wants_hidden else 0),
        weight.new_zeros(weight.shape if wants_weight else 0),
        weight.new_zeros(len(weight) if wants_bias and bias is not None else 0),
    )


def bytes_inside(hidden: torch.Tensor, weight: torch.Tensor, *others: Any) -> int:
    """Temporary bytes inside the operation: a chunk's logits, and the block in fp32.

    Args:
        hidden: `[tokens, width]`.
        weight: `[vocabulary, width]`.
        others: the operation's other arguments.
    """
    longest = max((end - begin for begin, end in _chunks(len(hidden))), default=0)
    return len(weight) * (longest * hidden.element_size() + 4 * _block_rows(longest, len(weight)))


def bytes_moved(hidden: torch.Tensor, weight: torch.Tensor, *others: Any) -> int:
    """Bytes of logits written and read, by the product, the softmax, and the products with their gradient."""
    return 4 * len(hidden) * len(weight) * hidden.element_size()


@register_flop_formula(torch.ops.burnish.losses_and_gradients)
def _flops(
    hidden: Any, weight: Any, bias: Any, targets: Any, factors: Any, *wanted: bool, out_shape: Any = None, **others: Any
) -> int:
    """A multiply and an add per weight and token, once for the logits and once for each matrix gradient."""
    return 2 * hidden[0] * weight[0] * weight[1] * (1 + sum(wanted[:2]))


def _softmax_losses(logits: torch.Tensor, targets: torch.Tensor, wants_gradients: bool) -> torch.Tensor:
    """`[tokens]` fp32 losses; if gradients are wanted, `logits` `[tokens, vocabulary]` is overwritten with its
    gradient."""
    losses = torch.empty(len(logits), dtype=torch.float32, device=logits.device)
    rows = _block_rows(len(logits), logits.shape[1]) if logits.device.type == "cpu" else max(1, len(logits))
    wide = logits.new_empty((rows, logits.shape[1]), dtype=torch.float32)
    for begin in range(0, len(logits), rows):
        block, correct = logits[begin : begin + rows], targets[begin : begin + rows, None]
        fp32 = wide[: len(block)]
        fp32.copy_(block)
        # The most likely token's probability is at least 1 / vocabulary, so its logarithm is exact where that of the
        # target's could underflow: log p(target) = log p(best) + logit(target) - logit(best).
        apart = fp32.gather(1, correct)[:, 0] - fp32.amax(1)
        torch.ops.aten._softmax.out(fp32, 1, False, out=fp32)
        losses[begin : begin + rows] = -(fp32.amax(1).log_() + apart)
        if wants_gradients:
            fp32.scatter_add_(1, correct, fp32.new_full((), -1.0).expand(correct.shape))
            block.copy_(fp32)
    return losses


def _block_rows(tokens: int, vocabulary: int) -> int:
    return max(1, min(tokens, _BLOCK_BYTES // (4 * vocabulary)))


def _chunks(tokens: int) -> list[tuple[int, int]]:
    """(begin, end) of chunks of nearly equal size."""
    number = -(-tokens // _CHUNK_TOKENS)
    bounds = [tokens * index // number for index in range(number + 1)] if number else [0]
    return list(zip(bounds, bounds[1:], strict=False))
