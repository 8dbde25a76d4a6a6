"""Task `score`: what is learned, in which unit, and what the saved model gives by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from burnish.data.rows.records import ScoredRecord
from burnish.engine.optimizer import make_optimizer, set_learning_rate
from burnish.errors import DataError, InputError
from burnish.metrics.measure import value
from burnish.models.base import Loading, load_base
from burnish.models.location import ModelLocation
from burnish.recipe.schema import DataSection, ModelSection, Recipe, ScoreSection, TrainSection
from burnish.tasks.evaluated import EvaluatedExamples
from burnish.tasks.score import SCORE
from burnish.tasks.task import Segment, Task
from tests.snapshots import check_message, check_text
from tests.tiny_classifiers import save_reader, word_pieces
from tests.tiny_models import make_tokenizer

TEXTS = ("the film was good", "the book was bad", "the old man and the fox")


def make_task(tokenizer: Any = None, mean: float = 2.5, scale: float = 1.5, **data: Any) -> Task:
    recipe = Recipe(data=DataSection(**{"context": 64, **data}), score=ScoreSection(mean=mean, scale=scale))
    return SCORE.make(tokenizer or word_pieces(), recipe)


def record(text: str, score: float) -> ScoredRecord:
    return ScoredRecord((text,), score, "a.jsonl:1")


def load(folder: Path, task: Task, tokenizer: Any) -> Any:
    location, section = ModelLocation("tiny", folder, False), ModelSection(name=str(folder))
    return load_base(location, section, tokenizer, torch.device("cpu"), Loading(torch.float32), task.objective.head)


def batch_of(task: Task, scores: tuple[float, ...]) -> Any:
    examples = [
        task.encoder.encode(record(text, score), 64).examples[0] for text, score in zip(TEXTS, scores, strict=True)
    ]
    return examples, task.encoder.collate(examples, [[0], [1], [2]], False, None)


@pytest.fixture(scope="module", params=["bert", "llama"])
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = save_reader(tmp_path_factory.mktemp("readers") / request.param, request.param)
    return folder, word_pieces() if request.param == "bert" else make_tokenizer()


def test_a_new_output_layer_predicts_the_mean_of_the_training_scores(reader: tuple[Path, Any]) -> None:
    folder, tokenizer = reader
    task = make_task(tokenizer)
    network = load(folder, task, tokenizer).network.eval()
    _, batch = batch_of(task, (1.0, 2.0, 4.0))
    with torch.no_grad():
        outcome = task.scorer.evaluate_batch(network, batch)
    start = 2.5 if hasattr(network, "classifier") else 0.0  # a decoder's output layer has no bias
    assert outcome.outputs == [start] * 3
    expected = [((start - score) / 1.5) ** 2 for score in (1.0, 2.0, 4.0)]
    assert outcome.losses.tolist() == pytest.approx(expected)
    assert network.config.problem_type == "regression"


def test_a_trained_output_layer_is_kept(tmp_path: Path) -> None:
    folder = save_reader(tmp_path / "bert", "bert")
    AutoModelForSequenceClassification.from_pretrained(str(folder), num_labels=1).save_pretrained(str(folder))
    base = load(folder, make_task(), word_pieces())
    assert base.new_modules == ()
    assert base.network.classifier.weight.abs().sum() > 0


def test_the_saved_model_gives_the_scores_without_burnish(reader: tuple[Path, Any], tmp_path: Path) -> None:
    folder, tokenizer = reader
    task = make_task(tokenizer, mean=100.0, scale=30.0)
    network = load(folder, task, tokenizer).network
    _, batch = batch_of(task, (60.0, 100.0, 150.0))
    optimizer = make_optimizer(network, TrainSection(learning_rate=0.01), {}, task.objective.units(network))
    set_learning_rate(optimizer, 0.01)
    for _ in range(5):
        optimizer.zero_grad()
        task.objective.losses(network, batch).mean().backward()
        optimizer.step()
    network.eval().save_pretrained(str(tmp_path))
    with torch.no_grad():
        outcome = task.scorer.evaluate_batch(network, batch)
        plain = AutoModelForSequenceClassification.from_pretrained(str(tmp_path)).eval()
        given = []
        for ids, mask in zip(batch.inputs["input_ids"], batch.inputs["attention_mask"], strict=True):
            plain.config.pad_token_id = None
            given.append(plain(input_ids=ids[mask.bool()][None]).logits.item())
    assert (plain.config.num_labels, plain.config.problem_type) == (1, "regression")
    assert outcome.outputs == pytest.approx(given, rel=1e-4, abs=1e-3)


def trained(folder: Path, unit: float) -> list[float]:
    """The scores after a few steps, in the unit of the first."""
    task = make_task(mean=2.0 * unit, scale=unit)
    network = load(folder, task, word_pieces()).network
    _, batch = batch_of(task, (1.0 * unit, 2.0 * unit, 4.0 * unit))
    optimizer = make_optimizer(network, TrainSection(learning_rate=0.01), {}, task.objective.units(network))
    set_learning_rate(optimizer, 0.01)
    for _ in range(6):
        optimizer.zero_grad()
        task.objective.losses(network, batch).mean().backward()
        optimizer.step()
    with torch.no_grad():
        return [output / unit for output in task.scorer.evaluate_batch(network.eval(), batch).outputs]


@pytest.mark.parametrize("unit", [1e-3, 1e4])
def test_a_run_does_not_depend_on_the_unit_of_the_scores(tmp_path: Path, unit: float) -> None:
    folder = save_reader(tmp_path / "bert", "bert")
    assert trained(folder, unit) == pytest.approx(trained(folder, 1.0), rel=1e-2, abs=1e-2)


def evaluated(task: Task, gold: tuple[float, ...], given: tuple[float, ...]) -> EvaluatedExamples:
    examples, _ = batch_of(task, gold)
    return EvaluatedExamples(examples, [0, 1, 2], given, numpy.ones(3), numpy.ones(3, dtype=numpy.int64))


def test_metrics_and_what_the_mean_would_reach() -> None:
    task = make_task()
    seen = evaluated(task, (1.0, 2.0, 4.5), (1.5, 2.0, 4.0))
    figures = {measure.name: value(measure) for measure in task.scorer.measures(seen)}
    assert list(figures) == ["MAE", "Pearson r", "Spearman rho"]
    assert figures["MAE"] == pytest.approx(1 / 3)
    assert figures["Spearman rho"] == pytest.approx(1.0, abs=1e-6)
    assert (task.scorer.headline, task.scorer.headline_is_share) == ("MAE", False)
    check_text(task.scorer.remark(seen))
    assert task.scorer.describe(seen.examples[2], 4.0) == (TEXTS[2], "4.5", "4.000")
    chance = task.scorer.chance_loss(seen)
    assert chance is not None
    assert value(chance) == pytest.approx(float(numpy.var([1.0, 2.0, 4.5])) / 1.5**2)


def test_before_the_rows_are_known_the_loss_is_in_the_unit_of_the_scores() -> None:
    task = SCORE.make(word_pieces(), Recipe())
    objective: Any = task.objective
    assert objective.head.start == 0.0
    _, batch = batch_of(task, (1.0, 2.0, 4.0))
    assert objective.losses_of(torch.tensor([1.0, 4.0, 1.0]), batch).tolist() == [0.0, 4.0, 9.0]


def choices(scores: list[float], **section: Any) -> dict[str, Any]:
    recipe = Recipe(score=ScoreSection(**section))
    return {option: what for option, what, _ in SCORE.choices([record("x", score) for score in scores], recipe)}


def test_mean_and_spread_come_from_the_training_rows() -> None:
    assert choices([1.0, 3.0]) == {"score.mean": 2.0, "score.scale": 1.0}
    with pytest.raises(DataError) as caught:
        choices([3.0, 3.0])
    check_message(caught.value)
    assert choices([3.0, 3.0], mean=1.0, scale=2.0)["score.mean"] == 3.0, "a resolved run may be evaluated on them"


def test_scores_far_from_0_are_named() -> None:
    check_text(make_task(mean=2005.0, scale=9.0).encoder.notes[0])
    assert make_task().encoder.notes == []
    assert make_task(mean=-20.0, scale=1.0).encoder.notes == []
    assert len(make_task(mean=-20.5, scale=1.0).encoder.notes) == 1
    assert make_task(mean=200.0, scale=10.0).encoder.notes == []
    assert (
        len(make_task(mean=20.5, scale=0.5).encoder.notes) == len(make_task(mean=201.0, scale=10.0).encoder.notes) == 1
    )


def test_a_row_and_its_score_as_a_segment() -> None:
    """The score is learned, none of the tokens is."""
    task = make_task()
    (example,) = task.encoder.encode(record("the film", 2.5), 64).examples
    assert task.encoder.segments(example) == [
        Segment("", example.input_ids, [False] * example.num_tokens, "score: 2.5")
    ]
    assert example.num_trained == 1


def test_a_text_or_a_row_is_answered(reader: tuple[Path, Any]) -> None:
    folder, tokenizer = reader
    task = make_task(tokenizer, shape="scored-text")
    network = load(folder, task, tokenizer).network.eval()
    assert float(task.predictor.respond(network, "the film was good")) in (2.5, 0.0)
    pair = make_task(tokenizer, shape="scored-pair")
    assert pair.predictor.respond(network, json.dumps({"sentence1": "the film", "sentence2": "the book"}))
    with pytest.raises(InputError):
        pair.predictor.respond(network, "the film")
