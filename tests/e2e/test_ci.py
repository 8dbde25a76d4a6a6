"""What a CI runs: some forty commands with `--json`, of which it reads nothing but objects and exit codes."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from burnish.cli.schemas import schemas
from tests.e2e.conftest import Burnish
from tests.e2e.test_push import push
from tests.stand_ins.hub import stand_in_hub

pytestmark = pytest.mark.slow

SHORT = (
    "--max-steps 3 --set evaluate.answers=2 --set evaluate.general=none --set evaluate.every=2 "
    "--set evaluate.max_new_tokens=5 --set model.device=cpu"
)
CHATS, LABELS, BROKEN = "chats.jsonl", "labels.jsonl", "broken.jsonl"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with rows for two tasks, and broken ones."""
    monkeypatch.chdir(tmp_path)
    chats = [{"prompt": f"What is {n} and {n}?", "completion": f"It is {2 * n}."} for n in range(60)]
    labels = [
        {"text": f"{n} the song was {'good' if n % 2 else 'bad'}", "label": "good" if n % 2 else "bad"}
        for n in range(60)
    ]
    for name, rows in ((CHATS, chats), (LABELS, labels)):
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with Path(BROKEN).open("w", encoding="utf-8") as file:
        file.write(Path(CHATS).read_text(encoding="utf-8") + '{"prompt": "alone"}\nnonsense\n')
    return tmp_path


class Ci:
    """Runs commands, and holds what they print to its schema."""

    def __init__(self, burnish: Burnish) -> None:
        self._burnish = burnish
        self._schemas = schemas()
        self._registry = Registry().with_resources(
            (name, Resource.from_contents(schema)) for name, schema in self._schemas.items()
        )
        self.count = 0
        self.commands = set[str]()

    def __call__(self, line: str, code: int = 0, stdin: str = "") -> dict[str, Any]:
        """The object of a command that ends with `code`."""
        result = self._burnish(f"{line} --json", stdin)
        assert result.code == code, (line, result.out, result.err)
        return self.read(line.split()[0], result.out)

    def read(self, command: str, out: str) -> dict[str, Any]:
        """The object that a command has printed."""
        self.count += 1
        self.commands.add(command)
        self.hold(f"command-{command}.json", found := json.loads(out))
        return found

    def hold(self, schema: str, found: Any) -> None:
        """Fails where a value has another form."""
        validator = Draft202012Validator(self._schemas[schema], registry=self._registry)
        errors = list(validator.iter_errors(found))
        assert not errors, [
            (one.message[:300], list(one.absolute_path)) for error in errors for one in error.context or [error]
        ]


@pytest.fixture
def ci(burnish: Burnish) -> Ci:
    return Ci(burnish)


def test_a_pipeline_reads_nothing_but_objects_and_exit_codes(ci: Ci, folder: Path, burnish: Burnish) -> None:
    look_around(ci)
    train_runs(ci)
    use_runs(ci)
    use_results(ci)
    for command in ("serve chat labels", "studio project"):
        serve(ci, command)
    assert ci.count >= 40
    assert {f"command-{name}.json" for name in (*ci.commands, "quickstart")} == {
        name for name in schemas() if name.startswith("command-")
    }
    stream(ci, burnish)
    check_files(ci, folder / "runs")


def look_around(ci: Ci) -> None:
    """This machine, the options, and the rows."""
    assert ci("doctor")["can_train"]
    assert ci("options learning rate")["options"][0]["flag"] == "--learning-rate"
    assert ci("options xyzzy", 2)["error"]["exit_code"] == 2
    assert ci("explain lora")["name"]
    assert len(ci("explain")["terms"]) > 20
    assert ci("models --task classify")["models"][0]["where"] == "bundled"
    assert ci(f"init {CHATS}")["recipe"] == "recipe.yaml"

    assert not ci(f"check {CHATS}")["blocks"]
    found = ci(f"check {BROKEN}")
    lines = {finding["name"]: finding["lines"][0]["line"] for finding in found["findings"] if finding["lines"]}
    assert lines == {"broken-json": 62, "missing-column": 61}
    assert ci(f"check {BROKEN} --strict", 2)["findings"]
    assert ci("check nothing.jsonl", 2)["error"]["what"]
    assert ci(f"plan {CHATS} {SHORT}")["peak"] > 0
    assert ci(f"train {CHATS} --lr -1", 2)["error"]["fix"]


def train_runs(ci: Ci) -> None:
    """Four runs and a sweep, and what is refused."""
    chat = ci(f"train {BROKEN} {SHORT} --name chat")
    assert (chat["state"], {row["line"] for row in chat["rejected_rows"]}) == ("finished", {61, 62})
    assert any("Left out" in warning for warning in chat["warnings"])
    assert ci(f"train {CHATS} {SHORT} --name chat", 2)["error"]["what"]
    ci(f"train recipe.yaml {SHORT} --name other --lr 1e-3")
    ci(f"train {LABELS} {SHORT} --name labels")
    assert ci(f"sweep {CHATS} {SHORT} --over train.learning_rate=1e-3,1e-2 --name tried")["winner"]
    assert ci("resume chat", 2)["error"]["what"]
    assert ci("launch-files recipe.yaml --slurm --gpus 2 --name together")["files"][0]["to"] == "slurm"


