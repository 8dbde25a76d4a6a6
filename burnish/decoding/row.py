"""One answer of a batch: what was asked, and how far it is written."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import torch

from burnish.decoding.lookup import Lookup
from burnish.decoding.sampling import Chooser, Guide, Sampling
from burnish.errors import BurnishError


@dataclass(frozen=True, slots=True)
class Token:
    """A generated token."""

    id: int
    log_probability: float | None = None
    """In nats; None unless it was asked for."""
    top: list[tuple[int, float]] = field(default_factory=list)
    """The most likely tokens of its place, with theirs."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt to be continued."""

    ids: list[int]
    """The prompt's tokens, at least one."""
    stop_ids: Collection[int]
    most: int
    """New tokens."""
    sampling: Sampling = Sampling()
    top: int | None = None
    """How many log-probabilities each token gets; None for none at all."""
    guide: Guide | None = None
    """What the answer may be; of this answer alone."""
    inputs: Mapping[str, torch.Tensor] | None = None
    """What the prompt needs besides its tokens, for example pixels."""


@dataclass(slots=True, eq=False)
class Row:
    """One answer, as far as it is written."""

    asked: Asked
    new: list[int] = field(default_factory=list)
    ended: str | None = None
    """`stop`, `length` or `cancelled`; None while it goes on."""
    error: BurnishError | None = None
    """Why it was cancelled, if its own request is to blame."""
    shift: int = 0
    """Of positions against the number of tokens: some models count the tokens of a picture in two directions."""
    lookup: Lookup | None = None
    """Guesses its next tokens, from the first step on at which tokens are guessed."""
    chooser: Chooser = field(init=False)
    """Chooses them."""

    def __post_init__(self) -> None:
        self.chooser = Chooser(self.asked.sampling, self.asked.guide, self.asked.ids)

    @property
    def num_held(self) -> int:
        """Tokens whose keys and values are known: all but the last."""
        return len(self.asked.ids) + len(self.new) - 1
