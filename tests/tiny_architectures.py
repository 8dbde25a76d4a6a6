"""Tiny random models of many architectures, each saved as a folder with a tokenizer of its kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from tests.tiny_models import make_tokenizer, randomize_vectors, save_model

VOCABULARY = 320
CONTEXT = 96
_WORDS = (
    "Anna has a red hat and a yellow coat.",
    "The old man lives by the river in Rome.",
    "What is two and three? It is five.",
    "Where does the small boat sail?",
)
DECODER: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_ENCODER: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": CONTEXT + 4,
    "pad_token_id": 0,
}


def _config(name: str) -> Any:
    """The config of an architecture, by the name it has in the table of the documentation."""
    makers: dict[str, Callable[[], Any]] = {
        "GPT-2": lambda: transformers.GPT2Config(
            vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=CONTEXT, eos_token_id=2, bos_token_id=1
        ),
        "Llama": lambda: transformers.LlamaConfig(**DECODER),
        "Mistral": lambda: transformers.MistralConfig(**DECODER, sliding_window=16),
        "Mixtral": lambda: transformers.MixtralConfig(**DECODER, num_local_experts=4, num_experts_per_tok=2),
        "Phi-3": lambda: transformers.Phi3Config(**DECODER),
        "Qwen2": lambda: transformers.Qwen2Config(**DECODER, tie_word_embeddings=True),
        "Qwen3": lambda: transformers.Qwen3Config(**DECODER, head_dim=8),
        "Gemma": lambda: transformers.GemmaConfig(**DECODER, head_dim=8),
        "GPT-NeoX": lambda: transformers.GPTNeoXConfig(
            **{key: value for key, value in DECODER.items() if key != "num_key_value_heads"}
        ),
        "Falcon": lambda: transformers.FalconConfig(
            vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, eos_token_id=2,
            bos_token_id=1, max_position_embeddings=CONTEXT,
        ),
        "T5": lambda: transformers.T5Config(
            vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, n_positions=CONTEXT,
            decoder_start_token_id=0, pad_token_id=0, eos_token_id=2,
        ),
        "BERT": lambda: transformers.BertConfig(**_ENCODER),
        "RoBERTa": lambda: transformers.RobertaConfig(**_ENCODER, bos_token_id=1, eos_token_id=2),
        "DistilBERT": lambda: transformers.DistilBertConfig(
            vocab_size=VOCABULARY, dim=32, hidden_dim=48, n_layers=2, n_heads=4, max_position_embeddings=CONTEXT,
            pad_token_id=0,
        ),
        "DeBERTa-v2": lambda: transformers.DebertaV2Config(
            **_ENCODER, relative_attention=True, position_buckets=16, pos_att_type=["p2c", "c2p"], type_vocab_size=0
        ),
        "ModernBERT": lambda: transformers.ModernBertConfig(
            **_ENCODER, cls_token_id=1, sep_token_id=2, bos_token_id=1, eos_token_id=2, local_attention=16
        ),
    }  # fmt: skip
    return makers[name]()


DECODERS = ("GPT-2", "Llama", "Mistral", "Mixtral", "Phi-3", "Qwen2", "Qwen3", "Gemma", "GPT-NeoX", "Falcon")
ENCODERS = ("BERT", "RoBERTa", "DistilBERT", "DeBERTa-v2", "ModernBERT")
ARCHITECTURES = (*DECODERS, "T5", *ENCODERS)


def make_encoder_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE that puts `[CLS]` and `[SEP]` round a text, and `[SEP]` between two."""
    tokenizer = _trained(["[PAD]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]"
    )


def make_text_to_text_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE that ends every text with EOS."""
    tokenizer = _trained(["<pad>", "<unk>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="</s>")


def _trained(specials: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 10,
        special_tokens=specials,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_WORDS, trainer)
    return tokenizer


def save_architecture(name: str, folder: Path) -> Path:
    """Writes a tiny random model of an architecture, with a tokenizer, as a transformers folder."""
    torch.manual_seed(0)
    config = _config(name)
    if name in DECODERS:
        auto, tokenizer = transformers.AutoModelForCausalLM, make_tokenizer()
    elif name in ENCODERS:
        auto, tokenizer = transformers.AutoModelForMaskedLM, make_encoder_tokenizer()
    else:
        auto, tokenizer = transformers.AutoModelForSeq2SeqLM, make_text_to_text_tokenizer()
    network = auto.from_config(config).float().eval()
    randomize_vectors(network, 0)
    return save_model(folder, network, tokenizer)
