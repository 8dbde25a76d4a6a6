"""Tracks the bytes of live tensors, operation by operation, for real and fake tensors."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode

from burnish.plan.grouped import grouped_product, is_grouped

WEIGHTS, GRADIENTS, OPTIMIZER, BATCH, LOGITS, ACTIVATIONS = (
    "weights",
    "gradients",
    "optimizer",
    "batch",
    "logits",
    "activations",
)
CATEGORIES = (WEIGHTS, GRADIENTS, OPTIMIZER, ACTIVATIONS, LOGITS, BATCH)
"""Uses of live bytes; `activations` is everything that belongs to none of the others."""

_WHICH_DEVICE = torch.ops.prim.device.default
Inside = Callable[[Any, tuple[Any, ...], Any], int]
"""Temporary bytes of an operation while it runs, from the function, its arguments and its result."""


@dataclass(slots=True)
class Peak:
    """The largest number of live bytes within a phase, and their uses."""

    total: int = 0
    parts: dict[str, int] = field(default_factory=dict)
    begin: int = 0
    """Live bytes when the phase first began."""


def is_in_place(function: Any, kwargs: dict[str, Any]) -> bool:
    """Whether an operation writes into an argument: its result is that argument, but may be another object for it."""
    return function._overloadpacket.__name__.endswith("_") or "out" in kwargs or "grad_input" in kwargs


class LiveStorage(TorchDispatchMode):
    """Counts the bytes of every storage from the operation that creates it until its last tensor is gone.

    A storage counts once, however many tensors view it. Memory that an operation allocates and frees itself is not
    seen here; `inside` may provide it.

    Args:
        outputs: size of the model's output (vocabulary or labels): tensors whose last dimension has it count as logits.
        watch: called with every operation, its arguments and its result, to count other things at the same time.
        inside: temporary bytes of an operation.
    """

    def __init__(
        self,
        outputs: int,
        watch: Callable[[Any, tuple[Any, ...], dict[str, Any], Any], None] | None = None,
        inside: Inside | None = None,
    ) -> None:
        super().__init__()
        self.live = 0
        self.parts: dict[str, int] = dict.fromkeys(CATEGORIES, 0)
        self.phases: dict[str, Peak] = {}
        self._phase = Peak()
        self._outputs = outputs
        self._watch = watch
        self._inside = inside
        self._held: dict[int, list[Any]] = {}  # by id of a storage: a weak reference to it, its bytes, its category

    def hold(self, tensors: Iterable[torch.Tensor], category: str) -> None:
        """Sets the category of some tensors; those not yet seen start to count."""
        for tensor in tensors:
            entry = self._held.get(id(tensor.untyped_storage()))
            if entry is None:
                self._add(tensor, category)
            else:
                self.parts[entry[2]] -= entry[1]
                self.parts[category] += entry[1]
                entry[2] = category

    def begin_phase(self, name: str) -> None:
        """Starts a phase, each with its own peak; a phase may occur repeatedly."""
        self._phase = self.phases.setdefault(name, Peak(begin=self.live))
        self._update_peak(0)

    def forget_phases(self) -> None:
        """Discards all peaks so far."""
        self.phases.clear()
        self._phase = Peak()

    @property
    def peak(self) -> Peak:
        """The largest peak of all phases."""
        return max(self.phases.values(), key=lambda peak: peak.total)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is _WHICH_DEVICE:  # the most frequent call on fake tensors by far, and creates nothing
            return args[0].fake_device if isinstance(args[0], FakeTensor) else func(*args)
        run = grouped_product if is_grouped(func) and isinstance(args[0], FakeTensor) else func
        result = run(*args, **(kwargs or {}))
        for tensor in () if is_in_place(func, kwargs or {}) else _tensors(result):
            if id(tensor.untyped_storage()) not in self._held:
                last = tensor.shape[-1] if tensor.ndim > 1 else 0
                self._add(tensor, LOGITS if last == self._outputs else ACTIVATIONS)
        if self._inside is not None:
            self._update_peak(self._inside(func, args, result))
        if self._watch is not None:
            self._watch(func, args, kwargs or {}, result)
        return result

    def _add(self, tensor: torch.Tensor, category: str) -> None:
        storage = tensor.untyped_storage()
        key, size = id(storage), storage.nbytes()
        self._held[key] = [weakref.ref(storage, lambda _: self._drop(key)), size, category]
        self.parts[category] += size
        self.live += size
        self._update_peak(0)

    def _drop(self, key: int) -> None:
        _, size, category = self._held.pop(key)
        self.parts[category] -= size
        self.live -= size

    def _update_peak(self, inside: int) -> None:
        if self.live + inside > self._phase.total:
            self._phase.total = self.live + inside
            self._phase.parts = dict(self.parts)
            self._phase.parts[ACTIVATIONS] += inside


def _tensors(result: Any) -> Iterator[torch.Tensor]:
    if isinstance(result, torch.Tensor):
        yield result
    elif isinstance(result, tuple | list):
        for one in result:
            yield from _tensors(one)
