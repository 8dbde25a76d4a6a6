"""A tiny random BERT and Llama that can be taught to label texts, and made-up reviews to teach them with."""

from __future__ import annotations

import random
import string
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoModel, BertConfig, PreTrainedTokenizerFast

from tests.tiny_models import make_network, make_tokenizer, save_model

GOOD, BAD = ("good", "fine", "lovely"), ("bad", "awful", "dull")
_THINGS = ("film", "book", "song", "meal", "trip")
_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.15,
}


def reviews(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """(text, `good` or `bad`), no two alike: each begins with a number."""
    source = random.Random(seed)
    made = []
    for number in range(count):
        label = source.choice(("good", "bad"))
        word = source.choice(GOOD if label == "good" else BAD)
        filler = " very" * source.randrange(4)
        made.append((f"{number} the {source.choice(_THINGS)} was{filler} {word}", label))
    return made


@cache
def word_pieces() -> PreTrainedTokenizerFast:
    """BERT's kind, with its template for pairs.

    Its vocabulary is not trained: the trainer of word pieces numbers them otherwise in every process.
    """
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = sorted({word for text, _ in reviews(60) for word in text.lower().split() if word.isalpha()})
    letters = sorted(string.ascii_lowercase + string.digits + string.punctuation)
    pieces = [*specials, *letters, *(f"##{letter}" for letter in letters), *words]
    core = Tokenizer(models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer()
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **dict(zip(names, specials, strict=True)),
    )


def save_reader(folder: Path, kind: str) -> Path:
    """The folder of a tiny random `bert` or `llama` without a head for labels."""
    if kind == "llama":
        return save_model(folder, make_network("llama", initializer_range=0.1), make_tokenizer())
    torch.manual_seed(0)
    tokenizer = word_pieces()
    config = BertConfig(vocab_size=len(tokenizer), pad_token_id=0, **_SIZES)
    return save_model(folder, AutoModel.from_config(config).eval(), tokenizer)
