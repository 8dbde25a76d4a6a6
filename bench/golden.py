"""Golden runs: one short run for each of many recipes, and the digests of what it wrote.

    python bench/golden.py make FOLDER            models and rows that the package does not bring, once
    python bench/golden.py run FOLDER RUNS        every recipe, by the `burnish` of this interpreter's path
    python bench/golden.py run FOLDER RUNS plain  the same without fast arithmetic, which may sum in another order
    python bench/golden.py compare RUNS RUNS      the two, recipe by recipe; exit code 1 where one differs

Two versions of the code are compared by running each with `PYTHONPATH` at its own checkout, on one machine. A change
that is only a move of code leaves every byte of every result as it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.architecture_table import rows_for
from tests.tiny_architectures import save_architecture
from tests.tiny_data import write_rows
from tests.tiny_vision import save_vision_model, write_picture_rows

CHAT, LABELS = "chat.jsonl", "classify.jsonl"
RECIPES: dict[str, tuple[str, str, str, str, dict[str, str]]] = {
    "chat-lora": ("chat", "lora", "seedling", CHAT, {}),
    "chat-lora-fp32-dora": ("chat", "lora", "seedling", CHAT, {"model.precision": "fp32", "lora.dora": "true"}),
    "chat-full": ("chat", "full", "seedling", CHAT, {}),
    "chat-qlora": ("chat", "qlora", "seedling", CHAT, {}),
    "chat-int8-lora": ("chat", "int8-lora", "seedling", CHAT, {}),
    "chat-prompt": ("chat", "prompt", "seedling", CHAT, {"model.precision": "fp32"}),
    "chat-prefix": ("chat", "prefix", "seedling", CHAT, {}),
    "chat-p-tuning": ("chat", "p-tuning", "seedling", CHAT, {}),
    "chat-ia3": ("chat", "ia3", "seedling", CHAT, {"model.precision": "fp32"}),
    "text-freeze": ("text", "freeze", "seedling", "text.jsonl", {}),
    "dpo-lora": ("preference", "lora", "seedling", "preference.jsonl", {}),
    "orpo-full": ("preference", "full", "seedling", "preference.jsonl", {"preference.loss": "orpo"}),
    "reward-lora": ("reward", "lora", "seedling", "preference.jsonl", {}),
    "classify-lora": ("classify", "lora", "acorn", LABELS, {}),
    "classify-prompt": ("classify", "prompt", "acorn", LABELS, {"model.precision": "fp32"}),
    "classify-decoder": ("classify", "lora", "seedling", LABELS, {}),
    "tag-full": ("tag", "full", "acorn", "tag.jsonl", {"model.precision": "fp32"}),
    "span-lora": ("span", "lora", "acorn", "span.jsonl", {}),
    "mask-full": ("fill-mask", "full", "acorn", "text.jsonl", {}),
    "translate-lora": ("text-to-text", "lora", "T5", CHAT, {"model.precision": "fp32"}),
    "vision-lora": ("vision", "lora", "idefics3", "squares.jsonl", {"model.precision": "fp32"}),
}
"""By name: task, method, model, rows, and options besides."""
BUNDLED = ("seedling", "acorn")


def make(folder: Path) -> None:
    """Writes the models and the rows."""
    folder.mkdir(parents=True, exist_ok=True)
    for task in ("text", "preference", "classify", "tag", "span"):
        rows_for(task, folder)
    write_rows(folder / CHAT, 60)
    save_architecture("T5", folder / "T5")
    save_vision_model("idefics3", folder / "idefics3")
    write_picture_rows(folder)


def run(folder: Path, runs: Path, kernels: str = "fast") -> None:
    """Trains every recipe that has not been trained into `runs` yet."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "BURNISH_CACHE": str(runs / "cache")}
    for name, (task, method, model, rows, options) in RECIPES.items():
        if (runs / name).is_dir():
            continue
        settings = {"task": task, "method": method, "runs": str(runs), "name": name, "train.max_steps": "6"}
        settings |= {"model.name": model if model in BUNDLED else str(folder / model), "evaluate.every": "3"}
        settings |= {
            "model.kernels": kernels,
            "model.device": "cpu",
            "data.context": "256" if model == "idefics3" else "64",
        } | options
        flags = [word for option, value in settings.items() for word in ("--set", f"{option}={value}")]
        command = [sys.executable, "-m", "burnish", "train", str(folder / rows), *flags]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        print(f"{name}: {'trained' if done.returncode == 0 else done.stderr.strip()[-500:]}", flush=True)


def digests(run: Path) -> dict[str, str]:
    """SHA-256 of each file of weights of a run's result."""
    files = [*run.glob("adapter/*.safetensors"), *run.glob("model/*.safetensors")]
    return {str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(files)}


def losses(run: Path) -> list[float]:
    """The losses of the steps and of the validations, as the run logged them."""
    events = [json.loads(line) for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    return [event["loss"] for event in events if isinstance(event.get("loss"), float)]


def compare(before: Path, after: Path) -> int:
    """Prints a line for each recipe; 1 where one differs."""
    different = 0
    for name in RECIPES:
        old, new = digests(before / name), digests(after / name)
        same = bool(old) and old == new and losses(before / name) == losses(after / name)
        different += not same
        shown = next(iter(new.values()), "no result")[:12]
        print(f"{name:24} {'same' if same else 'DIFFERENT'}  {len(new)} files  {shown}")
    print(f"{len(RECIPES) - different} of {len(RECIPES)} the same")
    return int(different > 0)


if __name__ == "__main__":
    words = sys.argv[1:]
    if len(words) == 2 and words[0] == "make":
        make(Path(words[1]))
    elif words[:1] == ["run"] and words[3:] in ([], ["plain"]) and len(words) > 2:
        run(Path(words[1]), Path(words[2]), *words[3:])
    elif len(words) == 3 and words[0] == "compare":
        sys.exit(compare(Path(words[1]), Path(words[2])))
    else:
        sys.exit(__doc__)
