"""Asks the operating system to keep long-lived memory in huge pages.

Weights that are read from the first to the last for every token cross a page of 4 KB every few hundred nanoseconds, and
each has to be looked up. In pages of 2 MB they are read about a fifth faster (`bench/answering.py`). Linux gives such
pages where a program asks for them, if its administrator allows it (`madvise` in
`/sys/kernel/mm/transparent_hugepage/enabled`, the usual setting). Where it does not, nothing changes.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable, Iterator

_HUGE = 2 << 20
_GAP = 64 << 10
"""Between two blocks of memory that are taken as one: what an allocator puts between, not what others use."""
_WANTED, _NOW = 14, 25
"""Linux: MADV_HUGEPAGE, and MADV_COLLAPSE (6.1), without which pages that are in use change some time later."""


def use_huge_pages(blocks: Iterable[tuple[int, int]]) -> int:
    """Asks for huge pages; what is in memory stays as it is.

    Args:
        blocks: address and length in bytes of each; they stay in use for long.

    Returns:
        Bytes for which the system took the request.
    """
    if sys.platform != "linux":
        return 0
    advise = ctypes.CDLL(None, use_errno=True).madvise
    advise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    taken = 0
    for begin, length in _spans(blocks):
        if advise(begin, length, _WANTED) == 0:
            advise(begin, length, _NOW)
            taken += length
    return taken


def _spans(blocks: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Whole huge pages inside of the blocks, where neighbors count as one."""
    spans: list[list[int]] = []
    for begin, length in sorted(blocks):
        if spans and begin - spans[-1][1] <= _GAP:
            spans[-1][1] = max(spans[-1][1], begin + length)
        else:
            spans.append([begin, begin + length])
    for begin, end in spans:
        first, last = -(-begin // _HUGE) * _HUGE, end // _HUGE * _HUGE
        if last > first:
            yield first, last - first
