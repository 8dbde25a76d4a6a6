"""What a plan decides on a few blocks, or on a network without weights, holds for the whole model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForCausalLM

import burnish
from burnish.errors import RecipeError
from burnish.plan.run_plan import plan_run
from burnish.prepare.context import prepare
from burnish.runs.events import Note
from burnish.workflows.merge import merge
from burnish.workflows.run import Run
from tests.tiny_classifiers import reviews, word_pieces
from tests.tiny_contexts import ignore
from tests.tiny_data import make_recipe, write_rows
from tests.tiny_models import make_network, make_tokenizer, save_model
from tests.tiny_vision import FAMILIES, save_vision_model, write_picture_rows

OPTIONS: dict[str, Any] = {"precision": "fp32", "device": "cpu", "max_steps": 2}
SHORT = {"evaluate.answers": 0, "evaluate.general": "none"}
_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
ENCODERS = {
    "bert": transformers.BertConfig,
    "roberta": transformers.RobertaConfig,
    "electra": transformers.ElectraConfig,
}


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    lines = [json.dumps({"text": text, "label": label}) + "\n" for text, label in reviews(40)]
    (tmp_path / "reviews.jsonl").write_text("".join(lines), encoding="utf-8")
    return tmp_path / "reviews.jsonl"


def encoder(kind: str, folder: Path) -> Path:
    torch.manual_seed(0)
    tokenizer = word_pieces()
    config = ENCODERS[kind](vocab_size=len(tokenizer), pad_token_id=0, **_SIZES)
    return save_model(folder, AutoModel.from_config(config).eval(), tokenizer)


def scaled(run: Run) -> list[str]:
    """Names of the layers with a scale of IA3."""
    assert run.folder.result is not None
    return [name for name in load_file(str(run.folder.result / "adapter_model.safetensors")) if "ia3_l" in name]


@pytest.mark.parametrize(
    "kind", [kind if kind == "bert" else pytest.param(kind, marks=pytest.mark.slow) for kind in ENCODERS]
)
def test_ia3_scales_the_feed_forward_of_every_block(kind: str, tmp_path: Path, labelled: Path) -> None:
    run = burnish.train(
        labelled, model=encoder(kind, tmp_path / kind), method="ia3", runs=tmp_path / "runs", set=SHORT, **OPTIONS
    )
    for block in range(3):
        for layer in ("attention.self.key", "attention.self.value", "output.dense"):
            assert any(f"layer.{block}.{layer}." in name for name in scaled(run)), (block, layer)
    assert not any("attention.output" in name or "query" in name for name in scaled(run))


@pytest.mark.parametrize("kind", ["bert", pytest.param("roberta", marks=pytest.mark.slow)])
def test_ia3_beside_a_new_pooler_can_be_merged(kind: str, tmp_path: Path, labelled: Path) -> None:
    folder = encoder(kind, tmp_path / kind)
    weights = {name: tensor for name, tensor in load_file(str(folder / "model.safetensors")).items()}
    from safetensors.torch import save_file

    save_file(
        {name: tensor for name, tensor in weights.items() if "pooler" not in name},
        str(folder / "model.safetensors"),
        {"format": "pt"},
    )
    run = burnish.train(labelled, model=folder, method="ia3", runs=tmp_path / "runs", set=SHORT, **OPTIONS)
    merged = merge(run.folder)
    assert merged.merged.same_choice == 1


@pytest.mark.parametrize("family", [FAMILIES[0], *(pytest.param(one, marks=pytest.mark.slow) for one in FAMILIES[1:])])
def test_ia3_on_a_model_that_sees_scales_its_language_model_alone(family: str, tmp_path: Path) -> None:
    rows = write_picture_rows(tmp_path, 12)
    model = save_vision_model(family, tmp_path / family)
    run = burnish.train(rows, model=model, method="ia3", runs=tmp_path / "runs", set=SHORT, **OPTIONS)
    for block in range(2):
        for layer in ("self_attn.k_proj", "self_attn.v_proj", "mlp.down_proj"):
            assert any(f"layers.{block}.{layer}." in name for name in scaled(run)), (block, layer)
    assert not any("vision" in name or "visual" in name for name in scaled(run))
    merge(run.folder)


def test_named_targets_do_not_reach_into_a_frozen_tower(tmp_path: Path) -> None:
    rows = write_picture_rows(tmp_path, 12)
    model = save_vision_model("idefics3", tmp_path / "model")
    options = {**SHORT, "ia3.targets": ["k_proj"], "ia3.feedforward": []}
    run = burnish.train(rows, model=model, method="ia3", runs=tmp_path / "runs", set=options, **OPTIONS)
    assert len(scaled(run)) == 2
    with pytest.raises(RecipeError, match="names only layers that this task freezes"):
        options = {**SHORT, "ia3.targets": ["vision_model.encoder.layers.0.self_attn.k_proj"], "ia3.feedforward": []}
        burnish.train(rows, model=model, method="ia3", runs=tmp_path / "runs", set=options, **OPTIONS)


@pytest.mark.parametrize("method", ["lora", pytest.param("ia3", marks=pytest.mark.slow)])
def test_a_layer_of_a_late_block_can_be_named(method: str, tmp_path: Path) -> None:
    """The memory of a deep model is simulated on fewer blocks, which do not have that layer."""
    network = make_network("llama", num_hidden_layers=9)
    model = save_model(tmp_path / "model", network, make_tokenizer())
    options = {f"{method}__targets": ["layers.8.mlp.down_proj"]}
    if method == "ia3":
        options["ia3__feedforward"] = ["layers.8.mlp.down_proj"]
    recipe = make_recipe(write_rows(tmp_path / "rows.jsonl"), model, tmp_path / "runs", method=method, **options)
    plan = plan_run(prepare(recipe, ignore))
    assert plan.fit is not None
    assert plan.fit.simulation.trained == (48 if method == "ia3" else 16 * (32 + 48))


def test_the_whole_model_has_the_last_word(tmp_path: Path) -> None:
    """Where the layers of later blocks do not do what those of the first ones do."""
    torch.manual_seed(0)
    config = transformers.Qwen3MoeConfig(
        vocab_size=300, hidden_size=32, intermediate_size=48, moe_intermediate_size=16, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, num_experts=4, num_experts_per_tok=2,
        mlp_only_layers=[2, 3], max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = save_model(tmp_path / "model", AutoModelForCausalLM.from_config(config).eval(), make_tokenizer())
    notes: list[Any] = []
    run = burnish.train(
        write_rows(tmp_path / "rows.jsonl"),
        model=model,
        method="ia3",
        runs=tmp_path / "runs",
        set=SHORT,
        listeners=[notes.append],
        **OPTIONS,
    )
    for block in (2, 3):
        assert any(f"layers.{block}.mlp.down_proj." in name for name in scaled(run)), block
    assert not any("experts" in name for name in scaled(run))
    assert not any(isinstance(note, Note) and "In the whole model" in note.text for note in notes)
