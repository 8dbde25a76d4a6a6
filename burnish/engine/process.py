"""The processes that train a run together: which of them this one is, and what they exchange.

A run in one process has a `Process`, whose members do nothing and cost nothing. Several have a `Group` each, made by
`join`: every one runs the same program on its part of the batches, and what one of them decides or measures reaches the
others by the members below. All of them must call these in the same order.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from burnish.engine.meeting import JOINING_SECONDS, stores
from burnish.errors import Interrupted, MachineError, PeerLost
from burnish.system.place import Place

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

_Value = TypeVar("_Value")
_LONGEST = timedelta(hours=6)
"""For one operation, in which processes wait for the slowest of them, for example while it compiles or generates. One
that has ended is noticed at once, because its connections are closed."""
_PAUSE_SECONDS = 0.05
_BUFFER_BYTES = 64 << 20
_GLOO = "/gloo/"
"""A part of the place in its source code with which gloo's messages begin."""
_RUN, _FAILED = "run", "failed"
_WATCH_SECONDS, _GRACE_SECONDS = 1.0, 5.0


class Process:
    """A run in one process: every member returns what it was given."""

    rank = 0
    """From 0; the process of rank 0 is the main one, which alone writes the run and reports to the user."""
    world = 1
    """Number of processes."""
    local_rank = 0
    """From 0, among the processes of this machine."""
    local_world = 1
    """Number of processes of this machine."""

    @property
    def is_alone(self) -> bool:
        """Whether there is no other process."""
        return True

    @property
    def is_main(self) -> bool:
        """Whether it is the process that writes the run and reports to the user."""
        return self.rank == 0

    def device(self, device: torch.device) -> torch.device:
        """The device of this process, where the run was given one.

        Raises:
            MachineError: there are fewer devices than processes.
        """
        return device

    def total(self, numbers: Sequence[float]) -> list[float]:
        """The sums of numbers over all processes, in fp64."""
        return list(numbers)

    def any(self, is_true: bool) -> bool:
        """Whether it is true in any process."""
        return is_true

    def decide(self, make: Callable[[], _Value]) -> _Value:
        """What the main process makes, in all processes; the others make nothing. It must be picklable.

        An error is raised in the main process; the others find it ended.
        """
        return make()

    def broadcast_into(self, tensors: Sequence[torch.Tensor]) -> None:
        """Overwrites tensors by those of the main process, which have the same shapes and types."""

    def gather(self, value: _Value) -> list[_Value]:
        """The values of all processes, by rank. They must be picklable."""
        return [value]

    def reserve(self, tensors: Sequence[torch.Tensor]) -> None:
        """Allocates what `add_up` needs for these tensors, so that it does not run out of memory."""

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replaces each tensor by its sum over all processes."""

    def barrier(self, what: str, seconds: float = JOINING_SECONDS) -> None:
        """Waits for all processes.

        Args:
            what: they are to have done, as a phrase such as "started".
            seconds: to wait at most.

        Raises:
            MachineError: naming the ranks that have not come.
        """

    def note_run(self, path: Path) -> None:
        """Notes which run is trained, for the processes that torchrun starts in place of these."""

    def run_before(self) -> Path | None:
        """The run that earlier processes of the same launch have noted; None if there is none."""
        return None

    @contextlib.contextmanager
    def first_of_node(self) -> Iterator[None]:
        """A context that the processes of a machine enter one after another: the first, then the others together.

        The first leaves in caches what the others then find there.
        """
        yield


ONE = Process()
"""The process of a run that has no other."""


class Group(Process):
    """One of several processes; made by `join`.

    Args:
        place: of this process.
        store: where they meet.
        launch: the same for all attempts of a launch.
    """

    def __init__(self, place: Place, store: Store, launch: Store) -> None:
        self.rank, self.world = place.rank, place.world
        self.local_rank, self.local_world = place.local_rank, place.local_world
        self._node = place.node
        self._store = store
        self._launch = launch
        self._meetings = 0
        self._buffers: dict[tuple[torch.dtype, torch.device], torch.Tensor] = {}

    @property
    def is_alone(self) -> bool:
        """It is not, even where it is a group of one: torchrun with a single process computes as with several."""
        return False

    def device(self, device: torch.device) -> torch.device:
        """The GPU of this process's local rank; the CPU for all."""
        if device.type == "cpu":
            return device
        number = torch.cuda.device_count() if device.type == "cuda" else 1
        if self.local_world > number or device.index is not None:
            what = f"`{device}`" if device.index is not None else f"{number} of the kind `{device.type}`"
            raise MachineError(
                f"{self.local_world} processes on this machine need as many devices, and there is {what}",
                "Each process trains on a GPU of its own.",
                "Leave `model.device` at `auto`, and start as many processes as there are GPUs",
            )
        own = torch.device(device.type, self.local_rank)
        torch.cuda.set_device(own)
        return own

    def total(self, numbers: Sequence[float]) -> list[float]:
        """The sums of numbers over all processes, in fp64."""
        from torch import distributed

        sums = torch.tensor(list(numbers), dtype=torch.float64)
        with _lost_named():
            distributed.all_reduce(sums)
        return sums.tolist()

    def any(self, is_true: bool) -> bool:
        """Whether it is true in any process."""
        return self.total([float(is_true)])[0] > 0

    def decide(self, make: Callable[[], _Value]) -> _Value:
        """What the main process makes."""
        from torch import distributed

        values: list[Any] = [make() if self.is_main else None]
        with _lost_named():
            distributed.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        return values[0]

    def broadcast_into(self, tensors: Sequence[torch.Tensor]) -> None:
        """Overwrites tensors by those of the main process."""
        from torch import distributed

        with torch.no_grad(), _lost_named():
            for tensor in tensors:
                whole = tensor.detach().contiguous()
                distributed.broadcast(whole, src=0)
                if whole.data_ptr() != tensor.data_ptr():
                    tensor.copy_(whole)

    def gather(self, value: _Value) -> list[_Value]:
        """The values of all processes, by rank."""
        from torch import distributed

        values: list[Any] = [None] * self.world
        with _lost_named():
            distributed.all_gather_object(values, value)
        return values

    def reserve(self, tensors: Sequence[torch.Tensor]) -> None:
        """Allocates one buffer for each type of tensor, which is kept."""
        for key, group in _by_kind(tensors).items():
            size = max(1, _BUFFER_BYTES // group[0].element_size())
            wanted = min(size, sum(tensor.numel() for tensor in group))
            if key not in self._buffers or self._buffers[key].numel() < wanted:
                self._buffers[key] = torch.empty(wanted, dtype=key[0], device=key[1])

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replaces each tensor by its sum over all processes, many small ones at a time."""
        self.reserve(tensors)
        for key, group in _by_kind(tensors).items():
            buffer = self._buffers[key]
            pieces = [piece for tensor in group for piece in _flat(tensor).split(buffer.numel())]
            begin = 0
            while begin < len(pieces):
                end, used = begin, 0
                while end < len(pieces) and used + pieces[end].numel() <= buffer.numel():
                    used += pieces[end].numel()
                    end += 1
                self._sum_pieces(buffer[:used], pieces[begin:end])
                begin = end

    def _sum_pieces(self, buffer: torch.Tensor, pieces: Sequence[torch.Tensor]) -> None:
        from torch import distributed

        parts = buffer.split([piece.numel() for piece in pieces])
        for part, piece in zip(parts, pieces, strict=True):
            part.copy_(piece)
        with _lost_named():
            distributed.all_reduce(buffer)
        for part, piece in zip(parts, pieces, strict=True):
            piece.copy_(part)

    def barrier(self, what: str, seconds: float = JOINING_SECONDS) -> None:
        """Waits for all processes, by way of the store, which knows who has come."""
        self._meetings += 1
        keys = [f"meeting/{self._meetings}/{rank}" for rank in range(self.world)]
        deadline = time.monotonic() + seconds
        with _lost_named():
            self._store.set(keys[self.rank], what)
            while not self._store.check(keys):
                if time.monotonic() > deadline:
                    missing = [rank for rank, key in enumerate(keys) if not self._store.check([key])]
                    raise _missing(missing, self.world, what, seconds)
                time.sleep(_PAUSE_SECONDS)

    def note_run(self, path: Path) -> None:
        """Notes the path in the store, which outlives the processes where an agent keeps it."""
        if self.is_main:
            self._launch.set(_RUN, str(path))

    def run_before(self) -> Path | None:
        """The path in the store."""
        return self.decide(lambda: Path(self._launch.get(_RUN).decode()) if self._launch.check([_RUN]) else None)

    @contextlib.contextmanager
    def first_of_node(self) -> Iterator[None]:
        """Local rank 0 enters at once, the others when it has left without an error."""
        self._meetings += 1
        key = f"first/{self._meetings}/{self._node}"
        if self.local_rank:
            with _lost_named():
                while not self._store.check([key]):
                    time.sleep(_PAUSE_SECONDS)
        yield
        if not self.local_rank:
            self._store.set(key, "")


@contextlib.contextmanager
def _ending_at_once() -> Iterator[None]:
    """Lets SIGTERM end this process while torch waits for others, where it would notice no signal for hours.

    An agent sends it when one of them has ended, and nothing has been begun yet that would have to be put away.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def join(place: Place | None) -> Iterator[Process]:
    """The process of this place, for as long as the context is entered.

    Args:
        place: None for a process that was started by itself.

    Raises:
        MachineError: naming the ranks that have not come in time.
    """
    if place is None:
        yield ONE
        return
    from torch import distributed

    launch, store = stores(place)
    group = Group(place, store, launch)
    group.barrier("started")
    has_nccl = torch.cuda.is_available() and distributed.is_nccl_available()
    backend = "cpu:gloo,cuda:nccl" if has_nccl else "gloo"
    with _lost_named(), _ending_at_once():
        distributed.init_process_group(backend, store=store, rank=place.rank, world_size=place.world, timeout=_LONGEST)
    has_ended = threading.Event()
    watch = threading.Thread(target=_end_with, args=(place, has_ended), daemon=True)
    watch.start()
    try:
        yield group
    except (Interrupted, KeyboardInterrupt, PeerLost):
        raise  # the others have been stopped, too
    except BaseException as error:
        if says_lost(error):  # where torch exchanges sharded weights by itself
            raise peer_lost() from error
        with contextlib.suppress(RuntimeError):
            store.set(_FAILED, str(place.rank))
        raise
    finally:
        distributed.destroy_process_group()
        has_ended.set()
        watch.join(_GRACE_SECONDS)  # a thread that returns from torch while Python ends aborts the process


def _end_with(place: Place, has_ended: threading.Event) -> None:
    """Ends this process some seconds after another one has failed, if it does not find out before.

    It would, as soon as they exchange something, but may compute for minutes until then.
    """
    with contextlib.suppress(RuntimeError, MachineError):
        _, store = stores(place)
        while not store.check([_FAILED]):
            if has_ended.wait(_WATCH_SECONDS):
                return
        if not has_ended.wait(_GRACE_SECONDS) and store.get(_FAILED).decode() != str(place.rank):
            os._exit(PeerLost.exit_code)


@contextlib.contextmanager
def _lost_named() -> Iterator[None]:
    """Turns the error of a closed connection into one that says what has happened."""
    try:
        yield
    except RuntimeError as error:
        raise peer_lost() from error


def peer_lost() -> PeerLost:
    """The error of a process whose exchange with the others has ended."""
    return PeerLost(
        "another process of this run has ended",
        "The processes compute every step together, so none can go on without it.",
    )


def says_lost(error: BaseException) -> bool:
    """Whether an error is that of a connection between processes; gloo's has no type of its own."""
    from torch import distributed

    return isinstance(error, distributed.DistError) or (isinstance(error, RuntimeError) and _GLOO in str(error))


def _missing(ranks: Sequence[int], world: int, what: str, seconds: float) -> MachineError:
    named = ", ".join(map(str, ranks))
    be = "rank" if len(ranks) == 1 else "ranks"
    return MachineError(
        f"{be} {named} of {world} processes {'has' if len(ranks) == 1 else 'have'} not {what} within {seconds:g} s",
        "Every process of the run takes part in each step.",
        "Look for its error on the machine where it runs, and start all processes again",
    )


def _by_kind(tensors: Sequence[torch.Tensor]) -> dict[tuple[torch.dtype, torch.device], list[torch.Tensor]]:
    found: dict[tuple[torch.dtype, torch.device], list[torch.Tensor]] = {}
    for tensor in tensors:
        found.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    return found


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    """All elements as one dimension, in memory shared with the tensor: what is written there is written into it."""
    if not tensor.is_contiguous():
        strides = sorted(range(tensor.ndim), key=lambda number: -tensor.stride(number))
        tensor = tensor.permute(strides)  # dense in another order, as of channels-last weights
    return tensor.view(-1)
