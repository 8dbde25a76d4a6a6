"""Task `preference`: learns from better and worse answers, in pairs or rated one by one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy
import torch

from burnish.data.batching.batches import Batch
from burnish.data.preference.format import Answer, PairExample, PreferenceFormat, RatedExample, lay_out
from burnish.data.preference.mismatch import OtherAnswers
from burnish.data.rows.records import ChatRecord, PreferenceRecord, RatedRecord
from burnish.data.rows.row import IGNORED, EncodedRow
from burnish.data.tokens.tokens import TokenRequests
from burnish.errors import DataError
from burnish.kernels.preference import (
    Likelihood,
    answer_likelihood,
    cpo_loss,
    dpo_loss,
    ipo_loss,
    kto_loss,
    orpo_loss,
    simpo_loss,
)
from burnish.metrics.measure import Measure
from burnish.metrics.rewards import pair_measures, rated_measures
from burnish.models.device import arithmetic
from burnish.models.heads import ALL_LOGITS, computes_from_hidden, losses_at
from burnish.models.packing import row_inputs, separates_answers
from burnish.models.sharded import device_of, is_sharded
from burnish.recipe.schema import AUTO, PreferenceSection, Recipe
from burnish.tasks.chat import ChatPredictor
from burnish.tasks.defaults import ObjectiveDefaults, RequestsTokens, ScorerDefaults, split_answer
from burnish.tasks.evaluated import BatchOutcome, EvaluatedExamples
from burnish.tasks.task import Choice, Parts, Question, Segment, TaskFacts

REFERENCE_FREE = ("simpo", "orpo", "cpo")
"""Losses that compare the answers with each other, without a reference model."""
_UNSHARED = "This model would mix the two answers to a prompt, so the prompt is computed once for each answer."

Example = PairExample | RatedExample


class PreferenceEncoder(RequestsTokens):
    """Encodes pairs of answers, or single rated answers, with the chat template."""

    cut_from = "from the end of their answers and the left of their prompts"

    def __init__(self, tokenizer: Any, preference_format: PreferenceFormat, recipe: Recipe) -> None:
        self._tokenizer = tokenizer
        self._format = preference_format
        self._tokens = preference_format.tokens
        self._options = recipe.preference
        self._context = recipe.data.context
        self._others = OtherAnswers()
        self.shares_prompts = recipe.preference.share_prompt and recipe.preference.loss != "kto"
        """Whether the two answers of a pair share a row and its prompt."""

    @property
    def notes(self) -> list[str]:
        """What the template cannot express, and how it is expressed instead."""
        return self._format.chat.notes

    def notes_on(self, keys: Collection[str]) -> list[str]:
        """As for conversations."""
        return self._format.chat.notes_on(keys)

    def _requests(self, record: PreferenceRecord | RatedRecord, context: int) -> TokenRequests[EncodedRow]:
        """Renders the template; long prompts are cut from the left. For `kto`, a pair becomes two rated answers."""
        if isinstance(record, RatedRecord):
            example, cut = yield from self._format.rated_requests(record, context)
            return EncodedRow([example], cut)
        pair, cut = yield from self._format.pair_requests(record, context)
        if self._options.loss != "kto":
            return EncodedRow([pair], cut)
        answers = ((pair.chosen, True), (pair.rejected, False))
        examples = [
            RatedExample(pair.prompt_ids, answer, good, pair.place, asked=pair.asked) for answer, good in answers
        ]
        return EncodedRow(examples, cut)

    def collate(self, examples: Sequence[Any], rows: Sequence[Sequence[int]], packed: bool, epoch: int | None) -> Batch:
        """One row per pair if the model can share its prompt, otherwise one per answer.

        For `kto`, the batch also contains each prompt with an answer to another prompt of `examples`, if there is one.
        """
        chosen = tuple(index for row in rows for index in row)
        sequences: list[tuple[list[int], Sequence[Answer]]] = []
        extras, references = {}, []
        for index in chosen:
            example = examples[index]
            references.append(example.reference)
            if isinstance(example, RatedExample):
                sequences.append((example.prompt_ids, [example.answer]))
            elif self.shares_prompts:
                sequences.append((example.prompt_ids, [example.chosen, example.rejected]))
            else:
                sequences += [(example.prompt_ids, [answer]) for answer in (example.chosen, example.rejected)]
        layout = lay_out(sequences, self._tokenizer.pad_token_id)
        inputs = {"input_ids": layout.input_ids}
        if self.shares_prompts:
            inputs["position_ids"] = layout.position_ids
            extras["segments"] = layout.segments
        extras["places"] = layout.places
        if None not in references:
            extras["reference"] = torch.tensor(references)
        num_tokens = sum(len(prompt) + sum(len(answer.ids) for answer in answers) for prompt, answers in sequences)
        if self._options.loss == "kto":
            extras["good"] = torch.tensor([examples[index].good for index in chosen])
            extras |= self._mismatched(examples, chosen)
        return Batch(inputs, layout.targets, chosen, torch.tensor(chosen), num_tokens, extras)

    def _mismatched(self, examples: Sequence[Any], chosen: Sequence[int]) -> dict[str, torch.Tensor]:
        """The prompts with answers to other prompts, for estimating the reference point of `kto`.

        `other_rows` has the position in the batch of each prompt; without any, there are no tensors.
        """
        others, rows = [], []
        for row, index in enumerate(chosen):
            prompt, partner = examples[index].prompt_ids, self._others.of(examples)[index]
            answer = None if partner is None else examples[partner].answer
            made = None if answer is None else self._format.after(prompt, answer, int(self._context))
            if made is not None:
                others.append((made[0], [made[1]]))
                rows.append(row)
        if not others:
            return {}
        layout = lay_out(others, self._tokenizer.pad_token_id)
        tensors = {"other_ids": layout.input_ids, "other_places": layout.places, "other_targets": layout.targets}
        learned = (layout.targets != IGNORED).flatten().nonzero()[:, 0]
        return {**tensors, "other_chosen": learned, "other_rows": torch.tensor(rows)}

    def disable_packing(self) -> None:
        """Each answer gets its own row and prompt."""
        self.shares_prompts = False

    def segments(self, example: Example) -> list[Segment]:
        """The prompt, and each answer."""
        prompt = Segment("prompt", example.prompt_ids, [False] * len(example.prompt_ids))
        if isinstance(example, RatedExample):
            return [prompt, _segment("answer, rated good" if example.good else "answer, rated bad", example.answer)]
        return [prompt, _segment("chosen", example.chosen), _segment("rejected", example.rejected)]


class PreferenceObjective(ObjectiveDefaults):
    """Makes better answers more likely than worse ones, for most losses relative to the base model."""

    step_rows = 16
    rate_factor = 0.1

    def __init__(self, encoder: PreferenceEncoder, recipe: Recipe) -> None:
        self._encoder = encoder
        self._options = recipe.preference
        self._context = recipe.data.context
        self._from_hidden = recipe.model.kernels == "fast"
        self._kl: torch.Tensor | None = None
        self._ratios: torch.Tensor | None = None

    def inspect_model(self, network: Any) -> list[str]:
        """Shares prompts only if the model keeps the two answers apart, and avoids the logits of all tokens only if
        the model's body and head can be called separately."""
        notes = []
        if self._from_hidden and not computes_from_hidden(network):
            self._from_hidden = False
            notes.append(ALL_LOGITS)
        if self._encoder.shares_prompts and not separates_answers(network, int(self._context)):
            self._encoder.disable_packing()
            notes.append(_UNSHARED)
        return notes

    def prepare_examples(
        self, network: Any, examples: Sequence[Example], batches: Iterable[Batch], precision: str
    ) -> list[Example]:
        """The examples with their log-probabilities under `network`, if the loss needs them and they are missing."""
        if self._options.loss in REFERENCE_FREE or all(example.reference is not None for example in examples):
            return list(examples)
        measured = list(examples)
        device = device_of(network)
        was_training = network.training
        network.eval()
        with torch.no_grad(), arithmetic(device, precision):
            for batch in batches:
                moved = batch.to(device)
                for index, (first, second) in zip(
                    batch.examples, self._references(network, moved).tolist(), strict=True
                ):
                    measured[index] = replace(examples[index], reference=(first, second))
        network.train(was_training)
        return measured

    def _references(self, network: Any, batch: Batch) -> torch.Tensor:
        """`[examples, 2]`: log-probabilities of both answers of a pair; for `kto`, of the answer and of another's."""
        likely = self._likelihood(network, batch).sums
        if self._options.loss != "kto":
            return likely.view(-1, 2)
        others = torch.zeros_like(likely)
        if "other_rows" in batch.extras:
            others = others.index_copy(0, batch.extras["other_rows"], self._other(network, batch).sums)
        elif is_sharded(network):
            self._likelihood(network, batch)  # all processes make equally many passes
        return torch.stack([likely, others], 1)

    def placeholder_examples(self, examples: Sequence[Example]) -> list[Example]:
        """The examples with log-probabilities of 0, if the loss needs any."""
        if self._options.loss in REFERENCE_FREE:
            return list(examples)
        return [replace(example, reference=(0.0, 0.0)) for example in examples]

    def begin_step(self, network: Any, batches: Iterable[Batch]) -> None:
        """Computes the reference point of `kto`: an estimate of KL(model || base) over the whole step, at least 0.

        It is the mean log-ratio on answers that belong to other prompts (arXiv 2402.01306, section 4). A prompt
        always gets the same answer, so that the base model is evaluated only once. In a step without any, as where all
        rows have the same prompt, the reference point is 0.
        """
        if self._options.loss != "kto":
            return
        self._kl = self._ratios = None
        ratios: list[torch.Tensor] = []
        for batch in batches:
            if "other_rows" in batch.extras and not batch.is_spare:
                reference = batch.extras["reference"][:, 1].index_select(0, batch.extras["other_rows"])
                ratios.append(self._other(network, batch).sums - reference)
            elif is_sharded(network):
                self._likelihood(network, batch)  # all processes make equally many passes
        if ratios:
            self._ratios = torch.cat(ratios).detach()
            self._kl = self._ratios.mean().clamp(min=0)

    def shared_sums(self) -> list[float]:
        """For `kto`, the sum of the log-ratios on other answers, and their number."""
        if self._options.loss != "kto":
            return []
        return [float(self._ratios.sum()), float(len(self._ratios))] if self._ratios is not None else [0.0, 0.0]

    def take_sums(self, sums: Sequence[float]) -> None:
        """The reference point of `kto`, from the log-ratios in all processes."""
        if self._options.loss == "kto":
            ratios, number = sums
            self._kl = torch.tensor(max(0.0, ratios / number), dtype=torch.float32) if number else None

    def losses(self, network: Any, batch: Batch) -> torch.Tensor:
        """`[pairs]` fp32; for `kto`, `[answers]`."""
        return self._terms(self._likelihood(network, batch), batch)

    def evaluate_batch(self, network: Any, batch: Batch) -> BatchOutcome:
        """The losses, and the log-probability of each answer; for `kto`, also the reference point."""
        likely = self._likelihood(network, batch)
        losses = self._terms(likely, batch)
        if self._options.loss == "kto":
            point = float(self._kl) if self._kl is not None else 0.0
            return BatchOutcome(losses, [(number, point) for number in likely.sums.tolist()])
        return BatchOutcome(losses, [tuple(pair) for pair in likely.sums.view(-1, 2).tolist()])

    def _likelihood(self, network: Any, batch: Batch) -> Likelihood:
        inputs = row_inputs(network, batch.input_ids, batch.inputs.get("position_ids"), batch.extras.get("segments"))
        return self._likelihood_of(network, inputs, batch.extras["places"], batch.targets, batch.places)

    def _other(self, network: Any, batch: Batch) -> Likelihood:
        """Likelihood of the answers to other prompts, for `kto`."""
        extras = batch.extras
        inputs = row_inputs(network, extras["other_ids"], None, None)
        targets, chosen = extras["other_targets"], extras["other_chosen"]
        return self._likelihood_of(network, inputs, extras["other_places"], targets, chosen)

    def _likelihood_of(
        self,
        network: Any,
        inputs: dict[str, torch.Tensor],
        places: torch.Tensor,
        targets: torch.Tensor,
        chosen: torch.Tensor,
    ) -> Likelihood:
        """The likelihood of answers.

        Args:
            network: a causal language model.
            inputs: its keyword arguments.
            places: `[answers, longest]`, where each token is predicted.
            targets: `[answers, longest]`, the tokens, padded with `IGNORED`.
            chosen: `[tokens]`, which of them are no padding, as indices into answers x longest.
        """
        where, tokens = places.flatten()[chosen], targets.flatten()[chosen]
        losses = losses_at(network, inputs, where, tokens, self._from_hidden)
        return answer_likelihood(losses, chosen, targets != IGNORED)

    def _terms(self, likely: Likelihood, batch: Batch) -> torch.Tensor:
        options = self._options
        if options.loss == "kto":
            kl = likely.sums.new_zeros(()) if self._kl is None else self._kl.to(likely.sums.device)
            ratio = likely.sums - batch.extras["reference"][:, 0]
            return kto_loss(
                ratio, batch.extras["good"], kl, float(options.beta), (options.good_weight, options.bad_weight)
            )
        chosen, rejected = (Likelihood(likely.sums[side::2], likely.counts[side::2]) for side in (0, 1))
        if options.loss in REFERENCE_FREE:
            return _reference_free(options, chosen, rejected)
        reference = batch.extras["reference"]
        first, second = chosen.sums - reference[:, 0], rejected.sums - reference[:, 1]
        if options.loss == "ipo":
            return ipo_loss(first / chosen.counts, second / rejected.counts, float(options.beta))
        return dpo_loss(first, second, float(options.beta), options.label_smoothing)


