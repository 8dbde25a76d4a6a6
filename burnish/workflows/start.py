"""What a run starts from is made ready: a checkpoint gets its result, and an adapter is merged into its base.

A merged model is written once, into `.merged` beside the run folders, and every run that starts from the same weights
uses it as its base model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from burnish.engine.process import Process
from burnish.errors import BurnishError
from burnish.export.merge import Tolerance, check_unquantized, difference, saved_dtype
from burnish.lineage.chain import weights_hash
from burnish.lineage.kept import ready_result
from burnish.lineage.manifest import check_base
from burnish.methods import least_copies
from burnish.methods.adapter import fixed_outputs
from burnish.models.config import model_kind
from burnish.models.device import PRECISIONS, choose_device, choose_precision, free_memory
from burnish.models.location import ModelLocation, has_tokenizer, locate_model, read_config
from burnish.prepare.bare import bare_context
from burnish.prepare.context import Emit, RunContext
from burnish.prepare.start import Start, find_start, settle_start
from burnish.recipe.schema import Recipe
from burnish.recipe.section import CONTINUE
from burnish.runs.atomic import write_folder, write_json
from burnish.runs.events import Note, Stage
from burnish.tasks import RUNNING_TEXT, task_facts, task_names
from burnish.visible import parse_json
from burnish.workflows.merge import load_folded, write_folded

MERGED = ".merged"
"""Folder beside the run folders that holds the merged models that runs start from."""
_RECORD = "merge.json"


def begin_from(recipe: Recipe, origins: Mapping[str, str], emit: Emit, process: Process) -> Recipe:
    """The recipe of a new run, whose base model is one that can be loaded.

    Args:
        recipe: may name a run, a checkpoint or an adapter as its model.
        origins: where each option came from.
        emit: receives every event.
        process: of those that train the run together: the first of each machine writes what is missing.

    Raises:
        InputError: what it starts from cannot be used.
        ModelError: its base model is missing, or another one.
        BurnishError: the merged model gives other outputs than base and adapter.
    """
    recipe = settle_start(recipe, origins, emit)
    start = find_start(recipe) if recipe.start.path is not None else None
    if start is None:
        return recipe
    with process.first_of_node():
        if start.run is not None:
            ready_result(start.run, emit, None if start.base == recipe.model.name else recipe.model.name)
        if least_copies(start.method):
            recipe = recipe.with_options(model={"name": str(start.folder), "revision": None})
        elif recipe.start.how != CONTINUE:
            recipe = recipe.with_options(model={"name": str(_merged(start, recipe, emit)), "revision": None})
        elif start.run is not None:
            check_base(start.run, locate_model(recipe.model))
    emit(Note(f"Training goes on from {start.called}, which is what the result is compared with."))
    return recipe


def _merged(start: Start, recipe: Recipe, emit: Emit) -> Path:
    """The folder of the base model with the adapter merged into it; written unless it is there."""
    source = weights_hash(start.folder)
    if _is_merged(Path(recipe.model.name), source):
        return Path(recipe.model.name)
    section = recipe.model
    precision = choose_precision(section.precision, choose_device(section.device))[0]
    location = locate_model(section)
    # a run that computes in fp32 begins with exactly what was trained; one in fewer bits would round it anyway
    dtype = torch.float32 if precision == "fp32" else saved_dtype(location.folder)
    name = next(name for name, known in PRECISIONS.items() if known == dtype)
    stem = start.run.name if start.run else Path(start.path).name
    target = (Path(recipe.runs) / MERGED / f"{stem}-{source[:12]}-{name}").absolute()
    if not _is_merged(target, source):
        _merge(start, recipe, target, source, dtype, emit)
    return target


def _is_merged(folder: Path, source: str) -> bool:
    """Whether a folder holds a model into which these weights were merged."""
    try:
        return parse_json((folder / _RECORD).read_text(encoding="utf-8")).get("start") == source
    except (OSError, ValueError, AttributeError):
        return False


def _merge(start: Start, recipe: Recipe, target: Path, source: str, dtype: torch.dtype, emit: Emit) -> None:
    context = _context_of(start, recipe, emit)
    if start.run is not None:
        check_base(start.run, context.location)
    check_unquantized(context.config, context.location.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    precision = next(name for name, known in PRECISIONS.items() if known == dtype)
    with write_folder(target) as written:
        tuned, _ = write_folded(written, context, start.folder, _outputs, dtype)
        emit(Stage("verifying the merged model"))
        apart = difference(tuned, _outputs(load_folded(written, context, dtype)))
        allowed = Tolerance.of(precision, tuned)
        if not allowed.admits(apart):
            raise BurnishError(
                f"merging {start.called} gives different outputs than its base with the adapter",
                f"Their logits differ by {apart.mean:.2g} on average; rounding to {precision} explains "
                f"{allowed.mean:.2g}. Nothing was written.",
                "Train in fp32, `--set model.precision=fp32`, or start from the base model",
            )
        record = {"start": source, "from": start.path, "base": context.location.name, "precision": precision}
        write_json(written / _RECORD, {**record, "merged": apart.to_dict()})
    free_memory()
    emit(Note(f"Its adapter was merged into the base model first: `{target}`, verified in {precision}."))


def _outputs(network: Any) -> list[torch.Tensor]:
    network.eval()
    return [logits.float().cpu() for logits in fixed_outputs(network)]


def _context_of(start: Start, recipe: Recipe, emit: Emit) -> RunContext:
    """Enough of a run to load the base model with the adapter."""
    section = recipe.model
    if start.recipe is not None:
        of_run = start.recipe.model_copy(update={"model": section})
    else:
        kind = model_kind(read_config(locate_model(section), section))
        writing = [name for name in task_names() if task_facts(name).generates and kind in task_facts(name).kinds]
        task = RUNNING_TEXT if RUNNING_TEXT in writing else (writing or [RUNNING_TEXT])[-1]
        of_run = Recipe(task=task, method=start.method, model=section)
    beside = ModelLocation(section.name, start.folder, False) if has_tokenizer(start.folder) else None
    return bare_context(of_run, emit, beside)
