"""A commented recipe: what is known of a run as values, what is often changed as comments beside them."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from burnish.recipe.names import options
from burnish.templates import one_line, yaml_text

_WIDTH = 100
_HEAD = """\
# A recipe for {what}. Train it with `burnish train FILE`.
# Lines that begin with `# ` and an option are its default: remove the `# ` to change it.
# `burnish options` lists all options, and `burnish options WORD` those that a word leads to.
"""


def starter_recipe(written: Mapping[str, Any], usual: Collection[str], sections: Sequence[str], what: str) -> str:
    """The recipe as YAML, in the order of the schema.

    Args:
        written: values of options by dotted name.
        usual: options that are shown with their defaults, as comments.
        sections: beginnings of the names of further such options, as `tag.`.
        what: the rows, for the first line.
    """
    shown = [name for name in options() if name in written or name in usual or any(map(name.startswith, sections))]
    lines = [_HEAD.format(what=one_line(what)).rstrip()]
    section = ""
    for name in shown:
        parent, _, last = name.rpartition(".")
        if parent != section:
            lines += ["", f"{parent}:"]
            section = parent
        elif not parent:
            lines.append("")
        lines += _option(name, last, "  " if parent else "", written)
    return "\n".join(lines) + "\n"


def _option(name: str, last: str, indent: str, written: Mapping[str, Any]) -> list[str]:
    """The help of an option as comments, and its value, which is a comment, too, if it is the default."""
    field = options()[name]
    help_text = one_line(field.description or "")
    mark = f"{indent}# "
    comment = textwrap.wrap(help_text, _WIDTH, initial_indent=mark, subsequent_indent=mark, break_on_hyphens=False)
    value = written[name] if name in written else field.get_default(call_default_factory=True)
    start = indent if name in written else mark
    return [*comment, *(f"{start}{line}" for line in yaml_text({last: value}, _WIDTH).rstrip().splitlines())]
