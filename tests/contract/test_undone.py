"""The list of `tools/attack/undone.py` fits the code: it can be tried at any time, which takes minutes."""

from __future__ import annotations

import pytest

from tools.attack.undone import ROOT, Change, Claim, read_claims

CLAIMS = read_claims()


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.says)
def test_a_claim_can_be_tried(claim: Claim) -> None:
    assert claim.faults(ROOT) == []
    assert all(change.old != change.new for change in claim.undo)


def test_each_is_listed_once() -> None:
    assert len({(claim.group, claim.says) for claim in CLAIMS}) == len(CLAIMS) > 90


def test_lines_that_are_gone_and_tests_that_there_are_not_are_named() -> None:
    change = Change("burnish/errors.py", "no such line", "")
    claim = Claim("", "", (change,), ("tests/contract/test_undone.py::test_nothing",))
    assert claim.faults(ROOT) == [
        "`no such line` is 0 times in `burnish/errors.py`, and not once",
        "there is no test `tests/contract/test_undone.py::test_nothing`",
    ]
