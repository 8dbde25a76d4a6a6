"""What processes tell each other: nothing where there is one, and the same for all where there are several."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.engine.process import ONE, Group, Process, join
from burnish.errors import BurnishError, MachineError, PeerLost
from burnish.system.place import place_here
from tests.forked import Forked
from tests.together import Together, places


def test_one_process_returns_what_it_was_given() -> None:
    tensor, value = torch.ones(3), object()
    ONE.add_up([tensor])
    ONE.broadcast_into([tensor])
    ONE.reserve([tensor])
    ONE.barrier("started", 0.0)
    ONE.note_run(Path("made"))
    with ONE.first_of_node():
        assert tensor.tolist() == [1.0, 1.0, 1.0]
    assert ONE.total([3, 0.5]) == [3, 0.5]
    assert ONE.gather(value) == [value]
    assert ONE.decide(lambda: value) is value
    assert (ONE.any(True), ONE.any(False)) == (True, False)
    assert (ONE.rank, ONE.world, ONE.is_main, ONE.is_alone, ONE.run_before()) == (0, 1, True, True, None)
    assert ONE.device(torch.device("cpu")) == torch.device("cpu")


def test_one_process_joins_no_group() -> None:
    with join(None) as process:
        assert process is ONE
        assert not torch.distributed.is_initialized()


def test_a_rank_that_does_not_come_is_named() -> None:
    (first, _) = (place_here(variables) for variables in places(2))
    assert first is not None
    store = torch.distributed.HashStore()
    group = Group(first, store, store)
    with pytest.raises(MachineError, match=r"rank 1 of 2 processes has not started within 0\.1 s"):
        group.barrier("started", 0.1)
    store.set("meeting/2/1", "")
    group.barrier("started", 0.1)


def test_each_process_needs_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    place = place_here(next(places(2)))
    assert place is not None
    store = torch.distributed.HashStore()
    group = Group(dataclasses.replace(place, local_rank=1), store, store)
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert group.device(torch.device("cuda")) == torch.device("cuda", 1)
    assert chosen == [torch.device("cuda", 1)]
    for device in ("cuda:1", "mps"):
        with pytest.raises(MachineError, match="need as many devices"):
            group.device(torch.device(device))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(MachineError, match="2 processes on this machine need as many devices, and there is 1"):
        group.device(torch.device("cuda"))


def test_two_processes_tell_each_other(tmp_path: Path) -> None:
    results = Together("tests.unit.engine.test_process:talk", 2, tmp_path).results()
    assert len(results) == 2
    for rank, told in enumerate(results):
        assert told.pop("own") == rank
    assert results[0] == results[1]
    assert results[0] == {
        "place": 2,
        "total": [3.0, 11.0],
        "any": [True, False],
        "decided": "by 0",
        "gathered": ["rank 0", "rank 1"],
        "written": [[0.0, 1.0, 2.0], [[7.0], [8.0]]],
        "summed": [3.0] * 5 + [30.0] * 6,
        "split": 200_000 * 3.0,
        "half": [3.0, 3.0],
        "order": [0, 1],
        "before": [None, "runs/made"],
        "failed": "made to fail",
        "lost": True,
    }


def talk(process: Process, folder: Path) -> dict[str, Any]:
    """What one of two processes finds out; the last thing is that the other one has failed."""
    rank = process.rank
    told: dict[str, Any] = {"own": rank, "place": process.world}
    told["total"] = process.total([rank + 1, 10 * rank + 0.5])
    told["any"] = [process.any(rank == 1), process.any(False)]
    told["decided"] = process.decide(lambda: f"by {rank}")
    told["gathered"] = process.gather(f"rank {rank}")
    written = [torch.arange(3.0) + 5 * rank, torch.tensor([[7.0, 0.0], [8.0, 0.0]])[:, :1] * (rank == 0)]
    process.broadcast_into(written)
    told["written"] = [tensor.tolist() for tensor in written]
    told["summed"] = summed(process, rank)
    wide = torch.full((200_000,), float(rank + 1))
    process._buffers = {(wide.dtype, wide.device): torch.empty(70_000)}  # type: ignore[attr-defined]
    process.add_up([wide])
    told["split"] = float(wide.sum())
    half = torch.full((2,), rank + 1.0, dtype=torch.bfloat16)
    process.add_up([half])
    told["half"] = half.tolist()
    with process.first_of_node():
        if rank == 0:
            time.sleep(0.3)
        (folder / f"came-{rank}").write_text(str(time.time()))
    process.barrier("written")
    told["order"] = sorted((0, 1), key=lambda number: float((folder / f"came-{number}").read_text()))
    before = process.run_before()
    process.note_run(Path("runs/made"))
    told["before"] = [before, str(process.run_before())]
    told |= failure(process)
    return told


def summed(process: Process, rank: int) -> list[float]:
    """Sums of tensors of different forms, and one that no process has in its usual order."""
    plain, crossed = torch.full((5,), rank + 1.0), torch.full((3, 2), 10.0 * (rank + 1)).t()
    process.add_up([plain, crossed])
    return [*plain.tolist(), *crossed.flatten().tolist()]


def failure(process: Process) -> dict[str, Any]:
    """The main process fails to decide, and the other one finds it gone."""

    def fail() -> None:
        raise BurnishError("made to fail")

    told: dict[str, Any] = {"failed": "made to fail", "lost": True}
    try:
        process.decide(fail)
    except BurnishError as error:
        assert isinstance(error, PeerLost) == (process.rank == 1), error
        assert process.rank == 1 or error.what == "made to fail"
    torch.distributed.destroy_process_group()  # closes the connections, as the end of a process does
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    return told


def leave() -> int:
    """The number of threads that a group of one has left behind."""
    os.environ |= next(places(1))
    before = set(threading.enumerate())
    with join(place_here()):
        assert set(threading.enumerate()) - before
    return len(set(threading.enumerate()) - before)


def test_no_thread_outlives_the_group() -> None:
    """One that returned from torch while Python ends would abort a process that has done its work."""
    assert Forked(leave).wait() == 0
