"""Checkpoints: whole or not used, and everything in them comes back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from burnish.data.batching.batches import collate_tokens
from burnish.engine.checkpoint import (
    bytes_written,
    checkpoint_path,
    folder_bytes,
    is_complete,
    newest_complete,
    newest_usable,
    prune_checkpoints,
    restore_checkpoint,
    restore_weights,
    save_checkpoint,
)
from burnish.engine.optimizer import make_optimizer
from burnish.engine.progress import Progress
from burnish.engine.step import Trainer
from burnish.errors import BurnishError
from burnish.recipe.schema import TrainSection
from burnish.runs.atomic import TEMPORARY_PREFIX
from tests.tiny_data import random_examples
from tests.tiny_models import make_network
from tests.tiny_training import make_trainer, with_method

FILES = ("weights.safetensors", "optimizer.safetensors", "random.safetensors", "state.json")


def trainer_of(tokenizer: Any, method: str = "lora", dropout: float = 0.3) -> Trainer:
    """A trainer whose next step draws random numbers."""
    network = with_method(make_network("llama"), method, dropout=dropout)
    return make_trainer(network, tokenizer, make_optimizer(network, TrainSection(learning_rate=1e-2), {}))


def take_steps(trainer: Trainer, number: int) -> list[float]:
    """So many steps over the same rows; their losses."""
    batches = [collate_tokens(random_examples(3, 8, 20), [[0], [1], [2]], pad_id=0, packed=False)]
    return [trainer.step(batches).loss for _ in range(number)]


@pytest.fixture
def saved(tiny_tokenizer: Any, tmp_path: Path) -> Path:
    """A checkpoint of step 3."""
    trainer = trainer_of(tiny_tokenizer)
    take_steps(trainer, 3)
    return save_checkpoint(tmp_path, trainer, Progress(step=3))


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_restored_trainer_goes_on_bit_for_bit(method: str, tiny_tokenizer: Any, tmp_path: Path) -> None:
    torch.manual_seed(3)
    trainer = trainer_of(tiny_tokenizer, method)
    take_steps(trainer, 3)
    progress = Progress(step=3, validations=[(0, 5.0), (3, 4.0)], best_step=3, seconds=1.5)
    path = save_checkpoint(tmp_path, trainer, progress)
    expected = take_steps(trainer, 3)

    torch.manual_seed(99)
    other = trainer_of(tiny_tokenizer, method)
    take_steps(other, 1)
    assert restore_checkpoint(path, other) == progress
    assert take_steps(other, 3) == expected
    weights = dict(other.network.named_parameters())
    assert all(torch.equal(weight, weights[name]) for name, weight in trainer.network.named_parameters())


def test_holds_the_trained_weights_and_no_others(saved: Path) -> None:
    names = load_file(saved / "weights.safetensors").keys()
    assert names
    assert all("lora_" in name for name in names)
    assert sorted(file.name for file in saved.iterdir()) == sorted([*FILES, "checksums.json"])
    assert saved.name == "step-000003"
    assert folder_bytes(saved) == sum(file.stat().st_size for file in saved.iterdir())


@pytest.mark.parametrize("keep", [1, 3])
def test_the_room_that_a_run_takes_is_that_of_its_files(keep: int, tiny_tokenizer: Any, tmp_path: Path) -> None:
    """The checkpoints that are kept, the one that is being written, and the weights of the result."""
    trainer = trainer_of(tiny_tokenizer, "full")
    take_steps(trainer, 1)
    path = save_checkpoint(tmp_path, trainer, Progress(step=1))
    result = (path / "weights.safetensors").stat().st_size
    assert bytes_written(trainer.network, keep) == pytest.approx((keep + 1) * folder_bytes(path) + result, rel=0.1)


def test_an_untouched_checkpoint_is_whole(saved: Path) -> None:
    assert is_complete(saved)


@pytest.mark.parametrize("name", FILES)
def test_one_bit_makes_it_broken(name: str, saved: Path) -> None:
    content = bytearray((saved / name).read_bytes())
    content[len(content) // 2] ^= 1
    (saved / name).write_bytes(content)
    assert not is_complete(saved)


@pytest.mark.parametrize("name", [*FILES, "checksums.json"])
def test_a_missing_or_cut_file_makes_it_broken(name: str, saved: Path) -> None:
    content = (saved / name).read_bytes()
    (saved / name).write_bytes(content[:-20])
    assert not is_complete(saved)
    (saved / name).write_bytes(b"")
    assert not is_complete(saved)
    (saved / name).unlink()
    assert not is_complete(saved)


@pytest.mark.parametrize("content", ["{}", "[]", "null", '"x"', "{"])
def test_checksums_that_say_nothing_prove_nothing(content: str, saved: Path) -> None:
    (saved / "checksums.json").write_text(content)
    assert not is_complete(saved)


def test_the_newest_whole_one_is_found(tiny_tokenizer: Any, tmp_path: Path) -> None:
    trainer = trainer_of(tiny_tokenizer)
    take_steps(trainer, 1)
    for step in (2, 10, 100):
        save_checkpoint(tmp_path, trainer, Progress(step=step))
    (tmp_path / f"{TEMPORARY_PREFIX}step-000200-abc").mkdir()
    assert newest_complete(tmp_path) == checkpoint_path(tmp_path, 100)
    (checkpoint_path(tmp_path, 100) / "state.json").write_text("{}")
    assert newest_complete(tmp_path) == checkpoint_path(tmp_path, 10)
    for step in (2, 10):
        (checkpoint_path(tmp_path, step) / "checksums.json").unlink()
    assert newest_complete(tmp_path) is None
    assert newest_complete(tmp_path / "nowhere") is None


def test_a_checkpoint_whose_best_is_damaged_is_skipped_by_name(tiny_tokenizer: Any, tmp_path: Path) -> None:
    """At its end, the run would need the best one."""
    trainer = trainer_of(tiny_tokenizer)
    take_steps(trainer, 1)
    for step, best in ((2, 2), (4, 4), (6, 4), (8, 4)):
        save_checkpoint(tmp_path, trainer, Progress(step=step, best_step=best))
    assert newest_usable(tmp_path) == (checkpoint_path(tmp_path, 8), {})
    (checkpoint_path(tmp_path, 8) / "random.safetensors").unlink()
    found, skipped = newest_usable(tmp_path)
    assert found == checkpoint_path(tmp_path, 6)
    assert skipped == {"step-000008": "`random.safetensors` cannot be read: No such file or directory."}
    (checkpoint_path(tmp_path, 4) / "weights.safetensors").write_bytes(b"")
    found, skipped = newest_usable(tmp_path)
    assert found == checkpoint_path(tmp_path, 2)
    assert list(skipped) == ["step-000008", "step-000006", "step-000004"]
    assert "needs `step-000004`, the best so far" in skipped["step-000006"]
    shutil.rmtree(checkpoint_path(tmp_path, 2))
    assert newest_usable(tmp_path)[0] is None


def make_folders(root: Path, *steps: int) -> None:
    """Stand-ins for checkpoints."""
    for step in steps:
        checkpoint_path(root, step).mkdir()
        (checkpoint_path(root, step) / "state.json").write_text("{}")


def steps_in(root: Path) -> list[int]:
    """The steps that are left."""
    return sorted(int(path.name.removeprefix("step-")) for path in root.glob("step-*"))


def test_pruning_keeps_the_newest_and_the_best(tmp_path: Path) -> None:
    make_folders(tmp_path, 1, 2, 3, 4, 5, 6)
    prune_checkpoints(tmp_path, keep=2, best_step=3)
    assert steps_in(tmp_path) == [3, 5, 6]
    prune_checkpoints(tmp_path, keep=1, best_step=6)
    assert steps_in(tmp_path) == [6]
    make_folders(tmp_path, 999_999, 1_000_000)
    prune_checkpoints(tmp_path, keep=1, best_step=None)
    assert steps_in(tmp_path) == [1_000_000]


def test_pruning_without_a_best_keeps_the_newest(tmp_path: Path) -> None:
    make_folders(tmp_path, 1, 2, 3)
    prune_checkpoints(tmp_path, keep=5, best_step=None)
    assert steps_in(tmp_path) == [1, 2, 3]
    prune_checkpoints(tmp_path, keep=1, best_step=None)
    assert steps_in(tmp_path) == [3]


def test_pruning_clears_up_after_a_kill_and_touches_nothing_else(tmp_path: Path) -> None:
    make_folders(tmp_path, 1)
    (tmp_path / f"{TEMPORARY_PREFIX}step-000002-abc").mkdir()
    others = ["mine", "step-000001 (copy)", "step-000002.damaged"]
    for name in others:
        (tmp_path / name).mkdir()
    prune_checkpoints(tmp_path, keep=1, best_step=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, "step-000001"])


def test_the_loss_scale_comes_back(tiny_tokenizer: Any, tmp_path: Path) -> None:
    saved, other = trainer_of(tiny_tokenizer), trainer_of(tiny_tokenizer)
    saved.scaler, other.scaler = (torch.amp.GradScaler("cpu", init_scale=scale) for scale in (8.0, 64.0))
    restore_checkpoint(save_checkpoint(tmp_path, saved, Progress(step=1)), other)
    assert other.scaler.get_scale() == 8.0


def test_pruning_goes_on_after_what_it_cannot_remove(tmp_path: Path) -> None:
    (tmp_path / "step-000001").write_text("a file, which no folder is removed from")
    make_folders(tmp_path, 2, 3)
    prune_checkpoints(tmp_path, keep=1, best_step=None)
    assert steps_in(tmp_path) == [1, 3]


def test_weights_of_another_method_are_refused(saved: Path) -> None:
    other = with_method(make_network("llama"), "full")
    before = {name: weight.clone() for name, weight in other.named_parameters()}
    with pytest.raises(BurnishError, match="does not fit the model"):
        restore_weights(saved, other)
    assert all(torch.equal(weight, before[name]) for name, weight in other.named_parameters())


def test_saving_a_step_again_replaces_it(saved: Path, tiny_tokenizer: Any) -> None:
    trainer = trainer_of(tiny_tokenizer)
    take_steps(trainer, 1)
    save_checkpoint(saved.parent, trainer, Progress(step=3, seconds=9.0))
    assert is_complete(saved)
    assert json.loads((saved / "state.json").read_text())["progress"]["seconds"] == 9.0
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
