"""Put a trained seedling where Burnish looks for it, and write its model card from the run's own records.

python tools/seedling/install.py --run runs/seedling --corpus corpus --out burnish/assets/seedling
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

LARGEST_BYTES = 8_000_000
PROMPTS, PROMPT_WORDS, NEW_TOKENS = 10, 12, 60
CARD = Path(__file__).with_name("card.md")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def last_event(run: Path, kind: str) -> dict[str, Any]:
    """The last event of a kind in a run's logs."""
    events = [*read_lines(run / "metrics.jsonl"), *read_lines(run / "events.jsonl")]
    return [event for event in events if event["event"] == kind][-1]


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
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    statistics = json.loads((corpus / "statistics.json").read_text(encoding="utf-8"))
    data, validated, finished = (last_event(run, kind) for kind in ("DataReady", "Validated", "Finished"))
    continued = [(prompt, continuation(model, tokenizer, prompt)) for prompt in held_out_prompts(corpus)]
    quoted = ["**" + prompt + "**" + answer for prompt, answer in continued]
    config = model.config
    return CARD.read_text(encoding="utf-8").format(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        bytes=(folder / "model.safetensors").stat().st_size,
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        vocabulary=config.vocab_size,
        context=config.max_position_embeddings,
        eos=tokenizer.eos_token,
        pad=tokenizer.pad_token,
        seed=statistics["seed"],
        documents=statistics["documents"],
        words=statistics["words"],
        distinct=statistics["distinct_common_words"],
        tokens=data["tokens"],
        steps=last_event(run, "StepDone")["step"],
        minutes=finished["seconds"] / 60,
        machine=f"{manifest['machine']['cores']} cores ({manifest['machine']['processor']}), {manifest['precision']}",
        loss=validated["loss"],
        perplexity=validated["perplexity"],
        held_out=data["validation_rows"],
        before=finished["loss_before"],
        prompt_words=PROMPT_WORDS,
        new_tokens=NEW_TOKENS,
        continuations="\n\n".join(f"{n}. " + text.replace("\n", "\n   ") for n, text in enumerate(quoted, 1)),
    )


def main() -> None:
    """Reads the command line, copies the model and writes its card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    shutil.copytree(options.run / "model", options.out)
    size = (options.out / "model.safetensors").stat().st_size
    if size > LARGEST_BYTES:
        raise SystemExit(f"the weights take {size:,} bytes, more than {LARGEST_BYTES:,}")
    (options.out / "README.md").write_text(model_card(options.run, options.corpus, options.out), encoding="utf-8")
    print(f"{options.out}: {size:,} bytes of weights")


if __name__ == "__main__":
    main()
