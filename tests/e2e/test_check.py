"""`burnish check`: every defect is found at its line, and clean files raise nothing."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from burnish.recipe.load import load_recipe
from burnish.workflows import check as workflow
from tests.e2e.conftest import SHORT, Burnish
from tests.e2e.poisoned_files import CLEAN, Poisoned, answers, lines, poisoned, texts

POISONED = poisoned()
_COUNT = len(answers())
SEEN_ALONG = {"many-left-out": {"empty"}, "lopsided-labels": {"rare-labels"}, "wrong-encoding": {"few-rows"}}
"""What else such a file cannot but have."""
OF_THE_WHOLE = ("few-rows", "many-left-out", "lopsided-labels")
"""What no line has alone."""


def found(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {finding["name"]: finding for finding in result["findings"]}


@pytest.mark.parametrize("case", POISONED, ids=[f"{case.name}-{case.line}" for case in POISONED])
def test_a_defect_is_found_at_its_line(case: Poisoned, burnish: Burnish, here: Path) -> None:
    case.write(here)
    result = burnish(f"check {case.file} --json")
    findings = found(result.json)
    assert set(findings) - SEEN_ALONG.get(case.name, set()) == {case.name}
    assert result.code == case.exit_code
    finding = findings[case.name]
    if case.name not in OF_THE_WHOLE:
        file, line, *_ = finding["places"][0].split(":")
        assert (file, line.split()[0]) == (f"./{case.file}", str(case.line))
    assert finding["what"]
    assert finding["fix"]


def test_there_are_thirty_of_them_and_more() -> None:
    assert len(POISONED) >= 30


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_file_raises_nothing(name: str, burnish: Burnish, here: Path) -> None:
    (here / "rows.jsonl").write_text(lines(CLEAN[name]()), encoding="utf-8")
    result = burnish("check rows.jsonl --json")
    assert result.json["findings"] == []
    assert result.code == 0


def test_good_rows_behind_many_that_cannot_be_used(
    burnish: Burnish, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shape is detected from the first rows, and all of these are unusable."""
    monkeypatch.setattr(workflow, "_FIRST", 8)
    unusable = [{"prompt": f"What is {number}?", "completion": ""} for number in range(20)]
    (here / "rows.jsonl").write_text(lines([*unusable, *answers()]), encoding="utf-8")
    result = burnish("check rows.jsonl --json")
    assert result.json["facts"]["rows"] == f"{_COUNT:,}, 20 left out"


def test_rows_to_be_evaluated_on_that_were_trained_on_are_found(burnish: Burnish, here: Path) -> None:
    rows, held_out = texts(), texts(40 + _COUNT)[_COUNT:]
    near = {"text": rows[7]["text"].replace(rows[7]["text"].split()[-1], "lighthouse.")}
    (here / "train.jsonl").write_text(lines(rows), encoding="utf-8")
    (here / "valid.jsonl").write_text(lines([*held_out[:9], rows[4], near, *held_out[9:]]), encoding="utf-8")
    result = burnish("check . --json")
    findings = found(result.json)
    assert set(findings) == {"shared-with-validation", "nearly-shared"}
    assert findings["shared-with-validation"]["places"] == ["./valid.jsonl:10: as ./train.jsonl:5, a training row"]
    assert findings["nearly-shared"]["places"] == ["./valid.jsonl:11: nearly as ./train.jsonl:8"]


