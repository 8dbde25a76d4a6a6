"""`burnish selftest`: the rules of arithmetic, measured on the user's model, rows and machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from burnish.errors import MachineError
from burnish.models.device import RAISED, ran_out
from burnish.recipe.schema import Recipe
from burnish.runs.event_log import EventLog
from burnish.runs.events import Listener, Progressed
from burnish.selftest import gradient_rules, process_rules, weight_rules
from burnish.selftest.opening import make_bench
from burnish.selftest.workbench import Bench, RuleLine, RuleReport

RULES: tuple[Callable[[Bench], RuleLine], ...] = (
    gradient_rules.packed,
    gradient_rules.padded,
    gradient_rules.accumulated,
    gradient_rules.fused,
    gradient_rules.recomputed,
    weight_rules.resumed,
    weight_rules.merged,
    weight_rules.fresh,
    weight_rules.trained,
    weight_rules.empty,
    weight_rules.served,
    process_rules.together,
)


def selftest(recipe: Recipe, listeners: Iterable[Listener] = ()) -> RuleReport:
    """Measures every rule of arithmetic that applies to the recipe's model, task and method.

    Args:
        recipe: without data, bundled rows that suit the model are used. Only temporary folders are written.
        listeners: receive every event.

    Raises:
        InputError: recipe, data or model is wrong.
        MachineError: the device is missing, or memory runs out.
    """
    begun = time.perf_counter()
    emit = EventLog(None, listeners)
    bench = make_bench(recipe, emit)
    lines = []
    for done, rule in enumerate(RULES):
        emit(Progressed("rules measured", done, len(RULES)))
        lines.append(_measured(rule, bench))
    emit(Progressed("rules measured", len(RULES), len(RULES)))
    return RuleReport(
        model=bench.context.location.name,
        task=bench.context.task.name,
        method=bench.context.method.name,
        device=bench.context.device.type,
        precision=bench.recipe.model.precision,
        rows=len(bench.examples),
        lines=lines,
        seconds=time.perf_counter() - begun,
    )


def _measured(rule: Callable[[Bench], RuleLine], bench: Bench) -> RuleLine:
    try:
        return rule(bench)
    except RAISED as error:
        if not ran_out(error):
            raise
        raise MachineError(
            "memory ran out while the rules of arithmetic were measured",
            f"It happened with `{bench.context.location.name}` at the rule `{rule.__name__}`, with "
            f"{len(bench.examples)} examples at once.",
            "Use shorter rows with `--set data.context=64`, or a smaller model",
        ) from error
