"""Task `tag`: how tags are shown and answered, and the boundaries of its batches and notes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy
import pytest
import torch

from burnish.data.rows.records import TaggedRecord
from burnish.data.rows.row import IGNORED
from burnish.data.tags.words import NO_WORD, TagExample, WordPieces
from burnish.errors import DataError
from burnish.metrics.measure import value
from burnish.models.heads import Head
from burnish.recipe.schema import DataSection, Recipe, TagSection
from burnish.tasks.evaluated import EvaluatedExamples
from burnish.tasks.tag import TAG, Tags, label_of_words
from burnish.tasks.task import Segment, Task
from tests.tiny_taggers import word_pieces

LABELS = ["O", "B-LOC", "B-PER", "I-PER"]


def task_of(labels: Any = LABELS, scheme: Any = "IOB2", pieces: Any = "first", context: Any = 64) -> Task:
    """A task whose options are filled in."""
    data = DataSection(labels=labels, context=context)
    return TAG.make(word_pieces(), Recipe(data=data, tag=TagSection(pieces=pieces, scheme=scheme)))


def record(words: str, tags: str) -> TaggedRecord:
    """Words and tags with spaces between."""
    return TaggedRecord(tuple(words.split()), tuple(tags.split()), "a.conll:1")


# Showing


def test_an_output_has_a_tag_for_each_word() -> None:
    """It is filled up to the widest row of its batch, and may lack words without tokens at the end."""
    example = TagExample([], [], [], ("Anna", "Kowal", "lives"), ("O", "O", "O"), "a:1")
    tags = Tags(LABELS, "IOB2")
    assert tags.of_example(example, [2, 3, 0, NO_WORD, NO_WORD]) == ["B-PER", "I-PER", "O"]
    assert tags.of_example(example, [2]) == ["B-PER", "O", "O"]
    assert tags.of_example(example, []) == ["O", "O", "O"]
    assert tags.of_example(example, [NO_WORD, 1, 0]) == ["O", "B-LOC", "O"]


def test_entities_are_shown_in_their_order() -> None:
    words = ["Rome", "met", "Anna", "Kowal", "in", "Zug"]
    tags = ["B-LOC", "O", "B-PER", "I-PER", "O", "B"]
    assert Tags(LABELS, "IOB2").in_words(words, tags) == ["Rome [LOC]", "Anna Kowal [PER]", "Zug [entity]"]
    assert Tags(["N", "V"], "plain").in_words(["Anna", "sings"], ["N", "V"]) == ["Anna/N sings/V"]


# Encoding


def test_a_context_without_room_still_has_a_token_of_each_word() -> None:
    (first, second) = task_of().encoder.encode(record("Romeoslo Rome", "B-LOC O"), 2).examples
    pieces = WordPieces(word_pieces()).cut(["Romeoslo", "Rome"])
    assert first.input_ids == [*pieces.before, pieces.of_words[0][0], *pieces.after]
    assert (first.num_tokens, second.num_tokens) == (3, 3)


def test_a_word_as_long_as_the_context_is_whole() -> None:
    long = "Romeoslo"
    length = len(WordPieces(word_pieces()).cut([long]).of_words[0])
    assert length > 2
    for room, cut in ((length, 0), (length - 1, 1)):
        row = task_of().encoder.encode(record(long, "B-LOC"), room + 2)
        assert (row.examples[0].num_tokens, row.truncated_tokens) == (room + 2, cut)


def test_a_row_of_unknown_tags_is_not_learned_but_counted() -> None:
    task = task_of()
    encoder: Any = task.encoder
    row = encoder.encode(record("a b c", "B-X B-X B-Y"), 64)
    assert row.unlearned == "none of its tags is among those of the run"
    assert encoder.encode(record("a b", "B-X O"), 64).unlearned == ""
    assert dict(encoder.unknown) == {"B-X": 3, "B-Y": 1}


def test_a_batch_hides_what_fills_it_up() -> None:
    task = task_of()
    examples = [task.encoder.encode(one, 64).examples[0] for one in (record("Rome", "B-LOC"), record("a b", "O B-PER"))]
    batch = task.encoder.collate(examples, [[1], [0]], False, None)
    short = examples[0].num_tokens
    assert batch.inputs["attention_mask"].tolist() == [
        [1] * examples[1].num_tokens,
        [1] * short + [0] * (examples[1].num_tokens - short),
    ]
    assert (batch.targets[1, short:] == IGNORED).all()
    assert (batch.extras["deciding"][1, short:] == NO_WORD).all()
    assert (batch.input_ids[1, short:] == word_pieces().pad_token_id).all()
    assert batch.num_tokens == sum(example.num_tokens for example in examples)
    assert (batch.examples, batch.owners.tolist()) == ((1, 0), [1, 1, 0])


def test_a_segment_names_the_tags_that_are_learned() -> None:
    task = task_of(pieces="all")
    (example,) = task.encoder.encode(record("Anna Romeoslo x", "B-PER B-X O"), 64).examples
    (segment,) = task.encoder.segments(example)
    is_learned = [label != IGNORED for label in example.labels]
    assert segment == Segment("", example.input_ids, is_learned, "tags: B-PER O")
    assert not is_learned[0]
    assert not is_learned[-1]


# The model


def test_the_head_has_an_output_for_each_label() -> None:
    assert task_of().objective.head == Head(
        "AutoModelForTokenClassification",
        "TOKEN_CLS",
        {
            "num_labels": 4,
            "id2label": {0: "O", 1: "B-LOC", 2: "B-PER", 3: "I-PER"},
            "label2id": {"O": 0, "B-LOC": 1, "B-PER": 2, "I-PER": 3},
        },
    )


def model_of(kind: str) -> Any:
    """A network of which only the kind is asked."""
    architectures = {"bert": None, "llama": ["LlamaForCausalLM"]}[kind]
    return SimpleNamespace(
        config=SimpleNamespace(model_type=kind, is_encoder_decoder=False, architectures=architectures)
    )


def test_a_decoder_and_unknown_tags_are_noted() -> None:
    task = task_of()
    assert task.objective.inspect_model(model_of("bert")) == []
    (note,) = task.objective.inspect_model(model_of("llama"))
    assert note.startswith("This model reads from left to right")
    for number in range(6):
        task.encoder.encode(record(" ".join("a" * (7 - number)), f"B-{number} " * (7 - number)), 64)
    (note,) = task.objective.inspect_model(model_of("bert"))
    assert note.startswith("27 words have a tag that is not among the labels: `B-0` (7), `B-1` (6), ")
    assert "`B-4` (3)." in note, "five of them are named"


def test_words_of_a_batch_are_decided_row_by_row() -> None:
    logits = torch.zeros(2, 4, 3)
    deciding = torch.tensor([[NO_WORD, 0, 1, NO_WORD], [0, 2, NO_WORD, NO_WORD]])
    for row, place, label in ((0, 1, 2), (0, 2, 1), (1, 0, 1), (1, 1, 2)):
        logits[row, place, label] = 5.0
    assert label_of_words(logits, deciding).tolist() == [[2, 1, NO_WORD], [1, NO_WORD, 2]]
    nothing = torch.full((2, 4), NO_WORD)
    assert label_of_words(logits, nothing).shape == (2, 0)


# Answers


class Listens(torch.nn.Module):
    """Keeps the width of what it is given, and finds nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.anything = torch.nn.Parameter(torch.zeros(1))
        self.widths: list[int] = []

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
        self.widths.append(input_ids.shape[1])
        logits = torch.zeros(*input_ids.shape, 4)
        logits[..., 0] = 1.0
        return SimpleNamespace(logits=logits)


