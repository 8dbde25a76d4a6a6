"""Dialogues between people of the seedling world, as scripts, as prose and as chats."""

from __future__ import annotations

import random
from functools import cache

from world import chat, lexicon, templates
from world.people import World, cast, person_slots

ASKS = ("asked", "wanted to know")
SAYS = ("said", "said", "answered", "replied")
GREETINGS = (
    (
        "[Hello!|Hi!|Good morning!|Good evening!]",
        "[Hello! How can I help you?|Hi! What can I do for you?|Good day! What would you like to know?]",
    ),
    (
        "[How are you?|How are you today?]",
        "[I am fine, thank you. And you?|I am well, thank you.|Very well, thank you. How can I help?]",
    ),
    (
        "[Who are you?|What are you?]",
        "I am Seedling, a very small language model. I know simple words and short stories.",
    ),
    (
        "[Thank you.|Thanks!|Thank you very much.]",
        "[You are welcome!|You are welcome. Is there anything else?|I am glad that I could help.]",
    ),
    ("[Goodbye!|Bye!|See you tomorrow.|Good night!]", "[Goodbye!|Goodbye, and come again!|See you soon!]"),
    ("[Can you help me?|I need some help.]", "[Yes, of course. What do you need?|Gladly. What is it about?]"),
    ("My name is {n}.", "[Hello, {n}! What can I do for you?|Nice to meet you, {n}.]"),
    ("I am {*adj glad} today.", "[I am glad to hear that. What happened?|That is good to hear!]"),
    (
        "I am {*bad mood} today.",
        "[I am sorry to hear that. What happened?|I am sorry. Do you want to talk about it?]",
    ),
    ("I {*doing+ed} [yesterday|today].", "[That sounds nice.|How was it?|Did you enjoy it?]"),
    ("I want to {*doing}.", "[That is a good idea.|That sounds like fun.|Then you should start early.]"),
    ("What should I do today?", "You could {*doing}, or perhaps you could {*doing}."),
    (
        "Tell me something nice.",
        "[Today is a good day to {*doing}.|Somebody in {town} is thinking of you.|"
        "A {*bird} sang {*outdoor spot} this morning.]",
    ),
)


@cache
def scripts() -> list[list[str]]:
    """The dialogues: a list of lines each."""
    found: list[list[str]] = []
    for line in (lexicon.WORDS / "dialogues.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("== "):
            found.append([])
        elif line and not line.startswith("#"):
            found[-1].append(line)
    return found


def _lines(rng: random.Random, world: World) -> tuple[list[str], dict[str, str]]:
    slots = cast(rng, world, ("cat", "dog", "rabbit"))
    pet = {key: slots[key] for key in ("pet", "petkind")}
    slots.update({**person_slots(rng.choice(world.adults)), **pet})
    script = rng.choice(scripts())
    length = len(script) if rng.random() < 0.7 else rng.randint(4, len(script))
    return [templates.write(rng, line, slots) for line in script[:length]], slots


def _prose(rng: random.Random, lines: list[str], one: str, two: str) -> str:
    parts = []
    for index, line in enumerate(lines):
        who = (one, two)[index % 2]
        if index > 1 and rng.random() < 0.55:
            parts.append(f'"{line}"')
        elif line.endswith("?"):
            parts.append(f'"{line}" asked {who}.')
        elif line.endswith("!"):
            parts.append(f'"{line}" cried {who}.')
        else:
            parts.append(f'"{line[:-1]}," {rng.choice(SAYS) if index else "said"} {who}.')
    return ("\n" if rng.random() < 0.5 else " ").join(parts)


def plain(rng: random.Random, world: World) -> str:
    """A dialogue as a script or as prose."""
    lines, slots = _lines(rng, world)
    others = [
        person.name for person in rng.sample(world.people, 4) if person.name not in (slots["n"], slots["relname"])
    ]
    one, two = others[0], others[1]
    if slots["full"] in " ".join(lines) or f"What do you do, {slots['n']}" in lines[0]:
        two = slots["n"] if "What do you do" in lines[0] else two
        one = slots["n"] if "borrow" in lines[0] else one
    if slots["n"] in lines[0] and "this is" in lines[0]:
        one = slots["n"]
    if rng.random() < 0.5:
        return "\n".join(f"{(one, two)[index % 2]}: {line}" for index, line in enumerate(lines))
    return _prose(rng, lines, one, two)


def chatted(rng: random.Random, world: World) -> str:
    """Small talk as a chat."""
    slots = cast(rng, world)
    turns: chat.Turns = []
    count = rng.randint(1, 3)
    for index in sorted(rng.sample(range(len(GREETINGS)), count)):
        ask, answer = GREETINGS[index]
        turns += [
            ("user", templates.write(rng, ask, slots)),
            ("assistant", templates.write(rng, answer, slots)),
        ]
    return chat.maybe_system(rng, turns)


def as_chat(rng: random.Random, world: World) -> str:
    """A script whose second speaker is the assistant."""
    lines, _ = _lines(rng, world)
    lines = lines[: len(lines) // 2 * 2]
    turns = [(("user", "assistant")[index % 2], line) for index, line in enumerate(lines)]
    return chat.maybe_system(rng, turns)


def document(rng: random.Random, world: World) -> str:
    """One document of the genre."""
    roll = rng.random()
    if roll < 0.55:
        return plain(rng, world)
    return chatted(rng, world) if roll < 0.8 else as_chat(rng, world)
