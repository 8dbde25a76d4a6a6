"""The settings of a comparison: one file, written once, read by each program."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MODEL, FILE = "model", "settings.json"
_TOGETHER = 8
"""TRL's batch, and so the least that a step may hold: texts of a step are a multiple of it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A training that every program supports."""

    model: str
    """Folder of weights and tokenizer."""
    rows: str
    """JSONL file: `text` on each line, or `prompt`, `chosen` and `rejected`."""
    held_out: str
    """A file of the same kind with another row, for programs that ask for one; nothing is made of it."""
    task: str
    """`text` (every token is trained, EOS too) or `dpo`."""
    method: str
    """`lora`, `qlora` or `full`."""
    device: str
    """`cpu` or `cuda`."""
    rank: int
    """Of the adapters; alpha is twice the rank, without dropout."""
    targets: list[str]
    """Layers that get an adapter."""
    learning_rate: float
    """Constant, without warmup and weight decay."""
    context: int
    """Most tokens of a row."""
    tokens: int
    """In all rows, EOS counted and padding not; of a pair prompt, chosen and rejected answer, each once."""
    longest: int
    """Tokens of the longest row."""
    step_rows: int
    """Rows of an optimizer step; there are whole steps only."""
    step_tokens: int
    """What they hold on average."""
    passes: int = 1
    """Over the rows."""
    precision: str = "auto"
    """Of Burnish: `fp32` beside a program that trains in it; otherwise its own choice."""

    @property
    def trained_tokens(self) -> int:
        """In all passes."""
        return self.passes * self.tokens

    def examples(self) -> list[dict[str, Any]]:
        """The rows."""
        return [json.loads(line) for line in Path(self.rows).read_text(encoding="utf-8").splitlines()]


def write_settings(
    folder: Path, rows: Sequence[dict[str, Any]], lengths: Sequence[int], step_tokens: int, **others: Any
) -> Path:
    """Writes rows and settings into the folder of the model.

    Rows at the end that would not fill a step are left out, so that every program takes the same steps.

    Args:
        folder: where to.
        rows: of one kind.
        lengths: tokens of each row.
        step_tokens: aimed at per step.
        others: the remaining fields of `Settings`.

    Returns:
        The file for `read_settings`.
    """
    steps = max(1, round(sum(lengths) / step_tokens))
    step_rows = min(len(rows), _TOGETHER * max(1, round(len(rows) / steps / _TOGETHER)))
    count = len(rows) // step_rows * step_rows
    held_out = {key: f"Held out, with this as {key}." for key in rows[0]}  # a row of the others would be left out there
    for name, chosen in (("rows", rows[:count]), ("held_out", [held_out])):
        lines = (json.dumps(row) + "\n" for row in chosen)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    tokens = sum(lengths[:count])
    settings = Settings(
        model=str(folder / MODEL),
        rows=str(folder / "rows.jsonl"),
        held_out=str(folder / "held_out.jsonl"),
        tokens=tokens,
        longest=max(lengths[:count]),
        step_rows=step_rows,
        step_tokens=round(tokens * step_rows / count),
        **others,
    )
    (folder / FILE).write_text(json.dumps(asdict(settings)), encoding="utf-8")
    return folder / FILE


def read_settings(file: Path) -> Settings:
    """What `write_settings` wrote."""
    return Settings(**json.loads(file.read_text(encoding="utf-8")))
