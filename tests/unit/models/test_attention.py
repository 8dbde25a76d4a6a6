"""Masks and attention as transformers asks for them, under Burnish's name: what transformers itself would make."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from transformers import DynamicCache, LlamaConfig, MistralConfig
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import (
    create_bidirectional_mask,
    create_causal_mask,
    create_chunked_causal_mask,
    create_sliding_window_causal_mask,
    sdpa_mask,
)

from burnish.kernels.attention import NAME, SHORT, SHORT_HALF
from burnish.kernels.segments import Segments
from burnish.kernels.varlen_attention import VARLEN
from burnish.models.attention import attend, attend_varlen, make_mask, register
from tests.unit.kernels.comparison import distance, random
from tests.unit.models.tiny_families import Operations

CPU = torch.device("cpu")
WINDOW = 6
POSITIONS = torch.tensor([[*range(5), *range(1), *range(6)], [*range(6), *range(2), *range(4)]])
BORDERS = [(0, 5), (5, 6), (6, 12), (12, 18), (18, 20), (20, 24)]
Make = Callable[..., Any]


@pytest.fixture(autouse=True)
def _known() -> Iterator[None]:
    register()
    yield


def config_for(name: str, kind: type = LlamaConfig, **changes: Any) -> Any:
    config = kind(hidden_size=32, num_attention_heads=4, num_hidden_layers=2, **changes)
    config._attn_implementation = name
    return config


def mask_by(
    name: str,
    make: Make = create_causal_mask,
    positions: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
    **others: Any,
) -> Any:
    """The mask that transformers makes for two rows of twelve, or of as many as there are positions."""
    changes = others.pop("changes", {})
    rows, width = (2, 12) if positions is None else positions.shape
    states = torch.zeros(rows, width, 32, dtype=others.pop("dtype", torch.float32))
    config = config_for(name, others.pop("kind", LlamaConfig), **changes)
    if make is not create_bidirectional_mask:
        others = {"past_key_values": None, "position_ids": positions, **others}
    return make(config=config, inputs_embeds=states, attention_mask=mask, **others)


def windowed(window: int) -> dict[str, Any]:
    return {"make": create_sliding_window_causal_mask, "kind": MistralConfig, "changes": {"sliding_window": window}}


def test_positions_that_begin_again_are_borders() -> None:
    made = mask_by(NAME, positions=POSITIONS)
    assert isinstance(made, Segments)
    assert made.borders == BORDERS
    assert torch.equal(made.dense(2), mask_by("sdpa", positions=POSITIONS))


def test_a_row_may_begin_in_the_middle_of_an_example() -> None:
    positions = torch.tensor([[3, 4, 5, 0, 1, 2]])
    assert mask_by(NAME, positions=positions).borders == [(0, 3), (3, 6)]


def test_a_window_no_shorter_than_every_example_is_none() -> None:
    made = mask_by(NAME, positions=POSITIONS, **windowed(6))
    assert isinstance(made, Segments)
    assert made.borders == BORDERS


@pytest.mark.parametrize("window", [1, 2, 5])
def test_a_shorter_window_is_drawn_as_transformers_draws_it(window: int) -> None:
    """But where it leaves every token to itself, which are examples as well."""
    made = mask_by(NAME, positions=POSITIONS, **windowed(window))
    expected = mask_by("sdpa", positions=POSITIONS, **windowed(window))
    assert torch.equal(made.dense(2) if isinstance(made, Segments) else made, expected)
    assert isinstance(made, Segments) == (window == 1)


def test_chunks_are_borders_too() -> None:
    given = {"make": create_chunked_causal_mask, "changes": {"attention_chunk_size": 4}}
    made = mask_by(NAME, positions=POSITIONS, **given)
    assert torch.equal(
        made.dense(2) if isinstance(made, Segments) else made, mask_by("sdpa", positions=POSITIONS, **given)
    )


_PADDED = torch.tensor([[1] * 12, [1] * 7 + [0] * 5])
_OTHERS: dict[str, dict[str, Any]] = {
    "none": {},
    "whole": {"mask": torch.ones(2, 12, dtype=torch.long)},
    "padded": {"mask": _PADDED},
    "padded-left": {"mask": _PADDED.flip(1)},
    "padded-window": {"mask": _PADDED, **windowed(4)},
    "bidirectional": {"make": create_bidirectional_mask},
    "bidirectional-padded": {"make": create_bidirectional_mask, "mask": _PADDED},
    "both-ways": {"positions": POSITIONS, "or_mask_function": lambda row, head, token, other: other < 3},
    "fewer": {"positions": POSITIONS, "and_mask_function": lambda row, head, token, other: other != token},
    "drawn": {"mask": torch.ones(2, 1, 12, 12, dtype=torch.bool).tril()},
}


@pytest.mark.parametrize("kind", _OTHERS)
def test_whatever_else_is_asked_is_what_transformers_makes(kind: str) -> None:
    made, expected = (mask_by(name, **_OTHERS[kind]) for name in (NAME, "sdpa"))
    assert not isinstance(made, Segments)
    assert (made is None) == (expected is None) == (kind in ("none", "whole", "bidirectional"))
    assert made is None or torch.equal(made, expected)


def test_a_token_after_a_cache_is_what_transformers_makes() -> None:
    cache = DynamicCache()
    cache.update(torch.zeros(2, 4, 5, 8), torch.zeros(2, 4, 5, 8), 0)
    for width in (1, 3):
        positions = torch.arange(5, 5 + width)[None].expand(2, -1)
        padding = torch.tensor([[0, 0, *[1] * (3 + width)], [1] * (5 + width)])
        made, expected = (
            mask_by(name, positions=positions, mask=padding, past_key_values=cache) for name in (NAME, "sdpa")
        )
        assert torch.equal(made, expected)


@pytest.mark.parametrize("length", [SHORT, SHORT + 1, SHORT_HALF, SHORT_HALF + 1])
def test_what_is_short_depends_on_the_arithmetic(length: int) -> None:
    positions = torch.cat([torch.arange(length), torch.arange(3)])[None]
    is_long = [(0, length)]
    assert mask_by(NAME, positions=positions).long == (is_long if length > SHORT else [])
    assert mask_by(NAME, positions=positions, dtype=torch.bfloat16).long == (is_long if length > SHORT_HALF else [])
    with torch.autocast("cpu", torch.bfloat16):
        assert mask_by(NAME, positions=positions).long == (is_long if length > SHORT_HALF else [])


def causal(row: Any, head: Any, token: Any, other: Any) -> Any:
    return other <= token


def but_itself(row: Any, head: Any, token: Any, other: Any) -> Any:
    return (other < token) | ((token == 0) & (other == 0))


def test_masks_are_made_without_what_transformers_may_leave_out() -> None:
    sizes = {"batch_size": 2, "q_length": 12, "kv_length": 12, "device": CPU}
    made = make_mask(mask_function=causal, allow_is_causal_skip=False, **sizes)
    assert made.borders == [(0, 12), (12, 24)]
    assert make_mask(mask_function=causal, **sizes) is None


@pytest.mark.parametrize(
    ("mask_function", "others"),
    [
        (causal, {"attention_mask": _PADDED.bool()}),
        (causal, {"q_length": 9, "q_offset": 3}),
        (but_itself, {}),
    ],
    ids=["padding", "cache", "not-itself"],
)
def test_what_is_nearly_causal_is_drawn(mask_function: Any, others: dict[str, Any]) -> None:
    """By a function like that of packed rows, from which only more tokens than the neighbors differ."""
    asked = {"batch_size": 2, "q_length": 12, "kv_length": 12, "device": CPU, "allow_is_causal_skip": False, **others}
    made = make_mask(mask_function=mask_function, **asked)
    assert torch.equal(made, sdpa_mask(mask_function=mask_function, **asked))


class Layer(nn.Module):
    """What transformers passes of itself."""

    def __init__(self, is_causal: bool = True, groups: int = 2) -> None:
        super().__init__()
        self.is_causal = is_causal
        self.num_key_value_groups = groups


def states(width: int = 12, rows: int = 2, heads: int = 4, shared: int = 2, size: int = 8) -> list[torch.Tensor]:
    shapes = [(rows, heads, width, size), (rows, shared, width, size), (rows, shared, width, size)]
    return [random(*shape, seed=seed, trained=False) for seed, shape in enumerate(shapes)]


def assert_as_torch(
    given: list[torch.Tensor], mask: Any, is_fast: bool, layer: nn.Module | None = None, **others: Any
) -> None:
    """The output that transformers' own way has, by whichever way."""
    layer = Layer() if layer is None else layer
    dense = mask.dense(len(given[0])) if isinstance(mask, Segments) else mask
    torch.manual_seed(0)
    expected, _ = sdpa_attention_forward(layer, *given, dense, **others)
    torch.manual_seed(0)
    with Operations() as seen:
        made, likely = attend(layer, *given, mask, **others)
    assert likely is None
    assert made.is_contiguous()
    assert made.dtype == expected.dtype
    if is_fast:
        assert distance(made, expected) <= 1e-5
        assert seen.torchs_attention == 0
    else:
        assert torch.equal(made, expected)


