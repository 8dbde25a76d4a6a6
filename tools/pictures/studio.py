"""Pictures of every page of the studio, in three widths, light and dark; and what a check of accessibility finds there.

    python -m tools.pictures.studio FOLDER                     PAGE-WIDTH-SCHEME.png of each, into FOLDER
    python -m tools.pictures.studio FOLDER --only plan,use     some pages
    python -m tools.pictures.studio FOLDER --project PROJECT   with the runs of an earlier call, or keeps them there

It trains a few small models with the bundled rows first, starts a studio of its own, and prints for each page the time
to its first paint and what axe-core finds against WCAG 2.2 A and AA. Ends with exit code 1 if that is anything, if a
page is wider than its window, or if it asks anything of another machine. Needs a Chromium and what the tests need.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright

from burnish.jobs.job import ENDED, QUEUED, RUNNING, VALIDATING
from burnish.jobs.queue import Queue
from burnish.studio.drafts import DraftStore

SAMPLES = Path(__file__).parents[2] / "burnish" / "assets" / "samples"
WIDTHS, SCHEMES = (390, 1280, 1920), ("light", "dark")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}
ACTIVE = (VALIDATING, QUEUED, RUNNING)
_PATIENCE = 180_000
_TALLEST = 6_000
"""Pixels of a page that a picture shows at most."""
_BEYOND = """Math.max(...[document.documentElement, document.querySelector(".page")]
    .map((one) => one.scrollWidth - one.clientWidth))"""
"""Pixels by which a page is wider than its window; its content may be cut off there."""
_SHORT = {"train.early_stopping": False, "train.adapt": False, "evaluate.samples": 3}
TRAININGS: Mapping[str, dict[str, Any]] = {
    "Tickets by topic": {
        "data.path": str(SAMPLES / "tickets.jsonl"),
        "data.rows": 300,
        "train.max_steps": 30,
        "train.learning_rate": 0.003,
        "method": "lora",
    },
    "Order records": {
        "data.path": str(SAMPLES / "orders.jsonl"),
        "data.rows": 120,
        "train.max_steps": 12,
        "evaluate.answers": 12,
        "evaluate.max_new_tokens": 64,
    },
    "Order records at a high rate": {
        "data.path": str(SAMPLES / "orders.jsonl"),
        "data.rows": 120,
        "train.max_steps": 6,
        "train.learning_rate": 0.01,
        "evaluate.answers": 4,
        "evaluate.max_new_tokens": 32,
    },
    "Entities": {"data.path": str(SAMPLES / "entities.conll"), "train.max_steps": 60, "train.learning_rate": 0.003},
    "Passages": {"data.path": str(SAMPLES / "notes.json"), "train.max_steps": 20, "train.learning_rate": 0.003},
    "Stars": {"data.path": str(SAMPLES / "reviews.jsonl"), "train.max_steps": 30, "train.learning_rate": 0.003},
    "Missing rows": {"data.path": str(SAMPLES / "missing.jsonl")},
}
_MEETING = {"Text": "Anna met Otto in Oslo."}
_QUESTION = {"Text": "Ada wrote the first program in 1843.", "Question": "Who wrote the first program?"}
LONG = {"data.path": str(SAMPLES / "tickets.jsonl"), "train.epochs": 60, **_SHORT}


@dataclass(frozen=True, slots=True)
class Shot:
    """A page and what is done on it before it is taken."""

    name: str
    path: str
    act: Callable[[Page], None] = lambda page: None
    is_live: bool = False
    """Whether something on it goes on loading."""


def main() -> int:
    """Parses the arguments, makes a project, takes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--project", type=Path, help="folder of the project; a temporary one otherwise")
    parser.add_argument("--only", default="", help="names of pages, separated by commas")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        project = (asked.project or Path(temporary) / "project").absolute()
        shots = [one for one in shots_of(make_project(project)) if one.name in (asked.only or one.name).split(",")]
        with browser() as opened:
            wrong = take(project, shots, asked.folder, opened)
            if not asked.only:
                wrong += take(Path(temporary) / "empty", [Shot("welcome", "/")], asked.folder, opened)
    print(f"{len(wrong)} findings" + "".join(f"\n- {one}" for one in wrong))
    return 1 if wrong else 0


def make_project(folder: Path) -> dict[str, str]:
    """A project with runs that are finished, failed, running and waiting, and a draft. Returns their ids by name."""
    if (folder / "jobs").is_dir():
        queue = Queue(folder)
        found = {str(one.job.details.get("name")): one.id for one in queue.all()}
        queue.close()
    else:
        queue = Queue(folder)
        found = {
            name: queue.create({**_SHORT, **options}, [], {"name": name, "source": Path(options["data.path"]).name}).id
            for name, options in TRAININGS.items()
        }
        queue.start()
        while any(queue.view(job).state not in ENDED for job in found.values()):
            time.sleep(1)
        for name in ("A long one", "One that waits"):
            found[name] = queue.create(LONG, [], {"name": name, "source": "tickets.jsonl"}).id
        queue.close()
    drafts = DraftStore(folder / "drafts")
    rows = folder / "odd.csv"
    lines = [f"{'Where is my parcel ' * (1 + number % 3)}{number // 2};delivery" for number in range(120)]
    rows.write_text("text;label\n" + "\n".join([*lines, *["Money back, please;refund"] * 40]) + "\n")
    chosen = drafts.create("Parcels", "odd.csv", {"data.path": str(rows)})
    return {**found, "draft": chosen.id}


