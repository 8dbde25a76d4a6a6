"""Plans a run before any weight is loaded: its method, micro-batch and memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from burnish.errors import MachineError
from burnish.methods import AUTO_METHODS, LIKELY_METHOD, make_method
from burnish.methods.method import Method
from burnish.models.base import has_dropout
from burnish.models.config import model_kind, shallow
from burnish.models.device import PRECISIONS
from burnish.models.skeleton import count_from_config
from burnish.plan.bound import ROOMY, step_bound
from burnish.plan.budget import GIVEN, KEPT_FREE, Budget, budget_here, measured_again
from burnish.plan.fit import (
    CannotSimulate,
    Fit,
    Simulate,
    Way,
    find_fit,
    methods_for,
    shard,
    simulate_way,
)
from burnish.plan.sharding import Shards
from burnish.plan.simulate import Simulation
from burnish.prepare.context import RunContext, encode
from burnish.prepare.resolve import (
    Facts,
    Resolver,
    micro_batches,
    resolve_choices,
    resolve_step,
    resolve_training,
)
from burnish.prepare.strategy import check_strategy, methods_to_share, resolved_strategy, ways_to_share
from burnish.recipe.schema import AUTO, Recipe
from burnish.runs.events import MemoryBounded, MemoryPlanned, Note, Resolved
from burnish.system.machine import memory_size

_MEASURED_ANSWERS = 200
_SHORTEST_CONTEXT = 128
ONE = Shards()


@dataclass(frozen=True, slots=True)
class RunPlan:
    """The run with everything resolved that the plan decides, and its memory."""

    context: RunContext
    facts: Facts
    budget: Budget
    fit: Fit | None
    """None if the step was not simulated: the bound is sufficient, or torch cannot simulate this model."""
    bound: int | None = None
    """Upper bound on tensor bytes by formula, if it was sufficient to prove that everything fits."""

    @property
    def step_tokens(self) -> int:
        """Tokens of an optimizer step, padding not counted."""
        return min(self.context.training.num_tokens, int(self.context.recipe.batch.tokens))

    @property
    def micro_batches(self) -> float:
        """Micro-batches of a step, on average."""
        batches = self.context.batch_plan(self.context.training)
        padded = batches.rows_per_step * int(batches.num_tokens / max(1, len(batches.rows)))
        return max(1.0, padded / (int(self.context.recipe.batch.rows) * self.context.context_length))


def plan_run(
    context: RunContext,
    budget: Budget | None = None,
    has_data: bool = True,
    shards: Shards = ONE,
    report: Callable[[Resolved], None] | None = None,
    simulates: bool = True,
) -> RunPlan:
    """Chooses the method and the micro-batch, and resolves what depends on the size of model and data.

    If nothing fits and the context length is `auto`, the rows are encoded again with half the length.

    Args:
        context: encoded.
        budget: the memory that may be used; None for this machine's.
        has_data: False for placeholder rows, whose number is arbitrary.
        shards: the devices that share the training.
        report: receives each choice instead of the context's `emit`.
        simulates: True always simulates a step; False only if the formula does not prove that everything fits.

    Raises:
        MachineError: no way to run it fits into the budget.
    """
    if budget is None:
        budget = budget_here(context.device, context.recipe.model.memory, context.recipe.model.precision)
    while True:
        try:
            return _plan(context, budget, has_data, shards, report or context.emit, simulates)
        except MachineError:
            length = context.context_length
            if context.asked.data.context != AUTO or length < 2 * _SHORTEST_CONTEXT:
                raise
            context.emit(Note(f"Rows of {length} tokens do not fit into memory; trying rows of {length // 2}."))
            context = encode(context.with_options(data={"context": length // 2}))


def _plan(
    context: RunContext,
    budget: Budget,
    has_data: bool,
    shards: Shards,
    report: Callable[[Resolved], None],
    simulates: bool,
) -> RunPlan:
    """The plan for rows of one context length."""
    resolver = Resolver(context.recipe, report)
    task, method = context.task, context.method
    if resolver.recipe.data.packing and task.encoder.can_pack and not method.can_pack:
        context.emit(
            Note(f"The method `{method.name}` does not keep packed examples apart, so each example gets its own row.")
        )
    resolver.fill_packing(task.encoder.can_pack and method.can_pack)
    check_strategy(resolver.recipe, shards.ranks, context.device.type)
    facts = gather_facts(context, shards.ranks)
    resolve_step(resolver, facts)
    candidates, reason = _candidates(resolver.recipe, context, facts, has_data)
    _find_layers(resolver, context)
    planned = context.with_recipe(resolver.recipe)

    def run(way: Way, room: int | None) -> Simulation:
        if not way.is_sharded:
            return simulate_way(way, planned, facts, room)
        whole = simulate_way(way, planned, facts, None)  # of which each device takes a part
        return shard(whole, context.config, shards, planned.recipe.distributed)

    rows = micro_batches(resolver.recipe, facts)
    bound = None if simulates else _bound_if_roomy(planned, facts, rows[0], budget)
    fit = None if bound else _fit(candidates, rows, run, planned, budget, shards.ranks)
    budget = measured_again(budget)
    if fit is not None and not fit.fits:
        raise _too_large(fit, budget, planned, facts)
    method = _take(resolver, context, fit, candidates, reason, facts)
    resolve_training(resolver, facts, method)
    planned = replace(context, recipe=resolver.recipe, method=method)
    if fit is not None:
        context.emit(planned_memory(fit, budget, resolver.recipe))
    elif bound is not None:
        length = planned.context_length
        context.emit(MemoryBounded(budget.device, method.name, rows[0], length, bound, budget.room, budget.reason))
    return RunPlan(planned, facts, budget, fit, bound)


def _bound_if_roomy(context: RunContext, facts: Facts, micro_rows: int, budget: Budget) -> int | None:
    """Upper bound on the bytes of a step, if low enough that the first choice of everything fits; otherwise None."""
    tokens = micro_rows * context.context_length
    bound = step_bound(context.config, facts.parameters, facts.outputs, tokens, context.context_length)
    return bound if bound is not None and bound <= ROOMY * budget.tensors else None


def planned_memory(fit: Fit, budget: Budget, recipe: Recipe) -> MemoryPlanned:
    """The memory of a run as an event."""
    peak = fit.simulation.peak
    return MemoryPlanned(
        device=budget.device,
        method=fit.way.method,
        micro_rows=fit.way.micro_rows,
        context=int(recipe.data.context),
        checkpointing=fit.way.checkpointing,
        parts=dict(peak.parts),
        overheads={one.name: one.bytes for one in budget.overheads},
        allocator=int(peak.total * budget.allocator_share),
        room=budget.room,
        room_reason=budget.reason,
    )


def gather_facts(context: RunContext, processes: int) -> Facts:
    """What the choices depend on.

    Args:
        context: encoded.
        processes: that compute each step together.
    """
    head, config = context.task.objective.head, context.config
    answers = [question.answer for question in context.questions(_MEASURED_ANSWERS)]
    return Facts(
        device=context.device.type,
        parameters=count_from_config(config, head),
        outputs=head.config.get("num_labels", config.get_text_config().vocab_size),
        tokens=context.training.num_tokens,
        rows=context.num_training_rows,
        step_rows=context.task.objective.step_rows,
        has_own_head="num_labels" in head.config,
        longest_answer=max((len(context.tokenizer(answer).input_ids) for answer in answers), default=0),
        rate_factor=context.task.objective.rate_factor,
        processes=processes,
    )


def _candidates(recipe: Recipe, context: RunContext, facts: Facts, has_data: bool) -> tuple[list[str], str]:
    """The methods to choose from for this number of rows and this model, best first, and why."""
    if recipe.method != AUTO:
        return [recipe.method], "as asked"
    methods, reason = methods_for(facts.rows if has_data else None, model_kind(context.config), facts.parameters)
    able = [name for name in methods if _is_able(make_method(name), context)]
    return methods_to_share(recipe, able or [LIKELY_METHOD], reason, facts.processes)


def _is_able(method: Method, context: RunContext) -> bool:
    """Whether task, model and device support the method."""
    try:
        method.loading(PRECISIONS[context.recipe.model.precision], context.device)
    except MachineError:
        return False
    return not method.refuses(context.task.objective.head, context.config)


def _find_layers(resolver: Resolver, context: RunContext) -> None:
    """Resolves the options of a method that depend on computed values, using a few blocks with random weights.

    `inspect_base` checks them on the whole model.
    """
    if not context.method.needs_values:
        return
    import transformers

    auto_class = getattr(transformers, context.task.objective.head.auto_class)
    config = shallow(context.config) if context.method.is_uniform(resolver.recipe) else context.config
    network = auto_class.from_config(config, dtype=torch.bfloat16)
    resolve_choices(resolver, context.method.choices(network.float(), resolver.recipe))


def _fit(
    candidates: Sequence[str], rows: Sequence[int], run: Simulate, context: RunContext, budget: Budget, processes: int
) -> Fit | None:
    """The first way that fits, or the one with the least memory; None if torch cannot simulate the model."""
    again = context.recipe.train.gradient_checkpointing
    choices = [bool(again)] if again != AUTO else [False, True]
    if again == AUTO and not make_method(candidates[0]).can_checkpoint:
        choices = [False]
    try:
        sharding = partial(ways_to_share, context.recipe, processes=processes)
        return find_fit(candidates, rows, choices, run, budget.tensors, sharding)
    except CannotSimulate as error:
        context.emit(Note(f"The memory of this run cannot be predicted: torch cannot simulate this model ({error})."))
        return None


def _take(
    resolver: Resolver,
    context: RunContext,
    fit: Fit | None,
    candidates: Sequence[str],
    reason: str,
    facts: Facts,
) -> Method:
    """Resolves the chosen options with their reasons. Returns the method."""
    first = candidates[0], micro_batches(resolver.recipe, facts)[0], False
    way = fit.way if fit else Way(*first, ways_to_share(resolver.recipe, first[0], facts.processes)[0])
    skipped = candidates[: candidates.index(way.method)]
    if skipped:
        reason += f"; {' and '.join(f'`{name}`' for name in skipped)} would not fit into memory"
    resolver.fill("method", way.method, reason)
    method = make_method(way.method)
    keeps = method.trains_base
    dropout = "the base itself is trained" if keeps else "the base is frozen, so it cannot overfit"
    resolver.fill("model.dropout", keeps, dropout, is_reported=has_dropout(context.config))
    most = micro_batches(resolver.recipe, facts)[0]
    size = "as many as are useful" if way.micro_rows == most else "as many as fit into memory"
    resolver.fill("batch.rows", way.micro_rows, f"{size}; changes speed and memory, never the result")
    why = (
        "there is not enough memory otherwise"
        if way.checkpointing
        else "there is enough memory, and it would cost a third of the speed"
    )
    resolver.fill("train.gradient_checkpointing", way.checkpointing, why, is_reported=way.checkpointing)
    strategy = resolved_strategy(way.is_sharded, facts.processes, resolver.recipe.distributed.offload)
    resolver.fill("distributed.strategy", *strategy, is_reported=facts.processes > 1)
    return method


def _too_large(fit: Fit, budget: Budget, context: RunContext, facts: Facts) -> MachineError:
    """The error if nothing fits: how much memory is missing, and what would fit."""
    recipe = context.recipe
    need, room = fit.simulation.peak.total, budget.tensors
    where = budget.device if budget.kind == "cpu" else f"the memory of {budget.device}"
    billions = room * facts.parameters / need / 1e9
    least = int(need * (1 + budget.allocator_share) / (1 - KEPT_FREE)) + budget.coming
    fixes = [f"a model of about {billions:.1f} B parameters would fit"] if billions >= 0.05 else []
    if budget.reason == GIVEN:
        fixes.append(f"with `--set model.memory={-(-(least + budget.included) // 2**20)}MB` this one would fit")
    if recipe.method not in (AUTO, AUTO_METHODS[-1]):
        fixes.insert(0, "try `--method auto`, which uses the best method that fits")
    may_shard = True in ways_to_share(recipe, fit.way.method, facts.processes)
    if may_shard and budget.kind != "cpu" and not recipe.distributed.offload:
        fixes.insert(0, "try `--set distributed.offload=true`, which keeps the weights in CPU memory")
    if recipe.data.context != AUTO and int(recipe.data.context) > 256:
        fixes.insert(0, f"try a shorter `data.context` (now {recipe.data.context})")
    fixes = fixes or ["use a smaller model"]
    return MachineError(
        f"`{context.location.name}` with `{fit.way.method}` does not fit into {where}",
        _missing(least, budget),
        "; ".join(fixes)[0].upper() + "; ".join(fixes)[1:],
    )


def _missing(least: int, budget: Budget) -> str:
    """What a step needs, with one row at a time, and what there is, in a sentence.

    Args:
        least: bytes that the run needs beyond what its process uses already.
        budget: of the device.
    """
    others = budget.included + budget.coming
    besides = f", {memory_size(others)} of it besides tensors" if others else ""
    return (
        f"At least {memory_size(least + budget.included)} is needed, with one row at a time{besides}; "
        f"{memory_size(budget.room + budget.included)} is available ({budget.reason})."
    )
