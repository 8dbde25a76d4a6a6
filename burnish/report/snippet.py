"""Code that uses a run's result without Burnish: plain transformers, and peft where the result is an adapter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from burnish.recipe.schema import BUNDLED_MODELS
from burnish.report.record import RunRecord, is_local
from burnish.tasks import task_facts
from burnish.templates import render

_USUAL_LENGTH = 200
"""Tokens of an answer, for runs that were not evaluated with generated answers."""


def use_snippet(record: RunRecord, result: str) -> str:
    """A script that loads the result and asks it something.

    Args:
        record: of a run that has a result.
        result: how the script names the folder of the result.

    Returns:
        The script; empty for tasks whose inputs take more than a few lines to prepare.
    """
    folder = record.folder.result
    if folder is None:
        return ""
    task, closes = task_facts(record.task), closes_texts(folder)
    template = task.snippets[0 if closes else 1]
    if not template:
        return ""
    most = record.option("evaluate.max_new_tokens")
    base = str(record.option("model.name"))
    return render(
        f"snippet/{template}.py",
        result=result,
        base_name=record.base,
        base_is_folder=is_local(base) or base in BUNDLED_MODELS,
        is_whole=folder == record.folder.model,
        generates=task.generates,
        closes_texts=closes,
        labels=record.labels,
        max_new_tokens=most if isinstance(most, int) else _USUAL_LENGTH,
        option=record.option,
    ).rstrip()


def closes_texts(result: Path) -> bool:
    """Whether the tokenizer in a folder ends a text by itself, as those of encoders do (`[CLS] text [SEP]`)."""
    try:
        processor = json.loads((result / "tokenizer.json").read_text(encoding="utf-8")).get("post_processor")
    except (OSError, ValueError):
        return False
    return any(_closes(step) for step in (processor or {}).get("processors", [processor or {}]))


def _closes(processor: dict[str, Any]) -> bool:
    kind = processor.get("type")
    if kind != "TemplateProcessing":
        return kind in ("BertProcessing", "RobertaProcessing")
    single = processor.get("single", [])
    return bool(single) and "SpecialToken" in single[-1]
