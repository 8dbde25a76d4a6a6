"""Rules for choosing a checkpoint, applied to the results of `bench/outcomes.py`, and the regret that each leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SMALLER_IS_BETTER = ("loss", "MAE", "RMSE")


@dataclass(frozen=True, slots=True)
class Result:
    """One training with everything that was measured."""

    name: str
    found: dict[str, Any]

    @property
    def cell(self) -> tuple[str, str, str]:
        """Data set, rows and seed."""
        data, rows, seed = self.name.split("_")[:3]
        return data, rows, seed

    @property
    def variant(self) -> str:
        """What was varied."""
        return "_".join(self.name.split("_")[3:])

    @property
    def settings(self) -> str:
        """Method, learning rate, epochs and tokens of a step."""
        options = self.found["options"]
        rate, epochs, tokens = options["learning_rate"], options["epochs"], options["tokens"]
        return f"{options['method']}, rate {rate:.2g}, {epochs:.3g} epochs, {tokens:,} tokens a step"

    @property
    def headline(self) -> str:
        """The metric of the task."""
        named = self.found["options"]["headline"]
        return named if named in self.found["validations"][0]["test"] else "loss"

    @property
    def ranked_by(self) -> str:
        """What its checkpoints are ranked by."""
        return "loss" if self.headline == "loss" else "another metric"

    @property
    def is_whole(self) -> bool:
        """Whether every validation was evaluated on the test rows."""
        return bool(self.found["averages"])

    @property
    def validations(self) -> list[dict[str, Any]]:
        """Of trained weights."""
        return self.found["validations"][1:]

    def gain(self, seen: dict[str, Any]) -> float:
        """What the weights are worth on the test rows, in points.

        A point is a hundredth of a share; for losses and errors, a hundredth of the base model's.
        """
        name = self.headline
        value, base = seen["test"][name], self.found["validations"][0]["test"][name]
        return -100 * value / base if name in SMALLER_IS_BETTER else 100 * value

    def score(self, seen: dict[str, Any], name: str | None = None) -> float:
        """The metric on the validation rows; higher is better."""
        name = name or self.headline
        return -seen["valid"][name] if name in SMALLER_IS_BETTER else seen["valid"][name]

    def is_worse(self, one: int, other: int, name: str) -> bool:
        """Whether a validation is worse than another by a metric, beyond the interval of the paired difference.

        Args:
            one: number of a validation, counted from 0 for the base model.
            other: number of another.
            name: of the metric.
        """
        first, second = min(one, other), max(one, other)
        pairs = {(int(row[0]), int(row[1])): row[2:] for row in self.found["changes"].get(name, [])}
        if (first, second) not in pairs:
            return False
        _, low, high = pairs[first, second]
        sign = -1.0 if name in SMALLER_IS_BETTER else 1.0
        rose, fell = (low > 0, high < 0) if sign > 0 else (high < 0, low > 0)
        return fell if one == second else rose


Gains = dict[str, dict[str, float]]
"""Points by variant and seed."""
Rule = Callable[[Result], int]
"""The number of the chosen validation, counted from 1."""


def last(result: Result) -> int:
    """The last weights."""
    return len(result.validations)


def lowest_loss(result: Result) -> int:
    """The lowest loss on the validation rows."""
    return _best(result, lambda seen: (result.score(seen, "loss"),))


def best_first(result: Result) -> int:
    """The best of the task's metric; of equal ones that with the lowest loss."""
    return _best(result, lambda seen: (result.score(seen), result.score(seen, "loss")))


def best_latest(result: Result) -> int:
    """The best of the task's metric; of equal ones the latest."""
    return _best(result, lambda seen: (result.score(seen), seen["step"]))


def earliest_not_worse(result: Result) -> int:
    """The earliest that no later highest one beats beyond the interval, by the metric or the loss."""
    kept, highest = 1, 1
    for number in range(2, len(result.validations) + 1):
        seen, top = result.validations[number - 1], result.validations[highest - 1]
        if (result.score(seen), result.score(seen, "loss")) > (result.score(top), result.score(top, "loss")):
            highest = number
            names = {result.headline, "loss"}
            unknown = not result.found["changes"]
            if unknown or any(result.is_worse(kept, number, name) for name in names):
                kept = number
    return kept


