"""A tokenizer whose added tokens have no row in the embedding."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

import burnish
from burnish.errors import ModelError
from burnish.models.config import lacks_start
from burnish.recipe.schema import Recipe
from burnish.workflows.plan import Place
from burnish.workflows.plan import plan as make_plan
from tests.snapshots import check_message
from tests.tiny_architectures import save_architecture
from tests.tiny_models import make_network, make_tokenizer, save_model

QUICK: dict[str, Any] = {"max_steps": 1, "precision": "fp32", "device": "cpu", "name": "mine"}
SETS = {"evaluate.answers": 0, "evaluate.general": "none", "batch.tokens": 256}


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rows of chat; the working directory is a folder of its own."""
    monkeypatch.chdir(tmp_path)
    turns = [[{"role": "user", "content": f"q {n}"}, {"role": "assistant", "content": f"a {n}"}] for n in range(20)]
    Path("rows.jsonl").write_text("".join(json.dumps({"messages": one}) + "\n" for one in turns), encoding="utf-8")
    return Path("rows.jsonl")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model whose tokenizer has two tokens more than its embedding."""
    tokenizer = make_tokenizer()
    network = make_network("llama", len(tokenizer))
    tokenizer.add_tokens(["<zebra>", "<lion>"])
    return save_model(tmp_path / "model", network, tokenizer)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_it_is_refused_before_anything_is_trained(method: str, model: Path, rows: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        burnish.train(rows, model="model", method=method, set=SETS, **QUICK)
    check_message(caught.value, {str(tmp_path): "HERE", sys.executable: "python"})
    assert not Path("runs/mine").exists()
    with pytest.raises(ModelError, match="2 added tokens"):
        make_plan(Recipe(method=method).with_options(data={"path": str(rows)}, model={"name": "model"}), Place())


def test_they_are_learned_if_the_recipe_adds_them(model: Path, rows: Path) -> None:
    sets = {**SETS, "lora.added_tokens": ["<zebra>", "<lion>"]}
    assert burnish.train(rows, model="model", method="lora", set=sets, **QUICK).folder.adapter.is_dir()


def test_the_command_of_the_message_saves_a_larger_model(model: Path, rows: Path) -> None:
    with pytest.raises(ModelError) as caught:
        burnish.train(rows, model="model", method="full", set=SETS, **QUICK)
    command = caught.value.fix.split("`")[3]
    subprocess.run([sys.executable, *shlex.split(command)[1:]], check=True, capture_output=True)
    assert AutoConfig.from_pretrained("model-302").vocab_size == 302
    result = burnish.train(rows, model="model-302", method="full", set=SETS, **QUICK)
    assert AutoModelForCausalLM.from_pretrained(result.folder.model).get_input_embeddings().num_embeddings == 302


def test_many_are_not_listed(rows: Path, tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    network = make_network("llama", len(tokenizer))
    tokenizer.add_tokens([f"<{number}>" for number in range(9)])
    save_model(tmp_path / "model", network, tokenizer)
    with pytest.raises(ModelError) as caught:
        burnish.train(rows, model="model", method="lora", set=SETS, **QUICK)
    check_message(caught.value, {str(tmp_path): "HERE"})


def test_a_decoder_without_a_token_to_begin_with_is_refused(rows: Path, tmp_path: Path) -> None:
    """transformers fails in the first step. The command of the message writes it into the config."""
    model = save_architecture("T5", tmp_path / "model")
    for name in ("config.json", "generation_config.json"):
        settings = json.loads((model / name).read_text(encoding="utf-8"))
        del settings["decoder_start_token_id"]
        (model / name).write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(ModelError) as caught:
        burnish.train(rows, model="model", method="lora", set=SETS, **QUICK)
    check_message(caught.value, {str(tmp_path): "HERE"})
    command = caught.value.fix.split("`")[1]
    subprocess.run([sys.executable, *shlex.split(command)[1:]], check=True)
    result = burnish.train(rows, model="model", method="lora", set=SETS, **QUICK)
    assert isinstance(result.generate("Where?"), str)


def test_classes_that_begin_with_another_token_are_not() -> None:
    """mBART begins with the last token of the answer."""
    assert lacks_start(transformers.T5Config())
    assert not lacks_start(transformers.MBartConfig())
    assert not lacks_start(transformers.BartConfig())
    assert not lacks_start(transformers.LlamaConfig())
