"""Task `classify`: assigns a label, or any number of them, to a text or a pair of texts."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy
import torch
from torch.nn import functional

from burnish.data.batching.batches import Batch
from burnish.data.labels.rows import (
    check_labels,
    describe_labels,
    find_labels,
    has_label_lists,
    in_order,
    read_texts,
    texts_of,
)
from burnish.data.rows.patterns import BY_NAME
from burnish.data.rows.records import LabelledRecord
from burnish.data.rows.row import IGNORED, ColumnMap, EncodedRow, RowError
from burnish.data.tokens.text_pairs import PairFormat, read_inputs
from burnish.errors import RecipeError
from burnish.metrics.classification import (
    chance_loss,
    class_counts,
    confusion_table,
    label_counts,
    multi_label_measures,
    per_class_table,
    single_label_measures,
)
from burnish.metrics.measure import Measure, MetricTable
from burnish.models.heads import SEQUENCE_CLASSIFIER, Head, row_logits
from burnish.models.sharded import device_of
from burnish.recipe.schema import AUTO, BALANCED, NONE, Recipe
from burnish.tasks.defaults import EncoderDefaults, ObjectiveDefaults, ScorerDefaults
from burnish.tasks.evaluated import BatchOutcome, EvaluatedExamples
from burnish.tasks.predictions import LABELS, Labelled, TextsPredictor
from burnish.tasks.task import Choice, Parts, Segment, TaskFacts

_NO_LABEL = "no label"
_PAIR = "labelled-pair"


@dataclass(frozen=True, slots=True)
class LabelledExample:
    """A row as token ids, with the indices of its labels."""

    input_ids: list[int]
    token_types: list[int] | None
    labels: tuple[int, ...]
    texts: tuple[str, ...]
    """For display."""
    place: str
    unseen: tuple[str, ...] = ()
    """Its labels that the model has no output for; predictions count as wrong."""
    num_trained: int = 1
    """Each row is one term of the loss, whatever its length; none if its only label is unseen."""

    @property
    def num_tokens(self) -> int:
        """Input tokens."""
        return len(self.input_ids)


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of a run, in the order of the model's outputs."""

    names: list[str]
    is_multi: bool
    """Whether a row can have several labels, or none."""

    def with_unseen(self, examples: Sequence[LabelledExample]) -> list[str]:
        """The labels, followed by those of these rows that the model has no output for."""
        return [*self.names, *in_order({label for example in examples for label in example.unseen})]

    def gold(self, examples: Sequence[LabelledExample], names: Sequence[str] = ()) -> numpy.ndarray:
        """`[rows, labels]` bool.

        Args:
            examples: one per row.
            names: the columns, from `with_unseen`; by default the labels of the run.
        """
        names = names or self.names
        places = {name: number for number, name in enumerate(names)}
        matrix = numpy.zeros((len(examples), len(names)), dtype=bool)
        for row, example in enumerate(examples):
            matrix[row, list(example.labels)] = True
            matrix[row, [places[label] for label in example.unseen if label in places]] = True
        return matrix

    def probabilities(self, logits: torch.Tensor) -> numpy.ndarray:
        """`[rows, labels]` fp32."""
        logits = logits.detach().float()
        return (logits.sigmoid() if self.is_multi else logits.softmax(1)).cpu().numpy()

    def labelled(self, probabilities: numpy.ndarray) -> Labelled:
        """The label, or all labels with a probability above 0.5."""
        order = numpy.argsort(-probabilities, kind="stable").tolist()
        given = [number for number in order if probabilities[number] > 0.5] if self.is_multi else order[:1]
        return Labelled(self.names, probabilities.tolist(), [self.names[number] for number in given], self.is_multi)

    def in_words(self, probabilities: numpy.ndarray) -> str:
        """The label, or all labels with a probability above 0.5, with their probabilities."""
        found = self.labelled(probabilities)
        of = dict(zip(found.names, found.probabilities, strict=True))
        if not found.given:
            nearest = max(of, key=lambda name: of[name])
            return f"{_NO_LABEL} (nearest: {nearest} {of[nearest]:.2f})"
        return ", ".join(f"{name} ({of[name]:.2f})" for name in found.given)