def latest_not_worse(result: Result) -> int:
    """The latest that is not worse than the best by the task's metric, beyond the interval."""
    best = best_latest(result)
    return next(
        number
        for number in range(len(result.validations), 0, -1)
        if number <= best or not result.is_worse(number, best, result.headline)
    )


def as_burnish(result: Result) -> int:
    """Burnish's: the lowest loss, or of another metric the latest that is not worse."""
    return lowest_loss(result) if result.headline == "loss" else latest_not_worse(result)


def as_run(result: Result) -> int:
    """What the run itself kept."""
    steps = [seen["step"] for seen in result.validations]
    return steps.index(result.found["best_step"]) + 1 if len(steps) > 1 else 1


def smoothed(result: Result) -> int:
    """The best of the task's metric averaged over neighbors; of equal ones the latest."""
    scores = [result.score(seen) for seen in result.validations]
    means = [sum(scores[max(0, n - 1) : n + 2]) / len(scores[max(0, n - 1) : n + 2]) for n in range(len(scores))]
    return max(range(len(means)), key=lambda number: (means[number], number)) + 1


RULES: dict[str, Rule] = {
    "last": last,
    "lowest loss": lowest_loss,
    "best metric, first": best_first,
    "best metric, latest": best_latest,
    "best smoothed metric": smoothed,
    "earliest not worse": earliest_not_worse,
    "latest not worse": latest_not_worse,
    "Burnish": as_burnish,
    "the run's own": as_run,
}


def gain_of(result: Result, rule: str) -> float:
    """What the weights chosen by a rule, or an average of weights, are worth on the test rows."""
    if rule in RULES:
        return result.gain(result.validations[RULES[rule](result) - 1])
    return result.gain(result.found["averages"][rule])


def _best(result: Result, key: Callable[[dict[str, Any]], tuple[float, ...]]) -> int:
    validations = result.validations
    return max(range(len(validations)), key=lambda number: key(validations[number])) + 1


def read_results(folder: Path) -> list[Result]:
    """All finished trainings of a folder."""
    return [Result(file.stem, json.loads(file.read_text(encoding="utf-8"))) for file in sorted(folder.glob("*.json"))]


def read_kept(file: Path) -> list[Result]:
    """The results of a file with one line for each training; none if there is no file."""
    if not file.is_file():
        return []
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [Result(line["name"], line["found"]) for line in lines]


def write_kept(results: Sequence[Result], file: Path) -> None:
    """Writes results as lines, in the order of their names; a name that occurs twice takes the last."""
    named = {one.name: json.dumps({"name": one.name, "found": _rounded(one.found)}) for one in results}
    file.write_text("".join(f"{named[name]}\n" for name in sorted(named)), encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value


def quantile(values: Sequence[float], share: float) -> float:
    """Of sorted values, without interpolation."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def regrets_of_rules(results: Sequence[Result]) -> dict[str, list[float]]:
    """For each rule and average, its regret in every training: points below the best weights of the same training."""
    names = [*RULES, *results[0].found["averages"]] if results else []
    best = {one.name: max(map(one.gain, [*one.validations, *one.found["averages"].values()])) for one in results}
    return {name: [best[one.name] - gain_of(one, name) for one in results] for name in names}


def gains_of_variants(results: Sequence[Result], rules: Mapping[str, str]) -> dict[tuple[str, str], Gains]:
    """For each data set and number of rows: by variant, what it is worth with each seed.

    Args:
        results: of trainings.
        rules: how each variant chooses its weights, by name; the run's own rule for the others.
    """
    gains: dict[tuple[str, str], Gains] = {}
    for one in results:
        data, rows, seed = one.cell
        cell = gains.setdefault((data, rows), {})
        cell.setdefault(one.variant, {})[seed] = gain_of(one, rules.get(one.variant, "the run's own"))
    return gains
