"""Parquet and Arrow: the names of labels from the metadata, and no nulls but those in the data."""

from __future__ import annotations

import io
import json

import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Dataset, Features, Json, List, Value

from burnish.data.files.readers import read_rows
from burnish.data.files.sources import read_source
from burnish.data.rows.dataset import load_records
from burnish.data.rows.row import Rejected
from burnish.errors import DataError
from burnish.recipe.schema import DataSection
from burnish.tasks.tag import TAG

TAGS = ["O", "B-PER", "I-PER", "B-LOC"]
NER = Features({"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=TAGS))})


def parquet(table: pyarrow.Table) -> bytes:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    return buffer.getvalue()


def arrow_table(dataset: Dataset) -> pyarrow.Table:
    return dataset.data.table.cast(dataset.features.arrow_schema)


def stream(table: pyarrow.Table) -> bytes:
    buffer = io.BytesIO()
    with pyarrow.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def file(table: pyarrow.Table) -> bytes:
    buffer = io.BytesIO()
    pyarrow.feather.write_feather(table, buffer)
    return buffer.getvalue()


FORMATS = {"a.parquet": parquet, "a.arrow": stream, "b.arrow": file, "a.feather": file}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_rows_with_names_of_labels(write, name):
    rows = [{"tokens": ["Anna", "sings"], "ner_tags": [1, 0]}, {"tokens": ["Rome"], "ner_tags": [3]}]
    found = list(read_rows(write(name, FORMATS[name](arrow_table(Dataset.from_list(rows, features=NER))))))
    assert [row.values["ner_tags"] for row in found] == [["B-PER", "O"], ["B-LOC"]]
    assert [row.place for row in found] == [f"{name}:1", f"{name}:2"]
    assert found[0].note == f"`{name}` has names for the numbers in `ner_tags`."


def test_an_old_feather_file_is_refused(write):
    with pytest.raises(DataError, match="is a Feather file of version 1"):
        list(read_rows(write("a.feather", b"FEA1" + b"\0" * 100)))


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_is_cut_is_refused(write, name):
    content = FORMATS[name](pyarrow.table({"text": ["a" * 100] * 10}))
    with pytest.raises(DataError, match="is not a complete"):
        list(read_rows(write(name, content[: len(content) // 2])))


@pytest.mark.parametrize("name", ["rows.arrow", "rows.parquet"])
def test_a_name_of_a_column_that_is_no_text_is_refused(write, name):
    content = (stream if name.endswith("arrow") else parquet)(pyarrow.table({"column": ["a"], "text": ["b"]}))
    with pytest.raises(DataError, match="not a complete") as refused:
        list(read_rows(write(name, content.replace(b"column", b"colu\xd6n"))))
    assert name.endswith("parquet") or "not UTF-8" in refused.value.why


def test_named_tags_are_entities(write):
    rows = [{"tokens": ["Anna", "sings", str(n)], "ner_tags": [1, 0, 0]} for n in range(20)]
    write("a.parquet", parquet(arrow_table(Dataset.from_list(rows, features=NER))))
    records = load_records(DataSection(path="a.parquet"))
    from burnish.recipe.schema import Recipe

    choices = {name: value for name, value, _ in TAG.choices(records.train, Recipe())}
    assert (choices["data.labels"], choices["tag.scheme"]) == (["O", "B-PER"], "IOB2")


def test_labels_in_every_place_of_a_schema(write):
    features = Features(
        {
            "label": ClassLabel(names=["bad", "good"]),
            "answers": {"kind": ClassLabel(names=["no", "yes"]), "text": Value("string")},
            "turns": [{"act": ClassLabel(names=["ask", "say"]), "text": Value("string")}],
            "plain": Value("int64"),
        }
    )
    row = {"label": 1, "answers": {"kind": 0, "text": "x"}, "turns": [{"act": 1, "text": "y"}], "plain": 1}
    missing = {"label": -1, "answers": {"kind": 1, "text": "x"}, "turns": [], "plain": 2}
    path = write("a.parquet", parquet(arrow_table(Dataset.from_list([row, missing], features=features))))
    first, second = [one.values for one in read_rows(path)]
    assert first == {
        "label": "good",
        "answers": {"kind": "no", "text": "x"},
        "turns": [{"act": "say", "text": "y"}],
        "plain": 1,
    }
    assert second["label"] == -1


def test_json_columns_are_parsed(write):
    rows = [{"tools": [{"a": 1}]}, {"tools": {"b": None}}]
    dataset = Dataset.from_list(rows, features=Features({"tools": Json()}))
    assert [row.values for row in read_rows(write("a.parquet", parquet(arrow_table(dataset))))] == rows


def weather(city: str) -> dict:
    call = {"id": "c", "type": "function", "function": {"name": "get_weather", "arguments": {"city": city}}}
    return {
        "messages": [
            *ask(),
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "x", "tool_call_id": "c"},
            say(),
        ],
        "tools": TOOLS,
    }


def add(a: int, b: int | None) -> dict:
    call = {"id": "d", "type": "function", "function": {"name": "add", "arguments": {"a": a, "b": b}}}
    return {
        "messages": [
            *ask(),
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "y", "tool_call_id": "d"},
            say(),
        ],
        "tools": TOOLS,
    }


def ask() -> list[dict]:
    return [{"role": "user", "content": "Well?"}]


def say() -> dict:
    return {"role": "assistant", "content": "So."}


def tool(name: str, properties: dict, required: list[str]) -> dict:
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS = [
    tool("get_weather", {"city": {"type": "string"}}, ["city"]),
    tool("add", {"a": {"type": "integer"}, "b": {"type": "integer"}}, ["a"]),
]


def test_keys_of_other_rows_are_not_added_to_calls_and_tools(write):
    rows = [weather("Rome"), add(1, 2), weather("Oslo"), add(0, 5)]
    write("a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    path = write("a.parquet", parquet(pyarrow.Table.from_pylist(rows)))
    in_lines, in_arrow = (load_records(DataSection(path=name)) for name in ("a.jsonl", "a.parquet"))
    assert in_arrow.sha256 == in_lines.sha256
    call = [row.values for row in read_rows(path)][1]["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert call == {"a": 1, "b": 2}


def test_maps_are_objects(write):
    kind = pyarrow.map_(pyarrow.string(), pyarrow.string())
    column = pyarrow.array([[("city", "Rome")], [("a", "1"), ("b", "2")]], kind)
    rows = read_rows(write("a.parquet", parquet(pyarrow.table({"arguments": column}))))
    assert [row.values["arguments"] for row in rows] == [{"city": "Rome"}, {"a": "1", "b": "2"}]


def test_left_out_nulls_are_named_once(write):
    rows = [weather("Rome"), add(1, None), add(1, 2)]
    write("a.parquet", parquet(pyarrow.Table.from_pylist(rows)))
    (note,) = load_records(DataSection(path="a.parquet")).shape.notes
    assert "has null in objects where other rows have a value" in note


def call(name, **arguments):
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def conversation(call, **keys):
    return [
        {"role": "user", "content": "x", **keys},
        {"role": "assistant", "content": None, **keys, "tool_calls": [call]},
        {"role": "assistant", "content": "y", **keys},
    ]


def test_json_lines_of_a_table_have_no_added_nulls(write):
    """As `datasets` writes them, with null for every key that another row or message has."""
    nulls = {"tool_calls": None, "name": None}
    rows = [
        {"messages": conversation(call("weather", city="Rome", a=None), **nulls), "note": None},
        {"messages": conversation(call("add", city=None, a=1), **nulls), "note": "n"},
    ]
    path = write("a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    read = [row.values for row in read_source(path)]
    calls = [values["messages"][1]["tool_calls"][0]["function"]["arguments"] for values in read]
    assert calls == [{"city": "Rome"}, {"a": 1}]
    assert read[0]["note"] is None, "a column"
    assert any("has null in objects" in note for note in load_records(DataSection(path="a.jsonl")).shape.notes)


def test_nulls_that_somebody_wrote_stay(write):
    rows = [{"messages": conversation(call("add", a=1, b=None))}]
    read = list(read_source(write("a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))))
    assert [row.values for row in read] == rows
    assert read[0].note == ""


def test_messages_alone_are_no_reason_for_a_note_and_keep_their_null_content(write):
    rows = [
        {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": None, "name": "n"}]},
        {"messages": [{"role": "user", "content": "x"}]},
    ]
    first, second = read_rows(write("a.parquet", parquet(pyarrow.Table.from_pylist(rows))))
    assert [first.values, second.values] == rows
    assert (first.note, second.note) == ("", "")


def test_columns_of_a_table_stay_although_they_are_null(write):
    rows = [{"text": "a", "label": None}, {"text": None, "label": "b"}]
    assert [row.values for row in read_rows(write("a.parquet", parquet(pyarrow.Table.from_pylist(rows))))] == rows


@pytest.mark.parametrize("kind", [pyarrow.timestamp("us"), pyarrow.duration("s"), pyarrow.date64()])
def test_a_value_out_of_range_leaves_out_its_row_alone(write, kind):
    """Arrow's times reach further than Python's."""
    numbers = pyarrow.array([0, 2**62 // 10**3 * 10**3, 0], type=pyarrow.int64())
    table = pyarrow.table({"text": ["a", "b", "c"], "when": numbers.view(kind)})
    first, second, third = read_rows(write("a.arrow", stream(table)))
    assert (first.values["text"], third.values["text"], third.line) == ("a", "c", 3)
    assert isinstance(second, Rejected)
    assert second.place == "a.arrow:2"
    assert second.reason.startswith("`when` has a value out of range: ")
