"""Write the text corpus from which the bundled "seedling" model is trained.

Everything is generated from a seed by the small world in ``world/``: the same seed gives the same files.

    python tools/seedling/generate_corpus.py --out FOLDER [--seed 0] [--tokens 17000000]
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from world import (
    arithmetic,
    chat,
    descriptions,
    dialogue,
    drills,
    lexicon,
    lists,
    questions,
    records,
    stories,
)
from world.people import World

VALID_DOCUMENTS = 1500
PLAIN_WORD = re.compile(r"(?<![\w.@#=/\\+*&%^~'-])[a-z]{2,}(?![\w@#=/\\+*&%^~'-]|\.\w)")
SHARES: dict[str, float] = {
    "stories": 0.38,
    "descriptions": 0.10,
    "dialogue": 0.10,
    "questions": 0.12,
    "arithmetic": 0.05,
    "records": 0.16,
    "drills": 0.04,
    "lists": 0.05,
}
CHARACTERS_PER_TOKEN: dict[str, float] = {
    "stories": 3.70,
    "descriptions": 3.30,
    "dialogue": 3.48,
    "questions": 3.85,
    "arithmetic": 2.75,
    "records": 2.80,
    "drills": 3.70,
    "lists": 2.35,
}


def _story(rng: random.Random, world: World) -> str:
    if rng.random() < 0.15:
        return chat.maybe_system(rng, stories.on_request(rng, world))
    return stories.plain(rng, world)


def _record(rng: random.Random, world: World) -> str:
    return records.single(rng) if rng.random() < 0.15 else records.document(rng)


GENRES: dict[str, Callable[[random.Random, World], str]] = {
    "stories": _story,
    "descriptions": descriptions.document,
    "dialogue": dialogue.document,
    "questions": questions.document,
    "arithmetic": arithmetic.document,
    "records": _record,
    "drills": lambda rng, world: drills.document(rng),
    "lists": lists.document,
}


def documents(seed: int, tokens: int) -> list[tuple[str, str]]:
    """Genre and text of every document, without exact duplicates, in random order."""
    lexicon.verb_phrases()
    world = World(seed)
    made: list[tuple[str, str]] = []
    for genre, share in SHARES.items():
        rng = random.Random(f"{genre}-{seed}")
        seen: set[str] = set()
        room, misses = tokens * share * CHARACTERS_PER_TOKEN[genre], 0
        while room > 0 and misses < 200_000:
            text = GENRES[genre](rng, world)
            if text in seen:
                misses += 1
                continue
            seen.add(text)
            made.append((genre, text))
            room -= len(text)
    random.Random(f"order-{seed}").shuffle(made)
    return made


def statistics(made: list[tuple[str, str]]) -> dict:
    """Counts over all documents."""
    words: Counter[str] = Counter()
    genres: Counter[str] = Counter()
    letters: Counter[str] = Counter()
    printable: Counter[str] = Counter()
    plain: Counter[str] = Counter()
    for genre, text in made:
        genres[genre] += 1
        letters[genre] += len(text)
        printable.update(text)
        for word in re.findall(r"[A-Za-z]+", text):
            words[word.lower()] += 1
        plain.update(PLAIN_WORD.findall(text))
    common = [word for word, count in plain.items() if count >= 8]
    ascii_counts = {chr(code): printable[chr(code)] for code in range(32, 127)}
    return {
        "documents": len(made),
        "characters": sum(letters.values()),
        "words": sum(words.values()),
        "distinct_words": len(words),
        "distinct_common_words": len(common),
        "documents_per_genre": dict(genres),
        "characters_per_genre": dict(letters),
        "rarest_printable_ascii": sorted(ascii_counts.items(), key=lambda pair: pair[1])[:12],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for train.jsonl, valid.jsonl, statistics.json")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=17_000_000, help="about how many tokens to write")
    options = parser.parse_args()
    made = documents(options.seed, options.tokens)
    options.out.mkdir(parents=True, exist_ok=True)
    valid = min(VALID_DOCUMENTS, len(made) // 10)
    for name, part in (("valid", made[:valid]), ("train", made[valid:])):
        with (options.out / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps({"text": text}, ensure_ascii=False) + "\n" for _, text in part)
    counts = {"seed": options.seed, **statistics(made), "valid_documents": valid}
    (options.out / "statistics.json").write_text(json.dumps(counts, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
