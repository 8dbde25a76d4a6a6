"""The sample of task `classify`: messages to a shop and what they are about.

Imported by generate_samples.py; the sentences are in tickets.txt.
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import facts
from world import lexicon, templates

TABLE = Path(__file__).with_name("tickets.txt")
LABELS = ("account", "delivery", "hours", "payment", "praise", "refund")


@cache
def sections() -> dict[str, list[str]]:
    """The templates of the table by section."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("== "):
            current = found.setdefault(line[3:], [])
        elif line and not line.startswith("#"):
            current.append(line)
    return found


def ticket(rng: random.Random, label: str) -> dict[str, str]:
    """One message about the matter of a label."""
    filled = {**facts.slots(rng), "family": lexicon.pick(rng, "family")}
    parts = []
    if rng.random() < 0.3:
        parts.append(rng.choice(sections()["greeting"]))
    if label != "praise" and rng.random() < 0.35:
        settled = [line.split("|")[0] for line in sections()["before"] if label not in line.rpartition("|")[2].split()]
        parts.append(rng.choice(settled).strip())
    parts += rng.sample(sections()[label], 2 if rng.random() < 0.3 else 1)
    if rng.random() < 0.25:
        parts.append(rng.choice(sections()["ending"]))
    text = templates.tidy(" ".join(templates.expand(rng, part, filled) for part in parts))
    return {"text": text, "label": label}
