"""Tables with one word per row: their rows are put together into sentences.

Sentence #,Word,POS,Tag                    sentence_id,token,ner
Sentence: 1,Anna,NNP,B-per                 7,Anna,B-PER
,sings,VBZ,O                               7,sings,O
Sentence: 2,Rome,NNP,B-geo                 8,Rome,B-LOC
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from burnish.data.rows.printed import as_list
from burnish.data.rows.row import Rejected, Row, quoted
from burnish.data.rows.typed import setting
from burnish.errors import DataError
from burnish.system.shell import quoted as shell_quoted

TOKENS, TAGS, SENTENCE = "tokens", "tags", "sentence_id"
"""The columns of the sentences, and the fields that `data.columns` maps to columns of the table."""
_WORD_NAMES = ("word", "words", "token", "tokens", "tok", "form", "wordform")
_ENTITY_NAMES = ("ner", "nertag", "nertags", "entity", "entitytag", "iob", "iobtag", "bio", "biotag")
_TAG_NAMES = (*_ENTITY_NAMES, "tag", "tags", "label", "labels", "pos", "postag", "postags", "upos", "xpos")
_CHUNK_NAMES = ("chunk", "chunks", "chunktag", "chunktags")
_NUMBERS = ("", "id", "no", "nr", "num", "number", "idx", "index")
_SENTENCE_NAMES = tuple(f"{what}{number}" for what in ("sentence", "sent") for number in _NUMBERS)
_ENTITY_TAG = re.compile(r"O|[BIESLUM]-\S+")
_SAMPLE_ROWS = 2_000
_LEAST_ROWS = 20
"""Rows from which on cells alone, under any name, show that a table has a word in each row."""
_LEAST_WORDS = 1.5
"""Average words per sentence of a table that has one in each row."""


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which columns of a table hold what."""

    words: str
    tags: str
    sentence: str | None
    """None where blank rows separate sentences."""
    is_first_only: bool = False
    """Whether only the first row of a sentence names it."""


def in_sentences(rows: Iterator[Row | Rejected], columns: Mapping[str, str]) -> Iterator[Row | Rejected]:
    """The rows of a table, or, if it has one word per row, its sentences as rows of `tokens` and `tags`.

    A sentence with a row that cannot be used is rejected, with the line of that row.

    Args:
        rows: of the table.
        columns: `data.columns`, which may name the columns of `tokens`, `tags` and `sentence_id`.

    Raises:
        DataError: it has one word per row, but which column holds the tags, or where sentences end, is not clear.
    """
    first = list(islice(rows, _SAMPLE_ROWS))
    sample = [row for row in first if isinstance(row, Row)]
    found = _find_columns(sample, columns) if sample else None
    every = chain(first, rows)
    if found is None:
        yield from every
        return
    note = _describe(found, sample, columns)
    for block in _sentences(every, found):
        yield _sentence(block, found, columns, note)


def _setting(field: str, column: str) -> str:
    """What to type to name a column."""
    return setting(f"data.columns.{field}", column)


def _bare(name: object) -> str:
    return re.sub(r"[\W_]+", "", str(name)).lower()


def _find_columns(sample: Sequence[Row], columns: Mapping[str, str]) -> _Columns | None:
    """The columns of a table with one word per row; None if it is none. Raises DataError if they are not clear."""
    if not set(columns) <= {TOKENS, TAGS, SENTENCE}:
        return None
    cells = {name: [_text(row.values.get(name)) for row in sample] for name in sample[0].values}
    words = columns.get(TOKENS) or next((name for name in cells if _bare(name) in _WORD_NAMES), None)
    sentence = columns.get(SENTENCE) or next((name for name in cells if _bare(name) in _SENTENCE_NAMES), None)
    if words is None and not columns and len(sample) >= _LEAST_ROWS:
        _ask_for_words(sample, cells)
    if words not in cells or not _are_words(cells[words]) or (sentence is not None and sentence not in cells):
        return None
    if TOKENS not in columns and _are_numbers(cells[words]):
        return None
    others = [name for name in cells if name not in (words, sentence)]
    tags = columns.get(TAGS) or _find_tags(sample, cells, others, has_sentence=sentence is not None)
    if tags not in cells or not _are_words(cells[tags]):
        return None
    if sentence is None:
        return _between_blanks(sample, cells, words, tags, is_chosen=TOKENS in columns or TAGS in columns)
    named = cells[sentence]
    is_repeated = any(cell and cell == after for cell, after in zip(named, named[1:], strict=False))
    found = _Columns(words, tags, sentence, is_first_only="" in named and not is_repeated)
    groups = list(_sentences(iter(sample), found))
    if len(groups) * _LEAST_WORDS > len(sample):
        if not found.is_first_only and len(set(cells[sentence])) * 2 < len(groups):
            raise DataError(
                f"`{sample[0].file}` has one word per row, but the words of a sentence are not together",
                f"The first {len(sample):,} rows name {len(set(cells[sentence])):,} sentences in `{sentence}`, "
                f"in {len(groups):,} places.",
                f"Sort the rows by `{sentence}`, and by the place of the word in it",
            )
        return None
    return found if _is_named_by(cells[sentence], groups, words, sentence) else None


