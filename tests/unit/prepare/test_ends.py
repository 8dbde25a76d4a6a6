"""The end tokens of a base model in a run: compared with, kept in the result, and left out where they would cut."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from burnish.data.preference.format import Answer, PairExample
from burnish.data.rows.row import IGNORED, Example
from burnish.data.tokens import file_column
from burnish.data.tokens.tokens import TokenColumns
from burnish.errors import RecipeError
from burnish.inference.session import open_session
from burnish.prepare import ends
from burnish.prepare.context import RunContext, prepare
from burnish.prepare.result import set_generation
from burnish.runs.events import Event, Note, Resolved, Warned
from burnish.tasks import make_task
from burnish.tasks.defaults import NextTokenEncoder
from burnish.workflows.train import train
from tests.tiny_data import make_recipe, write_rows
from tests.tiny_models import make_network
from tests.tiny_pairs import make_preference

PAD, START, END = 0, 1, 2


@pytest.fixture
def model(tmp_path: Path, tiny_model: Callable[[str], Path]) -> Path:
    """A Llama whose generation settings also end answers at `<|im_start|>` and at a piece of text."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_model("llama"), folder)
    settings = {"eos_token_id": [END, START, 77]}
    (folder / "generation_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def prepared(tmp_path: Path, model: Path, rows: Path, **options: Any) -> tuple[RunContext, list[Event]]:
    """A run with its rows encoded, and what it said."""
    heard: list[Event] = []
    return prepare(make_recipe(rows, model, tmp_path / "runs", **options), heard.append), heard


def test_base_and_tuned_end_where_the_base_does(tmp_path: Path, model: Path) -> None:
    context, heard = prepared(tmp_path, model, write_rows(tmp_path / "rows.jsonl"))
    assert context.task.predictor.stop_ids == [END, START]
    assert context.recipe.evaluate.ends == ["<|im_start|>"]
    assert [one.value for one in heard if isinstance(one, Resolved) and one.option == "evaluate.ends"] == [
        ["<|im_start|>"]
    ]
    network = make_network("llama")
    set_generation(network, context)
    assert network.generation_config.eos_token_id == [END, START]


def test_a_base_without_further_ends_says_nothing(tmp_path: Path, tiny_model: Callable[[str], Path]) -> None:
    context, heard = prepared(tmp_path, tiny_model("llama"), write_rows(tmp_path / "rows.jsonl"))
    assert context.task.predictor.stop_ids == [END] and context.recipe.evaluate.ends == []
    assert not any(isinstance(one, Resolved) and one.option == "evaluate.ends" for one in heard)


def with_mark(path: Path) -> Path:
    """Rows of plain text, which have the base model's second end in their middle."""
    texts = [{"text": f"{number} is red.<|im_start|>And {number} is blue, too."} for number in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in texts), encoding="utf-8")
    return path


def test_what_stands_inside_answers_cannot_end_one(tmp_path: Path, model: Path) -> None:
    context, heard = prepared(tmp_path, model, with_mark(tmp_path / "rows.jsonl"))
    assert context.task.predictor.stop_ids == [END] and context.recipe.evaluate.ends == []
    assert any("`<|im_start|>`, which occurs inside" in one.text for one in heard if isinstance(one, Note))


def test_what_the_user_names_is_kept_and_warned_about(tmp_path: Path, model: Path) -> None:
    options = {"evaluate__ends": ["<|im_start|>"]}
    context, heard = prepared(tmp_path, model, with_mark(tmp_path / "rows.jsonl"), **options)
    assert context.task.predictor.stop_ids == [END, START]
    assert any("cut there" in one.text for one in heard if isinstance(one, Warned))


def test_the_user_may_choose_none(tmp_path: Path, model: Path) -> None:
    context, _ = prepared(tmp_path, model, write_rows(tmp_path / "rows.jsonl"), evaluate__ends=[])
    assert context.task.predictor.stop_ids == [END]


def test_a_name_that_is_no_token_is_refused(tmp_path: Path, model: Path) -> None:
    with pytest.raises(RecipeError, match=r"`<\|user\|>`, which is no token"):
        prepared(tmp_path, model, write_rows(tmp_path / "rows.jsonl"), evaluate__ends=["<|user|>"])


def test_a_task_that_labels_has_none(tmp_path: Path, model: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    texts = [{"text": f"Number {number}.", "label": "ab"[number % 2]} for number in range(40)]
    rows.write_text("".join(json.dumps(row) + "\n" for row in texts), encoding="utf-8")
    context, heard = prepared(tmp_path, model, rows, evaluate__ends=["<|im_start|>"])
    assert context.task.predictor.stop_ids == []
    assert any("`evaluate.ends` has no effect" in one.text for one in heard if isinstance(one, Warned))


def test_a_finished_run_answers_with_the_ends_of_its_recipe(tmp_path: Path, model: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl")
    run = train(make_recipe(rows, model, tmp_path / "runs", train__max_steps=1, method="lora", name="run"))
    settings = json.loads((run.path / "adapter" / "generation_config.json").read_text(encoding="utf-8"))
    assert settings["eos_token_id"] == [END, START]
    (model / "generation_config.json").unlink()
    assert open_session(str(run.path)).task.predictor.stop_ids == [END, START]


def test_a_base_model_alone_ends_where_it_does_in_transformers(model: Path) -> None:
    session = open_session(str(model))
    assert session.task.predictor.stop_ids == [END, START]


def learned(rows: Sequence[tuple[list[int], list[int]]]) -> list[Example]:
    """Examples of prompts with their answers."""
    return [
        Example(prompt + answer, [IGNORED] * len(prompt) + answer, f"rows.jsonl:{number}")
        for number, (prompt, answer) in enumerate(rows, start=1)
    ]


def random_rows(seed: int) -> list[Example]:
    """Examples with few different tokens, so that ends stand everywhere; some have no prompt."""
    source = random.Random(seed)

    def drawn(most: int) -> list[int]:
        return [source.randrange(5, 9) for _ in range(source.randint(0, most))]

    return learned([(drawn(2), [*drawn(3), source.randrange(5, 9)]) for _ in range(source.randint(1, 12))])


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("part", [3, 1 << 20])
def test_columns_find_what_segments_find(
    seed: int, part: int, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the border between parts cuts; an end at the end of an example is none inside, without a prompt too."""
    monkeypatch.setattr(ends, "PART", part)
    monkeypatch.setattr(file_column, "PART", part)
    examples = random_rows(seed)
    columns = TokenColumns()
    for example in examples:
        columns.add(example)
    right = {
        int(token)
        for example in examples
        for token, label, after in zip(example.input_ids[1:], example.labels[1:], example.labels[2:], strict=False)
        if label != IGNORED and after != IGNORED and token in (6, 7)
    }
    encoder = make_task("text", tiny_tokenizer, make_recipe(Path("rows"), Path("model"), Path("runs"))).encoder
    assert isinstance(encoder, NextTokenEncoder)
    assert ends.taught_inside(encoder, columns.done(), (6, 7, 200)) == right
    assert ends.taught_inside(encoder, columns.done(), ()) == set()


def test_tasks_with_examples_of_their_own_are_searched_by_segment(tiny_tokenizer: Any) -> None:
    task = make_preference(tiny_tokenizer)
    pair = PairExample(
        [5, 6], Answer(ids := [7, START, 8, END], ids), Answer(ids := [9, PAD, END], ids), "rows.jsonl:1"
    )
    assert ends.taught_inside(task.encoder, [pair], (PAD, START, END)) == {PAD, START}