class ClassifyEncoder(EncoderDefaults):
    """Encodes texts, or pairs of texts, with the indices of their labels."""

    cut_from = "from the end of the longer text"

    def __init__(self, tokenizer: Any, labels: Labels) -> None:
        self._tokenizer = tokenizer
        self._format = PairFormat(tokenizer)
        self._labels = labels
        self._numbers = {label: number for number, label in enumerate(labels.names)}

    def encode(self, record: LabelledRecord, context: int) -> EncodedRow:
        """One example. A row that is too long is cut at the end; of a pair, the longer text is cut first.

        Raises:
            RowError: the row does not have exactly one label although it should.
        """
        unseen = tuple(label for label in record.labels if label not in self._numbers)
        if not self._labels.is_multi and len(record.labels) != 1:
            raise RowError(f"the row has {len(record.labels)} labels, but one is expected")
        read = self._format.encode(record.texts, context)
        labels = tuple(self._numbers[label] for label in record.labels if label in self._numbers)
        num_trained = 1 if self._labels.is_multi or not unseen else 0
        ids, types = read.input_ids, read.token_types
        example = LabelledExample(ids, types, labels, record.texts, record.place, unseen, num_trained)
        why = f"the label `{unseen[0]}` is in no training row, so it cannot be learned" if unseen else ""
        return EncodedRow([example], read.truncated, why)

    def held_out_remarks(self, records: Sequence[LabelledRecord]) -> list[str]:
        """The labels that the model never learned: it cannot be right there."""
        rows = [unseen for record in records if (unseen := set(record.labels) - set(self._numbers))]
        if not rows:
            return []
        named = ", ".join(f"`{label}` ({count:,})" for label, count in Counter(chain(*rows)).most_common(5))
        return [
            f"{len(rows):,} of {len(records):,} held-out rows have a label that is in no training row: {named}. The "
            "model cannot predict it, so they count as wrong."
        ]

    def collate(
        self, examples: Sequence[LabelledExample], rows: Sequence[Sequence[int]], packed: bool, epoch: int | None
    ) -> Batch:
        """`targets` are label indices `[rows]`, or `[rows, labels]` of 0 and 1 if there can be several."""
        chosen = tuple(index for row in rows for index in row)
        read = [examples[index] for index in chosen]
        if self._labels.is_multi:
            targets = torch.from_numpy(self._labels.gold(read).astype(numpy.float32))
        else:
            targets = torch.tensor([example.labels[0] if example.num_trained else IGNORED for example in read])
        num_tokens = sum(example.num_tokens for example in read)
        inputs = read_inputs(read, self._tokenizer.pad_token_id or 0)
        known = [place for place, example in enumerate(read) if example.num_trained]
        owners = torch.tensor([chosen[place] for place in known], dtype=torch.int64)
        extras = {} if len(known) == len(read) else {"known": torch.tensor(known, dtype=torch.int64)}
        return Batch(inputs, targets, chosen, owners, num_tokens, extras)

    def segments(self, example: LabelledExample) -> list[Segment]:
        """The text, with its label as a note."""
        named = ", ".join((*(self._labels.names[number] for number in example.labels), *example.unseen)) or "none"
        return [Segment("", example.input_ids, [False] * len(example.input_ids), f"label: {named}")]


