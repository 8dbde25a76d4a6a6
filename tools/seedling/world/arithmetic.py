"""Small sums and word problems whose answers lie between 0 and 100."""

from __future__ import annotations

import random

from world import chat, grammar, lexicon, templates
from world.people import World, person_slots


def _sum(rng: random.Random) -> tuple[int, str, int, int]:
    sign = rng.choice("++--x/")
    if sign == "+":
        total = rng.randint(1, 100) if rng.random() < 0.5 else rng.randint(1, 20)
        a = rng.randint(0, total)
        return a, "+", total - a, total
    if sign == "-":
        a = rng.randint(1, 100) if rng.random() < 0.5 else rng.randint(1, 20)
        b = rng.randint(0, a)
        return a, "-", b, a - b
    a, b = rng.randint(1, 10), rng.randint(1, 10)
    return (a, "*", b, a * b) if sign == "x" else (a * b, "/", b, a)


WORDS = {
    "+": ("plus", "and"),
    "-": ("minus", "take away"),
    "*": ("times", "times"),
    "/": ("divided by", "divided by"),
}
PROBLEMS = {
    "+": (
        "{n} has {a} {x}. {N2} gives {him} {b} more. How many {x} does {n} have now?",
        "There are {a} {x} in a {*container} and {b} {x} on the table. How many {x} are there in all?",
        "{n} bought {a} {x} on {*weekday} and {b} {x} on {*weekday}. How many {x} did {he} buy?",
    ),
    "-": (
        "{n} has {a} {x}. {He} gives {b} of them to {n2}. How many {x} are left?",
        "A shop has {a} {x}. It sells {b} of them. How many {x} are left?",
        "{n} had {a} {x} and lost {b}. How many {x} does {he} have now?",
    ),
    "*": (
        "There are {a} boxes with {b} {x} in each box. How many {x} are there?",
        "{n} buys {b} {x} every day for {a} days. How many {x} does {he} buy?",
    ),
    "/": (
        "{n} shares {a} {x} between {b} friends. How many {x} does each friend get?",
        "{a} {x} are put into {b} bags. Every bag gets the same number. How many {x} are in one bag?",
    ),
}


def _noun(number: int, word: str) -> str:
    return f"{number} {word if number == 1 else grammar.plural(word)}"


def _problem(rng: random.Random, world: World) -> tuple[str, str]:
    a, sign, b, result = _sum(rng)
    while min(a, b) < 2:
        a, sign, b, result = _sum(rng)
    one, two = rng.sample(world.people, 2)
    word = lexicon.pick(rng, rng.choice(("fruit", "stationery", "toy", "baked", "losable", "vegetable")))
    slots = {
        **person_slots(one),
        **person_slots(two, "2"),
        "a": str(a),
        "b": str(b),
        "x": grammar.plural(word),
    }
    question = templates.write(rng, rng.choice(PROBLEMS[sign]), slots)
    roll = rng.random()
    if roll < 0.6:
        return question, f"{a} {sign} {b} = {result}. The answer is {_noun(result, word)}."
    return question, str(result) if roll < 0.8 else _noun(result, word) + "."


def _bare(rng: random.Random) -> tuple[str, str]:
    a, sign, b, result = _sum(rng)
    roll = rng.random()
    if roll < 0.4:
        return rng.choice((f"What is {a} {sign} {b}?", f"{a} {sign} {b} = ?", f"{a} {sign} {b}")), str(result)
    if roll < 0.6:
        return f"What is {a} {WORDS[sign][0]} {b}?", str(result)
    if roll < 0.75:
        return (
            f"What is {grammar.number_word(a)} {WORDS[sign][1]} {grammar.number_word(b)}?",
            grammar.number_word(result).capitalize() + ".",
        )
    if roll < 0.85:
        number = rng.randint(0, 99)
        return f"Write {number} in words.", grammar.number_word(number)
    low, high = sorted(rng.sample(range(100), 2))
    flip = (low, high) if rng.random() < 0.5 else (high, low)
    return f"Which is {rng.choice(('more', 'greater', 'larger'))}, {flip[0]} or {flip[1]}?", str(high)


def document(rng: random.Random, world: World) -> str:
    """One document of the genre."""
    roll = rng.random()
    if roll < 0.3:
        rows = []
        for _ in range(rng.randint(4, 10)):
            a, sign, b, result = _sum(rng)
            rows.append(f"{a} {sign} {b} = {result}")
        return "\n".join(rows)
    if roll < 0.45:
        question, answer = _problem(rng, world)
        return f"{question} {answer}" if answer.endswith(".") else f"{question}\nAnswer: {answer}"
    pairs = [_problem(rng, world) if rng.random() < 0.5 else _bare(rng) for _ in range(rng.choice((1, 2, 2, 3)))]
    return chat.maybe_system(rng, [turn for ask, answer in pairs for turn in (("user", ask), ("assistant", answer))])
