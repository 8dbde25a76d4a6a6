"""`burnish plan` for this machine: time is measured in a real step, once, and kept; `burnish train` keeps it too."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from burnish.recipe.load import load_recipe
from burnish.runs.events import Event, MemoryMeasured, Note, Stage
from burnish.system import load
from burnish.workflows.plan import Place, Plan, plan
from tests.e2e.command_result import listing, read_lines
from tests.e2e.conftest import EXACT, SHORT, Burnish
from tests.forked import Forked
from tests.tiny_data import write_rows

EARLIER = "measured here earlier"


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else runs beside the tests does not count."""
    monkeypatch.setattr(load, "_seconds", lambda: (0.0, 0.0, 0.0))


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test alone."""
    folder = tmp_path_factory.mktemp("own") / "cache"
    monkeypatch.setenv("BURNISH_CACHE", str(folder))
    return folder


def made(data: Path, model: Path | str, *sets: str) -> tuple[Plan, list[Event]]:
    """The plan of a run here, and what was reported meanwhile."""
    events: list[Event] = []
    recipe = load_recipe(str(data), {"model.name": str(model)}, [*EXACT.split()[1::2], *sets]).recipe
    return plan(recipe, Place(), [events.append]), events


def stages(events: list[Event]) -> list[str]:
    """The parts of the work."""
    return [event.name for event in events if isinstance(event, Stage)]


def paces(cache: Path) -> list[dict[str, Any]]:
    """What is cached of step times."""
    return [json.loads(file.read_text(encoding="utf-8")) for file in cache.glob("paces/*.json")]


@pytest.mark.slow
def test_a_plan_measures_once(here: Path, base: Path, rows_file: Path, cache: Path) -> None:
    first, result = made(rows_file, base)
    assert first.time_source == "measured here"
    assert stages(result) == ["reading data", "tokenizing", "loading the model", "measuring a step"]
    (memory,) = [event for event in result if isinstance(event, MemoryMeasured)]
    assert memory.predicted == pytest.approx(memory.measured, rel=0.02)
    assert listing(here) == [], "nothing is written but the cache"
    assert len(paces(cache)) == len(listing(cache)) - 1 == 1

    again, result = made(rows_file, base)
    assert again.time_source == EARLIER
    assert stages(result) == ["reading data", "tokenizing"], "nothing is loaded"
    assert again.measured == first.measured
    one, other = first.to_dict(), again.to_dict()
    for name in ("step", "run", "steps", "tokens_per_second", "time_measured_at", "choices"):
        assert one[name] == other[name]
    assert one["run"]["seconds"] > one["steps"] * one["step"]["seconds"] > 0, "validations take time too"
    assert one["step"]["low"] is one["run"]["high"] is None, "what was measured has no bounds"
    (kept,) = paces(cache)
    assert one["tokens_per_second"] == pytest.approx(1 / kept["seconds_per_token"])


def test_the_command_says_where_the_time_comes_from(base: Path, rows_file: Path, burnish: Burnish) -> None:
    words = f"plan {rows_file} --model {base} {EXACT}"
    result = burnish(words)
    assert result.code == 0, result.err
    assert "; measured here\n" in result.out
    assert "measuring a step" in result.err
    result = burnish(words)
    assert f"; {EARLIER} (20" in result.out
    assert "measuring a step" not in result.err
    plan = burnish(f"{words} --json").json
    assert (plan["time_source"], plan["why_no_time"]) == (EARLIER, None)
    assert plan["time_measured_at"].endswith("+00:00")
    elsewhere = burnish(f"{words} --on T4 --json").json
    assert elsewhere["time_source"] == "from the device's specifications"
    assert elsewhere["step"]["low"] < elsewhere["step"]["seconds"]
    assert elsewhere["tokens_per_second"] == elsewhere["step_tokens"] / elsewhere["step"]["seconds"]


def test_a_run_of_a_few_seconds_tries_nothing_first(here: Path, base: Path, rows_file: Path, burnish: Burnish) -> None:
    """The trial would take as long as the training."""
    result = burnish(f"train {rows_file} --model {base} {SHORT} --name one")
    assert result.code == 0
    assert "too short for a trial" in result.err
    assert "trying a few steps" not in result.err
    kinds = {line["event"] for line in read_lines(here / "runs/one/events.jsonl")}
    assert kinds.isdisjoint({"TimePlanned", "MemoryPredicted", "CommandMeasured", "ResidentMeasured"})


def test_plan_and_training_agree_and_measure_for_each_other(
    here: Path, base: Path, rows_file: Path, burnish: Burnish, cache: Path
) -> None:
    words = f"{rows_file} --model {base} {SHORT}"
    planned = burnish(f"plan {words} --json").json
    (kept,) = paces(cache)
    assert planned["tokens_per_second"] == pytest.approx(1 / kept["seconds_per_token"])
    assert burnish(f"train {words} --name one").code == 0
    events = {line["event"]: line for line in read_lines(here / "runs/one/events.jsonl")}
    assert planned["run"]["seconds"] == events["TimePlanned"]["seconds"], "plan and training reckon alike"
    assert planned["run"]["longest"] == events["TimePlanned"]["longest"]
    assert planned["evaluation"] == {"seconds": events["TimePlanned"]["evaluation"]}
    assert planned["tokens_per_second"] == events["TimePlanned"]["tokens_per_second"]
    whole = sum(events["TimePlanned"][name] for name in ("so_far", "seconds", "evaluation"))
    assert events["CommandMeasured"]["predicted"] == pytest.approx(whole)
    assert events["CommandMeasured"]["measured"] > events["TimeMeasured"]["measured"] > 0
    assert events["ResidentMeasured"]["predicted"] == events["MemoryPredicted"]["resident"]
    assert 2 * 2**20 < events["ResidentMeasured"]["measured"] < 4 * events["MemoryPredicted"]["resident"]
    (after,) = paces(cache)
    assert after["seconds_per_token"] <= kept["seconds_per_token"], "only a faster run corrects what is cached"
    assert {**after, **{name: kept[name] for name in ("seconds_per_token", "measured")}} == kept


@pytest.mark.slow
def test_a_longer_run_is_tried_first(here: Path, base: Path, rows_file: Path, burnish: Burnish, cache: Path) -> None:
    words = f"{EXACT} --set batch.tokens=256 --set train.max_steps=40 --set train.epochs=40 --set evaluate.answers=3"
    result = burnish(f"train {rows_file} --model {base} {words} --name one")
    assert result.code == 0, result.err
    assert "trying a few steps" in result.err
    assert "of evaluation" in result.err
    assert "at the peak, of" in result.err
    (kept,) = paces(cache)
    assert min(kept["prompt_token"], kept["validation_token"], kept["seconds_per_token"], kept["checkpoint"]) > 0


@pytest.mark.slow
def test_a_pace_measured_beside_other_programs_is_measured_again(
    base: Path, rows_file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(rows_file, base)
    (file,) = cache.rglob("paces/*.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "others": 0.6}), encoding="utf-8")
    assert made(rows_file, base)[0].time_source == "measured here"


@pytest.mark.slow
def test_another_method_is_measured_for_itself(base: Path, rows_file: Path, cache: Path) -> None:
    for method in ("lora", "full"):
        planned, result = made(rows_file, base, f"method={method}")
        assert planned.time_source == "measured here"
        assert "measuring a step" in stages(result)
    assert len(paces(cache)) == 2
    assert made(rows_file, base, "method=lora", "train.epochs=2", "seed=4")[0].time_source == EARLIER


@pytest.mark.slow
def test_a_damaged_cache_is_measured_again(base: Path, rows_file: Path, cache: Path) -> None:
    made(rows_file, base)
    (file,) = cache.rglob("*.json")
    file.write_text('{"seconds_per_token": ', encoding="utf-8")
    assert made(rows_file, base)[0].time_source == "measured here"
    assert made(rows_file, base)[0].time_source == EARLIER


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_is_reported_and_no_more(base: Path, rows_file: Path, cache: Path) -> None:
    cache.write_text("in the way", encoding="utf-8")
    for _ in range(2):
        planned, result = made(rows_file, base)
        assert planned.time_source == "measured here"
        assert [event for event in result if isinstance(event, Note) and "cannot be cached" in event.text]


@pytest.mark.slow
def test_a_model_that_cannot_pack_is_reckoned_with_rows_of_their_own(here: Path, burnish: Burnish) -> None:
    """Only the loaded model shows it; the second plan, which loads nothing, has to know."""
    from transformers import BloomConfig, BloomForCausalLM

    from tests.tiny_models import make_tokenizer, save_model

    tokenizer = make_tokenizer()
    config = BloomConfig(vocab_size=len(tokenizer), hidden_size=32, n_layer=2, n_head=4, initializer_range=0.3)
    save_model(here / "bloom", BloomForCausalLM(config).float().eval(), tokenizer)
    rows = write_rows(here / "rows.jsonl", 60)
    first, result = made(rows, "bloom", "data.context=128")
    assert [event for event in result if isinstance(event, Note) and "does not keep packed" in event.text]
    again, _ = made(rows, "bloom", "data.context=128")
    assert again.time_source == EARLIER
    assert (again.measured, again.steps) == (first.measured, first.steps)
    assert burnish(f"train {rows} --model bloom --name it {EXACT} --set data.context=128").code == 0
    (event,) = read_lines(here / "runs/it/events.jsonl", "TimePlanned")
    last, _ = made(rows, "bloom", "data.context=128")
    assert last.measured is not None
    assert last.measured.run == event["seconds"]


def test_preference_pairs_are_not_gone_through_for_a_plan(here: Path, base: Path) -> None:
    """Training asks the base model about every pair first; the speed of a step does not depend on its answers."""
    rows = here / "pairs.jsonl"
    lines = [{"prompt": f"Say {number}.", "chosen": f"{number}!", "rejected": "No."} for number in range(40)]
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    planned, result = made(rows, base)
    assert (planned.task, planned.time_source) == ("preference", "measured here")
    assert "measuring the base model" not in stages(result)


def test_time_is_not_reported_where_the_weights_are_not(
    base: Path, rows_file: Path, here: Path, burnish: Burnish
) -> None:
    bare = Path(shutil.copytree(base, here / "bare"))
    (bare / "model.safetensors").unlink()
    result = burnish(f"plan {rows_file} --model ./bare {EXACT}")
    assert result.code == 0, result.err
    (line,) = [line for line in result.out.splitlines() if line.startswith("time ")]
    assert burnish(f"plan {rows_file} --model ./bare {EXACT} --json").json["why_no_time"] in line
    assert "has no weights" in line
    assert "loading the model" not in result.err
    plan = burnish(f"plan {rows_file} --model gpt2 {EXACT} --json").json
    assert plan["step"] is plan["run"] is plan["time_source"] is plan["tokens_per_second"] is None
    assert "only the config of `gpt2` is available" in plan["why_no_time"]


@pytest.mark.slow
def test_time_is_not_reported_without_rows(base: Path, burnish: Burnish) -> None:
    result = burnish(f"plan --model {base} {EXACT}")
    assert result.code == 0, result.err
    assert re.search("^time +unknown without DATA", result.out, re.MULTILINE)
    assert "loading the model" not in result.err


def test_what_does_not_fit_is_never_loaded(base: Path, rows_file: Path, burnish: Burnish, cache: Path) -> None:
    one_way = "--method lora --set batch.rows=1 --set train.gradient_checkpointing=true"
    result = burnish(f"plan {rows_file} --model {base} {EXACT} {one_way} --set model.memory=0.1MB")
    assert result.code == 3
    assert "loading the model" not in result.err
    assert not cache.exists()


@pytest.mark.slow
def test_stopped_while_measuring(here: Path, start: Callable[[str], Forked], cache: Path) -> None:
    rows = write_rows(here / "rows.jsonl", 400)
    process = start(f"plan {rows} --model seedling {EXACT} --method full --set batch.rows=8")
    deadline = time.monotonic() + 120
    while "measuring a step" not in process.written(1):
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert listing(here) == [f"rows.jsonl {rows.stat().st_size}"]
    assert paces(cache) == []
