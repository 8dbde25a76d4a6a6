"""Task `text`: running text, trained on every token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from burnish.data.rows.records import TextRecord
from burnish.data.rows.row import Example
from burnish.data.tokens.text import TextFormat
from burnish.recipe.schema import Recipe
from burnish.tasks.defaults import (
    NextTokenEncoder,
    NextTokenObjective,
    PerplexityScorer,
    PredictorDefaults,
)
from burnish.tasks.task import Parts, Question, TaskFacts


class TextPredictor(PredictorDefaults):
    """Continues a text."""

    def __init__(self, tokenizer: Any, text_format: TextFormat) -> None:
        self._format = text_format
        self._eos = tokenizer.eos_token_id

    @property
    def ends(self) -> list[int]:
        """EOS, if the tokenizer has one."""
        return [] if self._eos is None else [self._eos]

    def prompt_ids(self, prompt: str, tools: Sequence[Mapping[str, Any]] | None = None) -> list[int]:
        """The beginning of a text, encoded like that of a training text."""
        return self._format.prompt_ids(prompt)

    def request(self, record: TextRecord) -> Question:
        """The whole text, to be continued."""
        return Question(self.prompt_ids(record.text), record.text, "", record.place)

    def served_prompts(self, record: TextRecord) -> list[list[int]]:
        """The whole text."""
        return [self.prompt_ids(record.text)]

    def trained_prompt(self, record: TextRecord, example: Example) -> tuple[list[int], list[int]]:
        """The whole text, and the token that ends it."""
        ids = [int(token) for token in example.input_ids]
        end = len(ids) - record.ends
        return ids[:end], ids[end:]


def _build(tokenizer: Any, recipe: Recipe) -> Parts:
    text_format, objective = TextFormat(tokenizer), NextTokenObjective(recipe.model.kernels)
    encoder, predictor = NextTokenEncoder(tokenizer, text_format), TextPredictor(tokenizer, text_format)
    return Parts(encoder, objective, PerplexityScorer(objective), predictor)


TEXT = TaskFacts(
    name="text",
    records=(TextRecord,),
    kinds=("causal",),
    build=_build,
    generates=True,
    counts_tokens=True,
    learned="continues texts like those that it was trained on",
    usual_rows=(1_000, 10_000),
    sample="journal.jsonl",
    trainer="SFTTrainer",
    snippets=("text", "text"),
)
