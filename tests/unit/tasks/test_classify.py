"""Task `classify`: what is read, what is lost, and what is said of the result."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy
import pytest
import torch
from tokenizers import processors
from torch.nn import functional
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerFast

from burnish.data.rows.records import LabelledRecord
from burnish.data.tokens.text_pairs import longest_first
from burnish.errors import DataError, InputError, RecipeError
from burnish.metrics.measure import value
from burnish.models.base import Loading, load_base
from burnish.models.heads import Target, row_logits
from burnish.models.location import ModelLocation
from burnish.prepare.encode import encode_records
from burnish.recipe.schema import ClassifySection, DataSection, ModelSection, Recipe
from burnish.tasks.classify import CLASSIFY, LabelledExample, balanced_weights
from burnish.tasks.evaluated import EvaluatedExamples
from burnish.tasks.task import Task
from tests.tiny_classifiers import save_reader, word_pieces
from tests.tiny_models import make_tokenizer

CPU = torch.device("cpu")


def make_task(tokenizer: Any = None, labels: Any = ("bad", "good"), is_multi: bool = False, **data: Any) -> Task:
    section = DataSection(labels=list(labels), **{"context": 64, **data})
    recipe = Recipe(data=section, classify=ClassifySection(multi_label=is_multi))
    return CLASSIFY.make(tokenizer or word_pieces(), recipe)


def record(*texts: str, labels: Any = ("good",), is_multi: bool = False) -> LabelledRecord:
    return LabelledRecord(texts, tuple(labels), is_multi, "a.jsonl:1")


def encode(task: Task, *texts: str, context: int = 64) -> tuple[Any, int]:
    row = task.encoder.encode(record(*texts), context)
    (example,) = row.examples
    return example, row.truncated_tokens


def encode_several(task: Task, text: str, labels: tuple[str, ...]) -> tuple[Any, int]:
    row = task.encoder.encode(record(text, labels=labels, is_multi=True), 64)
    (example,) = row.examples
    return example, row.truncated_tokens


def load(folder: Any, task: Task) -> Any:
    """The base model with the task's head on it."""
    location = ModelLocation("tiny", folder, False)
    tokenizer = task.encoder._tokenizer
    return load_base(
        location, ModelSection(name=str(folder)), tokenizer, CPU, Loading(torch.float32), task.objective.head
    )


@pytest.fixture(scope="module", params=["bert", "llama"])
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """A tiny model's folder and its tokenizer."""
    folder = save_reader(tmp_path_factory.mktemp("readers") / request.param, request.param)
    return folder, word_pieces() if request.param == "bert" else make_tokenizer()


# Reading


def test_an_encoder_reads_a_text_and_a_pair_by_its_own_template():
    task, tokenizer = make_task(), word_pieces()
    single, _ = encode(task, "the film was good")
    assert single.input_ids == tokenizer("the film was good")["input_ids"]
    assert set(single.token_types) == {0}
    pair, _ = encode(task, "the film", "was good")
    expected = tokenizer("the film", "was good")
    assert (pair.input_ids, pair.token_types) == (expected["input_ids"], expected["token_type_ids"])
    assert set(pair.token_types) == {0, 1}
    assert (pair.num_tokens, pair.num_trained) == (len(expected["input_ids"]), 1)


def test_a_decoder_reads_each_text_with_its_end():
    tokenizer = make_tokenizer()
    first, second = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("the fox", "a boat"))
    end = [tokenizer.eos_token_id]
    assert encode(make_task(tokenizer), "the fox")[0].input_ids == first + end
    assert encode(make_task(tokenizer), "the fox", "a boat")[0].input_ids == first + end + second + end


def test_a_decoder_with_bos_reads_it_once():
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
    )
    ids = encode(make_task(tokenizer), "the fox", "a boat")[0].input_ids
    assert (ids[0], ids.count(1), ids[-1]) == (1, 1, tokenizer.eos_token_id)


@pytest.mark.parametrize("tokenizer", [word_pieces(), make_tokenizer()], ids=["bert", "llama"])
def test_long_texts_are_cut_and_what_is_lost_is_counted(tokenizer):
    task = make_task(tokenizer)
    text = "the film was good and bad " * 8
    whole, lost = encode(task, text, context=1000)
    assert lost == 0
    cut, lost = encode(task, text, context=12)
    assert (cut.num_tokens, lost) == (12, whole.num_tokens - 12)
    assert cut.input_ids[-1] == whole.input_ids[-1]
    assert cut.input_ids[:11] == whole.input_ids[:11]
    pair, lost = encode(task, "the film", text, context=20)
    complete, _ = encode(task, "the film", text, context=1000)
    assert (pair.num_tokens, lost) == (20, complete.num_tokens - 20)
    assert pair.input_ids[:19] == complete.input_ids[:19]


