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
