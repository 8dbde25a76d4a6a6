"""Where a run stands, and which checkpoint is the best."""

from __future__ import annotations

import json
import math

from burnish.engine.progress import Progress


def record(progress: Progress, step: int, loss: float) -> bool:
    """A validation that is ranked by its loss."""
    return progress.record(step, loss, -loss)


def test_the_base_is_never_the_best() -> None:
    progress = Progress()
    assert not record(progress, 0, 1.0)
    assert progress.best_step is None
    assert progress.best_loss is None
    assert progress.validations_since_best() == 0
    assert record(progress, 5, 2.0), "worse than the base, but the best that training has"
    assert (progress.best_step, progress.best_loss) == (5, 2.0)


def test_the_best_is_the_first_of_the_lowest() -> None:
    progress = Progress()
    losses = [(0, 3.0), (2, 2.0), (4, 1.5), (6, 1.5), (8, 1.7)]
    assert [record(progress, step, loss) for step, loss in losses] == [False, True, True, False, False]
    assert (progress.best_step, progress.best_loss) == (4, 1.5)
    assert progress.validations_since_best() == 2


def test_not_a_number_is_never_the_best() -> None:
    progress = Progress()
    assert not record(progress, 2, math.nan)
    assert progress.best_step is None
    assert record(progress, 4, 2.0)
    assert not record(progress, 6, math.nan)
    assert progress.best_step == 4


def test_comes_back_from_json_as_it_was() -> None:
    progress = Progress(step=7, seconds=1.25, stopped=True, micro_tokens=96, held_out_tokens=48)
    record(progress, 0, 3.0)
    record(progress, 5, 0.1 + 0.2)
    assert Progress.from_dict(json.loads(json.dumps(progress.to_dict()))) == progress


def test_checkpoints_that_know_no_micro_batch_are_read_too() -> None:
    old = {key: value for key, value in Progress(step=3).to_dict().items() if not key.endswith("_tokens")}
    assert Progress.from_dict(old) == Progress(step=3)


def test_the_score_ranks_and_of_equal_scores_the_lower_loss() -> None:
    progress = Progress()
    scores = [(1, 0.9, 0.5), (2, 0.5, 0.4), (3, 0.8, 0.5), (4, 0.7, 0.6), (5, 0.1, 0.6), (6, 0.2, 0.6)]
    assert [progress.record(*one) for one in scores] == [True, False, True, True, True, False]
    assert (progress.best_step, progress.best_loss, progress.best_score) == (5, 0.1, 0.6)
    assert Progress.from_dict(progress.to_dict()) == progress
