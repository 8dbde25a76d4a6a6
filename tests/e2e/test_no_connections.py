"""Without the name of a hub, no command connects anywhere, and none runs a kernel that the hub has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import SHORT
from tests.tiny_data import write_rows

REFUSING = """
import os
import socket


def refuse(self, address, *more):
    if self.family != getattr(socket, "AF_UNIX", None):
        with open(os.environ["TRACE"], "a") as file:
            file.write(f"connects to {address}; ")
        raise OSError("no connection in this test")


socket.socket.connect = socket.socket.connect_ex = refuse
"""
KERNELS = """
import os

with open(os.environ["TRACE"], "a") as file:
    file.write("imports kernels; ")


def __getattr__(name):
    def use(*arguments, **options):
        with open(os.environ["TRACE"], "a") as file:
            file.write(f"uses {name}; ")
        return lambda found: found

    return use
"""
COMMANDS = """
import sys
from burnish.cli.main import main
for words in (
    "train {rows} --model {base} --method lora --name mine {options}",
    "generate mine hello --max-new-tokens 2",
):
    sys.argv = ["burnish", *words.split()]
    if main():
        sys.exit(words)
"""
"""Two commands in one process, which imports what they need once."""
PYTHON = """
import burnish
run = burnish.train({rows!r}, model={base!r}, method="lora", max_steps=1, answers=0, runs={runs!r})
burnish.load_run(run.path).generate("hello", max_new_tokens=2)
"""


@pytest.fixture
def watched(tmp_path: Path) -> dict[str, str]:
    """An environment in which connecting fails, and `kernels` is installed; both leave a trace in a file."""
    site = tmp_path / "site"
    (site / "kernels").mkdir(parents=True)
    (site / "kernels" / "__init__.py").write_text(KERNELS, encoding="utf-8")
    (site / "sitecustomize.py").write_text(REFUSING, encoding="utf-8")
    (site / "kernels-0.15.0.dist-info").mkdir()
    metadata = "Metadata-Version: 2.1\nName: kernels\nVersion: 0.15.0\n"
    (site / "kernels-0.15.0.dist-info" / "METADATA").write_text(metadata, encoding="utf-8")
    online = {
        name: value for name, value in os.environ.items() if name not in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
    }
    paths = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    return {**online, "PYTHONPATH": paths, "TRACE": str(tmp_path / "trace"), "HF_HOME": str(tmp_path / "hub")}


def test_the_watch_sees_what_it_is_for(watched: dict[str, str]) -> None:
    program = (
        "import contextlib, kernels, urllib.request\n"
        "with contextlib.suppress(OSError): urllib.request.urlopen('http://127.0.0.1:9')"
    )
    subprocess.run([sys.executable, "-c", program], env=watched, check=True)
    trace = Path(watched["TRACE"]).read_text(encoding="utf-8")
    assert trace == "imports kernels; connects to ('127.0.0.1', 9); "


def test_training_and_answering_connect_nowhere(watched: dict[str, str], base: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 40)
    program = COMMANDS.format(rows=rows, base=base, options=SHORT)
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, cwd=tmp_path, env=watched, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not Path(watched["TRACE"]).exists(), Path(watched["TRACE"]).read_text(encoding="utf-8")


@pytest.mark.slow
def test_nor_does_python(watched: dict[str, str], base: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 40)
    program = PYTHON.format(rows=str(rows), base=str(base), runs=str(tmp_path / "runs"))
    subprocess.run([sys.executable, "-c", program], env=watched, check=True)
    assert not Path(watched["TRACE"]).exists(), Path(watched["TRACE"]).read_text(encoding="utf-8")
