"""Two answers to one prompt in columns of their own, or several in a list: which is better, and the command for it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.data.labels.missing import spelled
from burnish.data.labels.numbers import number_of
from burnish.data.rows.elsewhere import jq_path
from burnish.data.rows.printed import as_list
from burnish.data.rows.row import quoted, words_of
from burnish.data.rows.typed import jq_command

Sample = Sequence[Mapping[str, Any]]

_NUMBERED = re.compile(
    r"((?:\w+[_ -])?(?:answer|completion|output|response|reply|chat|model|ref|reference|candidate|generation|"
    r"conversation|messages|summary))s?[_ -]?([abjk]|[0-2])",
    re.IGNORECASE,
)
_WINNERS = {"winner", "preference", "preferred", "better", "best", "choice", "chosen", "safer"}
"""Words in the name of a column that may name the better answer."""
_TIE = re.compile(r"\W*(?:tied?|draw|both|neither|none|equal|same|nan|null)\b", re.IGNORECASE)
"""How a cell begins that names no better answer."""
_MEASURES = {"score", "rating", "reward", "winner", "win", "wins", "votes", "upvotes", "grade", "points", "quality"}
"""Words in the names of two columns of numbers, of which the better answer has the higher one."""
_ASKED = ("prompt", "question", "instruction", "query", "problem", "history", "context", "post", "input", "text")
_SCORES, _RANKS = ("overall_score", "score", "rating"), ("rank",)
_SAID = ("response", "answer", "completion", "output", "text", "content")
_AS_TALK = (
    'def list: if type == "string" then fromjson else . end; def talk(said): (%s | list) as $asked | '
    '(said | list) as $said | [range($asked | length) as $n | {role: "user", content: $asked[$n]}, '
    '{role: "assistant", content: ($said[$n] // "")}]; '
)
"""For jq: a list of questions and one of answers as a conversation."""
_PLAIN = "Write the better answer of each row in a column `chosen` and the other in `rejected`"


def two_answers(columns: Sequence[str]) -> tuple[str, str] | None:
    """Two columns with answers to one prompt, such as `response_a` and `response_b`; None if there are not two."""
    found = [(column, match[1].lower()) for column in columns if (match := _NUMBERED.fullmatch(column))]
    stems = sorted(dict(found).values(), key=lambda stem: stem.endswith("model"))  # these may be names of models
    same = [column for column, stem in found if stem == stems[0]]
    return (same[0], same[1]) if len(same) == 2 else None


def how_to_choose(both: tuple[str, str], sample: Sample) -> str:
    """What to do with two answers: the command, where a column says which of them is better.

    Args:
        both: the columns with the answers.
        sample: values of the first rows, at least one.
    """
    condition = _named(both, sample) or _measured(both, sample) or _signed(both, sample)
    said = _prompt_and_answers(both, sample[0])
    if said is None or condition is None:
        return _PLAIN
    first, second, what = condition
    begin, asked, one, other = said
    form = f"{begin}select(({first}) or ({second})) | {{{asked}chosen: (if {first} then {one} else {other} end), "
    form += f"rejected: (if {first} then {other} else {one} end)}}"
    return (
        f"Write the better answer of each row in `chosen` and the other in `rejected`. By {what}, without ties: "
        f"{jq_command(form)}"
    )


def _named(both: tuple[str, str], sample: Sample) -> tuple[str, str, str] | None:
    """Conditions for jq that the first or the second answer is the one that a column names."""
    marks = [_mark(name) for name in both]
    for name in sample[0]:
        if _WINNERS.isdisjoint(words_of(name)) or name in both:
            continue
        values = {text for one in sample if (text := spelled(one.get(name)))}
        of = [[value for value in sorted(values) if _names(value, column, mark)]
              for column, mark in zip(both, marks, strict=True)]  # fmt: skip
        others = values.difference(*of)
        if all(of) and not set(of[0]) & set(of[1]) and all(map(_TIE.match, others)):
            said = [" or ".join(f'({jq_path(name)} | tostring) == "{value}"' for value in values) for values in of]
            return said[0], said[1], f"`{name}`"
    return None


def _mark(column: str) -> str:
    """What an answer's column ends with: `a`, `1`."""
    return column[-1].lower()


