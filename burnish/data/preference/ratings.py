"""Decides, over all rows, what ratings of answers mean: good or bad, a scale, or which answer of a pair is better."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

from burnish.data.chat.messages import USED, as_messages, ends_with_answer
from burnish.data.chat.prompts import notes_on_prompts
from burnish.data.chat.questions import (
    answers_in,
)
from burnish.data.labels.missing import spelled
from burnish.data.labels.numbers import number_of
from burnish.data.preference.worse import refuse_several
from burnish.data.rows.elsewhere import jq_path
from burnish.data.rows.pattern import Pattern
from burnish.data.rows.patterns import ANSWER, BY_NAME, PROMPT
from burnish.data.rows.printed import as_list
from burnish.data.rows.records import RatedRecord
from burnish.data.rows.row import RowError, pick, quoted, words_of
from burnish.data.rows.settled import Asked, Choice, Settled
from burnish.data.rows.typed import jq_command, mapping, settings
from burnish.errors import DataError
from burnish.recipe.schema import AUTO

Values = Mapping[str, Any]

_GOOD = {
    "true", "1", "good", "yes", "y", "up", "thumbs_up", "thumbs-up", "thumbsup", "+1", "👍", "like", "liked",
    "positive", "pos", "accepted", "accept", "chosen", "correct", "right", "pass", "passed", "desirable", "helpful",
    "upvote", "upvoted", "ok", "approve", "approved", "better", "win",
}  # fmt: skip
_BAD = {
    "false", "0", "-1", "bad", "no", "n", "down", "thumbs_down", "thumbs-down", "thumbsdown", "👎", "dislike",
    "disliked", "negative", "neg", "rejected", "reject", "incorrect", "wrong", "fail", "failed", "undesirable",
    "unhelpful", "downvote", "downvoted", "disapprove", "disapproved", "worse", "lose", "loss",
}  # fmt: skip
_NEITHER = {"neutral", "tie", "neither", "none", "n/a", "nan", "null", "-"}
_MOST_WORDS = 5
"""A column of more different words is no rating but a topic or a comment."""
_KNOWN = 0.95
"""Share of the ratings that must be known words; the others are left out."""
_UNRATED = ("alpaca", "instruction-response", "question-answer", "prompt-completion")


@dataclass(frozen=True, slots=True)
class RatingReading:
    """Takes the cells of a column as good or bad."""

    column: str
    good: tuple[str, ...] = ()
    """As `spelled` writes them."""
    bad: tuple[str, ...] | None = None
    """The others; None if everything that is not good is bad."""
    good_from: float | None = None
    """The lowest good number, for a scale."""

    @property
    def columns(self) -> tuple[str, ...]:
        """None besides the pattern's own."""
        return ()

    def prepare(self, values: Values) -> Values:
        """The row with true or false in place of its rating. Raises RowError where it has none, or a neutral one."""
        text = spelled(values.get(self.column)).lower()
        if not text:
            raise RowError(f"`{self.column}` is empty: the answer has no rating")
        if self.good_from is not None:
            number = number_of(text)
            if number is None:
                raise RowError(f"the rating in `{self.column}` is {text}, not a number")
            return {**values, self.column: number >= self.good_from}
        if text not in self.good and self.bad is not None and text not in self.bad:
            raise RowError(f"the rating in `{self.column}` is {text}, neither good nor bad")
        return {**values, self.column: text in self.good}


