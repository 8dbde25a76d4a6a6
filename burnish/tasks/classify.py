"""Task `classify`: a text, or a pair of texts, gets a label, or any number of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy
import torch
from torch.nn import functional

from burnish.data.batching.batches import Batch
from burnish.data.labels.rows import describe_labels, find_labels, has_label_lists, in_order
from burnish.data.rows.columns import ColumnMap, as_text, quoted
from burnish.data.rows.patterns import BY_NAME, pick
from burnish.data.rows.records import LabelledRecord
from burnish.data.rows.row import RowError
from burnish.data.tokens.text_pairs import PairFormat, read_inputs
from burnish.errors import DataError, InputError, RecipeError
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
from burnish.tasks.defaults import TaskDefaults
from burnish.tasks.task import Choice, EncodedRow, Judged, Outcome

_NO_LABEL = "no label"
_PAIR = "labelled-pair"


@dataclass(frozen=True, slots=True)
class LabelledExample:
    """A row as token ids, with the indices of its labels."""

    input_ids: list[int]
    token_types: list[int] | None
    labels: tuple[int, ...]
    texts: tuple[str, ...]
    """For showing."""
    place: str

    @property
    def num_tokens(self) -> int:
        """Tokens read."""
        return len(self.input_ids)

    @property
    def num_trained(self) -> int:
        """A row is one term of the loss, however long it is."""
        return 1


class ClassifyTask(TaskDefaults):
    """Learns to label texts."""

    name: ClassVar[str] = "classify"
    snippets: ClassVar[tuple[str, str]] = ("classify", "classify")
    learned: ClassVar[str] = "labels texts"
    pipeline: ClassVar[str] = "text-classification"
    usual_rows: ClassVar[tuple[int, int] | None] = (500, 5_000)
    sections: ClassVar[tuple[str, ...]] = ("classify",)
    kinds: ClassVar[tuple[str, ...]] = ("masked", "causal")
    step_rows: ClassVar[int] = 32
    cut_from: ClassVar[str] = "from the end of the longer text"

    def __init__(self, tokenizer: Any, recipe: Recipe) -> None:
        self._tokenizer = tokenizer
        self._format = PairFormat(tokenizer)
        self._labels = [] if recipe.data.labels == AUTO else list(recipe.data.labels)
        self._numbers = {label: number for number, label in enumerate(self._labels)}
        self._is_multi = recipe.classify.multi_label is True
        self._context = recipe.data.context
        self._shape = BY_NAME[_PAIR if recipe.data.shape == _PAIR else "labelled-text"].narrowed(recipe.data.columns)
        self._columns = ColumnMap(recipe.data.columns)

    @classmethod
    def choices(cls, records: Sequence[LabelledRecord], recipe: Recipe) -> list[Choice]:
        """Whether rows have several labels, and which labels there are.

        Raises:
            DataError: the labels are all the same, or look like free text, or are lists in some rows only.
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
            _check_labels(labels, bool(is_multi), records)
        return found

    @property
    def headline(self) -> str:
        """Accuracy; micro-F1 where rows can have several labels."""
        return "micro-F1" if self._is_multi else "accuracy"

    @property
    def head(self) -> Head:
        """One output for each label, whatever the base model was trained to tell apart before."""
        names = dict(enumerate(self._labels))
        kind = "multi_label_classification" if self._is_multi else "single_label_classification"
        config = {
            "num_labels": len(names),
            "id2label": names,
            "label2id": dict(self._numbers),
            "problem_type": kind,
            "ignore_mismatched_sizes": True,
        }
        return Head("AutoModelForSequenceClassification", "SEQ_CLS", config)

    def encode(self, record: LabelledRecord, context: int) -> EncodedRow:
        """One example; of a row that is too long the end is cut, of a pair the longer text first.

        Raises:
            RowError: a label is not among those of the training rows, or there is not one where one is due.
        """
        unknown = [label for label in record.labels if label not in self._numbers]
        if unknown:
            raise RowError(f"the label `{unknown[0]}` stands in no training row, so it cannot be learned")
        if not self._is_multi and len(record.labels) != 1:
            raise RowError(f"the row has {len(record.labels)} labels where one is expected")
        read = self._format.encode(record.texts, context)
        labels = tuple(self._numbers[label] for label in record.labels)
        example = LabelledExample(read.input_ids, read.token_types, labels, record.texts, record.place)
        return EncodedRow([example], read.truncated)

    def collate(
        self, examples: Sequence[LabelledExample], rows: Sequence[Sequence[int]], packed: bool, epoch: int | None
    ) -> Batch:
        """`targets` are label indices `[rows]`, or `[rows, labels]` of 0 and 1 where there can be several."""
        chosen = tuple(index for row in rows for index in row)
        read = [examples[index] for index in chosen]
        if self._is_multi:
            targets = torch.from_numpy(self._gold_matrix(read).astype(numpy.float32))
        else:
            targets = torch.tensor([example.labels[0] for example in read])
        num_tokens = sum(example.num_tokens for example in read)
        inputs = read_inputs(read, self._tokenizer.pad_token_id or 0)
        return Batch(inputs, targets, chosen, torch.tensor(chosen), num_tokens)

    def losses(self, network: Any, batch: Batch) -> torch.Tensor:
        """`[rows]` fp32: cross-entropy, or the mean over the labels of the binary cross-entropy."""
        return self._losses(row_logits(network, batch.inputs), batch)

    def judge(self, network: Any, batch: Batch) -> Outcome:
        """The losses, and for each row the probabilities `[labels]` of its labels."""
        logits = row_logits(network, batch.inputs)
        return Outcome(self._losses(logits, batch), list(self._probabilities(logits)))

    def measures(self, judged: Judged) -> list[Measure]:
        """Accuracy and macro-F1, or micro-F1, macro-F1 and exact match where there can be several labels."""
        if self._is_multi:
            return multi_label_measures(self._gold_matrix(judged.examples), self._predicted_matrix(judged.outputs))
        return single_label_measures(_gold(judged), _predicted(judged), len(self._labels))

    def chance(self, judged: Judged) -> Measure:
        """The loss under the frequencies of the labels among these rows."""
        return chance_loss(self._gold_matrix(judged.examples), self._is_multi)

    def tables(self, judged: Judged) -> list[MetricTable]:
        """Figures of every label, and which were taken for which."""
        if self._is_multi:
            gold, predicted = self._gold_matrix(judged.examples), self._predicted_matrix(judged.outputs)
            return [per_class_table(label_counts(gold, predicted), self._labels)]
        gold, predicted = _gold(judged), _predicted(judged)
        counts = class_counts(gold, predicted, len(self._labels))
        return [per_class_table(counts, self._labels), confusion_table(gold, predicted, self._labels)]

    def remark(self, judged: Judged) -> str:
        """How far one gets by always giving the commonest label."""
        shares = self._gold_matrix(judged.examples).mean(axis=0)
        label, share = self._labels[int(shares.argmax())], 100 * float(shares.max())
        if self._is_multi:
            return f"The commonest label, `{label}`, is right for {share:.1f} % of these rows."
        return f"Always answering the commonest label, `{label}`, would be right for {share:.1f} % of these rows."

    def shown(self, example: LabelledExample, output: numpy.ndarray) -> tuple[str, str, str]:
        """The text, its label, and the label that was found with its probability."""
        gold = ", ".join(self._labels[number] for number in example.labels) or _NO_LABEL
        return "\n".join(example.texts), gold, self._in_words(output)

    def respond(self, network: Any, prompt: str) -> str:
        """The label of a user's text, or of a row as a JSON object, with its probability.

        Raises:
            InputError: the run labels pairs, and the two texts are not there.
        """
        read = self._format.encode(self._texts_of(prompt), _most_tokens(self._context))
        example = LabelledExample(read.input_ids, read.token_types, (), (), "")
        device = next(network.parameters()).device
        inputs = {name: tensor.to(device) for name, tensor in read_inputs([example], 0).items()}
        return self._in_words(self._probabilities(row_logits(network, inputs))[0])

    def _losses(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        if self._is_multi:
            return functional.binary_cross_entropy_with_logits(logits.float(), batch.targets, reduction="none").mean(-1)
        return functional.cross_entropy(logits.float(), batch.targets, reduction="none")

    def _probabilities(self, logits: torch.Tensor) -> numpy.ndarray:
        """`[rows, labels]` fp32."""
        logits = logits.detach().float()
        return (logits.sigmoid() if self._is_multi else logits.softmax(-1)).cpu().numpy()

    def _gold_matrix(self, examples: Sequence[LabelledExample]) -> numpy.ndarray:
        """`[rows, labels]` bool."""
        matrix = numpy.zeros((len(examples), len(self._labels)), dtype=bool)
        for row, example in enumerate(examples):
            matrix[row, list(example.labels)] = True
        return matrix

    def _predicted_matrix(self, outputs: Sequence[numpy.ndarray]) -> numpy.ndarray:
        """`[rows, labels]` bool: labels that are more likely there than not."""
        return numpy.stack(list(outputs)) > 0.5 if outputs else self._gold_matrix([])

    def _in_words(self, probabilities: numpy.ndarray) -> str:
        order = numpy.argsort(-probabilities, kind="stable").tolist()
        given = [number for number in order if probabilities[number] > 0.5] if self._is_multi else order[:1]
        if not given:
            return f"{_NO_LABEL} (nearest: {self._labels[order[0]]} {probabilities[order[0]]:.2f})"
        return ", ".join(f"{self._labels[number]} ({probabilities[number]:.2f})" for number in given)

    def _texts_of(self, prompt: str) -> tuple[str, ...]:
        """A user's words as the texts of a row."""
        fields = self._shape.required[:-1]
        values = self._columns.rename(_json_object(prompt))
        found = [pick(values, field) for field in fields]
        try:
            texts = tuple(text for text in (as_text(value, name) for name, value in found) if text and text.strip())
        except RowError as error:
            raise InputError("the row cannot be read", f"{error}.") from error
        if len(texts) == len(fields):
            return texts
        if len(fields) == 1:
            return (prompt,)
        first, second = (name for name, _ in found)
        raise InputError(
            "this run labels pairs of texts, and there are not two",
            "A pair is written as a JSON object with a column for each text.",
            f'For example: \'{{"{first}": "...", "{second}": "..."}}\'',
        )


def _check_labels(labels: Sequence[str], is_multi: bool, records: Sequence[LabelledRecord]) -> None:
    """Labels that were given must be of use. Raises RecipeError or DataError where they are not."""
    if len(set(labels)) < len(labels) or len(labels) < (1 if is_multi else 2):
        raise RecipeError(
            "`data.labels` names too few labels, or one twice",
            f"It is {list(labels)}.",
            "Name every label once, or leave it at `auto`",
        )
    found = {label for record in records for label in record.labels}
    if found and found.isdisjoint(labels):
        raise DataError(
            "the rows have none of the labels that this model tells apart",
            f"They have {quoted(in_order(found))}; the model knows {quoted(labels)}.",
            "Name rows with those labels, or spell them in the same way",
        )


def _json_object(prompt: str) -> dict[str, Any]:
    """The object that a prompt spells; empty where it is plain text."""
    if not prompt.lstrip().startswith("{"):
        return {}
    try:
        values = json.loads(prompt)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _most_tokens(context: int | str) -> int:
    return 2**31 if context == AUTO else int(context)


def _gold(judged: Judged) -> numpy.ndarray:
    return numpy.array([example.labels[0] for example in judged.examples], dtype=numpy.int64)


def _predicted(judged: Judged) -> numpy.ndarray:
    return numpy.array([int(output.argmax()) for output in judged.outputs], dtype=numpy.int64)
