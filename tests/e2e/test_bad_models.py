"""Base models that cannot be used, and things that the machine cannot do; nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.e2e import bad_files as bad
from tests.e2e.bad_case import Case, check
from tests.e2e.conftest import Burnish

TRAIN = "train rows.jsonl --model BASE"
MODEL = "train rows.jsonl --model ./model"
HAS = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
ABSENT = "mps" if HAS["cuda"] else "cuda"
"""A device that this machine does not have: none has both."""
PRESENT = ", ".join(f"`{name}`" for name, is_there in HAS.items() if is_there)

CASES = [
    Case(
        "mistyped name of the bundled model",
        bad.rows(),
        "train rows.jsonl --model seedlng",
        names=("seedlng",),
    ),
    Case(
        "unknown hub model",
        bad.rows(),
        "train rows.jsonl --model nobody/nothing",
        names=("nobody/nothing",),
    ),
    Case(
        "mistyped folder",
        bad.model_without(),
        "train rows.jsonl --model ./modle",
        names=("./modle",),
    ),
    Case(
        "a file where a folder belongs",
        bad.rows(),
        "train rows.jsonl --model ./rows.jsonl",
        names=("./rows.jsonl",),
    ),
    Case(
        "a file of a model where its folder belongs",
        bad.model_without(),
        "train rows.jsonl --model ./model/model.safetensors",
        names=("./model/model.safetensors",),
    ),
    Case(
        "no tokenizer",
        bad.model_without("tokenizer*"),
        MODEL,
        names=("./model",),
    ),
    Case(
        "no config",
        bad.model_without("config.json"),
        MODEL,
        names=("./model",),
    ),
    Case(
        "a config whose values have other types",
        bad.model_whose("config.json", tie_word_embeddings=[[]]),
        MODEL,
        names=("./model",),
    ),
    Case(
        "a config whose architectures are no list",
        bad.model_whose("config.json", architectures=3),
        MODEL,
        names=("./model",),
    ),
    Case(
        "a config of which no model can be made",
        bad.model_whose("config.json", num_attention_heads=12, num_key_value_heads=5),
        "plan rows.jsonl --model ./model",
    ),
    Case(
        "a config that names code on the hub",
        bad.model_whose("config.json", _attn_implementation="kernels-community/flash-attn"),
        MODEL,
        names=("./model", "kernels-community/flash-attn"),
    ),
    Case(
        "a token that is named by a text",
        bad.model_whose("generation_config.json", eos_token_id="<|im_end|>"),
        MODEL,
        names=("eos_token_id",),
    ),
    Case(
        "a tokenizer with a length that is no number",
        bad.model_whose("tokenizer_config.json", model_max_length="512"),
        MODEL,
        names=("./model",),
    ),
    Case(
        "a tokenizer with a length of no tokens",
        bad.model_whose("tokenizer_config.json", model_max_length=False),
        MODEL,
        names=("./model",),
    ),
    Case(
        "a plan for a model whose tokenizer is damaged",
        bad.model_with("tokenizer.json", "{}"),
        "plan rows.jsonl --model ./model",
        names=("./model",),
    ),
    Case(
        "an adapter where a base model belongs",
        bad.adapter_as_model,
        MODEL,
        names=("./model",),
    ),
    Case(
        "no weights",
        bad.model_without("*.safetensors"),
        MODEL,
        names=("./model",),
    ),
    Case(
        "only pickled weights",
        bad.pickled_model,
        MODEL,
        names=("./model", "pytorch_model.bin"),
    ),
    Case(
        "weights cut short",
        bad.cut_weights,
        MODEL,
        names=("./model",),
    ),
    Case(
        "weights with a layer missing",
        bad.missing_tensor,
        MODEL,
        names=("./model",),
    ),
    Case(
        "a weight that is not a number",
        bad.weight_of(float("nan")),
        MODEL,
        names=("./model", "model.layers.1.mlp.down_proj.weight", "NaN"),
    ),
    Case(
        "an infinite weight in a vector",
        bad.weight_of(float("-inf"), "model.layers.0.input_layernorm.weight"),
        MODEL,
        names=("./model", "model.layers.0.input_layernorm.weight", "infinite"),
    ),
    Case(
        "a weight that is not a number, quantized",
        bad.weight_of(float("nan")),
        f"{MODEL} --method qlora",
        names=("model.layers.1.mlp.down_proj.weight", "NaN"),
    ),
    Case(
        "a weight that is not a number, only asked",
        bad.weight_of(float("nan")),
        "generate ./model Hello",
        names=("model.layers.1.mlp.down_proj.weight", "NaN"),
    ),
    Case(
        "a tokenizer that is larger than the embedding",
        bad.small_embedding,
        MODEL,
        names=("./model", "300", "280"),
    ),
    Case(
        "a special token without a row in the embedding",
        bad.foreign_end_token,
        MODEL,
        names=("./model", "<|stop|>"),
    ),
    Case(
        "config of an unknown kind",
        bad.model_with("config.json", '{"model_type": "abacus"}'),
        MODEL,
        names=("./model",),
    ),
    Case(
        "config with code of its own",
        bad.model_with("config.json", '{"model_type": "abacus", "auto_map": {"AutoConfig": "code.Abacus"}}'),
        MODEL,
        names=("./model",),
    ),
    Case(
        "tokenizer of garbage",
        bad.model_with("tokenizer.json", "{"),
        MODEL,
        names=("./model",),
    ),
    Case(
        "a tokenizer in which no answer could end",
        bad.endless_model,
        MODEL,
    ),
    Case(
        "a layer that is not there",
        bad.rows(),
        f"{TRAIN} --set lora.targets=[q_prj]",
        names=("lora.targets", "q_prj"),
    ),
    Case(
        "a module to save that is not there",
        bad.rows(),
        f"{TRAIN} --set lora.modules_to_save=[lm_hed]",
        names=("lora.modules_to_save", "lm_hed"),
    ),
    Case(
        "a device that is not there",
        bad.rows(),
        f"{TRAIN} --set model.device={ABSENT}",
        names=(ABSENT,),
        masks=((f"`{ABSENT}`", "ABSENT"), (PRESENT, "PRESENT")),
        code=3,
    ),
    Case(
        "fp16 on the CPU",
        bad.rows(),
        f"{TRAIN} --set model.device=cpu --set model.precision=fp16",
        names=("fp16", "cpu"),
        code=3,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_model_and_machine(case: Case, here: Path, base: Path, burnish: Burnish) -> None:
    check("bad_models", case, here, base, burnish)


def test_remote_code_is_not_run(here: Path, base: Path, burnish: Burnish) -> None:
    config = '{"model_type": "abacus", "auto_map": {"AutoConfig": "code.Abacus"}}'
    bad.model_with("config.json", config)(here, base)
    (here / "model" / "code.py").write_text(f"open({str(here / 'it ran')!r}, 'w')", encoding="utf-8")
    assert burnish("train rows.jsonl --model ./model").code == 2
    assert not (here / "it ran").exists()


def test_pickled_weights_are_read_where_they_are_allowed(here: Path, base: Path, burnish: Burnish) -> None:
    bad.pickled_model(here, base)
    allowed = "--allow-pickle --set train.max_steps=1 --set evaluate.answers=0"
    result = burnish(f"train rows.jsonl --model ./model {allowed} --name allowed")
    assert result.code == 0, result.err
    assert (here / "runs" / "allowed" / "adapter" / "adapter_model.safetensors").is_file()
