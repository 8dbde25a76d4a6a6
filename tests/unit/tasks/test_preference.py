"""The task `preference`: examples, losses, the reference and the figures."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from burnish.data.preference.format import Answer, PairExample, RatedExample
from burnish.data.rows.records import PreferenceRecord, RatedRecord
from burnish.data.rows.row import IGNORED, RowError
from burnish.engine.validation import HeldOut, evaluate_rows
from burnish.errors import DataError
from burnish.kernels.preference import kto_loss
from burnish.metrics.measure import value
from burnish.recipe.schema import PreferenceSection, Recipe
from burnish.tasks.evaluated import EvaluatedExamples
from burnish.tasks.preference import PREFERENCE
from tests.tiny_models import CONTEXT, make_network
from tests.tiny_pairs import (
    loss_and_gradients,
    make_preference,
    measured,
    one_each,
    random_pairs,
    random_rated,
)
from tests.tiny_training import largest_difference, with_method

ASKED = ({"role": "user", "content": "Which colour has the fox?"},)
GOOD = ({"role": "assistant", "content": "It is red."},)
BAD = ({"role": "assistant", "content": "No."},)
PAIR = PreferenceRecord(ASKED, GOOD, BAD, None, "rows.jsonl:1")
RATED = RatedRecord(ASKED, GOOD, True, None, "rows.jsonl:1")
LOSSES = ("dpo", "ipo", "simpo", "orpo", "cpo")


def evaluated_by(task: Any, network: Any, examples: list[Any], size: int | None = None) -> EvaluatedExamples:
    held_out = HeldOut(one_each(task, examples, size), examples, list(range(len(examples))))
    return evaluate_rows(network, task, held_out, "fp32")


def figures(task: Any, evaluated: EvaluatedExamples) -> dict[str, float]:
    return {measure.name: value(measure) for measure in task.scorer.measures(evaluated)}


def test_both_answers_stand_behind_the_prompt_that_inference_feeds(tiny_tokenizer: Any) -> None:
    task = make_preference(tiny_tokenizer)
    (example,) = task.encoder.encode(PAIR, CONTEXT).examples
    assert example.prompt_ids == task.predictor.prompt_ids("Which colour has the fox?")
    assert tiny_tokenizer.decode(example.chosen.ids) == "It is red.<|im_end|>", "the end is learned"
    assert tiny_tokenizer.decode(example.rejected.ids) == "No.<|im_end|>"
    assert example.chosen.labels == example.chosen.ids
    assert example.num_tokens == len(example.prompt_ids) + len(example.chosen.ids) + len(example.rejected.ids)
    assert example.num_trained == 1


def test_only_the_assistant_is_learned_where_dialogues_part_early(tiny_tokenizer: Any) -> None:
    longer = (*GOOD, {"role": "user", "content": "Sure?"}, *BAD)
    (example,) = make_preference(tiny_tokenizer).encoder.encode(replace(PAIR, chosen=longer), CONTEXT * 2).examples
    learned = [
        token for token, label in zip(example.chosen.ids, example.chosen.labels, strict=True) if label != IGNORED
    ]
    assert tiny_tokenizer.decode(learned) == "It is red.<|im_end|>No.<|im_end|>"
    assert example.chosen.num_learned == len(learned) < len(example.chosen.ids)


def test_long_prompts_are_cut_from_the_left_and_alike_for_both(tiny_tokenizer: Any) -> None:
    task = make_preference(tiny_tokenizer)
    whole = task.encoder.encode(PAIR, CONTEXT).examples[0]
    longest = max(len(whole.chosen.ids), len(whole.rejected.ids))
    row = task.encoder.encode(PAIR, longest + 5)
    (cut,) = row.examples
    assert cut.prompt_ids == whole.prompt_ids[-5:]
    assert (cut.chosen, cut.rejected) == (whole.chosen, whole.rejected)
    assert row.truncated_tokens == len(whole.prompt_ids) - 5


def test_answers_that_leave_the_prompt_no_room_lose_their_end(tiny_tokenizer: Any) -> None:
    """A quarter of the context stays for the prompt; what is cut is counted."""
    task = make_preference(tiny_tokenizer)
    result = "It is " + "red and blue and " * 4
    pair = replace(PAIR, chosen=({"role": "assistant", "content": result},))
    whole = task.encoder.encode(pair, 400).examples[0]
    context = len(whole.chosen.ids)
    row = task.encoder.encode(pair, context)
    (cut,) = row.examples
    kept = context - context // 4
    assert cut.chosen.ids == whole.chosen.ids[:kept]
    assert cut.rejected == whole.rejected
    assert len(cut.prompt_ids) + len(cut.chosen.ids) <= context
    lost = len(whole.prompt_ids) - len(cut.prompt_ids) + len(whole.chosen.ids) - kept
    assert row.truncated_tokens == lost
    alike = replace(PAIR, chosen=({"role": "assistant", "content": result + "green"},), rejected=pair.chosen)
    with pytest.raises(RowError, match="the same tokens within the context of 24"):
        task.encoder.encode(alike, 24)


def test_bos_stays_in_front_of_a_cut_prompt() -> None:
    from tests.tiny_models import make_tokenizer

    tokenizer = make_tokenizer()
    tokenizer.bos_token = "<|im_start|>"
    tokenizer.chat_template = "{{ bos_token }}{% for m in messages %}{{ m.content }}{% if m.role == 'assistant' %}"
    tokenizer.chat_template += "{{ eos_token }}{% else %}\n{% endif %}{% endfor %}"
    task = make_preference(tokenizer)
    whole = task.encoder.encode(PAIR, CONTEXT).examples[0]
    (cut,) = task.encoder.encode(PAIR, len(whole.chosen.ids) + 4).examples
    assert cut.prompt_ids == [tokenizer.bos_token_id, *whole.prompt_ids[-3:]]


def test_answers_with_the_same_tokens_are_refused(tiny_tokenizer: Any) -> None:
    tokenizer_trims = replace(PAIR, rejected=({"role": "assistant", "content": "It is red."},))
    with pytest.raises(RowError, match="are the same tokens$"):
        make_preference(tiny_tokenizer).encoder.encode(tokenizer_trims, CONTEXT)


@pytest.mark.parametrize(
    ("records", "loss", "chosen"),
    [
        ([PAIR], "auto", {"preference.loss": "dpo", "preference.beta": 0.1}),
        ([PAIR], "simpo", {"preference.loss": "simpo", "preference.beta": 2.0}),
        ([PAIR], "kto", {"preference.loss": "kto", "preference.beta": 0.1}),
        ([RATED, replace(RATED, good=False)], "auto", {"preference.loss": "kto", "preference.beta": 0.1}),
    ],
)
def test_the_loss_follows_the_rows(records: list[Any], loss: Any, chosen: dict[str, Any]) -> None:
    recipe = Recipe(preference=PreferenceSection(loss=loss))
    assert {option: picked for option, picked, _ in PREFERENCE.choices(records, recipe)} == chosen


def test_rated_rows_are_no_pairs_and_need_both_ratings() -> None:
    with pytest.raises(DataError, match="`dpo` needs pairs"):
        PREFERENCE.choices([RATED], Recipe(preference=PreferenceSection(loss="dpo")))
    with pytest.raises(DataError, match="all 2 answers are rated good"):
        PREFERENCE.choices([RATED, RATED], Recipe())
    resolved = Recipe(preference=PreferenceSection(loss="kto", beta=0.1))
    assert PREFERENCE.choices([RATED, RATED], resolved), "a finished run may be evaluated on good answers only"


def test_kto_reads_a_pair_as_two_rated_answers(tiny_tokenizer: Any) -> None:
    examples = make_preference(tiny_tokenizer, loss="kto").encoder.encode(PAIR, CONTEXT).examples
    assert [(tiny_tokenizer.decode(e.answer.ids), e.good) for e in examples] == [
        ("It is red.<|im_end|>", True),
        ("No.<|im_end|>", False),
    ]


def by_hand(network: Any, prompt: list[int], answer: Answer) -> float:
    """Log-probability of an answer, token by token."""
    with torch.no_grad():
        logits = network(input_ids=torch.tensor([prompt + answer.ids])).logits[0].double()
    result = logits.log_softmax(-1)
    return sum(result[len(prompt) - 1 + index, token].item() for index, token in enumerate(answer.ids))


def expected_loss(loss: str, pair: PairExample, network: Any, reference: Any, beta: float) -> float:
    """The formulas of the papers, written out."""
    better, worse = (by_hand(network, pair.prompt_ids, answer) for answer in (pair.chosen, pair.rejected))
    first, second = (by_hand(reference, pair.prompt_ids, answer) for answer in (pair.chosen, pair.rejected))
    m, n = len(pair.chosen.ids), len(pair.rejected.ids)

    def softplus(x: float) -> float:
        return math.log1p(math.exp(-x))  # -log sigmoid(x)

    def odds(mean: float) -> float:
        return math.exp(mean) / (1 - math.exp(mean))

    return {
        "dpo": softplus(beta * ((better - first) - (worse - second))),
        "ipo": ((better - first) / m - (worse - second) / n - 1 / (2 * beta)) ** 2,
        "simpo": softplus(beta * (better / m - worse / n) - 0.5),
        "orpo": -better / m + beta * softplus(math.log(odds(better / m) / odds(worse / n))),
        "cpo": softplus(beta * (better - worse)) - 0.3 * better / m,
    }[loss]


@pytest.mark.parametrize("loss", LOSSES)
def test_the_losses_are_the_papers(loss: str, tiny_tokenizer: Any) -> None:
    network, reference = make_network("llama"), make_network("llama", seed=1)
    task = make_preference(tiny_tokenizer, loss=loss, beta=0.2, margin=0.5, likelihood=0.3)
    examples = measured(task, reference, random_pairs(4))
    assert all((example.reference is None) == (loss in ("simpo", "orpo", "cpo")) for example in examples)
    (batch,) = one_each(task, examples)
    with torch.no_grad():
        result = task.objective.losses(network, batch)
    assert result.dtype == torch.float32
    expected = [expected_loss(loss, example, network, reference, 0.2) for example in examples]
    assert result.tolist() == pytest.approx(expected, rel=1e-4)


def test_orpo_is_finite_where_an_answer_is_certain() -> None:
    from burnish.kernels.preference import orpo_loss

    certain = torch.tensor([0.0, -1e-9], requires_grad=True)
    loss = orpo_loss(certain, torch.tensor([-2.0, 0.0]), 0.1)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert certain.grad is not None and certain.grad.isfinite().all()


@pytest.mark.parametrize("loss", [*LOSSES, "kto"])
def test_micro_batches_change_nothing(loss: str, tiny_tokenizer: Any) -> None:
    network, reference = make_network("gpt2", seed=1), make_network("gpt2")
    task = make_preference(tiny_tokenizer, loss=loss)
    examples = measured(task, reference, random_rated(7) if loss == "kto" else random_pairs(7))
    whole, wanted = loss_and_gradients(task, network, one_each(task, examples))
    if loss == "kto":
        assert task.objective._kl.item() > 0.1, "a reference point of 0 would hide its batches"
    parts, gradients = loss_and_gradients(task, network, one_each(task, examples, 2))
    assert parts == pytest.approx(whole, rel=1e-5)
    assert largest_difference(wanted, gradients) <= 1e-5


def test_the_reference_point_of_kto_carries_no_gradient_and_is_never_below_zero(tiny_tokenizer: Any) -> None:
    network, reference = make_network("llama"), make_network("llama", seed=1)
    task = make_preference(tiny_tokenizer, loss="kto")
    examples = measured(task, reference, random_rated(5))
    (batch,) = one_each(task, examples)
    task.objective.begin_step(network, [batch])
    assert not task.objective._kl.requires_grad
    others = [by_hand(network, e.prompt_ids, examples[i - 1].answer) - e.reference[1] for i, e in enumerate(examples)]
    assert task.objective._kl.item() == pytest.approx(max(0.0, sum(others) / len(others)), rel=1e-4)
    certain = [replace(example, reference=(0.0, 0.0)) for example in examples]
    task.objective.begin_step(network, one_each(task, certain))
    assert task.objective._kl.item() == 0.0


def pairs_as_rated(count: int, seed: int = 0) -> list[RatedExample]:
    """Pairs as `kto` gets them: two rated answers after each prompt."""
    return [
        RatedExample(pair.prompt_ids, answer, good, pair.place)
        for pair in random_pairs(count, seed)
        for answer, good in ((pair.chosen, True), (pair.rejected, False))
    ]


def others_in(batch: Any) -> list[tuple[int, list[int]]]:
    """For each row with an answer to another prompt, its position in the batch and that answer's tokens."""
    rows = batch.extras.get("other_rows", torch.zeros(0)).tolist()
    targets = batch.extras["other_targets"].tolist() if rows else []
    return [(row, [one for one in answer if one != IGNORED]) for row, answer in zip(rows, targets, strict=True)]


