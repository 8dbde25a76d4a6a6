"""What a compiled matrix product takes on this CPU: memory, and time to compile.

    python bench/products.py     about a minute, Linux only

oneDNN compiles a product for each shape of its operands. This multiplies by the matrices of a small block with many
numbers of rows, twice: the second time, all products are there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
    os.environ[name] = "8000"  # before torch multiplies anything

import torch  # noqa: E402

_ROWS = range(100, 1000, 9)
_MATRICES = ((576, 576), (192, 576), (1536, 576), (576, 1536))


def main() -> None:
    """Prints a line for each dtype."""
    torch.set_num_threads(1)
    for dtype in (torch.float32, torch.bfloat16):
        matrices = [torch.randn(out, inner).to(dtype) for out, inner in _MATRICES]
        multiply(matrices, [50])
        before, number = resident_bytes(), len(_ROWS) * len(matrices)
        first, second = multiply(matrices, _ROWS), multiply(matrices, _ROWS)
        size = (resident_bytes() - before) / number / 2**10
        print(f"{dtype}: {size:,.0f} KiB and {(first - second) / number * 1e3:.2f} ms to compile, {number} products")


def multiply(matrices: Sequence[torch.Tensor], rows: Sequence[int]) -> float:
    """Seconds of the processor for every matrix with every number of rows."""
    begun = time.process_time()
    for number in rows:
        for matrix in matrices:
            torch.nn.functional.linear(torch.ones(number, matrix.shape[1], dtype=matrix.dtype), matrix)
    return time.process_time() - begun


def resident_bytes() -> int:
    """Resident memory of this process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


if __name__ == "__main__":
    main()
