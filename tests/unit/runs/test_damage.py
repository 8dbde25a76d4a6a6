"""Damaged runs: each is named with its reason, and the others are listed as ever."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from burnish.errors import InputError
from burnish.recipe.load import dump_recipe
from burnish.recipe.schema import Recipe
from burnish.runs import description
from burnish.runs.damage import DamagedRun
from burnish.runs.description import describe_run, describe_runs
from burnish.runs.event_log import EventLog, read_events
from burnish.runs.events import Finished, Note, StepDone, Validated
from burnish.runs.folder import RunFolder, checkpoint_folders, find_run, is_leftover, list_runs
from burnish.runs.lock import RECORD, Writer, writer_of
from burnish.runs.sweep_folder import SweepFolder, SweepState, describe_sweep, find_sweep, list_sweeps
from tests.snapshots import check_message


def make_run(runs: Path, name: str, steps: int = 4) -> RunFolder:
    """A finished run whose best validation was the second of four."""
    folder = RunFolder(runs / name)
    folder.adapter.mkdir(parents=True)
    section = {"name": "seedling"}
    recipe = Recipe(name=name, task="chat", method="lora", data={"path": "/rows.jsonl"}, model=section)  # pyright: ignore[reportArgumentType]
    folder.recipe.write_text(dump_recipe(recipe), encoding="utf-8")
    folder.manifest.write_text('{"seed": 0}')
    folder.evaluation.write_text('{"verdict": "better"}')
    log = EventLog(folder.path)
    log(Validated(0, 4.0, {}, False, 0.1))
    for step in range(1, steps + 1):
        log(StepDone(step, steps, step / 2, 3.0 + 1 / step, 1e-3, 0.7, 100, 60, 0.25, 2.0))
        if step % (steps // 4) == 0:
            log(Validated(step, 2.0 + abs(step - steps // 2) / steps, {}, step <= steps // 2, 0.1))
    log(Note("a line separator \u2028 is not the end of a line"))
    log(Finished(steps // 2, 4.0, 2.0, 3.25, str(folder.adapter), "it is the best"))
    return folder


def cut(path: Path) -> None:
    """Half of the file is missing."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def with_line(line: bytes) -> Callable[[Path], object]:
    """Adds a line at the end."""
    return lambda path: path.write_bytes(path.read_bytes() + line + b"\n")


def holding(content: bytes) -> Callable[[Path], object]:
    """Replaces the content."""
    return lambda path: path.write_bytes(content)


DAMAGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "recipe without YAML": ("recipe.yaml", holding(b"task: [chat\n")),
    "recipe that is a list": ("recipe.yaml", holding(b"- 1\n")),
    "recipe without a model": ("recipe.yaml", holding(b"task: chat\nmethod: lora\ndata: {path: rows.jsonl}\n")),
    "recipe with an object of Python": (
        "recipe.yaml",
        lambda path: path.write_bytes(b"x: !!python/object/apply:pathlib.Path [x]\n" + path.read_bytes()),
    ),
    "recipe that is not UTF-8": ("recipe.yaml", holding(b"task: ch\xffat\n")),
    "manifest cut short": ("manifest.json", cut),
    "manifest that is a list": ("manifest.json", holding(b"[]")),
    "manifest that is not UTF-8": ("manifest.json", holding(b'{"a": "\xe9"}')),
    "evaluation cut short": ("evaluation.json", cut),
    "events with another line": ("events.jsonl", with_line(b"out of memory")),
    "events with a number": ("events.jsonl", with_line(b"3")),
    "events that are not UTF-8": ("events.jsonl", with_line(b"\xff\xfe")),
    "metrics with another line": ("metrics.jsonl", with_line(b"<<<<<<< HEAD")),
    "metrics with an event without values": ("metrics.jsonl", with_line(b'{"event": "StepDone"}')),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_is_named_and_the_others_are_described(damage: str, tmp_path: Path) -> None:
    whole, broken = make_run(tmp_path, "whole"), make_run(tmp_path, "broken")
    name, do = DAMAGES[damage]
    do(broken.path / name)
    found = {run["name"]: run for run in describe_runs(list_runs(str(tmp_path)))}
    assert found["broken"]["state"] == "damaged"
    assert name in found["broken"]["why"]
    assert found["whole"] == describe_run(whole)
    assert find_run("whole", str(tmp_path)) == whole
    with pytest.raises(DamagedRun) as caught:
        describe_run(broken)
        description.evaluation_of(broken)
    check_message(caught.value, {tmp_path: "FOLDER"})
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("end", [b'{"event": "Not', b"\0\0\0", b"\xff"])
def test_a_line_that_was_cut_short_is_no_damage(end: bytes, tmp_path: Path) -> None:
    """By a kill, by a full disk, or by a power failure, which may leave zeros."""
    folder = make_run(tmp_path, "made")
    before = describe_run(folder)
    for path in (folder.events, folder.metrics):
        path.write_bytes(path.read_bytes() + end)
    assert describe_run(folder) == before
    number = len(read_events(folder.events))
    EventLog(folder.path)(Note("the next one"))
    events = read_events(folder.events)
    assert [len(events), events[-1].get("text")] == [number + 1, "the next one"]
    assert all(line.endswith(b"}") for line in folder.events.read_bytes().split(b"\n")[:-1])


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "made")
    assert [line["text"] for line in read_events(folder.events) if line["event"] == "Note"] == [
        "a line separator \u2028 is not the end of a line"
    ]


