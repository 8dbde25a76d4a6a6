"""Small made-up pairs of answers, and a preference task set up for them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from burnish.data.batching.batches import Batch
from burnish.data.preference.format import Answer, PairExample, RatedExample
from burnish.recipe.schema import DataSection, PreferenceSection, Recipe
from burnish.tasks import make_task
from tests.tiny_models import CONTEXT


def random_answer(source: random.Random, shortest: int, longest: int, vocabulary: int = 300) -> Answer:
    """An answer of random tokens, all of them learned."""
    ids = [source.randrange(3, vocabulary) for _ in range(source.randint(shortest, longest))]
    return Answer(ids, list(ids))


def random_pairs(count: int, seed: int = 0) -> list[PairExample]:
    """Prompts of 3 to 20 random tokens, with two answers of 1 to 16."""
    source = random.Random(seed)
    return [
        PairExample(
            [source.randrange(3, 300) for _ in range(source.randint(3, 20))],
            random_answer(source, 1, 16),
            random_answer(source, 1, 16),
            f"made.jsonl:{number + 1}",
        )
        for number in range(count)
    ]


def random_rated(count: int, seed: int = 0) -> list[RatedExample]:
    """The same with one answer each, every third of them bad."""
    pairs = random_pairs(count, seed)
    return [RatedExample(p.prompt_ids, p.chosen, number % 3 != 0, p.place) for number, p in enumerate(pairs)]


def make_preference(tokenizer: Any, context: int = CONTEXT, **options: Any) -> Any:
    """A preference task; options of the recipe's section, without `auto`."""
    section = PreferenceSection(**{"loss": "dpo", "beta": 0.1, **options})
    return make_task("preference", tokenizer, Recipe(preference=section, data=DataSection(context=context)))


def one_each(task: Any, examples: Sequence[Any], size: int | None = None) -> list[Batch]:
    """All examples in batches of `size`, an example to a row."""
    size = size or len(examples)
    numbers = range(len(examples))
    groups = [[[index] for index in numbers[begin : begin + size]] for begin in range(0, len(examples), size)]
    return [task.encoder.collate(examples, group, False, None) for group in groups]


def measured(task: Any, network: Any, examples: Sequence[Any]) -> list[Any]:
    """The examples with their log-probabilities under `network`."""
    bare = [replace(example, reference=None) for example in examples]
    return task.objective.prepare_examples(network, bare, one_each(task, bare, 3), "fp32")


def loss_and_gradients(task: Any, network: Any, batches: Sequence[Batch]) -> tuple[float, dict[str, torch.Tensor]]:
    """Mean loss of a step over these batches, and its gradients by name."""
    network.zero_grad(set_to_none=True)
    with torch.no_grad():
        task.objective.begin_step(network, iter(batches))
    terms = sum(batch.num_trained for batch in batches)
    total = 0.0
    for batch in batches:
        loss = task.objective.losses(network, batch).sum() / terms
        loss.backward()
        total += loss.item()
    named = network.named_parameters()
    return total, {name: p.grad.clone() for name, p in named if p.grad is not None}
