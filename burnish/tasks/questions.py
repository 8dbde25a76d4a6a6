"""Questions in the batches in which they are answered."""

from __future__ import annotations

from collections.abc import Sequence

from burnish.tasks.task import Question

_BATCH = 32


def answer_batches(questions: Sequence[Question]) -> list[list[int]]:
    """Numbers of the questions of each batch: prompts of similar length together, prompts with images on their own.

    Args:
        questions: in any order.

    Returns:
        Batches by length, the longest prompts last; after them those with images.
    """
    order = sorted(range(len(questions)), key=lambda index: len(questions[index].prompt_ids))
    plain = [index for index in order if questions[index].inputs is None]
    batches = [plain[begin : begin + _BATCH] for begin in range(0, len(plain), _BATCH)]
    return batches + [[index] for index in order if questions[index].inputs is not None]
