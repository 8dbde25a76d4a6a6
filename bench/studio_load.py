"""The studio under load, in a real browser: many runs, long curves, a queue seen from two browsers, a large upload.

    python bench/studio_load.py [--runs 500] [--steps 20000] [--jobs 10] [--megabytes 200]

Prints seconds and megabytes: from the command to an address, to the first paint and to a usable list of so many runs;
until a curve of so many steps is drawn; until a change in one browser shows in the other, with so many jobs queued; for
the upload of a file, and until its rows are understood; from moving a what-if slider to the first answer, which may be
an estimate, and to the simulated plan of memory; and the memory of the studio after each. The trainings of the queue
are stopped at the end. Needs a Chromium.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from burnish.jobs.job import ENDED
from burnish.jobs.queue import Queue
from burnish.studio.drafts import DraftStore
from tools.pictures.studio import LONG, SAMPLES, browser

_PATIENCE = 600_000
_TIMED_MOVE = """(bar, places) => new Promise((done) => {
    const plan = document.querySelector("[aria-label='The plan']");
    const before = plan.innerText, begun = performance.now();
    let first = 0;
    new MutationObserver((_, watching) => {
        const now = plan.innerText;
        if (now === before || !now.includes("about")) return;
        first ||= performance.now() - begun;
        if (now.includes("An estimate")) return;
        watching.disconnect();
        done([first, performance.now() - begun]);
    }).observe(plan, {childList: true, subtree: true, characterData: true});
    bar.value = Number(bar.value) + places;
    for (const name of ["input", "change"]) bar.dispatchEvent(new Event(name, {bubbles: true}));
})"""
"""Moves a slider; milliseconds until the plan says something else, and until that is no estimate any more."""
_LOOKING_AHEAD = 25
"""Seconds that a user reads a plan before moving a slider again."""
_WORDS = "Where is the parcel that I ordered on Monday and that has not come yet"


@dataclass
class Bench:
    """A studio that is measured."""

    address: str
    process: int
    started: float
    """Seconds from the command to its address."""

    def row(self, what: str, seconds: float) -> None:
        """Prints a line of the table."""
        memory = psutil.Process(self.process).memory_info().rss / 2**20
        print(f"{what:52} {seconds:8.2f} s   studio {memory:6.0f} MB", flush=True)


def main() -> None:
    """Parses the arguments, and measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, usual in (("runs", 500), ("steps", 20_000), ("jobs", 10), ("megabytes", 200)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, browser() as opened:
        folder = Path(temporary)
        for number in range(asked.runs):
            write_run(folder / "runs" / f"run-{number:04}", 3)
        write_run(folder / "runs" / "long", asked.steps)
        upload = write_rows(folder / "rows.jsonl", asked.megabytes)
        with started(folder, []) as bench:
            _lists(bench, opened, asked.runs + 1, asked.steps)
            _upload(bench, opened, upload)
            _sliders(bench, opened, folder / "project0")
        with started(folder, ["--runs", str(folder / "none")], jobs=asked.jobs) as bench:
            _queue(bench, opened, asked.jobs)


def write_run(folder: Path, steps: int) -> None:
    """A run folder of so many steps."""
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text("task: chat\nmethod: lora\nmodel: {name: seedling}\ndata: {path: rows.jsonl}\n")
    step = {"event": "StepDone", "total_steps": steps, "epoch": 1.0, "learning_rate": 0.1, "gradient_norm": 1.0}
    rest = {"tokens": 9, "trained_tokens": 9, "seconds": 0.1, "seconds_left": 1.0}
    lines = (
        json.dumps({**step, **rest, "step": number, "loss": 3 / (1 + number / 500)}) for number in range(1, steps + 1)
    )
    (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))


def write_rows(path: Path, megabytes: int) -> Path:
    """A file of different rows of that size."""
    size, number = 0, 0
    with path.open("w", encoding="utf-8") as file:
        while size < megabytes << 20:
            number += 1
            size += file.write(
                json.dumps({"text": f"{number}: {_WORDS * (1 + number % 9)}", "label": f"l{number % 5}"})
            )
            size += file.write("\n")
    return path


