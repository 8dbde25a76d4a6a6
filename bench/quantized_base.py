"""What a quantized base saves in memory and costs in time, on a random Llama of about 106 M parameters.

    python bench/quantized_base.py [--rounds 3] [--steps 6]

Each round trains the same rows by `lora`, `qlora` and `int8-lora`, one after the other, reloading the model. Times are
medians; only their ratios within one round mean anything.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

import burnish
from burnish.inference.session import open_session
from burnish.models.blocks import linear_layers, memory_bytes
from burnish.models.quantization import int8_bytes, nf4_bytes
from burnish.runs.events import Event, ModelReady, StepDone
from burnish.system.machine import yield_cores

ASSETS = Path(str(resources.files("burnish"))) / "assets"
METHODS = ("lora", "qlora", "int8-lora")
FORMULAS = {"lora": lambda rows, columns: 2 * rows * columns, "qlora": nf4_bytes, "int8-lora": int8_bytes}


def make_base(folder: Path) -> Path:
    """A random Llama that reads seedling's tokens, in bf16."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(ASSETS / "seedling")
    config = LlamaConfig(
        vocab_size=8192, hidden_size=768, intermediate_size=2304, num_hidden_layers=13, num_attention_heads=12,
        max_position_embeddings=512, tie_word_embeddings=True, pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def train(base: Path, method: str, steps: int, runs: Path) -> dict[str, Any]:
    """A few steps with one method: its events about the model, each step, and the loss."""
    eventss: list[Event] = []
    options = {
        "train.max_steps": steps,
        "data.rows": 200,
        "batch.tokens": 1024,
        "evaluate.every": steps,
        "evaluate.answers": 0,
    }
    rows = ASSETS / "samples" / "orders.jsonl"
    run = burnish.train(rows, model=str(base), method=method, runs=str(runs), set=options, listeners=[eventss.append])
    (ready,) = (event for event in eventss if isinstance(event, ModelReady))
    done = [event for event in eventss if isinstance(event, StepDone)]
    loss = run.evaluation["figures"][0] if run.evaluation else {}
    return {
        "run": run.path,
        "base_bytes": ready.base_bytes,
        "parameters": ready.parameters - ready.trained_parameters,
        "seconds": statistics.median(event.seconds for event in done[1:]),
        "before": loss["base"]["value"],
        "after": loss["tuned"]["value"],
    }


def linear_bytes(run: Path, method: str) -> tuple[int, int, int]:
    """Bytes of the base's linear layers as held, as the formula has it, and in bf16."""
    network = open_session(str(run), base=True).network
    layers = [module for name, module in network.named_modules() if name in set(linear_layers(network))]
    held = sum(memory_bytes(layer) for layer in layers)
    sizes = [(layer.out_features, layer.in_features) for layer in layers]
    bf16 = sum(2 * rows * columns for rows, columns in sizes)
    return held, sum(FORMULAS[method](*size) for size in sizes), bf16


def main() -> None:
    """Prints one line a method."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    options = parser.parse_args()
    yield_cores()
    with tempfile.TemporaryDirectory() as name:
        base = make_base(Path(name) / "base")
        rounds = [
            {method: train(base, method, options.steps, Path(name) / "runs") for method in METHODS}
            for _ in range(options.rounds)
        ]
        print(f"{rounds[0]['lora']['parameters']:,} parameters, {options.rounds} rounds of {options.steps} steps")
        print("method     base MB  linears/bf16  formula/bf16  step s  step/lora  held-out loss")
        for method in METHODS:
            made = [each[method] for each in rounds]
            held, formula, bf16 = linear_bytes(made[0]["run"], method)
            seconds = statistics.median(one["seconds"] for one in made)
            ratio = statistics.median(each[method]["seconds"] / each["lora"]["seconds"] for each in rounds)
            print(
                f"{method:<10} {made[0]['base_bytes'] / 1e6:7.1f}  {held / bf16:12.4f}  {formula / bf16:12.4f}  "
                f"{seconds:6.2f}  {ratio:9.2f}  {made[0]['before']:.3f} -> {made[0]['after']:.3f}"
            )


if __name__ == "__main__":
    main()