@dataclass(frozen=True, slots=True)
class PairReading:
    """Leaves out pairs whose scores contradict which answer is the chosen one."""

    chosen: str
    rejected: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The two scores."""
        return (self.chosen, self.rejected)

    def prepare(self, values: Values) -> Values:
        """The same row. Raises RowError for a tie, and where the rejected answer has the higher score."""
        better, worse = (number_of(spelled(values.get(name))) for name in self.columns)
        if better is None or worse is None or better > worse:
            return values
        if better == worse:
            raise RowError(f"a tie: `{self.chosen}` and `{self.rejected}` are both {better:g}, so neither is better")
        raise RowError(
            f"`{self.rejected}` is {worse:g} and `{self.chosen}` only {better:g}: the pair contradicts itself"
        )


def settle_rating(pattern: Pattern, rows: Sequence[Values], asked: Asked) -> Settled | None:
    """What the rating of single answers means; None where the column is no rating.

    Raises:
        DataError: it is a scale, or words whose meaning is not known, and nothing says which of them are good.
    """
    name = next((name for name in pattern.required[-1] if any(name in values for values in rows)), "")
    if len(pattern.required) == 2 and not _are_answered(rows, pattern, asked.roles):
        return None
    narrow = replace(pattern, required=(*pattern.required[:-1], (name,)))
    counts = Counter(text.lower() for values in rows if (text := spelled(values.get(name))))
    if asked.annotation.good_from is not None:
        reading = RatingReading(name, good_from=asked.annotation.good_from)
        return Settled(narrow, (reading,))
    if asked.annotation.good not in (AUTO, []):
        return Settled(narrow, (RatingReading(name, tuple(spelled(value).lower() for value in asked.annotation.good)),))
    if not counts:
        return None
    good, neither = _GOOD & set(counts), _NEITHER & set(counts)
    known = sum(counts[text] for text in counts if text in _GOOD | _BAD | _NEITHER)
    if len(neither) < len(counts) and known >= _KNOWN * counts.total():
        bad = _BAD & set(counts)
        if asked.records and RatedRecord not in asked.records and not bad and len(good) == len(counts):
            return None  # all are good, and may be learned as conversations
        if {"0", "-1"} <= bad and "1" in good:  # 0 between -1 and 1 is neutral
            bad -= {"0"}
        reading = RatingReading(name, tuple(sorted(good)), tuple(sorted(bad)))
        is_plain = set(counts) <= {"true", "false"}
        notes = () if is_plain else (_note(name, counts, good, bad, _unrated(pattern, rows)),)
        choices: tuple[Choice, ...] = (("annotation.good", sorted(good), f"the values of `{name}`"),)
        return Settled(narrow, (reading,), notes, choices if good | bad == set(counts) else ())
    numbers = [number_of(text) for text in counts]
    scale = sorted(number for number in numbers if number is not None)
    is_scale = len(scale) + len(neither) == len(counts) and len(scale) > 0
    if len(counts) == 1 or (not is_scale and len(counts) > _MOST_WORDS):
        return None
    raise _question(name, _unrated(pattern, rows), scale if is_scale else [], sorted(counts))


def _are_answered(rows: Sequence[Values], pattern: Pattern, roles: Mapping[str, str]) -> bool:
    """Whether some conversation ends with an answer, which can be rated."""
    cells = (as_list(pick(values, pattern.required[0])[1]) for values in rows)
    return any(ends_with_answer(as_messages(cell, roles), roles) for cell in cells)


def _note(name: str, counts: Counter[str], good: AbstractSet[str], bad: AbstractSet[str], unrated: str) -> str:
    number = sum(counts[text] for text in good)
    return (
        f"`{name}` is taken as a rating of the answer: {quoted(sorted(good))} as good ({number:,} of "
        f"{counts.total():,} rows), {quoted(sorted(bad))} as bad. To learn all answers alike: "
        f"`--set data.shape={unrated}`."
    )


def _unrated(pattern: Pattern, rows: Sequence[Values]) -> str:
    """The shape of the same rows without their rating."""
    columns = tuple(rows[0])
    plain = ("messages",) if len(pattern.required) == 2 else _UNRATED
    return next((name for name in plain if BY_NAME[name].has_columns(columns)), plain[-1])


def _question(name: str, unrated: str, scale: list[float], words: list[str]) -> DataError:
    """The error that asks which answers are good."""
    if scale:
        middle = scale[len(scale) // 2]
        why = f"It has numbers from {scale[0]:g} to {scale[-1]:g}. Learning all answers alike would teach the bad ones."
        rated = f"`--set annotation.good_from={middle:g}`"
    else:
        why = f"Its values are {quoted(words, 6)}. Learning all answers alike would teach the bad ones."
        rated = f"`{settings('annotation.good', words[:1])}`"
    return DataError(
        f"`{name}` seems to rate the answers: which of them are good?",
        why,
        f"Name the good ones: {rated}. To train on all answers: `--set data.shape={unrated}`",
    )


_STEMS = {
    "label", "rating", "rate", "score", "reward", "vote", "votes", "thumb", "thumbs", "like", "liked", "preferred",
    "preference", "quality", "helpful", "helpfulness", "correct", "feedback", "approved", "accepted", "good", "bad",
    "verdict", "grade", "kto", "reaction", "desirable", "accept", "upvote", "upvoted", "passed", "reject", "rejected",
    "outcome", "judgement", "judgment", "winner",
}  # fmt: skip
"""Words in the name of a column that may rate answers."""


_SPEAKING = (_GOOD | _BAD) - {
    "true", "false", "1", "0", "-1", "yes", "no", "y", "n", "up", "down", "positive", "pos", "negative", "neg", "right",
    "ok", "loss", "win", "lose", "pass", "passed", "fail", "failed", "better", "worse",
}  # fmt: skip
"""Values that rate an answer whatever their column is called."""


_GRADES = {
    "high", "medium", "low", "excellent", "great", "average", "fair", "mediocre", "poor", "terrible", "best", "worst",
    "satisfied", "unsatisfied", "dissatisfied", "satisfactory", "unsatisfactory", "acceptable", "unacceptable",
}  # fmt: skip
"""Further values of a column that is named like a rating; which of them are good is asked."""
_HIGHEST = ("excellent", "best", "great", "high", "satisfied", "satisfactory", "acceptable", "good")


def texts_of(rows: Sequence[Values], name: str) -> list[str]:
    return [text for values in rows if (text := spelled(values.get(name)))]


def _unmapped(pattern: Pattern, rating: str, used: AbstractSet[str]) -> dict[str, str]:
    """The fields of rated answers, with the columns that need to be named for them."""
    columns: dict[str, str] = {}
    if len(pattern.required) > 1:
        for field, known, read in zip(("prompt", "completion"), (PROMPT, ANSWER), pattern.required, strict=False):
            column = next(name for name in read if name in used)
            columns |= {} if column in known else {field: column}
    return {**columns, "label": rating}


def ask_about_rating(pattern: Pattern, name: str, counts: Counter[str], used: AbstractSet[str]) -> None:
    """Raises DataError where an unknown column seems to rate the answers."""
    rated = counts.keys() - _NEITHER
    is_named_so = not _STEMS.isdisjoint(re.split(r"[^a-z]+", str(name).lower()))
    speaks = rated <= _SPEAKING and not rated.isdisjoint(_GOOD)
    is_scale = is_named_so and all(number_of(text) is not None for text in rated)
    words = _GOOD | _BAD | _GRADES
    is_known = (is_named_so or speaks) and rated <= words and not rated.isdisjoint(_BAD | _GRADES)
    if len(rated) < 2 or not (is_scale or is_known):
        return
    more = ""
    if is_scale and not rated <= _GOOD | _BAD:
        scale = sorted(number for text in rated if (number := number_of(text)) is not None)
        more = f" --set annotation.good_from={scale[len(scale) // 2]:g}"
    elif not rated <= _GOOD | _BAD:
        best = next((text for text in _HIGHEST if text in rated), sorted(rated)[0])
        more = f" {settings('annotation.good', [best])}"
    columns = _unmapped(pattern, name, used)
    raise DataError(
        f"`{name}` seems to rate the answers, but Burnish does not know a column of that name",
        f"Its values are {quoted(sorted(rated), 5)}. Learning all answers alike would teach the bad ones.",
        f"To learn the good ones from the bad: `{mapping(**columns)[1:-1]}{more}`. To train on all answers: "
        f"`--set data.shape={pattern.name}`",
    )


def ask_about_rated_messages(pattern: Pattern, rows: Sequence[Values]) -> None:
    """Raises DataError where a key inside the assistant's messages seems to rate the answers."""
    found: dict[str, Counter[str]] = {}
    for message in answers_in(rows, pattern.names):
        for key, value in message.items():
            if key not in USED and not _STEMS.isdisjoint(words_of(key)) and (text := spelled(value)):
                found.setdefault(key, Counter())[text.lower()] += 1
    for key, counts in found.items():
        rated = counts.keys() - _NEITHER
        is_scale = len(rated) > 1 and all(number_of(text) is not None for text in rated)
        if is_scale or (rated <= _GOOD | _BAD and not rated.isdisjoint(_BAD)):
            raise DataError(
                f"`{key}` inside messages seems to rate the answers, which Burnish does not read there",
                f"Its values are {quoted(sorted(rated), 5)}. Learning all answers alike would teach the bad ones.",
                "Write `train: false` into the bad answers, which are then not learned. "
                f"{_without_bad(key, pick(rows[0], pattern.names)[0], rated)}. To train on all answers: "
                f"`--set data.shape={pattern.name}`",
            )


