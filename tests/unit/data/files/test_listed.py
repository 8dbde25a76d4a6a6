"""Text files that hold a list of rows: JSON under another name, and lists in Python code, which is never run."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from burnish.data.files import listed
from burnish.data.files.readers import read_rows
from burnish.data.rows.row import Rejected, Row
from burnish.data.rows.shapes import detect_shape
from burnish.errors import DataError
from tests.snapshots import check_message, check_text

TRAIN_DATA = """import spacy

# made by hand
TRAIN_DATA: list = [
    # people
    ("Who is Shaka Khan?", {"entities": [(7, 17, "PERSON")]}),
    ("I like London.", {"entities": [(7, 13, "LOC")]}),
]
"""


def read(folder: Path, content: str, name: str = "rows.txt") -> list[Row | Rejected]:
    (folder / name).write_text(content, encoding="utf-8")
    return list(read_rows(folder / name))


def values(found: list[Row | Rejected]) -> list[dict[str, Any]]:
    return [row.values for row in found if isinstance(row, Row)]


def test_a_list_of_spacys_guides(tmp_path: Path) -> None:
    rows = read(tmp_path, TRAIN_DATA)
    assert values(rows) == [
        {"text": "Who is Shaka Khan?", "entities": [[7, 17, "PERSON"]]},
        {"text": "I like London.", "entities": [[7, 13, "LOC"]]},
    ]
    assert [row.line for row in rows] == [6, 7]
    assert isinstance(rows[0], Row)
    check_text(rows[0].note)
    assert detect_shape([row for row in rows if isinstance(row, Row)], {}).name == "entities"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('[("good film", "pos"), ("bad film", "neg")]', [["good film", "pos"], ["bad film", "neg"]]),
        ("rows = [\n{'text': 'good', 'label': True}]", [["good", True]]),
        ("[('text', 'label'), ('good', 'pos'), ('bad', 'neg')]", [["good", "pos"], ["bad", "neg"]]),
        ("X = [{'text': 'a\\w', 'tags': {'x'}}]\nprint(X)\nY = [1, 2]", [["a\\w", ["x"]]]),
    ],
)
def test_lists_in_python_code(content: str, expected: list[Any], tmp_path: Path) -> None:
    assert [list(row.values()) for row in values(read(tmp_path, content))] == expected


def test_code_is_not_run(tmp_path: Path) -> None:
    made = tmp_path / "made"
    content = f"rows = [\n{{'text': 'a'}},\n{{'text': open({str(made)!r}, 'w').name}},\n7]\nopen({str(made)!r}, 'w')"
    rows = read(tmp_path, content)
    assert values(rows) == [{"text": "a"}]
    assert not made.exists()
    check_text("\n".join(f"{row.line}: {row.reason}" for row in rows if isinstance(row, Rejected)))


@pytest.mark.parametrize(
    "content",
    [
        '[\n {"text": "good",\n  "label": null},\n {"text": "bad", "label": "neg"}\n]',
        '{"data": [\n {"text": "good", "label": null}, {"text": "bad", "label": "neg"}]}',
    ],
)
def test_a_json_document(content: str, tmp_path: Path) -> None:
    rows = read(tmp_path, content)
    assert values(rows) == [{"text": "good", "label": None}, {"text": "bad", "label": "neg"}]
    assert isinstance(rows[0], Row)
    assert rows[0].note.startswith("`rows.txt` is read as a JSON document.")


@pytest.mark.parametrize(
    "content",
    [
        "[Chapter 1]\nOnce upon a time there was a fox.",
        "[(1) first, (2) second] are the two of them.",
        "# Notes\nfrom the beginning of it.\n\nx = [(1, 2), (3, 4)] is a list of pairs.",
        "['an', 'unfinished', 'list'",
        "f = [('a', 1) for _ in range(3)]",
        "rows = [\n'" + "(" * 100_000 + "]",
        "rows = [" + "[" * 10_000 + "]" * 10_000 + "]",
        "\n" * 10_000 + "The end.",
    ],
)
def test_other_text_is_running_text(content: str, tmp_path: Path) -> None:
    rows = read(tmp_path, content)
    assert rows
    assert all(set(row) == {"text", "ends"} for row in values(rows))
    assert "".join(row["text"] for row in values(rows)) == content


def test_a_set_has_the_same_order_in_every_process(tmp_path: Path) -> None:
    words = [f"w{number}" for number in range(30)]
    (row,) = values(read(tmp_path, f"rows = [{{'text': 'a', 'label': {set(words)}}}]"))
    assert row["label"] == sorted(words)


@pytest.mark.parametrize("change", ["+= [('more', {'entities': []})]", ".extend(others)", ".append(('a', {}))"])
def test_a_list_that_code_changes_is_refused(change: str, tmp_path: Path) -> None:
    """Its rows would be dropped without a word."""
    with pytest.raises(DataError) as caught:
        read(tmp_path, f"{TRAIN_DATA}for _ in range(2):\n    TRAIN_DATA{change}\n")
    check_message(caught.value, {tmp_path: "FOLDER"})


@pytest.mark.parametrize("content", ["[{'text': 'a'}]\n[{'text': 'b'}]", "X = [{'text': 'a'}]\nX = [{'text': 'b'}]"])
def test_the_second_of_two_lists_is_not_taken_in_silence(content: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="several lists"):
        read(tmp_path, content)


def test_several_lists_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, TRAIN_DATA + TRAIN_DATA.replace("TRAIN", "TEST"))
    check_message(caught.value, {tmp_path: "FOLDER"})


CODE = {
    "object.txt": 'import json\n\nDATA = {"train": [("good", "pos")], "n": 2}\nVERSION = 1\n',
    "printed.txt": "{'good': ['pos', None]}\n",
    "script.txt": '// by hand\nconst rows = [\n  {"text": "good", "label": "pos"}\n];\nmodule.exports = rows;\n',
    "default.txt": 'export default [{"text": "good"}];\n',
    "loose.txt": "let rows: Row[] = [\n  {text: 'good', label: \"pos\",},\n];\n",
    "almost.txt": '[\n  {text: "good"}, // fine\n  {text: "bad"},\n]\n',
}
MADE = {
    "object.txt": {"train": [["good", "pos"]], "n": 2},
    "printed.txt": {"good": ["pos", None]},
    "script.txt": [{"text": "good", "label": "pos"}],
    "default.txt": [{"text": "good"}],
}


@pytest.mark.parametrize("name", CODE)
def test_other_code_with_data_in_it_is_refused_with_the_command_that_makes_json(name: str, tmp_path: Path) -> None:
    """It was learned as running text, with its brackets and keys."""
    with pytest.raises(DataError) as caught:
        read(tmp_path, CODE[name], name)
    check_message(caught.value, {tmp_path: "FOLDER"})
    words = shlex.split(re.findall(r"`([^`]*)`", caught.value.fix)[0])
    if name in MADE:
        done = subprocess.run([sys.executable, *words[1:3]], capture_output=True, text=True, check=True)
        assert json.loads(done.stdout) == MADE[name]


@pytest.mark.parametrize(
    "content",
    [
        'x = {"a": 1} is what he wrote.',
        '{"a": 1} and {"b": 2} are objects.',
        "{Hello, world}",
        'DATA = {"a": 1}\n\n\ndef read():\n    return DATA\n',
        "const rows = [read(1), read(2)];",
        "const rows = [{a: 1}, {b: 2};",
        "[one, two, three]",
        "{" * 10_000,
        '{"a":' * 10_000,
    ],
)
def test_text_that_only_begins_like_data_is_running_text(content: str, tmp_path: Path) -> None:
    rows = read(tmp_path, content)
    assert "".join(row["text"] for row in values(rows)) == content


def test_too_much_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listed, "_MOST_CHARACTERS", len(TRAIN_DATA) - 1)
    with pytest.raises(DataError) as caught:
        read(tmp_path, TRAIN_DATA)
    check_message(caught.value, {tmp_path: "FOLDER"})


def test_a_python_file_has_to_be_copied(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, TRAIN_DATA, "rows.py")
    check_message(caught.value, {tmp_path: "FOLDER"})


@pytest.mark.parametrize("name", ["rows.js", "rows.toml", "rows.json5"])
def test_files_that_hold_data_in_another_language_are_given_the_command(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, '[[rows]]\nprompt = "q"\n', name)
    check_message(caught.value, {tmp_path: "FOLDER"})
