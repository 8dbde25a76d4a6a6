"""A process that the system gives too little memory: training goes on in smaller micro-batches.

The limit is a real one, on the size of the process (RLIMIT_AS), set when everything is loaded and training begins.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny_data import write_rows

PROGRAM = """
import json, resource, sys
import burnish
from burnish.runs.events import MicroBatchHalved, StepDone, TrainingStarted

rows, model, runs, room = sys.argv[1:]
steps, halved, current = [], [], {}

def listen(event):
    if isinstance(event, TrainingStarted) and current["name"] == "little":
        pages = int(open("/proc/self/statm").read().split()[0])
        limit = pages * resource.getpagesize() + int(room)
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    if isinstance(event, StepDone):
        steps.append(event.loss)
    if isinstance(event, MicroBatchHalved):
        halved.append([event.step, event.held_out, event.batches_before, event.batches_after])

made = {}
options = {"data.context": 64, "data.packing": False, "batch.tokens": 10**6, "batch.rows": 10**4}
options |= {"evaluate.answers": 0, "train.max_steps": 3}
for name in ("little", "free"):
    current["name"], steps[:], halved[:] = name, [], []
    run = burnish.train(
        rows, model=model, runs=runs, name=name, method="lora", precision="fp32", device="cpu", listeners=[listen],
        set=options,
    )
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    made[name] = {"losses": list(steps), "halved": list(halved), "figures": run.evaluation["figures"]}
print(json.dumps(made))
"""
ROOM_BYTES = 30_000_000


@pytest.mark.slow
def test_a_run_goes_through_with_too_little_memory(base: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", count=300)
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(rows), str(base), str(tmp_path), str(ROOM_BYTES)]
    # every larger tensor in pages of its own, so that what is freed does not stay as room in the heap
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout.splitlines()[-1])
    little, free = made["little"], made["free"]
    assert free["halved"] == []
    halved = [each for each in little["halved"] if not each[1]]
    assert halved
    assert halved[0][2] == 1, "a step was one micro-batch"
    assert halved[-1][3] >= 2
    assert len(little["losses"]) == len(free["losses"]) == 3
    assert little["losses"] == pytest.approx(free["losses"], rel=1e-6)
    for one, other in zip(little["figures"], free["figures"], strict=True):
        assert one["tuned"]["value"] == pytest.approx(other["tuned"]["value"], rel=1e-5)
    line = next(line for line in (tmp_path / "little" / "events.jsonl").read_text().splitlines() if "Halved" in line)
    assert json.loads(line)["event"] == "MicroBatchHalved"
