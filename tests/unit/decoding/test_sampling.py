"""The next token follows from the logits and what a request says."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from burnish.decoding.sampling import Chooser, Sampling, top_log_probabilities

LOGITS = torch.tensor([1.0, 3.0, 2.0, 0.0])


def shares(sampling: Sampling, draws: int = 2000) -> list[float]:
    """How often each token is drawn."""
    chooser = Chooser(sampling)
    counts = Counter(chooser.choose(LOGITS) for _ in range(draws))
    return [counts[token] / draws for token in range(4)]


def test_greedy() -> None:
    assert Chooser(Sampling()).choose(LOGITS) == 1
    assert torch.equal(LOGITS, torch.tensor([1.0, 3.0, 2.0, 0.0]))


def test_temperature_draws_by_the_softmax() -> None:
    for temperature in (1.0, 2.0):
        expected = (LOGITS / temperature).softmax(-1).tolist()
        assert shares(Sampling(temperature=temperature, seed=1)) == pytest.approx(expected, abs=0.03)


def test_top_p_and_top_k_leave_the_most_likely() -> None:
    two = LOGITS[[1, 2]].softmax(-1).tolist()
    for sampling in (Sampling(temperature=1.0, top_k=2, seed=1), Sampling(temperature=1.0, top_p=0.8, seed=1)):
        found = shares(sampling)
        assert [found[1], found[2]] == pytest.approx(two, abs=0.03)
        assert found[0] == found[3] == 0
    assert shares(Sampling(temperature=1.0, top_p=1e-9, seed=1), 50)[1] == 1, "one token is always left"


def candidates(logits: torch.Tensor, sampling: Sampling) -> dict[int, float]:
    """The tokens that may be drawn with their probabilities, by a sort of all."""
    probabilities, tokens = logits.softmax(-1).sort(descending=True, stable=True)
    if sampling.top_k:
        probabilities[sampling.top_k :] = 0
        probabilities /= probabilities.sum()
    if sampling.top_p < 1:
        before = probabilities.cumsum(-1, dtype=torch.float64) - probabilities
        probabilities[before >= sampling.top_p] = 0
    left = probabilities / probabilities.sum()
    return {int(token): float(one) for token, one in zip(tokens, left, strict=True) if one}


@pytest.mark.parametrize("spread", [0.1, 1.0, 4.0], ids=["nearly even", "wide", "few likely"])
@pytest.mark.parametrize("options", [{}, {"top_p": 0.9}, {"top_p": 0.999}, {"top_k": 5}, {"top_k": 40, "top_p": 0.7}])
def test_candidates_of_many_tokens_are_those_of_a_sort_of_all(spread: float, options: dict[str, float]) -> None:
    sampling = Sampling(temperature=1.0, seed=2, **options)  # type: ignore[arg-type]
    logits = spread * torch.randn(5000, generator=torch.Generator().manual_seed(0))
    expected = candidates(logits, sampling)
    chooser = Chooser(sampling)
    probabilities, tokens = chooser._candidates(logits.softmax(-1))
    found = dict(zip((range(5000) if tokens is None else tokens.tolist()), probabilities.tolist(), strict=True))
    assert found.keys() == expected.keys()
    total = sum(found.values())
    assert {token: one / total for token, one in found.items()} == pytest.approx(expected, rel=1e-3, abs=1e-7)
    assert {chooser.choose(logits) for _ in range(500)} <= expected.keys()


def test_what_is_not_allowed_is_never_drawn_and_numbers_have_to_be_numbers() -> None:
    logits = torch.full((1000,), float("-inf"))
    logits[[3, 500]] = 0.0
    chooser = Chooser(Sampling(temperature=1.0, seed=1))
    drawn = Counter(chooser.choose(logits) for _ in range(400))
    assert drawn.keys() == {3, 500}
    assert min(drawn.values()) > 150
    with pytest.raises(RuntimeError, match="not numbers"):
        chooser.choose(torch.full((10,), float("nan")))


def test_penalties_and_bias() -> None:
    often = Chooser(Sampling(frequency_penalty=0.6))
    assert [often.choose(LOGITS) for _ in range(5)] == [1, 1, 2, 1, 2]
    once = Chooser(Sampling(presence_penalty=1.5))
    assert [once.choose(LOGITS) for _ in range(3)] == [1, 2, 1]
    assert Chooser(Sampling(logit_bias={3: 9.0})).choose(LOGITS) == 3
    assert Chooser(Sampling(logit_bias={1: -100.0})).choose(LOGITS) == 2


def test_seeds() -> None:
    def drawn(seed: int | None) -> list[int]:
        chooser = Chooser(Sampling(temperature=2.0, seed=seed))
        return [chooser.choose(LOGITS) for _ in range(20)]

    assert drawn(3) == drawn(3) != drawn(4)
    assert drawn(None) != drawn(None)


def test_log_probabilities() -> None:
    expected = LOGITS.log_softmax(-1)
    value, top = top_log_probabilities(LOGITS, 0, 2)
    assert value == pytest.approx(float(expected[0]))
    assert [token for token, _ in top] == [1, 2]
    assert top_log_probabilities(LOGITS, 0, 0)[1] == []