def _names(value: str, column: str, mark: str) -> bool:
    """Whether a cell names the answer in a column: the column itself, what it ends with, or that after a word."""
    value = value.lower()
    return value in (column.lower(), mark) or re.fullmatch(rf"(?:\w*[a-z])[_ -]{mark}", value) is not None


def _measured(both: tuple[str, str], sample: Sample) -> tuple[str, str, str] | None:
    """Conditions for jq that the first or the second answer has the higher of two numbers."""
    marks = [_mark(name) for name in both]
    for name in sample[0]:
        other = name[:-1] + (marks[1] if name[-1:].islower() or name[-1:].isdigit() else marks[1].upper())
        if name[-1:].lower() != marks[0] or other == name or other not in sample[0]:
            continue
        cells = [spelled(values.get(column)) for values in sample for column in (name, other)]
        if not _MEASURES.isdisjoint(words_of(name[:-1])) and all(number_of(cell) is not None for cell in cells if cell):
            one, two = (f"({jq_path(column)} | tonumber? // empty)" for column in (name, other))
            return f"{one} > {two}", f"{two} > {one}", f"the higher of `{name}` and `{other}`"
    return None


def _signed(both: tuple[str, str], sample: Sample) -> tuple[str, str, str] | None:
    """Conditions for jq on the sign of a number that says how much better which answer is."""
    for name in sample[0]:
        numbers = [number_of(text) for one in sample if (text := spelled(one.get(name)))]
        if _WINNERS.isdisjoint(words_of(name)) or None in numbers:
            continue
        if any(number < 0 for number in numbers if number) and any(number > 0 for number in numbers if number):
            number = f"({jq_path(name)} | tonumber? // empty)"
            return f"{number} < 0", f"{number} > 0", f"`{name}`, if its negative numbers prefer `{both[0]}`"
    return None


def _prompt_and_answers(both: tuple[str, str], first: Mapping[str, Any]) -> tuple[str, str, str, str] | None:
    """What jq has to know before, how it writes the prompt, and where it finds both answers; None where that is not
    clear."""
    one, other = (first.get(name) for name in both)
    paths = [jq_path(name) for name in both]
    if all(isinstance(cell, list) and cell and isinstance(cell[0], Mapping) for cell in (one, other)):
        return "", "", paths[0], paths[1]
    asked = next((name for known in _ASKED for name in first if name.lower() == known), None)
    if asked is not None and all(map(_are_turns, (first[asked], one, other))):
        return _AS_TALK % jq_path(asked), "", f"talk({paths[0]})", f"talk({paths[1]})"
    if not all(isinstance(cell, str) and as_list(cell) is cell for cell in (one, other)):
        return None
    for known in _ASKED:
        for name, cell in first.items():
            if name.lower() != known:
                continue
            if isinstance(cell, Mapping):
                inner = next((key for key, text in cell.items() if isinstance(text, str) and " " in text), None)
                if inner is not None:
                    return "", f"prompt: {jq_path(name)}{jq_path(inner)}, ", paths[0], paths[1]
            is_talk = isinstance(cell, list) and bool(cell) and isinstance(cell[0], Mapping)
            if is_talk or (isinstance(cell, str) and as_list(cell) is cell):
                return "", f"prompt: {jq_path(name)}, ", paths[0], paths[1]
    return None


def _are_turns(cell: Any) -> bool:
    """Whether a cell is a list of what one says in turn, also as text."""
    found = as_list(cell)
    return isinstance(found, list) and bool(found) and all(text is None or isinstance(text, str) for text in found)


def why_two(both: tuple[str, str]) -> str:
    """Why rows with two answers are not read."""
    said = f"{quoted(both)} seem to be two answers to one prompt."
    return f"{said} Learning the same one in every row might teach the worse."


