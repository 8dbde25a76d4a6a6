"""Make the untrained "seedling" model: its tokenizer, trained on the corpus, and a random Llama.

python tools/seedling/make_base.py --corpus FOLDER --out FOLDER [--seed 0]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from tokenizers import pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from burnish.data.chat.own_template import chatml

sys.path.insert(0, str(Path(__file__).parents[1]))

from base_model import make_base, texts, train_byte_pairs

VOCABULARY = 2048
CONTEXT = 512
END, START_TURN, END_TURN, PAD = "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"
SPECIAL = [END, START_TURN, END_TURN, PAD]


def train_tokenizer(corpus: Path) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer in which every digit is a token of its own."""
    tokenizer = train_byte_pairs(
        texts(corpus / "train.jsonl", every=2, without=SPECIAL),
        split=[
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ],
        size=VOCABULARY,
        special=SPECIAL,
    )
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


if __name__ == "__main__":
    make_base(__doc__, train_tokenizer, random_model)
