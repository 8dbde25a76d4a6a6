"""Folders: saved by `datasets`, laid out as on the hub, and what is named of the files in any folder."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from burnish.data.files.folders import folder_contents
from burnish.data.files.parts import FilePart
from burnish.data.files.sources import find_sources, read_source
from burnish.data.rows.dataset import load_records
from burnish.data.rows.row import Rejected, Row
from burnish.errors import DataError
from burnish.recipe.schema import DataSection
from tests.snapshots import check_message

FEATURES = Features({"text": Value("string"), "label": ClassLabel(names=["bad", "good"])})


def dataset(begin: int, count: int) -> Dataset:
    rows = [{"text": f"film number {number}", "label": number % 2} for number in range(begin, begin + count)]
    return Dataset.from_list(rows, features=FEATURES)


def labels(sources) -> list[str]:
    return [row.values["label"] for source in sources for row in read_source(source)]


def lines(begin: int, count: int) -> str:
    return "".join(json.dumps(row) + "\n" for row in dataset(begin, count))


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_saved_dataset(here):
    dataset(0, 20).shuffle(seed=1).select(range(4)).save_to_disk("saved", num_shards=2)
    sources = find_sources("saved")
    texts = [row.values["text"] for source in sources.train for row in read_source(source)]
    assert texts == dataset(0, 20).shuffle(seed=1)["text"][:4]
    assert set(labels(sources.train)) <= {"bad", "good"}
    assert sources.notes == ("Data in `saved`: train `data-00000-of-00002.arrow` + `data-00001-of-00002.arrow`.",)
    assert load_records(DataSection(path="saved")).shape.name == "labelled-text"


def test_a_saved_dict_of_datasets(here):
    DatasetDict(train=dataset(0, 6), validation=dataset(6, 2), test=dataset(8, 3)).save_to_disk("saved")
    records = load_records(DataSection(path="saved"))
    assert (len(records.train), len(records.valid), len(records.test), records.held_out) == (6, 2, 3, frozenset())
    assert len(records.files) == 3
    sources = find_sources("saved")
    assert sources.test is not None and len(labels(sources.test)) == 3
    assert sources.notes[0].endswith("test `test/data-00000-of-00001.arrow`.")


def test_names_of_labels_in_the_info_of_a_saved_dataset(here):
    """Files of some versions have no metadata of their own."""
    dataset(0, 4).save_to_disk("saved")
    import pyarrow

    path = next(Path("saved").glob("*.arrow"))
    table = pyarrow.ipc.open_stream(path.read_bytes()).read_all().replace_schema_metadata(None)
    with pyarrow.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table)
    from burnish.data.files.folders import folder_contents
    from burnish.data.files.parts import FilePart

    state = folder_contents(Path("saved")).parts["train"]
    assert [type(source) for source in state] == [FilePart]
    assert labels(state) == ["bad", "good", "bad", "good"]


def hub_folder(front: str, *files: str) -> None:
    Path("set/data").mkdir(parents=True)
    Path("set/README.md").write_text(f"---\n{front}---\n# A set\n", encoding="utf-8")
    for number, name in enumerate(files):
        path = Path("set") / name
        path.parent.mkdir(exist_ok=True)
        if name.endswith(".parquet"):
            dataset(10 * number, 3).to_parquet(path)
        else:
            path.write_text(lines(10 * number, 3), encoding="utf-8")


def read(name: str) -> dict[str, list[str]]:
    sources = find_sources(name)
    parts = {"train": sources.train, "valid": sources.valid, "test": sources.test}
    return {split: [str(source) for source in found] for split, found in parts.items() if found}


DEFAULT = """configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
  - split: validation
    path: data/validation-*
"""


def test_the_splits_that_a_readme_lists(here):
    names = ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]
    hub_folder(DEFAULT, *names, "data/validation-00000-of-00001.parquet", "data/other.parquet")
    assert read("set") == {
        "train": [f"set/{name}" for name in names],
        "valid": ["set/data/validation-00000-of-00001.parquet"],
    }
    records = load_records(DataSection(path="set"))
    assert {label for record in records.train for label in record.label_names() or ()} == {"bad", "good"}


SEVERAL = """configs:
- config_name: en
  data_files: {train: en/a.jsonl, dev: en/b.jsonl}
