"""Labels as annotation tools write them: choices, verdicts of annotators, marks of other scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from burnish.data.labels.cells import as_flag, find_separator, split_cell
from burnish.data.rows.dataset import Records, load_records
from burnish.data.rows.records import LabelledRecord
from burnish.errors import DataError
from burnish.recipe.schema import DataSection

N = 30
MOODS = ("glad", "sad", "calm")


def load(folder: Path, rows: list[dict[str, Any]]) -> Records:
    path = folder / "rows.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return load_records(DataSection(path=str(path)))


def labels_of(records: Records) -> dict[str, tuple[str, ...]]:
    every = [*records.train, *records.valid, *records.test]
    return {one.texts[0]: one.labels for one in every if isinstance(one, LabelledRecord)}


def task(number: int, *annotations: list[str], question: str = "mood") -> dict[str, Any]:
    results = [
        [{"type": "choices", "from_name": question, "to_name": "text", "value": {"choices": choices}}]
        for choices in annotations
    ]
    return {"id": number, "data": {"text": f"Note {number}"}, "annotations": [{"result": one} for one in results]}


def test_choices_of_label_studio_are_labels(tmp_path: Path) -> None:
    records = load(tmp_path, [task(n, [MOODS[n % 3]]) for n in range(N)])
    assert records.shape.name == "labelled-text"
    assert labels_of(records) == {f"Note {n}": (MOODS[n % 3],) for n in range(N)}
    assert not any(one.is_multi for one in records.train if isinstance(one, LabelledRecord))


def test_several_choices_make_rows_that_can_have_several_labels(tmp_path: Path) -> None:
    tasks = [task(n, ["glad", "calm"] if n % 2 else ["sad"]) for n in range(N)]
    wanted = {f"Note {n}": ("calm", "glad") if n % 2 else ("sad",) for n in range(N)}
    assert labels_of(load(tmp_path, tasks)) == wanted
    smaller = [
        {"id": n, "text": f"Note {n}", "mood": {"choices": ["glad", "calm"]} if n % 2 else "sad"} for n in range(N)
    ]
    named = [{("sentiment" if key == "mood" else key): value for key, value in row.items()} for row in smaller]
    records = load(tmp_path, named)
    assert labels_of(records) == wanted
    assert all(one.is_multi for one in records.train if isinstance(one, LabelledRecord))


def test_tasks_without_an_agreed_choice_are_left_out(tmp_path: Path) -> None:
    tasks = [task(n, [MOODS[n % 3]], [MOODS[n % 3]]) for n in range(N)]
    records = load(tmp_path, [*tasks, task(N, ["glad"], ["sad"]), task(N + 1, [])])
    assert len(labels_of(records)) == N
    assert len(records.rejected) == 2


def test_several_questions_are_columns_of_their_own(tmp_path: Path) -> None:
    tasks = [task(n, [MOODS[n % 3]], question="sentiment") for n in range(N)]
    for n, one in enumerate(tasks):
        one["annotations"][0]["result"] += task(n, ["yes"], question="usable")["annotations"][0]["result"]
    records = load(tmp_path, tasks)
    assert labels_of(records)["Note 1"] == ("sad",)
    assert "usable" in records.shape.ignored


def test_choices_of_prodigy_are_labels_and_verdicts_are_none(tmp_path: Path) -> None:
    rows = [
        {"text": f"Note {n}", "options": [{"id": mood} for mood in MOODS], "accept": [MOODS[n % 3]], "answer": "accept"}
        for n in range(N)
    ]
    rows[0]["answer"] = "ignore"
    records = load(tmp_path, rows)
    assert labels_of(records) == {f"Note {n}": (MOODS[n % 3],) for n in range(1, N)}


def test_rejected_labels_are_not_learned(tmp_path: Path) -> None:
    rows = [
        {"text": f"Note {n}", "label": MOODS[n % 2], "answer": "reject" if n % 3 == 0 else "accept"} for n in range(N)
    ]
    records = load(tmp_path, rows)
    assert labels_of(records) == {f"Note {n}": (MOODS[n % 2],) for n in range(N) if n % 3}
    assert "not accepted" in records.rejected[0].reason


def test_objects_that_are_no_labels_are_not_called_empty(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="objects that Burnish does not know"):
        load(tmp_path, [{"text": f"Note {n}", "label": {"PERSON": {"Ann": [[0, 2]]}}} for n in range(N)])


@pytest.mark.parametrize(
    ("mark", "name"),
    [("，", "comma"), ("、", "comma"), ("；", "semicolon"), ("~", "tilde"), (" · ", "dot"), ("•", "dot")]
    + [(":", "colon"), (" and ", "and")],
)
def test_marks_of_other_scripts_and_words_separate_labels(mark: str, name: str) -> None:
    cells = ["glad", "sad", "calm", f"glad{mark}sad", f"sad{mark}calm", f"calm{mark}glad{mark}sad"]
    assert find_separator(cells) == name
    assert split_cell(cells[-1], name) == ["calm", "glad", "sad"]


@pytest.mark.parametrize("cell", ["salt and pepper", "ratio 1:2", "New York · NY"])
def test_marks_inside_names_separate_nothing(cell: str) -> None:
    assert find_separator([cell, "sugar", "flour"]) == "none"


@pytest.mark.parametrize(("yes", "no"), [("ja", "nein"), ("Oui", "Non"), ("T", "F"), ("да", "нет"), ("是", "否")])
def test_yes_and_no_of_other_languages_are_flags(yes: str, no: str) -> None:
    assert as_flag(yes) is True
    assert as_flag(no) is False


def test_a_list_of_nothing_but_a_mark_has_no_gold_label(tmp_path: Path) -> None:
    rows = [{"text": f"Note {n}", "labels": [[0], [1, 2], [3], [-1]][n % 4]} for n in range(2 * N)]
    records = load(tmp_path, rows)
    assert set(labels_of(records).values()) == {("0",), ("1", "2"), ("3",)}
    assert len(records.rejected) == N // 2
    assert any("`-1` (15 rows) in `labels` is taken as no gold label" in note for note in records.shape.notes)


@pytest.mark.parametrize("mark", ["SKIP", "no_consensus", "keine Angabe", 255])
def test_values_that_may_mean_no_label_are_said_to_be_classes(tmp_path: Path, mark: Any) -> None:
    others = (0, 1, 2) if isinstance(mark, int) else MOODS
    records = load(tmp_path, [{"text": f"Note {n}", "label": [*others, mark][n % 4]} for n in range(N)])
    assert any(f"`{mark}` in `label` is taken as a class" in note for note in records.shape.notes)
