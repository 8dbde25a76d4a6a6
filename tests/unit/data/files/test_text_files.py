"""Documents are cut where they pause, and nothing is lost."""

from __future__ import annotations

import random

import pytest

from burnish.data.files.lines import MAX_CHUNK, MIN_CHUNK
from burnish.data.files.readers import read_rows, read_text_or_lines


def pieces_of(path):
    rows = list(read_rows(path))
    assert [row.values["ends"] for row in rows] == [False] * (len(rows) - 1) + [True]
    return rows


def random_document(seed: int) -> str:
    """Words between every kind of pause, some lines very long."""
    chance = random.Random(seed)
    pauses = [" "] * 60 + [". ", "! ", "\n", "\n", "\n\n", " \n \n\n", "\n\n\n", "\t", ""]
    return "".join(
        "w" * chance.choice([1, 3, 8, 200 if seed % 3 else 5000]) + chance.choice(pauses) for _ in range(1500)
    )


def test_a_text_of_lines_with_as_many_tabs_may_be_a_table(write):
    table = "".join(f"what is hat {n}\tred\n" for n in range(30))
    assert "each line has 2 columns separated by tabs" in pieces_of(write("a.txt", table))[0].note
    assert pieces_of(write("b.txt", "no table\n" + table))[0].note == ""
    assert pieces_of(write("c.txt", "a line\n" * 30))[0].note == ""


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(6, 12))])
def test_pieces_joined_are_the_text_and_each_knows_its_line(write, seed):
    text = random_document(seed)
    rows = pieces_of(write("a.txt", text))
    assert "".join(row.values["text"] for row in rows) == text
    assert max(len(row.values["text"]) for row in rows) <= MAX_CHUNK
    assert len(rows) > 3
    position = 0
    for row in rows:
        assert row.line == text.count("\n", 0, position) + 1
        position += len(row.values["text"])


def test_windows_line_ends_become_plain(write):
    (row,) = pieces_of(write("a.md", "one\r\ntwo\r\n"))
    assert row.values["text"] == "one\ntwo\n"


HALF = "a" * (MIN_CHUNK + 100)
CUTS = {
    "a blank line before a line end": (f"{HALF}\n\nb b. b\nb ", "\n\n"),
    "a blank line that holds spaces": (f"{HALF}\n \t\nb b. b\nb ", "\n \t\n"),
    "a line end before a sentence": (f"{HALF}\nb b. b ", "\n"),
    "a sentence before a word": (f"{HALF}. b b ", ". "),
    "a quoted sentence": (f'{HALF}!" b b ', '!" '),
    "a sentence without spaces": (f"{HALF}。b", "。"),
    "a word": (f"{HALF} bb", " "),
}


@pytest.mark.parametrize("name", CUTS)
def test_the_best_pause_is_taken(write, name):
    text, end = CUTS[name]
    first, second = pieces_of(write("a.txt", text + "c" * (MAX_CHUNK - MIN_CHUNK)))
    assert first.values["text"] == HALF + end
    assert second.values["text"].startswith("b")


def test_without_a_pause_the_cut_is_hard(write):
    rows = pieces_of(write("a.txt", "x" * (2 * MAX_CHUNK + 1)))
    assert [len(row.values["text"]) for row in rows] == [MAX_CHUNK, MAX_CHUNK, 1]


def test_a_pause_too_early_makes_no_tiny_piece(write):
    first, *_ = pieces_of(write("a.txt", "Title\n\n" + "x" * MAX_CHUNK))
    assert len(first.values["text"]) == MAX_CHUNK


def test_blank_pieces_join_their_neighbours(write):
    blank = "\n" * (2 * MAX_CHUNK)
    text = blank + "a" + blank + "b" + blank
    rows = pieces_of(write("a.txt", text))
    assert "".join(row.values["text"] for row in rows) == text
    assert [row.values["text"].strip() for row in rows] == ["a", "b"]


def test_a_document_of_blanks_has_no_rows(write):
    assert list(read_rows(write("a.txt", " \n\n "))) == []


def test_a_short_document_is_one_piece(write):
    (row,) = pieces_of(write("a.txt", "Hello."))
    assert (row.values, row.place) == ({"text": "Hello.", "ends": True}, "a.txt:1")


@pytest.mark.parametrize(
    ("text", "rows", "said"),
    [
        ("__label__a good film\n\n__label__b bad one\n",
         [{"text": "good film", "label": "a"}, {"text": "bad one", "label": "b"}], "fastText"),
        ("__label__a __label__c good film\n__label__b bad one\n",
         [{"text": "good film", "label": ["a", "c"]}, {"text": "bad one", "label": ["b"]}], "fastText"),
        ("Anna|NNP|I-PER sings|VBZ|O\nin|IN|O Rome|NNP|I-LOC\n",
         [{"tokens": ["Anna", "sings"], "tags": ["I-PER", "O"]}, {"tokens": ["in", "Rome"], "tags": ["O", "I-LOC"]}],
         "joined by `|`"),
    ],
    ids=["fastText", "several labels", "tags"],
)  # fmt: skip
def test_lines_with_labels_or_tags_are_rows(write, text, rows, said):
    read = list(read_rows(write("a.txt", text)))
    assert [row.values for row in read] == rows
    assert said in read[0].note


def test_lines_that_begin_with_few_words_are_named(write):
    lines = "".join(f"{('DESC:manner', 'NUM:count')[n % 2]} How many is {n} ?\n" for n in range(40))
    assert "each line begins with one of 2 words such as `DESC:manner`" in next(read_rows(write("a.txt", lines))).note
    talk = "".join(f"{('ANNA:', 'OTTO:')[n % 2]} How many is {n} ?\n" for n in range(40))
    assert next(read_rows(write("b.txt", talk))).note == ""


def test_objects_in_the_lines_of_a_text_are_rows(write):
    rows = list(read_rows(write("a.txt", '{"prompt": "a", "completion": "b"}\n' * 3)))
    assert [row.values for row in rows] == [{"prompt": "a", "completion": "b"}] * 3
    assert rows[0].note == "`a.txt` is read as JSON Lines: each line is an object."


def test_a_table_under_the_name_of_a_text_is_named(write):
    assert "names of columns" in next(read_rows(write("a.txt", "text,label\n" + "b, a thing,1\n" * 9))).note
    assert next(read_rows(write("b.txt", "Dear reader, a question\nmay be asked, often\n"))).note == ""


def test_words_with_tags_after_slashes_are_sentences(tmp_path):
    path = tmp_path / "brown.txt"
    path.write_text("Anna/np sings/vbz ./.\n1/2/cd of/in Rome/np ./.\n\n" * 4, encoding="utf-8")
    found = list(read_text_or_lines(path))
    assert found[0].values == {"tokens": ["Anna", "sings", "."], "tags": ["np", "vbz", "."]}
    assert found[1].values["tokens"] == ["1/2", "of", "Rome", "."]
    assert "joined by `/`" in found[0].note


@pytest.mark.parametrize("line", ["a/b.txt c/d.txt", "He and/or she sings.", "x/1 y/2 z/3"])
def test_other_words_with_slashes_are_running_text(tmp_path, line):
    path = tmp_path / "a.txt"
    path.write_text("".join(f"{line}{number}\n" for number in range(9)), encoding="utf-8")
    assert "text" in next(iter(read_text_or_lines(path))).values
