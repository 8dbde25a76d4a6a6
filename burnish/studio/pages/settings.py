"""The settings of one run, as it was given and as Burnish resolved them; notes, tags, deletion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nicegui import ui

from burnish.errors import BurnishError
from burnish.jobs.job import ENDED, RUNNING
from burnish.recipe.names import spelled
from burnish.runs.damage import DamagedRun
from burnish.runs.description import recipe_of
from burnish.runs.event_log import read_events
from burnish.runs.folder import begun_at
from burnish.studio.notes import UNDO_SECONDS
from burnish.studio.parts import (
    button,
    details,
    field,
    group,
    notice,
    part,
    prose,
    refusal,
    table,
    text_area,
)

if TYPE_CHECKING:
    from burnish.studio.project import Entry, Project

_LONGEST = 160


def show_settings(project: Project, entry: Entry) -> None:
    """The page's content.

    Args:
        project: of the run.
        entry: the run.
    """
    with group("columns"):
        with group():
            with group("card", "section"):
                part("h2", "What was set")
                _given(entry)
            with group("card", "section"):
                part("h2", "Every option, as this run has it")
                _resolved(entry)
        with group():
            with group("card", "section"):
                part("h2", "Notes")
                _note_fields(project, entry)
            with group("card", "section"):
                part("h2", "Again, or away")
                _actions(project, entry)


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Options by dotted name, of a recipe by section."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and name not in ("columns", "roles", "kwargs"):
            found |= {f"{name}.{inner}": one for inner, one in value.items()}
        else:
            found[name] = value
    return found


def recipe_rows(entry: Entry) -> dict[str, Any]:
    """The resolved options of a run by dotted name; those that were given if it has not begun.

    Raises:
        DamagedRun: its recipe cannot be read.
    """
    if begun_at(entry.run) is None:
        return dict(entry.viewed.job.recipe) if entry.viewed else {}
    return flat(recipe_of(entry.run))


def shown_value(value: Any) -> str:
    """A value in a cell."""
    text = spelled(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def _given(entry: Entry) -> None:
    if entry.viewed is None:
        prose("Another command made this run: its options are below.", "help")
        return
    given = {name: value for name, value in entry.viewed.job.recipe.items() if name not in ("name", "runs")}
    source = str(entry.viewed.job.details.get("source", ""))
    rows = [[name, source if name == "data.path" and source else shown_value(value)] for name, value in given.items()]
    table(("option", "value"), rows, caption="What was given; Burnish chose the rest")


def _resolved(entry: Entry) -> None:
    try:
        recipe, events = recipe_rows(entry), read_events(entry.run.events) if entry.run.events.is_file() else []
    except DamagedRun as error:
        refusal(error)
        return
    reasons = {event["option"]: str(event.get("reason", "")) for event in events if event["event"] == "Resolved"}
    with details(f"{len(recipe)} options"):
        rows = [[name, shown_value(value), reasons.get(name, "")] for name, value in recipe.items()]
        table(("option", "value", "why Burnish chose it"), rows, caption="Resolved options")


def _note_fields(project: Project, entry: Entry) -> None:
    note = project.notes.of(entry.id)
    kept = {"text": note.text, "tags": ", ".join(note.tags)}

    def keep(name: str, value: str) -> None:
        kept[name] = value
        project.notes.write(entry.id, kept["text"], kept["tags"])
        say()

    def rename(name: str) -> None:
        project.notes.rename(entry.id, name)
        say()

    field("Name", rename, entry.name, maxlength=80)
    text_area("Note", lambda text: keep("text", text), note.text)
    field("Tags, separated by commas", lambda text: keep("tags", text), ", ".join(note.tags))
    saved = part("div", role="status")

    def say() -> None:
        saved.clear()
        with saved:
            part("p", "Saved.", "help")


def _actions(project: Project, entry: Entry) -> None:
    viewed = entry.viewed
    if viewed is None:
        prose("Delete this run with the command that made it, or remove its folder.", "help")
        return

    def again() -> None:
        ui.navigate.to(f"/new/{project.again(viewed).id}")

    prose("Begin another run with exactly these settings, and change what you like.", "help")
    button("New run with these settings", again)
    place = part("div", kind="gap")

    def delete() -> None:
        try:
            if viewed.state not in ENDED and viewed.state != RUNNING:
                project.queue.cancel(entry.id)
            project.notes.delete(entry.id)
        except BurnishError as error:
            with place:
                refusal(error)
            return
        ui.navigate.to("/")

    def ask() -> None:
        place.clear()
        with place:
            notice(f"Delete “{entry.name}” with its model and curves? It can be undone for "
                   f"{UNDO_SECONDS / 60:.0f} minutes.", "warning")  # fmt: skip
            with group("row"):
                button("Delete it", delete, "danger")
                button("Keep it", offer, "quiet")

    def offer() -> None:
        place.clear()
        with place:
            if project.queue.view(entry.id).state == RUNNING:
                prose("Pause or cancel it before it can be deleted.", "help")
            else:
                button("Delete this run", ask, "danger")

    offer()
