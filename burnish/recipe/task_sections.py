"""The sections of the recipe that belong to one task each."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from burnish.recipe.section import (
    AUTO,
    Auto,
    AutoPositiveFloat,
    AutoPositiveInt,
    PositiveInt,
    Section,
)


class PreferenceSection(Section):
    """Learning from better and worse answers (task `preference`)."""

    is_of_stage: ClassVar[bool] = True
    loss: Literal["auto", "dpo", "ipo", "simpo", "orpo", "cpo", "kto"] = AUTO
    """The loss. `auto` is `dpo` for pairs (arXiv 2305.18290) and `kto` for answers rated one by one (arXiv
    2402.01306)."""
    beta: AutoPositiveFloat = AUTO
    """How closely the model is kept to the reference model, or the scale of the reward. `auto` is 0.1, and 2 for
    `simpo`."""
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Assumed share of pairs with the answers swapped (`dpo` and `cpo`)."""
    margin: Annotated[float, Field(ge=0)] = 1.0
    """Target margin between the rewards of the two answers (`simpo`)."""
    likelihood: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the log-likelihood of the better answer (`cpo`)."""
    good_weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of the answers rated good (`kto`)."""
    bad_weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of the answers rated bad (`kto`)."""
    share_prompt: bool = True
    """Compute the prompt of a pair once for both answers, if the model allows it. Never changes the result."""


class ClassifySection(Section):
    """Text to label (task `classify`)."""

    multi_label: Auto | bool = AUTO
    """Whether a row can have several labels, or none. `auto` is true if the labels are lists, or several stand in a
    cell."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the target that is spread over all labels (arXiv 1512.00567). In training only."""
    class_weights: Literal["none", "balanced"] | list[Annotated[float, Field(gt=0)]] = "none"
    """Weight of each label's rows in the training loss: `balanced` weighs rare labels more, so that all count the same;
    or a list in the order of `data.labels`."""


class ScoreSection(Section):
    """Text to number (task `score`)."""

    mean: Auto | float = AUTO
    """What the new output layer predicts before training. `auto` is the mean of the training scores."""
    scale: AutoPositiveFloat = AUTO
    """The unit of the loss and of the steps of the output layer. `auto` is the standard deviation of the training
    scores, so that a run does not depend on their unit."""


class TagSection(Section):
    """A tag for every word (task `tag`)."""

    scheme: Literal["auto", "IOB1", "IOB2", "BIOES", "plain"] = AUTO
    """How the tags mark entities. `plain` tags are independent of each other. `auto` infers it from the tags."""
    pieces: Literal["auto", "first", "last", "all"] = AUTO
    """Which sub-word tokens of a word are trained on and predict its tag. `auto` is `first`, and `all` for decoders,
    which see more of a word with each token: their mean probabilities count."""


class SpanSection(Section):
    """The answer as a span of the text (task `span`)."""

    stride: AutoPositiveInt = AUTO
    """Tokens that two neighboring windows of a long text share, at most half of a window. `auto` is a third of the
    context."""
    longest_answer: PositiveInt = 30
    """Longest answer in tokens."""
    unanswerable: Auto | bool = AUTO
    """Whether a text may have no answer. `auto` is true if any training row has none."""
    no_answer_margin: float = 0.0
    """By how many logits "no answer" must beat the best answer to be predicted."""


class FillMaskSection(Section):
    """Masked language modeling (task `fill-mask`)."""

    share: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of the words to mask (arXiv 1810.04805; higher shares: arXiv 2202.08005)."""
    whole_words: bool = True
    """Mask all tokens of a word together."""


class VisionSection(Section):
    """Chat with images (task `vision`)."""

    train_tower: bool = False
    """Apply the method to the vision tower as well. By default only the language model is trained."""
    longest_side: PositiveInt | None = None
    """Scale images down to this many pixels on the longest side, before the model's own processor: smaller images take
    fewer tokens."""