@pytest.mark.parametrize("size", [None, 1, 3, 4], ids=["whole", "single rows", "threes", "fours"])
def test_no_answer_of_a_pair_is_compared_with_its_own_prompt(size: int | None, tiny_tokenizer: Any) -> None:
    """In whatever batches the rows come, also in those of one row and in the last, incomplete one."""
    examples = pairs_as_rated(5)
    task = make_preference(tiny_tokenizer, loss="kto")
    found = [
        (examples[batch.examples[row]], answer)
        for batch in one_each(task, examples, size)
        for row, answer in others_in(batch)
    ]
    assert len(found) == 10
    for example, answer in found:
        assert answer not in [other.answer.ids for other in examples if other.prompt_ids == example.prompt_ids]
    used = sorted(answer for _, answer in found)
    assert used == sorted(example.answer.ids for example in examples), "each answer once"


def test_the_reference_point_on_pairs_by_hand(tiny_tokenizer: Any) -> None:
    network, reference = make_network("llama", seed=1), make_network("llama")
    task = make_preference(tiny_tokenizer, loss="kto")
    examples = measured(task, reference, pairs_as_rated(4))
    ratios = []
    for number, example in enumerate(examples):
        other = examples[number - 2].answer  # of the pair before, better with better and worse with worse
        ratios.append(by_hand(network, example.prompt_ids, other) - by_hand(reference, example.prompt_ids, other))
    for size in (None, 3):
        task.objective.begin_step(network, one_each(task, examples, size))
        assert task.objective._kl.item() == pytest.approx(max(0.0, sum(ratios) / len(ratios)), rel=1e-4, abs=1e-6)
    assert sum(ratios) > 0, "a reference point of 0 would compare nothing"


