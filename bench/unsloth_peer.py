"""Unsloth under TRL's `SFTTrainer`, loaded as in its guides, with the settings of a comparison.

It needs a CUDA GPU and the package `unsloth`, whose versions of the other libraries may not be Burnish's:
`bench/gpu.py --unsloth-python` takes the interpreter that has it. Activations are computed again in Unsloth's own way,
adapters have neither dropout nor bias, and texts are packed, which is what its guides advise.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unsloth import FastLanguageModel  # isort: skip  (it changes the libraries below, and so comes first)
import torch
from datasets import Dataset
from trainer_note import Note
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer
from trl_peer import SEED, shared_options, train_and_save

if TYPE_CHECKING:
    from meter import Meter
    from settings import Settings


def with_unsloth(settings: Settings, folder: Path, meter: Meter) -> Path:
    """Trains, and writes the adapter."""
    network, tokenizer = FastLanguageModel.from_pretrained(
        model_name=settings.model,
        max_seq_length=settings.context,
        dtype=torch.bfloat16,
        load_in_4bit=settings.method == "qlora",
    )
    adapted: Any = FastLanguageModel.get_peft_model(
        network,
        r=settings.rank,
        target_modules=settings.targets,
        lora_alpha=2 * settings.rank,
        lora_dropout=0,
        bias="none",
        use_gradient_checkpointing="unsloth",
        random_state=SEED,
    )
    options = SFTConfig(
        max_length=settings.context,
        packing=True,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=math.ceil(settings.step_tokens / settings.context),
        bf16=True,
        **shared_options(settings, folder),
    )
    trainer = SFTTrainer(
        adapted,
        args=options,
        train_dataset=Dataset.from_list(settings.examples()),
        processing_class=tokenizer,
        callbacks=[Note(meter)],
    )
    return train_and_save(trainer, folder)