class PreferenceScorer(ScorerDefaults):
    """Measures how often, and by how much, the better answer has the higher reward."""

    headline = "reward accuracy"
    compares_answers = False

    def __init__(self, objective: PreferenceObjective, recipe: Recipe) -> None:
        self._objective = objective
        self._options = recipe.preference

    def evaluate_batch(self, network: Any, batch: Batch) -> BatchOutcome:
        """The losses, and the log-probability of each answer; for `kto`, also the reference point."""
        return self._objective.evaluate_batch(network, batch)

    def measures(self, evaluated: EvaluatedExamples) -> list[Measure]:
        """Accuracy and margin of the rewards, and how far the model has moved from the base model."""
        seen = [index for index, output in enumerate(evaluated.outputs) if output is not None]
        examples, outputs = ([column[index] for index in seen] for column in (evaluated.examples, evaluated.outputs))
        given = numpy.array(outputs, dtype=numpy.float64).reshape(len(seen), 2)
        beta = float(self._options.beta)
        if self._options.loss == "kto":
            rows = [evaluated.owners[index] for index in seen]
            return rated_measures(
                rows,
                given[:, 0] - numpy.array([example.reference[0] for example in examples], dtype=numpy.float64),
                given[:, 1],
                numpy.array([example.answer.num_learned for example in examples], dtype=numpy.float64),
                numpy.array([example.good for example in examples], dtype=bool),
                beta,
            )
        counts = [(example.chosen.num_learned, example.rejected.num_learned) for example in examples]
        references = [example.reference for example in examples]
        has_reference = None not in references and self._options.loss in ("dpo", "ipo")
        return pair_measures(
            given,
            numpy.array(counts, dtype=numpy.float64).reshape(len(seen), 2),
            numpy.array(references, dtype=numpy.float64).reshape(len(seen), 2) if has_reference else None,
            beta,
            by_token=self._options.loss in ("simpo", "orpo"),
        )

    def remark(self, evaluated: EvaluatedExamples) -> str:
        """Explains the base model's rewards."""
        if self._options.loss in REFERENCE_FREE:
            return ""
        return "Rewards are measured against the base model: its own accuracy is 50 % and its margin 0 by definition."


