"""What to change after a diagnosis: the option, its present value, and a better one."""

from __future__ import annotations

from burnish.engine.curves import Curves
from burnish.methods import make_method
from burnish.recipe.schema import Recipe


def more_evaluations(recipe: Recipe, total_steps: int, fewest: int) -> str:
    """For a run with too few validations.

    Args:
        recipe: fully resolved.
        total_steps: of the run.
        fewest: validations that a run should have.
    """
    if total_steps >= fewest:
        return f"`--set evaluate.every={max(1, total_steps // 10)}` (now {recipe.evaluate.every})"
    option, now = length_of(recipe, total_steps)
    fewer = "" if option == "train.max_steps" else ", or a lower `batch.tokens`"
    return f"Train for more steps: a higher `{option}` (now {now}){fewer}"


def lower_rate(recipe: Recipe) -> str:
    """For a run that diverges."""
    rate = float(recipe.train.learning_rate)
    lower = f"`--set train.learning_rate={rate / 10:.2g}`"
    return f"The learning rate is probably too high: try {lower} (now {rate})"


def raise_rate(recipe: Recipe, curves: Curves) -> str:
    """For a run whose losses do not move."""
    rate = float(recipe.train.learning_rate)
    if max(curves.norms) == 0:
        chosen_by = make_method(recipe.method).targets_option
        check = f"check `{chosen_by}`" if chosen_by else "try another `--method`"
        return f"No gradient reaches the trainable weights: {check}"
    higher = f"The learning rate is probably too low: try `--set train.learning_rate={10 * rate:.2g}` (now {rate})"
    more = make_method(recipe.method).more_weights
    return f"{higher}. If that does not help, too few weights are trained: {more}" if more else higher


def check_labels(recipe: Recipe) -> str:
    """For a run that is no better than guessing."""
    return (
        "The labels may not match their rows: compare a few by hand. If they do match, try a higher "
        f"`train.learning_rate` (now {recipe.train.learning_rate}) or another `model.name`"
    )


def train_less(recipe: Recipe, curves: Curves) -> str:
    """For a run that overfits."""
    best = curves.lowest
    option, now = length_of(recipe, curves.total_steps)
    done = f" (the lowest was at step {best.step} of {curves.total_steps})" if best else ""
    fewer = f"fewer `{option}` (now {now}){done}"
    if less := make_method(recipe.method).fewer_weights:
        fewer += f", {less}"
    return f"The result is an earlier checkpoint. More rows help most; otherwise use {fewer}"


def train_longer(recipe: Recipe, curves: Curves, is_falling: bool) -> str:
    """For a run that underfits.

    Args:
        recipe: fully resolved.
        curves: of the run.
        is_falling: whether the held-out loss still falls.
    """
    rate = f"a higher `train.learning_rate` (now {recipe.train.learning_rate})"
    if curves.has_stopped:
        patience = f"a higher `train.patience` (now {recipe.train.patience})"
        return f"Try {rate}, or {patience}: early stopping ended the run"
    option, now = length_of(recipe, curves.total_steps)
    longer = f"Train longer: `--set {option}={2 * now:g}` (now {now}), or try {rate}"
    if is_falling:
        return longer
    return f"{longer}. If neither helps, labels may contradict each other, or the model is too small"


def length_of(recipe: Recipe, total_steps: int) -> tuple[str, float]:
    """The option that decides how long a run is, and its value: `train.epochs` cannot go beyond `train.max_steps`."""
    most = recipe.train.max_steps
    if most is not None and most <= total_steps:
        return "train.max_steps", most
    return "train.epochs", float(recipe.train.epochs)
