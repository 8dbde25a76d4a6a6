"""Write the text rows from which the bundled "acorn" encoder is trained.

    python tools/acorn/make_corpus.py --corpus FOLDER --out FOLDER [--seed 0]

The folder of the corpus is what tools/seedling/generate_corpus.py writes. Its chats become plain lines, long documents
are cut between sentences, and short everyday texts (everyday.py) are mixed in. No two rows are equal, in training and
validation taken together.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "samples"))
sys.path.insert(0, str(Path(__file__).parents[1] / "seedling"))

import everyday
from world import lexicon

EVERYDAY_SHARE = 0.15
LONGEST = 800
TURN = re.compile(r"<\|im_start\|>(?:system|user|assistant)\n|<\|[a-z_]+\|>")
BLANKS = re.compile(r"\n\s*\n+")
CUT = re.compile(r"(?<=[.!?\"])\s+|\n")


def plain(text: str) -> str:
    """The text without the tokens of a chat: every turn on a line of its own."""
    return BLANKS.sub("\n", TURN.sub("\n", text)).strip()


def pieces(text: str) -> Iterator[str]:
    """The text in pieces of at most LONGEST characters, where it can be cut between sentences or lines."""
    start = end = 0
    for cut in (*(hit.end() for hit in CUT.finditer(text)), len(text)):
        if cut - start > LONGEST and end > start:
            yield text[start:end].strip()
            start = end
        end = cut
    yield text[start:].strip()


def seedling_rows(path: Path) -> Iterator[str]:
    """The rows that come from a file of seedling's corpus."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield from pieces(plain(json.loads(line)["text"]))


def everyday_rows(rng: random.Random, characters: float, taken: set[str]) -> Iterator[str]:
    """New everyday texts with about so many characters in all; they are added to the taken ones."""
    while characters > 0:
        text = everyday.document(rng)
        if text not in taken:
            taken.add(text)
            characters -= len(text)
            yield text


def write_part(corpus: Path, out: Path, name: str, seed: int, taken: set[str]) -> dict[str, int]:
    """Writes one file of rows that are not taken yet, takes them, and counts what it wrote."""
    rows = [row for row in dict.fromkeys(seedling_rows(corpus / f"{name}.jsonl")) if row and row not in taken]
    taken.update(rows)
    room = sum(map(len, rows)) * EVERYDAY_SHARE / (1 - EVERYDAY_SHARE)
    extra = list(everyday_rows(random.Random(f"everyday-{name}-{seed}"), room, taken))
    mixed = rows + extra
    random.Random(f"order-{seed}").shuffle(mixed)
    with (out / f"{name}.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": row}, ensure_ascii=False) + "\n" for row in mixed)
    return {
        f"{name}_rows": len(mixed),
        f"{name}_everyday_rows": len(extra),
        f"{name}_characters": sum(map(len, mixed)),
        f"{name}_words": sum(len(row.split()) for row in mixed),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder with seedling's train.jsonl, valid.jsonl")
    parser.add_argument("--out", type=Path, required=True, help="folder for train.jsonl, valid.jsonl, statistics.json")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    lexicon.verb_phrases()
    options.out.mkdir(parents=True, exist_ok=True)
    taken: set[str] = set()
    counts: dict[str, int] = {"seed": options.seed}
    for name in ("valid", "train"):
        counts |= write_part(options.corpus, options.out, name, options.seed, taken)
    (options.out / "statistics.json").write_text(json.dumps(counts, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