@pytest.mark.parametrize("count", [1, 3])
def test_without_another_prompt_the_reference_point_is_zero(count: int, tiny_tokenizer: Any) -> None:
    network, reference = make_network("llama"), make_network("llama", seed=1)
    task = make_preference(tiny_tokenizer, loss="kto")
    prompt = random_pairs(1)[0].prompt_ids
    bare = [replace(example, prompt_ids=prompt) for example in random_rated(count)]
    examples = measured(task, reference, bare)
    assert [example.reference[1] for example in examples] == [0.0] * count
    batches = one_each(task, examples)
    loss, gradients = loss_and_gradients(task, network, batches)
    assert task.objective._kl is None
    ratio = torch.tensor([by_hand(network, e.prompt_ids, e.answer) - e.reference[0] for e in examples])
    good = torch.tensor([example.good for example in examples])
    assert loss == pytest.approx(kto_loss(ratio, good, torch.zeros(()), 0.1, (1.0, 1.0)).mean().item(), rel=1e-4)
    assert gradients
    assert len(evaluated_by(task, network, examples).outputs) == count


def test_a_step_without_other_prompts_forgets_the_point_of_the_step_before(tiny_tokenizer: Any) -> None:
    network, reference = make_network("llama"), make_network("llama", seed=1)
    task = make_preference(tiny_tokenizer, loss="kto")
    task.objective.begin_step(network, one_each(task, measured(task, reference, random_rated(5))))
    assert task.objective._kl is not None
    alone = measured(task, reference, random_rated(1))
    task.objective.begin_step(network, one_each(task, alone))
    assert task.objective._kl is None


