"""Small work beside the jobs, one process at a time, which gives way to others: checks of files, plans of jobs."""

from __future__ import annotations

from collections.abc import Iterable

from burnish.jobs.children import Child, Children
from burnish.jobs.files import FileStore
from burnish.jobs.job import JobFolder, read_json

_NO_WORD = (
    '{"error": {"what": "the rows could not be checked", "why": "The process that read them was killed.", "fix": ""}}'
)


class Aside:
    """What is done beside the jobs.

    Args:
        children: start and watch its processes.
    """

    def __init__(self, children: Children) -> None:
        self._children = children
        self._begun: dict[str, Child] = {}
        """By the id of the file or job that each is for."""

    @property
    def is_busy(self) -> bool:
        """Whether one of its processes runs."""
        return any(self._children.is_alive(child) for child in self._begun.values())

    def check_next(self, files: FileStore) -> None:
        """Lets the next file be checked, as `burnish check` does."""
        if self.is_busy:
            return
        for file in files.all():
            if files.is_checked(file):
                continue
            found = files.checked(file)
            if file.id in self._begun:  # its process ended without a word
                found.write_text(_NO_WORD, encoding="utf-8")
                continue
            words = ["check", str(files.content(file)), "--json"]
            self._begun[file.id] = self._children.start(words, found, found.with_name("log.txt"), is_aside=True)
            return

    def plan_next(self, waiting: Iterable[JobFolder]) -> None:
        """Lets the next job be planned, so that those behind it know when they start."""
        if self.is_busy:
            return
        for folder in waiting:
            if folder.path.name not in self._begun and read_json(folder.plan) is None:
                words = ["plan", str(folder.recipe), "--json"]
                self._begun[folder.path.name] = self._children.start(words, folder.plan, folder.log, is_aside=True)
                return

    def leave(self, name: str) -> None:
        """Ends the work for a file or job, which is no longer needed."""
        child = self._begun.get(name)
        if child is not None:
            self._children.stop(child, at_once=True)
