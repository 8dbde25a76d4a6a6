"""Chooses the settings of a sweep one after the other, by the results so far, with Optuna."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from burnish.recipe.grid import Axis, Setting

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution

_DIGITS = 3
"""Significant digits of a chosen number: more mean nothing, and make no name."""


class Suggestions:
    """Settings chosen by a tree-structured Parzen estimator (arXiv 2304.11127).

    The same axes, seed and results give the same settings, so that a sweep that was stopped continues with the trial
    at which it was.

    Args:
        axes: the options with their values or ranges.
        seed: of the sampler.
    """

    def __init__(self, axes: Sequence[Axis], seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=seed % 2**32)
        self._study = optuna.create_study(sampler=sampler, direction="maximize")
        self._axes = axes
        self._trial: Trial | None = None

    def ask(self) -> Setting:
        """The next setting to try, which may be one that was tried before."""
        self._trial = trial = self._study.ask({axis.option: _distribution(axis) for axis in self._axes})
        return {axis.option: _value(axis, trial.params[axis.option]) for axis in self._axes}

    def learn(self, result: float | None) -> None:
        """Takes the result of the setting that `ask` returned last, higher is better; None if its training failed."""
        from optuna.trial import TrialState

        if self._trial is not None and result is None:
            self._study.tell(self._trial, state=TrialState.FAIL)
        elif self._trial is not None:
            self._study.tell(self._trial, result)
        self._trial = None


def _distribution(axis: Axis) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if axis.range is None:
        return CategoricalDistribution(list(range(len(axis.values))))
    low, high = axis.range.ends
    if axis.range.is_whole:
        return IntDistribution(low, high, log=axis.range.is_log)
    return FloatDistribution(low, high, log=axis.range.is_log)


def _value(axis: Axis, chosen: Any) -> Any:
    """The value of the option; values of a list are known to Optuna by their place, since they may be of any type."""
    if axis.range is None:
        return axis.values[chosen]
    return chosen if axis.range.is_whole else float(f"{chosen:.{_DIGITS}g}")
