"""CoNLL files with chosen columns, and CoNLL-U: words and tags come from the right ones, or the user is asked."""

from __future__ import annotations

import pytest

from burnish.data.files.conll import read_conll
from burnish.data.files.sources import find_sources, read_source
from burnish.data.rows.dataset import load_records
from burnish.data.rows.row import Rejected
from burnish.errors import DataError
from burnish.recipe.load import load_recipe
from burnish.recipe.schema import DataSection
from tests.snapshots import check_message

UD = """# sent_id = 1
# text = Vámonos al mar
1-2\tVámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tVamos\tir\tVERB\tV\tMood=Imp\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\tP\t_\t1\tobj\t_\t_
3-4\tal\t_\t_\t_\t_\t_\t_\t_\t_
3\ta\ta\tADP\tA\t_\t5\tcase\t_\t_
4\tel\tel\tDET\tD\t_\t5\tdet\t_\t_
5\tmar\tmar\tNOUN\tN\t_\t1\tobl\t_\tSpaceAfter=No

# text = Sue likes tea and Bill gin
1\tSue\tSue\tPROPN\tNNP\t_\t2\tnsubj\t_\t_
2\tlikes\tlike\tVERB\tVBZ\t_\t0\troot\t_\t_
3\ttea\ttea\tNOUN\tNN\t_\t2\tobj\t_\t_
4\tand\tand\tCCONJ\tCC\t_\t5\tcc\t_\t_
5\tBill\tBill\tPROPN\tNNP\t_\t2\tconj\t_\t_
5.1\tlikes\tlike\tVERB\tVBZ\t_\t_\t_\t_\t_
6\tgin\tgin\tNOUN\tNN\t_\t5\torphan\t_\t_
"""
WORDS = [["Vamos", "nos", "a", "el", "mar"], ["Sue", "likes", "tea", "and", "Bill", "gin"]]
UPOS = [["VERB", "PRON", "ADP", "DET", "NOUN"], ["PROPN", "VERB", "NOUN", "CCONJ", "PROPN", "NOUN"]]


def tagged(records):
    found = sorted(
        [*records.train, *records.valid, *records.test], key=lambda record: int(record.place.rpartition(":")[2])
    )
    return [list(record.tokens) for record in found], [list(record.tags) for record in found]


@pytest.mark.parametrize("name", ["a.conllu", "a.conll", "a.bio"])
def test_conll_u_under_any_name_gives_forms_and_parts_of_speech(write, name):
    write(name, UD)
    records = load_records(DataSection(path=name))
    assert tagged(records) == (WORDS, UPOS)
    assert records.rejected == []
    assert records.shape.notes == (
        f"`{name}` is CoNLL-U; its words are read from `form` and their tags from `upos` (others with, for example, "
        "`--set data.columns.tags=xpos`).",
    )
    assert set(records.ignored_columns) == {"id", "lemma", "xpos", "feats", "head", "deprel", "deps", "misc"}


def test_other_columns_of_conll_u_are_chosen_by_name(write):
    write("a.conllu", UD)
    records = load_records(DataSection(path="a.conllu", columns={"tokens": "lemma", "tags": "xpos"}))
    words, tags = tagged(records)
    assert (words[1][1], tags[1][1]) == ("like", "VBZ")
    assert records.shape.notes == ()


def test_a_broken_line_of_conll_u_is_named(write):
    write("a.conllu", UD + "\n1\tAnna\tPROPN\n\n" + UD)
    (rejected,) = load_records(DataSection(path="a.conllu")).rejected
    assert rejected.line == UD.count("\n") + 2
    assert "3 columns" in rejected.reason


def test_columns_named_at_the_top_of_the_file(write):
    write("a.conllup", "# global.columns = ID FORM UPOS\n1\tAnna\tPROPN\n2\tsings\tVERB\n\n1\tRome\tPROPN\n")
    assert tagged(load_records(DataSection(path="a.conllup"))) == (
        [["Anna", "sings"], ["Rome"]],
        [["PROPN", "VERB"], ["PROPN"]],
    )


