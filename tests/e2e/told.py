"""What a command told: its exit code, its result on stdout, and its error in three parts."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Told:
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
