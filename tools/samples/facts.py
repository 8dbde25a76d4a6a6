"""Short notes made of facts, each fact with the questions that it answers.

A table has one section per kind of note, opened by ``== kind``. A line of a section is a sentence, then questions after
bars, each with the slot that answers it: ``{n} ordered {count} {items}. | who ordered the {items}? = n``. Sentences and
questions are in the template language of ``world/templates.py``.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from world import grammar, lexicon, names, templates, values

GOODS = ("fruit", "vegetable", "baked", "stationery", "clothing", "toy", "kitchenware", "tool", "flower")


@dataclass(frozen=True)
class Fact:
    """A sentence, and (question, slot that answers it) pairs."""

    sentence: str
    questions: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Note:
    """The sentences of a note in order, its answered questions, and questions that it leaves open."""

    sentences: tuple[str, ...]
    answered: tuple[tuple[str, str], ...]
    open: tuple[str, ...]


@cache
def table(path: Path) -> dict[str, list[Fact]]:
    """The facts of a table by kind of note."""
    found: dict[str, list[Fact]] = {}
    current: list[Fact] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("== "):
            current = found.setdefault(line[3:], [])
        elif line.strip() and not line.startswith("#"):
            sentence, *rest = (part.strip() for part in line.split(" | "))
            pairs = [part.rpartition(" = ") for part in rest]
            current.append(Fact(sentence, tuple((question, slot) for question, _, slot in pairs)))
    return found


def slots(rng: random.Random) -> dict[str, str]:
    """Values that differ from each other where a question could mix them up."""
    people = list(dict.fromkeys(values.first(rng) for _ in range(12)))[:3]
    towns = list(dict.fromkeys(names.place_name(rng) for _ in range(8)))[:2]
    things = list(dict.fromkeys(grammar.plural(lexicon.pick(rng, rng.choice(GOODS))) for _ in range(12)))[:2]
    days = lexicon.some(rng, "weekday", 2)
    counts = rng.sample(range(2, 60), 2)
    hours = rng.sample(range(7, 21), 2)
    buildings = lexicon.some(rng, "public spot", 2)
    return {
        "n": people[0],
        "m": people[1],
        "o": people[2],
        "last": names.last_name(rng),
        "town": towns[0],
        "town2": towns[1],
        "items": things[0],
        "items2": things[1],
        "count": str(counts[0]),
        "count2": str(counts[1]),
        "day": days[0],
        "day2": days[1],
        "time": f"{hours[0]}:{rng.choice(('00', '15', '30', '45'))}",
        "time2": f"{hours[1]}:{rng.choice(('00', '15', '30', '45'))}",
        "price": f"{rng.randint(2, 95)} {rng.choice(('coins', 'pounds', 'euros', 'dollars'))}",
        "colour": lexicon.pick(rng, "colour"),
        "job": rng.choice(lexicon.rows("jobs.txt"))[0],
        "street": lexicon.pick(rng, "street"),
        "spot": buildings[0],
        "spot2": buildings[1],
        "vehicle": lexicon.pick(rng, "vehicle"),
        "room": str(rng.randint(61, 99)),
        "code": f"{rng.choice('ABCDEFGHKLMNPRST')}{rng.choice('ABCDEFGHKLMNPRST')}-{rng.randint(100, 999)}",
        "pet": lexicon.pick(rng, "pet"),
        "petname": lexicon.pick(rng, "pet name"),
        "subject": lexicon.pick(rng, "mass subject"),
        "dish": rng.choice(lexicon.banks()["dish name"]),
        "thing": lexicon.pick(rng, "losable"),
        "weather": rng.choice(lexicon.banks()["sky word"]),
        "title": f"{lexicon.pick(rng, 'title start')} {lexicon.pick(rng, 'title end')}",
    }


def _ask(rng: random.Random, fact: Fact, filled: dict[str, str]) -> list[tuple[str, str]]:
    return [(templates.write(rng, question, filled), filled[slot]) for question, slot in fact.questions]


def note(rng: random.Random, facts: list[Fact], length: int) -> Note:
    """A note of so many sentences, the first fact of its kind always among them and in front."""
    filled = slots(rng)
    chosen = sorted([0, *rng.sample(range(1, len(facts)), min(length, len(facts)) - 1)])
    sentences = tuple(templates.write(rng, facts[index].sentence, filled) for index in chosen)
    text = " ".join(sentences)
    answered = [pair for index in chosen for pair in _ask(rng, facts[index], filled) if text.count(pair[1]) == 1]
    left = [pair for index, fact in enumerate(facts) if index not in chosen for pair in _ask(rng, fact, filled)]
    return Note(sentences, tuple(answered), tuple(question for question, answer in left if answer not in text))
