"""Losses, rewards and gradients of TRL's trainers, on the same pairs."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.data.batching.batches import Batch
from burnish.data.preference.format import Answer, PairExample, RatedExample
from burnish.data.tokens.text_pairs import ReadTokens
from burnish.engine.validation import HeldOut, evaluate_rows
from burnish.metrics.measure import value
from burnish.recipe.schema import DataSection, Recipe
from burnish.tasks import make_task
from burnish.tasks.reward import ScoredPair
from tests.tiny_models import make_network
from tests.tiny_pairs import loss_and_gradients, make_preference, measured, one_each
from tests.tiny_training import largest_difference

TOLERANCE = 1e-4
_COUNT = 6
_EOS = "<|im_end|>"
_WORDS = ("red", "fox", "garden", "small", "boat", "blue", "water", "five", "green", "hat", "yellow", "coat", "old")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    """Prompts and answers as text. Prompts end with a special token: nothing merges across it."""
    source = random.Random(5)

    def said() -> str:
        return " ".join(source.choice(_WORDS) for _ in range(source.randint(2, 5)))

    return [
        {"prompt": f"<|im_start|>{said()}<|im_start|>", "chosen": said() + _EOS, "rejected": said() + _EOS}
        for _ in range(_COUNT)
    ]


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text)["input_ids"]


def pairs_of(rows: list[dict[str, str]], tokenizer: Any) -> list[PairExample]:
    def answer(text: str) -> Answer:
        return Answer(ids_of(tokenizer, text), ids_of(tokenizer, text))

    return [
        PairExample(ids_of(tokenizer, row["prompt"]), answer(row["chosen"]), answer(row["rejected"]), f"made:{number}")
        for number, row in enumerate(rows)
    ]


def options(folder: Path, size: int = _COUNT) -> dict[str, Any]:
    """What every trainer is given: fp32 on the CPU, all rows in one batch, in their order."""
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": size,
        "train_sampling_strategy": "sequential",
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "gradient_checkpointing": False,
        "max_length": 64,
    }


def theirs(trainer: Any, network: Any) -> tuple[float, dict[str, torch.Tensor], dict[str, Any]]:
    """Loss and gradients of a trainer's first batch, and the batch."""
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, dict(batch))
    trainer.model.zero_grad(set_to_none=True)
    loss.backward()
    named = network.named_parameters()
    return loss.item(), {name: p.grad.clone() for name, p in named if p.grad is not None}, batch


def figures(task: Any, network: Any, examples: list[Any], batches: list[Batch]) -> dict[str, float]:
    """The task's figures on these examples."""
    evaluated = evaluate_rows(network, task, HeldOut(batches, examples, list(range(len(examples)))), "fp32")
    return {measure.name: value(measure) for measure in task.scorer.measures(evaluated)}


@pytest.mark.parametrize(("loss", "smoothing", "share"), [("dpo", 0.0, True), ("dpo", 0.2, False), ("ipo", 0.0, True)])
def test_dpo_is_trls(
    loss: str, smoothing: float, share: bool, rows: list[dict[str, str]], tiny_tokenizer: Any, tmp_path: Path
) -> None:
    from datasets import Dataset
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    network, reference = make_network("llama"), make_network("llama", seed=1)
    twin = copy.deepcopy(network)
    kind = {"dpo": "aot" if smoothing else "sigmoid", "ipo": "ipo"}[loss]
    args = DPOConfig(**options(tmp_path), beta=0.3, loss_type=[kind], label_smoothing=smoothing)
    if kind == "aot":  # sorts a batch first: with one pair a batch that is conservative DPO
        args.per_device_train_batch_size = 1
    trainer = DPOTrainer(
        twin, copy.deepcopy(reference), args, train_dataset=Dataset.from_list(rows), processing_class=tiny_tokenizer
    )
    expected, wanted, batch = theirs(trainer, twin)

    task = make_preference(tiny_tokenizer, loss=loss, beta=0.3, label_smoothing=smoothing, share_prompt=share)
    examples = measured(task, reference, pairs_of(rows, tiny_tokenizer)[: len(batch["input_ids"]) // 2])
    first = examples[0].prompt_ids + examples[0].chosen.ids
    assert batch["input_ids"][0, : len(first)].tolist() == first, "the trainers must read the same tokens"
    batches = one_each(task, examples)
    loss_value, gradients = loss_and_gradients(task, network, batches)

    assert loss_value == pytest.approx(expected, rel=TOLERANCE)
    assert largest_difference(wanted, gradients) <= TOLERANCE
    result = figures(task, network, examples, batches)
    logged = {name: values[-1] for name, values in trainer._metrics["train"].items()}
    assert result["reward margin"] == pytest.approx(logged["rewards/margins"], rel=TOLERANCE)
    assert result["reward accuracy"] == pytest.approx(logged["rewards/accuracies"], rel=TOLERANCE)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.5, 0.5)])
