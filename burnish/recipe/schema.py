"""The recipe: the one description of a run.

Every option is declared here and nowhere else. YAML, command-line flags, Python keyword arguments and the options page
of the documentation are all made from these classes. `AUTO` marks a value that the plan fills in before training.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

AUTO: Literal["auto"] = "auto"
"""Marks a value that the plan fills in before training."""
Auto = Literal["auto"]
BUNDLED: Literal["bundled"] = "bundled"
"""Stands for text that comes with the package."""
NONE: Literal["none"] = "none"
"""Stands for no text at all."""

PositiveInt = Annotated[int, Field(ge=1)]
AutoPositiveInt = Auto | PositiveInt
AutoPositiveFloat = Auto | Annotated[float, Field(gt=0)]
Probability = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """A group of options. Unknown keys are refused, and a value is never changed in place."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


BUNDLED_MODELS = ("seedling", "acorn")
"""Base models that come with the package. A folder of such a name is meant only where it is spelled `./seedling`."""


class ModelSection(Section):
    """Which base model, and how it is loaded."""

    name: str = AUTO
    """Base model: `seedling` or `acorn` (bundled), a local transformers folder, or a hub name such as `gpt2`.
    `auto` takes `seedling` for tasks that write text and `acorn` for those that label it."""
    revision: str | None = None
    """Branch, tag or commit of a hub model."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the arithmetic. `auto` takes what the device does well."""
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    """Where the model runs. `auto` takes CUDA, then Apple MPS, then the CPU."""
    memory: str | None = None
    """Memory of that device that the run may use, for example `12GB`. Without it, whatever is free."""
    kernels: Literal["fast", "plain"] = "fast"
    """Fast arithmetic wherever a probe on the model shows it equal; `plain` takes the libraries' own everywhere."""
    compile: Auto | bool = AUTO
    """Compile the blocks with `torch.compile` for training. `auto` does so in runs of an hour or more, where a trial on
    the run's own rows saves more time than compiling takes; never of itself with `kernels: plain`. It needs g++."""
    dropout: Auto | bool = AUTO
    """Whether the dropout in the base model's config is used. `auto`: only by methods that train the base itself."""
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
    labels: Auto | list[str] = AUTO
    """Names of the labels or tags, in the order of the model's outputs. `auto` takes those in the training rows."""


class LoraSection(Section):
    """Low-rank adapters (methods `lora`, `qlora` and `int8-lora`)."""

    rank: AutoPositiveInt = AUTO
    """Rank of the two small matrices added to each target layer. `auto` is 16, and 32 above 10,000 rows."""
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
    init: Literal["default", "pissa", "olora"] = "default"
    """How the matrices begin: `default` changes nothing at first; `pissa` (arXiv 2404.02948) and `olora`
    (arXiv 2406.01775) take them out of the base weights, which learns faster. The result fits the original base."""
    plus_ratio: AutoPositiveFloat | None = None
    """Learning rate of the B matrices over that of the A matrices (LoRA+, arXiv 2402.12354). `auto` is 16."""
    added_tokens: list[str] = Field(default_factory=list)
    """New tokens for the vocabulary; only their embeddings are trained, beside the adapter."""


class PromptSection(Section):
    """Virtual tokens before the text (methods `prompt`, `prefix` and `p-tuning`)."""

    tokens: AutoPositiveInt = AUTO
    """How many virtual tokens. `auto` is 20."""
    text: str | None = None
    """Words that the virtual tokens of `prompt` and `prefix` begin as. Without it they begin as random words."""
    hidden: AutoPositiveInt = AUTO
    """Width of the network that makes the virtual tokens of `p-tuning`. `auto` is the model's own width."""


class FreezeSection(Section):
    """Which part of the model is trained (method `freeze`)."""

    blocks: AutoPositiveInt = AUTO
    """Train the last so many blocks, and what follows them; a head that shares its matrix with the embedding stays as
    it is. `auto` is a quarter of the blocks."""
    modules: list[str] = Field(default_factory=list)
    """Train the modules of these names, instead of the last blocks."""


