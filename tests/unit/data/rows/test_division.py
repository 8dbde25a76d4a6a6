"""Rows held out of those given for training: how many, which, and never one that is in two splits."""

from __future__ import annotations

import hashlib
import random
from collections import Counter

import pytest

from burnish.data.files.splits import TEST, VALID
from burnish.data.rows.dataset import assert_disjoint
from burnish.data.rows.division import divide, planned_rows
from burnish.data.rows.keyed import Keying
from burnish.data.rows.records import LabelledRecord, ScoredRecord, SpanRecord, TaggedRecord, TextRecord, content_hash
from burnish.errors import DataError
from burnish.recipe.schema import DataSection
from tests.unit.data.rows.plain_division import plainly_divided


def records_of(texts):
    return [TextRecord(str(text), True, f"a.txt:{line}") for line, text in enumerate(texts, start=1)]


def labelled(*labels):
    """One row for each label; its text is the row's number."""
    return [LabelledRecord((f"text {n}",), (str(label),), False, f"a.csv:{n}") for n, label in enumerate(labels, 1)]


def keyed(records, groups=None):
    keying = Keying()
    for record, group in zip(records, groups or [""] * len(records), strict=True):
        keying.add(record, str(group))
    return keying.done()


def parts_of(records, asked=(VALID, TEST), groups=None, **options):
    """Training, validation and test records."""
    found = divide(keyed(records, groups), DataSection(**options), asked)
    return [list(part.records) for part in (found.train, found.valid, found.test)]


def texts_of(records):
    return [record.text for record in records]


@pytest.mark.parametrize(
    ("num_rows", "options", "valid", "test"),
    [
        (0, {}, 0, 0),
        (1, {}, 0, 0),
        (2, {}, 1, 0),
        (5, {}, 1, 0),
        (9, {}, 1, 0),
        (10, {}, 2, 2),
        (30, {}, 6, 6),
        (60, {}, 12, 12),
        (100, {}, 20, 20),
        (200, {}, 20, 20),
        (999, {}, 100, 100),
        (12_000, {}, 1000, 1000),
        (60, {"test_rows": 3}, 12, 3),
        (60, {"validation_rows": 3}, 3, 12),
        (60, {"validation_fraction": 0.5}, 30, 12),
        (60, {"test_fraction": 0.3}, 12, 18),
        (10, {"test_fraction": 0.5, "validation_fraction": 0.49}, 5, 5),
        (60, {"split": "random"}, 6, 6),
        (30, {"split": "random", "test_fraction": 0.01}, 3, 1),
    ],
)
def test_how_many_are_held_out(num_rows, options, valid, test):
    parts = parts_of(records_of(range(num_rows)), **options)
    if num_rows == 10 and options:
        valid = 4  # a row is left to train on
    assert [len(part) for part in parts] == [num_rows - valid - test, valid, test]
    planned = planned_rows(num_rows, DataSection(**options), (VALID, TEST))
    assert num_rows == 10 or planned == {name: n for name, n in ((VALID, valid), (TEST, test)) if n}


def test_the_reason_for_having_no_test_rows():
    nine, groups = keyed(records_of(range(9))), keyed(records_of(range(40)), ["a", "b"] * 20)
    assert (
        divide(nine, DataSection(), [VALID, TEST]).why_no_test == "9 distinct rows are too few to hold any out for it"
    )
    assert divide(nine, DataSection(), [VALID]).why_no_test == ""
    found = divide(groups, DataSection(), [VALID, TEST])
    assert found.why_no_test == "the rows belong to 2 groups only, and a group is never divided"
    assert [len(part) for part in (found.train, found.valid, found.test)] == [20, 20, 0]


def test_the_order_of_the_file_is_kept_and_nothing_is_lost():
    parts = parts_of(records_of(range(200)))
    numbers = [[int(record.text) for record in part] for part in parts]
    assert numbers == [sorted(part) for part in numbers]
    assert sorted(sum(numbers, [])) == list(range(200))


