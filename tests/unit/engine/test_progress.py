"""Where a run stands, and which checkpoint is the best."""

from __future__ import annotations

import json
import math

import numpy
import pytest

from burnish.engine.progress import Progress
from burnish.metrics.measure import Measure, mean, value
from tests.snapshots import check_text
from tests.unit.engine.made_curves import loss_of


def record(progress: Progress, step: int, loss: float) -> bool:
    """A validation that is ranked by its loss."""
    return progress.record(step, loss, -loss)


def test_a_run_begins_at_nothing() -> None:
    progress = Progress()
    assert (progress.step, progress.seconds, progress.stopped) == (0, 0.0, False)
    assert (progress.best_loss, progress.worse) == (None, 0)


def test_the_base_is_never_the_best() -> None:
    progress = Progress()
    assert not record(progress, 0, 1.0)
    assert progress.best_step is None
    assert progress.best_loss is None
    assert progress.worse == 0
    assert record(progress, 5, 2.0), "worse than the base, but the best that training has"
    assert (progress.best_step, progress.best_loss) == (5, 2.0)


def test_the_best_is_the_first_of_the_lowest() -> None:
    progress = Progress()
    losses = [(0, 3.0), (2, 2.0), (4, 1.5), (6, 1.5), (8, 1.7)]
    assert [record(progress, step, loss) for step, loss in losses] == [False, True, True, False, False]
    assert (progress.best_step, progress.best_loss) == (4, 1.5)
    assert progress.worse == 2


def test_the_lowest_is_the_first_of_equals() -> None:
    progress = Progress()
    for step, loss in [(0, 3.0), (2, 2.0), (4, 1.5), (6, 1.5)]:
        record(progress, step, loss)
    assert progress.row_results["lowest"].step == 4


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


def test_row_results_of_older_checkpoints_are_found_under_their_old_name() -> None:
    progress = Progress()
    record(progress, 0, 3.0)
    values = progress.to_dict()
    assert values["row_results"]
    values["sheets"] = values.pop("row_results")
    assert Progress.from_dict(values) == progress


def test_in_older_checkpoints_the_best_validation_was_the_highest() -> None:
    progress = Progress(step=6, validations=[(2, 2.0), (4, 1.0), (6, 1.2)], best_step=4, best_score=-1.0)
    new = ("highest_step", "highest_score", "row_results")
    read = Progress.from_dict({key: value for key, value in progress.to_dict().items() if key not in new})
    assert not record(read, 8, 1.1)
    assert record(read, 10, 0.9)


def test_row_results_of_the_best_in_older_checkpoints_are_those_of_the_highest_if_that_was_the_best() -> None:
    progress = Progress()
    play(progress, losses_of(0.0, -0.5))
    values = progress.to_dict()
    values["row_results"]["best"] = values["row_results"].pop("highest")
    assert Progress.from_dict(values) == progress
    assert "highest" not in Progress.from_dict({**values, "highest_step": 4}).row_results


def test_the_score_ranks_and_of_equal_scores_the_lower_loss() -> None:
    progress = Progress()
    scores = [(1, 0.9, 0.5), (2, 0.5, 0.4), (3, 0.8, 0.5), (4, 0.7, 0.6), (5, 0.1, 0.6), (6, 0.2, 0.6)]
    assert [progress.record(*one) for one in scores] == [True, False, True, True, True, False]
    assert (progress.best_step, progress.best_loss, progress.best_score) == (5, 0.1, 0.6)
    assert Progress.from_dict(progress.to_dict()) == progress


def losses_of(*shifts: float, rows: int = 50, jitter: float = 0.02) -> list[Measure]:
    """The losses of validations of the same rows, each shifted from the first by so much and a little noise a row."""
    source = numpy.random.default_rng(0)
    level = source.gamma(2.0, 1.0, rows)
    return [loss_of(level + shift + source.normal(0, jitter, rows)) for shift in shifts]


def play(progress: Progress, losses: list[Measure], first: int = 0) -> list[bool]:
    """Records validations that are ranked by their loss, each one step after the other."""
    events = []
    for step, loss in enumerate(losses, first):
        figure = float(loss.formula(loss.table.sum(0)))
        events.append(progress.record(step, figure, -figure, [loss]))
    return events


def scores_of(*shares: float, rows: int = 50) -> list[Measure]:
    """The accuracy of validations of the same rows; each row that is right stays so while the share grows."""
    return [mean("accuracy", numpy.arange(rows) < round(share * rows)) for share in shares]


def play_labels(progress: Progress, losses: list[Measure], scores: list[Measure], first: int = 0) -> list[bool]:
    """Records validations that are ranked by their accuracy."""
    pairs = enumerate(zip(losses, scores, strict=True), first)
    return [progress.record(step, value(loss), value(score), [loss, score]) for step, (loss, score) in pairs]


def test_of_losses_the_lowest_is_the_best_and_one_within_the_noise_does_not_count_as_worse() -> None:
    progress = Progress()
    assert play(progress, losses_of(0.0, -0.5, -0.503, -0.499, -0.499)) == [False, True, True, False, False]
    assert progress.validations[4][1] > progress.validations[2][1], "the later one is plainly higher"
    assert (progress.best_step, progress.highest_step, progress.worse) == (2, 2, 0)


