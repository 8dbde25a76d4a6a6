"""One optimizer step, and one validation."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
import torch

from burnish.data.batching.batches import Batch, collate_tokens
from burnish.data.rows.row import IGNORED, Example
from burnish.engine import step
from burnish.engine.optimizer import make_optimizer
from burnish.engine.step import NotFinite, PartialUpdate, StepResult, Trainer, Validation
from burnish.engine.validation import HeldOut
from burnish.errors import BurnishError
from burnish.metrics.measure import Measure, mean
from burnish.recipe.schema import TrainSection
from burnish.tasks.defaults import NextTokenObjective, ScorerDefaults
from burnish.tasks.evaluated import BatchOutcome, EvaluatedExamples
from tests.snapshots import check_message
from tests.tiny_data import random_examples
from tests.tiny_models import make_network
from tests.tiny_training import KeepGradients, gradients_of, make_trainer, with_method, without_borders


def trainer_of(network: Any, tokenizer: Any, clip: float = 1.0) -> Trainer:
    """A trainer with the real optimizer."""
    return make_trainer(network, tokenizer, make_optimizer(network, TrainSection(learning_rate=1e-2), {}), clip)


def copies(network: Any) -> dict[str, torch.Tensor]:
    """Every weight as it is now."""
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}


def test_the_loss_is_the_mean_per_trained_token(tiny_tokenizer: Any) -> None:
    """Against log-softmax written out."""
    network = make_network("llama")
    example = Example([5, 9, 40, 77], [IGNORED, IGNORED, 40, 77], "made.jsonl:1")
    result, _ = gradients_of(network, tiny_tokenizer, [collate_tokens([example], [[0]], pad_id=0, packed=True)])
    with torch.no_grad():
        log_probabilities = network(input_ids=torch.tensor([example.input_ids])).logits[0].log_softmax(-1)
    expected = -(log_probabilities[1, 40] + log_probabilities[2, 77]).item() / 2
    assert result.loss == pytest.approx(expected, rel=1e-6)
    assert (result.tokens, result.trained_tokens) == (4, 2)


def test_clipping_scales_the_gradient_to_its_limit(tiny_tokenizer: Any) -> None:
    network = make_network("llama")
    batches = [collate_tokens(random_examples(4, 8, 20), [[0, 1], [2, 3]], pad_id=0, packed=True)]
    free, wanted = gradients_of(network, tiny_tokenizer, batches)
    assert free.gradient_norm > 0.5
    keeper = KeepGradients(network)
    clipped = make_trainer(network, tiny_tokenizer, keeper, clip=0.5).step(batches)
    assert clipped.gradient_norm == pytest.approx(free.gradient_norm), "the reported norm is the one before clipping"
    norm = math.sqrt(sum(gradient.square().sum().item() for gradient in keeper.kept.values()))
    assert norm == pytest.approx(0.5, rel=1e-4)
    for name, gradient in keeper.kept.items():
        torch.testing.assert_close(gradient, wanted[name] * 0.5 / free.gradient_norm, rtol=1e-4, atol=1e-7)


def test_a_step_begins_without_the_gradients_of_the_last(tiny_tokenizer: Any) -> None:
    network = make_network("llama")
    batches = [collate_tokens(random_examples(2, 8, 20), [[0], [1]], pad_id=0, packed=False)]
    first, second = (gradients_of(network, tiny_tokenizer, batches) for _ in range(2))
    assert first[0] == second[0]
    assert all(torch.equal(first[1][name], second[1][name]) for name in first[1])
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("poison", [math.nan, math.inf])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_loss_that_is_not_finite_changes_no_weight(method: str, poison: float, tiny_tokenizer: Any) -> None:
    network = with_method(make_network("llama"), method)
    trainer = trainer_of(network, tiny_tokenizer)
    good = [collate_tokens(random_examples(2, 8, 20), [[0], [1]], pad_id=0, packed=False)]
    trainer.step(good)
    embedding = network.get_input_embeddings().weight
    with torch.no_grad():
        healthy = embedding[7].clone()
        embedding[7] = poison
    before = copies(network)
    moments = {key: value.clone() for key, value in flat_state(trainer).items()}
    bad = collate_tokens([Example([5, 7, 9], [5, 7, 9], "made.jsonl:9")], [[0]], pad_id=0, packed=False)
    with pytest.raises(NotFinite, match=r"the loss became nan"):
        trainer.step([*good, bad])
    assert all(torch.equal(weight.nan_to_num(), before[name].nan_to_num()) for name, weight in copies(network).items())
    assert all(torch.equal(value, moments[key]) for key, value in flat_state(trainer).items())
    with torch.no_grad():
        embedding[7] = healthy
    assert math.isfinite(trainer.step(good).loss), "no poisoned gradient is left behind"


def flat_state(trainer: Trainer) -> dict[tuple[int, str], torch.Tensor]:
    """The optimizer's moments."""
    state = trainer.optimizer.state_dict()["state"]
    return {(number, key): value for number, values in state.items() for key, value in values.items()}


