"""The roofline, held against numbers counted by hand."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

from burnish.plan.devices import Device, custom_device, find_device, load_devices
from burnish.plan.roofline import BEST, WORST, Operation, Reach, TimeEstimate, Work, busy_seconds, estimate_time

WHOLE = Reach(matrices=1.0, bandwidth=1.0, launch=0.0)
A100 = find_device("A100-80GB")
SIDE = 4096
PRODUCT = Operation(flops=2 * SIDE**3, traffic=3 * SIDE**2 * 2, precision="bf16")
ADDITION = Operation(flops=0, traffic=3 * SIDE**2 * 2, precision="bf16")
RATED = [device for device in load_devices() if device.rates]


def work_of(**counts: int) -> Work:
    kinds = {"products": PRODUCT, "additions": ADDITION}
    return Work(Counter({kinds[name]: count for name, count in counts.items()}))


def test_a_large_product_takes_as_long_as_its_arithmetic() -> None:
    """137.4 GFLOP at 312 TFLOP/s are 440.5 microseconds; its three matrices pass in 49.4."""
    assert busy_seconds(work_of(products=1), A100, WHOLE) == pytest.approx(440.5e-6, rel=1e-3)


def test_an_addition_takes_as_long_as_its_traffic() -> None:
    """100.7 MB at 2,039 GB/s."""
    assert busy_seconds(work_of(additions=1), A100, WHOLE) == pytest.approx(49.37e-6, rel=1e-3)


def test_a_thin_product_takes_as_long_as_its_traffic() -> None:
    """One row times a matrix: 33.6 MFLOP are 0.1 microseconds, 33.6 MB are 16.5."""
    thin = Operation(flops=2 * SIDE**2, traffic=2 * (SIDE**2 + 2 * SIDE), precision="bf16")
    assert busy_seconds(Work(Counter({thin: 1})), A100, WHOLE) == pytest.approx(16.46e-6, rel=1e-3)


def test_operations_add_up_as_often_as_they_come() -> None:
    seconds = busy_seconds(work_of(products=3, additions=5), A100, WHOLE)
    assert seconds == pytest.approx(3 * 440.5e-6 + 5 * 49.37e-6, rel=1e-3)


def test_each_operation_runs_at_the_rate_of_its_precision() -> None:
    """A100: 19.5 TFLOP/s in fp32, a sixteenth of bf16; a T4 has no bf16 and computes it as fp32."""
    single = Work(Counter({dataclasses.replace(PRODUCT, precision="fp32"): 1}))
    assert busy_seconds(single, A100, WHOLE) == pytest.approx(16 * 440.5e-6, rel=1e-3)
    t4 = find_device("T4")
    assert busy_seconds(work_of(products=1), t4, WHOLE) == busy_seconds(single, t4, WHOLE)


def test_what_is_not_reached_takes_longer() -> None:
    half = Reach(matrices=0.5, bandwidth=0.25, launch=0.0)
    assert busy_seconds(work_of(products=1), A100, half) == pytest.approx(2 * 440.5e-6, rel=1e-3)
    assert busy_seconds(work_of(additions=1), A100, half) == pytest.approx(4 * 49.37e-6, rel=1e-3)


def test_at_best_launches_hide_and_at_worst_they_are_waited_for() -> None:
    reach = Reach(matrices=1.0, bandwidth=1.0, launch=20e-6)
    found = estimate_time(work_of(additions=10), A100, reach, reach)
    assert found is not None
    assert found.low == pytest.approx(493.7e-6, rel=1e-3)
    assert found.high == pytest.approx(693.7e-6, rel=1e-3)


def test_small_operations_take_as_long_as_their_launches() -> None:
    """A thousand additions of a few numbers keep the host busy for 5 ms at best, and for 13 ms at worst."""
    tiny = Work(Counter({Operation(0, 12, "fp32"): 1000}))
    found = estimate_time(tiny, A100)
    assert found is not None
    assert found.low == pytest.approx(5e-3)
    assert found.high == pytest.approx(13e-3, rel=1e-3)


@pytest.mark.parametrize("device", RATED, ids=lambda device: device.name)
def test_an_estimate_lies_between_its_bounds(device: Device) -> None:
    found = estimate_time(work_of(products=200, additions=1000), device)
    assert found is not None
    assert found.low < found.seconds < found.high
    assert found.seconds / found.low == pytest.approx(found.high / found.seconds)
    assert found.high < 4 * found.low


def test_more_work_takes_longer_and_a_faster_device_less() -> None:
    works = [work_of(products=count, additions=10 * count) for count in (1, 2, 20)]
    devices = [find_device(name) for name in ("T4", "RTX 3090", "RTX 4090", "A100-80GB", "H100")]
    for bound in ("seconds", "low", "high"):
        by_work = [getattr(estimate_time(work, A100), bound) for work in works]
        by_device = [getattr(estimate_time(works[-1], device), bound) for device in devices]
        assert by_work == sorted(set(by_work))
        assert by_device == sorted(set(by_device), reverse=True)


def test_of_a_device_without_rates_no_time_is_reported() -> None:
    """Of one known by its memory, of an Apple chip without a published rate, and of one without a bandwidth."""
    work = work_of(products=1)
    assert estimate_time(work, custom_device(12 * 2**30)) is None
    assert estimate_time(work, find_device("M4 Pro")) is None
    assert estimate_time(work, dataclasses.replace(A100, bandwidth=None)) is None


def test_throughput_turns_the_bounds_round() -> None:
    speed = TimeEstimate(seconds=2.0, low=1.0, high=4.0).throughput(1000)
    assert (speed.tokens_per_second, speed.low, speed.high) == (500, 250, 1000)


def test_so_many_steps_take_so_many_times_as_long() -> None:
    assert TimeEstimate(2.0, 1.0, 4.0).times(10) == TimeEstimate(20.0, 10.0, 40.0)


def test_an_estimate_says_its_bounds() -> None:
    assert str(TimeEstimate.between(1.0, 4.0)) == "2 s (1 to 4 s)"


def test_the_worst_is_worse_than_the_best() -> None:
    assert 0 < WORST.matrices < BEST.matrices < 1
    assert 0 < WORST.bandwidth < BEST.bandwidth < 1
    assert 0 < BEST.launch < WORST.launch
