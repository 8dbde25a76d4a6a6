"""TRL's trainers, and transformers' `Trainer` as in beginners' guides, with the settings of a comparison."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from quantized import nf4
from trainer_note import Note
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

if TYPE_CHECKING:
    from meter import Meter
    from settings import Settings

SEED = 1
_BATCH = 8
"""TRL's own."""


def with_sft(settings: Settings, folder: Path, meter: Meter, is_best: bool = False, is_mixed: bool = True) -> Path:
    """`SFTTrainer`: its defaults (batches of eight, mixed precision, activations computed twice), or these in fp32; or,
    as the best, with a base in bf16, packed, and with activations kept; on CUDA with Liger's kernels besides."""
    batch = min(_BATCH, max(1, settings.step_rows // processes()))
    rows: dict[str, Any] = {"per_device_train_batch_size": batch}
    rows["gradient_accumulation_steps"] = max(1, round(settings.step_rows / batch / processes()))
    if is_best:
        rows = {"packing": True, "gradient_checkpointing": False, "per_device_train_batch_size": 1}
        rows["gradient_accumulation_steps"] = math.ceil(settings.step_tokens / settings.context / processes())
        rows["use_liger_kernel"] = settings.device == "cuda"
    if not is_mixed:
        rows["bf16"] = False
    options = SFTConfig(max_length=settings.context, **rows, **shared_options(settings, folder))
    trainer = SFTTrainer(
        _network(settings, is_best),
        args=options,
        train_dataset=Dataset.from_list(settings.examples()),
        processing_class=_tokenizer(settings),
        peft_config=_lora(settings),
        callbacks=[Note(meter)],
    )
    return train_and_save(trainer, folder)


def with_dpo(settings: Settings, folder: Path, meter: Meter, is_best: bool = False) -> Path:
    """`DPOTrainer`: its defaults (batches of eight pairs, mixed precision, activations computed twice); or, as the
    best, with a base in bf16 and activations kept.

    `padding_free` does nothing in this version, as its own documentation says. Fewer pairs at a time took half as long
    again, and to ask the base model before the training instead of in its steps gained nothing.
    """
    options = DPOConfig(
        per_device_train_batch_size=_BATCH,
        gradient_accumulation_steps=max(1, round(settings.step_rows / _BATCH)),
        gradient_checkpointing=not is_best,
        max_length=settings.context,
        **shared_options(settings, folder),
    )
    trainer = DPOTrainer(
        _network(settings, is_best),
        args=options,
        train_dataset=Dataset.from_list(settings.examples()),
        processing_class=_tokenizer(settings),
        peft_config=_lora(settings),
        callbacks=[Note(meter)],
    )
    return train_and_save(trainer, folder)


def with_guides(settings: Settings, folder: Path, meter: Meter) -> Path:
    """transformers' `Trainer` as beginners' guides use it: padded to 128 tokens, two texts at a time, fp32."""
    tokenizer = _tokenizer(settings)
    width = max(128, 2 ** math.ceil(math.log2(settings.longest)))

    def encode(text: str) -> dict[str, list[int]]:
        ids = [*tokenizer(text).input_ids, tokenizer.eos_token_id]
        rest = width - len(ids)
        return {
            "input_ids": ids + [tokenizer.pad_token_id] * rest,
            "attention_mask": [1] * len(ids) + [0] * rest,
            "labels": ids + [-100] * rest,
        }

    network, lora = _network(settings), _lora(settings)
    options = TrainingArguments(
        per_device_train_batch_size=2,
        gradient_accumulation_steps=max(1, round(settings.step_rows / 2)),
        **shared_options(settings, folder),
    )
    trainer = Trainer(
        network if lora is None else get_peft_model(network, lora),
        options,
        train_dataset=Dataset.from_list([encode(example["text"]) for example in settings.examples()]),
        callbacks=[Note(meter)],
    )
    return train_and_save(trainer, folder)


def processes() -> int:
    """That train together, as torchrun and `accelerate launch` say."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def shared_options(settings: Settings, folder: Path) -> dict[str, Any]:
    """The common arguments."""
    return {
        "output_dir": str(folder / "out"),
        "num_train_epochs": settings.passes,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": settings.device == "cpu",
        "seed": SEED,
        "logging_steps": 10**6,
    }


def _network(settings: Settings, is_best: bool = False) -> Any:
    """The base, in fp32 unless the best is asked for and it is not trained itself."""
    dtype = torch.bfloat16 if is_best and settings.method != "full" else torch.float32
    return AutoModelForCausalLM.from_pretrained(settings.model, dtype=dtype, **nf4(settings))


def _tokenizer(settings: Settings) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(settings.model)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return tokenizer


def _lora(settings: Settings) -> LoraConfig | None:
    if settings.method == "full":
        return None
    return LoraConfig(
        r=settings.rank,
        lora_alpha=2 * settings.rank,
        target_modules=settings.targets,
        fan_in_fan_out="c_attn" in settings.targets,
        task_type="CAUSAL_LM",
    )


def train_and_save(trainer: Any, folder: Path) -> Path:
    """Runs a trainer, and writes what it trained."""
    trainer.train()
    if trainer.is_world_process_zero():
        trainer.model.save_pretrained(str(folder))
    return folder
