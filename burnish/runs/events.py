"""The typed events of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""


@dataclass(frozen=True, slots=True)
class Stage(Event):
    """A stage of the work begins, for example `reading data`."""

    name: str


@dataclass(frozen=True, slots=True)
class Note(Event):
    """A sentence of information for the user."""

    text: str


@dataclass(frozen=True, slots=True)
class Warned(Event):
    """A warning for the user, in a sentence."""

    text: str


@dataclass(frozen=True, slots=True)
class Resolved(Event):
    """An `auto` option was given its value."""

    option: str
    value: Any
    reason: str


@dataclass(frozen=True, slots=True)
class DataReady(Event):
    """The rows were read and encoded as examples."""

    shape: str
    task: str
    training_rows: int
    validation_rows: int
    rejected_rows: int
    tokens: int
    """Training tokens of one epoch, without padding."""
    trained_tokens: int
    """Terms of the loss in one epoch: trained tokens, or rows, or pairs."""
    packed_rows: int
    test_rows: int = 0


@dataclass(frozen=True, slots=True)
class DataChecked(Event):
    """The short check of the rows found problems."""

    rows: int
    """Rows that were checked."""
    findings: list[dict[str, Any]]
    """Each with its `name`, `severity`, `count`, `places`, `what` and `fix`; most severe first."""


@dataclass(frozen=True, slots=True)
class ModelReady(Event):
    """The base model is loaded and the method applied."""

    name: str
    method: str
    device: str
    precision: str
    parameters: int
    trained_parameters: int
    base_bytes: int
    """Memory that the base model's weights take."""
    fp32_bytes: int
    """What they would take in fp32."""


@dataclass(frozen=True, slots=True)
class MemoryPlanned(Event):
    """The memory that a training step will need, from a simulation of it."""

    device: str
    method: str
    micro_rows: int
    """Rows of the context length in memory at once (the micro-batch size)."""
    context: int
    checkpointing: bool
    """Whether activations are recomputed in the backward pass."""
    parts: dict[str, int]
    """Bytes of weights, gradients, optimizer, activations, logits and batch at the peak."""
    overheads: dict[str, int]
    """Bytes outside of tensors: the process, libraries, the CUDA context."""
    allocator: int
    """Bytes that the allocator reserves beyond the tensors."""
    room: int
    """Bytes available to the run."""
    room_reason: str


@dataclass(frozen=True, slots=True)
class MemoryBounded(Event):
    """A step needs so little memory that it was not simulated: what its tensors take at most, by formula."""

    device: str
    method: str
    micro_rows: int
    """Rows of the context length in memory at once."""
    context: int
    at_most: int
    """Bytes of tensors."""
    room: int
    """Bytes that the run may take."""
    room_reason: str


@dataclass(frozen=True, slots=True)
class MemoryMeasured(Event):
    """Peak tensor memory of a real step beside the prediction, in bytes."""

    predicted: int
    measured: int


@dataclass(frozen=True, slots=True)
class MemoryPredicted(Event):
    """Peak resident memory of the process from its start to its end, predicted from steps tried on this machine."""

    resident: int
    """Bytes."""
    room: int
    """Bytes available to the process, those in use included."""


@dataclass(frozen=True, slots=True)
class TimePlanned(Event):
    """Predicted time of the command, from steps, validation rows and answers timed on this machine."""

    seconds: float
    """Of training, with its validations and checkpoints."""
    tokens_per_second: float
    """Tokens through the network per second, padding included."""
    so_far: float = 0.0
    """Seconds since the command was given."""
    evaluation: float = 0.0
    """Seconds from the end of the training to the end of the command."""
    others: float = 0.0
    """Share of the processor that other programs used when the steps were timed, 0 to 1."""
    longest: float = 0.0
    """Seconds of training if the run goes on for as long as `train.adapt` allows."""


@dataclass(frozen=True, slots=True)
class TimeMeasured(Event):
    """Training time beside the prediction, in seconds."""

    predicted: float
    measured: float


@dataclass(frozen=True, slots=True)
class CommandMeasured(Event):
    """Time from the command to its report beside the prediction, in seconds."""

    predicted: float
    measured: float


@dataclass(frozen=True, slots=True)
class ResidentMeasured(Event):
    """Peak resident memory of the process beside the prediction, in bytes."""

    predicted: int
    measured: int


@dataclass(frozen=True, slots=True)
class TrainingStarted(Event):
    """The training loop starts."""

    step: int
    """Steps already done, above 0 after a resume."""
    total_steps: int
    epochs: float
    micro_tokens: int | None = None
    """Token limit of a micro-batch of several rows, padding included. It decides the order of summation in a step, so a
    resumed run must use the same value."""


