"""Ranks the settings of a sweep by one metric on the validation rows, and says which differences are beyond noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from burnish.data.rows.records import content_hash
from burnish.errors import DataError, InputError, RecipeError
from burnish.evaluate.comparison import finite
from burnish.evaluate.noise import ComparedFigure, RecipePair, TrainingNoise, compare_recipes, recipe_values
from burnish.evaluate.run_comparison import (
    FEWEST_ROWS,
    Comparable,
    RunScore,
    amount,
    few_rows,
    find_comparable,
    interval,
    learned_bytes,
    noise_in_words,
)
from burnish.lineage.recipe_differences import LOSS_OPTIONS
from burnish.metrics.intervals import CONFIDENCE, Estimate
from burnish.metrics.measure import Measure
from burnish.metrics.significance import Change, Noise
from burnish.prepare.context import RunContext
from burnish.recipe.grid import in_words, setting_name

_MOST_NAMED = 3
"""Settings that a sentence names; more are counted."""


@dataclass(frozen=True, slots=True)
class RankedSetting:
    """A setting and its place."""

    name: str
    setting: dict[str, Any]
    """Its values of the options that are swept."""
    runs: list[str]
    """Names of its runs, one for each seed."""
    value: Estimate
    """The metric, with the interval from the choice of rows, and from the seeds if there are several."""
    change: Change | None
    """The metric minus that of the best setting, paired by row, against all known noise; None for the best."""
    raised_chance: float | None
    """Its p-value, corrected for the number of comparisons."""

    @property
    def is_shown(self) -> bool:
        """Whether it is worse than the best beyond noise."""
        return self.raised_chance is not None and self.raised_chance <= 1 - CONFIDENCE


@dataclass(frozen=True, slots=True)
class Ranking:
    """All settings, the best first."""

    metric: str
    lower_is_better: bool
    is_share: bool
    rows: int
    """Validation rows."""
    settings: list[RankedSetting]
    noise: TrainingNoise
    num_pairs: int
    """Comparisons that the p-values are corrected for."""
    remarks: list[str]
    """What was not compared, and why."""

    @property
    def winner(self) -> RankedSetting:
        """The best setting."""
        return self.settings[0]

    @property
    def verdict(self) -> str:
        """Whether the best setting is better than the others, in a few sentences."""
        if len(self.settings) == 1:
            return self._on_the_best()
        noise = noise_in_words(self.metric, self.is_share, self.noise, "`--seeds 3` measures it")
        return " ".join([self._on_the_best(), *self._on_p_values(), noise, *few_rows(self.rows)])

    def _on_the_best(self) -> str:
        best, others = self.winner, self.settings[1:]
        equal = [one for one in others if not one.is_shown]
        where = f"on {self.rows:,} validation rows"
        if not others:
            return f"`{best.name}` is the only setting that could be trained, so there is nothing to compare it with."
        if len(equal) == len(others):
            first = others[0]
            gap = first.change
            by = "" if gap is None else (
                f": the next, `{first.name}`, differs by {amount(abs(gap.value), self.is_share)} "
                f"{interval(gap, self.is_share)}"
            )  # fmt: skip
            return (
                f"`{best.name}` has the best {self.metric} of {len(self.settings)} settings {where}, but is not shown "
                f"to be better than any other{by}."
            )
        worse = len(others) - len(equal)
        rest = "all others" if not equal else f"{worse} of the {len(others)} others"
        sentence = (
            f"`{best.name}` is the best of {len(self.settings)} settings {where}, and better than {rest} beyond noise."
        )
        if not equal:
            return sentence
        named = ", ".join(f"`{one.name}`" for one in equal[:_MOST_NAMED])
        more = f" and {len(equal) - _MOST_NAMED} more" if len(equal) > _MOST_NAMED else ""
        return f"{sentence} It is not shown to be better than {named}{more}."

    def _on_p_values(self) -> list[str]:
        if self.num_pairs < 2:
            return []
        return [f"The p-values are corrected for all {self.num_pairs} comparisons of two settings (Holm)."]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values, with the verdict."""
        settings = [
            {"rank": rank, **asdict(one), "is_shown": one.is_shown} for rank, one in enumerate(self.settings, start=1)
        ]
        return finite({**asdict(self), "settings": settings, "verdict": self.verdict})