class PreferencePredictor(ChatPredictor):
    """Answers like a chat model; the better answer is the expected one."""

    def question(self, record: PreferenceRecord | RatedRecord) -> Question | None:
        """The prompt, with the better answer as the expected one; None if the only answer is rated bad."""
        if isinstance(record, PreferenceRecord):
            return super().question(ChatRecord((*record.prompt, *record.chosen), record.tools, record.place))
        if not record.good:
            return None
        return super().question(ChatRecord((*record.prompt, *record.completion), record.tools, record.place))

    def served_prompts(self, record: PreferenceRecord | RatedRecord) -> list[list[int]]:
        """The prompt of evaluation."""
        question = self.question(record)
        return [] if question is None else [list(question.prompt_ids)]

    def trained_prompt(self, record: Any, example: Example) -> tuple[list[int], list[int]]:
        """The prompt with the better answer."""
        answer = example.chosen if isinstance(example, PairExample) else example.answer
        prompt = list(example.prompt_ids)
        return split_answer([*prompt, *answer.ids], [IGNORED] * len(prompt) + list(answer.labels))


def _reference_free(options: PreferenceSection, chosen: Likelihood, rejected: Likelihood) -> torch.Tensor:
    beta = float(options.beta)
    if options.loss == "simpo":
        return simpo_loss(chosen.means, rejected.means, beta, options.margin)
    if options.loss == "orpo":
        return orpo_loss(chosen.means, rejected.means, beta)
    return cpo_loss(chosen, rejected, beta, options.likelihood, options.label_smoothing)


