"""Files that only stand in for data: pointers of Git LFS and pages of a website are named as what they are."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from burnish.data.files.readers import read_rows
from burnish.errors import DataError
from tests.unit.data.conftest import Write

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4665a5ea423c2713\nsize 132735\n"
PAGE = b"\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n"
NAMES = ["rows.csv", "rows.tsv", "rows.jsonl", "rows.json", "rows.parquet", "rows.arrow", "rows.xlsx", "rows.csv.gz",
         "rows.jsonl.zst", "words.conll"]  # fmt: skip


def refused(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        list(read_rows(path))
    return caught.value


@pytest.mark.parametrize("name", [*NAMES, "text.txt"])
def test_a_pointer_is_named_with_the_command_that_downloads_the_file(write: Write, name: str) -> None:
    error = refused(write(f"my data/{name}", POINTER))
    assert "Git LFS" in error.why
    assert "git -C 'my data' lfs pull" in error.fix


@pytest.mark.parametrize("name", NAMES)
def test_a_page_of_a_website_is_no_table(write: Write, name: str) -> None:
    assert "is a page of a website" in refused(write(name, PAGE)).what
    assert "is a page of a website" in refused(write(name, b"<html lang='en'><body>")).what


def test_texts_about_either_are_read(write: Write) -> None:
    assert list(read_rows(write("page.md", PAGE)))
    assert list(read_rows(write("rows.csv", b"text,label\n<html>,page\nversion https://git-lfs,line\n")))
    assert list(read_rows(write("rows.csv.gz", gzip.compress(b"text,label\na,b\n"))))
    assert list(read_rows(write("text.txt", POINTER.replace(b"size", b"length") * 40)))


def test_a_list_in_the_first_line_is_named_with_the_command_that_helps(write: Write) -> None:
    rows = '[{"prompt": "a", "completion": "b"}, {"prompt": "c", "completion": "d"}]'
    error = refused(write("rows.jsonl", rows))
    assert "a list of 2 objects in its first line" in error.what
    assert "`mv rows.jsonl rows.json`" in error.fix
    assert "`jq -c '.[]' rows.jsonl > OUT.jsonl`" in refused(write("rows.jsonl", f"{rows}\n{rows}\n")).fix
    path = write("rows.jsonl.gz", gzip.compress(rows.encode()))
    assert "`mv rows.jsonl.gz rows.json.gz`" in refused(path).fix
    talks = '[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]\n'
    assert len(list(read_rows(write("talks.jsonl", talks * 2)))) == 2
