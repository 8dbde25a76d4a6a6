"""Rows of known kinds that cannot be read as they are: why, and what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.data.rows.choices import are_letters, choice_columns, writing_command
from burnish.data.rows.elsewhere import advice_of_trainers, are_examples
from burnish.data.rows.nested import nested_advice
from burnish.data.rows.printed import as_object
from burnish.data.rows.row import quoted
from burnish.data.rows.two_answers import picked_advice, ranked_advice
from burnish.data.rows.typed import mapping
from burnish.data.rows.written_talks import is_written_out, talk_advice

IDS = re.compile(
    r"(?:.*[\W_])?(?:id|ids|idx|index|nr|no|number|date|time|year|url|file|filename|split|set)|\w*id\d?", re.IGNORECASE
)
"""Names of columns that say where a row is from, or which it is."""


RIGHT = ("correct_answer", "right_answer", "best_answer", "correct_response", "gold_response")
"""Names of columns with the right one of several answers."""
_ASKED = ("question", "query", "prompt", "problem", "goal", "stem", "instruction", "input", "sentence", "premise")


def advice(sample: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> tuple[str, str] | None:
    """Why rows of a known kind cannot be read as they are, and what to do; None for others.

    Args:
        sample: values of the first rows, at least one.
        names: the columns, by their names in lower case.
    """
    first = sample[0]
    if advised := advice_of_trainers(sample):
        return advised
    if choices := choice_columns(names.values(), sample):
        return _choose(choices, sample, names)
    texts = [name for name, cell in first.items() if isinstance(cell, str) and not IDS.fullmatch(name)]
    if "answer_start" in names and len(texts) < 3 and not {"answer", "answers", "answer_text"} & names.keys():
        return (
            "`answer_start` says where an answer begins, and no column has its text.",
            "Write the text of each answer, from its first character to its last, in a column `answer`",
        )
    translated = next((name for name, cell in first.items() if _is_translated(cell)), None)
    if translated is not None:
        one, other = list(first[translated])[:2]
        return (
            f"`{translated}` has one text in each of several languages: {quoted(first[translated])}.",
            f"Write the text to translate in a column `source` and its translation in `target`: `jq -c "
            f"'{{source: .{translated}.{one}, target: .{translated}.{other}}}' IN.jsonl > OUT.jsonl`",
        )
    if calls := next((name for name, cell in first.items() if _are_calls(cell)), None):
        asked = next((names[name] for name in _ASKED if name in names), "query")
        answer = f'{{role: "assistant", tool_calls: (.{calls} | if type == "string" then fromjson else . end)}}'
        form = f'{{messages: [{{role: "user", content: .{asked}}}, {answer}], tools}}'
        return (
            f"`{calls}` seems to hold calls of tools. As an answer in words they would be learned in another form than "
            "that of the chat template.",
            f"Write them into messages: `jq -c '{form}' IN.jsonl > OUT.jsonl`",
        )
    inner = next((name for name, cell in first.items() if are_examples(cell)), None)
    if inner is not None and "instruction" in names:
        form = f". as $row | .{inner}[] | {{instruction: $row.{names['instruction']}, input, output}}"
        return (
            f"`{inner}` seems to hold several inputs, each with its output.",
            f"Write a row for each: `jq -c '{form}' IN.jsonl > OUT.jsonl`",
        )
    if isinstance(first.get("mapping"), Mapping):
        return (
            "It seems to be the export of a chat, whose `mapping` holds a tree of messages.",
            'Write each conversation as one row: `{"messages": [{"role": "user", "content": ...}, ...]}`',
        )
    if any(name.startswith("#format=webanno") for name in names):
        return (
            "It is a file of INCEpTION or WebAnno in their own format, WebAnno TSV.",
            "Export it again as `CoNLL 2002`, whose `.conll` files are read as they are",
        )
    if "positive" in names and not {"anchor", "query"}.isdisjoint(names) or {"query", "pos", "neg"} <= names.keys():
        return (
            "They seem to be for a model that embeds texts, which no task of Burnish learns.",
            "To learn whether two texts belong together, write each pair as a row with `text1`, `text2` and `label`",
        )
    if advised := picked_advice(sample) or ranked_advice(first, is_written_out):
        return advised
    return talk_advice(sample) or nested_advice(first)


def _choose(choices: Sequence[str], sample: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> tuple[str, str]:
    """What to do with answers to choose from: the prompt has to have them, or the right ones are learned alone."""
    asked, right = (
        next((names[name] for name in known if name in names and isinstance(sample[0].get(names[name]), str)), None)
        for known in (_ASKED, (*RIGHT, "answer", "answer_text", "correct", "solution"))
    )
    alone = ""
    if asked and right and right not in choices and not are_letters(values.get(right) for values in sample):
        command = f"{mapping(prompt=asked, completion=right)[:-1]} --set data.shape=prompt-completion`"
        alone = f". To learn the right ones without them: {command}"
    return (
        f"{quoted(choices, 5)} seem{'s' if len(choices) == 1 else ''} to hold the answers to choose from.",
        "Write the choices into the question of each row, in a column `prompt`, and the text of the right one in a "
        f"column `completion`{f': {command}' if (command := writing_command(choices, sample)) else ''}{alone}",
    )


def _are_calls(cell: Any) -> bool:
    """Whether a cell is a list of calls of tools, each with a name and arguments."""
    found = as_object(cell)
    return (
        isinstance(found, list)
        and bool(found)
        and all(isinstance(one, Mapping) and isinstance(one.get("name"), str) and "arguments" in one for one in found)
    )


def _is_translated(cell: Any) -> bool:
    is_named = (
        isinstance(cell, Mapping)
        and len(cell) > 1
        and all(re.fullmatch(r"[a-z]{2,3}(?:[-_]\w+)?", str(key)) for key in cell)
    )
    return is_named and all(isinstance(text, str) for text in cell.values())
