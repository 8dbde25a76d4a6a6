"""Predicted against measured memory of training steps.

    python bench/memory_grid.py [--only llama-lora] [--write]     a few minutes, Linux only

A cell is one model, method and context, with activation checkpointing or without, in a process of its own: fp32, one
thread, two micro-batches of two rows. It simulates the step on tensors without numbers, loads the model and takes two
real steps, while the system keeps the high-water mark of resident memory; of the second the live bytes are counted.
`--write` puts the table into docs/memory.md, between two markers.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from page import DOCS, write_between
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer, LlamaConfig

from burnish.data.batching.batches import Batch
from burnish.data.rows.row import IGNORED, Example
from burnish.engine.step import Trainer, make_trainable, make_trainer
from burnish.methods import make_method
from burnish.models.base import Loading, load_base, quiet_transformers
from burnish.models.config import find_public, with_depth
from burnish.models.location import ModelLocation
from burnish.models.skeleton import Skeleton
from burnish.plan.simulate import Enough, Simulation, simulate, simulate_deep
from burnish.prepare.model import loading_for
from burnish.recipe.schema import DataSection, ModelSection, Recipe, TrainSection
from burnish.system.machine import return_freed_memory
from burnish.tasks import make_task
from burnish.tasks.classify import LabelledExample

ASSETS = Path(str(resources.files("burnish"))) / "assets"
CPU = torch.device("cpu")
MODELS = ("gpt2", "llama", "bert")
METHODS = ("full", "lora", "qlora", "prompt")
ROWS, MICRO_BATCHES = 2, 2
SHORT, LONG = 128, 384
LABELS = ["bad", "good"]
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Cell:
    """What one process measures."""

    model: str
    method: str
    context: int
    checkpointing: bool

    def __str__(self) -> str:
        return f"{self.model}-{self.method}-{self.context}{'-checkpointing' if self.checkpointing else ''}"


@dataclass(frozen=True, slots=True)
class Measured:
    """What a cell gave; bytes."""

    cell: Cell
    live_predicted: int
    live: int
    resident_before: int
    resident: int

    @property
    def live_error(self) -> float:
        """Of the predicted live bytes, as a share of the measured ones."""
        return self.live_predicted / self.live - 1

    @property
    def resident_error(self) -> float:
        """Of the predicted resident memory: what was there before the model, and the live bytes."""
        return (self.resident_before + self.live_predicted) / self.resident - 1


def grid() -> Iterator[Cell]:
    """Every model, method and checkpointing, and a longer context for each model."""
    for model in MODELS:
        for method in METHODS:
            for checkpointing in (False, True):
                yield Cell(model, method, SHORT, checkpointing)
        yield Cell(model, "lora", LONG, False)


def config_of(model: str) -> Any:
    """GPT-2 and BERT as they are public, and a Llama of about 110 M parameters."""
    if model == "llama":
        return LlamaConfig(
            vocab_size=32000, hidden_size=768, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=12,
            max_position_embeddings=512, tie_word_embeddings=True,
        )  # fmt: skip
    return public_config("bert-base-uncased" if model == "bert" else model)


def public_config(name: str) -> Any:
    """A bundled configuration."""
    path = find_public(name)
    if path is None:
        raise SystemExit(f"no configuration `{name}` is bundled")
    return AutoConfig.from_pretrained(path)


def save_models(folder: Path) -> None:
    """Random weights of every model with a bundled tokenizer, in bf16 as most are published.

    Weights that need no conversion stay pages of their file, and what loading has touched of it counts as resident.
    """
    for model in MODELS:
        torch.manual_seed(0)
        auto = AutoModel if model == "bert" else AutoModelForCausalLM
        auto.from_config(config_of(model)).to(torch.bfloat16).save_pretrained(folder / model)
        tokenizer = AutoTokenizer.from_pretrained(ASSETS / ("acorn" if model == "bert" else "seedling"))
        tokenizer.save_pretrained(folder / model)


@dataclass(frozen=True, slots=True)
class Step:
    """What is simulated and then measured."""

    recipe: Recipe
    task: Any
    method: Any
    tokenizer: Any
    loading: Loading
    batches: list[Batch]
    outputs: int

    def trainer(self, network: Any, new_modules: tuple[str, ...], fill: Callable[[Any], None] | None = None) -> Trainer:
        """A trainer of the network made trainable; `fill` takes the numbers out of what the method has added."""
        made = make_trainable(network, self.task.objective, self.method, self.recipe, self.tokenizer, new_modules)
        if fill is not None:
            fill(made)
        return make_trainer(made, self.task, self.method, self.recipe, CPU)

    def predict(self, config: Any, blocks: int | None = None, enough: Enough | None = None) -> Simulation:
        """The step simulated without weights, at a depth, or at the model's own for None."""
        config = config if blocks is None else with_depth(config, blocks)
        skeleton = Skeleton(config, self.task.objective.head, self.loading, self.tokenizer)
        trainer = self.trainer(skeleton.network, skeleton.new_modules, skeleton.fill)
        return simulate(trainer, self.batches, self.outputs, enough=enough)


