"""How a run is going, in plain words: what its losses show, and what to change."""

from __future__ import annotations

from collections.abc import Callable

import numpy

from burnish.engine import diagnosis as findings
from burnish.engine.curves import Curves, change, step_between, trend
from burnish.engine.optimizer import warmup_steps
from burnish.recipe.schema import Recipe
from burnish.runs.events import Diagnosed, Event, StepDone, StoppedEarly, TrainingStarted, Validated

MATTERS = 0.01
"""Share of the base's loss that a change must reach to be worth a word."""
FEWEST_VALIDATIONS = 5
"""Validations of trained weights below which a curve of them shows neither a rise nor a level: one is taken by each
end, and a turn takes two more on either side."""
_FEWEST_STEPS = 20
_SURE = 3.0
"""Standard deviations; one is looked at in every validation, so the usual 1.96 would cry wolf in one run of four."""
_SURER = 5.0
"""The same where the lowest of many windows is compared."""
_LOST = 0.1
"""Share of what was gained on held-out rows that must be lost again to be called overfitting."""
_MISSING = 0.25
"""Share by which the training loss of a model that learns by heart lies below the held-out one."""
_FIRST = 3
"""Steps of the start."""
_LITTLE = 0.05
"""Share of the base's loss. Half of a run that gains less may be slow, or have little to learn: its shape tells."""
_STRAIGHT = 0.4
"""Share of the gain that comes in the second half of the way; of a straight line it is a half."""
_STILL = 0.2
"""Share of the whole gain that comes in the last third of the training, were it to go on."""


def learning(seen: Curves) -> str | None:
    """Held-out loss below the base's beyond the interval, by a part that matters, and below that of guessing."""
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
    """Whether little has been gained, in a straight line: where little is to be learned a curve levels off.

    The line is over the summed learning rate, not over the steps.
    """
    last, base = seen.last, seen.base
    if last is None or base is None or not has_gained_little(seen):
        return False
    half = seen.step_at(0.5)
    earlier = [one for one in (base, *seen.validations) if one.step <= half]
    return earlier[-1].loss - last.loss > _STRAIGHT * (base.loss - last.loss)


def has_gained_little(seen: Curves) -> bool:
    """Whether the held-out loss has fallen by less than a twentieth of the base's."""
    last, base = seen.last, seen.base
    return last is not None and base is not None and base.loss - last.loss < _LITTLE * base.loss


def _is_half_done(seen: Curves) -> bool:
    """Half of the way after the learning rate has risen, and no fewer than `_FEWEST_STEPS` steps."""
    return seen.step >= _FEWEST_STEPS and 2 * seen.step >= seen.total_steps + seen.warmup


def is_guessing(seen: Curves) -> bool:
    """Whether no validation has been better than answers by frequency alone, beyond the interval."""
    found = [against for one in seen.validations if (against := change(one, "chance"))]
    return bool(found) and all(against.high >= 0 for against in found)


def guessing(seen: Curves) -> str | None:
    """The lowest held-out loss beside that of guessing, in words; None where it is better, or not known."""
    lowest = seen.lowest
    against = change(lowest, "chance")
    if lowest is None or against is None or not is_guessing(seen):
        return None
    return (
        f"on held-out rows it never did better than giving the labels by their frequencies, without reading: "
        f"{lowest.loss:.3f} at best against {lowest.loss - against.value:.3f}"
    )


def standing_still(seen: Curves) -> str | None:
    """Half of the run, and neither training nor held-out loss has moved by a part that matters, or they only crawl."""
    if not _is_half_done(seen):
        return None
    moved, sureness = _moved(seen)
    told, trained = f"after {seen.step} of {seen.total_steps} steps", f"the training loss has moved by {moved:+.3f}"
    is_still = sureness > -_SURE or -moved < MATTERS * _start(seen)
    if seen.base is None:
        return f"{told} {trained}" if is_still else None
    gain = change(seen.last, "base")
    if gain is None or gain.low > 0:
        return None
    if is_still and -gain.low < MATTERS * seen.base.loss:
        return f"{told} {trained}, and the held-out loss by {gain} from {seen.base.loss:.3f} of the base"
    if gain.high < 0 and is_crawling(seen):
        return (
            f"{told} the held-out loss has only moved by {gain} from {seen.base.loss:.3f} of the base, in a straight "
            "line with no sign of levelling off"
        )
    return None


def learning_nothing_that_holds(seen: Curves) -> str | None:
    """The whole run, and on held-out rows it does no better than by guessing."""
    return guessing(seen) if seen.is_over and seen.step >= _FEWEST_STEPS else None


def diverging(seen: Curves) -> str | None:
    """A training loss that climbs far above where it was, or weights that are worse than the base everywhere."""
    return _worse_than_base(seen) or _far_above_first(seen) or _climbed(seen)


def _far_above_first(seen: Curves) -> str | None:
    """Every one of the newest steps above the first by half of it; the first is taken with the base's own weights."""
    newest = seen.losses[1:][-seen.window() :]
    if len(newest) < seen.window() or min(newest) <= 1.5 * seen.losses[0]:
        return None
    return (
        f"the training loss rose from {seen.losses[0]:.3f} in the first step to {min(newest):.3f} and more in each of "
        f"the {len(newest)} steps to step {seen.step}"
    )


