"""Make the untrained "acorn" encoder: its tokenizer, trained on the corpus, and a random ModernBERT.

python tools/acorn/make_base.py --corpus FOLDER --out FOLDER [--seed 0]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, pre_tokenizers, processors
from transformers import ModernBertConfig, ModernBertForMaskedLM, PreTrainedTokenizerFast

sys.path.insert(0, str(Path(__file__).parents[1]))

from base_model import make_base, texts, train_byte_pairs

VOCABULARY = 4096
CONTEXT = 512
LAYERS = 4
PAD, CLASSIFY, SEPARATE, MASK = "[PAD]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL = [PAD, CLASSIFY, SEPARATE, MASK]


def train_tokenizer(corpus: Path) -> PreTrainedTokenizerFast:
    """A cased byte-level BPE tokenizer; every digit is a token, and a space belongs to the following word.

    A text and every word of a list of words begin as if behind a space, so that a word has the same tokens in both.
    """
    tokenizer = train_byte_pairs(
        texts(corpus / "train.jsonl", every=2),
        split=[
            pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True),
            # Behind ByteLevel a space is written as this letter.
            pre_tokenizers.Split(Regex("\u0120?[0-9]"), "isolated"),
        ],
        size=VOCABULARY,
        # A mask takes the place of a word together with the space in front of it.
        special=[AddedToken(token, lstrip=token == MASK, special=True) for token in SPECIAL],
    )
    frame = processors.TemplateProcessing(
        single=f"{CLASSIFY} $A {SEPARATE}",
        pair=f"{CLASSIFY} $A {SEPARATE} $B {SEPARATE}",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (CLASSIFY, SEPARATE)],
    )
    # ByteLevel keeps the space out of a token's place in the text.
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), frame])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        cls_token=CLASSIFY,
        sep_token=SEPARATE,
        mask_token=AddedToken(MASK, lstrip=True, special=True),
        model_max_length=CONTEXT,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
        padding_side="right",
    )


def random_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> ModernBertForMaskedLM:
    """The encoder with fresh weights; every layer sees the whole text."""
    torch.manual_seed(seed)
    rope = {"rope_type": "default", "rope_theta": 10000.0}
    config = ModernBertConfig(
        vocab_size=VOCABULARY,
        hidden_size=192,
        intermediate_size=384,
        num_hidden_layers=LAYERS,
        num_attention_heads=3,
        max_position_embeddings=CONTEXT,
        layer_types=["full_attention"] * LAYERS,
        rope_parameters={"full_attention": rope, "sliding_attention": rope},
        local_attention=CONTEXT,
        classifier_pooling="mean",
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        cls_token_id=tokenizer.cls_token_id,
        sep_token_id=tokenizer.sep_token_id,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
    )
    return ModernBertForMaskedLM(config).float()


if __name__ == "__main__":
    make_base(__doc__, train_tokenizer, random_model)
