"""Conversations of the help desk sample: every answer follows from what was said before it.

Imported by generate_samples.py.
"""

from __future__ import annotations

import random

from world import grammar, lexicon, names, values

SHOP = "You are the clerk of a small shop."
LIBRARY = "You are the clerk of a small library."
WANT = (
    "I would like {x}.",
    "Can I have {x}, please?",
    "Please give me {x}.",
    "I need {x}.",
    "{x}, please.",
    "Good morning! I want {x}.",
)
MORE = ("And {x}, please.", "I also need {x}.", "Please add {x}.", "Oh, and {x}.", "Put {x} on the list, too.")
SUMMARY = ("What is my order now?", "That is all. What do I have?", "Please read me my order.", "What is on my list?")
TOTAL = ("How many things is that?", "How many pieces do I have in all?", "What is the number of things in all?")
CODE_ASK = ("What was my code?", "Please tell me my code again.", "Which code do I have?", "I forgot my code.")
BORROW = (
    'My name is {n}. I want to borrow "{t}".',
    'Hello, I am {n}. Can I take "{t}" home?',
    'This is {n}. I am looking for "{t}".',
)
WHO = ("Which book do I have?", "What is the title of my book?", "What did I borrow?")
DUE = ("When must I bring it back?", "On which day is it due?", "Until when can I keep it?")
ITEM_BANKS = ("fruit", "stationery", "baked", "toy", "vegetable", "kitchenware")


def _amounts(rng: random.Random, count: int, most: int) -> list[tuple[int, str]]:
    words = rng.sample(lexicon.banks()[rng.choice(ITEM_BANKS)], count)
    return [(rng.randint(2, most), grammar.plural(word)) for word in words]


def _said(pairs: list[tuple[int, str]]) -> str:
    return grammar.join([f"{count} {word}" for count, word in pairs])


def _turns(system: str, pairs: list[tuple[str, str]]) -> list[dict[str, str]]:
    messages = [{"role": "system", "content": system}]
    for ask, answer in pairs:
        messages += [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]
    return messages


def _order(rng: random.Random) -> list[dict[str, str]]:
    """The order grows, and the last answer sums it up."""
    items = _amounts(rng, rng.choice((2, 2, 3)), 20)
    pairs = []
    if len(items) == 3:
        first, rest = items[:2], items[2:]
    else:
        first, rest = items[:1], items[1:]
    pairs.append((rng.choice(WANT).format(x=_said(first)), f"I have noted {_said(first)}."))
    pairs.append((rng.choice(MORE).format(x=_said(rest)), f"I have added {_said(rest)}."))
    pairs.append((rng.choice(SUMMARY), f"Your order is {_said(items)}."))
    return _turns(SHOP, pairs)


def _total(rng: random.Random) -> list[dict[str, str]]:
    """Two small numbers are added up."""
    items = _amounts(rng, 2, 9)
    total = items[0][0] + items[1][0]
    pairs = [
        (rng.choice(WANT).format(x=_said(items)), f"I have noted {_said(items)}."),
        (rng.choice(TOTAL), f"That is {items[0][0]} + {items[1][0]} = {total} things."),
    ]
    return _turns(SHOP, pairs)


def _code(rng: random.Random) -> list[dict[str, str]]:
    """The assistant gets a code, talks about something else, and gives the code back."""
    code = f"{''.join(rng.choice('ABCDEFGHKLMNPRSTUVWXYZ') for _ in range(2))}-{rng.randint(100, 999)}"
    name, item = values.first(rng), _amounts(rng, 1, 20)
    start = rng.choice(("My order code is {c}. I am {n}.", "I am {n}, and my code is {c}.", "{n} here, code {c}."))
    pairs = [
        (start.format(c=code, n=name), f"Thank you, {name}. I have found {code}."),
        (rng.choice(MORE).format(x=_said(item)), f"I have added {_said(item)}."),
        (rng.choice(CODE_ASK), f"Your code is {code}."),
    ]
    return _turns(SHOP, pairs)


def _loan(rng: random.Random) -> list[dict[str, str]]:
    """A book is lent until a day; the last answer gives the title or the day."""
    name = values.first(rng)
    title, day = str(values.KINDS["title"](rng)), lexicon.pick(rng, "weekday")
    pairs = [
        (rng.choice(BORROW).format(n=name, t=title), f'Here is "{title}", {name}. It is due on {day}.'),
        (rng.choice(WHO), f'You have "{title}".'),
        (rng.choice(DUE), f'Please bring "{title}" back on {day}.'),
    ]
    if rng.random() < 0.5:
        pairs[1:] = [pairs[2], pairs[1]]
    if rng.random() < 0.5:
        pairs.pop()
    return _turns(LIBRARY, pairs)


def _card(rng: random.Random) -> list[dict[str, str]]:
    """A reader gives name and town for a new card and hears them again."""
    name, town = values.first(rng), names.place_name(rng)
    pairs = [
        (
            rng.choice(("I need a new card. I am {n}.", "Hello, my name is {n}. Can I get a card?")).format(n=name),
            f"Welcome, {name}. Where do you live?",
        ),
        (
            rng.choice(("I live in {t}.", "In {t}.", "My home is {t}.")).format(t=town),
            f"Thank you. I have written down {town}.",
        ),
        (
            rng.choice(("What is on my card?", "Please read me the card.", "What did you write down?")),
            f"Your card says {name}, {town}.",
        ),
    ]
    return _turns(LIBRARY, pairs)


def conversation(rng: random.Random) -> list[dict[str, str]]:
    """One conversation."""
    return rng.choice((_order, _order, _total, _code, _loan, _card))(rng)