@pytest.mark.parametrize("how", ["stratified", "random"])
@pytest.mark.parametrize("seed", range(5))
def test_duplicates_never_straddle(seed, how):
    chance = random.Random(seed)
    records = records_of(chance.choice(range(40)) for _ in range(300))
    train, valid, test = parts_of(records, split_seed=seed, split=how, validation_fraction=0.25, test_fraction=0.2)
    distinct = len(set(texts_of(records)))
    assert len(set(texts_of(valid))) == round(0.25 * distinct)
    assert len(set(texts_of(test))) == round(0.2 * distinct)
    assert len(train) + len(valid) + len(test) == 300
    assert_disjoint(train, valid, test)


@pytest.mark.parametrize("how", ["stratified", "random"])
def test_the_split_depends_on_content_and_seed_not_on_order(how):
    texts = [str(number) for number in range(100)]

    def split(texts, seed):
        return [set(texts_of(part)) for part in parts_of(records_of(texts), split_seed=seed, split=how)]

    assert split(random.Random(7).sample(texts, 100), 0) == split(texts, 0)
    assert all(first != second for first, second in zip(split(texts, 0), split(texts, 1), strict=True))


@pytest.mark.parametrize(
    "options", [{"validation_fraction": 0.5}, {"validation_rows": 1}, {"validation_fraction": 0.01}]
)
def test_validation_options_move_no_row_into_or_out_of_the_test_split(options):
    records = labelled(*[number % 7 for number in range(150)])
    assert parts_of(records, **options)[2] == parts_of(records)[2]
    assert parts_of(records, asked=[TEST], **options)[2] == parts_of(records)[2]


def test_a_run_of_an_earlier_version_holds_the_same_rows_out():
    records = records_of(range(137))
    order = sorted(records, key=lambda one: hashlib.sha256(f"3:{content_hash(one)}".encode()).digest())
    _, valid, test = parts_of(records, asked=[VALID], split="random", split_seed=3)
    assert (sorted(texts_of(valid)), test) == (sorted(texts_of(order[:14])), [])


def test_labels_keep_their_shares():
    labels = ["many"] * 700 + ["some"] * 250 + ["few"] * 50
    for part in parts_of(labelled(*labels))[1:]:
        assert Counter(record.labels[0] for record in part) == {"many": 70, "some": 25, "few": 5}


def test_of_many_labels_with_few_rows_as_many_as_possible_are_in_each_split():
    train, valid, test = parts_of(labelled(*[number % 50 for number in range(200)]))
    assert [len({record.labels for record in part}) for part in (train, valid, test)] == [50, 20, 20]


@pytest.mark.parametrize("seed", range(5))
def test_the_last_row_of_a_label_stays_in_training(seed):
    labels = [number % 2 for number in range(60)] + [f"alone {number}" for number in range(20)]
    train, valid, test = parts_of(labelled(*labels), split_seed=seed)
    assert {record.labels for record in train} == {record.labels for record in (*train, *valid, *test)}


def test_rare_labels_have_their_share_together():
    labels = ["a"] * 400 + [f"rare {number}" for number in range(100) for _ in range(4)]
    _, _, test = parts_of(labelled(*labels))
    assert Counter(record.labels[0] == "a" for record in test)[True] in range(32, 49)


def test_label_sets_are_shared_out_by_their_rarest_label():
    sets = [("common",)] * 80 + [("common", "rare")] * 20
    rows = [LabelledRecord((f"text {n}",), labels, True, f"a:{n}") for n, labels in enumerate(sets)]
    for part in parts_of(rows)[1:]:
        assert sum("rare" in record.labels for record in part) == 4


def test_tags_count_but_for_those_of_no_entity():
    rows = [TaggedRecord((f"w{n}", "x"), ("B-LOC" if n % 10 == 0 else "O", "O"), f"a:{n}") for n in range(200)]
    for part in parts_of(rows)[1:]:
        assert sum("B-LOC" in record.tags for record in part) == 2


