"""The rules of arithmetic as lines of a report: what was measured, how large it may be, and whether that holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from burnish.errors import BurnishError


@dataclass(frozen=True, slots=True)
class RuleLine:
    """One rule, measured."""

    rule: str
    difference: float | None
    """None where the rule makes no sense here, and nothing was measured."""
    tolerance: float
    why: str
    """What was compared and where the tolerance comes from; or why the rule is left out."""
    is_least: bool = False
    """Whether the difference must be larger than the tolerance, instead of at most as large."""

    @property
    def passed(self) -> bool | None:
        """None where nothing was measured. A difference that is not a number never passes."""
        if self.difference is None:
            return None
        return self.difference > self.tolerance if self.is_least else self.difference <= self.tolerance


def left_out(rule: str, why: str) -> RuleLine:
    """A rule that makes no sense here."""
    return RuleLine(rule, None, 0.0, why)


@dataclass(frozen=True, slots=True)
class RuleReport:
    """The rules of arithmetic on one model, one kind of rows and one machine."""

    model: str
    task: str
    method: str
    device: str
    precision: str
    rows: int
    """Examples that the rules were measured on."""
    lines: Sequence[RuleLine]
    seconds: float

    @property
    def failed(self) -> list[RuleLine]:
        """The rules that do not hold."""
        return [line for line in self.lines if line.passed is False]

    @property
    def verdict(self) -> str:
        """The outcome in a sentence."""
        measured = sum(line.passed is not None for line in self.lines)
        if self.failed:
            named = "; ".join(line.rule for line in self.failed)
            return f"{len(self.failed)} of {measured} rules of arithmetic do NOT hold here: {named}."
        omitted = len(self.lines) - measured
        more = f" ({omitted} make no sense here)" if omitted else ""
        return f"All {measured} rules of arithmetic hold here{more}."

    @property
    def exit_code(self) -> int:
        """0 where every rule holds."""
        return BurnishError.exit_code if self.failed else 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        lines = [{**asdict(line), "passed": line.passed} for line in self.lines]
        return {**asdict(self), "lines": lines, "passed": not self.failed, "verdict": self.verdict}
