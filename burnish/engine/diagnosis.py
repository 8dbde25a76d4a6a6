"""Diagnoses a run from its losses, and advises what to change."""

from __future__ import annotations

from collections.abc import Callable

import numpy

from burnish.engine import diagnosis as findings
from burnish.engine.curves import Curves, change, step_between, trend
from burnish.engine.optimizer import warmup_steps
from burnish.recipe.schema import Recipe
from burnish.runs.events import Diagnosed, Event, StepDone, StoppedEarly, TrainingStarted, Validated

MATTERS = 0.01
"""Share of the base model's loss that a change must reach to be reported."""
FEWEST_VALIDATIONS = 5
"""Fewer validations than this cannot show a rise or a plateau: one is needed at each end, and a turning point needs
more on either side."""
_FEWEST_STEPS = 20
_SURE = 3.0
"""Standard deviations. The test is repeated at every validation, so the usual 1.96 would give a false alarm in one of
four runs."""
_SURER = 5.0
"""The same for comparisons with the lowest of many windows."""
_LOST = 0.1
"""Share of the improvement on held-out rows that must be lost again to count as overfitting."""
_MISSING = 0.25
"""Share by which the training loss of a memorizing model is below the held-out loss."""
_FIRST = 3
"""Number of first steps that define the initial training loss."""
_LITTLE = 0.05
"""Share of the base model's loss. A run that gains less by half-time is either slow or has little to learn; the shape
of its curve shows which."""
_STRAIGHT = 0.4
"""Share of the gain in the second half; for a straight line it is one half."""
_STILL = 0.2
"""Share of the total gain in the last third of a training that is still improving."""


def learning(seen: Curves) -> str | None:
    """Held-out loss significantly and noticeably below the base model's, and below that of guessing."""
    last, base, gain = seen.last, seen.base, change(seen.last, "base")
    if base is None:
        moved, sureness = _moved(seen)
        return _training_fell(seen, moved) if sureness < -_SURE and seen.step >= _FEWEST_STEPS else None
    if last is None or gain is None or gain.high >= 0 or -gain.value < MATTERS * base.loss:
        return None
    if is_guessing(seen) or (has_gained_little(seen) and (not _is_half_done(seen) or is_crawling(seen))):
        return None
    return (
        f"the held-out loss fell from {base.loss:.3f} to {last.loss:.3f} by step {last.step}, a change of {gain} on "
        "the same rows"
    )


def is_crawling(seen: Curves) -> bool:
    """Whether the gain is small and linear: if there is little to learn, a curve levels off instead.

    Linear in the summed learning rate, not in the steps.
    """
    last, base = seen.last, seen.base
    if last is None or base is None or not has_gained_little(seen):
        return False
    half = seen.step_at(0.5)
    earlier = [one for one in (base, *seen.validations) if one.step <= half]
    return earlier[-1].loss - last.loss > _STRAIGHT * (base.loss - last.loss)


def has_gained_little(seen: Curves) -> bool:
    """Whether the held-out loss has fallen by less than a twentieth of the base model's."""
    last, base = seen.last, seen.base
    return last is not None and base is not None and base.loss - last.loss < _LITTLE * base.loss


def _is_half_done(seen: Curves) -> bool:
    """Whether half of the steps after warm-up are done, and at least `_FEWEST_STEPS`."""
    return seen.step >= _FEWEST_STEPS and 2 * seen.step >= seen.total_steps + seen.warmup


def is_guessing(seen: Curves) -> bool:
    """Whether no validation has been significantly better than predicting the label frequencies."""
    found = [against for one in seen.validations if (against := change(one, "chance"))]
    return bool(found) and all(against.high >= 0 for against in found)


def guessing(seen: Curves) -> str | None:
    """The lowest held-out loss beside that of guessing, as a phrase; None if it is better or unknown."""
    lowest = seen.lowest
    against = change(lowest, "chance")
    if lowest is None or against is None or not is_guessing(seen):
        return None
    return (
        f"on held-out rows it was never better than predicting the label frequencies without the input: "
        f"{lowest.loss:.3f} at best against {lowest.loss - against.value:.3f}"
    )


