"""Zip archives: one file or a folder in any layout is read; what is dangerous, damaged or absurd is refused unread."""

from __future__ import annotations

import io
import json
import stat
import zipfile

import pytest

from burnish.data.files import archives
from burnish.data.files.sources import file_name, find_sources
from burnish.data.rows.dataset import load_records
from burnish.errors import DataError
from burnish.recipe.schema import DataSection
from tests.snapshots import check_message, check_text

ROWS = "".join(json.dumps({"prompt": f"number {n}?", "completion": f"{n}"}) + "\n" for n in range(20))
README = "---\nconfigs:\n- config_name: en\n  data_files:\n  - split: train\n    path: en/train-*.jsonl\n"
README += "- config_name: de\n  data_files:\n  - split: train\n    path: de/train-*.jsonl\n---\n"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def packed(files, kind=zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "names",
    [["rows.jsonl"], ["inner/rows.jsonl"], ["rows.jsonl", "__MACOSX/._rows.jsonl", ".DS_Store"]],
    ids=["one", "in a folder", "with what macOS adds"],
)
def test_an_archive_with_one_file_is_that_file(write, names):
    write("a.zip", packed([(name, ROWS) for name in names]))
    records = load_records(DataSection(path="a.zip"))
    assert (records.shape.name, len(records.train) + len(records.valid) + len(records.test)) == (
        "prompt-completion",
        20,
    )
    assert [file.rpartition("/")[2] for file in records.files] == ["rows.jsonl"]


def test_an_archive_with_a_folder_is_that_folder(write, cache):
    write("a.ZIP", packed([(f"mine/{name}.jsonl", ROWS) for name in ("train", "dev", "other")]))
    sources = find_sources("a.ZIP")
    named = [[file_name(source).rpartition("/")[2] for source in part or []] for part in (sources.train, sources.valid)]
    assert named == [["train.jsonl"], ["dev.jsonl"]]
    (folder,) = (cache / "unpacked").iterdir()
    check_text("\n".join(sources.notes).replace(str(folder), "FOLDER"))
    assert find_sources("a.ZIP") == sources


def test_the_layout_of_the_hub_and_its_configurations(write):
    files = [("README.md", README), ("en/train-0.jsonl", ROWS), ("de/train-0.jsonl", ROWS)]
    write("a.zip", packed(files))
    (source,) = find_sources("a.zip:de").train
    assert file_name(source).endswith("de/train-0.jsonl")
    with pytest.raises(DataError, match="2 configurations"):
        find_sources("a.zip")


def test_one_of_several_files_is_named_after_a_colon(write):
    write("a.zip", packed([("x/ner.jsonl", ROWS), ("x/ner_2.jsonl", ROWS)]))
    with pytest.raises(DataError) as caught:
        find_sources("a.zip")
    check_message(caught.value)
    (source,) = find_sources("a.zip:ner_2.jsonl").train
    assert file_name(source).endswith("x/ner_2.jsonl")
    with pytest.raises(DataError) as caught:
        find_sources("a.zip:other.jsonl")
    check_message(caught.value)


def with_entry(name, mode=0) -> bytes:
    entry = zipfile.ZipInfo("x" * len(name))
    entry.external_attr = mode << 16
    content = packed([(entry, b"target"), ("train.jsonl", ROWS)])
    return content.replace(entry.filename.encode(), name.encode())  # zipfile itself cleans some names


def locked() -> bytes:
    content = bytearray(packed([("a.jsonl", ROWS)]))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def damaged() -> bytes:
    content = bytearray(packed([("a.jsonl", ROWS)], zipfile.ZIP_STORED))
    content[100] ^= 0xFF
    return bytes(content)


REFUSED = {
    "above": lambda: with_entry("../../evil.jsonl"),
    "absolute": lambda: with_entry("/tmp/evil.jsonl"),
    "drive": lambda: with_entry("C:/evil.jsonl"),
    "backslashes": lambda: with_entry("..\\..\\evil.jsonl"),
    "link": lambda: with_entry("link.jsonl", stat.S_IFLNK | 0o777),
    "device": lambda: with_entry("device.jsonl", stat.S_IFBLK | 0o777),
    "twice": lambda: packed([("a.jsonl", ROWS), ("A.jsonl", ROWS)]),
    "a file that is a folder": lambda: packed([("a", ROWS), ("a/b.jsonl", ROWS)]),
    "empty": lambda: packed([]),
    "only folders": lambda: packed([("folder/", "")]),
    "password": locked,
    "damaged": damaged,
    "half": lambda: packed([("a.jsonl", ROWS)])[:90],
    "something else": lambda: ROWS.encode(),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_trusted_is_refused_and_nothing_is_written(write, cache, tmp_path, kind):
    write("in/a.zip", REFUSED[kind]())
    with pytest.raises(DataError) as caught:
        find_sources("in/a.zip")
    assert not list(tmp_path.rglob("*evil*"))
    unpacked = cache / "unpacked"
    assert not unpacked.exists() or not list(unpacked.iterdir())
    check_message(caught.value, {tmp_path: "HERE"})


def test_what_would_take_absurdly_much_room_is_refused(write, monkeypatch):
    monkeypatch.setattr(archives, "SMALL_BYTES", 1 << 20)
    write("a.zip", packed([("a.jsonl", b" " * (4 << 20))]))
    with pytest.raises(DataError) as caught:
        find_sources("a.zip")
    check_message(caught.value)
    monkeypatch.undo()


def test_other_archives_and_files_of_spacy_say_what_to_type(write):
    for name in ("train.spacy", "rows.tar.gz", "rows.7z"):
        with pytest.raises(DataError) as caught:
            find_sources(str(write(name, b"\0")))
        check_message(caught.value)


@pytest.mark.parametrize("name", ["train.spacy", "rows.tgz", "rows.zip"])
def test_a_folder_with_nothing_else_says_so_too(write, name):
    write("data/README.md", "about")
    write(f"data/{name}", b"\0")
    with pytest.raises(DataError) as caught:
        find_sources("data")
    check_message(caught.value)
