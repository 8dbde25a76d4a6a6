"""Texts outside the task, as they are judged: few tokens, always the same, and advice that fits the method."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from burnish.data.files.passages import read_passages
from burnish.evaluate.forgetting import against_forgetting, drawn, general_texts
from burnish.methods import make_method
from burnish.models.location import ModelLocation
from burnish.prepare.context import Setting
from burnish.recipe.load import load_recipe
from burnish.recipe.schema import Recipe
from burnish.tasks import make_task
from tests.tiny_models import make_network


def setting_of(tokenizer: Any, task: str = "chat", method: str = "lora") -> Setting:
    """A run on the tiny Llama."""
    location, config = ModelLocation("tiny", Path(), False), make_network("llama").config
    made = make_task(task, tokenizer, Recipe())
    return Setting(location, tokenizer, config, made, make_method(method), torch.device("cpu"))


def recipe_of(**options: Any) -> Recipe:
    """A recipe without `auto` where it matters here."""
    given = {"data.context": 1024, "evaluate.general": "bundled", **options}
    return load_recipe("rows.jsonl", given, []).recipe


def test_every_bundled_text_is_judged_in_few_tokens(tiny_tokenizer: Any) -> None:
    setting = setting_of(tiny_tokenizer)
    texts = general_texts(setting, recipe_of())
    assert texts is not None
    passages = read_passages("bundled")
    assert len(texts.passages.examples) == len(passages)
    assert 4_000 < texts.passages.num_tokens <= 8_000
    assert len({example.num_tokens for example in texts.passages.examples}) == 1, "the tiny vocabulary makes all long"
    for example, passage in zip(texts.passages.examples, passages, strict=True):
        begun = tiny_tokenizer.decode(list(example.input_ids)).strip("\ufffd")
        assert passage.text.startswith(begun)
        assert example.num_trained == example.num_tokens - 1
    assert (texts.setting.task.name, setting.task.name) == ("text", "chat")
    assert texts.source == "other texts"


def test_none_is_longer_than_the_context(tiny_tokenizer: Any) -> None:
    texts = general_texts(setting_of(tiny_tokenizer), recipe_of(**{"data.context": 48}))
    assert texts is not None
    assert {example.num_tokens for example in texts.passages.examples} == {48}


def test_texts_of_ones_own_are_drawn_by_the_seed(tiny_tokenizer: Any, tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps({"text": f"Text {n}. " * 200}) + "\n" for n in range(300)), encoding="utf-8")
    first, again, other = (
        general_texts(setting_of(tiny_tokenizer), recipe_of(**{"evaluate.general": str(file), "seed": seed}))
        for seed in (0, 0, 1)
    )
    assert first is not None
    assert again is not None
    assert other is not None
    places = [[example.place for example in texts.passages.examples] for texts in (first, again, other)]
    assert places[0] == places[1] != places[2]
    assert len(set(places[0])) == 62
    assert 7_000 < first.passages.num_tokens <= 8_000
    assert first.source == "`mine.jsonl`"


@pytest.mark.parametrize(("task", "general"), [("classify", "bundled"), ("chat", "none")])
def test_where_there_is_nothing_to_read_there_are_none(task: str, general: str, tiny_tokenizer: Any) -> None:
    setting = setting_of(tiny_tokenizer)
    setting.task = SimpleNamespace(name=task, generates=task == "chat")
    assert general_texts(setting, recipe_of(**{"evaluate.general": general})) is None


def test_drawn_rows_keep_their_order_and_are_always_the_same() -> None:
    rows = list(range(100))
    chosen = drawn(rows, 10, 7)
    assert chosen == drawn(rows, 10, 7) == sorted(set(chosen))
    assert len(chosen) == 10
    assert chosen != drawn(rows, 10, 8)
    assert drawn(rows, 100, 0) == drawn(rows, 500, 0) == rows
    assert drawn(rows, 0, 0) == []


def test_the_advice_fits_the_method(tiny_tokenizer: Any) -> None:
    recipe = recipe_of(**{"train.learning_rate": 0.002, "train.epochs": 3, "lora.rank": 16})
    lora, full = (against_forgetting(setting_of(tiny_tokenizer, method=name), recipe) for name in ("lora", "full"))
    for told in (lora, full):
        assert "lower `train.learning_rate` (now 0.002), train for fewer `train.epochs` (now 3)" in told
        assert told.endswith("or mix general rows into the data.")
    assert "lower `lora.rank` (now 16)" in lora
    assert "`--method lora`" in full
    assert "lora.rank" not in full
    assert "--method" not in lora
