"""Which adapters vLLM serves."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from burnish.cli.main import main
from burnish.errors import InputError
from burnish.export.gguf.adapter import check_adapter
from burnish.export.vllm import hindrances, largest_rank, remark_on_serving
from burnish.prepare.context import prepare
from burnish.runs.events import Event, Note
from tests.tiny_data import make_recipe, write_rows

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


def test_llama_cpp_has_no_highest_rank() -> None:
    check_adapter({**PLAIN, "r": 1024})
    for settings in (None, {**PLAIN, "use_dora": True}):
        with pytest.raises(InputError, match="llama.cpp cannot use the adapter by itself"):
            check_adapter(settings)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "lora", "lora__rank": 8}, ""),
        ({"method": "full"}, ""),
        (
            {"method": "lora", "lora__rank": 8, "lora__dora": True},
            "a DoRA adapter. `burnish export` merges it instead.",
        ),
        ({"method": "lora", "lora__rank": 1024}, "its rank 1024 is above 512"),
        ({"method": "prompt"}, "no LoRA adapter but `prompt`. It cannot be merged either: use `burnish serve`."),
    ],
)
def test_what_vllm_refuses_is_said_before_a_training(
    options: dict[str, Any], said: str, tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    events: list[Event] = []
    rows = write_rows(tmp_path / "rows.jsonl", 10)
    context = prepare(make_recipe(rows, tiny_model("llama"), tmp_path, **options), lambda event: None)
    remark_on_serving(replace(context, emit=events.append))
    found = [event.text for event in events if isinstance(event, Note)]
    assert [said in text for text in found] == [True] if said else found == []


def test_it_is_said_with_the_plan(
    tiny_model: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl")
    assert main(shlex.split(f"plan {rows} --model {tiny_model('llama')} --set model.device=cpu --method prompt")) == 0
    assert "vLLM does not serve" in " ".join(capsys.readouterr().err.split())
