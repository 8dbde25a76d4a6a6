"""Decides, over all rows, what a label column means: classes, several labels in a cell or in columns, or a score."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from burnish.data.chat.questions import ask_about_choices
from burnish.data.labels.cells import (
    LIST,
    MARKS,
    NONE,
    CellReading,
    as_flag,
    choices_of,
    find_separator,
    flags_of,
    split_cell,
    unsplit_separator,
    unsplit_space,
)
from burnish.data.labels.missing import (
    AcceptedReading,
    GoldReading,
    find_missing,
    has_verdicts,
    is_doubtful,
    other_missing,
    spelled,
)
from burnish.data.labels.numbers import are_amounts, could_be_amounts, mixed_notations, number_of
from burnish.data.labels.rows import are_labels
from burnish.data.labels.spellings import SpellingReading, describe_spellings, describe_unused, find_spellings
from burnish.data.labels.targets import ask_about_targets
from burnish.data.labels.texts import MANY_VALUES, SHOWN, annotation_values
from burnish.data.rows.elsewhere import jq_path
from burnish.data.rows.ignored import seems_to_annotate
from burnish.data.rows.mapping import tagged_example
from burnish.data.rows.pattern import Pattern
from burnish.data.rows.patterns import BY_NAME, SCORE, TEXT
from burnish.data.rows.printed import as_list
from burnish.data.rows.records import LabelledRecord, ScoredRecord, TextRecord
from burnish.data.rows.row import pick
from burnish.data.rows.settled import Asked, Choice, Reading, Settled
from burnish.data.rows.typed import jq_command, mapping, settings
from burnish.errors import DataError
from burnish.recipe.schema import AUTO

Values = Mapping[str, Any]

_SCORED = {"labelled-text": "scored-text", "labelled-pair": "scored-pair"}
_CLASSES = {scored: labelled for labelled, scored in _SCORED.items()}
_BITS = {"0", "1", "0.0", "1.0", "false", "true"}
_SHOWN_CHARACTERS = 60
_OBJECT = re.compile(r"\s*\{\s*['\"]\w+['\"]\s*:")
"""How an object with names begins as text, as JSON or as Python prints it."""
_VOTED = 0.1
_SAMPLE = 1_000
_LONG_TEXT = 1_000
"""Characters from which on a text with a number beside it may be meant to be learned itself."""


def settle_labels(pattern: Pattern, rows: Sequence[Values], asked: Asked) -> Settled:
    """The settled meaning of rows with a text, or a pair of texts, and a label or a score.

    Raises:
        DataError: it cannot be decided between the text and its score.
    """
    name = next((name for name in pattern.required[-1] if any(name in values for values in rows)), "")
    cells = [values.get(name) for values in rows]
    plain = BY_NAME["text"]
    if TextRecord in asked.records and asked.shape == AUTO and pattern.name == "labelled-text" and plain.fits(rows[0]):
        return Settled(plain)
    may_be_plain = asked.is_free and pattern.name == "labelled-text" and plain.fits(rows[0])
    if may_be_plain and not are_labels(rows, (name,)) and not are_amounts(_texts(cells), name in SCORE):
        _ask_about_ids(name, _texts(cells))
        _ask_about_objects(name, cells)
        return Settled(plain, notes=(f"`{name}` is empty in every row, so the rows are read as plain text.",))
    if asked.is_free:
        _ask_about_choices(pattern, name, rows)
        ask_about_targets(pattern, name, rows)
    _ask_about_objects(name, cells)
    _ask_about_votes(name, cells)
    _refuse_flags_without_names(name, cells)
    family = tuple(other for other in pattern.required[-1] if (other in SCORE) == (name in SCORE))
    narrow = replace(pattern, required=(*pattern.required[:-1], family))
    missing, notes, choices = _missing(name, cells, asked)
    labels = [text for text in _texts(cells) if text not in missing]
    readings: tuple[Reading, ...] = (GoldReading(name, tuple(missing)),) if missing else ()
    if has_verdicts(rows):
        readings = (AcceptedReading(), *readings)
    if _is_score(pattern, name, labels, asked):
        _refuse_mixed_notations(name, labels)
        _ask_about_long_texts(narrow, name, rows, asked)
        scored = replace(narrow, **_as(BY_NAME[_SCORED.get(pattern.name, pattern.name)]))
        notes += _notes_on_others(narrow, name, rows, asked)
        return Settled(scored, readings, (*notes, *_score_notes(name, labels, pattern, asked)), choices)
    classes = replace(narrow, **_as(BY_NAME[_CLASSES.get(pattern.name, pattern.name)]))
    notes += _notes_on_others(narrow, name, rows, asked)
    separator, said, chosen = _separator(name, cells, labels, asked)
    if separator != NONE:
        readings = (*readings, CellReading(name, separator))
    else:
        said = [*said, *_class_notes(name, labels, asked, is_pair=len(pattern.required) == 3)]
    names, renamed, chosen_names = _spellings(name, cells, labels, asked)
    readings = (*readings, SpellingReading(name, names)) if names else readings
    return Settled(classes, readings, (*notes, *said, *renamed), (*choices, *chosen, *chosen_names))


def _notes_on_others(pattern: Pattern, name: str, rows: Sequence[Values], asked: Asked) -> list[str]:
    """Which other columns may be the labels, and what to type to learn one of them."""
    used = pattern.reads(rows[0])
    others = [str(key) for key in rows[0] if key not in used and seems_to_annotate(str(key))] if asked.is_free else []
    found = [
        f"`{other}`: {typed}"
        for other in others
        if (typed := tagged_example(rows[:_SAMPLE], other))
        or (annotation_values(rows, other, MANY_VALUES) and (typed := mapping(label=other)))
    ]
    return [f"`{name}` is learned. To learn another column instead, {'; '.join(found[:SHOWN])}."] if found else []


def _ask_about_choices(pattern: Pattern, name: str, rows: Sequence[Values]) -> None:
    """Raises DataError where each row has other answers to choose from, as a cloze has; labels are the same for all."""
    used, last = pattern.reads(rows[0]), rows[-1]
    varied = [key for key, cell in rows[0].items() if isinstance(cell, str) and len(rows) > 1 and last.get(key) != cell]
    ask_about_choices(rows, [key for key in varied if key not in used], pattern.name, name)


def _ask_about_ids(column: str, texts: Sequence[str]) -> None:
    """Raises DataError for a column that is named like a label and has a different value in every row."""
    if texts:
        raise DataError(
            f"`{column}` is named like a column of labels, but each of its {len(texts):,} values is different",
            "It may be an id; or there are as many classes as rows, and then none can be learned.",
            f"If only the texts are to be learned: `--task text`. If `{column}` holds classes: `--task classify`",
        )


def _ask_about_objects(column: str, cells: Sequence[Any]) -> None:
    """Raises DataError for a column that is named like a label and holds objects that are not known as labels."""
    listed = next((cell for cell in cells if isinstance(cell, list) and cell and _is_object(cell[0])), None)
    if listed is not None and "value" in listed[0]:
        raise DataError(
            f"`{column}` has the answers of annotators as objects, with the label of each under `value`",
            f"The first is `{str(listed[0])[:_SHOWN_CHARACTERS]}`.",
            f"Write the label of the first: {jq_command(f'{jq_path(column)} |= .[0].value')}. To learn the "
            "text alone: `--set data.shape=text`",
        )
    if found := next((cell for cell in cells if _is_object(cell)), None):
        raise DataError(
            f"`{column}` has objects that Burnish does not know as labels",
            f"The first is `{str(found)[:_SHOWN_CHARACTERS]}`.",
            "Write the names of the row's labels, or its entities as `[[START, END, LABEL]]`, counted in characters. "
            "To learn the text alone: `--set data.shape=text`",
        )


def _is_object(cell: Any) -> bool:
    """Whether a cell is an object that is no label, nor several, also as text."""
    if isinstance(cell, str):
        return _OBJECT.match(cell) is not None and choices_of(cell) is None
    return isinstance(cell, dict) and bool(cell) and choices_of(cell) is None and flags_of(cell) is None


def _ask_about_votes(column: str, cells: Sequence[Any]) -> None:
    """Raises DataError where lists have the same label several times: they are votes, not labels of the text."""
    lists = [cell for cell in cells if isinstance(cell, list) and all(isinstance(item, str) for item in cell)]
    votes = [cell for cell in lists if len(set(cell)) < len(cell)]
    if len(votes) > max(1, _VOTED * len(lists)):
        raise DataError(
            f"`{column}` seems to have the label that each of several people gave, not several labels of a text",
            f"{len(votes):,} of {len(lists):,} rows have a label more than once; the first is {votes[0]}.",
            f"Write the label that most have given as text in `{column}`, or each label of a row once",
        )


def _texts(cells: Sequence[Any]) -> list[str]:
    """The cells that hold a single label."""
    return [text for cell in cells if (text := spelled(cell))]


def _every_label(cells: Sequence[Any]) -> list[str]:
    """The distinct labels of the cells; where some are lists, those in lists."""
    listed = [cell for cell in cells if isinstance(cell, list)]
    labels = [spelled(item) for cell in listed for item in cell] if listed else _texts(cells)
    return list(dict.fromkeys(filter(None, labels)))


def _as(other: Pattern) -> dict[str, Any]:
    """What makes a pattern one of another kind: its name, its record and its reader."""
    return {"name": other.name, "record": other.record, "reader": other.reader}


def _missing(name: str, cells: Sequence[Any], asked: Asked) -> tuple[list[str], list[str], tuple[Choice, ...]]:
    """The values that mean "no gold label", what to say of them, and the option that repeats it."""
    wanted = asked.annotation.missing
    if wanted != AUTO:
        return [spelled(value) for value in wanted], [], ()
    distinct = _every_label(cells)
    found = find_missing(distinct)
    notes = []
    if found:
        rows = Counter(
            spelled(cell[0]) if isinstance(cell, list) and len(cell) == 1 else spelled(cell) for cell in cells
        )
        counted = " and ".join(f"`{mark}` ({rows[mark]:,} rows)" for mark in found)
        notes.append(
            f"{counted} in `{name}` is taken as no gold label, and such rows are left out. If it is a class: "
            "`--set 'annotation.missing=[]'`."
        )
    doubtful = [mark for mark in distinct if mark not in found and is_doubtful(mark, distinct)]
    if doubtful:
        listed = ", ".join(doubtful)
        notes.append(
            f"`{listed}` in `{name}` is taken as a class. If it means that there is no gold label: "
            f"`{settings('annotation.missing', doubtful)}`."
        )
    every = [*found, *other_missing([text for text in distinct if text not in found])]
    return every, notes, (("annotation.missing", every, f"what they would mean beside the values of `{name}`"),)


def _is_score(pattern: Pattern, name: str, labels: Sequence[str], asked: Asked) -> bool:
    if ScoredRecord in asked.records or LabelledRecord in asked.records:
        return ScoredRecord in asked.records
    if asked.shape != AUTO:
        return pattern.name in _CLASSES
    if asked.annotation.separator not in (AUTO, NONE):
        return False
    if asked.annotation.separator == AUTO and any("," in label for label in labels) and find_separator(labels) != NONE:
        return False  # `1,5` beside `1` and `5` names two labels and is not one and a half
    return are_amounts(labels, name in SCORE)


def _refuse_flags_without_names(name: str, cells: Sequence[Any]) -> None:
    """Raises DataError where every row has a list of as many zeros and ones."""
    found = [cell for cell in map(as_list, cells) if isinstance(cell, (list, tuple))]
    if len(set(map(len, found))) != 1 or any(str(item).lower() not in _BITS for cell in found for item in cell):
        return
    lists = {tuple(as_flag(item) is True for item in cell) for cell in found}
    # lists of the labels 0 and 1 have each of them once, and one length only by chance
    are_flags = any(sorted(flags) != list(flags) or len(set(flags)) < len(flags) for flags in lists)
    if len(found[0]) > 1 and len(lists) > 1 and are_flags:
        raise DataError(
            f"`{name}` has a 0 or 1 for each label, but not the names of the labels",
            f"The first row has {list(found[0])}.",
            f"Write the names of the row's labels in `{name}`, or a column of 0 and 1 for each label under its name",
        )


def _refuse_mixed_notations(name: str, labels: Sequence[str]) -> None:
    """Raises DataError where numbers of a column are not written alike."""
    if pair := mixed_notations(labels):
        raise DataError(
            f"the numbers in `{name}` are not all in the same format, for example `{pair[0]}` and `{pair[1]}`",
            "One of them might be misread.",
            "Write all with a decimal point, without commas, and as the same kind of number",
        )


def _ask_about_long_texts(pattern: Pattern, name: str, rows: Sequence[Values], asked: Asked) -> None:
    """Raises DataError where long texts with a number beside them may be meant to be learned themselves."""
    if not asked.is_free or pattern.name != "labelled-text" or name not in SCORE:
        return
    lengths = sorted(len(str(pick(values, TEXT)[1] or "")) for values in rows)
    if lengths[len(lengths) // 2] >= _LONG_TEXT:
        raise DataError(
            f"should the model predict `{name}`, or learn to write the text beside it?",
            f"The texts are long, and `{name}` has a number for each.",
            "To predict the number: `--task score`. To learn to write such texts: `--set data.shape=text`",
        )


def _score_notes(name: str, labels: Sequence[str], pattern: Pattern, asked: Asked) -> list[str]:
    numbers = [number for label in labels if (number := number_of(label)) is not None]
    if not numbers or asked.records or asked.shape != AUTO:
        return []
    odd = next((label for label in labels if any(mark in label for mark in ",%/")), "")
    odd = odd or next((label for label in labels if re.fullmatch(r"[1-9]\d{0,2}\.\d{3}", label)), "")
    read = f"; `{odd}` is read as {number_of(odd):g}" if odd else ""
    return [
        f"`{name}` has {len(set(numbers)):,} different numbers from {min(numbers):g} to {max(numbers):g}, which are "
        f"learned as a score{read}. To learn each as a class of its own: `--task classify`."
    ]


def _class_notes(name: str, labels: Sequence[str], asked: Asked, is_pair: bool) -> list[str]:
    if asked.records or asked.shape != AUTO or not could_be_amounts(labels, is_pair):
        return []
    numbers = sorted({int(number) for label in labels if (number := number_of(label)) is not None})
    return [
        f"`{name}` has the whole numbers {numbers[0]} to {numbers[-1]}, which are learned as {len(numbers)} classes. "
        "If they are amounts, such as stars: `--task score`."
    ]


def _separator(
    name: str, cells: Sequence[Any], labels: Sequence[str], asked: Asked
) -> tuple[str, list[str], tuple[Choice, ...]]:
    """How several labels in a cell are separated, what to say of it, and the option that repeats it."""
    wanted = asked.annotation.separator
    if wanted != AUTO:
        return wanted, [], ()
    texts = [cell for cell in cells if isinstance(cell, str) and cell.strip()]
    objects = [cell for cell in cells if isinstance(cell, dict)]
    if any(choices_of(cell) is not None for cell in cells):
        return LIST, [], (("annotation.separator", LIST, f"`{name}` has several choices in some rows"),)
    if objects and all(flags_of(cell) is not None for cell in objects):
        return LIST, [], (("annotation.separator", LIST, f"`{name}` has a 0 or 1 for each label"),)
    if any(isinstance(cell, (list, tuple)) for cell in cells) or not texts:
        return NONE, [], (("annotation.separator", NONE, "the cells are lists" if not texts else "one label per cell"),)
    texts = [text for text in texts if spelled(text) in set(labels)]
    found = find_separator(texts)
    if found != NONE:
        number = len({label for text in texts for label in split_cell(text, found)})
        how = "as lists" if found == LIST else f"separated by {_shown(found)}"
        note = (
            f"The cells of `{name}` hold several labels, {how}: {number:,} labels in {len(set(texts)):,} combinations. "
            "To take each cell as one label: `--set annotation.separator=none`."
        )
        return found, [note], (("annotation.separator", found, f"parts of `{name}` recur"),)
    notes = []
    if other := unsplit_separator(texts) or unsplit_space(asked.columns.get(name, name), texts):
        notes.append(
            f"{_shown(other).capitalize()} in `{name}` is taken as a part of the label. If it separates labels: "
            f"`--set annotation.separator={other}`."
        )
    return NONE, notes, (("annotation.separator", NONE, f"each cell of `{name}` is one label"),)


def _spellings(
    name: str, cells: Sequence[Any], labels: Sequence[str], asked: Asked
) -> tuple[Mapping[str, str], list[str], tuple[Choice, ...]]:
    """Which labels are read under another name, what to say of it, and the option that repeats it."""
    wanted = asked.annotation.rename
    if wanted != AUTO:
        names = {spelled(label): other for label, other in wanted.items()}
        return names, describe_unused(name, names, _every_label(cells)), ()
    listed = any(isinstance(cell, (list, tuple)) for cell in cells)
    names = {} if listed else find_spellings(labels)
    said = [describe_spellings(name, names, labels)] if names else []
    reason = f"`{name}` spells true and false in several ways" if names else f"each label of `{name}` is a class"
    return names, said, (("annotation.rename", names, reason),)


def _shown(separator: str) -> str:
    """A separator in a sentence."""
    mark = MARKS[separator]
    return f"`{mark}`" if mark.strip() or mark == " " else f"a {separator}"
