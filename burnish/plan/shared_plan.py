"""The plan of a run of several processes: made by the main one, taken over by the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from burnish.methods import make_method
from burnish.plan.budget import GIVEN, Budget, budget_here
from burnish.plan.fit import Fit
from burnish.plan.known import KnownPace
from burnish.plan.run_plan import RunPlan, plan_run
from burnish.plan.sharding import Shards
from burnish.prepare.context import RunContext, encode
from burnish.prepare.resolve import Facts
from burnish.recipe.schema import Recipe


@dataclass(frozen=True, slots=True)
class _Decided:
    """A plan without what each process has itself."""

    recipe: Recipe
    facts: Facts
    budget: Budget
    fit: Fit | None
    bound: int | None


def plan_together(context: RunContext, budget: Budget | None = None) -> RunPlan:
    """The plan of a run: `plan_run` without a simulation where a formula proves that everything fits.

    A process needs what a run by itself needs where it holds the whole model, and less where the weights are sharded;
    on the CPU they share one memory.

    Args:
        context: encoded.
        budget: the memory that may be used; None for this machine's.

    Raises:
        MachineError: no way to run it fits into the budget.
    """
    if context.process.is_alone:
        return plan_run(context, budget, simulates=False)
    decided = context.process.decide(lambda: _decided(context))
    length = decided.recipe.data.context
    if length != context.recipe.data.context:  # shortened, because longer rows do not fit into memory
        context = encode(context.with_options(data={"context": length}))
    context = replace(context, recipe=decided.recipe, method=make_method(decided.recipe.method))
    return RunPlan(context, decided.facts, decided.budget, decided.fit, decided.bound)


def _decided(context: RunContext) -> _Decided:
    section = context.recipe.model
    budget = budget_here(context.device, section.memory, section.precision)
    if budget.kind == "cpu" and budget.reason != GIVEN:
        budget = replace(budget, room=budget.room // context.process.local_world)
    process = context.process
    shards = Shards(process.local_world, -(-process.world // process.local_world))
    plan = plan_run(context, budget, shards=shards, simulates=False)
    return _Decided(plan.context.recipe, plan.facts, plan.budget, plan.fit, plan.bound)


def slowest(found: Sequence[KnownPace | None]) -> KnownPace | None:
    """What a run of several processes takes, from what each of them measured at the same time with rows of its own.

    Each works on its share of the tokens, at the pace of the slowest of them; what they exchange is not
    included. The answers to one batch of questions come from a single process.

    Args:
        found: of each process, by rank; None if its trial did not finish.
    """
    known = [one for one in found if one is not None]
    if len(known) < len(found):
        return None
    return replace(
        known[0],
        seconds_per_token=max(one.seconds_per_token for one in known) / len(known),
        validation_token=max(one.validation_token for one in known) / len(known),
        prompt_token=max(one.prompt_token for one in known),
        new_token=max(one.new_token for one in known),
        grown=max(one.grown for one in known),
        others=0.0,  # the other processes of the run would count among the other programs
        micro_tokens=min(one.micro_tokens for one in known),
    )