def shots_of(ids: Mapping[str, str]) -> list[Shot]:
    """Every page of a project."""
    labels, chat, other, entities, passages, stars = (f"/runs/{ids[name]}" for name in list(TRAININGS)[:6])
    draft = f"/new/{ids['draft']}"
    return [
        Shot("runs", "/", is_live=True),
        Shot("new", "/new"),
        Shot("data", draft),
        Shot("plan", f"{draft}/plan", _open_all),
        Shot("running", f"/runs/{ids['A long one']}", _wait_for_a_curve, is_live=True),
        Shot("waiting", f"/runs/{ids['One that waits']}", is_live=True),
        Shot("finished", labels),
        Shot("failed", f"/runs/{ids['Missing rows']}"),
        Shot("results", f"{labels}/results"),
        Shot("answers", f"{chat}/answers"),
        Shot("settings", f"{labels}/settings", _open_all),
        Shot("use-labels", f"{labels}/use", _ask_for_a_label),
        Shot(
            "use-entities",
            f"{entities}/use",
            _ask(_MEETING, "Anna met Otto", "[Anna](PERSON) met Otto in Oslo."),
        ),
        Shot("use-passages", f"{passages}/use", _ask(_QUESTION, "Grace", "Ada")),
        Shot("use-stars", f"{stars}/use", _ask({"Text": "Not good, not bad."}, "well", "2.5")),
        Shot("use-chat", f"{chat}/use", _chat),
        Shot("compare", f"/compare/{chat.rpartition('/')[2]},{other.rpartition('/')[2]}"),
        Shot("learn", "/learn"),
        Shot("nothing", "/nothing"),
    ]


def _open_all(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((one, at) => { one.open = at < 3; })")


def _wait_for_a_curve(page: Page) -> None:
    page.locator(".chart .meanname").first.wait_for()
    page.get_by_text("after step").first.wait_for()


def _ask_for_a_label(page: Page) -> None:
    page.get_by_label("Text", exact=True).fill("When will my parcel arrive?")
    page.get_by_role("button", name="Ask the tuned model").click()
    page.get_by_text("Probabilities in percent.").wait_for()


def _ask(texts: Mapping[str, str], wrong: str, right: str) -> Callable[[Page], None]:
    """Asks about texts, and corrects the answer: with what is right, then with what is no answer."""

    def act(page: Page) -> None:
        for label, text in texts.items():
            page.get_by_label(label, exact=True).fill(text)
        page.get_by_role("button", name="Ask the tuned model").click()
        correction = page.get_by_label(re.compile("^If that is wrong"))
        correction.fill(right)
        page.get_by_role("button", name="Keep it").click()
        page.get_by_text("Kept as a row").first.wait_for()
        correction.fill(wrong)
        page.get_by_role("button", name="Keep it").click()
        page.get_by_role("alert").first.wait_for()

    return act


def _chat(page: Page) -> None:
    page.get_by_label("Your message").fill("Write the order record.\n\nA new order: Bella, Starford, 14 plums, Sunday.")
    page.get_by_role("button", name="Send", exact=True).click()
    page.get_by_text("Which answer is better?").wait_for()


@contextmanager
def browser() -> Iterator[Any]:
    """A Chromium of this machine."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        sys.exit("There is no Chromium: apt-get install chromium")
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=found, args=["--headless", "--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@contextmanager
def studio(project: Path) -> Iterator[str]:
    """The address of a studio that runs as long as this is entered, with its trainings."""
    command = [sys.executable, "-m", "burnish", "studio", str(project), "--port", "0", "--quiet"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    project.parent.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=project.parent)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip().rstrip("/")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        queue = Queue(project)
        for one in queue.all():
            if one.state in ACTIVE:
                queue.pause(one.id)
        while any(one.state == RUNNING for one in queue.all()):
            time.sleep(0.2)
        queue.close()


def take(project: Path, shots: list[Shot], folder: Path, opened: Any) -> list[str]:
    """Takes pictures of pages. Returns what was wrong with them."""
    wrong: list[str] = []
    with studio(project) as address:
        page = opened.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(_PATIENCE)
        page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
        own = (address, address.replace("http", "ws"), "data:", "blob:")
        page.on("request", lambda asked: None if asked.url.startswith(own) else wrong.append(f"asked {asked.url}"))
        for shot in shots:
            page.goto(f"{address}{shot.path}")
            page.locator("h1").wait_for()
            shot.act(page)
            if not shot.is_live:
                page.wait_for_function("!document.querySelector('.loading')")
            paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0")
            print(f"{shot.name:12} first paint {paint / 1000:.2f} s", flush=True)
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)
                found = Axe().run(page, options={**RULES, "resultTypes": ["violations"]}).response["violations"]
                wrong += [f"{shot.name}, {scheme}: {line}" for one in found for line in _described(one)]
                for width in WIDTHS:
                    _picture(page, width, folder / f"{shot.name}-{width}-{scheme}.png")
                    wide = page.evaluate(_BEYOND)
                    if wide > 0:
                        wrong.append(f"{shot.name} is {wide} pixels wider than {width}")
                page.set_viewport_size({"width": 1280, "height": 900})
        page.close()
    return wrong


def _picture(page: Page, width: int, path: Path) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    height = min(_TALLEST, int(page.evaluate("document.documentElement.scrollHeight")))
    page.screenshot(path=str(path), full_page=True, clip={"x": 0, "y": 0, "width": width, "height": height})


def _described(violation: Mapping[str, Any]) -> Iterator[str]:
    for node in violation["nodes"][:4]:
        why = (node.get("any") or node.get("all") or node.get("none") or [{}])[0].get("message", "")
        yield f"{violation['id']} ({violation['impact']}) at {' '.join(map(str, node['target']))}: {why}"


if __name__ == "__main__":
    sys.exit(main())
