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
OFFLINE = "It is no folder here, it is not in the cache `CACHE`, and the hub cannot be reached (HF_HUB_OFFLINE is set)."
MODULES = (
    "Its modules are named act_fn, down_proj, embed_tokens, gate_proj, input_layernorm, k_proj, layers, lm_head, mlp, "
    "model, norm, o_proj, post_attention_layernorm, q_proj, rotary_emb, self_attn, up_proj, v_proj."
)
HAS = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
ABSENT = "mps" if HAS["cuda"] else "cuda"
"""A device that this machine does not have: none has both."""
PRESENT = ", ".join(f"`{name}`" for name, is_there in HAS.items() if is_there)

CASES = [
    Case(
        "mistyped name of the bundled model",
        bad.rows(),
        "train rows.jsonl --model seedlng",
        "cannot find or fetch the model `seedlng`",
        OFFLINE,
        "Did you mean `seedling`?",
    ),
    Case(
        "unknown hub model",
        bad.rows(),
        "train rows.jsonl --model nobody/nothing",
        "cannot find or fetch the model `nobody/nothing`",
        OFFLINE,
        "Use the bundled model: `--model seedling`",
    ),
    Case(
        "mistyped folder",
        bad.model_without(),
        "train rows.jsonl --model ./modle",
        "there is no model folder `./modle`",
        "The folder `.` has none of that name.",
        "Did you mean `./model`?",
    ),
    Case(
        "a file where a folder belongs",
        bad.rows(),
        "train rows.jsonl --model ./rows.jsonl",
        "the model `./rows.jsonl` is a file",
        "A base model is a folder with `config.json`.",
        "Name a folder, or use the bundled model: `--model seedling`",
    ),
    Case(
        "a file of a model where its folder belongs",
        bad.model_without(),
        "train rows.jsonl --model ./model/model.safetensors",
        "the model `./model/model.safetensors` is a file",
        "A base model is a folder with `config.json`.",
        "Try `model`",
    ),
    Case(
        "no tokenizer",
        bad.model_without("tokenizer*"),
        MODEL,
        "the model `./model` has no tokenizer",
        "None of tokenizer.json, tokenizer.model, vocab.json, vocab.txt, spiece.model is in `./model`.",
        "Copy the tokenizer files of the model it was made from into the folder",
    ),
    Case(
        "no config",
        bad.model_without("config.json"),
        MODEL,
        "the folder `./model` holds no base model",
        "There is no `config.json` in it.",
        "Name a folder in transformers' layout, or use the bundled model: `--model seedling`",
    ),
    Case(
        "an adapter where a base model belongs",
        bad.adapter_as_model,
        MODEL,
        "the folder `./model` holds no base model",
        "There is no `config.json` in it.",
        "An adapter is not a base model: name the base it was trained on",
    ),
    Case(
        "no weights",
        bad.model_without("*.safetensors"),
        MODEL,
        "the model `./model` has no weights",
        "There is no `.safetensors` file in `./model`.",
        "Use the bundled model: `--model seedling`",
    ),
    Case(
        "only pickled weights",
        bad.pickled_model,
        MODEL,
        "the model `./model` has only pickled weights (`pytorch_model.bin`)",
        "A pickle can run any code when it is opened, so it is refused.",
        "Convert it to safetensors, or, if you trust it, add `--allow-pickle`",
    ),
    Case(
        "weights cut short",
        bad.cut_weights,
        MODEL,
        "cannot load the model of `./model`",
        "Error while deserializing header: incomplete metadata, file not fully covered",
        "Check the files in its folder",
    ),
    Case(
        "weights with a layer missing",
        bad.missing_tensor,
        MODEL,
        "the weights of `./model` are not whole",
        "1 tensors are missing, the first is `model.layers.1.mlp.down_proj.weight`; they would start out random.",
        "Fetch the model again, or name the model class these weights were saved from",
    ),
    Case(
        "config of an unknown kind",
        bad.model_with("config.json", '{"model_type": "abacus"}'),
        MODEL,
        "cannot read the config of `./model`",
        "The checkpoint you are trying to load has model type `abacus` but Transformers does not recognize this "
        "architecture.",
        "Check its `config.json`; a model newer than this transformers needs `pip install -U transformers`",
    ),
    Case(
        "config with code of its own",
        bad.model_with("config.json", '{"model_type": "abacus", "auto_map": {"AutoConfig": "code.Abacus"}}'),
        MODEL,
        "the config of `./model` comes with its own Python code",
        "Code from elsewhere can do anything, so it is refused.",
        "If you trust it, add `--trust-remote-code`",
    ),
    Case(
        "tokenizer of garbage",
        bad.model_with("tokenizer.json", "{"),
        MODEL,
        "cannot load the tokenizer of `./model`",
        "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        "Check the files in its folder",
    ),
    Case(
        "a tokenizer in which no answer could end",
        bad.endless_model,
        MODEL,
        "the tokenizer has no end-of-sequence token",
        "without one the model cannot learn where an answer ends",
        "set `eos_token` in the model's tokenizer_config.json",
    ),
    Case(
        "a layer that is not there",
        bad.rows(),
        f"{TRAIN} --set lora.targets=[q_prj]",
        "`lora.targets` names `q_prj`, which this model does not have",
        MODULES,
        "Did you mean `q_proj`?",
    ),
    Case(
        "a module to save that is not there",
        bad.rows(),
        f"{TRAIN} --set lora.modules_to_save=[lm_hed]",
        "`lora.modules_to_save` names `lm_hed`, which this model does not have",
        MODULES,
        "Did you mean `lm_head`?",
    ),
    Case(
        "a device that is not there",
        bad.rows(),
        f"{TRAIN} --set model.device={ABSENT}",
        f"there is no `{ABSENT}` device",
        f"PyTorch TORCH sees only {PRESENT} here.",
        "Leave `model.device` at `auto`",
        code=3,
    ),
    Case(
        "fp16 on the CPU",
        bad.rows(),
        f"{TRAIN} --set model.device=cpu --set model.precision=fp16",
        "fp16 does not train on the cpu device",
        "Its narrow range needs loss scaling, which pays off on CUDA only.",
        "Use `model.precision=bf16` or `fp32`",
        code=3,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_model_and_machine(case: Case, here: Path, base: Path, burnish: Burnish) -> None:
    check(case, here, base, burnish)


def test_remote_code_is_not_run(here: Path, base: Path, burnish: Burnish) -> None:
    config = '{"model_type": "abacus", "auto_map": {"AutoConfig": "code.Abacus"}}'
    bad.model_with("config.json", config)(here, base)
    (here / "model" / "code.py").write_text(f"open({str(here / 'it ran')!r}, 'w')", encoding="utf-8")
    assert burnish("train rows.jsonl --model ./model").code == 2
    assert not (here / "it ran").exists()


def test_pickled_weights_are_read_where_they_are_allowed(here: Path, base: Path, burnish: Burnish) -> None:
    bad.pickled_model(here, base)
    allowed = "--allow-pickle --set train.max_steps=1 --set evaluate.answers=0"
    told = burnish(f"train rows.jsonl --model ./model {allowed} --name allowed")
    assert told.code == 0, told.err
    assert (here / "runs" / "allowed" / "adapter" / "adapter_model.safetensors").is_file()
