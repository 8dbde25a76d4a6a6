"""Where rules of thumb for the memory of training part from its simulation.

    python bench/memory_rules.py [--write]

Full fine-tuning and LoRA of public configurations in fp32, without activation checkpointing, predicted only: it takes
seconds and needs no weights. `--write` puts the table into docs/memory.md, between two markers.
"""

from __future__ import annotations

import argparse
from functools import partial

from memory_grid import Cell, make_step, public_config
from page import DOCS, write_between

from burnish.models.base import quiet_transformers
from burnish.plan.live_storage import ACTIVATIONS, BATCH, GRADIENTS, LOGITS, OPTIMIZER, WEIGHTS
from burnish.plan.simulate import simulate_deep

GB = 10**9
MODELS = (("gpt2", 1, 1024), ("Llama-2-7b", 1, 4096))
"""Models of textbook examples, with the rows of a micro-batch and their tokens."""


def rules_table() -> str:
    """The parts of the peak, beside 16 bytes for each parameter."""
    names = (WEIGHTS, GRADIENTS, OPTIMIZER, ACTIVATIONS, LOGITS, BATCH)
    lines = [
        f"| model, micro-batches × rows × tokens | method | parameters | 16 bytes each | {' | '.join(names)} | peak |",
        "|---|---|---:|---:|" + "---:|" * (len(names) + 1),
    ]
    for name, rows, context in MODELS:
        config, full = public_config(name), 0
        for method, micro_batches in (("full", 1), ("full", 2), ("lora", 2)):
            step = make_step(Cell(name, method, context, False), config, rows, micro_batches)
            seen = simulate_deep(config, partial(step.predict, config), is_uniform=True)
            full = full or seen.trained
            parts = " | ".join(gigabytes(seen.peak.parts[part]) for part in names)
            lines.append(
                f"| {name}, {micro_batches} × {rows} × {context:,} | {method} | {full / 1e6:,.1f} M "
                f"| {gigabytes(16 * full)} | {parts} | {gigabytes(seen.peak.total)} |"
            )
    return "\n".join([*lines, "", "In GB (10⁹ bytes); the parts are those of the moment of the peak."])


def gigabytes(count: int) -> str:
    """With enough figures for small ones."""
    return f"{count / GB:,.2f}" if count >= GB / 100 else f"{count / GB:.4f}"


def main() -> None:
    """Prints the table, and writes it where asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="into docs/memory.md")
    options = parser.parse_args()
    with quiet_transformers():
        table = rules_table()
    print(table)
    if options.write:
        write_between(DOCS / "memory.md", "rules", table)


if __name__ == "__main__":
    main()
