"""`--processes` and torchrun, as a user starts, stops and loses them."""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from burnish.runs.event_log import read_events
from burnish.runs.folder import RunFolder
from tests.e2e.conftest import EXACT, LONG, LONG_STEPS
from tests.together import Together

Start = Callable[..., subprocess.Popen[str]]
_ROOT = Path(__file__).parents[2]
_PATIENCE_SECONDS = 400
_MOST_SECONDS = 30
"""For all processes to end after one of them has."""
PARTS = "--method lora --set batch.rows=1 --set batch.tokens=300 --set lora.dropout=0.2"
SHARDED = "--method full --set batch.rows=1 --set batch.tokens=300 --set distributed.strategy=sharded"


def words(rows: Path, base: Path, name: str = "made", parts: str = PARTS) -> str:
    """The command of a long run."""
    return f"train {rows} --model {base} --name {name} {LONG} {parts}"


def result_bytes(run: Path) -> bytes:
    """The weights of a run's result."""
    result = RunFolder(run).result
    assert result is not None
    return b"".join(path.read_bytes() for path in sorted(result.glob("*.safetensors")))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("parts", [PARTS, SHARDED], ids=["replicas", "sharded"])
def test_two_processes_stop_on_a_signal_and_go_on_to_the_same_result(
    number: signal.Signals, parts: str, start: Start, here: Path, rows_file: Path, base: Path
) -> None:
    """Stopped by a signal, a run of two saves its state, and says how to continue: here the half that is quick."""
    child = start(f"{words(rows_file, base, parts=parts)} --processes 2")
    folder = RunFolder(here / "runs" / "made")
    wait_for_step(child, folder, 6)
    child.send_signal(number)
    out, err = child.communicate(timeout=_MOST_SECONDS)
    assert child.returncode == 130, err
    assert out == ""
    stopped = [line for line in err.splitlines() if line.startswith("stopped after step")]
    assert len(stopped) == 1, err
    assert "burnish resume runs/made" in err
    step = steps(folder)
    assert stopped == [f"stopped after step {step} of {LONG_STEPS}; the state is saved"]
    assert [path.name for path in sorted(folder.checkpoints.iterdir())][-1] == f"step-{step:06d}"
    assert not list(here.glob("**/.writing-*"))


@pytest.mark.slow
def test_doctor_measures_what_processes_exchange(start: Start) -> None:
    out, err = start("doctor --processes 2 --json").communicate(timeout=_PATIENCE_SECONDS)
    found = json.loads(out)
    assert (found["processes"], found["machines"], found["is_exact"], found["can_train"]) == (2, 1, True, True), err
    assert found["bytes_per_second"] > 0
    assert (found["other_versions"], found["problems"]) == ([], [])


@pytest.mark.slow
@pytest.mark.parametrize("parts", [PARTS, SHARDED], ids=["replicas", "sharded"])
def test_any_rank_may_be_killed_at_any_moment(
    parts: str, start: Start, here: Path, rows_file: Path, base: Path
) -> None:
    straight = start(f"{words(rows_file, base, 'straight', parts)} --processes 2")
    assert straight.wait(_PATIENCE_SECONDS) == 0, straight.communicate()
    expected = result_bytes(here / "runs" / "straight")
    seed = random.randrange(10**6)
    source = random.Random(seed)
    print(f"seed {seed}")
    for number in range(3):
        folder = RunFolder(here / "runs" / f"killed-{number}")
        child = start(f"{words(rows_file, base, folder.name, parts)} --processes 2")
        wait_for_step(child, folder, source.randint(1, LONG_STEPS - 30))
        ranks = ranks_of(child)
        lost = source.randrange(2)
        ranks[lost].kill()
        _, err = child.communicate(timeout=_MOST_SECONDS)
        assert child.returncode == 1
        assert f"rank {lost} of 2 was ended by SIGKILL" in err
        assert err.count("error: ") == 1
        assert not [rank for rank in ranks if rank.is_running() and rank.status() != psutil.STATUS_ZOMBIE]
        resumed = start(f"resume runs/{folder.name} --processes 2")
        _, err = resumed.communicate(timeout=_PATIENCE_SECONDS)
        assert resumed.returncode == 0, err
        assert result_bytes(folder.path) == expected


@pytest.mark.slow
def test_a_rank_without_memory_is_named_and_nobody_waits(tmp_path: Path) -> None:
    """With sharded weights, the other process is then in the middle of a pass and waits for a part of a block."""
    together = Together("tests.numeric.sharded_loops:run_short_of_memory", 2, tmp_path)
    outputs = together.wait(_PATIENCE_SECONDS)
    assert all(together.codes)
    assert "memory ran out in rank 1 of 2" in outputs[1]
    assert "MachineError" not in outputs[0]


