"""Short everyday texts for acorn's corpus: opinions, messages to a shop, news, and notes with questions behind them.

The sentences are in everyday.txt and notes.txt. Imported by make_corpus.py.
"""

from __future__ import annotations

import random
import re
from functools import cache
from pathlib import Path

import facts
from world import lexicon, names, templates

HERE = Path(__file__).parent
REVIEWED = ("goods", "baked", "readable", "instrument", "vehicle", "dish", "toy", "tool")
TOPICS = ("delivery", "payment", "refund", "account", "hours", "praise")
WORD_OR_MARK = re.compile(r"\w+(?:[-'.:]\w+)*|[^\w\s]")


@cache
def sentences(section: str) -> tuple[str, ...]:
    """The templates of a section of everyday.txt."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in (HERE / "everyday.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("== "):
            current = found.setdefault(line[3:], [])
        elif line and not line.startswith("#"):
            current.append(line)
    return tuple(found[section])


def _slots(rng: random.Random) -> dict[str, str]:
    product = names.first_name(rng, rng.choice("fm"))
    return {
        **facts.slots(rng),
        "thing": lexicon.pick(rng, rng.choice(REVIEWED)),
        "product": f"{product} {rng.randint(2, 90)}" if rng.random() < 0.25 else product,
        "family": lexicon.pick(rng, "family"),
        "fault": rng.choice(lexicon.banks()["fault"]),
        "good": rng.choice(sentences("good")[0].split()),
        "bad": rng.choice(sentences("bad")[0].split()),
    }


def _some(rng: random.Random, section: str, count: int, filled: dict[str, str]) -> list[str]:
    return [templates.expand(rng, template, filled) for template in rng.sample(sentences(section), count)]


def _text(parts: list[str]) -> str:
    closed = (part if part[-1] in '.?!,"' else part + "." for part in parts)
    return templates.tidy(" ".join(closed))


def review(rng: random.Random) -> str:
    """An opinion of a thing, in one mood or in two."""
    filled, mood = _slots(rng), rng.choice(("good review", "bad review"))
    parts = _some(rng, mood, rng.choice((1, 2, 2, 3, 4)), filled)
    if rng.random() < 0.15:
        parts.insert(rng.randint(0, len(parts)), _some(rng, "mixed review", 1, filled)[0])
    return _text(parts)


def message(rng: random.Random) -> str:
    """A message to a shop about one matter, now and then with the clerk's answer."""
    filled, topic = _slots(rng), rng.choice(TOPICS)
    parts = _some(rng, "open", 1, filled) if rng.random() < 0.4 else []
    parts += _some(rng, topic, rng.choice((1, 2, 2, 3)), filled)
    if rng.random() < 0.3:
        parts += _some(rng, "close", 1, filled)
    text = _text(parts)
    if rng.random() < 0.3:
        text += f"\n{_text(_some(rng, f'clerk {topic}', 1, filled))}"
    return text


def news(rng: random.Random) -> str:
    """One to three sentences about people, places and products."""
    return " ".join(_text(_some(rng, "news", 1, _slots(rng))) for _ in range(rng.choice((1, 1, 2, 3))))


def asked(rng: random.Random) -> str:
    """A note and questions about it with their answers, the question before the note or behind it."""
    kinds = facts.table(HERE / "notes.txt")
    note = facts.note(rng, kinds[rng.choice(list(kinds))], rng.choice((2, 3, 3, 4, 5)))
    context = " ".join(part if part[-1] in ".?!" else part + "." for part in note.sentences)
    pairs = rng.sample(note.answered, min(len(note.answered), rng.choice((1, 2, 3))))
    if rng.random() < 0.5:
        question, answer = pairs[0]
        return f"{question}\n{context}\n{answer}"
    return "\n".join([context, *(f"{question} {answer}" for question, answer in pairs)])


def spaced(text: str) -> str:
    """The text with a space between all words and marks, as lists of tokens are written."""
    return " ".join(WORD_OR_MARK.findall(text))


def document(rng: random.Random) -> str:
    """One everyday text."""
    make = rng.choices((review, message, news, asked), (0.2, 0.2, 0.2, 0.4))[0]
    text = make(rng)
    return spaced(text) if make is not asked and rng.random() < (0.5 if make is news else 0.15) else text
