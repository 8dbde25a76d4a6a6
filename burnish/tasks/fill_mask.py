"""Task `fill-mask`: masked language modelling, for encoders on running text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy
import torch

from burnish.data.batching.batches import Batch
from burnish.data.rows.records import TextRecord
from burnish.data.rows.row import IGNORED, RowError
from burnish.data.tokens.masking import NO_WORD, MaskExample, mask
from burnish.errors import InputError, ModelError
from burnish.kernels.loss import token_losses
from burnish.metrics.measure import Measure, ratio
from burnish.models.heads import Head
from burnish.recipe.schema import Recipe
from burnish.tasks.defaults import TaskDefaults
from burnish.tasks.task import EncodedRow, Judged, Outcome

_CANDIDATES = 5


class FillMaskTask(TaskDefaults):
    """Learns a kind of text by guessing hidden words of it (arXiv 1810.04805)."""

    name: ClassVar[str] = "fill-mask"
    snippets: ClassVar[tuple[str, str]] = ("fill-mask", "fill-mask")
    learned: ClassVar[str] = "fills in hidden words"
    pipeline: ClassVar[str] = "fill-mask"
    sections: ClassVar[tuple[str, ...]] = ("fill_mask",)
    kinds: ClassVar[tuple[str, ...]] = ("masked",)

    def __init__(self, tokenizer: Any, recipe: Recipe) -> None:
        if tokenizer.mask_token_id is None:
            raise ModelError(
                "the tokenizer has no mask token",
                "Masked language modelling hides words behind one.",
                "Name a model of BERT's kind with `--model`, or train with `--task text`",
            )
        if recipe.fill_mask.whole_words and not tokenizer.is_fast:
            raise ModelError(
                "the tokenizer does not tell which pieces make up a word",
                "Only tokenizers with a `tokenizer.json` do.",
                "Use `--set fill_mask.whole_words=false`",
            )
        self._tokenizer = tokenizer
        self._options = recipe.fill_mask
        self._seed = recipe.seed
        specials = set(tokenizer.all_special_ids)
        self._replacements = [token for token in range(len(tokenizer)) if token not in specials]
        self._specials = specials

    @property
    def head(self) -> Head:
        """The model's own masked language modelling head."""
        return Head("AutoModelForMaskedLM", None)

    def encode(self, record: TextRecord, context: int) -> EncodedRow:
        """Splits a text into examples of at most `context` tokens; nothing is cut off."""
        if not record.text.strip():
            raise RowError("the text is empty")
        encoded = self._tokenizer(
            record.text,
            truncation=True,
            max_length=context,
            return_overflowing_tokens=True,
            return_token_type_ids=False,
            return_attention_mask=False,
        )
        chunks = encoded["input_ids"] if encoded["input_ids"] and isinstance(encoded["input_ids"][0], list) else []
        examples = [
            MaskExample(ids, self._words(encoded, number, ids), self._options.share, record.place)
            for number, ids in enumerate(chunks)
        ]
        return EncodedRow([example for example in examples if example.num_trained], 0)

    def _words(self, encoded: Any, number: int, ids: list[int]) -> list[int]:
        """The word of each token; with `fill_mask.whole_words` off, every token is a word of its own."""
        told = encoded.word_ids(number) if self._options.whole_words else range(len(ids))
        pairs = zip(ids, told, strict=True)
        return [NO_WORD if word is None or token in self._specials else word for token, word in pairs]

    def collate(
        self, examples: Sequence[MaskExample], rows: Sequence[Sequence[int]], packed: bool, epoch: int | None
    ) -> Batch:
        """Hides words anew in every epoch, and always the same ones in evaluation."""
        chosen = [index for (index,) in rows]
        width = max(examples[index].num_tokens for index in chosen)
        ids = numpy.full((len(chosen), width), self._tokenizer.pad_token_id, dtype=numpy.int64)
        targets = numpy.full((len(chosen), width), IGNORED, dtype=numpy.int64)
        attention = numpy.zeros((len(chosen), width), dtype=numpy.int64)
        mask_id, drawn = self._tokenizer.mask_token_id, 0 if epoch is None else epoch + 1
        for row, index in enumerate(chosen):
            end = examples[index].num_tokens
            draw = (self._seed, drawn, index)
            ids[row, :end], targets[row, :end] = mask(examples[index], mask_id, self._replacements, draw)
            attention[row, :end] = 1
        hidden = torch.from_numpy((targets != IGNORED).sum(1))
        return Batch(
            {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(attention)},
            torch.from_numpy(targets),
            tuple(chosen),
            torch.repeat_interleave(torch.tensor(chosen), hidden),
            int(attention.sum()),
        )

    def losses(self, network: Any, batch: Batch) -> torch.Tensor:
        """`[hidden]` fp32: negative log-likelihood of each hidden token."""
        return token_losses(network(**batch.inputs).logits, batch.targets)

    def judge(self, network: Any, batch: Batch) -> Outcome:
        """Losses, and for each example its hidden text, the ids that stood there and those guessed."""
        logits = network(**batch.inputs).logits
        outputs = []
        for row, targets in enumerate(batch.targets):
            hidden = targets != IGNORED
            shown = batch.input_ids[row][batch.inputs["attention_mask"][row] == 1]
            guessed = logits[row][hidden].argmax(-1)
            outputs.append((shown.tolist(), targets[hidden].tolist(), guessed.tolist()))
        return Outcome(token_losses(logits, batch.targets), outputs)

    def measures(self, judged: Judged) -> list[Measure]:
        """Perplexity of the hidden tokens, and the share of them that is guessed right."""
        guessed = [sum(a == b for a, b in zip(gold, given, strict=True)) for _, gold, given in judged.outputs]
        hidden = [len(gold) for _, gold, _ in judged.outputs]
        right, total = judged.summed_by_row(guessed, hidden)
        return [judged.perplexity(), ratio("hidden tokens guessed", right[total > 0], total[total > 0])]

    def shown(self, example: MaskExample, output: tuple[list[int], list[int], list[int]]) -> tuple[str, str, str]:
        """The text with its hidden words, those words, and the guesses."""
        text, gold, given = output
        specials = self._specials - {self._tokenizer.mask_token_id}
        prompt = self._tokenizer.decode([token for token in text if token not in specials])
        words, guesses = (" ".join(map(self._spell, ids)) for ids in (gold, given))
        return prompt, words, guesses

    def respond(self, network: Any, prompt: str) -> str:
        """The likeliest words for each mask token in a text, the likeliest first.

        Raises:
            InputError: there is no mask token in it.
        """
        device = next(network.parameters()).device
        encoded = self._tokenizer(prompt, return_tensors="pt", return_token_type_ids=False).to(device)
        hidden = encoded["input_ids"][0] == self._tokenizer.mask_token_id
        if not hidden.any():
            raise InputError(
                "there is nothing to fill in",
                f"The text has no `{self._tokenizer.mask_token}`.",
                f"Write `{self._tokenizer.mask_token}` where a word is missing",
            )
        chances = network(**encoded).logits[0][hidden].float().softmax(-1)
        lines = []
        for place in chances:
            best = place.topk(_CANDIDATES)
            pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            lines.append(", ".join(f"{self._spell(token)} ({chance:.2f})" for token, chance in pairs))
        return "\n".join(lines)

    def _spell(self, token: int) -> str:
        return self._tokenizer.decode([token]).strip()
