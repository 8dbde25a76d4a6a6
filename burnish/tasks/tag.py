"""Task `tag`: a tag for every word, such as the names of people and places in a text."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy
import torch
from torch.nn import functional

from burnish.data.batching.batches import Batch, pad_right
from burnish.data.rows.records import TaggedRecord
from burnish.data.rows.row import IGNORED, EncodedRow
from burnish.data.tags.words import (
    NO_WORD,
    OUTSIDE,
    Pieces,
    TagExample,
    WordPieces,
    name_of,
    places_of,
    tags_in_order,
    text_or_words,
    word_places_of,
    words_of,
)
from burnish.errors import DataError
from burnish.kernels.loss import token_losses
from burnish.metrics.measure import Measure, MetricTable
from burnish.metrics.tagging import detect_scheme, entities, tag_measures, tag_tables
from burnish.models.config import model_kind
from burnish.models.heads import Head
from burnish.models.location import locate_model, read_config
from burnish.models.sharded import device_of
from burnish.recipe.schema import AUTO, Recipe
from burnish.tasks.defaults import EncoderDefaults, ObjectiveDefaults, ScorerDefaults
from burnish.tasks.evaluated import BatchOutcome, EvaluatedExamples
from burnish.tasks.predictions import ENTITIES, Entity, TextsPredictor
from burnish.tasks.task import Choice, Parts, Segment, TaskFacts

_AUTO_CLASS = "AutoModelForTokenClassification"
_USUAL_CONTEXT = 512


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of a run: the labels in the order of the model's outputs, and how they mark entities."""

    labels: list[str]
    scheme: str

    def of_example(self, example: TagExample, output: Sequence[int]) -> list[str]:
        """Predicted tags; a word without tokens is in no entity."""
        outputs = [*output, *[NO_WORD] * len(example.words)][: len(example.words)]
        return [OUTSIDE if number == NO_WORD else self.labels[number] for number in outputs]

    def in_words(self, words: Sequence[str], tags: Sequence[str]) -> list[str]:
        """Each entity as text, or all words if the tags are plain."""
        if self.scheme == "plain":
            return [" ".join(f"{word}/{tag}" for word, tag in zip(words, tags, strict=True))]
        found = sorted((begin, end, kind) for kind, begin, end in entities(tags, self.scheme))
        return [f"{' '.join(words[begin:end])} [{kind or 'entity'}]" for begin, end, kind in found]


class TagEncoder(EncoderDefaults):
    """Encodes sentences, with the label of each word on its deciding tokens."""

    def __init__(self, tokenizer: Any, tags: Tags, deciding: str) -> None:
        self._pieces = WordPieces(tokenizer)
        self._tokenizer = tokenizer
        self._labels = tags.labels
        self._numbers = {label: number for number, label in enumerate(tags.labels)}
        self._deciding = deciding
        self.unknown = Counter[str]()
        """Number of words by tag, for tags that are not among the labels."""

    @property
    def notes(self) -> list[str]:
        """How words are passed to a byte-level tokenizer."""
        if not self._pieces.needs_spaces:
            return []
        return [
            "The tokenizer recognizes a word by the space before it, so each is encoded with one, as in running text."
        ]

    def encode(self, record: TaggedRecord, context: int) -> EncodedRow:
        """A sentence as one example, or as several, split between words, if it is long.

        Only a single word of more than `context` tokens is truncated.
        """
        pieces = self._pieces.cut(record.tokens)
        tags = [name_of(tag, self._labels) for tag in record.tags]
        self.unknown.update(tag for tag in tags if tag not in self._numbers)
        limit = max(1, context - len(pieces.before) - len(pieces.after))
        cut = sum(max(0, len(ids) - limit) for ids in pieces.of_words)
        windows = pieces.windows(context)
        why = "" if any(tag in self._numbers for tag in tags) else "none of its tags is among those of the run"
        return EncodedRow([self._example(record, tags, pieces, window, limit) for window in windows], cut, why)

    def _example(
        self, record: TaggedRecord, tags: Sequence[str], pieces: Pieces, window: tuple[int, int], limit: int
    ) -> TagExample:
        begin, end = window
        ids, deciding, labels = list(pieces.before), [NO_WORD] * len(pieces.before), [IGNORED] * len(pieces.before)
        for word, all_of_word in enumerate(pieces.of_words[begin:end]):
            of_word = all_of_word[:limit]
            places = range(len(of_word))
            chosen = {"all": places, "last": places[-1:]}.get(self._deciding, places[:1])
            label = self._numbers.get(tags[begin + word], IGNORED)
            ids += of_word
            deciding += [word if place in chosen else NO_WORD for place in places]
            labels += [label if place in chosen else IGNORED for place in places]
        ids += pieces.after
        deciding += [NO_WORD] * len(pieces.after)
        labels += [IGNORED] * len(pieces.after)
        return TagExample(ids, deciding, labels, record.tokens[begin:end], tuple(tags[begin:end]), record.place)

    def collate(
        self, examples: Sequence[TagExample], rows: Sequence[Sequence[int]], packed: bool, epoch: int | None
    ) -> Batch:
        """One example per row, padded on the right."""
        chosen = [index for (index,) in rows]
        read = [examples[index] for index in chosen]
        ids = pad_right([example.input_ids for example in read], self._tokenizer.pad_token_id)
        attention = pad_right([[1] * example.num_tokens for example in read], 0)
        targets = pad_right([example.labels for example in read], IGNORED)
        return Batch(
            {"input_ids": ids, "attention_mask": attention},
            targets,
            tuple(chosen),
            torch.repeat_interleave(torch.tensor(chosen), (targets != IGNORED).sum(1)),
            sum(example.num_tokens for example in read),
            {"deciding": pad_right([example.deciding for example in read], NO_WORD)},
        )

    def segments(self, example: TagExample) -> list[Segment]:
        """The sentence; its deciding tokens are learned."""
        of_words = dict(zip(example.deciding, example.labels, strict=True))
        tags = " ".join(self._labels[label] for label in of_words.values() if label != IGNORED)
        return [Segment("", example.input_ids, [label != IGNORED for label in example.labels], f"tags: {tags}")]