def _climbed(seen: Curves) -> str | None:
    """The mean of the newest steps above the lowest one before, surely, and by half of what had been gained.

    It must be a tenth of the first loss, too: losses of easy rows, near 0, double without harm.
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
    """Held-out loss above the base's beyond the interval, and training loss no lower than in the first step.

    That step is taken with the base's own weights.
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
    """Two validations in a row above the lowest beyond their intervals, while the training loss falls.

    The rise must take back a tenth of what had been gained: models grow more certain as they train, which costs a
    little loss on the few rows that they still get wrong. And the training loss must have come to lie a quarter below
    the held-out one: the lowest of many validations is low by luck, too, so that some later one seems surely higher in
    any long run.
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
    """By which share the training loss, set against the held-out one, is lower than it was at the start."""
    if seen.last is None or seen.last.loss <= 0 or not seen.losses:
        return 0.0
    newest = float(numpy.mean(seen.losses[-seen.window() :])) / seen.last.loss
    first = _start(seen) / seen.base.loss if seen.base is not None and seen.base.loss > 0 else 1.0
    return 1 - newest / first if first > 0 else 0.0


def underfitting(seen: Curves) -> str | None:
    """At the end the held-out loss still falls: the last third of the training brought a fifth of the whole gain.

    Thirds are of the summed learning rate, not of the steps: a schedule that falls to 0 flattens every curve.
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
        f"the held-out loss was still falling at the end: of the {whole:.3f} gained since the base, {late:.3f} came "
        f"after step {earlier[-1].step}, and the last validation differs from the lowest before it by {newest}"
    )


def _start(seen: Curves) -> float:
    """The training loss of the first steps, in which little has been learned."""
    return float(numpy.mean(seen.losses[:_FIRST])) if seen.losses else 0.0


def _moved(seen: Curves) -> tuple[float, float]:
    """How far the training loss moved from its first window to its last, and how sure its trend is."""
    width = min(seen.window(), max(1, len(seen.losses) // 2))
    if not seen.losses:
        return 0.0, 0.0
    moved = float(numpy.mean(seen.losses[-width:]) - numpy.mean(seen.losses[:width]))
    return moved, trend(seen.losses)


def _training_fell(seen: Curves, moved: float) -> str:
    return (
        f"the training loss moved by {moved:+.3f} in {seen.step} steps; whether that holds on other rows cannot be "
        "told, as none are held out"
    )


_LOOKS = 20
"""How often in a run the training loss alone is looked at."""


class Diagnosis:
    """Fed with the events of a run in order; gives each finding once.

    Args:
        recipe: fully resolved.
        total_steps: of the whole run.
    """

    def __init__(self, recipe: Recipe, total_steps: int) -> None:
        self._recipe = recipe
        self.seen = Curves(total_steps, warmup_steps(total_steps, recipe.train))
        self.said: set[str] = set()
        """Names of the findings that were given."""

    def heed(self, event: Event) -> list[Diagnosed]:
        """What is to be said after this event."""
        self.seen.take(event)
        if isinstance(event, TrainingStarted):
            return self._say("too-few-evaluations", self._too_few(), self._more_evaluations())
        if isinstance(event, StepDone) and event.step % max(1, self.seen.total_steps // _LOOKS):
            return []
        if not isinstance(event, StepDone | Validated | StoppedEarly):
            return []
        return self._look()

    def broke_off(self, step: int, what: str) -> list[Diagnosed]:
        """What is to be said of a run whose loss is not finite."""
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
            f"{findings.FEWEST_VALIDATIONS} show no curve, so neither the best checkpoint nor overfitting can be told"
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
            return "No gradient reaches the weights that are trained: look at `lora.targets` or `freeze.modules`"
        higher = f"`--set train.learning_rate={10 * float(rate):.2g}`" if isinstance(rate, float) else "a higher one"
        return (
            f"The learning rate is probably too low: try {higher} (now {rate}). Should that change nothing, too little "
            "is trained: more `lora.rank`, other `lora.targets`, or `--method full`"
        )

    def _look_at_labels(self) -> str:
        return (
            "The labels may not belong to their rows: compare some by eye. If they do, try a higher "
            f"`train.learning_rate` (now {self._recipe.train.learning_rate}) or another `model.name`"
        )

    def _hold_back(self) -> str:
        if findings.is_guessing(self.seen):
            return self._look_at_labels()
        best = self.seen.lowest
        epochs = self._recipe.train.epochs
        done = f" (the lowest was at step {best.step} of {self.seen.total_steps})" if best else ""
        return (
            "The result is an earlier checkpoint. More rows help most; else fewer `train.epochs` "
            f"(now {epochs}){done}, "
            "less `lora.rank`, or some `lora.dropout`"
        )

    def _go_on(self) -> str:
        epochs, rate = self._recipe.train.epochs, self._recipe.train.learning_rate
        more = f"`--set train.epochs={2 * float(epochs):g}`" if isinstance(epochs, float) else "more `train.epochs`"
        return f"Train longer: {more} (now {epochs}), or try a higher `train.learning_rate` (now {rate})"
