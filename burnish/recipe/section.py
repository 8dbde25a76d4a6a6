"""What every section of the recipe is, and the value that the plan resolves."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

AUTO: Literal["auto"] = "auto"
"""A value that the plan resolves before training."""
Auto = Literal["auto"]


class Section(BaseModel):
    """A group of options. Unknown keys are errors, and values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


CONTINUE: Literal["continue"] = "continue"
"""The adapter goes on training."""
MERGE: Literal["merge"] = "merge"
"""What was trained becomes part of the base model first."""


class StartSection(Section):
    """The run or adapter that training goes on from; usually given as `--model`."""

    path: str | None = None
    """A run, a checkpoint of one (`RUN@STEP`), or a folder with a PEFT adapter. `model.name` is then its base model."""
    how: Literal["auto", "continue", "merge"] = AUTO
    """`continue` trains the same adapter further; `merge` makes it part of the base model first, and what is trained is
    new. `auto` continues where method and adapter settings are the same."""
