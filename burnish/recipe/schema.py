"""The recipe: the one description of a run.

Every option is declared here and nowhere else. YAML, command-line flags, Python keyword arguments and the options page
of the documentation are all generated from these classes.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, JsonValue

from burnish.recipe.section import (
    AUTO,
    Auto,
    AutoPositiveFloat,
    AutoPositiveInt,
    AutoRate,
    DataSource,
    OneGpu,
    OneOrMore,
    PositiveInt,
    Probability,
    Section,
    StartSection,
)
from burnish.recipe.section import BALANCED as BALANCED
from burnish.recipe.section import BUNDLED as BUNDLED
from burnish.recipe.section import LARGEST as LARGEST
from burnish.recipe.section import NONE as NONE
from burnish.recipe.section import REPLICAS as REPLICAS
from burnish.recipe.section import SHARDED as SHARDED
from burnish.recipe.section import Example as Example
from burnish.recipe.task_sections import (
    ClassifySection,
    FillMaskSection,
    PreferenceSection,
    ScoreSection,
    SpanSection,
    TagSection,
    VisionSection,
)

BUNDLED_MODELS = ("seedling", "acorn")
"""Base models that come with the package. A folder of the same name has to be written as `./seedling`."""


class ModelSection(Section):
    """Which base model, and how it is loaded."""

    name: str = AUTO
    """Base model: `seedling` or `acorn` (bundled), a local transformers folder, or a hub name such as `gpt2`. `auto` is
    `seedling` for tasks that generate text and `acorn` for those that label it. Or what to train further: a run, a
    checkpoint of one (`RUN@STEP`), or a folder with a PEFT adapter."""
    revision: str | None = None
    """Branch, tag or commit of a hub model."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the computation. `auto` is the fastest one that the device supports well."""
    device: Literal["auto", "cuda", "mps", "cpu"] | OneGpu = "auto"
    """Where the model runs. `auto` prefers CUDA, then Apple MPS, then the CPU. Of several GPUs, `cuda` is the first and
    `cuda:1` the second."""
    memory: str | None = None
    """Memory that the run may use, for example `12GB`: that of the GPU, or on the CPU that of the whole process. By
    default all that is free."""
    kernels: Literal["fast", "plain"] = "fast"
    """`fast` uses Burnish's own kernels wherever a probe shows that the model's output is as exact as without them;
    `plain` never does."""
    compile: Auto | bool = AUTO
    """Compile the blocks with `torch.compile` for training. `auto` compiles in runs of an hour or more if a trial on
    the run's own rows saves more time than compiling takes, and never with `kernels: plain`. Needs g++."""
    dropout: Auto | bool = AUTO
    """Whether to use the dropout of the base model's config. `auto`: only with methods that train the base weights."""
    allow_pickle: bool = False
    """Also load weights stored as Python pickles, which can run any code. Only for models you trust."""
    trust_remote_code: bool = False
    """Run the Python code that comes with the model. Only for models you trust."""


