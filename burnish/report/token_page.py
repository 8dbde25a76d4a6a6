"""Rows as the model sees them, as a page for the browser."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

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
