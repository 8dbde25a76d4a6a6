"""Flat arrays give back the examples that were put in."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
from safetensors import safe_open

from burnish.data.batching.batches import collate_tokens
from burnish.data.rows.disk import Disk
from burnish.data.rows.row import IGNORED, Example
from burnish.data.tokens import file_column, tokens
from burnish.data.tokens.file_column import file_columns, write_columns
from burnish.data.tokens.tokens import COLUMNS, TokenColumns, TokenExamples, token_counts, trained_count
from tests.tiny_data import random_examples

FIRST_TRAINED = Example([5, 6], [5, 6], "b/c:d.txt:70000")


def stored(examples: list[Example], disk: Disk | None = None) -> TokenExamples:
    columns = TokenColumns(disk)
    for example in examples:
        columns.add(example)
    return columns.done()


@pytest.fixture(params=["memory", "disk"])
def disk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk | None:
    """Where tokens are kept; those on the disk are written and counted in small parts."""
    if request.param == "memory":
        return None
    monkeypatch.setattr(tokens, "_HELD", 50)
    monkeypatch.setattr(file_column, "PART", 7)
    return Disk(tmp_path / "rows", "as asked")


def test_examples_come_back_as_they_were(disk: Disk | None) -> None:
    examples = [*random_examples(20, 4, 30), FIRST_TRAINED]
    back = stored(examples, disk)
    assert len(back) == len(examples)
    for example, one in zip(examples, back, strict=True):
        assert (list(one.input_ids), list(one.labels), one.place) == (example.input_ids, example.labels, example.place)
        assert (one.num_tokens, one.num_trained) == (example.num_tokens, example.num_trained)
    assert [one.place for one in back[-2:]] == [examples[-2].place, FIRST_TRAINED.place]
    assert back[-1].place == FIRST_TRAINED.place
    with pytest.raises(IndexError):
        back[len(examples)]


def test_counts_are_those_of_the_examples(disk: Disk | None) -> None:
    examples = [*random_examples(20, 4, 30), FIRST_TRAINED]
    for given in (examples, stored(examples, disk)):
        assert token_counts(given).tolist() == [example.num_tokens for example in examples]
        assert trained_count(given) == sum(sum(label != IGNORED for label in one.labels[1:]) for one in examples)


def test_batches_of_both_are_the_same(disk: Disk | None) -> None:
    examples = random_examples(6, 4, 12)
    rows = [[0, 3], [1, 2], [5, 4]]
    plain, flat = (collate_tokens(given, rows, 0, True) for given in (examples, stored(examples, disk)))
    for one, other in zip(plain.tensors(), flat.tensors(), strict=True):
        assert one.dtype == other.dtype and one.equal(other)
    assert plain.examples == flat.examples and plain.owners.equal(flat.owners)


def test_written_columns_are_read_back_by_safetensors_and_part_by_part(disk: Disk | None, tmp_path: Path) -> None:
    examples = stored(random_examples(20, 4, 30), disk)
    write_columns(tmp_path / "a.safetensors", examples.columns, {"names": "a, ü"})
    with safe_open(tmp_path / "a.safetensors", framework="np") as file:
        assert file.metadata() == {"names": "a, ü"}
        for name, column in examples.columns.items():
            assert file.get_tensor(name).tolist() == column[:].tolist()
    again = file_columns(tmp_path / "a.safetensors", tuple(COLUMNS))
    assert all(again[name][5:9].tolist() == column[5:9].tolist() for name, column in examples.columns.items())


def test_nothing_at_all_is_no_example(disk: Disk | None) -> None:
    empty = stored([], disk)
    assert (len(empty), empty.num_trained, empty.is_whole) == (0, 0, True)


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_that_do_not_belong_together_show(name: str) -> None:
    whole = stored(random_examples(5, 4, 9))
    assert whole.is_whole
    cut = {**whole.columns, name: whole.columns[name][:-1]}
    assert not TokenExamples(cut, whole.names).is_whole


def test_an_example_of_no_token_and_a_file_without_a_name_show() -> None:
    whole = stored(random_examples(5, 4, 9))
    ends = whole.columns["ends"].copy()
    ends[1] = ends[0]
    assert not TokenExamples({**whole.columns, "ends": ends}, whole.names).is_whole
    assert not TokenExamples(whole.columns, []).is_whole
    assert whole.columns["ids"].dtype == numpy.int32
