"""What dropout costs: microseconds of drawing and applying a mask, in training steps of small encoders.

    python bench/dropout.py [--elements 226000] [--repeats 30]

Torch's own, Burnish's, and how many times as fast Burnish's is; medians, forward pass alone.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from burnish.kernels.dropout import dropped


def microseconds(run: Callable[[], object], repeats: int) -> float:
    """Median of several calls."""
    times = list[float]()
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return 1e6 * statistics.median(times[1:])


def main() -> None:
    """Prints a line for each type."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elements", type=int, default=226_000, help="32 rows of 18 tokens, 384 wide")
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    for dtype in (torch.float32, torch.bfloat16):
        inputs = torch.randn(options.elements).to(dtype)
        theirs = microseconds(lambda inputs=inputs: torch.dropout(inputs, 0.1, True), options.repeats)
        ours = microseconds(lambda inputs=inputs: dropped(inputs, 0.1), options.repeats)
        print(f"{str(dtype).removeprefix('torch.')}: torch {theirs:,.0f}, Burnish {ours:,.0f}, {theirs / ours:.1f} x")


if __name__ == "__main__":
    main()
