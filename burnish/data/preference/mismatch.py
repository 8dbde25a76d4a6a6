"""Answers that belong to other prompts, from which KTO estimates its reference point."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from burnish.data.preference.format import RatedExample


def other_answers(prompts: Sequence[Hashable]) -> list[int | None]:
    """For each rated answer, the number of one that was given to another prompt; None if there is no other prompt.

    The answers are put in order by prompt and all moved on by as many places as the most frequent prompt has. No answer
    can then meet its own prompt again, and each is used once, so that the answers of other prompts are the same ones as
    the rated answers (arXiv 2402.01306, section 4). Where one prompt has more than half of all answers, those of the
    others are used several times for it.

    With a single answer for each prompt it is that of the row before, as in TRL.

    Args:
        prompts: the prompt of each answer, or a key that equal prompts share.
    """
    groups: dict[Hashable, list[int]] = {}
    for number, prompt in enumerate(prompts):
        groups.setdefault(prompt, []).append(number)
    ordered = [number for group in groups.values() for number in group]
    most = max(map(len, groups.values()), default=0)
    found: list[int | None] = [None] * len(ordered)
    if len(groups) < 2:
        return found
    for place, number in enumerate(ordered):
        found[number] = ordered[place - most]
    for group in groups.values():
        if 2 * len(group) > len(ordered):
            own = set(group)
            others = [number for number in ordered if number not in own]
            for place, number in enumerate(group):
                found[number] = others[place % len(others)]
    return found


class OtherAnswers:
    """`other_answers` of lists of examples, computed once for each list.

    They depend on the whole list and on nothing else: not on the batch, its remainder, or where a run was resumed. So
    the base model's log-probabilities of them are computed once.
    """

    def __init__(self) -> None:
        self._known: tuple[tuple[Sequence[RatedExample], list[int | None]], ...] = ()

    def of(self, examples: Sequence[RatedExample]) -> list[int | None]:
        """For each example, the number of one with another prompt, or None."""
        for known, others in self._known:
            if known is examples:
                return others
        others = other_answers([example.asked or tuple(example.prompt_ids) for example in examples])
        # training and validation rows; set at once, because batches are also built in a thread
        self._known = ((examples, others), *self._known[:1])
        return others