def test_of_a_pair_the_longer_text_is_cut_first():
    assert longest_first([3, 4], 7) == [3, 4]
    assert longest_first([3, 9], 7) == [3, 4]
    assert longest_first([9, 3], 7) == [4, 3]
    assert longest_first([9, 8], 7) == [4, 3]
    assert longest_first([8, 9], 7) == [3, 4]
    assert longest_first([9], 7) == [7]


def test_rows_that_cannot_be_learned_are_named():
    task = make_task()
    records = [record("x", labels=["new"]), record("x", labels=[], is_multi=True)]
    encoded = encode_records(task.encoder, records, 64)
    assert not encoded.examples
    assert [row.reason for row in encoded.rejected] == [
        "the label `new` is in no training row, so it cannot be learned",
        "the row has 0 labels, but one is expected",
    ]


def held_out(task: Task, labels: list[list[str]], outputs: list[list[float]], is_multi: bool) -> EvaluatedExamples:
    """Held-out rows with these labels and outputs."""
    records = [record("x", labels=names, is_multi=is_multi) for names in labels]
    encoded = encode_records(task.encoder, records, 64, is_held_out=True)
    given = [numpy.array(output, dtype=numpy.float32) for output in outputs]
    counts = numpy.array([example.num_trained for example in encoded.examples])
    return EvaluatedExamples(encoded.examples, encoded.owners, given, counts.astype(float), counts)


def test_a_held_out_row_with_a_label_that_was_never_learned_counts_as_wrong():
    task = make_task()
    labels = [["good"], ["new"], ["bad"], ["other"]]
    seen = held_out(task, labels, [[0.1, 0.9], [0.1, 0.9], [0.9, 0.1], [0.9, 0.1]], is_multi=False)
    figures = {measure.name: measure for measure in task.scorer.measures(seen)}
    assert value(figures["accuracy"]) == 0.5
    assert len(figures["accuracy"].table) == 4
    assert value(figures["macro-F1"]) == pytest.approx((2 / 3 + 2 / 3) / 4)
    assert len(seen.loss().table) == 2, "the loss of an impossible label is infinite, and no term of the mean"
    per_class, confusion = task.scorer.tables(seen)
    assert [row[0] for row in per_class.rows] == ["bad", "good", "new", "other"]
    assert confusion.rows[2] == ("new", 0, 1, 0, 0)
    assert task.scorer.describe(seen.examples[1], seen.outputs[1]) == ("x", "new", "good (0.90)")
    assert "would be right for 25.0 % of these rows" in task.scorer.remark(seen)
    records = [record("x", labels=names) for names in labels]
    assert task.encoder.held_out_remarks(records) == [
        "2 of 4 held-out rows have a label that is in no training row: `new` (1), `other` (1). The model cannot "
        "predict it, so they count as wrong."
    ]
    assert task.encoder.held_out_remarks(records[:1]) == []


def test_a_batch_with_such_rows_has_losses_for_the_others_only(reader):
    folder, tokenizer = reader
    task = make_task(tokenizer)
    network = load(folder, task).network.eval()
    records = [record("good", labels=["good"]), record("odd", labels=["new"]), record("bad", labels=["bad"])]
    examples = encode_records(task.encoder, records, 64, is_held_out=True).examples
    batch = task.encoder.collate(examples, [[0], [1], [2]], False, None)
    assert batch.owners.tolist() == [0, 2]
    with torch.no_grad():
        outcome = task.scorer.evaluate_batch(network, batch)
        alone = task.objective.losses(network, task.encoder.collate(examples, [[2]], False, None))
    assert len(outcome.outputs) == 3
    torch.testing.assert_close(outcome.losses[1:], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [[0.5, 2.0], "none"])
