"""A model whose template thinks: what a user is shown by `check`, `train`, `chat` and `generate`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

import tests.unit.data.thinking_templates as thinking
from tests.e2e.conftest import Burnish
from tests.snapshots import check_text
from tests.tiny_models import save_model

ASK, AGAIN = {"role": "user", "content": "How?", "name": "Ann"}, {"role": "user", "content": "Now?"}
FINE = {"role": "assistant", "content": "Fine."}
STILL = {"role": "assistant", "content": "Still.", "reasoning_content": "Hm."}
EMPTY = "<|channel>thought\n<channel|>"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model whose prompt ends with an empty thought unless it is to think."""
    tokenizer = thinking.turns(thinking.CLOSED_THOUGHT)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(tokenizer) + 1, max_position_embeddings=512, **sizes)
    return save_model(tmp_path_factory.mktemp("thinking"), LlamaForCausalLM(config), tokenizer)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Conversations of two answers, of which the second has a thought."""
    file = tmp_path / "rows.jsonl"
    asked = [{"role": "user", "content": f"How is number {number}?"} for number in range(8)]
    lines = [{"messages": [{**ASK, **question}, FINE, AGAIN, STILL]} for question in asked]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return file


def test_check_shows_each_example_of_a_row_and_what_is_not_learned(model: Path, rows: Path, burnish: Burnish) -> None:
    found = burnish(f"check {rows} --model {model} --json").json
    (left_out,) = [finding for finding in found["findings"] if finding["name"] == "answers-left-out"]
    assert left_out["count"] == 8
    assert "rows.jsonl:1: answer 2: the prompt ends with an empty thought" in left_out["places"][0]
    thinks = f"check {rows} --model {model} --set template.kwargs.enable_thinking=true --show 1"
    shown = burnish(f"{thinks} --json").json
    assert not [finding for finding in shown["findings"] if finding["name"] == "answers-left-out"]
    (view,) = shown["rows"]
    assert sum(token["text"] == "<turn|>" and token["is_learned"] for token in view["passages"][0]["tokens"]) == 2
    apart = burnish(f"check {rows} --model {model} --set data.shape=messages --show 2")
    assert "do not write" not in apart.err
    assert "the template does not write these keys of the messages: `name` (user)" in apart.err


def test_a_row_of_several_examples_shows_all(tmp_path: Path, burnish: Burnish) -> None:
    tokenizer = thinking.system_last()
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(tokenizer) + 1, max_position_embeddings=512, **sizes)
    model = save_model(tmp_path / "model", LlamaForCausalLM(config), tokenizer)
    file = tmp_path / "rows.jsonl"
    row = {"messages": [{"role": "system", "content": "Be brief."}, AGAIN, FINE, AGAIN, FINE]}
    file.write_text(f"{json.dumps(row)}\n" * 3, encoding="utf-8")
    views = burnish(f"check {file} --model {model} --show 2 --json").json["rows"]
    assert [(view["place"].rpartition(":")[2], view["number"], view["of"]) for view in views] == [
        ("1", 1, 2), ("1", 2, 2), ("2", 1, 2), ("2", 2, 2),
    ]  # fmt: skip
    shown = burnish(f"check {file} --model {model} --show 1").out
    assert ":1, example 1 of 2\n" in shown
    assert ":1, example 2 of 2\n" in shown


def test_values_for_the_template_are_saved_with_the_run(
    model: Path, rows: Path, tmp_path: Path, burnish: Burnish
) -> None:
    options = f"--model {model} --runs {tmp_path} --set train.max_steps=1 --set evaluate.answers=0"
    plain = burnish(f"train {rows} {options} --name plain")
    assert plain.code == 0, plain.err
    (warning,) = [line for line in plain.err.splitlines() if "not learned" in line]
    check_text(warning.replace(str(rows), "rows.jsonl"))
    result = burnish(f"train {rows} {options} --name thinks --set template.kwargs.enable_thinking=true")
    assert result.code == 0, result.err
    assert "not learned" not in result.err
    folder = tmp_path / "thinks" / "adapter"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    asked = [{"role": "user", "content": "How?"}]
    assert not tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True).endswith(EMPTY)
    words = f'generate {tmp_path / "thinks"} "How?" --max-new-tokens 4 --quiet'
    assert burnish(words).code == 0
    assert burnish(f"{words} --set template.kwargs.enable_thinking=false").code == 0
    refused = burnish(f"{words} --set template.kwargs.enabel_thinking=false")
    assert (refused.code, "Did you mean `enable_thinking`?" in refused.err) == (2, True)
    refused = burnish(f"chat {tmp_path / 'thinks'} --set train.epochs=2", stdin="Hi\n")
    assert (refused.code, "`train.epochs` has no effect here" in refused.err) == (2, True)
    unread = burnish(f"train {rows} {options} --set template.kwargs.verse=true")
    assert (unread.code, "never reads `verse`" in unread.err) == (2, True)
