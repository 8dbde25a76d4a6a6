"""Make the untrained "acorn" encoder: its tokenizer, trained on the corpus, and a random ModernBERT.

python tools/acorn/make_base.py --corpus FOLDER --out FOLDER [--seed 0]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import ModernBertConfig, ModernBertForMaskedLM, PreTrainedTokenizerFast

VOCABULARY = 4096
CONTEXT = 512
LAYERS = 4
PAD, CLASSIFY, SEPARATE, MASK = "[PAD]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL = [PAD, CLASSIFY, SEPARATE, MASK]


def texts(path: Path, every: int = 1) -> Iterator[str]:
    """The texts of a corpus file, taking one row in so many."""
    with path.open(encoding="utf-8") as file:
        for index, line in enumerate(file):
            if index % every == 0:
                yield json.loads(line)["text"]


def train_tokenizer(corpus: Path) -> PreTrainedTokenizerFast:
    """A cased byte-level BPE tokenizer; every digit is a token, and a space belongs to the following word.

    A text and every word of a list of words begin as if behind a space, so that a word has the same tokens in both.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True),
            # Behind ByteLevel a space is written as this letter.
            pre_tokenizers.Split(Regex("\u0120?[0-9]"), "isolated"),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        # A mask takes the place of a word together with the space in front of it.
        special_tokens=[AddedToken(token, lstrip=token == MASK, special=True) for token in SPECIAL],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(corpus / "train.jsonl", every=2), trainer=trainer)
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


def main() -> None:
    """Reads the command line, and writes the tokenizer and the model."""
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