class TagObjective(ObjectiveDefaults):
    """A linear layer scores the labels of each token."""

    # few words are in entities: large batches mostly teach the words outside, and there are too few steps
    step_rows = 8

    def __init__(self, encoder: TagEncoder, tags: Tags) -> None:
        self._encoder = encoder
        by_number = dict(enumerate(tags.labels))
        by_label = {label: number for number, label in by_number.items()}
        settings = {"num_labels": len(by_number), "id2label": by_number, "label2id": by_label}
        self.head = Head(_AUTO_CLASS, "TOKEN_CLS", settings)

    def inspect_model(self, network: Any) -> list[str]:
        """Notes what a decoder cannot see, and which tags have no label."""
        notes, unknown = [], self._encoder.unknown
        if model_kind(network.config) == "causal":
            notes.append(
                "This model reads from left to right: it tags a word without seeing what follows. An encoder sees both "
                "sides and usually tags better."
            )
        if unknown:
            named = ", ".join(f"`{tag}` ({number})" for tag, number in unknown.most_common(5))
            notes.append(
                f"{unknown.total()} words have a tag that is not among the labels: {named}. Nothing is learned "
                "from them, and in the metrics they count as missed."
            )
        return notes

    def losses(self, network: Any, batch: Batch) -> torch.Tensor:
        """`[trained]` fp32: negative log-likelihood of the tag of each deciding token."""
        return token_losses(_logits(network, batch), batch.targets, batch.places)


