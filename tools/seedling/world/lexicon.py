"""The word banks of the seedling corpus, read from the tables in world/words.

Every section of a table is one bank; a few more banks are put together from them below.
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

from world import grammar

WORDS = Path(__file__).parent / "words"


def _lines(name: str) -> list[str]:
    text = (WORDS / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


@cache
def sections(name: str) -> dict[str, list[str]]:
    """The sections of a table: class name to words."""
    found: dict[str, list[str]] = {}
    current = ""
    for line in _lines(name):
        if line.startswith("["):
            current = line.strip("[] ")
            found[current] = []
        else:
            found[current] += [word.strip() for word in line.split(",") if word.strip()]
    return {key: list(dict.fromkeys(words)) for key, words in found.items()}


@cache
def rows(name: str) -> list[tuple[str, ...]]:
    """The rows of a table whose fields are separated by bars."""
    return [tuple(field.strip() for field in line.split("|")) for line in _lines(name)]


@cache
def verb_phrases() -> list[str]:
    """Every verb with each of the things it fits, in the base form: "mend the net"."""
    phrases = []
    for verb, past, participle, objects in rows("verbs.txt"):
        if past and " " not in verb:
            grammar.IRREGULAR_VERBS[verb] = (past, participle)
        elif past:
            word = verb.split(" ")[0]
            grammar.IRREGULAR_VERBS[word] = (past.split(" ")[0], participle.split(" ")[0])
        phrases += [f"{verb} {thing.strip()}" for thing in objects.split(";")]
    return phrases


@cache
def banks() -> dict[str, list[str]]:
    """All banks by name."""
    found = {**sections("nouns.txt"), **{f"{key}": words for key, words in sections("proper.txt").items()}}
    found.update({f"adj {key}": words for key, words in sections("adjectives.txt").items()})
    found.update({f"adv {key}": words for key, words in sections("adverbs.txt").items()})
    found.update({f"mass {key}": words for key, words in sections("mass_nouns.txt").items()})
    found.update(sections("phrases.txt"))
    found.update(sections("record_values.txt"))
    found["colour"] = found["adj colour"][:12]
    found["doing"] = verb_phrases()
    found["snack"] = found["fruit"] + ["bun", "biscuit", "muffin", "sandwich", "tart", "scone", "pancake"]
    found["goods"] = [
        word
        for key in (
            "clothing",
            "kitchenware",
            "toy",
            "household",
            "stationery",
            "furniture",
            "container",
            "tool",
        )
        for word in found[key]
        if word not in ("bellows", "oven dish", "case", "trunk", "file", "iron")
    ]
    found["losable"] = found["losables"]
    return found


def pick(rng: random.Random, bank: str) -> str:
    """A random word of a bank."""
    words = banks()[bank]
    return words[int(rng.random() * len(words))]


def some(rng: random.Random, bank: str, count: int) -> list[str]:
    """Several different words of a bank."""
    return rng.sample(banks()[bank], count)
