"""Values for records: names, towns, counts, prices, times, codes and so on, invented anew every time."""

from __future__ import annotations

import random
from collections.abc import Callable

from world import grammar, lexicon, names


def first(rng: random.Random) -> str:
    """A first name, known or invented."""
    if rng.random() < 0.35:
        return lexicon.pick(rng, rng.choice(("female", "male")))
    return names.first_name(rng, rng.choice("fm"))


def full(rng: random.Random) -> str:
    """A first and a last name."""
    return f"{first(rng)} {names.last_name(rng)}"


def time(rng: random.Random) -> str:
    """A clock time in one of several forms."""
    hour, minute = rng.randint(1, 23), rng.choice((0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55))
    form = rng.random()
    if form < 0.6:
        return f"{hour}:{minute:02d}"
    if form < 0.8:
        return f"{hour:02d}:{minute:02d}"
    return f"{hour % 12 + 1} {rng.choice(('am', 'pm'))}"


def price(rng: random.Random) -> str:
    """A price with a currency sign."""
    sign = rng.choice("$£€$")
    whole = rng.randint(1, 99)
    return f"{sign}{whole}" if rng.random() < 0.4 else f"{sign}{whole}.{rng.randint(0, 9)}{rng.choice('05')}"


def code(rng: random.Random) -> str:
    """A short code of letters, digits and a mark."""
    letters = "".join(rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(rng.choice((1, 2, 2, 3))))
    digits = "".join(rng.choice("0123456789") for _ in range(rng.choice((1, 2, 3, 4))))
    form = rng.random()
    if form < 0.55:
        return f"{letters}{rng.choice(('-', '', '-', '/', '_'))}{digits}"
    if form < 0.8:
        return f"{letters.lower()}{rng.choice('_-.#')}{digits}"
    return rng.choice(
        (
            "#{d}",
            "{d}{l}",
            "{l}*{d}",
            "{l}+{d}",
            "{l}@{d}",
            "{l}~{d}",
            "{l}&{d}",
            "<{l}{d}>",
            "({l}){d}",
            "{l}%{d}",
            "{l}^{d}",
            "[{l}{d}]",
            "`{l}{d}`",
            "{l}\\{d}",
            "{l}!{d}",
            "'{l}'{d}",
            "{l};{d}",
            "{l}={d}",
            "{l}?{d}",
            "{{{l}{d}}}",
        )
    ).format(l=letters, d=digits)


def email(rng: random.Random) -> str:
    """An address at an invented host."""
    user = first(rng).lower()
    mark = rng.choice((".", "_", ""))
    return f"{user}{mark}{names.last_name(rng).lower()}@{names.place_name(rng).lower()}.example"


def phone(rng: random.Random) -> str:
    """An invented phone number."""
    return f"{rng.randint(100, 999)}{rng.choice('- ')}{rng.randint(1000, 9999)}"


def date(rng: random.Random) -> str:
    """A date in one of several forms."""
    day, month = rng.randint(1, 28), rng.randint(1, 12)
    return rng.choice(
        (
            f"{day} {lexicon.banks()['month'][month - 1]}",
            f"2{rng.randint(0, 99):03d}-{month:02d}-{day:02d}",
            f"{day}/{month}",
        )
    )


def _pick(bank: str) -> Callable[[random.Random], str]:
    return lambda rng: lexicon.pick(rng, bank)


def _plural(*banks: str) -> Callable[[random.Random], str]:
    return lambda rng: grammar.plural(lexicon.pick(rng, rng.choice(banks)))


def _one(rng: random.Random, bank: str) -> str:
    return rng.choice(lexicon.banks()[bank])


def _from(bank: str) -> Callable[[random.Random], str]:
    return lambda rng: _one(rng, bank)


def _between(low: int, high: int) -> Callable[[random.Random], int]:
    return lambda rng: rng.randint(low, high)


KINDS: dict[str, Callable[[random.Random], str | int]] = {
    "first": first,
    "full": full,
    "last": names.last_name,
    "town": names.place_name,
    "time": time,
    "price": price,
    "code": code,
    "email": email,
    "phone": phone,
    "date": date,
    "count": lambda rng: rng.randint(2, 20) if rng.random() < 0.7 else rng.randint(21, 999),
    "number": _between(2, 999),
    "small": _between(2, 12),
    "goals": _between(0, 9),
    "age": _between(3, 95),
    "minutes": _between(5, 120),
    "grams": lambda rng: rng.randint(1, 40) * 25,
    "degrees": _between(-15, 35),
    "item": _pick("goods"),
    "items": _plural("goods", "fruit", "vegetable", "baked", "stationery"),
    "losable": _pick("losable"),
    "colour": _pick("colour"),
    "weekday": _pick("weekday"),
    "month": _pick("month"),
    "building": _pick("building"),
    "weather": _from("sky word"),
    "title": lambda rng: f"{_one(rng, 'title start')} {_one(rng, 'title end')}",
    "animals": _plural("wild animal", "bird", "farm animal", "insect"),
    "land": _pick("land"),
    "meal": _from("dish name"),
    "stuff": _from("food stuff"),
    "subject": _pick("mass subject"),
    "room": _between(1, 60),
    "part": _pick("body part"),
    "petname": _pick("pet name"),
    "petkind": _pick("pet"),
    "job": lambda rng: rng.choice(lexicon.rows("jobs.txt"))[0],
    "street": _pick("street"),
    "fault": _from("fault"),
    "crop": lambda rng: rng.choice(
        (
            lexicon.pick(rng, "mass grain"),
            grammar.plural(lexicon.pick(rng, "fruit")),
            grammar.plural(lexicon.pick(rng, "vegetable")),
        )
    ),
    "shipname": lambda rng: f"{_one(rng, 'ship start')} {_one(rng, 'ship end')}",
    "flowers": _plural("flower"),
    "bed": _from("garden bed"),
    "vehicle": _pick("vehicle"),
    "task": _from("task"),
    "priority": _from("priority"),
    "public": _from("public spot"),
}