def test_kto_is_trls(
    weights: tuple[float, float], rows: list[dict[str, str]], tiny_tokenizer: Any, tmp_path: Path
) -> None:
    from datasets import Dataset
    from trl.trainer.kto_config import KTOConfig
    from trl.trainer.kto_trainer import KTOTrainer

    network, reference = make_network("llama"), make_network("llama", seed=1)
    twin = copy.deepcopy(network)
    rated = [
        {"prompt": row["prompt"], "completion": row["chosen"], "label": number % 3 > 0}
        for number, row in enumerate(rows)
    ]
    args = KTOConfig(**options(tmp_path), beta=0.3, desirable_weight=weights[0], undesirable_weight=weights[1])
    trainer = KTOTrainer(
        twin, copy.deepcopy(reference), args, train_dataset=Dataset.from_list(rated), processing_class=tiny_tokenizer
    )
    expected, wanted, batch = theirs(trainer, twin)

    task = make_preference(tiny_tokenizer, loss="kto", beta=0.3, good_weight=weights[0], bad_weight=weights[1])
    bare = [
        RatedExample(pair.prompt_ids, pair.chosen, number % 3 > 0, pair.place)
        for number, pair in enumerate(pairs_of(rows, tiny_tokenizer))
    ]
    examples = measured(task, reference, bare)
    batches = one_each(task, examples)
    other = batches[0].extras["other_ids"][1]
    assert batch["KL_input_ids"][1, : len(other)].tolist() == other.tolist()[: batch["KL_input_ids"].shape[1]]
    loss_value, gradients = loss_and_gradients(task, network, batches)

    logged = {name: values[-1] for name, values in trainer._metrics["train"].items()}
    assert logged["kl"] > 0, "a reference point of 0 would compare nothing"
    assert task.objective._kl.item() == pytest.approx(logged["kl"], rel=TOLERANCE)
    assert loss_value == pytest.approx(expected, rel=TOLERANCE)
    assert largest_difference(wanted, gradients) <= TOLERANCE
    result = figures(task, network, examples, batches)
    assert result["reward of good answers"] == pytest.approx(logged["rewards/chosen"], rel=TOLERANCE)
    assert result["reward of bad answers"] == pytest.approx(logged["rewards/rejected"], rel=TOLERANCE)
    assert result["reward margin"] == pytest.approx(logged["rewards/margins"], rel=TOLERANCE)


