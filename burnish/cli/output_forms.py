"""Which form the output of each command has with `--json`; `docs/schemas` is written from these."""

from __future__ import annotations

from typing import Any, Literal

from burnish.cli.result_forms import Checked, Evaluated, EvaluationParts, Form, Output, Planned, PlanTable, Runs, Shown


class Reported(Output):
    """`burnish report`."""

    report: str


class Ejected(Output):
    """`burnish eject`."""

    script: str
    rows: str


class Answered(Form):
    """A prompt and its answer; of a model that does not generate also what it says, value by value."""

    prompt: str
    answer: str
    label: str | None = None
    labels: list[str] | None = None
    probability: float | None = None
    probabilities: dict[str, float] | None = None
    score: float | None = None
    begin: int | None = None
    end: int | None = None
    text: str | None = None
    entities: list[dict[str, Any]] | None = None
    masks: list[list[dict[str, Any]]] | None = None
    tokens_left_out: int | None = None


class Generated(Output):
    """`burnish generate`."""

    run: str
    base: bool
    answers: list[Answered]


class Chatted(Output):
    """`burnish chat`."""

    run: str
    base: bool
    messages: list[dict[str, str]]


class Predicted(Output):
    """`burnish predict`; the predictions are in its file."""

    run: str
    path: str
    rows: int
    failed: int
    cut: int
    resumed_rows: int


class Distance(Form):
    """How far two models' logits are from each other."""

    largest: float
    mean: float
    same_choice: float


class Merged(Output):
    """`burnish merge`."""

    run: str
    base: str
    method: str
    precision: str
    rows: int
    positions: int
    merged: Distance
    tolerance: dict[str, Any]
    learned: Distance
    quantized: Distance | None
    folder: str
    remarks: list[str]


class Exported(Output):
    """`burnish export`."""

    run: str
    to: str
    folder: str
    files: list[dict[str, Any]]
    tokens: dict[str, Any] | None
    outputs: dict[str, Any] | None
    rendered: int
    questions: int
    command: str


class Pushed(Output):
    """`burnish push`."""

    run: str
    repository: str
    url: str
    is_private: bool
    commit: str
    files: list[str]
    bytes: int


class Ingredient(Form):
    """Something that a run was made from, then and now."""

    name: str
    expected: str
    found: str
    state: str
    remark: str


class StepPair(Form):
    """The loss of a step, then and now."""

    step: int
    expected: float | None
    found: float | None
    tolerance: float
    difference: float | None
    passed: bool


class Reproduced(Output):
    """`burnish reproduce`."""

    run: str
    passed: bool
    verdict: str
    ingredients: list[Ingredient]
    rule: str
    steps: list[StepPair]
    advice: str


class Compared(Output):
    """`burnish compare`."""

    rows: int
    held_out: str
    runs: list[dict[str, Any]]
    recipes: list[list[str]]
    labels: list[str]
    figures: list[dict[str, Any]]
    options: list[dict[str, Any]]
    curves: list[dict[str, Any]]
    remarks: list[str]
    is_shown: bool
    verdict: str


class Swept(Output):
    """`burnish sweep`."""

    name: str
    path: str
    winner: str | None
    ranking: dict[str, Any] | None
    runs: list[dict[str, Any]]
    saved_seconds: float | None = None
    evaluation: EvaluationParts | None = None


class Doctor(Output):
    """`burnish doctor`."""

    machine: dict[str, Any]
    free_memory_bytes: int | None
    packages: list[dict[str, Any]]
    torch: dict[str, Any]
    runs: str
    free_disk_bytes: int | None
    is_writable: bool
    cache: str
    cached_models: list[str]
    is_offline: bool
    lacks: list[dict[str, Any]]
    verdict: str
    can_train: bool


class Rule(Form):
    """A rule of arithmetic, measured."""

    rule: str
    difference: float | None
    tolerance: float
    why: str
    is_least: bool
    passed: bool


class Selftested(Output):
    """`burnish selftest`."""

    model: str
    task: str
    method: str
    device: str
    precision: str
    rows: int
    lines: list[Rule]
    seconds: float
    passed: bool
    verdict: str


class Option(Form):
    """An option of the recipe."""

    name: str
    flag: str | None
    takes: str
    default: Any
    help: str


class Options(Output):
    """`burnish options`."""

    options: list[Option]


class Begun(Output):
    """`burnish init`."""

    recipe: str
    task: str
    model: str
    rows: int


class LaunchFile(Form):
    """A file that starts a run."""

    to: Literal["slurm", "kubernetes", "skypilot"]
    path: str


class LaunchFiles(Output):
    """`burnish launch-files`."""

    files: list[LaunchFile]
    nodes: int
    gpus: int
    command: list[str]


class BaseModelForm(Form):
    """A base model, and what training it takes here."""

    name: str
    where: Literal["bundled", "local", "cached", "public"]
    kind: str
    parameters: int | None
    bytes: int
    licence: str
    is_gated: bool
    method: str | None
    memory: int | None
    fits: bool | None
    follows_instructions: bool
    least_seconds: float | None


class Models(Output):
    """`burnish models`."""

    task: str | None
    device: str
    room: int
    models: list[BaseModelForm]
    next_model: str | None


class Served(Output):
    """`burnish serve`, as soon as it answers; it goes on until it is stopped."""

    address: str
    """Of the interface, as clients of OpenAI's take it."""
    models: list[str]
    """Names to ask for."""


class Opened(Output):
    """`burnish studio`, as soon as it answers; it goes on until it is stopped."""

    address: str
    """Of the pages, with the token where one is needed."""


class Term(Output):
    """`burnish explain TERM`."""

    name: str
    group: str
    aliases: list[str]
    meaning: str
    setting: str
    trouble: str
    options: list[str]
    see: list[str]


class TermName(Form):
    """A term of the glossary."""

    name: str
    group: str


class Terms(Output):
    """`burnish explain` without a term."""

    terms: list[TermName]


FORMS: dict[str, tuple[type[Output], ...]] = {
    "models": (Models,),
    "plan": (Planned, PlanTable),
    "check": (Checked,),
    "doctor": (Doctor,),
    "selftest": (Selftested,),
    "quickstart": (Shown,),
    "init": (Begun,),
    "train": (Shown,),
    "sweep": (Swept,),
    "resume": (Shown,),
    "accept": (Shown,),
    "launch-files": (LaunchFiles,),
    "evaluate": (Evaluated,),
    "compare": (Compared,),
    "generate": (Generated,),
    "chat": (Chatted,),
    "predict": (Predicted,),
    "merge": (Merged,),
    "export": (Exported,),
    "push": (Pushed,),
    "eject": (Ejected,),
    "runs": (Runs,),
    "show": (Shown,),
    "report": (Reported,),
    "reproduce": (Reproduced,),
    "explain": (Term, Terms),
    "options": (Options,),
    "serve": (Served,),
    "studio": (Opened,),
}
"""By command."""
