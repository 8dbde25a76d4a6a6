"""Tables with one word per row: sentences by their column or by blank rows, tags from one column, or a question."""

from __future__ import annotations

import io
import subprocess
import sys

import pandas
import pytest

from burnish.data.files.sources import find_sources, read_source
from burnish.data.rows.dataset import load_records
from burnish.data.rows.row import Rejected
from burnish.data.rows.shapes import detect_shape
from burnish.errors import DataError
from burnish.recipe.schema import DataSection
from tests.snapshots import check_message, check_text
from tests.unit.data.files.workbooks import workbook

WORDS = [["Anna0", "sings", "."], ["in", "Rome"], ["Otto", "Lee", "too"]]
TAGS = [["B-per", "O", "O"], ["O", "B-geo"], ["B-per", "I-per", "O"]]
POS = [["NNP", "VBZ", "."], ["IN", "NNP"], ["NNP", "NNP", "RB"]]


def table(header: str, named: list[str | None], separator: str = ",", blank: str | None = None) -> str:
    """A table of the sentences above; `named` has the cell of each sentence, None for one that only begins with it."""
    lines = [header]
    for words, tags, parts, name in zip(WORDS, TAGS, POS, named, strict=True):
        for number, (word, tag, part) in enumerate(zip(words, tags, parts, strict=True)):
            first = [] if name is None else [name if number == 0 or not name.startswith("Sentence: ") else ""]
            lines.append(separator.join([*first, word, part, tag]))
        lines += [] if blank is None else [blank]
    return "\n".join(lines) + "\n"


TABLES = {
    "kaggle.csv": table("Sentence #,Word,POS,Tag", ["Sentence: 1", "Sentence: 2", "Sentence: 3"]),
    "each.csv": table("sentence_id,token,pos,ner", ["7", "8", "9"]),
    "tabs.tsv": table("sent\tword\tPOS\tner_tags", ["a", "b", "c"], "\t"),
    "semicolons.csv": table("Sentence;Word;POS;Tag", ["1", "2", "3"], ";"),
    "blank.tsv": table("word\tpos\ttag", [None] * 3, "\t", ""),
    "empty.csv": table("word,pos,tag", [None] * 3, ",", ",,"),
    "text.csv": table("sentence,token,pos,tag", [" ".join(words) for words in WORDS]),
}


def load(name, **columns):
    records = load_records(DataSection(path=name, columns=columns))
    found = sorted(
        [*records.train, *records.valid, *records.test], key=lambda record: int(record.place.rpartition(":")[2])
    )
    return [list(one.tokens) for one in found], [list(one.tags) for one in found], records


@pytest.mark.parametrize("name", TABLES)
def test_words_become_sentences(write, name):
    write(name, TABLES[name])
    words, tags, records = load(name)
    assert (words, tags, records.rejected) == (WORDS, TAGS, [])
    check_text("\n".join(records.shape.notes))


def test_a_worksheet_and_parquet_are_read_alike(write):
    frame = pandas.read_csv(io.StringIO(TABLES["kaggle.csv"]))
    frame.to_parquet(write("a.parquet", ""))
    assert load("a.parquet")[:2] == (WORDS, TAGS)
    for name in ("kaggle.csv", "empty.csv"):
        cells = [[cell or None for cell in line.split(",")] for line in TABLES[name].splitlines()]
        write("a.xlsx", workbook({"words": cells}))
        assert load("a.xlsx")[:2] == (WORDS, TAGS)


def test_each_file_of_a_folder_is_read_alike(write):
    write("data/train.csv", TABLES["kaggle.csv"])
    write("data/dev.tsv", TABLES["tabs.tsv"].replace("Otto", "Bea"))
    records = load_records(DataSection(path="data"))
    assert [list(one.tokens) for one in records.train] == WORDS[2:], "the others are in the validation data"
    assert [list(one.tokens) for one in records.valid] == [*WORDS[:2], ["Bea", "Lee", "too"]]


def test_other_columns_are_chosen_by_name(write):
    write("kaggle.csv", TABLES["kaggle.csv"])
    _, tags, records = load("kaggle.csv", tags="POS")
    assert (tags, records.ignored_columns) == (POS, ("Tag",))
    assert load("kaggle.csv")[2].ignored_columns == ("POS",)
    write("own.csv", table("Satz,Wort,Art,Etikett", ["1", "2", "3"]))
    assert load("own.csv", tokens="Wort", tags="Etikett", sentence_id="Satz")[:2] == (WORDS, TAGS)


