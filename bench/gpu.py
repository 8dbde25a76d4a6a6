"""Burnish beside TRL and Unsloth on a CUDA GPU: Llama's layout, bf16 and 4 bits, LoRA of rank 16 on all linear layers.

    python bench/gpu.py [--model 1b|8b|tiny] [--method lora|qlora] [--context 4096] [--rounds 3]
                        [--unsloth-python PATH] [--write]

Builds the model at random in the layout of Llama-3.2-1B or Llama-3.1-8B, trains it on made-up texts packed to the
context, each program in its own process, in turns (see `bench/peer.py`; TRL with Liger's kernels, packed, in bf16;
Unsloth where an interpreter that has it is named), and prints tokens a second, the largest
`torch.cuda.max_memory_allocated`, and the share of the GPU's own rate of matrix products. A loss that is off is pointed
out, as in `bench/peers.py`. Without a GPU it says so and ends with 3; `--model tiny` tries the script on the CPU.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from limit import matrix_rate
from page import DOCS, write_between
from peers import ASSETS, far_apart, loss_before, measure
from settings import MODEL, Settings, read_settings, write_settings
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from burnish.recipe.schema import Recipe
from burnish.workflows.plan import Place, plan

SHAPES = {
    "1b": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128_256,
    },
    "8b": {
        "hidden_size": 4096,
        "intermediate_size": 14_336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128_256,
    },
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 8192,
    },
}
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def settings_for(options: argparse.Namespace, device: str, folder: Path) -> Path:
    """Model, texts and settings, as files."""
    tokenizer = AutoTokenizer.from_pretrained(str(ASSETS / "seedling"))
    torch.manual_seed(0)
    ends = {"bos_token_id": tokenizer.eos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = LlamaConfig(max_position_embeddings=8192, **SHAPES[options.model], **ends)
    with torch.device(device):
        network: Any = LlamaForCausalLM(config)
    network.to(torch.bfloat16).save_pretrained(str(folder / MODEL))
    del network
    torch.cuda.empty_cache()  # this process lives on beside those that are measured
    tokenizer.save_pretrained(str(folder / MODEL))
    source, words = random.Random(0), [word for word in tokenizer.get_vocab() if word.isalpha()]
    texts = [" ".join(source.choices(words, k=source.randint(50, options.context // 2))) for _ in range(options.rows)]
    return write_settings(
        folder,
        [{"text": text} for text in texts],
        [len(tokenizer(text).input_ids) + 1 for text in texts],
        4 * options.context,
        task="text",
        method=options.method,
        device=device,
        rank=16,
        targets=TARGETS,
        learning_rate=2e-4,
        context=options.context,
    )


def flops_per_token(settings: Settings) -> float:
    """Of the step on this very device, counted in its simulation (see `bench/limit.py`)."""
    recipe = {
        "method": settings.method,
        "model": {"name": settings.model, "device": settings.device},
        "data": {"path": settings.rows, "context": settings.context},
        "batch": {"tokens": settings.step_tokens},
        "lora": {"rank": settings.rank, "targets": settings.targets},
    }
    return plan(Recipe.model_validate(recipe), Place()).flops_per_token


def make_table(runs: dict[str, list[dict[str, Any]]], flops: float, rate: float, before: float, noise: float) -> str:
    """Markdown: medians.

    Args:
        runs: of each program, round by round.
        flops: of a token.
        rate: FLOP a second of matrix products alone.
        before: the loss before the training.
        noise: see `bench/peers.py`.
    """
    losses = {peer: statistics.median(one["loss"] for one in results) for peer, results in runs.items()}
    apart = far_apart(losses, before, noise)
    lines = ["| | real tokens/s | peak memory | share of the matrix rate | loss after |", "|---|---:|---:|---:|---:|"]
    for peer, results in runs.items():
        speed = statistics.median(one["tokens"] / one["seconds"] for one in results)
        peak = statistics.median(one["peak_bytes"] for one in results)
        far = " (!)" if peer in apart else ""
        lines.append(
            f"| {peer} | {speed:,.0f} | {peak / 1e9:.1f} GB | {speed * flops / rate:.0%} | {losses[peer]:.3f}{far} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", choices=sorted(SHAPES), default="1b")
    parser.add_argument("--method", choices=["lora", "qlora"], default="lora")
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", default="burnish,trl-best")
    parser.add_argument("--unsloth-python", default="", help="interpreter that has unsloth; it is then compared too")
    parser.add_argument("--noise", type=float, default=0.2, help="as in peers.py")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    options = parser.parse_args()
    device = "cpu" if options.model == "tiny" else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        print("there is no CUDA GPU here: `--model tiny` tries the script on the CPU", file=sys.stderr)
        sys.exit(3)
    pythons = dict.fromkeys(options.peers.split(","), sys.executable)
    if options.unsloth_python:
        pythons["unsloth"] = options.unsloth_python
    runs: dict[str, list[dict[str, Any]]] = {peer: [] for peer in pythons}
    with tempfile.TemporaryDirectory() as folder:
        file = settings_for(options, device, Path(folder))
        for _ in range(options.rounds):
            for peer, results in runs.items():
                results.append(measure(peer, file, pythons[peer]))
        flops, before = flops_per_token(read_settings(file)), loss_before(file)
    shape = SHAPES[options.model]
    with torch.device(device):
        rate = matrix_rate(torch.bfloat16, shape["hidden_size"], shape["intermediate_size"], rows=4096)
    where = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    result = (
        f"{where}: {rate / 1e12:,.1f} TFLOP/s of matrix products alone, torch {torch.__version__}. "
        f"Loss before: {before:.3f}."
    )
    table = f"{make_table(runs, flops, rate, before, options.noise)}\n\n{result}"
    print(table)
    if options.write:
        write_between(DOCS / "performance.md", f"gpu-{options.model}-{options.method}", table)


if __name__ == "__main__":
    main()
