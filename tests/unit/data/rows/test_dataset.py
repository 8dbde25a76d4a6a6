"""The whole way from a recipe's data section to records, and every way in which it can fail."""

from __future__ import annotations

import gzip
import json

import pytest

from burnish.data.files.splits import TEST, VALID
from burnish.data.rows.dataset import hash_records, load_records
from burnish.data.rows.records import content_hash
from burnish.data.rows.row import Rejected
from burnish.errors import DataError
from burnish.recipe.schema import DataSection
from burnish.tasks import task_names_for
from tests.snapshots import check_message


def lines_of(*rows) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def row(number, answer="a"):
    return {"prompt": f"q {number}", "completion": answer}


def load(path, **section):
    return load_records(DataSection(path=str(path), **section))


def prompts(records):
    return [record.messages[0]["content"] for record in records]


def test_rows_are_held_out_without_validation_data(write):
    records = load(write("a.jsonl", lines_of(*map(row, range(50)))))
    assert [len(part) for part in (records.train, records.valid, records.test)] == [30, 10, 10]
    assert (records.held_out, records.why_no_test) == ({VALID, TEST}, "")
    assert (records.shape.name, records.rejected, records.files) == ("prompt-completion", [], ["a.jsonl"])
    assert len({*prompts(records.train), *prompts(records.valid), *prompts(records.test)}) == 50
    assert records.ignored_columns == ()


def test_fraction_limit_and_seed_reach_the_split(write):
    path = write("a.jsonl", lines_of(*map(row, range(50))))
    assert len(load(path, validation_fraction=0.5).valid) == 25
    assert len(load(path, validation_rows=2).valid) == 2
    assert len(load(path, test_fraction=0.5).test) == 25
    assert len(load(path, test_rows=2).test) == 2
    assert prompts(load(path, split_seed=0).valid) != prompts(load(path, split_seed=1).valid)
    assert prompts(load(path, split_seed=0).test) != prompts(load(path, split_seed=1).test)


@pytest.mark.parametrize(
    ("section", "why"),
    [
        ({"test_fraction": 0.0}, "`data.test_fraction` is 0"),
        ({"test": "none"}, "`data.test` is `none`"),
        ({"rows": 9}, "9 distinct rows are too few to hold any out for it"),
    ],
)
def test_why_there_is_no_test_split(write, section, why):
    records = load(write("a.jsonl", lines_of(*map(row, range(50)))), **section)
    assert (records.test, records.why_no_test, records.held_out) == ([], why, {VALID})
    assert records.sha256 == hash_records(records.train, records.valid)


def test_one_bad_line_in_a_thousand_is_rejected_and_the_rest_trains(write):
    rows = [row(number) for number in range(1000)]
    rows[499] = '{"prompt": "q 499", "completion": '
    records = load(write("a.jsonl", lines_of(*rows)))
    assert records.rejected == [Rejected("a.jsonl", 500, "invalid JSON at column 35: Expecting value")]
    assert len(records.train) + len(records.valid) + len(records.test) == 999


def test_a_row_with_an_empty_answer_is_rejected(write):
    records = load(write("a.csv", "prompt,completion\nq,a\nr,\ns,b\n"))
    assert records.rejected == [Rejected("a.csv", 3, "the answer is empty (column `completion`)")]


def test_a_few_rows_of_another_shape_are_rejected(write):
    records = load(write("a.jsonl", lines_of(*map(row, range(150)), {"text": "x"})))
    assert [(rejected.line, rejected.reason) for rejected in records.rejected] == [
        (151, "there is no column `prompt`; this row looks like `text`")
    ]


def test_only_the_first_rows_are_used_on_request(write):
    rows = [row(number) for number in range(20)]
    records = load(write("a.jsonl", lines_of(*rows[:5], "broken", *rows[5:])), rows=8)
    assert sorted(prompts(records.train + records.valid + records.test)) == [f"q {number}" for number in range(8)]
    assert [rejected.line for rejected in records.rejected] == [6]


def test_validation_data_is_used_whole_and_shared_rows_leave_training(write):
    path = write("a.jsonl", lines_of(row(1), row(2), row(3), row(2)))
    valid = write("v.csv", "prompt,completion\nq 2,a\nq 9,a\nq 10,\n")
    records = load(path, validation=str(valid), rows=4)
    assert (prompts(records.train), prompts(records.valid)) == (["q 1", "q 3"], ["q 2", "q 9"])
    assert records.rejected == [
        Rejected("v.csv", 4, "the answer is empty (column `completion`)"),
        Rejected("a.jsonl", 2, "also in the validation data"),
        Rejected("a.jsonl", 4, "also in the validation data"),
    ]
    assert (records.held_out, records.files, records.test) == (frozenset(), ["a.jsonl", "v.csv"], [])


