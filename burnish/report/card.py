"""The model card: what stands beside the weights, for whoever is given them. It names no path of this machine."""

from __future__ import annotations

import re
from typing import Any

from burnish.methods import make_method
from burnish.recipe.names import options, shown
from burnish.report.figures import figure_cells, figures_beside
from burnish.report.outcome import verdict_of
from burnish.report.record import RunRecord, bare_name, is_local
from burnish.report.snippet import use_snippet
from burnish.tasks import task_class

_OWN_PLACES = ("name", "runs", "model.name", "data.path", "data.validation")
"""Options that say where things lie on the machine that it was trained on."""
_MOST_LABELS = 40


def model_card(record: RunRecord) -> str:
    """The card as Markdown, with front matter in the hub's form.

    Args:
        record: of a run that has a result.
    """
    is_whole = record.folder.result == record.folder.model
    parts = [
        _front_matter(record, is_whole),
        f"# {record.name}",
        _what_it_is(record, is_whole),
        f"**{_plain(verdict_of(record))}**",
        _figures(record),
        _data(record),
        _use(record),
        _options(record),
        _limits(record),
        _versions(record),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(record: RunRecord, is_whole: bool) -> str:
    import yaml

    told: dict[str, Any] = {
        "base_model": record.base,
        "base_model_relation": "finetune" if is_whole else "adapter",
        "library_name": "transformers" if is_whole else "peft",
        "pipeline_tag": task_class(record.task).pipeline,
        "tags": ["burnish", record.task, record.method],
    }
    data = str(record.option("data.path") or "")
    if data and not is_local(data):
        told["datasets"] = [data]
    return f"---\n{yaml.safe_dump(told, sort_keys=False, allow_unicode=True)}---"


def _what_it_is(record: RunRecord, is_whole: bool) -> str:
    model = record.last("ModelReady")
    kind = "A model" if is_whole else "An adapter"
    base = f"{_code(record.base)} trained further" if is_whole else f"for the base model {_code(record.base)}"
    learned = task_class(record.task).learned
    size = (
        f" The method `{record.method}` trained {model['trained_parameters']:,} of {model['parameters']:,} parameters."
        if model
        else ""
    )
    joined = f"{kind}: {base}" if is_whole else f"{kind} {base}"
    return f"{joined}, which {learned} (task `{record.task}`).{size} Made with Burnish."


def _figures(record: RunRecord) -> str:
    figures = record.evaluation.get("figures", [])
    shown = [*figures, *figures_beside(record.evaluation), *record.evaluation.get("harness", ())]
    if not shown:
        return ""
    lines = ["| figure | base | tuned | change |", "|---|---:|---:|---:|"]
    for cells in figure_cells(shown, record.evaluation["rows"]):
        lines.append("| " + " | ".join(map(_plain, cells)) + " |")
    judged = f"On {record.evaluation['rows']:,} rows that were not trained on. " if figures else ""
    rows = f"{judged}In brackets: the 95 % interval."
    notes = [_plain(record.evaluation.get(name, "")) for name in ("note", "by_heart")]
    said = [line for note in notes if note for line in ("", note)]
    return "\n".join(["## Figures", "", rows, "", *lines, *said])


def _data(record: RunRecord) -> str:
    ready, told = record.last("DataReady"), record.manifest.get("data", {})
    shape = f", rows of the shape {_code(ready['shape'])}" if ready else ""
    lines = ["## Data", "", f"- {_code(record.data)}{shape}"]
    if ready:
        lines += [
            f"- {ready['training_rows']:,} rows trained on, {ready['validation_rows']:,} held out, "
            f"{ready['rejected_rows']:,} left out",
            f"- {ready['tokens']:,} tokens an epoch; {ready['trained_tokens']:,} terms of the loss",
        ]
    if told.get("sha256"):
        lines.append(f"- SHA-256 of the rows: `{told['sha256']}`")
    if record.labels:
        named = ", ".join(_code(label) for label in record.labels[:_MOST_LABELS])
        more = " …" if len(record.labels) > _MOST_LABELS else ""
        lines.append(f"- {len(record.labels):,} labels: {named}{more}")
    return "\n".join(lines)


def _use(record: RunRecord) -> str:
    snippet = use_snippet(record, ".")
    if not snippet:
        told = 'With Burnish, from the run folder that this folder lies in: `burnish generate RUN "..."`.'
        return f"## How to use it\n\n{told}"
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", snippet)), default=0))
    told = "Run in this folder, or put its path in the place of `.`:"
    return f"## How to use it\n\n{told}\n\n{fence}python\n{snippet}\n{fence}"


def _options(record: RunRecord) -> str:
    """The options that differ from their defaults, as far as they say nothing of the machine."""
    lines = []
    for name, field in options().items():
        value, default = record.option(name), field.get_default(call_default_factory=True)
        if name in _OWN_PLACES or name == "data.labels" or value is None or shown(value) == shown(default):
            continue
        lines.append(f"- `{name}`: {_code(shown(_nameless(value)))}")
    return "\n".join(["## Training options", "", "Those that differ from Burnish's defaults.", "", *lines])


def _limits(record: RunRecord) -> str:
    rows = record.evaluation.get("rows", 0)
    judged = (
        f"It was judged on {rows:,} rows ({record.evaluation['held_out']}). On other texts it may do worse, and what "
        "was not measured is not known."
        if rows
        else "It was judged on no rows, so nothing is known of how well it does."
    )
    quantized = (
        " It was trained beside a base in fewer bits; with the base in full precision it answers a little differently."
        if make_method(record.method).quantizes
        else ""
    )
    return (
        f"## Limits\n\n{judged}{quantized} Whatever is wrong with the base model, or with the rows, is likely to show "
        "in it, too. Its licence follows from those of the base model and of the data, which this card does not know."
    )


def _versions(record: RunRecord) -> str:
    versions = record.manifest.get("versions", {})
    told = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    base = record.manifest.get("model", {}).get("sha256")
    precision, seed = (record.manifest.get(name, "?") for name in ("precision", "seed"))
    lines = [f"- {told}", f"- precision {precision}, seed {seed}"]
    if base:
        lines.append(f"- SHA-256 of the base model's files: `{base}`")
    return "\n".join(["## Versions", "", *lines])


def _nameless(value: Any) -> Any:
    """A value without the folders of this machine."""
    if isinstance(value, str):
        return bare_name(value)
    return [_nameless(inner) for inner in value] if isinstance(value, list) else value


def _plain(text: str) -> str:
    """A sentence from the run, on one line, in which nothing is HTML and nothing ends a cell of a table."""
    return " ".join(text.split()).replace("<", "\\<").replace("|", "\\|")


def _code(text: str) -> str:
    """Words from the run, on one line and as they are: nothing in them is Markdown."""
    return f"`{' '.join(text.split()).replace(chr(96), chr(39))}`"
