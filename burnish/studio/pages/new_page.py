"""Where the rows of a new run come from: a file that is dropped, a path, or a bundled example."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nicegui import ui

from burnish.errors import BurnishError, RecipeError
from burnish.jobs.files import SUFFIXES
from burnish.recipe.load import load_recipe
from burnish.recipe.quickstart import quickstart_examples, quickstart_recipe
from burnish.studio.drafts import STARTING, shown_name
from burnish.studio.frame import NEW, frame, steps
from burnish.studio.gate import Access
from burnish.studio.parts import button, field, group, link, part, prose, refusal, text_area

if TYPE_CHECKING:
    from burnish.studio.project import Project


async def new_page(project: Project) -> None:
    """The page."""
    with frame(project, "New run", NEW):
        part("h1", "What should the model learn?")
        prose("Give it examples: rows of questions with answers, texts with labels, or plain text.", "lead")
        steps(0, [])
        with group("columns"):
            with group():
                _drop_zone()
                _path_card(project)
                _text_card(project)
            with group("card", "section"):
                part("h2", "Or start with an example")
                prose("They come with Burnish, need no download, and train in a few minutes.", "help")
                for one in quickstart_examples():
                    with group("answer"):
                        part("h3", one.title)
                        part("p", one.rows, "help")
                        button("Use these rows", lambda task=one.task: begin_example(project, task), "small")
        _drafts(project)


def begin_example(project: Project, task: str) -> None:
    """Begins a draft with a bundled example, and goes there."""
    recipe = quickstart_recipe(task).recipe
    given = {"data.path": str(Path(recipe.data.sources[0].path).resolve()), "task": recipe.task} | _changed(task)
    title = next(one.title for one in quickstart_examples() if one.task == task)
    draft = project.drafts.create(title, Path(recipe.data.sources[0].path).name, {**STARTING, **given})
    ui.navigate.to(f"/new/{draft.id}")


def _changed(task: str) -> dict[str, object]:
    """What the bundled recipe sets beside the rows and the task."""
    loaded = quickstart_recipe(task)
    values = loaded.recipe.model_dump(mode="json")
    found: dict[str, object] = {}
    for name, origin in loaded.origins.items():
        section, _, option = name.rpartition(".")
        if origin.startswith("quickstart") and name not in ("task", "data.path", "name", "runs"):
            found[name] = values[section][option] if section else values[option]
    return found


def _drop_zone() -> None:
    most = Access().upload_bytes
    with group("card dropzone", "section", aria_label="Upload rows", data_most=most):
        part("p", "Drop a file here", "big")
        prose(f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}, up to {most >> 20} MB. It stays on this machine.", "help")
        with group("button primary", "label"):
            part("span", "Choose a file")
            part("input", type="file", accept=",".join(SUFFIXES), aria_label="Choose a file with rows")
        part("p", " ", "help", role="status", aria_live="polite")


def _path_card(project: Project) -> None:
    with group("card", "section"):
        part("h2", "Or name a file or folder on this machine")
        wrong = group()
        with wrong as shown:
            pass
        given = {"path": ""}

        def begin() -> None:
            shown.clear()
            with shown:
                try:
                    path = load_recipe(given["path"].strip() or None, {}, []).recipe.data.sources[0].path
                    draft = project.drafts.create(Path(path).stem or path, path, {**STARTING, "data.path": path})
                except BurnishError as error:
                    refusal(error)
                    return
            ui.navigate.to(f"/new/{draft.id}")

        with group("row fields"):
            field(
                "Path, or the name of a hub dataset",
                lambda text: given.update(path=text),
                live=True,
                placeholder="/home/me/rows.jsonl",
                help="Rows stay where they are; Excel, Parquet and folders with train and test work, too.",
            )
        button("Use these rows", begin)


def _text_card(project: Project) -> None:
    """A recipe that exists already, as a text."""
    written = {"text": ""}
    with group("card", "section"):
        part("h2", "Or paste a recipe or a command")
        with group() as shown:
            pass

        def begin() -> None:
            shown.clear()
            draft = project.drafts.create("pasted", "", {})
            try:
                read = project.drafts.from_text(draft, written["text"])
                if not read.options.get("data.path"):
                    raise RecipeError("no rows are named", "", "Add `data.path`, or give the rows above first")
            except BurnishError as error:
                project.drafts.remove(draft.id)
                with shown:
                    refusal(error)
                return
            project.drafts.put(replace(read, name=shown_name(Path(read.source).stem or read.source)))
            ui.navigate.to(f"/new/{draft.id}")

        text_area(
            "Recipe",
            lambda text: written.update(text=text),
            "",
            live=True,
            rows=4,
            spellcheck="false",
            help="YAML, or a command such as `burnish train rows.jsonl --epochs 2`.",
        )
        button("Use this text", begin)


def _drafts(project: Project) -> None:
    drafts = project.drafts.all()[:8]
    if not drafts:
        return
    with group("card", "section"):
        part("h2", "Begun before")
        for draft in drafts:
            with group("row"):
                link(draft.name, f"/new/{draft.id}")
                part("span", draft.source, "help")
