"""Put a trained acorn where Burnish looks for it, and write its model card from the run's own records.

python tools/acorn/install.py --run runs/acorn --corpus corpus --out burnish/assets/acorn
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import AutoModelForMaskedLM, AutoTokenizer

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


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def last_event(run: Path, kind: str) -> dict[str, Any]:
    """The last event of a kind in a run's logs."""
    events = [*read_lines(run / "metrics.jsonl"), *read_lines(run / "events.jsonl")]
    return [event for event in events if event["event"] == kind][-1]


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
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    statistics = json.loads((corpus / "statistics.json").read_text(encoding="utf-8"))
    recipe = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    data, validated, finished = (last_event(run, kind) for kind in ("DataReady", "Validated", "Finished"))
    held_out = [row["text"] for row in read_lines(corpus / "valid.jsonl")[:TRIED]]
    guesses = [made for text in held_out if (made := guess(model, tokenizer, text))]
    shown = [f"{made.before} **{made.word}**{made.after} — *{made.guessed}*" for made in guesses[-SHOWN:]]
    config = model.config
    return CARD.read_text(encoding="utf-8").format(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        bytes=(folder / "model.safetensors").stat().st_size,
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        heads=config.num_attention_heads,
        vocabulary=config.vocab_size,
        context=config.max_position_embeddings,
        frame=f"{tokenizer.cls_token} text {tokenizer.sep_token}",
        mask=tokenizer.mask_token,
        pad=tokenizer.pad_token,
        seed=statistics["seed"],
        rows=statistics["train_rows"],
        words=statistics["train_words"],
        everyday=statistics["train_everyday_rows"] / statistics["train_rows"],
        share=recipe["fill_mask"]["share"],
        steps=last_event(run, "StepDone")["step"],
        minutes=finished["seconds"] / 60,
        machine=f"{manifest['machine']['cores']} cores ({manifest['machine']['processor']}), {manifest['precision']}",
        loss=validated["loss"],
        held_out=data["validation_rows"],
        before=finished["loss_before"],
        found=sum(made.guessed == made.word for made in guesses) / len(guesses),
        tried=len(guesses),
        guesses="\n".join(f"{number}. {text}" for number, text in enumerate(shown, 1)),
    )


def main() -> None:
    """Reads the command line, copies the model and writes its card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    save_small(options.run / "model", options.out)
    size = (options.out / "model.safetensors").stat().st_size
    if size > LARGEST_BYTES:
        raise SystemExit(f"the weights take {size:,} bytes, more than {LARGEST_BYTES:,}")
    (options.out / "README.md").write_text(model_card(options.run, options.corpus, options.out), encoding="utf-8")
    print(f"{options.out}: {size:,} bytes of weights")


if __name__ == "__main__":
    main()
