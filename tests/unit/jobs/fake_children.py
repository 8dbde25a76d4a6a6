"""Processes that do nothing but exist, until a test ends them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.jobs.children import Child, Children
from burnish.jobs.job import JobFolder
from burnish.runs.events import Finished, as_dict

GOOD_CHECK = {"facts": {}, "findings": [], "rows": [], "verdict": "", "blocks": False}


@dataclass
class FakeChildren(Children):
    """Starts nothing; checks of files are done at once."""

    begun: list[list[str]] = field(default_factory=list)
    """The words of each command, in order, without checks of files."""
    alive: dict[int, Path] = field(default_factory=dict)
    """Where each process that exists writes its output, by its number."""
    stopped: list[tuple[int, bool]] = field(default_factory=list)
    """Numbers of processes that were asked to end, and whether at once."""
    check: dict[str, Any] | None = field(default_factory=lambda: dict(GOOD_CHECK))
    """What checks of files say; None if they go on and on."""

    def start(self, words: Sequence[str], out: Path, log: Path, is_aside: bool = False) -> Child:
        number = 10_000_000 + len(self.begun) + len(self.stopped)  # no such process
        if words[0] == "check":
            if self.check is not None:
                out.write_text(json.dumps(self.check))
            else:
                self.alive[-1] = out
            return Child(-1, 0.0)
        out.unlink(missing_ok=True)
        self.begun.append(list(words))
        self.alive[number] = out
        return Child(number, 0.0)

    def is_alive(self, child: Child) -> bool:
        return child.process in self.alive

    def stop(self, child: Child, at_once: bool = False) -> None:
        if self.is_alive(child):
            self.stopped.append((child.process, at_once))

    def end(self, number: int, said: dict[str, Any] | None = None) -> None:
        """Ends a process, which says something or was killed."""
        out = self.alive.pop(number)
        if said is not None:
            out.write_text(json.dumps(said))


def begin_run(folder: JobFolder) -> None:
    """A run that can be resumed."""
    folder.run.path.mkdir(exist_ok=True)
    folder.run.recipe.write_text("task: chat\n")


def finish_run(folder: JobFolder) -> None:
    """A run that has its result."""
    begin_run(folder)
    folder.run.adapter.mkdir()
    for path in (folder.run.evaluation, folder.run.report):
        path.write_text("{}")
    with folder.run.events.open("a") as log:
        log.write(json.dumps({**as_dict(Finished(2, 3.0, 1.0, 4.0, "adapter")), "time": 5.0}) + "\n")