@pytest.mark.slow
def test_a_rank_with_other_rows_is_named_and_nobody_waits(here: Path, rows_file: Path, base: Path) -> None:
    """Two torchruns on one machine imitate two, of which one has another file under the same name."""
    other = here / "other"
    other.mkdir()
    (here / "rows.jsonl").write_text(rows_file.read_text())
    (other / "rows.jsonl").write_text(rows_file.read_text().replace("red", "pink"))
    command = f"train rows.jsonl --model {base} --name made {LONG} {PARTS}"
    nodes = torchrun([here, other], command)
    errors = [node.communicate(timeout=_PATIENCE_SECONDS)[1] for node in nodes]
    assert all(node.returncode for node in nodes)
    told = [line for error in errors for line in error.splitlines() if line.startswith("error: ")]
    assert len(told) == 1, "\n".join(errors)
    assert "rank 1 of 2 processes has other rows than rank 0" in told[0]
    assert not (here / "runs").exists() or not list((here / "runs").glob("*/recipe.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["process", "machine", "agent"])
def test_what_is_lost_is_started_again_and_the_run_goes_on(
    lost: str, start: Start, here: Path, rows_file: Path, base: Path
) -> None:
    """Two torchruns on one machine imitate two: a process of the second is killed, or its agent, or both."""
    straight = start(f"{words(rows_file, base, 'straight')} --processes 2")
    assert straight.wait(_PATIENCE_SECONDS) == 0, straight.communicate()
    command = f"{words(rows_file, base)} --or-resume"
    port = free_port()
    nodes = torchrun([here, here], command, RESTARTS, port)
    folder = RunFolder(here / "runs" / "made")
    wait_for_step(nodes[0], folder, 10)
    processes = ranks_of(nodes[1])
    for process in processes:
        process.suspend()  # without its agent, it would otherwise come to the end of this short run
    if lost != "process":
        nodes[1].kill()
        nodes[1].wait()  # its process still has its pipes
    if lost != "agent":
        for process in processes:
            process.kill()
    if lost != "process":
        nodes[1:] = torchrun([here], command, RESTARTS, port, of=2)
    if lost == "agent":
        wait_until(lambda: bool(ranks_of(nodes[1])))
        for process in processes:
            process.resume()
    outputs = [node.communicate(timeout=_PATIENCE_SECONDS) for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], outputs
    assert result_bytes(folder.path) == result_bytes(here / "runs" / "straight")
    assert not [process for process in processes if process.is_running()]


@pytest.mark.slow
def test_the_same_command_begins_a_run_and_continues_it(start: Start, here: Path, rows_file: Path, base: Path) -> None:
    command = f"{words(rows_file, base)} --or-resume --processes 2"
    straight = start(f"{words(rows_file, base, 'straight')} --processes 2")
    assert straight.wait(_PATIENCE_SECONDS) == 0, straight.communicate()
    child = start(command)
    folder = RunFolder(here / "runs" / "made")
    wait_for_step(child, folder, 10)
    child.terminate()
    assert child.wait(_MOST_SECONDS) == 130
    for _ in range(2):
        again = start(command)
        assert again.wait(_PATIENCE_SECONDS) == 0, again.communicate()
        assert result_bytes(folder.path) == result_bytes(here / "runs" / "straight")


@pytest.mark.slow
def test_a_run_is_extended_in_two_processes_as_if_it_had_been_that_long(
    start: Start, here: Path, rows_file: Path, base: Path
) -> None:
    constant = f"{PARTS} --set train.schedule=constant --set train.warmup=0"
    whole = start(f"{words(rows_file, base, 'whole', constant)} --processes 2")
    assert whole.wait(_PATIENCE_SECONDS) == 0, whole.communicate()
    shorter = words(rows_file, base, "half", constant).replace(
        f"max_steps={LONG_STEPS}", f"max_steps={LONG_STEPS // 2}"
    )
    half = start(f"{shorter} --processes 2")
    assert half.wait(_PATIENCE_SECONDS) == 0, half.communicate()
    longer = start(f"train --resume-from half --name longer --max-steps {LONG_STEPS} --processes 2")
    assert longer.wait(_PATIENCE_SECONDS) == 0, longer.communicate()
    assert result_bytes(here / "runs" / "longer") == result_bytes(here / "runs" / "whole")


@pytest.mark.slow
def test_auto_measures_one_process_and_two(start: Start, here: Path, rows_file: Path, base: Path) -> None:
    child = start(f"{words(rows_file, base)} --processes auto")
    _, err = child.communicate(timeout=3 * _PATIENCE_SECONDS)
    assert child.returncode == 0, err
    found = re.search(r"1 process with .*: .* s a step; 2 processes with .* So `--processes auto` is (\d)\.", err)
    assert found is not None, err
    manifest = json.loads((here / "runs" / "made" / "manifest.json").read_text())
    assert manifest.get("processes", 1) == int(found[1])
    assert [path.name for path in (here / "runs").iterdir() if path.is_dir()] == ["made"]


SCRIPT = """
import burnish, sys
from burnish.runs.events import StepDone

seen = []
brief = {{"evaluate.answers": 0, "batch.rows": 1}}
options = {{"model": {base!r}, "max_steps": 4, "set": brief, "listeners": [seen.append]}}
run = burnish.train({rows!r}, name=sys.argv[1], method="lora", device="cpu", {more} **options)
print(run.path.name, sum(isinstance(event, StepDone) for event in seen))
"""


@pytest.mark.slow
def test_a_script_trains_in_two_processes(here: Path, rows_file: Path, base: Path) -> None:
    """Whether it starts them, or torchrun starts the script."""
    rows = [json.loads(line) for line in rows_file.read_text().splitlines()]
    for name, more, torchrun_words in (
        ("own", "processes=2,", []),
        ("torchrun", "", ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]),
    ):
        script = here / f"{name}.py"
        script.write_text(SCRIPT.format(base=str(base), rows=rows, more=more))
        environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
        done = subprocess.run(
            [sys.executable, *torchrun_words, str(script), name], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert sorted(done.stdout.split("\n")[:-1]) in ([f"{name} 4"], [f"{name} 0", f"{name} 4"])
        assert json.loads((here / "runs" / name / "manifest.json").read_text())["processes"] == 2
    assert result_bytes(here / "runs" / "own") == result_bytes(here / "runs" / "torchrun")


def test_what_several_processes_cannot_do_is_refused_before_they_start(
    burnish: Callable[..., object], here: Path, rows_file: Path, base: Path
) -> None:
    result: object = burnish(f"train {rows_file} --model {base} --processes 2 --set model.device=cuda:1")
    assert "`model.device` is `cuda:1`, and 2 processes need a device each" in str(result)
    sharded = "--method lora --set distributed.strategy=sharded"
    result = burnish(f"train {rows_file} --model {base} --processes 2 {sharded}")
    assert "`distributed.strategy` is `sharded`, which this run cannot be" in str(result)
    assert "`--method full` or `--method freeze`" in str(result)
    result = burnish(f"train nothing.jsonl --model {base} --processes 2 {EXACT}")
    assert "nothing.jsonl" in str(result)
    assert not (here / "runs").exists()


RESTARTS = "--max-restarts 1"


def free_port() -> int:
    """Where nothing listens now."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def torchrun(
    folders: list[Path], command: str, options: str = "", port: int | None = None, of: int | None = None
) -> list[subprocess.Popen[str]]:
    """One agent with a process for each folder, as on several machines. The first is where they meet: without it, the
    others cannot go on.

    Args:
        folders: their working directories.
        command: what follows `burnish`.
        options: of torchrun.
        port: where they meet; None for one that is free.
        of: the number of all agents, if these are not all.
    """
    port = port or free_port()
    number = of or len(folders)
    agents = f"-m torch.distributed.run --nnodes {number} --nproc-per-node 1 --rdzv-backend c10d --rdzv-id made"
    line = f"{agents} --rdzv-endpoint localhost:{port} --local-addr localhost {options} -m burnish {command}"
    started = []
    for folder in folders:
        agent = subprocess.Popen(
            [sys.executable, *shlex.split(line)],
            cwd=folder,
            # as the launch files have it: without it, torchrun cannot take in an agent that was started again
            env={**os.environ, "PYTHONPATH": str(_ROOT), "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(agent)
        wait_until(lambda: is_open(port))
    return started


def is_open(port: int) -> bool:
    """Whether something on this machine listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("localhost", port)) == 0


def ranks_of(child: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that an agent has started, by rank."""
    found = [one for one in psutil.Process(child.pid).children() if "RANK" in one.environ()]
    return sorted(found, key=lambda one: int(one.environ()["RANK"]))


def steps(folder: RunFolder) -> int:
    """The last step in the metrics; 0 while there is none."""
    return max((line["step"] for line in read_events(folder.metrics)), default=0)


def wait_for_step(child: subprocess.Popen[str], folder: RunFolder, step: int) -> None:
    """Waits until a step is done, while the child lives."""

    def is_done() -> bool:
        assert child.poll() is None, child.communicate()
        return steps(folder) >= step

    wait_until(is_done)


def wait_until(is_so: Callable[[], bool]) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it does not come to be so"
        time.sleep(0.02)


def test_a_manifest_says_how_many_there_were(here: Path) -> None:
    """Nothing but a check that the name of the field is the one that `resume` asks for."""
    from burnish.lineage.manifest import draws_by_batch

    folder = RunFolder(here)
    machine = {"processor": "p", "processor_features": [], "platform": "x"}
    manifest = {
        "versions": {},
        "machine": machine,
        "device": "cpu",
        "data": {"sha256": "0"},
        "model": {"sha256": "0"},
    }
    for extra, expected in (
        ({}, False),
        ({"processes": 2}, True),
        ({"resumed": [{"step": 3, "processes": 2}]}, True),
        ({"resumed": [{"step": 3}]}, False),
    ):
        folder.manifest.write_text(json.dumps({**manifest, **extra}))
        assert draws_by_batch(folder) is expected
