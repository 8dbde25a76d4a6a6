"""Every `auto` filled in, each with its reason."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import BloomConfig, GPT2Config, LlamaConfig

from burnish.errors import MachineError, RecipeError
from burnish.methods import make_method, method_names
from burnish.models.config import context_limit
from burnish.prepare.idle import unused_options
from burnish.prepare.resolve import (
    LONGEST_AUTO_CONTEXT,
    Facts,
    Resolver,
    micro_batches,
    resolve_choices,
    resolve_context,
    resolve_general,
    resolve_general_tokens,
    resolve_head_rate,
    resolve_rhythm,
    resolve_step,
    resolve_training,
    run_stem,
    total_steps,
    unread_sections,
)
from burnish.recipe.load import load_recipe
from burnish.recipe.schema import DataSection, ModelSection, Recipe, TrainSection
from burnish.runs.events import Event, Resolved, Warned
from burnish.tasks import task_facts, task_names
from tests.tiny_models import make_network

WITHOUT_LIMIT = SimpleNamespace(model_max_length=10**30)
"""A tokenizer that does not say how long a text may be."""


def resolver_of(**flags: Any) -> tuple[Resolver, list[Resolved]]:
    """A resolver over a recipe of these options (`__` for the dot), and what it reports."""
    given = {name.replace("__", "."): value for name, value in flags.items()}
    events: list[Resolved] = []
    return Resolver(load_recipe("rows.jsonl", given, []).recipe, events.append), events


def facts_of(**changes: int) -> Facts:
    """A small model on some data."""
    facts: dict[str, Any] = {
        "device": "cpu",
        "parameters": 10**8,
        "outputs": 1000,
        "tokens": 100_000,
        "rows": 1000,
        "step_rows": 0,
        "has_own_head": False,
        "longest_answer": 0,
    }
    return Facts(**{**facts, **changes})


def test_fills_only_what_is_auto_and_reports_why() -> None:
    resolver, result = resolver_of(train__learning_rate=0.5)
    resolver.fill("train.learning_rate", 0.1, "never")
    resolver.fill("batch.tokens", 700, "because")
    resolver.fill("name", "mine", "data, model and method")
    assert resolver.recipe.train.learning_rate == 0.5
    assert resolver.recipe.batch.tokens == 700
    assert resolver.recipe.name == "mine"
    assert result == [Resolved("batch.tokens", 700, "because"), Resolved("name", "mine", "data, model and method")]


def test_fills_in_silence_where_asked() -> None:
    resolver, result = resolver_of()
    resolver.fill("lora.alpha", 32.0, "for the record", is_reported=False)
    assert resolver.recipe.lora.alpha == 32.0
    assert result == []


def test_context_limits_are_read_from_configs() -> None:
    assert context_limit(LlamaConfig(max_position_embeddings=77)) == 77
    assert context_limit(GPT2Config(n_positions=99)) == 99
    assert context_limit(BloomConfig()) is None


SCALED = {
    "linear": ({"rope_type": "linear", "factor": 4.0}, 256),
    "linear, spelled the old way": ({"type": "linear", "factor": 2}, 128),
    "dynamic": ({"rope_type": "dynamic", "factor": 3.0}, 192),
    "yarn": ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}, 256),
    "yarn of the whole config": ({"rope_type": "yarn", "factor": 4.0}, 256),
    "yarn whose config gives the length after scaling": (
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}, 64,
    ),
    "llama3": (
        {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
         "original_max_position_embeddings": 16}, 64,
    ),
    "longrope": (
        {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [2.0] * 4,
         "original_max_position_embeddings": 16}, 64,
    ),
    "longrope with a factor": (
        {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [2.0] * 4, "factor": 8.0,
         "original_max_position_embeddings": 16}, 128,
    ),
    "none": ({"rope_type": "default"}, 64),
}  # fmt: skip


@pytest.mark.parametrize("name", SCALED)
def test_rope_scaling_gives_more_context(name: str) -> None:
    """Whatever the tokenizer's limit, which often is that of the model before scaling."""
    rope, limit = SCALED[name]
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "max_position_embeddings": 64}
    config = LlamaConfig(**sizes, rope_parameters=dict(rope))
    assert context_limit(config) == limit
    resolver, _ = resolver_of(data__context=limit)
    resolve_context(resolver, config, SimpleNamespace(model_max_length=64))
    with pytest.raises(RecipeError, match=f"accepts at most {limit} tokens"):
        resolve_context(resolver_of(data__context=limit + 1)[0], config, SimpleNamespace(model_max_length=64))


