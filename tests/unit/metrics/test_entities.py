"""Reading entities.

The expectations of `test_conlleval` were held against the rules of `conlleval.pl` (version 2004-01-26), run in Perl
with these tags as gold and the expected entities, written in clean IOB2, as the guess: all found, all right. Those of
`test_seqeval` are `get_entities` of seqeval 1.2.2, whose ends are inclusive and here are not.
"""

from __future__ import annotations

import pytest

from burnish.metrics.tagging import Entity, detect_scheme, entities


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("", set()),
        ("O O", set()),
        ("B-PER I-PER O B-LOC", {("PER", 0, 2), ("LOC", 3, 4)}),
        ("I-PER I-PER O", {("PER", 0, 2)}),
        ("O I-PER", {("PER", 1, 2)}),
        ("B-PER I-LOC", {("PER", 0, 1), ("LOC", 1, 2)}),
        ("I-PER B-PER I-PER", {("PER", 0, 1), ("PER", 1, 3)}),
        ("B-PER B-PER", {("PER", 0, 1), ("PER", 1, 2)}),
        ("I-PER I-LOC I-PER", {("PER", 0, 1), ("LOC", 1, 2), ("PER", 2, 3)}),
        ("B-LOC-GPE I-LOC-GPE", {("LOC-GPE", 0, 2)}),
        ("B-LOC-GPE I-LOC", {("LOC-GPE", 0, 1), ("LOC", 1, 2)}),
        ("B I O I", {("", 0, 2), ("", 3, 4)}),
        ("B I-PER", {("", 0, 1), ("PER", 1, 2)}),
        ("O E-PER E-PER", {("PER", 1, 2), ("PER", 2, 3)}),
        ("X-PER X-PER O", {("PER", 0, 2)}),
        ("X-PER I-PER X-LOC", {("PER", 0, 2), ("LOC", 2, 3)}),
        ("X-PER B-PER", {("PER", 0, 2)}),
        ("O NN O", set()),
        ("B-PER O-PER I-PER", {("PER", 0, 1), ("PER", 2, 3)}),
        ("B-PER E-PER B-PER E-PER", {("PER", 0, 4)}),
        ("[-NP ]-NP I-NP", {("NP", 0, 1), ("NP", 1, 2)}),
        ("B-NP . B-NP", {("NP", 0, 1), ("NP", 2, 3)}),
    ],
)
def test_conlleval(tags: str, expected: set[Entity]) -> None:
    for scheme in ("IOB1", "IOB2"):
        assert entities(tags.split(), scheme) == expected


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("B-X E-X B-X E-X", {("X", 0, 2), ("X", 2, 4)}),
        ("S-X S-X I-X", {("X", 0, 1), ("X", 1, 2), ("X", 2, 3)}),
        ("E-X O E-X", {("X", 0, 1), ("X", 2, 3)}),
        ("B-X S-X E-X", {("X", 0, 1), ("X", 1, 2), ("X", 2, 3)}),
        ("S-X E-X I-X", {("X", 0, 1), ("X", 1, 2), ("X", 2, 3)}),
        ("B-X I-Y E-X", {("X", 0, 1), ("Y", 1, 2), ("X", 2, 3)}),
        ("I-X B-X O S-Y", {("X", 0, 1), ("X", 1, 2), ("Y", 3, 4)}),
        ("E-X E-X", {("X", 0, 1), ("X", 1, 2)}),
        ("B-X I-X O", {("X", 0, 2)}),
    ],
)
def test_seqeval(tags: str, expected: set[Entity]) -> None:
    assert entities(tags.split(), "BIOES") == expected


