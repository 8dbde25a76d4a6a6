"""Lists: shopping lists, things to do, kinds of things, counting, days and months, little signs and notes."""

from __future__ import annotations

import random

from world import chat, grammar, lexicon, templates, values
from world.people import World

SKIP = ("female", "male", "town end", "losables", "happy end", "neutral opener", "weather opener", "doing")
NOUN_BANKS = tuple(lexicon.sections("nouns.txt"))
LABELS = {
    "body part": "parts of the body",
    "furniture": "pieces of furniture",
    "clothing": "pieces of clothing",
    "kitchenware": "kitchen things",
    "readable": "things to read",
    "baked": "baked things",
    "family": "family members",
    "household": "household things",
    "valuable": "valuable things",
    "stationery": "things for a desk",
    "land": "places in the country",
    "nature thing": "things in nature",
    "footwear": "things for the feet",
    "part of a house": "parts of a house",
    "part of a thing": "parts of a thing",
    "dish": "dishes",
}
MASS = {
    "mass drink": "drinks",
    "mass material": "materials",
    "mass weather": "kinds of weather",
    "mass feeling": "feelings",
    "mass subject": "things to learn",
    "mass ingredient": "ingredients",
    "mass grain": "kinds of grain",
}


def _label(bank: str) -> str:
    return LABELS.get(bank) or MASS.get(bank) or grammar.plural(bank)


def _bullets(rng: random.Random, rows: list[str]) -> str:
    mark = rng.choice(("- ", "* ", "", "1", "1)"))
    if mark in ("1", "1)"):
        end = "." if mark == "1" else ")"
        return "\n".join(f"{index}{end} {row}" for index, row in enumerate(rows, 1))
    return "\n".join(mark + row for row in rows)


def shopping(rng: random.Random) -> str:
    """A shopping list with amounts."""
    rows = []
    for _ in range(rng.randint(3, 7)):
        if rng.random() < 0.4:
            amount = rng.choice(
                ("a bag of", "some", "a little", "500 g of", "2 kg of", "1 litre of", "half a pound of")
            )
            rows.append(f"{amount} {lexicon.pick(rng, 'mass drink' if 'litre' in amount else 'mass ingredient')}")
        else:
            count = rng.randint(2, 12)
            bank = rng.choice(("fruit", "vegetable", "baked", "stationery"))
            rows.append(f"{count} {grammar.plural(lexicon.pick(rng, bank))}")
    head = templates.write(rng, "[Shopping list|To buy|For {*weekday}|From the market|List for {*female}]:", {})
    return f"{head}\n{_bullets(rng, list(dict.fromkeys(rows)))}"


def to_do(rng: random.Random) -> str:
    """Things to do."""
    rows = [templates.expand(rng, lexicon.pick(rng, "doing"), {}) for _ in range(rng.randint(3, 6))]
    if rng.random() < 0.3:
        rows = [f"[{rng.choice(' x')}] {row}" for row in rows]
    elif rng.random() < 0.4:
        rows = [f"{values.time(rng)} - {row}" for row in rows]
    head = templates.write(rng, "[To do|Plan for {*weekday}|Today|Jobs for {*male}|What we will do on {*weekday}]:", {})
    return f"{head}\n{_bullets(rng, rows)}"


def kinds(rng: random.Random) -> str:
    """Members of a class, as a sentence, a list or a chat."""
    bank = rng.choice(NOUN_BANKS + tuple(MASS))
    count = rng.randint(3, 6)
    words = lexicon.some(rng, bank, count)
    roll = rng.random()
    if bank not in MASS and roll < 0.5:
        words = [grammar.plural(word) for word in words]
    elif bank not in MASS:
        words = [grammar.articles(f"a {word}") for word in words]
    label = _label(bank)
    if roll < 0.35:
        return f"{label.capitalize()}: {', '.join(words)}."
    if roll < 0.6:
        verb = rng.choice(("are", "are all"))
        return f"{grammar.capital(grammar.join(words))} {verb} {label}."
    number = grammar.number_word(count)
    ask = rng.choice((f"Name {number} {label}.", f"Give me {number} {label}.", f"List {number} {label}."))
    answer = f"{grammar.capital(grammar.join(words))}." if roll < 0.8 else _bullets(rng, words)
    return chat.maybe_system(rng, [("user", ask), ("assistant", answer)])