class TagScorer(ScorerDefaults):
    """Scores whole entities, or single words if the tags are plain."""

    def __init__(self, tags: Tags) -> None:
        self._tags = tags
        self.headline = "token accuracy" if tags.scheme == "plain" else "entity F1"

    def evaluate_batch(self, network: Any, batch: Batch) -> BatchOutcome:
        """Losses, and for each example the most likely label of each word, from `label_of_words`."""
        logits = _logits(network, batch)
        labels = label_of_words(logits, batch.extras["deciding"])
        return BatchOutcome(token_losses(logits, batch.targets, batch.places), labels.cpu().tolist())

    def measures(self, evaluated: EvaluatedExamples) -> list[Measure]:
        """Entity F1, precision and recall as the CoNLL script counts them; accuracy and macro-F1 for plain tags."""
        return tag_measures(*self._tags_by_row(evaluated), self._tags.scheme)

    def chance_loss(self, evaluated: EvaluatedExamples) -> Measure:
        """The loss of predicting the tag frequencies of these rows."""
        labels = [[label for label in example.labels if label != IGNORED] for example in evaluated.examples]
        numbers = Counter(label for one in labels for label in one)
        nats = {label: math.log(numbers.total() / number) for label, number in numbers.items()}
        sums = numpy.array([sum(nats[label] for label in one) for one in labels])
        return replace(evaluated, sums=sums, counts=numpy.array([len(one) for one in labels])).loss()

    def tables(self, evaluated: EvaluatedExamples) -> list[MetricTable]:
        """One line per entity type, or per plain tag."""
        return tag_tables(*self._tags_by_row(evaluated), self._tags.scheme)

    def _tags_by_row(self, evaluated: EvaluatedExamples) -> tuple[list[list[str]], list[list[str]]]:
        """Gold and predicted tags of each row, joined if a row was split into several examples."""
        rows: dict[int, tuple[list[str], list[str]]] = {}
        for example, owner, output in zip(evaluated.examples, evaluated.owners, evaluated.outputs, strict=True):
            gold, predicted = rows.setdefault(owner, ([], []))
            gold += example.tags
            predicted += self._tags.of_example(example, output)
        return [gold for gold, _ in rows.values()], [predicted for _, predicted in rows.values()]

    def describe(self, example: TagExample, output: Sequence[int]) -> tuple[str, str, str]:
        """The sentence, its entities, and the predicted ones."""
        found = self._tags.of_example(example, output)
        spelled = [", ".join(self._tags.in_words(example.words, tags)) for tags in (example.tags, found)]
        return " ".join(example.words), spelled[0] or "no entity", spelled[1] or "no entity"


class TagPredictor(TextsPredictor):
    """Finds the entities of a text."""

    def __init__(self, encoder: TagEncoder, tags: Tags, context: int) -> None:
        self._encoder = encoder
        self._tags = tags
        self._context = context

    def texts_of(self, values: Mapping[str, Any]) -> Sequence[str]:
        """A text, or its words."""
        return text_or_words(values)

    def respond(self, network: Any, prompt: str) -> str:
        """The entities of a text, one per line; plain tags as `word/TAG`.

        Args:
            network: in evaluation mode.
            prompt: a text, or a row as a JSON object with its words in `tokens`.

        Raises:
            InputError: the text has no words.
        """
        words = words_of(prompt)
        return "\n".join(self._tags.in_words(words, self._tagged(network, words)[0])) or "no entity"

    @property
    def fields(self) -> tuple[str, ...]:
        """A text."""
        return ("input",)

    def predict(self, network: Any, rows: Sequence[Sequence[str]]) -> list[list[Entity]]:
        """The entities of each text; with plain tags, all of its words. A row of several texts has the words of one,
        and places in it are those after spaces were put between them."""
        return [self._entities(network, row) for row in rows]

    def _entities(self, network: Any, row: Sequence[str]) -> list[Entity]:
        text = " ".join(row)
        places = word_places_of(text) if len(row) == 1 else places_of(row)
        if not places:
            return []
        tags, probabilities = self._tagged(network, [text[begin:end] for begin, end in places])
        if self._tags.scheme == "plain":
            found = [(tag, number, number + 1) for number, tag in enumerate(tags)]
        else:
            found = sorted(entities(tags, self._tags.scheme), key=lambda entity: entity[1:])
        return [
            Entity(kind or "entity", places[begin][0], places[end - 1][1], fmean(probabilities[begin:end]))
            for kind, begin, end in found
        ]

    def _tagged(self, network: Any, words: Sequence[str]) -> tuple[list[str], list[float]]:
        """The tag of each word, and its probability."""
        record = TaggedRecord(tuple(words), (OUTSIDE,) * len(words), "prompt:1")
        examples = self._encoder.encode(record, self._context).examples
        device = device_of(network)
        tags, probabilities = list[str](), list[float]()
        for number, example in enumerate(examples):
            batch = self._encoder.collate(examples, [[number]], self._encoder.can_pack, None).to(device)
            found, shares = tags_of_words(_logits(network, batch), batch.extras["deciding"])
            of_example = self._tags.of_example(example, found[0].tolist())
            tags += of_example
            probabilities += [*shares[0].tolist(), *[1.0] * len(of_example)][: len(of_example)]
        return tags, probabilities


def label_of_words(logits: torch.Tensor, deciding: torch.Tensor) -> torch.Tensor:
    """The labels of `tags_of_words`."""
    return tags_of_words(logits, deciding)[0]


