"""Decides, over all rows, what a label column means: classes, several labels in a cell or in columns, or a score."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from burnish.data.labels.cells import (
    LIST,
    MARKS,
    NONE,
    CellReading,
    ColumnReading,
    are_marked,
    as_flag,
    choices_of,
    find_separator,
    flag_columns,
    flags_of,
    split_cell,
    unsplit_separator,
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
from burnish.data.rows.ignored import refuse_unwritten, seems_to_annotate
from burnish.data.rows.mapping import mapping, speakers_in
from burnish.data.rows.packed import mapped
from burnish.data.rows.pattern import Pattern
from burnish.data.rows.patterns import BY_NAME, LABEL, SCORE, TEXT
from burnish.data.rows.printed import as_list
from burnish.data.rows.records import LabelledRecord, ScoredRecord, TextRecord
from burnish.data.rows.row import RowError, pick, quoted
from burnish.data.rows.settled import Asked, Choice, Reading, Settled
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
        return Settled(classes, (*readings, CellReading(name, separator)), (*notes, *said), (*choices, *chosen))
    said = [*said, *_class_notes(name, labels, asked, is_pair=len(pattern.required) == 3)]
    return Settled(classes, readings, (*notes, *said), (*choices, *chosen))


def _notes_on_others(pattern: Pattern, name: str, rows: Sequence[Values], asked: Asked) -> list[str]:
    """Which other columns may be the labels, and what to type to learn one of them."""
    used = pattern.reads(rows[0])
    others = [str(key) for key in rows[0] if key not in used and seems_to_annotate(str(key))] if asked.is_free else []
    found = [f"`{other}`: {mapping(label=other)}" for other in others if _annotation_values(rows, other, _MANY_VALUES)]
    return [f"`{name}` is learned. To learn another column instead, {'; '.join(found[:_SHOWN])}."] if found else []


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


def _as(other: Pattern) -> dict[str, Any]:
    """What makes a pattern one of another kind: its name, its record and its reader."""
    return {"name": other.name, "record": other.record, "reader": other.reader}


def _missing(name: str, cells: Sequence[Any], asked: Asked) -> tuple[list[str], list[str], tuple[Choice, ...]]:
    """The values that mean "no gold label", what to say of them, and the option that repeats it."""
    wanted = asked.annotation.missing
    if wanted != AUTO:
        return [spelled(value) for value in wanted], [], ()
    listed = [cell for cell in cells if isinstance(cell, list)]
    labels = [spelled(item) for cell in listed for item in cell] if listed else _texts(cells)
    distinct = list(dict.fromkeys(filter(None, labels)))
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
            f"`--set 'annotation.missing=[{listed}]'`."
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
    if other := unsplit_separator(texts):
        notes.append(
            f"{_shown(other).capitalize()} in `{name}` is taken as a part of the label. If it separates labels: "
            f"`--set annotation.separator={other}`."
        )
    return NONE, notes, (("annotation.separator", NONE, f"each cell of `{name}` is one label"),)


def _shown(separator: str) -> str:
    """A separator in a sentence."""
    mark = MARKS[separator]
    return f"`{mark}`" if mark.strip() or mark == " " else f"a {separator}"


_METADATA = {
    "id", "idx", "index", "url", "source", "src", "lang", "language", "license", "date", "time", "timestamp", "year",
    "split", "subset", "set", "meta", "metadata", "domain", "author", "user", "file", "filename", "path", "dataset",
    "version", "length", "len", "tokens", "num_tokens", "token_count", "dump", "country", "ends", "uuid", "hash",
    "title", "name", "line", "page", "chapter", "book", "section", "part", "position", "order", "number", "num", "n",
    "count",
}  # fmt: skip
"""Columns beside a text that say where it is from, not what is to be learned of it."""
_FEWEST_ROWS, _MOST_VALUES, _LONGEST_VALUE = 20, 20, 40
_MANY_VALUES, _SHOWN = 1_000, 3
"""Values of a column that is named like a label, at most; and such columns that are named beside another."""


def settle_text(pattern: Pattern, rows: Sequence[Values], asked: Asked) -> Settled:
    """The settled meaning of rows with a text and no known label: label columns of 0 and 1, or plain text.

    Raises:
        DataError: a column looks like an annotation, and nothing says that it is to be ignored.
    """
    used = pattern.reads({key for values in rows[:1] for key in values})
    others = [str(key) for key in dict.fromkeys(key for values in rows for key in values) if key not in used]
    may_be_labels = (
        asked.shape == AUTO
        and (not asked.records or LabelledRecord in asked.records)
        and set(asked.columns) <= {"text"}
    )
    flags = flag_columns(others, rows) if may_be_labels else []
    if len(flags) > 1 and asked.annotation.columns == AUTO:
        if asked.is_free:  # `polarity` beside `is_retweet` and `has_url` is what is to be learned
            _ask_about_annotations([name for name in others if name not in flags and seems_to_annotate(name)], rows)
        return label_columns(flags, rows)
    if asked.is_free:
        refuse_unwritten(rows, next(iter(used - {"ends"}), "text"), others)
    if asked.is_free and len(rows) >= _FEWEST_ROWS:
        _ask_about_annotations([name for name in others if name.lower() not in _METADATA], rows)
    return Settled(pattern, notes=_written_out(rows))


def _written_out(rows: Sequence[Values]) -> tuple[str, ...]:
    """That texts are conversations with the marks of some template."""
    sample = [str(pick(values, TEXT)[1]) for values in rows[:_FEWEST_ROWS]]
    if 2 * sum({"user", "assistant"} <= speakers_in(text) for text in sample) <= len(sample):
        return ()
    return (
        "The texts seem to be conversations that are written out, and all of each is learned. To learn the answers "
        "alone, in the form of the model's own template, write them as `messages`.",
    )


def _ask_about_annotations(names: Sequence[str], rows: Sequence[Values]) -> None:
    """Raises DataError where a column beside a text looks like a label, or the only one like a score."""
    for name in names:
        if values := _annotation_values(rows, name):
            others = [other for other in names if other != name and seems_to_annotate(other)]
            others = [other for other in others if _annotation_values(rows, other, _MANY_VALUES)][:_SHOWN]
            instead = "".join(f" To learn `{other}` instead: {mapping(label=other)}." for other in others)
            raise DataError(
                f"`{name}` looks like a label, but Burnish does not know a column of that name",
                f"It has {len(values)} values that recur: {quoted(values, 5)}.",
                f"To learn it: {mapping(label=name)}.{instead} To learn the text alone: `--set data.shape=text`",
            )
    cells = {name: [spelled(values.get(name)) for values in rows] for name in names}
    scores = [
        name for name, texts in cells.items() if are_amounts(texts, False) and (len(names) == 1 or _are_shares(texts))
    ]
    if scores and (len(names) == 1 or len(scores) > 1):
        is_one = len(scores) == 1
        raise DataError(
            f"{quoted(scores, 5)} look{'s like a score' if is_one else ' like scores'}, but Burnish does not know a "
            "column of that name",
            f"There is a number for every text, for example {cells[scores[0]][0]}.",
            f"To predict {'it' if is_one else 'one'}: `--set data.columns.score={scores[0]}`. To learn the text alone: "
            "`--set data.shape=text`",
        )


def _are_shares(texts: Sequence[str]) -> bool:
    numbers = [number_of(text) for text in texts]
    return all(number is not None and 0 <= number <= 1 for number in numbers)


def with_label_columns(rows: Sequence[Values], asked: Asked) -> tuple[Settled, Sequence[Values]]:
    """The rows with the labels of `annotation.columns` in one column, where the user or an earlier run named some.

    Raises:
        DataError: one of the columns does not exist.
    """
    names = asked.annotation.columns
    if names == AUTO or not names:
        return Settled(BY_NAME["text"]), rows
    settled = label_columns(list(names), rows)
    (reading,) = settled.readings

    def prepare(values: Values) -> Values:
        try:
            return reading.prepare(values)
        except RowError:
            # left out, and named, when it is made a record
            return {**{key: value for key, value in values.items() if key not in names}, LABEL[1]: []}

    return replace(settled, notes=(), choices=()), mapped(rows, prepare)


def label_columns(names: Sequence[str], rows: Sequence[Values]) -> Settled:
    """Labels in columns of 0 and 1.

    Raises:
        DataError: one of the columns does not exist.
    """
    known = {key for values in rows for key in values}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise DataError(
            f"there is no column `{unknown[0]}`, but `annotation.columns` names it",
            f"The columns are {quoted(sorted(map(str, known)))}.",
            "Name the columns of 0 and 1, one for each label",
        )
    several = Counter(sum(as_flag(values.get(name)) is True for name in names) for values in rows)
    what = "marks" if are_marked(names, rows) else "0 and 1"
    note = (
        f"{quoted(names, 6)} are taken as labels, a column of {what} for each. To choose others: "
        f"`--set 'annotation.columns=[{', '.join(names[:2])}]'`; to learn the text alone: `--set data.shape=text`."
    )
    if set(several) == {1}:
        note += (
            " Every row has exactly one: to make them classes that exclude each other, `classify.multi_label=false`."
        )
    choice = ("annotation.columns", list(names), "columns of 0 and 1 beside a text")
    reading = ColumnReading(tuple(names), LABEL[1], are_marked(names, rows))
    return Settled(BY_NAME["labelled-text"], (reading,), (note,), (choice,))


def _annotation_values(rows: Sequence[Values], name: str, most: int = _MOST_VALUES) -> list[str]:
    """The few recurring values of a column that may be labels, at most so many; empty if it is something else."""
    found = Counter(value for values in rows for value in _values_in(values.get(name)))
    found.pop("", None)
    is_few = 2 <= len(found) <= min(most, found.total() // 5)
    return sorted(found) if is_few and all(len(value) <= _LONGEST_VALUE for value in found) else []


def _values_in(cell: Any) -> list[str]:
    """What a cell, a list of values or an object of flags holds, as text."""
    if isinstance(cell, dict):
        return list(flags_of(cell) or {})
    return [spelled(value) for value in cell] if isinstance(cell, (list, tuple)) else [spelled(cell)]
