"""Columns with the answers to choose from: a list, an object with a letter for each, or a column for each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from burnish.data.labels.cells import as_flag
from burnish.data.labels.missing import spelled
from burnish.data.rows.elsewhere import jq_path
from burnish.data.rows.printed import as_object
from burnish.data.rows.row import words_of
from burnish.data.rows.typed import jq_command

_LISTED = {"choices", "options", "candidates", "endings", "distractors", "alternatives"}
"""Last words in the names of columns that hold several of them."""
_NAMED = re.compile(
    r"(?:option|choice|opt?|sol|ending|distractor|alternative|(?:wrong|incorrect|false)[ _-]?answer)"
    r"[ _-]?(?:[a-h]|[0-9])",
    re.IGNORECASE,
)
_LETTERED = re.compile(r"(?:answer[ _-]?)?(?:[a-e]|[0-4])", re.IGNORECASE)
_FEWEST_NAMED, _FEWEST_LETTERED = 2, 3
"""So many columns that are called `option1`, `option2` and so on, or `A`, `B`, `C`, are answers to choose from."""
_KEY = re.compile(r"\W*(?:(?:option|choice|answer)[ _-]?)?(?:[a-h]|[0-9])\W*", re.IGNORECASE)
_MARKED = re.compile(r"(?:^|[\s,;|])\(?([a-e1-5])\s?[).:]", re.IGNORECASE)
"""A choice in a text that lists them: `A) red B) blue`, `a ) 38 , b ) 27`."""
_SAMPLE = 20


def choice_columns(columns: Iterable[str], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns that hold answers to choose from; empty if none does.

    Args:
        columns: those that may.
        rows: values by column, at least one.
    """
    columns, sample = [str(name) for name in columns], rows[:_SAMPLE]
    listed = [name for name in columns if any(_holds_choices(name, values.get(name)) for values in sample)]
    if listed:
        return listed
    kinds = ((_NAMED, _FEWEST_NAMED, _is_answer), (_LETTERED, _FEWEST_LETTERED, _is_no_flag))
    for pattern, fewest, fits in kinds:
        found = [name for name in columns if pattern.fullmatch(name) and any(fits(one.get(name)) for one in sample)]
        if len(found) >= fewest:
            return found
    return []


def _holds_choices(name: str, cell: Any) -> bool:
    cell = as_object(cell)
    if isinstance(cell, Mapping) and "choices" in cell and len(cell) > 1:
        return _are_several(cell["choices"])  # a question with its choices, or these with which of them are right
    if words_of(name.rstrip("0123456789_ "))[-1] not in _LISTED:
        return False
    if isinstance(cell, str):
        return len({mark.lower() for mark in _MARKED.findall(cell)} & set("ab12")) > 1
    if isinstance(cell, Mapping):
        are_lettered = len(cell) > 1 and all(_KEY.fullmatch(str(key)) for key in cell)
        return are_lettered or _are_several(cell.get("text"))
    return _are_several(cell)


def _are_several(cell: Any) -> bool:
    return isinstance(cell, (list, tuple)) and len(cell) > 1


def _is_answer(cell: Any) -> bool:
    return isinstance(cell, (str, int, float)) and bool(str(cell).strip())


def _is_no_flag(cell: Any) -> bool:
    """Whether a cell may be an answer, and no mark for yes or no."""
    return _is_answer(cell) and as_flag(cell) is None


def are_letters(cells: Iterable[Any]) -> bool:
    """Whether most answers only say which choice is right: `B`, `(c)`, `2` or `option1`."""
    texts = [str(cell).strip() for cell in cells if cell is not None]
    return bool(texts) and 2 * sum(bool(_KEY.fullmatch(text)) for text in texts) > len(texts)


_ASKED = (
    "question", "query", "prompt", "problem", "goal", "stem", "ctx", "instruction", "input", "sentence", "premise",
)  # fmt: skip
_PASSAGES = ("article", "passage", "context", "paragraph", "support", "fact1")
"""Columns with a text that a question is about."""
_RIGHT_ONES = (
    "answer", "answerkey", "answer_key", "answer_idx", "answer_index", "correct_option", "correct", "correct_answer",
    "right_answer", "best_answer", "gold", "label", "labels", "cop", "target", "solution",
)  # fmt: skip
"""Columns that say which choice is right, best first."""
_LETTERS = "ABCDEFGHIJKLMNOP"
_ENOUGH = 0.9
"""Share of rows whose answer has to be one of the choices."""


