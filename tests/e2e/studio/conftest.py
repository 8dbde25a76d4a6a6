"""A studio in a process of its own, and a browser that may ask nothing else."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("nicegui", reason="the studio is not installed: pip install 'burnish[studio]'")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = 120_000
"""Milliseconds after which a test fails, on any machine."""


@dataclass
class Studio:
    """A studio that runs."""

    folder: Path
    process: subprocess.Popen[str]
    address: str

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ends it as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=60)


def start(folder: Path, port: int = 0, *words: str) -> Studio:
    """Starts a studio, and waits until it has named its address."""
    command = [sys.executable, "-m", "burnish", "studio", str(folder), "--port", str(port), "--quiet", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder.parent)
    assert process.stdout is not None
    return Studio(folder, process, process.stdout.readline().strip().rstrip("/"))


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    """A studio of an empty project; whatever it started is ended with it."""
    made = start(tmp_path / "project")
    yield made
    end(made)


def end(studio: Studio) -> None:
    """Ends a studio, and the trainings that would go on without it."""
    if studio.process.poll() is None:
        studio.stop()
    for process in psutil.process_iter(["cmdline"]):
        if any(str(studio.folder) in word for word in process.info["cmdline"] or ()):
            with contextlib.suppress(psutil.Error):
                process.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, as the system has it. While it is driven, an event loop runs in this thread, so not for all modules."""
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=found, args=list(_QUIET))
        yield running
        running.close()


@dataclass
class Tab:
    """A page of a browser of its own, with everything that went wrong in it."""

    page: Any
    wrong: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """The address of each request."""

    def check(self, address: str) -> None:
        """Nothing went wrong, and nothing but the studio was asked."""
        assert self.wrong == []
        own = (address, address.replace("http://", "ws://"), "data:", "blob:")
        assert [one for one in self.asked if not one.startswith(own)] == []


@pytest.fixture
def new_tab(browser: Any) -> Iterator[Callable[..., Tab]]:
    """Opens pages, each in a browser of its own."""
    contexts = []

    def opened(**options: Any) -> Tab:
        context = browser.new_context(**options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        tab = Tab(page)
        page.on("request", lambda request: tab.asked.append(request.url))
        page.on("websocket", lambda socket: tab.asked.append(socket.url))
        page.on("pageerror", lambda error: tab.wrong.append(str(error)))
        page.on("dialog", lambda dialog: (tab.wrong.append(dialog.message), dialog.dismiss()))
        page.on("console", lambda said: tab.wrong.append(said.text) if "Content Security" in said.text else None)
        return tab

    yield opened
    for context in contexts:
        context.close()
