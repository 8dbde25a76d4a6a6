"""What kind of model a config describes, and which heads it can have."""

from __future__ import annotations

from typing import Any

import pytest
import transformers

from burnish.models.config import WORDS, model_kind
from burnish.models.heads import CAUSAL, Head, is_supported


def config_of(name: str, *saved_from: str, **options: Any) -> Any:
    """A config of transformers, as if its weights had been saved from a class."""
    config = getattr(transformers, f"{name}Config")(**options)
    config.architectures = list(saved_from) or None
    return config


KINDS = [
    ("causal", config_of("GPT2", "GPT2LMHeadModel")),
    ("causal", config_of("Llama", "LlamaForCausalLM")),
    ("causal", config_of("Llama")),
    ("causal", config_of("Qwen2", "Qwen2ForSequenceClassification")),
    ("masked", config_of("Bert", "BertModel")),
    ("masked", config_of("Bert")),
    ("masked", config_of("Roberta", "RobertaForMaskedLM")),
    ("masked", config_of("DistilBert", "DistilBertForSequenceClassification")),
    ("masked", config_of("DebertaV2", "DebertaV2Model")),
    ("masked", config_of("ModernBert", "ModernBertForMaskedLM")),
    ("causal", config_of("Bert", "BertLMHeadModel")),
    ("causal", config_of("Roberta", "RobertaForCausalLM", is_decoder=True)),
    ("causal", config_of("Bert", is_decoder=True)),
    ("seq2seq", config_of("T5", "T5ForConditionalGeneration")),
    ("seq2seq", config_of("Bart", "BartForConditionalGeneration")),
    ("image-text", config_of("Qwen2VL", "Qwen2VLForConditionalGeneration")),
    ("image-text", config_of("Idefics3", "Idefics3ForConditionalGeneration")),
]


@pytest.mark.parametrize(
    ("kind", "config"), KINDS, ids=[f"{c.model_type}-{(c.architectures or ['none'])[0]}" for _, c in KINDS]
)
def test_kinds(kind: str, config: Any) -> None:
    assert model_kind(config) == kind
    assert kind in WORDS


@pytest.mark.parametrize(
    ("auto_class", "name", "expected"),
    [
        ("AutoModelForCausalLM", "Llama", True),
        ("AutoModelForCausalLM", "T5", False),
        ("AutoModelForSequenceClassification", "Bert", True),
        ("AutoModelForSequenceClassification", "GPTNeoX", True),
        ("AutoModelForTokenClassification", "ModernBert", True),
        ("AutoModelForQuestionAnswering", "DistilBert", True),
        ("AutoModelForMaskedLM", "Bert", True),
        ("AutoModelForMaskedLM", "Llama", False),
        ("AutoModelForSeq2SeqLM", "T5", True),
        ("AutoModelForSeq2SeqLM", "GPT2", False),
        ("AutoModelForImageTextToText", "Qwen2VL", True),
        ("AutoModelForImageTextToText", "Llama", False),
    ],
)
def test_heads(auto_class: str, name: str, expected: bool) -> None:
    assert is_supported(Head(auto_class), config_of(name)) is expected


def test_a_model_with_its_own_code_may_have_any_head() -> None:
    """Its classes are not in transformers; whether they load is seen when they are."""
    config = transformers.PretrainedConfig()
    assert not is_supported(CAUSAL, config)
    config.auto_map = {"AutoModelForCausalLM": "odd.OddModel"}
    assert is_supported(CAUSAL, config)
