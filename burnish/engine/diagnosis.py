"""How a run goes, in plain words: what its losses show, and what to change."""

from __future__ import annotations

from collections.abc import Callable

from burnish.engine import findings
from burnish.engine.curves import Curves
from burnish.engine.optimizer import warmup_steps
from burnish.recipe.schema import Recipe
from burnish.runs.events import Diagnosed, Event, StepDone, StoppedEarly, TrainingStarted, Validated

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
