"""Training steps of tiny models, to be simulated without weights or measured with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from burnish.data.batching.batches import Batch
from burnish.data.rows.row import IGNORED, Example
from burnish.data.tokens.text import SequencePair
from burnish.engine.step import Trainer, make_trainable, make_trainer
from burnish.methods import make_method
from burnish.models.base import Loading, load_base
from burnish.models.config import with_depth
from burnish.models.location import ModelLocation
from burnish.models.skeleton import Skeleton
from burnish.plan.simulate import Enough, Simulation, simulate
from burnish.prepare.model import loading_for
from burnish.recipe.schema import Recipe
from burnish.tasks import make_task
from burnish.tasks.classify import LabelledExample
from tests.tiny_classifiers import word_pieces
from tests.tiny_models import make_tokenizer, save_model

CPU = torch.device("cpu")
VOCABULARY = 640
WIDTH = 48
"""Tokens of every row; virtual tokens come before them."""
CONTEXT = 96
_DECODER: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": CONTEXT,
    "pad_token_id": 0,
}
_ENCODER = {name: value for name, value in _DECODER.items() if name != "num_key_value_heads"}


def tiny_config(name: str, layers: int = 3) -> Any:
    """The config of a tiny model with so many blocks, with dropout as the class has it."""
    if name == "gpt2":
        return transformers.GPT2Config(
            n_layer=layers,
            n_embd=64,
            n_head=4,
            vocab_size=VOCABULARY,
            n_positions=CONTEXT,
            architectures=["GPT2LMHeadModel"],
        )
    if name == "llama":
        return transformers.LlamaConfig(num_hidden_layers=layers, **_DECODER)
    if name == "gemma2":
        return transformers.Gemma2Config(num_hidden_layers=layers, head_dim=16, sliding_window=16, **_DECODER)
    if name == "mixtral":
        return transformers.MixtralConfig(
            num_hidden_layers=layers, num_local_experts=4, num_experts_per_tok=2, **_DECODER
        )
    if name == "bert":
        return transformers.BertConfig(num_hidden_layers=layers, architectures=["BertModel"], **_ENCODER)
    if name == "modernbert":
        return transformers.ModernBertConfig(num_hidden_layers=layers, architectures=["ModernBertModel"], **_ENCODER)
    if name == "t5":
        return transformers.T5Config(
            num_layers=layers, num_decoder_layers=layers, d_model=64, d_ff=96, d_kv=16, num_heads=4,
            vocab_size=VOCABULARY, decoder_start_token_id=0, architectures=["T5ForConditionalGeneration"],
        )  # fmt: skip
    raise ValueError(name)


_TASKS = {"bert": "classify", "modernbert": "classify", "t5": "text-to-text"}


def save_tiny(name: str, folder: Path, layers: int = 3) -> Path:
    """A folder of a tiny model: of BERT's kind without a head."""
    torch.manual_seed(0)
    auto: Any = {"classify": AutoModel, "text-to-text": AutoModelForSeq2SeqLM}.get(
        _TASKS.get(name, ""), AutoModelForCausalLM
    )
    return save_model(folder, auto.from_config(tiny_config(name, layers)), tokenizer_of(name))


def tokenizer_of(name: str) -> Any:
    """WordPiece for BERT's kind, byte-level BPE for others."""
    return word_pieces() if _TASKS.get(name) == "classify" else make_tokenizer()


@dataclass
class TinyStep:
    """One step of a model by a method: `micro_batches` of two rows, each `WIDTH` tokens long."""

    model: str
    method: str
    checkpointing: bool = False
    micro_batches: int = 2
    precision: str = "fp32"
    options: dict[str, Any] = field(default_factory=dict)
    """Sections of the recipe."""

    @cached_property
    def recipe(self) -> Recipe:
        """With every option that the step reads filled in."""
        train = {
            "gradient_checkpointing": self.checkpointing,
            "learning_rate": 1e-4,
            "optimizer": "adamw",
        }
        sections = {
            "data": {"context": CONTEXT, "labels": ["a", "b"]},
            "prompt": {"tokens": 4},
            "lora": {"rank": 4},
            "freeze": {"blocks": 1},
        }
        sections |= {name: {**sections.get(name, {}), **values} for name, values in self.options.items()}
        return Recipe.model_validate(
            {"method": self.method, "train": train, "model": {"precision": self.precision}, **sections}
        )

    @cached_property
    def tokenizer(self) -> Any:
        """Of the model."""
        return tokenizer_of(self.model)

    @cached_property
    def task(self) -> Any:
        """Labels for BERT's kind, texts for others."""
        return make_task(_TASKS.get(self.model, "text"), self.tokenizer, self.recipe)

    @property
    def loading(self) -> Loading:
        """How the method holds the base."""
        return loading_for(make_method(self.method), self.recipe, CPU)

    @cached_property
    def batches(self) -> list[Batch]:
        """The same rows in every micro-batch."""
        ids = list(range(5, 5 + WIDTH))
        examples: Sequence[Any]
        if self.task.name == "classify":
            examples = [LabelledExample(ids, None, (number,), ("",), "") for number in range(2)]
        elif self.task.name == "text-to-text":
            examples = [SequencePair(ids, ids[:20], "") for _ in range(2)]
        else:
            examples = [Example(ids, [IGNORED] * 20 + ids[20:], "") for _ in range(2)]
        return [self.task.encoder.collate(examples, [[0], [1]], False, 0) for _ in range(self.micro_batches)]

    def simulated(self, config: Any, blocks: int | None = None, enough: Enough | None = None) -> Simulation:
        """The step without weights, at a depth or at the config's own; as far as it takes to know enough."""
        config = config if blocks is None else with_depth(config, blocks)
        skeleton = Skeleton(config, self.task.objective.head, self.loading, self.tokenizer)
        trainer = self._trainer(skeleton.network, skeleton.new_modules, skeleton.fill)
        return simulate(trainer, self.batches, self._outputs, enough=enough)

    def measured(self, folder: Path) -> Simulation:
        """The same step with the weights of a folder."""
        location = ModelLocation("tiny", folder, False)
        base = load_base(location, self.recipe.model, self.tokenizer, CPU, self.loading, self.task.objective.head)
        return simulate(self._trainer(base.network, base.new_modules), self.batches, self._outputs)

    def both(self, folder: Path) -> tuple[Simulation, Simulation]:
        """Simulated and measured."""
        return self.simulated(AutoConfig.from_pretrained(folder)), self.measured(folder)

    @property
    def _outputs(self) -> int:
        return 2 if self.task.name == "classify" else VOCABULARY

    def _trainer(
        self, network: Any, new_modules: tuple[str, ...], fill: Callable[[Any], None] | None = None
    ) -> Trainer:
        method = make_method(self.method)
        made = make_trainable(network, self.task.objective, method, self.recipe, self.tokenizer, new_modules)
        if fill is not None:
            fill(made)
        return make_trainer(made, self.task, method, self.recipe, CPU)
