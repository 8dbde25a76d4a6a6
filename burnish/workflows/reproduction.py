"""What came of running a run again: what it was made from then and now, and the losses of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

State = Literal["same", "changed", "other"]
"""`changed` makes a run another one; `other` only rounds its numbers otherwise."""


@dataclass(frozen=True, slots=True)
class Ingredient:
    """One thing that a run was made from, then and now."""

    name: str
    expected: str
    found: str
    state: State
    remark: str = ""
    """What more is known of a change, in words."""


@dataclass(frozen=True, slots=True)
class StepPair:
    """The loss of one step, as the run told it and as it came out again."""

    step: int
    expected: float
    found: float
    tolerance: float
    """Relative; 0 where every bit must be the same."""

    @property
    def difference(self) -> float:
        """Relative."""
        return abs(self.found - self.expected) / abs(self.expected) if self.expected else abs(self.found)

    @property
    def is_same(self) -> bool:
        """Whether the losses are as near as they must be. A loss that is not a number is never the same."""
        return self.found == self.expected if self.tolerance == 0 else self.difference <= self.tolerance


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A run that was run again."""

    run: str
    ingredients: Sequence[Ingredient]
    steps: Sequence[StepPair] = field(default_factory=tuple)
    """Empty where the run's ingredients have changed: then there is nothing to compare."""
    rule: str = ""
    """How near the losses must be, and why, in words."""
    advice: str = ""
    """What to do where it failed."""

    @property
    def changed(self) -> list[Ingredient]:
        """What makes it another run."""
        return [one for one in self.ingredients if one.state == "changed"]

    @property
    def passed(self) -> bool:
        """Whether the run came out again."""
        return not self.changed and bool(self.steps) and all(pair.is_same for pair in self.steps)

    @property
    def verdict(self) -> str:
        """The outcome in a sentence."""
        if self.changed:
            told = "; ".join(f"{one.name}: {one.remark}" for one in self.changed)
            return f"Not reproduced: what `{self.run}` was made from has changed ({told})."
        apart = [pair for pair in self.steps if not pair.is_same]
        if apart:
            first = apart[0]
            return (
                f"Not reproduced: {len(apart)} of {len(self.steps)} losses are not those of `{self.run}`; the first is "
                f"that of step {first.step}, {first.found!r} instead of {first.expected!r}."
            )
        how = "bit for bit" if all(pair.tolerance == 0 for pair in self.steps) else "within tolerance"
        steps = "The first step" if len(self.steps) == 1 else f"The first {len(self.steps)} steps"
        return f"Reproduced: the same data, the same base model. {steps} gave the losses of `{self.run}` {how}."

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        steps = [{**asdict(pair), "difference": pair.difference, "passed": pair.is_same} for pair in self.steps]
        return {
            "run": self.run,
            "passed": self.passed,
            "verdict": self.verdict,
            "ingredients": [asdict(one) for one in self.ingredients],
            "rule": self.rule,
            "steps": steps,
            "advice": self.advice,
        }
