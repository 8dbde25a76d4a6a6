"""Model, method and plan of a draft: what fits, how long it takes, and every option; then the training begins."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nicegui import background_tasks, ui

from burnish.errors import BurnishError
from burnish.jobs.job import SUCCEEDED
from burnish.methods import method_names, method_sections
from burnish.recipe.schema import AUTO
from burnish.studio.drafts import Draft
from burnish.studio.frame import draft_frame, run_page
from burnish.studio.inspection import plan_run
from burnish.studio.models import cached_models
from burnish.studio.pages.models_view import ModelList
from burnish.studio.pages.options_form import option_field, options_form
from burnish.studio.pages.plan_view import draw_choices, draw_estimate, draw_memory, draw_time
from burnish.studio.parts import (
    button,
    choice,
    field,
    group,
    loading,
    part,
    prose,
    refusal,
    slider,
    text_area,
)
from burnish.studio.what_if import WhatIf
from burnish.tasks import task_names

if TYPE_CHECKING:
    from burnish.studio.project import Project

_SIMPLE = {
    "train.epochs": "Passes over the rows",
    "train.learning_rate": "Learning rate",
    "evaluate.answers": "Answers to compare",
    "evaluate.samples": "Answers to watch while it trains",
}
SLIDERS = {
    "data.context": ("Context, tokens", (64, 128, 256, 512, 1024, 2048, 4096), 512),
    "lora.rank": ("Rank of the adapter", (2, 4, 8, 16, 32, 64, 128), 16),
    "batch.tokens": ("Tokens per step", (256, 512, 1024, 2048, 4096, 8192, 16384), 1024),
}
"""What-if: the label, the positions and the usual value of an option. Numbers in between are typed into the form."""
_MOST_RUNS = 30
"""Runs, the newest first, that can be chosen to be trained further."""
_BUNDLED = {"seedling": "seedling, bundled, 1.8 M parameters: writes text", "acorn": "acorn, bundled: labels text"}


async def plan_page(project: Project, draft_id: str) -> None:
    """The page."""
    draft = project.drafts.get(draft_id)
    with draft_frame(project, draft, 1):
        PlanPage(project, draft)


class PlanPage:
    """The settings of a draft beside what they take.

    Args:
        project: that has the draft.
        draft: that is planned.
    """

    def __init__(self, project: Project, draft: Draft) -> None:
        self._project, self._draft = project, draft
        self._asked = self._answered = 0
        self._is_estimate = False
        """Whether an estimate is shown in place of a plan."""
        self._drawn_sliders: list[str] = []
        self._now: dict[str, int] = {}
        self._what_if = WhatIf(project.planning)
        self._waiting: asyncio.Future[dict[str, Any]] | None = None
        self._glancing: asyncio.Future[dict[str, Any]] | None = None
        self._task = str(draft.options.get("task", AUTO))
        with group("columns"):
            with group():
                with group("card", "section"):
                    part("h2", "Base model and method")
                    self._add_model()
                with group("card", "section"):
                    part("h2", "What if")
                    prose(
                        "Move a slider to see what it takes.",
                        "help",
                    )
                    self._sliders = part("div")
                    with group("options"):
                        for option, label in _SIMPLE.items():
                            option_field(option, draft.options.get(option), self._change, label)
            with group():
                with group("card", "section"):
                    with group("row"):
                        button("Start training", self._start, "primary")
                    prose("It waits for its turn if another run is training. You can close the page.", "help")
                    with group() as shown:
                        self._wrong = shown
                with group("card", "section", aria_label="The plan") as shown:
                    self._plan = shown
        with group("card", "section"):
            part("h2", "All options")
            with group() as shown:
                self._form = shown
        with group("card", "section"):
            part("h2", "The same as text")
            with group("halves") as shown:
                self._texts = shown
        self._draw_form()
        ui.timer(0.05, self._plan_both, once=True)

    def _add_model(self) -> None:
        name = str(self._draft.options.get("model.name", AUTO))
        known = {AUTO: "chosen for the task", **_BUNDLED, **{one: f"{one}, in the cache" for one in cached_models()}}
        done = [one for one in self._project.entries() if one.state == SUCCEEDED][:_MOST_RUNS]
        known |= {str(one.run.path.absolute()): f"the run “{one.name}”, trained further" for one in done}
        own = "other"

        async def pick(value: str) -> None:
            if value != own:
                await self._change("model.name", None if value == AUTO else value)

        with group("options"):
            shown = {**known, own: "another: type its folder or hub name below"}
            choice("Base model", pick, shown, name if name in known else own, term="model.name")
            field(
                "Folder or hub name",
                lambda text: self._change("model.name", text.strip() or None),
                "" if name in known else name,
                help="Only a name that you type is downloaded, when the training begins.",
            )
            tasks = {AUTO: "from the shape of the rows", **{one: one for one in task_names()}}
            methods = {AUTO: "chosen for model, rows and memory", **{one: one for one in method_names()}}
            for option, label, values in (("task", "Task", tasks), ("method", "Method", methods)):
                now = str(self._draft.options.get(option, AUTO))
                choice(label, lambda one, option=option: self._pick(option, one), values, now, term=option)
        ModelList(self._project, lambda: self._task, self._take_model)

    def _take_model(self, name: str) -> None:
        self._keep("model.name", name)
        ui.navigate.reload()

    async def _pick(self, option: str, value: str) -> None:
        await self._change(option, None if value == AUTO else value)
        self._draw_form()

    def _draw_sliders(self, found: Mapping[str, Any]) -> None:
        """One for each option that does something with this method, from where Burnish or the user has set it."""
        drawn = [name for name in SLIDERS if _applies(name, found["method"])]
        if drawn == self._drawn_sliders:
            return
        self._drawn_sliders = drawn
        chosen = {one["option"]: one["value"] for one in found["choices"]}
        self._sliders.clear()
        with self._sliders:
            for name in drawn:
                label, positions, usual = SLIDERS[name]
                now = self._draft.options.get(name, chosen.get(name, usual))
                self._slider(name, label, positions, now if isinstance(now, int) else usual)

    def _slider(self, option: str, label: str, positions: Sequence[int], now: int) -> None:
        async def move(value: int) -> None:
            self._now[option] = value
            self._keep(option, value)
            await self._plan_both()

        self._now[option] = now
        slider(label, move, sorted({*positions, now}), now, term=option)

    async def _look_ahead(self, asked: int) -> None:
        """Plans the positions that the sliders may be moved to next."""
        around = {name: (self._now[name], SLIDERS[name][1]) for name in self._drawn_sliders}
        await self._what_if.look_ahead(
            self._draft.options, around, lambda: asked == self._asked and not self._plan.is_deleted
        )

    async def _change(self, option: str, value: Any) -> None:
        self._keep(option, value)
        await self._plan_fully()

    def _keep(self, option: str, value: Any) -> None:
        self._draft = self._project.drafts.put(self._draft.with_option(option, value))
        self._check()
        self._draw_texts()

    def _check(self) -> bool:
        """Whether the recipe is valid; says what is wrong with it otherwise."""
        self._wrong.clear()
        try:
            self._draft.loaded()
        except BurnishError as error:
            with self._wrong:
                refusal(error)
            return False
        return True

    def _start(self) -> None:
        if not self._check():
            return
        viewed = self._project.start(self._draft)
        ui.navigate.to(run_page(viewed.id))

    async def _plan_both(self) -> None:
        """The memory as soon as it is known, and the time when it has been measured."""
        await asyncio.gather(self._plan_fully(), self._plan_quickly())

    async def _plan_quickly(self) -> None:
        """The memory alone: an answer while the full plan is being made, in another process; until then an estimate."""
        asked, options = self._asked, self._draft.options
        if self._glancing is not None:
            self._glancing.cancel()
        found = self._what_if.find(options)
        if found is None:
            self._draw_estimate(asked)
            self._glancing = asyncio.ensure_future(self._project.reading.ask(plan_run, options, False))
            try:
                found = await self._glancing
            except asyncio.CancelledError:
                return
            self._what_if.keep(options, found)
        if not self._is_open(asked):
            return
        with self._answer(options, found):
            if "error" not in found:
                draw_memory(found)
                loading("Measuring a few real steps")

    async def _plan_fully(self) -> None:
        """Memory and time, measured on this machine; an older answer is dropped."""
        if not self._check():
            return
        self._asked += 1
        asked, options = self._asked, self._draft.options
        if self._is_estimate or not list(self._plan):
            with self._redrawn():
                loading("Simulating a step, then measuring a few")
        if self._waiting is not None:
            self._waiting.cancel()  # it is not needed any more
        self._waiting = asyncio.ensure_future(self._project.planning.ask(plan_run, options, True))
        try:
            found = await self._waiting
        except asyncio.CancelledError:
            return
        if not self._is_open(asked):
            return
        self._answered = asked
        with self._answer(options, found):
            if "error" in found:
                return
            if found["task"] != self._task:
                self._task = found["task"]
                self._draw_form()
            self._draw_sliders(found)
            draw_memory(found)
            draw_time(found)
            draw_choices(found)
        background_tasks.create(self._look_ahead(asked))

    def _is_open(self, asked: int) -> bool:
        """Whether this question is the newest, and not fully answered yet."""
        return asked == self._asked != self._answered and not self._plan.is_deleted

    def _draw_estimate(self, asked: int) -> None:
        """What follows from the plan that is shown, if anything does: this process needs no library for it."""
        made = self._what_if.estimate(self._draft.options) if self._is_open(asked) else None
        if made is None:
            return
        with self._redrawn():
            draw_estimate(made)
        self._is_estimate = True

    @contextmanager
    def _answer(self, options: Mapping[str, Any], found: dict[str, Any]) -> Iterator[None]:
        """In place of what was shown: the error, if it was refused, or what is drawn within."""
        self._what_if.shown(options, found)
        with self._redrawn():
            if "error" in found:
                refusal(self._named(found["error"]))
            yield

    @contextmanager
    def _redrawn(self) -> Iterator[None]:
        """The plan as it is drawn within, in place of what was shown."""
        self._is_estimate = False
        self._plan.clear()
        with self._plan:
            part("h2", "The plan")
            yield

    def _named(self, error: Mapping[str, Any]) -> dict[str, str]:
        """An error with the user's name of the file in place of where it is kept."""
        return {name: self._project.named(str(text), self._draft.source) for name, text in error.items()}

    def _draw_form(self) -> None:
        self._form.clear()
        with self._form:
            options_form(self._draft.options, self._task, str(self._draft.options.get("method", AUTO)), self._change)
        self._draw_texts()

    def _draw_texts(self) -> None:
        self._texts.clear()
        with self._texts:
            with group():
                written = {"text": self._draft.as_yaml()}
                text_area(
                    "Recipe, as YAML or as a command",
                    lambda text: written.update(text=text),
                    written["text"],
                    kind="wide-field",
                    live=True,
                    rows=12,
                    spellcheck="false",
                    help="Change it, or paste a recipe or a `burnish train …` command, and take it over.",
                )
                button("Use this text", lambda: self._read_text(written["text"]), "small")
            with group():
                part("h3", "As a command")
                with group("copied"):
                    with group("", "pre"):
                        part("code", self._draft.as_command())
                    part("button", "Copy", "button small", type="button", data_copy="")

    def _read_text(self, text: str) -> None:
        self._wrong.clear()
        try:
            self._draft = self._project.drafts.put(self._project.drafts.from_text(self._draft, text))
        except BurnishError as error:
            with self._wrong:
                refusal(error)
            return
        ui.navigate.reload()


def _applies(option: str, method: str) -> bool:
    """Whether an option does something with a method."""
    section = option.partition(".")[0]
    owners = [one for one in method_names() if section in method_sections(one)]
    return not owners or method in owners
