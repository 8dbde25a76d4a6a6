"""English word forms for the seedling corpus: plurals, verb forms, articles, number words.

Only the forms that the word tables need are covered; irregular forms are listed here or in verbs.txt.
"""

from __future__ import annotations

import re

IRREGULAR_PLURALS = {
    "man": "men",
    "woman": "women",
    "child": "children",
    "foot": "feet",
    "tooth": "teeth",
    "goose": "geese",
    "mouse": "mice",
    "ox": "oxen",
    "sheep": "sheep",
    "deer": "deer",
    "trout": "trout",
    "salmon": "salmon",
    "goldfish": "goldfish",
    "starfish": "starfish",
    "jellyfish": "jellyfish",
    "wife": "wives",
    "wolf": "wolves",
    "knife": "knives",
    "loaf": "loaves",
    "leaf": "leaves",
    "shelf": "shelves",
    "calf": "calves",
    "half": "halves",
    "scarf": "scarves",
    "piano": "pianos",
    "radio": "radios",
    "cello": "cellos",
    "banjo": "banjos",
    "hippo": "hippos",
    "kangaroo": "kangaroos",
    "yo-yo": "yo-yos",
    "thief": "thieves",
    "bookshelf": "bookshelves",
    "fish": "fish",
    "bellows": "bellows",
    "penknife": "penknives",
    "fisherman": "fishermen",
    "postman": "postmen",
    "photo": "photos",
    "ferryman": "ferrymen",
    "larva": "larvae",
    "fry": "fry",
    "fly": "flies",
    "person": "people",
    "policeman": "policemen",
    "canoe": "canoes",
    "shoe": "shoes",
    "roof": "roofs",
    "chief": "chiefs",
    "cuckoo": "cuckoos",
    "series": "series",
    "herring": "herring",
}
DOUBLING = {
    "stop",
    "drop",
    "wrap",
    "chop",
    "stir",
    "knit",
    "hop",
    "plan",
    "trim",
    "hum",
    "slip",
    "clap",
    "rub",
    "grab",
    "nod",
    "beg",
    "tap",
    "pat",
    "hug",
    "jog",
    "mop",
    "skip",
    "trip",
    "dig",
    "cut",
    "sit",
    "run",
    "swim",
    "win",
    "get",
    "put",
    "set",
    "let",
    "hit",
    "shut",
    "forget",
    "begin",
    "admit",
    "travel",
    "bat",
    "zip",
    "step",
    "sob",
    "drag",
    "scrub",
    "spin",
    "swap",
    "prefer",
    "shred",
}
IRREGULAR_VERBS: dict[str, tuple[str, str]] = {
    "be": ("was", "been"),
    "have": ("had", "had"),
    "do": ("did", "done"),
    "go": ("went", "gone"),
    "get": ("got", "got"),
    "put": ("put", "put"),
    "come": ("came", "come"),
    "become": ("became", "become"),
    "feel": ("felt", "felt"),
    "hold": ("held", "held"),
    "grind": ("ground", "ground"),
    "lay": ("laid", "laid"),
    "stick": ("stuck", "stuck"),
    "swing": ("swung", "swung"),
    "spin": ("spun", "spun"),
    "shut": ("shut", "shut"),
    "hit": ("hit", "hit"),
    "set": ("set", "set"),
    "let": ("let", "let"),
    "bite": ("bit", "bitten"),
    "begin": ("began", "begun"),
    "creep": ("crept", "crept"),
}
THIRD_PERSON = {"be": "is", "have": "has", "do": "does", "go": "goes", "ski": "skis"}


def _list(text: str) -> list[str]:
    return text.split()


