"""Which adapters vLLM serves."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from burnish.cli.main import main
from burnish.export.vllm import hindrances, largest_rank

PLAIN: dict[str, Any] = {"peft_type": "LORA", "r": 12, "modules_to_save": None, "use_dora": False, "bias": "none"}


def test_a_plain_adapter_is_served() -> None:
    assert hindrances(PLAIN) == []
    assert largest_rank(PLAIN) == 16
    assert largest_rank({**PLAIN, "r": 64}) == 64


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"peft_type": "IA3"}, "`IA3`"),
        ({"r": 1024}, "rank 1024"),
        ({"rank_pattern": {"q_proj": 4}}, "different ranks"),
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["lm_head"]}, "lm_head"),
        ({"trainable_token_indices": {"embed_tokens": [5]}}, "single tokens"),
        ({"bias": "all"}, "biases"),
    ],
)
def test_what_it_refuses(changes: dict[str, Any], why: str) -> None:
    (found,) = hindrances({**PLAIN, **changes})
    assert why in found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--method lora", ""),
        ("--method full", ""),
        ("--method lora --set lora.dora=true", "it is a DoRA adapter. `burnish export` merges it instead."),
        ("--method lora --set lora.rank=1024", "its rank 1024 is above 512"),
        ("--method prompt", "it is no LoRA adapter but `prompt`. It cannot be merged either: use `burnish serve`."),
    ],
)
def test_what_vllm_refuses_is_said_with_the_plan(
    words: str, said: str, tiny_model: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(shlex.split(f"plan --model {tiny_model('llama')} --set model.device=cpu {words}")) == 0
    found = " ".join(capsys.readouterr().err.split())
    assert (said in found) if said else ("vLLM" not in found)
