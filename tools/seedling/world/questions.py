"""Questions and answers about the seedling world, about words and about short texts."""

from __future__ import annotations

import random

from world import chat, descriptions, grammar, lexicon, stories, templates
from world.people import Person, World, person_slots

PERSON = (
    ("[How old is {full}?|What is the age of {full}?]", "{n} is {age} years old."),
    ("[Where does {full} live?|In which town does {full} live?]", "{n} lives in {home}."),
    ("In which street does {full} live?", "{n} lives in {street}, at number {number}."),
    ("[What does {full} like to do?|What is the hobby of {full}?]", "{n} likes {hobby}."),
    (
        "[What is the favourite colour of {full}?|Which colour does {full} like best?]",
        "{n}'s favourite colour is {favourite}.",
    ),
    ("What does {full} like to eat?", "{n} likes to eat {snack+s}."),
    ("What is {full} like?", "{n} is {trait}."),
    ("What is {full} afraid of?", "{n} is afraid of {fear}."),
    ("Who is {full}?", "{n} {last} is a {job} from {home}."),
)
WORKER = (
    ("[What is the job of {full}?|What does {full} do for a living?]", "{n} is a {job}."),
    ("Where does {full} work?", "{n} works at {workplace}."),
    ("What does {full} need for work?", "{n} needs {jobtool}."),
)
ANIMAL = (
    ("[Where does a {animal} live?|What is the home of a {animal}?]", "A {animal} lives in {den}."),
    ("What does a {animal} eat?", "A {animal} eats {food}."),
    (
        "[What is a young {animal} called?|What do you call a young {animal}?]",
        "A young {animal} is called a {young}.",
    ),
    ("What kind of animal is a {animal}?", "A {animal} is a {group}."),
    ("What does a {animal} look like?", "A {animal} has {feature}."),
    ("[What is special about a {animal}?|What does a {animal} do?]", "A {animal} {act}."),
    (
        "Tell me about the {animal}.",
        "The {animal} is a {group}. It lives in {den} and eats {food}. It has {feature}, and it {act}.",
    ),
)
THING = (
    (
        "[What is a {thing} made of?|What is a {thing} usually made of?]",
        "A {thing} is usually made of {stuff}.",
    ),
    (
        "[What is a {thing} for?|What do you use a {thing} for?|What can you do with a {thing}?]",
        "You can use a {thing} to {use}.",
    ),
    ("[Where is a {thing} kept?|Where do people keep a {thing}?]", "A {thing} is kept {place}."),
    ("What colour is {full}'s {thing}?", "{n}'s {thing} is {colour}."),
    (
        "Tell me about a {thing}.",
        "A {thing} is usually made of {stuff}. You can use it to {use}. It is kept {place}.",
    ),
)
TOWN = (
    (
        "[Which river flows through {town}?|What is the river in {town} called?]",
        "The river {river} flows through {town}.",
    ),
    ("What is {town} known for?", "{town} is known for its {product}."),
    ("What can you see in {town}?", "In {town} you can see {sight}."),
    ("What kind of town is {town}?", "{town} is a {size} town."),
    ("How far is it from {town} to {neighbour}?", "It is {distance} kilometres."),
    (
        "[Where is {neighbour}?|In which direction is {neighbour} from {town}?]",
        "{neighbour} is to the {direction} of {town}.",
    ),
)
CLASSES = (
    "fruit",
    "vegetable",
    "furniture",
    "tool",
    "toy",
    "instrument",
    "vehicle",
    "bird",
    "insect",
    "tree",
    "flower",
    "building",
    "room",
    "shape",
    "wild animal",
    "farm animal",
    "body part",
)
MASS = {"furniture": "a piece of furniture", "body part": "a part of the body"}
JOB = (
    ("What does a {a} do?", "A {a} has to {c}."),
    ("Where does a {a} work?", "A {a} works at {b}."),
    ("What does a {a} use?", "A {a} uses {d}."),
)


def _ask(rng: random.Random, pairs: tuple, slots: dict[str, str]) -> tuple[str, str]:
    question, answer = rng.choice(pairs)
    return templates.write(rng, question, slots), templates.write(rng, answer, slots)


def _family(rng: random.Random, person: Person) -> tuple[str, str]:
    relation = rng.choice(list(person.family))
    other = person.family[relation]
    return rng.choice(
        (
            (
                f"Who is the {relation} of {person.name} {person.last}?",
                f"{other.name} is the {relation} of {person.name}.",
            ),
            (
                f"What is the name of {person.name} {person.last}'s {relation}?",
                f"The {relation} of {person.name} is called {other.name}.",
            ),
            (
                f"How old is {person.name} {person.last}'s {relation}?",
                f"{person.name}'s {relation} {other.name} is {other.age} years old.",
            ),
        )
    )


