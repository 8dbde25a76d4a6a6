"""Which conversations each public chat template learns as it writes them: the table of docs/templates.md.

    python bench/templates.py FOLDER [--out docs/templates.md] [--only NAME] [--show]

FOLDER holds template files and `templates.json`: for each its `file`, `name`, `source`, `bos`, `eos`, the texts of its
`special` and `added` tokens, `ends` (tokens that may end an answer) and `thinking` (what turns its thoughts on, as
keyword arguments of the template). The templates stay out of this repository. Ends with 1 if a cell is silently wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from page import write_between
from template_cells import CELLS, Outcome, try_cell
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast


def main() -> None:
    """Tries every cell, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--show", action="store_true", help="the reasons of cells that are not right")
    options = parser.parse_args()
    entries = json.loads((options.folder / "templates.json").read_text(encoding="utf-8"))
    rows: list[tuple[dict[str, Any], dict[str, Outcome]]] = []
    for entry in sorted(entries, key=lambda entry: entry["name"].lower()):
        if options.only not in entry["file"]:
            continue
        text = read_template(options.folder, entry)
        found = {
            cell: try_cell(make_tokenizer(entry, text), cell, entry["ends"], kwargs_of(entry, cell)) for cell in CELLS
        }
        rows.append((entry, found))
        print(f"{entry['file']:60}", " | ".join(f"{outcome.state:8}" for outcome in found.values()), flush=True)
        for cell, outcome in found.items() if options.show else ():
            if outcome.reason:
                form = "rendered" if outcome.is_rendered else "not rendered"
                print(f"      {cell} ({form}): {outcome.reason[:700]}")
    print(summary(rows))
    if options.out:
        write_between(options.out, "templates", table(rows))
    sys.exit(any(outcome.state == "WRONG" for _, found in rows for outcome in found.values()))


def read_template(folder: Path, entry: dict[str, Any]) -> str | dict[str, str]:
    """The template; one for tools alone together with the `default` beside it."""
    text = (folder / entry["file"]).read_text(encoding="utf-8")
    if "default" not in entry:
        return text
    return {"default": (folder / entry["default"]).read_text(encoding="utf-8"), "tool_use": text}


def kwargs_of(entry: dict[str, Any], cell: str) -> dict[str, Any]:
    """What the template is given beside the messages."""
    return entry["thinking"] if "thought" in cell else {}


def make_tokenizer(entry: dict[str, Any], template: str | dict[str, str]) -> PreTrainedTokenizerFast:
    """A tokenizer of single bytes with the added tokens of a template."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={sign: number for number, sign in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in entry["special"]])
    core.add_tokens([AddedToken(text, normalized=False, special=False) for text in entry["added"]])
    made = PreTrainedTokenizerFast(tokenizer_object=core, bos_token=entry["bos"], eos_token=entry["eos"])
    made.chat_template = template
    return made


def summary(rows: list[tuple[dict[str, Any], dict[str, Outcome]]]) -> str:
    """The totals as sentences."""
    outcomes = [outcome for _, found in rows for outcome in found.values()]
    rendered = [outcome for outcome in outcomes if outcome.is_rendered]
    right = sum(outcome.state == "right" for outcome in rendered)
    states = Counter(outcome.state for outcome in outcomes if not outcome.is_rendered)
    names = {"right": "with the thought where the template opens or has one"}
    others = ", ".join(f"{number} {names.get(state, state)}" for state, number in sorted(states.items()))
    wrong = sum(outcome.state == "WRONG" for outcome in outcomes)
    return (
        f"{len(rows)} templates, {len(outcomes)} cells. The template itself can write {len(rendered)} of them: {right} "
        f"are learned as it writes them ({right / max(1, len(rendered)):.1%}). Of the others: {others}. "
        f"Silently wrong: {wrong}."
    )


_MARKS = {"right": "✓", "as text": "as text", "left out": "thought left out", "WRONG": "**wrong**"}


def table(rows: list[tuple[dict[str, Any], dict[str, Outcome]]]) -> str:
    """The summary, the table, and the reasons of what is refused as notes below it."""
    reasons: dict[str, int] = {}
    lines = ["| template | " + " | ".join(CELLS) + " | source |", "|---" * (len(CELLS) + 2) + "|"]
    for entry, found in rows:
        marks = []
        for outcome in found.values():
            number = reasons.setdefault(outcome.reason, len(reasons) + 1) if outcome.state == "refused" else 0
            marks.append(_MARKS.get(outcome.state, f"refused ({number})"))
        given = "".join(f", `{name}: {json.dumps(value)}`" for name, value in entry["thinking"].items())
        lines.append(f"| {entry['name']}{given} | " + " | ".join(marks) + f" | {entry['source']} |")
    notes = [f"{number}. {reason.replace('<', '&lt;')}" for reason, number in reasons.items()]
    return "\n".join([summary(rows), "", *lines, "", *notes])


if __name__ == "__main__":
    main()
