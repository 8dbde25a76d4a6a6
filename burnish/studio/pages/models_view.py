"""Base models to choose from: what is here, what could be downloaded, and what training it takes on this machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from burnish.recipe.schema import AUTO
from burnish.report.figures import duration
from burnish.studio.inspection import list_base_models
from burnish.studio.parts import button, details, group, loading, part, prose, refusal
from burnish.system.machine import memory_size

if TYPE_CHECKING:
    from burnish.studio.project import Project

_WHERE = {"bundled": "bundled", "local": "in a folder", "cached": "in the cache", "public": "to download"}


class ModelList:
    """The models for a task, listed when that is asked for: simulating a step of each takes some seconds.

    Args:
        project: whose processes simulate.
        task: gives the task of the draft.
        take: receives the name of a model.
    """

    def __init__(self, project: Project, task: Callable[[], str], take: Callable[[str], Any]) -> None:
        self._project, self._task, self._take = project, task, take
        with details("Which model fits this machine?"):
            self._shown = part("div", role="status")
            with self._shown:
                button("List them", self._list, "small")

    async def _list(self) -> None:
        self._shown.clear()
        with self._shown:
            loading("Simulating a step of each")
        task = self._task()
        found = await self._project.reading.ask(list_base_models, None if task == AUTO else task)
        if self._shown.is_deleted:
            return
        self._shown.clear()
        with self._shown:
            if "error" in found:
                refusal(found["error"])
                return
            prose(f"{memory_size(found['room'])} of memory is available for a run. Nothing is downloaded before the "
                  "training begins.", "help")  # fmt: skip
            fitting = [one for one in found["models"] if one["fits"] is not False]
            for one in fitting:
                self._row(one, one["name"] == found["next_model"])
            if left := len(found["models"]) - len(fitting):
                prose(f"{left:,} more need more memory than that.", "help")

    def _row(self, model: dict[str, Any], is_next: bool) -> None:
        seconds, memory, count = model["least_seconds"], model["memory"], model["parameters"]
        said = [
            f"{count / 1e6:,.0f} M parameters" if count else "",
            _WHERE.get(model["where"], model["where"]),
            f"{memory_size(memory)} of memory with {model['method']}" if memory else "",
            f"at least {duration(seconds)} for a million tokens" if seconds else "",
            f"licence {model['licence']}" if model["licence"] else "licence unknown",
            "gated" if model["is_gated"] else "",
        ]
        with group("answer"):
            with group("row"):
                part("strong", model["name"], "strong")
                if is_next:
                    part("span", "the next to try", "tag")
                button("Take it", lambda: self._take(model["name"]), "small")
            part("p", ", ".join(filter(None, said)), "help")
