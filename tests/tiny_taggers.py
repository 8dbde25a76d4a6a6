"""Tiny models of three layouts that tag words, and made-up sentences with people and places."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModel, BertConfig, PreTrainedTokenizerFast, RobertaConfig, RobertaTokenizer

from tests.tiny_models import make_network, make_tokenizer, save_model

TAGGERS = ("bert", "roberta", "llama")
PEOPLE = ("Anna Kowal", "Otto", "Ida Berg", "Hugo")
PLACES = ("Rome", "Oslo", "New Town")
_SENTENCES = (
    "{} lives in {} .",
    "In {1} {0} sings .",
    "The hat of {} is red .",
    "{} met Zoe in {} today .",
    "It rains .",
)
_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 66,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.1,
}


def tagged_sentences(count: int, seed: int = 0) -> list[tuple[list[str], list[str]]]:
    """Words with IOB2 tags; no two sentences are alike, for each ends in a number."""
    source = random.Random(seed)
    made = []
    for number in range(count):
        person, place = source.choice(PEOPLE), source.choice(PLACES)
        words, tags = [], []
        for part in source.choice(_SENTENCES).replace("{}", "{0}", 1).replace("{}", "{1}").split():
            name, kind = {"{0}": (person, "PER"), "{1}": (place, "LOC")}.get(part, (part, ""))
            for place_in_name, word in enumerate(name.split()):
                words.append(word)
                tags.append("O" if not kind else f"{'I' if place_in_name else 'B'}-{kind}")
        made.append(([*words, str(number)], [*tags, "O"]))
    return made


def write_conll(path: Path, count: int = 120, seed: int = 0) -> Path:
    """The sentences as a CoNLL file with tabs."""
    lines = [
        "".join(f"{word}\t{tag}\n" for word, tag in zip(*pair, strict=True)) for pair in tagged_sentences(count, seed)
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _words() -> list[str]:
    return [" ".join(words) for words, _ in tagged_sentences(40)]


def word_pieces() -> PreTrainedTokenizerFast:
    """BERT's kind: lower case, `##` inside words, control characters dropped."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    core = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=specials, show_progress=False)
    core.train_from_iterator(_words(), trainer)
    # the trainer finds the same pieces in every process, but numbers them otherwise
    pieces = [*specials, *sorted(set(core.get_vocab()) - set(specials))]
    core.model = models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]")
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    named = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), specials, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=core, **named)


def byte_level() -> RobertaTokenizer:
    """RoBERTa's own class: a word is another token with a space in front of it."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(_words(), trainer)
    model = json.loads(core.to_str())["model"]
    merges: Any = [tuple(pair) for pair in model["merges"]]
    return RobertaTokenizer(vocab=model["vocab"], merges=merges)


def save_tagger(kind: str, folder: Path) -> Path:
    """A base model without a head for tags: an encoder's body, or a decoder with its language model head."""
    if kind == "llama":
        tokenizer = make_tokenizer()
        return save_model(folder, make_network("llama", len(tokenizer)), tokenizer)
    torch.manual_seed(0)
    tokenizer: Any = word_pieces() if kind == "bert" else byte_level()
    config = (BertConfig if kind == "bert" else RobertaConfig)(
        vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **_SIZES
    )
    return save_model(folder, AutoModel.from_config(config, add_pooling_layer=False), tokenizer)
