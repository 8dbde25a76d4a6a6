"""Fast attention is torch's own: values and gradients, and nothing crosses from one example to another."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from burnish.kernels.attention import attention_reference, short_attention
from burnish.kernels.packed_attention import packed_attention, packed_attention_reference
from burnish.kernels.segments import Segments
from tests.unit.kernels.comparison import assert_as_exact, assert_near, random, values_and_gradients
from tests.unit.kernels.test_segments import CPU, ROWS, SHORT, borders_of

HEADS, KEY_HEADS = 8, 2
MIXED = [[30, 1, 9, 40], [1, 1, 7, 33, 38], [80]]
"""Lengths of examples, of which those above `SHORT` go by way of the fused kernel."""


def inputs_of(
    rows: int, seq: int, size: int = 16, dtype: torch.dtype = torch.float32, heads: int = HEADS, shared: int = KEY_HEADS
) -> list[torch.Tensor | None]:
    """Query, key and value `[rows, heads, seq, size]`, with scores some units apart."""
    shapes = [(rows, heads, seq, size), (rows, shared, seq, size), (rows, shared, seq, size)]
    return [random(*shape, dtype=dtype, seed=seed) for seed, shape in enumerate(shapes)]


def upstream_of(rows: int, seq: int, size: int = 16, heads: int = HEADS) -> torch.Tensor:
    return random(rows, heads, seq, size, seed=9, trained=False)


def assert_packed_is_whole(
    rows: list[list[int]],
    inputs: list[torch.Tensor | None],
    cut: Callable[..., tuple[torch.Tensor, ...]] = lambda *given: given,
    upstream: torch.Tensor | None = None,
    scale: float = 0.3,
    short: int = SHORT,
) -> None:
    """`cut` makes query, key and value of the inputs."""
    segments = Segments(borders_of(rows), CPU, short)
    assert_as_exact(
        lambda *given: packed_attention(*cut(*given), scale, segments),
        lambda *given: packed_attention_reference(*cut(*given), scale, segments),
        inputs,
        upstream,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [16, 64])
@pytest.mark.parametrize(("heads", "shared"), [(8, 2), (4, 4), (3, 1)])
@pytest.mark.parametrize("rows", [ROWS, MIXED, [[80]], [[12, 8]]], ids=lambda rows: str(sum(rows[0])))
def test_packed_attention_is_attention_with_a_mask(
    rows: list[list[int]], heads: int, shared: int, size: int, dtype: torch.dtype
) -> None:
    inputs = inputs_of(len(rows), sum(rows[0]), size, dtype, heads, shared)
    upstream = upstream_of(len(rows), sum(rows[0]), size, heads)
    assert_packed_is_whole(rows, inputs, upstream=upstream, scale=size**-0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [[[70, 30], [100]], [[160, 45, 3]]], ids=lambda rows: str(sum(rows[0])))
def test_examples_of_more_than_64_tokens_in_groups(rows: list[list[int]], dtype: torch.dtype) -> None:
    inputs = inputs_of(len(rows), sum(rows[0]), dtype=dtype)
    assert_packed_is_whole(rows, inputs, upstream=upstream_of(len(rows), sum(rows[0])), short=512)


@pytest.mark.parametrize("rows", [ROWS, MIXED])
def test_a_sum_has_its_gradients(rows: list[list[int]]) -> None:
    """The upstream gradient is one number, expanded."""
    assert_packed_is_whole(rows, inputs_of(len(rows), sum(rows[0])))


@pytest.mark.parametrize("rows", [ROWS, MIXED])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_views_of_one_tensor(rows: list[list[int]], dtype: torch.dtype) -> None:
    """As the models make them that have one matrix for query, key and value."""
    width, size, number = sum(rows[0]), 16, HEADS + 2 * KEY_HEADS
    together = random(len(rows), width, number * size, dtype=dtype)

    def cut(qkv: torch.Tensor) -> tuple[torch.Tensor, ...]:
        parts = qkv.split([HEADS * size, KEY_HEADS * size, KEY_HEADS * size], dim=2)
        return tuple(part.unflatten(2, (-1, size)).transpose(1, 2) for part in parts)

    assert_packed_is_whole(rows, [together], cut, upstream_of(len(rows), width, size))


@pytest.mark.parametrize("rows", [ROWS, MIXED])
def test_odd_strides(rows: list[list[int]]) -> None:
    """A query of every other number, a key with a gap between its rows, a value whose heads are the same memory."""
    width, size, number = sum(rows[0]), 16, len(rows)
    wide = [random(number, HEADS, width, 2 * size), random(number, 3, width, size), random(number, 1, width, size)]

    def cut(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return query[..., ::2], key[:, 1:], value.expand(-1, KEY_HEADS, -1, -1)

    assert_packed_is_whole(rows, [*wide], cut, upstream_of(number, width, size).mT.contiguous().mT)


def test_packed_output_lies_by_token() -> None:
    """Every layer goes on with `[rows, width, heads x size]`."""
    for rows in (ROWS, MIXED):
        segments = Segments(borders_of(rows), CPU, SHORT)
        made = packed_attention(*inputs_of(len(rows), sum(rows[0])), 0.3, segments)
        assert made.transpose(1, 2).is_contiguous()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_of_one_token_alone_the_value_is_the_output(dtype: torch.dtype) -> None:
    """Its probability is one, whatever query and key are."""
    segments = Segments(borders_of([[1] * 5]), CPU, SHORT)
    for seq, way in ((5, lambda *given: packed_attention(*given, 0.3, segments)), (1, short_attention)):
        query, key, value = inputs_of(1, seq, dtype=dtype)
        given = [query, key, value] if seq == 5 else [query, key, value, 0.3]
        output = way(*given)
        assert torch.equal(output, value.repeat_interleave(HEADS // KEY_HEADS, dim=1))
        of_query, of_key, of_value = torch.autograd.grad(output.sum(), [query, key, value])
        assert torch.equal(of_value, torch.full_like(of_value, HEADS // KEY_HEADS))
        assert max(of_query.abs().max(), of_key.abs().max()) < 1e-5


@pytest.mark.parametrize("example", range(len(MIXED[1])))
def test_an_example_knows_nothing_of_the_others(example: int) -> None:
    """Outputs bit by bit the same whatever stands in the others, and no gradient for them."""
    segments = Segments(borders_of(MIXED), CPU, SHORT)
    begin, end = segments.borders[len(MIXED[0]) + example]
    row, first, last = begin // 80, begin % 80, (end - 1) % 80
    inputs = inputs_of(len(MIXED), 80)
    output = packed_attention(*inputs, 0.3, segments)
    gradients = torch.autograd.grad(output[row, :, first : last + 1].square().sum(), inputs)
    changed = [one.detach().clone() for one in inputs if one is not None]
    for one, gradient in zip(changed, gradients, strict=True):
        inside = torch.zeros(one.shape, dtype=torch.bool)
        inside[row, :, first : last + 1] = True
        assert not gradient[~inside].any()
        # a first token sees itself alone, whatever its score
        assert gradient[inside].any() or (last == first and one is not changed[2])
        one[inside] += 3
    again = packed_attention(*changed, 0.3, segments)
    differs = (again != output).any(3).any(1)
    assert differs[row, first : last + 1].all()
    differs[row, first : last + 1] = False
    assert not differs.any()


def test_a_later_token_changes_no_earlier_one() -> None:
    segments = Segments([(0, 9), (9, 20), (20, 60)], CPU, SHORT)
    inputs = [one.detach() for one in inputs_of(1, 60) if one is not None]
    output = packed_attention(*inputs, 0.3, segments)
    for place in (5, 15, 45):
        changed = [one.clone() for one in inputs]
        for one in changed:
            one[:, :, place] += 3
        differs = (packed_attention(*changed, 0.3, segments) != output).any(3).any(1)[0]
        assert not differs[:place].any()
        assert differs[place]


def test_padding_adds_nothing_to_gradients() -> None:
    """Each token's probabilities sum to one: over an example, a value's gradients sum to those of the outputs."""
    rows = [[5, 9, 7, 1, 3]]
    segments = Segments(borders_of(rows), CPU, SHORT)
    assert any(group.sequences > 1 for group in segments.groups)
    inputs = inputs_of(1, 25, heads=2, shared=2)
    upstream = upstream_of(1, 25, heads=2)
    _, _, of_key, of_value = values_and_gradients(
        lambda *given: packed_attention(*given, 0.3, segments), inputs, upstream
    )
    for begin, end in segments.borders:
        torch.testing.assert_close(of_value[:, :, begin:end].sum(2), upstream[:, :, begin:end].sum(2))
    # a shift of all keys of an example changes no probability
    assert max(of_key[:, :, begin:end].sum(2).norm() for begin, end in segments.borders) < 1e-5 * of_key.norm()
    assert of_key.norm() > 1


def test_packed_attention_in_autocast() -> None:
    segments = Segments(borders_of(MIXED), CPU, SHORT)
    inputs, upstream = inputs_of(len(MIXED), 80), upstream_of(len(MIXED), 80)
    expected = values_and_gradients(
        lambda *given: packed_attention_reference(*given, 0.3, segments), inputs, upstream.bfloat16().float()
    )

    def cast(*given: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return packed_attention(*given, 0.3, segments)

    output, *gradients = values_and_gradients(cast, inputs, upstream)
    assert output.dtype == torch.bfloat16
    assert_near([output.float(), *gradients], expected, 1e-2)


def masks(rows: int, seq: int) -> dict[str, torch.Tensor | None]:
    """By shape; a token always sees itself."""
    drawn = torch.rand(rows, HEADS, seq, seq, generator=torch.Generator().manual_seed(5)) < 0.6
    drawn |= torch.eye(seq, dtype=torch.bool)
    return {
        "none": None,
        "square": drawn[0, 0],
        "by-row": drawn[:, :1],
        "by-head": drawn,
        "keys": torch.arange(seq)[None, None, None, :] < torch.tensor([seq, 3, seq - 1])[:rows, None, None, None],
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [16, 64])
@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("kind", ["none", "square", "by-row", "by-head", "keys"])
def test_short_attention_is_torchs(kind: str, is_causal: bool, size: int, dtype: torch.dtype) -> None:
    rows, seq = 3, 13
    mask = masks(rows, seq)[kind]
    both = mask
    if mask is not None and is_causal:  # torch takes one of the two
        both = mask & torch.ones(seq, seq, dtype=torch.bool).tril()
    assert_as_exact(
        lambda *given: short_attention(*given, 0.2, is_causal, mask),
        lambda *given: attention_reference(*given, 0.2, is_causal and mask is None, both),
        inputs_of(rows, seq, size, dtype),
        upstream_of(rows, seq, size),
    )


@pytest.mark.parametrize("seq", [62, 64, 100, 127])
def test_the_softmax_of_half_precision_is_that_of_its_numbers(seq: int) -> None:
    """Whether or not the columns fill whole registers."""
    assert_as_exact(
        lambda *given: short_attention(*given, 0.2),
        lambda *given: attention_reference(*given, 0.2),
        inputs_of(2, seq, dtype=torch.bfloat16),
        upstream_of(2, seq),
    )


@pytest.mark.parametrize(("heads", "shared"), [(8, 2), (4, 4), (3, 1)])
@pytest.mark.parametrize("seq", [2, 256])
def test_short_attention_of_other_sizes(seq: int, heads: int, shared: int) -> None:
    inputs = inputs_of(2, seq, heads=heads, shared=shared)
    for is_causal in (True, False):
        assert_as_exact(
            lambda *given, is_causal=is_causal: short_attention(*given, 0.2, is_causal),
            lambda *given, is_causal=is_causal: attention_reference(*given, 0.2, is_causal),
            inputs,
        )


def test_short_attention_of_views() -> None:
    """Of one tensor, and laid out by token."""
    together = random(2, 9, 3 * HEADS * 16)

    def cut(qkv: torch.Tensor) -> list[torch.Tensor]:
        return [part.unflatten(2, (HEADS, 16)).transpose(1, 2) for part in qkv.chunk(3, dim=2)]

    assert_as_exact(
        lambda qkv: short_attention(*cut(qkv), 0.2), lambda qkv: attention_reference(*cut(qkv), 0.2), [together]
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_that_sees_nothing_is_finite_and_harms_no_other(dtype: torch.dtype) -> None:
    """Where padding stands before a text, its tokens see nothing; what comes of them is not used."""
    seq, padding = 13, 4
    mask = torch.ones(seq, seq, dtype=torch.bool).tril()
    mask[:, :padding] = False
    inputs = inputs_of(2, seq, dtype=dtype)
    upstream = upstream_of(2, seq)
    upstream[:, :, :padding] = 0
    made = values_and_gradients(lambda *given: short_attention(*given, 0.2, False, mask), inputs, upstream)
    assert all(one.isfinite().all() for one in made)
    texts = [one.detach()[:, :, padding:].requires_grad_() for one in inputs if one is not None]
    expected = values_and_gradients(
        lambda *given: attention_reference(*given, 0.2, True), texts, upstream[:, :, padding:]
    )
    assert_near([one[:, :, padding:] for one in made], expected, 1e-5 if dtype == torch.float32 else 1e-2)
    assert not any(one[:, :, :padding].any() for one in made[1:]), "a gradient went into padding"


def test_short_attention_in_autocast() -> None:
    inputs, upstream = inputs_of(2, 13), upstream_of(2, 13)
    expected = values_and_gradients(
        lambda *given: attention_reference(*given, 0.2), inputs, upstream.bfloat16().float()
    )

    def cast(*given: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return short_attention(*given, 0.2)

    output, *gradients = values_and_gradients(cast, inputs, upstream)
    assert output.dtype == torch.bfloat16
    assert_near([output.float(), *gradients], expected, 1e-2)
