"""Task `preference`: what a batch holds, what a row is shown as, and how the task fits itself to a model."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from burnish.data.preference.format import Answer, PairExample, RatedExample
from burnish.data.rows.records import PreferenceRecord, RatedRecord
from burnish.data.rows.row import IGNORED
from burnish.engine.validation import HeldOut, evaluate_rows
from burnish.errors import DataError
from burnish.metrics.measure import value
from burnish.models.heads import ALL_LOGITS
from burnish.recipe.schema import DataSection, ModelSection, PreferenceSection, Recipe
from burnish.tasks import make_task
from burnish.tasks.evaluated import EvaluatedExamples
from burnish.tasks.preference import PREFERENCE
from burnish.tasks.task import Segment
from tests.tiny_models import CONTEXT, WINDOW, make_network
from tests.tiny_pairs import make_preference, measured, one_each, random_pairs, random_rated

PAIRS = [
    PairExample([5, 6, 7], Answer([8, 9], [8, 9]), Answer([10], [10]), "a:1"),
    PairExample([5], Answer([11], [11]), Answer([12, 13, 14], [IGNORED, 13, 14]), "a:2"),
]
RATED = [
    RatedExample([5, 6, 7], Answer([8, 9], [8, 9]), True, "a:1"),
    RatedExample([5], Answer([11], [11]), False, "a:2"),
]


# Batches


@pytest.mark.parametrize(
    ("options", "rows", "tokens"),
    [
        ({}, [[5, 6, 7, 8, 9, 10], [5, 11, 12, 13, 14, 0]], 6 + 5),
        ({"share_prompt": False}, [[5, 6, 7, 8, 9], [5, 6, 7, 10, 0], [5, 11, 0, 0, 0], [5, 12, 13, 14, 0]], 9 + 6),
    ],
)
def test_the_answers_of_a_pair_share_a_row_or_have_one_each(
    options: dict[str, Any], rows: list[list[int]], tokens: int, tiny_tokenizer: Any
) -> None:
    (batch,) = one_each(make_preference(tiny_tokenizer, **options), PAIRS)
    assert batch.input_ids.tolist() == rows
    assert batch.num_tokens == tokens
    assert (batch.examples, batch.owners.tolist()) == ((0, 1), [0, 1])
    assert ("position_ids" in batch.inputs) == ("segments" in batch.extras) == (not options)
    assert batch.targets.tolist() == [[8, 9], [10, IGNORED], [11, IGNORED], [13, 14]]
    assert "reference" not in batch.extras
    known = [replace(example, reference=(-1.0, -2.0)) for example in PAIRS]
    (batch,) = one_each(make_preference(tiny_tokenizer, **options), known)
    assert batch.extras["reference"].tolist() == [[-1.0, -2.0]] * 2
    (batch,) = one_each(make_preference(tiny_tokenizer, **options), [known[0], PAIRS[1]])
    assert "reference" not in batch.extras, "of some alone it would be of no use"


def test_a_rated_answer_has_a_row_and_another_prompt_has_its_answer_too(tiny_tokenizer: Any) -> None:
    (batch,) = one_each(make_preference(tiny_tokenizer, loss="kto"), RATED)
    assert set(batch.inputs) == {"input_ids"}, "nothing is shared"
    assert batch.input_ids.tolist() == [[5, 6, 7, 8, 9], [5, 11, 0, 0, 0]]
    assert batch.num_tokens == 5 + 2, "the answers to other prompts are no tokens of the rows"
    assert batch.extras["good"].tolist() == [True, False]
    assert batch.extras["other_rows"].tolist() == [0, 1]
    assert batch.extras["other_ids"].tolist() == [[5, 6, 7, 11], [5, 8, 9, 0]]
    assert batch.extras["other_targets"].tolist() == [[11, IGNORED], [8, 9]]
    assert batch.extras["other_chosen"].tolist() == [0, 2, 3]


def test_a_row_whose_other_answer_fits_nowhere_is_left_out(tiny_tokenizer: Any) -> None:
    """The rows after it keep theirs."""
    task = make_preference(tiny_tokenizer, loss="kto", context=8)
    late = Answer([*range(20, 28)], [IGNORED] * 7 + [27])
    examples = [
        RatedExample([5], late, True, "a:1"),
        RatedExample([6], Answer([8], [8]), False, "a:2"),
        RatedExample([7], Answer([9], [9]), True, "a:3"),
    ]
    (batch,) = one_each(task, examples)
    assert batch.extras["other_rows"].tolist() == [0, 2]
    assert batch.extras["other_ids"].tolist() == [[5, 9], [7, 8]]


def test_the_parts_of_a_row(tiny_tokenizer: Any) -> None:
    encoder = make_preference(tiny_tokenizer).encoder
    assert encoder.segments(PAIRS[1]) == [
        Segment("prompt", [5], [False]),
        Segment("chosen", [11], [True]),
        Segment("rejected", [12, 13, 14], [False, True, True]),
    ]
    assert encoder.segments(RATED[0]) == [
        Segment("prompt", [5, 6, 7], [False] * 3),
        Segment("answer, rated good", [8, 9], [True, True]),
    ]
    assert [segment.name for segment in encoder.segments(RATED[1])] == ["prompt", "answer, rated bad"]


def test_prompt_and_better_answer_of_an_example(tiny_tokenizer: Any) -> None:
    predictor = make_preference(tiny_tokenizer).predictor
    assert predictor.trained_prompt(None, PAIRS[0]) == ([5, 6, 7], [8, 9])
    assert predictor.trained_prompt(None, RATED[1]) == ([5], [11])


# The model


def scaled(network: Any) -> Any:
    """The network with logits that its output layer alone does not give."""

    def tripled(module: Any, given: Any, output: Any) -> Any:
        output.logits = 3 * output.logits
        return output

    network.register_forward_hook(tripled)
    return network


def task_with(tokenizer: Any, kernels: Any, context: int = CONTEXT, **options: Any) -> Any:
    """The task with other kernels."""
    section = PreferenceSection(**{"loss": "dpo", "beta": 0.1, **options})
    recipe = Recipe(preference=section, data=DataSection(context=context), model=ModelSection(kernels=kernels))
    return make_task("preference", tokenizer, recipe)


def calls_of_output_layer(task: Any, network: Any) -> int:
    """How often the whole output layer is computed for the losses of two pairs."""
    calls: list[Any] = []
    handle = network.lm_head.register_forward_hook(lambda *given: calls.append(given))
    with torch.no_grad():
        task.objective.losses(network, one_each(task, measured(task, network, PAIRS))[0])
    handle.remove()
    return len(calls)


def test_the_logits_of_all_tokens_are_avoided_where_the_model_allows_it(tiny_tokenizer: Any) -> None:
    network = make_network("llama")
    fast, plain = task_with(tiny_tokenizer, "fast"), task_with(tiny_tokenizer, "plain")
    assert fast.objective.inspect_model(network) == plain.objective.inspect_model(network) == []
    assert calls_of_output_layer(fast, network) == 0
    assert calls_of_output_layer(plain, network) == 2
    network = scaled(make_network("llama"))
    fast, plain = task_with(tiny_tokenizer, "fast"), task_with(tiny_tokenizer, "plain")
    assert fast.objective.inspect_model(network) == [ALL_LOGITS]
    assert plain.objective.inspect_model(network) == []
    assert calls_of_output_layer(fast, network) == 2


def test_prompts_are_shared_where_the_model_keeps_the_answers_apart(tiny_tokenizer: Any) -> None:
    """A sliding window that is shorter than the context would not."""
    network = make_network("mistral")
    narrow, wide = (make_preference(tiny_tokenizer, context=WINDOW + 1) for _ in range(2))
    (note,) = narrow.objective.inspect_model(network)
    assert note.startswith("This model would mix the two answers")
    assert len(one_each(narrow, PAIRS)[0].input_ids) == 4
    assert narrow.objective.inspect_model(network) == [], "said once"
    assert wide.objective.inspect_model(make_network("llama")) == []
    assert len(one_each(wide, PAIRS)[0].input_ids) == 2
    apart = make_preference(tiny_tokenizer, context=WINDOW + 1, share_prompt=False)
    assert apart.objective.inspect_model(network) == []
    rated = make_preference(tiny_tokenizer, context=WINDOW + 1, loss="kto")
    assert rated.objective.inspect_model(network) == []


# References


def test_references_are_measured_without_dropout(tiny_tokenizer: Any) -> None:
    network = make_network("gpt2", resid_pdrop=0.5, embd_pdrop=0.5)
    task = make_preference(tiny_tokenizer)
    expected = [example.reference for example in measured(task, network.eval(), random_pairs(4))]
    assert [example.reference for example in measured(task, network.train(), random_pairs(4))] == expected
    measured(task, network.eval(), random_pairs(2))
    assert not network.training


def test_a_reference_that_one_example_lacks_is_measured_for_all(tiny_tokenizer: Any) -> None:
    task, network = make_preference(tiny_tokenizer), make_network("llama")
    expected = measured(task, network, random_pairs(3))
    some = [replace(expected[0], reference=(0.0, 0.0)), replace(expected[1], reference=None), expected[2]]
    assert task.objective.prepare_examples(network, some, one_each(task, some), "fp32") == expected


@pytest.mark.parametrize(("loss", "needs"), [("dpo", True), ("kto", True), ("simpo", False)])
def test_placeholders_stand_for_references_that_are_needed(loss: str, needs: bool, tiny_tokenizer: Any) -> None:
    objective = make_preference(tiny_tokenizer, loss=loss).objective
    examples = random_rated(2) if loss == "kto" else random_pairs(2)
    placed = objective.placeholder_examples(examples)
    assert placed == [replace(example, reference=(0.0, 0.0) if needs else None) for example in examples]


def test_a_step_of_another_loss_needs_nothing_beforehand(tiny_tokenizer: Any) -> None:
    make_preference(tiny_tokenizer).objective.begin_step(None, iter(()))


# Figures


def given(task: Any, examples: list[Any], outputs: list[Any]) -> EvaluatedExamples:
    """Examples with these outputs."""
    ones = torch.ones(len(examples), dtype=torch.float64).numpy()
    return EvaluatedExamples(examples, list(range(len(examples))), outputs, ones, ones.astype(int))


@pytest.mark.parametrize(
    ("loss", "margin", "drifts"),
    [
        # log p of 2 and 1 tokens, then of 1 and 2 learned ones: -4 and -3, -1 and -6; of the base -1 and -2
        ("dpo", ((-3 - -1) + (0 - -4)) / 2, True),
        ("ipo", ((-3 - -1) + (0 - -4)) / 2, True),
        ("simpo", ((-2 - -3) + (-1 - -3)) / 2, False),
        ("orpo", ((-2 - -3) + (-1 - -3)) / 2, False),
        ("cpo", ((-4 - -3) + (-1 - -6)) / 2, False),
    ],
)
def test_rewards_by_hand(loss: str, margin: float, drifts: bool, tiny_tokenizer: Any) -> None:
    task = make_preference(tiny_tokenizer, loss=loss, beta=0.5)
    examples = [replace(example, reference=(-1.0, -2.0)) for example in PAIRS]
    evaluated = given(task, [*examples, PAIRS[0]], [(-4.0, -3.0), (-1.0, -6.0), None])
    figures = {measure.name: value(measure) for measure in task.scorer.measures(evaluated)}
    assert figures["reward margin"] == pytest.approx(0.5 * margin)
    assert (len(figures) == 3) == drifts
    if drifts:
        assert list(figures.values())[2] == pytest.approx(((-3 - 1) + (0 - 4)) / (2 + 1 + 1 + 2))
    assert (task.scorer.remark(evaluated) == "") == (not drifts)
    assert [value(measure) for measure in task.scorer.measures(given(task, [], []))] == [0.0] * len(figures)


def test_rewards_of_rated_answers_by_hand(tiny_tokenizer: Any) -> None:
    task = make_preference(tiny_tokenizer, loss="kto", beta=0.5)
    examples = [replace(example, reference=(-2.0, -9.0)) for example in RATED]
    evaluated = given(task, [*examples, RATED[0]], [(-1.0, 2.0), (-5.0, 2.0), None])
    figures = {measure.name: value(measure) for measure in task.scorer.measures(evaluated)}
    assert figures["reward accuracy"] == 0.5, "1 is below the point of 2, and so is -3, which is bad"
    assert (figures["reward of good answers"], figures["reward of bad answers"]) == (0.5, -1.5)
    assert list(figures.values())[-1] == pytest.approx((1 - 3) / (2 + 1))


def test_the_point_of_the_figures_is_that_of_the_losses_and_zero_without_another_prompt(tiny_tokenizer: Any) -> None:
    network, base = make_network("gpt2", seed=1), make_network("gpt2")
    task = make_preference(tiny_tokenizer, loss="kto")

    def points(examples: list[RatedExample]) -> list[float]:
        known = measured(task, base, examples)
        held_out = HeldOut(one_each(task, known, 2), known, list(range(len(known))))
        return [point for _, point in evaluate_rows(network, task, held_out, "fp32").outputs]

    several = points(random_rated(5))
    assert several == [task.objective._kl.item()] * 5
    assert several[0] > 0.1
    assert points(RATED[:1]) == [0.0]


def test_the_reference_point_is_what_a_reward_is_compared_with(tiny_tokenizer: Any) -> None:
    network, base = make_network("gpt2", seed=1), make_network("gpt2")
    task = make_preference(tiny_tokenizer, loss="kto", beta=0.5)
    examples = measured(task, base, random_rated(5))
    (batch,) = one_each(task, examples)
    with torch.no_grad():
        task.objective.begin_step(network, [batch])
        losses = task.objective.losses(network, batch)
        sums = torch.tensor([likely for likely, _ in task.objective.evaluate_batch(network, batch).outputs])
    ratios = sums - torch.tensor([example.reference[0] for example in examples if example.reference])
    signs = torch.tensor([1.0 if example.good else -1.0 for example in examples])
    point = task.objective._kl
    assert point > 0.1
    torch.testing.assert_close(losses, torch.sigmoid(-signs * 0.5 * (ratios - point)), rtol=1e-4, atol=1e-5)


def test_good_and_bad_answers_have_their_own_weights(tiny_tokenizer: Any) -> None:
    """At a ratio of 0 and a reference point of 0, the loss of KTO is half the weight."""
    task = make_preference(tiny_tokenizer, loss="kto", good_weight=3.0, bad_weight=5.0)
    network = make_network("llama")
    (batch,) = one_each(task, measured(task, network, RATED))
    assert task.objective.losses(network, batch).tolist() == pytest.approx([1.5, 2.5], rel=1e-5)


@pytest.mark.parametrize("loss", ["dpo", "cpo"])
def test_smoothing_takes_some_pairs_as_swapped(loss: str, tiny_tokenizer: Any) -> None:
    network, base = make_network("llama"), make_network("llama", seed=1)
    plain, smooth = (make_preference(tiny_tokenizer, loss=loss, label_smoothing=share) for share in (0.0, 0.25))
    examples = measured(plain, base, random_pairs(3))
    (batch,) = one_each(plain, examples)
    with torch.no_grad():
        before, after = (task.objective.losses(network, batch) for task in (plain, smooth))
        sums = torch.tensor(plain.objective.evaluate_batch(network, batch).outputs)
    references = torch.tensor([example.reference or (0.0, 0.0) for example in examples])
    margins = 0.1 * (sums - references).diff(dim=1)[:, 0]  # -log sigmoid(-x) is larger than -log sigmoid(x) by x
    torch.testing.assert_close(after - before, 0.25 * -margins, atol=1e-4, rtol=1e-3)


# Choices


def test_all_ratings_alike_are_refused_while_something_is_still_open() -> None:
    asked, answered = ({"role": "user", "content": "a"},), ({"role": "assistant", "content": "b"},)
    good, bad = (RatedRecord(asked, answered, is_good, None, "a:1") for is_good in (True, False))
    pair = PreferenceRecord(asked, answered, answered, None, "a:2")
    with pytest.raises(DataError, match="all 2 answers are rated bad"):
        PREFERENCE.choices([bad, bad], Recipe(preference=PreferenceSection(loss="kto")))
    with pytest.raises(DataError, match="all 1 answers are rated good"):
        PREFERENCE.choices([good], Recipe(preference=PreferenceSection(beta=0.1)))
    with pytest.raises(DataError, match="needs pairs"):
        PREFERENCE.choices([pair, good], Recipe(preference=PreferenceSection(loss="ipo")))
    reasons = [why for _, _, why in PREFERENCE.choices([pair], Recipe())]
    assert reasons == ["the rows are pairs", "the usual strength for dpo"]
    reasons = [why for _, _, why in PREFERENCE.choices([good, bad], Recipe())]
    assert reasons == ["the rows are rated one by one", "the usual strength for kto"]
    assert math.isclose(PREFERENCE.choices([pair], Recipe(preference=PreferenceSection(loss="ipo")))[1][1], 0.1)