def test_smoothing_and_weights_count_in_training_alone(reader, smoothing, weights):
    """By hand: the target is spread, and each row's loss is weighted by its label."""
    folder, tokenizer = reader
    plain = make_task(tokenizer)
    names = plain.objective.head.config["id2label"]
    recipe = Recipe(
        task="classify",
        data=DataSection(labels=list(names.values())),
        classify=ClassifySection(multi_label=False, label_smoothing=smoothing, class_weights=weights),
    )
    weighted = CLASSIFY.make(tokenizer, recipe)
    network = load(folder, plain).network.eval()
    records = [record("good", labels=[names[0]]), record("bad", labels=[names[1]])]
    examples = encode_records(plain.encoder, records, 64, is_held_out=False).examples
    batch = plain.encoder.collate(examples, [[0], [1]], False, None)
    with torch.no_grad():
        log = row_logits(network, batch.inputs).log_softmax(1)
        found = weighted.objective.losses(network, batch)
        held_out = weighted.scorer.evaluate_batch(network, batch).losses
        expected = plain.objective.losses(network, batch)
    by_label = [1.0, 1.0] if weights == "none" else weights
    for row, label in enumerate(batch.targets.tolist()):
        spread = -sum(by_label[other] * smoothing / 2 * float(log[row, other]) for other in range(2))
        by_hand = -by_label[label] * (1 - smoothing) * float(log[row, label]) + spread
        assert float(found[row]) == pytest.approx(by_hand, abs=1e-5)
    torch.testing.assert_close(held_out, expected, atol=1e-5, rtol=1e-5)


def test_several_labels_are_smoothed_towards_one_half(reader):
    """By hand: a label that holds counts as 0.9 with a smoothing of 0.2, one that does not as 0.1."""
    folder, tokenizer = reader
    names = ["bad", "good", "long"]
    recipe = Recipe(
        task="classify",
        data=DataSection(labels=names, context=64),
        classify=ClassifySection(multi_label=True, label_smoothing=0.2, class_weights=[0.5, 2.0, 1.0]),
    )
    task = CLASSIFY.make(tokenizer, recipe)
    network = load(folder, task).network.eval()
    example, _ = encode_several(task, "good film", ("good", "long"))
    batch = task.encoder.collate([example], [[0]], False, None)
    with torch.no_grad():
        logits = row_logits(network, batch.inputs)[0].double()
        (found,) = task.objective.losses(network, batch).tolist()
    weights, targets = torch.tensor([0.5, 2.0, 1.0]).double(), torch.tensor([0.1, 0.9, 0.9]).double()
    terms = -weights * (targets * functional.logsigmoid(logits) + (1 - targets) * functional.logsigmoid(-logits))
    assert found == pytest.approx(float(terms.mean()), abs=1e-5)


def test_balanced_weights_let_all_labels_count_the_same():
    records = [record("x", labels=["a"])] * 6 + [record("y", labels=["b"])] * 2
    assert balanced_weights(records, ["a", "b", "c"]) == [8 / 12, 2.0, 1.0]
    recipe = Recipe(task="classify", classify=ClassifySection(class_weights="balanced"))
    chosen = {option: value for option, value, _ in CLASSIFY.choices(records, recipe)}
    assert chosen["classify.class_weights"] == [8 / 12, 2.0]
    with pytest.raises(RecipeError, match="has 3 weights, and there are 2 labels"):
        CLASSIFY.choices(records, Recipe(task="classify", classify=ClassifySection(class_weights=[1.0, 2.0, 3.0])))


def test_one_label_of_several_that_was_never_learned_is_missed():
    task = make_task(labels=["a", "b"], is_multi=True)
    seen = held_out(task, [["a", "new"], ["b"]], [[0.9, 0.1], [0.2, 0.8]], is_multi=True)
    figures = {measure.name: value(measure) for measure in task.scorer.measures(seen)}
    assert figures["micro-F1"] == pytest.approx(2 * 2 / (2 + 3))
    assert figures["exact match"] == 0.5
    assert len(seen.loss().table) == 2


def test_a_batch_is_padded_at_the_end_and_masked():
    task = make_task(is_multi=True)
    examples = [task.encoder.encode(record("good", labels=[]), 64).examples[0]]
    examples += task.encoder.encode(record("the film", "was good", labels=["good", "bad"]), 64).examples
    batch = task.encoder.collate(examples, [[1], [0]], False, None)
    assert batch.examples == (1, 0)
    assert batch.owners.tolist() == [1, 0]
    assert batch.targets.tolist() == [[1.0, 1.0], [0.0, 0.0]]
    length = examples[0].num_tokens
    assert batch.inputs["attention_mask"].sum(-1).tolist() == [examples[1].num_tokens, length]
    assert (batch.input_ids[1, length:] == task.encoder._tokenizer.pad_token_id).all()
    assert batch.inputs["token_type_ids"][0].tolist() == examples[1].token_types
    assert batch.num_tokens == sum(example.num_tokens for example in examples)
    single = make_task().encoder.collate(examples[1:], [[0]], False, None)
    assert single.targets.tolist() in ([0], [1])


