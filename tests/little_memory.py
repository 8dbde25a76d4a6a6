"""Devices with little memory, played on the CPU: what does not fit raises what torch raises."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from burnish.models.heads import split_model


class LittleMemory(TorchDispatchMode):
    """While entered, tensors that are made take room, until the last of them on a storage is gone.

    Args:
        limit: bytes; the operation that passes it fails, its result is lost.
    """

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit
        self.live = self.peak = self.refused = 0
        self._known: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        if self.live > self.limit:
            self.refused += 1
            raise torch.OutOfMemoryError(f"{self.live} bytes on a device of {self.limit}")
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        if key not in self._known:
            self._known[key] = weakref.ref(storage, lambda _: self._drop(key, size))
            self.live += size
            self.peak = max(self.peak, self.live)

    def _drop(self, key: int, size: int) -> None:
        del self._known[key]
        self.live -= size


@contextmanager
def refusing(network: Any, refuses: Callable[[int], bool]) -> Iterator[list[int]]:
    """Runs out at the end of a forward pass through the body of a model, when dropout has been drawn.

    Args:
        network: whose body is called with `input_ids`.
        refuses: reported how many tokens a batch has, padding included; called once for each batch.

    Returns:
        The tokens of the batches that were refused.
    """
    refused: list[int] = []

    def look(module: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        tokens = kwargs["input_ids"].numel()
        if refuses(tokens):
            refused.append(tokens)
            raise torch.OutOfMemoryError(f"{tokens} tokens do not fit")

    halves = split_model(network)
    assert halves is not None
    hook = halves[0].register_forward_hook(look, with_kwargs=True)
    try:
        yield refused
    finally:
        hook.remove()
