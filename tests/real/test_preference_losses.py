"""On real text and real weights, each preference loss is that of its formula in plain torch, and of TRL's trainer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.nn.functional import logsigmoid

from burnish.data.preference.mismatch import other_answers
from burnish.data.rows.records import PreferenceRecord, RatedRecord
from tests.numeric.test_preference_trl import options, theirs
from tests.tiny_pairs import loss_and_gradients, make_preference, measured, one_each
from tests.tiny_training import largest_difference

pytestmark = pytest.mark.slow

CONTEXT, BETA, MARGIN, LIKELIHOOD = 256, 0.3, 0.4, 0.6
TEXTS = (
    ("How do I keep bread fresh?", "Wrap it in cloth and keep it in a cool, dry place.", "Bread is made of flour."),
    ("Name a river in Africa.", "The Nile.", "I don't know, there are so many rivers in the world!"),
    ("What is 12 times 12?", "12 times 12 is 144.", "It is 124."),
    ("Write a line about autumn.", "Leaves settle like slow applause on the path.", "Autumn is a season of the year."),
    ("Is a whale a fish?", "No. Whales are mammals: they breathe air and feed milk to their young.", "Yes."),
)
RECORDS = [
    PreferenceRecord(
        ({"role": "user", "content": asked},),
        ({"role": "assistant", "content": better},),
        ({"role": "assistant", "content": worse},),
        None,
        f"made:{number}",
    )
    for number, (asked, better, worse) in enumerate(TEXTS, 1)
]


@pytest.fixture(scope="module")
def tokenizer(real_model: Callable[[str], Path]) -> Any:
    return transformers.AutoTokenizer.from_pretrained(real_model("smollm2"))


@pytest.fixture(scope="module")
def base(real_model: Callable[[str], Path]) -> Any:
    """SmolLM2 in fp32."""
    return transformers.AutoModelForCausalLM.from_pretrained(real_model("smollm2"), dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def tuned(base: Any) -> Any:
    """The same, a little moved."""
    network = copy.deepcopy(base)
    source = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.02 * weight.std() * torch.randn(weight.shape, generator=source)
    return network


@torch.no_grad()
def by_hand(network: Any, prompt: Sequence[int], answer: Sequence[int]) -> torch.Tensor:
    """`[tokens]`: log-probabilities of an answer, by transformers alone, a sequence at a time."""
    ids = torch.tensor([[*prompt, *answer]])
    likely = network(input_ids=ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    return likely.gather(1, torch.tensor(answer)[:, None])[:, 0]


def formula(loss: str, tuned: Any, base: Any, pair: Any) -> torch.Tensor:
    """The loss of a pair, written out."""
    better, worse = (by_hand(tuned, pair.prompt_ids, answer.ids) for answer in (pair.chosen, pair.rejected))
    before = [by_hand(base, pair.prompt_ids, answer.ids) for answer in (pair.chosen, pair.rejected)]
    ratios = better.sum() - before[0].sum(), worse.sum() - before[1].sum()
    match loss:
        case "dpo":
            return -logsigmoid(BETA * (ratios[0] - ratios[1]))
        case "ipo":
            return (ratios[0] / len(better) - ratios[1] / len(worse) - 1 / (2 * BETA)) ** 2
        case "simpo":
            return -logsigmoid(BETA * (better.mean() - worse.mean()) - MARGIN)
        case "cpo":
            return -logsigmoid(BETA * (better.sum() - worse.sum())) - LIKELIHOOD * better.mean()
        case "orpo":
            odds = [mean - torch.log(-torch.expm1(mean)) for mean in (better.mean(), worse.mean())]
            return -better.mean() - BETA * logsigmoid(odds[0] - odds[1])
        case _:
            raise ValueError(loss)


def examples_of(task: Any, base: Any, records: Sequence[Any] = RECORDS) -> list[Any]:
    """The rows as the task encodes them, measured on the base model."""
    encoded = [example for record in records for example in task.encoder.encode(record, CONTEXT).examples]
    return measured(task, base, encoded)


def task_for(loss: str, tokenizer: Any, **others: Any) -> Any:
    chosen = {"loss": loss, "beta": BETA, "margin": MARGIN, "likelihood": LIKELIHOOD, **others}
    return make_preference(tokenizer, context=CONTEXT, **chosen)


@pytest.mark.parametrize("loss", ["dpo", "ipo", "simpo", "cpo", "orpo"])
def test_a_loss_of_pairs_is_its_formula(loss: str, base: Any, tuned: Any, tokenizer: Any) -> None:
    task = task_for(loss, tokenizer)
    examples = examples_of(task, base)
    found, _ = loss_and_gradients(task, tuned, one_each(task, examples, 2))
    expected = torch.stack([formula(loss, tuned, base, example) for example in examples]).mean().item()
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("repeated", [False, True], ids=["pairs", "one prompt three times"])
def test_kto_is_its_formula_with_answers_to_other_prompts(
    repeated: bool, base: Any, tuned: Any, tokenizer: Any
) -> None:
    task = task_for("kto", tokenizer)
    again = RatedRecord(RECORDS[0].prompt, ({"role": "assistant", "content": "Freeze it."},), True, None, "made:6")
    examples = examples_of(task, base, [*RECORDS, again] if repeated else RECORDS)
    found, _ = loss_and_gradients(task, tuned, one_each(task, examples, 3))

    def ratio(prompt: list[int], answer: list[int]) -> torch.Tensor:
        return by_hand(tuned, prompt, answer).sum() - by_hand(base, prompt, answer).sum()

    prompts = [tuple(example.prompt_ids) for example in examples]
    others = [examples[number] for number in other_answers(prompts) if number is not None]
    assert all(one.prompt_ids != other.prompt_ids for one, other in zip(examples, others, strict=True))
    pairs = zip(examples, others, strict=True)
    point = torch.stack([ratio(one.prompt_ids, other.answer.ids) for one, other in pairs]).mean().clamp(min=0)
    assert task.objective._kl.item() == pytest.approx(point.item(), rel=1e-3, abs=1e-4)
    terms = []
    for example in examples:
        above = BETA * (ratio(example.prompt_ids, example.answer.ids) - point)
        terms.append(torch.sigmoid(-above if example.good else above))
    assert found == pytest.approx(torch.stack(terms).mean().item(), rel=1e-4)


def as_text(record: PreferenceRecord, tokenizer: Any) -> dict[str, str]:
    """The row as text up to the end of its answers: of messages, TRL also learns the newline after it."""
    prompt = tokenizer.apply_chat_template(list(record.prompt), add_generation_prompt=True, tokenize=False)
    answers = (answer[0]["content"] + tokenizer.eos_token for answer in (record.chosen, record.rejected))
    return {"prompt": prompt, **dict(zip(("chosen", "rejected"), answers, strict=True))}


@pytest.mark.parametrize("loss", ["dpo", "ipo", "kto", "cpo", "simpo"])
def test_a_loss_is_trls(loss: str, base: Any, tuned: Any, tokenizer: Any, tmp_path: Path) -> None:
    from datasets import Dataset

    twin = copy.deepcopy(tuned)
    rows = [as_text(record, tokenizer) for record in RECORDS]
    single = loss in ("cpo", "simpo")  # TRL's CPO takes the mean of its likelihood over a batch, not over each pair
    given = {**options(tmp_path, 1 if single else len(rows)), "max_length": CONTEXT}
    task, records = task_for(loss, tokenizer), RECORDS[:1] if single else RECORDS
    trainer: Any
    if loss == "kto":
        from trl.trainer.kto_config import KTOConfig
        from trl.trainer.kto_trainer import KTOTrainer

        rated = [
            {"prompt": row["prompt"], "completion": row["chosen"], "label": number % 2 == 0}
            for number, row in enumerate(rows)
        ]
        trainer = KTOTrainer(
            twin,
            base,
            KTOConfig(**given, beta=BETA),
            train_dataset=Dataset.from_list(rated),
            processing_class=tokenizer,
        )
        records = [
            RatedRecord(record.prompt, record.chosen, number % 2 == 0, None, record.place)
            for number, record in enumerate(RECORDS)
        ]
    elif single:
        from trl.experimental.cpo import CPOConfig, CPOTrainer

        kind = {"loss_type": "simpo", "cpo_alpha": 0.0} if loss == "simpo" else {"cpo_alpha": LIKELIHOOD}
        args = CPOConfig(**given, beta=BETA, simpo_gamma=MARGIN, **kind)
        trainer = CPOTrainer(twin, args=args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
    else:
        from trl.trainer.dpo_config import DPOConfig
        from trl.trainer.dpo_trainer import DPOTrainer

        args = DPOConfig(**given, beta=BETA, loss_type=["sigmoid" if loss == "dpo" else loss])
        trainer = DPOTrainer(twin, base, args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
    expected, wanted, _ = theirs(trainer, twin)
    found, gradients = loss_and_gradients(task, tuned, one_each(task, examples_of(task, base, records)))
    assert found == pytest.approx(expected, rel=1e-3)
    assert largest_difference(wanted, gradients) <= 1e-3
    tuned.zero_grad(set_to_none=True)