def _text(cell: Any) -> str:
    """A cell as text; empty where it holds nothing that could be a word, a tag or a name."""
    return str(cell).strip() if isinstance(cell, (str, int, float)) and cell == cell else ""


def _are_words(cells: Sequence[str]) -> bool:
    """Whether nearly all cells are a single word."""
    filled = [cell for cell in cells if cell]
    single = sum(len(cell.split()) == 1 for cell in filled)
    return bool(filled) and 20 * single >= 19 * len(filled) and not isinstance(as_list(filled[0]), list)


def _are_numbers(cells: Sequence[str]) -> bool:
    return all(map(str.isdecimal, filter(None, cells)))


def _is_entity_column(cells: Sequence[str]) -> bool:
    tags = {cell for cell in cells if cell}
    return any("-" in tag for tag in tags) and all(map(_ENTITY_TAG.fullmatch, tags))


def _find_tags(
    sample: Sequence[Row], cells: Mapping[str, Sequence[str]], others: Sequence[str], has_sentence: bool
) -> str | None:
    """The column of tags: that of entities, else the only one with a known name. Raises DataError if several may be."""
    named = [name for name in others if _bare(name) in _TAG_NAMES]
    entities = [name for name in others if _bare(name) not in _CHUNK_NAMES and _is_entity_column(cells[name])]
    chunks = [name for name in others if _bare(name) in _CHUNK_NAMES]
    best = [name for name in entities if name in named] or entities or named or chunks
    if not has_sentence and not entities and len(best) != 1:
        return None
    if len(best) > 1:
        shown = "; ".join(f"`{name}` {quoted(dict.fromkeys(filter(None, cells[name])), most=4)}" for name in best)
        raise DataError(
            f"`{sample[0].file}` has one word per row, and {len(best)} columns may be the tags to learn",
            f"They begin with: {shown}.",
            f"Name one: `{_setting(TAGS, best[0])}`",
        )
    return best[0] if best else None


def _ask_for_words(sample: Sequence[Row], cells: Mapping[str, Sequence[str]]) -> None:
    """Raises DataError if a column has tags of entities, and only the names of columns are not known."""
    tags = next((name for name in cells if "O" in cells[name] and _is_entity_column(cells[name])), None)
    single = [name for name in cells if name != tags and _are_words(cells[name])]
    written = [name for name in single if not _are_numbers(cells[name])]
    if tags is None or not written or len(single) < len(cells) - 1:
        return
    if _ENTITY_TAG.fullmatch(tags):
        raise DataError(
            f"`{sample[0].file}` seems to have one word per row, and no names of columns",
            f"Its first line would be the names, and has the tag `{tags}`.",
            _conll_copy(sample[0].file),
        )
    words = max(written, key=lambda name: len(set(cells[name])))
    numbers = [name for name in single if name not in written]
    guess = f" {_setting(SENTENCE, numbers[0])}" if numbers else ""
    raise DataError(
        f"`{sample[0].file}` seems to have one word per row, but Burnish does not know the names of its columns",
        f"`{tags}` has tags of entities: {quoted(dict.fromkeys(cells[tags]), most=4)}.",
        f"Name the columns: `{_setting(TOKENS, words)} {_setting(TAGS, tags)}{guess}`",
    )


def _conll_copy(file: str) -> str:
    """What to do with a table of words that has no names of columns, to read it as a file that never has any."""
    bare, _, suffix = file.rpartition(".")
    one, made = shell_quoted(file), shell_quoted(f"{bare}.conll")
    tabs = 'import csv, sys; [print(*row, sep="\\t") for row in csv.reader(sys.stdin)]'
    commands = {"tsv": f"cp {one} {made}", "csv": f"python -c {shell_quoted(tabs)} < {one} > {made}"}
    if suffix.lower() not in commands:
        return "Rename the file to end in .conll, where the columns have no names"
    return f"Give it as .conll, where the columns have no names: `{commands[suffix.lower()]}`"


