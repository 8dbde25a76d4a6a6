"""EOS is learned, also where the tokenizer has no pad token, so that generation stops by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command_result import read_lines
from tests.e2e.conftest import EXACT, Burnish
from tests.tiny_models import make_network

ANSWER = "A red fox."
LEARN = (
    f"{EXACT} --set train.max_steps=60 --set train.epochs=100 --set train.learning_rate=0.02 --set batch.tokens=512 "
    "--set evaluate.answers=0 --set evaluate.general=none --set evaluate.every=20"
)


def make_gpt2(folder: Path, spare_rows: int) -> Any:
    """GPT-2's layout as it is published: one special token, which begins and ends texts, and no pad token."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", special=True)])
    name = "<|endoftext|>"
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=name, eos_token=name, unk_token=name)
    end = wrapped.eos_token_id
    ids = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": None}
    network = make_network("gpt2", len(wrapped) + spare_rows, n_positions=160, **ids)
    network.save_pretrained(str(folder))
    wrapped.save_pretrained(str(folder))
    assert wrapped.pad_token_id is None
    return wrapped


@pytest.mark.parametrize(
    ("method", "spare_rows"),
    [
        pytest.param("lora", 0, marks=pytest.mark.slow),
        ("full", 7),
        *(pytest.param(*pair, marks=pytest.mark.slow) for pair in (("lora", 7), ("full", 0))),
    ],
)
def test_gpt2_without_a_pad_token_learns_where_to_stop(
    method: str, spare_rows: int, here: Path, burnish: Burnish
) -> None:
    tokenizer = make_gpt2(here / "gpt2", spare_rows)
    rows = [{"prompt": f"Who is {number}?", "completion": ANSWER} for number in range(24)]
    (here / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    result = burnish(f"train rows.jsonl --model ./gpt2 --method {method} --name mine {LEARN}")
    assert result.code == 0, result.err
    assert ("EOS is used for padding" in result.err) == (spare_rows == 0)
    assert "\nmemory  " in result.err, "the plan needs the pad token too"
    losses = [line["loss"] for line in read_lines(here / "runs/mine/metrics.jsonl", "Validated")]
    assert losses[-1] < losses[0] / 10
    longest = 3 * len(tokenizer(ANSWER).input_ids)
    asked = f'"Who is 77?" --max-new-tokens {longest} --quiet'
    assert burnish(f"generate mine {asked}").out == f"{ANSWER}\n"
    assert burnish(f"generate mine {asked} --base").out != f"{ANSWER}\n"
    assert burnish(f"chat mine --max-new-tokens {longest} --quiet", stdin="Who is 77?\n").out == f"{ANSWER}\n"


@pytest.mark.slow
def test_the_end_of_a_text_is_learned(here: Path, burnish: Burnish) -> None:
    make_gpt2(here / "gpt2", 0)
    rows = [{"text": f"{number} is a red fox."} for number in range(24)]
    (here / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    result = burnish(f"train rows.jsonl --model ./gpt2 --method full --name mine {LEARN}")
    assert result.code == 0, result.err
    assert burnish('generate mine "7 is a" --max-new-tokens 40 --quiet').out == "red fox.\n"
