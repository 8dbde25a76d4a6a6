"""What came of a command: exit code, stdout, the three parts of its error, and all of it as a snapshot."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class CommandResult:
    """Everything that came of one command."""

    code: int
    out: str
    err: str

    @property
    def what(self) -> str:
        """What is wrong: the first part of the error."""
        return self._part("error")

    @property
    def why(self) -> str:
        """The reason: the second part, which may be missing."""
        return self._part("why")

    @property
    def hint(self) -> str:
        """What to do: the third part, which may be missing."""
        return self._part("hint")

    @property
    def json(self) -> Any:
        """The one object on stdout; fails where there is anything else."""
        return json.loads(self.out)

    def _part(self, label: str) -> str:
        found = re.search(rf"^{label}:\s(.*?)(?=\n\n|\n(?:why|hint):|\Z)", self.err, re.MULTILINE | re.DOTALL)
        return found[1].strip() if found else ""


_MASKS = (
    (r"\d{4}-\d\d-\d\d( \d\d:\d\d)?", "DATE"),
    (r"(\d+ h )?(\d+ min )?[\d.]+ s\b", "TIME"),
    (r"[\d.,]*\d( [kMGT]B)\b", "SIZE"),
    (r"(?<![A-Za-z\d])[-+]?\d([\d.,]*\d)?(e[-+]\d+)?(?![A-Za-z\d])", "#"),
    (r"(?m)^step +#/#.*\n", ""),
    (r"(?m)^[a-z ]+ #/#\n", ""),
    (r"(?m)(?<=\S)  +", "  "),
    (r"-{4,}", "----"),
)
"""Replaced in this order: what differs by machine and by speed, and the widths of columns that follow from it."""


def screen(result: CommandResult, names: Mapping[str, str] | None = None) -> str:
    """What a command shows when piped, first stderr and then stdout, with numbers masked: for `check_snapshot`.

    Args:
        reported: of the command.
        names: what else to replace, for example the path of a shared folder.
    """
    text = f"{result.err}~~~\n{result.out}"
    for name, mask in (names or {}).items():
        text = text.replace(name, mask)
    for pattern, mask in _MASKS:
        text = re.sub(pattern, mask, text)
    return text


def listing(folder: Path) -> list[str]:
    """Every file and folder below `folder`, hidden ones too, with the sizes of files."""
    return sorted(
        f"{path.relative_to(folder)} {path.stat().st_size}" if path.is_file() else f"{path.relative_to(folder)}/"
        for path in folder.rglob("*")
    )


def adapter_bytes(run: Path) -> bytes:
    """The trained weights of a run's result."""
    return (run / "adapter" / "adapter_model.safetensors").read_bytes()


def read_lines(path: Path, event: str = "") -> list[dict[str, Any]]:
    """The objects of a JSON Lines file; only those of one kind of event where one is named."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if not event or line["event"] == event]
