"""Task `score`: predicts a number for a text or a pair of texts."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import torch

from burnish.data.batching.batches import Batch
from burnish.data.labels.rows import read_texts, texts_of
from burnish.data.rows.patterns import BY_NAME
from burnish.data.rows.records import ScoredRecord
from burnish.data.rows.row import ColumnMap, EncodedRow
from burnish.data.tokens.text_pairs import PairFormat, read_inputs
from burnish.errors import DataError
from burnish.metrics.measure import Measure, value
from burnish.metrics.scores import mean_loss, score_measures
from burnish.models.heads import SEQUENCE_CLASSIFIER, Head, row_logits, single_outputs
from burnish.models.sharded import device_of
from burnish.recipe.schema import AUTO, Recipe
from burnish.tasks.defaults import EncoderDefaults, ObjectiveDefaults, ScorerDefaults
from burnish.tasks.evaluated import BatchOutcome, EvaluatedExamples
from burnish.tasks.predictions import NUMBER, TextsPredictor
from burnish.tasks.task import Choice, Parts, Segment, TaskFacts

_PAIR, _TEXT = "scored-pair", "scored-text"
_FAR = 20
"""Standard deviations from 0 beyond which the rounding of bf16 and fp16 is large beside the differences of scores."""


@dataclass(frozen=True, slots=True)
class ScoredExample:
    """A row as token ids, with its score."""

    input_ids: list[int]
    token_types: list[int] | None
    score: float
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
class Spread:
    """Where the training scores lie."""

    mean: float
    scale: float
    """Their standard deviation: the unit of the loss."""


class ScoreEncoder(EncoderDefaults):
    """Encodes texts, or pairs of texts, with their scores."""

    cut_from = "from the end of the longer text"

    def __init__(self, tokenizer: Any, spread: Spread) -> None:
        self._tokenizer = tokenizer
        self._format = PairFormat(tokenizer)
        self._spread = spread

    @property
    def notes(self) -> list[str]:
        """A warning where scores are far from 0 for their spread."""
        mean, scale = self._spread.mean, self._spread.scale
        if abs(mean) <= _FAR * scale:
            return []
        return [
            f"The scores lie far from 0 for their spread ({mean:g} ± {scale:g}), which costs precision. Subtract a "
            "constant from them, such as their mean, and add it to what the model predicts."
        ]

    def encode(self, record: ScoredRecord, context: int) -> EncodedRow:
        """One example. A row that is too long is cut at the end; of a pair, the longer text is cut first."""
        read = self._format.encode(record.texts, context)
        example = ScoredExample(read.input_ids, read.token_types, record.score, record.texts, record.place)
        return EncodedRow([example], read.truncated)

    def collate(
        self, examples: Sequence[ScoredExample], rows: Sequence[Sequence[int]], packed: bool, epoch: int | None
    ) -> Batch:
        """`targets` are the scores, `[rows]` fp32."""
        chosen = tuple(index for row in rows for index in row)
        read = [examples[index] for index in chosen]
        targets = torch.tensor([example.score for example in read], dtype=torch.float32)
        inputs = read_inputs(read, self._tokenizer.pad_token_id or 0)
        return Batch(inputs, targets, chosen, torch.tensor(chosen), sum(example.num_tokens for example in read))

    def segments(self, example: ScoredExample) -> list[Segment]:
        """The text, with its score as a note."""
        return [Segment("", example.input_ids, [False] * len(example.input_ids), f"score: {example.score:g}")]


class ScoreObjective(ObjectiveDefaults):
    """Squared error: each row is one term.

    The network gives the scores in their own unit, so that what is saved predicts them without Burnish; the loss and
    the steps of the output layer are in units of the training scores' standard deviation.
    """

    step_rows = 32

    def __init__(self, spread: Spread) -> None:
        self._scale = spread.scale
        config = {"num_labels": 1, "problem_type": "regression", "ignore_mismatched_sizes": True}
        self.head = Head(SEQUENCE_CLASSIFIER, "SEQ_CLS", config, spread.mean)

    def units(self, network: Any) -> dict[str, float]:
        """The output layer's weights have the unit of the scores."""
        names = single_outputs(network)
        return {f"{name}.{part}": self._scale for name in names for part in ("weight", "bias")}

    def losses(self, network: Any, batch: Batch) -> torch.Tensor:
        """`[rows]` fp32: squared error in units of the variance of the training scores, so that 1 is about the loss of
        always predicting their mean."""
        return self.losses_of(_scores(network, batch.inputs), batch)

    def losses_of(self, scores: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The losses from scores `[rows]`."""
        return ((scores - batch.targets) / self._scale).square()


class ScoreScorer(ScorerDefaults):
    """Measures how close predicted scores are, and how well they order the rows.

    The mean absolute error ranks checkpoints: correlations ignore a constant offset and a wrong unit, so the best
    checkpoint by them may be far off.
    """

    headline = "MAE"

    def __init__(self, objective: ScoreObjective, spread: Spread) -> None:
        self._objective = objective
        self._spread = spread

    @property
    def headline_is_share(self) -> bool:
        """It is an error in the unit of the scores."""
        return False

    def evaluate_batch(self, network: Any, batch: Batch) -> BatchOutcome:
        """The losses, and the predicted score of each row."""
        scores = _scores(network, batch.inputs)
        return BatchOutcome(self._objective.losses_of(scores, batch), scores.tolist())

    def measures(self, evaluated: EvaluatedExamples) -> list[Measure]:
        """MAE, Pearson's and Spearman's correlation."""
        return score_measures(_gold(evaluated), [float(output) for output in evaluated.outputs])

    def chance_loss(self, evaluated: EvaluatedExamples) -> Measure:
        """The loss of predicting the mean of these rows."""
        return mean_loss(_gold(evaluated), self._spread.scale)

    def remark(self, evaluated: EvaluatedExamples) -> str:
        """The error of always predicting the mean."""
        gold = _gold(evaluated)
        if not len(gold):
            return ""
        error = value(score_measures(gold, numpy.full(len(gold), self._spread.mean))[0])
        return (
            f"Always predicting the mean of the training scores, {self._spread.mean:.3f}, would have an MAE of "
            f"{error:.3f} and no correlation."
        )

    def describe(self, example: ScoredExample, output: float) -> tuple[str, str, str]:
        """The text, its score, and the predicted one."""
        return "\n".join(example.texts), f"{example.score:g}", f"{output:.3f}"


class ScorePredictor(TextsPredictor):
    """Predicts the score of a text."""

    def __init__(self, tokenizer: Any, recipe: Recipe) -> None:
        self._format = PairFormat(tokenizer)
        self._context = sys.maxsize if recipe.data.context == AUTO else int(recipe.data.context)
        shape = _PAIR if recipe.data.shape == _PAIR else _TEXT
        self._pattern = BY_NAME[shape].narrowed(recipe.data.columns)
        self._columns = ColumnMap(recipe.data.columns)
        self._pad_id = tokenizer.pad_token_id or 0

    @property
    def fields(self) -> tuple[str, ...]:
        """A text, or a pair."""
        return ("text_1", "text_2") if len(self._pattern.required) > 2 else ("input",)

    def predict(self, network: Any, rows: Sequence[Sequence[str]]) -> list[float]:
        """The score of each row."""
        device = device_of(network)
        read = [self._format.encode(texts, self._context) for texts in rows]
        inputs = {name: tensor.to(device) for name, tensor in read_inputs(read, self._pad_id).items()}
        return _scores(network, inputs).tolist()

    def texts_of(self, values: Mapping[str, Any]) -> tuple[str, ...]:
        """A text, or a pair."""
        return texts_of(values, self._pattern)

    def num_left_out(self, texts: Sequence[str]) -> int:
        """Tokens at the end of the longer text."""
        return self._format.encode(texts, self._context).truncated

    def respond(self, network: Any, prompt: str) -> str:
        """The score of a user's text, or of a row as a JSON object.

        Raises:
            InputError: the run scores pairs, and the prompt has no two texts.
        """
        (score,) = self.predict(network, [read_texts(prompt, self._pattern, self._columns)])
        return f"{score:.3f}"

    def num_cut(self, prompt: str) -> int:
        """Tokens at the end of the longer text."""
        return self.num_left_out(read_texts(prompt, self._pattern, self._columns))


def _scores(network: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """`[rows]` fp32: the predicted scores."""
    return row_logits(network, inputs).float()[:, 0]


def _gold(evaluated: EvaluatedExamples) -> numpy.ndarray:
    return numpy.array([example.score for example in evaluated.examples], dtype=numpy.float64)


def _choices(records: Sequence[ScoredRecord], recipe: Recipe) -> list[Choice]:
    """Mean and spread of the training scores.

    Raises:
        DataError: all scores are the same, so there is nothing to learn.
    """
    scores = numpy.array([record.score for record in records], dtype=numpy.float64)
    scale = float(scores.std())
    if recipe.score.scale == AUTO and not scale > 0:
        raise DataError(
            f"every training row has the same score: {scores[0]:g}",
            "There is nothing to learn from it.",
            "Add rows with other scores, or set the column with `--set data.columns.score=COLUMN`",
        )
    return [
        ("score.mean", float(f"{scores.mean():.6g}"), f"that of {len(scores):,} training scores"),
        ("score.scale", float(f"{scale:.6g}"), "their standard deviation"),
    ]


def _build(tokenizer: Any, recipe: Recipe) -> Parts:
    mean, scale = recipe.score.mean, recipe.score.scale
    spread = Spread(0.0 if mean == AUTO else float(mean), 1.0 if scale == AUTO else float(scale))
    objective = ScoreObjective(spread)
    scorer = ScoreScorer(objective, spread)
    return Parts(ScoreEncoder(tokenizer, spread), objective, scorer, ScorePredictor(tokenizer, recipe))


SCORE = TaskFacts(
    name="score",
    records=(ScoredRecord,),
    kinds=("masked", "causal"),
    build=_build,
    auto_class=SEQUENCE_CLASSIFIER,
    choices=_choices,
    sections=("score", "annotation"),
    predicts=NUMBER,
    learned="predicts a number for a text",
    pipeline="text-classification",
    usual_rows=(500, 5_000),
    sample="reviews.jsonl",
    snippets=("score", "score"),
)
