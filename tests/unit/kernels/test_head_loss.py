"""The loss of a few tokens at a time is that of all logits at once, and so are its gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from burnish.kernels.loss import bytes_inside, head_losses, head_losses_reference
from burnish.plan.live_storage import LiveStorage
from tests.unit.kernels.comparison import assert_as_exact, assert_near, distance, random, values_and_gradients

VOCABULARY, WIDTH = 300, 24
LARGE = 5000
"""A vocabulary of which a chunk's rows are worked on in several blocks."""
CHUNKS = [1, 2, 255, 256, 257, 600]
"""Numbers of tokens: within a chunk, one chunk to the token, and several."""


def made_up(
    tokens: int, dtype: torch.dtype = torch.float32, vocabulary: int = VOCABULARY, bias: bool = True, head: bool = True
) -> tuple[list[torch.Tensor | None], torch.Tensor]:
    """Hidden states, weight and bias with logits some units apart, and targets. `head` says whether that is trained."""
    weight = random(vocabulary, WIDTH, dtype=dtype, seed=1, trained=head)
    inputs = [random(tokens, WIDTH, dtype=dtype), weight, random(vocabulary, dtype=dtype, seed=2, trained=head)]
    targets = torch.randint(vocabulary, (tokens,), generator=torch.Generator().manual_seed(3))
    return [*inputs[:2], inputs[2] if bias else None], targets


def factors_for(tokens: int) -> torch.Tensor:
    """Another one for each token, of both signs, one of them zero."""
    return torch.linspace(-1, 2, tokens) if tokens > 1 else torch.full((1,), 0.7)


def assert_equal_ways(inputs: list[torch.Tensor | None], targets: torch.Tensor, upstream: torch.Tensor | None) -> None:
    assert_as_exact(
        lambda *given: head_losses(*given, targets),
        lambda *given: head_losses_reference(*given, targets),
        inputs,
        upstream,
    )


