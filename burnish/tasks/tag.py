"""Task `tag`: a tag for every word, such as the names of people and places in a text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy
import torch
from torch.nn import functional

from burnish.data.batching.batches import Batch
from burnish.data.rows.records import TaggedRecord
from burnish.data.rows.row import IGNORED
from burnish.data.tags.words import NO_WORD, Pieces, TagExample, WordPieces, words_of
from burnish.errors import DataError
from burnish.kernels.loss import token_losses
from burnish.metrics.measure import Measure, MetricTable
from burnish.metrics.tagging import detect_scheme, entities, tag_measures, tag_tables
from burnish.models.config import model_kind
from burnish.models.heads import Head
from burnish.models.location import locate_model, read_config
from burnish.recipe.schema import AUTO, Recipe
from burnish.tasks.defaults import TaskDefaults
from burnish.tasks.task import Choice, EncodedRow, Judged, Outcome

OUTSIDE = "O"
_USUAL_CONTEXT = 512


class TagTask(TaskDefaults):
    """Learns the tag of each word."""

    name: ClassVar[str] = "tag"
    snippets: ClassVar[tuple[str, str]] = ("tag", "tag")
    learned: ClassVar[str] = "tags words"
    pipeline: ClassVar[str] = "token-classification"
    usual_rows: ClassVar[tuple[int, int] | None] = (1_000, 5_000)
    sections: ClassVar[tuple[str, ...]] = ("tag",)
    kinds: ClassVar[tuple[str, ...]] = ("masked", "causal")
    # Few words are in entities: large steps are mostly about words outside of any, and there are few of them.
    step_rows: ClassVar[int] = 8

    def __init__(self, tokenizer: Any, recipe: Recipe) -> None:
        self._pieces = WordPieces(tokenizer)
        self._tokenizer = tokenizer
        self._labels = [] if recipe.data.labels == AUTO else list(recipe.data.labels)
        self._numbers = {label: number for number, label in enumerate(self._labels)}
        self._scheme = recipe.tag.scheme
        self._deciding = recipe.tag.pieces
        self._context = _USUAL_CONTEXT if recipe.data.context == AUTO else int(recipe.data.context)
        self._unknown = Counter[str]()

    @classmethod
    def choices(cls, records: Sequence[TaggedRecord], recipe: Recipe) -> list[Choice]:
        """The labels, how they mark entities, and which piece of a word tells its tag.

        Raises:
            DataError: all words have the same tag, or none of the tags is among the labels given.
        """
        found = {tag for record in records for tag in record.tags}
        labels = in_order(found) if recipe.data.labels == AUTO else list(recipe.data.labels)
        named = [[name_of(tag, labels) for tag in record.tags] for record in records]
        if recipe.data.labels == AUTO and len(labels) < 2:
            raise DataError(
                f"every word has the tag `{labels[0] if labels else OUTSIDE}`",
                "There is nothing to tell apart.",
                "Give rows with at least two tags; the last column of a CoNLL file is taken for the tag",
            )
        known = {tag for tags in named for tag in tags} & set(labels)
        if not known - {OUTSIDE}:
            raise DataError(
                f"the rows have none of the labels {', '.join(f'`{label}`' for label in labels[:10])}",
                f"Their tags are {', '.join(f'`{tag}`' for tag in in_order(found)[:10])}.",
                "Mend `data.labels`, or leave it at `auto`",
            )
        return [
            ("data.labels", labels, "the tags in the training rows"),
            ("tag.scheme", detect_scheme(named), "the marks in front of the tags"),
            ("tag.pieces", *_deciding_piece(recipe)),
        ]

    @property
    def head(self) -> Head:
        """A linear layer that scores the labels of each token."""
        by_number = dict(enumerate(self._labels))
        settings = {"num_labels": len(self._labels), "id2label": by_number, "label2id": dict(self._numbers)}
        return Head("AutoModelForTokenClassification", "TOKEN_CLS", settings)

    @property
    def headline(self) -> str:
        """Whole entities count; tags that mark none count by token."""
        return "token accuracy" if self._scheme == "plain" else "entity F1"

    @property
    def notes(self) -> list[str]:
        """How words are handed to a byte-level tokenizer."""
        if not self._pieces.needs_spaces:
            return []
        return ["The tokenizer tells a word by the space before it, so words are read with one, as in running text."]

    def adapt(self, network: Any) -> list[str]:
        """Says what a decoder cannot see, and which tags have no label."""
        told = []
        if model_kind(network.config) == "causal":
            told.append(
                "This model reads from left to right: it tags a word without seeing what follows. An encoder sees both "
                "sides and mostly tags better."
            )
        if self._unknown:
            named = ", ".join(f"`{tag}` ({number})" for tag, number in self._unknown.most_common(5))
            told.append(
                f"{self._unknown.total()} words have a tag that is not among the labels: {named}. Nothing is learned "
                "from them, and in the figures they count as missed."
            )
        return told

    def encode(self, record: TaggedRecord, context: int) -> EncodedRow:
        """A sentence as one example, or as several where it is long, cut between words.

        Only a single word of more than `context` tokens loses some.
        """
        pieces = self._pieces.cut(record.tokens)
        tags = [name_of(tag, self._labels) for tag in record.tags]
        self._unknown.update(tag for tag in tags if tag not in self._numbers)
        limit = max(1, context - len(pieces.before) - len(pieces.after))
        cut = sum(max(0, len(ids) - limit) for ids in pieces.of_words)
        windows = pieces.windows(context)
        return EncodedRow([self._example(record, tags, pieces, window, limit) for window in windows], cut)

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
        """One example a row, filled up at the end."""
        chosen = [index for (index,) in rows]
        width = max(examples[index].num_tokens for index in chosen)
        ids, targets, deciding, attention = (
            numpy.full((len(chosen), width), fill, dtype=numpy.int64)
            for fill in (self._tokenizer.pad_token_id, IGNORED, NO_WORD, 0)
        )
        for row, index in enumerate(chosen):
            example = examples[index]
            end = example.num_tokens
            ids[row, :end], targets[row, :end] = example.input_ids, example.labels
            deciding[row, :end], attention[row, :end] = example.deciding, 1
        return Batch(
            {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(attention)},
            torch.from_numpy(targets),
            tuple(chosen),
            torch.repeat_interleave(torch.tensor(chosen), torch.from_numpy((targets != IGNORED).sum(1))),
            int(attention.sum()),
            {"deciding": torch.from_numpy(deciding)},
        )

    def losses(self, network: Any, batch: Batch) -> torch.Tensor:
        """`[trained]` fp32: negative log-likelihood of the tag of each word, or of each piece of it."""
        return token_losses(_logits(network, batch), batch.targets)

    def judge(self, network: Any, batch: Batch) -> Outcome:
        """Losses, and for each example the likeliest label of each word, as `label_of_words` gives it."""
        logits = _logits(network, batch)
        labels = label_of_words(logits, batch.extras["deciding"])
        return Outcome(token_losses(logits, batch.targets), labels.cpu().tolist())

    def measures(self, judged: Judged) -> list[Measure]:
        """Entity F1, precision and recall as the CoNLL script counts them; accuracy and macro-F1 of plain tags."""
        return tag_measures(*self._tags_by_row(judged), self._scheme)

    def tables(self, judged: Judged) -> list[MetricTable]:
        """One line for each type of entity, or for each plain tag."""
        return tag_tables(*self._tags_by_row(judged), self._scheme)

    def _tags_by_row(self, judged: Judged) -> tuple[list[list[str]], list[list[str]]]:
        """Gold and predicted tags of each row, put together again where a row was cut into several examples."""
        rows: dict[int, tuple[list[str], list[str]]] = {}
        for example, owner, output in zip(judged.examples, judged.owners, judged.outputs, strict=True):
            gold, predicted = rows.setdefault(owner, ([], []))
            gold += example.tags
            predicted += self._tags_of(example, output)
        return [gold for gold, _ in rows.values()], [predicted for _, predicted in rows.values()]

    def _tags_of(self, example: TagExample, output: Sequence[int]) -> list[str]:
        """Predicted tags; a word that the tokenizer makes nothing of is in no entity."""
        outputs = [*output, *[NO_WORD] * len(example.words)][: len(example.words)]
        return [OUTSIDE if number == NO_WORD else self._labels[number] for number in outputs]

    def shown(self, example: TagExample, output: Sequence[int]) -> tuple[str, str, str]:
        """The sentence, its entities as they should be, and those found."""
        found = self._tags_of(example, output)
        told = [", ".join(self._told(example.words, tags)) for tags in (example.tags, found)]
        return " ".join(example.words), told[0] or "no entity", told[1] or "no entity"

    def _told(self, words: Sequence[str], tags: Sequence[str]) -> list[str]:
        if self._scheme == "plain":
            return [" ".join(f"{word}/{tag}" for word, tag in zip(words, tags, strict=True))]
        found = sorted(entities(tags, self._scheme), key=lambda entity: entity[1:])
        return [f"{' '.join(words[begin:end])} [{kind or 'entity'}]" for kind, begin, end in found]

    def respond(self, network: Any, prompt: str) -> str:
        """The entities of a text, one a line; plain tags as `word/TAG`.

        Args:
            network: in evaluation mode.
            prompt: a text, or a row as a JSON object with its words in `tokens`.

        Raises:
            InputError: there is no word in it.
        """
        words = words_of(prompt)
        record = TaggedRecord(tuple(words), (OUTSIDE,) * len(words), "prompt:1")
        examples = self.encode(record, self._context).examples
        device = next(network.parameters()).device
        tags: list[str] = []
        for number, example in enumerate(examples):
            batch = self.collate(examples, [[number]], False, None).to(device)
            tags += self._tags_of(
                example, label_of_words(_logits(network, batch), batch.extras["deciding"])[0].tolist()
            )
        return "\n".join(self._told(words, tags)) or "no entity"


def label_of_words(logits: torch.Tensor, deciding: torch.Tensor) -> torch.Tensor:
    """The likeliest label of each word; of several pieces that decide, the sum of their log-likelihoods does.

    Args:
        logits: `[rows, width, labels]`.
        deciding: `[rows, width]`: the word that a token decides about, or `NO_WORD`.

    Returns:
        `[rows, words]` int64, as many words as the row with most has; `NO_WORD` where no token decides.
    """
    rows, places = (deciding != NO_WORD).nonzero(as_tuple=True)
    scores = functional.log_softmax(logits[rows, places].float(), -1)
    words = deciding[rows, places]
    most = int(words.max()) + 1 if len(words) else 0
    summed = torch.zeros(len(deciding) * most, logits.shape[-1], device=logits.device)
    summed.index_add_(0, rows * most + words, scores)
    is_decided = torch.zeros(len(deciding) * most, dtype=torch.bool, device=logits.device)
    is_decided[rows * most + words] = True
    return torch.where(is_decided, summed.argmax(-1), NO_WORD).reshape(len(deciding), most)


def name_of(tag: str, labels: Sequence[str]) -> str:
    """The label that a tag stands for: itself, or, where it is a number, the label in that place."""
    is_place = tag not in labels and tag.isdecimal() and int(tag) < len(labels)
    return labels[int(tag)] if is_place else tag


def in_order(tags: set[str]) -> list[str]:
    """O first, then by name; numbers in their order."""
    if all(tag.isdecimal() for tag in tags):
        return sorted(tags, key=int)
    return sorted(tags, key=lambda tag: (tag != OUTSIDE, tag))


def _deciding_piece(recipe: Recipe) -> tuple[str, str]:
    section = recipe.model
    kind = "masked" if section.name == AUTO else model_kind(read_config(locate_model(section), section))
    if kind == "causal":
        return "last", "a decoder has seen the whole word only there"
    return "first", "an encoder sees the whole word from there"


def _logits(network: Any, batch: Batch) -> torch.Tensor:
    """`[rows, width, labels]`; virtual tokens that a method puts in front are left off."""
    logits = network(**batch.inputs).logits
    return logits[:, -batch.input_ids.shape[1] :]