def packed() -> Segments:
    return mask_by(NAME, positions=POSITIONS)


_DRAWN = torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(0)) < 0.5
_DRAWN |= torch.eye(12, dtype=torch.bool)


@pytest.mark.parametrize("scaling", [None, 0.7])
@pytest.mark.parametrize("kind", ["segments", "mask", "none"])
def test_short_and_packed_rows_go_the_fast_way(kind: str, scaling: float | None) -> None:
    mask = {"segments": packed(), "mask": _DRAWN, "none": None}[kind]
    assert_as_torch(states(), mask, True, scaling=scaling)
    assert_as_torch(states(), mask, True, scaling=scaling, output_attentions=False, position_bias=None, softcap=None)


@pytest.mark.parametrize(("argument", "attribute"), [(None, True), (None, False), (False, True), (True, False)])
def test_which_tokens_are_attended_to_follows_from_the_argument_or_else_the_layer(
    argument: bool | None, attribute: bool
) -> None:
    assert_as_torch(states(), None, True, Layer(attribute), is_causal=argument)
    assert_as_torch(states(), _DRAWN, True, Layer(attribute), is_causal=argument)


@pytest.mark.parametrize("kind", ["segments", "mask", "none"])
def test_dropout_goes_the_fast_way_too(kind: str) -> None:
    mask = {"segments": packed(), "mask": _DRAWN, "none": None}[kind]
    with Operations() as seen:
        made, _ = attend(Layer(), *states(), mask, dropout=0.4)
    assert seen.torchs_attention == 0
    whole, _ = attend(Layer(), *states(), mask)
    assert made.shape == whole.shape
    assert not torch.allclose(made, whole)


