"""The recipe: the one description of a run.

Every option is declared here and nowhere else. YAML, command-line flags, Python keyword arguments and the options page
of the documentation are all made from these classes. `AUTO` marks a value that the plan fills in before training.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

AUTO: Literal["auto"] = "auto"
Auto = Literal["auto"]

PositiveInt = Annotated[int, Field(ge=1)]
AutoPositiveInt = Auto | PositiveInt
AutoPositiveFloat = Auto | Annotated[float, Field(gt=0)]
Probability = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """A group of options. Unknown keys are refused, and a value is never changed in place."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class ModelSection(Section):
    """Which base model, and how it is loaded."""

    name: str = "seedling"
    """Base model: `seedling` (bundled), a local transformers folder, or a hub name such as `gpt2`."""
    revision: str | None = None
    """Branch, tag or commit of a hub model."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the arithmetic. `auto` takes what the device does well."""
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    """Where the model runs. `auto` takes CUDA, then Apple MPS, then the CPU."""
    allow_pickle: bool = False
    """Also load weights stored as Python pickles, which can run any code. Only for folders you trust."""
    trust_remote_code: bool = False
    """Run the Python code that comes with the model. Only for models you trust."""


class DataSection(Section):
    """Which rows, and how they become examples."""

    path: str = ""
    """Training data: a file, a folder with train/valid/test, or the name of a hub dataset."""
    validation: str | None = None
    """Validation data. Without it, part of the training rows is held out."""
    validation_fraction: Annotated[float, Field(gt=0, lt=0.9)] = 0.1
    """Share of the rows held out when there is no validation data."""
    validation_rows: PositiveInt = 1000
    """Most rows held out when there is no validation data."""
    shape: str = AUTO
    """Shape of the rows (`text`, `messages`, `alpaca`, …). `auto` detects it."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Which column holds what, as `field: column`, for example `prompt: question`. Overrides detection."""
    rows: PositiveInt | None = None
    """Use only the first so many rows of the training data."""
    context: Auto | Annotated[int, Field(ge=8)] = AUTO
    """Longest example in tokens. `auto` takes the model's own limit, at most 1024."""
    packing: bool = True
    """Pack whole examples into rows of the context length, each attending only to itself."""


class LoraSection(Section):
    """Low-rank adapters (method `lora`)."""

    rank: PositiveInt = 16
    """Rank of the two small matrices added to each target layer."""
    alpha: AutoPositiveInt = AUTO
    """Scale of the update: alpha / rank, or alpha / sqrt(rank) with rsLoRA. `auto` is twice the rank."""
    dropout: Probability = 0.0
    """Share of the adapter's inputs dropped while training."""
    bias: Literal["none", "all", "lora_only"] = "none"
    """Which biases are trained too."""
    targets: Auto | list[str] = AUTO
    """Names of the layers that get an adapter. `auto` takes every linear layer of the blocks."""
    rslora: bool = False
    """Scale by alpha / sqrt(rank), which keeps high ranks stable (arXiv 2312.03732)."""
    dora: bool = False
    """Learn magnitude and direction apart (arXiv 2402.09353); slower, often a little better."""
    modules_to_save: list[str] = Field(default_factory=list)
    """Modules trained in full and saved beside the adapter, for example `lm_head`."""


class TrainSection(Section):
    """How long and how fast."""

    epochs: Annotated[float, Field(gt=0)] = 3
    """Passes over the training rows. Parts of an epoch are allowed."""
    max_steps: PositiveInt | None = None
    """Most optimizer steps, where `epochs` would take more."""
    learning_rate: AutoPositiveFloat = AUTO
    """Peak learning rate. `auto` follows the method and the size of the model."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after warm-up."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of the steps in which the learning rate rises."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Decoupled weight decay; on matrices only, never on biases or norms."""
    clip: Annotated[float, Field(ge=0)] = 1.0
    """Largest norm of the gradient; larger ones are scaled down. 0 turns clipping off."""
    betas: tuple[Probability, Probability] = (0.9, 0.999)
    """AdamW's two decay rates."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, about a third slower."""
    early_stopping: bool = True
    """Stop when the validation loss has not improved for `patience` validations."""
    patience: PositiveInt = 5
    """Validations without improvement before early stopping."""


class BatchSection(Section):
    """How many tokens make a step."""

    tokens: AutoPositiveInt = AUTO
    """Tokens per optimizer step, reached by gradient accumulation. `auto` gives a few dozen steps per epoch."""
    rows: AutoPositiveInt = AUTO
    """Rows in memory at once (the micro-batch). It changes speed and memory, never the result."""


class EvaluateSection(Section):
    """Judging the model while and after it learns."""

    every: AutoPositiveInt = AUTO
    """Steps between validations. `auto` makes about ten a run, never fewer than five."""
    answers: Annotated[int, Field(ge=0)] = 2
    """Held-out rows that base and tuned model both answer after training."""
    max_new_tokens: AutoPositiveInt = AUTO
    """Longest generated answer in tokens. `auto` leaves room for the longest known answer, at most 256."""


class SaveSection(Section):
    """Checkpoints."""

    every: AutoPositiveInt = AUTO
    """Steps between checkpoints. `auto` saves at every validation."""
    keep: PositiveInt = 2
    """Newest checkpoints kept; the best one is always kept too."""


class Recipe(Section):
    """Everything that decides a run."""

    task: str = AUTO
    """What one example means: `text` or `chat`. `auto` follows the shape of the rows."""
    method: str = "lora"
    """Which weights move: `lora` or `full`."""
    name: str = AUTO
    """Name of the run, and of its folder."""
    runs: str = "runs"
    """Folder that holds the run folders."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of the split, the order of the rows, the adapter's start and dropout."""
    model: ModelSection = Field(default_factory=ModelSection)
    data: DataSection = Field(default_factory=DataSection)
    lora: LoraSection = Field(default_factory=LoraSection)
    train: TrainSection = Field(default_factory=TrainSection)
    batch: BatchSection = Field(default_factory=BatchSection)
    evaluate: EvaluateSection = Field(default_factory=EvaluateSection)
    save: SaveSection = Field(default_factory=SaveSection)