class DataSection(Section):
    """Which rows, and how they become examples."""

    path: OneOrMore = ""
    """Training data: a file, a folder with train/valid/test, or the name of a hub dataset. A worksheet, a key of a JSON
    document or a configuration follows after a colon: `orders.xlsx:May`. Or a list of several, each a name or `{path:
    b.jsonl, weight: 0.3, rows: 5000}`: a share of the training rows, and the first N rows."""
    validation: str | None = None
    """Validation data, which chooses the checkpoint. By default, part of the training rows is held out for it."""
    validation_fraction: Annotated[float, Field(gt=0, lt=0.9)] = 0.1
    """Share of the rows to hold out if there is no validation data; of few rows more, up to 20 as long as that is no
    more than one in five."""
    validation_rows: PositiveInt = 1000
    """Most rows to hold out if there is no validation data."""
    test: str | None = None
    """Test data, on which base and tuned model are compared at the end and which chooses nothing. By default, a test
    split of `data.path`, or part of the training rows. `none`: no test split; then the comparison is on validation
    rows."""
    test_fraction: Annotated[float, Field(ge=0, lt=0.9)] = 0.1
    """Share of the rows to hold out if there is no test data, of few rows more, as for validation; 0 holds none out."""
    test_rows: PositiveInt = 1000
    """Most rows to hold out if there is no test data."""
    split: Literal["stratified", "random"] = "stratified"
    """How rows are held out. `stratified` keeps the shares of the labels, and holds out more than the stated share of
    few rows; `random` takes the stated share, whatever the labels."""
    split_seed: Annotated[int, Field(ge=0, le=LARGEST)] = 0
    """Decides, with the content of the rows, which of them are held out. `seed` does not, so runs with other seeds hold
    out the same rows."""
    group: str | None = None
    """A column, for example of patients or documents: rows with the same value go to the same split."""
    shape: str = AUTO
    """Shape of the rows (`text`, `messages`, `alpaca`, …). `auto` detects it."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Which column holds which field, as `field: column`, for example `prompt: question`. Overrides detection. The
    columns of CoNLL files are numbered from 1."""
    roles: dict[str, str] = Field(default_factory=dict)
    """Which role in a conversation means which, as `role: meaning`, for example `narrator: assistant`. The meanings are
    `system`, `user`, `assistant` and `tool`; usual names such as `human`, `bot` and `gpt-4` are known."""
    rows: PositiveInt | None = None
    """Use only the first N rows of the training data."""
    keep_in_memory: Auto | bool = AUTO
    """Whether rows and tokens are kept in memory. `false` keeps them on the disk, in the cache folder, and reads those
    of a step when it comes: same tokens, same batches. `auto` does so for data that would fill half of the free
    memory."""
    context: Auto | Annotated[int, Field(ge=8, le=LARGEST)] = AUTO
    """Longest example in tokens. `auto` is the model's own limit, at most 1024."""
    packing: bool = True
    """Pack whole examples into rows of the context length, each attending only to itself."""
    labels: Auto | list[str] = AUTO
    """Names of the labels or tags, in the order of the model's outputs. `auto` collects them from the training rows."""

    @property
    def sources(self) -> list[DataSource]:
        """The sources of the training rows."""
        return [DataSource(path=self.path)] if isinstance(self.path, str) else self.path

    @property
    def named(self) -> str:
        """The names of the sources, for messages."""
        return ", ".join(source.path for source in self.sources)


class AnnotationSection(Section):
    """How labels, scores and ratings are written in the rows (tasks `classify`, `score` and `preference`)."""

    is_of_stage: ClassVar[bool] = True
    separator: Literal[
        "auto",
        "none",
        "list",
        "comma",
        "semicolon",
        "bar",
        "hash",
        "slash",
        "plus",
        "ampersand",
        "tilde",
        "dot",
        "underscores",
        "colon",
        "and",
        "space",
        "tab",
        "newline",
        "sep",
    ] = AUTO
    """What separates several labels in one cell; `list` for a list written as text, such as `['a', 'b']`. `auto` splits
    cells whose parts recur by themselves or in other combinations."""
    columns: Auto | list[str] = AUTO
    """Columns of 0 and 1, one for each label. `auto` takes them where rows have a text, no label, and several such
    columns."""
    missing: Auto | list[str | int | float] = AUTO
    """Values that mean "no gold label"; such rows are left out, as are those with an empty cell. `auto` knows the usual
    ones, such as `-`, `nan` and -1 beside the classes 0, 1 and 2."""
    rename: Auto | dict[str, str] = AUTO
    """Labels to read under another name, as `label: other`, for example `{Good: good}`. `auto` makes two classes of
    labels that all mean true or false, such as true and 1 beside false."""
    good: Auto | list[str | int | float] = AUTO
    """Values that rate an answer as good; all others are bad. `auto` knows true, 1, `good`, `up` and the like."""
    good_from: float | None = None
    """The lowest number that rates an answer as good, for example 4 of 5 stars."""


class TemplateSection(Section):
    """The chat template (tasks `chat`, `preference`, `reward` and `vision`)."""

    kwargs: dict[str, JsonValue] = Field(default_factory=dict)
    """Values for the template's variables, for example `enable_thinking: false`. They are saved with the result as its
    defaults. A variable that the template never reads is refused."""


