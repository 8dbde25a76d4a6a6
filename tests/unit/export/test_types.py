"""Which format each matrix of a GGUF file has: the same as `llama-quantize` would choose."""

from __future__ import annotations

import pytest
from gguf import GGMLQuantizationType as Kind

from burnish.export.gguf.types import FILE_TYPES, LARGEST_ERRORS, FileType


def formats(kind: FileType, part: str, width: int = 512) -> str:
    """The format of a matrix in each block, a letter each: that of the type is `.`."""
    usual = FILE_TYPES[kind.name][0]
    found = [kind.stored_as(f"blk.{block}.{part}.weight", (512, width)) for block in range(kind.blocks)]
    return "".join("." if one == usual else one.name[1] for one in found)


@pytest.mark.parametrize("part", ["attn_v", "attn_qkv", "ffn_down"])
@pytest.mark.parametrize(
    ("blocks", "expected"),
    [(2, ".6"), (8, "6..6..66"), (12, "6..6..6..666"), (30, "666..6..6..6..6..6..6..6..6666")],
)
def test_values_and_the_way_down_have_six_bits_in_half_of_the_blocks(part: str, blocks: int, expected: str) -> None:
    """As in the files that llama.cpp's own program writes of such models."""
    for name in ("q4_k_m", "q5_k_m"):
        assert formats(FileType(name, blocks, is_tied=True), part) == expected


@pytest.mark.parametrize("part", ["attn_q", "attn_k", "attn_output", "ffn_gate", "ffn_up"])
def test_other_matrices_have_the_format_of_the_type(part: str) -> None:
    for name in ("q4_k_m", "q5_k_m", "q6_k"):
        assert formats(FileType(name, 12, is_tied=True), part) == "." * 12


def test_eighty_blocks_with_shared_values() -> None:
    found = formats(FileType("q4_k_m", 80, is_tied=False, shares_keys=8), "attn_v")
    assert set(found) == {"5", "6"}
    assert set(formats(FileType("q4_k_m", 80, is_tied=False), "attn_v")) == {".", "6"}


@pytest.mark.parametrize(
    ("name", "is_tied", "embeddings", "output"),
    [
        ("q4_k_m", True, Kind.Q6_K, None),
        ("q4_k_m", False, Kind.Q4_K, Kind.Q6_K),
        ("q8_0", False, Kind.Q8_0, Kind.Q8_0),
        ("q4_0", True, Kind.Q8_0, None),
        ("f16", False, Kind.F16, Kind.F16),
    ],
)
def test_embeddings_and_output(name: str, is_tied: bool, embeddings: Kind, output: Kind | None) -> None:
    kind = FileType(name, 8, is_tied)
    assert kind.stored_as("token_embd.weight", (1000, 512)) == embeddings
    assert output is None or kind.stored_as("output.weight", (1000, 512)) == output


@pytest.mark.parametrize(
    ("name", "width", "expected"),
    [
        ("q4_k_m", 576, Kind.Q5_0),
        ("q5_k_m", 576, Kind.Q5_1),
        ("q6_k", 576, Kind.Q8_0),
        ("q4_k_m", 40, Kind.F16),
        ("q8_0", 40, Kind.F16),
        ("q4_0", 64, Kind.Q4_0),
    ],
)
def test_widths_that_are_no_whole_blocks(name: str, width: int, expected: Kind) -> None:
    assert FileType(name, 8, is_tied=True).stored_as("blk.1.ffn_up.weight", (512, width)) == expected


def test_vectors_and_tables_that_are_added_stay_exact() -> None:
    for name in FILE_TYPES:
        kind = FileType(name, 8, is_tied=True)
        assert kind.stored_as("blk.1.attn_norm.weight", (512,)) == Kind.F32
        assert kind.stored_as("position_embd.weight", (64, 512)) == Kind.F32


def test_every_format_has_a_bound() -> None:
    assert {kind for kind, _ in FILE_TYPES.values()} <= set(LARGEST_ERRORS)
