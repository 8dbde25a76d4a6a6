"""Charts: scales and ticks, and pictures that are whole XML with every mark inside, whatever the numbers are."""

from __future__ import annotations

import math
import random
import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace
from typing import Any

import pytest

from burnish.report.charts import (
    LogScale,
    Scale,
    comparison_bars,
    is_lopsided,
    memory_bars,
    thinned,
    tick_label,
    width_of,
)
from burnish.report.curves import Losses, loss_chart
from tests.unit.report.made_run import estimate, evaluation


def drawn(picture: str) -> ElementTree.Element:
    """The picture as XML, after a look at its marks: all of them are inside."""
    root = ElementTree.fromstring(picture)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"]
    for mark in root.iter():
        for x, y in corners(mark):
            assert 0 <= x <= width, (mark.tag, mark.attrib)
            assert 0 <= y <= height, (mark.tag, mark.attrib)
    return root


def corners(mark: ElementTree.Element) -> list[tuple[float, float]]:
    """Where a mark ends."""
    given = mark.attrib

    def at(x: str, y: str) -> tuple[float, float]:
        return float(given[x]), float(given[y])

    if mark.tag == "line":
        return [at("x1", "y1"), at("x2", "y2")]
    if mark.tag == "circle":
        return [at("cx", "cy")]
    if mark.tag == "rect":
        (x, y), (width, height) = at("x", "y"), at("width", "height")
        return [(x, y), (x + width, y + height)]
    if mark.tag == "text":
        x, y = at("x", "y")
        wide = width_of(mark.text or "") * {"start": 1, "middle": 0.5, "end": -1}[given["text-anchor"]]
        return [(x, y), (x + wide, y)]
    if mark.tag in ("polyline", "polygon"):
        return [(float(x), float(y)) for x, y in (pair.split(",") for pair in given["points"].split())]
    return []


def kinds(root: ElementTree.Element) -> list[str]:
    return [mark.attrib.get("class", "") for mark in root.iter()]


def make_losses(training: list[float], held_out: dict[int, float], **options: Any) -> Losses:
    points = [(float(step), loss) for step, loss in enumerate(training, 1) if math.isfinite(loss)]
    validated = [(float(step), loss) for step, loss in held_out.items() if math.isfinite(loss)]
    given = {"band": [], "spikes": set(), "kept": None, "total_steps": len(training), **options}
    return Losses(points, validated, **given)


def test_ticks_are_round_and_within() -> None:
    assert Scale(0, 100, 0, 1).ticks() == [0, 20, 40, 60, 80, 100]
    assert Scale(0, 3, 0, 1).ticks(8, least=1) == [0, 1, 2, 3]
    source = random.Random(0)
    for _ in range(200):
        low = source.uniform(-5, 5) * 10 ** source.randint(-6, 6)
        scale = Scale.around([low, low + source.random() * 10 ** source.randint(-5, 6)], 0, 1)
        ticks = scale.ticks(6)
        assert 1 <= len(ticks) <= 7
        room = 1e-9 * (abs(scale.low) + abs(scale.high))
        assert all(scale.low - room <= tick <= scale.high + room for tick in ticks)


@pytest.mark.parametrize(
    ("value", "step", "result"),
    [
        (0, 0.2, "0"),
        (0.4, 0.2, "0.4"),
        (12000, 2000, "12,000"),
        (2e-4, 5e-5, "2e-4"),
        (0.05, 0.01, "0.05"),
        (-1, 1, "-1"),
    ],
)
def test_labels_have_the_decimals_they_need(value: float, step: float, result: str) -> None:
    assert tick_label(value, step) == result


def test_a_scale_of_equal_values_or_none_has_some_width() -> None:
    for values in ([], [0.0], [5.0, 5.0], [math.nan]):
        scale = Scale.around(values, 0, 10)
        assert scale.low < scale.high
    assert Scale(0, 10, 0, 100).at(50) == 100, "what lies beyond stands at the end"


def test_the_loss_chart_shows_points_mean_held_out_and_what_was_kept() -> None:
    band = [(0.0, 3.0, 3.0), (50.0, 0.8, 1.1)]
    losses = make_losses([3 / (1 + n / 10) for n in range(100)], {0: 3.0, 50: 1.0, 100: 0.4}, band=band, kept=100)
    root = drawn(loss_chart(losses))
    assert kinds(root).count("dot") == 100
    assert kinds(root).count("heldpoint") == 3
    assert {"mean", "held", "band", "kept"} <= set(kinds(root))
    words = " ".join(root.itertext())
    assert "kept: step 100" in words
    assert "step 1: loss 3.000" in words
    assert "validation 0.400" in words
    assert "The validation loss is 3.000 at step 0 and 0.400 at 100." in root.attrib["aria-label"]


@pytest.mark.parametrize(
    ("training", "held_out"),
    [
        ([1.0], {}),
        ([1.0], {0: 1.0, 1: 0.5}),
        ([2.0, 2.0], {}),
        ([], {0: 4.0}),
        ([1.0, math.nan, 2.0, math.inf], {0: math.nan, 4: 1.0}),
        ([1e-7, 2e-7, 1e-7], {0: 3e-7}),
        ([1e6, 5.0], {0: 12345.0}),
        ([-2.0, -3.0], {0: -1.0}),
    ],
)
def test_few_points_equal_points_and_no_numbers(training: list[float], held_out: dict[int, float]) -> None:
    drawn(loss_chart(make_losses(training, held_out, kept=1)))


def test_nothing_to_draw_is_nothing() -> None:
    assert loss_chart(make_losses([], {})) == ""
    assert loss_chart(make_losses([math.nan], {0: math.inf})) == ""
    assert comparison_bars([]) == ""
    assert memory_bars({"weights": 0}, None, 100) == ""


