"""Every decoder of transformers that can be made tiny: a batch answers as its own `generate` does, or refuses it.

What a batch needs to know of a network is found by rules (`decoding/support.py`); here they are held against all
classes. Those whose config takes other names for its sizes are left out.
"""

from __future__ import annotations

import inspect
import random
from typing import Any

import pytest
import torch
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from burnish.decoding.ahead import Pace
from burnish.decoding.batch import Batch
from burnish.decoding.reference import generate_reference
from burnish.decoding.row import Asked, Row
from burnish.decoding.support import is_indifferent_to_gaps, why_no_batch
from tests.tiny_models import make_tokenizer

pytestmark = pytest.mark.slow

_MOST_PARAMETERS = 3_000_000
_SIZES: dict[str, Any] = {
    **dict.fromkeys(["hidden_size", "n_embd", "d_model", "word_embed_proj_dim"], 32),
    **dict.fromkeys(["intermediate_size", "ffn_dim", "n_inner"], 48),
    **dict.fromkeys(["num_hidden_layers", "n_layer", "num_layers"], 2),
    **dict.fromkeys(["num_attention_heads", "n_head", "num_heads", "linear_num_value_heads"], 4),
    **dict.fromkeys(["num_key_value_heads", "linear_num_key_heads", "num_experts_per_tok"], 2),
    **dict.fromkeys(["max_position_embeddings", "n_positions"], 128),
    **dict.fromkeys(["num_local_experts", "num_experts", "n_routed_experts", "rotary_dim"], 4),
    **dict.fromkeys(["moe_intermediate_size", "shared_expert_intermediate_size", "q_lora_rank", "kv_lora_rank"], 16),
    **dict.fromkeys(["qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim", "state_size", "linear_key_head_dim"], 8),
    **dict.fromkeys(["linear_value_head_dim", "ssm_state_size"], 8),
    **dict.fromkeys(["n_group", "topk_group", "n_groups"], 1),
    **{"vocab_size": 320, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
}
_WINDOWS = {"sliding_window": 8, "window_size": 8, "attention_types": [[["global", "local"], 1]]}
"""For those that take them."""
_REFUSED = (
    "FalconMamba",
    "Mamba",
    "Bert",
    "Roberta",
    "Electra",
    "BertGeneration",
    "MiniMax",
    "NemotronH",
    "OlmoHybrid",
    "OpenAIGPT",
    "XLNet",
    "XLM",
    "Rwkv",
    "CpmAnt",
)
"""Some of those that remember a text otherwise."""
_WITHOUT_GAPS = ("GPTNeo", "Mpt", "Mistral", "Gemma2", "Gemma3Text", "GptOss", "Cohere2", "Starcoder2", "Llama4Text")
"""Some of those with windows or positions by columns."""
_WITH_GAPS = ("Llama", "GPT2", "Qwen2", "Qwen3", "Gemma", "GPTNeoX", "Phi")
_AT_ODDS = ("Moshi",)

_drawn = random.Random(0)
TEXTS = [[_drawn.randrange(3, 290) for _ in range(length)] for length in (5, 9, 22, 7)]
TEXTS.append([*range(20, 34), *range(20, 29)])


def make_network(kind: type) -> Any:
    """A random network of a config's class. Skips what cannot be made, or is not small."""
    taken = inspect.signature(kind).parameters
    given = _SIZES | {name: value for name, value in _WINDOWS.items() if name in taken}
    classes = MODEL_FOR_CAUSAL_LM_MAPPING[kind]
    make: Any = classes[0] if isinstance(classes, tuple) else classes
    try:
        config = kind(**given)
        with torch.device("meta"):
            parameters = sum(one.numel() for one in make(config).parameters())
        if parameters > _MOST_PARAMETERS:
            pytest.skip(f"{parameters:,} parameters")
        torch.manual_seed(0)
        network = make(config).eval()
    except Exception as error:  # noqa: BLE001  of whatever kind: the config has other names
        pytest.skip(f"{type(error).__name__}: {error}")
    for weight in network.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.3)
    return network


@pytest.mark.parametrize("kind", MODEL_FOR_CAUSAL_LM_MAPPING.keys(), ids=lambda kind: kind.__name__)
def test_a_batch_answers_as_generate_or_refuses(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    network, name = make_network(kind), kind.__name__.removesuffix("Config")
    is_refused, has_gaps = bool(why_no_batch(network)), is_indifferent_to_gaps(network)
    assert is_refused or name not in _REFUSED
    assert not (is_refused and name in (*_WITHOUT_GAPS, *_WITH_GAPS))
    assert not (has_gaps and name in _WITHOUT_GAPS)
    assert has_gaps or name not in _WITH_GAPS
    if is_refused:
        return
    try:
        expected = [generate_reference(network, make_tokenizer(), [Asked(ids, (), 20)], "fp32")[0] for ids in TEXTS]
    except Exception as error:  # noqa: BLE001
        pytest.skip(f"its own `generate` fails: {type(error).__name__}: {error}")
    if name in _AT_ODDS:
        pytest.skip("with a cache, its own window is another than without")
    monkeypatch.setattr(Pace, "cost", lambda pace, tokens, others: 1.0)
    for looks_up in (False, True):
        batch, rows = (
            Batch(network, "fp32", looks_up=looks_up, together=True),
            [Row(Asked(ids, (), 20)) for ids in TEXTS],
        )
        batch.join(rows[:3])
        batch.step()
        batch.join(rows[3:])
        while batch.rows:
            batch.step()
        assert [row.new for row in rows] == expected


@pytest.mark.parametrize("name", [*_WITH_GAPS, *_WITHOUT_GAPS])
def test_those_that_are_known_are_tried(name: str) -> None:
    """They are among the classes, and can be made."""
    kind = next(one for one in MODEL_FOR_CAUSAL_LM_MAPPING if one.__name__ == f"{name}Config")
    try:
        make_network(kind)
    except pytest.skip.Exception as skipped:
        pytest.fail(str(skipped))
