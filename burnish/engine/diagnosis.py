"""Diagnoses a run from its losses, and advises what to change."""

from __future__ import annotations

from collections.abc import Callable

import numpy

from burnish.engine.advice import check_labels, lower_rate, more_evaluations, raise_rate, train_less, train_longer
from burnish.engine.curves import Curves, change, step_between, trend
from burnish.engine.divergence import FIRST_STEPS, MATTERS, SIGNIFICANT, diverging, exploded
from burnish.engine.schedule import warmup_steps
from burnish.recipe.schema import Recipe
from burnish.runs.events import Diagnosed, Event, StepDone, StoppedEarly, TrainingStarted, Validated

FEWEST_VALIDATIONS = 5
"""Fewer validations cannot show a rise or a plateau: a turning point needs several on either side."""
_FEWEST_STEPS = 20
_LOST_AGAIN = 0.1
"""Share of the improvement on held-out rows that must be lost again to count as overfitting."""
_HALF_AS_MUCH, _OF_THE_LOWEST = 0.05, 0.1
"""Half of it is enough if it is a tenth of the lowest loss, too: where a loss falls far, a tenth of the way is much."""
_MEMORIZED = 0.25
"""Share by which the training loss of a memorizing model is below the held-out loss."""
_SMALL_GAIN = 0.05
"""Share of the base model's loss. A run that gains less by half-time is either slow or has little to learn; the shape
of its curve shows which."""
_LINEAR = 0.4
"""Share of the gain in the second half; for a straight line it is one half."""
_STILL_IMPROVING = 0.2
"""Share of the total gain in the last third of a training that is still improving."""
_SOLVED = 0.05
"""Share of the base's loss below which there is nothing left to fit."""
_PERFECT = 0.995
"""From this value of its main metric on, a task is done: what is missing are single rows."""
_LOST_ANSWERS = 0.5
"""Share of the base model's main metric below which a model has lost what the base could do."""
_FAR = 0.25
"""Share of the loss of guessing that is far from the floor: labels that follow from the inputs allow a loss of 0."""
_NO_GAP = 0.9
"""Share of the held-out loss that the training loss is at least, if nothing is memorized."""


def learning(curves: Curves) -> str | None:
    """Held-out loss significantly and noticeably below the base model's, and below that of guessing, without the loss
    of what the base model could do."""
    last, base, gain = curves.last, curves.base, change(curves.last, "base")
    if base is None:
        return _training_fell(curves) if curves.step >= _FEWEST_STEPS else None
    if last is None or gain is None or gain.high >= 0 or -gain.value < MATTERS * base.loss:
        return None
    if is_guessing(curves) or (has_gained_little(curves) and (not _is_half_done(curves) or is_crawling(curves))):
        return None
    if _has_lost_answers(last, base):
        return None
    return (
        f"the held-out loss fell from {base.loss:.3f} to {last.loss:.3f} by step {last.step}, a change of {gain} on "
        "the same rows"
    )


def _has_lost_answers(last: Validated, base: Validated) -> bool:
    """Whether the main metric is far below the base model's: a model of tags that calls no word an entity has a low
    loss, too."""
    before, after = base.figures.get(base.headline), last.figures.get(last.headline)
    return last.is_share and before is not None and after is not None and after < _LOST_ANSWERS * before


def is_crawling(curves: Curves) -> bool:
    """Whether the gain is small and linear: if there is little to learn, a curve levels off instead.

    Linear in the summed learning rate, not in the steps.
    """
    last, base = curves.last, curves.base
    if last is None or base is None or not has_gained_little(curves):
        return False
    half = curves.step_at(0.5)
    earlier = [one for one in (base, *curves.validations) if one.step <= half]
    return earlier[-1].loss - last.loss > _LINEAR * (base.loss - last.loss)


def has_gained_little(curves: Curves) -> bool:
    """Whether the held-out loss has fallen by less than a twentieth of the base model's."""
    last, base = curves.last, curves.base
    return last is not None and base is not None and base.loss - last.loss < _SMALL_GAIN * base.loss


def _is_half_done(curves: Curves) -> bool:
    """Whether half of the steps after warm-up are done, and at least `_FEWEST_STEPS`."""
    return curves.step >= _FEWEST_STEPS and 2 * curves.step >= curves.total_steps + curves.warmup


