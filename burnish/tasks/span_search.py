"""The best span between two tokens, found exactly."""

from __future__ import annotations

import torch


def best_spans(
    starts: torch.Tensor, ends: torch.Tensor, allowed: torch.Tensor, longest: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """In each row the span `first..last` of at most `longest` tokens with the largest `starts[first] + ends[last]`.

    The best end for each start is the maximum of a sliding window over the ends, so that every span is looked at, not
    only those between the best few starts and ends.

    Args:
        starts: `[rows, width]`, scores of each token as the first.
        ends: `[rows, width]`, scores of each token as the last.
        allowed: `[rows, width]` bool, tokens that a span may begin or end with; at least one in each row.
        longest: most tokens of a span.

    Returns:
        `[rows]` fp32 scores, `[rows]` int64 first and `[rows]` int64 last tokens; of equal spans the earliest.
    """
    lowest = float("-inf")
    reach = min(longest, starts.shape[1])
    last_scores = ends.float().masked_fill(~allowed, lowest)
    padded = torch.nn.functional.pad(last_scores, (0, reach - 1), value=lowest)
    best_ends, last = torch.nn.functional.max_pool1d(padded.unsqueeze(1), reach, stride=1, return_indices=True)
    scores = starts.float().masked_fill(~allowed, lowest) + best_ends.squeeze(1)
    best, first = scores.max(dim=1)
    return best, first, last.squeeze(1).gather(1, first.unsqueeze(1)).squeeze(1)