def test_a_loss_that_has_surely_risen_counts_as_worse() -> None:
    progress = Progress()
    assert play(progress, losses_of(0.0, -0.5, -0.499, -0.4, -0.45)) == [False, True, False, False, False]
    assert (progress.best_step, progress.worse) == (1, 2)
    assert play(progress, losses_of(-0.6), 5) == [True]
    assert (progress.best_step, progress.worse) == (5, 0)


def test_of_labels_a_later_one_that_is_lower_by_luck_alone_is_the_best() -> None:
    progress = Progress()
    losses, scores = losses_of(0.0, -0.5, -0.5, -0.4, -0.5), scores_of(0.2, 0.7, 0.8, 0.76, 0.4)
    assert play_labels(progress, losses, scores) == [False, True, True, True, False]
    assert (progress.best_step, progress.highest_step, progress.worse) == (3, 2, 1)


def test_slow_but_steady_learning_gets_its_last_checkpoint() -> None:
    progress = Progress()
    losses = losses_of(*(-0.003 * step for step in range(30)))
    play_labels(progress, losses, scores_of(*(0.3 + 0.02 * step for step in range(30))))
    assert (progress.best_step, progress.worse) == (29, 0)


def test_what_is_chosen_is_never_shown_to_be_worse_than_the_highest() -> None:
    earlier = 0
    for seed in range(20):
        source = numpy.random.default_rng(seed)
        progress, scores = Progress(), scores_of(*numpy.clip(0.6 + source.normal(0, 0.12, 8), 0, 1))
        play_labels(progress, losses_of(*[0.0] * 8), scores)
        assert progress.best_step is not None
        assert progress.highest_step is not None
        best, highest = value(scores[progress.best_step]), value(scores[progress.highest_step])
        assert highest - best <= 0.12, "of fifty rows, seven that are lost and none that is gained are beyond chance"
        assert progress.best_step >= progress.highest_step
        earlier += progress.best_step < len(scores) - 1
    assert earlier, "the last one was never worse"


def test_with_four_rows_there_is_no_interval_and_the_plainly_best_wins() -> None:
    progress = Progress()
    assert play(progress, losses_of(0.0, -0.5, -0.52, -0.6, rows=4, jitter=0.001)) == [False, True, True, True]
    assert progress.changes(losses_of(0.0, rows=4)[0]) == {}


def test_of_equal_scores_the_later_is_the_best_whatever_the_loss_does() -> None:
    """Users want labels: a model that is surer of its mistakes has a higher loss with the same answers."""
    progress = Progress()
    right = mean("accuracy", numpy.arange(50) < 40)
    for step, loss in enumerate(losses_of(0.0, -0.3, 0.3), 1):
        assert progress.record(step, value(loss), 0.8, [loss, right])
    assert (progress.best_step, progress.highest_step) == (3, 2)


def test_a_main_metric_that_has_surely_fallen_is_not_the_best_whatever_the_loss_does() -> None:
    progress = Progress()
    early, later = losses_of(0.0, -0.3)
    assert progress.record(1, 2.0, 0.8, [early, mean("accuracy", numpy.arange(50) < 40)])
    assert not progress.record(2, 1.7, 0.6, [later, mean("accuracy", numpy.arange(50) < 30)])


def test_of_the_base_and_the_lowest_only_the_loss_is_kept() -> None:
    progress = Progress()
    right = mean("accuracy", numpy.arange(50) < 40)
    for step, loss in enumerate(losses_of(0.0, -0.3)):
        progress.record(step, value(loss), 0.8, [loss, right])
    kept = {name: (results.step, list(results.tables)) for name, results in progress.row_results.items()}
    assert kept == {"base": (0, ["loss"]), "lowest": (1, ["loss"]), "highest": (1, ["loss", "accuracy"])}


def test_comparisons_come_back_from_json_to_the_last_bit() -> None:
    progress, losses = Progress(), losses_of(0.0, -0.5, -0.501, -0.6)
    play(progress, losses[:3])
    read = Progress.from_dict(json.loads(json.dumps(progress.to_dict())))
    assert read == progress
    assert read.changes(losses[3]) == progress.changes(losses[3])
    assert read.changes(losses[3])["base"][0] == value(losses[3]) - value(losses[0])
    assert play(read, losses[3:], 3) == play(progress, losses[3:], 3) == [True]
    assert read == progress


def test_changes_are_against_the_base_the_lowest_and_guessing() -> None:
    progress, losses = Progress(), losses_of(0.0, -0.5, -0.4, -0.45)
    play(progress, losses[:3])
    result = progress.changes(losses[3], chance=losses[0])
    assert {name: change[0] for name, change in result.items()} == pytest.approx(
        {"base": -0.45, "lowest": 0.05, "chance": -0.45}, abs=0.02
    )
    assert all(low < value < high for value, low, high in result.values())


def test_the_reason_for_the_best_checkpoint() -> None:
    progress = Progress()
    assert progress.why_best() == "no rows are held out, and it is the last one"
    record(progress, 0, 3.0)
    assert progress.why_best() == "no rows are held out, and it is the last one"
    record(progress, 5, 2.0)
    assert progress.why_best() == "it is the only one that was validated"
    record(progress, 10, 2.5)
    assert progress.why_best() == "it has the best score of 2 validations"
    progress.highest_step = 10
    check_text(progress.why_best())
