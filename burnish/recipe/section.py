"""What every section of the recipe is made of, the types of its options, and the section of what is trained further."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

AUTO: Literal["auto"] = "auto"
"""A value that the plan resolves before training."""
Auto = Literal["auto"]
BUNDLED: Literal["bundled"] = "bundled"
"""The texts that come with the package."""
REPLICAS: Literal["replicas"] = "replicas"
"""Every process holds the whole model."""
SHARDED: Literal["sharded"] = "sharded"
"""Every process holds a part of each weight."""
BALANCED: Literal["balanced"] = "balanced"
"""Weights that the rows decide."""
NONE: Literal["none"] = "none"
"""No texts at all."""

LARGEST = 2**53
"""The largest whole number of an option: others count in 64 bits, and JSON's readers are exact up to it."""
PositiveInt = Annotated[int, Field(ge=1, le=LARGEST)]
AutoPositiveInt = Auto | PositiveInt
AutoPositiveFloat = Auto | Annotated[float, Field(gt=0)]
AutoRate = Auto | Annotated[float, Field(gt=0, le=100)]
"""Beyond that, a single step can leave weights that are NaN."""
Probability = Annotated[float, Field(ge=0, lt=1)]


class Example(str):
    """A value that shows the form of an option's text."""


OneGpu = Annotated[str, Field(pattern=r"^cuda:(0|[1-9]\d{0,3})$"), Example("cuda:1")]
"""One of several GPUs, by its number."""


class Section(BaseModel):
    """A group of options. Unknown keys are errors, and values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)
    is_of_stage: ClassVar[bool] = False
    """Whether it says how rows are written and what is learned from them, which differs from stage to stage."""
    changes_preparation: ClassVar[bool] = True
    """Whether rows, tokens or base model depend on it."""


class DataSource(Section):
    """One of several sources of training rows."""

    path: str
    """A file, a folder, or the name of a hub dataset."""
    weight: Annotated[float, Field(gt=0)] | None = None
    """Share of the training rows; of sources without a weight, every row is used once."""
    rows: Annotated[int, Field(ge=1, le=2**53)] | None = None
    """Use only the first N rows."""


def as_sources(path: Any) -> Any:
    """What `data.path` holds: a name as it is, and several as sources; a single one without a weight is a name."""
    if not isinstance(path, list):
        return path
    several = [{"path": one} if isinstance(one, str) else one for one in path]
    if len(several) == 1 and isinstance(several[0], dict) and several[0].keys() == {"path"}:
        return several[0]["path"]
    return several


OneOrMore = Annotated[str | Annotated[list[DataSource], Field(min_length=1)], BeforeValidator(as_sources)]
"""The name of a source, or several."""

CONTINUE: Literal["continue"] = "continue"
"""The adapter goes on training."""
MERGE: Literal["merge"] = "merge"
"""What was trained becomes part of the base model first."""


class StartSection(Section):
    """The run or adapter that training goes on from; usually given as `--model`."""

    path: str | None = None
    """A run, a checkpoint of one (`RUN@STEP`), or a folder with a PEFT adapter. `model.name` is then its base model."""
    how: Literal["auto", "continue", "merge"] | None = AUTO
    """`continue` trains the same adapter further; `merge` makes it part of the base model first, and what is trained is
    new. `auto` continues where method and adapter settings are the same, and is nothing for a base model."""
