"""Texts that were read before are found by their blocks as by looking at all of them, and those least used go first."""

import random
from os.path import commonprefix

import pytest
import torch

from burnish.decoding import beginnings
from burnish.decoding.beginnings import LEAST_BEGINNING, Beginnings
from burnish.decoding.key_values import KeyValues
from burnish.models.growing_cache import GrowingLayer

_TOKEN_BYTES = 2 * 2 * 8 * 4
"""Of keys and values with two heads of eight numbers."""


def _held(length: int) -> KeyValues:
    made = KeyValues(torch.ones(1, length, dtype=torch.long))
    keys = torch.arange(length, dtype=torch.float32)[None, None, :, None].expand(1, 2, length, 8)
    made.cache.layers.append(GrowingLayer.holding(keys.contiguous(), keys.clone()))
    return made.packed(0)


def _text(drawn: random.Random, length: int) -> list[int]:
    """Few of the many possible ones, so that many begin alike."""
    return [drawn.choice((1, 1, 1, 1, 1, 1, 1, 1, 1, 2)) for _ in range(length)]


@pytest.mark.parametrize("seed", range(5))
def test_what_is_known_is_what_looking_at_all_texts_finds(seed: int) -> None:
    drawn, known, texts = random.Random(seed), Beginnings(1 << 30), list[list[int]]()
    for _ in range(150):
        text = _text(drawn, drawn.randrange(1, 120))
        known.keep(text, _held(len(text)))
        texts.append(text)
        prompt = _text(drawn, drawn.randrange(1, 120))
        best = max(len(commonprefix([one, prompt[:-1]])) for one in texts if len(one) >= LEAST_BEGINNING or one == text)
        length = known.length(prompt)
        assert length <= best
        assert length >= LEAST_BEGINNING or length == 0
        # whole blocks are all found; of what is less than a block, another text may have more
        assert length >= best // LEAST_BEGINNING * LEAST_BEGINNING
        found = known.find(prompt)
        assert (found.columns if found else 0) == length


def test_those_least_used_go_first() -> None:
    number = 4
    known = Beginnings(number * 20 * _TOKEN_BYTES)
    texts = [[one] * 20 for one in range(number + 1)]
    for text in texts[:number]:
        known.keep(text, _held(20))
    assert known.num_bytes == number * 20 * _TOKEN_BYTES
    assert known.find([*texts[0], 7]) is not None
    known.keep(texts[number], _held(20))
    assert [known.length([*text, 7]) for text in texts] == [20, 0, 20, 20, 20]
    assert known.num_bytes == number * 20 * _TOKEN_BYTES


def test_a_text_takes_the_place_of_its_own_beginnings() -> None:
    known = Beginnings(1 << 20)
    text = list(range(100))
    for length in (17, 16, 40, 40, 33, 100):
        known.keep(text[:length], _held(length))
    # one that came after a longer one is kept: it may be used when that is gone
    assert known.num_bytes == 100 * _TOKEN_BYTES
    assert known.length([*text, 7]) == 100


def test_nothing_is_left_of_texts_that_are_gone() -> None:
    known, drawn = Beginnings(2000 * _TOKEN_BYTES), random.Random(0)
    for _ in range(300):
        text = _text(drawn, drawn.randrange(16, 120))
        known.keep(text, _held(len(text)))
        assert known.num_bytes <= 2000 * _TOKEN_BYTES
    whole = [9] * 2000
    known.keep(whole, _held(2000))
    assert known.num_bytes == 2000 * _TOKEN_BYTES
    assert list(known._kept) == [tuple(whole)]
    assert set(known._texts) == set(beginnings._blocks(tuple(whole)))
    assert list(known._ending.values()) == [{tuple(whole)}]


def test_texts_with_the_same_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beginnings, "_blocks", lambda text: iter(range(len(text) // LEAST_BEGINNING)))
    known = Beginnings(1 << 20)
    known.keep([1] * 50, _held(50))
    known.keep([2] * 50, _held(50))
    assert known.length([1] * 60) == 50
    assert known.length([2] * 60) == 50
    assert known.length([3] * 60) == 0


def test_short_texts_and_too_long_ones_are_not_kept() -> None:
    known = Beginnings(20 * _TOKEN_BYTES)
    known.keep([1] * 15, _held(15))
    known.keep([1] * 21, _held(21))
    assert known.num_bytes == 0
    assert known.length([1] * 40) == 0
    assert not Beginnings(0).wants([1] * 40)