# Losses


def test_losses_equal_those_of_transformers_and_padding_changes_nothing(reader):
    folder, tokenizer = reader
    task = make_task(tokenizer)
    network = load(folder, task).network.eval()
    texts = ["the film was good", "bad", "the old man and the fox and the boat"]
    examples = [
        task.encoder.encode(record(text, labels=[label]), 64).examples[0]
        for text, label in zip(texts, ["good", "bad", "bad"], strict=True)
    ]
    with torch.no_grad():
        together = task.objective.losses(network, task.encoder.collate(examples, [[0], [1], [2]], False, None))
        alone = torch.cat(
            [task.objective.losses(network, task.encoder.collate(examples, [[row]], False, None)) for row in range(3)]
        )
        logits = [network(input_ids=torch.tensor([example.input_ids])).logits for example in examples]
    expected = functional.cross_entropy(torch.cat(logits), torch.tensor([1, 0, 0]), reduction="none")
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(alone, expected, atol=1e-5, rtol=1e-5)


def test_several_labels_are_evaluated_one_by_one(reader):
    folder, tokenizer = reader
    task = make_task(tokenizer, labels=["a", "b", "c"], is_multi=True)
    network = load(folder, task).network.eval()
    example = task.encoder.encode(record("the film", labels=["a", "c"], is_multi=True), 64).examples[0]
    batch = task.encoder.collate([example], [[0]], False, None)
    with torch.no_grad():
        outcome = task.scorer.evaluate_batch(network, batch)
        logits = row_logits(network, batch.inputs)[0].double()
    signed = torch.stack([logits[0], -logits[1], logits[2]])
    torch.testing.assert_close(outcome.losses[0].double(), -functional.logsigmoid(signed).mean())
    numpy.testing.assert_allclose(outcome.outputs[0], logits.sigmoid().numpy(), rtol=1e-5)


@pytest.mark.parametrize("pads_with_eos", [False, True])
def test_a_decoder_answers_from_the_token_that_transformers_takes(pads_with_eos, tmp_path):
    """In a batch and alone, for a text and a pair, whether or not EOS is the pad token."""
    tokenizer = make_tokenizer()
    if pads_with_eos:
        tokenizer.pad_token = tokenizer.eos_token
    task = make_task(tokenizer)
    network = load(save_reader(tmp_path / "llama", "llama"), task).network.eval()
    network.config.pad_token_id = tokenizer.pad_token_id
    rows = [record("the hat"), record("a rather longer text", "and another")]
    examples = [task.encoder.encode(row, 64).examples[0] for row in rows]
    batch = task.encoder.collate(examples, [[0], [1]], False, None)
    with torch.no_grad():
        together = row_logits(network, batch.inputs)
        torch.testing.assert_close(together, network(**batch.inputs).logits, atol=1e-5, rtol=1e-5)
        for row, logits in zip(rows, together, strict=True):
            plain = network(**tokenizer(*row.texts, return_tensors="pt", return_token_type_ids=False)).logits[0]
            torch.testing.assert_close(logits, plain, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("lead", ["", "template", "option"])
@pytest.mark.parametrize("pads_with_eos", [False, True])
def test_a_saved_tokenizer_ends_texts_as_they_were_trained(lead, pads_with_eos, tmp_path):
    tokenizer = make_tokenizer()
    if lead == "template":
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="<|im_start|> $A", pair="<|im_start|> $A <|im_start|> $B", special_tokens=[("<|im_start|>", 1)]
        )
    elif lead == "option":
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=tokenizer.backend_tokenizer,
            eos_token="<|im_end|>",
            pad_token="<|pad|>",
            bos_token="<|im_start|>",
            add_bos_token=True,
        )
    if pads_with_eos:
        tokenizer.pad_token = tokenizer.eos_token
    first = [1] if lead else []
    last = [] if pads_with_eos else [tokenizer.eos_token_id]
    a, b = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("a hat", "red"))
    task = make_task(tokenizer)
    assert task.encoder.encode(record("a hat", "red"), 64).examples[0].input_ids == [*first, *a, 2, *b, *last]
    tokenizer.save_pretrained(str(tmp_path))
    saved = AutoTokenizer.from_pretrained(str(tmp_path))
    assert saved("a hat")["input_ids"] == [*first, *a, *last]
    assert saved("a hat", "red")["input_ids"] == [*first, *a, 2, *b, *last]
    make_task(saved)
    assert saved("a hat", "red")["input_ids"] == [*first, *a, 2, *b, *last]


