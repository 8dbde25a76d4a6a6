"""Runs against each other: their figures, what of the differences is beyond the noise, and that in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from burnish.evaluate.comparison import finite
from burnish.evaluate.recipe_differences import OptionDifference
from burnish.evaluate.recipe_pairs import ComparedFigure, RecipePair
from burnish.metrics.significance import Change

_NOISE = {
    "seeds": "The noise of training is told by runs that differ in nothing but the seed: {deviation} between seeds "
    "(standard deviation, {freedom:.0f} degrees of freedom).",
    "validations": "The noise of training is told by how each run's own validations scatter: up to {deviation} "
    "(standard deviation). Another seed may move the {figure} by more or by less; name runs of several seeds "
    "(`burnish train ... --seed 1`), and it is measured.",
    "none": "The noise of training cannot be told from these runs, so rows alone are counted: another seed may move "
    "the {figure} as much.",
}
_MOST_TOLD = 3
"""Pairs of recipes that a verdict tells one by one, shown or not."""


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """One of the runs."""

    name: str
    path: str
    seed: int
    recipe: int
    """Number of its recipe, from 0; runs that differ in nothing but the seed share one."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The held-out loss of a run while it was trained, on the rows that it held out itself."""

    run: str
    points: list[tuple[int, int, float]]
    """Steps done, tokens read so far, and the loss."""


@dataclass(slots=True)
class RunComparison:
    """What came of comparing runs."""

    rows: int
    held_out: str
    """Where the rows come from, in words."""
    runs: list[ComparedRun]
    figures: list[ComparedFigure]
    """The one that the verdict is about first; never empty."""
    options: list[OptionDifference]
    curves: list[Curve]
    remarks: list[str]
    """What cannot be compared, and why."""

    @property
    def recipes(self) -> list[list[ComparedRun]]:
        """The runs by recipe."""
        number = 1 + max(run.recipe for run in self.runs)
        return [[run for run in self.runs if run.recipe == recipe] for recipe in range(number)]

    @property
    def labels(self) -> list[str]:
        """A name for each recipe: that of its first run."""
        seeds = [len({run.seed for run in runs}) for runs in self.recipes]
        told = [f" ({number} seeds)" if number > 1 else "" for number in seeds]
        return [f"`{runs[0].name}`{more}" for runs, more in zip(self.recipes, told, strict=True)]

    @property
    def is_shown(self) -> bool:
        """Whether any two recipes differ beyond the noise."""
        return any(pair.is_shown for pair in self.figures[0].pairs)

    @property
    def verdict(self) -> str:
        """The outcome in a few sentences."""
        figure = self.figures[0]
        if not figure.pairs:
            return self._seeds_alone(figure)
        chosen = figure.pairs
        if len(chosen) > _MOST_TOLD:
            chosen = [pair for pair in figure.pairs if pair.is_shown]
        told = [self._told(figure, pair) for pair in chosen]
        others = len(figure.pairs) - len(chosen)
        if others:
            among = "any other two" if chosen else "any two"
            count = len(self.recipes)
            told.append(f"No difference between {among} of the {count} recipes is shown on {figure.rows:,} rows.")
        if len(figure.pairs) > 1:
            told.append(f"The chances are raised for {len(figure.pairs)} comparisons (Holm).")
        return " ".join([*told, self._noise(figure)])

    def _told(self, figure: ComparedFigure, pair: RecipePair) -> str:
        first, second = self.labels[pair.first], self.labels[pair.second]
        amount, interval = _amount(figure, abs(pair.change.value)), _interval(figure, pair.change)
        if not pair.is_shown:
            moved = f"the {figure.name} differs by {_sign(pair.change.value)}{amount} {interval}"
            swallowed = pair.rows_alone.chance < 0.05 <= pair.change.chance
            more = " The models do part on such rows, but no more than training makes them." if swallowed else ""
            return f"No difference between {first} and {second} is shown on {figure.rows:,} rows: {moved}.{more}"
        is_better = (pair.change.value < 0) == figure.lower_is_better
        side = "lower" if pair.change.value < 0 else "higher"
        training = " and of training" if figure.noise.source != "none" else ""
        return (
            f"{second} is {'better' if is_better else 'worse'} than {first} on {figure.rows:,} rows: the {figure.name} "
            f"is {side} by {amount} {interval}, beyond the noise of the rows{training}."
        )

    def _seeds_alone(self, figure: ComparedFigure) -> str:
        seeds = {run.seed: figure.runs[number].value for number, run in enumerate(self.runs)}
        if len(seeds) == 1:
            return "No difference is shown: the runs have one recipe and one seed."
        values = list(seeds.values())
        between = max(values) - min(values)
        share = f", {100 * between / abs(values[0]):.1f} % of it" if not figure.is_share and values[0] else ""
        deviation = figure.noise.deviation or 0.0
        told = f" (standard deviation {_amount(figure, deviation)})" if len(values) > 2 else ""
        return (
            f"No difference of recipes is shown: only the seed differs. Over {len(values)} seeds the {figure.name} "
            f"moved by {_amount(figure, between)}{share}, on {figure.rows:,} rows{told}. That is what another seed "
            "does: a difference of this size between other recipes may be no more."
        )

    def _noise(self, figure: ComparedFigure) -> str:
        noise = figure.noise
        deviation = "" if noise.deviation is None else _amount(figure, noise.deviation)
        return _NOISE[noise.source].format(figure=figure.name, deviation=deviation, freedom=noise.freedom or 0.0)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values, with the verdict."""
        return finite(
            {
                "rows": self.rows,
                "held_out": self.held_out,
                "runs": [asdict(run) for run in self.runs],
                "recipes": [[run.name for run in runs] for runs in self.recipes],
                "labels": self.labels,
                "figures": [figure.to_dict() for figure in self.figures],
                "options": [asdict(one) for one in self.options],
                "curves": [asdict(curve) for curve in self.curves],
                "remarks": self.remarks,
                "is_shown": self.is_shown,
                "verdict": self.verdict,
            }
        )


def measured_seeds(runs: Sequence[ComparedRun]) -> list[list[int]]:
    """For each recipe its runs by number, one for each seed: the same run twice tells nothing of seeds."""
    groups: list[dict[int, int]] = [{} for _ in range(1 + max(run.recipe for run in runs))]
    for number, run in enumerate(runs):
        groups[run.recipe].setdefault(run.seed, number)
    return [list(group.values()) for group in groups]


def _amount(figure: ComparedFigure, value: float) -> str:
    """A difference in the unit of the figure: points of a share, else three digits that count."""
    if figure.is_share:
        return f"{100 * value:.1f} points"
    return f"{value:.3f}" if value >= 0.0995 or value == 0 else f"{value:.2g}"


def _interval(figure: ComparedFigure, change: Change) -> str:
    scale = 100 if figure.is_share else 1
    digits = 1 if figure.is_share else 3
    if not figure.is_share and 0 < change.high - change.low < 0.02:
        digits = min(8, 1 - math.floor(math.log10(change.high - change.low)))
    return f"[{scale * change.low:+.{digits}f}, {scale * change.high:+.{digits}f}]"


def _sign(value: float) -> str:
    return "-" if value < 0 else "+"
