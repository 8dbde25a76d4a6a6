"""Which words are hidden, and behind what."""

from __future__ import annotations

import numpy
import pytest

from burnish.data.rows.row import IGNORED
from burnish.data.tokens.masking import NO_WORD, MaskExample, mask

MASK = 3
PLAIN = range(100, 200)


def example(words: list[int], share: float = 0.15) -> MaskExample:
    """Tokens 10, 11, … that belong to these words."""
    return MaskExample(list(range(10, 10 + len(words))), words, share, "made.txt:1")


def hidden_of(one: MaskExample, *draw: int) -> list[bool]:
    """Which tokens are to be guessed."""
    return [target != IGNORED for target in mask(one, MASK, PLAIN, draw)[1].tolist()]


def test_the_pieces_of_a_word_are_hidden_together() -> None:
    one = example([NO_WORD, 0, 0, 0, 1, 2, 2, 3, NO_WORD], share=0.5)
    for epoch in range(50):
        hidden = hidden_of(one, 0, epoch)
        assert len({*hidden[1:4]}) == len({*hidden[5:7]}) == 1
        assert len({word for word, is_hidden in zip(one.words, hidden, strict=True) if is_hidden}) == 2


def test_special_tokens_are_never_hidden_and_hidden_ones_keep_their_target() -> None:
    one = example([NO_WORD, *range(20), NO_WORD], share=0.9)
    ids, targets = mask(one, MASK, PLAIN, (0, 1))
    assert targets[0] == targets[-1] == IGNORED
    assert (ids[0], ids[-1]) == (10, 31)
    trained = targets != IGNORED
    assert trained.sum() == 18
    assert (targets[trained] == numpy.array(one.input_ids)[trained]).all()
    assert (ids[~trained] == numpy.array(one.input_ids)[~trained]).all()


def test_of_the_hidden_tokens_80_in_100_are_masked_10_become_others_and_10_stay() -> None:
    one = example(list(range(20_000)), share=0.5)
    ids, targets = mask(one, MASK, PLAIN, (0, 1))
    hidden = targets != IGNORED
    was = numpy.array(one.input_ids)
    shares = [(ids[hidden] == MASK).mean(), (ids[hidden] == was[hidden]).mean()]
    assert shares == pytest.approx([0.8, 0.1], abs=0.015)
    others = ids[hidden & (ids != MASK) & (ids != was)]
    assert ((others >= 100) & (others < 200)).all()


def test_the_draw_alone_decides() -> None:
    one = example(list(range(40)))
    assert hidden_of(one, 0, 1, 7) == hidden_of(one, 0, 1, 7)
    assert len({tuple(hidden_of(one, *draw)) for draw in ((0, 1, 7), (1, 1, 7), (0, 2, 7), (0, 1, 8))}) == 4


def test_at_least_one_word_is_hidden() -> None:
    one = example([NO_WORD, 0, NO_WORD], share=0.01)
    assert hidden_of(one, 0, 0) == [False, True, False]
    assert one.num_trained == 1
    assert example([NO_WORD, NO_WORD]).num_trained == 0
