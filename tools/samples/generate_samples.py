"""Write the small sample data sets that ship with Burnish, one or more for every kind of task that reads text.

    python tools/samples/generate_samples.py [--out burnish/assets/samples] [--seed 0]

The sentences are made from templates and invented names; the same seed gives the same files.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "seedling"))
sys.path.insert(0, str(Path(__file__).parent))

import entities
import helpdesk
import journal
import notes
import preferences
import reviews
import tickets
from world import grammar, lexicon, names

HERE = Path(__file__).parent
ORDER_INSTRUCTION = "Write the order record."
ORDER_ROWS, HELPDESK_ROWS, JOURNAL_ROWS = 1000, 400, 400
PREFERENCE_ROWS, TICKET_ROWS, REVIEW_ROWS, SENTENCES, CONTEXTS = 500, 800, 800, 700, 300
CATALOGUE, MOST_ORDERED = 48, 24
ITEM_BANKS = ("goods", "fruit", "vegetable", "baked", "stationery")


def distinct(make: Callable[[], dict], rows: int, key: Callable[[dict], str]) -> list[dict]:
    """Rows from a maker, none of them with the same key as another."""
    found: dict[str, dict] = {}
    while len(found) < rows:
        row = make()
        found.setdefault(key(row), row)
    return list(found.values())


def order_templates() -> list[str]:
    """The wordings of an order message."""
    lines = (HERE / "order_messages.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _name(rng: random.Random) -> str:
    if rng.random() < 0.5:
        return lexicon.pick(rng, rng.choice(("female", "male")))
    return names.first_name(rng, rng.choice("fm"))


def orders(seed: int) -> list[dict]:
    """Rows of the instruction set: an order message in, one JSON record out."""
    rng = random.Random(f"orders-{seed}")
    templates = order_templates()
    people = [_name(rng) for _ in range(240)]
    towns = [names.place_name(rng) for _ in range(120)]
    offered = (grammar.plural(lexicon.pick(rng, rng.choice(ITEM_BANKS))) for _ in range(20 * CATALOGUE))
    catalogue = list(dict.fromkeys(offered))[:CATALOGUE]

    def make() -> dict:
        values = {
            "name": rng.choice(people),
            "item": rng.choice(catalogue),
            "count": rng.randint(2, MOST_ORDERED),
            "town": rng.choice(towns),
            "day": lexicon.pick(rng, "weekday"),
        }
        record = {
            "customer": values["name"],
            "item": values["item"],
            "count": values["count"],
            "town": values["town"],
            "day": values["day"],
        }
        return {
            "instruction": ORDER_INSTRUCTION,
            "input": rng.choice(templates).format(**values),
            "output": json.dumps(record),
        }

    return distinct(make, ORDER_ROWS, lambda row: row["input"])


def chats(seed: int) -> list[dict]:
    """Rows of the chat set: conversations with the assistant of a shop or a library."""
    rng = random.Random(f"helpdesk-{seed}")
    return distinct(lambda: {"messages": helpdesk.conversation(rng)}, HELPDESK_ROWS, json.dumps)


def entries(seed: int) -> list[dict]:
    """Rows of the text set: entries of a weather diary."""
    rng = random.Random(f"journal-{seed}")
    return distinct(lambda: {"text": journal.entry(rng)}, JOURNAL_ROWS, lambda row: row["text"])


def pairs(seed: int) -> list[dict]:
    """Rows of the preference set: a question with a better and a worse answer."""
    rng = random.Random(f"preferences-{seed}")
    return distinct(lambda: preferences.pair(rng), PREFERENCE_ROWS, lambda row: row["prompt"])


def messages(seed: int) -> list[dict]:
    """Rows of the classification set, every label about as often as the others."""
    rng = random.Random(f"tickets-{seed}")
    return distinct(lambda: tickets.ticket(rng, rng.choice(tickets.LABELS)), TICKET_ROWS, lambda row: row["text"])


def rated(seed: int) -> list[dict]:
    """Rows of the score set: reviews with their stars."""
    rng = random.Random(f"reviews-{seed}")
    return distinct(lambda: reviews.review(rng), REVIEW_ROWS, lambda row: row["review"])


def conll(seed: int) -> str:
    """The tagged sentences, one token and its tag a line, an empty line between sentences."""
    rng = random.Random(f"entities-{seed}")
    made = distinct(lambda: {"rows": entities.sentence(rng)}, SENTENCES, lambda row: str(row["rows"]))
    return "\n".join("".join(f"{token}\t{tag}\n" for token, tag in sentence["rows"]) for sentence in made)


def json_lines(rows: list[dict]) -> str:
    """Rows as JSON Lines."""
    return "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    target = HERE.parents[1] / "burnish" / "assets" / "samples"
    parser.add_argument("--out", type=Path, default=target, help="folder to write to")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("orders.jsonl", json_lines(orders(options.seed))),
        ("helpdesk.jsonl", json_lines(chats(options.seed))),
        ("journal.jsonl", json_lines(entries(options.seed))),
        ("preferences.jsonl", json_lines(pairs(options.seed))),
        ("tickets.jsonl", json_lines(messages(options.seed))),
        ("reviews.jsonl", json_lines(rated(options.seed))),
        ("entities.conll", conll(options.seed)),
        ("notes.json", json.dumps(notes.document(options.seed, CONTEXTS), separators=(",", ":")) + "\n"),
    ):
        path = options.out / name
        path.write_text(content, encoding="utf-8")
        print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
