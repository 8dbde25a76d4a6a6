"""Generates the options page of the documentation from the schema.

python -m burnish.recipe.reference            writes docs/options.md
python -m burnish.recipe.reference other.md   writes another file
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from burnish.recipe.names import expected, options, sections

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

PAGE = Path("docs/options.md")
_INTRODUCTION = """\
# Options

Every option of a recipe. `make docs` generates this page from `burnish/recipe/schema.py`.

An option is set in a recipe file, on the command line or in Python; all three build the same recipe:

```yaml
# recipe.yaml, for `burnish train recipe.yaml`
data:
  path: rows.jsonl
train:
  epochs: 2
```

```sh
burnish train rows.jsonl --set train.epochs=2
```

```python
burnish.train("rows.jsonl", epochs=2)
burnish.train("rows.jsonl", set={"train.epochs": 2})
```

A flag or `--set` overrides the file, and the file overrides the default. `auto` is resolved before training starts; the
run folder's `recipe.yaml` has the resolved values.
"""


def options_page() -> str:
    """The page as Markdown: the top-level options first, then one table per section."""
    top = {name: field for name, field in options().items() if "." not in name}
    parts = [_INTRODUCTION, "## The run\n", _table(top)]
    for section, kind in sections().items():
        inner = {name: field for name, field in options().items() if name.startswith(f"{section}.")}
        summary = (kind.__doc__ or "").strip().splitlines()[0]
        parts += [f"## `{section}`\n", f"{summary}\n", _table(inner)]
    return "\n".join(parts)


def main(arguments: Sequence[str]) -> None:
    """Writes the page."""
    path = Path(arguments[0]) if arguments else PAGE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(options_page(), encoding="utf-8")


def _table(fields: dict[str, FieldInfo]) -> str:
    rows = ["| Option | Takes | Default | What it does |", "|---|---|---|---|"]
    for name, field in fields.items():
        help_text = " ".join((field.description or "").split())
        cells = (f"`{name}`", expected(field), _default(field), help_text)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "nothing"
    if value == "":
        return "(required)"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


if __name__ == "__main__":
    main(sys.argv[1:])
