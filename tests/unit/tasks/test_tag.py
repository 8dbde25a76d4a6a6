"""Task `tag`: words and pieces, long sentences, labels, figures."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForTokenClassification

from burnish.data.rows.records import TaggedRecord
from burnish.data.rows.row import IGNORED
from burnish.data.tags.words import NO_WORD, WordPieces, name_of, words_of
from burnish.errors import DataError, InputError, ModelError
from burnish.metrics.measure import value
from burnish.prepare.encode import encode_records
from burnish.recipe.schema import DataSection, ModelSection, Recipe, TagSection
from burnish.tasks.evaluated import EvaluatedExamples
from burnish.tasks.tag import TAG, label_of_words
from burnish.tasks.task import Task
from tests.tiny_models import make_tokenizer
from tests.tiny_taggers import byte_level, save_tagger, word_pieces

LABELS = ["O", "B-LOC", "B-PER", "I-PER"]
ANNA = TaggedRecord(("Anna", "Kowal", "lives", "in", "Rome"), ("B-PER", "I-PER", "O", "O", "B-LOC"), "a.conll:1")


def make_task(
    tokenizer: Any, labels: Any = LABELS, pieces: Any = "first", scheme: Any = "IOB2", context: int = 64
) -> Task:
    data = DataSection(labels=labels, context=context)
    return TAG.make(tokenizer, Recipe(data=data, tag=TagSection(pieces=pieces, scheme=scheme)))


def record(*tagged: str) -> TaggedRecord:
    """`word/TAG` each."""
    pairs = [pair.rpartition("/") for pair in tagged]
    return TaggedRecord(tuple(pair[0] for pair in pairs), tuple(pair[2] for pair in pairs), "a.conll:1")


def chosen(records: list[TaggedRecord], **sections: Any) -> dict[str, Any]:
    return {option: what for option, what, _ in TAG.choices(records, Recipe(**sections))}


# Words and pieces


@pytest.mark.parametrize("tokenizer", [word_pieces(), byte_level(), make_tokenizer()], ids=["bert", "roberta", "gpt2"])
def test_a_sentence_is_read_as_it_would_be_in_running_text(tokenizer: Any) -> None:
    words = ["Anna", "Kowal", "lives", "in", "New", "Town", "."]
    pieces = WordPieces(tokenizer).cut(words)
    ids = [*pieces.before, *[piece for of_word in pieces.of_words for piece in of_word], *pieces.after]
    assert ids == tokenizer(" ".join(words))["input_ids"]
    for number, word in enumerate(words):
        together = tokenizer.decode(pieces.of_words[number]).strip()
        assert together.replace("##", "").replace(" ", "").lower() == word.lower()


def test_roberta_reads_words_as_with_add_prefix_space(tmp_path: Any) -> None:
    """But for the first word, which begins the text."""
    from transformers import AutoTokenizer

    byte_level().save_pretrained(str(tmp_path))
    prefixed = AutoTokenizer.from_pretrained(str(tmp_path), add_prefix_space=True)
    words = ["Otto", "lives", "in", "Rome"]
    expected, pieces = prefixed(words, is_split_into_words=True), WordPieces(byte_level())
    assert pieces.needs_spaces
    for number in range(1, 4):
        places = [place for place, owner in enumerate(expected.word_ids()) if owner == number]
        assert pieces.cut(words).of_words[number] == [expected["input_ids"][place] for place in places]
    assert make_task(byte_level()).encoder.notes
    assert not make_task(word_pieces()).encoder.notes


def test_a_tokenizer_that_does_not_know_words_is_refused() -> None:
    with pytest.raises(ModelError, match="cannot map tokens to words"):
        make_task(SimpleNamespace(is_fast=False))


@pytest.mark.parametrize("pieces", ["first", "last", "all"])
def test_the_pieces_of_a_word_that_are_trained(pieces: str) -> None:
    task = make_task(word_pieces(), pieces=pieces)
    (example,) = task.encoder.encode(record("Romeoslo/B-PER", "Rome/B-LOC"), 64).examples
    of_words = WordPieces(word_pieces()).cut(["Romeoslo", "Rome"]).of_words
    long, short = len(of_words[0]), len(of_words[1])
    assert long > 1
    first, second = ([0] * long, [1] * short)
    if pieces != "all":
        rest = [NO_WORD] * (long - 1)
        first = [0, *rest] if pieces == "first" else [*rest, 0]
        rest = [NO_WORD] * (short - 1)
        second = [1, *rest] if pieces == "first" else [*rest, 1]
    assert example.deciding == [NO_WORD, *first, *second, NO_WORD]
    assert example.labels == [{NO_WORD: IGNORED, 0: 2, 1: 1}[word] for word in example.deciding]
    assert example.num_trained == (long + short if pieces == "all" else 2)
    assert example.num_tokens == long + short + 2


def test_a_word_without_pieces_is_outside_and_still_counted() -> None:
    task = make_task(word_pieces())
    (example,) = task.encoder.encode(record("Rome/B-LOC", "\u0007/B-PER", "Anna/B-PER", "\u200b/O"), 64).examples
    assert example.num_trained == 2
    network_says = [1, NO_WORD, 2]
    evaluated = make_evaluated([example], [0], [network_says])
    f1, precision, recall = (value(measure) for measure in task.scorer.measures(evaluated))
    assert (round(f1, 4), precision, round(recall, 4)) == (0.8, 1.0, 0.6667)


def make_evaluated(examples: Any, owners: Any, outputs: Any) -> EvaluatedExamples:
    number = len(examples)
    return EvaluatedExamples(examples, owners, outputs, numpy.ones(number), numpy.ones(number, dtype=numpy.int64))


def test_what_the_frequencies_of_the_tags_alone_would_reach() -> None:
    """Of three deciding tokens two are of places and one of a person; what decides nothing counts for nothing."""
    task = make_task(word_pieces())
    rows = record("Rome/B-LOC", "Anna/B-PER"), record("Oslo/B-LOC")
    examples = [task.encoder.encode(row, 64).examples[0] for row in rows]
    chance = task.scorer.chance_loss(make_evaluated(examples, [0, 1], [[0, 0], [0]]))
    assert chance is not None
    nats = -numpy.log([2 / 3, 1 / 3])
    assert value(chance) == pytest.approx((2 * nats[0] + nats[1]) / 3)
    assert chance.table.tolist() == [pytest.approx([nats.sum(), 2]), pytest.approx([nats[0], 1])]


# Long sentences


@pytest.mark.parametrize("tokenizer", [word_pieces(), byte_level(), make_tokenizer()], ids=["bert", "roberta", "gpt2"])
def test_a_long_sentence_is_cut_between_words_and_nothing_is_lost(tokenizer: Any) -> None:
    words = [f"{word}{number}" for number in range(30) for word in ("Anna", "is", "in", "Rome")]
    long = TaggedRecord(tuple(words), ("B-PER", "I-PER", "O", "B-LOC") * 30, "a.conll:7")
    task = make_task(tokenizer)
    encoded = task.encoder.encode(long, 20)
    assert len(encoded.examples) > 10
    assert encoded.truncated_tokens == 0
    assert max(example.num_tokens for example in encoded.examples) <= 20
    assert [word for example in encoded.examples for word in example.words] == words
    assert sum(example.num_trained for example in encoded.examples) == 120
    whole = WordPieces(tokenizer).cut(words)
    edge = len(whole.before), len(whole.after)
    inner = [piece for e in encoded.examples for piece in e.input_ids[edge[0] : len(e.input_ids) - edge[1]]]
    assert inner == [piece for of_word in whole.of_words for piece in of_word]
    # The figures see one row: an entity across a cut is one entity.
    outputs = [[LABELS.index(tag) for tag in example.tags] for example in encoded.examples]
    assert any(example.tags[0] == "I-PER" for example in encoded.examples)
    measures = task.scorer.measures(make_evaluated(encoded.examples, [4] * len(outputs), outputs))
    assert [value(measure) for measure in measures] == [1.0, 1.0, 1.0]
    assert measures[0].table.tolist() == [[60.0, 60.0, 60.0]]


def test_only_a_word_longer_than_the_context_loses_pieces() -> None:
    encoded = make_task(word_pieces()).encoder.encode(record("in/O", "Rome" * 20 + "/B-LOC", "in/O"), 10)
    assert [example.words[0][:4] for example in encoded.examples] == ["in", "Rome", "in"]
    assert [example.num_tokens for example in encoded.examples][1] == 10
    assert encoded.truncated_tokens == len(word_pieces()("Rome" * 20, add_special_tokens=False)["input_ids"]) - 8


def test_a_sentence_of_nothing_is_named() -> None:
    encoded = encode_records(make_task(word_pieces()).encoder, [record("\u0007/O"), ANNA], 64)
    assert [(row.place, row.reason) for row in encoded.rejected] == [("a.conll:1", "it has no token to train on")]
    assert list(encoded.owners) == [1]


# Labels


def test_labels_and_scheme_are_read_off_the_rows() -> None:
    options = chosen([record("a/I-X", "b/O"), record("c/I-X", "d/B-X", "e/O", "f/I-W")])
    assert options == {"data.labels": ["O", "B-X", "I-W", "I-X"], "tag.scheme": "IOB1", "tag.pieces": "first"}
    assert chosen([record("a/E-X", "b/S-X", "c/O")])["tag.scheme"] == "BIOES"
    assert chosen([record("a/NOUN", "b/VERB")]) | {"tag.pieces": 0} == {
        "data.labels": ["NOUN", "VERB"],
        "tag.scheme": "plain",
        "tag.pieces": 0,
    }


def test_before_the_rows_are_read_there_are_no_labels() -> None:
    assert make_task(word_pieces(), labels="auto").objective.head.config["num_labels"] == 0
    assert make_task(word_pieces()).objective.head.config["num_labels"] == 4


def test_numbers_are_labels_in_their_order_unless_they_are_named() -> None:
    rows = [record(*[f"w/{number}" for number in (10, 2, 0, 1)])]
    assert chosen(rows)["data.labels"] == ["0", "1", "2", "10"]
    named = chosen([record("a/0", "b/1", "c/2")], data=DataSection(labels=["O", "B-X", "I-X"]))
    assert (named["data.labels"], named["tag.scheme"]) == (["O", "B-X", "I-X"], "IOB2")
    assert (name_of("1", ["O", "B-X"]), name_of("9", ["O", "B-X"]), name_of("1", ["0", "1"])) == ("B-X", "9", "1")
    (example,) = make_task(word_pieces()).encoder.encode(record("Anna/2", "in/0"), 64).examples
    assert example.tags == ("B-PER", "O")


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_every_token_of_a_decoder_predicts_the_tag(tmp_path: Any, kind: str) -> None:
    model = ModelSection(name=str(save_tagger(kind, tmp_path)))
    assert chosen([ANNA], model=model)["tag.pieces"] == {"bert": "first", "llama": "all"}[kind]


@pytest.mark.parametrize(
    ("rows", "labels", "what"),
    [
        ([record("a/O", "b/O")], "auto", "every word has the tag `O`"),
        ([record("a/B-X", "b/O")], ["O", "B-Y"], "the rows have none of the labels `O`, `B-Y`"),
    ],
)
def test_rows_that_teach_nothing_are_refused(rows: Any, labels: Any, what: str) -> None:
    with pytest.raises(DataError) as caught:
        chosen(rows, data=DataSection(labels=labels))
    assert caught.value.what == what


def test_a_tag_without_a_label_teaches_nothing_and_counts_as_missed() -> None:
    task = make_task(word_pieces())
    (example,) = task.encoder.encode(record("Anna/B-PER", "Rome/B-GPE"), 64).examples
    assert example.num_trained == 1
    task_recall = task.scorer.measures(make_evaluated([example], [0], [[2, 1]]))[2]
    assert value(task_recall) == 0.5
    (note,) = task.objective.inspect_model(
        SimpleNamespace(config=SimpleNamespace(model_type="bert", is_encoder_decoder=False, architectures=None))
    )
    assert note.startswith("1 words have a tag that is not among the labels: `B-GPE` (1).")


def test_the_head_knows_the_labels(tmp_path: Any) -> None:
    head = make_task(word_pieces()).objective.head
    network = AutoModelForTokenClassification.from_pretrained(str(save_tagger("bert", tmp_path)), **head.config)
    assert (head.peft_type, network.config.id2label[2], network.config.label2id["B-PER"]) == ("TOKEN_CLS", "B-PER", 2)
    assert network.classifier.out_features == 4


# Loss and figures


def make_batch(task: Task) -> tuple[list[Any], Any]:
    rows = [record("Anna/B-PER", "Kowal/I-PER"), ANNA, record("It/O", "rains/O", "./O")]
    examples = [example for row in rows for example in task.encoder.encode(row, 64).examples]
    return examples, task.encoder.collate(examples, [[2], [1], [0]], False, 0)


@pytest.mark.parametrize("kind", ["bert", "roberta", "llama"])
@pytest.mark.parametrize("pieces", ["first", "all"])
def test_the_loss_is_that_of_transformers_and_padding_changes_nothing(tmp_path: Any, kind: str, pieces: str) -> None:
    from transformers import AutoTokenizer

    save_tagger(kind, tmp_path)
    task = make_task(AutoTokenizer.from_pretrained(str(tmp_path)), pieces=pieces)
    torch.manual_seed(0)
    network = AutoModelForTokenClassification.from_pretrained(str(tmp_path), **task.objective.head.config).eval()
    examples, batch = make_batch(task)
    with torch.no_grad():
        outcome = task.scorer.evaluate_batch(network, batch)
        reference = network(**batch.inputs, labels=batch.targets).loss
        alone = [
            task.scorer.evaluate_batch(network, task.encoder.collate(examples, [[number]], False, None))
            for number in (2, 1, 0)
        ]
    assert outcome.losses.mean().item() == pytest.approx(reference.item(), rel=1e-5)
    assert len(outcome.losses) == batch.num_trained == sum(example.num_trained for example in examples)
    assert torch.allclose(outcome.losses, torch.cat([one.losses for one in alone]), atol=1e-5)
    assert batch.owners.tolist() == [n for n in (2, 1, 0) for _ in range(examples[n].num_trained)]
    assert batch.num_tokens == sum(example.num_tokens for example in examples)
    for together, one in zip(outcome.outputs, alone, strict=True):
        assert [label for label in together if label != NO_WORD] == one.outputs[0]


def test_virtual_tokens_in_front_are_left_off() -> None:
    task = make_task(word_pieces())
    _, batch = make_batch(task)
    logits = torch.randn(*batch.input_ids.shape, 4)

    def with_more(input_ids: Any, attention_mask: Any) -> Any:
        return SimpleNamespace(logits=torch.cat([torch.randn(3, 5, 4), logits], 1))

    expected = functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), reduction="none")
    assert torch.equal(task.objective.losses(with_more, batch), expected[batch.targets.flatten() != IGNORED])


def test_several_pieces_decide_together() -> None:
    """By their mean probabilities, as in transformers."""
    logits = torch.tensor([[[9.0, 0, 0], [3, 2, 0], [0, 2, 2.5], [0, 0, 0.5], [0, 9, 0]]])
    shares = logits[0, 1:3].softmax(-1).mean(0)
    assert int(shares.argmax()) == 0
    assert int(logits[0, 1:3].log_softmax(-1).sum(0).argmax()) == 1, "the product of them would say otherwise"
    deciding = torch.tensor([[NO_WORD, 0, 0, 2, NO_WORD]])
    assert label_of_words(logits, deciding).tolist() == [[0, NO_WORD, 2]]
    assert label_of_words(logits, torch.tensor([[0, NO_WORD, NO_WORD, NO_WORD, 1]])).tolist() == [[0, 1]]
    assert label_of_words(logits, torch.full((1, 5), NO_WORD)).tolist() == [[]]


def test_figures_tables_and_what_is_shown() -> None:
    task = make_task(word_pieces())
    (example,) = task.encoder.encode(ANNA, 64).examples
    output = [2, 3, 0, 1, 0]
    assert task.scorer.describe(example, output) == (
        "Anna Kowal lives in Rome",
        "Anna Kowal [PER], Rome [LOC]",
        "Anna Kowal [PER], in [LOC]",
    )
    assert task.scorer.describe(example, [0] * 5)[2] == "no entity"
    evaluated = make_evaluated([example], [0], [output])
    assert [(measure.name, value(measure)) for measure in task.scorer.measures(evaluated)] == [
        ("entity F1", 0.5),
        ("entity precision", 0.5),
        ("entity recall", 0.5),
    ]
    assert [row[0] for row in task.scorer.tables(evaluated)[0].rows] == ["LOC", "PER"]
    assert task.scorer.headline == "entity F1"
    plain = make_task(word_pieces(), ["NOUN", "VERB"], scheme="plain")
    (example,) = plain.encoder.encode(record("Anna/NOUN", "sings/VERB"), 64).examples
    assert (
        plain.scorer.headline
        == plain.scorer.measures(make_evaluated([example], [0], [[0, 0]]))[0].name
        == "token accuracy"
    )
    assert plain.scorer.describe(example, [0, 0]) == ("Anna sings", "Anna/NOUN sings/VERB", "Anna/NOUN sings/NOUN")


# Answers


def test_a_text_becomes_words() -> None:
    text = "Anna's well-known hat, 3.5 cm by @anna_k: #red!"
    assert words_of(text) == ["Anna's", "well-known", "hat", ",", "3.5", "cm", "by", "@anna_k", ":", "#red", "!"]
    assert words_of(json.dumps({"tokens": ["New York", "."]})) == ["New York", "."]
    for nothing in ("", " \n", '{"text": "Anna"}', '{"tokens": []}', '{"tokens": [1]}'):
        with pytest.raises(InputError, match="there are no words to tag"):
            words_of(nothing)


def test_a_long_text_is_answered_whole() -> None:
    task = make_task(word_pieces(), context=12)
    rome = word_pieces()("Rome", add_special_tokens=False)["input_ids"][0]

    class Finds(torch.nn.Module):
        """Says LOC at the token that begins `Rome`."""

        def __init__(self) -> None:
            super().__init__()
            self.anything = torch.nn.Parameter(torch.zeros(1))

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            logits = torch.zeros(*input_ids.shape, 4)
            logits[..., 0] = 1
            logits[..., 1] = 2.0 * (input_ids == rome)
            return SimpleNamespace(logits=logits)

    network = Finds().eval()
    assert task.predictor.respond(network, "Anna lives in Rome. " * 6) == "\n".join(["Rome [LOC]"] * 6)
    assert task.predictor.respond(network, '{"tokens": ["in", "Rome"]}') == "Rome [LOC]"
    assert task.predictor.respond(network, "It rains") == "no entity"


def test_a_pad_token_that_is_set_later_fills_up_the_rows() -> None:
    """Decoders such as GPT-2 come without one; it is chosen when the model is loaded, after the task is made."""
    tokenizer = make_tokenizer()
    tokenizer.pad_token = None
    task = make_task(tokenizer)
    examples = [task.encoder.encode(one, 64).examples[0] for one in (ANNA, record("Rome/B-LOC"))]
    tokenizer.pad_token = "<|pad|>"
    batch = task.encoder.collate(examples, [[0], [1]], False, None)
    assert batch.input_ids[1, -1] == tokenizer.pad_token_id


def test_the_tokens_that_decide_are_shown_as_learned() -> None:
    task = make_task(word_pieces())
    (example,) = task.encoder.encode(ANNA, 64).examples
    (segment,) = task.encoder.segments(example)
    assert list(segment.is_learned) == [label != IGNORED for label in example.labels]
    assert segment.note == f"tags: {' '.join(ANNA.tags)}"


def test_a_held_out_sentence_of_unknown_tags_is_kept_and_counts_as_wrong() -> None:
    task = make_task(word_pieces(), labels=["NOUN", "VERB"], scheme="plain")
    records = [record("Anna/NOUN", "sings/VERB"), record("well/ADV")]
    trained = encode_records(task.encoder, records, 64)
    assert [row.reason for row in trained.rejected] == ["none of its tags is among those of the run"]
    encoded = encode_records(task.encoder, records, 64, is_held_out=True)
    assert encoded.rejected == []
    batch = task.encoder.collate(encoded.examples, [[0], [1]], False, None)
    assert batch.owners.tolist() == [0, 0]
    counts = numpy.array([2, 0])
    seen = EvaluatedExamples(encoded.examples, encoded.owners, [[0, 1], [0]], counts * 1.0, counts)
    figures = {measure.name: value(measure) for measure in task.scorer.measures(seen)}
    assert figures["token accuracy"] == pytest.approx(2 / 3)
