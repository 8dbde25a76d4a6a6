"""Task `preference`: learns from better and worse answers, in pairs or rated one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy
import torch

from burnish.data.batching.batches import Batch
from burnish.data.preference.format import Answer, PairExample, PreferenceFormat, RatedExample, lay_out
from burnish.data.rows.records import ChatRecord, PreferenceRecord, RatedRecord
from burnish.data.rows.row import IGNORED
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
from burnish.metrics.measure import Measure, mean, quotient, ratio
from burnish.models.device import arithmetic
from burnish.models.heads import WHOLE, computes_in_halves, losses_at
from burnish.models.packing import keeps_answers_apart, row_inputs
from burnish.recipe.schema import AUTO, PreferenceSection, Recipe
from burnish.tasks.chat import ChatTask
from burnish.tasks.defaults import EncodesTogether, TaskDefaults
from burnish.tasks.task import Choice, EncodedRow, Judged, Outcome, Question

DRIFT = "KL to the base (on the data's answers)"
"""Mean of log p - log p(base) per answer token. It estimates the KL divergence as far as the data's answers are like
the model's own; where they are not, it can be negative."""


def pair_measures(judged: Judged, loss: str, beta: float) -> list[Measure]:
    """Share of pairs whose better answer has the higher reward (ties count half), and by how much it is higher."""
    rows, examples, outputs = _seen(judged)
    sums = numpy.array(outputs, dtype=numpy.float64).reshape(-1, 2)
    counts = numpy.array([(e.chosen.num_learned, e.rejected.num_learned) for e in examples], dtype=numpy.float64)
    counts = counts.reshape(-1, 2)
    references = [example.reference for example in examples]
    has_reference = all(reference is not None for reference in references) and loss in ("dpo", "ipo")
    ratios = sums - numpy.array(references, dtype=numpy.float64).reshape(-1, 2) if has_reference else sums
    rewards = beta * (ratios / counts if loss in ("simpo", "orpo") else ratios)
    margins = rewards[:, 0] - rewards[:, 1]
    measures = [mean("reward accuracy", _halves(margins)), mean("reward margin", margins, is_share=False)]
    if has_reference:
        measures.append(ratio(DRIFT, ratios.sum(1), counts.sum(1), higher_is_better=False, is_share=False))
    return measures


def rated_measures(judged: Judged, beta: float) -> list[Measure]:
    """The same for rated answers: a good one should be rewarded above the reference point of `kto`, a bad one below.

    Answers that came from one row, as the two of a pair, are drawn together in the bootstrap.
    """
    rows, examples, outputs = _seen(judged)
    sums, points = numpy.array(outputs, dtype=numpy.float64).reshape(-1, 2).T
    counts = numpy.array([example.answer.num_learned for example in examples], dtype=numpy.float64)
    ratios = sums - numpy.array([example.reference[0] for example in examples], dtype=numpy.float64)
    good = numpy.array([example.good for example in examples], dtype=bool)
    rewards = beta * ratios
    right = _halves(numpy.where(good, 1, -1) * (ratios - points))
    ones = numpy.ones_like(rewards)
    parts = [right, ones, rewards * good, 1.0 * good, rewards * ~good, 1.0 * ~good, ratios, counts]
    table = numpy.zeros((max(rows, default=-1) + 1, len(parts)))
    numpy.add.at(table, rows, numpy.stack(parts, axis=-1))
    table = table[table[:, 1] > 0]
    return [
        ratio("reward accuracy", table[:, 0], table[:, 1]),
        Measure("reward margin", table[:, 2:6], _gap, higher_is_better=True, is_share=False),
        ratio("reward of good answers", table[:, 2], table[:, 3], is_share=False),
        ratio("reward of bad answers", table[:, 4], table[:, 5], higher_is_better=False, is_share=False),
        ratio(DRIFT, table[:, 6], table[:, 7], higher_is_better=False, is_share=False),
    ]


def _seen(judged: Judged) -> tuple[list[int], list[Any], list[Any]]:
    """Row, example and output of everything that was judged."""
    seen = [index for index, output in enumerate(judged.outputs) if output is not None]
    return (
        [judged.owners[index] for index in seen],
        [judged.examples[index] for index in seen],
        [judged.outputs[index] for index in seen],
    )