@pytest.mark.parametrize(("loss", "smoothing"), [("cpo", 0.0), ("cpo", 0.1), ("simpo", 0.0)])
def test_losses_without_a_reference_are_trls(
    loss: str, smoothing: float, rows: list[dict[str, str]], tiny_tokenizer: Any, tmp_path: Path
) -> None:
    """One pair in a batch: TRL takes the mean of CPO's likelihood over all tokens of a batch, we over a pair's."""
    from datasets import Dataset
    from trl.experimental.cpo import CPOConfig, CPOTrainer

    network = make_network("llama")
    twin = copy.deepcopy(network)
    args = CPOConfig(
        **options(tmp_path, size=1),
        beta=0.7,
        loss_type="simpo" if loss == "simpo" else "sigmoid",
        simpo_gamma=0.4,
        cpo_alpha=0.0 if loss == "simpo" else 0.6,
        label_smoothing=smoothing,
    )
    trainer = CPOTrainer(twin, args=args, train_dataset=Dataset.from_list(rows), processing_class=tiny_tokenizer)
    expected, wanted, _ = theirs(trainer, twin)

    task = make_preference(tiny_tokenizer, loss=loss, beta=0.7, margin=0.4, likelihood=0.6, label_smoothing=smoothing)
    loss_value, gradients = loss_and_gradients(task, network, one_each(task, pairs_of(rows, tiny_tokenizer)[:1]))
    assert loss_value == pytest.approx(expected, rel=TOLERANCE)
    assert largest_difference(wanted, gradients) <= TOLERANCE


def test_the_odds_ratio_is_trls(rows: list[dict[str, str]], tiny_tokenizer: Any, tmp_path: Path) -> None:
    """TRL's likelihood term counts the prompt too; the paper's, and ours, counts the answer. The rest is the same."""
    from datasets import Dataset
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    network = make_network("llama")
    twin = copy.deepcopy(network)
    args = ORPOConfig(**options(tmp_path, size=1), beta=0.7)
    trainer = ORPOTrainer(twin, args=args, train_dataset=Dataset.from_list(rows), processing_class=tiny_tokenizer)
    batch = next(iter(trainer.get_train_dataloader()))
    _, logged = trainer.get_batch_loss_metrics(trainer.model, batch, "train")

    pair = pairs_of(rows, tiny_tokenizer)[0]
    task = make_preference(tiny_tokenizer, loss="orpo", beta=0.7)
    loss_value, _ = loss_and_gradients(task, network, one_each(task, [pair]))
    likelihood = -logged["logps/chosen"]  # per token of the answer
    assert loss_value == pytest.approx(likelihood - 0.7 * logged["log_odds_ratio"], rel=TOLERANCE)


def test_the_reward_model_is_trls(rows: list[dict[str, str]], tiny_tokenizer: Any, tmp_path: Path) -> None:
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification
    from trl.trainer.reward_config import RewardConfig
    from trl.trainer.reward_trainer import RewardTrainer

    torch.manual_seed(0)
    config = make_network("llama").config
    config.num_labels = 1
    network = AutoModelForSequenceClassification.from_config(config).float()
    twin = copy.deepcopy(network)
    trainer = RewardTrainer(
        twin,
        args=RewardConfig(**options(tmp_path), disable_dropout=True),
        train_dataset=Dataset.from_list(rows),
        processing_class=tiny_tokenizer,
    )
    expected, wanted, batch = theirs(trainer, twin)

    task = make_task("reward", tiny_tokenizer, Recipe(data=DataSection(context=64)))
    examples = [
        ScoredPair(
            ReadTokens(pair.prompt_ids + pair.chosen.ids, None, 0),
            ReadTokens(pair.prompt_ids + pair.rejected.ids, None, 0),
            "",
            "",
            pair.place,
        )
        for pair in pairs_of(rows, tiny_tokenizer)
    ]
    first = examples[0].chosen.input_ids
    assert batch["input_ids"][0, : len(first)].tolist() == first
    batches = one_each(task, examples)
    loss_value, gradients = loss_and_gradients(task, network, batches)

    assert loss_value == pytest.approx(expected, rel=TOLERANCE)
    assert largest_difference(wanted, gradients) <= TOLERANCE
    logged = {name: values[-1] for name, values in trainer._metrics["train"].items()}
    result = figures(task, network, examples, batches)
    assert result["accuracy"] == pytest.approx(logged["accuracy"])
    assert result["margin"] == pytest.approx(logged["margin"], rel=TOLERANCE)