class Ia3Section(Section):
    """Learned scales of keys, values and feed-forward activations (method `ia3`, arXiv 2205.05638)."""

    targets: Auto | list[str] = AUTO
    """Names of the layers whose outputs or inputs are scaled. `auto` finds keys, values and the feed-forward."""
    feedforward: Auto | list[str] = AUTO
    """Those of the targets whose inputs are scaled. `auto` finds the last layer of the feed-forward."""


class PreferenceSection(Section):
    """Learning from better and worse answers (task `preference`)."""

    loss: Literal["auto", "dpo", "ipo", "simpo", "orpo", "cpo", "kto"] = AUTO
    """The loss. `auto` is `dpo` for pairs (arXiv 2305.18290) and `kto` for rated answers (arXiv 2402.01306)."""
    beta: AutoPositiveFloat = AUTO
    """How strongly the model is held to its reference, or the scale of the reward. `auto` is 0.1, and 2 for `simpo`."""
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Share of the pairs that are taken to be the wrong way round (`dpo` and `cpo`)."""
    margin: Annotated[float, Field(ge=0)] = 1.0
    """By how much the reward of the better answer should be higher (`simpo`)."""
    likelihood: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the better answer's own likelihood in `cpo`."""
    good_weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of the answers rated good (`kto`)."""
    bad_weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of the answers rated bad (`kto`)."""
    share_prompt: bool = True
    """Compute the prompt of a pair once for both answers, where the model allows it. Never changes the result."""


class ClassifySection(Section):
    """Text to label (task `classify`)."""

    multi_label: Auto | bool = AUTO
    """Whether a row can have several labels, or none. `auto` says yes where the labels are lists."""


class TagSection(Section):
    """A tag for every word (task `tag`)."""

    scheme: Literal["auto", "IOB1", "IOB2", "BIOES", "plain"] = AUTO
    """How the tags mark entities. `plain` tags are independent of each other. `auto` reads it off the tags."""
    pieces: Literal["auto", "first", "last", "all"] = AUTO
    """Which sub-word pieces of a word are trained on, and tell its tag. `auto` is `first`, and `last` for decoders,
    which have not seen the word before that."""


class SpanSection(Section):
    """The answer as a span of a text (task `span`)."""

    stride: AutoPositiveInt = AUTO
    """Tokens that two windows of a long text share, at most half of a window. `auto` is a third of the context."""
    longest_answer: PositiveInt = 30
    """Longest answer in tokens."""
    unanswerable: Auto | bool = AUTO
    """Whether a text may hold no answer. `auto` says yes where some training row has none."""
    no_answer_margin: float = 0.0
    """By how much the score of no answer must beat the best answer to be given, in logits."""


