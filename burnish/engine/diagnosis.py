"""Diagnoses a run from its losses, and advises what to change."""

from __future__ import annotations

from collections.abc import Callable

import numpy

from burnish.engine.curves import Curves, change, step_between, trend
from burnish.engine.optimizer import warmup_steps
from burnish.recipe.schema import Recipe
from burnish.runs.events import Diagnosed, Event, StepDone, StoppedEarly, TrainingStarted, Validated

MATTERS = 0.01
"""Share of the base model's loss that a change must reach to be reported."""
FEWEST_VALIDATIONS = 5
"""Fewer validations cannot show a rise or a plateau: a turning point needs several on either side."""
_FEWEST_STEPS = 20
_SIGNIFICANT = 3.0
"""Standard deviations. The test is repeated at every validation, so the usual 1.96 would give a false alarm in one of
four runs."""
_CERTAIN = 5.0
"""The same for comparisons with the lowest of many windows."""
_LOST_AGAIN = 0.1
"""Share of the improvement on held-out rows that must be lost again to count as overfitting."""
_MEMORIZED = 0.25
"""Share by which the training loss of a memorizing model is below the held-out loss."""
_FIRST_STEPS = 3
"""Number of first steps that define the initial training loss."""
_SMALL_GAIN = 0.05
"""Share of the base model's loss. A run that gains less by half-time is either slow or has little to learn; the shape
of its curve shows which."""
_LINEAR = 0.4
"""Share of the gain in the second half; for a straight line it is one half."""
_STILL_IMPROVING = 0.2
"""Share of the total gain in the last third of a training that is still improving."""


def learning(curves: Curves) -> str | None:
    """Held-out loss significantly and noticeably below the base model's, and below that of guessing."""
    last, base, gain = curves.last, curves.base, change(curves.last, "base")
    if base is None:
        return _training_fell(curves) if curves.step >= _FEWEST_STEPS else None
    if last is None or gain is None or gain.high >= 0 or -gain.value < MATTERS * base.loss:
        return None
    if is_guessing(curves) or (has_gained_little(curves) and (not _is_half_done(curves) or is_crawling(curves))):
        return None
    return (
        f"the held-out loss fell from {base.loss:.3f} to {last.loss:.3f} by step {last.step}, a change of {gain} on "
        "the same rows"
    )


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
    is_flat = z_score > -_SIGNIFICANT or -moved < MATTERS * _start(curves)
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


def diverging(curves: Curves) -> str | None:
    """The training loss has risen far above earlier values, or training and held-out losses are worse than the base
    model's."""
    return _worse_than_base(curves) or _far_above_first(curves) or _climbed(curves)


def _far_above_first(curves: Curves) -> str | None:
    """Every recent step is at least 1.5 times the first one, which is computed with the base model's weights."""
    newest = curves.losses[1:][-curves.window() :]
    if len(newest) < curves.window() or min(newest) <= 1.5 * curves.losses[0]:
        return None
    return (
        f"the training loss rose from {curves.losses[0]:.3f} in the first step to at least {min(newest):.3f} in each "
        f"of the last {len(newest)} steps up to step {curves.step}"
    )


def _climbed(curves: Curves) -> str | None:
    """The mean of recent steps is significantly above the lowest earlier mean, by at least half of the gain.

    The rise must also be a tenth of the first loss: losses near 0 can double without harm.
    """
    width = curves.window()
    if len(curves.losses) < 2 * width:
        return None
    losses = numpy.array(curves.losses)
    means = numpy.convolve(losses[:-width], numpy.ones(width) / width, mode="valid")
    lowest = int(means.argmin())
    rise, z_score = step_between(losses[lowest : lowest + width], losses[-width:])
    start = float(means[0])
    is_large = rise > max(0.1 * start, 0.5 * (start - float(means[lowest])))
    if z_score < _CERTAIN or not is_large:
        return None
    return (
        f"the training loss rose from {means[lowest]:.3f} by step {curves.steps[lowest + width - 1]} to "
        f"{losses[-width:].mean():.3f} by step {curves.step} (means of {width} steps)"
    )


def _worse_than_base(curves: Curves) -> str | None:
    """Held-out loss significantly above the base model's, and training loss not below that of the first step.

    The first step is computed with the base model's weights.
    """
    loss, newest = change(curves.last, "base"), curves.losses[1:][-curves.window() :]
    if loss is None or curves.base is None or curves.last is None or len(newest) < _FIRST_STEPS:
        return None
    trained = float(numpy.mean(newest))
    if loss.z_score < _SIGNIFICANT or loss.value < MATTERS * curves.base.loss or trained < curves.losses[0]:
        return None
    return (
        f"the held-out loss rose from {curves.base.loss:.3f} to {curves.last.loss:.3f} by step {curves.last.step}, a "
        f"change of {loss} on the same rows, and the training loss from {curves.losses[0]:.3f} to {trained:.3f}"
    )


