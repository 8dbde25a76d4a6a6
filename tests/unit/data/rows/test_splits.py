"""Which rows become the training, validation and test split, whatever of them the user brings."""

from __future__ import annotations

import json

import pytest

from burnish.data.files.splits import TEST, VALID
from burnish.data.rows.dataset import hash_records, load_records
from burnish.errors import DataError
from burnish.recipe.schema import DataSection


def load(path, **section):
    return load_records(DataSection(path=str(path), **section))


def texts_of(records):
    return [next(record.all_texts()) for record in records]


def lines_of(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def labelled(first, last, labels=("a", "b", "c")):
    return [{"text": f"text {n}", "label": labels[n % len(labels)]} for n in range(first, last)]


def numbers_of(records):
    return [[int(text.split()[1]) for text in texts_of(part)] for part in (records.train, records.valid, records.test)]


def test_a_test_file_is_the_test_split_and_validation_is_held_out_of_training(write):
    write("d/train.jsonl", lines_of(*labelled(0, 60)))
    write("d/test.jsonl", lines_of(*labelled(100, 130)))
    records = load("d")
    train, valid, test = numbers_of(records)
    assert (len(train), len(valid), test) == (48, 12, list(range(100, 130)))
    assert (records.held_out, records.why_no_test) == ({VALID}, "")
    assert records.files == ["d/train.jsonl", "d/test.jsonl"]
    assert records.sha256 == hash_records(records.train, records.valid, records.test)
    write("d/test.jsonl", lines_of(*labelled(200, 207, labels="cba")))
    other = load("d")
    assert numbers_of(other)[:2] == [train, valid]
    assert other.sha256 != records.sha256


def test_a_validation_file_alone_lets_the_test_split_be_held_out_of_training(write):
    write("d/train.jsonl", lines_of(*labelled(0, 60)))
    write("d/dev.jsonl", lines_of(*labelled(100, 110)))
    records = load("d")
    train, valid, test = numbers_of(records)
    assert (len(train), valid, len(test), records.held_out) == (48, list(range(100, 110)), 12, {TEST})
    write("d/dev.jsonl", lines_of(*labelled(0, 60)[:59:2], *labelled(100, 110)))
    assert numbers_of(load("d"))[2] == test, "what is in the validation file moves no row of the test split"


def test_the_option_names_a_file_and_replaces_one_of_the_folder(write):
    write("d/train.jsonl", lines_of(*labelled(0, 60)))
    write("d/test.jsonl", lines_of(*labelled(100, 130)))
    other = write("other.csv", "text,label\ntext 200,a\ntext 201,b\n")
    records = load("d", test=str(other))
    assert numbers_of(records)[2] == [200, 201]
    assert f"Not used, since `data.test` is `{other}`: `d/test.jsonl`." in records.shape.notes
    none = load("d", test="none")
    assert (none.test, none.why_no_test, none.files) == ([], "`data.test` is `none`", ["d/train.jsonl"])
    assert "Not used, since `data.test` is `none`: `d/test.jsonl`." in none.shape.notes


def test_rows_in_two_splits_stay_in_the_one_that_chooses_least(write):
    write("d/train.jsonl", lines_of(*labelled(0, 20)))
    write("d/dev.jsonl", lines_of(*labelled(18, 24)))
    write("d/test.jsonl", lines_of(*labelled(23, 30), *labelled(0, 2)))
    records = load("d")
    assert numbers_of(records) == [list(range(2, 18)), list(range(18, 23)), [*range(23, 30), 0, 1]]
    assert [(row.place, row.reason) for row in records.rejected] == [
        ("d/train.jsonl:1", "also in the test data"),
        ("d/train.jsonl:2", "also in the test data"),
        ("d/dev.jsonl:6", "also in the test data"),
        ("d/train.jsonl:19", "also in the validation data"),
        ("d/train.jsonl:20", "also in the validation data"),
    ]


def test_a_column_may_name_the_split_where_a_file_is_given_for_another(write):
    rows = [{**row, "split": ["train", "train", "dev", "test"][n % 4]} for n, row in enumerate(labelled(0, 80))]
    path = write("a.jsonl", lines_of(*rows))
    write("v.jsonl", lines_of(*labelled(100, 110)))
    records = load(path, validation="v.jsonl")
    assert [len(part) for part in numbers_of(records)] == [40, 10, 20]
    assert "The 20 rows that it calls validation are not used, since there is `v.jsonl`." in records.shape.notes
    records = load(path, test="none")
    assert [len(part) for part in numbers_of(records)] == [40, 20, 0]
    assert "The 20 rows that it calls test are not used, since `data.test` is `none`." in records.shape.notes
    records = load(path, validation="v.jsonl", test="none")  # no split is left for the column to name
    assert [len(part) for part in numbers_of(records)] == [80, 10, 0]
    assert records.ignored_columns == ("split",)


def texts(*rows):
    return "".join(f"text {n},{label}\n" for n, label in enumerate(rows, start=100))


UNLABELLED = {
    "-1 in every row": ("label", ["a", "b", "c"], [-1] * 5, "`label` is `-1`: the row has no gold label"),
    "-1 beside numbers": ("label", [0, 1, 2], [-1] * 5, "`label` is `-1`: the row has no gold label"),
    "-1 beside two numbers": ("label", [0, 1], [-1] * 5, "none of its labels (`-1`) is a label of the training rows"),
    "null": ("label", ["a", "b", "c"], [None] * 5, "none of its 5 rows can be used"),
    "empty": ("label", ["a", "b", "c"], [""] * 5, "none of its 5 rows can be used"),
    "a word": ("label", ["a", "b", "c"], ["hidden"] * 5, "none of its labels (`hidden`) is a label of the training"),
    "no column": ("label", ["a", "b", "c"], ..., "there is no column `label`"),
    "no scores": ("score", [0.5, 1.25, 4.75], [-1.0] * 5, ""),
    "zero scores": ("score", [1.5, 2.25, 4.75], [0.0] * 5, "none of its numbers (from 0 to 0) is in the range"),
    "no answers": ("completion", ["yes", "no", "it is so"], [""] * 5, "the answer is empty"),
    "no column of answers": ("completion", ["yes", "no", "it is so"], ..., "there is no column `completion`"),
}


@pytest.mark.parametrize("how", ["file", "column"])
@pytest.mark.parametrize("case", UNLABELLED)
def test_a_test_split_without_labels_is_not_used_but_said(write, case, how):
    column, known, hidden, reason = UNLABELLED[case]
    text = "prompt" if column == "completion" else "text"
    train = [{text: f"text {n}", column: known[n % 3 % len(known)]} for n in range(60)]
    tests = [{text: f"text {n}", **({} if hidden is ... else {column: hidden[0]})} for n in range(100, 105)]
    if how == "file":
        write("d/train.jsonl", lines_of(*train))
        write("d/test.jsonl", lines_of(*tests))
        name, data = "d/test.jsonl", "d"
    else:
        rows = [*({**row, "split": "train"} for row in train), *({**row, "split": "test"} for row in tests)]
        name = data = str(write("a.jsonl", lines_of(*rows)))
    records = load(data)
    train_rows, valid, test = numbers_of(records)
    assert (len(train_rows), len(valid), len(test), records.held_out) == (36, 12, 12, {VALID, TEST})
    assert max(test) < 60 and not records.rejected
    (note,) = [note for note in records.shape.notes if "is not used" in note]
    assert note.startswith(f"The test data in `{name}` is not used: ") and reason in note
    assert note.endswith("Test rows are held out from the training data instead.")


def test_tags_and_questions_without_answers_are_no_test_split_either(write):
    tags = [{"tokens": ["Anna", "sings", str(n)], "tags": ["B-PER", "O", "O"]} for n in range(60)]
    write("d/train.jsonl", lines_of(*tags))
    write("d/test.jsonl", lines_of(*({**row, "tokens": ["Bo", "ran"], "tags": ["O", "O"]} for row in tags[:9])))
    assert any("is not used: none of its rows has a label." in note for note in load("d").shape.notes)
    questions = [
        {"context": f"Rome {n}", "question": "Where?", "answers": {"text": ["Rome"], "answer_start": [0]}}
        for n in range(60)
    ]
    write("q/train.jsonl", lines_of(*questions))
    hidden = [{**row, "context": "Oslo", "answers": {"text": [], "answer_start": []}} for row in questions[:9]]
    write("q/test.jsonl", lines_of(*hidden))
    assert any("is not used: none of its labels" in note for note in load("q").shape.notes)


def test_test_data_that_an_option_names_must_have_labels(write):
    write("a.jsonl", lines_of(*labelled(0, 60)))
    write("t.jsonl", lines_of(*({**row, "label": "?"} for row in labelled(100, 105))))
    write("u.jsonl", lines_of(*({"text": row["text"]} for row in labelled(100, 105))))
    write("v.jsonl", lines_of(*labelled(0, 5, labels=["x"])))
    with pytest.raises(DataError, match=r"^`t.jsonl` cannot be the test data"):
        load("a.jsonl", test="t.jsonl")
    with pytest.raises(DataError, match=r"^`u.jsonl` has no usable row: all 5 are rejected"):
        load("a.jsonl", test="u.jsonl")
    with pytest.raises(DataError, match=r"^`v.jsonl` cannot be the test data"):
        load("a.jsonl", test="v.jsonl")
    with pytest.raises(DataError, match="^every training row is also in the test data"):
        load("a.jsonl", test="a.jsonl")
    write("d/train.jsonl", lines_of(*labelled(0, 60)))
    for name in ("dev", "test"):
        write(f"d/{name}.jsonl", lines_of(*labelled(100, 105)))
    with pytest.raises(DataError, match="^every validation row is also in the test data"):
        load("d")


def test_some_test_rows_without_labels_are_left_out_one_by_one(write):
    write("d/train.jsonl", lines_of(*labelled(0, 60)))
    write("d/test.jsonl", lines_of(*labelled(100, 104), {"text": "text 104", "label": "-1"}))
    records = load("d")
    assert (len(records.test), [row.place for row in records.rejected]) == (4, ["d/test.jsonl:5"])


def grouped(first, last, size, column="patient"):
    return [{**row, column: f"p{n // size}"} for n, row in enumerate(labelled(first, last), start=first)]


@pytest.mark.parametrize("column", ["patient", "topic", "id", "user"])
def test_rows_of_a_group_are_in_one_split_and_the_column_is_used(write, column):
    records = load(write("a.jsonl", lines_of(*grouped(0, 120, 6, column))), group=column)
    parts = [{number // 6 for number in part} for part in numbers_of(records)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 20
    assert all(part for part in parts) and records.ignored_columns == ()
    assert records.shape.name == "labelled-text"
    assert f"Rows with the same `{column}` stay in one split: it has 20 values." in records.shape.notes


def test_a_plain_text_may_have_groups(write):
    rows = [{"text": f"text {n}", "topic": f"t{n // 6}"} for n in range(120)]
    records = load(write("a.jsonl", lines_of(*rows)), group="topic", shape="text")
    assert (records.shape.name, records.ignored_columns) == ("text", ())


def test_the_group_may_be_a_field(write):
    rows = [{"premise": f"p {n // 5}", "hypothesis": f"h {n}", "label": "ab"[n % 2]} for n in range(100)]
    records = load(write("a.jsonl", lines_of(*rows)), group="premise")
    premises = [{record.texts[0] for record in part} for part in (records.train, records.valid, records.test)]
    assert (sum(map(len, premises)), records.shape.name) == (20, "labelled-pair")


def test_rows_without_a_group_are_taken_one_by_one(write):
    rows = [*grouped(0, 60, 6), *labelled(60, 90), {"text": "text 90", "label": "a", "patient": " "}]
    records = load(write("a.jsonl", lines_of(*rows)), group="patient")
    (note,) = records.shape.notes[-1:]
    assert note.endswith("it has 10 values. 31 rows have none, and are taken one by one.")
    assert all(any(number >= 60 for number in part) for part in numbers_of(records))


def test_groups_hold_across_files_too(write):
    write("d/train.jsonl", lines_of(*grouped(0, 60, 6)))
    write("d/test.jsonl", lines_of({"text": "text 200", "label": "a", "patient": "p3"}))
    records = load("d", group="patient")
    assert not {number // 6 for number in sum(numbers_of(records)[:2], [])} & {3}
    assert {row.reason for row in records.rejected} == {"its `patient` is also in the test data"}


def test_a_missing_group_is_an_error(write):
    with pytest.raises(DataError, match="^there is no column `patients`, but `data.group` refers to it") as caught:
        load(write("a.jsonl", lines_of(*grouped(0, 60, 6))), group="patients")
    assert caught.value.fix == "Did you mean `patient`?"


@pytest.mark.parametrize(
    ("flags", "split"),
    [
        ({"is_test": 1}, TEST),
        ({"is_test": "True"}, TEST),
        ({"is_val": True}, VALID),
        ({"is_train": False}, TEST),
        ({"is_valid": True}, VALID),
    ],
    ids=str,
)
def test_a_flag_may_say_whether_a_row_is_of_a_split(write, flags, split):
    ((name, value),) = flags.items()
    others = {"True": "False"}.get(value, not value)
    rows = [{**row, name: value if n % 10 == 0 else others} for n, row in enumerate(labelled(0, 40))]
    records = load(write("rows.jsonl", lines_of(*rows)), test_fraction=0.0)
    held = records.valid if split == VALID else records.test
    assert sorted(texts_of(held)) == [f"text {n}" for n in (0, 10, 20, 30)]
    assert f"`{name}` has the split of each row: train 36" in records.shape.notes[0]


def test_flags_of_two_splits_go_together(write):
    rows = [{**row, "is_valid": int(n % 10 == 0), "is_test": int(n % 10 == 1)} for n, row in enumerate(labelled(0, 40))]
    records = load(write("rows.jsonl", lines_of(*rows)))
    assert [len(part) for part in (records.train, records.valid, records.test)] == [32, 4, 4]
    assert "`is_valid` and `is_test` have the split of each row: train 32, validation 4, test 4." in records.shape.notes


@pytest.mark.parametrize("name", ["is_valid", "is_dev"])
def test_a_flag_that_most_rows_have_is_no_split(write, name):
    rows = [{**row, name: n % 10 != 0} for n, row in enumerate(labelled(0, 40))]
    records = load(write("rows.jsonl", lines_of(*rows)), test_fraction=0.0)
    assert records.shape.ignored == (name,)