def make_step(cell: Cell, config: Any, rows: int = ROWS, micro_batches: int = MICRO_BATCHES) -> Step:
    """Rows as long as the context; of a text's tokens half are trained on."""
    labelled = cell.model == "bert"
    recipe = Recipe(
        method=cell.method,
        model=ModelSection(precision="fp32"),
        data=DataSection(context=cell.context, labels=LABELS if labelled else "auto"),
        train=TrainSection(learning_rate=1e-4, optimizer="adamw", gradient_checkpointing=cell.checkpointing),
    )
    tokenizer = AutoTokenizer.from_pretrained(ASSETS / ("acorn" if labelled else "seedling"))
    task, method = make_task("classify" if labelled else "text", tokenizer, recipe), make_method(cell.method)
    ids = [100 + number % 1000 for number in range(cell.context - method.virtual_tokens(recipe))]
    examples: list[Any] = [
        LabelledExample(ids, None, (number % 2,), ("",), "")
        if labelled
        else Example(ids, [IGNORED] * (len(ids) // 2) + ids[len(ids) // 2 :], "")
        for number in range(rows)
    ]
    batches = [
        task.encoder.collate(examples, [[number] for number in range(rows)], False, 0) for _ in range(micro_batches)
    ]
    outputs = len(LABELS) if labelled else config.vocab_size
    return Step(recipe, task, method, tokenizer, loading_for(method, recipe, CPU), batches, outputs)


def measure(cell: Cell, folder: Path) -> Measured:
    """Predicts, then loads the model and takes steps."""
    torch.set_num_threads(1)
    return_freed_memory()
    config = AutoConfig.from_pretrained(folder / cell.model)
    step = make_step(cell, config)
    predicted = simulate_deep(config, partial(step.predict, config), is_uniform=True)
    gc.collect()
    before = resident_bytes("VmRSS")
    location = ModelLocation(cell.model, folder / cell.model, False)
    base = load_base(location, step.recipe.model, step.tokenizer, CPU, step.loading, step.task.objective.head)
    trainer = step.trainer(base.network, base.new_modules)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the high-water mark begins again: proc(5)
    trainer.step(step.batches)
    real = simulate(trainer, step.batches, step.outputs)
    resident = resident_bytes("VmHWM")
    return Measured(cell, predicted.peak.total, real.peak.total, before, resident)


def resident_bytes(field: str) -> int:
    """A size that Linux reports for this process: `VmRSS` (current) or `VmHWM` (peak)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def measure_apart(cell: Cell, folder: Path) -> Measured:
    """Measures a cell in a process of its own."""
    result = subprocess.run(
        [sys.executable, __file__, "--cell", json.dumps(asdict(cell)), "--folder", str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True, check=True,
    ).stdout  # fmt: skip
    return Measured(cell, **json.loads(result.splitlines()[-1]))


def grid_table(cells: Sequence[Measured]) -> str:
    """The cells as a table, and their errors in a sentence."""
    lines = [
        "| model | method | tokens a row | checkpointing | live, predicted | live, measured | error "
        "| resident, predicted | resident, measured | error |",
        "|---|---|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for one in cells:
        cell, before = one.cell, one.resident_before
        lines.append(
            f"| {cell.model} | {cell.method} | {cell.context} | {'yes' if cell.checkpointing else 'no'} "
            f"| {one.live_predicted / MIB:,.1f} | {one.live / MIB:,.1f} | {one.live_error:+.2%} "
            f"| {(before + one.live_predicted) / MIB:,.0f} | {one.resident / MIB:,.0f} | {one.resident_error:+.1%} |"
        )
    result = []
    for what, errors in (
        ("live bytes", [abs(one.live_error) for one in cells]),
        ("resident memory", [abs(one.resident_error) for one in cells]),
    ):
        result.append(f"{what}: median {statistics.median(errors):.2%}, worst {max(errors):.2%}")
    before = statistics.median(one.resident_before for one in cells) / MIB
    return "\n".join(
        [
            *lines,
            "",
            f"In MiB. Error of {'; of '.join(result)}. Before the model is loaded the process takes {before:.0f}.",
        ]
    )


def main() -> None:
    """Prints a table, and writes it where asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help="cells whose name begins so")
    parser.add_argument("--write", action="store_true", help="into docs/memory.md")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    with quiet_transformers():
        if options.cell:
            result = asdict(measure(Cell(**json.loads(options.cell)), options.folder))
            del result["cell"]
            print(json.dumps(result))
            return
        cells = []
        with tempfile.TemporaryDirectory() as name:
            save_models(Path(name))
            for cell in grid():
                if str(cell).startswith(options.only):
                    cells.append(one := measure_apart(cell, Path(name)))
                    print(f"{cell!s:32} {one.live_error:+.3%} {one.resident_error:+.2%}")
        table = grid_table(cells)
    print(table)
    if options.write:
        write_between(DOCS / "memory.md", "grid", table)


if __name__ == "__main__":
    main()
