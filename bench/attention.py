"""Attention of short sequences as plain matrix products beside torch's own, forward and backward.

    python bench/attention.py [--rounds 15] [--tokens 8192] [--heads 12] [--size 64] [--threads 1]

Times the same number of tokens cut into sequences of each length, in fp32 and in bf16, both ways in turns, and prints
medians in milliseconds with the median of their ratios. Then the two ways of a softmax in bf16, by columns. Behind the
figures in `burnish/kernels/attention.py`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from burnish.kernels.attention import attention_reference, short_attention, softmax_of_copy

LENGTHS = (8, 16, 32, 64, 128, 256, 512, 1024)
COLUMNS = (40, 45, 62, 64, 80, 100, 127, 128, 159, 200, 223, 256, 338, 347)
"""Some fill registers of 32, others leave a few or many over."""
SHORTEST_ROUND = 0.05
"""Seconds that each way is run for in a round, at least."""
Way = Callable[..., torch.Tensor]


def seconds(way: Way, inputs: list[torch.Tensor], upstream: torch.Tensor, repeats: int) -> float:
    """Of one pass forward and backward, on average over some."""
    begun = time.perf_counter()
    for _ in range(repeats):
        output = way(*inputs, inputs[0].shape[-1] ** -0.5)
        torch.autograd.grad(output, inputs, upstream)
    return (time.perf_counter() - begun) / repeats


def compare(shape: tuple[int, ...], dtype: torch.dtype, rounds: int) -> tuple[float, float, float]:
    """Seconds of torch's way and of ours, and how many times faster ours is: medians over the rounds.

    Args:
        shape: `[sequences, heads, seq, size]`, of queries, keys and values alike.
        dtype: of the arithmetic.
        rounds: in each of which both ways are timed, one after the other.
    """
    inputs = [torch.randn(shape, dtype=dtype).requires_grad_() for _ in range(3)]
    upstream = torch.randn(shape, dtype=dtype)
    ways = (attention_reference, short_attention)
    repeats = [max(1, int(SHORTEST_ROUND / seconds(way, inputs, upstream, 1))) for way in ways]
    pairs = [
        [seconds(way, inputs, upstream, times) for way, times in zip(ways, repeats, strict=True)] for _ in range(rounds)
    ]
    theirs, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    return theirs, ours, statistics.median(one / two for one, two in pairs)


def compare_softmax(tokens: int, heads: int, columns: int, rounds: int) -> tuple[float, float, float]:
    """Seconds of torch's softmax and of ours by way of fp32, and how many times faster ours is: medians."""
    scores = torch.randn(heads * max(1, tokens // columns), columns, columns, dtype=torch.bfloat16)
    pairs = []
    for _ in range(rounds):
        times = []
        for way in (lambda given: torch.softmax(given, -1), softmax_of_copy):
            given = scores.clone()
            begun = time.perf_counter()
            way(given)
            times.append(time.perf_counter() - begun)
        pairs.append(times)
    theirs, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    return theirs, ours, statistics.median(one / two for one, two in pairs)


def main() -> None:
    """Prints a line for each length and type, and for each number of columns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rounds", 15), ("tokens", 8192), ("heads", 12), ("size", 64), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {asked.threads} thread(s)")
    print(f"{asked.tokens} tokens, {asked.heads} heads of {asked.size}; ms forward and backward, causal")
    print(f"{'':>8}{'fp32':^28}{'bf16':^28}")
    print(f"{'length':>8}" + f"{'torch':>10}{'ours':>10}{'faster':>8}" * 2)
    for length in LENGTHS:
        shape = (asked.tokens // length, asked.heads, length, asked.size)
        cells = [compare(shape, dtype, asked.rounds) for dtype in (torch.float32, torch.bfloat16)]
        line = "".join(f"{1e3 * theirs:10.1f}{1e3 * ours:10.1f}{ratio:7.1f}x" for theirs, ours, ratio in cells)
        print(f"{length:>8}{line}")
    print("softmax in bf16, ms")
    for columns in COLUMNS:
        theirs, ours, ratio = compare_softmax(asked.tokens, asked.heads, columns, asked.rounds)
        print(f"{columns:>8}{1e3 * theirs:10.2f}{1e3 * ours:10.2f}{ratio:7.1f}x")


if __name__ == "__main__":
    main()