def overfitting(curves: Curves) -> str | None:
    """Two consecutive validations significantly above the lowest, while the training loss falls.

    The rise must undo a tenth of the gain: models become more confident with training, which raises the loss on the few
    rows that they still get wrong. And the training loss must be a quarter below the held-out loss: the lowest of many
    validations is partly low by chance, so that in any long run some later one seems significantly higher.
    """
    lowest, last = curves.lowest, curves.last
    if lowest is None or last is None or len(curves.validations) < 3:
        return None
    newest, before = (change(one, "lowest") for one in (last, curves.validations[-2]))
    is_significant = newest is not None and before is not None and newest.low > 0 and before.low > 0
    if newest is None or not is_significant or curves.validations[-2].step <= lowest.step:
        return None
    start = curves.base.loss if curves.base is not None else _start(curves)
    least = max(_LOST_AGAIN * (start - lowest.loss), MATTERS * lowest.loss)
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
    """The held-out loss still falls at the end: the last third of the training brought a fifth of the total gain.

    Thirds of the summed learning rate, not of the steps: a schedule that falls to 0 flattens every curve.
    """
    last, base = curves.last, curves.base
    if not curves.is_over or curves.has_stopped or last is None or base is None or len(curves.validations) < 3:
        return None
    newest = change(last, "lowest")
    if newest is None or newest.high >= 0:
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


def _start(curves: Curves) -> float:
    """The initial training loss: the mean of the first steps."""
    return float(numpy.mean(curves.losses[:_FIRST_STEPS])) if curves.losses else 0.0


def _training_change(curves: Curves) -> tuple[float, float]:
    """The change of the training loss from its first window to its last, and the z-score of its trend; after a step."""
    width = curves.window()
    moved = float(numpy.mean(curves.losses[-width:]) - numpy.mean(curves.losses[:width]))
    return moved, trend(curves.losses)


def _training_fell(curves: Curves) -> str | None:
    """Training loss that falls significantly."""
    moved, z_score = _training_change(curves)
    if z_score > -_SIGNIFICANT:
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

    def observe(self, event: Event) -> list[Diagnosed]:
        """The new diagnoses after this event."""
        self.curves.take(event)
        if isinstance(event, TrainingStarted):
            return self._report("too-few-evaluations", self._too_few(), self._more_evaluations)
        if isinstance(event, StepDone) and event.step % max(1, self.curves.total_steps // _CHECKS):
            return []
        if not isinstance(event, StepDone | Validated | StoppedEarly):
            return []
        return self._check()

    def not_finite(self, step: int, what: str) -> list[Diagnosed]:
        """The diagnosis of a run with a loss that is not finite."""
        return self._report("diverging", f"{what} at step {step}", self._lower_rate)

    def _check(self) -> list[Diagnosed]:
        curves = self.curves
        found = self._report("diverging", diverging(curves), self._lower_rate)
        found += self._report("overfitting", overfitting(curves), self._train_less)
        if "stuck" not in self.reported or not has_gained_little(curves):
            found += self._report("learning", learning(curves), lambda: "")
        if not self.reported & {"diverging", "overfitting", "learning"}:
            found += self._report("stuck", stalled(curves), self._raise_rate)
            found += self._report("stuck", ending_at_chance(curves), self._check_labels)
        if not self.reported & {"diverging", "overfitting", "stuck"}:
            found += self._report("underfitting", underfitting(curves), self._train_longer)
        return found

    def _report(self, name: str, evidence: str | None, advise: Callable[[], str]) -> list[Diagnosed]:
        if not evidence or name in self.reported:
            return []
        self.reported.add(name)
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
        total = self.curves.total_steps
        if total < FEWEST_VALIDATIONS:
            epochs = self._recipe.train.epochs
            return f"Train for more steps: a higher `train.epochs` (now {epochs}), or a lower `batch.tokens`"
        return f"`--set evaluate.every={max(1, total // 10)}` (now {self._recipe.evaluate.every})"

    def _lower_rate(self) -> str:
        rate = float(self._recipe.train.learning_rate)
        lower = f"`--set train.learning_rate={rate / 10:.2g}`"
        return f"The learning rate is probably too high: try {lower} (now {rate})"

    def _raise_rate(self) -> str:
        rate = float(self._recipe.train.learning_rate)
        if max(self.curves.norms) == 0:
            return "No gradient reaches the trainable weights: check `lora.targets` or `freeze.modules`"
        higher = f"`--set train.learning_rate={10 * rate:.2g}`"
        return (
            f"The learning rate is probably too low: try {higher} (now {rate}). If that does not help, too few "
            "weights are trained: use a higher `lora.rank`, other `lora.targets`, or `--method full`"
        )

    def _check_labels(self) -> str:
        return (
            "The labels may not match their rows: compare a few by hand. If they do match, try a higher "
            f"`train.learning_rate` (now {self._recipe.train.learning_rate}) or another `model.name`"
        )

    def _train_less(self) -> str:
        if is_guessing(self.curves):
            return self._check_labels()
        best = self.curves.lowest
        epochs = self._recipe.train.epochs
        done = f" (the lowest was at step {best.step} of {self.curves.total_steps})" if best else ""
        return (
            "The result is an earlier checkpoint. More rows help most; otherwise use fewer `train.epochs` "
            f"(now {epochs}){done}, "
            "a lower `lora.rank`, or some `lora.dropout`"
        )

    def _train_longer(self) -> str:
        epochs, rate = self._recipe.train.epochs, self._recipe.train.learning_rate
        more = f"`--set train.epochs={2 * float(epochs):g}`"
        return f"Train longer: {more} (now {epochs}), or try a higher `train.learning_rate` (now {rate})"
