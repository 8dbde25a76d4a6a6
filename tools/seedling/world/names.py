"""Invented names built from syllables, so that a model must copy names rather than know them."""

from __future__ import annotations

import random


def _list(text: str) -> list[str]:
    return text.split()


ONSETS = _list("b br c ch d dr f fl g gr h j k kl l m n p pr qu r s sh sk sl st t th tr v w y z")
VOWELS = _list("a e i o u a e i o ai ea oo ou")
MIDDLES = _list("b d f g k l ll m n nd nn p r rd rl rn s ss st t th v z lm nt rk sh")
FEMALE_ENDS = _list("a ia ina elle eth is ora enna ily une ise ette")
MALE_ENDS = _list("o an en ar us ik or ald in ern ott ev")
LAST_ENDS = _list("er ley man son well ski ing ard ott vik ell now dahl ker mond lin by wood ton sen berg")
LAST_MIDDLES = _list("l n r s t m k")
PLACE_MIDDLES = _list("l n r s t m")
PLACE_ENDS = _list("ford ton ham wick field bury dale mouth stead gate ley worth port haven bridge hill holm brook")


def _stem(rng: random.Random, syllables: int) -> str:
    parts = []
    for index in range(syllables):
        parts.append(rng.choice(MIDDLES) if index else rng.choice(ONSETS))
        parts.append(rng.choice(VOWELS[:9] if index else VOWELS))
    return "".join(parts)


def first_name(rng: random.Random, gender: str) -> str:
    """An invented first name; gender is "f" or "m"."""
    ends = FEMALE_ENDS if gender == "f" else MALE_ENDS
    return (_stem(rng, rng.choice((1, 1, 2))) + rng.choice(MIDDLES) + rng.choice(ends)).capitalize()


def last_name(rng: random.Random) -> str:
    """An invented family name."""
    return (_stem(rng, rng.choice((1, 1, 2))) + rng.choice(LAST_MIDDLES) + rng.choice(LAST_ENDS)).capitalize()


def place_name(rng: random.Random) -> str:
    """An invented town or village name."""
    return (_stem(rng, 1) + rng.choice(PLACE_MIDDLES) + rng.choice(PLACE_ENDS)).capitalize()
