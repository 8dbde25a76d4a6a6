"""A training in several processes that a script starts: the command that it is, its events and its errors."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from burnish.errors import BurnishError, Interrupted
from burnish.jobs import together
from burnish.jobs.together import run_together, words_of
from burnish.recipe.load import load_recipe
from burnish.runs.events import Event, Note, Progressed, StepDone, Validated, as_dict, event_of

STEP = StepDone(1, 2, 0.5, 2.5, 1e-4, 1.0, 10, 5, 0.1, 0.2)


@pytest.mark.parametrize(
    "event", [Note("hm"), Progressed("rows", 1, 2), STEP, Validated(1, 2.0, {"f": 1.0}, True, 0.1)]
)
def test_an_event_comes_back_as_it_was(event: Event) -> None:
    assert event_of(json.loads(json.dumps({**as_dict(event), "time": 1.5}))) == event


def test_the_command_has_what_was_asked_for_and_nothing_else(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("{}\n")
    flags = {"model.name": "seedling", "train.epochs": 2, "model.trust_remote_code": True}
    loaded = load_recipe(str(rows), flags, ["lora.rank=4", "evaluate.metric=mine:score"])
    words = words_of(loaded, tmp_path, {"train.max_steps": 3})
    again = load_recipe(words[1], {}, words[3::2])
    assert words[0] == "train"
    assert set(words[2::2]) == {"--set"}
    asked = {name for name, origin in again.origins.items() if origin != "default"}
    assert asked == {*flags, "data.path", "lora.rank", "evaluate.metric", "runs", "train.max_steps"}
    assert again.recipe == loaded.recipe.with_options(train={"max_steps": 3})


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets a shell script stand in for Burnish."""

    def become(lines: list[dict[str, Any]], code: int, said: str = "") -> None:
        (tmp_path / "lines").write_text("".join(json.dumps(line) + "\n" for line in lines))
        script = tmp_path / "python"
        script.write_text(f"#!/bin/bash\ncat {shlex.quote(str(tmp_path / 'lines'))}\necho '{said}' >&2\nexit {code}\n")
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))

    return become


def test_listeners_get_the_events_and_the_folder_is_returned(command: Any, tmp_path: Path) -> None:
    command([as_dict(STEP), as_dict(Note("hm")), {"event": "Result", "result": {"path": "runs/made"}}], 0)
    seen: list[Event] = []
    assert run_together(["train", "recipe.yaml"], [seen.append]) == Path("runs/made")
    assert seen == [STEP, Note("hm")]


@pytest.mark.parametrize(("code", "kind"), [(2, BurnishError), (130, Interrupted)])
def test_the_error_of_the_command_is_raised(code: int, kind: type[BurnishError], command: Any) -> None:
    error = {"what": "it is off", "why": "So.", "fix": "Do it", "exit_code": code}
    command([as_dict(STEP), {"event": "Failed", "error": error}], code)
    with pytest.raises(BurnishError) as caught:
        run_together(["train"], [])
    assert type(caught.value) is kind
    assert (caught.value.what, caught.value.why, caught.value.fix) == ("it is off", "So.", "Do it")
    assert caught.value.exit_code == code


def test_an_end_without_a_word_is_an_error(command: Any) -> None:
    command([], 7, "Killed")
    with pytest.raises(BurnishError, match="without saying why") as caught:
        run_together(["train"], [])
    assert "7. Killed" in caught.value.why


def test_threads_are_shared_unless_the_environment_says_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [together.threads_for(number, 8) for number in (1, 2, 3, 16)] == [8, 4, 2, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert together.threads_for(2, 8) == 3
