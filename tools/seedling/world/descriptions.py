"""Descriptions of people, towns, animals, things, places and days, true to the seedling world."""

from __future__ import annotations

import random
from functools import cache

from world import grammar, lexicon, templates
from world.people import World, person_slots, town_slots

KINDS = ("person", "person", "town", "animal", "thing", "scene", "scene", "day", "day", "forms", "compare")


@cache
def _groups() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    current = ""
    text = (lexicon.WORDS / "description_templates.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith("== "):
            current = line[3:]
            found[current] = []
        elif line and not line.startswith("#"):
            found[current].append(line)
    return found


def facts(rng: random.Random, world: World, kind: str) -> dict[str, str]:
    """Slots that describe one member of a kind."""
    person = rng.choice(world.people)
    slots = {
        **person_slots(person),
        **person_slots(rng.choice(world.people), "2"),
        **town_slots(rng.choice(world.towns)),
    }
    for index, (thing, colour) in enumerate(person.owns, 1):
        slots[f"thing{index}"], slots[f"colour{index}"] = thing, colour
    if kind == "animal":
        slots.update(
            zip(
                ("animal", "group", "den", "food", "act", "feature", "young"),
                rng.choice(lexicon.rows("animals.txt")),
                strict=True,
            )
        )
    if kind == "thing":
        thing, colour = rng.choice(person.owns)
        row = next(row for row in lexicon.rows("things.txt") if row[0] == thing)
        slots.update(thing=thing, stuff=row[1], use=row[2], place=row[3], colour=colour)
    return slots


def _forms(rng: random.Random) -> str:
    """One verb in many forms."""
    phrase, who = lexicon.pick(rng, "doing"), rng.choice(("I", "you", "we", "they", "she", "he"))
    single = who in ("she", "he")
    be, was, have = {"I": ("am", "was", "have")}.get(who, ("is", "was", "has") if single else ("are", "were", "have"))
    sentences = [
        f"Today {who} {grammar.third(phrase) if single else phrase}.",
        f"Yesterday {who} {grammar.past(phrase)}.",
        f"{who.capitalize()} {have} already {grammar.participle(phrase)}.",
        f"Tomorrow {who} will {phrase}.",
        f"Now {who} {be} {grammar.gerund(phrase)}.",
        f"Last year {who} {was} often {grammar.gerund(phrase)}.",
        f"{who.capitalize()} did not {phrase} last week.",
        f"{who.capitalize()} would like to {phrase} again.",
    ]
    return " ".join(rng.sample(sentences, rng.randint(3, 6)))


def _compare(rng: random.Random, world: World) -> str:
    """Adjectives compared."""
    one, two, three = rng.sample(world.people, 3)
    size = (
        "big",
        "small",
        "old",
        "new",
        "heavy",
        "light",
        "clean",
        "cheap",
        "strong",
        "pretty",
        "bright",
        "thick",
        "thin",
        "soft",
        "large",
        "plain",
        "neat",
        "fine",
        "shiny",
        "sturdy",
        "rusty",
        "dusty",
        "tiny",
        "fancy",
    )
    mood = (
        "kind",
        "brave",
        "calm",
        "clever",
        "happy",
        "busy",
        "funny",
        "lucky",
        "proud",
        "polite",
        "gentle",
        "tidy",
        "shy",
        "lazy",
        "strong",
        "quiet",
        "wise",
        "friendly",
        "bold",
        "merry",
        "silly",
        "noisy",
        "tall",
        "fast",
        "young",
        "sleepy",
    )
    if rng.random() < 0.5:
        word = rng.choice(mood)
        more, most = grammar.comparative(word)
        return (
            f"{one.name} is {word}. {two.name} is {more} than {one.name}. {three.name} is the {most} of the three. "
            f"So {one.name} is not as {word} as {three.name}."
        )
    word, thing = rng.choice(size), rng.choice(one.owns)[0]
    more, most = grammar.comparative(word)
    return (
        f"{one.name}'s {thing} is {word}. {two.name}'s {thing} is {more}. But the {most} {thing} of all belongs to "
        f"{three.name}. Who has the {most} {thing}? {three.name} has it."
    )


def document(rng: random.Random, world: World) -> str:
    """One description."""
    kind = rng.choice(KINDS)
    if kind == "forms":
        return templates.tidy(_forms(rng))
    if kind == "compare":
        return _compare(rng, world)
    lines = _groups()[kind]
    count = min(len(lines), rng.randint(4, 9))
    first = kind != "scene"
    chosen = sorted(rng.sample(range(1 if first else 0, len(lines)), count - 1))
    text = " ".join(lines[index] for index in ([0] if first else []) + chosen)
    return templates.write(rng, text, facts(rng, world, kind))
