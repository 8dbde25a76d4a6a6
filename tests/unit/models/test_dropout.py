"""What a config drops, and its copy that drops nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import nn

from burnish.models.base import has_dropout, without_dropout

_SIZES: dict[str, Any] = {
    "vocab_size": 120, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
}  # fmt: skip
_SEEING = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "image_size": 8,
}


def seeing(text: float, vision: float) -> Any:
    """A model of texts and pictures, each part with a config of its own."""
    return transformers.LlavaConfig(
        text_config=transformers.LlamaConfig(attention_dropout=text, **_SIZES),
        vision_config=transformers.CLIPVisionConfig(attention_dropout=vision, patch_size=4, **_SEEING),
    )


CONFIGS = {
    "gpt2": lambda: transformers.GPT2Config(vocab_size=120, n_embd=32, n_layer=2, n_head=4, n_positions=64),
    "bert": lambda: transformers.BertConfig(**_SIZES),
    "llama": lambda: transformers.LlamaConfig(attention_dropout=0.2, **_SIZES),
    "text-of-two": lambda: seeing(0.1, 0.0),
    "vision-of-two": lambda: seeing(0.0, 0.1),
    "t5": lambda: transformers.T5Config(
        vocab_size=120, d_model=32, d_ff=48, d_kv=8, num_layers=2, num_heads=4, decoder_start_token_id=0
    ),
    "bart": lambda: transformers.BartConfig(
        vocab_size=120, d_model=32, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=48, decoder_ffn_dim=48,
        encoder_attention_heads=4, decoder_attention_heads=4, max_position_embeddings=64, encoder_layerdrop=0.2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_a_copy_drops_nothing_and_differs_in_nothing_else(name: str) -> None:
    config = CONFIGS[name]()
    before = config.to_dict()
    changed = without_dropout(config)
    assert has_dropout(config)
    assert not has_dropout(changed)
    assert type(changed) is type(config)
    assert config.to_dict() == before, "the config itself was changed"
    differing = differences(before, changed.to_dict())
    assert differing
    assert all("drop" in path.rpartition(".")[2] and value == 0.0 for path, value in differing.items())
    parts = {path.rpartition(".")[0] for path in differing}
    wanted = {"text-of-two": {"text_config"}, "vision-of-two": {"vision_config"}}
    assert parts == wanted.get(name, {""})


def differences(before: dict[str, Any], after: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Values of `after` that are others in `before`, by dotted path."""
    assert before.keys() == after.keys()
    found: dict[str, Any] = {}
    for name, value in after.items():
        if isinstance(value, dict):
            found |= differences(before[name], value, f"{path}{name}.")
        elif value != before[name]:
            found[f"{path}{name}"] = value
    return found


@pytest.mark.parametrize("name", ["gpt2", "bert", "llama", "text-of-two", "t5", "bart"])
def test_a_model_of_the_copy_drops_nothing_in_training(name: str) -> None:
    """Called twice it gives the same twice."""
    auto = {"bert": transformers.AutoModel, "text-of-two": transformers.AutoModelForImageTextToText}.get(name)
    if auto is None:
        is_pair = name in ("t5", "bart")
        auto = transformers.AutoModelForSeq2SeqLM if is_pair else transformers.AutoModelForCausalLM
    ids = torch.arange(3, 25).reshape(2, 11)
    inputs = {"input_ids": ids, **({"decoder_input_ids": ids} if name in ("t5", "bart") else {})}
    for config, is_steady in ((CONFIGS[name](), False), (without_dropout(CONFIGS[name]()), True)):
        torch.manual_seed(0)
        network = auto.from_config(config).train()
        with torch.no_grad():
            first, second = (network(**inputs)[0] for _ in range(2))
        assert torch.equal(first, second) == is_steady
    shares = [module.p for module in network.modules() if isinstance(module, nn.Dropout)]
    assert not any(shares)


def test_what_drops_nothing_is_left_as_it_is() -> None:
    config = transformers.LlamaConfig(**_SIZES)
    assert not has_dropout(config)
    assert without_dropout(config).to_dict() == config.to_dict()
    assert not has_dropout(seeing(0.0, 0.0))
    assert has_dropout(seeing(0.0, 0.1))
    assert has_dropout(seeing(0.1, 0.0))
