"""TRL's training for `bench/outcome.py`, in a process of its own.

    python bench/outcome_trl.py FOLDER

FOLDER holds the rows, `settings.json` and `burnish.json`. `SFTTrainer` gets the settings that `trl-best` has in
`bench/peers.py` (a base in bf16, mixed precision, packed rows, activations kept). Rank, layers, optimizer, schedule,
epochs and the number of packed rows in a step are those of Burnish's run, and the loss is that of the answers alone
(TRL's has besides the line break that the model's template puts after an answer).
The adapter is written at the end, and once more on the way, at the step where TRL has trained as long as Burnish did.
Prints one JSON object: steps, tokens, seconds of the training, and step and seconds of the adapter on the way.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from outcome_rows import read_split
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

RATE = 2e-4
"""The usual one for LoRA in TRL's documentation: ten times its default for full fine-tuning."""


class OnTheWay(TrainerCallback):
    """Saves the adapter at the first step that ends after so many seconds of training."""

    def __init__(self, after: float, folder: Path) -> None:
        self._after, self._folder = after, folder
        self._begun = 0.0
        self.saved: dict[str, Any] | None = None
        self.seconds = 0.0

    def on_train_begin(self, *args: Any, **others: Any) -> None:
        """The first step begins."""
        self._begun = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **others: Any) -> None:
        """A step is done."""
        self.seconds = time.perf_counter() - self._begun
        if self.saved is None and self.seconds >= self._after:
            model.save_pretrained(str(self._folder))
            self.saved = {"step": state.global_step, "seconds": self.seconds}


def train(folder: Path) -> dict[str, Any]:
    """Trains and saves; what `main` prints."""
    settings, burnish = (json.loads((folder / f"{name}.json").read_text("utf-8")) for name in ("settings", "burnish"))
    rows, used = read_split(folder, "train"), burnish["recipe"]
    tokenizer = AutoTokenizer.from_pretrained(settings["model"])
    lengths = [len(tokenizer.apply_chat_template(row["prompt"] + row["completion"])["input_ids"]) for row in rows]
    way = OnTheWay(burnish["trained_seconds"], folder / "trl-on-the-way")
    options = SFTConfig(
        output_dir=str(folder / "trl-out"),
        num_train_epochs=settings["epochs"],
        learning_rate=RATE,
        lr_scheduler_type=used["schedule"],
        warmup_steps=used["warmup"],
        weight_decay=used["weight_decay"],
        max_grad_norm=used["clip"],
        per_device_train_batch_size=1,
        gradient_accumulation_steps=used["step_rows"],
        gradient_checkpointing=False,
        packing=True,
        max_length=used["context"],
        completion_only_loss=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        seed=settings["seed"],
        logging_steps=10,
    )
    trainer = SFTTrainer(
        AutoModelForCausalLM.from_pretrained(settings["model"], dtype=torch.bfloat16),
        args=options,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=used["rank"], lora_alpha=used["alpha"], target_modules=used["targets"], task_type="CAUSAL_LM"
        ),
        callbacks=[way],
    )
    trainer.train()
    trainer.model.save_pretrained(str(folder / "trl"))
    return {
        "steps": trainer.state.global_step,
        "tokens": round(sum(lengths) * settings["epochs"]),
        "trained_seconds": way.seconds,
        "step_seconds": way.seconds,
        "learning_rate": RATE,
        "on_the_way": way.saved,
    }


def main() -> None:
    """Trains, and prints what it took."""
    print(json.dumps(train(Path(sys.argv[1]))))


if __name__ == "__main__":
    main()