@pytest.mark.parametrize(
    ("limit", "expected"), [(512, 512), (1024, 1024), (131072, LONGEST_AUTO_CONTEXT), (None, LONGEST_AUTO_CONTEXT)]
)
def test_context_is_the_models_within_reason(limit: int | None, expected: int) -> None:
    resolver, result = resolver_of()
    config = BloomConfig() if limit is None else LlamaConfig(max_position_embeddings=limit)
    resolve_context(resolver, config, WITHOUT_LIMIT)
    assert resolver.recipe.data.context == expected
    assert [event.option for event in result] == ["data.context"]


def test_a_context_beyond_the_model_is_refused() -> None:
    resolver, _ = resolver_of(data__context=600)
    resolve_context(resolver, LlamaConfig(max_position_embeddings=600), WITHOUT_LIMIT)
    assert resolver.recipe.data.context == 600
    with pytest.raises(RecipeError, match="this model accepts at most 512 tokens") as caught:
        resolve_context(resolver, LlamaConfig(max_position_embeddings=512), WITHOUT_LIMIT)
    assert "data.context=512" in caught.value.fix


def test_a_tokenizers_limit_counts_too() -> None:
    """RoBERTa has 514 positions, of which padding takes two."""
    resolver, _ = resolver_of()
    resolve_context(resolver, LlamaConfig(max_position_embeddings=514), SimpleNamespace(model_max_length=512), 20)
    assert resolver.recipe.data.context == 492


@pytest.mark.parametrize("method", list(method_names()))
def test_the_learning_rate_is_the_methods(method: str) -> None:
    resolver, _ = resolver_of(data__context=512, batch__tokens=2500)
    resolve_training(resolver, facts_of(parameters=3 * 10**6), make_method(method))
    assert resolver.recipe.train.learning_rate == make_method(method).learning_rate(3 * 10**6)


@pytest.mark.parametrize(("tokens", "expected"), [(100, 512), (40_000, 1000), (10**9, 16384)])
def test_a_step_is_a_fortieth_of_the_data_within_bounds(tokens: int, expected: int) -> None:
    resolver, _ = resolver_of(data__context=512)
    resolve_step(resolver, facts_of(tokens=tokens))
    assert resolver.recipe.batch.tokens == expected


