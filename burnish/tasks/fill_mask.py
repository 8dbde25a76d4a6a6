"""Task `fill-mask`: masked language modeling, for encoders on running text."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from burnish.data.batching.batches import Batch, pad_right
from burnish.data.rows.records import TextRecord
from burnish.data.rows.row import IGNORED, EncodedRow, RowError, as_text, pick
from burnish.data.tokens.masking import NO_WORD, MaskExample, mask
from burnish.errors import InputError, ModelError
from burnish.kernels.loss import token_losses
from burnish.metrics.measure import Measure, ratio
from burnish.models.heads import Head
from burnish.models.sharded import device_of
from burnish.recipe.schema import AUTO, Recipe
from burnish.tasks.defaults import EncoderDefaults, ObjectiveDefaults, ScorerDefaults
from burnish.tasks.evaluated import BatchOutcome, EvaluatedExamples
from burnish.tasks.predictions import WORDS, Masks, TextsPredictor
from burnish.tasks.task import Parts, Segment, TaskFacts

_CANDIDATES = 5


class MaskEncoder(EncoderDefaults):
    """Texts in which different words are masked in every epoch."""

    def __init__(self, tokenizer: Any, recipe: Recipe) -> None:
        self._tokenizer = tokenizer
        self._options = recipe.fill_mask
        self._seed = recipe.seed
        self._specials = set(tokenizer.all_special_ids)
        self._replacements = [token for token in range(len(tokenizer)) if token not in self._specials]

    def encode(self, record: TextRecord, context: int) -> EncodedRow:
        """Splits a text into examples of at most `context` tokens; nothing is cut off."""
        if not record.text.strip():
            raise RowError("the text is empty")
        examples = [
            MaskExample(ids, self._words(ids, words), self._options.share, record.place)
            for ids, words in self.parts(record.text, context)
        ]
        return EncodedRow([example for example in examples if example.num_trained], 0)

    def parts(self, text: str, context: int) -> list[tuple[list[int], Sequence[int | None]]]:
        """The token ids of each part of a text, at most `context`, and the word of each token; without
        `fill_mask.whole_words`, every token counts as a word."""
        if self._tokenizer.is_fast:
            encoded = self._tokenizer(text, truncation=True, max_length=context, return_overflowing_tokens=True)
            return [
                (ids, encoded.word_ids(number) if self._options.whole_words else range(len(ids)))
                for number, ids in enumerate(encoded["input_ids"])
            ]
        # the others give the first part alone, and know no words
        ids = self._tokenizer.convert_tokens_to_ids(self._tokenizer.tokenize(text))
        room = context - self._tokenizer.num_special_tokens_to_add()
        starts = range(0, len(ids), room)
        split = [self._tokenizer.build_inputs_with_special_tokens(ids[start : start + room]) for start in starts]
        return [(part, range(len(part))) for part in split]

    def _words(self, ids: list[int], words: Sequence[int | None]) -> list[int]:
        return [
            NO_WORD if word is None or token in self._specials else word for token, word in zip(ids, words, strict=True)
        ]

    def collate(
        self, examples: Sequence[MaskExample], rows: Sequence[Sequence[int]], packed: bool, epoch: int | None
    ) -> Batch:
        """Masks different words in every epoch, and always the same ones in evaluation."""
        chosen = [index for (index,) in rows]
        mask_id, drawn = self._tokenizer.mask_token_id, 0 if epoch is None else epoch + 1
        masked = [mask(examples[index], mask_id, self._replacements, (self._seed, drawn, index)) for index in chosen]
        ids = pad_right([ids for ids, _ in masked], self._tokenizer.pad_token_id)
        targets = pad_right([labels for _, labels in masked], IGNORED)
        attention = pad_right([[1] * len(ids) for ids, _ in masked], 0)
        return Batch(
            {"input_ids": ids, "attention_mask": attention},
            targets,
            tuple(chosen),
            torch.repeat_interleave(torch.tensor(chosen), (targets != IGNORED).sum(1)),
            sum(len(ids) for ids, _ in masked),
        )

    def segments(self, example: MaskExample) -> list[Segment]:
        """The text, and which of its tokens may be masked."""
        learned = [word != NO_WORD for word in example.words]
        note = f"{100 * example.share:.0f} % of these words are hidden, different ones in each epoch"
        return [Segment("", example.input_ids, learned, note)]


class MaskObjective(ObjectiveDefaults):
    """Loss of the model's own masked language modeling head on the masked words."""

    head = Head("AutoModelForMaskedLM", None)

    def losses(self, network: Any, batch: Batch) -> torch.Tensor:
        """`[masked]` fp32: negative log-likelihood of each masked token."""
        return token_losses(network(**batch.inputs).logits, batch.targets, batch.places)