def test_a_cleaned_file_has_no_more_defects_and_reports_every_change(burnish: Burnish, here: Path) -> None:
    rows: list[Any] = answers()
    rows[3] = rows[1]
    rows[5] = '{"broken'
    rows[6] = {**rows[6], "completion": "a\x07bell"}
    rows[8] = {**rows[8], "completion": "her fiancÃ©"}
    (here / "rows.jsonl").write_text(lines(rows), encoding="utf-8")
    result = burnish("check rows.jsonl --fix clean.jsonl --json")
    assert result.json["cleaned"]["kept"] == _COUNT - 2
    changes = [json.loads(line) for line in (here / "clean.changes.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(change["line"], change["change"].split(":")[0]) for change in changes] == [
        (4, "left out"),
        (6, "left out"),
        (7, "`completion`"),
        (9, "`completion`"),
    ]
    kept = [json.loads(line) for line in (here / "clean.jsonl").read_text(encoding="utf-8").splitlines()]
    assert kept[4]["completion"] == "abell"
    assert kept[6]["completion"] == "her fiancé"
    assert kept[:3] == answers()[:3]
    again = burnish("check clean.jsonl --json")
    assert again.json["findings"] == []


@pytest.mark.parametrize("target", ["rows.jsonl", "clean.csv", "nowhere/clean.jsonl"])
def test_a_cleaned_file_takes_no_other_files_place(target: str, burnish: Burnish, here: Path) -> None:
    (here / "rows.jsonl").write_text(lines(answers()), encoding="utf-8")
    result = burnish(f"check rows.jsonl --fix {target}")
    assert result.code == 2
    assert result.hint
    assert [path.name for path in here.iterdir()] == ["rows.jsonl"]


def test_rows_are_shown_token_by_token(burnish: Burnish, here: Path) -> None:
    (here / "rows.jsonl").write_text(lines(answers()), encoding="utf-8")
    result = burnish("check rows.jsonl --show 2 --html page.html")
    first = answers()[0]
    learned = [line for line in result.out.splitlines() if line.startswith("  learned")]
    read = [line for line in result.out.splitlines() if line.startswith("  read")]
    assert len(learned) == 2
    assert "".join(learned[0].split("|")[1:-1]).startswith(first["completion"])
    assert first["prompt"] in read[0].replace("|", "")
    assert "./rows.jsonl:1" in result.out
    page = (here / "page.html").read_text(encoding="utf-8")
    assert page.count('class="tokens"') == 2
    assert "learned" in page
    assert "http" not in page


def test_a_page_that_cannot_be_written_is_refused_at_once(burnish: Burnish, here: Path) -> None:
    (here / "rows.jsonl").write_text(lines(answers()), encoding="utf-8")
    result = burnish("check rows.jsonl --html nowhere/page.html")
    assert (result.code, result.what) == (2, "the folder `nowhere` does not exist")
    assert "checking the rows" not in result.err


@pytest.mark.parametrize("name", CLEAN)
def test_rows_of_every_task_can_be_shown(name: str, burnish: Burnish, here: Path) -> None:
    (here / "rows.jsonl").write_text(lines(CLEAN[name]()), encoding="utf-8")
    rows = burnish("check rows.jsonl --show 2 --json").json["rows"]
    assert len(rows) == 2
    passages = rows[0]["passages"]
    assert any(token["is_learned"] for passage in passages for token in passage["tokens"]) or passages[0]["note"]


def test_a_run_reports_defects_before_it_begins(burnish: Burnish, here: Path, base: Path) -> None:
    rows = [{**row, "completion": "It is red."} for row in answers(40)]
    rows[3]["completion"] = "Write to me, \x07."
    (here / "rows.jsonl").write_text(lines(rows), encoding="utf-8")
    result = burnish(f"train rows.jsonl --model {base} --method lora {SHORT} --set data.validation_rows=4")
    assert result.code == 0
    assert "./rows.jsonl:4: U+0007" in result.err
    events = next(here.glob("runs/*/events.jsonl")).read_text(encoding="utf-8")
    assert '"one-answer"' in events


def test_pairs_can_be_shown_as_a_reward_model_sees_them(burnish: Burnish, here: Path) -> None:
    (here / "rows.jsonl").write_text(lines(CLEAN["pairs"]()), encoding="utf-8")
    (row,) = burnish("check rows.jsonl --task reward --show 1 --json").json["rows"]
    assert [passage["name"] for passage in row["passages"]] == ["chosen", "rejected"]
    assert all(passage["note"].startswith("learned: a ") for passage in row["passages"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pairs", "labelled", "poisoned"])
def test_several_processes_find_what_one_finds(name: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [
        case.content for case in POISONED if isinstance(case.content, str) and '"completion"' in case.content[:500]
    ]
    text = "".join(cases) if name == "poisoned" else lines(CLEAN[name]())
    (here / "rows.jsonl").write_text(text, encoding="utf-8")
    recipe = load_recipe("rows.jsonl", {}, []).recipe
    monkeypatch.setattr(workflow, "_BLOCK", 50)
    alone = workflow.check(recipe, show=30)
    monkeypatch.setattr(workflow, "_WORTH_SECONDS", -1e9)
    monkeypatch.setattr(workflow, "this_machine", lambda: SimpleNamespace(cores=2))
    several = workflow.check(recipe, show=30)
    assert several.to_dict() == alone.to_dict()
    assert several.removable == alone.removable
    assert bool(alone.findings) is (name == "poisoned")


def test_rows_that_cannot_be_encoded_are_named_with_the_true_cause(burnish: Burnish, here: Path) -> None:
    rows = [
        {"context": f"Ann wrote book {n}.", "question": "Who wrote this very long book of books?", "answers": ["Ann"]}
        for n in range(4)
    ]
    (here / "rows.jsonl").write_text(lines(rows), encoding="utf-8")
    result = burnish("check rows.jsonl --set data.context=8 --json")
    assert result.code == 2
    findings = found(result.json)
    assert {"many-left-out", "too-long-answer"} <= set(findings)
    assert "the question is too long" in findings["too-long-answer"]["places"][0]
    assert "data.context" in findings["too-long-answer"]["fix"]
    assert result.json["facts"]["rows"] == "0, 4 left out"


def test_pairs_that_differ_beyond_the_context_are_not_called_the_same(burnish: Burnish, here: Path) -> None:
    long = "word " * 30
    rows = [{"prompt": f"hat {n}?", "chosen": f"{long} good", "rejected": f"{long} bad"} for n in range(4)]
    (here / "rows.jsonl").write_text(lines(rows), encoding="utf-8")
    findings = found(burnish("check rows.jsonl --set data.context=16 --json").json)
    assert "same-answers" not in findings
    assert "data.context" in findings["too-long-answer"]["fix"]


@pytest.mark.parametrize("command", ["check .", "train . --set train.max_steps=1 --set evaluate.answers=0"])
def test_each_file_of_a_folder_is_named_with_its_split(command: str, burnish: Burnish, here: Path, base: Path) -> None:
    (here / "train.jsonl").write_text(lines(answers()), encoding="utf-8")
    (here / "val.csv").write_bytes("prompt;completion\nGrüße?;Gut.\nWie?;So.\n".encode("cp1252"))
    (here / "other.csv").write_text("a,b\n", encoding="utf-8")
    out = burnish(f"{command} --model {base}").err
    assert "Data in `.`: train `train.jsonl`, validation `val.csv`." in out
    assert "Not used: `other.csv`." in out
    assert (
        "`val.csv` is not UTF-8 and is read as Windows-1252 (for example `Grüße`); it has columns separated by" in out
    )


def test_separators_of_lines_become_newlines_in_a_cleaned_file(burnish: Burnish, here: Path) -> None:
    rows = [{**row, "prompt": f"{row['prompt']}\u2028really\ufeff?"} for row in answers()]
    (here / "rows.jsonl").write_bytes(b"\xef\xbb\xbf" + lines(rows).encode("utf-8"))
    assert burnish("check rows.jsonl --fix clean.jsonl").code == 0
    kept = [json.loads(line) for line in (here / "clean.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["prompt"] for row in kept] == [f"{row['prompt']}\nreally?" for row in answers()]


def test_what_nothing_uses_is_named(burnish: Burnish, here: Path) -> None:
    turns = [{"role": "user", "content": "q", "at": 1}, {"role": "assistant", "content": "a", "weight": 1}]
    (here / "rows.jsonl").write_text(lines([{"messages": turns, "id": n} for n in range(30)]), encoding="utf-8")
    result = burnish("check rows.jsonl --json")
    assert result.json["facts"]["unused"] == "the columns `id` and the keys `at` inside messages"
    shown = burnish("check rows.jsonl")
    assert "Unused: the columns `id` and the keys `at` inside messages." in " ".join((shown.out + shown.err).split())


def test_labels_of_held_out_rows_that_were_never_learned_are_found(burnish: Burnish, here: Path) -> None:
    (here / "rows").mkdir()
    rows = [{"text": f"text {n}", "label": "ab"[n % 2]} for n in range(60)]
    (here / "rows" / "train.jsonl").write_text(lines(rows), encoding="utf-8")
    held = [{"text": f"other {n}", "label": "abc"[n % 3]} for n in range(30)]
    (here / "rows" / "valid.jsonl").write_text(lines(held), encoding="utf-8")
    result = burnish("check rows --json")
    (finding,) = result.json["findings"][:1]
    assert (finding["name"], finding["count"]) == ("unseen-labels", 1)
    assert finding["places"][0].endswith("valid.jsonl:3: `c` has 10 rows")
    assert result.json["facts"]["rows"] == "90", "they are evaluated on, and count as wrong"


def test_scores_are_described(burnish: Burnish, here: Path) -> None:
    rows = [{"text": f"text {n}", "score": n / 4} for n in range(21)]
    (here / "rows.jsonl").write_text(lines(rows), encoding="utf-8")
    facts = burnish("check rows.jsonl --json").json["facts"]
    assert facts["scores"] == "0 to 5, mean 2.5, standard deviation 1.51"
    assert facts["shape"] == "scored-text, for the task score"