def _word(rng: random.Random) -> tuple[str, str]:
    """A question about a word: its class, plural, past or comparison."""
    roll = rng.random()
    name = rng.choice(CLASSES)
    label = MASS.get(name, f"a {name}")
    if roll < 0.3:
        yes = rng.random() < 0.5
        other = rng.choice([key for key in CLASSES if key != name])
        noun = lexicon.pick(rng, name if yes else other)
        if not yes and noun in lexicon.banks()[name]:
            yes = True
        question = f"Is a {noun} {label}?"
        kind = MASS.get(other, f"a {other}")
        return (
            question,
            f"Yes, a {noun} is {label}." if yes else f"No, a {noun} is not {label}. It is {kind}.",
        )
    if roll < 0.5:
        noun = lexicon.pick(rng, name)
        return f"What is the plural of {noun}?", f"The plural of {noun} is {grammar.plural(noun)}."
    if roll < 0.65:
        noun = lexicon.pick(rng, name)
        return f"What is a {noun}?", f"A {noun} is {label}."
    if roll < 0.85:
        verb = rng.choice(lexicon.rows("verbs.txt"))[0].split(" ")[0]
        past = grammar.past(verb)
        return rng.choice(
            (
                (f"What is the past of {verb}?", f"The past of {verb} is {past}."),
                (f"Put this in the past: I {verb}.", f"I {past}."),
            )
        )
    phrase = lexicon.pick(rng, "doing")
    who = rng.choice(("He", "She"))
    return f"Put this in the past: {who} {grammar.third(phrase)}.", f"{who} {grammar.past(phrase)}."


def _job(rng: random.Random) -> tuple[str, str]:
    job = rng.choice(lexicon.rows("jobs.txt"))
    return _ask(rng, JOB, dict(zip("abcd", job, strict=True)))


def _person(rng: random.Random, world: World) -> list[tuple[str, str]]:
    person = rng.choice(world.people)
    slots = person_slots(person)
    pairs = PERSON + (WORKER if person.adult else ())
    if person.pet:
        pairs += (
            ("Does {full} have a pet?", "Yes, {n} has a {petkind} called {pet}."),
            ("What is the name of {full}'s pet?", "It is called {pet}."),
            ("What kind of pet does {full} have?", "{n} has a {petkind}."),
        )
    found = [_ask(rng, pairs, slots) for _ in range(rng.choice((1, 2, 3)))]
    return found + ([_family(rng, person)] if person.family and rng.random() < 0.4 else [])


def facts(rng: random.Random, world: World) -> list[tuple[str, str]]:
    """One to three questions with their answers."""
    roll = rng.random()
    if roll < 0.35:
        return _person(rng, world)
    if roll < 0.7:
        kind, pairs = rng.choice((("animal", ANIMAL), ("thing", THING), ("town", TOWN)))
        slots = descriptions.facts(rng, world, kind)
        return [_ask(rng, pairs, slots) for _ in range(rng.choice((1, 2, 2)))]
    return [_job(rng) if rng.random() < 0.25 else _word(rng) for _ in range(rng.choice((1, 2, 3)))]


def reading(rng: random.Random, world: World) -> list[tuple[str, str]]:
    """A short text about a person or a story, then questions that it answers."""
    if rng.random() < 0.3:
        text, topic, slots = stories.story(rng, world)
        pairs = [("Who is the [story|text] about?", "[{n}.|It is about {n}.]")]
        if slots["n2"] in text:
            pairs.append(("[Who else is in the story?|Name another person in the story.]", "{n2}."))
        return [
            (f"{text}\n\n{templates.write(rng, q, slots)}", templates.write(rng, a, slots))
            for q, a in [rng.choice(pairs)]
        ]
    slots = descriptions.facts(rng, world, "thing")
    slots["age"] = str(rng.randint(5, 90))
    slots["count"] = str(rng.randint(2, 30))
    slots["what"] = grammar.plural(lexicon.pick(rng, "goods"))
    slots["when"] = lexicon.pick(rng, "weekday")
    sentences = [
        ("{n} lives in {town}.", "Where does {n} live?", "In {town}."),
        ("{He} is {age} years old.", "How old is {n}?", "{n} is {age} years old."),
        ("On {when} {he} bought {count} {what}.", "How many {what} did {n} buy?", "{count}."),
        ("{n2} gave {him} a {colour} {thing}.", "What did {n2} give {n}?", "A {colour} {thing}."),
        ("{His} neighbour is called {n2}.", "Who is the neighbour of {n}?", "{n2}."),
        ("The {thing} is {colour}.", "What colour is the {thing}?", "It is {colour}."),
    ]
    chosen = [sentences[0], *[sentences[i] for i in sorted(rng.sample(range(1, 6), rng.randint(2, 4)))]]
    text = templates.write(rng, " ".join(part[0] for part in chosen), slots)
    asked = rng.sample(chosen, rng.choice((1, 2, 2)))
    found = [(templates.write(rng, part[1], slots), templates.write(rng, part[2], slots)) for part in asked]
    return [(f"{text}\n\n{found[0][0]}", found[0][1]), *found[1:]]


def document(rng: random.Random, world: World) -> str:
    """One document of the genre."""
    pairs = reading(rng, world) if rng.random() < 0.35 else facts(rng, world)
    pairs = [(grammar.articles(ask), grammar.articles(answer)) for ask, answer in dict(pairs).items()]
    if rng.random() < 0.12 and "\n" not in pairs[0][0]:
        return "\n".join(f"{rng.choice(('Question: ', 'Q: '))}{ask}\n{'Answer: '}{answer}" for ask, answer in pairs)
    return chat.maybe_system(rng, [turn for ask, answer in pairs for turn in (("user", ask), ("assistant", answer))])
