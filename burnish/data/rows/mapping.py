"""The error for columns of unknown names, with a command that is guessed from what they hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.data.chat.messages import by_role, find_role
from burnish.data.labels.cells import are_marked, as_flag
from burnish.data.labels.missing import spelled
from burnish.data.labels.numbers import are_amounts, number_of
from burnish.data.rows.pattern import Pattern
from burnish.data.rows.row import Row, quoted
from burnish.errors import DataError
from burnish.system.shell import quoted as shell_quoted

AS_COLUMNS = "as columns"
"""How the note on a JSON document says that its lists, or numbered values, are read."""
MAP_EXAMPLE = "`--set data.columns.prompt=COLUMN --set data.columns.completion=COLUMN`"
_SAMPLE = 1_000
_FEWEST_ROWS = 10
"""Of fewer rows it does not show which columns hold classes."""
_MOST_CLASSES, _ROWS_PER_CLASS, _LONGEST_CLASS = 30, 3, 40
_IDS = re.compile(
    r"(?:.*[\W_])?(?:id|ids|idx|index|nr|no|number|date|time|year|url|file|filename|split|set)|\w*id\d?", re.IGNORECASE
)
"""Names of columns that say where a row is from, or which it is."""
_SPEAKERS = {"role", "from", "speaker", "author", "sender"}
_STARTS = {"answer_start", "start"}
_LABELS = {"label", "labels", "score", "class", "target", "similarity", "category", "gold_label", "is_duplicate"}
WRITTEN = (
    "response", "completion", "answer", "output", "solution", "canonical_solution", "code", "corrected", "rewrite",
    "paraphrase", "translation", "summary", "abstract", "explanation", "reply", "target_text", "gold_answer",
    "reference", "reference_answer", "ground_truth", "ideal", "expected_output", "model_answer",
)  # fmt: skip
"""Names of columns with what is to be written, best first; of others the second text is guessed."""
_CHOICES = ("choices", "options", "candidates", "endings", "answer_choices")
_OTHER_HALF = {"chosen": "rejected", "rejected": "chosen"}
_BETTER = {
    "preferred": "dispreferred", "win": "lose", "winner": "loser", "winning": "losing", "better": "worse",
    "good": "bad", "accepted": "rejected", "best": "worst", "preferred_response": "rejected_response",
    "chosen_response": "rejected_response", "chosen_answer": "rejected_answer",
    "preferred_answer": "dispreferred_answer", "response_chosen": "response_rejected",
}  # fmt: skip
"""Names of the better and of the worse of two answers."""
_NUMBERED = re.compile(
    r"((?:\w+[_ -])?(?:answer|completion|output|response|reply|chat|model|ref|reference|candidate|generation))s?"
    r"[_ -]?(?:[abjk]|[0-2])",
    re.IGNORECASE,
)


def mapping(**columns: str) -> str:
    """The options that give columns to fields, as they are to be typed.

    Args:
        columns: field -> column of the file.
    """
    options = (shell_quoted(f"data.columns.{field}={name}") for field, name in columns.items())
    return "`" + " ".join(f"--set {option}" for option in options) + "`"


def map_example(rows: Sequence[Row]) -> str:
    """What to type to map the columns, in the names that the rows have for them.

    Args:
        rows: at least one, with columns of unknown names.
    """
    sample = [row.values for row in rows[:_SAMPLE]]
    first = {str(name): value for name, value in sample[0].items()}
    texts = [name for name, value in first.items() if isinstance(value, str) and " " in value.strip()]
    texts = [name for name in texts if not _IDS.fullmatch(name)] or texts
    if special := _nested_example(first):
        return special
    flags = [
        name for name in first if not _IDS.fullmatch(name) and (_are_flags(name, sample) or are_marked((name,), sample))
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
        texts = [name for name in texts if not _IDS.fullmatch(name)]
        if len(texts) == 1 and not any(isinstance(value, (list, dict)) for value in first.values()):
            return mapping(text=texts[0])
    texts += [name for name, value in first.items() if isinstance(value, str) and name not in texts]
    if any(not _IDS.fullmatch(name) for name in texts):
        texts = [name for name in texts if not _IDS.fullmatch(name)]
    elif len(texts) > 1:
        return MAP_EXAMPLE
    nested = [name for name, value in first.items() if isinstance(value, (list, dict)) and value]
    written = next((name for known in WRITTEN for name in (*texts, *nested) if name.lower() == known), None)
    if written in nested and len(texts) == 1:
        return mapping(prompt=texts[0], completion=written)
    if written in texts and len(texts) > 1:
        return mapping(prompt=next(name for name in texts if name != written), completion=written)
    return mapping(prompt=texts[0], completion=texts[1]) if len(texts) > 1 else MAP_EXAMPLE


def _nested_example(first: Mapping[str, Any]) -> str:
    """What to type where a column holds a conversation, or answers with their places in a text; else empty."""
    talks = next((name for name, value in first.items() if _are_turns(value)), None)
    answer = next(
        (name for known in WRITTEN for name in first if name.lower() == known and _is_text(first[name])), None
    )
    if talks is not None and answer is not None:
        asked = next((name for name in first if name not in (talks, answer) and _is_last_question(name)), "COLUMN")
        return mapping(prompt=asked, completion=answer)
    if talks is not None:
        return mapping(messages=talks)
    texts = [name for name, value in first.items() if isinstance(value, str) and not _IDS.fullmatch(name)]
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
    return is_few and not _IDS.fullmatch(name) and max(map(len, cells)) <= _LONGEST_CLASS


def _are_scores(name: str, sample: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a column has amounts."""
    cells = [text for values in sample if (text := spelled(values.get(name)))]
    numbers = [number for cell in cells if (number := number_of(cell)) is not None]
    is_counter = all(after == before + 1 for before, after in zip(numbers, numbers[1:], strict=False))
    return bool(cells) and not is_counter and not _IDS.fullmatch(name) and are_amounts(cells, is_named_so=False)