FOUR = "-DOCSTART- -X- -X- O\n\nAnna NNP B-NP B-PER\nsings VBZ B-VP O\n\nRome NNP B-NP B-LOC\n"


@pytest.mark.parametrize("text", [FOUR, FOUR.replace(" ", "\t")], ids=["spaces", "tabs"])
@pytest.mark.parametrize(
    ("columns", "tags"),
    [
        ({}, [["B-PER", "O"], ["B-LOC"]]),
        ({"tags": "2"}, [["NNP", "VBZ"], ["NNP"]]),
        ({"tags": "3"}, [["B-NP", "B-VP"], ["B-NP"]]),
        ({"tokens": "1", "tags": "4"}, [["B-PER", "O"], ["B-LOC"]]),
    ],
)
def test_columns_are_chosen_by_number(write, text, columns, tags):
    write("a.conll", text)
    records = load_records(DataSection(path="a.conll", columns=columns))
    assert tagged(records) == ([["Anna", "sings"], ["Rome"]], tags)


def test_numbers_of_columns_on_the_command_line(write):
    write("a.conll", FOUR)
    recipe = load_recipe("a.conll", {}, ["data.columns.tokens=1", "data.columns.tags=2"]).recipe
    assert recipe.data.columns == {"tokens": "1", "tags": "2"}


def test_a_column_that_does_not_exist_is_refused(write):
    write("a.conll", FOUR)
    with pytest.raises(DataError, match="there is no column `7`"):
        load_records(DataSection(path="a.conll", columns={"tags": "7"}))


UNCLEAR = {
    "numbered": "1\tAnna\tB-PER\tO\n2\tsings\tO\tO\n\n1\tRome\tB-LOC\tO\n2\trains\tO\tO\n",
    "numbered, by spaces": "1 Anna NNP\n2 sings VBZ\n\n1 Rome NNP\n2 rains VBZ\n",
    "numbered from 0": "0 Anna NNP\n1 sings VBZ\n\n0 Rome NNP\n1 rains VBZ\n",
    "numbered through": "1 Anna NNP\n2 sings VBZ\n\n3 Rome NNP\n4 rains VBZ\n",
    "names of documents": "d1 0 Anna NNP\nd1 1 sings VBZ\n\nd1 0 Rome NNP\nd1 1 rains VBZ\n\nd1 0 Oslo NNP\n",
    "empty at the end": "Anna\tB-PER\t_\nsings\tO\t_\n\nRome\tB-LOC\t_\n",
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_columns_that_are_not_clear_are_asked_with_the_command(write, name):
    path = write("a.conll", UNCLEAR[name])
    with pytest.raises(DataError) as caught:
        list(read_conll(path))
    check_message(caught.value)
    sets = [part for part in caught.value.fix.split("`") if part.startswith("--set")]
    chosen = dict(one.removeprefix("data.columns.").split("=") for one in sets[0].split() if one != "--set")
    found = list(read_source(find_sources("a.conll", columns=chosen).train[0]))
    assert [row.values[chosen["tokens"]] for row in found if not isinstance(row, Rejected)] == [
        ["Anna", "sings"],
        ["Rome", "rains"][: 1 if "end" in name else 2],
        *([["Oslo"]] if "documents" in name else []),
    ]
    assert [row.values[chosen["tags"]][0] for row in found if not isinstance(row, Rejected)] in (
        ["B-PER", "B-LOC"],
        ["NNP", "NNP"],
        ["NNP", "NNP", "NNP"],
    )


def test_numbers_as_words_are_words(write):
    text = "12\tO\nmen\tO\n\n1\tO\nwoman\tO\n\n3\tO\n"
    assert [row.values["tokens"] for row in read_conll(write("a.conll", text))] == [
        ["12", "men"],
        ["1", "woman"],
        ["3"],
    ]
