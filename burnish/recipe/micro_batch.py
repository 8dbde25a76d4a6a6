"""Sizes of steps and micro-batches: for the plan, and for what a page estimates from it."""

from __future__ import annotations

import math

FEWEST_STEP_TOKENS, MOST_STEP_TOKENS = 512, 16_384
"""Of a step whose size is chosen by the number of training tokens."""


def most_rows(context: int, step_tokens: int, most_tokens: int | None, processes: int = 1) -> int:
    """Rows of the context length that are useful in a micro-batch: as many as one process computes of a step.

    Args:
        context: tokens of a row.
        step_tokens: of an optimizer step, as in `batch.tokens`.
        most_tokens: beyond which several rows are no faster; None where there is no such limit.
        processes: that compute each step together.
    """
    rows = math.ceil(step_tokens / (context * processes))
    return max(1, rows if most_tokens is None else min(rows, most_tokens // context))
