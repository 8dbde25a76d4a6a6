"""Options that have no effect, given the others of the same recipe or the run that comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from burnish.methods import method_names, method_sections
from burnish.recipe.origins import DEFAULT
from burnish.recipe.schema import AUTO, NONE, Recipe
from burnish.runs.events import Warned
from burnish.tasks import task_names, task_sections

if TYPE_CHECKING:
    from burnish.prepare.context import RunContext

_NEEDS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "preference.label_smoothing": ("preference.loss", ("dpo", "cpo")),
    "preference.margin": ("preference.loss", ("simpo",)),
    "preference.likelihood": ("preference.loss", ("cpo",)),
    "preference.good_weight": ("preference.loss", ("kto",)),
    "preference.bad_weight": ("preference.loss", ("kto",)),
    "preference.share_prompt": ("preference.loss", ("dpo", "ipo", "simpo", "orpo", "cpo")),
    "span.no_answer_margin": ("span.unanswerable", (True,)),
    "distributed.reshard_after_forward": ("distributed.strategy", ("sharded",)),
    "optimization.decay_share": ("train.schedule", ("wsd",)),
    "optimization.minimum_rate": ("train.schedule", ("cosine", "linear", "wsd")),
    "train.schedule": ("train.optimizer", ("adamw", "muon", "adafactor", "adamw-8bit", "paged-adamw-8bit")),
    "train.patience": ("train.early_stopping", (True,)),
    "data.validation_fraction": ("data.validation", (None,)),
    "data.validation_rows": ("data.validation", (None,)),
    "data.test_fraction": ("data.test", (None,)),
    "data.test_rows": ("data.test", (None,)),
}
"""The option on which another one depends, and the values with which it has an effect."""


def idle_options(recipe: Recipe, origins: Mapping[str, str]) -> dict[str, str]:
    """The options that were set and that do nothing, each with the reason; what an `auto` will become is not guessed.

    Args:
        recipe: may hold `auto`.
        origins: where the value of each dotted option came from.
    """
    found: dict[str, str] = {}
    for option in (name for name, origin in origins.items() if origin != DEFAULT):
        if reason := _by_section(recipe, option.partition(".")[0]) or _by_other(recipe, option):
            found[option] = reason
    return found


def no_effect(option: str, reason: str) -> str:
    """The warning about an option that does nothing."""
    return f"`{option}` has no effect: {reason}."


def _by_section(recipe: Recipe, section: str) -> str:
    """The reason where the section belongs to other methods or tasks only."""
    axes = (("method", method_names(), method_sections), ("task", task_names(), task_sections))
    for kind, names, sections in axes:
        owners, chosen = [name for name in names if section in sections(name)], getattr(recipe, kind)
        if owners and chosen in names and chosen not in owners:
            return f"the {kind} is `{chosen}`"
    return ""


def _by_other(recipe: Recipe, option: str) -> str:
    if option == "evaluate.general_tokens" and recipe.evaluate.general == NONE:
        return "no texts outside the task are evaluated"
    other, values = _NEEDS.get(option, ("", ()))
    if not other:
        return ""
    section, _, name = other.partition(".")
    value = getattr(getattr(recipe, section), name)
    if value == AUTO or value in values:
        return ""
    return f"`{other}` is `{str(value).lower() if isinstance(value, bool) else value}`"


def warn_of_unused(origins: Mapping[str, str], context: RunContext) -> None:
    """Warns of each option that the user set and that this run does not use."""
    for option, reason in without_effect(origins, context).items():
        context.emit(Warned(no_effect(option, reason)))


def without_effect(origins: Mapping[str, str], context: RunContext) -> dict[str, str]:
    """The options that the user set and that this run does not use, each with the reason."""
    idle = idle_options(context.recipe, origins)
    if context.process.is_alone:
        for option in unused_options(origins, {"distributed"}):
            idle[option] = "one process trains this run; `--processes` starts several"
    for option in unused_options(origins, context.unread_sections()):
        idle.setdefault(option, f"the task is `{context.task.name}`, the method `{context.method.name}`")
    return idle


def unused_options(origins: Mapping[str, str], sections: set[str]) -> list[str]:
    """Options that the user set in sections that neither task nor method uses.

    Args:
        origins: where the value of each dotted option came from.
        sections: the unused sections of the recipe.
    """
    given = [option for option, origin in origins.items() if origin != "default"]
    return [option for option in given if option.partition(".")[0] in sections]