- config_name: de
  data_files: "de/*.jsonl"
dataset_info:
- config_name: en
  features:
  - name: text
    dtype: string
  - name: label
    dtype:
      class_label:
        names: {'0': neg, '1': pos}
- config_name: de
  features:
  - {name: text, dtype: string}
  - {name: label, dtype: int64}
"""


def test_one_of_several_configurations_is_named(here):
    hub_folder(SEVERAL, "en/a.jsonl", "en/b.jsonl", "de/a.jsonl", "de/b.jsonl")
    assert read("set:en") == {"train": ["set/en/a.jsonl"], "valid": ["set/en/b.jsonl"]}
    assert labels(find_sources("set:en").train) == ["neg", "pos", "neg"]
    assert read("set:de") == {"train": ["set/de/a.jsonl", "set/de/b.jsonl"]}
    assert set(labels(find_sources("set:de").train)) == {0, 1}
    records = load_records(DataSection(path="set:en"))
    assert records.files == ["set/en/a.jsonl", "set/en/b.jsonl"]


@pytest.mark.parametrize("name", ["set", "set:fr", "set:e"])
def test_which_configuration_is_asked(here, name):
    hub_folder(SEVERAL, "en/a.jsonl", "en/b.jsonl", "de/a.jsonl")
    with pytest.raises(DataError) as caught:
        find_sources(name)
    check_message(caught.value)


def test_a_default_configuration_is_taken_with_a_word(here):
    hub_folder(SEVERAL.replace("config_name: de\n  data", "config_name: de\n  default: true\n  data", 1), "de/a.jsonl")
    assert read("set") == {"train": ["set/de/a.jsonl"]}
    assert find_sources("set").notes[1] == "`set` is read in its configuration `de`; the others are `en`."


TAG_INFO = """dataset_info:
  features:
  - name: tokens
    sequence: string
  - name: ner_tags
    sequence:
      class_label:
        names:
          '0': O
          '1': B-PER
