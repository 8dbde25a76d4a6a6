"""Where a run stands, and which checkpoint is the best."""

from __future__ import annotations

import json
import math

from burnish.engine.progress import Progress


def test_the_base_is_never_the_best() -> None:
    progress = Progress()
    assert not progress.record(0, 1.0)
    assert progress.best_step is None
    assert progress.best_loss is None
    assert progress.validations_since_best() == 0
    assert progress.record(5, 2.0), "worse than the base, but the best that training has"
    assert (progress.best_step, progress.best_loss) == (5, 2.0)


def test_the_best_is_the_first_of_the_lowest() -> None:
    progress = Progress()
    losses = [(0, 3.0), (2, 2.0), (4, 1.5), (6, 1.5), (8, 1.7)]
    assert [progress.record(step, loss) for step, loss in losses] == [False, True, True, False, False]
    assert (progress.best_step, progress.best_loss) == (4, 1.5)
    assert progress.validations_since_best() == 2


def test_not_a_number_is_never_the_best() -> None:
    progress = Progress()
    assert not progress.record(2, math.nan)
    assert progress.best_step is None
    assert progress.record(4, 2.0)
    assert not progress.record(6, math.nan)
    assert progress.best_step == 4


def test_comes_back_from_json_as_it_was() -> None:
    progress = Progress(step=7, seconds=1.25, stopped=True)
    progress.record(0, 3.0)
    progress.record(5, 0.1 + 0.2)
    assert Progress.from_dict(json.loads(json.dumps(progress.to_dict()))) == progress
