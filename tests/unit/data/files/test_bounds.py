"""Files that unfold to far more than their size, and endless lines: refused while they are read."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from burnish.data.files import opening, unfolding
from burnish.data.files.lines import byte_lines, text_lines
from burnish.data.files.readers import read_rows
from burnish.errors import DataError
from tests.snapshots import check_message

ROW = b'{"text": "' + b"a" * (4 << 20) + b'"}\n'


def zstd(content: bytes) -> bytes:
    return pyarrow.compress(content, "zstd", asbytes=True)


@pytest.mark.parametrize(
    ("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zst", zstd)]
)
def test_a_compressed_bomb(
    suffix: str, pack: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"rows.jsonl{suffix}"
    path.write_bytes(pack(ROW * 2))
    assert len(list(read_rows(path))) == 2, "not large enough to be refused"
    monkeypatch.setattr(opening, "SMALL_BYTES", 1 << 20)
    with pytest.raises(DataError) as caught:
        list(read_rows(path))
    check_message(caught.value, {f"{tmp_path}/": "", suffix: ".gz"})


def test_a_parquet_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.parquet"
    table = pyarrow.table({"text": [f"{number}" + "a" * (1 << 20) for number in range(8)]})
    pyarrow.parquet.write_table(table, path, compression="zstd")
    assert len(list(read_rows(path))) == 8
    monkeypatch.setattr(unfolding, "SMALL_BYTES", 1 << 20)
    with pytest.raises(DataError) as caught:
        list(read_rows(path))
    check_message(caught.value, {f"{tmp_path}/": ""})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_an_endless_line(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(("short\n" + "a" * (2 << 20) + "\n").encode(encoding))
    with pytest.raises(DataError) as caught:
        list(byte_lines(path, longest=1 << 20))
    check_message(caught.value, {f"{tmp_path}/": ""})
    assert len(list(text_lines(path, longest=-1))) == 2
    assert len(list(byte_lines(path))) == 2


def test_a_line_that_just_fits(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"a" * 498 + b"\n" + b"b" * 10)
    assert [len(line) for _, line in byte_lines(path, longest=500)] == [499, 10]


def test_an_xz_file_whose_dictionary_would_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.jsonl.xz"
    path.write_bytes(lzma.compress(ROW, preset=6))
    assert len(list(read_rows(path))) == 1, "its dictionary has 8 MB"
    monkeypatch.setattr(opening, "_XZ_BYTES", 4 << 20)
    with pytest.raises(DataError) as caught:
        list(read_rows(path))
    check_message(caught.value, {f"{tmp_path}/": ""})
