"""The error for columns of unknown names, with a command that is guessed from what they hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.data.chat.messages import by_role, ends_with_answer
from burnish.data.labels.cells import are_marked, as_flag
from burnish.data.labels.missing import spelled
from burnish.data.labels.numbers import are_amounts, number_of
from burnish.data.rows.elsewhere import advice_on_pictures
from burnish.data.rows.known_kinds import IDS, RIGHT, advice
from burnish.data.rows.pattern import Pattern
from burnish.data.rows.printed import as_list
from burnish.data.rows.row import Row, is_known_name, quoted, words_of
from burnish.data.rows.single_messages import single_message_advice
from burnish.data.rows.two_answers import how_to_choose, two_answers, why_two
from burnish.data.rows.typed import mapping
from burnish.data.tags.listed import is_scheme_tag, words_in
from burnish.errors import DataError
from burnish.system.shell import quoted as shell_quoted

AS_COLUMNS = "as columns"
"""How the note on a JSON document says that its lists, or numbered values, are read."""
MAP_EXAMPLE = "`--set data.columns.prompt=COLUMN --set data.columns.completion=COLUMN`"
_SAMPLE = 1_000
_FEWEST_ROWS = 10
"""Of fewer rows it does not show which columns hold classes."""
_MOST_CLASSES, _ROWS_PER_CLASS, _LONGEST_CLASS = 30, 3, 40
_SPEAKERS = {"role", "from", "speaker", "author", "sender"}
_WORDS = {"word", "words", "token", "tokens", "sentence", "text"}
"""Words in the name of a column that has the words of a sentence."""
_ORIGIN = {
    "path", "repo", "repository", "license", "lang", "language", "size", "ext", "extension", "hash", "sha", "version",
    "timestamp", "domain", "dump", "author", "commit",
}  # fmt: skip
"""Words in the name of a column that says where a row is from."""
_STARTS = {"answer_start", "start"}
_LABELS = {
    "label", "labels", "score", "class", "target", "similarity", "category", "gold_label", "is_duplicate", "polarity",
    "stance", "sentiment",
}  # fmt: skip
WRITTEN = (
    *RIGHT,
    "response", "completion", "answer", "output", "solution", "canonical_solution", "code", "corrected", "rewrite",
    "paraphrase", "translation", "summary", "abstract", "explanation", "reply", "target_text", "gold_answer",
    "reference", "reference_answer", "ground_truth", "ideal", "expected_output", "model_answer",
)  # fmt: skip
"""Names of columns with what is to be written, best first; of others the second text is guessed."""
_OTHER_HALF = {"chosen": "rejected", "rejected": "chosen"}
_BETTER = {
    "preferred": "dispreferred", "win": "lose", "winner": "loser", "winning": "losing", "better": "worse",
    "good": "bad", "accepted": "rejected", "best": "worst", "preferred_response": "rejected_response",
    "chosen_response": "rejected_response", "chosen_answer": "rejected_answer",
    "preferred_answer": "dispreferred_answer", "response_chosen": "response_rejected",
}  # fmt: skip
"""Names of the better and of the worse of two answers."""


def map_example(rows: Sequence[Row]) -> str:
    """What to type to map the columns, in the names that the rows have for them.

    Args:
        rows: at least one, with columns of unknown names.
    """
    sample = [row.values for row in rows[:_SAMPLE]]
    first = {str(name): value for name, value in sample[0].items()}
    texts = [name for name, value in first.items() if isinstance(value, str) and " " in value.strip()]
    texts = [name for name in texts if not IDS.fullmatch(name)] or texts
    if special := tagged_example(sample) or _nested_example(first):
        return special
    texts = [name for name in texts if not _says_where_from(name)] or texts
    if len(texts) > 1 and any("html" in words_of(name) for name in texts):
        texts = [name for name in texts if "html" not in words_of(name)]  # the same text with its marks
    flags = [
        name for name in first if not IDS.fullmatch(name) and (_are_flags(name, sample) or are_marked((name,), sample))
    ]
    if texts and len(flags) > len(texts):
        return mapping(text=max(texts, key=lambda name: len(first[name])))  # labels in columns of their own
    if len(rows) >= _FEWEST_ROWS:
        labels = [name for name in first if _are_classes(name, sample)]
        texts = [name for name in texts if name not in labels]
        scores = [name for name in first if name not in (*labels, *texts) and _are_scores(name, sample)]
        if texts and (labels or scores):
            return _annotated_example(texts, labels, scores)
        texts += [name for name, value in first.items() if isinstance(value, str) and name not in (*texts, *labels)]
        texts = [name for name in texts if not _says_where_from(name)]
        if len(texts) == 1 and not any(isinstance(value, (list, dict)) for value in first.values()):
            return mapping(text=texts[0])
    texts += [name for name, value in first.items() if isinstance(value, str) and name not in texts]
    texts = [name for name in texts if "html" not in words_of(name)] or texts
    if any(not IDS.fullmatch(name) for name in texts):
        texts = [name for name in texts if not IDS.fullmatch(name)]
    elif len(texts) > 1:
        return MAP_EXAMPLE
    nested = [name for name, value in first.items() if isinstance(value, (list, dict)) and value]
    written = next((name for known in WRITTEN for name in (*texts, *nested) if name.lower() == known), None)
    if written in nested and len(texts) == 1:
        return mapping(prompt=texts[0], completion=written)
    if written in texts and len(texts) > 1:
        return mapping(prompt=next(name for name in texts if name != written), completion=written)
    if len(texts) > 1 and _is_last_question(texts[1]):
        return mapping(prompt=texts[1], completion="COLUMN")
    return mapping(prompt=texts[0], completion=texts[1]) if len(texts) > 1 else MAP_EXAMPLE


def tagged_example(sample: Sequence[Mapping[str, Any]], column: str = "") -> str:
    """What to type where a column has a tag of a scheme for each word of another; empty where none has.

    Args:
        sample: values of some rows, at least one.
        column: the only one that may have the tags, if it has to be a certain one.
    """
    lists = {name: [words_in(as_list(values.get(name))) for values in sample] for name in sample[0]}
    may_be = [column] if column else list(lists)
    tags = next((name for name in may_be if any(lists[name]) and all(map(_are_tags, lists[name]))), None)
    if tags is None:
        return ""
    lengths = [len(cell) for cell in lists[tags]]
    even = [name for name in lists if name != tags and [len(cell) for cell in lists[name]] == lengths]
    even = [name for name in even if not all(cell and str(cell[-1]).isdecimal() for cell in lists[name])]
    words = min(even, key=lambda name: _WORDS.isdisjoint(words_of(name)), default=None)
    return mapping(tokens=words, tags=tags) if words is not None else ""


def _are_tags(cells: Sequence[Any]) -> bool:
    return all(map(is_scheme_tag, cells))


def _says_where_from(name: str) -> bool:
    """Whether the name of a column says where a row is from."""
    return not _ORIGIN.isdisjoint(words_of(name)) or IDS.fullmatch(name) is not None


def _nested_example(first: Mapping[str, Any]) -> str:
    """What to type where a column holds a conversation, or answers with their places in a text; else empty."""
    talks = next((name for name, value in first.items() if _are_turns(value)), None)
    answer = next(
        (name for known in WRITTEN for name in first if name.lower() == known and _is_text(first[name])), None
    )
    others = [name for name in first if name not in (talks, answer)]
    is_prompt = talks is not None and _is_last_question(talks) and not ends_with_answer(first[talks])
    if talks is not None and (answer is not None or is_prompt):
        usual = "COLUMN" if ends_with_answer(first[talks]) else talks
        asked = next(filter(_is_last_question, others), usual)
        return mapping(prompt=asked, completion=answer or "COLUMN")
    if talks is not None:
        return mapping(messages=talks)
    texts = [name for name, value in first.items() if isinstance(value, str) and not IDS.fullmatch(name)]
    context = max(texts, key=lambda name: len(first[name]), default="")
    others = [name for name in texts if name != context]
    answers = next((name for name, value in first.items() if _are_placed(value)), None)
    if answers is not None and others:
        return mapping(context=context, question=others[0], answers=answers)
    if "answer_start" in first and len(others) > 1:
        answer = next((name for name in others if first[name] in first[context]), others[-1])
        return mapping(context=context, question=next(name for name in others if name != answer), answer=answer)
    return ""


def _annotated_example(texts: Sequence[str], labels: Sequence[str], scores: Sequence[str]) -> str:
    """What to type where there are classes or amounts beside one or two texts."""
    found = [*labels, *scores]
    named = [name for name in found if name.lower() in _LABELS]
    name = (named or found)[0]
    learned = {"label" if name in labels else "score": name}
    if len(texts) == 1:
        return mapping(text=texts[0], **learned)
    pair = f"to learn `{name}`: {mapping(sentence1=texts[0], sentence2=texts[1], **learned)}"
    written = f"to write `{texts[1]}`: {mapping(prompt=texts[0], completion=texts[1])}"
    return f"{pair}; {written}" if named else f"{written}; {pair}"


def _is_text(cell: Any) -> bool:
    return isinstance(cell, str) and bool(cell.strip())


def _is_last_question(name: str) -> bool:
    return name.lower() in ("message", "question", "prompt", "query", "input", "instruction", "user")


def _are_turns(cell: Any) -> bool:
    one = cell[0] if isinstance(cell, list) and cell else None
    return isinstance(one, dict) and (not _SPEAKERS.isdisjoint(one) or len(by_role(one)) > 1)


def _are_placed(cell: Any) -> bool:
    """Whether a cell holds answers with their places in a text."""
    one = cell[0] if isinstance(cell, list) and cell else cell
    return isinstance(one, dict) and "text" in one and not _STARTS.isdisjoint(one)


def _are_flags(name: str, sample: Sequence[Mapping[str, Any]]) -> bool:
    """Whether most cells of a column are 0 or 1."""
    return 2 * sum(as_flag(values.get(name)) is not None for values in sample) > len(sample)


def _are_classes(name: str, sample: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a column has few values that recur."""
    cells = [text for values in sample if (text := spelled(values.get(name)))]
    is_few = 1 < len(set(cells)) <= min(_MOST_CLASSES, len(cells) // _ROWS_PER_CLASS)
    is_id = IDS.fullmatch(name) is not None and _LABELS.isdisjoint(words_of(name))  # `Class Index` is none
    return is_few and not is_id and max(map(len, cells)) <= _LONGEST_CLASS


def _are_scores(name: str, sample: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a column has amounts."""
    cells = [text for values in sample if (text := spelled(values.get(name)))]
    numbers = [number for cell in cells if (number := number_of(cell)) is not None]
    is_counter = all(after == before + 1 for before, after in zip(numbers, numbers[1:], strict=False))
    return bool(cells) and not is_counter and not IDS.fullmatch(name) and are_amounts(cells, is_named_so=False)


def first_line_is_data(rows: Sequence[Row]) -> bool:
    """Whether a table seems to lack names of columns: what would be a name recurs in its column."""
    sample = [row.values for row in rows[:_SAMPLE]]
    return len(rows) >= _FEWEST_ROWS and any(
        name and any(str(values.get(name)) == str(name) for values in sample) for name in sample[0]
    )


def unknown_shape(
    rows: Sequence[Row], found: Sequence[str], wanted: Pattern | None, shapes: str, is_pair: bool
) -> DataError:
    """The error for columns that match no shape.

    Args:
        rows: all of them.
        found: the columns of all rows.
        wanted: the shape that the user named, if any.
        shapes: a description of those that there are.
        is_pair: whether the columns have two texts that a label could belong to.
    """
    file, what = rows[0].file, f"its columns are {quoted(found)}"
    if wanted is not None:
        why = f"That shape needs the columns {wanted.needs}."
        texts = {name: cell for name, cell in rows[0].values.items() if isinstance(cell, str) and " " in cell.strip()}
        fix = f"Map the columns: {MAP_EXAMPLE}"
        if wanted.name == "text" and texts:
            longest = max(texts, key=lambda name: len(texts[name]))
            fix = f"Name the column with the text: `--set data.shape=text {mapping(text=longest)[1:]}"
        return DataError(f"`{file}` is not `{wanted.name}`: {what}", why, fix)
    sample = [row.values for row in rows[:_SAMPLE]]
    if both := two_answers(found):
        return DataError(f"`{file}` has no known shape: {what}", why_two(both), how_to_choose(both, sample))
    names = {str(name).lower(): str(name) for name in found}
    better = next((name for name in names if _BETTER.get(name) in names), None)
    if advised := single_message_advice(sample, file) or advice_on_pictures(sample, file) or advice(sample, names):
        return DataError(f"`{file}` has no known shape: {what}", *advised)
    if better is not None:
        chosen, rejected = names[better], names[_BETTER[better]]
        return DataError(
            f"`{file}` has no known shape: {what}",
            f"`{chosen}` and `{rejected}` seem to be a better and a worse answer.",
            f"If they are: {mapping(chosen=chosen, rejected=rejected)}",
        )
    if first_line_is_data(rows):
        return DataError(
            f"`{file}` seems to have no names of columns: in the first line are {quoted(found)}",
            "Such a value recurs in its column.",
            f"Write a first line with the names of the columns, such as `label` and `text`{_as_words(rows)}",
        )
    if what_else := _other_reading(rows, found):
        return DataError(f"`{file}` has no known shape: {what}", shapes, f"{what_else}. Else {map_example(rows)}")
    halves = [name for name in _OTHER_HALF if name in found]
    if len(halves) == 1:
        shapes = f"`{halves[0]}` is one half of a pair, but the other half, `{_OTHER_HALF[halves[0]]}`, is missing."
    fix = f"Map the columns: {MAP_EXAMPLE if len(halves) == 1 else map_example(rows)}"
    if is_pair:
        fix = _how_to_label(rows, found)
    return DataError(f"`{file}` has no known shape: {what}", shapes, fix)


def _as_words(rows: Sequence[Row]) -> str:
    """What to type instead where each row of a table may be a word with its tags; empty for others."""
    file = rows[0].file
    cells = [str(cell) for row in rows[:_SAMPLE] for cell in row.values.values() if cell not in (None, "")]
    if not file.lower().endswith(".tsv") or any(map(str.isspace, "".join(cells))):
        return ""
    copy = f"{file[: -len('.tsv')]}.conll"
    return f". If each row is a word with its tags: `cp {shell_quoted(file)} {shell_quoted(copy)}`, and give the copy"


def _other_reading(rows: Sequence[Row], found: Sequence[str]) -> str:
    """What else rows of texts alone in a JSON document may be, with what to type; empty for others."""
    file, sample = rows[0].file, [row.values for row in rows[:_SAMPLE]]
    if len(found) < 2 or not all(isinstance(cell, str) for values in sample for cell in values.values()):
        return ""
    if rows[0].note.rstrip(".").endswith(AS_COLUMNS):
        jq = "to_entries[] | .key as $label | .value[] | {text: ., label: $label}"
        return f"If its keys are labels, each with its texts: `jq -c '{jq}' {shell_quoted(file)} > OUT.jsonl`"
    if len(found) > 2 and all(re.fullmatch(r"column \d+", name) for name in found):
        jq = "{conversations: .}" if ".jsonl" in file else ".[] | {conversations: .}"
        return f"If each row is a conversation: `jq -c '{jq}' {shell_quoted(file)} > OUT.jsonl`"
    return ""


def _how_to_label(rows: Sequence[Row], found: Sequence[str]) -> str:
    """What to type where two texts have known names, and what is to be learned of them has not."""
    sample = [row.values for row in rows[:_SAMPLE]]
    labels = [name for name in found if len(rows) >= _FEWEST_ROWS and _are_classes(name, sample)]
    if labels:
        return f"Name the column with the labels: {mapping(label=labels[0])}"
    others = [name for name in found if not is_known_name(name) and not _says_where_from(name)]
    if scores := [name for name in others if _are_scores(name, sample)]:
        return f"Name the column with the scores: {mapping(score=scores[0])}"
    if others:
        name = min(others, key=lambda name: sum(len(str(values.get(name))) for values in sample))
        return f"If `{name}` has the labels: {mapping(label=name)}; if it has scores: {mapping(score=name)}"
    return (
        "Write the label of each row in a column `label`, or a number in a column `score`: no column is left for them"
    )