@pytest.mark.parametrize("losses", [(9.0, None), (None, 8.0), (9.0, 8.0, None)])
def test_losses_that_are_no_numbers_are_left_out(losses: tuple[float | None, ...]) -> None:
    """In the log of a run they are null."""
    changes = {"changes": {"base": [-1.0, -1.5, -0.5]}}
    validations = [{"step": step, "loss": loss, **(changes if step else {})} for step, loss in enumerate(losses)]
    record = SimpleNamespace(steps=[], validations=validations, all=lambda _: [], best_step=None, total_steps=2)
    found = Losses.of(record)  # pyright: ignore[reportArgumentType]
    assert found.held_out == [(step, loss) for step, loss in enumerate(losses) if loss is not None]
    assert bool(found.band) is (losses[0] is not None)


def test_one_spike_does_not_flatten_the_others() -> None:
    training = [1 + 0.01 * (n % 7) for n in range(200)]
    training[120] = 500.0
    root = drawn(loss_chart(make_losses(training, {}, spikes={121})))
    dots = [float(mark.attrib["cy"]) for mark in root.iter("circle") if mark.attrib["class"] == "dot"]
    assert "spike beyond" in kinds(root)
    assert max(dots) - min(dots) > 100, "the others are still distinguishable"


def test_many_steps_make_a_small_picture() -> None:
    picture = loss_chart(make_losses([2.0 + math.sin(n) for n in range(50_000)], {0: 3.0, 50_000: 1.5}))
    drawn(picture)
    assert len(picture) < 100_000
    assert thinned([(float(n), 0.0) for n in range(1001)], 100)[-1] == (1000.0, 0.0)


def test_lines_that_end_together_have_names_apart() -> None:
    root = drawn(loss_chart(make_losses([1.0, 1.0, 1.0], {0: 1.0, 3: 1.0})))
    names = [float(mark.attrib["y"]) for mark in root.iter("text") if mark.attrib["class"] in ("meanname", "heldname")]
    assert len(names) == 2
    assert abs(names[0] - names[1]) >= 14


def test_bars_have_whiskers_where_the_interval_is_known() -> None:
    root = drawn(comparison_bars(evaluation("exact match")["figures"]))
    assert {"base", "tuned", "whisker"} <= set(kinds(root))
    assert kinds(root).count("whisker") == 9, "three lines each, and none where a bound is open"
    assert "tuned 75.0 %" in " ".join(root.itertext())
    assert "exact match: base 25.0 % [10.0, 50.0]" in root.attrib["aria-label"]


def test_a_figure_below_zero_begins_at_zero_too() -> None:
    figure = {**evaluation("m")["figures"][0], "base": estimate(-2.0, -3.0, -1.0), "tuned": estimate(1.0, 0.5, 1.5)}
    root = drawn(comparison_bars([figure]))
    bars = {mark.attrib["class"]: mark.attrib for mark in root.iter("rect")}
    base_end = float(bars["base"]["x"]) + float(bars["base"]["width"])
    assert base_end == pytest.approx(float(bars["tuned"]["x"]), abs=0.2)


def test_a_figure_without_a_value_and_one_with_a_long_name() -> None:
    figure = {**evaluation("m" * 80)["figures"][1], "base": estimate(math.nan, None, None)}
    words = " ".join(drawn(comparison_bars([figure])).itertext())
    assert "base ?" in words


@pytest.mark.parametrize(("measured", "room"), [(None, 10**9), (4 * 2**20, 6 * 2**20), (2**23, 2**20)])
def test_memory_is_a_bar_of_its_parts(measured: int | None, room: int) -> None:
    root = drawn(memory_bars({"weights": 3 * 2**20, "batch": 0, "Python": 2**20}, measured, room))
    parts = [mark for mark in root.iter("rect") if mark.attrib["class"].startswith("part ")]
    assert [part[0].text for part in parts] == ["weights: 3.0 MB", "Python: 1.0 MB"]
    widths = [float(part.attrib["width"]) + 1 for part in parts]
    assert widths[0] == pytest.approx(3 * widths[1], rel=0.02, abs=1)


def test_a_logarithmic_scale_is_used_where_a_linear_one_says_nothing() -> None:
    assert is_lopsided([100.0, 1.0, 0.5, 0.4, 0.3])
    assert not is_lopsided([3.0, 2.0, 1.0, 0.5])
    assert not is_lopsided([100.0, 1.0, 0.0, 0.4]), "0 has no logarithm"
    assert not is_lopsided([])


def test_equal_factors_are_equal_distances() -> None:
    scale = LogScale(0.1, 1000.0, 100.0, 20.0)
    assert [scale.at(value) for value in (0.1, 1, 10, 100, 1000)] == pytest.approx([100, 80, 60, 40, 20])
    assert (scale.at(0.0), scale.at(1e9)) == (100.0, 20.0)
    assert scale.ticks(6) == pytest.approx([0.1, 1, 10, 100, 1000])
    assert [scale.label(value, []) for value in (0.1, 1, 100, 1e-5)] == ["0.1", "1", "100", "1e-5"]
    few = LogScale(2.0, 40.0, 100.0, 20.0).ticks(6)
    assert few == pytest.approx([2, 5, 10, 20])
    assert len(LogScale(1e-9, 1e9, 0, 1).ticks(6)) <= 6


@pytest.mark.parametrize("low_high", [(1.0, 1.5), (0.3, 2.9), (7.0, 7.1)])
def test_a_narrow_logarithmic_scale_has_no_ticks_outside(low_high: tuple[float, float]) -> None:
    scale = LogScale(*low_high, 0.0, 1.0)
    assert all(scale.shows(value) for value in scale.ticks())
