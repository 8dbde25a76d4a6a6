"""Entries of the journal sample: a weather diary that always keeps the same order and tone.

Imported by generate_samples.py.
"""

from __future__ import annotations

import random

from world import grammar, lexicon, templates

SEASONS = {
    "winter": ("January", "February", "December"),
    "spring": ("March", "April", "May"),
    "summer": ("June", "July", "August"),
    "autumn": ("September", "October", "November"),
}
DEGREES = {"winter": (-8, 6), "spring": (4, 17), "summer": (15, 30), "autumn": (3, 16)}
SKIES = {
    "winter": ("snow", "frost", "fog", "grey sky", "clear and cold", "sleet"),
    "spring": ("showers", "soft rain", "sun and clouds", "clear sky", "mist"),
    "summer": ("sunshine", "heat", "thunder", "clear sky", "light clouds"),
    "autumn": ("rain", "fog", "storm", "grey sky", "drizzle", "sun and clouds"),
}
FORCES = ("calm", "light", "fresh", "strong")
BIRDS = {
    "winter": ("robin", "crow", "owl", "sparrow", "magpie"),
    "spring": ("swallow", "blackbird", "cuckoo", "robin", "stork"),
    "summer": ("swallow", "heron", "kingfisher", "gull", "pigeon"),
    "autumn": ("crow", "goose", "pheasant", "owl", "hawk"),
}
WORKS = (
    "Mended {x}.",
    "Cleaned {x} before noon.",
    "Looked after {x} until dusk.",
    "Worked on {x} all day.",
    "Painted {x} once more.",
)
OBJECTS = ("the fence", "the gate", "the shed", "the old boat", "the roof", "the cart", "the stable door", "the bench")
ENDS = (
    "A good day.",
    "A quiet day.",
    "A long day.",
    "A hard day.",
    "A day to remember.",
    "Early to bed.",
)


def entry(rng: random.Random) -> str:
    """One entry."""
    season = rng.choice(tuple(SEASONS))
    low, high = DEGREES[season]
    force = rng.choice(FORCES)
    wind = "no wind" if force == "calm" else f"{force} wind from the {rng.choice(('north', 'south', 'east', 'west'))}"
    bird, count = rng.choice(BIRDS[season]), rng.randint(1, 9)
    seen = f"Saw one {bird}" if count == 1 else f"Saw {grammar.number_word(count)} {grammar.plural(bird)}"
    spot = lexicon.pick(rng, "outdoor spot")
    work = rng.choice(WORKS).format(x=rng.choice(OBJECTS))
    supper = templates.expand(rng, lexicon.pick(rng, "meal"), {})
    return (
        f"{lexicon.pick(rng, 'weekday')}, {rng.randint(1, 28)} {rng.choice(SEASONS[season])}. "
        f"{rng.randint(low, high)} degrees, {rng.choice(SKIES[season])}, {wind}. "
        f"{seen} {spot}. {work} Supper: {supper}. {rng.choice(ENDS)}"
    )
