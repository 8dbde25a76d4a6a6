"""HTML, piece by piece. Whatever comes from a run is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any


class Html(str):
    """Text that is HTML already, and is not escaped again."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page."""

    name: str
    """For links within the page."""
    title: str
    body: Html


def safe(value: object) -> Html:
    """A value as HTML: escaped, unless it is HTML."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def join(parts: Iterable[object], between: str = "\n") -> Html:
    """Pieces one after another."""
    return Html(between.join(safe(part) for part in parts))


def tag(name: str, content: object = "", **attributes: str) -> Html:
    """An element. An attribute's trailing underscore is dropped (`class_`), others become hyphens."""
    told = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items())
    return Html(f"<{name}{told}>{safe(content)}</{name}>")


def paragraph(content: object, kind: str = "") -> Html:
    """A paragraph; `kind` is its class."""
    return tag("p", content, class_=kind) if kind else tag("p", content)


def code(text: str) -> Html:
    """Words as they are typed."""
    return tag("code", text)


def prose(text: str) -> Html:
    """A sentence in which what stands between backticks is typed."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return safe(text)
    return join((code(part) if place % 2 else part for place, part in enumerate(parts)), "")


def block(text: str) -> Html:
    """Lines as they are typed."""
    return tag("pre", tag("code", text))


def table(
    columns: Sequence[object], rows: Iterable[Sequence[object]], figures: Iterable[int] = (), caption: str = ""
) -> Html:
    """A table that scrolls within itself where it is too wide.

    Args:
        columns: headings.
        rows: cells; the first of each row is its heading.
        figures: numbers of the columns that hold figures, which stand right.
        caption: what the table shows; empty where a heading above says so.
    """
    right = set(figures)
    kinds = ["n" if number in right else "" for number in range(len(columns))]
    lines = [list(zip(row, kinds, strict=True)) for row in rows]
    head = join((_cell("th", cell, kind, "col") for cell, kind in zip(columns, kinds, strict=True)), "")
    body = join(_row(line) for line in lines)
    told = tag("caption", caption) if caption else ""
    inner = join([told, tag("thead", tag("tr", head)), tag("tbody", body)], "")
    return tag("div", tag("table", inner), class_="wide")


def _row(line: Sequence[tuple[object, str]]) -> Html:
    return tag("tr", join((_body_cell(cell, kind, place) for place, (cell, kind) in enumerate(line)), ""))


def _body_cell(cell: object, kind: str, place: int) -> Html:
    return _cell("th", cell, kind, "row") if place == 0 else _cell("td", cell, kind)


def _cell(name: str, content: object, kind: str, scope: str = "") -> Html:
    attributes = {**({"class_": kind} if kind else {}), **({"scope": scope} if scope else {})}
    return tag(name, content, **attributes)


def facts(pairs: Iterable[tuple[str, object]]) -> Html:
    """Names and what they are; pairs with nothing to tell are left out."""
    told = [(name, value) for name, value in pairs if value not in ("", None)]
    return tag("dl", join(tag("div", join([tag("dt", name), tag("dd", value)], "")) for name, value in told))


def unfold(summary: object, content: object) -> Html:
    """Something that is shown when it is asked for."""
    return tag("details", join([tag("summary", summary), content]))


def items(entries: Iterable[object]) -> Html:
    """A list."""
    return tag("ul", join(tag("li", entry) for entry in entries))


def figure(picture: Html, caption: object = "") -> Html:
    """A picture with what it shows."""
    return tag("figure", join([picture, tag("figcaption", caption) if caption else Html("")]))


def shortened(text: str, most: int) -> str:
    """A text that is cut where it is longer, and says so."""
    return text if len(text) <= most else f"{text[:most]} … ({len(text) - most:,} more characters)"


_STYLE = """
body { font: 15px/1.7 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222;
  background: #fff }
h2 { font-size: 1rem; margin: 2rem 0 .3rem } h3 { font-size: .85rem; margin: .8rem 0 .2rem; color: #666 }
.tokens { font-family: ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere }
.t { border-radius: 3px; padding: 1px 0; background: #eee; box-shadow: inset -1px 0 #fff }
.learned { background: #bfe5c5 } .special { color: #a0209a; font-weight: 600 } .note { color: #666 }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } .t { background: #333;
  box-shadow: inset -1px 0 #181818 } .learned { background: #1f5a2c } .special { color: #f0a0ea } }
"""


def token_page(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """A whole HTML page, which needs nothing else.

    Args:
        rows: maps with `place` and `passages`; a passage has `name`, `note` and `tokens`, a token `id`, `text`,
            `is_learned` and `is_special`.
        title: of the page.
    """
    legend = (
        '<p class="note">Every token that the model reads. <span class="t learned">Green</span> ones are learned, '
        '<span class="t">grey</span> ones only read; <span class="t special">special</span> ones mark turns and ends. '
        "Point at a token for its number.</p>"
    )
    body = "\n".join(token_row(row) for row in rows)
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<style>{_STYLE}</style></head>\n<body><h1>{escape(title)}</h1>'
        f"\n{legend}\n{body}\n</body></html>\n"
    )


def token_row(row: Mapping[str, Any], level: int = 2) -> str:
    """One row as HTML, for a page with the styles of `token_page`; its heading is of a level."""
    parts = [f"<h{level}>{escape(row['place'])}</h{level}>"]
    for passage in row["passages"]:
        if passage["name"]:
            parts.append(f"<h{level + 1}>{escape(passage['name'])}</h{level + 1}>")
        parts.append(f'<div class="tokens">{"".join(_spans(passage["tokens"]))}</div>')
        if passage["note"]:
            parts.append(f'<p class="note">{escape(passage["note"])}</p>')
    return "\n".join(parts)


def _spans(tokens: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for token in tokens:
        kinds = ["t", *(["learned"] if token["is_learned"] else []), *(["special"] if token["is_special"] else [])]
        shown = escape(token["text"]).replace("\n", "⏎\n") or "·"
        yield f'<span class="{" ".join(kinds)}" title="{token["id"]}">{shown}</span>'