def standing_still(seen: Curves) -> str | None:
    """At half-time, neither training nor held-out loss has changed noticeably, or both improve very slowly."""
    if not _is_half_done(seen):
        return None
    moved, sureness = _moved(seen)
    told, trained = f"after {seen.step} of {seen.total_steps} steps", f"the training loss has changed by {moved:+.3f}"
    is_still = sureness > -_SURE or -moved < MATTERS * _start(seen)
    if seen.base is None:
        return f"{told} {trained}" if is_still else None
    gain = change(seen.last, "base")
    if gain is None or gain.low > 0:
        return None
    if is_still and -gain.low < MATTERS * seen.base.loss:
        return f"{told} {trained}, and the held-out loss by {gain} from the base model's {seen.base.loss:.3f}"
    if gain.high < 0 and is_crawling(seen):
        return (
            f"{told} the held-out loss has only changed by {gain} from the base model's {seen.base.loss:.3f}, in a "
            "straight line with no sign of leveling off"
        )
    return None


def learning_nothing_that_holds(seen: Curves) -> str | None:
    """At the end of the run, it is no better than guessing on held-out rows."""
    return guessing(seen) if seen.is_over and seen.step >= _FEWEST_STEPS else None


def diverging(seen: Curves) -> str | None:
    """The training loss has risen far above earlier values, or training and held-out losses are worse than the base
    model's."""
    return _worse_than_base(seen) or _far_above_first(seen) or _climbed(seen)


def _far_above_first(seen: Curves) -> str | None:
    """Every recent step is at least 1.5 times the first one, which is computed with the base model's weights."""
    newest = seen.losses[1:][-seen.window() :]
    if len(newest) < seen.window() or min(newest) <= 1.5 * seen.losses[0]:
        return None
    return (
        f"the training loss rose from {seen.losses[0]:.3f} in the first step to at least {min(newest):.3f} in each of "
        f"the last {len(newest)} steps up to step {seen.step}"
    )


def _climbed(seen: Curves) -> str | None:
    """The mean of recent steps is significantly above the lowest earlier mean, by at least half of the gain.

    The rise must also be a tenth of the first loss: losses near 0 can double without harm.
    """
    width = seen.window()
    if len(seen.losses) < 2 * width:
        return None
    losses = numpy.array(seen.losses)
    means = numpy.convolve(losses[:-width], numpy.ones(width) / width, mode="valid")
    lowest = int(means.argmin())
    rise, sureness = step_between(losses[lowest : lowest + width], losses[-width:])
    start = float(means[0])
    is_large = rise > max(0.1 * start, 0.5 * (start - float(means[lowest])))
    if sureness < _SURER or not is_large:
        return None
    return (
        f"the training loss rose from {means[lowest]:.3f} by step {seen.steps[lowest + width - 1]} to "
        f"{losses[-width:].mean():.3f} by step {seen.step} (means of {width} steps)"
    )


def _worse_than_base(seen: Curves) -> str | None:
    """Held-out loss significantly above the base model's, and training loss not below that of the first step.

    The first step is computed with the base model's weights.
    """
    loss, newest = change(seen.last, "base"), seen.losses[1:][-seen.window() :]
    if loss is None or seen.base is None or seen.last is None or len(newest) < _FIRST:
        return None
    trained = float(numpy.mean(newest))
    if loss.sureness < _SURE or loss.value < MATTERS * seen.base.loss or trained < seen.losses[0]:
        return None
    return (
        f"the held-out loss rose from {seen.base.loss:.3f} to {seen.last.loss:.3f} by step {seen.last.step}, a change "
        f"of {loss} on the same rows, and the training loss from {seen.losses[0]:.3f} to {trained:.3f}"
    )