@pytest.mark.parametrize(
    ("step_rows", "tokens", "rows", "expected"),
    [
        (32, 10_000, 1000, 320),
        (32, 6390, 639, 310),
        (32, 2000, 200, 100),
        (32, 1790, 179, 80),
        (32, 999, 0, 7992),
        (1, 1, 1000, 1),
        (0, 10_000, 1000, 512),
    ],
)
def test_where_rows_count_a_step_has_so_many_of_them(step_rows: int, tokens: int, rows: int, expected: int) -> None:
    """Each row is one term of the loss: fifty tokens of ten rows and of one are not the same step. Of few
    rows, at least eight, a step has a twentieth."""
    resolver, result = resolver_of(data__context=512)
    resolve_step(resolver, facts_of(step_rows=step_rows, tokens=tokens, rows=rows))
    assert resolver.recipe.batch.tokens == expected
    (reason,) = [event.reason for event in result if event.option == "batch.tokens"]
    used = min(step_rows, max(8, rows // 20))
    assert (f"about {used} rows" in reason) == (step_rows > 0)


@pytest.mark.parametrize(
    ("new", "given", "rate", "warnings"),
    [
        (["score"], None, 2e-3, 0),
        (["score"], 0.5, 0.5, 0),
        ([], None, None, 0),
        ([], 0.5, 0.5, 1),
        pytest.param([], 1e-4, 1e-4, 0, id="as a recipe saved by an earlier version has it"),
    ],
)
def test_a_rate_for_a_new_head(new: list[str], given: float | None, rate: float | None, warnings: int) -> None:
    resolver, _ = resolver_of(train__learning_rate=1e-4, **({"train__head_learning_rate": given} if given else {}))
    events: list[Event] = []
    resolve_head_rate(resolver, new, events.append)
    assert resolver.recipe.train.head_learning_rate == rate
    assert sum(isinstance(event, Warned) for event in events) == warnings


def test_the_optimizer_is_adamw_unless_asked_otherwise() -> None:
    resolver, result = resolver_of(data__context=512, batch__tokens=2500)
    resolve_training(resolver, facts_of(), make_method("lora"))
    assert resolver.recipe.train.optimizer == "adamw"
    assert "train.optimizer" not in [event.option for event in result]


def test_the_paged_optimizer_is_refused_where_there_is_no_cuda() -> None:
    """Before the run folder is made, not at the first step."""
    resolver, _ = resolver_of(data__context=512, train__optimizer="paged-adamw-8bit", batch__tokens=2500)
    with pytest.raises(MachineError, match="needs CUDA"):
        resolve_training(resolver, facts_of(), make_method("lora"))


@pytest.mark.parametrize(
    ("device", "context", "outputs", "tokens", "expected"),
    [
        ("cpu", 512, 1000, 10**9, [8, 4, 2, 1]),  # 4,096 tokens in memory
        ("cpu", 512, 1000, 60_000, [3, 1]),  # a step of 1,500 tokens needs no more rows
        ("cpu", 1024, 150_000, 10**9, [1]),  # logits of 150,000 words are large
        ("cpu", 4096, 1000, 10**9, [1]),
        ("cuda", 512, 1000, 10**9, [32, 16, 8, 4, 2, 1]),  # a whole step
    ],
)
def test_rows_in_memory_by_hand(device: str, context: int, outputs: int, tokens: int, expected: list[int]) -> None:
    resolver, _ = resolver_of(data__context=context)
    facts = facts_of(device=device, outputs=outputs, tokens=tokens)
    resolve_step(resolver, facts)
    assert micro_batches(resolver.recipe, facts) == expected


def test_rows_in_memory_that_were_asked_for_stay() -> None:
    resolver, _ = resolver_of(data__context=512, batch__rows=5)
    assert micro_batches(resolver.recipe, facts_of()) == [5]


@pytest.mark.parametrize(
    ("rows", "epochs", "rank"), [(10, 3, 16), (10_000, 3, 16), (10_001, 2, 32), (100_000, 2, 32), (100_001, 1, 32)]
)
def test_more_rows_are_read_fewer_times_with_a_higher_rank(rows: int, epochs: int, rank: int) -> None:
    resolver, _ = resolver_of(data__context=512, batch__tokens=2500)
    resolve_training(resolver, facts_of(rows=rows), make_method("lora"))
    assert (resolver.recipe.train.epochs, resolver.recipe.lora.rank) == (epochs, rank)


@pytest.mark.parametrize(("tokens", "epochs"), [(100_000, 3), (85_000, 3), (82_500, 4), (25_000, 10), (2_500, 10)])
def test_few_rows_are_read_more_often_to_make_a_hundred_steps(tokens: int, epochs: int) -> None:
    resolver, events = resolver_of(data__context=512, batch__tokens=2500)
    resolve_training(resolver, facts_of(tokens=tokens), make_method("lora"))
    assert resolver.recipe.train.epochs == epochs
    (reason,) = [event.reason for event in events if event.option == "train.epochs"]
    per_epoch = math.ceil(tokens / 2500)
    made = (
        f"1,000 rows make {per_epoch} step{'' if per_epoch == 1 else 's'} an epoch, and learning takes about 100 steps"
    )
    assert (reason == made) == (epochs > 3)


@pytest.mark.parametrize(("rows", "epochs"), [(16, 15), (480, 15), (520, 14), (800, 9), (2_400, 3), (8_000, 3)])
def test_a_new_head_is_given_nine_hundred_steps(rows: int, epochs: int) -> None:
    resolver, events = resolver_of(data__context=512, batch__tokens=800)
    facts = facts_of(rows=rows, tokens=100 * rows, has_own_head=True)
    resolve_training(resolver, facts, make_method("full"))
    assert resolver.recipe.train.epochs == epochs
    (reason,) = [event.reason for event in events if event.option == "train.epochs"]
    assert reason.endswith("learning takes about 900 steps") == (epochs > 3)


@pytest.mark.parametrize(("outputs", "epochs"), [(1, 15), (2, 10), (8, 10), (9, 15), (150, 15)])
def test_a_head_of_few_labels_needs_no_more_than_others(outputs: int, epochs: int) -> None:
    resolver, _ = resolver_of(data__context=512, batch__tokens=800)
    facts = facts_of(rows=16, tokens=1600, has_own_head=True, outputs=outputs)
    resolve_training(resolver, facts, make_method("full"))
    assert resolver.recipe.train.epochs == epochs


def test_a_rank_is_chosen_only_for_a_method_that_has_one() -> None:
    resolver, _ = resolver_of(data__context=512, batch__tokens=2500)
    resolve_training(resolver, facts_of(), make_method("full"))
    assert resolver.recipe.lora.rank == "auto"


def test_packing_is_turned_off_where_it_is_impossible() -> None:
    resolver, _ = resolver_of()
    resolver.fill_packing(True)
    assert resolver.recipe.data.packing is True
    resolver.fill_packing(False)
    assert resolver.recipe.data.packing is False


@pytest.mark.parametrize(("longest", "expected"), [(0, 64), (8, 18), (100, 133), (1000, 256)])
def test_answers_have_room_for_the_longest_known(longest: int, expected: int) -> None:
    resolver, _ = resolver_of(data__context=512, batch__tokens=2500)
    resolve_training(resolver, facts_of(longest_answer=longest), make_method("lora"))
    assert resolver.recipe.evaluate.max_new_tokens == expected


def test_what_method_and_task_choose_is_filled_and_reported() -> None:
    resolver, result = resolver_of(lora__rank=4, data__labels=["yes", "no"])
    resolve_choices(resolver, make_method("lora").choices(make_network("phi3"), resolver.recipe))
    assert resolver.recipe.lora.alpha == 8
    assert resolver.recipe.lora.targets == ["down_proj", "gate_up_proj", "o_proj", "qkv_proj"]
    resolve_choices(resolver, [("data.labels", ["a", "b"], "the training rows"), ("tag.scheme", "IOB2", "the tags")])
    assert resolver.recipe.data.labels == ["yes", "no"], "what was asked for stays"
    assert resolver.recipe.tag.scheme == "IOB2"
    assert [event.option for event in result] == ["lora.alpha", "lora.targets", "tag.scheme"]


@pytest.mark.parametrize("steps", [1, 3, 5, 9, 10, 19, 57, 100, 1234])
def test_validations_come_at_least_five_times_where_there_are_five_steps(steps: int) -> None:
    resolver, _ = resolver_of()
    resolve_rhythm(resolver, steps)
    every = resolver.recipe.evaluate.every
    assert isinstance(every, int)
    assert math.ceil(steps / every) >= min(5, steps)
    assert math.ceil(steps / every) <= 19
    assert resolver.recipe.save.every == every


@pytest.mark.parametrize(("trained", "tokens"), [(0, 500), (499.6, 500), (4321.4, 4321), (8000.2, 8000), (9e9, 8000)])
def test_other_texts_have_as_many_tokens_as_training_sees(trained: float, tokens: int) -> None:
    resolver, _ = resolver_of()
    resolve_general_tokens(resolver, trained)
    assert resolver.recipe.evaluate.general_tokens == tokens
    resolver, _ = resolver_of(evaluate__general_tokens=200)
    resolve_general_tokens(resolver, trained)
    assert resolver.recipe.evaluate.general_tokens == 200, "what was asked for stays"


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
    recipe = Recipe(data=DataSection(path="org/set"), model=ModelSection(name="seedling"), method="lora")
    assert run_stem(recipe) == "set-seedling-lora"


class Part:
    """A task or a method, as far as its sections go."""

    def __init__(self, *sections: str) -> None:
        self.sections = sections


def test_sections_of_others_are_unread() -> None:
    """A section that the chosen task or method shares with another is read; one that belongs to nobody, too."""
    lora, qlora, freeze = Part("lora"), Part("lora", "qlora"), Part("freeze")
    classify, tag, chat = Part("classify"), Part("tag"), Part()
    tasks: Any = [classify, tag, chat]
    methods: Any = [lora, qlora, freeze]

    def unread(task: Any, method: Any) -> set[str]:
        return unread_sections(task, method, tasks, methods)

    assert unread(chat, lora) == {"qlora", "freeze", "classify", "tag"}
    assert unread(classify, qlora) == {"freeze", "tag"}
    assert unread(tag, freeze) == {"lora", "qlora", "classify"}


def test_the_sections_of_every_task_and_method_are_there() -> None:
    known = set(Recipe.model_fields)
    for part in (*(task_facts(name) for name in task_names()), *(make_method(name) for name in method_names())):
        assert set(part.sections) <= known, part.name


def test_options_that_nobody_reads_are_named() -> None:
    loaded = load_recipe("rows.jsonl", {"method": "full", "lora.rank": 8, "lora.dropout": 0.1, "train.epochs": 2}, [])
    assert unused_options(loaded.origins, {"lora", "tag"}) == ["lora.rank", "lora.dropout"]
    assert unused_options(loaded.origins, {"tag"}) == []
    assert unused_options({}, {"lora"}) == []


def test_a_recipe_file_counts_as_given(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("method: full\ndata:\n  path: rows.jsonl\nlora:\n  rank: 8\n")
    assert unused_options(load_recipe(str(file), {}, []).origins, {"lora"}) == ["lora.rank"]


@pytest.mark.parametrize(
    ("task", "kind", "wanted", "taken", "is_warned"),
    [
        ("chat", "causal", "auto", "bundled", False),
        ("preference", "causal", "auto", "bundled", False),
        ("chat", "causal", "texts.jsonl", "texts.jsonl", False),
        ("chat", "causal", "none", "none", False),
        ("classify", "causal", "auto", "none", False),
        ("vision", "image-text", "auto", "none", False),
        ("text-to-text", "seq2seq", "auto", "none", False),
        ("classify", "masked", "texts.jsonl", "texts.jsonl", True),
    ],
)
def test_other_texts_are_read_by_decoders_that_write(
    task: str, kind: str, wanted: str, taken: str, is_warned: bool
) -> None:
    resolver, _ = resolver_of(evaluate__general=wanted)
    events: list[Event] = []
    resolve_general(resolver, task_facts(task), kind, events.append)
    assert resolver.recipe.evaluate.general == taken
    assert [isinstance(event, Warned) for event in events] == [True] * is_warned
