"""Beside llama.cpp's own programs: the same K-quants, and files of a layout that is not known here.

`BURNISH_LLAMA_CPP` names a folder of llama.cpp in which `llama-quantize` was built.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy
import pytest
import transformers

import burnish
from burnish.export.gguf.converter import Converter
from burnish.export.gguf.file import Weights, write_gguf
from burnish.export.gguf.layouts import describe
from burnish.export.gguf.vocabulary import read_vocabulary
from burnish.inference.exported import Asking
from burnish.runs.folder import find_run
from burnish.workflows.export import export

pytestmark = pytest.mark.slow


@pytest.fixture
def programs() -> Path:
    """The folder of llama.cpp."""
    if "BURNISH_LLAMA_CPP" not in os.environ:
        pytest.skip("BURNISH_LLAMA_CPP names no folder of llama.cpp")
    return Path(os.environ["BURNISH_LLAMA_CPP"])


@pytest.mark.parametrize("kind", ["q4_k_m", "q5_k_m", "q6_k"])
def test_k_quants_are_those_of_its_own_program(
    kind: str, programs: Path, real_model: Callable[[str], Path], tmp_path: Path
) -> None:
    folder, ours, theirs = real_model("smollm2"), tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    config = transformers.AutoConfig.from_pretrained(folder)
    weights = Weights.of(folder, config, describe(config, config.vocab_size))
    vocabulary = read_vocabulary(transformers.AutoTokenizer.from_pretrained(folder), config.vocab_size, [2])
    write_gguf(ours, weights, vocabulary, kind, "smollm2")
    exact = tmp_path / "exact.gguf"
    write_gguf(exact, weights, vocabulary, "f32", "smollm2")
    quantizer = Converter.find(programs, [kind]).quantizer
    subprocess.run([str(quantizer), str(exact), str(theirs), kind.upper()], check=True, capture_output=True)
    found, wanted = ({one.name: one for one in gguf.GGUFReader(file).tensors} for file in (ours, theirs))
    assert {name: one.tensor_type for name, one in found.items()} == {
        name: one.tensor_type for name, one in wanted.items()
    }
    assert [name for name in found if not numpy.array_equal(found[name].data, wanted[name].data)] == []


def test_its_converter_writes_what_is_not_known_here(
    programs: Path, real_model: Callable[[str], Path], tmp_path: Path
) -> None:
    """OLMo 2 with a tokenizer that the converter knows."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(real_model("smollm2"))
    sizes: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    ids: dict[str, Any] = {"vocab_size": len(tokenizer), "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    config = transformers.Olmo2Config(**sizes, **ids, max_position_embeddings=256)
    transformers.Olmo2ForCausalLM(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    rows = [{"prompt": f"Who is {number}?", "completion": "A red fox."} for number in range(60)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    options: dict[str, Any] = {"train.epochs": 100, "evaluate.answers": 0, "evaluate.max_new_tokens": 8}
    burnish.train(
        tmp_path / "rows.jsonl",
        model=tmp_path / "model",
        runs=tmp_path / "runs",
        name="olmo",
        method="lora",
        max_steps=30,
        learning_rate=0.02,
        precision="fp32",
        set=options,
    )
    asking = Asking("gguf", ["f16", "q4_k_m"], 8, converter=Converter.find(programs, ["f16", "q4_k_m"]))
    made = export(find_run("olmo", str(tmp_path / "runs")), asking)
    assert made.outputs is not None
    assert made.outputs.largest < 1e-4
    assert made.outputs.ended == made.outputs.prompts
    assert [file.type for file in made.files] == ["f16", "q4_k_m"]
