"""The sample of task `preference`: small talk, with an answer that cares and asks back, and one that does not.

Seedling knows answers of both sorts. The better one shows the right feeling and ends with a question; the worse one
ends the talk, or has the wrong feeling or name. Imported by generate_samples.py; the sentences are in preferences.txt.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from world import lexicon, names, templates, values

TABLE = Path(__file__).with_name("preferences.txt")


@dataclass(frozen=True)
class Remark:
    """What a user may say, and the better and worse answers to it; all are templates."""

    said: list[str]
    better: list[str]
    worse: list[str]


@cache
def remarks() -> dict[str, Remark]:
    """The remarks by kind."""
    found: dict[str, Remark] = {}
    current = Remark([], [], [])
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        mark, _, text = line.partition(" ")
        if mark == "==":
            current = found.setdefault(text, Remark([], [], []))
        elif mark in (":", "+", "-"):
            {":": current.said, "+": current.better, "-": current.worse}[mark].append(text)
    return found


def pair(rng: random.Random) -> dict[str, str]:
    """One row."""
    kinds = remarks()
    remark = kinds[rng.choice(list(kinds))]
    slots = {
        "n": values.first(rng),
        "m": names.first_name(rng, rng.choice("fm")),
        "town": names.place_name(rng),
        "day": lexicon.pick(rng, "weekday"),
        "doing": lexicon.pick(rng, "doing"),
        "thing": lexicon.pick(rng, "losable"),
        "item": lexicon.pick(rng, "goods"),
    }
    said, better, worse = (rng.choice(part) for part in (remark.said, remark.better, remark.worse))
    prompt = templates.write(rng, said, slots)
    chosen, rejected = (templates.write(rng, answer, slots) for answer in (better, worse))
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}
