"""Many rows and records in blocks: the same items in the same order as in a list, and far less memory."""

from __future__ import annotations

import datetime
import decimal
import json
import tracemalloc
from dataclasses import dataclass, field, replace

import numpy
import pytest

from burnish.data.images.images import Picture
from burnish.data.rows import packed
from burnish.data.rows.dataset import load_records
from burnish.data.rows.disk import Disk
from burnish.data.rows.packed import Gathering, Packed, gather, mapped
from burnish.data.rows.records import ChatRecord, LabelledRecord, PictureRecord, TextRecord, content_hash
from burnish.data.rows.row import Row
from burnish.errors import DataError
from burnish.recipe.schema import DataSection


@pytest.fixture
def few(monkeypatch):
    """From six items on, they are packed, four in a block."""
    monkeypatch.setattr(packed, "FEW", 5)
    monkeypatch.setattr(packed, "_BLOCK", 4)
    monkeypatch.setattr(packed, "_FEW_ON_DISK", 5)
    monkeypatch.setattr(packed, "_BLOCK_ON_DISK", 3)


@pytest.fixture(params=["memory", "disk"])
def disk(request, tmp_path):
    """Where items are kept."""
    return Disk(tmp_path / "rows", "as asked") if request.param == "disk" else None


def rows(number):
    values = ({"text": f"Text {n}.", "n": n, "other": [None, {"a": 1.5}]} for n in range(number))
    return [Row(one, "a.jsonl", line, "a note") for line, one in enumerate(values, start=1)]


def chats(number):
    turns = (({"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": "Yes."}) for n in range(number))
    return [ChatRecord(messages, None, f"a:{n}") for n, messages in enumerate(turns)]


@pytest.mark.parametrize("number", [0, 1, 5, 6, 8, 9, 300])
@pytest.mark.parametrize("make", [rows, chats])
def test_items_are_the_same_in_whatever_way_they_are_asked_for(few, disk, make, number):
    items = make(number)
    found = gather(items, disk)
    assert isinstance(found, Packed) == (number > 5)
    assert len(found) == number and list(found) == items
    assert [found[index] for index in range(-number, number)] == [*items, *items]
    for part in (slice(3), slice(250, 260), slice(None, None, -7), slice(-4, None), slice(9, 3)):
        assert found[part] == items[part]
    for index in (number, -number - 1):
        with pytest.raises(IndexError):
            found[index]


def test_few_items_stay_the_objects_that_they_are(few):
    items = rows(5)
    found = gather(items)
    assert isinstance(found, list) and all(one is other for one, other in zip(found, items, strict=True))


def test_two_readers_at_once_do_not_disturb_each_other(few, disk):
    items = rows(600)
    found = gather(items, disk)
    assert list(zip(found, reversed(found), strict=True)) == list(zip(items, reversed(items), strict=True))


def test_taken_items_are_those_of_the_numbers(few, disk):
    items = chats(700)
    found = gather(items, disk)
    for numbers in (numpy.array([1, 300, 699]), numpy.arange(0, 700, 3), numpy.zeros(0, numpy.int64)):
        taken = found.taken(numbers)
        assert isinstance(taken, Packed) == (len(numbers) > 5)
        assert list(taken) == [items[number] for number in numbers]
    again = found.taken(numpy.arange(0, 700, 2)).taken(numpy.arange(0, 350, 5))
    assert list(again) == items[::10]


def test_a_hash_that_was_computed_is_kept(few, monkeypatch):
    items = chats(300)
    hashes = [content_hash(one) for one in items]
    found = gather(items)
    monkeypatch.setattr("burnish.data.rows.records._names_of_content", None)  # computing one fails
    assert [content_hash(one) for one in found] == hashes


def test_values_that_python_alone_has_are_kept(few):
    values = [decimal.Decimal("1.50"), datetime.date(2024, 2, 29), b"\0\xff", "\ud800", 2**70, (1, 2)]
    items = [Row({"value": value}, "a.parquet", line) for line, value in enumerate(values)]
    assert list(gather(items)) == items


def test_what_cannot_be_serialized_or_is_large_or_of_several_kinds_stays_as_it_is(few):
    nested = []
    for _ in range(5_000):
        nested = [nested]
    picture = Picture("a.png", "0", bytes(100_000))
    large = [PictureRecord((), (picture,), (), f"a:{n}") for n in range(300)]
    mixed = [TextRecord("a", True, "a:1"), LabelledRecord(("a",), ("b",), False, "a:2")] * 10
    for items in ([Row({"value": nested}, "a", n) for n in range(300)], large, mixed):
        found = gather(items)
        assert isinstance(found, Packed)
        assert all(one is other for one, other in zip(found, items, strict=True))


