"""Entities in tag sequences, read as the CoNLL script reads them.

The chunking rules are those of `conlleval` (Tjong Kim Sang, for the CoNLL-2000 and CoNLL-2003 shared tasks), which
forgives: an I- after O, or of another type than the tag before it, begins an entity. That script knows no S- and
takes B-X E-X B-X E-X for one entity, so BIOES data gets the rules that `seqeval` adds in its default mode: S- stands
alone, B- always begins and E- always ends. On tags of B-, I- and O both sets of rules are one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Entity = tuple[str, int, int]
"""Type, first token, token after the last."""

_BEGINS = frozenset([("B", "B"), ("I", "B"), ("O", "B"), ("O", "I"), ("E", "E"), ("E", "I"), ("O", "E")])
"""Marks of the token before and of this one between which an entity begins, whatever the types."""
_ENDS = frozenset([("B", "B"), ("B", "O"), ("I", "B"), ("I", "O"), ("E", "E"), ("E", "I"), ("E", "O")])
"""Marks between which an entity ends, whatever the types."""
_OUTSIDE = ("O", ".")
_ALONE = ("[", "]")
"""The script's marks for an entity of one token in the bracket notations."""
_MARKS = frozenset("BIES")
_OTHER_SPELLINGS = {"L": "E", "U": "S", "M": "I"}
"""BILOU and BMES write these letters for marks of BIOES."""


def detect_scheme(tag_sequences: Iterable[Sequence[str]]) -> str:
    """Name how entities are marked: IOB1, IOB2, BIOES, or plain for tags that mark none, such as parts of speech.

    Tags are plain unless most of those besides O are a mark (B, I, E, S) with a type, or the bare mark. Data with E-
    or S- is BIOES, also where it writes L-, U- or M- for E-, S- or I-; IOE1 and IOE2 come under it too, and are read
    rightly. The rest is IOB1 where more entities begin with I- than with a B- that IOB1 would not write; both
    IOB schemes are read alike.
    """
    marked = other = inside_first = begin_first = 0
    has_ends = False
    for tags in tag_sequences:
        before = ("O", "")
        for mark, kind in (_split(tag, "BIOES") for tag in tags):
            marked += mark in _MARKS
            other += mark not in _MARKS and mark != "O"
            has_ends = has_ends or mark in ("E", "S")
            is_first = before[0] not in _MARKS or before[1] != kind
            inside_first += is_first and mark == "I"
            begin_first += is_first and mark == "B"
            before = (mark, kind)
    if marked <= other:
        return "plain"
    if has_ends:
        return "BIOES"
    return "IOB1" if inside_first > begin_first else "IOB2"


def entities(tags: Sequence[str], scheme: str) -> set[Entity]:
    """The entities in the tags of one row; in the plain scheme every token but O is one (`conlleval -r`).

    A tag is cut at its first hyphen, so types may have hyphens; a bare B or I has the type "". An unknown prefix is
    read as the script reads it: it goes on with an entity of its type, and begins one otherwise.
    """
    if scheme == "plain":
        return {(tag, place, place + 1) for place, tag in enumerate(tags) if tag != "O"}
    found: set[Entity] = set()
    begin: int | None = None
    before = ("O", "")
    for place, tag in enumerate(tags):
        now = _split(tag, scheme)
        is_begin = _is_begin(before, now, scheme)
        if begin is not None and (is_begin or _is_end(before, now, scheme)):
            found.add((before[1], begin, place))
            begin = None
        if is_begin:
            begin = place
        before = now
    return found if begin is None else found | {(before[1], begin, len(tags))}


def _split(tag: str, scheme: str) -> tuple[str, str]:
    """Mark and type: `B-LOC-GPE` is B and LOC-GPE, `B` is B and no type."""
    mark, hyphen, kind = tag.partition("-")
    if hyphen and scheme == "BIOES":
        mark = _OTHER_SPELLINGS.get(mark, mark)
    return mark, kind


def _is_begin(before: tuple[str, str], now: tuple[str, str], scheme: str) -> bool:
    """Whether an entity begins with `now`; both are a mark and a type."""
    if scheme == "BIOES" and (now[0] in ("B", "S") or (before[0] == "S" and now[0] in ("I", "E"))):
        return True
    is_other = now[0] not in _OUTSIDE and before[1] != now[1]
    return (before[0], now[0]) in _BEGINS or is_other or now[0] in _ALONE


def _is_end(before: tuple[str, str], now: tuple[str, str], scheme: str) -> bool:
    """Whether an entity ends with `before`."""
    if scheme == "BIOES" and (before[0] in ("E", "S") or now[0] in ("B", "S")):
        return True
    is_other = before[0] not in _OUTSIDE and before[1] != now[1]
    return (before[0], now[0]) in _ENDS or is_other or before[0] in _ALONE
