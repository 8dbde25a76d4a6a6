"""Parquet and Arrow files of a few kilobytes that become gigabytes: refused before their values are made."""

from __future__ import annotations

import tracemalloc

import numpy
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from burnish.data.files.readers import read_rows
from burnish.data.files.unfolding import BATCH_ROWS, Unfolded, check_arrow, check_parquet, unfolded_bytes
from burnish.errors import DataError

LONG = "a" * 1_000_000


def folded(rows, value=LONG):
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, "int32"), [value])


def in_list(rows):
    return pa.ListArray.from_arrays(pa.array(range(0, 2 * rows + 1, 2), "int32"), folded(2 * rows))


def in_struct(rows):
    return pa.StructArray.from_arrays([folded(rows), pa.array(range(rows))], ["content", "n"])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rows.parquet"


@pytest.mark.parametrize("make", [folded, in_list, in_struct])
def test_a_value_that_many_rows_share_is_counted_as_often(path, make):
    pq.write_table(pa.table({"text": make(5_000)}), path, compression="zstd", store_schema=False)
    tracemalloc.start()
    with pytest.raises(DataError) as caught:
        next(iter(read_rows(path)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.what.startswith(f"`{path}` would unpack to more than ")
    assert caught.value.fix == "If you trust it, write it again without compression and without dictionaries"
    assert peak < 20_000_000


@pytest.mark.parametrize("column", [folded(5_000), in_list(5_000), pa.array([LONG] * 10).dictionary_encode()])
def test_the_same_in_arrow_files(tmp_path, column):
    path = tmp_path / "rows.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, pa.schema([("text", column.type)])) as writer:
        writer.write(pa.record_batch({"text": column}))
    if len(column) == 10:
        assert len(list(read_rows(path))) == 10  # 10 MB
        return
    with pytest.raises(DataError, match="would unpack to more than"):
        next(iter(read_rows(path)))


@pytest.mark.parametrize("make", [pa.ipc.new_file, pa.ipc.new_stream])
@pytest.mark.parametrize("packed", ["zstd", "lz4"])
def test_a_batch_of_an_arrow_file_is_refused_before_it_is_unpacked(tmp_path, make, packed):
    path, before = tmp_path / "rows.arrow", pa.total_allocated_bytes()
    batch = pa.record_batch({"n": pa.array(numpy.zeros(20_000_000, "int64"))})
    with make(str(path), batch.schema, options=pa.ipc.IpcWriteOptions(compression=packed)) as writer:
        writer.write(batch)
    del batch
    with path.open("rb") as source, pytest.raises(DataError, match="would unpack to more than 0.2 GB"):
        check_arrow(path, source)
    assert pa.total_allocated_bytes() - before < 2_000_000
    with pytest.raises(DataError):
        next(iter(read_rows(path)))


@pytest.mark.parametrize("packed", [None, "zstd", "lz4"])
def test_compressed_arrow_files_are_read(tmp_path, packed):
    path = tmp_path / "rows.feather"
    columns = {"text": [f"text {n % 7}" for n in range(3_000)], "n": list(range(3_000))}
    table = pa.table({**columns, "kind": pa.array(["a", "b"] * 1_500).dictionary_encode()})
    pyarrow.feather.write_feather(table, path, compression=packed or "uncompressed")
    assert [row.values for row in read_rows(path)] == table.to_pylist()
    content = bytearray(path.read_bytes())
    for place in range(0, 600, 7):  # damaged: refused, or read, but nothing else
        damaged = tmp_path / "damaged.feather"
        damaged.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            list(read_rows(damaged))
        except DataError:
            continue


def test_values_that_begin_alike_are_read_a_few_at_once(path):
    values = pa.table({"text": [LONG + str(number) for number in range(140)]})
    pq.write_table(values, path, compression="zstd", use_dictionary=False, column_encoding="DELTA_BYTE_ARRAY")
    with path.open("rb") as source:
        at_once = check_parquet(path, source)
    assert at_once < 100
    with pytest.raises(DataError, match="would unpack to more than"):
        list(read_rows(path))


@pytest.mark.parametrize(
    "column",
    # made by the test: they would take 140 MB and half a second of every process that collects
    [lambda: pa.array(numpy.ones(17_000_000, "int64")), lambda: pa.nulls(34_000_000, "string")],
    ids=["ones", "nulls"],
)
def test_millions_of_small_values_are_refused_at_once(path, column):
    pq.write_table(pa.table({"n": column()}), path, compression="zstd", row_group_size=34_000_000)
    with pytest.raises(DataError, match="would unpack to more than"):
        next(iter(read_rows(path)))


def test_ordinary_dictionaries_are_read(path):
    texts = [f"text {number % 7}" for number in range(3_000)]
    pq.write_table(pa.table({"text": texts, "tags": [[one] * 3 for one in texts]}), path)
    assert [row.values for row in read_rows(path)] == [{"text": one, "tags": [one] * 3} for one in texts]
    with path.open("rb") as source:
        assert check_parquet(path, source) == BATCH_ROWS


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array(["ab", None, "cde"]).dictionary_encode(), 5),
        (pa.array([["ab", "ab"], [], None, ["c"]], pa.list_(pa.dictionary(pa.int8(), pa.string()))), 5),
        (pa.array([b"abc", b"abc"], pa.binary_view()), 6),
        (pa.array(["abc", None], pa.string_view()), 3),
        (pa.array([1, 2, 1], pa.int64()).dictionary_encode(), 24),
        (pa.RunEndEncodedArray.from_arrays([1_000], pa.array([7], pa.int64())), 8_000),
        (pa.array([[("k", 1)], [("k", 2)]], pa.map_(pa.dictionary(pa.int8(), pa.string()), pa.int64())), 18),
        (pa.array([1, 2, 3], pa.int32()), 12),
    ],
)
def test_bytes_of_values(array, expected):
    assert unfolded_bytes(array) == expected


def test_the_limit_is_of_all_batches_together(tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    unfolded, batch = Unfolded(tmp_path / "a"), pa.record_batch({"text": folded(60)})
    unfolded.add(batch)
    unfolded.add(batch)
    with pytest.raises(DataError):
        unfolded.add(batch)
