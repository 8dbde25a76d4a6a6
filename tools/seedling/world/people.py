"""The fixed, seeded people and towns of the seedling world; every genre draws its facts from here."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from world import lexicon, names

PETS = (
    "cat",
    "cat",
    "dog",
    "dog",
    "dog",
    "rabbit",
    "rabbit",
    "hamster",
    "parrot",
    "tortoise",
    "pony",
    "goldfish",
)
PRODUCTS = (
    "apples",
    "cheese",
    "honey",
    "wool",
    "fish",
    "pottery",
    "clocks",
    "roses",
    "boats",
    "bread",
    "glass",
    "paper",
    "bells",
    "plums",
    "kites",
    "candles",
    "baskets",
    "violins",
)
SIGHTS = (
    "an old stone bridge",
    "a tall clock tower",
    "a round market square",
    "a white lighthouse",
    "a large library",
    "a ruined castle",
    "a windmill with red sails",
    "a small museum",
    "a theatre with blue doors",
    "a wide green park",
    "a harbour full of boats",
    "a church with two towers",
    "a street of painted houses",
)


@dataclass
class Town:
    """A town with its river and its neighbour."""

    name: str
    size: str
    river: str
    product: str
    sight: str
    neighbour: str = ""
    direction: str = ""
    distance: int = 0


@dataclass
class Person:
    """A person with facts that never change."""

    name: str
    last: str
    gender: str
    age: int
    town: Town
    street: str
    number: int
    job: tuple[str, ...]
    hobby: str
    snack: str
    colour: str
    trait: str
    fear: str
    pet: tuple[str, str] | None
    owns: tuple[tuple[str, str], ...]
    family: dict[str, Person] = field(default_factory=dict)

    @property
    def adult(self) -> bool:
        return self.age >= 18


class World:
    """Towns and families made from one seed."""

    def __init__(self, seed: int = 0, families: int = 70) -> None:
        self.rng = random.Random(f"world-{seed}")
        self.taken: set[str] = set()
        self.towns = self._make_towns(20)
        self.people: list[Person] = []
        pool = lexicon.banks()
        self.first = {"f": list(pool["female"]), "m": list(pool["male"])}
        for _ in range(families):
            self._make_family()
        self.adults = [person for person in self.people if person.adult]
        self.children = [person for person in self.people if not person.adult]

    def _make_towns(self, count: int) -> list[Town]:
        rng = self.rng
        towns = []
        for index in range(count):
            name = self._fresh(names.place_name)
            river = self._fresh(lambda r: names.first_name(r, "m"))
            size = ("small", "large", "quiet", "busy", "old", "pretty")[index % 6]
            towns.append(Town(name, size, river, rng.choice(PRODUCTS), SIGHTS[index % len(SIGHTS)]))
        for index, town in enumerate(towns):
            town.neighbour = towns[(index + 1) % count].name
            town.direction = rng.choice(("north", "south", "east", "west"))
            town.distance = rng.randint(2, 40)
        return towns

    def _fresh(self, make) -> str:
        while True:
            name = make(self.rng)
            if name not in self.taken and len(name) <= 8:
                self.taken.add(name)
                return name

    def _first(self, gender: str) -> str:
        known = self.first[gender]
        if known and self.rng.random() < 0.7:
            return known.pop(self.rng.randrange(len(known)))
        return self._fresh(lambda rng: names.first_name(rng, gender))

    def _person(self, gender: str, age: int, last: str, home: tuple, pet: tuple[str, str] | None) -> Person:
        rng = self.rng
        if age < 18:
            job: tuple[str, ...] = ("pupil", "the school", "learn new things", "a pencil")
        else:
            job = rng.choice(lexicon.rows("jobs.txt"))
            swaps = {"fisherman": "fisher", "postman": "postwoman"} if gender == "f" else {}
            job = (swaps.get(job[0], job[0]), *job[1:])
            if gender == "f" and job[0] == "ferryman":
                job = ("boat pilot", *job[1:])
        things = rng.sample(lexicon.rows("things.txt"), 3)
        owns = tuple((thing[0], rng.choice(lexicon.banks()["colour"])) for thing in things)
        person = Person(
            self._first(gender),
            last,
            gender,
            age,
            home[0],
            home[1],
            home[2],
            job,
            lexicon.pick(rng, "hobby"),
            lexicon.pick(rng, "snack"),
            lexicon.pick(rng, "colour"),
            lexicon.pick(rng, "kind trait"),
            lexicon.pick(rng, "fear"),
            pet,
            owns,
        )
        self.people.append(person)
        return person

    def _make_family(self) -> None:
        rng = self.rng
        last = self._fresh(names.last_name)
        home = (rng.choice(self.towns), lexicon.pick(rng, "street"), rng.randint(1, 90))
        pet = (rng.choice(PETS), lexicon.pick(rng, "pet name")) if rng.random() < 0.8 else None
        mother = self._person("f", rng.randint(28, 50), last, home, pet)
        father = self._person("m", rng.randint(28, 52), last, home, pet)
        mother.family["husband"], father.family["wife"] = father, mother
        children = []
        for _ in range(rng.choice((1, 2, 2, 3))):
            gender = rng.choice("fm")
            child = self._person(gender, rng.randint(6, 14), last, home, pet)
            child.family.update(mother=mother, father=father)
            for other in children:
                other.family.setdefault("sister" if gender == "f" else "brother", child)
                child.family.setdefault("sister" if other.gender == "f" else "brother", other)
            for parent in (mother, father):
                parent.family.setdefault("daughter" if gender == "f" else "son", child)
            children.append(child)
        if rng.random() < 0.6:
            gender = rng.choice("fm")
            elder = self._person(gender, rng.randint(60, 85), last, home, pet)
            for child in children:
                child.family["grandmother" if gender == "f" else "grandfather"] = elder
                elder.family.setdefault("granddaughter" if child.gender == "f" else "grandson", child)


def person_slots(person: Person, suffix: str = "") -> dict[str, str]:
    """Template slots for a person: name, pronouns and facts, with a suffix such as "2"."""
    female = person.gender == "f"
    job = person.job
    slots = {
        "n": person.name,
        "full": f"{person.name} {person.last}",
        "last": person.last,
        "he": "she" if female else "he",
        "him": "her" if female else "him",
        "his": "her" if female else "his",
        "hers": "hers" if female else "his",
        "himself": "herself" if female else "himself",
        "boy": ("woman" if female else "man") if person.adult else ("girl" if female else "boy"),
        "son": "daughter" if female else "son",
        "age": str(person.age),
        "home": person.town.name,
        "street": person.street,
        "number": str(person.number),
        "job": job[0],
        "workplace": job[1],
        "work": job[2],
        "jobtool": job[3],
        "hobby": person.hobby,
        "snack": person.snack,
        "favourite": person.colour,
        "trait": person.trait,
        "fear": person.fear,
        "petkind": person.pet[0] if person.pet else "cat",
        "pet": person.pet[1] if person.pet else "Shadow",
        "title": "Mrs" if female else "Mr",
    }
    return {f"{key}{suffix}": value for key, value in slots.items()}


def town_slots(town: Town) -> dict[str, str]:
    """Template slots for a town."""
    return {
        "town": town.name,
        "river": town.river,
        "size": town.size,
        "product": town.product,
        "sight": town.sight,
        "neighbour": town.neighbour,
        "direction": town.direction,
        "distance": str(town.distance),
    }


def cast(rng: random.Random, world: World, pets: tuple[str, ...] = ()) -> dict[str, str]:
    """Slots for a story: a child as the hero (with one of these pets), a friend, a grown-up and their town."""
    hero = rng.choice(world.children)
    while pets and (hero.pet is None or hero.pet[0] not in pets):
        hero = rng.choice(world.children)
    friend = rng.choice(world.children)
    while friend is hero:
        friend = rng.choice(world.children)
    elder = rng.choice(world.adults)
    while elder.last == hero.last:
        elder = rng.choice(world.adults)
    slots = {
        **person_slots(hero),
        **person_slots(friend, "2"),
        **person_slots(elder, "3"),
        **town_slots(hero.town),
    }
    relative = rng.choice([key for key in hero.family] or ["friend"])
    slots["rel"] = relative
    slots["relname"] = hero.family[relative].name if hero.family else friend.name
    slots["relhe"] = "she" if hero.family and hero.family[relative].gender == "f" else "he"
    slots["relhim"] = "her" if slots["relhe"] == "she" else "him"
    slots["relhis"] = "her" if slots["relhe"] == "she" else "his"
    return slots
