"""Texts outside the task, as they are evaluated: few tokens, always the same, and advice that fits the method."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest

from burnish.data.files.passages import read_passages
from burnish.evaluate.forgetting import BaseLoss, against_forgetting, drawn, general_texts
from burnish.metrics.measure import value
from burnish.models.location import ModelLocation
from burnish.prepare.context import RunContext
from burnish.recipe.load import load_recipe
from burnish.tasks.evaluated import loss_of_rows
from tests.tiny_contexts import tiny_context
from tests.tiny_models import make_network


def context_of(tokenizer: Any, task: str = "chat", method: str = "lora", **options: Any) -> RunContext:
    """A run on the tiny Llama, without `auto` where it matters here."""
    given = {"data.context": 1024, "evaluate.general": "bundled", **options}
    recipe = load_recipe("rows.jsonl", given, []).recipe
    return tiny_context(recipe, tokenizer, make_network("llama").config, task, method)


def test_every_bundled_text_is_evaluated_in_few_tokens(tiny_tokenizer: Any) -> None:
    context = context_of(tiny_tokenizer)
    texts = general_texts(context)
    assert texts is not None
    passages = read_passages("bundled")
    assert len(texts.passages.examples) == len(passages)
    assert 4_000 < texts.passages.num_tokens <= 8_000
    assert len({example.num_tokens for example in texts.passages.examples}) == 1, "the tiny vocabulary makes all long"
    for example, passage in zip(texts.passages.examples, passages, strict=True):
        begun = tiny_tokenizer.decode(list(example.input_ids)).strip("\ufffd")
        assert passage.text.startswith(begun)
        assert example.num_trained == example.num_tokens - 1
    assert (texts.context.task.name, context.task.name) == ("text", "chat")
    assert texts.source == "other texts"


def test_fewer_tokens_shorten_every_text(tiny_tokenizer: Any) -> None:
    texts = general_texts(context_of(tiny_tokenizer, **{"evaluate.general_tokens": 1_000}))
    assert texts is not None
    passages = len(read_passages("bundled"))
    assert {example.num_tokens for example in texts.passages.examples} == {1_000 // passages}
    assert len(texts.passages.examples) == passages


def test_none_is_longer_than_the_context(tiny_tokenizer: Any) -> None:
    texts = general_texts(context_of(tiny_tokenizer, **{"data.context": 48}))
    assert texts is not None
    assert {example.num_tokens for example in texts.passages.examples} == {48}


def test_texts_of_ones_own_are_drawn_by_the_seed(tiny_tokenizer: Any, tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps({"text": f"Text {n}. " * 200}) + "\n" for n in range(300)), encoding="utf-8")
    first, again, other = (
        general_texts(context_of(tiny_tokenizer, **{"evaluate.general": str(file), "seed": seed})) for seed in (0, 0, 1)
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
    made: Any = SimpleNamespace(name=task, generates=task == "chat")
    context = replace(context_of(tiny_tokenizer, **{"evaluate.general": general}), task=made)
    assert general_texts(context) is None


def test_drawn_rows_keep_their_order_and_are_always_the_same() -> None:
    rows = list(range(100))
    chosen = drawn(rows, 10, 7)
    assert chosen == drawn(rows, 10, 7) == sorted(set(chosen))
    assert len(chosen) == 10
    assert chosen != drawn(rows, 10, 8)
    assert drawn(rows, 100, 0) == drawn(rows, 500, 0) == rows
    assert drawn(rows, 0, 0) == []


def test_the_advice_fits_the_method(tiny_tokenizer: Any) -> None:
    given = {"train.learning_rate": 0.002, "train.epochs": 3, "lora.rank": 16}
    lora, full = (against_forgetting(context_of(tiny_tokenizer, method=name, **given)) for name in ("lora", "full"))
    for result in (lora, full):
        assert "lower `train.learning_rate` (now 0.002), train for fewer `train.epochs` (now 3)" in result
        assert result.endswith("or mix general rows into the data.")
    assert "lower `lora.rank` (now 16)" in lora
    assert "`--method lora`" in full
    assert "lora.rank" not in full
    assert "--method" not in lora
    limited = against_forgetting(context_of(tiny_tokenizer, method="lora", **given, **{"train.max_steps": 40}))
    assert "train for fewer `train.max_steps` (now 40)" in limited
    assert "train.epochs" not in limited


def test_the_base_models_loss_is_cached_by_everything_it_depends_on(
    tiny_model: Any, tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path))
    location = ModelLocation("tiny", tiny_model("llama"), False)
    texts = general_texts(replace(context_of(tiny_tokenizer), location=location))
    shorter = general_texts(replace(context_of(tiny_tokenizer, **{"data.context": 48}), location=location))
    exact = general_texts(replace(context_of(tiny_tokenizer, **{"model.precision": "fp32"}), location=location))
    other = general_texts(replace(context_of(tiny_tokenizer), location=replace(location, folder=tiny_model("gpt2"))))
    assert texts and shorter and exact and other
    rows = len(texts.passages.examples)
    loss = loss_of_rows(numpy.linspace(1, 2, rows), numpy.full(rows, 3))
    assert BaseLoss(texts).find() is None
    BaseLoss(texts).keep(loss)
    found = BaseLoss(texts).find()
    assert found is not None
    assert (found.table == loss.table).all()
    assert (found.name, found.least, value(found)) == (loss.name, loss.least, value(loss))
    assert [BaseLoss(one).find() for one in (shorter, exact, other)] == [None, None, None]


@pytest.mark.parametrize("damage", ["", "[[1.0], [1.0]]", "[1, 2]", '{"a": 1}'])
def test_a_damaged_cache_is_no_cache(
    damage: str, tiny_model: Any, tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path))
    location = ModelLocation("tiny", tiny_model("llama"), False)
    texts = general_texts(replace(context_of(tiny_tokenizer), location=location))
    assert texts is not None
    rows = len(texts.passages.examples)
    BaseLoss(texts).keep(loss_of_rows(numpy.ones(rows), numpy.ones(rows)))
    (file,) = tmp_path.rglob("*.json")
    file.write_text(damage, encoding="utf-8")
    assert BaseLoss(texts).find() is None