@pytest.mark.parametrize("block", [1, 7, 300, 1 << 18])
def test_the_end_of_a_log_says_the_same_as_all_of_it(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(description, "_BLOCK_BYTES", block)
    folder = make_run(tmp_path, "made", 40)
    lines = read_events(folder.metrics)
    found = describe_run(folder)
    assert found["training_loss"] == [line for line in lines if line["event"] == "StepDone"][-1]["loss"]
    assert (found["step"], found["total_steps"], found["best_step"]) == (40, 40, 20)
    assert (found["validation_loss_before"], found["validation_loss_best"]) == (4.0, 2.0)
    assert [found["kept"][name]["loss"] for name in ("validation", "last_validation")] == [2.0, 2.5]
    log = folder.events.read_text(encoding="utf-8").split("\n")
    folder.events.write_text("\n".join(line for line in log if '"Finished"' not in line), encoding="utf-8")
    assert describe_run(folder)["validation_loss_before"] == 4.0


def test_only_the_end_of_a_long_log_is_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(tmp_path, "made", 4000)
    parsed: list[bytes] = []
    parse = description.parse_event
    monkeypatch.setattr(description, "parse_event", lambda line: parsed.append(line) or parse(line))
    assert describe_run(folder)["best_step"] == 2000
    assert len(parsed) < 10


def test_copies_of_checkpoints_are_not_checkpoints(tmp_path: Path) -> None:
    for name in ("step-000010", "step-000009", "step-000008 (copy)", "step-000008.bak", "step-", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-000011").touch()
    assert [path.name for path in checkpoint_folders(tmp_path)] == ["step-000009", "step-000010"]
    assert checkpoint_folders(tmp_path / "nowhere") == []


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'{"asked": {}, "runs": 3}'])
def test_a_damaged_sweep_is_in_no_other_sweeps_way(content: bytes, tmp_path: Path) -> None:
    for name in ("broken", "mine"):
        (tmp_path / name).mkdir()
        SweepFolder(tmp_path / name).write(SweepState({"over": name}))
    (tmp_path / "broken" / "sweep.json").write_bytes(content)
    described = {sweep.name: describe_sweep(sweep)["state"] for sweep in list_sweeps(str(tmp_path))}
    assert described == {"broken": "damaged", "mine": "can be continued"}
    assert find_sweep(tmp_path, None, "sweep", {"over": "mine"}) == (SweepFolder(tmp_path / "mine"), True)
    assert find_sweep(tmp_path, None, "new", {"over": "other"}) == (SweepFolder(tmp_path / "new"), False)
    with pytest.raises(InputError, match="is damaged"):
        find_sweep(tmp_path, "broken", "sweep", {"over": "broken"})


@pytest.mark.parametrize(
    "change", [{"since": 1e30}, {"process": -1}, {"process": "1"}, {"host": 3}, {"since": None}, "[" * 100_000]
)
def test_a_record_of_a_writer_that_cannot_be_is_no_writer(change: Any, tmp_path: Path) -> None:
    record = {**asdict(Writer.here("trained")), **change} if isinstance(change, dict) else change
    text = record if isinstance(record, str) else json.dumps(record)
    (tmp_path / RECORD).write_text(text, encoding="utf-8")
    assert writer_of(tmp_path) is None


@pytest.mark.parametrize("name", ["../other", "/tmp", "a/b"])
def test_a_sweep_stays_in_its_folder(name: str, tmp_path: Path) -> None:
    state = {"asked": {}, "runs": [{"name": name, "setting": {}, "seed": 0}]}
    (tmp_path / "sweep.json").write_text(json.dumps(state), encoding="utf-8")
    assert describe_sweep(SweepFolder(tmp_path))["state"] == "damaged"


def test_a_users_folder_is_no_leftover(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "events.jsonl").write_text('{"event": "click"}\n', encoding="utf-8")
    assert not is_leftover(tmp_path)
    (tmp_path / ".lock").write_text("", encoding="utf-8")
    assert is_leftover(tmp_path)


@pytest.mark.parametrize("kind", ["StepDone", "Validated"])
@pytest.mark.parametrize("is_first", [True, False], ids=["first", "last"])
def test_a_loss_that_is_no_number_is_named_with_its_line(kind: str, is_first: bool, tmp_path: Path) -> None:
    """`runs` and `show` read only the ends of a log."""
    folder = make_run(tmp_path, "one")
    lines = [json.loads(line) for line in folder.metrics.read_text(encoding="utf-8").splitlines()]
    numbers = [number for number, line in enumerate(lines) if line["event"] == kind]
    chosen = numbers[0] if is_first else numbers[-1]
    lines[chosen]["loss"] = "2.0"
    folder.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (found,) = describe_runs([folder])
    if kind == "StepDone" and is_first:
        assert found["state"] == "finished", "it is not read"
    else:
        assert found["state"] == "damaged"
        assert f"in line {chosen + 1}, `loss` has a wrong value" in found["why"]


def test_a_line_longer_than_any_event_is_named_after_a_few_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, "one")
    with run.metrics.open("ab") as file:
        file.write(b'{"event": "StepDone", "loss": ' + b"1" * 5000 + b"}\n")
    monkeypatch.setattr(description, "_BLOCK_BYTES", 100)
    monkeypatch.setattr(description, "LONGEST_BYTES", 1000)
    with pytest.raises(DamagedRun) as caught:
        describe_run(run)
    assert "a line that is longer than any event" in caught.value.why
