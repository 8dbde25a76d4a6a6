"""Worse answers beside better ones under names that are no shape's: read where that is clear, else asked about."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from burnish.data.chat.accepted import names_several
from burnish.data.labels.cells import as_flag
from burnish.data.rows.pattern import Pattern
from burnish.data.rows.patterns import PROMPT
from burnish.data.rows.records import PreferenceRecord
from burnish.data.rows.row import pick, words_of
from burnish.data.rows.settled import Asked, Settled
from burnish.data.rows.typed import mapping
from burnish.errors import DataError
from burnish.recipe.schema import AUTO

Values = Mapping[str, Any]

_WORSE = {
    "rejected", "reject", "worse", "worst", "bad", "negative", "neg", "dispreferred", "nonpreferred", "unpreferred",
    "losing", "loser", "lose", "wrong", "incorrect", "undesirable", "inferior", "non", "preferred",
}  # fmt: skip
_BETTER = {"chosen", "preferred", "better", "best", "accepted", "accept", "good", "winning", "winner", "win"}
_SAID = {
    "response", "responses", "answer", "answers", "output", "outputs", "completion", "completions", "reply", "replies",
    "message", "messages", "conversation", "conversations", "generation", "text", "solution", "code", "summary",
}  # fmt: skip
_ALONE = {"rejected", "reject", "worse", "dispreferred", "nonpreferred", "loser"}


def settle_answered(pattern: Pattern, rows: Sequence[Values], asked: Asked) -> Settled | None:
    """Conversations with their better answer, and a worse one beside; None where the task learns no preference."""
    if asked.records and PreferenceRecord not in asked.records:
        return None
    name = next(name for name in pattern.required[-1] if any(name in values for values in rows))
    refuse_several([name], rows)
    note = (
        f"The last answer of each conversation is taken as the better one, and `{name}` as the worse. To learn the "
        "conversations alone: `--task chat`."
    )
    return Settled(pattern, notes=(note,) if asked.shape == AUTO and not asked.columns else ())


def refuse_several(names: Sequence[str], rows: Sequence[Values]) -> None:
    """Raises DataError where a better or a worse answer is a list of texts, of which each is one.

    Args:
        names: of the columns with answers.
        rows: values by column.
    """
    for name in names:
        for values in rows:
            cell = values.get(name)
            if not isinstance(cell, list) or not cell or not all(isinstance(one, str) for one in cell):
                continue
            each = f".{name}[] as $one | .{name} = $one"
            raise DataError(
                f"`{name}` has a list of answers, but a pair has one better and one worse answer",
                f"The first list has {len(cell)}: {json.dumps(cell[0], ensure_ascii=False)[:60]} and so on."
                if len(cell) > 1
                else f"The first list is {json.dumps(cell, ensure_ascii=False)[:60]}.",
                f"Write a row for each of them: `jq -c '{each}' IN.jsonl > OUT.jsonl`",
            )


def ask_about_worse(
    pattern: Pattern, rows: Sequence[Values], others: Sequence[str], used: AbstractSet[str], asked: Asked
) -> None:
    """Raises DataError where a column that is not used seems to hold a worse answer.

    Args:
        pattern: of conversations, or of questions with answers.
        rows: values by column.
        others: columns that are not used.
        used: the others.
        asked: what the user has set.
    """
    if asked.shape != AUTO or asked.columns or (asked.records and PreferenceRecord not in asked.records):
        return
    worse = next((name for name in others if is_worse(name) and _are_answers(name, rows)), None)
    if worse is None:
        return
    better = next((name for name in others if _is_better(name) and _are_answers(name, rows)), None)
    columns = {"rejected": worse}
    answer = "the answer"
    if pattern.answers:
        ask, answer = (next(name for name in field if name in used) for field in pattern.required)
        columns = {"chosen": better or answer, **columns} | ({} if ask in PROMPT else {"prompt": ask})
    elif better is not None:
        columns = {"chosen": better, **columns}
    said = f"`{better or answer}`" if better or pattern.answers else "the last answer of each conversation"
    alone = "" if better else f". To learn {said} alone: `--set data.shape={pattern.name}`"
    raise DataError(
        f"`{worse}` seems to hold worse answers, without which these rows would be read",
        f"From both, a model learns to prefer {said}.",
        f"To learn from both: {mapping(**columns)}{alone}",
    )


def ask_about_two(pattern: Pattern, rows: Sequence[Values], asked: Asked) -> None:
    """Raises DataError where each answer is a list of two texts, which may be a better and a worse one."""
    if asked.shape != AUTO or asked.records and PreferenceRecord not in asked.records or not pattern.answers:
        return
    name = pick(rows[0], pattern.answers[0])[0]
    cells = [cell for values in rows if (cell := values.get(name)) not in (None, "")]
    pairs = [cell for cell in cells if isinstance(cell, list) and len(cell) == 2 and all(map(_is_sentence, cell))]
    if len(pairs) < max(_FEWEST_PAIRS, len(cells)) or names_several(name):
        return
    form = f".chosen = .{name}[0] | .rejected = .{name}[1] | del(.{name})"
    raise DataError(
        f"`{name}` has two answers in each row: is the first the better one?",
        f"The first are `{pairs[0][0][:40]}` and `{pairs[0][1][:40]}`.",
        f"If it is: `jq -c '{form}' IN.jsonl > OUT.jsonl`. If both are one answer, which is then learned as JSON: "
        f"`--set data.shape={pattern.name}`",
    )


_FEWEST_PAIRS = 3


def _is_sentence(cell: Any) -> bool:
    return isinstance(cell, str) and len(cell.split()) > 2


def is_worse(name: str) -> bool:
    """Whether the name of a column is that of worse answers: `bad_output`, `rejectedResponse`, `reject`."""
    words = {word for word in words_of(name) if word}
    if words <= _ALONE or words == {"non", "preferred"}:
        return True
    return words <= _WORSE | _SAID and bool(words & (_WORSE - {"non", "preferred"}) or words >= {"non", "preferred"})


def _is_better(name: str) -> bool:
    words = {word for word in words_of(name) if word}
    return words <= _BETTER | _SAID and bool(words & _BETTER)


def _are_answers(name: str, rows: Sequence[Values]) -> bool:
    """Whether most cells of a column are texts, messages or lists of these."""
    cells = [cell for values in rows if (cell := values.get(name)) not in (None, "", [], {})]
    texts = [cell for cell in cells if isinstance(cell, (dict, list)) or _is_text(cell)]
    return bool(cells) and 2 * len(texts) > len(cells)


def _is_text(cell: Any) -> bool:
    return isinstance(cell, str) and as_flag(cell) is None
