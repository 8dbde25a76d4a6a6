"""`burnish merge`: folds the adapter of a run into its base, and verifies that the merged model gives the same logits.

base and adapter: logits ─► fold ─► save ─► load with transformers: logits ─► compare ─► move the folder into place
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from burnish.data.batching.batches import Batch
from burnish.errors import BurnishError, InputError
from burnish.export.merge import (
    Merged,
    Tolerance,
    check_unquantized,
    difference,
    fold,
    logits_of,
    row_batches,
    saved_dtype,
)
from burnish.lineage.kept import ready_result
from burnish.lineage.manifest import check_base, rows_of
from burnish.lineage.saved_recipe import check_present, open_recipe
from burnish.models.base import Loading, load_base, quiet_transformers
from burnish.models.device import PRECISIONS, free_memory
from burnish.models.location import ModelLocation
from burnish.models.tokenizer import save_tokenizer
from burnish.prepare.context import RunContext, encode, open_context
from burnish.prepare.model import loading_for, open_result
from burnish.prepare.result import set_generation
from burnish.recipe.schema import AUTO, Recipe
from burnish.runs.atomic import check_target, write_folder, write_json
from burnish.runs.event_log import EventLog
from burnish.runs.events import Listener, Stage, Warned
from burnish.runs.folder import RunFolder
from burnish.runs.lock import lock_for

Outputs = Callable[[Any], list[torch.Tensor]]
"""The outputs of a network that are compared before and after."""


def merge(
    folder: RunFolder,
    out: Path | None = None,
    precision: str = AUTO,
    listeners: Iterable[Listener] = (),
    base_model: str | None = None,
) -> Merged:
    """Writes the run's model as a standalone transformers folder, and verifies it on held-out rows.

    At most one model is in memory at a time.

    Args:
        folder: of the run.
        out: folder to write; None for `merged` in the run folder.
        precision: of the merged weights; `auto` for that of the base model's files.
        listeners: receive every event.
        base_model: folder of its base model, if it has been moved.

    Raises:
        InputError: the run has no result, nothing to fold in, or weights that cannot be folded in; or `out` exists.
        Locked: it would be written into the run folder, and another process writes there.
        BurnishError: the merged model gives different logits; nothing is written.
    """
    target = folder.merged if out is None else out
    with lock_for(folder.path, target, "merged"):
        recipe, emit = open_recipe(folder, base_model), EventLog(None, listeners)
        return write_merged(folder, recipe, target, precision, emit, base_model)


def write_merged(
    folder: RunFolder, recipe: Recipe, target: Path, precision: str, emit: EventLog, base_model: str | None = None
) -> Merged:
    """`merge` for a run whose recipe is open, and whose folder no other process writes."""
    result = ready_result(folder, emit, base_model)
    check_present(folder, recipe)
    check_target(target)
    otherwise = "Restore the data: the merged model is verified on these rows"
    records = rows_of(folder, recipe, otherwise, emit)
    context = open_context(recipe, records, emit)
    _check_method(folder, context, result)
    check_base(folder, context.location)
    check_unquantized(context.config, context.location.name)
    dtype = saved_dtype(context.location.folder) if precision == AUTO else PRECISIONS[precision]
    context.task.encoder.disable_packing()
    context = encode(
        replace(context, records=replace(records, train=[], valid=records.valid or records.train, test=[]))
    )
    batches = row_batches(context.task.encoder, context.validation.examples)
    if not batches:
        raise InputError("no row is left to verify the merged model on", "", "Restore the data")

    as_trained = _quantized_logits(context, result, batches)
    with write_folder(target) as written:
        outputs = partial(logits_of, batches=batches, precision=_name(dtype))
        tuned, base = write_folded(written, context, result, outputs, dtype)
        emit(Stage("verifying the merged model"))
        found = outputs(load_folded(written, context, dtype))
        merged = Merged(
            run=folder.name,
            base=context.location.name,
            method=context.method.name,
            precision=_name(dtype),
            rows=len(batches),
            positions=sum(len(piece) for piece in tuned),
            merged=difference(tuned, found),
            tolerance=Tolerance.of(_name(dtype), tuned),
            learned=difference(base, tuned) if base else None,
            quantized=difference(as_trained, found) if as_trained else None,
            folder=str(target),
        )
        merged.check()
        write_json(written / "merge.json", merged.to_dict())
    for remark in merged.remarks:
        emit(Warned(remark))
    return merged


def _check_method(folder: RunFolder, context: RunContext, result: Path) -> None:
    method = context.method
    if method.trains_base:
        raise InputError(
            f"the run `{folder.name}` has nothing to merge",
            f"The method `{method.name}` trained the base itself, so its result is already a full model.",
            f"Use it as it is: `--model {result}`",
        )
    if not method.can_merge:
        raise InputError(
            f"what the method `{method.name}` trains cannot be merged into a model",
            "It is a prefix to the text, which no weight of the base can replace.",
            f"Use the adapter as it is, `{result}`; or train again with `--method lora`",
        )


def _quantized_logits(context: RunContext, result: Path, batches: Sequence[Batch]) -> list[torch.Tensor]:
    """Logits of base and adapter as trained, if that base was quantized; otherwise nothing."""
    if loading_for(context.method, context.recipe, context.device).quantization is None:
        return []
    network = open_result(context, result)
    found = logits_of(network, batches, context.recipe.model.precision)
    del network
    free_memory()
    return found


@dataclass(slots=True)
class _Opening:
    """Loads the full-precision base, and records the dtype of each parameter."""

    context: RunContext
    dtype: torch.dtype
    held: dict[str, torch.dtype]

    def __call__(self, where: ModelLocation) -> Any:
        """The network at a location."""
        context, loading = self.context, Loading(self.dtype, has_dropout=True)
        section, head = context.recipe.model, context.task.objective.head
        base = load_base(where, section, context.tokenizer, context.device, loading, head)
        if base.unloaded:
            context.emit(Warned(base.unloaded))
        named = base.network.named_parameters(remove_duplicate=False)  # tied matrices may be untied
        self.held.update({name: parameter.dtype for name, parameter in named})
        return base.network


def write_folded(
    written: Path, context: RunContext, result: Path, outputs: Outputs, dtype: torch.dtype
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Writes the merged model. Returns the outputs of base and adapter, and of the base alone if available.

    Args:
        written: an empty folder.
        context: of the run; it needs no rows.
        result: folder of the adapter.
        outputs: gives the outputs of a network that are compared.
        dtype: of the merged weights.
    """
    context.emit(Stage("merging the adapter into its base"))
    load = _Opening(context, dtype, {})
    tuned = context.method.open(load, context.location, result)
    logits, base = outputs(tuned), []
    without = context.method.without(tuned)
    if without is not None:
        with without:
            base = outputs(tuned)
    network = fold(tuned, load.held)
    set_generation(network, context)
    with quiet_transformers():
        network.save_pretrained(str(written))
    save_tokenizer(context.tokenizer, written)
    context.task.predictor.save_extras(written)
    del tuned, network
    free_memory()
    return logits, base


def load_folded(written: Path, context: RunContext, dtype: torch.dtype) -> Any:
    """The merged model, loaded with plain transformers.

    Raises:
        BurnishError: transformers reports missing or unexpected weights.
    """
    import transformers

    with quiet_transformers():
        network, report = getattr(transformers, context.task.objective.head.auto_class).from_pretrained(
            str(written),
            dtype=dtype,
            trust_remote_code=context.recipe.model.trust_remote_code,
            local_files_only=True,
            output_loading_info=True,
        )
    wrong = sorted({*report["missing_keys"], *report["unexpected_keys"]})
    if wrong:
        raise BurnishError(
            "the merged model cannot be loaded as it was saved",
            f"Missing or unexpected tensors: {len(wrong)}, the first is `{wrong[0]}`. Nothing was written.",
            "Use the adapter as it is",
        )
    return network.to(context.device)


def _name(dtype: torch.dtype) -> str:
    return next(name for name, known in PRECISIONS.items() if known == dtype)