def overfitting(seen: Curves) -> str | None:
    """Two consecutive validations significantly above the lowest, while the training loss falls.

    The rise must undo a tenth of the gain: models become more confident with training, which raises the loss on the few
    rows that they still get wrong. And the training loss must be a quarter below the held-out loss: the lowest of many
    validations is partly low by chance, so that in any long run some later one seems significantly higher.
    """
    lowest, last = seen.lowest, seen.last
    if lowest is None or last is None or len(seen.validations) < 3:
        return None
    newest, before = (change(one, "lowest") for one in (last, seen.validations[-2]))
    is_sure = newest is not None and before is not None and newest.low > 0 and before.low > 0
    if newest is None or not is_sure or seen.validations[-2].step <= lowest.step:
        return None
    start = seen.base.loss if seen.base is not None else _start(seen)
    least = max(_LOST * (start - lowest.loss), MATTERS * lowest.loss)
    earlier, later = seen.until(lowest.step)[-4 * seen.window() :], seen.after(lowest.step)
    sureness = step_between(earlier, later)[1]
    if newest.value < least or sureness > -2 or _missing(seen) < _MISSING:
        return None
    told = (
        f"the held-out loss rose from {lowest.loss:.3f} at step {lowest.step} to {last.loss:.3f} at step {last.step}, "
        f"a change of {newest} on the same rows, while the training loss fell from {numpy.mean(earlier):.3f} to "
        f"{numpy.mean(later):.3f}"
    )
    return f"{told}; {guessing(seen)}" if is_guessing(seen) else told


def _missing(seen: Curves) -> float:
    """How much the ratio of training to held-out loss has fallen since the start, as a share."""
    if seen.last is None or seen.last.loss <= 0 or not seen.losses:
        return 0.0
    newest = float(numpy.mean(seen.losses[-seen.window() :])) / seen.last.loss
    first = _start(seen) / seen.base.loss if seen.base is not None and seen.base.loss > 0 else 1.0
    return 1 - newest / first if first > 0 else 0.0


def underfitting(seen: Curves) -> str | None:
    """The held-out loss still falls at the end: the last third of the training brought a fifth of the total gain.

    Thirds of the summed learning rate, not of the steps: a schedule that falls to 0 flattens every curve.
    """
    last, base = seen.last, seen.base
    if not seen.is_over or seen.has_stopped or last is None or base is None or len(seen.validations) < 3:
        return None
    newest = change(last, "lowest")
    if newest is None or newest.high >= 0:
        return None
    begins = seen.step_at(2 / 3)
    earlier = [one for one in seen.validations if one.step <= begins] or seen.validations[:1]
    late = min(one.loss for one in earlier) - last.loss
    whole = base.loss - last.loss
    if whole < MATTERS * base.loss or late < _STILL * whole:
        return None
    return (
        f"the held-out loss was still falling at the end: of the total gain of {whole:.3f}, {late:.3f} came after "
        f"step {earlier[-1].step}, and the last validation differs from the lowest before it by {newest}"
    )


def _start(seen: Curves) -> float:
    """The initial training loss: the mean of the first steps."""
    return float(numpy.mean(seen.losses[:_FIRST])) if seen.losses else 0.0