def _halves(margins: numpy.ndarray) -> numpy.ndarray:
    """1 for more than 0, 0 for less, one half for a tie."""
    return (numpy.sign(margins) + 1) / 2


def _gap(sums: numpy.ndarray) -> numpy.ndarray:
    """Mean reward of the good less that of the bad answers."""
    return quotient(sums[..., 0], sums[..., 1]) - quotient(sums[..., 2], sums[..., 3])


REFERENCE_FREE = ("simpo", "orpo", "cpo")
"""Losses that compare the answers with each other and with no other model."""
_UNSHARED = "This model would mix two answers behind one prompt, so each is read with a prompt of its own."

Example = PairExample | RatedExample


class PreferenceTask(EncodesTogether, TaskDefaults):
    """Learns which answers are better."""

    name: ClassVar[str] = "preference"
    trainer: ClassVar[str] = "DPOTrainer"
    snippets: ClassVar[tuple[str, str]] = ("chat", "chat")
    learned: ClassVar[str] = "writes answers of the kind that were preferred"
    sections: ClassVar[tuple[str, ...]] = ("preference",)
    generates: ClassVar[bool] = True
    knows_answers: ClassVar[bool] = False
    step_rows: ClassVar[int] = 16
    rate_factor: ClassVar[float] = 0.1
    cut_from: ClassVar[str] = "from the end of their answers and the left of their prompts"
    headline: ClassVar[str] = "reward accuracy"

    def __init__(self, tokenizer: Any, recipe: Recipe) -> None:
        self._chat = ChatTask(tokenizer, recipe)
        self._format = PreferenceFormat(tokenizer)
        self._tokens = self._format.tokens
        self._tokenizer = tokenizer
        self._options = recipe.preference
        self._context = recipe.data.context
        self._shares = recipe.preference.share_prompt and recipe.preference.loss != "kto"
        self._in_halves = recipe.model.kernels == "fast"
        self._kl: torch.Tensor | None = None

    @classmethod
    def choices(cls, records: Sequence[PreferenceRecord | RatedRecord], recipe: Recipe) -> list[Choice]:
        """The loss that fits the rows, and its strength.

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
        # A resolved recipe was checked when it was made; what it is judged on later may be all good.
        if rated and AUTO in (options.loss, options.beta) and len({record.good for record in rated}) == 1:
            raise DataError(
                f"all {len(rated):,} answers are rated {'good' if rated[0].good else 'bad'}",
                "There is nothing to tell them apart by.",
                "Add answers with the other rating, or train on the good ones as conversations with `--task chat`",
            )
        loss = options.loss if options.loss != AUTO else "kto" if rated else "dpo"
        why = "the rows are rated one by one" if rated else "the rows are pairs"
        beta, usual = (2.0, "simpo") if loss == "simpo" else (0.1, loss)
        return [("preference.loss", loss, why), ("preference.beta", beta, f"the usual strength for {usual}")]

    @property
    def notes(self) -> list[str]:
        """What the template could not say and how it is said instead."""
        return self._chat.notes

    @property
    def stop_ids(self) -> list[int]:
        """EOS and the template's end of turn."""
        return self._chat.stop_ids

    def _requests(self, record: PreferenceRecord | RatedRecord, context: int) -> TokenRequests[EncodedRow]:
        """Renders the template; over-long prompts are cut from the left. For `kto` a pair becomes two rated answers."""
        if isinstance(record, RatedRecord):
            example, cut = yield from self._format.rated_requests(record, context)
            return EncodedRow([example], cut)
        pair, cut = yield from self._format.pair_requests(record, context)
        if self._options.loss != "kto":
            return EncodedRow([pair], cut)
        answers = ((pair.chosen, True), (pair.rejected, False))
        return EncodedRow([RatedExample(pair.prompt_ids, answer, good, pair.place) for answer, good in answers], cut)

    def collate(self, examples: Sequence[Any], rows: Sequence[Sequence[int]], packed: bool, epoch: int | None) -> Batch:
        """A row for each pair where the model can share its prompt, else for each answer.

        For `kto` the batch also holds every prompt with the answer of another row, the one before it in `examples`.
        """
        chosen = tuple(index for row in rows for index in row)
        sequences: list[tuple[list[int], Sequence[Answer]]] = []
        extras, references = {}, []
        for index in chosen:
            example = examples[index]
            references.append(example.reference)
            if isinstance(example, RatedExample):
                sequences.append((example.prompt_ids, [example.answer]))
            elif self._shares:
                sequences.append((example.prompt_ids, [example.chosen, example.rejected]))
            else:
                sequences += [(example.prompt_ids, [answer]) for answer in (example.chosen, example.rejected)]
        laid = lay_out(sequences, self._tokenizer.pad_token_id)
        inputs = {"input_ids": laid.input_ids}
        if self._shares:
            inputs["position_ids"] = laid.position_ids
            extras["segments"] = laid.segments
        extras["places"] = laid.places
        if None not in references:
            extras["reference"] = torch.tensor(references)
        num_tokens = sum(len(prompt) + sum(len(answer.ids) for answer in answers) for prompt, answers in sequences)
        if self._options.loss == "kto":
            extras["good"] = torch.tensor([examples[index].good for index in chosen])
            extras |= self._mismatched(examples, chosen)
        return Batch(inputs, laid.targets, chosen, torch.tensor(chosen), num_tokens, extras)

    def _mismatched(self, examples: Sequence[Any], chosen: Sequence[int]) -> dict[str, torch.Tensor]:
        """The prompts with answers to other prompts, from which the reference point of `kto` is estimated."""
        others = []
        for index in chosen:
            answer = examples[index - 1].answer
            prompt = self._format.fit(examples[index].prompt_ids, len(answer.ids), int(self._context))
            others.append((prompt, [answer]))
        laid = lay_out(others, self._tokenizer.pad_token_id)
        return {"other_ids": laid.input_ids, "other_places": laid.places, "other_targets": laid.targets}

    def keep_apart(self) -> None:
        """Every answer gets a row and a prompt of its own."""
        self._shares = False

    def adapt(self, network: Any) -> list[str]:
        """Shares prompts only where the model keeps the two answers apart, and goes without the logits of all tokens
        only where the model can be taken in halves."""
        notes = []
        if self._in_halves and not computes_in_halves(network):
            self._in_halves = False
            notes.append(WHOLE)
        if self._shares and not keeps_answers_apart(network, int(self._context)):
            self._shares = False
            notes.append(_UNSHARED)
        return notes

    def prepare(
        self, network: Any, examples: Sequence[Example], batches: Iterable[Batch], precision: str
    ) -> list[Example]:
        """The examples with their log-probabilities under `network`, where the loss needs them and they have none."""
        if self._options.loss in REFERENCE_FREE or all(example.reference is not None for example in examples):
            return list(examples)
        measured = list(examples)
        device = next(network.parameters()).device
        was_training = network.training
        network.eval()
        with torch.no_grad(), arithmetic(device, precision):
            for batch in batches:
                there = batch.to(device)
                likely = self._likelihood(network, there).sums
                other = self._other(network, there).sums if self._options.loss == "kto" else likely.new_empty(0)
                pairs = torch.stack([likely, other], 1) if len(other) else likely.view(-1, 2)
                for index, (first, second) in zip(batch.examples, pairs.tolist(), strict=True):
                    measured[index] = replace(examples[index], reference=(first, second))
        network.train(was_training)
        return measured

    def stand_in(self, examples: Sequence[Example]) -> list[Example]:
        """With log-probabilities of 0 where the loss needs any."""
        if self._options.loss in REFERENCE_FREE:
            return list(examples)
        return [replace(example, reference=(0.0, 0.0)) for example in examples]

    def begin_step(self, network: Any, batches: Iterable[Batch]) -> None:
        """For `kto`: the reference point, an estimate of KL(model || base) over the whole step, at least 0.

        It is the mean log-ratio on answers that belong to other prompts (arXiv 2402.01306, section 4). The answer that
        a prompt is given is always the same, so that the base model has to be asked only once.
        """
        if self._options.loss == "kto":
            ratios = [self._other(network, batch).sums - batch.extras["reference"][:, 1] for batch in batches]
            self._kl = torch.cat(ratios).mean().clamp(min=0).detach()

    def losses(self, network: Any, batch: Batch) -> torch.Tensor:
        """`[pairs]`, or for `kto` `[answers]`, fp32."""
        return self._terms(self._likelihood(network, batch), batch)

    def judge(self, network: Any, batch: Batch) -> Outcome:
        """The losses, and the log-probability of every answer; for `kto` also the reference point."""
        likely = self._likelihood(network, batch)
        losses = self._terms(likely, batch)
        if self._options.loss == "kto":
            point = float(self._kl) if self._kl is not None else 0.0
            return Outcome(losses, [(number, point) for number in likely.sums.tolist()])
        return Outcome(losses, [tuple(pair) for pair in likely.sums.view(-1, 2).tolist()])

    def measures(self, judged: Judged) -> list[Measure]:
        """Accuracy and margin of the rewards, and how far the model has moved from its base."""
        if self._options.loss == "kto":
            return rated_measures(judged, float(self._options.beta))
        return pair_measures(judged, str(self._options.loss), float(self._options.beta))

    def remark(self, judged: Judged) -> str:
        """What the base model's rewards are."""
        if self._options.loss in REFERENCE_FREE:
            return ""
        return "Rewards are measured against the base model: its own accuracy is 50 % and its margin 0 by definition."

    def prompt_ids(self, prompt: str | list[dict[str, Any]]) -> list[int]:
        """A user's message, or the turns so far, up to where the answer begins."""
        return self._chat.prompt_ids(prompt)

    def spoken(self, ids: Sequence[int]) -> Sequence[int]:
        """Without what the template itself writes before an answer."""
        return self._chat.spoken(ids)

    def answer_in(self, text: str) -> str:
        """What stands behind the thought, where the model thinks aloud."""
        return self._chat.answer_in(text)

    def question(self, record: PreferenceRecord | RatedRecord) -> Question | None:
        """The prompt, with the better answer as the known one; None where the only answer is a bad one."""
        if isinstance(record, RatedRecord):
            if not record.good:
                return None
            return self._chat.question(ChatRecord((*record.prompt, *record.completion), record.tools, record.place))
        return self._chat.question(ChatRecord((*record.prompt, *record.chosen), record.tools, record.place))

    def _likelihood(self, network: Any, batch: Batch) -> Likelihood:
        inputs = row_inputs(network, batch.input_ids, batch.inputs.get("position_ids"), batch.extras.get("segments"))
        return self._likelihood_of(network, inputs, batch.extras["places"], batch.targets)

    def _other(self, network: Any, batch: Batch) -> Likelihood:
        """Of the answers to other prompts, for `kto`."""
        extras = batch.extras
        inputs = row_inputs(network, extras["other_ids"], None, None)
        return self._likelihood_of(network, inputs, extras["other_places"], extras["other_targets"])

    def _likelihood_of(
        self, network: Any, inputs: dict[str, torch.Tensor], places: torch.Tensor, targets: torch.Tensor
    ) -> Likelihood:
        learned = targets != IGNORED
        losses = losses_at(network, inputs, places[learned], targets[learned], self._in_halves)
        return answer_likelihood(losses, learned)

    def _terms(self, likely: Likelihood, batch: Batch) -> torch.Tensor:
        options = self._options
        if options.loss == "kto":
            kl = likely.sums.new_zeros(()) if self._kl is None else self._kl
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


def _reference_free(options: PreferenceSection, chosen: Likelihood, rejected: Likelihood) -> torch.Tensor:
    beta = float(options.beta)
    if options.loss == "simpo":
        return simpo_loss(chosen.means, rejected.means, beta, options.margin)
    if options.loss == "orpo":
        return orpo_loss(chosen.means, rejected.means, beta)
    return cpo_loss(chosen, rejected, beta, options.likelihood, options.label_smoothing)
