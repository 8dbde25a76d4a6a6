"""Burnish beside TRL on a CUDA GPU: Llama's layout, bf16 and 4 bits, LoRA of rank 16 on every linear layer.

    python bench/gpu.py [--model 1b|8b|tiny] [--method lora|qlora] [--context 4096] [--rounds 3] [--write]

Builds the model at random in the layout of Llama-3.2-1B or Llama-3.1-8B, trains it on made-up texts packed to the
context, each program in its own process, in turns (see `bench/peer.py`; TRL with Liger's kernels, packed, in bf16), and
prints tokens a second, the largest `torch.cuda.max_memory_allocated`, and the share of the GPU's own rate of matrix
products. Without a GPU it says so and ends with 3; `--model tiny` runs on the CPU, to try the script.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from limit import matrix_rate
from peers import ASSETS, measure, write_between
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from burnish.plan.devices import find_device
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


def make_settings(options: argparse.Namespace, device: str, folder: Path) -> Path:
    """Model, texts and settings, as files."""
    tokenizer = AutoTokenizer.from_pretrained(str(ASSETS / "seedling"))
    torch.manual_seed(0)
    ends = {"bos_token_id": tokenizer.eos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = LlamaConfig(max_position_embeddings=8192, **SHAPES[options.model], **ends)
    with torch.device(device):
        LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(str(folder / "model"))
    tokenizer.save_pretrained(str(folder / "model"))
    source, words = random.Random(0), [word for word in tokenizer.get_vocab() if word.isalpha()]
    texts = [" ".join(source.choices(words, k=source.randint(50, options.context // 2))) for _ in range(options.rows)]
    lengths = [len(tokenizer(text).input_ids) + 1 for text in texts]
    for name, chosen in (("rows", texts), ("held_out", ["A text of its own."])):
        lines = (json.dumps({"text": text}) + "\n" for text in chosen)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    settings = {
        "model": str(folder / "model"),
        "rows": str(folder / "rows.jsonl"),
        "held_out": str(folder / "held_out.jsonl"),
        "device": device,
        "method": options.method,
        "rank": 16,
        "targets": TARGETS,
        "learning_rate": 2e-4,
        "context": options.context,
        "tokens": sum(lengths),
        "longest": max(lengths),
        "step_rows": max(1, round(4 * options.context * len(lengths) / sum(lengths))),
        "step_tokens": 4 * options.context,
    }
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder / "settings.json"


def flops_per_token(settings: dict[str, Any]) -> float:
    """Of the step, counted in its simulation (see `bench/limit.py`)."""
    recipe = {
        "method": settings["method"],
        "model": {"name": settings["model"]},
        "data": {"path": settings["rows"], "context": settings["context"]},
        "batch": {"tokens": settings["step_tokens"]},
        "lora": {"rank": settings["rank"], "targets": TARGETS},
    }
    place = Place(on=find_device("H200").name) if settings["device"] == "cuda" else Place()
    return plan(Recipe.model_validate(recipe), place).flops_per_token


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", choices=sorted(SHAPES), default="1b")
    parser.add_argument("--method", choices=["lora", "qlora"], default="lora")
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", default="burnish,trl-best")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    options = parser.parse_args()
    device = "cpu" if options.model == "tiny" else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        print("there is no CUDA GPU here: `--model tiny` tries the script on the CPU", file=sys.stderr)
        sys.exit(3)
    runs: dict[str, list[dict[str, Any]]] = {peer: [] for peer in options.peers.split(",")}
    with tempfile.TemporaryDirectory() as folder:
        file = make_settings(options, device, Path(folder))
        settings = json.loads(file.read_text(encoding="utf-8"))
        for _ in range(options.rounds):
            for peer, results in runs.items():
                results.append(measure(peer, file, sys.executable))
        flops = flops_per_token(settings)
    shape = SHAPES[options.model]
    with torch.device(device):
        rate = matrix_rate(torch.bfloat16, shape["hidden_size"], shape["intermediate_size"], rows=4096)
    lines = ["| | real tokens/s | peak memory | share of the matrix rate | loss after |", "|---|---:|---:|---:|---:|"]
    for peer, results in runs.items():
        speed = statistics.median(one["tokens"] / one["seconds"] for one in results)
        peak, loss = (statistics.median(one[name] for one in results) for name in ("peak_bytes", "loss"))
        lines.append(f"| {peer} | {speed:,.0f} | {peak / 1e9:.1f} GB | {speed * flops / rate:.0%} | {loss:.3f} |")
    table = "\n".join(lines)
    print(table)
    if options.write:
        write_between(f"gpu-{options.model}-{options.method}", table)


if __name__ == "__main__":
    main()