def _moved(seen: Curves) -> tuple[float, float]:
    """The change of the training loss from its first window to its last, and the z-score of its trend."""
    width = min(seen.window(), max(1, len(seen.losses) // 2))
    if not seen.losses:
        return 0.0, 0.0
    moved = float(numpy.mean(seen.losses[-width:]) - numpy.mean(seen.losses[:width]))
    return moved, trend(seen.losses)


def _training_fell(seen: Curves, moved: float) -> str:
    return (
        f"the training loss changed by {moved:+.3f} in {seen.step} steps; no rows are held out, so it is unknown "
        "whether that carries over to other rows"
    )


_LOOKS = 20
"""How many times per run the training loss is checked between validations."""


class Diagnosis:
    """Receives the events of a run in order and returns each diagnosis once.

    Args:
        recipe: fully resolved.
        total_steps: optimizer steps of the run.
    """

    def __init__(self, recipe: Recipe, total_steps: int) -> None:
        self._recipe = recipe
        self.seen = Curves(total_steps, warmup_steps(total_steps, recipe.train))
        self.said: set[str] = set()
        """Names of the diagnoses already returned."""

    def observe(self, event: Event) -> list[Diagnosed]:
        """The new diagnoses after this event."""
        self.seen.take(event)
        if isinstance(event, TrainingStarted):
            return self._say("too-few-evaluations", self._too_few(), self._more_evaluations())
        if isinstance(event, StepDone) and event.step % max(1, self.seen.total_steps // _LOOKS):
            return []
        if not isinstance(event, StepDone | Validated | StoppedEarly):
            return []
        return self._look()

    def broke_off(self, step: int, what: str) -> list[Diagnosed]:
        """The diagnosis of a run with a loss that is not finite."""
        return self._say("diverging", f"{what} at step {step}", self._slower())

    def _look(self) -> list[Diagnosed]:
        told = self._find("diverging", findings.diverging, self._slower)
        told += self._find("overfitting", findings.overfitting, self._hold_back)
        if "stuck" not in self.said or not findings.has_gained_little(self.seen):
            told += self._find("learning", findings.learning, lambda: "")
        if not self.said & {"diverging", "overfitting", "learning"}:
            told += self._find("stuck", findings.standing_still, self._faster)
            told += self._find("stuck", findings.learning_nothing_that_holds, self._look_at_labels)
        if not self.said & {"diverging", "overfitting", "stuck"}:
            told += self._find("underfitting", findings.underfitting, self._go_on)
        return told

    def _find(self, name: str, look: Callable[[Curves], str | None], advise: Callable[[], str]) -> list[Diagnosed]:
        return [] if name in self.said else self._say(name, look(self.seen), advise())

    def _say(self, name: str, evidence: str | None, advice: str) -> list[Diagnosed]:
        if not evidence or name in self.said:
            return []
        self.said.add(name)
        return [Diagnosed(self.seen.step, name, evidence, advice)]

    def _too_few(self) -> str | None:
        total, every = self.seen.total_steps, self._recipe.evaluate.every
        planned = -(-total // int(every))
        if planned >= findings.FEWEST_VALIDATIONS:
            return None
        return (
            f"{planned} validation{'s' if planned > 1 else ''} in {total} steps; fewer than "
            f"{findings.FEWEST_VALIDATIONS} are not enough to find the best checkpoint or to detect overfitting"
        )

    def _more_evaluations(self) -> str:
        total = self.seen.total_steps
        if total < findings.FEWEST_VALIDATIONS:
            epochs = self._recipe.train.epochs
            return f"Train for more steps: a higher `train.epochs` (now {epochs}), or less `batch.tokens`"
        return f"`--set evaluate.every={max(1, total // 10)}` (now {self._recipe.evaluate.every})"

    def _slower(self) -> str:
        rate = self._recipe.train.learning_rate
        lower = f"`--set train.learning_rate={float(rate) / 10:.2g}`" if isinstance(rate, float) else "a lower one"
        return f"The learning rate is probably too high: try {lower} (now {rate})"

    def _faster(self) -> str:
        rate, norms = self._recipe.train.learning_rate, self.seen.norms
        if norms and max(norms) == 0:
            return "No gradient reaches the trainable weights: check `lora.targets` or `freeze.modules`"
        higher = f"`--set train.learning_rate={10 * float(rate):.2g}`" if isinstance(rate, float) else "a higher one"
        return (
            f"The learning rate is probably too low: try {higher} (now {rate}). If that does not help, too few "
            "weights are trained: use a higher `lora.rank`, other `lora.targets`, or `--method full`"
        )

    def _look_at_labels(self) -> str:
        return (
            "The labels may not match their rows: compare a few by hand. If they do match, try a higher "
            f"`train.learning_rate` (now {self._recipe.train.learning_rate}) or another `model.name`"
        )

    def _hold_back(self) -> str:
        if findings.is_guessing(self.seen):
            return self._look_at_labels()
        best = self.seen.lowest
        epochs = self._recipe.train.epochs
        done = f" (the lowest was at step {best.step} of {self.seen.total_steps})" if best else ""
        return (
            "The result is an earlier checkpoint. More rows help most; otherwise use fewer `train.epochs` "
            f"(now {epochs}){done}, "
            "a lower `lora.rank`, or some `lora.dropout`"
        )

    def _go_on(self) -> str:
        epochs, rate = self._recipe.train.epochs, self._recipe.train.learning_rate
        more = f"`--set train.epochs={2 * float(epochs):g}`" if isinstance(epochs, float) else "more `train.epochs`"
        return f"Train longer: {more} (now {epochs}), or try a higher `train.learning_rate` (now {rate})"
