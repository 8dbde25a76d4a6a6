"""Questions in batches: by length, and those with pictures on their own."""

from __future__ import annotations

from burnish.tasks.questions import answer_batches
from burnish.tasks.task import Question


def question(length: int, has_picture: bool = False) -> Question:
    """A prompt of so many tokens."""
    return Question([1] * length, "", "", "", inputs=dict if has_picture else None)


def test_prompts_of_similar_length_are_answered_together() -> None:
    lengths = [5 + (7 * number) % 40 for number in range(40)]
    first, second = answer_batches([question(length) for length in lengths])
    assert (len(first), len(second)) == (32, 8)
    assert [lengths[index] for index in first + second] == sorted(lengths)


def test_pictures_come_last_one_at_a_time() -> None:
    questions = [question(9, has_picture=True), question(4), question(3, has_picture=True), question(6)]
    assert answer_batches(questions) == [[1, 3], [2], [0]]
    assert answer_batches([]) == []