def use_runs(ci: Ci) -> None:
    """What can be done with a finished run."""
    assert {run["name"] for run in ci("runs")["runs"]} == {"chat", "other", "labels"}
    assert len(ci("show chat")["rejected_rows"]) == 2
    assert ci("show labels")["evaluation"]["tables"]
    assert Path(ci("report chat")["report"]).is_file()
    assert ci(f"evaluate labels {LABELS}")["rows"] == 60
    assert len(ci("compare chat other")["runs"]) == 2
    assert ci('generate chat "What is 3 and 3?" --max-new-tokens 5 --temperature 0.5 --top-p 0.9 --seed 1')["answers"]
    answered = ci('generate labels "the song was good"')["answers"][0]
    assert answered["label"] in answered["answer"] and answered["probability"] == max(
        answered["probabilities"].values()
    )
    assert ci(f"predict labels {LABELS} out.jsonl")["failed"] == 0
    assert Path(ci("merge chat")["folder"]).is_dir()
    assert Path(ci("export chat --to hf")["folder"]).is_dir()
    assert Path(ci("eject chat")["script"]).is_file()
    assert ci("reproduce chat")["passed"]
    assert ci("show nothing", 2)["error"]["what"]


def use_results(ci: Ci) -> None:
    """Another checkpoint, a conversation, the rules of arithmetic, and the hub: a stand-in for it."""
    other = {2, 3} - {ci("show chat")["best_step"]}
    assert ci(f"accept chat@{other.pop()} --answers 1")["state"] == "finished"
    assert ci("accept chat@7", 2)["error"]["what"]
    said = ci("chat chat --max-new-tokens 4", stdin="Hello.\nWho are you?\n/exit\n")["messages"]
    assert [one["role"] for one in said] == ["user", "assistant"] * 2
    assert ci(f"selftest {CHATS} --set model.device=cpu")["passed"]
    with stand_in_hub() as hub:
        pushed = push(hub, Path("runs"), "chat anna/helpdesk")
        assert pushed.returncode == 0, pushed.stderr
        assert ci.read("push", pushed.stdout)["is_private"]
        refused = push(hub, Path("runs"), "chat helpdesk")
        assert (refused.returncode, ci.read("push", refused.stdout)["error"]["exit_code"]) == (2, 2)


def serve(ci: Ci, command: str) -> None:
    """A command that answers until it is stopped: its object comes as soon as it does, and is all that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "burnish", *command.split(), "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        found = ci.read(command.split()[0], process.stdout.readline())
        if command.startswith("serve"):
            assert found["models"] == ["chat", "labels"]
            listed = requests.get(f"{found['address']}/models", timeout=60).json()
            assert {one["id"] for one in listed["data"]} >= {"chat", "labels"}
        else:
            assert requests.get(found["address"], timeout=60).status_code == 200
        process.send_signal(signal.SIGINT)
        assert (process.stdout.read(), process.wait(timeout=120)) == ("", 0)
    finally:
        process.kill()
    taken = ci("serve nothing", 2)
    assert taken["error"]["what"]


def test_the_quickstart_is_an_object_too(ci: Ci, folder: Path) -> None:
    assert ci("quickstart")["evaluation"]["verdict_kind"]


def stream(ci: Ci, burnish: Burnish) -> None:
    """Events as they come, and the result or the error as the last line."""
    streamed = burnish(f"train {CHATS} {SHORT} --name streamed --json-lines")
    *events, last = map(json.loads, streamed.out.splitlines())
    for event in events:
        ci.hold("event.json", event)
    assert (last["event"], last["result"]["state"]) == ("Result", "finished")
    assert {event["event"] for event in events} >= {"Stage", "StepDone", "Validated", "CheckpointSaved", "Finished"}
    failed = burnish("train nothing.jsonl --json-lines")
    assert json.loads(failed.out.splitlines()[-1])["event"] == "Failed"


def check_files(ci: Ci, runs: Path) -> None:
    """Every file of the run folders is valid JSON and has the mode that the umask leaves; logs hold events alone."""
    mask = os.umask(0)
    os.umask(mask)
    for path in files_in(runs):
        if path.suffix == ".json":
            strictly(path.read_text(encoding="utf-8"))
        elif path.suffix == ".jsonl":
            for line in path.read_text(encoding="utf-8").splitlines():
                found = strictly(line)
                if path.name in ("events.jsonl", "metrics.jsonl"):
                    ci.hold("event.json", found)
        if sys.platform != "win32":
            assert stat.S_IMODE(path.stat().st_mode) & 0o066 == 0o066 & ~mask, path


def files_in(folder: Path) -> Iterator[Path]:
    """All files but locks."""
    return (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def strictly(text: str) -> Any:
    """JSON as its standard has it, without NaN and Infinity."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)