def writing_command(choices: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """The command that writes choices into the question of each row, and the right one as its completion.

    Args:
        choices: the columns with the choices.
        rows: values by column, at least one.

    Returns:
        Empty where it is not clear which the right ones are.
    """
    sample = rows[:_SAMPLE]
    names = {str(name).lower(): str(name) for name in sample[0]}
    asked = next((names[name] for name in _ASKED if isinstance(sample[0].get(names.get(name, "")), str)), None)
    for right in (names[name] for name in _RIGHT_ONES if name in names and names[name] not in choices):
        listed, keys = _listed(choices, sample[0]), _keys(choices, sample[0])
        are_wrong = not _WRONG.isdisjoint(words_of(choices[0])) and len(choices) > 1
        if are_wrong and listed is not None:
            listed = f"{listed[:-1]}, {jq_path(right)}] | sort"
        place = _place(right, choices, sample, keys, are_wrong)
        if asked is None or listed is None or place is None:
            continue
        passage = next((names[name] for name in _PASSAGES if isinstance(sample[0].get(names.get(name, "")), str)), None)
        before = f'{jq_path(passage)} + "\\n\\n" + ' if passage is not None and passage != asked else ""
        lines = f'[range($all | length) as $n | "{_LETTERS}"[$n:$n + 1] + ") " + ($all[$n] | tostring)]'
        form = f"({listed}) as $all | ({place}) as $i | select($i != null) | {{prompt: ({before}{jq_path(asked)} + "
        form += f'"\\n" + ({lines} | join("\\n"))), completion: $all[$i]}}'
        return jq_command(form)
    return ""


_WRONG = {"distractor", "distractor0", "distractor1", "distractor2", "distractor3", "wrong", "incorrect", "false"}


def _listed(choices: Sequence[str], first: Mapping[str, Any]) -> str | None:
    """How jq lists the texts of the choices; None where they have another form."""
    if len(choices) > 1:
        return f"[{', '.join(map(jq_path, choices))}]"
    path, cell = jq_path(choices[0]), first.get(choices[0])
    if isinstance(cell, Mapping):
        if isinstance(cell.get("text"), list):
            return f"{path}.text"
        return f"[{path}[]]" if all(isinstance(one, str) for one in cell.values()) else None
    if not isinstance(cell, list):
        return None
    return f"[{path}[].text]" if all(isinstance(one, Mapping) and "text" in one for one in cell) else path


def _keys(choices: Sequence[str], first: Mapping[str, Any]) -> str | None:
    """How jq lists what the choices are called, such as letters; None where they have no names."""
    path, cell = jq_path(choices[0]), first.get(choices[0])
    if len(choices) > 1:
        return None
    if isinstance(cell, Mapping):
        return f"{path}.label" if "label" in cell else None if "text" in cell else f"({path} | keys_unsorted)"
    is_named = isinstance(cell, list) and all(isinstance(one, Mapping) and "label" in one for one in cell)
    return f"[{path}[].label]" if is_named else None


def _place(
    right: str, choices: Sequence[str], sample: Sequence[Mapping[str, Any]], keys: str | None, are_wrong: bool
) -> str | None:
    """How jq finds the place of the right choice, counted from 0; None where the cells do not say it."""
    cells = [text for values in sample if (text := spelled(values.get(right)))]
    path = jq_path(right)
    if not cells:
        return None
    if keys is not None and all(len(cell) < _SHORT for cell in cells):
        return f"({path} | tostring) as $key | {keys} | map(tostring) | index($key)"
    if all(len(cell) == 1 and cell.upper() in _LETTERS for cell in cells):
        return f'{path} as $key | "{_LETTERS}" | index($key | ascii_upcase)'
    if all(map(str.isdecimal, cells)):
        sizes = [len(choices) if len(choices) > 1 else len(values.get(choices[0]) or ()) for values in sample]
        lowest, highest = min(map(int, cells)), max(map(int, cells))
        if lowest == 0 and highest < max(sizes):
            return f"{path} | tonumber"
        return f"({path} | tonumber) - 1" if lowest == 1 and highest == max(sizes) else None
    texts = [[str(values.get(name)) for name in choices] if len(choices) > 1 else values.get(choices[0])
             for values in sample]  # fmt: skip
    found = sum(
        isinstance(held, list) and values.get(right) in held for values, held in zip(sample, texts, strict=True)
    )
    return f"{path} as $key | $all | index($key)" if are_wrong or found >= _ENOUGH * len(sample) else None


_SHORT = 9
"""Characters of the name of a choice, at most."""