@pytest.mark.parametrize("method", ["prompt", "p-tuning"])
def test_virtual_tokens_do_not_shift_the_token_that_answers(tmp_path, method):
    from burnish.methods import make_method

    tokenizer = make_tokenizer()
    task = make_task(tokenizer)
    base = load(save_reader(tmp_path / "llama", "llama"), task)
    network = make_method(method).apply(
        base.network, Recipe(method=method), Target("SEQ_CLS", base.new_modules, tokenizer)
    )
    network.eval()
    examples = [encode(task, text)[0] for text in ("the fox", "the old man lives by the river")]
    with torch.no_grad():
        together = task.objective.losses(network, task.encoder.collate(examples, [[0], [1]], False, None))
        alone = task.objective.losses(network, task.encoder.collate(examples, [[0]], False, None))
        other = replace(examples[0], input_ids=[7, *examples[0].input_ids[1:]])
        other_alone = task.objective.losses(network, task.encoder.collate([other], [[0]], False, None))
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=1e-5)
    assert (other_alone - alone).abs() > 1e-3  # the token that answers has read the text


def test_a_head_for_other_labels_is_replaced(tmp_path):
    folder = save_reader(tmp_path / "bert", "bert")
    three = AutoModelForSequenceClassification.from_pretrained(str(folder), num_labels=3)
    three.save_pretrained(str(folder))
    base = load(folder, make_task())
    assert base.network.classifier.weight.shape[0] == 2
    assert base.new_modules == ("classifier",)
    assert base.network.config.id2label == {0: "bad", 1: "good"}
    assert base.network.config.label2id == {"bad": 0, "good": 1}


# Choices


def choices(records: list[LabelledRecord], **sections: Any) -> dict[str, Any]:
    return {option: what for option, what, _ in CLASSIFY.choices(records, Recipe(**sections))}


def test_labels_come_from_the_rows():
    records = [record("x", labels=[label]) for label in ("10", "9", "10")]
    assert choices(records) == {"classify.multi_label": False, "data.labels": ["9", "10"]}
    listed = [record("x", labels=labels, is_multi=True) for labels in (["b", "a"], ["a"], [])]
    assert choices(listed) == {"classify.multi_label": True, "data.labels": ["a", "b"]}
    assert CLASSIFY.choices(records, Recipe())[0][2] == "every row has one label"
    assert CLASSIFY.choices(listed, Recipe())[0][2] == "the labels are lists"


def test_what_the_recipe_says_stands():
    mixed = [record("x", labels=["a"]), record("x", labels=["b"], is_multi=True)]
    with pytest.raises(DataError):
        choices(mixed)
    assert choices(mixed, classify=ClassifySection(multi_label=True)) == {"data.labels": ["a", "b"]}
    given = DataSection(labels=["b", "a"])
    assert choices(mixed[:1], data=given) == {"classify.multi_label": False}
    for labels in (["a"], ["a", "b", "a"]):
        with pytest.raises(RecipeError, match="too few labels, or one of them twice"):
            choices(mixed[:1], data=DataSection(labels=labels))


# Figures


def evaluated_by_labels(task: Task, gold: list[list[str]], outputs: list[list[float]]) -> EvaluatedExamples:
    examples = [task.encoder.encode(record("x", labels=labels, is_multi=True), 64).examples[0] for labels in gold]
    given = [numpy.array(output, dtype=numpy.float32) for output in outputs]
    rows = range(len(gold))
    return EvaluatedExamples(
        examples, list(rows), given, numpy.ones(len(gold)), numpy.ones(len(gold), dtype=numpy.int64)
    )


