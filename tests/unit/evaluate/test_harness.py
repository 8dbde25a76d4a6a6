"""lm-evaluation-harness: asked for its figures, and distinguished by what it gives for single rows."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from burnish.errors import BurnishError, InputError, MachineError
from burnish.evaluate.harness import Harness, find_harness
from burnish.metrics.intervals import difference, estimate
from burnish.metrics.measure import mean
from burnish.recipe.schema import Recipe
from burnish.tasks import make_task
from tests.tiny_models import CONTEXT, make_network

STAND_INS = Path(__file__).parents[2] / "stand_ins"


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The harness is a small package of the tests."""
    monkeypatch.syspath_prepend(str(STAND_INS))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "lm_eval"]:
        del sys.modules[name]


def test_where_it_is_not_installed_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(MachineError, match="is not installed") as caught:
        find_harness(["colours"])
    assert "pip install 'burnish[harness]'" in caught.value.fix
    assert caught.value.exit_code == 3


@pytest.mark.usefixtures("stand_in")
def test_a_task_that_there_is_not_is_named_with_the_nearest() -> None:
    with pytest.raises(InputError, match="no task `colors`") as caught:
        find_harness(["perplexing", "colors"])
    assert caught.value.fix == "Did you mean `colours`?"


@pytest.mark.usefixtures("stand_in")
def test_means_are_paired_by_row_and_other_figures_go_by_their_standard_errors(tiny_tokenizer: Any) -> None:
    harness = find_harness(["colours", "perplexing"])
    result = [harness.run(make_network("llama", seed=seed), tiny_tokenizer, CONTEXT, "fp32") for seed in (0, 1)]
    likely, loss, perplexity = harness.figures(*result)
    numbers = [[sample["likely"] for sample in side["samples"]["colours"]] for side in result]
    before, after = (mean("colours likely", side) for side in numbers)
    assert (likely.name, likely.rows, likely.is_share, likely.lower_is_better) == ("colours likely", 5, True, False)
    assert (likely.base, likely.tuned) == (estimate(before), estimate(after))
    assert likely.difference == difference(before, after)
    assert (loss.name, loss.lower_is_better) == ("colours loss", True)
    assert loss.difference.low > -math.inf
    values = [side["results"]["perplexing"]["perplexity,strict"] for side in result]
    assert (perplexity.name, perplexity.rows) == ("perplexing perplexity (strict)", 5)
    assert perplexity.lower_is_better
    assert perplexity.difference.value == pytest.approx(values[1] - values[0])
    assert perplexity.base.high - perplexity.base.value == pytest.approx(1.96 * 0.5)
    assert perplexity.difference.high - perplexity.difference.value == pytest.approx(1.96 * math.hypot(0.5, 0.5))


def test_a_failure_of_the_harness_is_reported_as_one(tiny_tokenizer: Any) -> None:
    def fail(**_: Any) -> None:
        raise KeyError("no such split")

    harness = Harness(SimpleNamespace(simple_evaluate=fail), SimpleNamespace, ["colours"])
    with pytest.raises(BurnishError, match="failed on `colours`") as caught:
        harness.run(make_network("llama"), tiny_tokenizer, CONTEXT, "fp32")
    assert "no such split" in caught.value.why


def test_there_is_room_for_what_a_model_reads_less_what_is_taken() -> None:
    harness = Harness(None, None, [])
    assert harness.room(make_network("llama").config, 20) == CONTEXT - 20


def test_models_that_write_nothing_cannot_be_asked(tiny_tokenizer: Any) -> None:
    harness = Harness(None, None, [])
    harness.check_task(make_task("chat", tiny_tokenizer, Recipe()))
    with pytest.raises(InputError, match="do not generate text"):
        harness.check_task(SimpleNamespace(name="classify", generates=False))
