"""Exports of runs: `burnish export` and `burnish merge` in processes of their own, found again after a restart.

exports/RUN-WHAT.json       the process
exports/RUN-WHAT-out.json   what it said at its end
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from burnish.jobs.children import Children, child_of
from burnish.jobs.job import read_json
from burnish.runs.atomic import write_json

MERGE = "merge"
WRITING_FORMS = ("gguf", "ollama", "mlx")
"""For programs that only write text."""
ANY_FORMS = ("hf", "vllm")
FORMS = {
    MERGE: "One model for transformers, with the adapter merged",
    "gguf": "GGUF, for llama.cpp and programs built on it",
    "ollama": "Ollama, with its Modelfile",
    "mlx": "MLX, for Macs",
    "hf": "A folder for transformers and the hub, with a model card",
    "vllm": "vLLM",
}
"""What runs can be written as."""
NONE, BUSY, DONE, FAILED, LOST = "none", "busy", "done", "failed", "lost"


@dataclass(frozen=True, slots=True)
class Export:
    """How far an export is."""

    state: str
    found: dict[str, Any]
    """What the command said at its end; its `error` if it failed."""


class Exports:
    """The exports of a project.

    Args:
        folder: with their records; it is made when there are any.
        children: starts and watches processes.
    """

    def __init__(self, folder: Path, children: Children) -> None:
        self._folder, self._children = folder, children

    def start(self, run: Path, form: str) -> None:
        """Begins to write a run in a form, in its run folder.

        Args:
            run: its folder.
            form: one of `FORMS`.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        words = ["merge", str(run)] if form == MERGE else ["export", str(run), "--to", form]
        record, out = self._paths(run, form)
        child = self._children.start([*words, "--json"], out, out.with_suffix(".log"), is_aside=True)
        write_json(record, asdict(child))

    def state(self, run: Path, form: str) -> Export:
        """How far an export is, from its files."""
        record, out = self._paths(run, form)
        child = child_of(read_json(record))
        if child is None:
            return Export(NONE, {})
        if self._children.is_alive(child):
            return Export(BUSY, {})
        found = read_json(out)
        if found is None:
            return Export(LOST, {})
        return Export(FAILED if "error" in found else DONE, dict(found))

    def _paths(self, run: Path, form: str) -> tuple[Path, Path]:
        return self._folder / f"{run.name}-{form}.json", self._folder / f"{run.name}-{form}-out.json"