def test_figures_of_single_labels():
    task = make_task()
    seen = evaluated_by_labels(
        task, [["good"], ["good"], ["bad"], ["good"]], [[0.1, 0.9], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]]
    )
    figures = {measure.name: value(measure) for measure in task.scorer.measures(seen)}
    assert figures["accuracy"] == 0.75
    assert figures["macro-F1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert task.scorer.headline == "accuracy"
    per_class, confusion = task.scorer.tables(seen)
    assert [row[0] for row in per_class.rows] == ["bad", "good"]
    assert confusion.rows == (("bad", 1, 0), ("good", 1, 2))
    assert task.scorer.remark(seen) == (
        "Always answering the most common label, `good`, would be right for 75.0 % of these rows."
    )


def test_figures_of_several_labels():
    task = make_task(labels=["a", "b"], is_multi=True)
    seen = evaluated_by_labels(task, [["a", "b"], [], ["a"]], [[0.9, 0.4], [0.1, 0.2], [0.8, 0.7]])
    figures = {measure.name: value(measure) for measure in task.scorer.measures(seen)}
    assert figures["micro-F1"] == pytest.approx(2 * 2 / (3 + 3))
    assert figures["exact match"] == pytest.approx(1 / 3)
    assert task.scorer.headline == "micro-F1"
    (per_class,) = task.scorer.tables(seen)
    assert [row[0] for row in per_class.rows] == ["a", "b"]
    assert task.scorer.remark(seen) == "The most common label, `a`, is right for 66.7 % of these rows."


def test_a_row_in_words():
    task = make_task()
    example, _ = encode(task, "the film", "was good")
    assert task.scorer.describe(example, numpy.array([0.03, 0.97])) == ("the film\nwas good", "good", "good (0.97)")
    several = make_task(labels=["a", "b"], is_multi=True)
    empty = several.encoder.encode(record("x", labels=[], is_multi=True), 64).examples[0]
    assert several.scorer.describe(empty, numpy.array([0.3, 0.2])) == ("x", "no label", "no label (nearest: a 0.30)")
    assert several.scorer.describe(empty, numpy.array([0.6, 0.9]))[2] == "b (0.90), a (0.60)"


def test_a_probability_of_a_half_is_not_enough_for_one_of_several_labels() -> None:
    task = make_task(labels=["a", "b"], is_multi=True)
    seen = evaluated_by_labels(task, [["b"]], [[0.5, 0.625]])
    assert task.scorer.describe(seen.examples[0], seen.outputs[0]) == ("x", "b", "b (0.62)")
    assert [value(measure) for measure in task.scorer.measures(seen) if measure.name == "exact match"] == [1.0]


def test_a_row_and_its_label_as_a_segment() -> None:
    encoder, labels = make_task(is_multi=True).encoder, (["good"], ["good", "new"], [])
    examples = [encoder.encode(record("the film", labels=names), 64).examples[0] for names in labels]
    (segment,), *others = map(encoder.segments, examples)
    assert segment == ("", examples[0].input_ids, [False] * examples[0].num_tokens, "label: good")
    assert [other.note for (other,) in others] == ["label: good, new", "label: none"]
    assert LabelledExample([5], None, (0,), ("x",), "").num_trained == 1


# Answers


def test_a_text_or_a_row_is_answered(reader):
    folder, tokenizer = reader
    task = make_task(tokenizer, columns={"text": "satz"})
    network = load(folder, task).network.eval()
    plain = task.predictor.respond(network, "the film was good")
    assert plain.rpartition(" ")[0] in ("good", "bad")
    assert task.predictor.respond(network, json.dumps({"satz": "the film was good"})) == plain
    assert task.predictor.respond(network, json.dumps({"satz": "the fox and the boat and the river"})) != plain
    assert task.predictor.respond(network, '{"no": "text"}')
    assert task.predictor.respond(network, "the film was good " * 100)


def test_a_pair_needs_both_texts(reader):
    folder, tokenizer = reader
    task = make_task(tokenizer, shape="labelled-pair")
    network = load(folder, task).network.eval()
    answer = task.predictor.respond(network, json.dumps({"premise": "the film", "hypothesis": "was good"}))
    assert task.predictor.respond(network, json.dumps({"sentence1": "the film", "sentence2": "was good"})) == answer
    for prompt in ("the film", '{"premise": "the film"}', '{"premise": "the film", "hypothesis": " "}', "{broken"):
        with pytest.raises(InputError, match="pairs of texts"):
            task.predictor.respond(network, prompt)


def test_nothing_is_asked_or_served() -> None:
    predictor = make_task().predictor
    assert predictor.question(record("Fine.")) is None
    assert predictor.served_prompts(record("Fine.")) == []
