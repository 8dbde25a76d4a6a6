"""CoNLL files: what is a sentence, what is left out and named, and which files are recognized by their lines."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from burnish.data.files.conll import looks_like_conll, read_conll
from burnish.data.files.readers import data_suffix, file_suffix, read_rows
from burnish.data.files.sources import find_sources
from burnish.data.rows.dataset import load_records
from burnish.data.rows.row import Rejected
from burnish.errors import DataError
from burnish.recipe.schema import DataSection
from tests.snapshots import check_message, check_text

TABS = "Anna\tB-PER\nKowal\tI-PER\nlives\tO\n\nin\tO\nRome\tB-LOC\n"
ANNA = (1, ["Anna", "Kowal", "lives"], ["B-PER", "I-PER", "O"])
ROME = (5, ["in", "Rome"], ["O", "B-LOC"])
LONG = "\n".join(f"word{number}\tO\nRome\tB-LOC\n" for number in range(4))


def read(path):
    rows = list(read_conll(path))
    good = [(row.line, row.values["tokens"], row.values["tags"]) for row in rows if not isinstance(row, Rejected)]
    return good, [(row.line, row.reason) for row in rows if isinstance(row, Rejected)]


SPELLINGS = {
    "tabs": TABS,
    "spaces": TABS.replace("\t", " "),
    "aligned": TABS.replace("\t", "     ").replace("lives", "  lives"),
    "windows": TABS.replace("\n", "\r\n"),
    "no last line end": TABS[:-1],
    "byte order mark": "\ufeff" + TABS,
    "white space between": TABS.replace("\n\n", "\n\t \n"),
    "more columns": TABS.replace("\t", "\tNNP\tx\t"),
    "more columns, spaces": TABS.replace("\t", " NNP -X- "),
    "blanks at the end": TABS.replace("\n", " \n"),
}


@pytest.mark.parametrize("content", SPELLINGS.values(), ids=SPELLINGS)
def test_every_spelling_gives_the_same_sentences(write, content):
    assert read(write("a.conll", content)) == ([ANNA, ROME], [])


@pytest.mark.parametrize("name", ["a.conll", "a.iob", "a.iob2", "a.bio", "a.bioes", "A.CoNLL", "a.conll.gz"])
def test_the_endings(write, name):
    content = gzip.compress(TABS.encode()) if name.endswith(".gz") else TABS
    assert [row.values["tokens"] for row in read_rows(write(name, content))] == [ANNA[1], ROME[1]]


def test_documents_part_sentences(write):
    text = "-DOCSTART- -X- -X- O\n\nAnna NNP B-NP B-PER\nlives VBZ B-VP O\n-DOCSTART- -X- O O\nRome NNP B-NP B-LOC\n"
    assert [line for line, _, _ in read(write("a.conll", text))[0]] == [3, 6]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# global.columns = FORM NE\n# sent_id = 7\nAnna B-PER\nsings O\n", ["Anna", "sings"]),
        ("# sent_id = 7\nAnna NNP _ B-PER\nsings VBZ _ O\n", ["Anna", "sings"]),
        ("# a remark\n\nAnna\tB-PER\n", ["Anna"]),
        ("## part one of the corpus\nAnna\tB-PER\nsings\tO\n", ["Anna", "sings"]),
        ("Anna\tB-PER\n# she is the singer\nsings\tO\n", ["Anna", "sings"]),
        ("#\tO\n1\tO\n", ["#", "1"]),
        ("# O\n1 O\n", ["#", "1"]),
        ("#anna\tB-PER\n#sings\tO\n", ["#anna", "#sings"]),
        ("go\tO\n#anna\tB-PER\n", ["go", "#anna"]),
        ("#anna B-PER\n", ["#anna"]),
    ],
)
def test_a_comment_is_left_out_and_a_hashtag_is_a_word(write, text, words):
    (sentence,), broken = read(write("a.conll", text))
    assert (sentence[1], broken) == (words, [])


def test_a_word_may_hold_spaces_between_tabs(write):
    assert read(write("a.conll", "New York\tB-LOC\na\u00a0b\tO\n\u00a0\tO\n"))[0][0][1] == [
        "New York",
        "a\xa0b",
        "\xa0",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\tO\nb\nc\tO\n", 2),
        ("a\tO\nb\t\nc\tO\n", 2),
        ("a\tO\nb O\nc\tO\n", 2),
        ("a O\nb x O\nc O\n", 2),
        ("a O\n#b\nc O\n", 2),
        ("a\nb\n", 1),
        ("a\tO\n\tO\n", 2),
    ],
)
def test_a_broken_line_is_named_and_the_rest_goes_on(write, text, line):
    good, broken = read(write("a.conll", f"{text}\nRome\tB-LOC\n"))
    assert ([words for _, words, _ in good], [number for number, _ in broken]) == ([["Rome"]], [line])
    check_text(broken[0][1])


def test_a_file_is_recognized_by_its_lines(write):
    path = write("emerging.annotated", LONG)
    assert (data_suffix(path.name), file_suffix(path)) == (None, ".conll")
    assert find_sources(str(path)).train == [path]
    assert len(list(read_rows(path))) == 4


def test_what_is_recognized_by_its_lines_is_noted(write):
    write("train.txt", LONG)
    records = load_records(DataSection(path="train.txt"))
    assert records.shape.name == "tagged"
    assert records.shape.notes == ("`train.txt` is read as CoNLL: each of its lines has a word and its tag.",)
    write("a.conll", LONG)
    assert load_records(DataSection(path="a.conll")).shape.notes == ()


CONLL = {
    "tabs": LONG,
    "gzip": LONG,
    "comments": "# a remark\n" + LONG,
    "documents": "-DOCSTART-\tO\n\n" + LONG,
    "one broken line in two hundred": LONG * 17 + "broken\n",
    "BIOES": LONG.replace("B-", "S-"),
    "spaces": LONG.replace("\t", " ") * 3,
    "four columns": LONG.replace("\t", " NNP B-NP ") * 3,
    "longer than the look": LONG * 5000,
    "CoNLL-U": "".join(
        f"# sent_id = {n}\n1-2\tim"
        + "\t_" * 8
        + "\n1\tin\tin\tADP"
        + "\t_" * 6
        + "\n2\tdem\tder\tDET"
        + "\t_" * 6
        + "\n\n"
        for n in range(9)
    ),
}


@pytest.mark.parametrize("kind", CONLL)
def test_what_is_conll_by_its_look(write, kind):
    name, content = ("a.txt.gz", gzip.compress(LONG.encode())) if kind == "gzip" else ("a.txt", CONLL[kind])
    assert looks_like_conll(write(name, content))


TEXTS = {
    "prose": "Anna lives in Rome.\nShe sings.\n" * 20,
    "one word a line": "Anna\nlives\nin\nRome\nO\n" * 20,
    "a table": "name\tcity\nAnna\tRome\nJan\tOslo\n" * 20,
    "a table of letters": "Anna\tO\nJan\tO\n" * 20,
    "parts of speech": "Anna\tNNP\nsings\tVBZ\n" * 20,
    "few lines": "Anna\tB-PER\nlives\tO\n",
    "few lines with spaces": LONG.replace("\t", " "),
    "lines that end in O": "the vitamin group O\n" * 30,
    "prose among it": LONG + "Anna lives in Rome.\n" * 2,
    "prose among it, by spaces": LONG.replace("\t", " ") * 5 + "Anna lives in Rome.\n",
    "other widths": "a\tB-X\nb\tc\tO\nb\tc\td\tO\n" * 20,
    "a list": "B-52\n" * 30,
    "a numbered table": "1\ta\tb\tc\n2\td\te\tf\n" * 30,
    "nothing": "",
    "not UTF-8": b"caf\xe9\tB-LOC\nx\tO\n" * 20,
}


@pytest.mark.parametrize("content", TEXTS.values(), ids=TEXTS)
def test_a_text_is_never_taken_for_conll(write, content):
    assert not looks_like_conll(write("a.txt", content))
    assert file_suffix(write("a.txt", content)) == ".txt"
    with pytest.raises(DataError) as caught:
        find_sources(str(write("a.data", content)))
    check_message(caught.value)


SENTENCE = [("Anna", "B-PER"), ("lives", "O"), ("in", "O"), ("Rome", "B-LOC")]
TAGS_FIRST = "".join(f"{tag}\t{word}\n" for word, tag in SENTENCE)
NESTED = "# http://x [2009]\n" + "".join(f"{n}\t{word}\t{tag}\tO\n" for n, (word, tag) in enumerate(SENTENCE, start=1))


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [("a.txt", TAGS_FIRST, {"tokens": "2", "tags": "1"}), ("a.tsv", NESTED, {"tokens": "2", "tags": "3"})],
    ids=["tags first", "two columns of tags, of which the last has none"],
)
def test_tags_in_another_column_than_the_last_are_no_running_text(
    tmp_path: Path, name: str, text: str, columns: dict[str, str]
) -> None:
    path = tmp_path / name
    path.write_text(f"{text}\n" * 6, encoding="utf-8")
    options = " ".join(f"--set data.columns.{field}={place}" for field, place in columns.items())
    with pytest.raises(DataError) as caught:
        load_records(DataSection(path=str(path)))
    assert f"`{options}`" in caught.value.fix
    records = load_records(DataSection(path=str(path), columns=columns))
    assert records.shape.name == "tagged" and list(records.train[0].tags) == ["B-PER", "O", "O", "B-LOC"]
