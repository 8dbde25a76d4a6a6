"""Forms of what commands print with `--json`: errors, evaluations, findings, plans and runs.

`output_forms.py` has the rest and says which form a command's output has. Every object has `warnings` and `notes`, too.
A number that is not finite is null.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Form(BaseModel):
    """An object without other keys."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Output(Form):
    """What a command prints."""

    warnings: list[str]
    """What people see as warnings."""
    notes: list[str]
    """What else they are to know."""


class ErrorParts(Form):
    """An error in its three parts."""

    what: str
    why: str
    fix: str
    exit_code: Literal[1, 2, 3, 130]


class Failed(Output):
    """In place of the result, whatever the command."""

    error: ErrorParts


class Estimate(Form):
    """A value with the ends of its 95 % interval."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Figure(Form):
    """A metric of base and tuned model on the same rows."""

    name: str
    base: Estimate
    tuned: Estimate
    difference: Estimate | None = None
    lower_is_better: bool
    is_share: bool
    rows: int


class Answer(Form):
    """The answers of both models to a row."""

    prompt: str
    expected: str
    base: str
    tuned: str
    place: str = ""


class MetricTable(Form):
    """Further metrics of the tuned model, such as those by label."""

    title: str
    columns: list[str]
    rows: list[list[str | float | int | None]]


class General(Form):
    """What the tuned model forgot of texts outside the task."""

    source: str
    tokens: int
    loss: Figure


class SourceFigures(Form):
    """The figures of one of several sources of rows."""

    name: str
    rows: int
    figures: list[Figure]


class EvaluationParts(Form):
    """An evaluation, as in `evaluation.json`."""

    rows: int
    trained_tokens: int
    held_out: str
    """Which rows, in words."""
    headline: str
    """The main metric."""
    figures: list[Figure]
    tables: list[MetricTable]
    answers: list[Answer]
    note: str
    training: list[Figure]
    gap: Estimate | None
    general: General | None
    distinct: int | None
    harness: list[Figure]
    deciding: list[str]
    unscored: int | None
    findings: dict[str, str]
    split: str
    sources: list[SourceFigures]
    """Empty for one source."""
    validation_sources: dict[str, list[float]]
    """The validation loss of each source before training and at the step that is kept."""
    caveat: str
    verdict: str
    verdict_kind: str
    forgotten: str
    by_heart: str


class Evaluated(EvaluationParts, Output):
    """`burnish evaluate`."""


class Place(Form):
    """A line of a file."""

    file: str
    line: int
    seen: str
    """What is wrong there, in a few words."""


class Finding(Form):
    """A defect of the data."""

    name: str
    severity: Literal["blocks", "warns"]
    count: int
    places: list[str]
    """The first ones, as people see them."""
    lines: list[Place]
    """The same, those of them that are lines of a file."""
    what: str
    fix: str


class Token(Form):
    """A token as the model reads it."""

    id: int
    text: str
    is_learned: bool
    is_special: bool


class Passage(Form):
    """A part of a row."""

    name: str
    tokens: list[Token]
    note: str = ""


class TokenRow(Form):
    """A row token by token."""

    place: str
    passages: list[Passage]
    number: int
    of: int


class Checked(Output):
    """`burnish check`."""

    facts: dict[str, str]
    findings: list[Finding]
    rows: list[TokenRow]
    verdict: str
    blocks: bool
    """Whether a finding should prevent training."""
    cleaned: dict[str, Any] | None = None


class Choice(Form):
    """An option that was `auto`."""

    option: str
    value: Any
    reason: str


class Seconds(Form):
    """A time; one that was measured has no bounds."""

    seconds: float
    low: float | None = None
    high: float | None = None
    longest: float | None = None


class MicroBatch(Form):
    """The largest micro-batch of a run, and on what its size depends."""

    context: int
    rows: int
    width: int
    is_packed: bool
    most_tokens: int | None
    epoch_tokens: int
    trained_share: float
    lengths: list[int]


class Planned(Output):
    """`burnish plan`."""

    model: str
    parameters: int
    task: str
    method: str
    choices: list[Choice]
    device: str
    devices: int
    memory: dict[str, int]
    """Bytes at the peak by use."""
    memory_sources: dict[str, str]
    peak: int
    room: int
    offloaded: int
    rule_of_thumb: int
    trained_parameters: int
    trained_in_blocks: int
    micro_batch: MicroBatch | None
    step_tokens: int
    step_flops: int
    flops_per_token: float
    steps: int | None
    step: Seconds | None
    run: Seconds | None
    evaluation: Seconds | None
    tokens_per_second: float | None
    time_source: str | None
    time_measured_at: str | None
    why_no_time: str | None


class PlanTable(Output):
    """`burnish plan --table`."""

    rows: list[dict[str, Any]]


class Kept(Form):
    """Which step's weights are the result, and why."""

    step: int
    last_step: int
    reason: str
    validation: dict[str, Any] | None
    last_validation: dict[str, Any] | None


class RunParts(Form):
    """What a run folder says."""

    name: str
    path: str
    state: Literal["running", "finished", "can be resumed", "no checkpoint yet"]
    writer: str | None
    started: str
    step: int
    total_steps: int | None
    training_loss: float | None
    validation_loss_before: float | None
    validation_loss_best: float | None
    best_step: int | None
    seconds: float | None
    kept: Kept | None
    result: str | None
    recipe: dict[str, Any]
    """See the schema of recipes; sections that the run does not use are left out."""
    manifest: dict[str, Any]


class DamagedRun(Form):
    """A run folder that cannot be read."""

    name: str
    path: str
    state: Literal["damaged"]
    why: str


class Measured(Form):
    """A figure of the plan beside what was measured."""

    what: Literal["tensor bytes", "process bytes", "training seconds", "command seconds"]
    predicted: float | None
    measured: float | None


class Diagnosis(Form):
    """A diagnosis of how the run went."""

    step: int
    name: str
    evidence: str
    advice: str


class RejectedRow(Form):
    """A row that was left out."""

    file: str
    line: int
    reason: str


class Shown(RunParts, Output):
    """`burnish train`, `quickstart`, `resume`, `accept` and `show`."""

    evaluation: EvaluationParts | None = None
    measured: list[Measured]
    diagnoses: list[Diagnosis]
    findings: list[Finding]
    rejected_rows: list[RejectedRow]


class Runs(Output):
    """`burnish runs`."""

    runs: list[RunParts | DamagedRun]
    sweeps: list[dict[str, Any]]
