"""Number formats of a GGUF file: how each tensor of a model is stored in a file of a type, and in which bytes."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy
from gguf import GGMLQuantizationType as Kind

from burnish.errors import MachineError

_LIBRARY = "xllamacpp"
"""The package with llama.cpp's own code for K-quants, which `gguf` reads and does not write."""
FILE_TYPES: dict[str, tuple[Kind, gguf.LlamaFileType]] = {
    "f32": (Kind.F32, gguf.LlamaFileType.ALL_F32),
    "f16": (Kind.F16, gguf.LlamaFileType.MOSTLY_F16),
    "bf16": (Kind.BF16, gguf.LlamaFileType.MOSTLY_BF16),
    "q8_0": (Kind.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
    "q6_k": (Kind.Q6_K, gguf.LlamaFileType.MOSTLY_Q6_K),
    "q5_k_m": (Kind.Q5_K, gguf.LlamaFileType.MOSTLY_Q5_K_M),
    "q5_1": (Kind.Q5_1, gguf.LlamaFileType.MOSTLY_Q5_1),
    "q5_0": (Kind.Q5_0, gguf.LlamaFileType.MOSTLY_Q5_0),
    "q4_k_m": (Kind.Q4_K, gguf.LlamaFileType.MOSTLY_Q4_K_M),
    "q4_1": (Kind.Q4_1, gguf.LlamaFileType.MOSTLY_Q4_1),
    "q4_0": (Kind.Q4_0, gguf.LlamaFileType.MOSTLY_Q4_0),
}
"""By the name that llama.cpp gives a file: how it stores most matrices, and what the file says of itself."""
_K_QUANTS = {Kind.Q4_K: Kind.Q5_0, Kind.Q5_K: Kind.Q5_1, Kind.Q6_K: Kind.Q8_0}
"""Formats with blocks of 256 numbers, and what llama.cpp stores a matrix of another width in."""
LARGEST_ERRORS = {
    Kind.F32: 0.0,
    Kind.F16: 2**-11,
    Kind.BF16: 2**-8,
    Kind.Q8_0: 1 / 127,
    Kind.Q6_K: 1 / 24,
    Kind.Q5_K: 1 / 12,
    Kind.Q5_1: 1 / 16,
    Kind.Q5_0: 1 / 16,
    Kind.Q4_K: 1 / 6,
    Kind.Q4_1: 1 / 8,
    Kind.Q4_0: 1 / 8,
}
"""How far a stored number may be from the weight, as a share of the largest in its row. The scales of K-quants have
themselves four to eight bits, so the bound is wider than half a step."""
_EMBEDDINGS, _OUTPUT = "token_embd.weight", "output.weight"
_ALWAYS_EXACT = ("position_embd.weight", "token_types.weight")
"""Tables that llama.cpp adds up in fp32."""


def needs_library(name: str) -> bool:
    """Whether files of a type are written with llama.cpp's own code."""
    return FILE_TYPES[name][0] in _K_QUANTS


def check_types(names: Collection[str]) -> None:
    """Refuses types that cannot be written here.

    Raises:
        MachineError: llama.cpp's code, which they need, is not installed, or lacks what writes them.
    """
    wanted = [name for name in names if needs_library(name)]
    if wanted and _quantizer() is None:
        raise MachineError(
            f"files of the type `{wanted[0]}` cannot be written here",
            f"K-quants are written by llama.cpp's own code, which is in the package `{_LIBRARY}`.",
            "pip install 'burnish[export]', or choose another `--type`, such as `q8_0`",
        )


@dataclass(frozen=True, slots=True)
class FileType:
    """A type of file for one model."""

    name: str
    """One of `FILE_TYPES`."""
    blocks: int
    """Of the model."""
    is_tied: bool
    """Whether the output layer is the table of embeddings."""
    shares_keys: int = 1
    """Query heads for each head of keys and values."""

    @classmethod
    def of(cls, name: str, metadata: Mapping[str, int | float | bool | str], names: Collection[str]) -> FileType:
        """A type for a model.

        Args:
            name: one of `FILE_TYPES`.
            metadata: of the model, as in `Described`.
            names: of its tensors.
        """
        heads = int(metadata["attention.head_count"])
        shared = heads // int(metadata.get("attention.head_count_kv", heads))
        return cls(name, int(metadata["block_count"]), _OUTPUT not in names, shared)

    @property
    def says(self) -> gguf.LlamaFileType:
        """What the file says of itself."""
        return FILE_TYPES[self.name][1]

    def stored_as(self, name: str, shape: tuple[int, ...]) -> Kind:
        """How a tensor is stored: vectors and small tables exactly, matrices in the type's format, embeddings and
        output in a better one; what does not consist of whole blocks, in a format with smaller ones.

        Args:
            name: of the tensor, as llama.cpp calls it.
            shape: of the tensor.
        """
        if len(shape) < 2 or name in _ALWAYS_EXACT:
            return Kind.F32
        wanted = FILE_TYPES[self.name][0]
        if wanted in (Kind.F32, Kind.F16, Kind.BF16):
            return wanted
        wanted = self._mixed(name, wanted, shape[-1]) if wanted in _K_QUANTS else _plain(name, wanted)
        if not _fits(wanted, shape[-1]):
            wanted = _K_QUANTS.get(wanted, wanted)
        return wanted if _fits(wanted, shape[-1]) else Kind.F16

    def _mixed(self, name: str, wanted: Kind, width: int) -> Kind:
        """The format of a matrix in a file of K-quants, by the rules of llama.cpp's `llama-quantize`: the output layer
        gets six bits, and so do, in about half of the blocks, the matrices that suffer most from few."""
        if name == _OUTPUT or (self.is_tied and name == _EMBEDDINGS):
            return Kind.Q6_K if _fits(Kind.Q6_K, width) else Kind.Q8_0
        if not self.name.endswith("_m") or not name.startswith("blk."):
            return wanted
        is_value = name.endswith(("attn_v.weight", "attn_qkv.weight"))
        if (is_value or name.endswith("ffn_down.weight")) and self._has_more_bits(int(name.split(".")[1])):
            return Kind.Q6_K
        # of models with 80 blocks, eight query heads share one matrix of values, so that better ones cost little
        return Kind.Q5_K if is_value and self.blocks == 80 and self.shares_keys > 1 and wanted == Kind.Q4_K else wanted

    def _has_more_bits(self, block: int) -> bool:
        """Whether a block is in the first or last eighth, or the third of three between."""
        first, last = self.blocks // 8, 7 * self.blocks // 8
        return block < first or block >= last or (block - first) % 3 == 2


def _plain(name: str, wanted: Kind) -> Kind:
    return Kind.Q8_0 if name in (_EMBEDDINGS, _OUTPUT) else wanted


def _fits(kind: Kind, width: int) -> bool:
    return width % gguf.GGML_QUANT_SIZES[kind][0] == 0


def stored(tensor: numpy.ndarray, kind: Kind) -> numpy.ndarray:
    """A tensor in the bytes of a format.

    Args:
        tensor: fp32, contiguous.
        kind: that `FileType.stored_as` gave.

    Returns:
        fp32 or fp16 of the same shape, or bytes: `[..., bytes of a row]` uint8.
    """
    if kind == Kind.F32:
        return tensor
    if kind == Kind.F16:
        return tensor.astype(numpy.float16)
    return _k_quantized(tensor, kind) if kind in _K_QUANTS else gguf.quantize(tensor, kind)


def _k_quantized(tensor: numpy.ndarray, kind: Kind) -> numpy.ndarray:
    """A tensor in K-quants, by llama.cpp's function."""
    quantize = _quantizer()
    assert quantize is not None, "`check_types` refuses this"
    made = numpy.empty(gguf.quant_shape_to_byte_shape(tensor.shape, kind), dtype=numpy.uint8)
    width = tensor.shape[-1]
    quantize(int(kind), tensor.ctypes.data, made.ctypes.data, 0, tensor.size // width, width, None)
    return made


@cache
def _quantizer() -> Any:
    """`ggml_quantize_chunk` of llama.cpp: format, source, target, first number, rows, width, importance of columns.

    None if it is not installed, or does not show this function.
    """
    spec = importlib.util.find_spec(_LIBRARY)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for file in sorted([*Path(folder).glob("*.so"), *Path(folder).glob("*.pyd")]):
            function = getattr(ctypes.CDLL(str(file)), "ggml_quantize_chunk", None)
            if function is not None:
                function.restype = ctypes.c_size_t
                numbers, place = ctypes.c_int64, ctypes.c_void_p
                function.argtypes = [ctypes.c_int, place, place, numbers, numbers, numbers, place]
                return function
    return None