def test_the_parts_of_a_folder(write):
    write("d/train.jsonl", lines_of(row(1), row(2)))
    write("d/valid.jsonl.gz", gzip.compress(lines_of(row(3)).encode()))
    write("d/test.jsonl", lines_of(row(4), row(5)))
    records = load("d")
    assert [prompts(part) for part in (records.train, records.valid, records.test)] == [
        ["q 1", "q 2"],
        ["q 3"],
        ["q 4", "q 5"],
    ]
    assert records.files == ["d/train.jsonl", "d/valid.jsonl.gz", "d/test.jsonl"]


def test_a_column_may_name_the_split_of_each_row(write):
    rows = [{**row(number), "split": ["train", "train", "Validation", "test"][number % 4]} for number in range(20)]
    records = load(write("a.jsonl", lines_of(*rows)))
    assert [len(part) for part in (records.train, records.valid, records.test)] == [10, 5, 5]
    assert (records.held_out, records.ignored_columns) == (frozenset(), ())
    assert records.shape.notes == ("`split` has the split of each row: train 10, validation 5, test 5.",)
    assert prompts(records.valid) == [f"q {number}" for number in range(2, 20, 4)]
    whole = load_records(DataSection(path="a.jsonl"), is_whole=True)  # for an evaluation of the file
    assert (len(whole.train) + len(whole.valid) + len(whole.test), whole.ignored_columns) == (20, ("split",))
    two = load(
        write("b.jsonl", lines_of(*({**one, "split": one["split"].replace("Validation", "train")} for one in rows)))
    )
    assert [len(part) for part in (two.train, two.valid, two.test)] == [12, 3, 5]
    assert two.held_out == {VALID}


def test_a_column_of_other_names_is_no_split(write):
    for names in (["train"], ["train", "other"], ["test", "dev"]):
        rows = [{**row(number), "split": names[number % len(names)]} for number in range(20)]
        records = load(write("a.jsonl", lines_of(*rows)))
        assert (len(records.train) + len(records.valid) + len(records.test), records.ignored_columns) == (
            20,
            ("split",),
        )


def test_shards_are_read_in_order(write):
    for number in range(3):
        write(f"d/train-0000{number}-of-00003.jsonl", lines_of(row(number)))
    write("d/dev.jsonl", lines_of(row(9)))
    assert prompts(load("d").train) == ["q 0", "q 1", "q 2"]


def test_a_document_becomes_text(write):
    records = load(write("a.txt", "word " * 2000))
    assert task_names_for(records.shape.record)[0] == "text"
    assert [record.ends for record in records.train + records.valid + records.test].count(True) == 1


def test_column_map_and_shape_reach_detection(write):
    path = write("a.csv", "subject,reply,text\nq,a,x\nr,b,y\n")
    assert load(path, columns={"prompt": "subject", "completion": "reply"}).ignored_columns == ("text",)
    assert load(path, shape="text").ignored_columns == ("reply", "subject")


def test_the_hash_follows_the_records_used_and_nothing_else(write):
    path = write("a.jsonl", lines_of(*map(row, range(20))))
    first = load(path).sha256
    assert len(first) == 64
    same = write("b/other.jsonl", lines_of(*[{**row(number), "id": number} for number in range(20)], "broken"))
    assert load(same).sha256 == first
    assert load(path, split_seed=1).sha256 != first
    assert load(path, rows=19).sha256 != first
    assert load(write("c.jsonl", lines_of(*map(row, reversed(range(20)))))).sha256 != first


def test_held_out_rows_share_nothing_with_training(write):
    records = load(write("a.jsonl", lines_of(*[row(number % 30) for number in range(300)])))
    assert (len(records.valid), len(records.test)) == (60, 60)  # six of the 30 distinct rows each
    hashes = [{content_hash(one) for one in part} for part in (records.train, records.valid, records.test)]
    assert sum(map(len, hashes)) == 30


REFUSED = {
    "empty file": ("a.jsonl", b"", {}),
    "only blank lines": ("a.jsonl", b"\n\n \n", {}),
    "empty list": ("a.json", b"[]", {}),
    "header only": ("a.csv", b"prompt,completion\n", {}),
    "blank document": ("a.txt", b" \n", {}),
    "garbage": ("a.jsonl", b"\x8f\x91\n\xfe\x80", {}),
    "binary": ("a.csv", bytes(range(256)), {}),
    "all answers empty": ("a.csv", b"prompt,completion\n" + b"q,\n" * 5, {}),
    "one broken line": ("a.jsonl", b"{", {}),
    "empty validation": ("a.csv", b"prompt,completion\nq,a\n", {"validation": "empty.csv"}),
    "validation of another shape": ("a.csv", b"prompt,completion\nq,a\n", {"validation": "text.csv"}),
    "validation on the training rows": ("a.csv", b"prompt,completion\nq,a\n", {"validation": "a.csv"}),
    "missing validation": ("a.csv", b"prompt,completion\nq,a\n", {"validation": "txt.csv"}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(write, name):
    file, content, section = REFUSED[name]
    write("empty.csv", "prompt,completion\n")
    write("text.csv", "text\nx\n")
    write(file, content)
    with pytest.raises(DataError) as caught:
        load(file, **section)
    check_message(caught.value)
    assert caught.value.fix and caught.value.exit_code == 2
