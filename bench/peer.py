"""One training by one program, in a process of its own; `bench/peers.py` calls it.

    python bench/peer.py burnish|trl|trl-best|guides SETTINGS.json

SETTINGS.json holds `model` (a folder), `rows` (a JSONL file of texts), `device`, `method` (`lora`, `qlora` or `full`),
`rank`, `targets`, `learning_rate`, `context`, and the texts of a step, `step_rows`, with their tokens, `step_tokens`.
Every program sees each text once, ends it with EOS and trains on every token of it; rates, schedule, adapters and the
size of a step are the same. Prints one JSON object: seconds and processor seconds of the training loop, the real
`tokens` in it (padding not counted), the peak in bytes of resident memory, or on CUDA of allocated memory, and the loss
of the trained model, measured the same way for all.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SEED = 1
_JUDGED = 24
"""Texts that the loss of the trained model is measured on."""


class Clock:
    """Notes when the loop begins and ends."""

    def begin(self) -> None:
        """The first step is about to begin."""
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def end(self) -> None:
        """A step is done."""
        self.seconds, self.cpu_seconds = time.perf_counter() - self._wall, time.process_time() - self._cpu


def with_burnish(settings: dict[str, Any], folder: Path, clock: Clock) -> Path:
    """Burnish as it comes, told the same steps."""
    import burnish
    from burnish.runs.events import StepDone, TrainingStarted

    options: dict[str, Any] = {
        "train.learning_rate": settings["learning_rate"],
        "train.schedule": "constant",
        "train.warmup": 0,
        "train.weight_decay": 0.0,
        "train.epochs": 1,
        "train.early_stopping": False,
        "model.device": settings["device"],
        "data.context": settings["context"],
        "data.validation": settings["held_out"],
        "batch.tokens": settings["step_tokens"],
        "evaluate.every": 10**6,
        "evaluate.answers": 0,
        "save.every": 10**6,
        "seed": SEED,
    }
    if settings["method"] != "full":
        options |= {"lora.rank": settings["rank"], "lora.alpha": 2 * settings["rank"]}
        options["lora.targets"] = settings["targets"]

    def note(event: Any) -> None:
        if isinstance(event, TrainingStarted):
            clock.begin()
        elif isinstance(event, StepDone):
            clock.end()

    run = burnish.train(
        settings["rows"],
        model=settings["model"],
        method=settings["method"],
        runs=str(folder),
        set=options,
        listeners=[note],
    )
    return run.path / ("model" if settings["method"] == "full" else "adapter")


def with_trl(settings: dict[str, Any], folder: Path, clock: Clock, is_best: bool = False) -> Path:
    """TRL's `SFTTrainer`: its defaults, or in bf16, packed, with activations kept; on CUDA with Liger's kernels."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    tokenizer = AutoTokenizer.from_pretrained(settings["model"])
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    batch = 1 if is_best else 8
    together = settings["step_tokens"] / settings["context"] if is_best else settings["step_rows"] / batch
    best: dict[str, Any] = {"packing": True, "gradient_checkpointing": False} if is_best else {}
    if is_best and settings["device"] == "cuda":
        best["use_liger_kernel"] = True
    options = SFTConfig(
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=max(1, round(together)),
        max_length=settings["context"],
        bf16=is_best,
        **best,
        **_shared(settings, folder),
    )
    dtype = torch.bfloat16 if is_best and settings["method"] != "full" else torch.float32
    network = AutoModelForCausalLM.from_pretrained(settings["model"], dtype=dtype, **_quantized(settings))
    trainer = SFTTrainer(
        network,
        args=options,
        train_dataset=Dataset.from_list([{"text": text} for text in texts_of(settings)]),
        processing_class=tokenizer,
        peft_config=_lora(settings),
        callbacks=[_callback(clock)],
    )
    return _train(trainer, folder)


