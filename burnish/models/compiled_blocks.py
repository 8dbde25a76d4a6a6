"""Compiles the blocks of a network with torch: norms, rotary embeddings, activations and sums are fused.

Only training steps use compiled blocks. Evaluation and generation run uncompiled: they process few tokens compared with
training, and would be compiled again for each of their shapes.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from burnish.models.blocks import block_lists

INDUCTOR = "inductor"
"""torch's own compiler: to C++ on the CPU, to Triton on CUDA."""
RAISED = (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, TypeError,
          ValueError)  # fmt: skip
"""Errors that compiling an unsupported model may raise."""
_OPTIONS: dict[str, Any] = {"fallback_random": True, "fx_graph_cache": False}
"""Dropout draws the same numbers as uncompiled. Graphs of other runs are not loaded from disk: they may have been made
for other shapes and sum in another order. The compiled code itself is cached on disk by a hash of its source."""


class _Compiled:
    """Replaces the `forward` of a module."""

    def __init__(self, module: nn.Module, backend: str) -> None:
        self.is_on = True
        self.before = vars(module).get("forward")
        self._module = module
        self._plain = module.forward
        options = _OPTIONS if backend == INDUCTOR else None
        self._compiled = torch.compile(module.forward, dynamic=True, backend=backend, options=options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        is_training = self._module.training and torch.is_grad_enabled()
        return (self._compiled if self.is_on and is_training else self._plain)(*args, **kwargs)


def compile_blocks(network: Any, backend: str = INDUCTOR) -> None:
    """Replaces the blocks' `forward` in place, to be compiled at the next training step; no module name changes.

    Discards everything compiled in this process before, so that the same code is generated as in a new process.

    Args:
        network: a trainable network on its device, possibly wrapped by PEFT.
        backend: backend of torch.compile.
    """
    torch.compiler.reset()
    for name in ("torch._dynamo", "torch._inductor"):
        logging.getLogger(name).setLevel(
            logging.ERROR
        )  # hides warnings about shapes and graphs that users cannot act on
    _exclude_attention(network)
    for module in list(_parts(network)):
        module.forward = _Compiled(module, backend)


def undo_compiling(network: Any) -> None:
    """Restores every block as it was before `compile_blocks`."""
    for module, compiled in list(_compiled(network)):
        del module.forward
        if compiled.before is not None:
            module.forward = compiled.before


def is_compiled(network: Any) -> bool:
    """Whether any block is compiled in training."""
    return any(compiled.is_on for _, compiled in _compiled(network))


@contextlib.contextmanager
def uncompiled(network: Any) -> Iterator[None]:
    """A context in which blocks run uncompiled; the compiled code is kept."""
    found = [compiled for _, compiled in _compiled(network)]
    for compiled in found:
        compiled.is_on = False
    try:
        yield
    finally:
        for compiled in found:
            compiled.is_on = True


def _compiled(network: Any) -> Iterator[tuple[nn.Module, _Compiled]]:
    for module in network.modules():
        forward = vars(module).get("forward")
        if isinstance(forward, _Compiled):
            yield module, forward


def _parts(network: Any) -> Iterator[nn.Module]:
    """The blocks; or their children, if gradient checkpointing is on, which happens in the block itself."""
    for name in block_lists(network):
        for block in network.get_submodule(name):
            if getattr(block, "gradient_checkpointing", False):
                yield from block.children()
            else:
                yield block


def _exclude_attention(network: Any) -> None:
    """Excludes Burnish's attention, which branches on the lengths of examples and cannot be traced."""
    name = getattr(network.config.get_text_config(), "_attn_implementation", None)
    if name is not None and name in ALL_ATTENTION_FUNCTIONS:
        attend = ALL_ATTENTION_FUNCTIONS[name]
        if attend.__module__.startswith("burnish."):
            ALL_ATTENTION_FUNCTIONS.register(name, torch.compiler.disable(attend))


@dataclass(frozen=True, slots=True)
class Computed:
    """The results of a forward and a backward pass, in little memory."""

    loss: float
    norms: torch.Tensor
    """`[weights]`: norms of the gradients, in fp32."""
    samples: list[torch.Tensor]
    """Evenly spaced values of each gradient."""


_SAMPLES = 4096
"""Values kept per gradient: complete gradients would take as much memory as the model."""


def compute(network: Any, run: Callable[[], torch.Tensor]) -> Computed:
    """Runs a forward and a backward pass.

    Args:
        network: the network whose gradients are collected.
        run: computes gradients and returns the loss.
    """
    loss = run().item()
    gradients = [weight.grad.detach() for weight in network.parameters() if weight.grad is not None]
    norms = torch.stack([gradient.float().norm() for gradient in gradients])
    samples = [gradient.flatten()[:: -(-gradient.numel() // _SAMPLES)].float().clone() for gradient in gradients]
    return Computed(loss, norms, samples)


def agree(plain: Computed, compiled: Computed, is_half: bool) -> bool:
    """Whether two passes gave the same results up to rounding.

    The error of a gradient may be a share of its own norm plus that share of the average gradient norm: some
    gradients are zero except for rounding, such as those of key biases.

    Args:
        plain: results of the uncompiled network.
        compiled: results of the compiled network.
        is_half: whether they were computed in a 16-bit format.
    """
    allowed = _ROUNDING_HALF if is_half else _ROUNDING
    if len(plain.norms) != len(compiled.norms) or not math.isfinite(compiled.loss):
        return False
    if abs(compiled.loss - plain.loss) > allowed * abs(plain.loss):
        return False
    average = plain.norms.square().mean().sqrt()
    if not ((compiled.norms - plain.norms).abs() <= allowed * (plain.norms + average)).all():
        return False
    sample_norms = torch.stack([sample.norm() for sample in plain.samples])
    off = torch.stack([(a - b).norm() for a, b in zip(plain.samples, compiled.samples, strict=True)])
    return bool((off <= allowed * (sample_norms + sample_norms.square().mean().sqrt())).all())


_ROUNDING, _ROUNDING_HALF = 1e-4, 0.05
"""In fp32 the gradients differ by about 1e-6; in bf16, where each operation rounds by 0.4 % and a fused one rounds only
once, by a few percent. A wrong operation changes more."""