def _between_blanks(
    sample: Sequence[Row], cells: Mapping[str, Sequence[str]], words: str, tags: str, is_chosen: bool
) -> _Columns | None:
    """The columns of a table without one for the sentence. Raises DataError if it has no blank rows either."""
    found = _Columns(words, tags, None)
    others = [name for name in cells if name not in (words, tags)]
    # a text in several lines leaves gaps, too
    is_plain = all(map(_are_words, (cells[name] for name in others)))
    number = len(list(_sentences(iter(sample), found)))
    if number > 1 and is_plain and number * _LEAST_WORDS <= len(sample):
        return found
    if not is_chosen and not _is_entity_column(cells[tags]):
        return None
    ids = [name for name in others if _bare(name) not in (*_TAG_NAMES, *_CHUNK_NAMES) and _may_name(cells[name])]
    raise DataError(
        f"`{sample[0].file}` has one word per row, but nothing says where a sentence ends",
        "There is no column such as `sentence_id`, and there are no blank rows.",
        f"Name the column that has the sentence of a word: `{_setting(SENTENCE, ids[0])}`"
        if ids
        else "Add a column `sentence_id`, or a blank row after each sentence",
    )


def _may_name(cells: Sequence[str]) -> bool:
    """Whether a column may have the sentence of a word: consecutive rows have the same, or only the first has one."""
    runs = 1 + sum(bool(cell) and cell != before for before, cell in zip(cells, cells[1:], strict=False))
    return 1 < runs <= len(cells) / _LEAST_WORDS


def _is_named_by(cells: Sequence[str], groups: Sequence[Sequence[Row | Rejected]], words: str, sentence: str) -> bool:
    """Whether a column names sentences: what holds a text is a sentence only if its words are those of the rows."""
    long = sum(len(cell.split()) > 2 for cell in cells)
    if 2 * long < sum(map(bool, cells)):
        return True
    rows = [[row for row in block if isinstance(row, Row)] for block in groups[:-1] or groups]
    same = ["".join(_text(row.values[words]) for row in block) == "".join(_text(block[0].values[sentence]).split())
            for block in rows if block]  # fmt: skip
    return 2 * sum(same) > len(same)


def _sentences(rows: Iterator[Row | Rejected], columns: _Columns) -> Iterator[list[Row | Rejected]]:
    """The rows of each sentence. A broken row is in the sentence before it, and also in one that it may begin."""
    block: list[Row | Rejected] = []
    named, line = "", 0
    for row in rows:
        if isinstance(row, Rejected):
            block.append(row)
            line = row.line
            continue
        cell = _text(row.values.get(columns.sentence)) if columns.sentence is not None else ""
        is_new = bool(cell) and (columns.is_first_only or cell != named)
        is_new = is_new or (columns.sentence is None and line > 0 and row.line > line + 1)
        if is_new and any(isinstance(one, Row) for one in block):
            yield block
            block = [block[-1]] if isinstance(block[-1], Rejected) else []
        block.append(row)
        named, line = cell or named, row.line
    if block:
        yield block


def _sentence(
    block: Sequence[Row | Rejected], columns: _Columns, mapped: Mapping[str, str], note: str
) -> Row | Rejected:
    broken = next((row for row in block if isinstance(row, Rejected)), None)
    if broken is not None:
        return Rejected(broken.file, broken.line, f"{broken.reason}; its sentence is skipped")
    rows = [row for row in block if isinstance(row, Row)]
    for row in rows:
        for name, what in ((columns.words, "word"), (columns.tags, "tag")):
            if not _text(row.values[name]):
                return Rejected(row.file, row.line, f"there is no {what} in `{name}`; its sentence is skipped")
    values: dict[str, Any] = {}
    for name in rows[0].values:
        cells = [_text(row.values.get(name)) for row in rows]
        if name == columns.sentence:
            values[name if SENTENCE in mapped else SENTENCE] = cells[0]
        elif name in (columns.words, columns.tags):
            field = TOKENS if name == columns.words else TAGS
            values[name if field in mapped else field] = cells
        else:
            values.setdefault(name, cells)
    return Row(values, rows[0].file, rows[0].line, " ".join(filter(None, (rows[0].note, note))))


def _describe(found: _Columns, sample: Sequence[Row], columns: Mapping[str, str]) -> str:
    """A sentence about how the table is read."""
    others = [name for name in sample[0].values if _bare(name) in (*_TAG_NAMES, *_CHUNK_NAMES) and name != found.tags]
    other = f" (others with, for example, `{_setting(TAGS, others[0])}`)" if others else ""
    other = "" if TAGS in columns else other
    if found.sentence is None:
        how = "blank rows separate sentences"
    else:
        how = f"`{found.sentence}` names the sentence{' at its first word' if found.is_first_only else ''}"
    name = re.split(r"[\\/]", sample[0].file)[-1]
    return (
        f"`{name}` has one word per row: the words are in `{found.words}`, their tags in `{found.tags}`{other}; {how}."
    )
