"""Settings that Optuna chooses: reproducible, within their ranges, whole where the option is."""

from __future__ import annotations

import pytest

from burnish.recipe.grid import read_over

pytest.importorskip("optuna")

OVER = ["train.learning_rate=1e-5..1e-3", "lora.rank=4..64", "train.schedule=cosine,linear"]


def settings(number: int, seed: int = 0) -> list[dict[str, object]]:
    """The first settings, of which those with a high rate are the better ones."""
    from burnish.evaluate.suggestions import Suggestions

    suggestions, found = Suggestions(read_over(OVER, number), seed), []
    for _ in range(number):
        setting = suggestions.ask()
        suggestions.learn(float(setting["train.learning_rate"]))
        found.append(setting)
    return found


def test_the_same_seed_and_results_give_the_same_settings() -> None:
    assert settings(14) == settings(14)
    assert settings(4) == settings(14)[:4]
    assert settings(4, seed=1) != settings(4)


def test_values_are_within_their_ranges() -> None:
    for setting in settings(14):
        assert 1e-5 <= setting["train.learning_rate"] <= 1e-3
        assert isinstance(setting["lora.rank"], int)
        assert 4 <= setting["lora.rank"] <= 64
        assert setting["train.schedule"] in ("cosine", "linear")


def test_a_wide_range_is_searched_on_a_log_scale() -> None:
    rates = sorted(float(setting["train.learning_rate"]) for setting in settings(10))
    assert rates[4] < 3e-4


def test_a_failed_run_has_no_result() -> None:
    from burnish.evaluate.suggestions import Suggestions

    suggestions = Suggestions(read_over(OVER, 3), 0)
    suggestions.ask()
    suggestions.learn(None)
    assert suggestions.ask()