def is_guessing(curves: Curves) -> bool:
    """Whether no validation has been significantly better than predicting the label frequencies."""
    found = [against for one in curves.validations if (against := change(one, "chance"))]
    return bool(found) and all(against.high >= 0 for against in found)


def guessing(curves: Curves) -> str | None:
    """The lowest held-out loss compared with that of guessing, as a phrase; None if it is better or unknown."""
    lowest = curves.lowest
    against = change(lowest, "chance")
    if lowest is None or against is None or not is_guessing(curves):
        return None
    return (
        f"on held-out rows it was never better than predicting the label frequencies without the input: "
        f"{lowest.loss:.3f} at best against {lowest.loss - against.value:.3f}"
    )


def stalled(curves: Curves) -> str | None:
    """At half-time, neither training nor held-out loss has changed noticeably, or both improve very slowly."""
    if not _is_half_done(curves):
        return None
    moved, z_score = _training_change(curves)
    place = f"after {curves.step} of {curves.total_steps} steps"
    training = f"the training loss has changed by {moved:+.3f}"
    is_flat = z_score > -SIGNIFICANT or -moved < MATTERS * _start(curves)
    if curves.base is None:
        return f"{place} {training}" if is_flat else None
    gain = change(curves.last, "base")
    if gain is None or gain.low > 0:
        return None
    if is_flat and -gain.low < MATTERS * curves.base.loss:
        return f"{place} {training}, and the held-out loss by {gain} from the base model's {curves.base.loss:.3f}"
    if gain.high < 0 and is_crawling(curves):
        return (
            f"{place} the held-out loss has only changed by {gain} from the base model's {curves.base.loss:.3f}, in a "
            "straight line with no sign of leveling off"
        )
    return None


def ending_at_chance(curves: Curves) -> str | None:
    """At the end of the run, it is no better than guessing on held-out rows."""
    return guessing(curves) if curves.is_over and curves.step >= _FEWEST_STEPS else None


def overfitting(curves: Curves) -> str | None:
    """Two consecutive validations significantly above the lowest, while the training loss falls.

    The rise must undo a tenth of the gain, or half as much if the loss is low: models become more confident with
    training, which raises the loss on the few rows that they still get wrong. And the training loss must be a quarter
    below the held-out loss: the lowest of many validations is partly low by chance, so that in any long run some later
    one seems significantly higher.
    """
    lowest, last = curves.lowest, curves.last
    if lowest is None or last is None or len(curves.validations) < 3:
        return None
    newest, before = (change(one, "lowest") for one in (last, curves.validations[-2]))
    is_significant = newest is not None and before is not None and newest.low > 0 and before.low > 0
    if newest is None or not is_significant or curves.validations[-2].step <= lowest.step:
        return None
    start = curves.base.loss if curves.base is not None else _start(curves)
    if (against := change(last, "chance")) is not None:
        start = min(start, last.loss - against.value)  # a new head starts far above guessing, which is no gain to lose
    gain = start - lowest.loss
    least = max(min(_LOST_AGAIN * gain, max(_HALF_AS_MUCH * gain, _OF_THE_LOWEST * lowest.loss)), MATTERS * lowest.loss)
    earlier, later = curves.until(lowest.step)[-4 * curves.window() :], curves.after(lowest.step)
    z_score = step_between(earlier, later)[1]
    if newest.value < least or z_score > -2 or _ratio_drop(curves) < _MEMORIZED:
        return None
    evidence = (
        f"the held-out loss rose from {lowest.loss:.3f} at step {lowest.step} to {last.loss:.3f} at step {last.step}, "
        f"a change of {newest} on the same rows, while the training loss fell from {numpy.mean(earlier):.3f} to "
        f"{numpy.mean(later):.3f}"
    )
    return f"{evidence}; {guessing(curves)}" if is_guessing(curves) else evidence


def _ratio_drop(curves: Curves) -> float:
    """How much the ratio of training to held-out loss has fallen since the start, as a share."""
    if curves.last is None or curves.last.loss <= 0 or not curves.losses:
        return 0.0
    newest = float(numpy.mean(curves.losses[-curves.window() :])) / curves.last.loss
    first = _start(curves) / curves.base.loss if curves.base is not None and curves.base.loss > 0 else 1.0
    return 1 - newest / first if first > 0 else 0.0