@dataclass(frozen=True, slots=True)
class StepDone(Event):
    """One optimizer step."""

    step: int
    total_steps: int
    epoch: float
    loss: float
    """Mean loss per trained token, row or pair, in nats."""
    learning_rate: float
    gradient_norm: float
    tokens: int
    """Tokens processed in this step, without padding."""
    trained_tokens: int
    seconds: float
    seconds_left: float
    """Estimated time of the remaining steps, validations and checkpoints. Early stopping cannot be foreseen."""


@dataclass(frozen=True, slots=True)
class MicroBatchHalved(Event):
    """Memory ran out; the same rows are processed again in smaller micro-batches."""

    step: int
    """The step that ran out of memory, from 1; in a validation, the steps done before it."""
    held_out: bool
    """Whether it happened in a validation."""
    tokens_before: int
    """Tokens of the largest micro-batch, padding included."""
    tokens_after: int
    """Token limit of a micro-batch from now on; a single row may have more."""
    batches_before: int
    """Micro-batches of the step, or of the validation."""
    batches_after: int


@dataclass(frozen=True, slots=True)
class Validated(Event):
    """A validation is done."""

    step: int
    loss: float
    figures: dict[str, float]
    """The task's own metrics by name: `accuracy`, `entity F1`, `perplexity` …"""
    is_best: bool
    """Whether these weights are the result if the run ends now: they are not worse than the best."""
    seconds: float
    changes: dict[str, list[float]] = field(default_factory=dict)
    """This loss minus another on the same rows, as `[difference, low, high]` with the ends of its 95 % interval:
    against the `base`, the `lowest` before, and `chance` (always predicting the label frequencies). Empty with too few
    rows."""
    headline: str = "loss"
    """Name of the task's main metric: `loss`, or one of `figures`."""
    is_share: bool = False
    """Whether the main metric is a number from 0 to 1, shown in percent."""
    sources: dict[str, float] = field(default_factory=dict)
    """The loss on the rows of each of several sources of data."""


@dataclass(frozen=True, slots=True)
class Sampled(Event):
    """What the model answers to a few validation rows at this point of the run (`evaluate.samples`)."""

    step: int
    """Steps done; 0 for the base model."""
    answers: list[dict[str, str]]
    """Each with its `prompt`, `expected` and `given` text and its `place`; long texts are cut."""


@dataclass(frozen=True, slots=True)
class Diagnosed(Event):
    """A diagnosis of how the run is going. Each name is reported once per run."""

    step: int
    name: str
    """`learning`, `stuck`, `diverging`, `recovered` (from either), `overfitting`, `underfitting` or
    `too-few-evaluations`."""
    evidence: str
    """The numbers that show it."""
    advice: str
    """What to change, with the option; empty if nothing needs to be."""


@dataclass(frozen=True, slots=True)
class Spiked(Event):
    """A step whose loss or gradient norm is an outlier."""

    step: int
    what: str
    """`loss` or `gradient norm`."""
    value: float
    usual: float
    """Median of the preceding steps."""
    rows: list[str]
    """Locations of all rows of the step, as `file:line`."""


@dataclass(frozen=True, slots=True)
class CheckpointSaved(Event):
    """A checkpoint is completely written to disk."""

    step: int
    path: str
    bytes: int


@dataclass(frozen=True, slots=True)
class StoppedEarly(Event):
    """Training ended before its last step."""

    step: int
    reason: str


@dataclass(frozen=True, slots=True)
class Adapted(Event):
    """The run begins another learning-rate schedule from the current weights (`train.adapt`)."""

    step: int
    """Steps done before it."""
    total_steps: int
    """Of the run from now on."""
    factor: float
    """Times the learning rate of the recipe."""
    learning_rate: float
    """Peak of the schedule."""
    reason: str


@dataclass(frozen=True, slots=True)
class Progressed(Event):
    """Progress of a long piece of work other than training."""

    what: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Finished(Event):
    """The result is written."""

    best_step: int
    loss_before: float | None
    loss_after: float | None
    seconds: float
    result: str
    reason: str = ""
    """Why the weights of `best_step` are the result, as the end of a sentence that begins with "because"."""


@dataclass(frozen=True, slots=True)
class Ranked(Event):
    """A sweep has ranked this run among its others, by the validation rows."""

    sweep: str
    """Name of the sweep."""
    rank: int
    """Place of the run's setting, from 1."""
    settings: int
    """Number of settings."""
    is_chosen: bool
    """Whether the sweep chose this run, which alone is evaluated on the test rows."""


Listener = Callable[[Event], None]


def as_dict(event: Event) -> dict[str, Any]:
    """The event as JSON-ready values, with its kind first."""
    return {"event": type(event).__name__, **asdict(event)}


def event_of(values: Mapping[str, Any]) -> Event:
    """The event of JSON-ready values, as `as_dict` makes them, with or without a time.

    Raises:
        KeyError: there is no event of this kind.
    """
    kinds = {kind.__name__: kind for kind in Event.__subclasses__()}
    return kinds[values["event"]](**{name: value for name, value in values.items() if name not in ("event", "time")})
