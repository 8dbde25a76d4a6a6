"""Copying and picking in natural wording: repeat a name, give the second word, turn a list round."""

from __future__ import annotations

import random

from world import chat, grammar, lexicon, names, templates, values

ANY = (
    "first",
    "full",
    "town",
    "code",
    "colour",
    "weekday",
    "item",
    "time",
    "price",
    "title",
    "number",
    "petname",
    "last",
    "email",
)
REPEAT = (
    "[Repeat|Copy|Write|Say] this [name|word|text]: {x}",
    "Please write {x}[.| again.]",
    "Say it again: {x}",
    "[The name is|It is called|Remember this:] {x}. [What is it?|What did I say?|Repeat it.]",
    "Echo: {x}",
    "I said {x}. What did I say?",
    "Type exactly this: {x}",
)
BANKS = (
    "fruit",
    "vegetable",
    "wild animal",
    "bird",
    "tool",
    "colour",
    "weekday",
    "clothing",
    "toy",
    "flower",
    "tree",
    "vehicle",
    "building",
)


def repeat(rng: random.Random) -> str:
    """Say the same again."""
    turns: chat.Turns = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        value = str(values.KINDS[rng.choice(ANY)](rng))
        turns += [("user", templates.expand(rng, rng.choice(REPEAT), {"x": value})), ("assistant", value)]
    return chat.maybe_system(rng, turns)


def _row(rng: random.Random) -> list[str]:
    count = rng.randint(3, 6)
    roll = rng.random()
    if roll < 0.5:
        return lexicon.some(rng, rng.choice(BANKS), count)
    if roll < 0.8:
        return [values.first(rng) for _ in range(count)]
    if roll < 0.9:
        return [names.place_name(rng) for _ in range(count)]
    return [str(rng.randint(1, 999)) for _ in range(count)]


def _asked(rng: random.Random, row: list[str]) -> tuple[str, str]:
    last = len(row) - 1
    place = rng.randint(0, last)
    name = grammar.ORDINALS[place + 1]
    kinds = [
        (f"Which [word|one] [came|is|was] {name}?", row[place]),
        (f"What is the {name} [word|one|entry]?", row[place]),
        ("Which [word|one] came last?", row[last]),
        ("[Write|Say|Give] the list in reverse order.", ", ".join(reversed(row))),
        ("[Repeat|Copy|Write] the list.", ", ".join(row)),
        ("How many [words|things|entries] are [there|in the list]?", str(len(row))),
        ("[Write|Put] each on its own line.", "\n".join(row)),
        ("Write the first and the last one.", f"{row[0]} and {row[last]}"),
        (f"Leave out {row[place]} and write the rest.", ", ".join(row[:place] + row[place + 1 :])),
    ]
    if place < last:
        kinds.append((f"[What|Which one] comes after {row[place]}?", row[place + 1]))
    if place:
        kinds.append((f"[What|Which one] comes before {row[place]}?", row[place - 1]))
    question, answer = rng.choice(kinds)
    return templates.expand(rng, question, {}), answer


def pick(rng: random.Random) -> str:
    """Questions about a short list."""
    row = list(dict.fromkeys(_row(rng)))
    text = rng.choice(("{}", "Here is a list: {}.", "List: {}", "Look at these: {}.", "The words are {}.")).format(
        ", ".join(row)
    )
    turns: chat.Turns = []
    for index in range(rng.choice((1, 1, 2, 3))):
        question, answer = _asked(rng, row)
        turns += [("user", question if index else f"{text}\n{question}"), ("assistant", answer)]
    return chat.maybe_system(rng, turns)


def remember(rng: random.Random) -> str:
    """Somebody tells a few facts about themselves and asks for one of them later."""
    facts = [
        ("name", "My name is {x}", "first"),
        ("town", "I live in {x}", "town"),
        ("code", "My code is {x}", "code"),
        ("colour", "My favourite colour is {x}", "colour"),
        ("day", "I come on {x}", "weekday"),
        ("number", "My number is {x}", "number"),
        ("cat", "My cat is called {x}", "petname"),
        ("teacher", "My teacher is {x}", "full"),
        ("price", "The price is {x}", "price"),
        ("time", "The time is {x}", "time"),
    ]
    chosen = [(key, text, str(values.KINDS[kind](rng))) for key, text, kind in rng.sample(facts, rng.randint(2, 4))]
    told = ". ".join(text.format(x=value) for _, text, value in chosen) + "."
    asked = rng.sample(chosen, min(2, len(chosen)))
    questions = {
        "name": "What is my name?",
        "town": "Where do I live?",
        "code": "What is my code?",
        "cat": "What is my cat called?",
        "colour": "What is my favourite colour?",
        "day": "When do I come?",
        "number": "What is my number?",
        "teacher": "Who is my teacher?",
        "price": "What is the price?",
        "time": "What is the time?",
    }
    turns: chat.Turns = []
    start = rng.random() < 0.5
    if start:
        turns += [
            ("user", told),
            ("assistant", rng.choice(("Thank you. I will remember that.", "I see.", "Good to know."))),
        ]
    for index, (key, _, value) in enumerate(asked):
        ask = questions[key]
        turns += [("user", ask if start or index else f"{told} {ask}"), ("assistant", value)]
    return chat.maybe_system(rng, turns)


def letters(rng: random.Random) -> str:
    """Spell a word, or put spelled letters together."""
    word = rng.choice((values.first, names.place_name, lambda r: lexicon.pick(r, "fruit")))(rng).split()[0]
    mark = rng.choice(("-", " ", ", "))
    spelled = mark.join(word)
    if rng.random() < 0.6:
        turns = [
            ("user", rng.choice((f"Spell {word}.", f"How do you spell {word}?", f"Spell the word {word}."))),
            ("assistant", spelled),
        ]
    else:
        turns = [
            ("user", f"{rng.choice(('Put the letters together', 'Which word is this'))}: {spelled}"),
            ("assistant", word),
        ]
    return chat.maybe_system(rng, turns)


def document(rng: random.Random) -> str:
    """One document of the genre."""
    return rng.choice((repeat, repeat, pick, pick, pick, remember, remember, letters))(rng)
