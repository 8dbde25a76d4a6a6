"""How near the roofline comes to throughput that others have published, for models whose shape is known.

    python bench/roofline_check.py

Each line simulates Burnish's own step on a model of that shape and estimates its tokens per second and GPU; no device
is needed. The published figures were measured with other software: `fused` marks those of compiled models, whose
elementwise operations do not pass through memory one by one as they do here.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer

from burnish.data.rows.row import Example
from burnish.engine.step import make_trainable, make_trainer
from burnish.methods import make_method
from burnish.models.config import find_public, with_depth
from burnish.models.device import PRECISIONS
from burnish.models.skeleton import Skeleton
from burnish.plan.devices import find_device
from burnish.plan.roofline import estimate_time
from burnish.plan.sharding import NETWORK, Shards, communication_seconds, sharded_time
from burnish.plan.simulate import Enough, Simulation, simulate, simulate_deep
from burnish.recipe.schema import Recipe
from burnish.system.machine import yield_cores
from burnish.tasks import make_task

ASSETS = Path(str(resources.files("burnish"))) / "assets"
CPU = torch.device("cpu")

QWEN_README = "Qwen (QwenLM/Qwen, README, profiling of memory and speed)"
TORCHTUNE = "torchtune (pytorch/torchtune, README, memory and training speed, optimization flags)"
TORCHTITAN_A100 = "torchtitan on A100 (pytorch/torchtitan, docs/performance.md, 2024)"
TORCHTITAN_H100 = "torchtitan on H100 (pytorch/torchtitan, benchmarks/llama3_h100_202412_torchtitan.md)"

# Qwen's first models have the shape of Llama's, with other sizes: their own config.json, where `intermediate_size`
# counts both halves of the gated layer.
SHAPES = {
    "Qwen-1.8B": (2048, 5504, 24, 16, 151936),
    "Qwen-7B": (4096, 11008, 32, 32, 151936),
    "Qwen-14B": (5120, 13696, 40, 40, 152064),
    "Qwen-72B": (8192, 24576, 80, 64, 152064),
}
QWEN_STEPS = {  # seconds for 8 micro-batches of one row of 1,024 and of 2,048 tokens, on one A100-80GB
    ("Qwen-1.8B", "lora"): (1.1, 1.7),
    ("Qwen-1.8B", "qlora"): (1.4, 2.0),
    ("Qwen-1.8B", "full"): (2.2, 2.3),
    ("Qwen-7B", "lora"): (2.8, 5.2),
    ("Qwen-7B", "qlora"): (3.5, 7.0),
    ("Qwen-14B", "lora"): (4.4, 8.4),
    ("Qwen-14B", "qlora"): (8.2, 11.8),
    ("Qwen-72B", "qlora"): (41.4, 59.5),
}
QWEN_SHARDED = (
    ("Qwen-72B", "lora", 4, 1024, 29.4),
    ("Qwen-72B", "lora", 4, 2048, 45.7),
    ("Qwen-7B", "full", 2, 1024, 4.5),
)
"""The same with ZeRO-3: model, method, GPUs, tokens of the row, seconds."""


@dataclass(frozen=True)
class Published:
    """One published figure, and what was measured."""

    source: str
    device: str
    model: str
    method: str
    rows: int
    width: int
    """Tokens of each row."""
    speed: float
    """Tokens per second and GPU."""
    is_checkpointed: bool = True
    is_fused: bool = False
    shards: Shards = Shards()
    network: float = NETWORK


def figures() -> list[Published]:
    """The sources' figures for one GPU or fully sharded data, in 16 bits, with rows of 1,024 to 8,192 tokens.

    Left out: what trains embeddings beside adapters, offloads to the host, computes in 8 bits, splits layers or rows
    over GPUs, or ran on a device that is not in the table; and of one model by several ways of partial checkpointing,
    all but the one with the least recomputation, which counts here as none.
    """
    found = [
        Published(QWEN_README, "A100-80GB", model, method, 1, width, 8 * width / seconds)
        for (model, method), pair in QWEN_STEPS.items()
        for width, seconds in zip((1024, 2048), pair, strict=True)
    ]
    found += [
        Published(QWEN_README, "A100-80GB", model, method, 1, width, 8 * width / seconds, shards=Shards(gpus))
        for model, method, gpus, width, seconds in QWEN_SHARDED
    ]
    found += [
        Published(TORCHTUNE, "A100-80GB", "Llama-3.2-3B", "full", 2, 4096, 7075, is_checkpointed=False),
        Published(TORCHTUNE, "A100-80GB", "Llama-3.2-3B", "full", 2, 4096, 8998, is_checkpointed=False, is_fused=True),
        Published(TORCHTUNE, "A100-80GB", "Llama-3.2-3B", "full", 2, 4096, 7210, is_fused=True),
        Published(TORCHTUNE, "A100-80GB", "Llama-3.2-3B", "lora", 2, 4096, 8210, is_fused=True),
        Published(TORCHTUNE, "A100-80GB", "Llama-3.2-3B", "qlora", 2, 4096, 8035, is_fused=True),
        Published(TORCHTUNE, "RTX 4090", "Meta-Llama-3-8B", "full", 2, 2048, 1650, is_fused=True),
        Published(TORCHTUNE, "RTX 4090", "Meta-Llama-3-8B", "lora", 2, 2048, 3083, is_fused=True),
        Published(TORCHTUNE, "RTX 4090", "Meta-Llama-3-8B", "qlora", 2, 2048, 2413, is_fused=True),
    ]
    titan = functools.partial(Published, TORCHTITAN_A100, "A100-80GB", method="full", shards=Shards(8, 8))
    found += [
        titan("Llama-2-13b-hf", rows=2, width=4096, speed=2162, is_checkpointed=False),
        titan("Llama-2-70b-hf", rows=2, width=4096, speed=353),
        titan("Meta-Llama-3-8B", rows=1, width=8192, speed=2973, is_checkpointed=False),
        titan("Meta-Llama-3-70B", rows=1, width=8192, speed=331),
    ]
    # These H100 had slower memory (2.4 TB/s) and less power (500 W) than the table's.
    titan = functools.partial(
        Published, TORCHTITAN_H100, "H100", "Meta-Llama-3-8B", "full", 2, 8192, is_checkpointed=False, network=50e9
    )
    found += [
        titan(5762, shards=Shards(8)),
        titan(6667, shards=Shards(8), is_fused=True),
        titan(5605, shards=Shards(8, 16)),
        titan(6514, shards=Shards(8, 16), is_fused=True),
    ]
    return found


def config_of(model: str) -> Any:
    """The bundled configuration of a model, or that of Llama 2 in the sizes of a Qwen."""
    if model not in SHAPES:
        return AutoConfig.from_pretrained(str(find_public(model)))
    config = AutoConfig.from_pretrained(str(find_public("Llama-2-7b-hf")))
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    for name, value in zip(names, SHAPES[model], strict=True):
        setattr(config, name, value)
    config.num_key_value_heads = config.num_attention_heads
    config.head_dim = config.hidden_size // config.num_attention_heads
    config.attention_bias = True
    return config


@functools.cache
def simulate_step(model: str, method_name: str, rows: int, width: int, is_checkpointed: bool) -> Simulation:
    """One micro-batch of full rows, in bf16."""
    config, tokenizer = config_of(model), AutoTokenizer.from_pretrained(ASSETS / "seedling")
    recipe = Recipe.model_validate(
        {
            "task": "text",
            "method": method_name,
            "model": {"precision": "bf16"},
            "data": {"path": "rows", "context": width},
            "train": {"gradient_checkpointing": is_checkpointed, "learning_rate": 1e-4, "optimizer": "adamw"},
        }
    )
    method, task = make_method(method_name), make_task("text", tokenizer, recipe)
    loading = method.loading(PRECISIONS["bf16"], CPU)
    examples = [Example([5] * width, [5] * width, "") for _ in range(rows)]
    batch = task.encoder.collate(examples, [[row] for row in range(rows)], False, 0)

    def run(depth: int | None, enough: Enough | None) -> Simulation:
        shape = config if depth is None else with_depth(config, depth)
        skeleton = Skeleton(shape, task.objective.head, loading)
        network = make_trainable(skeleton.network, task.objective, method, recipe, tokenizer, skeleton.new_modules)
        skeleton.fill(network)
        trainer = make_trainer(network, task, method, recipe, CPU)
        return simulate(trainer, [batch], config.vocab_size, enough=enough)

    return simulate_deep(config, run, True)


def check(figure: Published) -> tuple[str, bool]:
    """A line of the table, and whether the published speed lies within the bounds."""
    step = simulate_step(figure.model, figure.method, figure.rows, figure.width, figure.is_checkpointed)
    device = find_device(figure.device)
    time = estimate_time(step.work, device)
    # A full fine-tuning holds fp32 weights and gathers them in bf16; gradients are summed in fp32.
    weights = step.weights // 2 if figure.method == "full" else step.weights
    passing = communication_seconds(weights, 4 * step.trained, figure.shards, device.link, figure.network)
    if time is None or passing is None:
        raise SystemExit(f"no time can be estimated for {figure.device}")
    predicted = sharded_time(time, passing).throughput(figure.rows * figure.width)
    is_inside = predicted.low <= figure.speed <= predicted.high
    gpus = f"{figure.shards.ranks} x " if figure.shards.ranks > 1 else ""
    line = (
        f"{figure.model:16} {figure.method:6} {figure.rows} x {figure.width:<5} {gpus + figure.device:16} "
        f"{'fused' if figure.is_fused else '':6} {figure.speed:7,.0f} {predicted.tokens_per_second:9,.0f} "
        f"{predicted.low:7,.0f} to {predicted.high:6,.0f}  {predicted.tokens_per_second / figure.speed:5.2f}  "
        f"{'inside' if is_inside else 'outside'}"
    )
    return line, is_inside


def main() -> None:
    """Prints one line a figure, by source, and how many lie within the bounds."""
    yield_cores()
    inside = {False: [], True: []}
    source = ""
    for figure in figures():
        if figure.source != source:
            source = figure.source
            print(f"\n{source}\n{'':48} published estimated {'bounds':>18}  ratio")
        line, is_inside = check(figure)
        inside[figure.is_fused].append(is_inside)
        print(line, flush=True)
    for is_fused, found in inside.items():
        print(f"{'fused' if is_fused else 'not fused'}: {sum(found)} of {len(found)} within the bounds")


if __name__ == "__main__":
    main()