def rank_settings(
    runs: Sequence[Sequence[str]],
    settings: Sequence[Mapping[str, Any]],
    measures: Sequence[Measure],
    scatters: Sequence[Noise | None],
    remarks: Sequence[str] = (),
) -> Ranking:
    """Ranks settings by the mean of their runs; of equal ones, the first given is the better.

    The best is found on the same rows, so a comparison with it is one of all pairs of settings, and its p-value is
    corrected for all of them: corrected only for those with the best, the luck of the best would count as its merit.

    Args:
        runs: the names of each setting's runs, one for each seed.
        settings: the values of each.
        measures: one metric of each run, on the same rows in the same order.
        scatters: the noise of training of each run, from its validations.
        remarks: what could not be compared, and why.
    """
    ends = [sum(map(len, runs[:number])) for number in range(len(runs) + 1)]
    groups = [list(range(begin, end)) for begin, end in zip(ends, ends[1:], strict=False)]
    figure = compare_recipes(measures, groups, scatters)
    values = recipe_values(measures, groups)
    sign = 1 if figure.lower_is_better else -1
    order = sorted(range(len(runs)), key=lambda number: sign * values[number].value)
    ranked = []
    for number in order:
        pair = None if number == order[0] else _against(order[0], number, figure)
        change, chance = (None, None) if pair is None else (pair.change, pair.raised_chance)
        name = setting_name(dict(settings[number]))
        ranked.append(RankedSetting(name, dict(settings[number]), list(runs[number]), values[number], change, chance))
    return Ranking(
        metric=figure.name,
        lower_is_better=figure.lower_is_better,
        is_share=figure.is_share,
        rows=figure.rows,
        settings=ranked,
        noise=figure.noise,
        num_pairs=len(figure.pairs),
        remarks=list(remarks),
    )


def _against(best: int, other: int, figure: ComparedFigure) -> RecipePair:
    """The other setting minus the best."""
    pair = next(pair for pair in figure.pairs if {pair.first, pair.second} == {best, other})
    if pair.first == best:
        return pair
    change = pair.change
    return replace(pair, change=Change(-change.value, -change.high, -change.low, change.chance))


def check_rows(context: RunContext) -> None:
    """Checks that there are enough validation rows to choose by.

    Raises:
        DataError: there are not.
    """
    number = context.num_validation_rows
    if number < FEWEST_ROWS:
        raise DataError(
            f"a sweep ranks its runs on the validation rows, and this data has {number}",
            f"At least {FEWEST_ROWS} are needed for any difference to be more than chance.",
            "Give more rows, or hold out more of them, for example `--set data.validation_fraction=0.3`",
        )


def check_rankable(first: RunContext, other: RunContext, setting: Mapping[str, Any]) -> None:
    """Checks before any training that two runs can be ranked by one metric on the same rows.

    Args:
        first: a run of the sweep.
        other: another one.
        setting: the values of the other.

    Raises:
        RecipeError: they cannot.
    """
    named = ", ".join(f"`{option}={in_words(value)}`" for option, value in setting.items())
    if other.task.name != first.task.name:
        raise RecipeError(
            f"with {named} the task is `{other.task.name}`, and with other settings `{first.task.name}`",
            "Runs of different tasks have no metric in common.",
            "Sweep options with which all runs have the same task",
        )
    if _validation_keys(other) != _validation_keys(first):
        raise RecipeError(
            f"with {named} the validation rows are not those of the other settings",
            "Runs are ranked row by row, so all of them need the same validation rows.",
            "Give validation rows of their own with `--set data.validation=valid.jsonl`",
        )
    changed = [option for option in setting if option in LOSS_OPTIONS]
    if changed and first.task.scorer.headline == "loss":
        raise RecipeError(
            f"`{changed[0]}` changes what the loss measures, and the task `{first.task.name}` has no other metric",
            "Losses of different kinds cannot be ranked.",
            f"Leave `{changed[0]}` out of the sweep",
        )


def _validation_keys(context: RunContext) -> list[str]:
    return [content_hash(record) for record in context.records.valid]


def find_figure(context: RunContext, scores: Sequence[RunScore], swept: Sequence[str]) -> Comparable:
    """The metrics by which runs can be ranked, the best suited first.

    Args:
        context: of any of the runs: they share task and validation rows.
        scores: of every run.
        swept: the options that differ.

    Raises:
        InputError: there is none.
    """
    task = context.task
    sizes = learned_bytes(context.records.valid) if task.generates and task.scorer.headline == "loss" else None
    apart = [option for option in swept if option in LOSS_OPTIONS]
    if any(score.is_against_base for score in scores) and "model.name" in swept:
        apart.append("model.name")
    found = find_comparable(scores, sizes, apart)
    if not found.figures:
        raise InputError(
            "these runs have no metric by which they can be ranked",
            " ".join(found.remarks),
            "Evaluate them one by one: `burnish evaluate RUN`",
        )
    return found