def two_answers(columns: Sequence[str]) -> tuple[str, str] | None:
    """Two columns with answers to one prompt, such as `response_a` and `response_b`; None if there are not two."""
    found = [(column, match[1].lower()) for column in columns if (match := _NUMBERED.fullmatch(column))]
    same = [column for column, stem in found if found and stem == found[0][1]]
    return (same[0], same[1]) if len(same) == 2 else None


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
        return DataError(f"`{file}` is not `{wanted.name}`: {what}", why, f"Map the columns: {MAP_EXAMPLE}")
    if both := two_answers(found):
        return DataError(
            f"`{file}` has no known shape: {what}",
            f"{quoted(both)} seem to be two answers to one prompt. Learning the same one in every row might teach the "
            "worse.",
            "Write the better answer of each row in a column `chosen` and the other in `rejected`",
        )
    names = {str(name).lower(): str(name) for name in found}
    better = next((name for name in names if _BETTER.get(name) in names), None)
    if advice := _advice(rows[0].values, names):
        return DataError(f"`{file}` has no known shape: {what}", *advice)
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
            "Write a first line with the names of the columns, such as `label` and `text`",
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


def _advice(first: Mapping[str, Any], names: Mapping[str, str]) -> tuple[str, str] | None:
    """Why rows of a known kind cannot be read as they are, and what to do; None for others.

    Args:
        first: values of the first row.
        names: the columns, by their names in lower case.
    """
    choices = next((names[name] for name in _CHOICES if name in names), None)
    if choices is not None:
        return (
            f"`{choices}` seems to hold the answers to choose from.",
            "Write the choices into the question of each row, in a column `prompt`, and the text of the right one in a "
            "column `completion`",
        )
    texts = [name for name, cell in first.items() if isinstance(cell, str) and not _IDS.fullmatch(name)]
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
    talk = next((name for name, cell in first.items() if _is_dialogue(name, cell)), None)
    if talk is not None:
        return (
            f"`{talk}` seems to hold a whole conversation, in a form that is not known.",
            'Write each conversation as one row: `{"messages": [{"role": "user", "content": ...}, ...]}`',
        )
    ranked = next((name for name, cell in first.items() if _are_ranked(cell)), None)
    if ranked is not None:
        return (
            f"`{ranked}` seems to hold several answers to one prompt, with ranks or scores.",
            "Write the best answer of each row in a column `chosen` and a worse one in `rejected`",
        )
    return None


_NAMED_TURN = re.compile(r"(?:^|\n|### ?|<\|)\W{0,3}(\w{2,12})\W{0,2}(?::|\|>)")
_MARKED_TURN = re.compile(r"<\|?(?:im_start|start_header_id|start_of_turn)\|?>\s*(\w+)")
"""Whose words follow, in a conversation that is written out: `USER:`, `### Human:` or `<|assistant|>`."""
_TURNS = ("data", "conversation", "conversations", "dialog", "dialogue", "turns", "utterances", "chat")


def speakers_in(text: str) -> set[str]:
    """The roles that a text names before what they say, as they mean: `user`, `assistant` and others."""
    found = {find_role(name, {}) for name in (*_NAMED_TURN.findall(text), *_MARKED_TURN.findall(text))}
    return {role for role in found if role} | (
        {"user", "assistant"} if "[INST]" in text and "[/INST]" in text else set()
    )


def _is_dialogue(name: str, cell: Any) -> bool:
    """Whether a cell is a conversation that is written out, or a list of what is said in turn."""
    if isinstance(cell, str):
        return {"user", "assistant"} <= speakers_in(cell)
    is_list = isinstance(cell, list) and len(cell) > 1 and all(isinstance(text, str) for text in cell)
    return is_list and name.lower() in _TURNS


def _is_translated(cell: Any) -> bool:
    is_named = (
        isinstance(cell, Mapping)
        and len(cell) > 1
        and all(re.fullmatch(r"[a-z]{2,3}(?:[-_]\w+)?", str(key)) for key in cell)
    )
    return is_named and all(isinstance(text, str) for text in cell.values())


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


def _how_to_label(rows: Sequence[Row], found: Sequence[str]) -> str:
    """What to type where two texts have known names, and what is to be learned of them has not."""
    sample = [row.values for row in rows[:_SAMPLE]]
    labels = [name for name in found if len(rows) >= _FEWEST_ROWS and _are_classes(name, sample)]
    if labels:
        return f"Name the column with the labels: {mapping(label=labels[0])}"
    return "Name the column with the labels, `--set data.columns.label=COLUMN`, or with the scores, `...score=COLUMN`"
