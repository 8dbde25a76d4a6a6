"""Which adapters vLLM serves."""

from __future__ import annotations

from typing import Any

import pytest

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
