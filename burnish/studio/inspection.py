"""What the studio asks of rows and models. These functions run in a process of their own: the libraries that they need
take seconds to load, and a page must not wait for them.

Each takes and returns what JSON has. An error is returned as `{"error": {"what", "why", "fix"}}`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from burnish.errors import BurnishError
from burnish.studio.commands import ANY_FORMS, MERGE, WRITING_FORMS

_LONGEST_CELL = 400
_FIRST_ROWS = 8
_MOST_LABELS = 30
_MOST_KEPT = 24


def _in_words(work: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Returns errors instead of raising them: they have to come from another process."""

    @functools.wraps(work)
    def done(*given: Any) -> dict[str, Any]:
        try:
            return work(*given)
        except BurnishError as error:
            return {"error": {"what": error.what, "why": error.why, "fix": error.fix}}
        except Exception as error:  # noqa: BLE001  a page shows it, and goes on
            return {
                "error": {"what": f"unexpected failure: {type(error).__name__}", "why": str(error)[:500], "fix": ""}
            }

    return done


def warm_up() -> None:
    """Loads the libraries."""
    import burnish.workflows.check
    import burnish.workflows.plan  # noqa: F401


@_in_words
def read_first_rows(options: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of the rows, and the first rows as text; and the shapes that rows may have, with their fields."""
    from burnish.data.files.sources import find_all
    from burnish.data.rows.patterns import PATTERNS
    from burnish.data.rows.reading import good_rows
    from burnish.recipe.load import load_recipe

    data = load_recipe(None, dict(options), []).recipe.data
    sources = find_all(data)
    rows = list(islice(good_rows(sources.train, []), _FIRST_ROWS))
    columns = list(dict.fromkeys(str(name) for row in rows for name in row.values))
    cells = [[_cell(row.values.get(name)) for name in columns] for row in rows]
    shapes = [{"name": one.name, "fields": [field[0] for field in one.required]} for one in PATTERNS]
    return {"columns": columns, "rows": cells, "shapes": shapes, "described": sources.described}


@_in_words
def examine(options: Mapping[str, Any], shown: int) -> dict[str, Any]:
    """What `burnish check` finds, with the notes on how the rows were understood.

    Args:
        options: of the recipe, by dotted name.
        shown: rows to return token by token.
    """
    from burnish.prepare.first_checks import check_inputs
    from burnish.recipe.load import load_recipe
    from burnish.runs.events import Event, Note, Resolved, Warned
    from burnish.workflows.check import check

    said: list[str] = []
    chosen: dict[str, Any] = {}

    def listen(event: Event) -> None:
        if isinstance(event, Note | Warned):
            said.append(event.text)
        elif isinstance(event, Resolved):
            chosen[event.option] = event.value

    recipe = load_recipe(None, dict(options), []).recipe
    check_inputs(recipe)
    found = check(recipe, [listen], shown)
    plots = {"labels": list(found.labels.items())[:_MOST_LABELS], "num_labels": len(found.labels)}
    plots["lengths"] = list(found.lengths)
    return {**found.to_dict(), **plots, "notes": list(dict.fromkeys(said)), "chosen": chosen}


@_in_words
def clean_rows(options: Mapping[str, Any], out: str) -> dict[str, Any]:
    """Writes a cleaned copy of the rows, as `burnish check --fix` does.

    Args:
        options: of the recipe, by dotted name.
        out: path of the copy.
    """
    from burnish.check.repair import clean
    from burnish.recipe.load import load_recipe
    from burnish.workflows.check import check

    recipe = load_recipe(None, dict(options), []).recipe
    return clean(recipe.data, check(recipe).removable, Path(out)).to_dict()


@_in_words
def plan_run(options: Mapping[str, Any], is_timed: bool) -> dict[str, Any]:
    """Memory and time of a run, as `burnish plan` gives them.

    Args:
        options: of the recipe, by dotted name.
        is_timed: whether steps are measured, which takes some seconds more than memory alone.
    """
    from burnish.recipe.load import load_recipe
    from burnish.workflows.plan import Place, plan

    return plan(load_recipe(None, dict(options), []).recipe, Place(), (), _shared(), is_timed).to_dict()


@functools.cache
def _shared() -> Any:
    """What plans of this process keep for the next: rows, tokens and simulated steps, a few of each."""
    from burnish.prepare.shared import Shared

    return Shared(most=_MOST_KEPT)


@_in_words
def list_base_models(task: str | None) -> dict[str, Any]:
    """Base models for a task and what they take here, as `burnish models` gives them.

    Args:
        task: its name; None for any.
    """
    from burnish.workflows.models import list_models

    return list_models(task).to_dict()


@_in_words
def describe_task(task: str, method: str) -> dict[str, Any]:
    """What models of a task and method are asked, what they answer, and what they can be written as."""
    from burnish.methods import make_method
    from burnish.tasks import task_facts

    facts = task_facts(task)
    forms = [MERGE] if make_method(method).can_merge else []
    forms += [*WRITING_FORMS] if facts.generates else []
    return {
        "forms": [*forms, *ANY_FORMS],
        "generates": facts.generates,
        "reads_turns": facts.reads_turns,
        "takes_pictures": facts.takes_pictures,
        "predicts": facts.predicts,
        "learned": facts.learned,
    }


def _cell(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST_CELL else f"{text[:_LONGEST_CELL]} …"
