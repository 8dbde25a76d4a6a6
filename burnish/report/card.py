"""The model card: what is known of a result, for whoever is given its folder. It names no path of this machine."""

from __future__ import annotations

import re
from typing import Any

from burnish.methods import make_method
from burnish.recipe.names import options, shown
from burnish.report.figures import counted, exported_cells, figure_cells, figures_beside, row_of
from burnish.report.outcome import verdict_of
from burnish.report.record import RunRecord, bare_name, is_local
from burnish.report.snippet import use_snippet
from burnish.runs.description import chain_in_words, data_in_words
from burnish.tasks import task_facts
from burnish.templates import render, yaml_text

_OWN_PLACES = ("name", "runs", "model.name", "start.path", "data.path", "data.validation", "data.test")
"""Options that hold paths of the machine that it was trained on."""
_MOST_LABELS = 40


def model_card(record: RunRecord) -> str:
    """The card as Markdown, with front matter in the hub's form.

    Args:
        record: of a run that has a result.
    """
    evaluation, manifest = record.evaluation, record.manifest
    snippet = use_snippet(record, ".")
    task = task_facts(record.task)
    metrics = [*evaluation.get("figures", []), *figures_beside(evaluation), *evaluation.get("harness", ())]
    rows = evaluation.get("rows", 0)
    versions = manifest.get("versions", {})
    return render(
        "card.md",
        front_matter=_front_matter(record),
        name=record.name,
        is_whole=_is_whole(record),
        base=record.base,
        chain=chain_in_words(manifest),
        learned=task.learned,
        task=record.task,
        method=record.method,
        sizes=record.last("ModelReady"),
        verdict=verdict_of(record),
        metrics=figure_cells(metrics, rows),
        num_evaluated=counted(rows, row_of(evaluation)) if rows else "",
        held_out=evaluation.get("held_out", ""),
        notes=[evaluation[name] for name in ("caveat", "note", "by_heart") if evaluation.get(name)],
        data=record.data,
        rows=record.last("DataReady"),
        data_sha256=manifest.get("data", {}).get("sha256"),
        num_labels=len(record.labels),
        labels=record.labels[:_MOST_LABELS],
        snippet=snippet,
        exports=[exported_cells(one) for one in record.exports],
        fence="`" * max(3, 1 + max((len(run) for run in re.findall("`+", snippet)), default=0)),
        options=_options(record),
        is_quantized=make_method(record.method).quantizes,
        versions=", ".join(f"{name} {version}" for name, version in versions.items() if version),
        precision=manifest.get("precision", "?"),
        seed=manifest.get("seed", "?"),
        base_sha256=manifest.get("model", {}).get("sha256"),
    )


def _is_whole(record: RunRecord) -> bool:
    """Whether the result is a model, rather than an adapter."""
    return record.folder.result == record.folder.model


def _front_matter(record: RunRecord) -> str:
    values: dict[str, Any] = {
        "base_model": record.base,
        "base_model_relation": "finetune" if _is_whole(record) else "adapter",
        "library_name": "transformers" if _is_whole(record) else "peft",
        "pipeline_tag": task_facts(record.task).pipeline,
        "tags": ["burnish", record.task, record.method],
    }
    names = data_in_words(record.option("data.path")).split(", ")
    if hub := [name for name in names if name and not is_local(name)]:
        values["datasets"] = hub
    return yaml_text(values)


def _options(record: RunRecord) -> list[tuple[str, str]]:
    """The options that differ from their defaults, without those that only say where files are."""
    found = []
    for name, field in options().items():
        value, default = record.option(name), field.get_default(call_default_factory=True)
        if name in _OWN_PLACES or name == "data.labels" or value is None or shown(value) == shown(default):
            continue
        found.append((name, shown(_without_folders(value))))
    return found


def _without_folders(value: Any) -> Any:
    """A value without the folders of this machine."""
    if isinstance(value, str):
        return bare_name(value)
    return [_without_folders(inner) for inner in value] if isinstance(value, list) else value