class MaskScorer(ScorerDefaults):
    """Measures how many masked tokens are guessed right."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def evaluate_batch(self, network: Any, batch: Batch) -> BatchOutcome:
        """Losses, and for each example its masked text, the ids that were masked, and the ids guessed."""
        logits = network(**batch.inputs).logits
        outputs = []
        for row, targets in enumerate(batch.targets):
            hidden = targets != IGNORED
            shown = batch.input_ids[row][batch.inputs["attention_mask"][row] == 1]
            guessed = logits[row][hidden].argmax(1)
            outputs.append((shown.tolist(), targets[hidden].tolist(), guessed.tolist()))
        return BatchOutcome(token_losses(logits, batch.targets, batch.places), outputs)

    def measures(self, evaluated: EvaluatedExamples) -> list[Measure]:
        """Perplexity of the masked tokens, and the share of them that is guessed right."""
        guessed = [sum(a == b for a, b in zip(gold, given, strict=True)) for _, gold, given in evaluated.outputs]
        hidden = [len(gold) for _, gold, _ in evaluated.outputs]
        right, total = evaluated.summed_by_row(guessed, hidden)
        return [evaluated.perplexity(), ratio("hidden tokens guessed", right[total > 0], total[total > 0])]

    def describe(self, example: MaskExample, output: tuple[list[int], list[int], list[int]]) -> tuple[str, str, str]:
        """The masked text, the masked words, and the guesses."""
        text, gold, given = output
        specials = set(self._tokenizer.all_special_ids) - {self._tokenizer.mask_token_id}
        prompt = self._tokenizer.decode([token for token in text if token not in specials])
        words, guesses = (" ".join(_spell(self._tokenizer, token) for token in ids) for ids in (gold, given))
        return prompt, words, guesses


class MaskPredictor(TextsPredictor):
    """Fills in the masked words of a text."""

    def __init__(self, tokenizer: Any, encoder: MaskEncoder, context: int | str) -> None:
        self._tokenizer = tokenizer
        self._encoder = encoder
        self._context = sys.maxsize if context == AUTO else int(context)

    @property
    def fields(self) -> tuple[str, ...]:
        """A text."""
        return ("input",)

    def respond(self, network: Any, prompt: str) -> str:
        """The most likely words for each mask token of a text, the most likely first. A long text is split as in
        training.

        Raises:
            InputError: the text has no mask token.
        """
        masks = self._masks(network, prompt)
        if not masks:
            raise InputError(
                "there is nothing to fill in",
                f"The text has no `{self._tokenizer.mask_token}`.",
                f"Write `{self._tokenizer.mask_token}` where a word is missing",
            )
        return "\n".join(", ".join(f"{word} ({probability:.2f})" for word, probability in mask) for mask in masks)

    def predict(self, network: Any, rows: Sequence[Sequence[str]]) -> list[Masks]:
        """The most likely words for the masks of each text."""
        return [self._masks(network, text) for (text,) in rows]

    def texts_of(self, values: Mapping[str, Any]) -> Sequence[str]:
        """A text with a mask."""
        name, value = pick(values, ("text", "content"))
        text = as_text(value, name) or ""
        if self._tokenizer.mask_token not in text:
            raise RowError(f"`{name}` has no `{self._tokenizer.mask_token}`")
        return (text,)

    def _masks(self, network: Any, text: str) -> Masks:
        device = device_of(network)
        masks: Masks = []
        for ids, _ in self._encoder.parts(text, self._context):
            tokens = torch.tensor([ids], device=device)
            hidden = tokens[0] == self._tokenizer.mask_token_id
            if hidden.any():
                logits = network(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits[0][hidden]
                masks += map(self._candidates, logits.float().softmax(1))
        return masks

    def _candidates(self, probabilities: torch.Tensor) -> list[tuple[str, float]]:
        best = probabilities.topk(_CANDIDATES)
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [(_spell(self._tokenizer, token), probability) for token, probability in pairs]


def _spell(tokenizer: Any, token: int) -> str:
    return tokenizer.decode([token]).strip()


def _build(tokenizer: Any, recipe: Recipe) -> Parts:
    if tokenizer.mask_token_id is None:
        raise ModelError(
            "the tokenizer has no mask token",
            "Masked language modeling replaces words with it.",
            "Choose an encoder such as BERT with `--model`, or train with `--task text`",
        )
    if recipe.fill_mask.whole_words and not tokenizer.is_fast:
        raise ModelError(
            "the tokenizer does not report which tokens make up a word",
            "Only tokenizers with a `tokenizer.json` do.",
            "Use `--set fill_mask.whole_words=false`",
        )
    encoder = MaskEncoder(tokenizer, recipe)
    predictor = MaskPredictor(tokenizer, encoder, recipe.data.context)
    return Parts(encoder, MaskObjective(), MaskScorer(tokenizer), predictor)


FILL_MASK = TaskFacts(
    name="fill-mask",
    records=(TextRecord,),
    kinds=("masked",),
    build=_build,
    auto_class=MaskObjective.head.auto_class,
    sections=("fill_mask",),
    learned="fills in hidden words",
    predicts=WORDS,
    pipeline="fill-mask",
    sample="journal.jsonl",
    snippets=("fill-mask", "fill-mask"),
)
