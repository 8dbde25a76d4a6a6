"""Records: messages turned into records and records turned into sentences, with many schemas and layouts."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cache

from world import chat, grammar, layouts, lexicon, templates, values
from world.layouts import Pairs

RESERVED = {"customer", "item", "count", "town", "day"}
NAMED = (
    "[Write|Put] [this|the message] {how}. [Keys|Use the keys|Fields]: {keys}.",
    "[Extract|Find|Take out|Pull out] {keys} and [write|give] them {how}.",
    "[Give|Return|Show] [me|] {keys} {how}.",
    "Make a record [of this|from the message] {how} with {keys}.",
    "[Please turn|Turn] this into a record with the fields {keys}[,|] {how}.",
    "What are {keys}? Answer {how}.",
    "Read the message and fill in {keys}. Write the result {how}.",
    "Keys: {keys}. Write {how}.",
)
UNNAMED = (
    "Write [this|the {what}] {how}[.| like before.]",
    "Make a record {how}.",
    "Now this one:",
    "The next one:",
    "Do the same [here|with this one]:",
    "And this one:",
    "Same again:",
    "Turn the {what} into a record.",
    "Next:",
)
BACK = (
    "[Write|Say|Put] this record [as|in] a sentence.",
    "Make a sentence from this record.",
    "Read the record and tell me what it says.",
    "Turn the record into [plain English|a sentence|one sentence].",
    "What does this record say?",
    "Tell me about this {what} in one sentence.",
)
LABELS = (
    ("Message", "Record"),
    ("Input", "Output"),
    ("Text", "Data"),
    ("Note", "Entry"),
    ("Q", "A"),
    ("In", "Out"),
)


@dataclass
class Field:
    """One field of a schema: its slot, the names it may have, its kind of value and a question about it."""

    slot: str
    keys: list[str]
    kind: str
    question: str


@dataclass
class Schema:
    """One kind of record."""

    name: str
    fields: list[Field] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)


@cache
def schemas() -> list[Schema]:
    """All schemas of the tables."""
    found: list[Schema] = []
    for path in sorted(lexicon.WORDS.glob("schemas_*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("== "):
                found.append(Schema(line[3:].strip()))
            elif line.startswith("> "):
                found[-1].messages.append(line[2:])
            elif line.startswith("< "):
                found[-1].sentences.append(line[2:])
            elif line and not line.startswith("#"):
                slot, _, rest = line.partition(": ")
                keys, _, rest = rest.partition(" = ")
                kind, _, question = rest.partition(" ? ")
                found[-1].fields.append(Field(slot, keys.split(", "), kind, question))
    return found


def fill(rng: random.Random, schema: Schema) -> dict[str, str | int]:
    """Fresh values for every field."""
    made: dict[str, str | int] = {}
    for part in schema.fields:
        value = values.KINDS[part.kind](rng)
        while value in made.values() and isinstance(value, str):
            value = values.KINDS[part.kind](rng)
        made[part.slot] = value
    return made


def message(rng: random.Random, schema: Schema, made: dict[str, str | int], back: bool = False) -> str:
    """The values told in a message (or, with back, in the sentence of the record)."""
    options = schema.sentences if back else schema.messages
    slots = {key: str(value) for key, value in made.items()}
    return templates.write(rng, rng.choice(options), slots)


@dataclass
class Form:
    """The chosen fields, key names and layout of one document."""

    schema: Schema
    slots: list[str]
    keys: list[str]
    writer: layouts.Callable[[Pairs], str]
    how: str
    layout: str

    def record(self, made: dict[str, str | int]) -> str:
        return self.writer([(key, made[slot]) for key, slot in zip(self.keys, self.slots, strict=True)])

    def named(self) -> str:
        return ", ".join(self.keys[:-1]) + " and " + self.keys[-1] if len(self.keys) > 1 else self.keys[0]


def form(rng: random.Random, whole: bool = False) -> Form:
    """A random form: a schema, some or all of its fields under chosen names, and a layout."""
    schema = rng.choice(schemas())
    parts = list(schema.fields)
    if not whole and rng.random() < 0.5:
        parts = (
            parts[: rng.randint(2, len(parts))] if rng.random() < 0.5 else rng.sample(parts, rng.randint(2, len(parts)))
        )
    while True:
        keys = [rng.choice(part.keys) for part in parts]
        if len(set(keys)) == len(keys) and set(keys) != RESERVED:
            break
    name, writer, how = layouts.layout(rng)
    return Form(schema, [part.slot for part in parts], layouts.styled(rng, keys), writer, how, name)


def _named_request(rng: random.Random, chosen: Form, text: str) -> str:
    keys = chosen.named() if rng.random() < 0.7 else ", ".join(chosen.keys)
    ask = templates.write(rng, rng.choice(NAMED), {"how": chosen.how, "keys": keys, "what": chosen.schema.name})
    roll = rng.random()
    if roll < 0.6:
        return f"{ask}\n\n{text}"
    if roll < 0.8:
        return f"{text}\n\n{ask}"
    return f"{ask}\n{rng.choice(('Message', 'Text', 'Note'))}: {text}"


def extraction(rng: random.Random) -> str:
    """A chat: a message in, a record out; sometimes more messages follow without the keys being named again."""
    chosen = form(rng)
    turns: chat.Turns = []
    for index in range(rng.choice((1, 1, 1, 2, 2, 3))):
        made = fill(rng, chosen.schema)
        text = message(rng, chosen.schema, made)
        if index:
            ask = templates.write(rng, rng.choice(UNNAMED), {"how": chosen.how, "what": chosen.schema.name})
            request = text if rng.random() < 0.4 else f"{ask}\n\n{text}"
        else:
            request = _named_request(rng, chosen, text)
        turns += [("user", request), ("assistant", chosen.record(made))]
    return chat.maybe_system(rng, turns)


def fixed_system(rng: random.Random) -> str:
    """A chat whose system message explains the form and whose user turns are bare messages."""
    chosen = form(rng)
    ask = templates.write(
        rng, rng.choice(NAMED), {"how": chosen.how, "keys": chosen.named(), "what": chosen.schema.name}
    )
    turns: chat.Turns = []
    for _ in range(rng.choice((1, 2, 2, 3))):
        made = fill(rng, chosen.schema)
        turns += [("user", message(rng, chosen.schema, made)), ("assistant", chosen.record(made))]
    return chat.render(turns, ask)


def series(rng: random.Random) -> str:
    """Plain text: several messages, each followed by its record."""
    chosen = form(rng)
    left, right = rng.choice(LABELS)
    blocks = []
    for _ in range(rng.choice((2, 3, 3, 4))):
        made = fill(rng, chosen.schema)
        blocks.append(f"{left}: {message(rng, chosen.schema, made)}\n{right}: {chosen.record(made)}")
    return "\n\n".join(blocks)


def backward(rng: random.Random) -> str:
    """A chat: a record in, a sentence out."""
    chosen = form(rng, whole=True)
    while chosen.layout in ("bars", "commas"):
        chosen = form(rng, whole=True)
    turns: chat.Turns = []
    for index in range(rng.choice((1, 1, 2))):
        made = fill(rng, chosen.schema)
        ask = templates.write(rng, rng.choice(BACK), {"what": chosen.schema.name})
        request = chosen.record(made) if index else f"{ask}\n\n{chosen.record(made)}"
        turns += [("user", request), ("assistant", message(rng, chosen.schema, made, back=True))]
    return chat.maybe_system(rng, turns)


def single(rng: random.Random) -> str:
    """A chat: a message and a question for one field, or several questions in turn."""
    schema = rng.choice(schemas())
    made = fill(rng, schema)
    text = message(rng, schema, made)
    parts = rng.sample(schema.fields, rng.randint(1, min(3, len(schema.fields))))
    turns: chat.Turns = []
    for index, part in enumerate(parts):
        question = part.question if rng.random() < 0.8 else f"{rng.choice(part.keys)}?"
        turns += [
            ("user", question if index else f"{text}\n\n{question}"),
            ("assistant", str(made[part.slot])),
        ]
    return chat.maybe_system(rng, turns)


def table(rng: random.Random) -> str:
    """Plain text: records of one kind under each other."""
    chosen = form(rng, whole=True)
    rows = [chosen.record(fill(rng, chosen.schema)) for _ in range(rng.randint(2, 4))]
    gap = "\n" if chosen.layout in ("json", "bars", "commas", "tight", "tags", "brackets") else "\n\n"
    head = rng.choice((f"{grammar.plural(chosen.schema.name).capitalize()}{gap}", "", ""))
    if chosen.layout in ("bars", "commas"):
        head = chosen.writer([(key, key) for key in chosen.keys]) + "\n"
    return head + gap.join(rows)


def document(rng: random.Random) -> str:
    """One document of the genre."""
    kinds = (
        extraction,
        extraction,
        extraction,
        extraction,
        fixed_system,
        fixed_system,
        series,
        backward,
        backward,
        table,
    )
    return rng.choice(kinds)(rng)
