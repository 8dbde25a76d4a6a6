"""A run folder written by hand: as far as it went, with whatever its rows say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from burnish.recipe.load import dump_recipe
from burnish.recipe.schema import Recipe
from burnish.runs.event_log import EventLog
from burnish.runs.events import (
    CommandMeasured,
    DataChecked,
    DataReady,
    Diagnosed,
    Event,
    Finished,
    MemoryMeasured,
    MemoryPlanned,
    ModelReady,
    ResidentMeasured,
    Resolved,
    Spiked,
    StepDone,
    TimeMeasured,
    TimePlanned,
    Validated,
    Warned,
)
from burnish.runs.folder import RunFolder


def make_recipe(**options: Any) -> Recipe:
    """A resolved recipe on local files; options by dotted names, with `__` for the dot."""
    given: dict[str, Any] = {"task": "chat", "method": "lora", "name": "mine"}
    given["model"], given["data"] = {"name": "/secret/home/models/tiny"}, {"path": "/secret/home/rows.jsonl"}
    for name, value in options.items():
        section, _, last = name.rpartition("__")
        if section:
            given.setdefault(section, {})[last] = value
        else:
            given[last] = value
    return Recipe.model_validate(given)


def make_run(folder: Path, word: str = "word", steps: int = 40, done: int | None = None, **options: Any) -> RunFolder:
    """A run of `steps` steps, of which `done` are done; all of them where nothing is said.

    Args:
        folder: is made.
        word: stands wherever a run reports of rows, files, labels or names.
        steps: of the whole run.
        done: fewer than `steps` for a run that was interrupted.
        options: of the recipe.
    """
    run = RunFolder(folder / "mine")
    run.checkpoints.mkdir(parents=True)
    run.recipe.write_text(dump_recipe(make_recipe(**options)), encoding="utf-8")
    run.manifest.write_text(json.dumps(manifest(word)), encoding="utf-8")
    run.rejected.write_text(
        json.dumps({"file": f"/secret/home/{word}", "line": 3, "reason": f"{word} is empty"}) + "\n"
    )
    token = {"id": 7, "text": word, "is_learned": True, "is_special": False}
    passage = {"name": word, "tokens": [token, {**token, "is_special": True}], "note": word}
    run.views.write_text(json.dumps([{"place": f"/secret/home/{word}:1", "passages": [passage]}] * 3), encoding="utf-8")
    log = EventLog(run.path)
    for event in beginning(word):
        log(event)
    count = steps if done is None else done
    for event in course(steps, count, word):
        log(event)
    (run.checkpoints / f"step-{count:06d}").mkdir()
    if done is None:
        run.adapter.mkdir()
        for event in ending(steps):
            log(event)
        run.evaluation.write_text(json.dumps(evaluation(word)), encoding="utf-8")
    return run


def manifest(word: str) -> dict[str, Any]:
    """As `make_manifest` makes it."""
    return {
        "versions": {"burnish": "0.1.0", "torch": "2.11", "datasets": None},
        "machine": {"processor": word, "cores": 2, "platform": "linux", "processor_features": []},
        "device": "cpu",
        "precision": "fp32",
        "seed": 0,
        "data": {"sha256": "d" * 64, "files": [f"/secret/home/{word}"], "file_sha256": [None], "rows": 36},
        "model": {"name": "/secret/home/models/tiny", "sha256": "a" * 64},
    }


def beginning(word: str) -> list[Event]:
    """What is reported before the first step."""
    finding = {"name": word, "severity": "warns", "count": 2, "places": [f"/secret/home/{word}:4: {word}"]}
    return [
        DataReady(word, "chat", 36, 4, 1, 1200, 600, 9, test_rows=5),
        DataChecked(40, [{**finding, "what": word, "fix": word}]),
        Resolved("train.learning_rate", 0.001, f"because of {word}"),
        ModelReady("/secret/home/models/tiny", "lora", "cpu", "fp32", 1000, 100, 4000, 4000),
        MemoryPlanned("cpu", "lora", 4, 64, False, {"weights": 4000, "batch": 0}, {"Python": 9000}, 0, 10**9, word),
        MemoryMeasured(4000, 4100),
        TimePlanned(10.0, 500.0),
        Warned(f"Look at {word}."),
    ]


def course(steps: int, done: int, word: str) -> list[Event]:
    """Steps whose loss falls, evaluated every ten of them."""
    events: list[Event] = [Validated(0, 3.0, {"perplexity": 20.0}, False, 0.1)]
    for step in range(1, done + 1):
        loss = 3.0 / (1 + step / 10)
        events.append(StepDone(step, steps, step / 10, loss, 1e-3, 0.5, 100, 60, 0.25, 2.0))
        if step % 10 == 0:
            changes = {"base": [loss + 0.1 - 3.0, loss - 3.1, loss - 2.7]}
            events.append(Validated(step, loss + 0.1, {"perplexity": 9.0}, True, 0.1, changes))
    events.append(Spiked(min(5, max(done, 1)), "loss", 9.5, 2.0, [f"/secret/home/{word}:17"]))
    events.append(Diagnosed(10, "learning", f"the loss fell, says {word}", ""))
    return events


def ending(steps: int) -> list[Event]:
    """What is reported after the last step."""
    return [
        ResidentMeasured(13000, 12500),
        TimeMeasured(10.0, 11.0),
        CommandMeasured(20.0, 21.0),
        Finished(steps, 3.0, 0.7, 11.0, "adapter"),
    ]


def estimate(value: float, low: float | None, high: float | None) -> dict[str, float | None]:
    """A figure of one model."""
    return {"value": value, "low": low, "high": high}


def evaluation(word: str) -> dict[str, Any]:
    """Base against tuned on four rows."""
    loss = {
        "name": "loss",
        "base": estimate(3.0, 2.8, 3.2),
        "tuned": estimate(0.7, 0.6, 0.8),
        "difference": estimate(-2.3, -2.5, -2.1),
        "lower_is_better": True,
        "is_share": False,
        "rows": 4,
    }
    share = {
        "name": word,
        "base": estimate(0.25, 0.1, 0.5),
        "tuned": estimate(0.75, None, None),
        "difference": estimate(0.5, None, None),
        "lower_is_better": False,
        "is_share": True,
        "rows": 3,
    }
    answer = {"prompt": word, "expected": word, "base": "", "tuned": word, "place": f"/secret/home/{word}:2"}
    return {
        "rows": 4,
        "trained_tokens": 40,
        "held_out": "held out from the training data",
        "headline": "loss",
        "figures": [loss, share],
        "tables": [{"title": word, "columns": [word, "F1"], "rows": [[word, 0.5], [word, None]]}],
        "answers": [answer],
        "note": f"Note {word}.",
        "training": [{**loss, "tuned": estimate(0.1, 0.0, 0.2), "rows": 4}],
        "general": {
            "source": f"`{word}.txt`",
            "tokens": 90,
            "loss": {**loss, "tuned": estimate(4.0, 3.9, 4.1), "rows": 5},
        },
        "harness": [{**share, "name": f"{word}_easy acc"}],
        "by_heart": f"Part of {word} is learned by heart.",
        "verdict": "The tuned model is better than the base on 4 held-out rows: the loss fell by 2.300.",
    }
