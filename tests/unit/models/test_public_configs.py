"""The bundled configurations: each builds the model that it is named for, known by its number of parameters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoConfig

from burnish.models.config import find_public, public_names

PARAMETERS = {  # as the published weights count them, tied ones once
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-xl": 1_557_611_200,
    "bert-base-uncased": 109_482_240,
    "roberta-base": 124_645_632,
    "distilbert-base-uncased": 66_362_880,
    "ModernBERT-base": 149_014_272,
    "t5-small": 60_506_624,
    "Phi-3-mini-4k-instruct": 3_821_079_552,
    "Mistral-7B-v0.3": 7_248_023_552,
    "Mixtral-8x7B-v0.1": 46_702_792_704,
    "Llama-2-7b-hf": 6_738_415_616,
    "Llama-2-13b-hf": 13_015_864_320,
    "Llama-2-70b-hf": 68_976_648_192,
    "Meta-Llama-3-8B": 8_030_261_248,
    "Meta-Llama-3-70B": 70_553_706_496,
    "Llama-3.2-1B": 1_235_814_400,
    "Llama-3.2-3B": 3_212_749_824,
    "Qwen2.5-0.5B": 494_032_768,
    "Qwen2.5-1.5B": 1_543_714_304,
    "Qwen2.5-7B": 7_615_616_512,
    "Qwen3-8B": 8_190_735_360,
    "gemma-2-2b": 2_614_341_888,
    "pythia-160m": 162_322_944,
    "TinyLlama-1.1B": 1_100_048_384,
    "SmolLM2-135M": 134_515_008,
    "SmolLM2-360M": 361_821_120,
    "SmolLM2-1.7B": 1_711_376_384,
}
CONTEXTS = {  # the longest row in tokens, and the base of the rotary angles
    "gpt2": (1024, None),
    "bert-base-uncased": (512, None),
    "Phi-3-mini-4k-instruct": (4096, 1e4),
    "Mistral-7B-v0.3": (32768, 1e6),
    "Mixtral-8x7B-v0.1": (32768, 1e6),
    "Llama-2-7b-hf": (4096, 1e4),
    "Meta-Llama-3-8B": (8192, 5e5),
    "Llama-3.2-1B": (131072, 5e5),
    "Qwen2.5-0.5B": (32768, 1e6),
    "Qwen3-8B": (40960, 1e6),
    "TinyLlama-1.1B": (2048, 1e4),
    "SmolLM2-135M": (8192, 1e5),
    "pythia-160m": (2048, 1e4),
}
OLDER = {  # spellings that transformers reads, but writes otherwise; and facts for generation
    "rope_theta", "rope_scaling", "rotary_pct", "rotary_emb_base", "global_rope_theta", "local_rope_theta",
    "global_attn_every_n_layers", "n_ctx", "n_positions", "tie_weights_", "decoder_start_token_id",
}  # fmt: skip
READERS = ("Bert", "Roberta", "DistilBert", "ModernBert")
"""Counted without their head, as it is replaced for every task."""


def read(name: str) -> Any:
    """The configuration as transformers reads it."""
    path = find_public(name)
    assert path is not None
    return AutoConfig.from_pretrained(str(path))


def test_every_configuration_is_listed_and_known() -> None:
    path = find_public("gpt2")
    assert path is not None
    assert sorted(public_names()) == sorted(PARAMETERS) == sorted(file.stem for file in path.parent.glob("*.json"))


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_model_has_its_number_of_parameters(name: str) -> None:
    config = read(name)
    (architecture,) = config.architectures
    if architecture.removesuffix("ForMaskedLM") in READERS:
        architecture = architecture.replace("ForMaskedLM", "Model")
    with torch.device("meta"):
        network = getattr(transformers, architecture)(config)
    assert sum(weight.numel() for weight in network.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_configuration_holds_facts_that_the_model_reads(name: str) -> None:
    """A misspelt key would be kept by transformers and change nothing."""
    path = find_public(name)
    assert path is not None
    facts = json.loads(path.read_text(encoding="utf-8"))
    known = AutoConfig.for_model(facts.pop("model_type")).to_dict()
    assert set(facts) - set(known) - OLDER == set()


@pytest.mark.parametrize("name", CONTEXTS)
def test_context_and_rotary_base(name: str) -> None:
    config = read(name)
    rope = getattr(config, "rope_parameters", None) or {}
    assert (config.max_position_embeddings, rope.get("rope_theta")) == CONTEXTS[name]


def test_facts_that_change_memory_without_changing_the_count() -> None:
    assert read("gemma-2-2b").attn_logit_softcapping == 50
    assert read("Mixtral-8x7B-v0.1").num_experts_per_tok == 2
    assert read("Phi-3-mini-4k-instruct").sliding_window == 2047
    assert read("Mistral-7B-v0.3").sliding_window is None
    assert read("Meta-Llama-3-70B").num_key_value_heads == 8
    assert read("Llama-3.2-1B").rope_parameters["factor"] == 32
    assert read("ModernBERT-base").layer_types.count("full_attention") == 8
    assert read("pythia-160m").rope_parameters["partial_rotary_factor"] == 0.25


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("gpt2", "gpt2"),
        ("openai-community/gpt2", "gpt2"),
        ("GPT2-XL", "gpt2-xl"),
        ("meta-llama/Meta-Llama-3-70B", "Meta-Llama-3-70B"),
        ("Llama-3-70B", "Meta-Llama-3-70B"),
        ("meta-llama/llama-3-8b-instruct", "Meta-Llama-3-8B"),
        ("mistralai/Mistral-7B-v0.3", "Mistral-7B-v0.3"),
        ("Mistral-7B", "Mistral-7B-v0.3"),
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", "TinyLlama-1.1B"),
        (" qwen/qwen2.5-7b-instruct ", "Qwen2.5-7B"),
        ("google-bert/bert-base-uncased", "bert-base-uncased"),
    ],
)
def test_models_are_found_by_the_names_of_the_hub(asked: str, name: str) -> None:
    path = find_public(asked)
    assert path is not None
    assert path.is_file()
    assert path.stem == name


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "/",
        "gpt",
        "gpt2.json",
        "someone/gpt2",
        "models/local/gpt2",
        "./gpt2",
        "mistralai/Mistral-7B-v0.1",
        "../gpt2",
    ],
)
def test_other_models_are_not(asked: str) -> None:
    assert find_public(asked) is None


def test_no_name_means_two_models() -> None:
    import yaml

    path = find_public("gpt2")
    assert path is not None
    index = yaml.safe_load(Path(path.parent, "names.yaml").read_text(encoding="utf-8"))
    called = [name.lower() for own, names in index.items() for name in (own, *names.get("also", []))]
    assert len(called) == len(set(called))