def test_a_step_without_a_trained_token_is_an_error_never_a_zero_loss(tiny_tokenizer: Any) -> None:
    network = make_network("llama")
    before = copies(network)
    batch = collate_tokens([Example([5, 6, 7], [IGNORED] * 3, "made.jsonl:1")], [[0]], pad_id=0, packed=True)
    with pytest.raises(BurnishError) as caught:
        trainer_of(network, tiny_tokenizer).step([batch])
    check_message(caught.value)
    assert all(torch.equal(weight, before[name]) for name, weight in copies(network).items())


def validate(trainer: Trainer, examples: list[Example], batches: list[Batch]) -> Validation:
    """What the trainer sees in the rows, one example each."""
    return trainer.validate(HeldOut(batches, examples, range(len(examples))))


def test_validation_is_the_mean_over_all_tokens_not_over_batches(tiny_tokenizer: Any) -> None:
    network = with_method(make_network("llama"), "lora", dropout=0.5)
    trainer = trainer_of(network, tiny_tokenizer)
    examples = random_examples(7, 4, 40, seed=3)
    whole = [collate_tokens(examples, [[index] for index in range(7)], pad_id=0, packed=False)]
    together = validate(trainer, examples, whole).loss
    uneven = [collate_tokens(examples, [[index] for index in rows], 0, False) for rows in ([0], range(1, 7))]
    assert validate(trainer, examples, uneven).loss == pytest.approx(together, rel=1e-6)
    assert validate(trainer, examples, uneven).loss == validate(trainer, examples, uneven).loss, "dropout is off"
    means = [validate(trainer, examples, [batch]).loss for batch in uneven]
    assert sum(means) / 2 != pytest.approx(together, rel=1e-3)


def test_validation_gives_the_figures_of_the_task(tiny_tokenizer: Any) -> None:
    examples = random_examples(3, 4, 20)
    batches = [collate_tokens(examples, [[0], [1], [2]], pad_id=0, packed=False)]
    seen = validate(trainer_of(make_network("llama"), tiny_tokenizer), examples, batches)
    assert seen.figures == {"perplexity": pytest.approx(math.exp(seen.loss))}


def test_validations_are_compared_by_the_loss_and_by_the_headline_metric(tiny_tokenizer: Any) -> None:
    examples = random_examples(3, 4, 20)
    batches = [collate_tokens(examples, [[0], [1], [2]], pad_id=0, packed=False)]
    trainer = trainer_of(make_network("llama"), tiny_tokenizer)
    plain = validate(trainer, examples, batches)
    assert [one.name for one in plain.measures] == ["loss"]
    assert plain.score == -plain.loss

    class Exact(ScorerDefaults):
        """Half of the answers are right, whichever they are."""

        headline = "exact match"

        def measures(self, evaluated: EvaluatedExamples) -> list[Measure]:
            return [mean("length", [4, 5, 6]), mean("exact match", [1, 0, 1])]

        def evaluate_batch(self, network: Any, batch: Batch) -> BatchOutcome:
            return scorer.evaluate_batch(network, batch)

    scorer = trainer.task.scorer
    trainer.task = replace(trainer.task, scorer=Exact())
    seen = validate(trainer, examples, batches)
    assert [one.name for one in seen.measures] == ["loss", "exact match"]
    assert seen.score == pytest.approx(2 / 3)
    assert seen.loss == plain.loss


def test_validation_leaves_no_gradient_and_training_goes_on_with_dropout(tiny_tokenizer: Any) -> None:
    network = with_method(make_network("llama"), "lora", dropout=0.5)
    trainer, examples = trainer_of(network, tiny_tokenizer), random_examples(3, 8, 20)
    batches = [collate_tokens(examples, [[0], [1], [2]], pad_id=0, packed=False)]
    validate(trainer, examples, batches)
    assert all(parameter.grad is None for parameter in network.parameters())
    losses = {gradients_of(network, tiny_tokenizer, batches)[0].loss for _ in range(3)}
    assert len(losses) == 3, "the step itself trains with dropout"


