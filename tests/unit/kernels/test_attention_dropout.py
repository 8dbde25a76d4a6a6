"""Dropout in fast attention: what is left is what a plain computation with the same draw gives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from burnish.kernels.attention import short_attention
from burnish.kernels.packed_attention import packed_attention
from burnish.kernels.segments import Segments
from tests.unit.kernels.comparison import random
from tests.unit.kernels.test_segments import CPU, SHORT, borders_of

ROWS = [[30, 1, 9], [1, 1, 38]]
"""Lengths of examples, of which some are longer than `SHORT`."""
WIDTH = SIZE = 40
HEADS, KEY_HEADS, DROPOUT, SCALE = 4, 2, 0.3, 0.2
SEGMENTS = Segments(borders_of(ROWS), CPU, SHORT)
SEEN = {
    "packed": SEGMENTS.dense(len(ROWS)),
    "short": torch.ones(WIDTH, WIDTH, dtype=torch.bool).tril().expand(len(ROWS), 1, -1, -1),
}

Attend = Callable[..., torch.Tensor]


def packed(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, dropout: float = DROPOUT) -> torch.Tensor:
    torch.manual_seed(5)
    return packed_attention(query, key, value, SCALE, SEGMENTS, dropout)


def short(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, dropout: float = DROPOUT) -> torch.Tensor:
    torch.manual_seed(5)
    return short_attention(query, key, value, SCALE, True, None, dropout)


WAYS = pytest.mark.parametrize(("way", "attend"), [("packed", packed), ("short", short)])


def inputs(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    shapes = [(len(ROWS), heads, WIDTH, SIZE) for heads in (HEADS, KEY_HEADS, KEY_HEADS)]
    return [random(*shape, dtype=dtype, seed=seed) for seed, shape in enumerate(shapes)]


def weights(attend: Attend, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """`[rows, heads, width, width]`: the probabilities that are left, seen through values that are all different."""
    apart = torch.eye(WIDTH, SIZE, dtype=query.dtype).expand(len(ROWS), KEY_HEADS, -1, -1)
    return attend(query.detach(), key.detach(), apart)


def plainly(query: torch.Tensor, key: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """All probabilities, `[rows, heads, width, width]`."""
    scores = query @ key.repeat_interleave(HEADS // KEY_HEADS, 1).transpose(2, 3) * SCALE
    return scores.masked_fill(~seen, -torch.inf).softmax(-1)


@WAYS
def test_a_share_of_the_probabilities_is_dropped_and_the_rest_grows(way: str, attend: Attend) -> None:
    query, key, _ = inputs()
    made = weights(attend, query, key)
    left = made != 0
    everything = plainly(query, key, SEEN[way])
    assert (made - everything * left / (1 - DROPOUT)).abs().max() < 1e-5
    result = SEEN[way].expand_as(made)
    assert abs(left[result].double().mean().item() - (1 - DROPOUT)) < 0.02
    assert not left[~result].any()
    assert not torch.equal(left[:, 0], left[:, 1]), "every head draws for itself"


@WAYS
def test_gradients_are_those_of_the_same_draw(way: str, attend: Attend) -> None:
    query, key, value = inputs()
    left = weights(attend, query, key) != 0
    upstream = random(len(ROWS), HEADS, WIDTH, SIZE, seed=9, trained=False)
    expected = plainly(query, key, SEEN[way]) * left / (1 - DROPOUT)
    output = expected @ value.repeat_interleave(HEADS // KEY_HEADS, 1)
    made = attend(query, key, value)
    assert (made - output).abs().max() < 1e-5
    given = torch.autograd.grad(made, [query, key, value], upstream)
    for one, other in zip(given, torch.autograd.grad(output, [query, key, value], upstream), strict=True):
        assert (one - other).norm() < 1e-5 * other.norm()


@WAYS
def test_in_halves_it_is_near(way: str, attend: Attend) -> None:
    query, key, value = inputs(torch.bfloat16)
    left = weights(attend, query, key) != 0
    wide = [one.detach().float() for one in (query, key, value)]
    output = plainly(*wide[:2], SEEN[way]) * left / (1 - DROPOUT) @ wide[2].repeat_interleave(HEADS // KEY_HEADS, 1)
    made = attend(query, key, value)
    assert made.dtype == torch.bfloat16
    assert (made.float() - output).norm() < 0.02 * output.norm()


@WAYS
def test_the_draw_follows_the_seed(way: str, attend: Attend) -> None:
    query, key, value = inputs()
    assert torch.equal(attend(query, key, value), attend(query, key, value))
    assert not torch.equal(attend(query, key, value), attend(query, key, value, dropout=0.0))
