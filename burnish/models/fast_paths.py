"""Installs fast kernels in a loaded model, where a probe shows that its output is as exact as with its own."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers.activations import NewGELUActivation

from burnish.kernels.dropout import dropped
from burnish.kernels.rms_norm import rms_norm
from burnish.kernels.varlen_attention import DENSE, kernels_on
from burnish.models import attention
from burnish.models.fused_layers import install_fused_layers
from burnish.models.probe import Probe


class FastDropout(nn.Dropout):
    """Dropout whose mask is drawn faster."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  torch's name
        """Of any shape; the same where nothing is dropped."""
        if not self.training or not self.p or input.device.type != "cpu":
            return super().forward(input)
        return dropped(input, self.p)


class FusedRMSNorm(nn.Module):
    """Replaces a norm, with its weight under the same name."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        epsilon = epsilon_of(norm)
        if epsilon is None:
            raise ValueError(f"{type(norm).__name__} has no epsilon")
        self.weight = norm.weight
        self.variance_epsilon = epsilon
        self.train(norm.training)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """`[..., width]`, normalized."""
        return rms_norm(hidden_states, self.weight, self.variance_epsilon)


def epsilon_of(norm: nn.Module) -> float | None:
    """The number under the root of a norm, under either of its usual names; None where there is none."""
    found = getattr(norm, "variance_epsilon", getattr(norm, "eps", None))
    return found if isinstance(found, float) else None


def computes_rms_norm(module: nn.Module) -> bool:
    """Whether a module gives what `rms_norm` gives with its weight and epsilon: to the bit, in every mix of types.

    It is tried out on a copy with random weights. Inputs of very different size show where epsilon is added; random
    weights show an offset, as Gemma's; a mean that is not zero shows whether it is subtracted; and half precision shows
    where it is rounded. Gradients must agree up to rounding.

    Args:
        module: on any device, with or without numbers in its weights.
    """
    epsilon = epsilon_of(module)
    if epsilon is None or not _has_the_parts_of_a_norm(module):
        return False
    norm: Any = copy.deepcopy(module).to_empty(device="cpu")
    return all(_gives_the_same(norm, epsilon, *types) for types in _NORM_TYPES)


_NORM_TYPES = ((torch.float32, torch.float32), (torch.bfloat16, torch.bfloat16), (torch.bfloat16, torch.float32))
"""Of inputs and weight; the last is what autocast brings about."""
_NORM_SCALES = (1e-4, 1.0, 300.0)
"""The smallest is where epsilons of 1e-5 and 1e-6 count."""
_NORM_ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 0.02}


def _has_the_parts_of_a_norm(module: nn.Module) -> bool:
    """Whether one vector of weights is all that it holds, and one tensor all that it takes."""
    weight = module._parameters.get("weight")
    is_bare = not (module._modules or module._buffers or module._forward_hooks or module._forward_pre_hooks)
    if list(module._parameters) != ["weight"] or weight is None or weight.ndim != 1 or not is_bare:
        return False
    return len(inspect.signature(module.forward).parameters) == 1


def _gives_the_same(norm: Any, epsilon: float, inputs_type: torch.dtype, weight_type: torch.dtype) -> bool:
    """Whether output and gradients are those of `rms_norm` for inputs and weights of these types."""
    source = torch.Generator().manual_seed(0)
    width = norm.weight.numel()
    scales = torch.tensor(_NORM_SCALES)[:, None]
    inputs = (scales * (torch.randn(len(_NORM_SCALES), width, generator=source) + 0.5)).to(inputs_type)
    weight = (0.5 + torch.rand(width, generator=source)).to(weight_type)
    slopes = torch.randn(len(_NORM_SCALES), width, generator=source)
    inputs.requires_grad_()
    norm.weight = nn.Parameter(weight)
    try:
        with torch.enable_grad():
            theirs = norm(inputs)
            if not isinstance(theirs, torch.Tensor) or theirs.shape != inputs.shape:
                return False
            gradients = torch.autograd.grad((theirs * slopes).sum(), [inputs, norm.weight])
            ours = rms_norm(inputs, norm.weight, epsilon)
            expected = torch.autograd.grad((ours * slopes).sum(), [inputs, norm.weight])
    except (TypeError, ValueError, RuntimeError, AttributeError):
        return False
    rounding = _NORM_ROUNDING[inputs_type]
    return (
        ours.dtype == theirs.dtype
        and torch.equal(ours, theirs)
        and all(map(partial(_is_near, rounding), gradients, expected))
    )


def _is_near(rounding: float, found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Row by row, as rows of small inputs have large gradients."""
    far = (found - expected).float().norm(dim=-1) > rounding * expected.float().norm(dim=-1)
    return not bool(far.any())


Undo = Callable[[], None]
"""Puts everything back as it was."""


def arrange(network: Any, device: str) -> None:
    """Installs every fast path for this device type, without checking the results.

    Args:
        network: a transformers model.
        device: `cpu`, `cuda` …
    """
    for install in _PARTS.values():
        install(network, device)


_KNOWN: dict[Hashable, tuple[list[str], list[str]]] = {}
"""What was found out in this process about a network: the parts to install, and the notes."""