class WatchingObjective(NextTokenObjective):
    """Notes what it is asked, and in which order."""

    def __init__(self) -> None:
        super().__init__("fast")
        self.asked: list[tuple[str, tuple[int, ...]]] = []

    def begin_step(self, network: Any, batches: Iterable[Batch]) -> None:
        """Sees every batch of the step."""
        for batch in batches:
            assert not torch.is_grad_enabled()
            self.asked.append(("begins", batch.examples))

    def losses(self, network: Any, batch: Batch) -> torch.Tensor:
        """The real ones."""
        assert torch.is_grad_enabled()
        self.asked.append(("losses", batch.examples))
        return super().losses(network, batch)


class LoudObjective(NextTokenObjective):
    """Losses so large that their gradients overflow at a scale that fp32 can still write."""

    def losses(self, network: Any, batch: Batch) -> torch.Tensor:
        """A million times the real ones."""
        return super().losses(network, batch) * 2.0**20


def fp16_step(tokenizer: Any, scale: float) -> tuple[StepResult, dict[str, torch.Tensor], float]:
    """A step with dropout from a loss scale: its result, the weights after it, and the scale after it."""
    torch.manual_seed(3)
    network = with_method(make_network("llama"), "lora", dropout=0.5)
    optimizer = make_optimizer(network, TrainSection(learning_rate=1e-2), {})
    trainer = make_trainer(network, tokenizer, optimizer, clip=1.0)
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    trainer.task = replace(trainer.task, objective=LoudObjective("fast"))
    torch.manual_seed(4)
    result = trainer.step([collate_tokens(random_examples(3, 8, 20), [[0], [1], [2]], pad_id=0, packed=False)])
    named = network.named_parameters()
    return result, {name: p.detach().clone() for name, p in named if p.requires_grad}, trainer.scaler.get_scale()


def test_a_step_whose_gradient_overflows_is_repeated_at_a_lower_scale(tiny_tokenizer: Any) -> None:
    """Neither its rows nor its place in the schedule are lost, and dropout draws the same."""
    expected, wanted, _ = fp16_step(tiny_tokenizer, 2.0**60)
    found, weights, scale = fp16_step(tiny_tokenizer, 2.0**127)
    assert expected.attempts == 1
    assert found.attempts > 1
    assert scale == 2.0 ** (128 - found.attempts)
    assert (found.loss, found.gradient_norm) == (expected.loss, expected.gradient_norm)
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)
    before = dict(with_method(make_network("llama"), "lora", dropout=0.5).named_parameters())
    assert any(not torch.equal(weights[name], before[name]) for name in weights)


@pytest.mark.parametrize(("scale", "attempts"), [(8.0, 4), (1.5, 1), (None, 1)])
def test_a_gradient_that_no_scale_makes_finite_ends_the_run(
    scale: float | None, attempts: int, tiny_tokenizer: Any
) -> None:
    """Tried at scales of 8, 4, 2 and 1: below it, numbers are no smaller than they are. Without a scale, once."""
    network = make_network("llama")
    trainer = trainer_of(network, tiny_tokenizer)
    objective = WatchingObjective()
    trainer.task = replace(trainer.task, objective=objective)
    if scale is not None:
        trainer.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    for weight in network.parameters():
        weight.register_hook(lambda gradient: gradient * float("inf"))
    before = copies(network)
    with pytest.raises(NotFinite, match="gradient norm"):
        trainer.step([collate_tokens(random_examples(2, 8, 20), [[0], [1]], pad_id=0, packed=False)])
    assert all(torch.equal(p, before[name]) for name, p in network.named_parameters())
    assert all(p.grad is None for p in network.parameters())
    assert objective.asked == [("begins", (0, 1)), ("losses", (0, 1))] * attempts


