"""Short stories: a problem, an attempt, a result and a feeling.

The plot skeletons are the files words/plots_*.txt.
"""

from __future__ import annotations

import random
from functools import cache

from world import lexicon, names, templates
from world.people import World, cast

MARKS = {"? ": "topics", "> ": "morals", "! ": "flags"}
REQUESTS = (
    "[Tell|Write] [me|us|] a [short|little|] story about {topic}[.|, please.]",
    "Please [tell|write] a [short|little|] story [with|about] {topic}.",
    "Can you [tell|write] [me|us] a story about {topic}?",
    "I would like [to hear|] a story about {topic}.",
    "Story: {topic}.",
)


@cache
def plots() -> list[dict[str, list[str]]]:
    """The plots: each has a title line, topics and beats (one beat per line)."""
    found: list[dict[str, list[str]]] = []
    for path in sorted(lexicon.WORDS.glob("plots_*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("== "):
                found.append({"title": [line[3:].strip()], "topics": [], "morals": [], "flags": [], "beats": []})
            elif line[:2] in MARKS:
                found[-1][MARKS[line[:2]]].append(line[2:].strip())
            elif line.strip() and not line.startswith("#"):
                found[-1]["beats"].append(line.strip())
    return found


def _ending(rng: random.Random, morals: list[str]) -> str:
    kind = rng.random()
    if kind < 0.3:
        return " {*happy end}."
    if kind < 0.6:
        lead = rng.choice(
            ("{N} learned that", "{N} understood that", "From that day on, {n} knew that", "So {n} learned:")
        )
        return f" {lead} {rng.choice(morals)}."
    return ""


def _opener(rng: random.Random, flags: list[str]) -> str:
    roll = rng.random()
    if roll < 0.3:
        return ""
    if roll < 0.6 and not flags:
        return "{*weather opener} "
    return "{*neutral opener} "


def _rename(rng: random.Random, slots: dict[str, str]) -> None:
    """Let strangers play the story: fresh names for the hero and the friend."""
    for suffix in ("", "2"):
        slots[f"n{suffix}"] = names.first_name(rng, "f" if slots[f"he{suffix}"] == "she" else "m")
    slots["last"] = names.last_name(rng)


def story(rng: random.Random, world: World) -> tuple[str, str, dict[str, str]]:
    """A story, its topic and the slots that it used."""
    plot = rng.choice(plots())
    slots = cast(rng, world, ("cat", "dog", "rabbit") if plot["title"] == ["runaway pet"] else ())
    if rng.random() < 0.4:
        _rename(rng, slots)
    body = _opener(rng, plot["flags"]) + " ".join(plot["beats"]) + _ending(rng, plot["morals"])
    text = templates.expand(rng, body, slots)
    paragraphs = templates.tidy(text.replace(" // ", "\n" if rng.random() < 0.5 else " "))
    topic = templates.expand(rng, rng.choice(plot["topics"]), slots)
    return paragraphs, topic, slots


def plain(rng: random.Random, world: World) -> str:
    """A story as plain text, sometimes with a title."""
    text, topic, _ = story(rng, world)
    roll = rng.random()
    if roll < 0.2:
        title = templates.tidy(topic)
        return f"{title[:1].upper()}{title[1:]}\n\n{text}"
    return text


def on_request(rng: random.Random, world: World) -> list[tuple[str, str]]:
    """A chat in which somebody asks for a story."""
    text, topic, slots = story(rng, world)
    ask = templates.write(rng, rng.choice(REQUESTS), {"topic": topic})
    turns = [("user", ask), ("assistant", text)]
    if rng.random() < 0.3:
        question, answer = rng.choice(
            (
                ("Who is the story about?", "The story is about {n}."),
                ("Where does {n} live?", "{n} lives in {home}."),
                ("How old is {n}?", "{n} is {age} years old."),
                ("What is the name of the main person?", "{n}."),
                ("Thank you! I liked that.", "[You are welcome.|I am glad that you liked it.]"),
            )
        )
        turns += [
            ("user", templates.write(rng, question, slots)),
            ("assistant", templates.write(rng, answer, slots)),
        ]
    return turns