@pytest.mark.parametrize(("context", "width"), [("auto", 512), (9, 9)])
def test_a_text_is_read_in_parts_of_the_context(context: Any, width: int) -> None:
    task, network = task_of(context=context), Listens()
    assert task.predictor.respond(network, "a " * (width + 8)) == "no entity"
    assert network.widths[0] == width
    assert sum(network.widths) == width + 8 + 2 * len(network.widths)


def test_rows_that_were_split_are_one_row_of_the_figures() -> None:
    task = task_of()
    examples = [
        TagExample([], [], [], ("a", "b"), ("O", "B-PER"), "a:1"),
        TagExample([], [], [], ("c",), ("B-LOC",), "a:2"),
        TagExample([], [], [], ("d",), ("I-PER",), "a:1"),
    ]
    ones = numpy.ones(3)
    evaluated = EvaluatedExamples(examples, [5, 2, 5], [[0, 2], [0], [3]], ones, ones.astype(int))
    f1, precision, recall = task.scorer.measures(evaluated)
    assert [len(one.table) for one in (f1, precision, recall)] == [2, 2, 2]
    assert (value(precision), value(recall)) == (1.0, 0.5)
    assert task.scorer.describe(examples[1], [0]) == ("c", "c [LOC]", "no entity")


# Choices


def choices(records: list[TaggedRecord], labels: Any = "auto") -> dict[str, Any]:
    return {option: what for option, what, _ in TAG.choices(records, Recipe(data=DataSection(labels=labels)))}


def test_two_tags_are_enough_to_learn_and_one_is_not() -> None:
    assert choices([record("a b", "X O")])["data.labels"] == ["O", "X"]
    with pytest.raises(DataError, match="every word has the tag `O`"):
        choices([])
    assert choices([record("a b", "B-X B-X")], ["O", "B-X"])["data.labels"] == ["O", "B-X"]
    with pytest.raises(DataError, match="none of the labels"):
        choices([record("a b", "O O")], ["O", "B-X"])
