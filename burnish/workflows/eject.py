"""`burnish eject`: a script that repeats a run without Burnish, and the rows it reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from burnish.engine.schedule import Cycle, cycles_of, last_step
from burnish.errors import InputError
from burnish.export.script import ROWS_BEGIN, Ejected, check_ejectable, micro_rows, rows_by_step, write_script
from burnish.lineage.chain import check_whole
from burnish.lineage.manifest import check_base, rows_of
from burnish.lineage.saved_recipe import check_present, open_recipe
from burnish.models.base import without_dropout
from burnish.prepare.context import RunContext, encode, open_context
from burnish.prepare.model import loading_for, unquantized
from burnish.prepare.resolve import total_steps
from burnish.recipe.schema import Recipe
from burnish.recipe.section import CONTINUE
from burnish.runs.atomic import check_target, json_lines, write_json_lines, write_text
from burnish.runs.damage import read_json_object
from burnish.runs.event_log import EventLog, read_events
from burnish.runs.events import Listener, Note
from burnish.runs.folder import RunFolder, result_of
from burnish.runs.lock import lock_for


def eject(
    folder: RunFolder, out: Path | None = None, listeners: Iterable[Listener] = (), base_model: str | None = None
) -> tuple[Path, Path]:
    """Writes the script, and next to it the rows as tokens in the run's order.

    Args:
        folder: of the run.
        out: the script; None for `eject.py` in the run folder.
        listeners: receive every event.
        base_model: folder of its base model, if it has been moved.

    Returns:
        The script and the file of rows.

    Raises:
        InputError: the run has no result, trl or peft has no equivalent, or a file already exists.
        DataError: the data has changed.
        ModelError: the base model has changed.
    """
    script = folder.path / "eject.py" if out is None else out
    rows_file = script.with_name(f"{script.stem}_rows.jsonl")
    with lock_for(folder.path, script, "ejected"):
        return _eject(folder, open_recipe(folder, base_model), script, rows_file, EventLog(None, listeners))


def _eject(folder: RunFolder, recipe: Recipe, script: Path, rows_file: Path, emit: EventLog) -> tuple[Path, Path]:
    result = result_of(folder)
    check_present(folder, recipe)
    check_ejectable(recipe.task, recipe.method, recipe.lora, recipe.train, recipe.optimization, recipe.preference)
    check_whole(folder, "cannot be written as a script")
    if recipe.start.how == CONTINUE:
        raise InputError(
            f"the run `{folder.name}` cannot be written as a script",
            "It continues an adapter that was trained before, and such a script begins a new one.",
            "Write the run that it started from, or train with `--set start.how=merge`",
        )
    if script.suffix != ".py":
        raise InputError(
            f"`{script}` does not end in .py", "The script is written in Python.", f"Use `--out {script.stem}.py`"
        )
    check_target(script)
    if rows_file.exists() and not _may_be_left_over(rows_file):
        check_target(rows_file)
    records = rows_of(folder, recipe, "Restore the data", emit)
    context = open_context(recipe, replace(records, valid=[]), emit)
    check_base(folder, context.location)
    context = encode(context)
    plan = context.batch_plan(context.training)
    cycles = cycles_of(read_events(folder.events))
    planned = total_steps(recipe, plan.steps_per_epoch)
    steps = last_step(planned, cycles)
    facts = Ejected(
        run=folder.name,
        task=recipe.task,
        method=recipe.method,
        seed=recipe.seed,
        packing=recipe.data.packing,
        model=recipe.model,
        train=recipe.train,
        lora=recipe.lora,
        preference=recipe.preference,
        base=context.location.name if context.location.is_hub else str(context.location.folder.resolve()),
        rows_file=rows_file.name,
        device=context.device.type,
        pad_id=context.tokenizer.pad_token_id,
        total_steps=steps,
        cycles=[Cycle(0, planned), *cycles],
        kept_step=_kept_step(folder, steps),
        steps_per_epoch=plan.steps_per_epoch,
        rows_per_step=plan.rows_per_step,
        micro_rows=micro_rows(plan, int(recipe.batch.rows)),
        adapter=_adapter(result),
        no_dropout=_no_dropout(context),
        left_whole=unquantized(context),
    )
    rows = rows_by_step(plan, steps)
    if rows_file.exists() and rows_file.read_bytes() != json_lines(rows):  # not left by an eject that was killed
        check_target(rows_file)
    write_json_lines(rows_file, rows)
    write_text(script, write_script(facts))
    if recipe.lora.dropout and not context.method.trains_base:
        emit(Note("Dropout draws different random numbers there, so the losses will be close but not identical."))
    return script, rows_file


def _may_be_left_over(rows_file: Path) -> bool:
    """Whether a file begins as one of an eject that was killed; whether it is one is known when the rows are."""
    if not rows_file.is_file():
        return False
    with rows_file.open("rb") as file:
        return file.read(max(map(len, ROWS_BEGIN))).startswith(ROWS_BEGIN)


def _kept_step(folder: RunFolder, steps: int) -> int:
    """The step whose weights are the result, from the run's last `Finished` event."""
    steps_kept = [line["best_step"] for line in read_events(folder.events) if line["event"] == "Finished"]
    return steps_kept[-1] if steps_kept else steps


def _adapter(result: Path) -> dict[str, Any]:
    file = result / "adapter_config.json"
    return read_json_object(file, "Restore the file from a copy, or train again") if file.is_file() else {}


def _no_dropout(context: RunContext) -> dict[str, Any]:
    """Dropout options of the base model's config that the run set to zero."""
    if loading_for(context.method, context.recipe, context.device).has_dropout:
        return {}
    without = vars(without_dropout(context.config))
    return {
        name: without[name] for name, value in vars(context.config).items() if "drop" in name and without[name] != value
    }
