"""Every `auto` filled in, each with its reason."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from transformers import BloomConfig, GPT2Config, LlamaConfig

from burnish.errors import RecipeError
from burnish.methods import METHODS, make_method
from burnish.plan.resolve import (
    LONGEST_AUTO_CONTEXT,
    Facts,
    Resolver,
    check_choices,
    context_limit,
    resolve_context,
    resolve_method,
    resolve_rhythm,
    resolve_training,
    run_stem,
    total_steps,
    unread_options,
)
from burnish.recipe.load import load_recipe
from burnish.recipe.schema import AUTO, DataSection, ModelSection, Recipe, TrainSection
from burnish.runs.events import Resolved
from tests.tiny_models import make_network


def resolver_of(**flags: Any) -> tuple[Resolver, list[Resolved]]:
    """A resolver over a recipe of these options (`__` for the dot), and what it tells."""
    given = {name.replace("__", "."): value for name, value in flags.items()}
    told: list[Resolved] = []
    return Resolver(load_recipe("rows.jsonl", given, []).recipe, told.append), told


def facts_of(**changes: int) -> Facts:
    """A small model on some data."""
    return Facts(**{"parameters": 10**8, "vocabulary": 1000, "tokens": 100_000, "longest_answer": 0, **changes})


def test_fills_only_what_is_auto_and_tells_why() -> None:
    resolver, told = resolver_of(train__learning_rate=0.5)
    resolver.fill("train.learning_rate", 0.1, "never")
    resolver.fill("batch.tokens", 700, "because")
    resolver.fill("name", "mine", "data, model and method")
    assert resolver.recipe.train.learning_rate == 0.5
    assert resolver.recipe.batch.tokens == 700
    assert resolver.recipe.name == "mine"
    assert told == [Resolved("batch.tokens", 700, "because"), Resolved("name", "mine", "data, model and method")]


def test_fills_in_silence_where_asked() -> None:
    resolver, told = resolver_of()
    resolver.fill("lora.alpha", 32.0, "for the record", is_told=False)
    assert resolver.recipe.lora.alpha == 32.0
    assert told == []


@pytest.mark.parametrize(
    ("option", "value", "near"),
    [("task", "chatt", "`chat`"), ("method", "lroa", "`lora`"), ("method", "auto", None), ("task", "zzz", None)],
)
def test_what_there_is_not_is_refused_with_the_nearest(option: str, value: str, near: str | None) -> None:
    with pytest.raises(RecipeError, match=f"`{value}` is no {option}") as caught:
        check_choices(Recipe(**{option: value}), ["text", "chat"], ["full", "lora"])
    assert caught.value.fix == (f"Did you mean {near}?" if near else "")
    assert "`lora`" in caught.value.why if option == "method" else "`text`" in caught.value.why


def test_what_there_is_passes() -> None:
    for task in (AUTO, "text", "chat"):
        check_choices(Recipe(task=task), ["text", "chat"], ["full", "lora"])


def test_context_limits_are_read_from_configs() -> None:
    assert context_limit(LlamaConfig(max_position_embeddings=77)) == 77
    assert context_limit(GPT2Config(n_positions=99)) == 99
    assert context_limit(BloomConfig()) is None


@pytest.mark.parametrize(
    ("limit", "expected"), [(512, 512), (1024, 1024), (131072, LONGEST_AUTO_CONTEXT), (None, LONGEST_AUTO_CONTEXT)]
)
def test_context_is_the_models_within_reason(limit: int | None, expected: int) -> None:
    resolver, told = resolver_of()
    config = BloomConfig() if limit is None else LlamaConfig(max_position_embeddings=limit)
    resolve_context(resolver, config)
    assert resolver.recipe.data.context == expected
    assert [event.option for event in told] == ["data.context"]


def test_a_context_beyond_the_model_is_refused() -> None:
    resolver, _ = resolver_of(data__context=600)
    resolve_context(resolver, LlamaConfig(max_position_embeddings=600))
    assert resolver.recipe.data.context == 600
    with pytest.raises(RecipeError, match="this model reads at most 512 tokens") as caught:
        resolve_context(resolver, LlamaConfig(max_position_embeddings=512))
    assert "data.context=512" in caught.value.fix


@pytest.mark.parametrize("method", list(METHODS))
def test_the_learning_rate_is_the_methods(method: str) -> None:
    resolver, _ = resolver_of(data__context=512)
    resolve_training(resolver, facts_of(parameters=3 * 10**6), make_method(method))
    assert resolver.recipe.train.learning_rate == make_method(method).learning_rate(3 * 10**6)


@pytest.mark.parametrize(("tokens", "expected"), [(100, 512), (40_000, 1000), (10**9, 16384)])
def test_a_step_is_a_fortieth_of_the_data_within_bounds(tokens: int, expected: int) -> None:
    resolver, _ = resolver_of(data__context=512)
    resolve_training(resolver, facts_of(tokens=tokens), make_method("lora"))
    assert resolver.recipe.batch.tokens == expected


@pytest.mark.parametrize(
    ("context", "vocabulary", "tokens", "expected"),
    [
        (512, 1000, 10**9, 8),  # 4,096 tokens in memory
        (512, 1000, 40_000, 2),  # a step of 1,000 tokens needs no more rows
        (1024, 150_000, 10**9, 1),  # logits of 150,000 words are large
        (4096, 1000, 10**9, 1),
    ],
)
def test_rows_in_memory_by_hand(context: int, vocabulary: int, tokens: int, expected: int) -> None:
    resolver, _ = resolver_of(data__context=context)
    resolve_training(resolver, facts_of(vocabulary=vocabulary, tokens=tokens), make_method("lora"))
    assert resolver.recipe.batch.rows == expected


@pytest.mark.parametrize(("longest", "expected"), [(0, 64), (8, 18), (100, 133), (1000, 256)])
def test_answers_have_room_for_the_longest_known(longest: int, expected: int) -> None:
    resolver, _ = resolver_of(data__context=512)
    resolve_training(resolver, facts_of(longest_answer=longest), make_method("lora"))
    assert resolver.recipe.evaluate.max_new_tokens == expected


@pytest.mark.parametrize(("method", "told_of"), [("lora", ["lora.alpha", "lora.targets"]), ("full", [])])
def test_a_methods_own_options_are_filled_and_told_where_it_runs(method: str, told_of: list[str]) -> None:
    resolver, told = resolver_of(method=method, lora__rank=4)
    resolve_method(resolver, make_network("phi3"), make_method(method), [make_method(name) for name in METHODS])
    assert resolver.recipe.lora.alpha == 8
    assert resolver.recipe.lora.targets == ["down_proj", "gate_up_proj", "o_proj", "qkv_proj"]
    assert [event.option for event in told] == told_of


@pytest.mark.parametrize("steps", [1, 3, 5, 9, 10, 19, 57, 100, 1234])
def test_validations_come_at_least_five_times_where_there_are_five_steps(steps: int) -> None:
    resolver, _ = resolver_of()
    resolve_rhythm(resolver, steps)
    every = resolver.recipe.evaluate.every
    assert isinstance(every, int)
    assert math.ceil(steps / every) >= min(5, steps)
    assert math.ceil(steps / every) <= 19
    assert resolver.recipe.save.every == every


def test_saving_follows_the_validations_that_were_asked_for() -> None:
    resolver, _ = resolver_of(evaluate__every=7)
    resolve_rhythm(resolver, 1000)
    assert (resolver.recipe.evaluate.every, resolver.recipe.save.every) == (7, 7)


@pytest.mark.parametrize(
    ("epochs", "per_epoch", "most", "expected"),
    [(3, 10, None, 30), (0.5, 10, None, 5), (0.01, 10, None, 1), (1.5, 3, None, 5), (3, 10, 7, 7), (0.1, 30, None, 3)],
)
def test_total_steps_by_hand(epochs: float, per_epoch: int, most: int | None, expected: int) -> None:
    recipe = Recipe(train=TrainSection(epochs=epochs, max_steps=most))
    assert total_steps(recipe, per_epoch) == expected


def test_a_run_is_named_after_data_model_and_method() -> None:
    recipe = Recipe(
        data=DataSection(path="/a/b/news.jsonl.gz"), model=ModelSection(name="/models/tiny-7"), method="full"
    )
    assert run_stem(recipe) == "news-tiny-7-full"
    assert (
        run_stem(Recipe(data=DataSection(path="org/set"), model=ModelSection(name="seedling"))) == "set-seedling-lora"
    )


def test_options_that_nobody_reads_are_named() -> None:
    loaded = load_recipe("rows.jsonl", {"method": "full", "lora.rank": 8, "lora.dropout": 0.1, "train.epochs": 2}, [])
    assert unread_options(loaded.recipe, loaded.origins, METHODS) == ["lora.rank", "lora.dropout"]
    read = load_recipe("rows.jsonl", {"lora.rank": 8}, [])
    assert unread_options(read.recipe, read.origins, METHODS) == []


def test_a_recipe_file_counts_as_given(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("method: full\ndata:\n  path: rows.jsonl\nlora:\n  rank: 8\n")
    loaded = load_recipe(str(file), {}, [])
    assert unread_options(loaded.recipe, loaded.origins, METHODS) == ["lora.rank"]