class LoraSection(Section):
    """Low-rank adapters (methods `lora`, `qlora` and `int8-lora`)."""

    changes_preparation: ClassVar[bool] = False
    rank: AutoPositiveInt = AUTO
    """Rank of the two low-rank matrices added to each target layer. `auto` is 16, and 32 above 10,000 rows."""
    alpha: AutoPositiveInt = AUTO
    """Scale of the update: alpha / rank, or alpha / sqrt(rank) with rsLoRA. `auto` is twice the rank."""
    dropout: Probability = 0.0
    """Dropout on the adapter's inputs during training."""
    bias: Literal["none", "all", "lora_only"] = "none"
    """Which biases to train as well."""
    targets: Auto | list[str] = AUTO
    """Names of the layers that get an adapter. `auto` is every linear layer of the blocks."""
    rslora: bool = False
    """Scale by alpha / sqrt(rank), which keeps high ranks stable (arXiv 2312.03732)."""
    dora: bool = False
    """Learn magnitude and direction separately (arXiv 2402.09353); slower, often slightly better."""
    modules_to_save: list[str] = Field(default_factory=list)
    """Modules trained in full and saved beside the adapter, for example `lm_head`."""
    init: Literal["default", "pissa", "olora"] = "default"
    """How the matrices are initialized: `default` starts without any change to the output; `pissa` (arXiv 2404.02948)
    and `olora` (arXiv 2406.01775) decompose the base weights, which learns faster. The result works with the original
    base."""
    plus_ratio: AutoPositiveFloat | None = None
    """Learning rate of the B matrices divided by that of the A matrices (LoRA+, arXiv 2402.12354). `auto` is 16."""
    added_tokens: list[str] = Field(default_factory=list)
    """New tokens for the vocabulary; of the embeddings only theirs are trained, along with the adapter."""


class PromptSection(Section):
    """Virtual tokens in front of the text (methods `prompt`, `prefix` and `p-tuning`)."""

    tokens: AutoPositiveInt = AUTO
    """Number of virtual tokens. `auto` is 20."""
    text: str | None = None
    """Initial text of the virtual tokens of `prompt` and `prefix`. By default they start as random words."""
    hidden: AutoPositiveInt = AUTO
    """Hidden size of the network that produces the virtual tokens of `p-tuning`. `auto` is the model's hidden size."""


class FreezeSection(Section):
    """Which part of the model is trained (method `freeze`)."""

    changes_preparation: ClassVar[bool] = False
    blocks: AutoPositiveInt = AUTO
    """Train the last N blocks and what follows them, except for an output layer tied to the embedding. `auto` is a
    quarter of the blocks."""
    modules: list[str] = Field(default_factory=list)
    """Train the modules with these names instead of the last blocks."""


class Ia3Section(Section):
    """Learned scales of keys, values and feed-forward activations (method `ia3`, arXiv 2205.05638)."""

    changes_preparation: ClassVar[bool] = False
    targets: Auto | list[str] = AUTO
    """Names of the layers whose outputs or inputs are scaled. `auto` is keys, values and the feed-forward."""
    feedforward: Auto | list[str] = AUTO
    """The targets whose inputs are scaled. `auto` is the last layer of the feed-forward."""


