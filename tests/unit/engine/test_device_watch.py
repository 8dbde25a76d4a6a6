"""The GPU is watched now and then, and each trouble reported once. Stand-ins take the place of a GPU."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
import torch

from burnish.engine import watch as device_watch
from burnish.engine.watch import DeviceWatch, NotMonitoredError, read_temperature
from burnish.runs.events import Event, Note, Stage, Validated, Warned
from tests.snapshots import check_text
from tests.unit.engine.made_curves import step_done

CUDA = torch.device("cuda", 0)
GIB = 2**30


@dataclass
class Gpu:
    """A GPU with the given properties."""

    degrees: int | str = 60
    free: int = 40 * GIB
    total: int = 80 * GIB
    reserved: int = 0
    allocated: int = 0
    now: float = 0.0
    looks: list[float] = field(default_factory=list)

    def temperature(self, device: torch.device) -> int:
        assert device == CUDA
        self.looks.append(self.now)
        if isinstance(self.degrees, str):
            raise NotMonitoredError(self.degrees)
        return self.degrees

    def watch(self, device: torch.device = CUDA) -> DeviceWatch:
        return DeviceWatch(
            device,
            self.temperature,
            lambda device: (self.free, self.total),
            lambda device: self.reserved,
            lambda device: self.allocated,
            lambda: self.now,
        )


def validated(step: int) -> Validated:
    return Validated(step, 1.0, {}, False, 0.1)


def test_heat_is_reported_once() -> None:
    gpu = Gpu(85)
    watch = gpu.watch()
    assert watch.observe(validated(5)) == []
    gpu.degrees = 86
    (result,) = watch.observe(validated(6))
    assert isinstance(result, Warned)
    assert "at 86 degrees Celsius at step 6" in result.text
    assert watch.observe(validated(7)) == []


def test_scarce_memory_is_reported_once_and_what_torch_set_aside_counts_as_free() -> None:
    gpu = Gpu(free=GIB, reserved=70 * GIB, allocated=60 * GIB)
    watch = gpu.watch()
    assert watch.observe(validated(1)) == []
    gpu.allocated = 69 * GIB
    (result,) = watch.observe(validated(2))
    assert isinstance(result, Warned)
    check_text(result.text)
    assert watch.observe(validated(3)) == []


@pytest.mark.parametrize(("free", "is_scarce"), [(3 * GIB - 1, True), (3 * GIB, False)])
def test_memory_is_scarce_below_three_hundredths(free: int, is_scarce: bool) -> None:
    gpu = Gpu(free=free, total=100 * GIB)
    assert [isinstance(one, Warned) for one in gpu.watch().observe(validated(1))] == [True] * is_scarce


def test_the_two_are_distinguished() -> None:
    assert len(Gpu(99, free=0).watch().observe(validated(1))) == 2


def test_it_looks_at_every_validation_and_at_steps_every_half_minute() -> None:
    gpu = Gpu()
    watch = gpu.watch()
    events: list[tuple[float, Event]] = [
        (0, step_done(1, 1.0)),
        (1, step_done(2, 1.0)),
        (2, validated(2)),
        (31, step_done(3, 1.0)),
        (32, step_done(4, 1.0)),
        (33, Stage("training")),
        (63, step_done(5, 1.0)),
    ]
    for now, event in events:
        gpu.now = now
        watch.observe(event)
    assert gpu.looks == [0, 2, 32, 63]


def test_where_the_temperature_cannot_be_read_that_is_said_once_and_memory_is_still_watched() -> None:
    gpu = Gpu("the package nvidia-ml-py is missing")
    watch = gpu.watch()
    (note,) = watch.observe(validated(1))
    assert isinstance(note, Note)
    check_text(note.text)
    gpu.free = 0
    (result,) = watch.observe(validated(2))
    assert isinstance(result, Warned)
    assert len(gpu.looks) == 1


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_other_devices_are_left_alone(device: str) -> None:
    gpu = Gpu(120, free=0)
    assert gpu.watch(torch.device(device)).observe(validated(1)) == []
    assert gpu.looks == []


def test_without_the_package_there_is_no_temperature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_watch.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NotMonitoredError, match="nvidia-ml-py is missing"):
        read_temperature(CUDA)


class DriverError(Exception):
    """Stands in for the driver's own error."""


def test_a_driver_that_does_not_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(device: torch.device) -> int:
        raise DriverError("Not Supported")

    monkeypatch.setattr(device_watch.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(NVMLError=DriverError))
    monkeypatch.setattr(torch.cuda, "temperature", refuse)
    with pytest.raises(NotMonitoredError, match="Not Supported"):
        read_temperature(CUDA)
    monkeypatch.setattr(torch.cuda, "temperature", lambda device: 55)
    assert read_temperature(CUDA) == 55