def picked_advice(sample: Sample) -> tuple[str, str] | None:
    """Why a list of two answers beside the number of the better one is not read, and the command that pairs them; None
    for other rows.

    Args:
        sample: values of the first rows, at least one.
    """
    first = sample[0]
    name = next((name for name in first if all(_are_two(values.get(name)) for values in sample)), None)
    better = next((other for other in first if other != name and not _WINNERS.isdisjoint(words_of(other))), None)
    if name is None or better is None:
        return None
    numbers = {number_of(text) for values in sample if (text := spelled(values.get(better)))}
    lowest = 1 if numbers == {1, 2} else 0
    said = "" if isinstance(first[name][0], str) else next((key for key in _SAID if key in first[name][0]), None)
    asked = _path_of_prompt(first, name)
    if not numbers or not numbers <= {lowest, lowest + 1} or said is None or asked is None:
        return None
    key, less = jq_path(said) if said else "", " - 1" if lowest else ""
    form = f"({jq_path(better)} | tonumber{less}) as $best | {jq_path(name)} as $all | "
    form += f"{{prompt: {asked}, chosen: $all[$best]{key}, rejected: $all[1 - $best]{key}}}"
    return (
        f"`{name}` seems to hold two answers to one prompt, and `{better}` the number of the better one.",
        f"Write that one in `chosen` and the other in `rejected`: {jq_command(form)}",
    )


def _are_two(cell: Any) -> bool:
    """Whether a cell is a list of two texts, or of two objects."""
    kinds = (str, Mapping)
    return (
        isinstance(cell, list) and len(cell) == 2 and any(all(isinstance(one, kind) for one in cell) for kind in kinds)
    )


def _path_of_prompt(first: Mapping[str, Any], answers: str) -> str | None:
    """Where jq finds what the answers of a row answer; None where that is not clear."""
    for known in _ASKED:
        for name, cell in first.items():
            if name == answers:
                continue
            if name.lower() == known and isinstance(cell, str):
                return jq_path(name)
            if isinstance(cell, Mapping) and isinstance(cell.get(known), str) and cell[known].strip():
                return jq_path(name) + jq_path(known)
    return None


def ranked_advice(first: Mapping[str, Any], speaks: Any) -> tuple[str, str] | None:
    """Why a list of answers with ranks or scores is not read, and the command that pairs the best with the worst.

    Args:
        first: values of the first row.
        speaks: whether a text is a conversation that is written out.
    """
    name = next((name for name, cell in first.items() if _are_ranked(cell)), None)
    if name is None:
        return None
    one = first[name][0]
    why = f"`{name}` seems to hold several answers to one prompt, with ranks or scores."
    said = next((key for key in _SAID if isinstance(one.get(key), str)), None)
    key = next((key for key in (*_SCORES, *_RANKS) if isinstance(one.get(key), (int, float))), None)
    asked = next((column for known in _ASKED for column in first if column.lower() == known), None)
    if said is None or key is None or asked is None or not isinstance(first[asked], str):
        return why, "Write the best answer of each row in a column `chosen` and a worse one in `rejected`"
    best, worst = ("0", "-1") if key in _RANKS else ("-1", "0")
    prompt = jq_path(asked)
    ahead, before = ("", f"{prompt} + ") if speaks(first[asked]) else (f"prompt: {prompt}, ", "")
    form = f"({jq_path(name)} | sort_by(.{key})) as $all | select($all[0].{key} != $all[-1].{key}) | {{{ahead}"
    form += f"chosen: ({before}$all[{best}].{said}), rejected: ({before}$all[{worst}].{said})}}"
    return why, (
        f"Write the best answer of each row in `chosen` and the worst in `rejected`, by `{key}`: {jq_command(form)}"
    )


def _are_ranked(cell: Any) -> bool:
    one = cell[0] if isinstance(cell, list) and len(cell) > 1 else None
    return (
        isinstance(one, Mapping)
        and not {"rank", "score", "rating", "overall_score"}.isdisjoint(one)
        and any(
            isinstance(text, str) and " " in text.strip() or name in ("answer", "response", "text")
            for name, text in one.items()
        )
    )
