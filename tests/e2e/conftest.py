"""Commands as a user types them, each in an empty folder; and runs that several tests look at."""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command_result import CommandResult, adapter_bytes
from tests.forked import Forked, command
from tests.tiny_data import write_rows

Burnish = Callable[..., CommandResult]
EXACT = "--set model.device=cpu --set model.precision=fp32"
"""On every machine the same arithmetic."""
BRIEF = "--set evaluate.answers=0 --set evaluate.general=none"
"""Without what takes long and is tried elsewhere."""
SHORT = f"{EXACT} --set train.max_steps=4 --set batch.tokens=256 {BRIEF}"
LONG_STEPS = 60
LONG = (
    f"{EXACT} --set train.max_steps={LONG_STEPS} --set train.epochs=100 --set train.early_stopping=false "
    f"--set save.every=4 --set evaluate.every=25 {BRIEF}"
)
"""Long enough to be stopped on the way, with many checkpoints."""


@pytest.fixture(scope="session")
def base(tiny_model: Callable[[str], Path]) -> Path:
    """Folder of a tiny base model. Nothing writes into it."""
    return tiny_model("llama")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def burnish(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Burnish:
    """Runs a command in this process: `burnish("train rows.jsonl", stdin="")`. In its output, `.` is `here`."""
    from burnish.cli.main import main

    def run(words: str, stdin: str = "") -> CommandResult:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = main(shlex.split(words))
        out, err = capsys.readouterr()
        return CommandResult(code, out.replace(str(here), "."), err.replace(str(here), "."))

    return run


@pytest.fixture(scope="session")
def rows_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty questions with answers. Nothing writes into it."""
    return write_rows(tmp_path_factory.mktemp("data") / "rows.jsonl")


@pytest.fixture(scope="session")
def made_runs(tmp_path_factory: pytest.TempPathFactory, base: Path, rows_file: Path) -> Path:
    """A folder with two runs of the same recipe: `whole` went to its end, `stopped` got SIGINT after step 2 of 4."""
    import burnish
    from burnish.errors import Interrupted
    from burnish.runs.events import StepDone

    def stop(event: Any) -> None:
        if isinstance(event, StepDone) and event.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    runs = tmp_path_factory.mktemp("made") / "runs"
    options: dict[str, Any] = {"model": base, "runs": runs, "max_steps": 4, "precision": "fp32", "device": "cpu"}
    shared = {"batch.tokens": 256, "evaluate.answers": 0}
    burnish.train(rows_file, name="whole", set=shared, **options)
    with pytest.raises(Interrupted, match="stopped after step 2 of 4"):
        burnish.train(rows_file, name="stopped", set=shared, listeners=[stop], **options)
    return runs


@pytest.fixture(scope="session")
def predicting_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that label, with one label or several, score pairs, tag, answer and fill in words. Read only."""
    import burnish
    from tests.e2e.test_span import save_encoder, write_questions
    from tests.tiny_classifiers import reviews, save_reader
    from tests.tiny_taggers import save_tagger, write_conll

    folder = tmp_path_factory.mktemp("predicting")
    runs, reader, rows = folder / "runs", save_reader(folder / "reader", "bert"), reviews(40)
    pairs = [{"sentence1": text, "sentence2": rows[0][0], "score": len(text) / 9} for text, _ in rows]

    def file(name: str, lines: list[dict[str, Any]]) -> Path:
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return folder / name

    data = {
        "labels": (file("labels.jsonl", [{"text": text, "label": label} for text, label in rows]), reader),
        "several": (file("several.jsonl", [{"text": text, "labels": [label, "x"]} for text, label in rows]), reader),
        "pairs": (file("pairs.jsonl", pairs), reader),
        "tags": (write_conll(folder / "tags.conll", 40), save_tagger("bert", folder / "tagger")),
        "spans": (write_questions(folder / "spans.json", 40), save_encoder(folder / "answerer")),
        "masks": (file("masks.jsonl", [{"text": text} for text, _ in rows]), reader),
    }
    quick = {"precision": "fp32", "device": "cpu", "learning_rate": 0.01, "max_steps": 2}
    few = {"evaluate.every": 100, "evaluate.answers": 0, "evaluate.general": "none"}
    for name, (path, model) in data.items():
        task = {"task": "fill-mask"} if name == "masks" else {}
        burnish.train(path, model=model, runs=runs, name=name, set=few, **task, **quick)
    return runs


@pytest.fixture(scope="session")
def straight(tmp_path_factory: pytest.TempPathFactory, base: Path, rows_file: Path) -> bytes:
    """The adapter of a run of the recipe `LONG` that nothing stopped."""
    from burnish.cli.main import main

    runs = tmp_path_factory.mktemp("straight")
    assert main(shlex.split(f"train {rows_file} --model {base} --runs {runs} --name straight {LONG} --quiet")) == 0
    return adapter_bytes(runs / "straight")


@pytest.fixture
def runs(here: Path, made_runs: Path) -> Path:
    """A copy of `made_runs` in the working directory, to be changed at will."""
    shutil.copytree(made_runs, here / "runs")
    return here / "runs"


@pytest.fixture
def start(here: Path) -> Iterator[Callable[[str], Forked]]:
    """Starts a command in a process of its own; what still runs at the end of the test is killed."""
    started: list[Forked] = []

    def run(words: str) -> Forked:
        started.append(Forked(command(shlex.split(words))))
        return started[-1]

    yield run
    for process in started:
        process.close()
