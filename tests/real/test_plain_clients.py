"""On real weights, plain clients give the answers that Burnish evaluated, and IA3 reaches every block."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import burnish
from tests.plain_clients import Client, can_load, can_pipe
from tests.tiny_classifiers import reviews
from tests.tiny_data import write_rows

pytestmark = pytest.mark.slow
OPTIONS: dict[str, Any] = {"device": "cpu", "max_steps": 6, "set": {"evaluate.answers": 0, "evaluate.general": "none"}}


def classified(model: Path, folder: Path, **options: Any) -> Client:
    lines = [json.dumps({"text": text, "label": label}) + "\n" for text, label in reviews(80)]
    (folder / "reviews.jsonl").write_text("".join(lines), encoding="utf-8")
    run = burnish.train(folder / "reviews.jsonl", model=model, runs=folder / "runs", **{**OPTIONS, **options})
    return Client(run, "classify")


def check(client: Client, asked: list[str]) -> None:
    for one in asked:
        expected = client.expected(one)
        assert client.by_card(one) == expected
        if can_load(client):
            assert client.by_classes(one) == expected
        if can_pipe(client):
            assert client.by_pipeline(one) == expected


@pytest.mark.parametrize("method", ["lora", "full", "ia3"])
def test_an_encoder(method: str, real_model: Callable[[str], Path], tmp_path: Path) -> None:
    client = classified(real_model("minilm"), tmp_path, method=method, precision="fp32", learning_rate=1e-3)
    check(client, [text for text, _ in reviews(4, seed=3)])
    if method == "ia3":
        names = load_file(str(client.result / "adapter_model.safetensors"))
        assert sum("output.dense.ia3_l" in name for name in names) == 6


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_decoder(precision: str, real_model: Callable[[str], Path], tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl")
    model = real_model("smollm2")
    run = burnish.train(rows, model=model, method="lora", runs=tmp_path / "runs", precision=precision, **OPTIONS)
    client = Client(run, "chat")
    for asked in ("What is 3 like, the red hat?", "Who are you?"):
        assert client.by_card(asked).startswith(client.expected(asked)), "the card's answer may be longer"
        if precision == "fp32":
            assert client.by_classes(asked) == client.expected(asked)


def test_a_decoder_that_labels(real_model: Callable[[str], Path], tmp_path: Path) -> None:
    client = classified(real_model("smollm2"), tmp_path, method="lora", precision="fp32")
    check(client, [text for text, _ in reviews(3, seed=3)])
