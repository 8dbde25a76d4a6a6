"""Examples of packed rows: laid side by side, taken back, and as a mask."""

from __future__ import annotations

import pytest
import torch

from burnish.kernels.segments import Segments
from tests.unit.kernels.comparison import random

CPU = torch.device("cpu")
ROWS = [[5, 1, 9, 2, 3], [1, 1, 7, 11], [20]]
"""Lengths of the examples of each row; 12 tokens are short."""
SHORT = 12
WIDTH = 20


def borders_of(rows: list[list[int]]) -> list[tuple[int, int]]:
    """(begin, end) of every example, counted over all rows."""
    ends = torch.tensor([length for row in rows for length in row]).cumsum(0).tolist()
    return list(zip([0, *ends[:-1]], ends, strict=True))


def make_segments(short: int = SHORT) -> Segments:
    return Segments(borders_of(ROWS), CPU, short)


def test_long_examples_are_kept_apart_from_groups_of_similar_length() -> None:
    segments = make_segments()
    assert segments.long == [(40, 60)]
    lengths = sorted((end - begin for begin, end in segments.borders if end - begin <= SHORT), reverse=True)
    place = 0
    for group in segments.groups:
        assert group.begin == place
        place += group.sequences * group.seq
        here, lengths = lengths[: group.sequences], lengths[group.sequences :]
        assert group.seq == here[0] < 2 * here[-1], "more than half of a sequence would be padding"
    assert lengths == [], "an example is in no group"
    assert [(group.sequences, group.seq) for group in segments.groups] == [(3, 11), (2, 5), (1, 2), (3, 1)]


def test_one_token_more_than_short_is_long() -> None:
    assert make_segments(20).long == []
    assert make_segments(19).long == [(40, 60)]
    everything = make_segments(0)
    assert everything.long == everything.borders
    assert everything.groups == []


def test_sequences_of_more_than_64_slots_fill_whole_registers() -> None:
    segments = Segments(borders_of([[70, 30], [100]]), CPU, 512)
    assert [(group.sequences, group.seq) for group in segments.groups] == [(2, 128), (1, 30)]
    tokens = random(2, 3, 100, 16, trained=False)
    laid = segments.lay_out(tokens)
    assert len(laid) == 3 * (2 * 128 + 30)
    assert torch.equal(segments.take_back(laid, tokens.shape), tokens.transpose(1, 2).flatten(0, 1))


def test_the_mask_lets_a_token_see_the_earlier_ones_of_its_example() -> None:
    mask = make_segments().dense(len(ROWS))
    assert mask.shape == (len(ROWS), 1, WIDTH, WIDTH)
    for row, lengths in enumerate(ROWS):
        owners = [number for number, length in enumerate(lengths) for _ in range(length)]
        for token in range(WIDTH):
            seen = [other <= token and owners[other] == owners[token] for other in range(WIDTH)]
            assert mask[row, 0, token].tolist() == seen


@pytest.mark.parametrize("heads", [1, 3])
def test_every_token_comes_to_its_place_and_back(heads: int) -> None:
    segments, size = make_segments(), 4
    tokens = random(len(ROWS), heads, WIDTH, size, trained=False)
    laid = segments.lay_out(tokens)
    by_token = tokens.transpose(1, 2).reshape(-1, heads, size)
    short = [(end - begin, begin) for begin, end in segments.borders if end - begin <= SHORT]
    for group in segments.groups:
        part = group.of(laid, heads)
        assert part.shape == (group.sequences, heads, group.seq, size)
        together = sorted(one for one in short if group.seq / 2 < one[0] <= group.seq)
        for sequence, (length, begin) in zip(part, together, strict=True):
            assert torch.equal(sequence[:, :length], by_token[begin : begin + length].transpose(0, 1))
            padding = sequence[:, length:]
            assert torch.equal(padding, sequence[:, length - 1 : length].expand_as(padding)), "padding is no token"
    back = segments.take_back(laid, tokens.shape)
    inside = [token for length, begin in short for token in range(begin, begin + length)]
    assert torch.equal(back[inside], by_token[inside])


def test_gradients_are_laid_out_with_zeros_in_padding() -> None:
    segments, heads = make_segments(), 2
    gradient = torch.ones(len(ROWS), heads, WIDTH, 4)
    laid = segments.lay_out(gradient, is_gradient=True)
    short = sum(end - begin for begin, end in segments.borders if end - begin <= SHORT)
    assert laid.sum() == short * heads * 4 < laid.numel()
    assert set(laid.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(segments.take_back(laid, gradient.shape)[:40], torch.ones(40, heads, 4))


@pytest.mark.parametrize("kind", ["by-head", "by-token", "of-one-tensor", "odd", "every-other", "expanded", "one-row"])
def test_the_layout_in_memory_does_not_matter(kind: str) -> None:
    rows, heads, size = len(ROWS), 2, 4
    plain = random(rows, heads, WIDTH, size, trained=False)
    tokens = {
        "by-head": plain,
        "by-token": plain.transpose(1, 2).contiguous().transpose(1, 2),
        "of-one-tensor": torch.cat([random(rows, WIDTH, heads * size), plain.transpose(1, 2).flatten(2)], 2)
        .detach()[..., heads * size :]
        .view(rows, WIDTH, heads, size)
        .transpose(1, 2),
        "odd": torch.nn.functional.pad(plain, (1, 2))[..., 1 : 1 + size],
        "every-other": plain.repeat_interleave(2, dim=3)[..., ::2],
        "expanded": plain[:, :1].expand(plain.shape),
        "one-row": plain.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0),
    }[kind]
    segments = make_segments()
    segments.lay_out(plain)  # what is kept for one layout is not for another
    expected = make_segments().lay_out(tokens.contiguous())
    assert torch.equal(segments.lay_out(tokens), expected)
    assert torch.equal(segments.lay_out(tokens.bfloat16()), expected.bfloat16())
