"""Commands that a page runs beside the jobs, such as exports: in processes of their own, found again after a restart.

commands/NAME.json          the process
commands/NAME-out.json      what it said at its end
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
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
class Command:
    """How far a command is."""

    state: str
    found: dict[str, Any]
    """What it said at its end; its `error` if it failed."""


class Commands:
    """The commands of a project, one at a time for the same words.

    Args:
        folder: with their records; it is made when there are any.
        children: starts and watches processes.
    """

    def __init__(self, folder: Path, children: Children) -> None:
        self._folder, self._children = folder, children

    def start(self, words: Sequence[str]) -> None:
        """Begins a command.

        Args:
            words: what follows `burnish`.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        record, out = self._paths(words)
        child = self._children.start([*words, "--json"], out, out.with_suffix(".log"), is_aside=True)
        write_json(record, asdict(child))

    def state(self, words: Sequence[str]) -> Command:
        """How far a command is, from its files."""
        record, out = self._paths(words)
        child = child_of(read_json(record))
        if child is None:
            return Command(NONE, {})
        if self._children.is_alive(child):
            return Command(BUSY, {})
        found = read_json(out)
        if found is None:
            return Command(LOST, {})
        return Command(FAILED if "error" in found else DONE, dict(found))

    def _paths(self, words: Sequence[str]) -> tuple[Path, Path]:
        name = f"{words[0]}-{hashlib.sha256(chr(0).join(words).encode()).hexdigest()[:20]}"
        return self._folder / f"{name}.json", self._folder / f"{name}-out.json"


def export_words(run: Path, form: str) -> list[str]:
    """The command that writes a run in a form, into its run folder.

    Args:
        run: its folder.
        form: one of `FORMS`.
    """
    return ["merge", str(run)] if form == MERGE else ["export", str(run), "--to", form]


def compare_words(runs: Sequence[Path]) -> list[str]:
    """The command that evaluates runs on the same rows."""
    return ["compare", *map(str, runs)]