def test_an_answer_that_leaves_no_room_for_another_prompt_is_cut(tiny_tokenizer: Any) -> None:
    task = make_preference(tiny_tokenizer, loss="kto", context=24)
    long, short = Answer([5] * 23, [5] * 23), Answer([6], [6])
    start = tiny_tokenizer.bos_token_id or 9
    examples = [RatedExample([7], long, True, "a:1"), RatedExample([start, *[8] * 22], short, False, "a:2")]
    (batch,) = one_each(task, examples)
    assert batch.extras["other_ids"].shape == (2, 24)


def test_the_adapter_switched_off_is_the_reference(tiny_tokenizer: Any) -> None:
    """A separate copy of the base gives the same log-probabilities, and none is needed."""
    from burnish.methods import make_method

    base = make_network("llama")
    task = make_preference(tiny_tokenizer)
    expected = [example.reference for example in measured(task, base, random_pairs(5))]
    network = with_method(make_network("llama"), "lora")
    assert [example.reference for example in measured(task, network, random_pairs(5))] != expected
    without = make_method("lora").without(network)
    assert without is not None
    with without:
        assert [example.reference for example in measured(task, network, random_pairs(5))] == expected


def test_a_reference_once_measured_stays(tiny_tokenizer: Any) -> None:
    task = make_preference(tiny_tokenizer)
    examples = measured(task, make_network("llama"), random_pairs(3))
    again = task.objective.prepare_examples(make_network("llama", seed=1), examples, one_each(task, examples), "fp32")
    assert again == examples


