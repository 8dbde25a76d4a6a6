"""LitGPT's LoRA fine-tuning (`litgpt finetune_lora`) with the settings of `bench/settings.py`.

It needs the package `litgpt` and an environment of its own: litgpt 0.5.13 asks for another huggingface_hub than
transformers 5. The weights go through LitGPT's own converter, the texts through its own data module, the training is
its own `fit` and the adapter is merged and converted back by its own functions, in fp32; so the result is a folder for
transformers, and `bench/judge.py` measures its loss as it does every other's.

As it comes, it trains in bf16 mixed precision, one text at a time, and keeps an output layer of its own where the model
shares the embedding's matrix. Its step weighs texts alike, where the other programs weigh tokens alike. Three of its
defaults are set to those of the others: no dropout in the adapter, a constant rate instead of warmup and cosine (its
command divides by the warmup's steps, so `fit` is called with a schedule), and data loaded without worker processes.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning
import torch
from litgpt.args import EvalArgs, TrainArgs
from litgpt.data import JSON
from litgpt.finetune.lora import fit, get_dataloaders
from litgpt.lora import GPT, Config, lora_filter, mark_only_lora_as_trainable, merge_lora_weights
from litgpt.prompts import Default
from litgpt.scripts.convert_hf_checkpoint import copy_weights_hf_llama
from litgpt.scripts.convert_lit_checkpoint import copy_weights_llama
from litgpt.tokenizer import Tokenizer
from litgpt.utils import get_default_supported_precision, instantiate_torch_optimizer
from safetensors.torch import load_file, save_file

if TYPE_CHECKING:
    from meter import Meter
    from settings import Settings

SEED = 1


@dataclass
class Noted:
    """A data loader that notifies the meter when it starts."""

    loader: Any
    meter: Meter

    def __iter__(self) -> Any:
        self.meter.begin()
        return iter(self.loader)

    def __len__(self) -> int:
        return len(self.loader)

    @property
    def dataset(self) -> Any:
        """Of the loader."""
        return self.loader.dataset


def with_litgpt(settings: Settings, folder: Path, meter: Meter, micro_rows: int = 1) -> Path:
    """Trains, and writes the merged model."""
    os.chdir(folder)  # Lightning writes its logs into the current folder
    config = lora_config(settings)
    precision: Any = get_default_supported_precision(training=True)
    fabric = lightning.Fabric(accelerator=settings.device, devices=1, precision=precision)
    fabric.seed_everything(SEED)
    with fabric.init_module():
        network = GPT(config)
    mark_only_lora_as_trainable(network)
    weights: dict[str, torch.Tensor] = {}
    published: dict[str, Any] = dict(load_file(Path(settings.model) / "model.safetensors"))
    copy_weights_hf_llama(config, {}, weights, published)
    network.load_state_dict(weights, strict=False)
    module: Any = fabric.setup_module(network)
    rate = {"lr": settings.learning_rate, "weight_decay": 0.0}
    optimizer: Any = instantiate_torch_optimizer(
        {"class_path": "torch.optim.AdamW", "init_args": rate}, module.parameters()
    )
    optimizer = fabric.setup_optimizers(optimizer)
    train = TrainArgs(
        epochs=1, micro_batch_size=micro_rows, global_batch_size=settings.step_rows, save_interval=None,
        lr_warmup_steps=None, max_steps=len(settings.examples()) // settings.step_rows,
    )  # fmt: skip
    data = texts(settings, folder)
    loaders: Any = get_dataloaders(fabric, data, Tokenizer(settings.model), train)
    timed: Any = Noted(loaders[0], meter)
    fit(
        fabric=fabric, model=module, optimizer=optimizer, scheduler=schedule(optimizer, meter),
        train_dataloader=timed, val_dataloader=loaders[1], devices=1,
        checkpoint_dir=Path(settings.model), out_dir=folder, train=train,
        eval=EvalArgs(interval=10**6, max_new_tokens=1), data=data,
    )  # fmt: skip
    return write_merged(network, config, settings, folder / "merged")


def lora_config(settings: Settings) -> Config:
    """The model's config in LitGPT's words, with the same adapters."""
    configs = json.loads((Path(settings.model) / "config.json").read_text(encoding="utf-8"))
    return Config(
        name="llama",
        block_size=configs["max_position_embeddings"],
        n_layer=configs["num_hidden_layers"],
        n_embd=configs["hidden_size"],
        n_head=configs["num_attention_heads"],
        n_query_groups=configs["num_key_value_heads"],
        intermediate_size=configs["intermediate_size"],
        vocab_size=configs["vocab_size"],
        padded_vocab_size=configs["vocab_size"],
        norm_class_name="RMSNorm",
        norm_eps=configs["rms_norm_eps"],
        mlp_class_name="LLaMAMLP",
        parallel_residual=False,
        bias=False,
        rotary_percentage=1.0,
        rope_base=int(configs["rope_parameters"]["rope_theta"]),
        lora_r=settings.rank,
        lora_alpha=2 * settings.rank,
        lora_query="q_proj" in settings.targets,
        lora_key="k_proj" in settings.targets,
        lora_value="v_proj" in settings.targets,
    )


def texts(settings: Settings, folder: Path) -> JSON:
    """Every token of a text is trained on, and EOS: the text is the answer to an empty instruction."""
    rows = folder / "rows"
    rows.mkdir()
    for name, examples in (("train", settings.examples()), ("val", settings.examples()[:1])):
        configs = [{"instruction": "", "output": example["text"]} for example in examples]
        (rows / f"{name}.json").write_text(json.dumps(configs), encoding="utf-8")
    return JSON(rows, mask_prompt=False, prompt_style=Default(), num_workers=0)


def schedule(optimizer: Any, meter: Meter) -> Any:
    """A constant learning rate; it is called after each optimizer step, and notifies the meter."""

    class Constant(torch.optim.lr_scheduler.LambdaLR):
        def step(self, *args: Any) -> None:
            super().step(*args)
            if self.last_epoch:  # once it is asked as it is made
                meter.step()

    return Constant(optimizer, lambda step: 1.0)


@torch.no_grad()
def write_merged(network: GPT, config: Config, settings: Settings, folder: Path) -> Path:
    """The weights with the adapter in them, in transformers' layout."""
    network.float()
    merge_lora_weights(network)
    merged = {
        name.replace("linear.", ""): weight
        for name, weight in network.state_dict().items()
        if not lora_filter(name, weight)
    }
    converted: dict[str, torch.Tensor] = {}
    copy_weights_llama(config, converted, merged)
    folder.mkdir()
    whole = {name: weight.contiguous() for name, weight in converted.items() if name != "lm_head.weight"}
    if not torch.equal(converted["lm_head.weight"], converted["model.embed_tokens.weight"]):
        whole["lm_head.weight"] = converted["lm_head.weight"]
    save_file(whole, folder / "model.safetensors", metadata={"format": "pt"})
    shutil.copy(Path(settings.model) / "config.json", folder)
    return folder