ONES = _list(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
TENS = _list("zero ten twenty thirty forty fifty sixty seventy eighty ninety")
ORDINALS = _list("zeroth first second third fourth fifth sixth seventh eighth ninth tenth")
_ARTICLE = re.compile(r"\b([Aa]) (?=(?:[AEIOaeio]|[Uu](?!ni|se|su|ti)|hour|honest)(?!ne\b|nce\b|uro))")


def plural(noun: str) -> str:
    """The plural of a noun; only the last word of a phrase changes."""
    head, _, last = noun.rpartition(" ")
    if noun == "spool of thread" or " of " in noun:
        first, _, rest = noun.partition(" of ")
        return f"{plural(first)} of {rest}"
    lead = f"{head} " if head else ""
    if last in IRREGULAR_PLURALS:
        return lead + IRREGULAR_PLURALS[last]
    if last.endswith(("s", "x", "z", "ch", "sh")) or last in (
        "potato",
        "tomato",
        "mosquito",
        "mango",
        "volcano",
    ):
        return lead + last + "es"
    if last.endswith("y") and last[-2] not in "aeiou":
        return lead + last[:-1] + "ies"
    return lead + last + "s"


def third(verb: str) -> str:
    """The he/she/it form of a verb phrase (the first word is the verb)."""
    word, _, rest = verb.partition(" ")
    if word in THIRD_PERSON:
        form = THIRD_PERSON[word]
    elif word.endswith(("s", "x", "z", "ch", "sh", "o")):
        form = word + "es"
    elif word.endswith("y") and word[-2] not in "aeiou":
        form = word[:-1] + "ies"
    else:
        form = word + "s"
    return f"{form} {rest}".strip()


def gerund(verb: str) -> str:
    """The -ing form of a verb phrase."""
    word, _, rest = verb.partition(" ")
    if word in DOUBLING:
        form = word + word[-1] + "ing"
    elif word in ("lie", "tie", "untie", "die"):
        form = word[:-2] + "ying"
    elif word.endswith("e") and not word.endswith(("ee", "oe", "ye")) and word not in ("be",):
        form = word[:-1] + "ing"
    else:
        form = word + "ing"
    return f"{form} {rest}".strip()


def _regular_past(word: str) -> str:
    if word in DOUBLING:
        return word + word[-1] + "ed"
    if word.endswith("e"):
        return word + "d"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ied"
    return word + "ed"


def past(verb: str) -> str:
    """The simple past of a verb phrase."""
    word, _, rest = verb.partition(" ")
    form = IRREGULAR_VERBS[word][0] if word in IRREGULAR_VERBS else _regular_past(word)
    return f"{form} {rest}".strip()


def participle(verb: str) -> str:
    """The past participle of a verb phrase."""
    word, _, rest = verb.partition(" ")
    form = IRREGULAR_VERBS[word][1] if word in IRREGULAR_VERBS else _regular_past(word)
    return f"{form} {rest}".strip()


def comparative(adjective: str) -> tuple[str, str]:
    """Comparative and superlative of a short adjective."""
    special = {"bad": ("worse", "worst"), "good": ("better", "best"), "shy": ("shyer", "shyest")}
    if adjective in special:
        return special[adjective]
    stem = adjective
    if stem.endswith("y"):
        stem = stem[:-1] + "i"
    elif stem.endswith("e"):
        stem = stem[:-1]
    elif len(stem) <= 4 and stem[-1] in "gtnmd" and stem[-2] in "aeiou" and stem[-3] not in "aeiou":
        stem += stem[-1]
    return stem + "er", stem + "est"


def number_word(value: int) -> str:
    """A number from 0 to 999 in words."""
    if value < 20:
        return ONES[value]
    if value < 100:
        tens, ones = divmod(value, 10)
        return TENS[tens] + (f"-{ONES[ones]}" if ones else "")
    hundreds, rest = divmod(value, 100)
    return f"{ONES[hundreds]} hundred" + (f" and {number_word(rest)}" if rest else "")


def join(words: list[str], last: str = "and") -> str:
    """a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def articles(text: str) -> str:
    """Turn "a apple" into "an apple" wherever the next word begins with a vowel sound."""
    return _ARTICLE.sub(r"\1n ", text)


def capital(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]