def test_measuring_leaves_no_gradient_and_the_mode_as_it_was(tiny_tokenizer: Any) -> None:
    network = make_network("llama").train()
    measured(make_preference(tiny_tokenizer), network, random_pairs(2))
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("loss", ["dpo", "ipo", "kto"])
def test_the_base_is_measured_against_itself(loss: str, tiny_tokenizer: Any) -> None:
    network = make_network("llama")
    task = make_preference(tiny_tokenizer, loss=loss)
    bare = random_rated(6) if loss == "kto" else random_pairs(6)
    examples = task.objective.prepare_examples(network, bare, one_each(task, bare, 2), "fp32")
    evaluated = evaluated_by(task, network, examples, 2)
    result = figures(task, evaluated)
    assert result["reward accuracy"] == 0.5
    assert result["reward margin"] == 0.0
    assert "50 %" in task.scorer.remark(evaluated)


def test_the_figures_of_pairs(tiny_tokenizer: Any) -> None:
    tuned, base = make_network("llama"), make_network("llama", seed=1)
    task = make_preference(tiny_tokenizer, beta=0.5)
    examples = measured(task, base, random_pairs(8))
    evaluated = evaluated_by(task, tuned, examples, 3)
    ratios = [
        [by_hand(tuned, e.prompt_ids, a) - by_hand(base, e.prompt_ids, a) for a in (e.chosen, e.rejected)]
        for e in examples
    ]
    tokens = sum(len(e.chosen.ids) + len(e.rejected.ids) for e in examples)
    result = figures(task, evaluated)
    assert result["reward accuracy"] == sum(better > worse for better, worse in ratios) / 8
    assert result["reward margin"] == pytest.approx(sum(0.5 * (b - w) for b, w in ratios) / 8, rel=1e-4)
    assert result["KL to the base (on the data's answers)"] == pytest.approx(sum(map(sum, ratios)) / tokens, rel=1e-4)
    assert task.scorer.headline in result