def test_a_loss_that_is_not_finite_is_not_tried_at_another_scale(tiny_tokenizer: Any) -> None:
    network = make_network("llama")
    trainer = trainer_of(network, tiny_tokenizer)
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    objective = WatchingObjective()
    trainer.task = replace(trainer.task, objective=objective)
    with torch.no_grad():
        network.get_input_embeddings().weight.fill_(math.nan)
    with pytest.raises(NotFinite, match="the loss became nan"):
        trainer.step([collate_tokens(random_examples(1, 8, 20), [[0]], pad_id=0, packed=False)])
    assert objective.asked == [("begins", (0,)), ("losses", (0,))]


@pytest.mark.parametrize("is_enabled", [False, True])
def test_a_discarded_attempt_frees_its_gradient_and_keeps_the_scale(
    is_enabled: bool, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed: list[bool] = []
    network = make_network("llama")
    trainer = trainer_of(network, tiny_tokenizer)
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=8.0, enabled=is_enabled)
    batches = [collate_tokens(random_examples(2, 8, 20), [[0], [1]], pad_id=0, packed=False)]
    trainer.accumulate(batches)
    state = trainer.scaler.state_dict()
    monkeypatch.setattr(step, "free_memory", lambda: freed.append(all(p.grad is None for p in network.parameters())))
    trainer.discard_attempt()
    assert freed == [True]
    assert trainer.scaler.state_dict() == state
    assert trainer.step(batches).attempts == 1, "unscaled once more"


def test_the_moments_are_allocated_before_the_update(tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = trainer_of(make_network("llama"), tiny_tokenizer)
    update, known = trainer.optimizer.step, list[int]()
    monkeypatch.setattr(trainer.optimizer, "step", lambda: known.append(len(trainer.optimizer.state)) or update())
    trainer.step([collate_tokens(random_examples(1, 8, 20), [[0]], pad_id=0, packed=False)])
    assert known == [len(trainer.optimizer.state)] != [0]


@pytest.mark.parametrize(
    ("error", "raised"), [(MemoryError(), PartialUpdate), (RuntimeError("a shape is wrong"), RuntimeError)]
)
def test_only_memory_that_runs_out_in_the_update_is_a_partial_update(
    error: Exception, raised: type[Exception], tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise error

    trainer = trainer_of(make_network("llama"), tiny_tokenizer)
    monkeypatch.setattr(trainer.optimizer, "step", fail)
    with pytest.raises(raised) as caught:
        trainer.step([collate_tokens(random_examples(1, 8, 20), [[0]], pad_id=0, packed=False)])
    assert caught.type is raised


def test_the_loss_scale_grows_after_steps_without_overflow(tiny_tokenizer: Any) -> None:
    trainer = trainer_of(make_network("llama"), tiny_tokenizer)
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
    scales = []
    for _ in range(4):
        trainer.step([collate_tokens(random_examples(1, 8, 20), [[0]], pad_id=0, packed=False)])
        scales.append(trainer.scaler.get_scale())
    assert scales == [8.0, 16.0, 16.0, 32.0]


def test_a_step_has_the_rate_that_it_is_given(tiny_tokenizer: Any) -> None:
    trainer = trainer_of(make_network("llama"), tiny_tokenizer)
    batches = [collate_tokens(random_examples(1, 8, 20), [[0]], pad_id=0, packed=False)]
    for given, used in [(None, 1e-2), (0.25, 0.25), (None, 0.25), (0.0, 0.0)]:
        trainer.step(batches, given)
        assert {group["lr"] for group in trainer.optimizer.param_groups} == {used}


def test_a_task_sees_all_batches_of_a_step_before_the_first_loss(tiny_tokenizer: Any) -> None:
    trainer = trainer_of(make_network("llama"), tiny_tokenizer)
    objective = WatchingObjective()
    trainer.task = replace(trainer.task, objective=objective)
    examples = random_examples(4, 8, 20)
    trainer.step([collate_tokens(examples, rows, pad_id=0, packed=True) for rows in ([[0, 1]], [[2], [3]])])
    assert objective.asked == [(kind, rows) for kind in ("begins", "losses") for rows in ((0, 1), (2, 3))]


def test_borders_matter_to_the_step(tiny_tokenizer: Any) -> None:
    """A guard for the tests of packing: positions reach the network."""
    network = make_network("llama")
    batch = collate_tokens(random_examples(3, 8, 12), [[0, 1, 2]], pad_id=0, packed=True)
    result = gradients_of(network, tiny_tokenizer, [batch])[0].loss
    assert gradients_of(network, tiny_tokenizer, [without_borders(batch)])[0].loss != pytest.approx(result, 1e-4)
