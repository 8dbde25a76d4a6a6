"""`burnish report` and the model card on real runs: of every task, however far they went; and the card's code runs."""

from __future__ import annotations

import ast
import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.inference.session import open_session
from burnish.runs.event_log import read_events
from burnish.workflows.run import Run
from burnish.workflows.train import train
from tests.architecture_table import rows_for
from tests.e2e.conftest import Burnish
from tests.tiny_architectures import save_architecture
from tests.tiny_data import make_recipe
from tests.unit.report.test_card import code_of, front_matter
from tests.unit.report.test_page import SECTIONS, Page, loaded

LARGEST = 2_000_000
"""Bytes of a page."""
LONGEST = 8
"""Tokens of an answer."""
CASES = [
    ("Llama", "lora", "text"),
    ("Llama", "lora", "chat"),
    ("GPT-2", "full", "chat"),
    ("Llama", "prompt", "chat"),
    ("T5", "lora", "text-to-text"),
    ("Llama", "lora", "preference"),
    ("Llama", "lora", "reward"),
    ("BERT", "lora", "classify"),
    ("Llama", "lora", "classify"),
    ("Llama", "prompt", "classify"),
    ("RoBERTa", "full", "classify"),
    ("BERT", "lora", "tag"),
    ("Llama", "lora", "tag"),
    ("BERT", "lora", "span"),
    ("BERT", "full", "fill-mask"),
]


LONG_RUN = [
    ("GPT-2", "full", "chat"),
    ("Llama", "prompt", "chat"),
    ("Llama", "lora", "classify"),
    ("Llama", "prompt", "classify"),
    ("Llama", "lora", "tag"),
]
"""Cases of which the task is here with another method or on another architecture; every method's card is run by
`test_plain_clients`."""


@pytest.fixture(
    scope="module",
    params=[pytest.param(one, marks=pytest.mark.slow) if one in LONG_RUN else one for one in CASES],
    ids="-".join,
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Run]:
    """(task, run) of two steps on a tiny model."""
    architecture, method, task = request.param
    folder = tmp_path_factory.mktemp("secret")
    save_architecture(architecture, folder / "model")
    options = {"train__max_steps": 2, "train__learning_rate": 0.01, "data__context": 64, "evaluate__answers": 2}
    options["evaluate__max_new_tokens"] = LONGEST
    recipe = make_recipe(rows_for(task, folder), folder / "model", folder / "runs", task=task, method=method, **options)
    return task, train(recipe)


def check_page(path: Path) -> Page:
    """The page is whole, small, and loads nothing."""
    raw = path.read_text(encoding="utf-8")
    assert len(raw.encode("utf-8")) < LARGEST
    page = Page(raw)
    assert loaded(page) == []
    assert {given["id"] for tag, given in page.tags if tag == "section"} == SECTIONS
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe"}
    return page


def test_a_run_of_any_task_ends_with_its_page(case: tuple[str, Run]) -> None:
    task, run = case
    page = check_page(run.folder.report)
    evaluation: Any = run.evaluation
    assert evaluation["verdict"] in page.text
    assert all(figure["name"] in page.text for figure in evaluation["figures"])
    assert f"for the task {task}" in page.text
    views = json.loads(run.folder.views.read_text(encoding="utf-8"))
    assert 2 <= len(views) <= 8
    shown = [
        given.get("title", "") for tag, given in page.tags if tag == "span" and "t" in given.get("class", "").split()
    ]
    tokens = [str(token["id"]) for view in views for part in view["passages"] for token in part["tokens"]]
    assert [number for number in shown if number] == tokens


def test_the_card_names_nothing_of_this_machine(case: tuple[str, Run]) -> None:
    task, run = case
    result: Any = run.folder.result
    card = (result / "README.md").read_text(encoding="utf-8")
    outcome = front_matter(card)
    assert outcome["base_model"] == "model"
    assert task in outcome["tags"]
    assert "secret" not in card
    assert str(Path.home()) not in card
    evaluation: Any = run.evaluation
    assert evaluation["verdict"] in card


