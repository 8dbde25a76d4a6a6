"""What answering consists of on the CPU, by shape: products with packed weights, and attention of one new token; and
how much faster weights are read in huge pages.

    python bench/answering.py [--rows 1 8 24] [--repeats 7]

Each line is the processor time of one call with one thread, in microseconds, the least of several: PyTorch's operation,
Burnish's, and how many times as fast it is. The shapes are those of SmolLM2-135M.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch

from burnish.kernels.few_tokens_attention import few_tokens_attention, few_tokens_attention_reference
from burnish.models.growing_cache import GrowingCache
from burnish.models.packed_linear import PackedWeights, can_pack
from burnish.system.huge_pages import use_huge_pages

Calls = Sequence[Callable[[], object]]
_LAYERS = {"query": (576, 576), "key": (192, 576), "gate": (1536, 576), "down": (576, 1536), "head": (49152, 576)}
_HEADS, _KEY_HEADS, _SIZE = 9, 3, 64
_TOKENS = (64, 400, 1500)
_CALLS = 10
_MODEL_BYTES = 270e6
_CACHE_BYTES = 64e6
"""Weights of several layers alternate, as in a model: those of one would stay in the processor's cache."""


def microseconds(calls: Calls, repeats: int) -> float:
    """Processor time of a call, the least of several rounds of all calls."""
    times = list[float]()
    for _ in range(repeats + 1):
        begun = time.process_time()
        for call in calls:
            call()
        times.append((time.process_time() - begun) / len(calls))
    return 1e6 * min(times[1:])


def products(rows: int, dtype: torch.dtype, repeats: int) -> None:
    """The lines of each layer."""
    for name, (outputs, inputs) in _LAYERS.items():
        number = max(1, int(_CACHE_BYTES / (outputs * inputs * dtype.itemsize)))
        weights = [torch.randn(outputs, inputs).to(dtype) for _ in range(number)]
        packed = [torch.ops.mkldnn._reorder_linear_weight(weight) for weight in weights]
        given = torch.randn(rows, inputs).to(dtype)
        compare(
            f"{name} {outputs} x {inputs}",
            given,
            [partial(torch.nn.functional.linear, given, one) for one in weights],
            [partial(torch.ops.mkldnn._linear_pointwise, given, one, None, "none", [], "") for one in packed],
            repeats,
        )


def attentions(rows: int, dtype: torch.dtype, repeats: int) -> None:
    """The lines of each length."""
    for tokens in _TOKENS:
        query = torch.randn(rows, _HEADS, 1, _SIZE).to(dtype)
        cache = GrowingCache()
        new = [torch.randn(rows, _KEY_HEADS, tokens, _SIZE).to(dtype) for _ in range(2)]
        key, value = cache.update(*new, 0)
        mask = torch.ones(rows, 1, 1, tokens, dtype=torch.bool)
        room = cache.room(0, mask)
        assert room is not None
        theirs = partial(few_tokens_attention_reference, query, key, value, mask, _SIZE**-0.5)
        ours = partial(few_tokens_attention, query, room.keys, room.values, room.hidden, _SIZE**-0.5)
        compare(f"attention to {tokens} tokens", query, [theirs] * _CALLS, [ours] * _CALLS, repeats)


def in_huge_pages(rows: int, repeats: int) -> None:
    """The line of weights that no cache holds, all of them read once by all threads."""
    outputs, inputs = _LAYERS["gate"]
    number = int(_MODEL_BYTES / (2 * outputs * inputs))
    packed = [PackedWeights([torch.randn(outputs, inputs)], [], torch.bfloat16) for _ in range(number)]
    given = torch.randn(rows, inputs).bfloat16()

    def milliseconds() -> float:
        times = list[float]()
        for _ in range(repeats):
            begun = time.perf_counter()
            for one in packed:
                one.of_rows(given)
            times.append(time.perf_counter() - begun)
        return 1e3 * statistics.median(times)

    before = milliseconds()
    taken = use_huge_pages(one.memory for one in packed)
    after = milliseconds()
    print(
        f"{taken / 1e6:.0f} of {_MODEL_BYTES / 1e6:.0f} MB in huge pages: {before:.1f} ms before, {after:.1f} ms after"
    )


def compare(what: str, given: torch.Tensor, theirs: Calls, ours: Calls, repeats: int) -> None:
    """One line of the table."""
    times = [microseconds(calls, repeats) for calls in (theirs, ours)]
    kind = str(given.dtype).removeprefix("torch.")
    print(f"| {what} | {len(given)} | {kind} | {times[0]:,.0f} | {times[1]:,.0f} | {times[0] / times[1]:.1f} x |")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8, 24])
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    print("| | rows | dtype | PyTorch | Burnish | |\n|---|---|---|---|---|---|")
    with torch.no_grad():
        for dtype in (torch.float32, torch.bfloat16):
            for rows in options.rows:
                if can_pack(dtype):
                    products(rows, dtype, options.repeats)
                attentions(rows, dtype, options.repeats)
        if can_pack(torch.bfloat16):
            torch.set_num_threads(threads)
            in_huge_pages(options.rows[0], options.repeats)


if __name__ == "__main__":
    main()
