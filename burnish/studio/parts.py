"""What pages are built of: plain HTML elements whose texts are text, never markup, with a name for screen readers.

The browser keeps what a user types: a field has an initial value, and its changes come as events.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from markupsafe import Markup
from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from burnish.errors import BurnishError
from burnish.glossary import UnknownTerm, find_term
from burnish.visible import visible

_SENDS_VALUE = "(event) => emit(event.target.value)"
_SENDS_CHECKED = "(event) => emit(event.target.checked)"
_numbers = itertools.count(1)

Part = ui.element


def part(name: str, text: str = "", kind: str = "", **attributes: Any) -> Part:
    """An element with a text.

    Args:
        name: of the element in HTML.
        text: shown as it is; from anywhere.
        kind: classes of the stylesheet.
        attributes: of the element; an underscore is a hyphen, None leaves one out.
    """
    made = TextElement(tag=name, text=visible(text)) if text else ui.element(name)
    if kind:
        made.classes(kind)
    for key, value in attributes.items():
        if value is not None:
            made.props[key.rstrip("_").replace("_", "-")] = value
    return made


def words(text: str, kind: str = "", name: str = "div", **attributes: Any) -> TextElement:
    """An element whose text changes; see `part`."""
    made = TextElement(tag=name, text=visible(text))
    if kind:
        made.classes(kind)
    for key, value in attributes.items():
        made.props[key.rstrip("_").replace("_", "-")] = value
    return made


def group(kind: str = "", name: str = "div", **attributes: Any) -> AbstractContextManager[Part]:
    """An element that holds others."""
    return part(name, kind=kind, **attributes)


def prose(text: str, kind: str = "", name: str = "p") -> None:
    """A sentence in which the words between backticks are code."""
    pieces = visible(text).split("`")
    if len(pieces) % 2 == 0:
        part(name, text, kind)
        return
    with part(name, kind=kind):
        for place, piece in enumerate(pieces):
            if piece:
                part("code" if place % 2 else "span", piece)


def markup(made: Markup, kind: str = "") -> Part:
    """What one of our own templates or charts has made, in which everything from elsewhere is escaped."""
    return ui.html(str(made), sanitize=False).classes(kind)


def button(text: str, action: Callable[[], Any], kind: str = "", **attributes: Any) -> Part:
    """A button; `kind` is `primary`, `danger` or `quiet`."""
    made = part("button", text, f"button {kind}".strip(), type="button", **attributes)
    made.on("click", action, js_handler="() => emit()")
    return made


def link(text: str, to: str, kind: str = "", **attributes: Any) -> Part:
    """A link to a page of ours.

    Args:
        text: of the link.
        to: its address, of which everything from elsewhere is quoted.
        kind: classes of the stylesheet.
        attributes: further ones.
    """
    return part("a", text, kind, href=to, **attributes)


def explain_term(term: str) -> None:
    """What the glossary says of a term or an option, one hover or one focus away; nothing where it has neither."""
    try:
        found = find_term(term)
    except UnknownTerm:
        return
    name = f"tip{next(_numbers)}"
    with part(
        "span", kind="term", tabindex=0, role="button", aria_label=f"What is {found.name}?", aria_describedby=name
    ):
        part("span", "?", aria_hidden="true")
        part("span", found.meaning, "tip", role="tooltip", id=name)


def field(label: str, change: Callable[[str], Any], value: str = "", **more: Any) -> Part:
    """A line of text with its label. Changes come when it is left, or Enter is pressed.

    Args:
        label: above it.
        change: receives the text.
        value: at first.
        more: `help` below it, `term` of the glossary, `live` for changes as they are typed, `kind`, and attributes.
    """
    return _labelled(label, more, lambda name, attributes: _input(name, change, value, attributes))


def text_area(label: str, change: Callable[[str], Any], value: str = "", **more: Any) -> Part:
    """Several lines of text with their label; see `field`."""

    def made(name: str, attributes: dict[str, Any]) -> Part:
        live = attributes.pop("live", False)
        area = part("textarea", value, "input", id=name, **attributes)
        area.on("input" if live else "change", lambda event: change(str(event.args)), js_handler=_SENDS_VALUE)
        return area

    return _labelled(label, more, made)


def choice(label: str, change: Callable[[str], Any], values: Mapping[str, str], value: str, **more: Any) -> Part:
    """One of several values.

    Args:
        label: above it.
        change: receives the chosen value.
        values: each with the text that is shown.
        value: at first.
        more: see `field`.
    """

    def made(name: str, attributes: dict[str, Any]) -> Part:
        select = part("select", kind="input", id=name, **attributes)
        with select:
            for one, text in values.items():
                part("option", text or " ", value=one, **({"^selected": ""} if one == value else {}))
        select.on("change", lambda event: change(str(event.args)), js_handler=_SENDS_VALUE)
        return select

    return _labelled(label, more, made)


def slider(label: str, change: Callable[[int], Any], numbers: Sequence[int], value: int, **more: Any) -> Part:
    """One of a few numbers, with the number beside it.

    Args:
        label: above it.
        change: receives the number when the slider is let go.
        numbers: its positions, ascending.
        value: at first; one of them.
        more: see `field`.
    """

    def made(name: str, attributes: dict[str, Any]) -> Part:
        with group("slider"):
            place = numbers.index(value)
            attributes = {"min": 0, "max": len(numbers) - 1, "step": 1, "^value": place, **attributes}
            bar = part("input", type="range", id=name, aria_valuetext=f"{value:,}", **attributes)
            shown = words(f"{value:,}", "number", "output", for_=name)

            def show(event: Any) -> None:
                number = f"{numbers[int(event.args)]:,}"
                shown.set_text(number)
                bar.props["aria-valuetext"] = number  # a screen reader says the number, not its place
                bar.update()

            bar.on("change", lambda event: change(numbers[int(event.args)]), js_handler=_SENDS_VALUE)
            bar.on("input", show, js_handler=_SENDS_VALUE, throttle=0.1)
        return bar

    return _labelled(label, more, made)


def checkbox(label: str, change: Callable[[bool], Any], value: bool = False, **attributes: Any) -> Part:
    """A box to be ticked, with its label."""
    with group("check", "label"):
        box = part("input", type="checkbox", **({"^checked": ""} if value else {}), **attributes)
        box.on("change", lambda event: change(bool(event.args)), js_handler=_SENDS_CHECKED)
        part("span", label)
    return box


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = (), caption: str = ""
) -> None:
    """A table of texts that scrolls within itself where it is too wide; `numbers` are the columns aligned right."""
    with group("wide", tabindex=0, role="region", aria_label=caption or "table"), group("", "table"):
        if caption:
            part("caption", caption)
        with group("", "thead"), group("", "tr"):
            for place, column in enumerate(columns):
                part("th", column or " ", "n" if place in numbers else "", scope="col")
        with group("", "tbody"):
            for row in rows:
                with group("", "tr"):
                    for place, cell in enumerate(row):
                        part("td", cell or " ", "n" if place in numbers else "")


def facts(pairs: Sequence[tuple[str, str]]) -> None:
    """Names and values; pairs without a value are left out."""
    with group("facts", "dl"):
        for name, value in pairs:
            if value:
                with group():
                    part("dt", name)
                    part("dd", value)


def notice(text: str, kind: str = "note", role: str | None = None) -> None:
    """A sentence in a box: `note`, `warning`, `bad` or `good`."""
    prose(text, f"notice {kind}", "p") if role is None else _announced(text, kind, role)


def refusal(error: BurnishError | Mapping[str, Any]) -> None:
    """An error in its three parts."""
    given = error if isinstance(error, Mapping) else {"what": error.what, "why": error.why, "fix": error.fix}
    what, why, fix = (str(given.get(name) or "").strip() for name in ("what", "why", "fix"))
    with group("notice bad", role="alert"):
        prose(f"{what[:1].upper()}{what[1:]}{'' if what.endswith('.') else '.'}", "strong")
        if why:
            prose(why)
        if fix:
            prose(fix if fix.endswith("?") else f"{fix.rstrip('.')}.")


def loading(text: str) -> Part:
    """Something that is still being made."""
    made = group("loading", role="status", aria_live="polite")
    with made as shown:
        part("span", kind="pulse", aria_hidden="true")
        part("span", text)
    return shown


def empty(title: str, text: str) -> None:
    """What is shown where there is nothing yet, with what to do."""
    with group("empty"):
        part("h2", title)
        prose(text)


def details(title: str, is_open: bool = False) -> AbstractContextManager[Part]:
    """Something that is shown when it is asked for."""
    made = part("details", **({"^open": ""} if is_open else {}))
    with made:
        part("summary", title)
    return made


def _announced(text: str, kind: str, role: str) -> None:
    with group(f"notice {kind}", role=role):
        prose(text)


def _input(name: str, change: Callable[[str], Any], value: str, attributes: dict[str, Any]) -> Part:
    live = attributes.pop("live", False)
    attributes = {"type": "text", "autocomplete": "off", "spellcheck": "false", **attributes}
    made = part("input", kind="input", id=name, **{"^value": value}, **attributes)
    made.on(
        "input" if live else "change",
        lambda event: change(str(event.args)),
        js_handler=_SENDS_VALUE,
        throttle=0.2 if live else 0.0,
    )
    return made


def _labelled(label: str, more: Mapping[str, Any], made: Callable[[str, dict[str, Any]], Part]) -> Part:
    """A field below its label, and what helps with it below that."""
    attributes = dict(more)
    helps, term, kind = (attributes.pop(key, "") for key in ("help", "term", "kind"))
    name = f"field{next(_numbers)}"
    with group(f"field {kind}".strip()):
        with group("field-head"):
            part("label", label, for_=name)
            if term:
                explain_term(term)
        if helps:
            attributes["aria_describedby"] = f"{name}-help"
        found = made(name, attributes)
        if helps:
            prose_id = part("p", kind="help", id=f"{name}-help")
            with prose_id:
                prose(helps, name="span")
    return found
