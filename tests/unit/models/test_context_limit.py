"""How many tokens a model takes whose positions count from its pad token on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel

from burnish.models.config import context_limit

POSITIONS = 24
SIZES = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": POSITIONS,
}
COUNTED_FROM_PADDING = ("roberta", "xlm-roberta", "camembert", "data2vec-text", "mpnet", "longformer", "xmod", "esm")
COUNTED_FROM_0 = ("bert", "electra", "nystromformer", "gpt2", "opt", "llama")


def config_of(kind: str, **changes: Any) -> Any:
    """The config of a tiny model of a kind."""
    more = {
        "longformer": {"attention_window": 4},
        "xmod": {"default_language": "en_XX"},
        "gpt2": {"n_positions": POSITIONS, "n_embd": 32},
        "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    }
    return AutoConfig.for_model(kind, **{**SIZES, "pad_token_id": 1, **more.get(kind, {}), **changes})


def takes(network: Any, tokens: int) -> bool:
    """Whether a network computes a text of so many tokens."""
    try:
        network(input_ids=torch.full((1, tokens), 7), attention_mask=torch.ones(1, tokens, dtype=torch.long))
    except (IndexError, RuntimeError):
        return False
    return True


@pytest.mark.parametrize("kind", COUNTED_FROM_PADDING)
@torch.no_grad()
def test_the_limit_is_what_the_network_takes(kind: str) -> None:
    config = config_of(kind)
    assert context_limit(config) == POSITIONS - 2
    network = AutoModel.from_config(config).eval()
    assert takes(network, POSITIONS - 2) and not takes(network, POSITIONS - 1)


@pytest.mark.parametrize("kind", COUNTED_FROM_0)
@torch.no_grad()
def test_others_take_all_positions(kind: str) -> None:
    config = config_of(kind)
    assert context_limit(config) == POSITIONS
    assert takes(AutoModel.from_config(config).eval(), POSITIONS)


def test_the_number_of_the_pad_token_counts() -> None:
    assert context_limit(config_of("roberta", pad_token_id=0)) == POSITIONS - 1
    assert context_limit(config_of("roberta", pad_token_id=5)) == POSITIONS - 6
    # whose code has the number, whatever its config says
    assert context_limit(config_of("mpnet", pad_token_id=5)) == POSITIONS - 2


def test_a_decoder_of_the_family_counts_so_too() -> None:
    assert context_limit(config_of("roberta", is_decoder=True)) == POSITIONS - 2


def test_a_config_that_no_model_can_be_built_from_has_its_number() -> None:
    assert context_limit(config_of("roberta", num_attention_heads=5)) == POSITIONS
