"""`burnish merge`: the adapter of a run folded into its base, and the proof that both answer alike.

base and adapter: logits ─► fold ─► save ─► load anew, plainly: logits ─► compare ─► folder takes its place
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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
from burnish.lineage.manifest import check_base, result_of, rows_of
from burnish.models.base import Loading, load_base, quiet_transformers
from burnish.models.device import PRECISIONS, free_memory
from burnish.models.location import ModelLocation
from burnish.prepare.context import RunContext, encode, open_context
from burnish.prepare.model import loading_for, open_result, set_stop_tokens
from burnish.recipe.load import recipe_from_saved
from burnish.recipe.schema import AUTO
from burnish.runs.atomic import check_target, write_folder, write_json
from burnish.runs.events import EventLog, Listener, Stage, Warned
from burnish.runs.folder import RunFolder


def merge(
    folder: RunFolder, out: Path | None = None, precision: str = AUTO, listeners: Iterable[Listener] = ()
) -> Merged:
    """Writes the run's model as a transformers folder of its own, and verifies it on held-out rows.

    Never more than one model is in memory.

    Args:
        folder: of the run.
        out: folder to write; None for `merged` in the run folder.
        precision: number format of the merged weights; `auto` for that of the base model's files.
        listeners: told of every event.

    Raises:
        InputError: the run has no result, nothing to fold in, or something that cannot be folded in; or `out` is there.
        BurnishError: the merged model answers in another way; nothing is written.
    """
    target = folder.path / "merged" if out is None else out
    result = result_of(folder)
    recipe = recipe_from_saved(folder.recipe)
    emit = EventLog(None, listeners)
    check_target(target)
    otherwise = "Put the data back as it was: the merged model is verified on these rows"
    records = rows_of(folder, recipe, otherwise, emit)
    context = open_context(recipe, records, emit)
    _check_method(folder, context, result)
    check_base(folder, context.location)
    check_unquantized(context.config, context.location.name)
    dtype = saved_dtype(context.location.folder) if precision == AUTO else PRECISIONS[precision]
    context.task.encoder.disable_packing()
    context = encode(replace(context, records=replace(records, train=[], valid=records.valid or records.train)))
    batches = row_batches(context.task.encoder, context.validation.examples)
    if not batches:
        raise InputError("no row is left to verify the merged model on", "", "Put the data back as it was")

    as_trained = _quantized_logits(context, result, batches)
    with write_folder(target) as written:
        tuned, base = _write_merged(written, context, result, batches, dtype)
        emit(Stage("verifying the merged model"))
        found = logits_of(_load_plainly(written, context, dtype), batches, _name(dtype))
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
            f"the run `{folder.name}` has nothing to fold in",
            f"The method `{method.name}` trained the base itself, so its result is a whole model already.",
            f"Use it as it is: `--model {result}`",
        )
    if not method.can_merge:
        raise InputError(
            f"what the method `{method.name}` trains cannot be folded into a model",
            "It is put before the text, and no weight of the base could do the same.",
            f"Use the adapter as it is, `{result}`; or train again with `--method lora`",
        )


def _quantized_logits(context: RunContext, result: Path, batches: Sequence[Batch]) -> list[torch.Tensor]:
    """What base and adapter answer as they were trained, where that base was quantized; else nothing."""
    if loading_for(context.method, context.recipe, context.device).quantization is None:
        return []
    network = open_result(context, result)
    found = logits_of(network, batches, context.recipe.model.precision)
    del network
    free_memory()
    return found


@dataclass(slots=True)
class _Opening:
    """Loads the full-precision base, and remembers how its parameters are held."""

    context: RunContext
    dtype: torch.dtype
    held: dict[str, torch.dtype]

    def __call__(self, where: ModelLocation) -> Any:
        """The network that lies somewhere."""
        context, loading = self.context, Loading(self.dtype, has_dropout=True)
        section, head = context.recipe.model, context.task.objective.head
        base = load_base(where, section, context.tokenizer, context.device, loading, head)
        named = base.network.named_parameters(remove_duplicate=False)  # a tied matrix may get a twin of its own
        self.held.update({name: parameter.dtype for name, parameter in named})
        return base.network


def _write_merged(
    written: Path, context: RunContext, result: Path, batches: Sequence[Batch], dtype: torch.dtype
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Writes the merged model; the logits of base and adapter, and those of the base where it can be had."""
    context.emit(Stage("folding the adapter in"))
    load = _Opening(context, dtype, {})
    tuned = context.method.open(load, context.location, result)
    logits, base = logits_of(tuned, batches, _name(dtype)), []
    without = context.method.without(tuned)
    if without is not None:
        with without:
            base = logits_of(tuned, batches, _name(dtype))
    network = fold(tuned, load.held)
    set_stop_tokens(network, context)
    with quiet_transformers():
        network.save_pretrained(str(written))
    context.tokenizer.save_pretrained(str(written))
    context.task.predictor.save_extras(written)
    del tuned, network
    free_memory()
    return logits, base


def _load_plainly(written: Path, context: RunContext, dtype: torch.dtype) -> Any:
    """The merged model as any program would load it.

    Raises:
        BurnishError: transformers finds weights missing, or some too many.
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
            "the merged model does not load as it was saved",
            f"{len(wrong)} tensors are missing or have no place, the first is `{wrong[0]}`. Nothing was written.",
            "Use the adapter as it is",
        )
    return network.to(context.device)


def _name(dtype: torch.dtype) -> str:
    return next(name for name, known in PRECISIONS.items() if known == dtype)