def underfitting(curves: Curves) -> str | None:
    """At the end of the run the rows that it was trained on are not fitted: more training, or faster, would help.

    The cases are `is_unfinished`, `still_falling` and `far_from_floor`.
    """
    last, base = curves.last, curves.base
    if last is None or base is None or not is_unfinished(curves):
        return None
    return still_falling(curves, last, base) or far_from_floor(curves, last)


def is_unfinished(curves: Curves) -> bool:
    """Whether a run that is over may still have something to learn.

    Not where the task is solved, and not where the training loss is far below the held-out loss: such a model fits its
    rows, and more training would memorize them.
    """
    last, base = curves.last, curves.base
    if not curves.is_over or last is None or base is None or len(curves.validations) < 3:
        return False
    is_perfect = last.is_share and last.figures.get(last.headline, 0.0) >= _PERFECT
    return not (is_perfect or last.loss < _SOLVED * base.loss or _ratio_drop(curves) >= _MEMORIZED)


def still_falling(curves: Curves, last: Validated, base: Validated) -> str | None:
    """The held-out loss still falls at the end: the last third of the training brought a fifth of the total gain.

    Thirds of the summed learning rate, not of the steps: a schedule that falls to 0 flattens every curve. Not after
    early stopping, which ends a run because it does not improve any more.
    """
    newest = change(last, "lowest")
    if curves.has_stopped or newest is None or newest.high >= 0:
        return None
    start = curves.step_at(2 / 3)
    earlier = [one for one in curves.validations if one.step <= start] or curves.validations[:1]
    late = min(one.loss for one in earlier) - last.loss
    total = base.loss - last.loss
    if total < MATTERS * base.loss or late < _STILL_IMPROVING * total:
        return None
    return (
        f"the held-out loss was still falling at the end: of the total gain of {total:.3f}, {late:.3f} came after "
        f"step {earlier[-1].step}, and the last validation differs from the lowest before it by {newest}"
    )


def far_from_floor(curves: Curves, last: Validated) -> str | None:
    """Most labels could be fitted, but training and held-out loss both end at a quarter of that of guessing or more.

    However flat the curve is: a low learning rate, or a schedule that falls to 0, flattens it far from the floor. Only
    for metrics that count what is right: numbers and written texts have a floor above 0, which is unknown.
    """
    against = change(last, "chance")
    if against is None or not last.is_share or is_guessing(curves):
        return None
    guessed, trained = last.loss - against.value, float(numpy.mean(curves.losses[-curves.window() :]))
    if guessed <= 0 or last.loss < _FAR * guessed or trained < _NO_GAP * last.loss:
        return None
    return (
        f"the held-out loss ended at {last.loss:.3f}, which is {100 * last.loss / guessed:.0f} % of the loss of "
        f"guessing by the label frequencies ({guessed:.3f}), and the training loss is no lower ({trained:.3f}): the "
        "training rows are not fitted either"
    )


def not_memorized(curves: Curves, last: Validated) -> str:
    """What shows that more training cannot have memorized the rows yet, of a run that `is_unfinished`."""
    trained = float(numpy.mean(curves.losses[-curves.window() :]))
    return f"the rows are not memorized: the training loss ended at {trained:.3f}, the held-out loss at {last.loss:.3f}"


def _start(curves: Curves) -> float:
    """The initial training loss: the mean of the first steps."""
    return float(numpy.mean(curves.losses[:FIRST_STEPS])) if curves.losses else 0.0


def _training_change(curves: Curves) -> tuple[float, float]:
    """The change of the training loss from its first window to its last, and the z-score of its trend; after a step."""
    width = curves.window()
    moved = float(numpy.mean(curves.losses[-width:]) - numpy.mean(curves.losses[:width]))
    return moved, trend(curves.losses)


def _training_fell(curves: Curves) -> str | None:
    """Training loss that falls significantly."""
    moved, z_score = _training_change(curves)
    if z_score > -SIGNIFICANT:
        return None
    return (
        f"the training loss changed by {moved:+.3f} in {curves.step} steps; no rows are held out, so it is unknown "
        "whether that carries over to other rows"
    )


_CHECKS = 20
"""How many times per run the training loss is checked between validations."""


