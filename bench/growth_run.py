"""One measurement of `bench/growth.py`, in a process of its own.

    python bench/growth_run.py train_steps|read_rows '[ARGUMENTS]'

Prints one JSON object.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from burnish.system.machine import collect_rarely, peak_bytes

SEEDLING = Path(str(resources.files("burnish"))) / "assets" / "seedling"
SIZES = {
    "tiny": (128, 4, 2),
    "small": (256, 8, 4),
    "medium": (384, 16, 6),
    "base": (576, 30, 9),
    "large": (896, 24, 14),
}
"""Width, blocks and heads; the last two are those of SmolLM-135M and Qwen2.5-0.5B, but for the small vocabulary."""
_STEPS = 4
_LEAST_TOKENS = 1024
"""Of a step."""


def make_model(size: str, context: int, folder: Path) -> int:
    """Random weights in Llama's layout, with the bundled tokenizer; the number of parameters."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(SEEDLING)
    tokenizer.model_max_length = max(context, 2048)
    width, blocks, heads = SIZES[size]
    torch.manual_seed(0)
    network = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=round(width * 8 / 3 / 64) * 64,
            num_hidden_layers=blocks,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            max_position_embeddings=tokenizer.model_max_length,
            tie_word_embeddings=True,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    network.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return sum(weight.numel() for weight in network.parameters())


def train_steps(size: str, context: int, length: int) -> dict[str, Any]:
    """The fastest of a few LoRA steps on texts of some tokens each, and the peak of memory from the first one on."""
    import burnish
    from burnish.runs.events import StepDone

    steps: list[StepDone] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parameters = make_model(size, context, folder / "model")
        count = _STEPS * max(_LEAST_TOKENS, context) // length + 8
        _write_texts(folder / "rows.jsonl", count, length)
        burnish.train(
            str(folder / "rows.jsonl"),
            model=str(folder / "model"),
            method="lora",
            runs=name,
            set={
                "data.context": context,
                "data.validation_rows": 2,
                "batch.tokens": max(_LEAST_TOKENS, context),
                "lora.rank": 8,
                "train.max_steps": _STEPS,
                "evaluate.every": 10**6,
                "evaluate.answers": 0,
            },
            listeners=[lambda event: steps.append(event) if isinstance(event, StepDone) else None],
        )
    speed = max(step.tokens / step.seconds for step in steps)
    result = {"parameters": parameters, "context": context, "length": length}
    return result | {"tokens_per_second": speed, "peak_bytes": peak_bytes()}


def _write_texts(file: Path, count: int, length: int) -> None:
    """Texts of random tokens, which become as many again but for a few."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(SEEDLING)
    source = random.Random(0)
    words = [word for word, _ in zip(_words(tokenizer), range(2_000), strict=False)]
    with file.open("w", encoding="utf-8") as out:
        for _ in range(count):
            text = "".join(source.choice(words) for _ in range(length - 1))
            ids = tokenizer(text).input_ids[: length - 1]
            out.write(json.dumps({"text": tokenizer.decode(ids)}) + "\n")


def _words(tokenizer: Any) -> Iterator[str]:
    """Tokens that are a blank and letters, which stay what they are beside each other."""
    return (
        text
        for number in range(len(tokenizer))
        if (text := tokenizer.decode([number])).startswith(" ") and text[1:].isalpha()
    )


def read_rows(count: int, file: str) -> dict[str, Any]:
    """Seconds from a file to the batches of the first step."""
    from burnish.prepare.context import encode, open_context
    from burnish.prepare.context import read_rows as read
    from burnish.recipe.schema import Recipe

    collect_rarely()  # as the command does
    recipe = Recipe.model_validate({"model": {"name": str(SEEDLING)}, "data": {"path": file}})
    begun = time.perf_counter()
    records = read(recipe, _ignore)
    reading = time.perf_counter() - begun
    context = open_context(recipe, records, _ignore)
    begun = time.perf_counter()
    context = encode(context).with_options(batch={"tokens": 4096, "rows": 4})
    encoding = time.perf_counter() - begun
    begun = time.perf_counter()
    context.batch_plan(context.training).step_batches(0)
    packing = time.perf_counter() - begun
    result = {"rows": count, "megabytes": Path(file).stat().st_size / 1e6, "peak_bytes": peak_bytes()}
    return result | {"reading": reading, "encoding": encoding, "packing": packing}


def _ignore(event: Any) -> None:
    """A listener that does nothing."""


if __name__ == "__main__":
    made = {"train_steps": train_steps, "read_rows": read_rows}[sys.argv[1]](*json.loads(sys.argv[2]))
    print(json.dumps(made))
