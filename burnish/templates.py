"""The package's templates in `assets/templates`: pages in HTML, cards in Markdown, and scripts in Python.

A template's name ends with what it makes: values in `.html.jinja` are escaped without being asked. Markdown and Python
cannot be escaped without knowing where a value goes, so there each value passes a filter of this module.
"""

from __future__ import annotations

import functools
import json
import math
import re
from typing import TYPE_CHECKING, Any

from burnish.visible import visible

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def render(name: str, /, **values: Any) -> str:
    """The text that a template makes.

    Args:
        name: below `assets/templates`, without the ending `.jinja`.
        values: everything that it uses; a missing one is an error.
    """
    return _environment().get_template(f"{name}.jinja").render(values)


def render_html(name: str, /, **values: Any) -> Markup:
    """Like `render`, for a piece of a page, which is not escaped again where it is put in."""
    from markupsafe import Markup

    return Markup(render(name, **values))


@functools.cache
def _environment() -> Environment:
    # Jinja takes as long to load as the rest of a light command, and most commands write no page.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("burnish", "assets/templates"),
        autoescape=lambda name: name is not None and name.endswith(".html.jinja"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        literal=literal, in_docstring=in_docstring, in_comment=one_line, code=code_span, inline=inline
    )
    return environment


def literal(value: Any) -> str:
    r"""A value as Python code: strings in double quotes, in which nothing ends the string or begins an escape.

    Args:
        value: a string, number, truth value, None, or a list, tuple or dictionary of these.
    """
    if isinstance(value, str):
        # Python knows every escape of JSON, and those of characters that an editor would not show, or show elsewhere.
        return visible(json.dumps(value, ensure_ascii=False), kept="")
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{literal(key)}: {literal(inner)}' for key, inner in value.items())}}}"
    return repr(value)


def yaml_text(values: Any, width: int = 80) -> str:
    """Values as YAML, in the order given. Letters are written as they are, but no character that would act.

    Args:
        values: of the kinds that YAML has.
        width: columns from which a long text is broken.
    """
    import yaml

    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=width)
    return text if visible(text) == text else yaml.safe_dump(values, sort_keys=False, width=width)


def in_docstring(text: str) -> str:
    r"""Words from a run inside a docstring: on one line, and without a backslash or quote that means something."""
    return one_line(text).replace("\\", "\\\\").replace('"', '\\"')


def one_line(text: str) -> str:
    """Text whose line breaks and runs of blanks are single blanks, so that a comment or a cell holds all of it.

    Characters that act instead of being read, or that no source may hold, are written out.
    """
    return visible(" ".join(text.split()))


def inline(text: str) -> str:
    """A sentence from a run in Markdown: on one line, with its words between backticks as code.

    Elsewhere nothing in it is HTML, a link, a picture, a heading or a list, and nothing ends a cell of a table.
    """
    parts = one_line(text).split("`")
    if len(parts) % 2 == 0 or not all(part.strip() for part in parts[1::2]):  # a backtick without another
        return _plain("`".join(parts))
    return "".join(
        _plain(part, is_first=place == 0) if place % 2 == 0 else code_span(part).replace("|", "\\|")
        for place, part in enumerate(parts)
    )


_MARKS = re.compile(r"[\\`*~<|]|(?<!\w)_|_(?!\w)|(?<=\])[(\[:]")
_OPENING = re.compile(r"#{1,6}(?=\s|$)|[+-](?=\s|$)|--|=+$|>|\d+(?=[.)](?:\s|$))")
"""What begins a heading, a list, a quotation or a line at the beginning of a paragraph."""


def _plain(text: str, is_first: bool = True) -> str:
    """Text in Markdown without any of its marks."""
    opening = _OPENING.match(text) if is_first else None
    written = _MARKS.sub(r"\\\g<0>", text)
    if opening is None:
        return written
    end = opening.end()
    return f"{text[:end]}\\{written[end:]}" if text[0].isdigit() else f"\\{written}"


def code_span(text: str) -> str:
    """Words from a run as they are, as code in Markdown: on one line, with `'` for each backtick."""
    return f"`{one_line(text).replace('`', chr(39)) or ' '}`"
