"""Task `text`: running text, every token is trained on; and the objective of every next-token task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from burnish.data.batching.batches import Batch, collate_tokens
from burnish.data.rows.records import TextRecord
from burnish.data.rows.row import IGNORED, Example
from burnish.data.tokens.text import TextFormat
from burnish.data.tokens.tokens import TokenRequests
from burnish.models.heads import WHOLE, computes_from_hidden, losses_at
from burnish.recipe.schema import Recipe
from burnish.tasks.defaults import ObjectiveDefaults, PerplexityScorer, PredictorDefaults, RequestsTokens
from burnish.tasks.task import EncodedRow, Parts, TaskFacts


class NextTokenEncoder(RequestsTokens):
    """Labelled tokens side by side, packed where the plan says so."""

    can_pack = True

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def collate(
        self, examples: Sequence[Example], rows: Sequence[Sequence[int]], packed: bool, epoch: int | None
    ) -> Batch:
        """Token ids side by side, and the tokens that follow them."""
        return collate_tokens(examples, rows, self._tokenizer.pad_token_id, packed)


class NextTokenObjective(ObjectiveDefaults):
    """A causal language model learns the tokens that are labelled."""

    def __init__(self, kernels: str) -> None:
        # until `inspect_model` has seen the model, what most of them allow
        self._in_halves = kernels == "fast"

    def inspect_model(self, network: Any) -> list[str]:
        """Does without the logits of all tokens where the model can be taken in halves."""
        if not self._in_halves:
            return []
        self._in_halves = computes_from_hidden(network)
        return [] if self._in_halves else [WHOLE]

    def losses(self, network: Any, batch: Batch) -> torch.Tensor:
        """`[trained]` fp32: negative log-likelihood of each trained token.

        No attention mask is passed: transformers reads the borders of packed examples from `position_ids`, and padding
        at the end of a row is never seen by a causal model.
        """
        places = (batch.targets != IGNORED).flatten().nonzero()[:, 0]
        return losses_at(network, batch.inputs, places, batch.targets.flatten()[places], self._in_halves)


class TextEncoder(NextTokenEncoder):
    """Texts, split where they are long."""

    def __init__(self, tokenizer: Any, text_format: TextFormat) -> None:
        super().__init__(tokenizer)
        self._format = text_format
        self._tokens = text_format.tokens

    def _requests(self, record: TextRecord, context: int) -> TokenRequests[EncodedRow]:
        """Splits a text into examples of at most `context` tokens; nothing is cut off."""
        return EncodedRow((yield from self._format.requests(record, context)), 0)


class TextPredictor(PredictorDefaults):
    """Goes on with a text."""

    def __init__(self, tokenizer: Any, text_format: TextFormat) -> None:
        self._format = text_format
        self._eos = tokenizer.eos_token_id

    @property
    def stop_ids(self) -> list[int]:
        """EOS, where the tokenizer has one."""
        return [] if self._eos is None else [self._eos]

    def prompt_ids(self, prompt: str) -> list[int]:
        """The beginning of a text, as a training text begins."""
        return self._format.prompt_ids(prompt)

    def served_prompts(self, record: TextRecord) -> list[list[int]]:
        """All of the text."""
        return [self.prompt_ids(record.text)]

    def trained_prompt(self, record: TextRecord, example: Example) -> tuple[list[int], list[int]]:
        """All of the text, and the token that ends it."""
        ids = [int(token) for token in example.input_ids]
        end = len(ids) - record.ends
        return ids[:end], ids[end:]


def _build(tokenizer: Any, recipe: Recipe) -> Parts:
    text_format, objective = TextFormat(tokenizer), NextTokenObjective(recipe.model.kernels)
    encoder, predictor = TextEncoder(tokenizer, text_format), TextPredictor(tokenizer, text_format)
    return Parts(encoder, objective, PerplexityScorer(objective), predictor)


TEXT = TaskFacts(
    name="text",
    records=(TextRecord,),
    kinds=("causal",),
    build=_build,
    generates=True,
    counts_tokens=True,
    learned="goes on writing texts like those that it was trained on",
    usual_rows=(1_000, 10_000),
    sample="journal.jsonl",
    trainer="SFTTrainer",
    snippets=("text", "text"),
)
