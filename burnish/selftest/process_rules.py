"""The rule that two processes equal one: a step is computed here, and once more by two processes that share it.

As a program, `python -m burnish.selftest.process_rules FOLDER` is one of the two.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from burnish.engine.checkpoint import trained_weights
from burnish.engine.process import join
from burnish.recipe.schema import Recipe
from burnish.runs.event_log import EventLog
from burnish.selftest.gradient_rules import TOLERANCES, WHY, Gradients, gradients_of
from burnish.selftest.opening import make_bench
from burnish.selftest.workbench import Bench, RuleLine, left_out
from burnish.system.inventory import free_memory
from burnish.system.machine import memory_size, resident_bytes, this_machine
from burnish.system.place import place_here

_RULE = "two processes = one"
_WORLD = 2
_PATIENCE_SECONDS = 300.0
_RECIPE, _WEIGHTS = "recipe.json", "weights.safetensors"
_GRADIENTS, _LOSS = "gradients.safetensors", "loss.json"


def together(bench: Bench) -> RuleLine:
    """Two processes that share a step get the loss and the gradients of one."""
    if hindrance := _hindrance(bench):
        return left_out(_RULE, hindrance)
    weights = trained_weights(bench.subject.network)
    subject = bench.copy(bench.recipe)  # as in the processes, whose base weights no other rule has merged anything into
    batches = bench.pieces(subject)
    alone = gradients_of(subject.trainer, batches)
    with tempfile.TemporaryDirectory(prefix="burnish-selftest-") as name:
        folder = Path(name)
        (folder / _RECIPE).write_text(bench.recipe.model_dump_json(), encoding="utf-8")
        save_file({name: weight.cpu().contiguous() for name, weight in weights.items()}, str(folder / _WEIGHTS))
        failure = run_processes(folder)
        found = [] if failure else [_read(folder / str(rank)) for rank in range(_WORLD)]
    precision = bench.recipe.model.precision
    if failure:
        return RuleLine(_RULE, float("inf"), TOLERANCES[precision], failure)
    compared = f"{len(batches)} micro-batches in one process, and shared by {_WORLD}"
    difference = max(alone.difference(one) for one in found)
    return RuleLine(_RULE, difference, TOLERANCES[precision], f"{compared}; {WHY[precision]}")


def _hindrance(bench: Bench) -> str:
    """Why two more processes cannot be started here; empty if they can."""
    if bench.context.device.type != "cpu":
        return "it is measured on the processor; `burnish doctor --processes 2` tests the sums of GPUs"
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        return "this torch cannot exchange tensors between processes (gloo)"
    needed, free = _WORLD * resident_bytes(), free_memory(this_machine().memory_bytes)
    if free is not None and free < needed:
        return f"two more processes need {memory_size(needed)} of memory, and {memory_size(free)} are free"
    return ""


def run_processes(folder: Path) -> str:
    """Lets two processes compute the step; returns what went wrong, empty if nothing did."""
    command = [sys.executable, "-m", __name__, str(folder)]
    running: list[subprocess.Popen[str]] = []
    try:
        for variables in _places():
            environment = {**os.environ, **variables}
            pipe = subprocess.PIPE
            running.append(subprocess.Popen(command, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True))
        said = [process.communicate(timeout=_PATIENCE_SECONDS)[0] for process in running]
    except subprocess.TimeoutExpired:
        return f"two processes did not finish a step within {_PATIENCE_SECONDS:g} s"
    finally:
        for process in running:
            process.kill()
            process.wait()
    for process, text in zip(running, said, strict=True):
        if process.returncode:
            last = (text.strip().splitlines() or ["it said nothing"])[-1]
            return f"one of two processes ended with {process.returncode}: {last}"
    return ""


def _places() -> Iterator[dict[str, str]]:
    """The variables by which each process finds the other, as torchrun sets them."""
    with contextlib.closing(socket.socket()) as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    threads = str(max(1, this_machine().cores // _WORLD))
    for rank in range(_WORLD):
        yield {
            **{name: str(rank) for name in ("RANK", "LOCAL_RANK")},
            **{name: str(_WORLD) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE")},
            "MASTER_ADDR": "localhost",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads),
            "TORCH_CPP_LOG_LEVEL": "ERROR",
        }


def write_gradients(folder: Path, found: Gradients) -> None:
    """Writes what a process has computed into a new folder."""
    folder.mkdir()
    save_file(found.by_name, str(folder / _GRADIENTS))
    (folder / _LOSS).write_text(json.dumps(found.loss), encoding="utf-8")


def _read(folder: Path) -> Gradients:
    loss = json.loads((folder / _LOSS).read_text(encoding="utf-8"))
    return Gradients(float(loss), load_file(str(folder / _GRADIENTS)))


def compute(folder: Path) -> None:
    """Computes its part of the step in one of the processes, and writes the gradients of the whole."""
    recipe = Recipe.model_validate_json((folder / _RECIPE).read_text(encoding="utf-8"))
    bench = make_bench(recipe, EventLog(None))
    subject = bench.fresh()
    weights = load_file(str(folder / _WEIGHTS))
    with torch.no_grad():
        for name, weight in trained_weights(subject.network).items():
            weight.copy_(weights[name])
    with join(place_here()) as process:
        batches = bench.pieces(subject)
        own = batches[process.rank :: process.world]
        subject.trainer.process = process
        found = gradients_of(subject.trainer, own, sum(batch.num_trained for batch in batches))
    write_gradients(folder / str(process.rank), found)


def main(arguments: Sequence[str]) -> None:
    """One of the processes."""
    compute(Path(arguments[0]))


if __name__ == "__main__":
    main(sys.argv[1:])