def tags_of_words(logits: torch.Tensor, deciding: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The most likely label of each word and its probability, by the mean probabilities of its deciding tokens.

    As in the `pipeline` of transformers with `aggregation_strategy="average"`, or "first" if the first one decides.

    Args:
        logits: `[rows, width, labels]`.
        deciding: `[rows, width]`: the word that a token decides, or `NO_WORD`.

    Returns:
        `[rows, words]` int64, padded to the row with the most words; `NO_WORD` if no token decides. And `[rows, words]`
        fp32, 1 there.
    """
    rows, places = (deciding != NO_WORD).nonzero(as_tuple=True)
    scores = functional.softmax(logits[rows, places].float(), 1)
    words = deciding[rows, places]
    most = int(words.max()) + 1 if len(words) else 0
    summed = torch.zeros(len(deciding) * most, logits.shape[-1], device=logits.device)
    summed.index_add_(0, rows * most + words, scores)
    is_decided = torch.zeros(len(deciding) * most, dtype=torch.bool, device=logits.device)
    is_decided[rows * most + words] = True
    best = summed.max(1) if most else torch.max(summed.new_zeros(0, 1), 1)
    shares = best.values / summed.sum(1).clamp(min=1e-9)
    labels = torch.where(is_decided, best.indices, NO_WORD).reshape(len(deciding), most)
    return labels, torch.where(is_decided, shares, 1.0).reshape(len(deciding), most)


def _choices(records: Sequence[TaggedRecord], recipe: Recipe) -> list[Choice]:
    """The labels, how they mark entities, and which token of a word decides its tag.

    Raises:
        DataError: all words have the same tag, or none of the tags is among the given labels.
    """
    found = {tag for record in records for tag in record.tags}
    labels = tags_in_order(found) if recipe.data.labels == AUTO else list(recipe.data.labels)
    named = [[name_of(tag, labels) for tag in record.tags] for record in records]
    if recipe.data.labels == AUTO and len(labels) < 2:
        raise DataError(
            f"every word has the tag `{labels[0] if labels else OUTSIDE}`",
            "With a single tag there is nothing to learn.",
            "Give rows with at least two tags; the last column of a CoNLL file is the tag",
        )
    known = {tag for tags in named for tag in tags} & set(labels)
    if not known - {OUTSIDE}:
        raise DataError(
            f"the rows have none of the labels {', '.join(f'`{label}`' for label in labels[:10])}",
            f"Their tags are {', '.join(f'`{tag}`' for tag in tags_in_order(found)[:10])}.",
            "Correct `data.labels`, or leave it at `auto`",
        )
    return [
        ("data.labels", labels, "the tags in the training rows"),
        ("tag.scheme", detect_scheme(named), "the prefixes of the tags"),
        ("tag.pieces", *_deciding_token(recipe)),
    ]


def _deciding_token(recipe: Recipe) -> tuple[str, str]:
    section = recipe.model
    kind = "masked" if section.name == AUTO else model_kind(read_config(locate_model(section), section))
    if kind == "causal":
        return "all", "a decoder has seen more of a word with each token"
    return "first", "an encoder sees the whole word from its first token"


def _logits(network: Any, batch: Batch) -> torch.Tensor:
    """`[rows, width, labels]`; without the virtual tokens that a method puts in front."""
    logits = network(**batch.inputs).logits
    return logits[:, -batch.input_ids.shape[1] :]


def _build(tokenizer: Any, recipe: Recipe) -> Parts:
    tags = Tags([] if recipe.data.labels == AUTO else list(recipe.data.labels), recipe.tag.scheme)
    encoder = TagEncoder(tokenizer, tags, recipe.tag.pieces)
    context = _USUAL_CONTEXT if recipe.data.context == AUTO else int(recipe.data.context)
    return Parts(encoder, TagObjective(encoder, tags), TagScorer(tags), TagPredictor(encoder, tags, context))


TAG = TaskFacts(
    name="tag",
    records=(TaggedRecord,),
    kinds=("masked", "causal"),
    build=_build,
    auto_class=_AUTO_CLASS,
    names_labels=True,
    choices=_choices,
    sections=("tag",),
    learned="tags words",
    predicts=ENTITIES,
    pipeline="token-classification",
    usual_rows=(1_000, 5_000),
    sample="entities.conll",
    snippets=("tag", "tag"),
)