class TrainSection(Section):
    """How long to train, and the optimizer."""

    changes_preparation: ClassVar[bool] = False
    epochs: Auto | Annotated[float, Field(gt=0)] = AUTO
    """Passes over the training rows; fractions are allowed. `auto` is 3, up to 10 where few rows would make fewer than
    100 steps, up to 15 for 900 steps where an output layer starts at random for a number or for more than eight labels,
    2 above 10,000 rows and 1 above 100,000."""
    max_steps: PositiveInt | None = None
    """Upper limit on optimizer steps, whatever `epochs` says."""
    learning_rate: AutoRate = AUTO
    """Peak learning rate. `auto` depends on the method and the size of the model."""
    head_learning_rate: AutoRate | None = AUTO
    """Peak learning rate of an output layer that the base model lacks, so that it starts at random, as for labels.
    `auto` is higher than `learning_rate`, and nothing where the model has its output layer."""
    adapt: Auto | bool = AUTO
    """Let the run change its plan: raise the learning rate if halfway nothing has moved, and go on where the end is too
    early, up to twice the planned steps, or three times where these are at most 150. `auto` does so if `epochs`,
    `max_steps` and `learning_rate` are left to Burnish."""
    schedule: Literal["cosine", "linear", "constant", "wsd"] = "cosine"
    """Learning-rate schedule after warm-up. `wsd` (warm-up, stable, decay) falls only at the end."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of the steps used for learning-rate warm-up."""
    weight_decay: Annotated[float, Field(ge=0, le=100)] = 0.01
    """Decoupled weight decay, on matrices only, never on biases or norms."""
    clip: Annotated[float, Field(ge=0)] = 1.0
    """Largest gradient norm; larger gradients are scaled down. 0 turns clipping off."""
    betas: tuple[Probability, Probability] = (0.9, 0.999)
    """AdamW's two decay rates."""
    gradient_checkpointing: Auto | bool = AUTO
    """Recompute activations in the backward pass: less memory, about a third slower. `auto` does so only if memory
    would run short."""
    early_stopping: bool = True
    """Stop if the task's main metric on the validation rows (the loss, or accuracy or F1 for tasks that have one) has
    been worse than its best for `patience` validations, beyond the noise of the rows."""
    optimizer: Literal["auto", "adamw", "muon", "adafactor", "schedule-free", "adamw-8bit", "paged-adamw-8bit"] = AUTO
    """`adamw`; `muon` for matrices of the blocks, with one moment; `adafactor`, with a row and a column of moments for
    each matrix; `schedule-free`, AdamW that averages the weights in place of a schedule (the extra `schedule-free`); or
    `adamw` with 8-bit moments (bitsandbytes, on the CPU and CUDA), which may be paged (on CUDA)."""
    patience: PositiveInt = 5
    """Validations in a row that are worse than the best before early stopping."""


class OptimizationSection(Section):
    """More about how the weights are updated."""

    changes_preparation: ClassVar[bool] = False
    minimum_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the peak learning rate at which the schedule ends."""
    decay_share: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Share of the steps after warm-up in which `train.schedule=wsd` falls, linearly."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Learning rate of a block divided by that of the next one towards the output: below 1, lower blocks learn slower.
    The embeddings count as the block before the first."""
    embedding_noise: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    """Noise on the input embeddings during training (NEFTune, arXiv 2310.05914); usual are 5 to 15."""


class BatchSection(Section):
    """How many tokens make up a step."""

    changes_preparation: ClassVar[bool] = False
    tokens: AutoPositiveInt = AUTO
    """Tokens per optimizer step, reached by gradient accumulation. `auto` makes a few dozen steps per epoch."""
    rows: AutoPositiveInt = AUTO
    """Micro-batch size: rows of the context length in memory at once, and more of them if they are shorter. It changes
    speed and memory, never the result."""


class DistributedSection(Section):
    """How several processes share a run."""

    strategy: Literal["auto", "replicas", "sharded"] = AUTO
    """`replicas` keeps the whole model on each device; `sharded` keeps a part of every weight, gradient and moment on
    each (FSDP2), for the methods `full` and `freeze`. `auto` shards where the whole does not fit on each device."""
    reshard_after_forward: bool = True
    """With sharded weights, free those of a block after its forward pass and gather them again for the backward pass.
    `false` takes memory for all weights and saves a third of the exchange."""
    offload: bool = False
    """Shard, and keep each GPU's part of the weights, gradients and moments in CPU memory, where the optimizer then
    works: a block is on the GPU only while it computes. Slower, for models that do not fit otherwise."""


class EvaluateSection(Section):
    """Evaluation during and after training."""

    changes_preparation: ClassVar[bool] = False
    every: AutoPositiveInt = AUTO
    """Steps between validations. `auto` makes about ten per run, never fewer than five."""
    answers: Auto | Annotated[int, Field(ge=0, le=LARGEST)] = AUTO
    """Test rows that the base and the tuned model both answer after training. `auto` is 32, and 2 where generation
    is slow."""
    metric: str | None = None
    """Your own metric for generated answers, as `module:function`. The function takes an answer and the expected answer
    and returns a number; higher is better."""
    max_new_tokens: AutoPositiveInt = AUTO
    """Longest generated answer in tokens. `auto` leaves room for the longest known answer, at most 256."""
    ends: Auto | list[str] = AUTO
    """Tokens that end an answer besides EOS and the template's own end, while answers are compared and in the saved
    model. `auto` takes those of the base model's own generation settings, except what occurs inside answers of the
    rows."""
    samples: Annotated[int, Field(ge=0, le=20)] = 0
    """Validation rows whose answers every validation shows, so that you can read what the model has learned so far.
    Written answers are cut after 64 tokens, and left out where they would take more than a twentieth of the training
    time."""
    general: str = AUTO
    """Texts outside the task that show what a run forgets: a file, `bundled` or `none`. `auto` is `bundled` for
    decoders that generate text."""
    general_tokens: Auto | Annotated[int, Field(ge=200, le=LARGEST)] = AUTO
    """Most tokens of these texts together. `auto` is as many as training sees, from 500 to 8,000."""