def test_numbers_that_begin_again_name_other_sentences(write):
    write("a.csv", table("doc,word,pos,tag".replace("doc", "sentence"), ["1", "2", "1"]))
    assert load("a.csv")[0] == WORDS


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [
        ("8,in,IN,O\n", "8,,IN,O\n", [0, 2]),
        ("8,in,IN,O\n", "8,in,IN,\n", [0, 2]),
        ("7,sings,VBZ,O\n", "7,sings,VBZ\n", [1, 2]),
        ("8,in,IN,O\n", "8,in\n", [2]),
    ],
    ids=["no word", "no tag", "a short row", "a short row that may begin a sentence"],
)
def test_a_broken_row_leaves_its_sentence_out(write, old, new, kept):
    assert old in TABLES["each.csv"]
    more = "".join(f"{n},go,VB,O\n{n},on,RB,O\n" for n in range(20, 40))
    rows = list(read_source(find_sources(str(write("a.csv", TABLES["each.csv"].replace(old, new) + more))).train[0]))
    good = [row.values["tokens"] for row in rows if not isinstance(row, Rejected)]
    assert good == [WORDS[number] for number in kept] + [["go", "on"]] * 20
    (broken, *_) = [row for row in rows if isinstance(row, Rejected)]
    check_text(f"{broken.place}: {broken.reason}")


UNCLEAR = {
    "two kinds of tags": table("sentence,word,pos,xpos", ["1", "2", "3"]).replace("B-", "").replace("I-", ""),
    "no sentences": table("word,pos,tag", [None] * 3),
    "sentences under another name": table("Nr,word,pos,tag", ["1", "2", "3"]),
    "other names": "Nr,Wort,Etikett\n" + "".join(f"{n},Wort{n},O\n{n},Rom,B-LOC\n" for n in range(12)),
    "shuffled": "sentence,word,tag\n" + "".join(f"{n % 5},w{n},{'B-LOC' if n % 3 else 'O'}\n" for n in range(40)),
}


@pytest.mark.parametrize("kind", UNCLEAR)
def test_what_is_not_clear_is_asked_with_the_command(write, kind):
    write("a.csv", UNCLEAR[kind])
    with pytest.raises(DataError) as caught:
        load("a.csv")
    check_message(caught.value)


OTHERS = {
    "a word and its language": "word,label\n" + "Anna,it\nHaus,de\n" * 10,
    "targets in sentences": "sentence,word,label\n" + "".join(
        f"This is a long line {n},line,1\nThis is a long line {n},long,0\n" for n in range(10)
    ),
    "texts and their lengths": 'prompt,completion,tokens,label\n' + '"a\nb",c d,12,1\n"e\nf",g h,14,0\n' * 10,
    "codes": "code,price,group\n" + "".join(f"M-{n},{n},a\n" for n in range(30)),
    "words as lists": 'tokens,tags\n"[""Anna"", ""sings""]","[""B-PER"", ""O""]"\n' * 3,
    "mapped otherwise": TABLES["each.csv"],
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHERS)
def test_other_tables_stay_as_they_are(write, kind):
    columns = {"text": "token", "label": "pos"} if kind == "mapped otherwise" else {}
    path = write("a.csv", OTHERS[kind])
    rows = list(read_source(find_sources(str(path), columns=columns).train[0]))
    plain = list(pandas.read_csv(path).columns)
    assert all(list(row.values) == plain for row in rows)
    assert all(isinstance(value, str) for row in rows for value in row.values.values())


NAMELESS = "".join(f"Anna{number}\tB-PER\nsings\tO\nhere\tO\n\n" for number in range(8))


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("a.tsv", "`cp a.tsv a.conll`"),
        (
            "a b.csv",
            "`python -c 'import csv, sys; [print(*row, sep=\"\\t\") for row in csv.reader(sys.stdin)]' < 'a b.csv' "
            "> 'a b.conll'`",
        ),
    ],
)
def test_a_table_without_names_is_given_the_command_that_makes_conll_of_it(write, name, command):
    path = write(name, NAMELESS if name == "a.tsv" else NAMELESS.replace("\t", ","))
    with pytest.raises(DataError) as caught:
        load(name)
    assert caught.value.fix.endswith(command)
    subprocess.run(["sh", "-c", command.strip("`").replace("python", sys.executable, 1)], check=True)
    made = path.with_suffix(".conll")
    first = next(read_source(find_sources(str(made)).train[0]))
    assert list(first.values.values())[:2] == [["Anna0", "sings", "here"], ["B-PER", "O", "O"]]


def test_tags_that_are_no_scheme_leave_it_to_the_user_whether_a_row_is_a_word(write):
    path = write("a.tsv", "Anna\tNOUN\nsings\tVERB\nhere\tADV\n\n" * 6)
    rows = list(read_source(find_sources(str(path)).train[0]))
    with pytest.raises(DataError) as caught:
        detect_shape(rows, {})
    assert "If each row is a word with its tags: `cp a.tsv a.conll`, and give the copy" in caught.value.fix
