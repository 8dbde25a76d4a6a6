"""Tiny random models in five layouts, and a tokenizer for them, built in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

LAYOUTS = ("gpt2", "llama", "mistral", "qwen2", "phi3")
CONTEXT = 64
"""Most positions of every tiny model."""
WINDOW = 8
"""Sliding attention window of the tiny Mistral and Phi-3."""

_SPREAD = 0.25
"""Standard deviation of the random weights: ten times the usual, so that attention decides the logits."""

_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "initializer_range": _SPREAD,
}

_SENTENCES = (
    "The red fox is in the garden.",
    "A small boat sails over the blue water.",
    "What is two and three? It is five.",
    "Anna has a green hat and a yellow coat.",
    "Where does the old man live? He lives by the river.",
)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with ChatML's tokens; EOS is `<|im_end|>`, the pad token is another."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=[AddedToken(token, special=True) for token in specials],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_SENTENCES, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|pad|>")


def make_network(layout: str, vocabulary: int = 300, seed: int = 0, **changes: Any) -> Any:
    """A random model of a layout: fp32, without dropout, in evaluation mode, equal for equal seeds."""
    torch.manual_seed(seed)
    ids = {"vocab_size": vocabulary, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    if layout == "gpt2":
        sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": 48, "n_positions": CONTEXT}
        quiet = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "initializer_range": _SPREAD}
        config = GPT2Config(**{**ids, **sizes, **quiet, **changes})
    elif layout == "llama":
        config = LlamaConfig(**{**ids, **_SIZES, **changes})
    elif layout == "mistral":
        config = MistralConfig(**{**ids, **_SIZES, "sliding_window": WINDOW, **changes})
    elif layout == "qwen2":
        config = Qwen2Config(**{**ids, **_SIZES, "tie_word_embeddings": True, **changes})
    elif layout == "phi3":
        config = Phi3Config(**{**ids, **_SIZES, "sliding_window": WINDOW, **changes})
    else:
        raise ValueError(layout)
    network = AutoModelForCausalLM.from_config(config).float().eval()
    randomize_vectors(network, seed)
    return network


@torch.no_grad()
def randomize_vectors(network: Any, seed: int) -> None:
    """Gives biases and norms values of their own: at 0 and 1 they would hide mistakes."""
    generator = torch.Generator().manual_seed(seed + 1)
    for parameter in network.parameters():
        if parameter.ndim < 2:
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


def save_model(folder: Path, network: Any, tokenizer: Any) -> Path:
    """Writes a transformers folder: config, safetensors weights and tokenizer."""
    network.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder
