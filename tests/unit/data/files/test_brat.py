"""Folders of brat: each line of a text with its entities, whatever is discontinuous, misplaced or missing named."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import pytest

from burnish.data.files.brat import read_brat
from burnish.data.files.sources import find_sources
from burnish.data.rows.dataset import load_records
from burnish.data.rows.row import Rejected
from burnish.errors import DataError
from burnish.recipe.schema import DataSection
from tests.snapshots import check_message, check_text

TEXT = "Anna lives in Rome.\nIt rains there.\n\nOtto sings in Old\nTown, Bo sings.\n"
ENTITIES = "T1\tPER 0 4\tAnna\nT2\tLOC 14 18\tRome\nT3\tLOC 51 54;55 59\tOld Town\nT4\tPER 37 41\tOtto\n"
OTHERS = "R1\tLives_In Arg1:T1 Arg2:T2\nA1\tSure T1\n#1\tAnnotatorNotes T1\tsure?\n"


def read(path):
    rows = list(read_brat(path))
    good = [
        (row.line, row.values["text"], [(one["start"], one["end"], one["label"]) for one in row.values["entities"]])
        for row in rows
        if not isinstance(row, Rejected)
    ]
    return good, [(row.place, row.reason) for row in rows if isinstance(row, Rejected)]


ROWS = [
    (1, "Anna lives in Rome.", [(0, 4, "PER"), (14, 18, "LOC")]),
    (2, "It rains there.", []),
    (4, "Otto sings in Old\nTown, Bo sings.", [(0, 4, "PER"), (14, 22, "LOC")]),
]


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_lines_are_rows_and_an_entity_that_goes_on_joins_two(write, ends):
    write("a.txt", TEXT.replace("\n", ends))
    good, broken = read(write("a.ann", ENTITIES + OTHERS))
    assert (good, broken) == (
        ROWS,
        [],
    )


def test_places_may_count_the_end_of_a_line_as_two_characters(write):
    write("a.txt", "It rains.\r\nAnna sings.\r\n")
    assert read(write("a.ann", "T1\tPER 11 15\tAnna\n"))[0][1] == (2, "Anna sings.", [(0, 4, "PER")])


def test_a_long_text_is_read_in_the_time_of_its_lines(write):
    number = 20_000
    write("a.txt", "Anna sings.\n" * number)
    write("a.ann", "".join(f"T{n}\tPER {12 * n} {12 * n + 4}\tAnna\n" for n in range(number)))
    begun = time.process_time()
    good, broken = read(Path("a.ann"))
    assert (len(good), broken) == (number, [])
    assert {tuple(spans) for _, _, spans in good} == {((0, 4, "PER"),)}
    assert time.process_time() - begun < 5


def test_both_files_may_be_compressed_and_a_text_may_have_no_entity(write):
    write("a.txt.gz", gzip.compress(TEXT.encode()))
    assert read(write("a.ann.gz", gzip.compress(ENTITIES.encode()))) == (ROWS, [])
    write("b.txt", "It rains.\n")
    assert read(write("b.ann", "")) == ([(1, "It rains.", [])], [])
    write("c.txt", "")
    assert read(write("c.ann", "")) == ([], [])


def test_a_discontinuous_entity_leaves_its_line_out(write):
    write("a.txt", "It rains.\nleft and right hand\nAnna sings.\n")
    good, broken = read(write("a.ann", "T1\tHAND 10 14;25 29\tleft hand\nT2\tPER 30 34\tAnna\n"))
    assert [line for line, _, _ in good] == [1, 3]
    assert [place for place, _ in broken] == ["a.txt:2"]
    check_text(broken[0][1])


BROKEN = {
    "another text": "T1\tPER 0 4\tOtto\n",
    "outside": "T1\tPER 0 4\tAnna\nT2\tLOC 70 99\tRome\n",
    "empty": "T1\tPER 4 4\t\n",
    "no places": "T1\tPER\tAnna\n",
    "no tabs": "anything\n",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_text_whose_annotations_do_not_fit_is_skipped(write, kind):
    """Its words would be learned as belonging to no entity."""
    write("a.txt", TEXT)
    good, broken = read(write("a.ann", BROKEN[kind]))
    assert (good, len(broken)) == ([], 1)
    check_text(": ".join(broken[0]))


def test_annotations_without_their_text_are_refused(write):
    with pytest.raises(DataError) as caught:
        list(read_brat(write("a.ann", ENTITIES)))
    check_message(caught.value)


def test_a_folder_of_annotated_texts_is_a_file_of_entities(write):
    for name in ("on-train-1", "on-train-2"):
        write(f"corpus/{name}.txt", TEXT)
        write(f"corpus/{name}.ann", ENTITIES + OTHERS)
    write("corpus/alone.txt", "No one annotated this.")
    write("corpus/annotation.conf", "[entities]\nPER\nLOC\n")
    records = load_records(DataSection(path="corpus"))
    assert records.shape.name == "entities"
    assert records.rejected == []
    assert sorted(set(map(str, (one.tags for one in [*records.train, *records.valid, *records.test])))) == sorted(
        map(
            str,
            (
                ("B-PER", "O", "O", "B-LOC", "O"),
                ("O", "O", "O", "O"),
                ("B-PER", "O", "O", "B-LOC", "I-LOC", "O", "O", "O", "O"),
            ),
        )
    )
    assert records.ignored_columns == ("attributes", "notes", "relations")
    check_text("\n".join(records.shape.notes))


def test_folders_named_after_splits(write):
    for split in ("train", "dev", "test"):
        write(f"corpus/{split}/one.txt", TEXT)
        write(f"corpus/{split}/one.ann", ENTITIES)
    sources = find_sources("corpus")
    assert [[str(path) for path in part or []] for part in (sources.train, sources.valid, sources.test)] == [
        [f"corpus/{split}/one.ann"] for split in ("train", "dev", "test")
    ]


def test_of_many_texts_the_first_are_named(write):
    for number in range(30):
        write(f"corpus/{number:02}.txt", TEXT)
        write(f"corpus/{number:02}.ann", ENTITIES)
    (note,) = find_sources("corpus").notes
    assert note.endswith("`19.ann` + 10 more.")


def test_a_text_given_alone_says_that_it_has_annotations(write):
    write("a.txt", TEXT)
    write("a.ann", ENTITIES)
    check_text("\n".join(find_sources("a.txt").notes))
