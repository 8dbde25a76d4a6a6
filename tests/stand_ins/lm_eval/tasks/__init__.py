"""Tasks of the stand-in."""

from __future__ import annotations


class TaskManager:
    """Knows which tasks there are."""

    all_tasks = ("colours", "perplexing")

    def match_tasks(self, task_list: list[str]) -> list[str]:
        """Those of the names that are tasks."""
        return [task for task in task_list if task in self.all_tasks]