def with_guides(settings: dict[str, Any], folder: Path, clock: Clock) -> Path:
    """transformers' `Trainer` as beginners' guides use it: padded to 128 tokens, two texts at a time, fp32."""
    import torch
    from datasets import Dataset
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

    tokenizer = AutoTokenizer.from_pretrained(settings["model"])
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    width = max(128, 2 ** math.ceil(math.log2(settings["longest"])))

    def encode(text: str) -> dict[str, list[int]]:
        ids = [*tokenizer(text).input_ids, tokenizer.eos_token_id]
        rest = width - len(ids)
        return {
            "input_ids": ids + [tokenizer.pad_token_id] * rest,
            "attention_mask": [1] * len(ids) + [0] * rest,
            "labels": ids + [-100] * rest,
        }

    network = AutoModelForCausalLM.from_pretrained(settings["model"], dtype=torch.float32)
    lora = _lora(settings)
    options = TrainingArguments(
        per_device_train_batch_size=2,
        gradient_accumulation_steps=max(1, round(settings["step_rows"] / 2)),
        **_shared(settings, folder),
    )
    trainer = Trainer(
        network if lora is None else get_peft_model(network, lora),
        options,
        train_dataset=Dataset.from_list([encode(text) for text in texts_of(settings)]),
        callbacks=[_callback(clock)],
    )
    return _train(trainer, folder)


def _shared(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What all of transformers' trainers are told."""
    return {
        "output_dir": str(folder / "out"),
        "num_train_epochs": 1,
        "learning_rate": settings["learning_rate"],
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": settings["device"] == "cpu",
        "seed": SEED,
        "logging_steps": 10**6,
    }


def _lora(settings: dict[str, Any]) -> Any:
    from peft import LoraConfig

    if settings["method"] == "full":
        return None
    is_conv = "c_attn" in settings["targets"]
    return LoraConfig(
        r=settings["rank"],
        lora_alpha=2 * settings["rank"],
        target_modules=settings["targets"],
        fan_in_fan_out=is_conv,
        task_type="CAUSAL_LM",
    )


def _quantized(settings: dict[str, Any]) -> dict[str, Any]:
    """What `from_pretrained` is told for a base in 4-bit NormalFloat."""
    import torch
    from transformers import BitsAndBytesConfig

    if settings["method"] != "qlora":
        return {}
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": config, "device_map": {"": settings["device"]}}


def _callback(clock: Clock) -> Any:
    from transformers import TrainerCallback

    class Note(TrainerCallback):
        def on_train_begin(self, *args: Any, **others: Any) -> None:
            clock.begin()

        def on_step_end(self, *args: Any, **others: Any) -> None:
            clock.end()

    return Note()


def _train(trainer: Any, folder: Path) -> Path:
    trainer.train()
    trainer.model.save_pretrained(str(folder / "result"))
    return folder / "result"


def texts_of(settings: dict[str, Any]) -> list[str]:
    """The training texts."""
    return [json.loads(line)["text"] for line in Path(settings["rows"]).read_text(encoding="utf-8").splitlines()]


def judge(settings: dict[str, Any], result: Path) -> float:
    """Mean loss per token of a saved model or adapter on the first texts, one at a time, in fp32."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    is_lora = settings["method"] != "full"
    folder = settings["model"] if is_lora else str(result)
    dtype = torch.float32 if settings["device"] == "cpu" else torch.bfloat16
    network: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, **_quantized(settings))
    if is_lora:
        network = PeftModel.from_pretrained(network, str(result))
    network = network.to(settings["device"]).eval()
    tokenizer = AutoTokenizer.from_pretrained(settings["model"])
    total, tokens = 0.0, 0
    for text in texts_of(settings)[:_JUDGED]:
        ids = torch.tensor([[*tokenizer(text).input_ids, tokenizer.eos_token_id]], device=settings["device"])
        with torch.no_grad():
            total += network(input_ids=ids, labels=ids).loss.item() * (ids.shape[1] - 1)
        tokens += ids.shape[1] - 1
    return total / tokens


def _peak(device: str) -> int:
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


RUNS = {
    "burnish": with_burnish,
    "trl": with_trl,
    "trl-best": lambda *given: with_trl(*given, is_best=True),
    "guides": with_guides,
}


def main() -> None:
    """Runs the program that is named."""
    name, settings = sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        result = RUNS[name](settings, Path(folder), clock)
        peak = _peak(settings["device"])  # before the judging takes its own
        told = {
            "seconds": clock.seconds,
            "cpu_seconds": clock.cpu_seconds,
            "tokens": settings["tokens"],
            "peak_bytes": peak,
            "loss": judge(settings, result),
        }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
