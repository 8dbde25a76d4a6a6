"""`burnish predict`: a prediction for every row, the same however often it was interrupted."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import burnish as burnish_api
from burnish.inference.session import open_session
from burnish.runs.partial import PartialLines
from burnish.workflows import predict as predicting
from tests.e2e.conftest import Burnish
from tests.forked import Forked
from tests.tiny_classifiers import reviews


def write(path: Path, rows: list[Any]) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_labels_with_their_probabilities(predicting_runs: Path, here: Path, burnish: Burnish) -> None:
    texts = [text for text, _ in reviews(40)]
    rows = [*({"id": number, "text": text} for number, text in enumerate(texts)), {"txt": "a"}, "{", {"text": " "}]
    write(here / "rows.jsonl", [*rows, {"text": "film " * 600}])
    result = burnish(f"predict labels rows.jsonl out.jsonl --keep id --runs {predicting_runs}")
    assert (result.code, result.out) == (0, "out.jsonl\n"), result.err
    found = lines_of(here / "out.jsonl")
    assert [line["row"] for line in found] == list(range(1, 45))
    session = open_session("labels", runs=str(predicting_runs))
    for text, line in zip(texts, found, strict=False):
        (alone,) = session.predict([[text]])
        assert line["label"] == alone.given[0]
        assert line["probabilities"] == pytest.approx(
            dict(zip(alone.names, alone.probabilities, strict=True)), abs=1e-5
        )
        assert line["probability"] == line["probabilities"][line["label"]]
    assert [line["given"]["id"] for line in found[:40]] == list(range(40))
    assert [(line["place"], line["error"]) for line in found[40:43]] == [
        ("rows.jsonl:41", "there is no column `text`"),
        ("rows.jsonl:42", "invalid JSON at column 2: Expecting property name enclosed in double quotes"),
        ("rows.jsonl:43", "`text` is empty"),
    ]
    assert found[43]["tokens_left_out"] > 0
    assert "3 rows have no prediction, but an `error` in the file: rows.jsonl:41" in result.err
    assert "1 row is longer than the context" in result.err
    assert "Not used: `txt`." in result.err
    assert sorted(path.name for path in here.iterdir()) == ["out.jsonl", "rows.jsonl"]


def test_every_other_kind(predicting_runs: Path, here: Path, burnish: Burnish) -> None:
    text, question = "the [MASK] was lovely", {"question": "Where is the cat ?", "context": "The cat lives in Rome ."}
    rows: dict[str, tuple[list[Any], set[str]]] = {
        "several": ([{"body": "the film was lovely"}], {"labels", "probabilities"}),
        "pairs": ([{"sentence1": "a film", "sentence2": "a song"}], {"score"}),
        "tags": ([{"text": "Anna lives in Rome."}, {"tokens": ["Anna", "lives", "in", "Rome"]}], {"entities"}),
        "spans": ([question], {"answer", "begin", "end", "probability"}),
        "masks": ([{"text": text}, {"text": "no mask"}], {"masks"}),
    }
    for name, (given, columns) in rows.items():
        write(here / f"{name}.jsonl", [{**one, "label": "a", "Id": 7} for one in given])
        mapped = "--set data.columns.text=body" if name == "several" else ""
        result = burnish(f"predict {name} {name}.jsonl {name}-out.jsonl --runs {predicting_runs} {mapped}")
        assert result.code == 0, result.err
        assert "Not used: `label`, `Id`." in result.err
        found = lines_of(here / f"{name}-out.jsonl")
        assert found[0].keys() == {"row", *columns}
    assert lines_of(here / "masks-out.jsonl")[1]["error"] == "`text` has no `[MASK]`"
    (alone,) = open_session("tags", runs=str(predicting_runs)).predict([["Anna lives in Rome"]])
    by_words = lines_of(here / "tags-out.jsonl")[1]
    assert by_words["text"] == "Anna lives in Rome"
    assert [(one["kind"], one["begin"], one["end"]) for one in by_words["entities"]] == [
        (one.kind, one.begin, one.end) for one in alone
    ]


def test_columns_of_a_file_of_words(predicting_runs: Path, here: Path, burnish: Burnish) -> None:
    (here / "words.conll").write_text("1\tAnna\tO\n2\tlives\tO\n\n3\tRome\tO\n", encoding="utf-8")
    words = f"predict tags words.conll out.jsonl --runs {predicting_runs}"
    refused = burnish(words)
    assert (refused.code, "the first column only counts the words" in refused.what) == (2, True)
    mapped = burnish(f"{words} --set data.columns.tokens=2 --set data.columns.tags=3")
    assert mapped.code == 0, mapped.err
    assert lines_of(here / "out.jsonl")[0]["text"] == "Anna lives"


def test_answers_are_those_of_generate(runs: Path, here: Path, burnish: Burnish) -> None:
    asked = ["What is red?", "What is a very long question about blue?"]
    turns = [{"role": "user", "content": asked[0]}]
    given = [{"prompt": asked[0]}, {"prompt": asked[1], "completion": "unused"}, {"text": asked[0]}]
    write(here / "asked.jsonl", [*given, {"messages": [*turns, {"role": "assistant", "content": "unused"}]}])
    result = burnish("predict whole asked.jsonl out.jsonl --max-new-tokens 8")
    assert result.code == 0, result.err
    found = lines_of(here / "out.jsonl")
    alone = [open_session("whole").generate(text, max_new_tokens=8) for text in asked]
    assert [line.get("answer", "").strip() for line in found] == [alone[0], alone[1], alone[0], ""]
    assert found[3]["error"] == "there is no column `prompt`"
    assert all(line["is_cut"] is (len(line["answer"]) > 0) for line in found[:3])
    assert "Not used: `completion`, `messages`." in result.err
    base = burnish("predict whole asked.jsonl base.jsonl --max-new-tokens 8 --base")
    assert base.code == 0, base.err
    assert lines_of(here / "base.jsonl")[0]["answer"] != found[0]["answer"]
    drawn = [burnish(f"predict whole asked.jsonl {name}.jsonl --temperature 1 --seed 3") for name in ("a", "b")]
    assert [one.code for one in drawn] == [0, 0]
    assert (here / "a.jsonl").read_bytes() == (here / "b.jsonl").read_bytes()
    heard: list[Any] = []
    rows = [{"prompt": asked[0], "page": 3}]
    said = burnish_api.load_run("whole").predict(rows, max_new_tokens=8, listeners=[heard.append])
    assert [event.text for event in heard] == ["Not used: `page`."]
    assert said == [{"answer": found[0]["answer"], "is_cut": found[0]["is_cut"]}]


def test_interrupted_anywhere_gives_the_same_file(
    predicting_runs: Path, here: Path, burnish: Burnish, start: Callable[[str], Forked], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predicting, "PART_ROWS", 4)
    texts = [{"text": text} for text, _ in reviews(60)]
    write(here / "rows.jsonl", [*texts[:30], "{", *texts[30:]])
    words = f"predict labels rows.jsonl {{}} --runs {predicting_runs}"
    whole = burnish(words.format("whole.jsonl"))
    assert whole.code == 0, whole.err
    part, add = here / "out.jsonl.part", PartialLines.add
    with monkeypatch.context() as dying:
        # commands that are forked die like this, too
        for last in (1, 2, 7):

            def add_and_die(lines: PartialLines, values: Any, last: int = last) -> None:
                add(lines, values)
                if lines.done == last:
                    os.kill(os.getpid(), signal.SIGKILL)

            dying.setattr(PartialLines, "add", add_and_die)
            assert start(words.format("out.jsonl")).wait() == -signal.SIGKILL
            assert len(lines_of(part)) == 4 * last
            with part.open("ab") as file:
                file.write(b'{"row": 99, "lab')  # what a kill in the middle of a line leaves
    assert not (here / "out.jsonl").exists()
    other = burnish(words.format("out.jsonl") + " --keep text")
    assert (other.code, "It differs in `keep`." in other.why) == (2, True)
    last = burnish(words.format("out.jsonl") + " --json")
    assert last.code == 0, last.err
    assert (last.json["rows"], last.json["resumed_rows"], last.json["failed"]) == (61, 28, 1)
    assert (here / "out.jsonl").read_bytes() == (here / "whole.jsonl").read_bytes()
    assert sorted(path.name for path in here.iterdir()) == ["out.jsonl", "rows.jsonl", "whole.jsonl"]


def test_what_is_wrong_is_said_at_once(predicting_runs: Path, here: Path, burnish: Burnish) -> None:
    write(here / "rows.jsonl", [{"text": "a"}])
    write(here / "there.jsonl", [])
    cases = {
        "predict labels rows.jsonl out.csv": "`out.csv` has no suffix `.jsonl`",
        "predict labels rows.jsonl there.jsonl": "`there.jsonl` already exists",
        "predict labels none.jsonl out.jsonl": "no such file: `none.jsonl`",
        "predict none rows.jsonl out.jsonl": "there is no run `none`",
        "predict labels rows.jsonl out.jsonl --base": "the base model has no answers for the task `classify`",
        "predict labels rows.jsonl out.jsonl --keep id": "there is no column `id` to keep",
        "predict labels rows.jsonl out.jsonl --set train.epochs=2": "`train.epochs` has no effect here",
        "predict labels rows.jsonl out.jsonl --set template.kwargs.a=1": "`template.kwargs` has no effect",
        "predict labels rows.jsonl out.jsonl --temperature 1": "`--temperature` has no effect for the task `classify`",
        "predict labels rows.jsonl out.jsonl --seed 1": "`--seed` has no effect for the task `classify`",
    }
    for words, what in cases.items():
        result = burnish(f"{words} --runs {predicting_runs}")
        assert result.code == 2, words
        assert what in result.what, (words, result.err)
    assert not (here / "out.jsonl").exists()
