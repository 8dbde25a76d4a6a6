"""Columns that would be ignored: the user is asked about those that seem to be annotations; pairs have other names."""

from __future__ import annotations

import pytest

from burnish.data.rows.row import Row
from burnish.data.rows.shapes import detect_shape
from burnish.errors import DataError
from tests.snapshots import check_message


def rows(*values):
    return [Row(one, "a.jsonl", number) for number, one in enumerate(values, start=1)]


ASKED = {
    "polarity": [{"text": "a b", "Polarity": "pos"}, {"text": "c d", "Polarity": "neg"}],
    "toxicity": [{"text": "a b", "toxicity": 0.5}],
    "later": [{"text": "a b", "user_sentiment": None}, {"text": "c d", "user_sentiment": "good"}],
    "camel case": [{"text": "a b", "myLabel": 1}],
    "tags": [{"text": "a b", "tags": ["x", "y"]}],
    "spans": [{"text": "a b", "spans": [{"where": 1}]}],
}


@pytest.mark.parametrize("case", ASKED)
def test_an_annotation_is_not_ignored_without_a_question(case):
    with pytest.raises(DataError) as caught:
        detect_shape(rows(*ASKED[case]), {})
    check_message(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("case", ASKED)
def test_the_text_alone_is_learned_on_request(case):
    assert detect_shape(rows(*ASKED[case]), {}, "text").name == "text"


def test_the_command_that_is_shown_learns_the_column():
    assert detect_shape(rows(*ASKED["polarity"]), {"label": "Polarity"}).name == "labelled-text"


@pytest.mark.parametrize("column", ["id", "source", "url", "title", "date", "position", "tagline", "model", "n"])
def test_other_columns_are_only_named(column):
    shape = detect_shape(rows({"text": "a b", column: "x"}, {"text": "c d", column: "y"}), {})
    assert (shape.name, shape.ignored) == ("text", (column,))


@pytest.mark.parametrize("empty", [None, "", [], float("nan")])
def test_an_empty_column_is_no_annotation(empty):
    assert detect_shape(rows({"text": "a b", "polarity": empty}), {}).name == "text"


PAIRS = [
    ("source", "target"),
    ("src", "tgt"),
    ("input", "output"),
    ("query", "response"),
    ("question", "response"),
    ("instruction", "completion"),
    ("article", "highlights"),
    ("document", "summary"),
    ("text", "summary"),
    ("Source", "Target"),
]


@pytest.mark.parametrize(("source", "result"), PAIRS)
def test_a_text_and_its_answer_under_other_names(source, result):
    found = rows(*({source: f"a {n}", result: f"b {n}", "id": n} for n in range(5)))
    shape = detect_shape(found, {})
    assert shape.name == "source-target"
    assert shape.notes == (f"`{source.lower()}` is read as the prompt and `{result.lower()}` as the completion.",)
    record = shape.to_record(found[0])
    assert [message["content"] for message in record.messages] == ["a 0", "b 0"]  # type: ignore[attr-defined]


def test_few_different_answers_may_be_labels():
    found = rows(*({"source": f"a {n}", "target": "bc"[n % 2]} for n in range(20)))
    shape = detect_shape(found, {})
    assert shape.notes[1] == (
        "`target` has only 2 different values; to learn them as labels: "
        "`--set data.columns.text=source --set data.columns.label=target`."
    )
    assert detect_shape(found, {"text": "source", "label": "target"}).name == "labelled-text"


@pytest.mark.parametrize(
    ("columns", "shape"),
    [
        ({"text": "a", "target": "b"}, "labelled-text"),
        ({"instruction": "a", "input": "b", "output": "c", "text": "d"}, "alpaca"),
        ({"prompt": "a", "completion": "b", "source": "c", "target": "d"}, "prompt-completion"),
        ({"question": "a", "answer": "b", "source": "c"}, "question-answer"),
        ({"text": "a", "source": "b"}, "text"),
    ],
)
def test_other_shapes_come_first(columns, shape):
    assert detect_shape(rows(columns), {}).name == shape


def test_unknown_columns_are_mapped_in_the_command_by_the_names_of_the_user():
    with pytest.raises(DataError) as caught:
        detect_shape(rows({"id": "1", "Mail body": "Dear sir, hello", "reply_text": "Dear madam, hello"}), {})
    assert caught.value.fix == (
        "Map the columns: `--set 'data.columns.prompt=Mail body' --set data.columns.completion=reply_text`"
    )


def test_what_is_written_beside_a_text_is_asked_about():
    found = rows(*({"text": f"Write f{n}.", "code": f"def f{n}(): pass"} for n in range(4)))
    with pytest.raises(DataError, match="`code` seems to be what is to be written for each `text`") as caught:
        detect_shape(found, {})
    assert "`--set data.columns.prompt=text --set data.columns.completion=code`" in caught.value.fix
    assert detect_shape(found, {"prompt": "text", "completion": "code"}).name == "prompt-completion"
    assert detect_shape(found, {}, "text").name == "text"


def test_a_message_in_each_row_is_no_text():
    found = rows(*({"text": f"text {n}", "role": ("prompter", "assistant")[n % 2]} for n in range(4)))
    with pytest.raises(DataError, match="each row seems to be one message of a conversation: `role` says whose"):
        detect_shape(found, {})
    assert detect_shape(found, {}, "text").name == "text"


@pytest.mark.parametrize(
    ("entry", "how"),
    [({"label": 1, "user": 2}, "write the label in each entry"), ({"text": "b", "label": "X"}, "write the spans of")],
    ids=["label", "entity"],
)
def test_entries_of_annotations_are_told_apart(entry, how):
    with pytest.raises(DataError) as caught:
        detect_shape(rows({"text": "a b", "annotations": [entry]}, {"text": "c b", "annotations": [entry]}), {})
    assert how in caught.value.fix


@pytest.mark.parametrize("name", ["prompt", "Question", "instruction"])
def test_a_prompt_beside_a_text_is_asked_about_with_commands_that_work(name):
    found = rows(*({name: f"What is {number}?", "text": f"The number {number}."} for number in (11, 12, 13)))
    with pytest.raises(DataError, match="seems to be what each `text` answers") as caught:
        detect_shape(found, {})
    assert "data.columns.completion=text" in caught.value.fix
    record = detect_shape(found, {"prompt": name, "completion": "text"}).to_record(found[0])
    assert record.answer() == "The number 11."
    assert detect_shape(found, {}, "text").to_record(found[0]).text == "The number 11."


def test_a_prompt_that_the_text_has_within_it_is_only_named():
    found = rows(*({"prompt": f"What is {number}?", "text": f"What is {number}? A number."} for number in (11, 12, 13)))
    assert detect_shape(found, {}).ignored == ("prompt",)


def test_images_beside_texts_are_asked_about():
    found = rows(*({"file_name": f"images/{number}.JPG", "text": f"A door {number}."} for number in range(4)))
    with pytest.raises(DataError, match="`file_name` names an image for each `text`"):
        detect_shape(found, {})
    assert detect_shape(found, {}, "text").ignored == ("file_name",)
