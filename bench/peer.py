"""One training by one program, in a process of its own; `bench/peers.py` and `bench/gpu.py` call it.

    python bench/peer.py burnish|guides|trl|trl-fp32|trl-best|litgpt|litgpt-best|unsloth SETTINGS.json FOLDER

Every program sees each row of the settings once (see `bench/settings.py`) and leaves the trained model or adapter in a
folder under FOLDER, for `bench/judge.py`; rates, schedule, adapters and the size of a step are the same. Prints one
JSON object: that folder as `result`, seconds and processor seconds of what the training computes, its steps, the real
`tokens` in it (padding not counted), and the peak in bytes of resident memory, or on CUDA of allocated memory.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from meter import Meter, listener
from settings import Settings, read_settings

SEED = 1


def with_burnish(settings: Settings, folder: Path, meter: Meter) -> Path:
    """Burnish with its defaults and the same steps; its measurements on the base model before them count too."""
    import burnish
    from burnish.runs.events import DataReady

    options: dict[str, Any] = {
        "train.learning_rate": settings.learning_rate,
        "train.schedule": "constant",
        "train.warmup": 0,
        "train.weight_decay": 0.0,
        "train.epochs": settings.passes,
        "train.early_stopping": False,
        "model.device": settings.device,
        "model.precision": settings.precision,
        "data.context": settings.context,
        "data.validation": settings.held_out,
        "data.test": "none",
        "batch.tokens": settings.step_tokens,
        "evaluate.every": 10**6,
        "evaluate.answers": 0,
        "save.every": 10**6,
        "seed": SEED,
    }
    if settings.method != "full":
        options |= {"lora.rank": settings.rank, "lora.alpha": 2 * settings.rank, "lora.targets": settings.targets}
    if settings.task == "dpo":
        options |= {"preference.loss": "dpo", "preference.beta": 0.1}

    rows = len(settings.examples())

    def note(event: Any) -> None:
        if isinstance(event, DataReady) and event.training_rows != rows:
            raise SystemExit(f"{event.training_rows} of {rows} rows are trained on")

    run = burnish.train(
        settings.rows,
        model=settings.model,
        task="preference" if settings.task == "dpo" else "text",
        method=settings.method,
        runs=str(folder),
        set=options,
        listeners=[listener(meter, counts_measuring=True), note],
    )
    return run.path / ("model" if settings.method == "full" else "adapter")


def with_trl_fp32(settings: Settings, folder: Path, meter: Meter) -> Path:
    """TRL's `SFTTrainer` with its defaults but for mixed precision."""
    import trl_peer

    return trl_peer.with_sft(settings, folder, meter, is_mixed=False)


def with_trl(settings: Settings, folder: Path, meter: Meter, is_best: bool = False) -> Path:
    """The trainer of TRL for the task."""
    import trl_peer

    train = trl_peer.with_dpo if settings.task == "dpo" else trl_peer.with_sft
    return train(settings, folder, meter, is_best)


def with_guides(settings: Settings, folder: Path, meter: Meter) -> Path:
    """transformers' own."""
    import trl_peer

    return trl_peer.with_guides(settings, folder, meter)


def with_litgpt(settings: Settings, folder: Path, meter: Meter, micro_rows: int = 1) -> Path:
    """LitGPT."""
    import litgpt_peer

    return litgpt_peer.with_litgpt(settings, folder, meter, micro_rows)


def with_unsloth(settings: Settings, folder: Path, meter: Meter) -> Path:
    """Unsloth."""
    import unsloth_peer

    return unsloth_peer.with_unsloth(settings, folder, meter)


RUNS: dict[str, Callable[[Settings, Path, Meter], Path]] = {
    "burnish": with_burnish,
    "guides": with_guides,
    "trl": with_trl,
    "trl-fp32": with_trl_fp32,
    "trl-best": lambda *given: with_trl(*given, is_best=True),
    "litgpt": with_litgpt,
    "litgpt-best": lambda *given: with_litgpt(*given, micro_rows=8),
    "unsloth": with_unsloth,
}


def main() -> None:
    """Runs the program that is named."""
    name, settings, folder = sys.argv[1], read_settings(Path(sys.argv[2])), Path(sys.argv[3])
    meter = Meter(settings.device)
    result = RUNS[name](settings, folder, meter)
    meter.look()
    results = {
        "result": str(result),
        "seconds": meter.seconds,
        "cpu_seconds": meter.cpu_seconds,
        "steps": meter.steps,
        "tokens": settings.trained_tokens,
        "peak_bytes": meter.peak_bytes,
    }
    print(json.dumps(results))


if __name__ == "__main__":
    main()