"""


@pytest.mark.parametrize("spelled", ["sequence", "list"])
def test_names_of_tags_in_a_readme_without_configurations(here, spelled):
    Path("set").mkdir()
    Path("set/README.md").write_text(f"---\n{TAG_INFO.replace('sequence', spelled)}---\n")
    Path("set/train.jsonl").write_text('{"tokens": ["Anna", "sings"], "ner_tags": [1, 0]}\n')
    (row,) = read_source(find_sources("set").train[0])
    assert row.values["ner_tags"] == ["B-PER", "O"]  # type: ignore[union-attr]


ELSEWHERE = ["/etc/passwd", "../train.jsonl", "https://example.com/train.jsonl", "data/none-*"]


@pytest.mark.parametrize("pattern", ELSEWHERE)
def test_a_readme_names_only_files_in_its_folder(here, pattern):
    (here / "train.jsonl").write_text(lines(0, 2))
    hub_folder(f"configs:\n- config_name: default\n  data_files: '{pattern}'\n")
    with pytest.raises(DataError) as caught:
        find_sources("set")
    check_message(caught.value)


@pytest.mark.parametrize(
    "front", ["not: [closed\n", "configs: &a [*a]\n", "configs: text\n", "- 1\n", "dataset_info: 3\n"]
)
def test_a_readme_without_usable_metadata(here, front):
    hub_folder(front, "train.jsonl")
    assert read("set") == {"train": ["set/train.jsonl"]}


def test_each_file_is_named_with_its_split_and_so_are_those_that_are_not_used(here):
    for name in ("train.jsonl", "val.jsonl", "test.jsonl", "extra.csv", "notes.txt", "LICENSE.txt", "picture.png"):
        (here / name).write_text("x")
    assert find_sources(".").notes == (
        "Data in `.`: train `train.jsonl`, validation `val.jsonl`, test `test.jsonl`.",
        "Not used: `extra.csv`, `notes.txt`.",
    )


def test_the_only_file_may_be_in_the_folder_of_data(here):
    (here / "set" / "data").mkdir(parents=True)
    (here / "set" / "data" / "rows.jsonl").write_text(lines(0, 3))
    assert read("set") == {"train": ["set/data/rows.jsonl"]}


def test_the_only_folder_with_data_within_a_folder(here):
    inner = here / "set" / "default"
    inner.mkdir(parents=True)
    for name, begin in (("train-00000-of-00002", 0), ("train-00001-of-00002", 4), ("validation-00000-of-00001", 8)):
        dataset(begin, 4).to_parquet(inner / f"{name}.parquet")
    (here / "set" / "README.md").write_text("A set.\n", encoding="utf-8")
    sources = find_sources("set")
    assert (len(labels(sources.train)), len(labels(sources.valid or []))) == (8, 4)
    assert sources.notes[0].startswith("Data in `set`: train `default/train-00000-of-00002.parquet` + ")
    exported = here / "export" / "default" / "train"
    exported.mkdir(parents=True)
    dataset(0, 4).to_parquet(exported / "0000.parquet")
    assert labels(find_sources("export").train) == ["bad", "good"] * 2


def test_which_of_several_folders_with_data_is_asked(here):
    for name in ("de", "en"):
        (here / "set" / name).mkdir(parents=True)
        (here / "set" / name / "train.jsonl").write_text(lines(0, 4), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        find_sources("set")
    check_message(caught.value)
    assert len(labels(find_sources("set/en").train)) == 4


@pytest.mark.skipif(sys.platform != "linux", reason="names are UTF-8 on other systems")
def test_a_file_whose_name_is_not_utf_8_is_read_and_hashed_like_any_other(here):
    (here / "set").mkdir()
    (here / "set" / os.fsdecode(b"d\xe9j\xe0.jsonl")).write_text(lines(0, 20), encoding="utf-8")
    records = load_records(DataSection(path="set"))
    assert len(records.train) + len(records.valid) + len(records.test) == 20
    assert records.train[0].place.startswith("set/d\udce9j\udce0.jsonl:")


def test_folders_of_texts_are_labels(tmp_path):
    for split in ("train", "test"):
        for label in ("pos", "neg"):
            (tmp_path / split / label).mkdir(parents=True)
            for n in range(3):
                (tmp_path / split / label / f"{n}.txt").write_text(f"a {label} text\n\nof {split} {n}")
    (tmp_path / "train" / "unsup").mkdir()
    (tmp_path / "train" / "unsup" / "0.txt").write_text("no label")
    (tmp_path / "train" / "urls_pos.txt").write_text("http://x")
    (tmp_path / "train" / "pos" / "9.txt").write_text("")
    contents = folder_contents(tmp_path)
    rows = [row for part in contents.parts["train"] for row in part.read()]
    assert [row.values for row in rows if isinstance(row, Row)] == [
        {"text": f"a {label} text\n\nof train {n}", "label": label} for label in ("neg", "pos") for n in range(3)
    ]
    assert [Path(row.file).name for row in rows if isinstance(row, Rejected)] == ["9.txt"]
    assert len(contents.parts["test"]) == 6
    assert [path.name for path in contents.unused] == ["urls_pos.txt"]
    assert "`neg`, `pos`. To learn the texts alone: `--set data.shape=text`" in contents.notes[0]
    assert contents.notes[1].endswith("unsup` have no label and are not used.")
    (tmp_path / "outer").mkdir()
    for name in ("train", "test"):
        (tmp_path / name).rename(tmp_path / "outer" / name)
    assert len(folder_contents(tmp_path).parts["train"]) == 7


@pytest.mark.parametrize("extra", ["pos/a.ann", "pos/a.csv", "rows.jsonl", "data/a.txt data/b.txt"], ids=str)
def test_folders_with_other_data_are_no_labels(tmp_path, extra):
    for name in (
        "pos/a.txt",
        "pos/b.txt",
        "neg/a.txt",
        "neg/b.txt",
        "rows.txt",
        "more.txt",
        "third.txt",
        *extra.split(),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("T1\tX 0 1\ta" if name.endswith(".ann") else "a text")
    with contextlib.suppress(DataError):
        assert not any(isinstance(part, FilePart) for part in folder_contents(tmp_path).parts["train"])


@pytest.mark.parametrize(
    ("names", "what", "fix"),
    [
        (["pos.txt", "neg.txt"], "seem to be named after labels: `neg.txt`, `pos.txt`", "`text` and `label`"),
        (["train.en", "train.de", "dev.en", "dev.de"], "the lines of `train.de` and `train.en`", "paste "),
    ],
    ids=["labels", "parallel"],
)
def test_files_that_belong_together_are_asked_about(tmp_path, names, what, fix):
    for name in names:
        (tmp_path / name).write_text("a\nb\n")
    with pytest.raises(DataError) as caught:
        folder_contents(tmp_path)
    assert what in caught.value.what
    assert fix in caught.value.fix


def kinds_in(folder: str, *names: str) -> None:
    Path(folder).mkdir(parents=True)
    for number, name in enumerate(names):
        (Path(folder) / name).write_text(lines(10 * number, 4), encoding="utf-8")


def names_of(sources) -> tuple[list[str], list[str]]:
    train, test = ([Path(str(source)).name for source in part or []] for part in (sources.train, sources.test))
    return train, test


SHARD = "-00000-of-00001.jsonl"


@pytest.mark.parametrize("end", [".jsonl", SHARD])
@pytest.mark.parametrize("folder", ["chat", "chat/data"])
def test_kinds_of_training_rows_are_asked_for_and_never_mixed(here, folder, end):
    names = [f"{split}_{kind}{end}" for split in ("train", "test") for kind in ("sft", "gen")]
    kinds_in(folder, *names)
    with pytest.raises(DataError, match="2 kinds of training rows: `gen`, `sft`") as refused:
        find_sources("chat")
    assert refused.value.fix == "Name one: `burnish train chat:gen` or `burnish train chat:sft`"
    assert names_of(find_sources("chat:sft")) == ([f"train_sft{end}"], [f"test_sft{end}"])
    with pytest.raises(DataError, match="no rows of the kind `gem`") as refused:
        find_sources("chat:gem")
    assert refused.value.fix == "Did you mean `gen`?"


def test_a_single_kind_of_training_rows_is_used_with_test_rows_of_its_kind(here):
    kinds_in("prefs", "train_prefs.jsonl", "test_prefs.jsonl", "test_gen.jsonl")
    sources = find_sources("prefs")
    assert names_of(sources) == (["train_prefs.jsonl"], ["test_prefs.jsonl"])
    assert "Not used: `test_gen.jsonl`." in sources.notes


def test_pieces_of_a_split_are_no_kinds(here):
    kinds_in("pieces", "train_1.jsonl", "train_2.jsonl")
    with pytest.raises(DataError, match="several files for train"):
        find_sources("pieces")


def test_kinds_that_a_readme_lists_or_datasets_saved(here):
    names = ("train_sft", "train_gen", "test_sft")
    kinds_in("listed/data", *(f"{name}.jsonl" for name in names))
    entries = "".join(f"  - split: {name}\n    path: data/{name}.jsonl\n" for name in names)
    Path("listed/README.md").write_text(
        f"---\nconfigs:\n- config_name: default\n  data_files:\n{entries}---\n", encoding="utf-8"
    )
    DatasetDict({name: dataset(10 * place, 4) for place, name in enumerate(names)}).save_to_disk("saved")
    for folder in ("listed", "saved"):
        with pytest.raises(DataError, match="2 kinds of training rows"):
            find_sources(folder)
        sources = find_sources(f"{folder}:sft")
        assert len(sources.train) == 1 and "train_sft" in str(sources.train[0])
        assert sources.test is not None and "test_sft" in str(sources.test[0])


PICTURES = {
    "classes": ["cats/1.png", "cats/2.JPG", "dogs/1.png"],
    "splits": ["train/cats/1.png", "train/dogs/1.png", "test/cats/2.png"],
    "alone": ["1.png", "2.png"],
}


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_without_rows_are_refused_with_what_is_possible(kind, here):
    for name in PICTURES[kind]:
        path = here / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    with pytest.raises(DataError) as caught:
        folder_contents(Path("pictures"))
    check_message(caught.value)
    if kind != "alone":
        words = shlex.split(re.findall(r"`(python [^`]*)`", caught.value.fix)[0])
        done = subprocess.run([sys.executable, *words[1:3]], capture_output=True, text=True, check=True)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        used = [name for name in PICTURES[kind] if not name.startswith("test")]
        assert [(row["image"], row["answer"]) for row in rows] == [(name, name.split("/")[-2]) for name in used]
