"""Make the untrained "seedling" model: its tokenizer, trained on the corpus, and a random Llama.

python tools/seedling/make_base.py --corpus FOLDER --out FOLDER [--seed 0]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from burnish.data.chat.template import chatml

VOCABULARY = 2048
CONTEXT = 512
END, START_TURN, END_TURN, PAD = "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"
SPECIAL = [END, START_TURN, END_TURN, PAD]


def texts(path: Path, every: int = 1) -> Iterator[str]:
    """The texts of a corpus file, without the special tokens, taking one row in so many."""
    with path.open(encoding="utf-8") as file:
        for index, line in enumerate(file):
            if index % every == 0:
                text = json.loads(line)["text"]
                for token in SPECIAL:
                    text = text.replace(token, "\n")
                yield text


def train_tokenizer(corpus: Path) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer in which every digit is a token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(corpus / "train.jsonl", every=2), trainer=trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=[START_TURN, END_TURN],
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
        padding_side="right",
    )
    wrapped.chat_template = chatml()
    return wrapped


def random_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """The Llama with fresh weights."""
    torch.manual_seed(seed)
    end, end_turn, pad = (tokenizer.convert_tokens_to_ids(token) for token in (END, END_TURN, PAD))
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=160,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=448,
        max_position_embeddings=CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=pad,
    )
    model = LlamaForCausalLM(config).float()
    model.generation_config = GenerationConfig(bos_token_id=None, eos_token_id=[end, end_turn], pad_token_id=pad)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder with train.jsonl")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tokenizer and the model")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tokenizer = train_tokenizer(options.corpus)
    model = random_model(tokenizer, options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(options.out)
    model.save_pretrained(options.out)
    print(f"{len(tokenizer)} tokens, {model.num_parameters()} weights in {options.out}")


if __name__ == "__main__":
    main()