def test_on_the_disk_nothing_is_too_large_and_what_cannot_be_serialized_stays_in_memory(few, tmp_path):
    disk = Disk(tmp_path / "new" / "rows", "as asked")
    large = [Row({"text": "a" * 100_000}, "a", n) for n in range(30)]
    tracemalloc.start()
    found = gather(large, disk)
    large = [row.line for row in large]
    assert tracemalloc.get_traced_memory()[0] < 1_000_000
    tracemalloc.stop()
    assert [row.line for row in found] == large and len(found[29].values["text"]) == 100_000
    assert list(disk.folder.iterdir()) == []  # the files have no names
    nested = []
    for _ in range(5_000):
        nested = [nested]
    items = [Row({"value": nested}, "a", n) for n in range(30)]
    assert all(one is other for one, other in zip(gather(items, disk), items, strict=True))


@dataclass
class _Derived:
    """A kind that is not made from all of its fields."""

    number: int
    double: int = field(init=False)

    def __post_init__(self):
        self.double = 2 * self.number


@pytest.mark.parametrize("make", [_Derived, lambda number: (number, "a"), lambda number: complex(number, 1)])
def test_items_of_any_kind_come_back(few, tmp_path, make):
    items = [make(number) for number in range(40)]
    found = gather(items, Disk(tmp_path, "as asked"))
    assert isinstance(found, Packed) and list(found) == items


def test_what_is_made_of_packed_items_is_made_when_it_is_asked_for(few):
    items, asked = rows(600), []

    def number(row):
        asked.append(row.line)
        return row.line

    found = mapped(gather(items), number)
    assert len(found) == 600 and not asked
    assert (found[3], found[-1], found[2:4], list(found)) == (4, 600, [3, 4], list(range(1, 601)))
    assert list(mapped(found, str)) == [str(line) for line in range(1, 601)]
    assert mapped(items[:3], number) == [1, 2, 3]


def test_packed_rows_take_a_third_of_the_memory():
    sizes = []
    for few in (10_000, 10):
        tracemalloc.start()
        gathering = Gathering[Row](few)
        for n in range(5_000):
            gathering.add(Row({"prompt": f"What is {n}?", "completion": f"It is {n}."}, "a.jsonl", n + 1_000))
        found = gathering.done()
        sizes.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert len(found) == 5_000
    assert sizes[1] < sizes[0] / 3


_FILES = {
    "chat": [{"prompt": f"What is {n % 50}?", "completion": f"It is {n % 7}."} for n in range(90)],
    "labels": [{"text": f"text {n}", "label": f"l{n % 5}", "split": "train" if n % 9 else "test"} for n in range(90)],
    "flags": [{"text": f"Text {n}.", "good": n % 2, "long": int(n % 3 < 1), "odd": int(n % 5 < 1)} for n in range(90)],
    "scores": [{"sentence1": f"a {n}", "sentence2": "b", "score": n / 10} for n in range(90)],
    "groups": [{"text": f"Text {n}.", "who": f"w{n % 12}" if n % 4 else None} for n in range(90)],
    "messages": [
        {"messages": [{"role": "user", "content": f"{n}"}, {"role": "assistant", "content": "Yes." if n % 10 else ""}]}
        for n in range(90)
    ],
    "mixed": [{"prompt": "a", "completion": "b"}, *({"text": f"Text {n}."} for n in range(30))],
}  # fmt: skip
_OF_RECORDS = ("rejected", "sha256", "files", "held_out", "why_no_test")


@pytest.mark.parametrize("name", _FILES)
@pytest.mark.parametrize("has_test", [False, True])
def test_many_rows_become_the_same_records_as_few(name, has_test, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [json.dumps(row) + "\n" for row in _FILES[name]]
    (tmp_path / "a.jsonl").write_text("".join(lines) + "not JSON\n", encoding="utf-8")
    (tmp_path / "test.jsonl").write_text("".join(lines[5:40]), encoding="utf-8")
    options = {"test": "test.jsonl" if has_test else None, "group": "who" if name == "groups" else None}
    found = []
    for most, in_memory in ((1_000, True), (5, True), (5, False)):
        monkeypatch.setattr(packed, "FEW", most)
        monkeypatch.setattr(packed, "_BLOCK", 4)
        monkeypatch.setattr(packed, "_FEW_ON_DISK", most)
        try:
            records = load_records(DataSection(path="a.jsonl", keep_in_memory=in_memory, **options))
            assert (records.disk is None) == in_memory
            parts = [list(part) for part in (records.train, records.valid, records.test)]
            shape = replace(records.shape, column_map=None)
            found.append((parts, shape, *(getattr(records, name) for name in _OF_RECORDS)))
            assert isinstance(records.train, Packed) == (most == 5)
        except DataError as error:
            found.append(str(error))
    assert found[0] == found[1] == found[2]