def test_other_letters_for_the_same_marks() -> None:
    """BILOU as seqeval's strict mode reads it; BMES by hand."""
    bilou = ["B-X", "L-X", "U-X", "O", "B-Y", "I-Y", "L-Y", "U-Y", "U-Y"]
    assert detect_scheme([bilou]) == "BIOES"
    assert entities(bilou, "BIOES") == {("X", 0, 2), ("X", 2, 3), ("Y", 4, 7), ("Y", 7, 8), ("Y", 8, 9)}
    assert entities(["B-X", "M-X", "E-X", "S-X"], "BIOES") == {("X", 0, 3), ("X", 3, 4)}


def test_other_letters_need_a_type_and_the_scheme() -> None:
    assert entities(["L", "L"], "BIOES") == set()
    assert entities(["L-X", "L-X"], "IOB2") == {("X", 0, 2)}


def test_an_entity_of_one_mark_without_a_type_ends_before_what_is_outside() -> None:
    assert entities(["S", "O", "B", "E", "O", "O", "B", "I", "O"], "BIOES") == {("", 0, 1), ("", 2, 4), ("", 6, 8)}


def test_plain_tags_are_entities_of_one_token() -> None:
    """As `conlleval -r` has it."""
    assert entities(["NN", "O", "NN", "VB-X"], "plain") == {("NN", 0, 1), ("NN", 2, 3), ("VB-X", 3, 4)}


@pytest.mark.parametrize(
    ("sequences", "expected"),
    [
        (["B-PER I-PER O", "O B-LOC"], "IOB2"),
        (["I-PER I-PER O I-LOC", "I-LOC B-LOC"], "IOB1"),
        (["I-PER O I-LOC"], "IOB1"),
        (["B-PER I-PER I-PER B-PER O B-LOC", "I-LOC"], "IOB2"),
        (["B-PER", "B-LOC"], "IOB2"),
        (["B-PER E-PER S-LOC O"], "BIOES"),
        (["S-LOC O"], "BIOES"),
        (["I-PER E-PER O"], "BIOES"),
        (["B I O B"], "IOB2"),
        (["I I O"], "IOB1"),
        (["DT NN VBZ"], "plain"),
        (["NN-TL JJ-HL NN"], "plain"),
        (["O O"], "plain"),
        (["B-PER I-PER B-LOC O O O X"], "IOB2"),
        (["NOUN VERB I X X"], "plain"),
        ([""], "plain"),
        ([], "plain"),
    ],
)
def test_schemes(sequences: list[str], expected: str) -> None:
    assert detect_scheme([tags.split() for tags in sequences]) == expected


def test_types_may_be_called_like_marks() -> None:
    """A type `S`, `B` or `E` begins and ends nothing."""
    tags = ["O", *(tag for kind in "SBEOI" for tag in (f"B-{kind}", f"I-{kind}", f"E-{kind}", "O"))]
    expected = {(kind, 4 * number + 1, 4 * number + 4) for number, kind in enumerate("SBEOI")}
    assert entities(tags, "BIOES") == expected
    assert entities([tag.replace("E-", "I-") if tag != "O" else tag for tag in tags], "IOB2") == expected


def test_an_entity_whose_mark_is_unknown_goes_on_over_what_is_outside_without_a_type() -> None:
    """As the script has it: neither an `O` after an unknown mark ends it, nor a type after that `O`."""
    assert {(begin, end) for _, begin, end in entities(["B", "X", "O", "O-LOC"], "IOB2")} == {(0, 4)}


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("B-X NOUN", "plain"),
        ("B-X I-X NOUN", "IOB2"),
        ("I-X O B-X", "IOB2"),
        ("I-X O I-X O B-X", "IOB1"),
        ("I-X I-X B-X I-X O I-Y", "IOB1"),
        ("I-X I-Y B-Z", "IOB1"),
        ("B-X I-X I-X", "IOB2"),
        ("B-X I-Y I-Z", "IOB1"),
        ("B-X B-X I-Y", "IOB2"),
    ],
)
def test_the_limits_of_schemes(tags: str, expected: str) -> None:
    """As many marks as other tags are plain; as many beginnings with I as with another's B are IOB2."""
    assert detect_scheme([tags.split()]) == expected
