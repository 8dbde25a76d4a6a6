"""What every section of the recipe is made of."""

from __future__ import annotations

from typing import Annotated, Literal

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
