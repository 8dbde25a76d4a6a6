"""Data given from Python: every form is stored as the same rows, once, and what is no data is refused in words."""

from __future__ import annotations

import datetime
import json

import numpy
import pandas
import pyarrow
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

import burnish
from burnish.data.files.given import is_given, keep_section, store_given, with_splits
from burnish.data.files.sources import find_sources, read_source
from burnish.errors import DataError, RecipeError
from burnish.recipe.schema import DataSection
from tests.snapshots import check_message

ROWS = [{"text": "ein schöner Film", "label": 1}, {"text": "Mist", "label": 0}]
COLUMNS = {"text": [row["text"] for row in ROWS], "label": [row["label"] for row in ROWS]}
FEATURES = Features({"text": Value("string"), "label": ClassLabel(names=["bad", "good"])})


class Table:
    """Like a DataFrame of polars: only Arrow's own protocol is known."""

    def __arrow_c_stream__(self, schema=None):
        return pyarrow.table(COLUMNS).__arrow_c_stream__(schema)


FORMS = {
    "list of dicts": lambda: ROWS,
    "tuple": lambda: tuple(ROWS),
    "generator": lambda: (row for row in ROWS),
    "dict of columns": lambda: COLUMNS,
    "pandas": lambda: pandas.DataFrame(ROWS),
    "pandas with another index": lambda: pandas.DataFrame(ROWS, index=["x", "y"]),
    "pandas, part of it": lambda: pandas.DataFrame([ROWS[1], *ROWS]).iloc[1:],
    "pyarrow": lambda: pyarrow.table(COLUMNS),
    "arrow stream": Table,
    "datasets": lambda: Dataset.from_list(ROWS),
    "datasets, in another order": lambda: Dataset.from_list(ROWS[::-1]).select([1, 0]),
    "numpy values": lambda: [{"text": row["text"], "label": numpy.int64(row["label"])} for row in ROWS],
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def read(path) -> list[dict]:
    return [row.values for source in find_sources(str(path)).train for row in read_source(source)]  # type: ignore


@pytest.mark.parametrize("form", FORMS)
def test_each_form_gives_the_same_rows(form):
    assert is_given(FORMS[form]())
    assert read(store_given(FORMS[form]())) == ROWS


def test_the_same_data_is_stored_once(tmp_path):
    assert store_given(ROWS) == store_given(list(ROWS))
    assert store_given(ROWS[:1]) != store_given(ROWS)
    assert len(list((tmp_path / "cache" / "given").iterdir())) == 2


def test_names_of_labels_are_kept():
    assert [row["label"] for row in read(store_given(Dataset.from_list(ROWS, features=FEATURES)))] == ["good", "bad"]


def test_splits_are_kept():
    data = Dataset.from_list(ROWS * 2, features=FEATURES)
    stored = store_given(DatasetDict(train=data, dev=data.select([0]), test=data.select([1])))
    sources = find_sources(str(stored))
    assert [
        len(list(read_source(source))) for source in (*sources.train, *(sources.valid or []), *(sources.test or []))
    ] == [4, 1, 1]
    assert sources.notes[0].endswith("train `train.parquet`, validation `validation.parquet`, test `test.parquet`.")
    merged = find_sources(str(store_given(with_splits(ROWS, ROWS[:1]))))
    assert [str(source).rpartition("/")[2] for source in (*merged.train, *(merged.valid or []))] == [
        "train.jsonl",
        "validation.jsonl",
    ]


def test_dates_and_nested_values():
    rows = [{"text": "x", "when": datetime.date(2026, 1, 2), "tags": ("a", "b"), "meta": {"n": numpy.float32(0.5)}}]
    assert read(store_given(rows)) == [{"text": "x", "when": "2026-01-02", "tags": ["a", "b"], "meta": {"n": 0.5}}]


def test_stored_data_is_copied_into_the_run_and_other_data_is_not(tmp_path):
    path = store_given(ROWS)
    section = keep_section(DataSection(path=str(path)), tmp_path / "run" / "data")
    assert section.path == "data/train.jsonl"
    assert read(tmp_path / "run" / section.path) == ROWS
    described = json.loads((tmp_path / "run" / "data" / "_given.json").read_text())
    assert described["given"] == {"train": "list with 2 rows"}
    (tmp_path / "rows.jsonl").write_text("{}")
    named = DataSection(path=str(tmp_path / "rows.jsonl"), validation="owner/name")
    assert keep_section(named, tmp_path / "other" / "data") == named
    assert not (tmp_path / "other").exists()


REFUSED = {
    "a number": lambda: 3,
    "no rows": lambda: [],
    "no dicts": lambda: ["a", "b"],
    "an object": lambda: [{"text": object()}],
    "half a pair": lambda: [{"text": "\udc80"}],
    "uneven columns": lambda: {"text": ["a"], "label": [1, 2]},
    "a dict of texts": lambda: {"text": "a"},
    "only a test split": lambda: {"test": ROWS},
    "two names of one split": lambda: {"train": ROWS, "dev": ROWS, "val": ROWS},
    "mixed types": lambda: pandas.DataFrame({"text": ["a", 1, {"b": 2}]}),
    "rows as they are used": lambda: Dataset.from_list(ROWS).to_iterable_dataset(),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_data_is_refused_in_words(case):
    with pytest.raises(DataError) as caught:
        store_given(REFUSED[case]())
    error = caught.value
    if case == "mixed types":  # the reason is pyarrow's
        assert error.what == "the DataFrame cannot be stored as a table"
    else:
        check_message(error)


def test_a_wrong_option_is_refused_before_anything_is_stored(tmp_path):
    with pytest.raises(RecipeError, match="`epoch` is not an option"):
        burnish.check_data(ROWS, epoch=1)
    assert not (tmp_path / "cache").exists()


def test_given_data_is_checked(tmp_path):
    checkup = burnish.check_data(pandas.DataFrame(ROWS * 10 + [{"text": "x", "label": None}]), model="acorn", show=1)
    assert checkup.facts["shape"] == "labelled-text, for the task classify"
    assert "repeated" in {finding.kind.name for finding in checkup.findings}
    assert len(checkup.views) == 1


def test_rows_of_cells_are_read_like_those_of_a_file():
    rows = [("a text", "x"), ["another", "y"]]
    assert read(store_given([("text", "label"), *rows])) == [
        dict(zip(("text", "label"), row, strict=True)) for row in rows
    ]
    assert [tuple(row.values()) for row in read(store_given(rows))] == [tuple(row) for row in rows]