def test_numbers_are_shared_out_over_their_range():
    rows = [ScoredRecord((f"text {n}",), float(n), f"a:{n}") for n in range(200)]
    for part in parts_of(rows)[1:]:
        assert Counter(int(record.score) // 40 for record in part) == dict.fromkeys(range(5), 4)


@pytest.mark.parametrize("seed", range(5))
def test_a_group_is_never_divided(seed):
    chance = random.Random(seed)
    groups = [str(chance.randrange(25)) for _ in range(300)]
    parts = parts_of(records_of(range(300)), groups=groups, split_seed=seed)
    found = [{groups[int(record.text)] for record in part} for part in parts]
    assert not (found[0] & found[1] or found[0] & found[2] or found[1] & found[2])
    assert all(20 <= len(part) <= 45 for part in parts[1:])


def test_a_group_with_most_of_the_rows_stays_in_training():
    groups = ["big"] * 150 + [str(number // 5) for number in range(50)]
    for seed in range(5):
        parts = parts_of(records_of(range(200)), groups=groups, split_seed=seed)
        assert [len(part) for part in parts] == [160, 20, 20]


def test_at_most_so_many_rows_even_with_many_duplicates():
    texts = ["same"] * 500 + [str(number) for number in range(20)]
    for seed in range(10):
        for part in parts_of(records_of(texts), split_seed=seed, validation_rows=5, test_rows=3)[1:]:
            assert 1 <= len(part) <= 5 and "same" not in texts_of(part)


def test_where_every_record_has_too_many_duplicates_the_fewest_are_held_out():
    train, valid, _ = parts_of(records_of(["a"] * 5 + ["b"] * 4), validation_rows=2)
    assert (set(texts_of(train)), set(texts_of(valid))) == ({"a"}, {"b"})


def test_shared_rows_are_named():
    train, valid = records_of(["a", "b"]), [TextRecord("b", True, "v.txt:9")]
    with pytest.raises(DataError) as caught:
        assert_disjoint(train, valid)
    assert caught.value.what == "v.txt:9 is in the validation data and, at a.txt:2, in the training data"
    with pytest.raises(DataError) as caught:
        assert_disjoint(train[:1], valid, train[1:])
    assert caught.value.what == "a.txt:2 is in the test data and, at v.txt:9, in the validation data"
    assert_disjoint(train[:1], valid)
    assert content_hash(train[1]) == content_hash(valid[0])


def questions_about(texts, each):
    return [
        SpanRecord(text, f"{text} {number}?", (), f"{text}:{number}") for text in texts for number in range(1, each + 1)
    ]


@pytest.mark.parametrize("how", ["stratified", "random"])
@pytest.mark.parametrize("seed", range(3))
def test_questions_about_one_text_stay_on_one_side(seed, how):
    records = questions_about([f"text {number}" for number in range(30)], 4)
    parts = parts_of(records, split_seed=seed, split=how)
    assert [len(part) for part in parts[1:]] == ([3 * 4] * 2 if how == "random" else [5 * 4] * 2)
    texts = [{record.context for record in part} for part in parts]
    assert sum(map(len, texts)) == len(set.union(*texts)) == 30
    assert sum(map(len, parts)) == len(records)


def test_questions_about_a_single_text_are_split_one_by_one():
    assert [len(part) for part in parts_of(questions_about(["text"], 20))] == [12, 4, 4]


def drawn_record(kind, chance, place):
    """A record that may have the same content as another."""
    text, label = f"text {chance.randrange(30)}", f"label {chance.randrange(chance.choice((2, 12)))}"
    return {
        "text": TextRecord(text, True, place),
        "label": LabelledRecord((text,), (label,), False, place),
        "labels": LabelledRecord((text,), (label, "x")[: chance.randrange(3)], True, place),
        "score": ScoredRecord((text,), float(chance.randrange(20)), place),
        "tags": TaggedRecord((text,), (chance.choice(("O", "B-A", "B-B")),), place),
        "question": SpanRecord(text, label, ((0, "t"),)[: chance.randrange(2)], place),
    }[kind]


@pytest.mark.parametrize("how", ["stratified", "random"])
@pytest.mark.parametrize("kind", ["text", "label", "labels", "score", "tags", "question"])
def test_in_columns_the_same_rows_are_held_out_as_one_by_one(kind, how):
    for seed in range(12):
        chance = random.Random(seed)
        records = [drawn_record(kind, chance, f"a:{line}") for line in range(chance.choice((0, 3, 15, 150)))]
        groups = [chance.choice(("", f"group {chance.randrange(9)}")) if seed % 3 == 0 else "" for _ in records]
        options = {"validation_fraction": 0.3, "test_rows": chance.choice((3, 1000)), "split_seed": seed, "split": how}
        asked = (VALID, TEST)[: chance.choice((1, 2, 2))]
        expected = plainly_divided(records, groups, DataSection(**options), asked)
        assert parts_of(records, asked, groups, **options) == expected