def _without_bad(key: str, column: str, rated: Collection[str]) -> str:
    """The command that writes ratings inside messages as `train`, with what it takes for bad."""
    value, numbers = jq_path(key), [number for text in rated if (number := number_of(text)) is not None]
    if len(numbers) == len(rated):
        middle = (min(numbers) + max(numbers)) / 2
        what, is_good = f"those below {middle:g}", f"({value} | tonumber) >= {middle:g}"
    else:
        bad = sorted(_BAD.intersection(rated))
        listed = ", ".join(f'"{word}"' for word in bad)
        what, is_good = quoted(bad), f"([{value} | tostring | ascii_downcase] - [{listed}]) != []"
    form = f"({jq_path(column)}[] | select({value} != null)) |= (.train = ({is_good}) | del({value}))"
    return f"If {what} are bad: {jq_command(form)}"


_SCORE_WORDS = ("score", "scores", "rating", "reward", "avgrating", "overallscore", "avgscore")


def settle_pair(pattern: Pattern, rows: Sequence[Values], asked: Asked) -> Settled:
    """Pairs whose answers have scores: ties and contradictions are left out, unless most pairs contradict their scores,
    which then mean something else."""
    refuse_several([pick(rows[0], field)[0] for field in pattern.required[-2:]], rows)
    columns, prompts = _score_columns(rows), tuple(notes_on_prompts(pattern, rows))
    if columns is None:
        return Settled(pattern, notes=prompts)
    reading = PairReading(*columns)
    pairs = [[number_of(spelled(values.get(name))) for name in columns] for values in rows]
    known = [(better, worse) for better, worse in pairs if better is not None and worse is not None]
    lower = sum(better < worse for better, worse in known)
    if 2 * lower > len(known):
        return Settled(
            pattern,
            notes=(
                *prompts,
                f"In most rows `{columns[0]}` is lower than `{columns[1]}`, so the two are not used as scores.",
            ),
        )
    ties = sum(better == worse for better, worse in known)
    notes = prompts
    if ties or lower:
        notes = (
            *prompts,
            f"`{columns[0]}` and `{columns[1]}` are equal in {ties:,} rows and contradict the order of the answers in "
            f"{lower:,}; these rows are left out.",
        )
    return Settled(pattern, (reading,), notes)


def _score_columns(rows: Sequence[Values]) -> tuple[str, str] | None:
    """The columns with the scores of the chosen and of the rejected answer; None if there are none."""
    names = {re.sub(r"[^a-z]", "", str(key).lower()): str(key) for values in rows[:1] for key in values}
    for word in _SCORE_WORDS:
        for chosen, rejected in ((f"{word}chosen", f"{word}rejected"), (f"chosen{word}", f"rejected{word}")):
            if chosen in names and rejected in names:
                return names[chosen], names[rejected]
    return None