@pytest.mark.parametrize("head", [True, False], ids=["trained", "frozen"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tokens", CHUNKS)
def test_losses_and_gradients_are_those_of_all_logits_at_once(
    tokens: int, dtype: torch.dtype, bias: bool, head: bool
) -> None:
    inputs, targets = made_up(tokens, dtype, bias=bias, head=head)
    assert_equal_ways(inputs, targets, None)
    assert_equal_ways(inputs, targets, torch.tensor(-0.3).expand(tokens))
    assert_equal_ways(inputs, targets, factors_for(tokens))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_so_they_are_of_a_vocabulary_that_is_worked_on_in_blocks(dtype: torch.dtype) -> None:
    inputs, targets = made_up(259, dtype, vocabulary=LARGE)
    assert_equal_ways(inputs, targets, None)
    assert_equal_ways(inputs, targets, factors_for(259))


def test_a_bias_alone_can_be_trained() -> None:
    inputs, targets = made_up(300)
    frozen = [one.detach() for one in inputs[:2] if one is not None]
    for upstream in (None, factors_for(300)):
        assert_equal_ways([*frozen, inputs[2]], targets, upstream)


def test_a_mean_and_a_masked_sum_have_their_gradients() -> None:
    """Upstream gradients as losses make them, with whatever strides they come."""
    inputs, targets = made_up(520)
    for reduce in (torch.mean, lambda losses: losses[::2].sum(), lambda losses: (losses**2).sum()):
        (ours, *gradients), (theirs, *wanted) = (
            values_and_gradients(lambda *given, way=way, reduce=reduce: reduce(way(*given, targets))[None], inputs)
            for way in (head_losses, head_losses_reference)
        )
        assert_near([ours, *gradients], [theirs, *wanted], 1e-5)


@pytest.mark.parametrize("factors", [None, factors_for(300)], ids=["sum", "each-its-own"])
def test_autocast_computes_in_bf16_and_gives_fp32_gradients(factors: torch.Tensor | None) -> None:
    inputs, targets = made_up(300)

    def cast(way: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def run(*given: torch.Tensor) -> torch.Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return way(*given, targets)

        return run

    ours, theirs = (values_and_gradients(cast(way), inputs, factors) for way in (head_losses, head_losses_reference))
    assert {one.dtype for one in ours} == {torch.float32}
    assert_near(ours, theirs, 1e-2)
    exact = values_and_gradients(lambda *given: head_losses_reference(*given, targets), inputs, factors)
    assert_near(ours, exact, 1e-2)
    assert distance(ours[0], exact[0]) > 1e-4, "nothing was computed in bf16"


@pytest.mark.parametrize("height", [200.0, -200.0, 3e4])
def test_the_loss_of_an_improbable_target_is_exact(height: float) -> None:
    """Its probability has no fp32 number; its logarithm has."""
    hidden = torch.eye(3).repeat(100, 1)
    weight = torch.zeros(40, 3)
    weight[7] = height
    weight[11, 0] = -abs(height)
    targets = torch.tensor([11, 7, 5] * 100)
    losses = head_losses(hidden, weight, None, targets)
    exact = functional.cross_entropy(hidden.double() @ weight.double().T, targets, reduction="none")
    assert losses.max() > 100
    torch.testing.assert_close(losses, exact.float(), rtol=1e-6, atol=1e-6)
    weight.requires_grad_()
    ours = values_and_gradients(lambda given: head_losses(hidden, given, None, targets), [weight])
    theirs = values_and_gradients(lambda given: head_losses_reference(hidden, given, None, targets), [weight])
    assert_near(ours, theirs, 1e-5)
    assert ours[1].isfinite().all()


@pytest.mark.parametrize("head", [True, False], ids=["trained", "frozen"])
@pytest.mark.parametrize("upstream", [None, torch.zeros(0)], ids=["sum", "each-its-own"])
def test_no_tokens_have_no_loss_and_no_gradient(upstream: torch.Tensor | None, head: bool) -> None:
    inputs, targets = made_up(0, head=head)
    losses, of_hidden, *of_head = values_and_gradients(lambda *given: head_losses(*given, targets), inputs, upstream)
    assert losses.shape == (0,)
    assert of_hidden.shape == (0, WIDTH)
    assert len(of_head) == 2 * head
    assert not any(one.any() for one in of_head)


def test_without_gradients_the_losses_are_the_same_and_nothing_is_kept() -> None:
    inputs, targets = made_up(300)
    expected = head_losses(*inputs, targets)
    with torch.no_grad():
        losses = head_losses(*inputs, targets)
    assert torch.equal(losses, expected)
    assert expected.requires_grad
    assert not losses.requires_grad


def test_without_gradients_none_are_computed() -> None:
    """One matrix product makes the logits; those of the gradients, as large, are left out."""
    inputs, targets = made_up(300, vocabulary=2000)

    def measure() -> None:
        with torch.no_grad():
            head_losses(*inputs, targets)

    assert products(measure) == pytest.approx(2 * 300 * 2000 * WIDTH, rel=0.1)
    assert products(lambda: head_losses(*inputs, targets)) > 1.9 * 2 * 300 * 2000 * WIDTH


def test_inputs_stay_as_they_were() -> None:
    inputs, targets = made_up(300)
    before = [None if one is None else one.detach().clone() for one in inputs]
    upstream = factors_for(300)
    values_and_gradients(lambda *given: head_losses(*given, targets), inputs, upstream)
    values_and_gradients(lambda *given: head_losses(*given, targets), inputs)
    assert all(torch.equal(one, two) for one, two in zip(inputs, before, strict=True))
    assert torch.equal(upstream, factors_for(300))


@pytest.mark.parametrize("factors", [None, factors_for(2000)], ids=["sum", "each-its-own"])
def test_the_logits_of_all_tokens_are_never_there(factors: torch.Tensor | None) -> None:
    """Neither in what torch allocates, nor in what the plan sees."""
    inputs, targets = made_up(2000, vocabulary=3000)
    all_logits = 4 * 2000 * 3000

    def step(way: Callable[..., torch.Tensor]) -> list[torch.Tensor]:
        return values_and_gradients(lambda *given: way(*given, targets), inputs, factors)

    step(head_losses)  # what is made once is there
    assert peak_bytes(lambda: step(head_losses)) < all_logits / 3
    assert peak_bytes(lambda: step(head_losses_reference)) > all_logits

    seen = LiveStorage(3000)
    with seen:
        seen.begin_phase("step")
        step(head_losses)
    assert seen.peak.total < all_logits / 3


def test_the_plan_learns_what_is_allocated_inside() -> None:
    """Bytes as measured, and the operations of one product, or of three."""
    inputs, targets = made_up(700, vocabulary=LARGE, bias=False)
    hidden, weight = (one.detach() for one in inputs[:2] if one is not None)
    result = bytes_inside(hidden, weight)
    assert result == pytest.approx(peak_bytes(lambda: head_losses(hidden, weight, None, targets)), rel=0.01)
    for wanted, number in ((False, 1), (True, 3)):
        with FlopCounterMode(display=False) as counter:
            head_losses(hidden.requires_grad_(wanted), weight.requires_grad_(wanted), None, targets)
        assert counter.get_total_flops() == number * 2 * 700 * LARGE * WIDTH


def peak_bytes(run: Callable[[], object]) -> int:
    """The most that torch's allocator held at once beyond what it held before, inside operations too."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


def products(run: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products."""
    with profile(activities=[ProfilerActivity.CPU], with_flops=True, record_shapes=True) as profiler:
        run()
    return sum(event.flops for event in profiler.key_averages() if event.flops)
