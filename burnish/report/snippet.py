"""Code that uses a run's result without Burnish: plain transformers, and peft where the result is an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from burnish.methods import make_method
from burnish.models.location import chat_templates
from burnish.recipe.schema import BUNDLED_MODELS
from burnish.report.record import RunRecord, is_local
from burnish.tasks import task_facts
from burnish.templates import render
from burnish.visible import parse_json

_USUAL_LENGTH = 200
"""Tokens of an answer, for runs that were not evaluated with generated answers."""


def use_snippet(record: RunRecord, result: str) -> str:
    """A script that loads the result and asks it something, in the precision in which it was evaluated.

    Args:
        record: of a run that has a result.
        result: how the script names the folder of the result.

    Returns:
        The script; empty for a task from outside the package that has none.
    """
    folder = record.folder.result
    if folder is None:
        return ""
    task = task_facts(record.task)
    template = task.snippets[0 if closes_texts(folder) and not chat_templates(folder) else 1]
    if not template:
        return ""
    most = record.option("evaluate.max_new_tokens")
    base = str(record.option("model.name"))
    precision = str(record.manifest.get("precision") or record.option("model.precision"))
    dtype = _DTYPES.get(precision, "float32")
    return render(
        f"snippet/{template}.py",
        result=result,
        base_name=record.base,
        base_is_folder=is_local(base) or base in BUNDLED_MODELS,
        is_whole=folder == record.folder.model,
        is_fast=(folder / "tokenizer.json").is_file(),
        generates=task.generates,
        opens_texts=opens_texts(folder),
        labels=record.labels,
        max_new_tokens=most if isinstance(most, int) else _USUAL_LENGTH,
        bits=make_method(record.method).bits,
        left_whole=record.manifest.get("model", {}).get("unquantized"),
        dtype=dtype,
        inference="torch.no_grad()" + (f", torch.autocast(model.device.type, torch.{dtype})" if dtype in _HALF else ""),
        option=record.option,
    ).strip()


_DTYPES = {"bf16": "bfloat16", "fp16": "float16"}
_HALF = tuple(_DTYPES.values())


def closes_texts(result: Path) -> bool:
    """Whether the tokenizer in a folder ends a text by itself, as those of encoders do (`[CLS] text [SEP]`)."""
    return any(_has_special(step, -1) for step in _steps(result))


def opens_texts(result: Path) -> bool:
    """Whether the tokenizer in a folder puts a special token before a text, such as BOS."""
    return any(_has_special(step, 0) for step in _steps(result))


def _steps(result: Path) -> list[dict[str, Any]]:
    """The post-processors of the tokenizer in a folder."""
    try:
        processor = parse_json((result / "tokenizer.json").read_text(encoding="utf-8")).get("post_processor")
    except (OSError, ValueError):
        return []
    return (processor or {}).get("processors", [processor or {}])


def _has_special(processor: dict[str, Any], place: int) -> bool:
    """Whether a post-processor adds a special token as the first (0) or last (-1) of a text."""
    kind = processor.get("type")
    if kind != "TemplateProcessing":
        return kind in ("BertProcessing", "RobertaProcessing")
    single = processor.get("single", [])
    return bool(single) and "SpecialToken" in single[place]
