"""Task `classify`: assigns a label, or any number of them, to a text or a pair of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from torch.nn import functional

from burnish.data.batching.batches import Batch
from burnish.data.labels.rows import check_labels, describe_labels, find_labels, has_label_lists, read_texts
from burnish.data.rows.records import LabelledRecord
from burnish.data.rows.row import ColumnMap, RowError
from burnish.data.rows.shapes import BY_NAME
from burnish.data.tokens.text_pairs import PairFormat, ReadTokens, read_inputs
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
from burnish.models.heads import Head, row_logits
from burnish.recipe.schema import AUTO, Recipe
from burnish.tasks.defaults import EncoderDefaults, ObjectiveDefaults, PredictorDefaults, ScorerDefaults
from burnish.tasks.evaluated import BatchOutcome, EvaluatedExamples
from burnish.tasks.task import Choice, EncodedRow, Parts, Segment, TaskFacts

_NO_LABEL = "no label"
_AUTO_CLASS = "AutoModelForSequenceClassification"
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

    @property
    def num_tokens(self) -> int:
        """Input tokens."""
        return len(self.input_ids)

    @property
    def num_trained(self) -> int:
        """Each row is one term of the loss, whatever its length."""
        return 1


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of a run, in the order of the model's outputs."""

    names: list[str]
    is_multi: bool
    """Whether a row can have several labels, or none."""

    def gold(self, examples: Sequence[LabelledExample]) -> numpy.ndarray:
        """`[rows, labels]` bool."""
        matrix = numpy.zeros((len(examples), len(self.names)), dtype=bool)
        for row, example in enumerate(examples):
            matrix[row, list(example.labels)] = True
        return matrix

    def probabilities(self, logits: torch.Tensor) -> numpy.ndarray:
        """`[rows, labels]` fp32."""
        logits = logits.detach().float()
        return (logits.sigmoid() if self.is_multi else logits.softmax(-1)).cpu().numpy()

    def in_words(self, probabilities: numpy.ndarray) -> str:
        """The label, or all labels with a probability above 0.5, with their probabilities."""
        order = numpy.argsort(-probabilities, kind="stable").tolist()
        given = [number for number in order if probabilities[number] > 0.5] if self.is_multi else order[:1]
        if not given:
            return f"{_NO_LABEL} (nearest: {self.names[order[0]]} {probabilities[order[0]]:.2f})"
        return ", ".join(f"{self.names[number]} ({probabilities[number]:.2f})" for number in given)


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
            RowError: a label is not in the training rows, or the row does not have exactly one although it should.
        """
        unknown = [label for label in record.labels if label not in self._numbers]
        if unknown:
            raise RowError(f"the label `{unknown[0]}` is in no training row, so it cannot be learned")
        if not self._labels.is_multi and len(record.labels) != 1:
            raise RowError(f"the row has {len(record.labels)} labels, but one is expected")
        read = self._format.encode(record.texts, context)
        labels = tuple(self._numbers[label] for label in record.labels)
        example = LabelledExample(read.input_ids, read.token_types, labels, record.texts, record.place)
        return EncodedRow([example], read.truncated)

    def collate(
        self, examples: Sequence[LabelledExample], rows: Sequence[Sequence[int]], packed: bool, epoch: int | None
    ) -> Batch:
        """`targets` are label indices `[rows]`, or `[rows, labels]` of 0 and 1 if there can be several."""
        chosen = tuple(index for row in rows for index in row)
        read = [examples[index] for index in chosen]
        if self._labels.is_multi:
            targets = torch.from_numpy(self._labels.gold(read).astype(numpy.float32))
        else:
            targets = torch.tensor([example.labels[0] for example in read])
        num_tokens = sum(example.num_tokens for example in read)
        inputs = read_inputs(read, self._tokenizer.pad_token_id or 0)
        return Batch(inputs, targets, chosen, torch.tensor(chosen), num_tokens)

    def segments(self, example: LabelledExample) -> list[Segment]:
        """The text, with its label as a note."""
        named = ", ".join(self._labels.names[number] for number in example.labels) or "none"
        return [Segment("", example.input_ids, [False] * len(example.input_ids), f"label: {named}")]


class ClassifyObjective(ObjectiveDefaults):
    """Classification loss: each row is one term."""

    step_rows = 32

    def __init__(self, labels: Labels) -> None:
        self._is_multi = labels.is_multi
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
        self.head = Head(_AUTO_CLASS, "SEQ_CLS", config)

    def losses(self, network: Any, batch: Batch) -> torch.Tensor:
        """`[rows]` fp32: cross-entropy, or the mean over the labels of the binary cross-entropy."""
        return self.losses_of(row_logits(network, batch.inputs), batch)

    def losses_of(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The losses from logits `[rows, labels]`."""
        if self._is_multi:
            return functional.binary_cross_entropy_with_logits(logits.float(), batch.targets, reduction="none").mean(-1)
        return functional.cross_entropy(logits.float(), batch.targets, reduction="none")


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
        if self._labels.is_multi:
            return multi_label_measures(
                self._labels.gold(evaluated.examples), self._predicted_matrix(evaluated.outputs)
            )
        return single_label_measures(_gold(evaluated), _predicted(evaluated), len(self._labels.names))

    def chance_loss(self, evaluated: EvaluatedExamples) -> Measure:
        """The loss of predicting the label frequencies of these rows."""
        return chance_loss(self._labels.gold(evaluated.examples), self._labels.is_multi)

    def tables(self, evaluated: EvaluatedExamples) -> list[MetricTable]:
        """Metrics of each label, and the confusion matrix."""
        if self._labels.is_multi:
            gold, predicted = self._labels.gold(evaluated.examples), self._predicted_matrix(evaluated.outputs)
            return [per_class_table(label_counts(gold, predicted), self._labels.names)]
        gold, predicted = _gold(evaluated), _predicted(evaluated)
        counts = class_counts(gold, predicted, len(self._labels.names))
        return [per_class_table(counts, self._labels.names), confusion_table(gold, predicted, self._labels.names)]

    def remark(self, evaluated: EvaluatedExamples) -> str:
        """The share that is right when always predicting the most common label."""
        shares = self._labels.gold(evaluated.examples).mean(axis=0)
        label, share = self._labels.names[int(shares.argmax())], 100 * float(shares.max())
        if self._labels.is_multi:
            return f"The most common label, `{label}`, is right for {share:.1f} % of these rows."
        return f"Always answering the most common label, `{label}`, would be right for {share:.1f} % of these rows."

    def describe(self, example: LabelledExample, output: numpy.ndarray) -> tuple[str, str, str]:
        """The text, its label, and the predicted label with its probability."""
        gold = ", ".join(self._labels.names[number] for number in example.labels) or _NO_LABEL
        return "\n".join(example.texts), gold, self._labels.in_words(output)

    def _predicted_matrix(self, outputs: Sequence[numpy.ndarray]) -> numpy.ndarray:
        """`[rows, labels]` bool: labels with a probability above 0.5."""
        return numpy.stack(list(outputs)) > 0.5 if outputs else self._labels.gold([])