def adjectives(rng: random.Random) -> str:
    """Words that describe, with nouns that they fit."""
    kind, bank = rng.choice(
        (
            ("adj person", "family"),
            ("adj place", "building"),
            ("adj thing", "household"),
            ("adj taste", "baked"),
            ("adj colour", "clothing"),
            ("adj thing", "furniture"),
            ("adj place", "land"),
        )
    )
    phrases = [f"a {lexicon.pick(rng, kind)} {lexicon.pick(rng, bank)}" for _ in range(rng.randint(3, 5))]
    lead = rng.choice(("", "There was ", "I saw ", "We spoke about ", "In the picture there is "))
    return templates.tidy(f"{lead}{grammar.join(list(dict.fromkeys(phrases)))}.")


def rows(rng: random.Random) -> str:
    """Counting, weekdays, months, letters."""
    roll = rng.random()
    days, months = lexicon.banks()["weekday"], lexicon.banks()["month"]
    if roll < 0.4:
        start, step = rng.randint(0, 90), rng.choice((1, 1, 1, 2, 5, 10))
        numbers = list(range(start, start + step * rng.randint(5, 10), step))
        if rng.random() < 0.3:
            numbers.reverse()
        return ", ".join(map(str, numbers))
    if roll < 0.6:
        start = rng.randint(0, 6)
        return ", ".join((days + days)[start : start + rng.randint(3, 7)])
    if roll < 0.75:
        start = rng.randint(0, 11)
        return ", ".join((months + months)[start : start + rng.randint(3, 8)])
    name, row = rng.choice((("day", days), ("month", months)))
    place = rng.randrange(len(row))
    side = rng.choice((1, -1))
    ask = f"Which {name} comes {'after' if side == 1 else 'before'} {row[place]}?"
    return chat.maybe_system(rng, [("user", ask), ("assistant", f"{row[(place + side) % len(row)]}.")])


def notes(rng: random.Random) -> str:
    """Lines with codes, prices, marks and odd signs, so that every printable character is known."""
    lines = []
    for _ in range(rng.randint(2, 5)):
        key = rng.choice(
            (
                "ref",
                "code",
                "id",
                "key",
                "file",
                "tag",
                "price",
                "at",
                "mail",
                "tel",
                "path",
                "size",
                "note",
                "ok",
            )
        )
        kind = rng.choice(("code", "code", "price", "time", "phone", "email", "date", "number"))
        value = values.KINDS[kind](rng)
        lines.append(
            rng.choice(
                (
                    "{k}: {v}",
                    "{k}={v}",
                    "[{k}] {v}",
                    "{k}_{n} = '{v}'",
                    "<{k}>{v}</{k}>",
                    "{k} ~ {v}",
                    "{{{k}: {v}}}",
                    "`{k}` {v} ({n}%)",
                    "{k} & {v}",
                    "{k}/{n} | {v}",
                    "#{k} {v} *",
                    "{k}? {v}!",
                    '"{k}": "{v}"',
                    "{k}\\{n} + {v}",
                    "{k}^{n} > {v}",
                    "@{k} {v}; {n}",
                    "{k} < {n} $ {v}",
                )
            ).format(k=key, v=value, n=rng.randint(1, 99))
        )
    return "\n".join(lines)


def document(rng: random.Random, world: World) -> str:
    """One document of the genre."""
    kind = rng.choice((shopping, to_do, kinds, kinds, kinds, adjectives, rows, notes))
    return kind(rng)
