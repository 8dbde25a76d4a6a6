"""Files with columns of unknown names are asked about, with a command that reads them once it is typed."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest

from burnish.data.rows.records import RatedRecord
from burnish.data.rows.row import Row
from burnish.data.rows.settled import Asked
from burnish.data.rows.shapes import detect_shape
from burnish.errors import DataError
from burnish.recipe.schema import AnnotationSection
from tests.typed_commands import run_jq

N = 24
TALK = [{"speaker": "user", "text": "Hello"}, {"speaker": "assistant", "text": "Good day."}]
MOODS = ["glad", "sad", "calm"]


def rows_of(**columns: list[Any]) -> list[Row]:
    rows = zip(*columns.values(), strict=True)
    return [Row(dict(zip(columns, row, strict=True)), "f.csv", place) for place, row in enumerate(rows, start=2)]


def texts(what: str) -> list[str]:
    return [f"The {what} of house {number}" for number in range(N)]


def commands(rows: list[Row]) -> list[dict[str, str]]:
    """The column maps of the commands that the error shows."""
    with pytest.raises(DataError) as caught:
        detect_shape(rows, {})
    found = [shlex.split(command) for command in re.findall(r"`(--set [^`]*)`", caught.value.fix)]
    return [dict(word.removeprefix("data.columns.").split("=", 1) for word in words[1::2]) for words in found]


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        ({"Nr": list(range(N)), "Brief": texts("door"), "Abteilung": MOODS * 8}, ["labelled-text"]),
        ({"v1": ["ham", "spam"] * 12, "v2": texts("door")}, ["labelled-text"]),
        ({"id": texts("key"), "excerpt": texts("door"), "ease": [-3 + n / 7 for n in range(N)]}, ["scored-text"]),
        ({"page_id": [f"p{n}" for n in range(N)], "excerpt": texts("roof"), "ease": [n / 7 for n in range(N)]},
         ["scored-text"]),
        ({"query": texts("door"), "passage": texts("roof"), "label": [0, 1] * 12}, ["labelled-pair", "rated"]),
        ({"s1": texts("door"), "s2": texts("roof"), "score": [n / 7 for n in range(N)]}, ["scored-pair"]),
        ({"Mail": texts("door"), "Our reply": texts("roof"), "Agent": MOODS * 8},
         ["prompt-completion", "labelled-pair"]),
        ({"question1": texts("door"), "question2": texts("roof"), "same": [0, 1] * 12}, ["labelled-pair"]),
        ({"TITLE": texts("door"), "BODY": texts("roof"), "a": [0, 1] * 12, "b": [1, 0] * 12, "c": [1, 1] * 12},
         ["labelled-text"]),
        ({"conversation": [TALK] * N}, ["messages"]),
        ({"passage": texts("door"), "query": ["What?"] * N, "found": [[{"text": "door", "answer_start": 4}]] * N},
         ["span"]),
        ({"context": texts("door"), "question": ["What?"] * N, "words": ["door"] * N, "answer_start": [4] * N},
         ["span-start"]),
        ({"ask": texts("door"), "win": texts("roof"), "lose": texts("wall"), "prompt": texts("hall")}, ["preference"]),
    ],
)  # fmt: skip
def test_the_commands_read_the_columns_as_what_they_hold(columns: dict[str, list[Any]], wanted: list[str]) -> None:
    rows = rows_of(**columns)
    shapes = []
    for found in commands(rows):
        try:
            shapes.append(detect_shape(rows, found).name)
        except DataError as error:
            assert "good_from" in error.fix  # the score beside an answer is asked about then
    assert shapes == wanted


def test_lists_that_are_not_known_suggest_no_text_alone() -> None:
    rows = rows_of(prompt=texts("door"), ranked=[[{"answer": "A", "rank": 1}]] * N)
    with pytest.raises(DataError) as caught:
        detect_shape(rows, {})
    assert "columns.text" not in caught.value.fix


def test_a_table_without_names_of_columns_is_said_to_be_one() -> None:
    rows = rows_of(**{"3": ["3", "1", "2"] * 8, "A first headline": texts("door"), "A first body": texts("roof")})
    with pytest.raises(DataError, match="no names of columns"):
        detect_shape(rows, {})


@pytest.mark.parametrize("values", [["high", "low"], ["excellent", "poor"], [1, 4]])
def test_grades_beside_answers_are_asked_about_with_a_guess_of_what_is_good(values: list[Any]) -> None:
    rows = rows_of(question=texts("door"), answer=texts("roof"), quality=values * 12)
    with pytest.raises(DataError) as caught:
        detect_shape(rows, {})
    command = re.search(r"`(--set data.columns.label=quality [^`]*)`", caught.value.fix)
    assert command is not None
    option, _, value = shlex.split(command[1])[-1].removeprefix("annotation.").partition("=")
    settings = {"good_from": float(value)} if option == "good_from" else {"good": [value.strip("[]")]}
    asked = Asked(annotation=AnnotationSection(**settings))
    shape = detect_shape(rows, {"label": "quality"}, asked=asked)
    records = [shape.to_record(row) for row in rows]
    assert [one.good for one in records if isinstance(one, RatedRecord)] == [values[0] != 1, values[0] == 1] * 12


@pytest.mark.parametrize("names", [("query", "response"), ("input", "output"), ("Question", "Answer")])
def test_ratings_beside_answers_are_asked_about_with_a_command_that_works(names: tuple[str, str]) -> None:
    ask, reply = names
    rows = rows_of(**{ask: texts("door"), reply: texts("roof"), "thumbs_up": [0, 1] * 12})
    try:
        (found,) = [one for one in commands(rows) if "label" in one]
    except pytest.fail.Exception:
        found = {}
    assert detect_shape(rows, found).name == "rated"


@pytest.mark.parametrize(
    ("values", "command"),
    [
        ({"level": "a b", "solution_text": "c d", "code": "e f"}, {"prompt": "level", "completion": "code"}),
        ({"level": "a b", "output": {"name": "c"}}, {"prompt": "level", "completion": "output"}),
        ({"chat_history": [{"role": "user", "message": "a"}], "message": "b", "response": "c"},
         {"prompt": "message", "completion": "response"}),
        ({"uuid": "1", "chat_messages": [{"sender": "human", "text": "a"}]}, {"messages": "chat_messages"}),
    ],
    ids=["known name", "object", "history", "export"],
)  # fmt: skip
def test_known_names_of_what_is_written_are_suggested(values: dict[str, Any], command: dict[str, str]) -> None:
    assert commands(rows_of(**{name: [value] * 3 for name, value in values.items()})) == [command]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"ctx": "a b", "endings": ["c", "d"], "label": 1}, "`endings` seems to hold the answers to choose from"),
        ({"context": "a b", "question": "c?", "answer_start": 0, "answer_end": 1}, "no column has its text"),
        ({"translation": {"en": "a", "de": "b"}}, "one text in each of several languages: `en`, `de`"),
        (
            {"prompt": "a b", "answers": [{"answer": "c", "rank": 1}, {"answer": "d", "rank": 2}]},
            "with ranks or scores",
        ),
        ({"title": "t", "mapping": {"a": {"message": None}}}, "a tree of messages"),
        ({"anchor": "a b", "positive": "c d"}, "embeds texts"),
        ({"chat": "USER: a b\nASSISTANT: c", "system": "d e"}, "`chat` seems to hold a whole conversation"),
        ({"data": ["a b", "c d"]}, "`data` seems to hold what two say in turn"),
        ({"#FORMAT=WebAnno TSV 3.3": "1-1"}, "WebAnno TSV"),
        ({"history": "a b", "human_ref_A": "c d", "human_ref_B": "e f"}, "two answers to one prompt"),
        (
            {
                "prompt": "a b",
                "model_a": "x",
                "model_b": "y",
                "winner_model_a": 1,
                "winner_model_b": 0,
                "response_a": "c d",
                "response_b": "e f",
            },
            "`response_a`, `response_b` seem to be two answers",
        ),
    ],
    ids=[
        "choices",
        "places",
        "translation",
        "ranks",
        "export",
        "embedding",
        "written out",
        "in turn",
        "WebAnno",
        "two answers",
        "answers of models",
    ],
)
def test_rows_of_a_known_kind_are_told_what_is_missing(values: dict[str, Any], why: str) -> None:
    rows = [Row(values, "f.jsonl", place) for place in range(3)]
    with pytest.raises(DataError) as caught:
        detect_shape(rows, {})
    assert why in caught.value.why
    assert "COLUMN" not in caught.value.fix


@pytest.mark.parametrize(
    ("columns", "command"),
    [
        ({"Sentence #": [f"Sentence: {n}" for n in range(N)], "Sentence": ["Anna sings"] * N,
          "POS": ["['NNP', 'VBZ']"] * N, "Tag": ["['B-per', 'O']"] * N}, {"tokens": "Sentence", "tags": "Tag"}),
        ({"satz": [["Anna", "sings"]] * N, "marken": [["B-per", "O"]] * N}, {"tokens": "satz", "tags": "marken"}),
        ({"content": texts("door"), "repo_name": [f"o/r{n}" for n in range(N)], "path": [f"a/{n}.py" for n in range(N)],
          "license": ["mit"] * N, "size": list(range(N))}, {"text": "content"}),
        ({"Resume_str": texts("door"), "Resume_html": texts("roof"), "Category": MOODS * 8},
         {"text": "Resume_str", "label": "Category"}),
        ({"passage": texts("door"), "question": texts("roof"), "answers_spans": [{"spans": ["door"]}] * N},
         {"prompt": "question", "completion": "COLUMN"}),
        ({"input": [[{"role": "user", "content": "a"}]] * N, "output": ["b"] * N, "version": ["v1"] * N},
         {"prompt": "input", "completion": "output"}),
        ({"#1 Text": texts("door"), "#2 Text": texts("roof")}, {"prompt": '"#1 Text"', "completion": '"#2 Text"'}),
    ],
    ids=["tags as text", "tags", "code", "marks of a page", "no answer", "prompt of messages", "quotes"],
)  # fmt: skip
def test_no_command_learns_where_a_row_is_from(columns: dict[str, list[Any]], command: dict[str, str]) -> None:
    rows = rows_of(**columns)
    assert commands(rows) == [command]
    if "COLUMN" not in command.values():
        detect_shape(rows, {field: name.strip('"') for field, name in command.items()}).to_record(rows[0])


@pytest.mark.parametrize(
    ("values", "why", "made"),
    [
        ({"query": "a b?", "answers": '[{"name": "find", "arguments": {"x": 1}}]', "tools": "[]"}, "calls of tools",
         {"messages": [{"role": "user", "content": "a b?"},
                       {"role": "assistant", "tool_calls": [{"name": "find", "arguments": {"x": 1}}]}], "tools": "[]"}),
        ({"instruction": "a b", "instances": [{"input": "c", "output": "d"}], "id": "s"}, "several inputs",
         {"instruction": "a b", "input": "c", "output": "d"}),
        ({"messages": [{"role": "user", "content": "a b"}], "label": 0}, "nothing to learn",
         {"text": "a b", "label": 0}),
        ({"segments": [{"label": False, "text": "a "}, {"label": False, "text": "b"}, {"label": True, "text": "c"}]},
         "axolotl's `input_output`",
         {"messages": [{"role": "user", "content": "a b"}, {"role": "assistant", "content": "c"}]}),
        ({"my segments": [{"label": True, "text": "a"}, {"label": False, "text": "b"}, {"label": True, "text": "c"}]},
         "no chat template is applied",
         {"messages": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"},
                       {"role": "assistant", "content": "c"}]}),
        ({"context": "c", "examples": [{"input": {"content": "a"}, "output": {"content": "b"}}]},
         "examples for a prompt",
         {"system": "c", "prompt": "a", "completion": "b"}),
        ({"context": "c", "examples": [{"input": {"content": "a"}, "output": {"content": "b"}}],
          "messages": [{"author": "user", "content": "d"}, {"author": "bot", "content": "e"}]}, "what the system says",
         {"messages": [{"role": "system", "content": "c"}, {"role": "user", "content": "a"},
                       {"role": "assistant", "content": "b", "train": False}, {"role": "user", "content": "d"},
                       {"role": "bot", "content": "e"}]}),
        ({"messages": [{"author": "user", "content": "d"}, {"author": "bot", "content": "e"}], "context": "c"},
         "what the system says",
         {"messages": [{"role": "system", "content": "c"}, {"role": "user", "content": "d"},
                       {"role": "bot", "content": "e"}]}),
        ({"image": "a b/1.png", "label": 3}, "does not classify images",
         {"image": "a b/1.png", "question": "What does it show?", "answer": "3"}),
    ],
    ids=["calls", "instances", "labels", "segments", "segments that begin with an answer", "examples of PaLM",
         "PaLM's chat", "PaLM's context", "classes of pictures"],
)  # fmt: skip
def test_rows_in_another_form_are_rewritten_by_the_command(values: Any, why: str, made: Any) -> None:
    rows = [Row(values, "f.jsonl", place) for place in range(3)]
    with pytest.raises(DataError) as caught:
        detect_shape(rows, {})
    assert why in caught.value.why
    assert run_jq(caught.value.fix, values) == [made]