class Diagnosis:
    """Receives the events of a run in order and returns each diagnosis once.

    Args:
        recipe: fully resolved.
        total_steps: optimizer steps of the run.
    """

    def __init__(self, recipe: Recipe, total_steps: int) -> None:
        self._recipe = recipe
        self.curves = Curves(total_steps, warmup_steps(total_steps, recipe.train))
        self.reported: set[str] = set()
        """Names of the diagnoses already returned."""
        self.evidence: dict[str, str] = {}
        """Their evidence by name."""

    def observe(self, event: Event) -> list[Diagnosed]:
        """The new diagnoses after this event."""
        self.curves.take(event)
        if isinstance(event, TrainingStarted):
            return self._report("too-few-evaluations", self._too_few(), self._more_evaluations)
        if isinstance(event, StepDone) and event.step % max(1, self.curves.total_steps // _CHECKS):
            return []
        if not isinstance(event, StepDone | Validated | StoppedEarly):
            return []
        return self._check(isinstance(event, StepDone))

    def extend(self, total_steps: int) -> None:
        """Counts with more steps: the run goes on."""
        self.curves.total_steps = total_steps

    def not_finite(self, step: int, what: str) -> list[Diagnosed]:
        """The diagnosis of a run with a loss that is not finite."""
        return self._report("diverging", f"{what} at step {step}", lambda: lower_rate(self._recipe))

    def _check(self, is_step: bool) -> list[Diagnosed]:
        curves, recipe = self.curves, self._recipe
        # a run that adapts decides at its next validation whether it is stuck, and then acts instead
        waits = is_step and recipe.train.adapt is True and curves.base is not None
        found = self._report("diverging", diverging(curves) or exploded(curves), lambda: lower_rate(recipe))
        if "diverging" not in self.reported:
            found += self._report("overfitting", overfitting(curves), self._train_less)
        found += self._check_gain()
        if not waits and not self.reported & {"diverging", "overfitting", "learning"}:
            found += self._report("stuck", stalled(curves), lambda: raise_rate(recipe, curves))
            found += self._report("stuck", ending_at_chance(curves), lambda: check_labels(recipe))
        if not self.reported & {"diverging", "overfitting", "stuck"}:
            found += self._report("underfitting", underfitting(curves), self._train_longer)
        return found

    def _check_gain(self) -> list[Diagnosed]:
        """Learning, or the end of a trouble that was reported before."""
        curves = self.curves
        if "stuck" in self.reported:
            return [] if has_gained_little(curves) else self._report("recovered", learning(curves), lambda: "")
        if "diverging" in self.reported:
            is_well = curves.is_over and diverging(curves) is None
            return self._report("recovered", learning(curves), lambda: "") if is_well else []
        return self._report("learning", learning(curves), lambda: "")

    def holding(self) -> dict[str, str]:
        """The evidence by name of `stuck`, `diverging` and `underfitting`, if reported and not recovered from: when the
        run is over, a verdict must not contradict it."""
        names = ["underfitting"] if "recovered" in self.reported else ["stuck", "diverging", "underfitting"]
        return {name: self.evidence[name] for name in names if name in self.evidence}

    def _report(self, name: str, evidence: str | None, advise: Callable[[], str]) -> list[Diagnosed]:
        if not evidence or name in self.reported:
            return []
        self.reported.add(name)
        self.evidence[name] = evidence
        return [Diagnosed(self.curves.step, name, evidence, advise())]

    def _too_few(self) -> str | None:
        total, every = self.curves.total_steps, self._recipe.evaluate.every
        planned = -(-total // int(every))
        if planned >= FEWEST_VALIDATIONS:
            return None
        return (
            f"{planned} validation{'s' if planned > 1 else ''} in {total} steps; fewer than "
            f"{FEWEST_VALIDATIONS} are not enough to find the best checkpoint or to detect overfitting"
        )

    def _more_evaluations(self) -> str:
        return more_evaluations(self._recipe, self.curves.total_steps, FEWEST_VALIDATIONS)

    def _train_less(self) -> str:
        return check_labels(self._recipe) if is_guessing(self.curves) else train_less(self._recipe, self.curves)

    def _train_longer(self) -> str:
        last, base = self.curves.last, self.curves.base
        is_falling = last is not None and base is not None and still_falling(self.curves, last, base) is not None
        return train_longer(self._recipe, self.curves, is_falling)