class ClassifyObjective(ObjectiveDefaults):
    """Classification loss: each row is one term."""

    step_rows = 32

    def __init__(self, labels: Labels, smoothing: float = 0.0, weights: Sequence[float] = ()) -> None:
        self._is_multi = labels.is_multi
        self._smoothing, self._weights = smoothing, torch.tensor(weights) if weights else None
        names = dict(enumerate(labels.names))
        kind = "multi_label_classification" if labels.is_multi else "single_label_classification"
        config = {
            "num_labels": len(names),
            "id2label": names,
            "label2id": {label: number for number, label in names.items()},
            "problem_type": kind,
            "ignore_mismatched_sizes": True,
        }
        # one output for each label, whatever labels the base model was trained on
        self.head = Head(SEQUENCE_CLASSIFIER, "SEQ_CLS", config)

    def losses(self, network: Any, batch: Batch) -> torch.Tensor:
        """`[rows]` fp32: cross-entropy, or the mean over the labels of the binary cross-entropy.

        With the recipe's label smoothing and class weights, unlike on held-out rows.
        """
        logits = row_logits(network, batch.inputs)
        if not self._smoothing and self._weights is None:
            return self.losses_of(logits, batch)
        weights = None if self._weights is None else self._weights.to(logits.device)
        if self._is_multi:
            targets = batch.targets * (1 - self._smoothing) + self._smoothing / 2
            return functional.binary_cross_entropy_with_logits(
                logits.float(), targets, weight=weights, reduction="none"
            ).mean(1)
        return functional.cross_entropy(
            logits.float(), batch.targets, weight=weights, reduction="none", label_smoothing=self._smoothing
        )

    def losses_of(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The plain losses from logits `[rows, labels]`."""
        if self._is_multi:
            return functional.binary_cross_entropy_with_logits(logits.float(), batch.targets, reduction="none").mean(1)
        losses = functional.cross_entropy(logits.float(), batch.targets, reduction="none", ignore_index=IGNORED)
        # only held-out rows can have a label without an output; they are no term of the loss
        return losses.index_select(0, batch.extras["known"]) if "known" in batch.extras else losses


class ClassifyScorer(ScorerDefaults):
    """Measures how many labels are correct."""

    def __init__(self, labels: Labels, objective: ClassifyObjective) -> None:
        self._labels = labels
        self._objective = objective
        self.headline = "micro-F1" if labels.is_multi else "accuracy"

    def evaluate_batch(self, network: Any, batch: Batch) -> BatchOutcome:
        """The losses, and the probabilities `[labels]` of each row."""
        logits = row_logits(network, batch.inputs)
        return BatchOutcome(self._objective.losses_of(logits, batch), list(self._labels.probabilities(logits)))

    def measures(self, evaluated: EvaluatedExamples) -> list[Measure]:
        """Accuracy and macro-F1, or micro-F1, macro-F1 and exact match if there can be several labels."""
        names = self._labels.with_unseen(evaluated.examples)
        if self._labels.is_multi:
            return multi_label_measures(
                self._labels.gold(evaluated.examples, names), self._predicted_matrix(evaluated.outputs, len(names))
            )
        return single_label_measures(_gold(evaluated, names), _predicted(evaluated), len(names))

    def chance_loss(self, evaluated: EvaluatedExamples) -> Measure:
        """The loss of predicting the label frequencies of these rows."""
        learned = [example for example in evaluated.examples if example.num_trained]
        return chance_loss(self._labels.gold(learned), self._labels.is_multi)

    def tables(self, evaluated: EvaluatedExamples) -> list[MetricTable]:
        """Metrics of each label, and the confusion matrix."""
        names = self._labels.with_unseen(evaluated.examples)
        if self._labels.is_multi:
            gold = self._labels.gold(evaluated.examples, names)
            return [per_class_table(label_counts(gold, self._predicted_matrix(evaluated.outputs, len(names))), names)]
        gold, predicted = _gold(evaluated, names), _predicted(evaluated)
        counts = class_counts(gold, predicted, len(names))
        return [per_class_table(counts, names), confusion_table(gold, predicted, names)]

    def remark(self, evaluated: EvaluatedExamples) -> str:
        """The share that is right when always predicting the most common label."""
        shares = self._labels.gold(evaluated.examples).mean(axis=0)  # of the labels that can be predicted
        label, share = self._labels.names[int(shares.argmax())], 100 * float(shares.max())
        if self._labels.is_multi:
            return f"The most common label, `{label}`, is right for {share:.1f} % of these rows."
        return f"Always answering the most common label, `{label}`, would be right for {share:.1f} % of these rows."

    def describe(self, example: LabelledExample, output: numpy.ndarray) -> tuple[str, str, str]:
        """The text, its label, and the predicted label with its probability."""
        gold = ", ".join((*(self._labels.names[number] for number in example.labels), *example.unseen)) or _NO_LABEL
        return "\n".join(example.texts), gold, self._labels.in_words(output)

    def _predicted_matrix(self, outputs: Sequence[numpy.ndarray], columns: int) -> numpy.ndarray:
        """`[rows, columns]` bool: labels with a probability above 0.5; those without an output never are."""
        predicted = numpy.zeros((len(outputs), columns), dtype=bool)
        if outputs:
            predicted[:, : len(self._labels.names)] = numpy.stack(list(outputs)) > 0.5
        return predicted


class ClassifyPredictor(TextsPredictor):
    """Predicts the label of a text, with its probability."""

    def __init__(self, tokenizer: Any, labels: Labels, recipe: Recipe) -> None:
        self._format = PairFormat(tokenizer)
        self._labels = labels
        self._context = recipe.data.context
        self._pattern = BY_NAME[_PAIR if recipe.data.shape == _PAIR else "labelled-text"].narrowed(recipe.data.columns)
        self._columns = ColumnMap(recipe.data.columns)
        self._pad_id = tokenizer.pad_token_id or 0

    @property
    def fields(self) -> tuple[str, ...]:
        """A text, or a pair."""
        return ("text_1", "text_2") if len(self._pattern.required) > 2 else ("input",)

    def predict(self, network: Any, rows: Sequence[Sequence[str]]) -> list[Labelled]:
        """The labels of each row, with all probabilities."""
        device = device_of(network)
        read = [self._format.encode(texts, _max_tokens(self._context)) for texts in rows]
        inputs = {name: tensor.to(device) for name, tensor in read_inputs(read, self._pad_id).items()}
        return [self._labels.labelled(found) for found in self._labels.probabilities(row_logits(network, inputs))]

    def texts_of(self, values: Mapping[str, Any]) -> tuple[str, ...]:
        """A text, or a pair."""
        return texts_of(values, self._pattern)

    def num_left_out(self, texts: Sequence[str]) -> int:
        """Tokens at the end of the longer text."""
        return self._format.encode(texts, _max_tokens(self._context)).truncated

    def respond(self, network: Any, prompt: str) -> str:
        """The label of a user's text, or of a row as a JSON object, with its probability.

        Raises:
            InputError: the run labels pairs, and the prompt has no two texts.
        """
        (found,) = self.predict(network, [read_texts(prompt, self._pattern, self._columns)])
        return self._labels.in_words(numpy.array(found.probabilities))

    def num_cut(self, prompt: str) -> int:
        """Tokens at the end of the longer text."""
        return self.num_left_out(read_texts(prompt, self._pattern, self._columns))


def _choices(records: Sequence[LabelledRecord], recipe: Recipe) -> list[Choice]:
    """Whether rows can have several labels, and the list of labels.

    Raises:
        DataError: all labels are the same, or look like free text, or are lists in only some rows.
        RecipeError: `data.labels` names too few labels, or one twice.
    """
    found: list[Choice] = []
    is_multi, labels = recipe.classify.multi_label, recipe.data.labels
    if is_multi == AUTO:
        is_multi = has_label_lists(records)
        reason = "the labels are lists" if is_multi else "every row has one label"
        found.append(("classify.multi_label", is_multi, reason))
    if labels == AUTO:
        labels = find_labels(records, bool(is_multi))
        found.append(("data.labels", labels, describe_labels(records, labels)))
    else:
        check_labels(labels, bool(is_multi), records)
    weights = recipe.classify.class_weights
    if weights == BALANCED:
        found.append(("classify.class_weights", balanced_weights(records, labels), "the rarer a label, the more"))
    elif weights != NONE and len(weights) != len(labels):
        raise RecipeError(
            f"`classify.class_weights` has {len(weights)} weights, and there are {len(labels)} labels",
            f"The labels are {', '.join(labels[:_NAMED_LABELS])}{', ...' if len(labels) > _NAMED_LABELS else ''}.",
            "Give one weight for each, in that order, or use `balanced`",
        )
    return found


_NAMED_LABELS = 8


def balanced_weights(records: Sequence[LabelledRecord], labels: Sequence[str]) -> list[float]:
    """Weights with which all labels count the same, and a row counts as 1 on average; 1 for a label without rows."""
    counts = Counter(label for record in records for label in record.labels)
    known = [label for label in labels if counts[label]]
    total = sum(counts[label] for label in known)
    return [total / (len(known) * counts[label]) if counts[label] else 1.0 for label in labels]


def _max_tokens(context: int | str) -> int:
    return sys.maxsize if context == AUTO else int(context)


def _gold(evaluated: EvaluatedExamples, names: Sequence[str]) -> numpy.ndarray:
    """`[rows]`: the number of each row's label among the names."""
    places = {name: number for number, name in enumerate(names)}
    found = [example.labels[0] if example.labels else places[example.unseen[0]] for example in evaluated.examples]
    return numpy.array(found, dtype=numpy.int64)


def _predicted(evaluated: EvaluatedExamples) -> numpy.ndarray:
    return numpy.array([int(output.argmax()) for output in evaluated.outputs], dtype=numpy.int64)


def _build(tokenizer: Any, recipe: Recipe) -> Parts:
    names = [] if recipe.data.labels == AUTO else list(recipe.data.labels)
    labels = Labels(names, recipe.classify.multi_label is True)
    weights = recipe.classify.class_weights
    given = weights if isinstance(weights, list) else ()
    objective = ClassifyObjective(labels, recipe.classify.label_smoothing, given)
    encoder, predictor = ClassifyEncoder(tokenizer, labels), ClassifyPredictor(tokenizer, labels, recipe)
    return Parts(encoder, objective, ClassifyScorer(labels, objective), predictor)


CLASSIFY = TaskFacts(
    name="classify",
    records=(LabelledRecord,),
    kinds=("masked", "causal"),
    build=_build,
    auto_class=SEQUENCE_CLASSIFIER,
    names_labels=True,
    predicts=LABELS,
    choices=_choices,
    sections=("classify", "annotation"),
    learned="labels texts",
    pipeline="text-classification",
    usual_rows=(500, 5_000),
    sample="tickets.jsonl",
    snippets=("classify", "classify"),
)
