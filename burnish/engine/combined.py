"""Muon for matrices and AdamW for all other weights, as one optimizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch


class MuonWithAdamW(torch.optim.Optimizer):
    """Two of torch's optimizers that share their groups and state, so that both are saved and restored as one.

    Muon replaces the update of a matrix by the nearest orthogonal one (Jordan et al., 2024); it is scaled so that its
    entries are about as large as AdamW's (arXiv 2502.16982), and the same learning rates suit both.

    Args:
        matrices: groups of weights with two dimensions.
        others: groups of all other weights.
        rate: learning rate.
        betas: of AdamW.
    """

    def __init__(
        self,
        matrices: Sequence[dict[str, Any]],
        others: Sequence[dict[str, Any]],
        rate: float,
        betas: tuple[float, float],
    ) -> None:
        self._muon = (
            torch.optim.Muon([_without_epsilon(group) for group in matrices], lr=rate, adjust_lr_fn="match_rms_adamw")
            if matrices
            else None
        )
        self._adamw = torch.optim.AdamW(list(others), lr=rate, betas=betas, fused=True) if others else None
        parts = [part for part in (self._muon, self._adamw) if part is not None]
        super().__init__([group for part in parts for group in part.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Lets both parts use the groups and the state of the whole."""
        number = len(self._muon.param_groups) if self._muon is not None else 0
        for part, groups in ((self._muon, self.param_groups[:number]), (self._adamw, self.param_groups[number:])):
            if part is not None:
                part.param_groups, part.state = groups, self.state

    @property
    def adamw(self) -> torch.optim.AdamW | None:
        """The part for weights that are no matrices; None if there are none."""
        return self._adamw

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update of all weights that have a gradient."""
        for part in (self._muon, self._adamw):
            if part is not None:
                part.step()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores both parts."""
        super().load_state_dict(state_dict)
        self._share()


def _without_epsilon(group: dict[str, Any]) -> dict[str, Any]:
    """Muon's epsilon only keeps the norm of the gradient above zero, and has no unit."""
    return {name: value for name, value in group.items() if name != "eps"}
