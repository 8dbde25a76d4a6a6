"""The sample of task `score`: reviews of things from a shop, each with a number of stars.

Imported by generate_samples.py. A review speaks of two to four matters, each from very bad (-2) to very good (2); the
stars are 3 plus the mean of these, in halves.
"""

from __future__ import annotations

import random

from world import lexicon

MATTERS = {
    "make": {
        -2: ["It fell apart on the first day", "It came broken and smells of glue"],
        -1: ["One seam is already loose", "It feels thinner than in the picture"],
        0: ["It is made as one would expect", "There is nothing special about how it is made"],
        1: ["It is solid and neatly made", "It looks better than in the picture"],
        2: ["I have never held anything so well made", "Every edge of it is a joy"],
    },
    "price": {
        -2: ["The price is robbery", "I want my money back"],
        -1: ["It costs a little too much", "I have seen it for less elsewhere"],
        0: ["The price is what others ask", "It costs what such things cost"],
        1: ["It is fairly priced", "I would pay as much again"],
        2: ["It is a bargain", "Nowhere else does one get so much for so little"],
    },
    "delivery": {
        -2: ["It took two months to come", "The parcel was left in the rain and ruined"],
        -1: ["It came three days late", "The box was dented"],
        0: ["It came on the day they had named", "The parcel was nothing to speak of"],
        1: ["It came sooner than I had thought", "It was packed with care"],
        2: ["It was here the next morning, with a kind note", "No parcel has ever come so fast"],
    },
    "use": {
        -2: ["It does not do what it is for", "I threw it away"],
        -1: ["It takes some patience to use", "I use it less than I had hoped"],
        0: ["I use it now and then", "It does its work, no more"],
        1: ["I use it every week and like it", "It does its work well"],
        2: ["I could not be without it any more", "It has changed my mornings"],
    },
}
_CLOSINGS = ["", "", "", " Bought by {name}.", " So says {name} from {town}."]


def review(rng: random.Random) -> dict[str, str | float]:
    """One review with its stars, from 1 to 5 in halves."""
    leaning = rng.choice((-2, -1, 0, 1, 2))
    matters = rng.sample(sorted(MATTERS), rng.randint(2, 4))
    levels = [max(-2, min(2, leaning + rng.choice((-1, 0, 0, 1)))) for _ in matters]
    parts = [rng.choice(MATTERS[matter][level]) for matter, level in zip(matters, levels, strict=True)]
    name, town = lexicon.pick(rng, "family"), rng.choice(("Rome", "Oslo", "Bern", "Lima", "Cork"))
    closing = rng.choice(_CLOSINGS).format(name=name, town=town)
    stars = round(2 * (3 + sum(levels) / len(levels))) / 2
    return {"review": ". ".join(parts) + "." + closing, "stars": stars}
