"""Cuts over-long chat examples: from the left, so that answers stay whole."""

from __future__ import annotations

from collections.abc import Sequence

from burnish.data.row import IGNORED, Example, RowError

Span = tuple[int, int]
"""Token positions [start, end) of an answer."""


def fit_answers(
    ids: list[int], answers: Sequence[Span], lead: list[int], context: int, place: str
) -> tuple[list[Example], int]:
    """Examples of at most `context` tokens that train each answer at most once, and how many tokens stand in none.

    A sequence that fits is one example. A longer one is cut from the left, and answers that lost the turn before
    them are trained in an example of their own, again with as much as fits to their left. `lead` (BOS) stays in
    front. An earlier answer that fits nowhere is left out.

    Raises:
        RowError: the last answer does not fit.
    """
    num_lead = len(lead) if ids[: len(lead)] == lead else 0
    if len(ids) <= context:
        return [_example(ids, 0, len(ids), answers, 0, place)], 0
    room = context - num_lead
    last_start, last_end = answers[-1]
    if last_end - last_start + 1 > room:
        raise RowError(
            f"the answer alone is {last_end - last_start} tokens, longer than the context of {context} has room for"
        )
    examples = []
    left = list(answers)
    reached, num_lost = len(ids), 0
    while left:
        start, end = left.pop()
        if end - start + 1 > room:
            continue
        cut = max(num_lead, end - room)
        kept = [(start, end)]
        # An earlier answer belongs here only if the whole turn that it answers does.
        while left and (left[-2][1] if len(left) > 1 else num_lead) >= cut:
            kept.append(left.pop())
        examples.append(_example(ids, cut, end, kept[::-1], num_lead, place))
        num_lost += max(0, reached - end)
        reached = min(reached, cut)
    return examples[::-1], num_lost + reached - num_lead


def _example(ids: list[int], cut: int, end: int, answers: Sequence[Span], num_lead: int, place: str) -> Example:
    """Tokens [cut, end) of `ids` behind its first `num_lead`, with `answers` trained."""
    labels = [IGNORED] * end
    for start, stop in answers:
        labels[start:stop] = ids[start:stop]
    return Example(ids[:num_lead] + ids[cut:end], [IGNORED] * num_lead + labels[cut:], place)
