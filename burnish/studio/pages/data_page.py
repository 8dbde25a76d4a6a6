"""The rows of a draft: what Burnish understood, what is wrong with them, and how the model sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nicegui import ui

from burnish.report.record import bare_place
from burnish.studio.curves import histogram
from burnish.studio.drafts import Draft, shown_name
from burnish.studio.frame import draft_frame
from burnish.studio.inspection import clean_rows, examine, read_first_rows
from burnish.studio.parts import (
    button,
    choice,
    details,
    facts,
    field,
    group,
    link,
    loading,
    markup,
    notice,
    part,
    prose,
    refusal,
    table,
)
from burnish.templates import render_html

if TYPE_CHECKING:
    from burnish.studio.project import Project

_TOKEN_ROWS = 12
_SPLITS = {"data.validation_fraction": "Share for validation", "data.test_fraction": "Share for the test"}
_AUTO = ""


async def data_page(project: Project, draft_id: str) -> None:
    """The page."""
    draft = project.drafts.get(draft_id)
    with draft_frame(project, draft, 0):
        DataPage(project, draft)


class DataPage:
    """What is shown of the rows, and what can be changed of how they are read.

    Args:
        project: that has the draft.
        draft: whose rows they are.
    """

    def __init__(self, project: Project, draft: Draft) -> None:
        self._project, self._draft = project, draft
        self._asked = 0
        self._shapes: dict[str, Mapping[str, Any]] = {}
        self._columns: list[str] = []
        with group("columns"):
            with group():
                with group("card", "section", aria_label="What Burnish understood") as shown:
                    self._report = shown
                with group() as shown:
                    self._tokens = shown
            with group():
                with group("card", "section"):
                    field("Name of the run", self._rename, draft.name, maxlength=80)
                    with group("row"):
                        self._onward = link("Continue to model and plan", f"/new/{draft.id}/plan", "button primary")
                with group("card", "section") as shown:
                    self._mapping = shown
                with group("card", "section"):
                    part("h2", "What is held out")
                    prose("Validation rows choose the checkpoint, test rows are touched once, for the verdict.", "help")
                    for option, label in _SPLITS.items():
                        self._share(option, label)
        with group("card", "section") as shown:
            self._rows = shown
        project.planning.begin()  # the next page needs it
        ui.timer(0.05, self._begin, once=True)

    async def _begin(self) -> None:
        with self._rows:
            part("h2", "The first rows")
            waiting = loading("Reading the file")
        found = await self._project.reading.ask(read_first_rows, self._draft.options)
        if waiting.is_deleted:
            return  # the page was left
        waiting.delete()
        with self._rows:
            if "error" in found:
                refusal(found["error"])
            else:
                self._columns = found["columns"]
                self._shapes = {one["name"]: one for one in found["shapes"]}
                with group("cells"):
                    table(self._columns, found["rows"], caption=f"{len(found['rows'])} rows as they are in the file")
        self._draw_mapping()
        await self._examine()

    async def _examine(self) -> None:
        """Has the rows checked with the settings of the draft; an older answer is dropped."""
        self._asked += 1
        asked = self._asked
        self._report.clear()
        with self._report:
            part("h2", "What Burnish understood")
            loading("Reading all rows with the tokenizer of the model")
        found = await self._project.reading.ask(examine, self._draft.options, _TOKEN_ROWS)
        if asked != self._asked or self._report.is_deleted:
            return
        self._report.clear()
        self._tokens.clear()
        with self._report:
            part("h2", "What Burnish understood")
            if "error" in found:
                self._draw_error(found["error"])
                return
            self._draw_facts(found)
            self._draw_findings(found["findings"])
            self._draw_plots(found)
        with self._tokens:
            self._draw_tokens(found["rows"])

    def _draw_error(self, error: Mapping[str, Any]) -> None:
        """Why the rows cannot be used; where the columns can be mapped, that comes before a command."""
        named = {name: self._named(str(text)) for name, text in error.items()}
        if not self._columns:
            refusal(named)
            return
        refusal({**named, "why": "", "fix": ""})
        notice("Choose under “Meaning of the columns” what one row is, and which column holds what.", "note")
        with details("More about it"):
            prose(named["why"])
            prose(f"In a terminal: {named['fix']}", "help")

    def _draw_facts(self, found: Mapping[str, Any]) -> None:
        notice(found["verdict"], "bad" if found["blocks"] else "warning" if found["findings"] else "good", "status")
        known = {name: self._named(text) for name, text in found["facts"].items()}
        known["read from"] = self._draft.source
        facts([(name, text.replace("`", "")) for name, text in known.items()])
        for note in found["notes"]:
            prose(self._named(note), "help")

    def _draw_plots(self, found: Mapping[str, Any]) -> None:
        if counts := found["labels"]:
            part("h3", "Rows of each label")
            markup(histogram("Rows of each label", counts))
            if (more := found["num_labels"] - len(counts)) > 0:
                prose(f"And {more:,} rarer labels.", "help")
        if len(found["lengths"]) > 1:
            part("h3", "Rows by length in tokens")
            shown = [(f"{low:,} to {high:,}" if low < high else f"{low:,}", n) for low, high, n in found["lengths"]]
            markup(histogram("Rows by length in tokens", shown))

    def _draw_findings(self, findings: Sequence[Mapping[str, Any]]) -> None:
        for one in findings:
            blocks = one["severity"] == "blocks"
            with group(f"finding {'blocks' if blocks else ''}".strip(), "section"):
                part("span", "fix before training" if blocks else "review", "kind")
                part("h3", f"{one['count']:,} × {one['what']}")
                with group("", "ul"):
                    for place in one["places"]:
                        part("li", bare_place(self._named(place)))
                    if (more := one["count"] - len(one["places"])) > 0:
                        part("li", f"and {more:,} more")
                prose(f"What to do: {one['fix']}.", "help")
        if findings:
            with group("row") as row:
                button("Write a cleaned copy", lambda: self._clean(row), "small")

    async def _clean(self, row: ui.element) -> None:
        out = self._project.cleaned(self._draft.id)
        out.parent.mkdir(exist_ok=True)
        for old in (out, self._project.changes(self._draft.id)):
            old.unlink(missing_ok=True)
        row.clear()
        with row:
            waiting = loading("Cleaning")
        found = await self._project.reading.ask(clean_rows, self._draft.options, str(out))
        if waiting.is_deleted:
            return
        waiting.delete()
        with row:
            if "error" in found:
                refusal(found["error"])
                return
            part(
                "span", f"{found['kept']:,} rows kept, {found['left_out']:,} left out, {found['repaired']:,} repaired."
            )
            at = f"/download/cleaned/{self._draft.id}"
            link("Download the rows", f"{at}/rows", "button small")
            link("Download the list of changes", f"{at}/changes", "button small")
            button("Use the cleaned rows", self._use_cleaned, "small primary")

    def _use_cleaned(self) -> None:
        kept = {name: value for name, value in self._draft.options.items() if name != "data.path"}
        with self._project.cleaned(self._draft.id).open("rb") as rows:
            draft = self._project.add_rows(rows, f"{self._draft.name} cleaned.jsonl")
        for name, value in kept.items():
            draft = draft.with_option(name, value)
        self._project.drafts.put(draft)
        ui.navigate.to(f"/new/{draft.id}")

    def _draw_tokens(self, views: Sequence[Mapping[str, Any]]) -> None:
        if not views:
            return
        with group("card seen", "section"):
            part("h2", "Rows as the model sees them")
            prose("Each box is a token. The model learns to write the green ones; it only reads the others.", "help")
            lengths = [sum(len(passage["tokens"]) for passage in view["passages"]) for view in views]
            for number, view in enumerate(views):
                shown = {**view, "place": bare_place(self._named(view["place"]))}
                made = render_html("studio/tokens.html", row=shown)
                if number < 2:
                    markup(made)
                    continue
                with details(f"{shown['place']}, {lengths[number]:,} tokens"):
                    markup(made)

    def _draw_mapping(self) -> None:
        self._mapping.clear()
        with self._mapping:
            part("h2", "Meaning of the columns")
            prose("Burnish recognizes usual names. Choose here if it could not, or guessed wrong.", "help")
            if not self._shapes:
                return
            shape = str(self._draft.options.get("data.shape", _AUTO))
            names = {name: f"{name}: {' + '.join(one['fields'])}" for name, one in self._shapes.items()}
            choice(
                "One row is", self._pick_shape, {_AUTO: "recognized by its columns", **names}, shape, term="data.shape"
            )
            mapped = self._draft.options.get("data.columns") or {}
            for name in self._shapes[shape]["fields"] if shape in self._shapes else ():
                columns = {_AUTO: "not chosen", **{column: column for column in self._columns}}
                now = str(mapped.get(name, name if name in self._columns else _AUTO))
                choice(f"Column for “{name}”", lambda column, name=name: self._map(name, column), columns, now)

    async def _pick_shape(self, shape: str) -> None:
        self._keep("data.shape", shape or None)
        self._keep("data.columns", None)
        self._draw_mapping()
        needed = self._shapes[shape]["fields"] if shape else []
        if all(name in self._columns for name in needed):
            await self._examine()

    async def _map(self, name: str, column: str) -> None:
        mapped = dict(self._draft.options.get("data.columns") or {})
        mapped.pop(name, None)
        if column:
            mapped[name] = column
        self._keep("data.columns", mapped or None)
        shape = str(self._draft.options.get("data.shape", _AUTO))
        if all(one in mapped or one in self._columns for one in self._shapes[shape]["fields"]):
            await self._examine()

    def _share(self, option: str, label: str) -> None:
        shares = {"": "10 %, as usual", "0.05": "5 %", "0.15": "15 %", "0.2": "20 %", "0.3": "30 %"}
        now = str(self._draft.options.get(option, ""))

        async def pick(value: str) -> None:
            self._keep(option, float(value) if value else None)
            await self._examine()

        choice(label, pick, shares, now if now in shares else "", term="data.validation")

    def _rename(self, name: str) -> None:
        draft = self._project.drafts.get(self._draft.id)
        self._draft = self._project.drafts.put(Draft(**{**_fields(draft), "name": shown_name(name)}))

    def _keep(self, option: str, value: Any) -> None:
        self._draft = self._project.drafts.put(self._draft.with_option(option, value))

    def _named(self, text: str) -> str:
        """A text with the user's name of the file in place of where it is kept."""
        kept = text.replace(str(self._draft.options.get("data.path") or "\0"), self._draft.source)
        return self._project.named(kept, self._draft.source)


def _fields(draft: Draft) -> dict[str, Any]:
    return {name: getattr(draft, name) for name in Draft.__dataclass_fields__}
