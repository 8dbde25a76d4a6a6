"""Burnish beside other programs on the same machine: tokens a second, memory, and the loss that came out.

    python bench/peers.py [--model smollm2|gpt2|llama] [--method lora|full|dpo] [--data FILE] [--rows 96] [--rounds 5]
                          [--peers burnish,guides,trl,trl-best,litgpt] [--litgpt-python PATH] [--write]

`smollm2` is the real SmolLM2-135M-Instruct, from the folder that the variable `BURNISH_REAL_MODELS` names, with its own
tokenizer. The others are built at random in their layout (GPT-2 of 124 M parameters, or a Llama of 135 M: 30 blocks of
width 576), with GPT-2's vocabulary of 50,257 rows, of which the tokenizer may use fewer. Lets each program train on the
same rows (see `bench/peer.py`), each in its own process, one after the other, round after round, so that what else the
machine does hits all of them. Prints medians over the rounds, and the ratio of each round's pairs. A loss that differs
from the others by more than a share of what the training has changed (`--noise`) is pointed out: such a run is no
result.

`--data` is a JSONL or JSON file of `text`, or of `instruction`, `input` and `output`, which are joined, or a plain
text, which is cut into short ones (see `bench/texts.py`); without it, sentences of the bundled samples are used.
`--method dpo` takes pairs of answers and trains adapters. `--litgpt-python` is an interpreter that has `litgpt`, which
cannot share an environment with transformers 5. `--write` puts the table into docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from page import DOCS, write_between
from settings import MODEL, read_settings, write_settings
from texts import PAIR_TEMPLATE, pair_length, read_pairs, read_texts
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

from burnish.system.machine import this_machine

HERE = Path(__file__).resolve().parent
ASSETS = Path(str(resources.files("burnish"))) / "assets"
ORDERS = ASSETS / "samples" / "orders.jsonl"
REAL = "smollm2"
TARGETS = {"gpt2": ["c_attn"], "llama": ["q_proj", "v_proj"], REAL: ["q_proj", "v_proj"]}
RATES = {"lora": 5e-4, "full": 5e-5, "dpo": 5e-5}
VOCABULARY = 50_257
CONTEXT, PAIR_CONTEXT = 1024, 512


def real_model(name: str = REAL) -> Path:
    """The folder of a real model; ends with 2 where the variable names none."""
    folder = Path(os.environ.get("BURNISH_REAL_MODELS", "")) / name
    if not folder.joinpath("config.json").is_file():
        print(f"`{name}` needs the variable BURNISH_REAL_MODELS, a folder with `{name}` in it", file=sys.stderr)
        sys.exit(2)
    return folder


def find_tokenizer(model: str, name: str) -> Any:
    """The real model's own tokenizer, or the one named."""
    return AutoTokenizer.from_pretrained(real_model() if model == REAL else name)


def make_model(layout: str, tokenizer: Any, folder: Path) -> None:
    """The real model, or random weights of the layout; and the tokenizer."""
    if layout == REAL:
        shutil.copytree(real_model(), folder)
        tokenizer.save_pretrained(str(folder))
        return
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


def measure(peer: str, settings: Path, python: str) -> dict[str, Any]:
    """One training in its own process, and its final loss, measured in another."""
    with tempfile.TemporaryDirectory() as folder:
        result = _run([python, str(HERE / "peer.py"), peer, str(settings), folder], peer)
        result["loss"] = _run([sys.executable, str(HERE / "judge.py"), str(settings), result.pop("result")], peer)
    return result


def loss_before(settings: Path) -> float:
    """The loss of the untrained model: for pairs ln 2, because it is its own reference."""
    result = read_settings(settings)
    if result.task == "dpo":
        return math.log(2)
    return _run([sys.executable, str(HERE / "judge.py"), str(settings), result.model], "the evaluation")


def far_apart(losses: dict[str, float], before: float, noise: float) -> set[str]:
    """Programs whose loss differs from the median by more than a share of what the training has changed."""
    middle = statistics.median(losses.values())
    return {peer for peer, loss in losses.items() if not abs(loss - middle) <= noise * abs(before - middle)}


