"""What `classify`, `score` and `reward` have in common, which read a text or a pair as a whole."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from burnish.data.rows.records import LabelledRecord, PreferenceRecord, ScoredRecord
from burnish.models.base import Loading, load_base
from burnish.models.heads import Head
from burnish.models.location import ModelLocation
from burnish.recipe.schema import ClassifySection, DataSection, ModelSection, Recipe, ScoreSection
from burnish.tasks import make_task
from burnish.tasks.task import Task
from tests.tiny_classifiers import save_reader, word_pieces
from tests.tiny_models import make_tokenizer

TASKS = ("classify", "score", "reward")
LONG = "the film was good the book was bad the meal"


def task_of(name: str, tokenizer: Any, context: Any = 64) -> Task:
    """A task whose options are filled in."""
    labels = ["bad", "good"] if name == "classify" else "auto"
    return make_task(
        name,
        tokenizer,
        Recipe(
            data=DataSection(context=context, labels=labels),
            classify=ClassifySection(multi_label=False),
            score=ScoreSection(mean=2.5, scale=1.5),
        ),
    )


def record(name: str, text: str) -> Any:
    """A row of the task with this text."""
    if name == "classify":
        return LabelledRecord((text,), ("good",), False, "a:1")
    if name == "score":
        return ScoredRecord((text,), 1.0, "a:1")
    better, worse = ({"role": "assistant", "content": content} for content in (text, "no"))
    return PreferenceRecord(({"role": "user", "content": "a"},), (better,), (worse,), None, "a:1")


class Listens(torch.nn.Module):
    """Keeps what it is given, and answers with zeros."""

    config = SimpleNamespace(type_vocab_size=2)

    def __init__(self) -> None:
        super().__init__()
        self.anything = torch.nn.Parameter(torch.zeros(1))
        self.heard: list[dict[str, torch.Tensor]] = []

    def forward(self, **inputs: torch.Tensor) -> Any:
        self.heard.append(inputs)
        return SimpleNamespace(logits=torch.zeros(len(inputs["input_ids"]), 2))


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("pad", ["<|im_start|>", None])
def test_short_rows_are_filled_up_with_the_pad_token_or_with_0(name: str, pad: str | None) -> None:
    tokenizer: Any = make_tokenizer()
    task = task_of(name, tokenizer)
    examples = [task.encoder.encode(record(name, text), 64).examples[0] for text in ("the red fox in the garden", "a")]
    tokenizer.pad_token = pad
    batch = task.encoder.collate(examples, [[0], [1]], False, None)
    is_padding = batch.inputs["attention_mask"] == 0
    assert is_padding.any()
    assert set(batch.input_ids[is_padding].tolist()) == {0 if pad is None else tokenizer.pad_token_id}
    assert batch.num_tokens == int((~is_padding).sum()) == sum(example.num_tokens for example in examples)
    assert batch.examples == (0, 1)


@pytest.mark.parametrize("name", ["classify", "score"])
@pytest.mark.parametrize(("context", "width"), [("auto", None), (8, 8), (9, 9)])
def test_a_prompt_is_read_up_to_the_context(name: str, context: Any, width: int | None) -> None:
    tokenizer = word_pieces()
    task, network = task_of(name, tokenizer, context), Listens()
    task.predictor.respond(network, LONG)
    whole = tokenizer(LONG)["input_ids"]
    assert len(whole) == 12
    kept = whole if width is None else [*whole[: width - 1], whole[-1]]
    assert network.heard[0]["input_ids"].tolist() == [kept]
    assert task.predictor.num_cut(LONG) == len(whole) - len(kept)


def test_how_much_of_a_text_a_reward_model_leaves_out() -> None:
    tokenizer = make_tokenizer()
    length = len(tokenizer(LONG)["input_ids"]) + 1
    assert task_of("reward", tokenizer, length).predictor.num_cut(LONG) == 0
    assert task_of("reward", tokenizer, length - 2).predictor.num_cut(LONG) == 2


@pytest.mark.parametrize("name", ["score", "reward"])
def test_a_head_with_other_outputs_is_replaced(name: str, tmp_path: Any) -> None:
    folder = save_reader(tmp_path / "bert", "bert")
    three = AutoModelForSequenceClassification.from_pretrained(str(folder), num_labels=3)
    three.save_pretrained(str(folder))
    head: Head = task_of(name, word_pieces()).objective.head
    base = load_base(
        ModelLocation("tiny", folder, False),
        ModelSection(name=str(folder)),
        copy.deepcopy(word_pieces()),
        torch.device("cpu"),
        Loading(torch.float32),
        head,
    )
    assert base.network.classifier.weight.shape[0] == 1
    assert base.new_modules == ("classifier",)
