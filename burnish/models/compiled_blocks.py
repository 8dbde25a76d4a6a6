"""Blocks of a network compiled by torch: norms, rotary embeddings, activations and sums become a few fused operations.

Compiled blocks serve training steps alone. Judging and writing go on uncompiled: they see few tokens next to training,
and would be compiled once more for every shape that they bring.
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
"""What compiling a model that the compiler does not know may end in."""
_OPTIONS: dict[str, Any] = {"fallback_random": True, "fx_graph_cache": False}
"""Dropout draws what it would draw uncompiled. And no graph of another run is taken from disk: it may have been made
for other shapes, and sum in another order. The compiled code itself is kept on disk, under a hash of its source."""


class _Compiled:
    """Stands in for the `forward` of a module."""

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
    """Has the blocks of a network compiled, in place, when they are next trained; no name of any module changes.

    Whatever was compiled in this process before is forgotten, so that the same code is made as in a new process.

    Args:
        network: trainable, on its device; may be wrapped by PEFT.
        backend: of torch.compile.
    """
    torch.compiler.reset()
    for name in ("torch._dynamo", "torch._inductor"):
        logging.getLogger(name).setLevel(logging.ERROR)  # of shapes and graphs, which nobody here can act on
    _leave_attention_out(network)
    for module in list(_parts(network)):
        module.forward = _Compiled(module, backend)


def undo_compiling(network: Any) -> None:
    """Puts every block back as it was before `compile_blocks`; others stay as they are."""
    for module, compiled in list(_compiled(network)):
        del module.forward
        if compiled.before is not None:
            module.forward = compiled.before


def is_compiled(network: Any) -> bool:
    """Whether any block is compiled when it is trained."""
    return any(compiled.is_on for _, compiled in _compiled(network))


@contextlib.contextmanager
def uncompiled(network: Any) -> Iterator[None]:
    """Within it, blocks compute as they were before `compile_blocks`; what was compiled is kept."""
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
    """The blocks; or what they are made of, where their activations are computed again, which the block itself does."""
    for name in block_lists(network):
        for block in network.get_submodule(name):
            if getattr(block, "gradient_checkpointing", False):
                yield from block.children()
            else:
                yield block


def _leave_attention_out(network: Any) -> None:
    """Burnish's attention chooses its way by the lengths of examples, of which no graph can be made."""
    name = getattr(network.config.get_text_config(), "_attn_implementation", None)
    if name is not None and name in ALL_ATTENTION_FUNCTIONS:
        attend = ALL_ATTENTION_FUNCTIONS[name]
        if attend.__module__.startswith("burnish."):
            ALL_ATTENTION_FUNCTIONS.register(name, torch.compiler.disable(attend))


@dataclass(frozen=True, slots=True)
class Computed:
    """What a forward and a backward pass gave, in little memory."""

    loss: float
    norms: torch.Tensor
    """`[weights]`: of the gradients, in fp32."""
    samples: list[torch.Tensor]
    """Of each gradient, values evenly spaced over it."""


_SAMPLES = 4096
"""Most values of a gradient that are kept: of a whole model, gradients take as much memory as the model."""


def compute(network: Any, run: Callable[[], torch.Tensor]) -> Computed:
    """Runs a forward and a backward pass.

    Args:
        network: whose gradients are read.
        run: leaves gradients in the weights and returns the loss.
    """
    loss = run().item()
    gradients = [weight.grad.detach() for weight in network.parameters() if weight.grad is not None]
    norms = torch.stack([gradient.float().norm() for gradient in gradients])
    samples = [gradient.flatten()[:: -(-gradient.numel() // _SAMPLES)].float().clone() for gradient in gradients]
    return Computed(loss, norms, samples)


def agree(plain: Computed, compiled: Computed, is_half: bool) -> bool:
    """Whether two passes gave the same, up to the rounding of their arithmetic.

    A gradient may be off by a share of its own norm, and by that share of an average gradient's: some are zero but for
    rounding, such as those of the biases of keys.

    Args:
        plain: of the network as it was.
        compiled: of the compiled one.
        is_half: whether they were computed in a format of 16 bits.
    """
    allowed = _ROUNDING_HALF if is_half else _ROUNDING
    if len(plain.norms) != len(compiled.norms) or not math.isfinite(compiled.loss):
        return False
    if abs(compiled.loss - plain.loss) > allowed * abs(plain.loss):
        return False
    average = plain.norms.square().mean().sqrt()
    if not ((compiled.norms - plain.norms).abs() <= allowed * (plain.norms + average)).all():
        return False
    own = torch.stack([sample.norm() for sample in plain.samples])
    off = torch.stack([(a - b).norm() for a, b in zip(plain.samples, compiled.samples, strict=True)])
    return bool((off <= allowed * (own + own.square().mean().sqrt())).all())


_ROUNDING, _ROUNDING_HALF = 1e-4, 0.05
"""In fp32 the gradients of two blocks part by some 1e-6; in bf16, where each operation rounds by 0.4 % and a fused one
rounds once, by some percent. A wrong operation changes more."""