def _run(command: list[str], peer: str) -> Any:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{peer} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    """Prints the table."""
    options = read_options()
    logging.disable_progress_bar()
    results: dict[str, list[dict[str, Any]]] = {peer: [] for peer in options.peers.split(",")}
    refuse(list(results), options)
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_for(options, Path(folder))
        for _ in range(options.rounds):
            for peer, runs in results.items():
                python = options.litgpt_python if peer.startswith("litgpt") else options.python
                runs.append(measure(peer, settings, python))
                print(peer, json.dumps(runs[-1]), file=sys.stderr, flush=True)
        before = loss_before(settings)
    table = make_table(results, before, options)
    print(table)
    if options.write:
        write_between(DOCS / "performance.md", name_of(options), table)


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", choices=sorted(TARGETS), default="gpt2")
    parser.add_argument("--method", choices=sorted(RATES), default="lora")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--name", default="short", help="what the texts are called in the name of the table")
    parser.add_argument("--tokenizer", default=str(ASSETS / "seedling"))
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--step-tokens", type=int, default=1024)
    parser.add_argument("--peers", default="", help="names of `bench/peer.py`; without it, all that the method has")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the programs")
    parser.add_argument("--litgpt-python", default="", help="interpreter that has litgpt; without it, --python")
    parser.add_argument("--noise", type=float, default=0.2, help="share of the change by which losses may differ")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    options = parser.parse_args()
    if not options.peers:
        options.peers = "burnish,trl,trl-best" if options.method == "dpo" else "burnish,guides,trl,trl-best"
        if options.litgpt_python and (options.model, options.method) == ("llama", "lora"):
            options.peers += ",litgpt,litgpt-best"
    options.litgpt_python = options.litgpt_python or options.python
    return options


def refuse(peers: list[str], options: argparse.Namespace) -> None:
    """Ends with 2 where a program cannot do what is asked."""
    problem = ""
    if options.method == "dpo" and options.data is None:
        problem = "`--method dpo` needs pairs, and no sample of them is bundled.\nName a file of them with `--data`"
    for peer in peers:
        if peer.startswith("litgpt") and options.model == "gpt2":
            problem = f"`{peer}` cannot train GPT-2: LitGPT has no such architecture.\nTake `--model llama`"
        elif peer.startswith("litgpt") and options.method != "lora":
            problem = f"`{peer}` is LitGPT's LoRA fine-tuning only.\nUse `--method lora`, or leave it out"
        elif peer == "guides" and options.method == "dpo":
            problem = "`guides` is transformers' `Trainer`, which knows no DPO.\nTake `--peers burnish,trl,trl-best`"
    if problem:
        print(problem, file=sys.stderr)
        sys.exit(2)


def settings_for(options: argparse.Namespace, folder: Path) -> Path:
    """Model, rows and settings, as files."""
    tokenizer = find_tokenizer(options.model, options.tokenizer)
    is_dpo = options.method == "dpo"
    if is_dpo:
        tokenizer.chat_template = PAIR_TEMPLATE
        rows = read_pairs(options.data, options.rows, PAIR_CONTEXT, tokenizer)
        lengths = [pair_length(row, tokenizer) for row in rows]
    else:
        rows = [{"text": text} for text in read_texts(options.data or ORDERS, options.rows, tokenizer)]
        lengths = [len(tokenizer(row["text"]).input_ids) + 1 for row in rows]
    make_model(options.model, tokenizer, folder / MODEL)
    return write_settings(
        folder,
        rows,
        lengths,
        options.step_tokens,
        task="dpo" if is_dpo else "text",
        method="lora" if is_dpo else options.method,
        device="cpu",
        rank=8,
        targets=TARGETS[options.model],
        learning_rate=RATES[options.method],
        context=PAIR_CONTEXT if is_dpo else CONTEXT,
    )


def name_of(options: argparse.Namespace) -> str:
    """Of the table in the page."""
    kind = "dpo" if options.method == "dpo" else f"{options.method}-{options.name}"
    return f"{options.model}-{kind}"


def make_table(results: dict[str, list[dict[str, Any]]], before: float, options: argparse.Namespace) -> str:
    """Markdown: medians, and how many times each program's speed the first one has, round by round.

    Args:
        results: of each program, round by round.
        before: the loss before the training.
        options: the command line.
    """
    first = next(iter(results))
    losses = {peer: statistics.median(run["loss"] for run in runs) for peer, runs in results.items()}
    apart = far_apart(losses, before, options.noise)
    lines = [
        "| | real tokens/s | by processor time | peak memory | steps | loss after | times as fast |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for peer, runs in results.items():
        speeds = [run["tokens"] / run["seconds"] for run in runs]
        cpu = statistics.median(run["tokens"] / run["cpu_seconds"] for run in runs)
        peak = statistics.median(run["peak_bytes"] for run in runs)
        pairs = [one["seconds"] / other["seconds"] for one, other in zip(runs, results[first], strict=True)]
        far = " (!)" if peer in apart else ""
        ratio = "" if peer == first else f"{first} {statistics.median(pairs):.1f} ({min(pairs):.1f}-{max(pairs):.1f})"
        lines.append(
            f"| {peer} | {statistics.median(speeds):,.0f} | {cpu:,.0f} | {peak / 1e9:.2f} GB | {runs[0]['steps']} | "
            f"{losses[peer]:.3f}{far} | {ratio} |"
        )
    machine = this_machine()
    tokens = results[first][0]["tokens"]
    lines += [
        "",
        f"Medians of {options.rounds} rounds of {tokens:,} tokens; {machine.processor}, {machine.cores} cores, "
        f"torch {torch.__version__}. Loss before: {before:.3f}.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