def test_the_figures_without_a_reference(tiny_tokenizer: Any) -> None:
    network = make_network("llama")
    task = make_preference(tiny_tokenizer, loss="simpo", beta=2.0)
    examples = random_pairs(8)
    means = [[by_hand(network, e.prompt_ids, a) / len(a.ids) for a in (e.chosen, e.rejected)] for e in examples]
    result = figures(task, evaluated_by(task, network, examples, 3))
    assert result == {
        "reward accuracy": sum(better > worse for better, worse in means) / 8,
        "reward margin": pytest.approx(sum(2 * (b - w) for b, w in means) / 8, rel=1e-4),
    }


def test_the_figures_of_rated_answers(tiny_tokenizer: Any) -> None:
    tuned, base = make_network("llama", seed=1), make_network("llama")
    task = make_preference(tiny_tokenizer, loss="kto", beta=0.5)
    examples = measured(task, base, random_rated(9))
    result = figures(task, evaluated_by(task, tuned, examples, 2))
    ratios = [by_hand(tuned, e.prompt_ids, e.answer) - by_hand(base, e.prompt_ids, e.answer) for e in examples]
    good = [0.5 * ratio for ratio, e in zip(ratios, examples, strict=True) if e.good]
    bad = [0.5 * ratio for ratio, e in zip(ratios, examples, strict=True) if not e.good]
    point = task.objective._kl.item()
    right = sum((ratio > point) == e.good for ratio, e in zip(ratios, examples, strict=True))
    assert result["reward accuracy"] == right / 9
    assert result["reward of good answers"] == pytest.approx(sum(good) / len(good), rel=1e-4)
    assert result["reward of bad answers"] == pytest.approx(sum(bad) / len(bad), rel=1e-4)
    assert result["reward margin"] == pytest.approx(sum(good) / len(good) - sum(bad) / len(bad), rel=1e-3)
    assert figures(task, evaluated_by(task, tuned, examples)) == pytest.approx(result, rel=1e-4), (
        "batches do not matter"
    )


def test_the_better_answer_is_the_known_one(tiny_tokenizer: Any) -> None:
    task = make_preference(tiny_tokenizer)
    question = task.predictor.question(PAIR)
    assert (question.prompt, question.answer, question.place) == (
        "Which colour has the fox?",
        "It is red.",
        "rows.jsonl:1",
    )
    assert question.prompt_ids == task.encoder.encode(PAIR, CONTEXT).examples[0].prompt_ids
    assert task.predictor.question(RATED).answer == "It is red."
    assert task.predictor.question(replace(RATED, good=False)) is None
    assert tiny_tokenizer.eos_token_id in task.predictor.stop_ids


def test_another_answer_never_makes_a_row_longer_than_the_context(tiny_tokenizer: Any) -> None:
    task = make_preference(tiny_tokenizer, loss="kto", context=24)
    long, short = Answer([5] * 20, [5] * 20), Answer([6], [6])
    examples = [RatedExample([7] * 4, long, True, "a:1"), RatedExample([8] * 23, short, False, "a:2")]
    (batch,) = one_each(task, examples)
    assert batch.extras["other_ids"].shape[1] == 24
    assert batch.extras["other_ids"][1].tolist() == [8] * 4 + [5] * 20


def test_a_method_that_mixes_rows_gets_one_answer_a_row(tiny_tokenizer: Any) -> None:
    task = make_preference(tiny_tokenizer)
    assert len(one_each(task, random_pairs(2))[0].input_ids) == 2
    task.encoder.disable_packing()
    assert task.objective.inspect_model(make_network("llama")) == []
    assert len(one_each(task, random_pairs(2))[0].input_ids) == 4


def test_every_record_is_served_with_the_prompt_that_it_was_trained_with(tiny_tokenizer: Any) -> None:
    task = make_preference(tiny_tokenizer)
    for record in (PAIR, RATED):
        (example,) = task.encoder.encode(record, CONTEXT).examples
        prompt, answer = task.predictor.trained_prompt(record, example)
        assert task.predictor.served_prompts(record) == [prompt]
        assert tiny_tokenizer.decode(answer).startswith("It is red.")
    bad = replace(RATED, completion=BAD, good=False)
    assert task.predictor.question(bad) is None
    assert task.predictor.served_prompts(bad) == [], "no answer of it is worth giving"
