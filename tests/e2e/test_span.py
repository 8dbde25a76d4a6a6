"""Extractive question answering from the file to the answer, in two layouts: an encoder and a decoder."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import transformers

import burnish
from burnish.errors import RecipeError
from burnish.workflows.run import Run
from tests.tiny_models import make_tokenizer, save_model
from tests.unit.tasks.test_span import make_bert_tokenizer, make_network

LETTERS = list("abcdefghijklmn")


def write_questions(path: Path, count: int = 120) -> Path:
    """SQuAD's layout: who lives where; a third of the questions cannot be answered."""
    source = random.Random(0)
    paragraphs = []
    for number in range(count):
        noise = [" ".join(source.sample(LETTERS, source.randint(2, 6))) for _ in range(2)]
        place = source.choice(["Rome", "Paris"])
        context = f"{noise[0]} . The {source.choice(['cat', 'man'])} lives in {place} , {noise[1]} ."
        answers = [{"text": place, "answer_start": context.index(place)}]
        if number % 3 == 2:
            context, answers = context.replace(f"lives in {place}", "and then a b"), []
        question = {"id": str(number), "question": "Where is the cat ?", "answers": answers}
        paragraphs.append({"context": context, "qas": [{**question, "is_impossible": not answers}]})
    path.write_text(json.dumps({"version": "v2.0", "data": [{"paragraphs": paragraphs}]}), encoding="utf-8")
    return path


def save_decoder(folder: Path) -> Path:
    tokenizer = make_tokenizer()
    config = transformers.GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=4, n_positions=128)
    return save_model(folder, transformers.GPT2LMHeadModel(config), tokenizer)


def save_encoder(folder: Path) -> Path:
    """The body alone: the head begins at random."""
    tokenizer = make_bert_tokenizer()
    return save_model(folder, make_network(tokenizer).bert, tokenizer)


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    return write_questions(tmp_path / "questions.json")


SETTINGS = {
    "model.device": "cpu",
    "model.precision": "fp32",
    "train.learning_rate": 5e-3,
    "train.schedule": "constant",
    "train.epochs": 20,
    "evaluate.every": 20,
    "data.validation_fraction": 0.25,
    "data.context": 64,
    "seed": 1,
}


def train(questions: Path, model: Path, method: str, **options: object) -> Run:
    runs = questions.parent / "runs"
    return burnish.train(questions, model=str(model), method=method, runs=str(runs), set={**SETTINGS, **options})


def figures_of(run: Run) -> dict[str, tuple[float, float]]:
    """Each figure of base and tuned model."""
    return {one["name"]: (one["base"]["value"], one["tuned"]["value"]) for one in run.evaluation["figures"]}


def test_an_encoder_learns_to_answer_and_to_say_that_there_is_none(questions: Path, tmp_path: Path) -> None:
    run = train(questions, save_encoder(tmp_path / "encoder"), "full")
    figures = figures_of(run)
    assert "task: span" in run.folder.recipe.read_text(encoding="utf-8")
    assert figures["F1"][1] > 0.8
    assert figures["F1"][1] > figures["F1"][0] + 0.3
    assert figures["right, unanswerable"][1] > 0.5
    assert ": F1 rose" in run.evaluation["verdict"]
    assert [table["title"] for table in run.evaluation["tables"]] == ["With and without an answer"]
    assert all(answer["expected"] in ("Rome", "Paris", "(no answer)") for answer in run.evaluation["answers"])
    asked = {"question": "Where is the cat ?", "context": "a b c . The cat lives in Paris , d e ."}
    assert run.generate(json.dumps(asked)) == "Paris"
    assert run.generate(json.dumps({**asked, "context": "a b c . The cat and then a b , d e ."})) == "(no answer)"


@pytest.mark.slow
def test_a_decoder_with_an_adapter_learns_too(questions: Path, tmp_path: Path) -> None:
    """Over several windows a text."""
    run = train(questions, save_decoder(tmp_path / "decoder"), "lora", **{"data.context": 56, "span.stride": 12})
    figures = figures_of(run)
    assert figures["loss"][1] < figures["loss"][0] - 0.5
    assert figures["F1"][1] > figures["F1"][0]
    assert json.loads((run.path / "adapter" / "adapter_config.json").read_text())["modules_to_save"] == ["qa_outputs"]
    again = run.evaluate()
    assert {one.name: one.tuned.value for one in again.figures} == pytest.approx(
        {name: tuned for name, (_, tuned) in figures.items()}
    )


def test_a_head_that_would_lose_its_body_is_refused(questions: Path, tiny_model) -> None:
    with pytest.raises(RecipeError, match="cannot be used for the task `span`"):
        train(questions, tiny_model("llama"), "lora")
