"""Rows that are kept for a report: long ones lose their middle and say so."""

from __future__ import annotations

from burnish.check.token_view import MOST_TOKENS, Passage, SeenToken, TokenView, shortened


def view_of(length: int, learned: int) -> TokenView:
    """A row of so many tokens, the last of which are learned."""
    tokens = [SeenToken(number, str(number), number >= length - learned, False) for number in range(length)]
    return TokenView("rows.jsonl:1", [Passage("prompt", tokens, "a note")])


def test_a_row_that_fits_is_kept_whole() -> None:
    view = view_of(MOST_TOKENS, 3)
    assert shortened(view) == view


def test_a_long_row_keeps_its_beginning_and_its_end() -> None:
    first, last = shortened(view_of(2000, 1000)).passages
    assert (first.name, first.note) == ("prompt", "")
    assert (last.name, last.note) == ("prompt after 1,488 more tokens, 744 of them learned", "a note")
    assert [token.id for token in first.tokens] == list(range(256))
    assert [token.id for token in last.tokens] == list(range(1744, 2000))


def test_a_passage_without_a_name_says_what_is_left_out() -> None:
    view = view_of(1000, 0)
    nameless = TokenView(view.place, [Passage("", view.passages[0].tokens)])
    assert shortened(nameless).passages[1].name == "after 488 more tokens, 0 of them learned"