class SaveSection(Section):
    """Checkpoints."""

    changes_preparation: ClassVar[bool] = False
    every: AutoPositiveInt = AUTO
    """Steps between checkpoints. `auto` saves at every validation."""
    keep: PositiveInt = 2
    """Number of newest checkpoints to keep; the best one is always kept as well."""


class Recipe(Section):
    """Everything that decides a run."""

    task: str = AUTO
    """What one example is: `text`, `chat`, `text-to-text`, `preference`, `reward`, `classify`, `score`, `tag`, `span`,
    `fill-mask` or `vision`. `auto` follows from the shape of the rows."""
    method: str = AUTO
    """Which weights are trained: `full`, `freeze`, `lora`, `qlora`, `int8-lora`, `prompt`, `prefix`, `p-tuning` or
    `ia3`. `auto` picks the best one for the model and the number of rows among those that fit into memory: `full`,
    `lora` or `qlora`."""
    name: str = AUTO
    """Name of the run and of its folder."""
    runs: str = "runs"
    """Folder that holds the run folders."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of the order of the rows, the initial adapter weights and dropout."""
    track: list[Literal["tensorboard", "wandb", "mlflow", "trackio"]] = Field(default_factory=list)
    """Trackers that keep the run's curves beside its own log, all of them on this machine: `tensorboard`, `wandb`
    (offline), `mlflow` or `trackio`."""
    model: ModelSection = Field(default_factory=ModelSection)
    start: StartSection = Field(default_factory=StartSection)
    data: DataSection = Field(default_factory=DataSection)
    annotation: AnnotationSection = Field(default_factory=AnnotationSection)
    template: TemplateSection = Field(default_factory=TemplateSection)
    lora: LoraSection = Field(default_factory=LoraSection)
    prompt: PromptSection = Field(default_factory=PromptSection)
    freeze: FreezeSection = Field(default_factory=FreezeSection)
    ia3: Ia3Section = Field(default_factory=Ia3Section)
    preference: PreferenceSection = Field(default_factory=PreferenceSection)
    classify: ClassifySection = Field(default_factory=ClassifySection)
    score: ScoreSection = Field(default_factory=ScoreSection)
    tag: TagSection = Field(default_factory=TagSection)
    span: SpanSection = Field(default_factory=SpanSection)
    fill_mask: FillMaskSection = Field(default_factory=FillMaskSection)
    vision: VisionSection = Field(default_factory=VisionSection)
    train: TrainSection = Field(default_factory=TrainSection)
    optimization: OptimizationSection = Field(default_factory=OptimizationSection)
    batch: BatchSection = Field(default_factory=BatchSection)
    distributed: DistributedSection = Field(default_factory=DistributedSection)
    evaluate: EvaluateSection = Field(default_factory=EvaluateSection)
    save: SaveSection = Field(default_factory=SaveSection)

    def with_options(self, **sections: dict[str, Any]) -> Recipe:
        """A copy with some options changed, by section and name; the values are not validated again."""
        changed = {name: getattr(self, name).model_copy(update=options) for name, options in sections.items()}
        return self.model_copy(update=changed)

    def option_values(self) -> dict[str, Any]:
        """Every option by its dotted name, JSON-ready, in the order of the schema: `task`, …, `model.name`, …"""
        values = self.model_dump(mode="json")
        found: dict[str, Any] = {}
        for name, value in self:
            if isinstance(value, Section):
                found.update({f"{name}.{option}": inner for option, inner in values[name].items()})
            else:
                found[name] = values[name]
        return found
