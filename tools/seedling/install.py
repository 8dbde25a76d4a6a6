"""Put a trained seedling where Burnish looks for it, and write its model card from the run's own records.

python tools/seedling/install.py --run runs/seedling --corpus corpus --out burnish/assets/seedling
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

sys.path.insert(0, str(Path(__file__).parents[1]))

from base_model import card_facts, install, last_event, read_lines

LARGEST_BYTES = 8_000_000
PROMPTS, PROMPT_WORDS, NEW_TOKENS = 10, 12, 60
CARD = Path(__file__).with_name("card.md")


def held_out_prompts(corpus: Path) -> Iterator[str]:
    """Beginnings of held-out documents of running text, evenly spread over the file."""
    plain = [row["text"] for row in read_lines(corpus / "valid.jsonl") if "<|im_start|>" not in row["text"]]
    long_enough = [text for text in plain if len(text.split()) >= 3 * PROMPT_WORDS]
    for index in range(PROMPTS):
        text = long_enough[index * len(long_enough) // PROMPTS]
        yield " ".join(text.split(" ")[:PROMPT_WORDS])


@torch.no_grad()
def continuation(model: Any, tokenizer: Any, prompt: str) -> str:
    """The most likely words after a prompt, up to the end of the document."""
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    output = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW_TOKENS, do_sample=False)
    return tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)


def model_card(run: Path, corpus: Path, folder: Path) -> str:
    """The card, every figure read from the run, the corpus or the model."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    statistics = json.loads((corpus / "statistics.json").read_text(encoding="utf-8"))
    continued = [(prompt, continuation(model, tokenizer, prompt)) for prompt in held_out_prompts(corpus)]
    quoted = ["**" + prompt + "**" + answer for prompt, answer in continued]
    return CARD.read_text(encoding="utf-8").format(
        **card_facts(run, folder, model),
        kv_heads=model.config.num_key_value_heads,
        eos=tokenizer.eos_token,
        pad=tokenizer.pad_token,
        seed=statistics["seed"],
        documents=statistics["documents"],
        words=statistics["words"],
        distinct=statistics["distinct_common_words"],
        tokens=last_event(run, "DataReady")["tokens"],
        perplexity=last_event(run, "Validated")["figures"]["perplexity"],
        prompt_words=PROMPT_WORDS,
        new_tokens=NEW_TOKENS,
        continuations="\n\n".join(f"{n}. " + text.replace("\n", "\n   ") for n, text in enumerate(quoted, 1)),
    )


if __name__ == "__main__":
    install(__doc__, shutil.copytree, model_card, LARGEST_BYTES)
