"""Drafts: runs that are being prepared. Each is a file of its own, so that no form shows the settings of another.

drafts/draft-….json     name, where the rows are, options by dotted name
"""

from __future__ import annotations

import re
import secrets
import shlex
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from burnish.errors import InputError, RecipeError
from burnish.jobs.job import nested, read_json
from burnish.recipe.flags import is_command, read_command
from burnish.recipe.load import LoadedRecipe, code_options, load_recipe
from burnish.recipe.names import options, spelled
from burnish.runs.atomic import write_json, write_text
from burnish.templates import yaml_text
from burnish.visible import visible

_ID = re.compile(r"draft-[0-9a-f]{16}")
_LONGEST_NAME = 80
OURS = ("name", "runs")
"""Options that the studio decides: where a run is kept."""
STARTING = {"evaluate.samples": 3}
"""Options of every new draft: on a page one sees what the model answers so far."""
CODE = ("model.trust_remote_code", "model.allow_pickle", "evaluate.metric")
"""Options that run code, which a page may not switch on."""


ROWS = ("data.path", "data.validation", "data.test", "data.columns", "data.shape")
"""Options that say which rows are used, and what their columns mean."""


class MissingDraft(InputError):
    """There is no draft of that id."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A run that is being prepared."""

    id: str
    created: float
    """In seconds since the epoch."""
    name: str
    source: str
    """What the rows are called, as the user knows them."""
    file: str = ""
    """The id of the stored file with the rows; empty if they stay where they are."""
    options: dict[str, Any] = field(default_factory=dict)
    """By dotted name, `data.path` among them."""

    def with_option(self, name: str, value: Any) -> Draft:
        """With one option set; None goes back to its default."""
        rest = {key: one for key, one in self.options.items() if key != name}
        return replace(self, options=rest if value is None else {**rest, name: value})

    def loaded(self) -> LoadedRecipe:
        """Its recipe, validated.

        Raises:
            RecipeError: names every wrong option.
        """
        found = load_recipe(None, self.options, [], needs_data=bool(self.options.get("data.path")))
        if code_options(found.recipe):
            raise RecipeError(
                "options that run code cannot be set on this page",
                f"These are {', '.join(f'`{name}`' for name in CODE)}.",
                "Give them to `burnish train` in a terminal, if you trust that code",
            )
        return found

    def as_yaml(self) -> str:
        """Its recipe as a file that `burnish train` reads."""
        return yaml_text(nested(self.options), width=100) if self.options else ""

    def as_command(self) -> str:
        """Its recipe as a command."""
        rest = {name: value for name, value in self.options.items() if name != "data.path"}
        sets = [f"--set {shlex.quote(f'{name}={spelled(value)}')}" for name, value in rest.items()]
        return " ".join(["burnish train", shlex.quote(str(self.options.get("data.path", "DATA"))), *sets])


class DraftStore:
    """The drafts of a project.

    Args:
        folder: that holds them; it is made if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def create(self, name: str, source: str, options: Mapping[str, Any], file: str = "") -> Draft:
        """Keeps a new draft."""
        draft_id = f"draft-{secrets.token_hex(8)}"
        return self.put(Draft(draft_id, time.time(), shown_name(name), visible(source, kept=""), file, dict(options)))

    def put(self, draft: Draft) -> Draft:
        """Writes a draft, atomically, and returns it."""
        write_json(self._folder / f"{draft.id}.json", asdict(draft))
        return draft

    def get(self, draft_id: str) -> Draft:
        """A draft by its id.

        Raises:
            MissingDraft: there is none.
        """
        found = read_json(self._folder / f"{draft_id}.json") if _ID.fullmatch(draft_id) else None
        if found is None:
            raise MissingDraft("there is no such draft", "It may have been deleted.", "Begin a new run")
        return Draft(**{name: found[name] for name in Draft.__dataclass_fields__ if name in found})

    def all(self) -> list[Draft]:
        """Every draft, the newest first."""
        names = [path.stem for path in self._folder.glob("draft-*.json") if _ID.fullmatch(path.stem)]
        return sorted(map(self.get, names), key=lambda draft: -draft.created)

    def remove(self, draft_id: str) -> None:
        """Removes a draft; the rows stay."""
        (self._folder / f"{self.get(draft_id).id}.json").unlink(missing_ok=True)

    def from_text(self, draft: Draft, text: str) -> Draft:
        """The draft with the options of a YAML text or of a command in place of its own; its rows, if that names none.

        Raises:
            RecipeError: it is neither, or an option is wrong; the message names the line or the flag.
        """
        if is_command(text):
            command = read_command(text)
            found = load_recipe(command.data, command.values, command.sets, needs_data=False)
        else:
            path = self._folder / f"{draft.id}.yaml"
            write_text(path, text)
            found = load_recipe(str(path), {}, [], needs_data=False)
        given = {name for name, origin in found.origins.items() if origin != "default"}
        if taken := [name for name in OURS if name in given]:
            raise RecipeError(f"`{taken[0]}` is decided by the studio", "", f"Remove `{taken[0]}` from the text")
        values = found.recipe.model_dump(mode="json")
        chosen = {name: _value(values, name) for name in options() if name in given}
        known = {name: value for name, value in draft.options.items() if name in ROWS}
        changed = replace(draft, options=chosen if "data.path" in chosen else {**known, **chosen})
        changed.loaded()
        if changed.options.get("data.path") == draft.options.get("data.path"):
            return changed
        return replace(changed, file="", source=visible(str(changed.options.get("data.path", "")), kept=""))


def shown_name(name: str) -> str:
    """A user's name for something as one line that can be shown anywhere."""
    return visible(" ".join(name.split()), kept="")[:_LONGEST_NAME] or "run"


def _value(values: Mapping[str, Any], name: str) -> Any:
    section, _, option = name.rpartition(".")
    return values[section][option] if section else values[option]