class ClassifyPredictor(PredictorDefaults):
    """Predicts the label of a text, with its probability."""

    def __init__(self, tokenizer: Any, labels: Labels, recipe: Recipe) -> None:
        self._format = PairFormat(tokenizer)
        self._labels = labels
        self._context = recipe.data.context
        self._pattern = BY_NAME[_PAIR if recipe.data.shape == _PAIR else "labelled-text"].narrowed(recipe.data.columns)
        self._columns = ColumnMap(recipe.data.columns)

    def respond(self, network: Any, prompt: str) -> str:
        """The label of a user's text, or of a row as a JSON object, with its probability.

        Raises:
            InputError: the run labels pairs, and the prompt has no two texts.
        """
        read = self._read(prompt)
        example = LabelledExample(read.input_ids, read.token_types, (), (), "")
        device = next(network.parameters()).device
        inputs = {name: tensor.to(device) for name, tensor in read_inputs([example], 0).items()}
        return self._labels.in_words(self._labels.probabilities(row_logits(network, inputs))[0])

    def num_cut(self, prompt: str) -> int:
        """Tokens at the end of the longer text."""
        return self._read(prompt).truncated

    def _read(self, prompt: str) -> ReadTokens:
        return self._format.encode(read_texts(prompt, self._pattern, self._columns), _max_tokens(self._context))


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
    return found


def _max_tokens(context: int | str) -> int:
    return 2**31 if context == AUTO else int(context)


def _gold(evaluated: EvaluatedExamples) -> numpy.ndarray:
    return numpy.array([example.labels[0] for example in evaluated.examples], dtype=numpy.int64)


def _predicted(evaluated: EvaluatedExamples) -> numpy.ndarray:
    return numpy.array([int(output.argmax()) for output in evaluated.outputs], dtype=numpy.int64)


def _build(tokenizer: Any, recipe: Recipe) -> Parts:
    names = [] if recipe.data.labels == AUTO else list(recipe.data.labels)
    labels = Labels(names, recipe.classify.multi_label is True)
    objective = ClassifyObjective(labels)
    encoder, predictor = ClassifyEncoder(tokenizer, labels), ClassifyPredictor(tokenizer, labels, recipe)
    return Parts(encoder, objective, ClassifyScorer(labels, objective), predictor)


CLASSIFY = TaskFacts(
    name="classify",
    records=(LabelledRecord,),
    kinds=("masked", "causal"),
    build=_build,
    auto_class=_AUTO_CLASS,
    names_labels=True,
    choices=_choices,
    sections=("classify",),
    learned="labels texts",
    pipeline="text-classification",
    usual_rows=(500, 5_000),
    sample="tickets.jsonl",
    snippets=("classify", "classify"),
)
