"""A device that is not here, played on the CPU: with what Apple's MPS lacks, and with a count of every wait for it.

Tensors of the device hold a tensor of the CPU and compute with it. As on a real device,

- an operation on tensors of both sides is refused, except with a CPU tensor of no dimension;
- `float64` and complex doubles are refused, and so is each operation for which torch has no MPS kernel, by the list
  that comes with torch;
- whatever needs a value on the host (`.item()`, `.cpu()`, `.tolist()`, `nonzero`, indexing with a mask) is a
  synchronization: it is counted with the place in our code that asked for it.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torchgen
import yaml
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

import burnish
from burnish.kernels.loss import _losses_and_gradients

DEVICE = torch.device("mps", 0)
_HOST = torch.device("cpu")
_PACKAGE = str(Path(burnish.__file__).parent)
_DEVICE_TYPES = (DEVICE.type, "meta")
"""Inside torch, where the shells of our tensors are without values, the device is `meta`."""
_NO_DTYPES = (torch.float64, torch.complex128)
_OURS: dict[Any, Callable[..., Any]] = {
    torch.ops.burnish.losses_and_gradients.default: _losses_and_gradients._init_fn,
}
"""Our own operators run on any device, by the operations inside them."""
_COPIES = (torch.ops.aten._to_copy, torch.ops.aten.copy_, torch.ops.aten.to)
"""The last comes here only in inference mode, where torch does not make it of others."""
_WAITING = {
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.masked_select.default,
    torch.ops.aten._unique2.default,
    torch.ops.aten.equal.default,
    torch.ops.aten.is_nonzero.default,
}


_ON_THE_CPU = {"_linalg_svd", "_linalg_svd.U", "embedding_renorm_"}
"""Computed on the CPU by torch itself, with a warning."""


@functools.cache
def lacks_on_mps() -> frozenset[str]:
    """Names of operators with a kernel for the CPU and none for MPS, and none that is made of others."""
    file = Path(torchgen.__file__).parent / "packaged" / "ATen" / "native" / "native_functions.yaml"
    functions = yaml.load(file.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    by_name = {one["func"].partition("(")[0]: one for one in functions}
    lacking: set[str] = set()
    for name, one in by_name.items():
        kernels = by_name[one["structured_delegate"]] if "structured_delegate" in one else one
        keys = {key.strip() for keys in kernels.get("dispatch") or {} for key in keys.split(",")}
        if "CPU" in keys and "MPS" not in keys and not any(key.startswith("Composite") for key in keys):
            lacking.add(name)
    return frozenset(lacking - _ON_THE_CPU)


class DeviceTensor(torch.Tensor):
    """A tensor of the device. `values_here` holds its values; autograd sees a tensor without any."""

    values_here: torch.Tensor

    @staticmethod
    def __new__(cls, real: torch.Tensor) -> DeviceTensor:
        shell = torch.empty_strided(real.shape, real.stride(), dtype=real.dtype, device="meta")
        made = torch.Tensor._make_subclass(cls, shell, False, device_for_backend_keys=DEVICE)
        made.values_here = real
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """The device that is played."""
        return DEVICE

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs what no mode has taken."""
        return compute(func, args, kwargs or {})

    def untyped_storage(self) -> Any:
        """By which tensors that share their memory are found."""
        return self.values_here.untyped_storage()

    def data_ptr(self) -> int:
        """The same."""
        return self.values_here.data_ptr()

    def tolist(self) -> Any:
        """Waits for the values."""
        return self.cpu().tolist()

    def numpy(self, *, force: bool = False) -> Any:
        """As on a real device."""
        raise TypeError("can't convert mps:0 device type tensor to numpy. Use Tensor.cpu() first")

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"DeviceTensor({self.values_here!r})"


waits: list[str] = []
"""The places of our code that waited for the device, in order; `?` for those of other packages."""


class _Inside(TorchDispatchMode):
    """The same inside an operator of ours, for which torch leaves the mode."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs everything."""
        return compute(func, args, kwargs or {})


class _DoneEvent:
    """An event of a device on which everything is done at once."""

    def __init__(self, **options: Any) -> None:
        pass

    def record(self, *stream: Any) -> None:
        """Nothing to wait for later."""

    wait = synchronize = record

    def query(self) -> bool:
        """It has happened."""
        return True


class StandIn(_Inside):
    """While it is entered, tensors can be created on the device and moved to it."""

    def __enter__(self) -> Any:
        waits.clear()
        torch._C._set_only_lift_cpu_tensors(True)  # `torch.tensor(..., device=...)` is then a copy, which comes here
        # a module that is moved gets new parameters: put into the old ones, tensors would lose their values
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        self._event = torch.Event
        torch.Event = _DoneEvent  # type: ignore[misc, assignment]
        return super().__enter__()

    def __exit__(self, *error: Any) -> Any:
        torch._C._set_only_lift_cpu_tensors(False)
        torch.__future__.set_overwrite_module_params_on_conversion(False)
        torch.Event = self._event  # type: ignore[misc]
        return super().__exit__(*error)


def compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """One operation, on the side on which its tensors are."""
    if func is torch.ops.prim.device.default:
        return DEVICE
    flat = [*_leaves(args), *_leaves(list(kwargs.values()))]
    tensors = [one for one in flat if isinstance(one, torch.Tensor)]
    ours = [one for one in tensors if isinstance(one, DeviceTensor)]
    to = next((one for one in flat if isinstance(one, torch.device)), None)
    is_copy = func.overloadpacket in _COPIES
    if not ours and (to is None or to.type not in _DEVICE_TYPES):
        return func(*args, **kwargs)
    if func in _OURS and ours:
        with _Inside():
            return _OURS[func](*args, **kwargs)
    strays = [one for one in tensors if not isinstance(one, DeviceTensor) and one.ndim > 0]
    if ours and strays and not is_copy:
        raise RuntimeError(f"{func}: expected all tensors to be on the same device, found {DEVICE} and {_HOST}")
    name = func.name().removeprefix("aten::")
    if ours and name in lacks_on_mps():
        raise NotImplementedError(f"The operator '{func.name()}' is not implemented for MPS")
    to_host = (is_copy and to is not None and to.type == "cpu") or (
        func is torch.ops.aten.copy_.default and not isinstance(args[0], DeviceTensor)
    )
    if func in _WAITING or to_host or _has_mask_index(func, args):
        waits.append(_place())
    result = func(*_unwrapped(args), **{name: _unwrapped(one) for name, one in kwargs.items()})
    if to_host:
        return args[0] if func is torch.ops.aten.copy_.default else result
    return _wrap_like(ours, result)


def _leaves(values: Any) -> Iterator[Any]:
    """Of the lists that operators are called with; torch's own search of trees takes half the time of a run."""
    for one in values:
        if isinstance(one, list | tuple):
            yield from _leaves(one)
        else:
            yield one


def _has_mask_index(func: Any, args: Any) -> bool:
    if func not in (torch.ops.aten.index.Tensor, torch.ops.aten.index_put.default, torch.ops.aten.index_put_.default):
        return False
    return any(one is not None and one.dtype in (torch.bool, torch.uint8) for one in args[1])


def _unwrapped(one: Any) -> Any:
    if isinstance(one, DeviceTensor):
        return one.values_here
    if isinstance(one, list | tuple):
        return [_unwrapped(each) for each in one]
    return _HOST if isinstance(one, torch.device) else one


def _wrap_like(ours: list[DeviceTensor], result: Any) -> Any:
    """The result on the device: an argument itself where the operation changed it in place."""
    known = {id(one.values_here): one for one in ours}

    def wrap(one: Any) -> Any:
        if not isinstance(one, torch.Tensor):
            return one
        if id(one) in known:
            return known[id(one)]
        if one.dtype in _NO_DTYPES:
            raise TypeError(f"Cannot convert a MPS Tensor to {one.dtype} dtype as the MPS framework doesn't support it")
        return DeviceTensor(one)

    return wrap(result) if isinstance(result, torch.Tensor) else tree_map(wrap, result)


def _place() -> str:
    """The innermost line of the package on the stack, if no other package but torch is below it."""
    frame = sys._getframe()
    while frame is not None:
        file, name = frame.f_code.co_filename, frame.f_code.co_name
        if file.startswith(_PACKAGE):
            return f"{Path(file).relative_to(_PACKAGE)}:{name}"
        if "/transformers/" in file or "/peft/" in file:
            return f"? {Path(file).name}:{name}"
        frame = frame.f_back
    return "?"


def moved(network: Any) -> Any:
    """The network with its weights and buffers on the device, in place."""
    done: dict[int, Any] = {}

    def on_device(tensor: torch.Tensor) -> Any:
        if id(tensor) not in done:
            done[id(tensor)] = DeviceTensor(tensor.detach().clone())
        return done[id(tensor)]

    for module in network.modules():
        for name, weight in list(module._parameters.items()):
            if weight is not None and not isinstance(weight, DeviceTensor):
                key = id(weight)
                if key not in done:
                    done[key] = torch.nn.Parameter(DeviceTensor(weight.detach().clone()), weight.requires_grad)
                module._parameters[name] = done[key]
        for name, buffer in list(module._buffers.items()):
            if buffer is not None and not isinstance(buffer, DeviceTensor):
                module._buffers[name] = on_device(buffer)
    return network
