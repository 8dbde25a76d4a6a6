"""What a run will take, before anything is loaded: the method, the micro-batch, memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from burnish.data.rows.dataset import Records
from burnish.errors import MachineError
from burnish.methods import AUTO_METHODS, make_method
from burnish.methods.method import Method
from burnish.models.base import has_dropout
from burnish.models.config import depth, period, with_depth
from burnish.models.device import PRECISIONS
from burnish.models.skeleton import count_from_config
from burnish.plan.budget import Budget, measured_again
from burnish.plan.fit import CannotSimulate, Fit, Simulate, Way, find_fit, methods_for, shard, simulate_way
from burnish.plan.sharding import Shards
from burnish.plan.simulate import Simulation
from burnish.prepare.context import LIKELY_METHOD, Emit, Rows, Setting, encode_rows, held_out_questions, make_plan
from burnish.prepare.resolve import Facts, Resolver, micro_batches, resolve_choices, resolve_step, resolve_training
from burnish.recipe.schema import AUTO, Recipe
from burnish.runs.events import MemoryPlanned, Note
from burnish.system.machine import gigabytes

_MEASURED_ANSWERS = 200
_SHORTEST_CONTEXT = 128
ONE = Shards()


@dataclass(slots=True)
class Outlook:
    """What a run will take."""

    facts: Facts
    budget: Budget
    fit: Fit | None
    """None where the step of this model cannot be simulated."""
    step_tokens: int = 0
    """Tokens of an optimizer step."""
    micro_batches: float = 1
    """Micro-batches of a step, on average."""

    @property
    def resident(self) -> int | None:
        """Bytes that the process will take: what it has already, and the tensors of a step; on the CPU alone."""
        if self.fit is None or self.budget.kind != "cpu":
            return None
        return self.fit.simulation.peak.total + sum(one.bytes for one in self.budget.overheads)


def encode_to_fit(
    resolver: Resolver,
    setting: Setting,
    records: Records,
    budget: Budget,
    may_shorten: bool,
    emit: Emit,
    has_data: bool = True,
    shards: Shards = ONE,
) -> tuple[Rows, Outlook]:
    """Encodes the rows and plans the run; where nothing fits, again with a shorter context.

    Args:
        resolver: of the recipe, whose context is filled in.
        setting: of the run; its method is set.
        records: the rows.
        budget: the memory that may be used.
        may_shorten: whether the context was left to `auto`.
        emit: told of what is decided.
        has_data: False for made-up rows, whose number says nothing.
        shards: the devices that share the training.

    Raises:
        MachineError: no way to run it fits into the budget.
    """
    while True:
        rows = encode_rows(records, setting, resolver.recipe, emit)
        try:
            return rows, plan_run(resolver, setting, rows, budget, emit, has_data, shards)
        except MachineError:
            context = int(resolver.recipe.data.context)
            if not may_shorten or context < 2 * _SHORTEST_CONTEXT:
                raise
            emit(Note(f"Rows of {context} tokens do not fit into memory; trying rows of {context // 2}."))
            data = resolver.recipe.data.model_copy(update={"context": context // 2})
            resolver.recipe = resolver.recipe.model_copy(update={"data": data})


def plan_run(
    resolver: Resolver,
    setting: Setting,
    rows: Rows,
    budget: Budget,
    emit: Emit,
    has_data: bool = True,
    shards: Shards = ONE,
) -> Outlook:
    """Chooses the method and the micro-batch, and fills in what follows from the size of model and data.

    Raises:
        MachineError: no way to run it fits into the budget.
    """
    if resolver.recipe.data.packing and setting.task.encoder.can_pack and not setting.method.can_pack:
        emit(Note(f"The method `{setting.method.name}` would mix packed examples, so each gets a row of its own."))
    resolver.fill_packing(setting.task.encoder.can_pack and setting.method.can_pack)
    facts = gather_facts(setting, rows)
    resolve_step(resolver, facts)
    candidates, reason = _candidates(resolver.recipe, setting, facts.rows if has_data else None)
    _find_layers(resolver, setting)

    def run(way: Way, room: int | None) -> Simulation:
        limit = room if shards.ranks == 1 else None  # each of several devices takes only a part
        seen = simulate_way(way, resolver.recipe, setting, rows.training, facts, limit)
        return shard(seen, setting.config, shards)

    fit = _fit(candidates, micro_batches(resolver.recipe, facts), run, resolver.recipe, budget, emit)
    budget = measured_again(budget)
    if fit is not None and not fit.fits:
        raise _too_large(fit, budget, setting, facts, resolver.recipe)
    _take(resolver, setting, fit, candidates, reason, facts)
    resolve_training(resolver, facts, setting.method)
    if fit is not None:
        emit(told(fit, budget, resolver.recipe))
    outlook = Outlook(facts, budget, fit)
    plan = make_plan(rows.training, setting, resolver.recipe)
    outlook.step_tokens = min(plan.num_tokens, int(resolver.recipe.batch.tokens))
    padded = plan.rows_per_step * int(plan.num_tokens / max(1, len(plan.rows)))
    outlook.micro_batches = max(1.0, padded / (int(resolver.recipe.batch.rows) * int(resolver.recipe.data.context)))
    return outlook


def told(fit: Fit, budget: Budget, recipe: Recipe) -> MemoryPlanned:
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


def gather_facts(setting: Setting, rows: Rows) -> Facts:
    """What the choices rest on."""
    head, config = setting.task.objective.head, setting.config
    answers = [question.answer for question in held_out_questions(rows, setting, _MEASURED_ANSWERS)]
    return Facts(
        device=setting.device.type,
        parameters=count_from_config(config, head),
        outputs=head.config.get("num_labels", config.get_text_config().vocab_size),
        tokens=rows.training.num_tokens,
        rows=len(set(rows.training.owners)),
        step_rows=setting.task.objective.step_rows,
        longest_answer=max((len(setting.tokenizer(answer).input_ids) for answer in answers), default=0),
        rate_factor=setting.task.objective.rate_factor,
    )


def _candidates(recipe: Recipe, setting: Setting, rows: int | None) -> tuple[list[str], str]:
    """The methods to choose from for so many rows, best first, and why these."""
    if recipe.method != AUTO:
        return [recipe.method], "as asked"
    methods, reason = methods_for(rows)
    able = [name for name in methods if _is_able(make_method(name), recipe, setting)]
    return able or [LIKELY_METHOD], reason


def _is_able(method: Method, recipe: Recipe, setting: Setting) -> bool:
    """Whether task, model and device allow the method."""
    try:
        method.loading(PRECISIONS[recipe.model.precision], setting.device)
    except MachineError:
        return False
    return not method.refuses(setting.task.objective.head, setting.config)


def _find_layers(resolver: Resolver, setting: Setting) -> None:
    """Fills in the options of a method that has to see the model compute: on one block of it, with made-up weights."""
    if not setting.method.needs_values:
        return
    import transformers

    config = setting.config if depth(setting.config) is None else with_depth(setting.config, period(setting.config))
    network = getattr(transformers, setting.task.objective.head.auto_class).from_config(config, dtype=torch.bfloat16)
    resolve_choices(resolver, setting.method.choices(network.float(), resolver.recipe))


def _fit(
    candidates: Sequence[str], rows: Sequence[int], run: Simulate, recipe: Recipe, budget: Budget, emit: Emit
) -> Fit | None:
    """The first way that fits, or the one that takes least; None where torch cannot simulate the model."""
    again = recipe.train.gradient_checkpointing
    choices = [bool(again)] if again != AUTO else [False, True]
    if again == AUTO and not make_method(candidates[0]).can_checkpoint:
        choices = [False]
    try:
        return find_fit(candidates, rows, choices, run, budget.tensors)
    except CannotSimulate as error:
        emit(Note(f"What memory this run takes cannot be told beforehand: torch cannot simulate this model ({error})."))
        return None


def _take(
    resolver: Resolver,
    setting: Setting,
    fit: Fit | None,
    candidates: Sequence[str],
    reason: str,
    facts: Facts,
) -> None:
    """Fills in the way that was chosen, with the reasons and what would change them."""
    way = fit.way if fit else Way(candidates[0], micro_batches(resolver.recipe, facts)[0], False)
    skipped = candidates[: candidates.index(way.method)]
    if skipped:
        reason += f"; {' and '.join(f'`{name}`' for name in skipped)} would not fit into memory"
    resolver.fill("method", way.method, reason)
    setting.method = make_method(way.method)
    _choose_dropout(resolver, setting)
    most = micro_batches(resolver.recipe, facts)[0]
    size = "as many as a step has, or as make anything faster" if way.micro_rows == most else "as many as fit"
    resolver.fill("batch.rows", way.micro_rows, f"{size}; changes speed and memory, never the result")
    why = "memory would be short" if way.checkpointing else "memory is enough, and it would cost a third of the speed"
    resolver.fill("train.gradient_checkpointing", way.checkpointing, why, is_told=way.checkpointing)


def _choose_dropout(resolver: Resolver, setting: Setting) -> None:
    keeps = setting.method.trains_base
    reason = "the base itself is trained" if keeps else "the base is frozen: nothing in it can overfit"
    resolver.fill("model.dropout", keeps, reason, is_told=has_dropout(setting.config))


def _too_large(fit: Fit, budget: Budget, setting: Setting, facts: Facts, recipe: Recipe) -> MachineError:
    """Nothing fits: what is lacking, and what would fit."""
    need, room = fit.simulation.peak.total, budget.tensors
    per_parameter = need / max(1, facts.parameters)
    fixes = [f"a model of about {room / per_parameter / 1e9:.1f} B parameters would fit"]
    if recipe.method not in (AUTO, AUTO_METHODS[-1]):
        fixes.insert(0, "try `--method auto`, which takes the best method that fits")
    if recipe.data.context != AUTO and int(recipe.data.context) > 256:
        fixes.insert(0, f"try a shorter `data.context` (now {recipe.data.context})")
    return MachineError(
        f"`{setting.location.name}` with `{fit.way.method}` does not fit into the memory of {budget.device}",
        f"At least {gigabytes(need)} are needed, with one row at a time; {gigabytes(room)} may be used "
        f"({budget.reason}, less a tenth).",
        "; ".join(fixes)[0].upper() + "; ".join(fixes)[1:],
    )