def _segment(name: str, answer: Answer) -> Segment:
    return Segment(name, answer.ids, [label != IGNORED for label in answer.labels])


def _choices(records: Sequence[PreferenceRecord | RatedRecord], recipe: Recipe) -> list[Choice]:
    """The loss that fits the rows, and its beta.

    Raises:
        DataError: the rows are rated and the loss needs pairs, or all ratings are the same.
    """
    options = recipe.preference
    rated = [record for record in records if isinstance(record, RatedRecord)]
    if rated and options.loss not in (AUTO, "kto"):
        raise DataError(
            f"the loss `{options.loss}` needs pairs, but the rows are single answers with a rating",
            f"The first is {rated[0].place}.",
            "Leave `preference.loss` at `auto`, or give rows with `chosen` and `rejected`",
        )
    # checked only while resolving: a resolved recipe may be evaluated on rows that are all rated good
    if rated and AUTO in (options.loss, options.beta) and len({record.good for record in rated}) == 1:
        raise DataError(
            f"all {len(rated):,} answers are rated {'good' if rated[0].good else 'bad'}",
            "There is nothing to learn from them.",
            "Add answers with the other rating, or train on the good ones as conversations with `--task chat`",
        )
    loss = options.loss if options.loss != AUTO else "kto" if rated else "dpo"
    why = "the rows are rated one by one" if rated else "the rows are pairs"
    beta, usual = (2.0, "simpo") if loss == "simpo" else (0.1, loss)
    return [("preference.loss", loss, why), ("preference.beta", beta, f"the usual strength for {usual}")]


def _build(tokenizer: Any, recipe: Recipe) -> Parts:
    preference_format = PreferenceFormat(tokenizer, recipe.template.kwargs)
    encoder = PreferenceEncoder(tokenizer, preference_format, recipe)
    objective = PreferenceObjective(encoder, recipe)
    scorer = PreferenceScorer(objective, recipe)
    return Parts(encoder, objective, scorer, PreferencePredictor(preference_format.chat))


PREFERENCE = TaskFacts(
    name="preference",
    records=(PreferenceRecord, RatedRecord),
    kinds=("causal",),
    build=_build,
    choices=_choices,
    sections=("template", "preference", "annotation"),
    generates=True,
    reads_turns=True,
    learned="writes answers of the kind that were preferred",
    sample="preferences.jsonl",
    trainer="DPOTrainer",
    snippets=("chat", "chat"),
)
