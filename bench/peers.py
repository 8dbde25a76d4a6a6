"""Burnish beside other programs on the same machine: tokens a second, memory, and the loss that came out.

    python bench/peers.py [--model gpt2|llama] [--method lora|full] [--data FILE] [--rows 96] [--rounds 5]
                          [--peers burnish,guides,trl,trl-best] [--write]

Builds the model at random in the layout named (GPT-2 of 124 M parameters, or a Llama of 135 M: 30 blocks of width 576),
with GPT-2's vocabulary of 50,257 rows, of which the tokenizer may use fewer, and lets each program train on the same
texts (see `bench/peer.py`), each in its own process, one after the other, round after round, so that what else the
machine does hits all of them. Prints medians over the rounds, and the ratio of each round's pairs. A loss that differs
from the others by more than `--noise` is pointed out: such a run is no result. `--data` is a JSONL file of `text`, or
of `instruction`, `input` and `output`, which are joined; without it, sentences of the bundled samples are used.
`--write` puts the table into docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

from burnish.machine import this_machine

HERE = Path(__file__).resolve().parent
ASSETS = Path(str(resources.files("burnish"))) / "assets"
PAGE = HERE.parent / "docs" / "performance.md"
TARGETS = {"gpt2": ["c_attn"], "llama": ["q_proj", "v_proj"]}
VOCABULARY = 50_257


def make_model(layout: str, tokenizer_folder: str, folder: Path) -> None:
    """Random weights of the layout, and the tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    ends = {"bos_token_id": tokenizer.eos_token_id, "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(0)
    if layout == "gpt2":
        network: Any = GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, **ends))
    else:
        sizes = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30}
        heads = {"num_attention_heads": 9, "num_key_value_heads": 3, "max_position_embeddings": 2048}
        network = LlamaForCausalLM(
            LlamaConfig(vocab_size=VOCABULARY, tie_word_embeddings=True, **sizes, **heads, **ends)
        )
    network.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))


def read_texts(file: str, count: int) -> list[str]:
    """The first texts of a file, or of the bundled instructions."""
    path = Path(file) if file else ASSETS / "samples" / "orders.jsonl"
    whole = path.read_text(encoding="utf-8")
    rows = json.loads(whole) if path.suffix == ".json" else [json.loads(line) for line in whole.splitlines()]
    return [_text_of(row) for row in rows[:count]]


def _text_of(row: dict[str, Any]) -> str:
    if "text" in row:
        return str(row["text"])
    return "\n".join(str(row[name]) for name in row if isinstance(row[name], str) and row[name])


def measure(peer: str, settings: Path, python: str) -> dict[str, Any]:
    """One run in a process of its own."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [python, str(HERE / "peer.py"), peer, str(settings)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{peer} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    """Prints the table."""
    options = read_options()
    logging.disable_progress_bar()
    peers = options.peers.split(",")
    results: dict[str, list[dict[str, Any]]] = {peer: [] for peer in peers}
    with tempfile.TemporaryDirectory() as folder:
        settings = write_settings(options, Path(folder))
        for _ in range(options.rounds):
            for peer in peers:
                results[peer].append(measure(peer, settings, options.python))
                print(peer, json.dumps(results[peer][-1]), file=sys.stderr, flush=True)
    table = make_table(results, options)
    print(table)
    if options.write:
        write_between(f"{options.model}-{options.method}-{options.name}", table)


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", choices=sorted(TARGETS), default="gpt2")
    parser.add_argument("--method", choices=["lora", "full"], default="lora")
    parser.add_argument("--data", default="")
    parser.add_argument("--name", default="short", help="what the data is called in the table")
    parser.add_argument("--tokenizer", default=str(ASSETS / "seedling"))
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--step-tokens", type=int, default=1024)
    parser.add_argument("--peers", default="burnish,guides,trl,trl-best")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the programs")
    parser.add_argument("--noise", type=float, default=0.05, help="nats by which losses may differ")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    return parser.parse_args()


def write_settings(options: argparse.Namespace, folder: Path) -> Path:
    """Model, texts and settings, as files."""
    make_model(options.model, options.tokenizer, folder / "model")
    tokenizer = AutoTokenizer.from_pretrained(options.tokenizer)
    texts = read_texts(options.data, options.rows)
    lengths = [len(tokenizer(text).input_ids) + 1 for text in texts]
    for name, chosen in (("rows", texts), ("held_out", ["A text of its own."])):
        lines = (json.dumps({"text": text}) + "\n" for text in chosen)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    settings = {
        "model": str(folder / "model"),
        "rows": str(folder / "rows.jsonl"),
        "held_out": str(folder / "held_out.jsonl"),
        "device": "cpu",
        "method": options.method,
        "rank": 8,
        "targets": TARGETS[options.model],
        "learning_rate": 5e-4 if options.method == "lora" else 5e-5,
        "context": 1024,
        "tokens": sum(lengths),
        "longest": max(lengths),
        "step_rows": max(1, round(options.step_tokens / (sum(lengths) / len(lengths)))),
        "step_tokens": options.step_tokens,
    }
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder / "settings.json"


def make_table(results: dict[str, list[dict[str, Any]]], options: argparse.Namespace) -> str:
    """Markdown: medians, and how many times each program's speed the first one has, round by round."""
    first = next(iter(results))
    losses = {peer: statistics.median(run["loss"] for run in runs) for peer, runs in results.items()}
    middle = statistics.median(losses.values())
    lines = [
        "| | real tokens/s | by processor time | peak memory | loss after | times as fast |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for peer, runs in results.items():
        speeds = [run["tokens"] / run["seconds"] for run in runs]
        cpu = statistics.median(run["tokens"] / run["cpu_seconds"] for run in runs)
        peak = statistics.median(run["peak_bytes"] for run in runs)
        pairs = [one["seconds"] / other["seconds"] for one, other in zip(runs, results[first], strict=True)]
        far = " (!)" if abs(losses[peer] - middle) > options.noise else ""
        ratio = "" if peer == first else f"{first} {statistics.median(pairs):.1f} ({min(pairs):.1f}-{max(pairs):.1f})"
        lines.append(
            f"| {peer} | {statistics.median(speeds):,.0f} | {cpu:,.0f} | {peak / 1e9:.2f} GB | "
            f"{losses[peer]:.3f}{far} | {ratio} |"
        )
    machine = this_machine()
    lines += [
        "",
        f"Medians of {options.rounds} rounds; {machine.processor}, {machine.cores} cores, torch {torch.__version__}.",
    ]
    return "\n".join(lines)


def write_between(name: str, text: str) -> None:
    """Puts a text between two markers of the page."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    _, _, tail = rest.partition(end)
    PAGE.write_text(f"{head}{begin}\n{text}\n{end}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
