"""Heads that a checkpoint has no weights for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel

from burnish.errors import ModelError
from burnish.models.base import BaseModel, Loading, load_base, load_tokenizer
from burnish.models.heads import CAUSAL, Head
from burnish.models.location import ModelLocation
from burnish.recipe.schema import ModelSection
from tests.snapshots import check_message, check_text
from tests.tiny_models import save_model

CLASSIFY = Head("AutoModelForSequenceClassification", "SEQ_CLS", {"num_labels": 3})
TAG = Head("AutoModelForTokenClassification", "TOKEN_CLS", {"num_labels": 5})
FILL = Head("AutoModelForMaskedLM")
_SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
}
_WEIGHTS = "model.safetensors"


@pytest.fixture
def bert(tmp_path: Path, tiny_tokenizer: Any) -> Callable[..., Path]:
    """Saves a tiny BERT, as one of its classes; gives its folder."""

    def make(kind: Any = BertModel, **options: Any) -> Path:
        torch.manual_seed(0)
        config = BertConfig(vocab_size=len(tiny_tokenizer), **_SIZES, **options)
        return save_model(tmp_path / kind.__name__, kind(config), tiny_tokenizer)

    return make


def load(model: Path, head: Head, weights: torch.dtype = torch.float32) -> BaseModel:
    """The model of a folder with a head, on the CPU."""
    location, section = ModelLocation("mine", model, False), ModelSection()
    tokenizer = load_tokenizer(location, section)
    return load_base(location, section, tokenizer, torch.device("cpu"), Loading(weights), head)


def forget(folder: Path, name: str) -> None:
    """Takes a tensor out of a checkpoint."""
    weights = load_file(folder / _WEIGHTS)
    del weights[name]
    save_file(weights, folder / _WEIGHTS, metadata={"format": "pt"})


def test_a_fresh_head_is_named_and_the_body_is_the_checkpoints(bert: Callable[..., Path]) -> None:
    folder = bert()
    base = load(folder, CLASSIFY)
    assert base.new_modules == ("classifier",)
    assert base.network.config.num_labels == 3
    assert base.network.classifier.weight.shape == (3, 16)
    held = base.network.state_dict()
    assert all(torch.equal(held[f"bert.{name}"], weight) for name, weight in load_file(folder / _WEIGHTS).items())
    (note,) = base.notes
    check_text(note)


def test_a_fresh_head_is_the_same_on_every_load(bert: Callable[..., Path]) -> None:
    """It is part of the base that the trained model is compared with, now and when the run is opened again."""
    folder = bert()
    heads, drawn = [], []
    for seed in (1, 2):
        torch.manual_seed(seed)
        heads.append(load(folder, CLASSIFY).network.classifier.weight)
        drawn.append(torch.rand(1).item())
    assert torch.equal(heads[0], heads[1])
    assert heads[0].std() > 0
    assert drawn[0] != drawn[1], "what is drawn after loading still follows its own seed"


def test_all_new_modules_are_named(bert: Callable[..., Path]) -> None:
    """A masked language model has a head and no pooler; a tagger needs no pooler, a classifier does."""
    folder = bert(BertForMaskedLM)
    assert set(load(folder, CLASSIFY).new_modules) == {"bert.pooler", "classifier"}
    assert load(folder, TAG).new_modules == ("classifier",)
    assert load(folder, FILL).new_modules == ()


def test_a_body_alone_gets_a_head_that_fills_masks(bert: Callable[..., Path]) -> None:
    """Encoders for sentences are often saved so; the matrix of the head is the embedding's, and is not new."""
    base = load(bert(), FILL)
    assert base.new_modules == ("cls",)
    assert base.network.get_output_embeddings().weight is base.network.get_input_embeddings().weight


def test_a_trained_head_is_not_new(bert: Callable[..., Path]) -> None:
    folder = bert(BertForSequenceClassification, num_labels=3)
    base = load(folder, CLASSIFY)
    assert (base.new_modules, base.notes) == ((), [])
    assert torch.equal(base.network.classifier.weight, load_file(folder / _WEIGHTS)["classifier.weight"])


def test_a_decoder_gets_a_head_too(tiny_model: Callable[[str], Path]) -> None:
    base = load(tiny_model("llama"), CLASSIFY, torch.bfloat16)
    assert base.new_modules == ("score",)
    assert base.network.get_input_embeddings().weight.dtype == torch.bfloat16
    assert base.network.config.pad_token_id == base.tokenizer.pad_token_id, "the last real token is found by it"


@pytest.mark.parametrize("head", [CLASSIFY, TAG])
def test_a_body_that_is_not_whole_is_refused(head: Head, bert: Callable[..., Path]) -> None:
    folder = bert()
    lost = "encoder.layer.1.output.dense.weight"
    forget(folder, lost)
    with pytest.raises(ModelError) as caught:
        load(folder, head)
    check_message(caught.value)
    assert f"the first is `bert.{lost}`" in caught.value.why


@pytest.mark.parametrize("lost", ["embeddings.word_embeddings.weight", "embeddings.LayerNorm.bias"])
def test_lost_embeddings_are_refused(lost: str, bert: Callable[..., Path]) -> None:
    """They lie outside the blocks, and are no head."""
    folder = bert()
    forget(folder, lost)
    with pytest.raises(ModelError) as caught:
        load(folder, CLASSIFY)
    check_message(caught.value)
    assert f"the first is `bert.{lost}`" in caught.value.why


def test_a_lost_last_norm_is_refused(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    """It comes after the blocks, as a head does."""
    folder = Path(shutil.copytree(tiny_model("llama"), tmp_path / "model"))
    forget(folder, "model.norm.weight")
    with pytest.raises(ModelError) as caught:
        load(folder, CLASSIFY)
    check_message(caught.value)


def test_a_language_model_with_a_random_head_is_refused(bert: Callable[..., Path]) -> None:
    with pytest.raises(ModelError) as caught:
        load(bert(is_decoder=True), CAUSAL)
    check_message(caught.value)
