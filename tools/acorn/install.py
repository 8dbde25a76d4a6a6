"""Put a trained acorn where Burnish looks for it, and write its model card from the run's own records.

python tools/acorn/install.py --run runs/acorn --corpus corpus --out burnish/assets/acorn
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import AutoModelForMaskedLM, AutoTokenizer

sys.path.insert(0, str(Path(__file__).parents[1]))

from base_model import card_facts, install, read_lines

LARGEST_BYTES = 6_000_000
SHOWN, TRIED = 10, 500
CARD = Path(__file__).with_name("card.md")
WORD = re.compile(r"(?<= )[a-z]{3,}\b")


@dataclass(frozen=True)
class Guess:
    """A text around a masked word, the word, and the model's word for it."""

    before: str
    word: str
    after: str
    guessed: str


def save_small(trained: Path, folder: Path) -> None:
    """Writes the trained model with bf16 weights, and its tokenizer."""
    AutoModelForMaskedLM.from_pretrained(trained, dtype=torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(trained).save_pretrained(folder)


@torch.no_grad()
def guess(model: Any, tokenizer: Any, text: str) -> Guess | None:
    """The middle word of the first line masked and guessed; None where a line has no common word."""
    line = text.split("\n")[0][:400]
    words = list(WORD.finditer(line))
    if not words:
        return None
    hit = words[len(words) // 2]
    pieces = len(tokenizer(hit[0], add_special_tokens=False).input_ids)
    before, after = line[: hit.start()].rstrip(), line[hit.end() :]
    encoded = tokenizer(f"{before} {tokenizer.mask_token * pieces}{after}", return_tensors="pt")
    holes = encoded.input_ids[0] == tokenizer.mask_token_id
    guessed = tokenizer.decode(model(**encoded).logits[0, holes].argmax(-1)).strip()
    return Guess(before, hit[0], after, guessed)


def model_card(run: Path, corpus: Path, folder: Path) -> str:
    """The card, every figure read from the run, the corpus or the model."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float32).eval()
    statistics = json.loads((corpus / "statistics.json").read_text(encoding="utf-8"))
    recipe = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    held_out = [row["text"] for row in read_lines(corpus / "valid.jsonl")[:TRIED]]
    guesses = [made for text in held_out if (made := guess(model, tokenizer, text))]
    shown = [f"{made.before} **{made.word}**{made.after} — *{made.guessed}*" for made in guesses[-SHOWN:]]
    return CARD.read_text(encoding="utf-8").format(
        **card_facts(run, folder, model),
        frame=f"{tokenizer.cls_token} text {tokenizer.sep_token}",
        mask=tokenizer.mask_token,
        pad=tokenizer.pad_token,
        seed=statistics["seed"],
        rows=statistics["train_rows"],
        words=statistics["train_words"],
        everyday=statistics["train_everyday_rows"] / statistics["train_rows"],
        share=recipe["fill_mask"]["share"],
        found=sum(made.guessed == made.word for made in guesses) / len(guesses),
        tried=len(guesses),
        guesses="\n".join(f"{number}. {text}" for number, text in enumerate(shown, 1)),
    )


if __name__ == "__main__":
    install(__doc__, save_small, model_card, LARGEST_BYTES)
