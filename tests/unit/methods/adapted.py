"""Tiny networks with a method on them, trained a little: what the tests of every method begin with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    T5Config,
)

from burnish.methods import make_method
from burnish.methods.method import Method
from burnish.models.heads import Head, Target
from burnish.models.location import ModelLocation
from burnish.recipe.schema import LoraSection, PromptSection, Recipe
from tests.tiny_models import LAYOUTS, make_network, randomize_vectors

_BERT = BertConfig(
    vocab_size=300,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    max_position_embeddings=64,
    num_labels=3,
    initializer_range=0.25,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)
_T5 = T5Config(
    vocab_size=300,
    d_model=32,
    d_ff=48,
    d_kv=8,
    num_layers=2,
    num_heads=4,
    dropout_rate=0.0,
    decoder_start_token_id=0,
    pad_token_id=0,
    eos_token_id=1,
)


def replace_labels(config: Any, number: int) -> Any:
    """The config with so many labels."""
    return type(config)(**{**config.to_dict(), "num_labels": number})


HEADS: dict[str, tuple[Any, Any, Head, tuple[str, ...]]] = {
    "bert-classify": (
        AutoModelForSequenceClassification,
        _BERT,
        Head("AutoModelForSequenceClassification", "SEQ_CLS"),
        ("classifier",),
    ),
    "bert-tag": (
        AutoModelForTokenClassification,
        _BERT,
        Head("AutoModelForTokenClassification", "TOKEN_CLS"),
        ("classifier",),
    ),
    "bert-span": (
        AutoModelForQuestionAnswering,
        replace_labels(_BERT, 2),
        Head("AutoModelForQuestionAnswering", "QUESTION_ANS"),
        ("qa_outputs",),
    ),
    "t5": (AutoModelForSeq2SeqLM, _T5, Head("AutoModelForSeq2SeqLM", "SEQ_2_SEQ_LM"), ()),
}
NETWORKS = (*LAYOUTS, *HEADS)


@dataclass(slots=True)
class Case:
    """A base network saved in a folder, with inputs for it."""

    folder: Path
    head: Head
    new_modules: tuple[str, ...]
    inputs: dict[str, torch.Tensor]
    auto_class: Any

    def load(self) -> Any:
        """The base network, again."""
        return self.auto_class.from_pretrained(self.folder).eval()


def make_case(name: str, folder: Path) -> Case:
    """A network by name: a decoder's layout, or one of `HEADS`. The second row is shorter where padding is marked."""
    auto_class, config, head, new_modules = HEADS.get(name, (AutoModelForCausalLM, None, Head(), ()))
    if config is None:
        network = make_network(name)
    else:
        torch.manual_seed(0)
        network = auto_class.from_config(config)
        randomize_vectors(network, 0)
    network.save_pretrained(folder)
    inputs = {"input_ids": torch.arange(3, 21).reshape(2, 9)}
    if config is not None:
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        inputs["attention_mask"][1, 6:] = 0
    if name == "t5":
        inputs["decoder_input_ids"] = torch.arange(30, 42).reshape(2, 6)
    return Case(folder, head, new_modules, inputs, auto_class)


def outputs_of(network: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """The logits of every kind of head as one tensor."""
    output = network(**inputs)
    return output.logits if "logits" in output else torch.stack([output.start_logits, output.end_logits], dim=-1)


def recipe_for(method: str, **options: Any) -> Recipe:
    """Small adapters."""
    return Recipe(method=method, lora=LoraSection(**{"rank": 4, **options}), prompt=PromptSection(tokens=4))


def apply_to(case: Case, method: str, tokenizer: Any = None, **options: Any) -> tuple[Method, Any]:
    """The method, and a new base network under it."""
    torch.manual_seed(0)
    made = make_method(method)
    target = Target(case.head.peft_type, case.new_modules, tokenizer)
    return made, made.apply(case.load(), recipe_for(method, **options), target)


def train(network: Any, inputs: dict[str, torch.Tensor], steps: int = 2) -> None:
    """A few steps of AdamW on a made-up loss."""
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-2)
    network.train()
    for step in range(steps):
        outputs = outputs_of(network, inputs)
        (outputs * torch.randn(outputs.shape, generator=torch.Generator().manual_seed(step))).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    network.eval()


def location(folder: Path) -> ModelLocation:
    """A folder as a base model."""
    return ModelLocation("tiny", folder, False)
