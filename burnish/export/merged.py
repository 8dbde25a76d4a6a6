"""What merging made, as it is shown and written beside the model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from burnish.errors import BurnishError
from burnish.export.agreement import Difference, Tolerance


@dataclass(frozen=True, slots=True)
class Merged:
    """A merged model and how it was verified."""

    run: str
    base: str
    """Name of the base model."""
    method: str
    precision: str
    """Number format of the merged weights."""
    rows: int
    positions: int
    """Positions of these rows whose logits were compared."""
    merged: Difference
    """Between base with adapter and the merged model as it lies on the disk, both in `precision`."""
    tolerance: Tolerance
    learned: Difference | None
    """Between base and base with adapter; None where the base is no longer in the tuned network."""
    quantized: Difference | None
    """Between the quantized base with the adapter, as it was trained, and the merged model; None where the base was
    not quantized."""
    folder: str = ""

    def check(self) -> None:
        """The merged model must answer as base and adapter do.

        Raises:
            BurnishError: it does not.
        """
        if not self.tolerance.admits(self.merged):
            raise BurnishError(
                f"the merged model of the run `{self.run}` does not answer as its base with the adapter does",
                f"Their logits differ by {self.merged.mean:.2g} on average and {self.merged.largest:.2g} at most, and "
                f"rounding to {self.precision} explains {self.tolerance.mean:.2g} and {self.tolerance.largest:.2g}. "
                "Nothing was written.",
                f"Use the adapter as it is{'' if self.precision == 'fp32' else ', or merge with `--precision fp32`'}",
            )

    @property
    def remarks(self) -> list[str]:
        """What the user should look at, in sentences."""
        told = []
        if self.learned is not None and self.merged.mean > 0.5 * self.learned.mean:
            told.append(
                f"Rounding to {self.precision} moves the logits by {self.merged.mean:.2g} on average, and all that was "
                f"learned by {self.learned.mean:.2g}: merge with `--precision fp32` to keep it."
            )
        if self.quantized is not None:
            told.append(
                "The adapter was trained beside a quantized base and now stands in the full-precision one: the logits "
                f"differ by {self.quantized.mean:.2g} on average, and {self.quantized.same_choice:.1%} of the most "
                "likely tokens are the same."
            )
        return told

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "remarks": self.remarks}