@contextmanager
def started(folder: Path, words: list[str], jobs: int = 0) -> Iterator[Bench]:
    """A studio, with so many jobs queued; its trainings end with it."""
    project = folder / f"project{jobs}"
    if jobs:
        queue = Queue(project)
        for number in range(1, jobs + 1):
            queue.create(LONG, [], {"name": f"job {number}", "source": "tickets.jsonl"})
        queue.close()
    command = [sys.executable, "-m", "burnish", "studio", str(project), "--port", "0", "--quiet", *words]
    begun = time.monotonic()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder, env=environment)
    assert process.stdout is not None
    address = process.stdout.readline().strip().rstrip("/")
    bench = Bench(address, process.pid, time.monotonic() - begun)
    bench.row("from the command to an address", bench.started)
    try:
        yield bench
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        queue = Queue(project)
        for one in queue.all():
            if one.state not in ENDED:
                queue.cancel(one.id)
        queue.close()


def _page(opened: Any) -> Any:
    page = opened.new_context().new_page()
    page.set_default_timeout(_PATIENCE)
    return page


def _lists(bench: Bench, opened: Any, runs: int, steps: int) -> None:
    page = _page(opened)
    for which in ("first", "second"):
        begun = time.monotonic()
        page.goto(bench.address)
        page.get_by_text(f"1 to 25 of {runs:,} runs").wait_for()
        bench.row(f"list of {runs:,} runs, {which} time", time.monotonic() - begun)
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0")
        bench.row("  of which until the first paint", paint / 1000)
    begun = time.monotonic()
    page.get_by_label("Search").fill("run-0123")
    page.get_by_text("1 to 25").wait_for(state="detached")
    bench.row("search among them", time.monotonic() - begun)
    for which in ("first", "second"):
        begun = time.monotonic()
        page.goto(f"{bench.address}/runs/long")
        page.locator(".chart .meanname").first.wait_for()
        bench.row(f"curves of {steps:,} steps, {which} time", time.monotonic() - begun)
    page.context.close()


def _upload(bench: Bench, opened: Any, path: Path) -> None:
    page = _page(opened)
    page.goto(f"{bench.address}/new")
    begun = time.monotonic()
    # by its path: what a test sends through the driver would be limited to 50 MB
    page.get_by_label("Choose a file with rows").set_input_files(str(path))
    page.wait_for_url("**/new/draft-*")
    bench.row(f"upload of {path.stat().st_size >> 20} MB", time.monotonic() - begun)
    page.get_by_text("The first rows").wait_for()
    page.locator(".cells table").wait_for()
    bench.row("  until its first rows are shown", time.monotonic() - begun)
    page.context.close()


def _sliders(bench: Bench, opened: Any, project: Path) -> None:
    """What-if: from letting a slider go to the new plan of memory."""
    sample = str(SAMPLES / "orders.jsonl")
    draft = DraftStore(project / "drafts").create("Orders", "orders.jsonl", {"data.path": sample})
    page = _page(opened)
    begun = time.monotonic()
    page.goto(f"{bench.address}/new/{draft.id}/plan")
    page.get_by_text("It fits:").wait_for()
    bench.row("first plan of a draft, its trial steps included", time.monotonic() - begun)
    for wait, said in ((0, "at once"), (_LOOKING_AHEAD, "after the plan was read")):
        for label, places in (("Rank of the adapter", 2), ("Context, tokens", -1), ("Tokens per step", 2)):
            page.wait_for_function("!document.querySelector('.loading')")
            time.sleep(wait)
            first, exact = page.get_by_label(label, exact=True).evaluate(_TIMED_MOVE, places if not wait else -places)
            bench.row(f"{label.lower()}: moved {said}", first / 1000)
            bench.row("  until it was simulated", exact / 1000)
    page.context.close()


def _queue(bench: Bench, opened: Any, jobs: int) -> None:
    first, second = _page(opened), _page(opened)
    for page in (first, second):
        begun = time.monotonic()
        page.goto(bench.address)
        page.locator(".state.running").wait_for()
        bench.row(f"list with {jobs} jobs queued", time.monotonic() - begun)
    first.get_by_role("link", name=f"job {jobs}", exact=True).click()
    first.get_by_role("button", name="Cancel", exact=True).click()
    begun = time.monotonic()
    first.get_by_role("button", name="Cancel it", exact=True).click()
    second.locator(".state.cancelled").wait_for()
    bench.row("a job cancelled in one browser shows in the other", time.monotonic() - begun)
    begun = time.monotonic()
    first.reload()
    first.locator(".state.cancelled").wait_for()
    bench.row("its page after a reload", time.monotonic() - begun)
    for page in (first, second):
        page.context.close()


if __name__ == "__main__":
    main()