@pytest.mark.parametrize("kind", ["segments", "mask", "none"])
def test_what_changes_attention_is_left_to_torch(kind: str) -> None:
    mask = {"segments": packed(), "mask": _DRAWN, "none": None}[kind]
    bias = random(1, 4, 12, 12, seed=7, trained=False)
    assert_as_torch(states(), mask, False, position_bias=bias)
    query, key, value = states()
    assert_as_torch([query, key, value[..., :5]], mask, False)
    with pytest.raises(ValueError, match="softcap"):
        attend(Layer(), *states(), mask, softcap=30.0)


def test_a_mask_of_numbers_is_left_to_torch() -> None:
    added = torch.zeros(2, 1, 12, 12).masked_fill(~_DRAWN, torch.finfo(torch.float32).min)
    assert_as_torch(states(), added, False)
    assert_as_torch(states(), added + random(2, 1, 12, 12, seed=8, trained=False), False)


def test_other_lengths_are_left_to_torch() -> None:
    """Long rows without borders, tokens after a cache, and attention from one text to another."""
    assert_as_torch(states(SHORT), None, True)
    assert_as_torch(states(SHORT + 1), None, False)
    query, key, value = states()
    assert_as_torch([query[:, :, :5], key, value], _DRAWN[:, :, :5], False)


def test_long_packed_examples_are_not_computed_across_borders() -> None:
    """By torch's fused kernel, each alone."""
    lengths = [SHORT + 44, 5, SHORT + 1]
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    segments = mask_by(NAME, positions=positions)
    assert len(segments.long) == 2
    given = states(sum(lengths), rows=1)
    made, _ = attend(Layer(), *given, segments)
    expected, _ = sdpa_attention_forward(Layer(), *given, segments.dense(1))
    assert distance(made, expected) <= 1e-5


@pytest.mark.parametrize("kind", ["segments", *_OTHERS])
def test_for_cuda_masks_are_the_same_and_nothing_is_laid_out(kind: str) -> None:
    """Each example stands by itself, as long ones do on the CPU."""
    given = {"positions": POSITIONS} if kind == "segments" else _OTHERS[kind]
    made, expected = (mask_by(name, **given) for name in (VARLEN, "sdpa"))
    if kind == "segments":
        assert isinstance(made, Segments)
        assert made.long == made.borders == BORDERS
        made = made.dense(2)
    assert made is expected is None or torch.equal(made, expected)


@pytest.mark.parametrize("kind", ["segments", "mask", "none"])
def test_on_cuda_only_packed_rows_leave_transformers(kind: str) -> None:
    """Short rows too are left to torch, bit by bit; and whatever changes attention."""
    segments = mask_by(VARLEN, positions=POSITIONS)
    mask = {"segments": segments, "mask": _DRAWN, "none": None}[kind]
    dense = segments.dense(2) if kind == "segments" else mask
    bias = random(1, 4, 12, 12, seed=7, trained=False)
    for others in ({}, {"scaling": 0.7}, {"is_causal": False}, {"dropout": 0.4}, {"position_bias": bias}):
        torch.manual_seed(0)
        expected, _ = sdpa_attention_forward(Layer(), *states(), dense, **others)
        torch.manual_seed(0)
        made, likely = attend_varlen(Layer(), *states(), mask, **others)
        assert likely is None
        assert made.is_contiguous()
        if kind == "segments" and not {"dropout", "position_bias"} & others.keys():
            assert distance(made, expected) <= 1e-6
        else:
            assert torch.equal(made, expected)
    with pytest.raises(ValueError, match="softcap"):
        attend_varlen(Layer(), *states(), mask, softcap=30.0)
