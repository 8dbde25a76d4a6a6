"""What outlives a page: trainings and their queue, for any number of browsers, through kills of the studio."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import expect

from burnish.jobs.children import find_child
from burnish.jobs.queue import Queue
from tests.e2e.studio.conftest import Studio, Tab, end, start
from tests.e2e.studio.pages import Run
from tests.e2e.studio.pages import Studio as Pages

pytestmark = pytest.mark.slow
ROWS = Path(__file__).parents[3] / "burnish" / "assets" / "samples" / "tickets.jsonl"
LONG = {
    "data.path": str(ROWS),
    "train.epochs": 60,
    "train.early_stopping": False,
    "train.adapt": False,
    "save.every": 5,
}
SHORT = {"data.path": str(ROWS), "data.rows": 100, "train.max_steps": 2, "evaluate.answers": 0}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The folder of a project, whose trainings end with the test."""
    path = tmp_path / "project"
    yield path
    end(Studio(path, psutil.Popen(["true"]), ""))


def queue_jobs(folder: Path, options: list[dict[str, object]]) -> list[str]:
    """Jobs that wait, as a page would have queued them."""
    queue = Queue(folder)
    names = [queue.create(one, [], {"name": f"run {number}"}).id for number, one in enumerate(options, 1)]
    queue._lock.release()
    return names


def test_a_killed_studio_loses_nothing_and_its_successor_resumes(folder: Path, new_tab: Callable[..., Tab]) -> None:
    (job,) = queue_jobs(folder, [LONG])
    first = start(folder)
    tab = new_tab()
    run = Run(tab.page, first.address)
    run.open(f"/runs/{job}")
    run.trains()
    run.sees("Checkpoint saved at step")
    first.kill()
    training = find_child(str(folder / "jobs" / job / "recipe.yaml"))
    assert training is not None, "the training ended with the studio"
    port = int(first.address.rpartition(":")[2])
    second = start(folder, port)  # the open page comes back by itself
    run.trains()
    expect(tab.page.locator("#popup")).to_have_attribute("aria-hidden", "true")
    psutil.Process(training.process).kill()
    run.is_in("interrupted")
    run.press("Resume")
    run.is_in("running")
    run.trains()
    run.press("Pause")
    run.is_in("paused")
    tab.page.reload()
    run.is_in("paused")
    run.press("Cancel")
    run.press("Cancel it")
    run.is_in("cancelled")
    assert find_child(str(folder / "runs" / job)) is None
    end(second)


def test_two_browsers_show_the_same_queue(folder: Path, new_tab: Callable[..., Tab]) -> None:
    jobs = queue_jobs(folder, [LONG, *[SHORT] * 9])
    studio = start(folder)
    first, second = (Pages(new_tab().page, studio.address).open("/") for _ in range(2))
    for pages in (first, second):
        expect(pages.page.locator(".state.running")).to_have_count(1)
        expect(pages.page.locator(".state.queued")).to_have_count(9)
    run = Run(first.page, studio.address)
    run.open(f"/runs/{jobs[1]}")
    run.press("Cancel")
    run.press("Cancel it")
    expect(second.page.locator(".state.cancelled")).to_have_count(1)
    run.side("Settings")
    run.press("New run with these settings")
    first.page.wait_for_url("**/new/draft-*")
    run.open(f"/runs/{jobs[1]}/settings")
    run.press("Delete this run")
    run.press("Delete it")
    second.sees("10")
    expect(second.page.get_by_role("link", name="run 2", exact=True)).to_have_count(0)
    first.page.get_by_role("button", name="Undo").click()
    expect(second.page.get_by_role("link", name="run 2", exact=True)).to_have_count(1)
    run.open(f"/runs/{jobs[0]}")
    run.press("Cancel")
    run.press("Cancel it")
    end(studio)


def write_run(runs: Path, name: str, steps: int) -> None:
    """A run folder of many steps that another command made."""
    folder = runs / name
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text("task: chat\nmethod: lora\nmodel: {name: seedling}\ndata: {path: rows.jsonl}\n")
    step = {"event": "StepDone", "total_steps": steps, "epoch": 1.0, "learning_rate": 0.1, "gradient_norm": 1.0}
    lines = [
        json.dumps({**step, "step": number, "loss": 3 / (1 + number / 500), "tokens": 9, "trained_tokens": 9,
                    "seconds": 0.1, "seconds_left": 1.0})
        for number in range(1, steps + 1)
    ]  # fmt: skip
    (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))


def test_many_runs_and_long_ones_stay_smooth(tmp_path: Path, new_tab: Callable[..., Tab]) -> None:
    for number in range(500):
        write_run(tmp_path / "runs", f"run-{number:03}", 3)
    write_run(tmp_path / "runs", "long", 20_000)
    studio = start(tmp_path / "project", 0, "--runs", str(tmp_path / "runs"))
    tab = new_tab()
    pages = Pages(tab.page, studio.address)
    begun = time.monotonic()
    pages.open("/")
    listed = time.monotonic() - begun
    expect(tab.page.get_by_role("table").get_by_role("link")).to_have_count(25)
    pages.sees("1 to 25 of 501 runs")
    tab.page.get_by_role("button", name="Older").click()
    pages.sees("26 to 50 of 501 runs")
    tab.page.get_by_label("Search").fill("run-123")
    expect(tab.page.get_by_role("table").get_by_role("link")).to_have_count(1)
    begun = time.monotonic()
    pages.open("/runs/long")
    expect(tab.page.locator(".chart .meanname")).to_be_visible()
    drawn = time.monotonic() - begun
    assert tab.page.locator(".chart circle").count() < 1_000
    memory = psutil.Process(studio.process.pid).memory_info().rss
    print(f"list of 501 runs {listed:.2f} s, 20,000 steps {drawn:.2f} s, memory of the studio {memory / 2**20:.0f} MB")
    tab.check(studio.address)
    end(studio)
