"""Which blocks of packed rows have anything to see in each other, for flex attention (arXiv 2412.05496)."""

from __future__ import annotations

from typing import Any

import torch

from burnish.kernels.segments import Segments

BLOCK = 128
"""Side of the blocks that flex attention leaves out or computes as a whole."""


def block_mask(segments: Segments, rows: int) -> Any:
    """The examples as flex attention wants them: which blocks of a row see which; made once for all layers.

    Args:
        segments: of the rows.
        rows: how many.
    """
    from torch.nn.attention.flex_attention import BlockMask  # brings the compiler along

    def make() -> Any:
        begins = segments.begins(rows)
        width = begins.shape[1]
        edges = torch.arange(0, width, BLOCK, device=begins.device)
        first = begins[:, edges, None]
        last = begins[:, (edges + BLOCK - 1).clamp(max=width - 1), None]
        is_earlier = edges < edges[:, None]
        is_inside = (edges[:, None] + BLOCK <= width) & is_earlier
        whole = is_inside & (edges >= last)  # both blocks lie within one example
        part = (is_earlier | (edges == edges[:, None])) & (edges + BLOCK > first) & ~whole

        def sees(row: Any, head: Any, token: Any, other: Any) -> Any:
            return (other <= token) & (other >= begins[row, token])

        return BlockMask.from_kv_blocks(
            *_ordered(part), *_ordered(whole), BLOCK_SIZE=BLOCK, mask_mod=sees, seq_lengths=(width, width)
        )

    return segments.once(("blocks", rows), make)


def _ordered(chosen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of `[rows, blocks, blocks]` bool: how many are chosen of each line, and their numbers before all others."""
    chosen = chosen[:, None].int()
    numbers = chosen.argsort(dim=-1, descending=True, stable=True)
    return chosen.sum(-1, dtype=torch.int32), numbers.int().contiguous()
