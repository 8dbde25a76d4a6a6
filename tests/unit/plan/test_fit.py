"""Which way to run a step is taken: the best method that fits, then as many rows as fit."""

from __future__ import annotations

import pytest

from burnish.plan.fit import Way, find_fit, methods_for
from burnish.plan.live_storage import Peak
from burnish.plan.roofline import Work
from burnish.plan.simulate import Simulation

BASE = {"full": 1600, "lora": 400, "qlora": 100}
"""Bytes that a method takes besides its rows."""


class Machine:
    """Simulates by a rule of its own, and remembers what was asked; shards are those of four devices."""

    def __init__(self) -> None:
        self.asked: list[Way] = []

    def run(self, way: Way, room: int | None) -> Simulation:
        """A row takes 100 bytes, or 30 where activations are computed again."""
        self.asked.append(way)
        base = BASE[way.method] // (4 if way.is_sharded else 1)
        total = base + way.micro_rows * (30 if way.checkpointing else 100)
        return Simulation({"all": Peak(total, {})}, 0, 0, Work())


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (10_000, Way("full", 8, False)),
        (2_400, Way("full", 8, False)),
        (2_399, Way("full", 4, False)),
        (1_799, Way("full", 1, False)),  # 1,700
        (1_690, Way("full", 2, True)),  # activations computed again, and as many rows as fit then
        (1_629, Way("lora", 8, False)),
        (799, Way("lora", 2, False)),
        (499, Way("lora", 2, True)),
        (429, Way("qlora", 2, False)),
        (130, Way("qlora", 1, True)),
    ],
)
def test_the_best_method_that_fits_with_the_most_rows(room: int, expected: Way) -> None:
    fit = find_fit(("full", "lora", "qlora"), [8, 4, 2, 1], [False, True], Machine().run, room)
    assert fit.way == expected
    assert fit.fits
    assert fit.simulation.peak.total <= room


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (1_700, Way("full", 1, False)),
        (1_629, Way("full", 8, False, True)),  # before an adapter, which would fit too
        (500, Way("full", 1, False, True)),
        (439, Way("full", 1, True, True)),
        (429, Way("qlora", 2, False)),  # no adapter is sharded
    ],
)
def test_weights_are_sharded_before_a_method_of_lower_quality(room: int, expected: Way) -> None:
    def sharding(method: str) -> tuple[bool, ...]:
        return (False, True) if method == "full" else (False,)

    fit = find_fit(("full", "lora", "qlora"), [8, 4, 2, 1], [False, True], Machine().run, room, sharding)
    assert fit.way == expected
    assert fit.fits


def test_what_takes_least_is_reported_where_nothing_fits() -> None:
    fit = find_fit(("full", "lora"), [8, 1], [False, True], Machine().run, 10)
    assert fit.way == Way("lora", 1, True)
    assert not fit.fits


def test_few_steps_are_simulated() -> None:
    """A simulation takes seconds: one where everything fits, and no size that a line rules out."""
    machine = Machine()
    find_fit(("full", "lora", "qlora"), [8, 4, 2, 1], [False, True], machine.run, 10_000)
    assert len(machine.asked) == 1
    machine = Machine()
    find_fit(("full",), [64, 32, 16, 8, 4, 2, 1], [False, True], machine.run, 2_050)
    assert [way.micro_rows for way in machine.asked] == [64, 1, 4]


def test_what_cannot_fit_is_not_simulated() -> None:
    """With 1,600 of 2,400 bytes in the weights, one row of eight takes 1,700 at least."""

    class WeightsOnly(Machine):
        def run(self, way: Way, room: int | None) -> Simulation:
            seen = super().run(way, room)
            return Simulation({"all": Peak(seen.peak.total, {"weights": BASE[way.method]})}, 0, 0, Work())

    machine = WeightsOnly()
    fit = find_fit(("full", "lora"), [8, 1], [False], machine.run, 1_650)
    assert machine.asked == [Way("full", 8, False), Way("lora", 8, False)]
    assert fit.way == Way("lora", 8, False)
    machine = WeightsOnly()
    fit = find_fit(("full",), [8, 1], [False], machine.run, 1_650)
    assert machine.asked == [Way("full", 8, False), Way("full", 1, False)], "only to tell what is lacking"
    assert (fit.fits, fit.simulation.peak.total) == (False, 1_700)


def test_what_is_known_to_take_more_is_simulated_whole_only_to_say_what_is_lacking() -> None:
    class Hasty(Machine):
        def run(self, way: Way, room: int | None) -> Simulation:
            whole = super().run(way, room)
            if room is None or whole.peak.total <= room:
                return whole
            return Simulation({"at least": Peak(room + 1, {})}, 0, 0, Work(), is_bound=True)

    machine = Hasty()
    fit = find_fit(("full", "lora"), [2, 1], [False], machine.run, 650)
    assert (fit.way, fit.fits, fit.simulation.is_bound) == (Way("lora", 2, False), True, False)
    fit = find_fit(("lora",), [2, 1], [False], machine.run, 450)
    assert (fit.fits, fit.simulation.is_bound) == (False, False)
    assert fit.simulation.peak.total in (500, 600)


def test_one_size_of_micro_batch_is_all_there_is_to_try() -> None:
    machine = Machine()
    fit = find_fit(("lora",), [3], [True], machine.run, 10_000)
    assert (fit.way, len(machine.asked)) == (Way("lora", 3, True), 1)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(999, ("lora", "qlora")), (10_000, ("lora", "qlora")), (10_001, ("full", "lora", "qlora"))],
)
def test_few_rows_are_for_adapters(rows: int, expected: tuple[str, ...]) -> None:
    methods, reason = methods_for(rows)
    assert methods == expected
    assert "rows" in reason


@pytest.mark.parametrize(
    ("kind", "parameters", "first"),
    [("masked", 150_000_000, "full"), ("masked", 150_000_001, "lora"), ("causal", 1_000_000, "lora")],
)
def test_a_small_encoder_is_trained_as_a_whole(kind: str, parameters: int, first: str) -> None:
    assert methods_for(50, kind, parameters)[0][0] == first


def test_without_data_memory_decides() -> None:
    assert methods_for(None)[0] == ("full", "lora", "qlora")