class FillMaskSection(Section):
    """Masked language modelling (task `fill-mask`)."""

    share: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of the words that are masked (arXiv 1810.04805; higher shares: arXiv 2202.08005)."""
    whole_words: bool = True
    """Mask all pieces of a word together."""


class VisionSection(Section):
    """Chat with pictures (task `vision`)."""

    train_tower: bool = False
    """Let the method reach the part of the model that sees, too. Otherwise only the language part is trained."""
    longest_side: PositiveInt | None = None
    """Pictures are scaled down until their longest side has this many pixels, before the model's own processor sees
    them: smaller pictures take fewer tokens."""


class TrainSection(Section):
    """How long and how fast."""

    epochs: Auto | Annotated[float, Field(gt=0)] = AUTO
    """Passes over the training rows. Parts of an epoch are allowed. `auto` is 3, 2 above 10,000 rows and 1 above
    100,000."""
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
    gradient_checkpointing: Auto | bool = AUTO
    """Compute activations again in the backward pass: less memory, about a third slower. `auto` does so only where
    memory would be short."""
    early_stopping: bool = True
    """Stop when the held-out rows have not improved for `patience` validations, by the task's headline figure: the
    loss, or where there is one the accuracy or the F1."""
    optimizer: Literal["auto", "adamw", "paged-adamw-8bit"] = AUTO
    """`adamw`, or its paged form with 8-bit moments (bitsandbytes, CUDA only)."""
    patience: PositiveInt = 5
    """Validations without improvement before early stopping."""


class BatchSection(Section):
    """How many tokens make a step."""

    tokens: AutoPositiveInt = AUTO
    """Tokens per optimizer step, reached by gradient accumulation. `auto` gives a few dozen steps per epoch."""
    rows: AutoPositiveInt = AUTO
    """Rows of the context length in memory at once (the micro-batch), and more of them where they are shorter. It
    changes speed and memory, never the result."""


class EvaluateSection(Section):
    """Judging the model while and after it learns."""

    every: AutoPositiveInt = AUTO
    """Steps between validations. `auto` makes about ten a run, never fewer than five."""
    answers: Auto | Annotated[int, Field(ge=0)] = AUTO
    """Held-out rows that base and tuned model both answer after training. `auto` is 32, and 2 where writing is slow."""
    metric: str | None = None
    """A figure of your own for generated answers, as `module:function`; the function takes an answer and the expected
    one and returns a number, more being better."""
    max_new_tokens: AutoPositiveInt = AUTO
    """Longest generated answer in tokens. `auto` leaves room for the longest known answer, at most 256."""
    general: str = AUTO
    """Texts outside the task, which show what a run forgets: a file, `bundled` or `none`. `auto` takes the bundled ones
    for decoders that write text."""


class SaveSection(Section):
    """Checkpoints."""

    every: AutoPositiveInt = AUTO
    """Steps between checkpoints. `auto` saves at every validation."""
    keep: PositiveInt = 2
    """Newest checkpoints kept; the best one is always kept too."""


class Recipe(Section):
    """Everything that decides a run."""

    task: str = AUTO
    """What one example means: `text`, `chat`, `text-to-text`, `preference`, `reward`, `classify`, `tag`, `span`,
    `fill-mask` or `vision`. `auto` follows the shape of the rows."""
    method: str = AUTO
    """Which weights move: `full`, `freeze`, `lora`, `qlora`, `int8-lora`, `prompt`, `prefix`, `p-tuning` or `ia3`.
    `auto` takes the best one that suits the number of rows and fits into memory: `full`, `lora` or `qlora`."""
    name: str = AUTO
    """Name of the run, and of its folder."""
    runs: str = "runs"
    """Folder that holds the run folders."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of the split, the order of the rows, the adapter's start and dropout."""
    model: ModelSection = Field(default_factory=ModelSection)
    data: DataSection = Field(default_factory=DataSection)
    lora: LoraSection = Field(default_factory=LoraSection)
    prompt: PromptSection = Field(default_factory=PromptSection)
    freeze: FreezeSection = Field(default_factory=FreezeSection)
    ia3: Ia3Section = Field(default_factory=Ia3Section)
    preference: PreferenceSection = Field(default_factory=PreferenceSection)
    classify: ClassifySection = Field(default_factory=ClassifySection)
    tag: TagSection = Field(default_factory=TagSection)
    span: SpanSection = Field(default_factory=SpanSection)
    fill_mask: FillMaskSection = Field(default_factory=FillMaskSection)
    vision: VisionSection = Field(default_factory=VisionSection)
    train: TrainSection = Field(default_factory=TrainSection)
    batch: BatchSection = Field(default_factory=BatchSection)
    evaluate: EvaluateSection = Field(default_factory=EvaluateSection)
    save: SaveSection = Field(default_factory=SaveSection)

    def with_options(self, **sections: dict[str, Any]) -> Recipe:
        """A copy with some options changed, by section and name; the values are not validated again."""
        changed = {name: getattr(self, name).model_copy(update=options) for name, options in sections.items()}
        return self.model_copy(update=changed)
