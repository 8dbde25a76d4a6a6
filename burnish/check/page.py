"""Writes the page about what `burnish check` looks for.

python -m burnish.check.page            writes docs/checking.md
python -m burnish.check.page other.md   writes another file
"""

from __future__ import annotations

import sys
from pathlib import Path

from burnish.check.finding import BLOCKS, kinds

PAGE = Path("docs/checking.md")
_INTRODUCTION = """\
# Checking data

    burnish check rows.jsonl
    burnish check rows.jsonl --model path/to/a/model     tokens and special tokens of that model
    burnish check rows.jsonl --show 3                    the first rows as the model sees them, token by token
    burnish check rows.jsonl --html page.html            the same for the browser
    burnish check rows.jsonl --fix clean.jsonl           a cleaned file

All rows are read twice, a block at a time, so that a large file needs little memory: a few hundred bytes a row are
kept, to find rows that say the same or nearly the same (MinHash over runs of three words). What would take longer than
20 seconds is done on all cores ([measured](performance.md#checking-data)). The exit code is 2 where something was found
that should stop you. Lengths, what is learned, and what does not fit follow from the model's
tokenizer and the task, just as in a run; `data.context` and all other options of a recipe count here too.

`--fix` leaves out rows that cannot be used and rows that say the same as an earlier one, takes out control characters
and repairs text that was decoded by the wrong table. Every change stands in a file beside it, one line each. Nothing
else is touched: what is private, contradicting or out of order is for you to decide.

`burnish train` looks at the first 2,000 rows of each split before it begins, and tells what it found in one line;
what is marked (check only) is left to `burnish check`.

This page is made from `burnish/assets/defects.yaml` by `make docs`.
"""


def page() -> str:
    """The page: every kind of defect, those that block first."""
    parts = [_INTRODUCTION]
    for title, blocks in (("What should stop you", True), ("What to look at", False)):
        parts.append(f"## {title}\n\n| name | what | what to do |\n|---|---|---|")
        for kind in kinds().values():
            if (kind.severity == BLOCKS) == blocks:
                note = "" if kind.is_brief else " (check only)"
                parts[-1] += f"\n| `{kind.name}` | {kind.what}{note} | {kind.fix} |"
        parts[-1] += "\n"
    return "\n".join(parts)


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE).write_text(page(), encoding="utf-8")