def said_by(run: Run, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the code on the card prints, run as it stands in the result's folder."""
    result: Any = run.folder.result
    monkeypatch.chdir(result)
    outcome = io.StringIO()
    card = (result / "README.md").read_text(encoding="utf-8")
    with contextlib.redirect_stdout(outcome):
        exec(compile(code_of(card), "card", "exec"), {})
    return outcome.getvalue()


def test_the_code_on_the_card_says_what_the_run_says(case: tuple[str, Run], monkeypatch: pytest.MonkeyPatch) -> None:
    task, run = case
    torch.manual_seed(0)
    said = said_by(run, monkeypatch)
    session = open_session(str(run.path))
    if task in ("chat", "preference", "text-to-text"):
        asked = "The beginning of a text" if task == "text-to-text" else "Your prompt"
        assert said.strip() == session.generate(asked, max_new_tokens=LONGEST)
    elif task == "text":
        assert said.startswith("The beginning of a text")
        assert said.strip().endswith(session.generate("The beginning of a text", max_new_tokens=LONGEST))
    elif task == "classify":
        label, share = said.split()
        given, result = session.generate("Your text").split()
        assert label == given
        assert float(share) == pytest.approx(float(result.strip("()")), abs=0.006)
    elif task == "reward":
        turns = [{"role": "user", "content": "A question"}, {"role": "assistant", "content": "An answer"}]
        assert float(said) == pytest.approx(float(session.generate(json.dumps(turns))), abs=6e-4)
    elif task == "tag":
        assert [line.split()[0] for line in said.splitlines()] == ["Your", "sentence"]
        tags = dict(line.rsplit(" ", 1) for line in said.splitlines())
        found = session.generate("Your sentence")
        assert all(f"[{tag[2:]}]" in found for tag in tags.values() if tag.startswith("B-"))
    elif task == "span":
        asked = {"question": "Your question", "context": "The text that holds the answer"}
        assert said.strip() == session.generate(json.dumps(asked))
    else:
        first = ast.literal_eval(said)[0]
        assert session.generate("A word is [MASK] here.").startswith(f"{first} (")


def test_the_command_writes_the_page_again(runs: Path, burnish: Burnish) -> None:
    made = (runs / "whole" / "report.html").read_text(encoding="utf-8")
    (runs / "whole" / "report.html").unlink()
    result = burnish("report whole")
    assert (result.code, result.out) == (0, "runs/whole/report.html\n"), result.err
    again = (runs / "whole" / "report.html").read_text(encoding="utf-8")
    assert Page(again).text.split("How to use it")[1] == Page(made).text.split("How to use it")[1]
    assert "burnish generate runs/whole" in again
    result = burnish("report whole --out page.html --json")
    assert result.json["report"] == "page.html"
    check_page(Path("page.html"))


def test_a_run_that_was_interrupted(runs: Path, burnish: Burnish) -> None:
    assert not (runs / "stopped" / "report.html").exists()
    assert burnish("report stopped --quiet").out == "runs/stopped/report.html\n"
    page = check_page(runs / "stopped" / "report.html")
    assert "Training has not finished: 2 of 4 steps are done." in page.text
    assert "burnish resume runs/stopped" in page.text
    assert burnish("resume stopped").code == 0
    page = check_page(runs / "stopped" / "report.html")
    assert "Training has not finished" not in page.text
    card = [(runs / name / "adapter" / "README.md").read_text(encoding="utf-8") for name in ("stopped", "whole")]
    assert card[0].replace("stopped", "whole") == card[1]


def test_evaluating_again_writes_page_and_card_again(runs: Path, burnish: Burnish) -> None:
    for path in (runs / "whole" / "report.html", runs / "whole" / "adapter" / "README.md"):
        path.unlink()
    assert burnish("evaluate whole --answers 0").code == 0
    check_page(runs / "whole" / "report.html")
    assert (runs / "whole" / "adapter" / "README.md").read_text(encoding="utf-8").startswith("---\nbase_model:")


def test_a_run_that_held_nothing_out(here: Path, base: Path, burnish: Burnish) -> None:
    (here / "rows.jsonl").write_text(json.dumps({"prompt": "What?", "completion": "A hat."}) + "\n", encoding="utf-8")
    assert (
        burnish(f"train rows.jsonl --model {base} --name mine --set train.max_steps=2 --set model.device=cpu").code == 0
    )
    page = check_page(here / "runs" / "mine" / "report.html")
    assert "There are no test or validation rows to evaluate on." in page.text


def test_rows_cannot_run_in_the_page(here: Path, base: Path, burnish: Burnish) -> None:
    hostile = "<script>alert(1)</script>"
    rows = [{"prompt": f"{hostile} {number}", "completion": f"{hostile}</span>{number}"} for number in range(30)]
    lines = [json.dumps(row) for row in rows] + ['{"prompt": "<b>", "completion": ""}']
    (here / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    options = "--set train.max_steps=2 --set model.device=cpu --set evaluate.max_new_tokens=4"
    result = burnish(f"train rows.jsonl --model {base} --name mine {options}")
    assert result.code == 0, result.err
    raw = (here / "runs" / "mine" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in raw
    assert hostile in check_page(here / "runs" / "mine" / "report.html").text.replace(" ", "")


def test_views_are_written_before_the_first_step(runs: Path) -> None:
    views = json.loads((runs / "stopped" / "views.json").read_text(encoding="utf-8"))
    assert len(views) == 8
    learned = [token for part in views[0]["passages"] for token in part["tokens"] if token["is_learned"]]
    assert learned
    assert read_events(runs / "stopped" / "events.jsonl")[-1]["event"] != "Finished"


def test_where_to_write_must_be_there(runs: Path, burnish: Burnish) -> None:
    result = burnish("report whole --out none/page.html")
    assert (result.code, result.what) == (2, "the folder `none` does not exist")
    assert result.why == "`none/page.html` would be written into it."
    result = burnish("report whol")
    assert (result.code, result.hint) == (2, "Did you mean `whole`?")