def install_fast_paths(network: Any, identity: Hashable = None) -> list[str]:
    """Installs every fast path, and removes those with which the model's output is less exact.

    Args:
        network: a loaded transformers model on its device.
        identity: equal for networks with the same weights and arithmetic, of which one is probed in a process; None to
            probe this one.

    Returns:
        Notes for the user, for example which parts were removed, and by how much they were off.
    """
    if identity in _KNOWN:
        names, notes = _KNOWN[identity]
        for name in names:
            _PARTS[name](network, network.device.type)
        return list(notes)
    names, notes = _install_probed(network)
    if identity is not None:
        _KNOWN[identity] = names, list(notes)
    return notes


def _install_probed(network: Any) -> tuple[list[str], list[str]]:
    """Names of the parts that pass the probe, which are installed, and notes."""
    probe = Probe(network)
    installed = {
        name: undo for name, install in _PARTS.items() if (undo := install(network, network.device.type)) is not None
    }
    if not installed:
        return [], []
    names, notes = list(installed), []
    if not probe.is_possible or probe.fault(network) is not None:
        for undo in installed.values():
            undo()
        names, notes = _install_singly(network, probe) if probe.is_possible else ([], [_NOT_PROBED])
    if _attention_name(network) in attention.NAMES.values() and DENSE in kernels_on(network.device):
        notes.append(_DENSE_MASK)
    return names, notes


def _install_singly(network: Any, probe: Probe) -> tuple[list[str], list[str]]:
    """Installs the parts one after the other and keeps those that pass; returns them, and a note on each of the
    others."""
    kept: list[str] = []
    faults: dict[str, str] = {}
    for name, install in _PARTS.items():
        undo = install(network, network.device.type)
        if undo is None:
            continue
        if (fault := probe.fault(network)) is None:
            kept.append(name)
        else:
            undo()
            faults[name] = fault
    return kept, [f"{_NOT_INSTALLED[name]} {fault}" for name, fault in faults.items()]


def _install_attention(network: Any, device: str) -> Undo | None:
    """Burnish's attention for this device type, instead of PyTorch's."""
    if device not in attention.NAMES or _attention_name(network) != "sdpa":
        return None
    attention.register()
    network.set_attn_implementation(attention.NAMES[device])
    return partial(network.set_attn_implementation, "sdpa")


def _install_norms(network: Any, device: str) -> Undo | None:
    """Norms as one operation each, where that gives the same; those of one kind are tried out once."""
    known: dict[str, bool] = {}
    return _replace(network, lambda module: FusedRMSNorm(module) if _is_rms_norm(module, known) else None)


def _is_rms_norm(module: nn.Module, known: dict[str, bool]) -> bool:
    if epsilon_of(module) is None or not _has_the_parts_of_a_norm(module):
        return False
    plain = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    kind = f"{type(module)} {module.weight.shape} {sorted(plain.items())}"
    if kind not in known:
        known[kind] = computes_rms_norm(module)
    return known[kind]


def _install_activations(network: Any, device: str) -> Undo | None:
    """GPT-2's GELU as one operation: arXiv 1606.08415, section 2, is the very formula."""
    tanh = partial(nn.GELU, approximate="tanh")
    return _replace(network, lambda module: tanh() if type(module) is NewGELUActivation else None)


def _install_dropout(network: Any, device: str) -> Undo | None:
    """The same chances from fewer random numbers; measured on the CPU alone."""
    if device != "cpu":
        return None
    return _replace(network, _fast_dropout)


def _fast_dropout(module: nn.Module) -> FastDropout | None:
    if isinstance(module, nn.Dropout) and type(module) is nn.Dropout and not module.inplace and 0 < module.p < 1:
        return FastDropout(module.p)
    return None


def _install_layers(network: Any, device: str) -> Undo | None:
    """Attention and feed-forward layers as fewer operations; measured on the CPU alone."""
    return install_fused_layers(network) if device == "cpu" else None


def _replace(network: Any, substitute: Callable[[nn.Module], nn.Module | None]) -> Undo | None:
    """Replaces every module for which there is a substitute."""
    children = [(module, name, child) for module in network.modules() for name, child in module.named_children()]
    replaced: list[tuple[nn.Module, str, nn.Module]] = []
    for module, name, child in children:
        if (other := substitute(child)) is not None:
            setattr(module, name, other)
            replaced.append((module, name, child))

    def undo() -> None:
        for module, name, child in replaced:
            setattr(module, name, child)

    return undo if replaced else None


_PARTS: dict[str, Callable[[Any, str], Undo | None]] = {
    "attention": _install_attention,
    "norms": _install_norms,
    "activations": _install_activations,
    "layers": _install_layers,
    "dropout": _install_dropout,
}
_NOT_INSTALLED = {
    "attention": "This model uses transformers' own attention instead of Burnish's kernel.",
    "norms": "This model uses transformers' own norms instead of Burnish's kernel.",
    "activations": "This model uses transformers' own activations instead of PyTorch's fused one.",
    "layers": "This model uses transformers' own layers instead of Burnish's fused ones.",
    "dropout": "This model uses PyTorch's dropout instead of Burnish's.",
}
_NOT_PROBED = (
    "This model runs with transformers' own operations: Burnish's kernels cannot be tested on it, since it does not "
    "run on token ids alone."
)
_DENSE_MASK = (
    "No kernel on this machine supports attention within the examples of packed rows, so a mask over complete rows is "
    "used: slower, with the same result."
)


def _attention_name(network: Any) -> str | None:
    return getattr(network.config.get_text_config(), "_attn_implementation", None)
