"""The sample of task `tag`: sentences with people, places, products and days, in CoNLL's form with IOB2 tags.

Most names are invented from the same syllables, whatever they name, so that only the words around them tell.
Imported by generate_samples.py; the sentences are in entities.txt.
"""

from __future__ import annotations

import random
import re
from functools import cache
from pathlib import Path

from world import lexicon, names, templates, values

TABLE = Path(__file__).with_name("entities.txt")
MARKED = re.compile(r"<(\w+):([^>]*)>")
TOKEN = re.compile(r"\w+(?:[-'.:]\w+)*|[^\w\s]")


@cache
def sentences() -> tuple[str, ...]:
    """The templates."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))


def _word(rng: random.Random) -> str:
    return names.first_name(rng, rng.choice("fm"))


def _person(rng: random.Random) -> str:
    first = values.first(rng) if rng.random() < 0.5 else _word(rng)
    return f"{first} {names.last_name(rng)}" if rng.random() < 0.25 else first


def _place(rng: random.Random) -> str:
    roll = rng.random()
    if roll < 0.15:
        return lexicon.pick(rng, "street")
    return names.place_name(rng) if roll < 0.5 else _word(rng)


def _product(rng: random.Random) -> str:
    roll = rng.random()
    if roll < 0.2:
        return f"{_word(rng)} {rng.randint(2, 99)}"
    return f"{rng.choice(('Silver', 'Little', 'Royal', 'Super'))} {_word(rng)}" if roll < 0.3 else _word(rng)


def _day(rng: random.Random) -> str:
    if rng.random() < 0.2:
        return f"{rng.randint(1, 28)} {lexicon.pick(rng, 'month')}"
    return lexicon.pick(rng, "weekday")


def _slots(rng: random.Random) -> dict[str, str]:
    found = {
        "n": f"<PERSON:{_person(rng)}>",
        "m": f"<PERSON:{_person(rng)}>",
        "town": f"<PLACE:{_place(rng)}>",
        "town2": f"<PLACE:{_place(rng)}>",
        "product": f"<PRODUCT:{_product(rng)}>",
        "product2": f"<PRODUCT:{_product(rng)}>",
        "day": f"<DAY:{_day(rng)}>",
        "day2": f"<DAY:{_day(rng)}>",
        "number": str(rng.randint(2, 90)),
        "job": rng.choice(lexicon.rows("jobs.txt"))[0],
    }
    return found if len(set(found.values())) == len(found) else _slots(rng)


def sentence(rng: random.Random) -> list[tuple[str, str]]:
    """Tokens and tags of one sentence."""
    text = templates.write(rng, rng.choice(sentences()), _slots(rng))
    tagged: list[tuple[str, str]] = []
    end = 0
    for hit in MARKED.finditer(text):
        tagged += [(token, "O") for token in TOKEN.findall(text[end : hit.start()])]
        kind, name = hit.groups()
        tagged += [(token, f"{'I' if index else 'B'}-{kind}") for index, token in enumerate(name.split(" "))]
        end = hit.end()
    return tagged + [(token, "O") for token in TOKEN.findall(text[end:])]
