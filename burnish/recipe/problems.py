"""What is wrong with a recipe, gathered so that one error tells all of it."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from burnish.errors import RecipeError


class Check(enum.IntEnum):
    """The order in which problems are told: a mistyped name is never hidden behind a value."""

    NAME = 0
    TYPE = 1
    RANGE = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: with the value in it, and what would mend it."""

    check: Check
    what: str
    fix: str = ""


def raise_problems(problems: Sequence[Problem]) -> None:
    """Raises one error for all problems; does nothing where there is none.

    Raises:
        RecipeError: there is at least one problem.
    """
    if not problems:
        return
    ordered = sorted(problems, key=lambda problem: problem.check)
    if len(ordered) == 1:
        raise RecipeError(ordered[0].what, fix=ordered[0].fix)
    lines = [f"- {problem.what}{_hint(problem.fix)}" for problem in ordered]
    raise RecipeError(f"{len(ordered)} options are wrong", "\n".join(lines), "Mend each of these; nothing was started")


def _hint(fix: str) -> str:
    return f". {fix}" if fix else ""
