"""A task and a method from outside go through the whole program: nothing outside `tasks/` and `methods/` names one.

`tests/toy_task.py` and `tests/toy_method.py` are one file each, and registered; no other file knows of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from burnish.inference.session import open_session
from burnish.methods import register_method
from burnish.recipe.load import load_recipe
from burnish.recipe.schema import Recipe
from burnish.report.page import report_page
from burnish.report.record import read_record
from burnish.runs.folder import RunFolder
from burnish.tasks import register_task, task_facts, task_names
from burnish.workflows.check import check
from burnish.workflows.evaluate import evaluate
from burnish.workflows.run import Run
from burnish.workflows.train import train
from tests.toy_method import BiasMethod
from tests.toy_task import COUNT_WORDS


@pytest.fixture(scope="module")
def registered() -> Iterator[None]:
    """Both, for the tests of this module."""
    takes_out = [register_task(COUNT_WORDS), register_method(BiasMethod)]
    yield
    for take_out in takes_out:
        take_out()


@pytest.fixture(scope="module")
def recipe(registered: None, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """Two steps on a bundled model."""
    folder = tmp_path_factory.mktemp("toys")
    rows = [{"text": " ".join(["word"] * (1 + number % 7)) + f" {number}"} for number in range(24)]
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    options = {"task": "count-words", "method": "bias", "runs": str(folder / "runs"), "train.max_steps": 2}
    return load_recipe(str(data), {**options, "model.name": "acorn", "data.context": 32}, []).recipe


@pytest.fixture(scope="module")
def run(recipe: Recipe) -> Run:
    """Trained."""
    return train(recipe)


def test_it_is_checked(recipe: Recipe) -> None:
    checkup = check(recipe, show=1)
    assert checkup.facts["shape"] == "text, for the task count-words"
    assert checkup.facts["usual size"] == "100 to 1,000 are usual for `count-words`"
    (view,) = checkup.views
    assert view.passages[0].note == "learned: 2 words"


def test_it_is_trained(run: Run) -> None:
    record = read_record(RunFolder(run.path))
    assert (record.task, record.method) == ("count-words", "bias")
    assert (run.path / "model" / "model.safetensors").exists()
    figures = json.loads((run.path / "evaluation.json").read_text(encoding="utf-8"))["figures"]
    assert [figure["name"] for figure in figures] == ["loss", "words off"]


def test_it_is_evaluated(run: Run) -> None:
    comparison = evaluate(RunFolder(run.path))
    assert comparison.headline == "words off"
    assert comparison.answers[0].expected.isdigit()


def test_it_is_reported(run: Run) -> None:
    page = report_page(read_record(RunFolder(run.path)))
    assert "count-words" in page
    assert "words off" in page
    card = (run.path / "model" / "README.md").read_text(encoding="utf-8")
    assert "counts the words of a text" in card


def test_it_answers(run: Run) -> None:
    assert open_session(str(run.path)).generate("one two three").endswith(" words")


def test_no_two_have_one_name(registered: None) -> None:
    with pytest.raises(ValueError, match="there is already a task `count-words`"):
        register_task(COUNT_WORDS)
    with pytest.raises(ValueError, match="there is already a method `bias`"):
        register_method(BiasMethod)
    with pytest.raises(ValueError, match="there is already a task `chat`"):
        register_task(task_facts("chat"))


def test_what_is_taken_out_is_gone() -> None:
    before = task_names()
    take_out = register_task(replace(COUNT_WORDS, name="other"))
    assert task_names() == [*before, "other"]
    take_out()
    assert task_names() == before
