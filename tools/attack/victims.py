"""What is killed: trainings of every task and most methods, and commands on a finished run; tiny models, few rows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.runs.lock import LOCK, RECORD
from tests.architecture_table import rows_for
from tests.tiny_architectures import save_architecture
from tests.tiny_vision import save_vision_model, write_picture_rows

RUN = "runs/made"
_SET = {
    "model.device": "cpu",
    "model.precision": "fp32",
    "data.context": 64,
    "train.max_steps": 5,
    "batch.rows": 2,
    "batch.tokens": 128,
    "evaluate.every": 2,
    "evaluate.answers": 2,
    "evaluate.max_new_tokens": 4,
    "save.every": 2,
    "save.keep": 2,
}


def settings(values: Mapping[str, Any]) -> list[str]:
    """Options of a recipe as words of a command."""
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]


@dataclass(frozen=True, slots=True)
class Training:
    """A training that is killed, by what it trains."""

    task: str
    method: str
    architecture: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of its row in the table."""
        return f"{self.task} {self.method}"

    def words(self, files: Path) -> list[str]:
        """The command, to be given in an empty folder."""
        if self.task == "vision":
            model, rows = _pictures(files)
        else:
            model, rows = files / self.architecture, rows_for(self.task, files)
            if not model.exists():
                save_architecture(self.architecture, model)
        chosen = ["--task", self.task, "--method", self.method, "--name", "made"]
        return ["train", str(rows), "--model", str(model), *chosen, *settings({**_SET, **self.options})]


def _pictures(files: Path) -> tuple[Path, Path]:
    model, pictures = files / "idefics3", files / "pictures"
    if not model.exists():
        save_vision_model("idefics3", model)
        pictures.mkdir()
        write_picture_rows(pictures, 8)
    return model, next(pictures.glob("*.jsonl"))


TRAININGS = (
    Training("chat", "lora", "Llama"),
    Training("chat", "full", "GPT-2"),
    Training("chat", "qlora", "Llama"),
    Training("chat", "prompt", "Llama"),
    Training("text", "ia3", "Llama"),
    Training("text-to-text", "lora", "T5"),
    Training("preference", "lora", "Llama"),
    Training("reward", "freeze", "Llama"),
    Training("classify", "full", "BERT"),
    Training("tag", "lora", "BERT"),
    Training("span", "lora", "BERT"),
    Training("score", "full", "BERT"),
    Training("fill-mask", "lora", "BERT"),
    Training("vision", "lora", "idefics3", {"data.context": 256}),
)


@dataclass(frozen=True, slots=True)
class Command:
    """A command on a finished run, which is killed and then given again."""

    name: str
    words: tuple[str, ...]


COMMANDS = (
    Command("merge", ("merge", RUN, "--out", "merged")),
    Command("merge into the run", ("merge", RUN)),
    Command("export to gguf", ("export", RUN, "--to", "gguf", "--out", "exported", "--answers", "2")),
    Command("export to hf", ("export", RUN, "--to", "hf")),
    Command("eject", ("eject", RUN, "--out", "script.py")),
    Command("evaluate", ("evaluate", RUN, "--answers", "2")),
    Command("report", ("report", RUN)),
)

_CHANGING = {"seconds", "seconds_left", "time", "started", "ended"}
_APART = re.compile(r"(^|/)(manifest\.json|events\.jsonl|checksums\.json|report\.html)$")
"""Files that name the times and processes of their making."""


def contents(folder: Path) -> dict[str, Any]:
    """What a run or an export holds, by path: bytes, or values without times."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.name in (LOCK, RECORD):  # of a killed writer: held by no process, and removed by the next writer
            continue
        if path.is_dir():
            found[f"{name}/"] = True
        elif _APART.search(name):
            found[name] = True
        elif path.suffix == ".jsonl":
            found[name] = [_timeless(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
        elif path.suffix == ".json":
            found[name] = _timeless(json.loads(path.read_text(encoding="utf-8")))
        else:
            found[name] = path.read_bytes()
    return found


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(one) for key, one in value.items() if key not in _CHANGING}
    return [_timeless(one) for one in value] if isinstance(value, list) else value


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Where two folders differ, a line for each file."""
    missing = [f"{name} is missing" for name in expected if name not in found]
    more = [f"{name} is left over" for name in found if name not in expected]
    return missing + more + [f"{name} differs" for name in found if name in expected and found[name] != expected[name]]
