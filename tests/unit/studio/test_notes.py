"""Notes beside runs, and deletions that can be undone."""

from __future__ import annotations

from pathlib import Path

import pytest

from burnish.studio import notes as notes_module
from burnish.studio.collected import CORRECTIONS, PREFERENCES, Collected, correction_row, preference_row
from burnish.studio.notes import Notes


def test_notes_and_tags_are_kept(tmp_path: Path) -> None:
    Notes(tmp_path).write("ftjob-1", "good\nrun", "best, <b>, best, ,")
    found = Notes(tmp_path).of("ftjob-1")
    assert (found.text, found.tags) == ("good\nrun", ["best", "<b>"])


def test_a_deleted_run_is_removed_only_when_that_cannot_be_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes, removed = Notes(tmp_path), list[str]()
    notes.delete("ftjob-1")
    notes.delete("ftjob-2")
    notes.purge(removed.append)
    assert removed == []
    notes.restore("ftjob-2")
    monkeypatch.setattr(notes_module, "UNDO_SECONDS", 0.0)
    Notes(tmp_path).purge(removed.append)
    assert removed == ["ftjob-1"]
    assert Notes(tmp_path).of("ftjob-2").deleted is None
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["ftjob-2"]


@pytest.mark.parametrize("run", ["../outside", "a/b", ""])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, run: str) -> None:
    Notes(tmp_path / "notes").write(run, "text", "")
    assert Collected(tmp_path / "collected").add(run, CORRECTIONS, {"text": "a"}) == 0
    assert [path.name for path in tmp_path.rglob("*")] == ["notes"]


def test_what_is_said_of_answers_becomes_rows(tmp_path: Path) -> None:
    collected, turns = Collected(tmp_path / "collected"), [{"role": "user", "content": "Hello"}]
    assert collected.path("ftjob-1", PREFERENCES) is None
    collected.add("ftjob-1", PREFERENCES, preference_row(turns, "Hi!", "No."))
    collected.add("ftjob-1", CORRECTIONS, correction_row(turns, "Hi!\u2028"))
    assert collected.count("ftjob-1", PREFERENCES) == collected.count("ftjob-1", CORRECTIONS) == 1
    path = collected.path("ftjob-1", PREFERENCES)
    assert path is not None
    assert path.read_text() == (
        '{"prompt": [{"role": "user", "content": "Hello"}], "chosen": [{"role": "assistant", "content": "Hi!"}], '
        '"rejected": [{"role": "assistant", "content": "No."}]}\n'
    )
    assert collected.path("ftjob-1", "../x") is None
