"""The container files: what they copy exists, what they run is a command, and nothing in them is root's."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from burnish.serve import app
from tests.e2e.test_readme import parse

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def service() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]["burnish"]


def lines(name: str) -> list[str]:
    """The values of an instruction of the Dockerfile."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    return re.findall(rf"^{name} (.*)$", text, re.MULTILINE)


def test_what_is_copied_exists_and_is_sent() -> None:
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for words in (shlex.split(line) for line in lines("COPY") if not line.startswith("--from")):
        for name in words[:-1]:
            assert (ROOT / name).exists(), name
            assert f"!{name}" in sent, name


def test_it_runs_a_command_as_a_user_without_rights(service: dict[str, Any]) -> None:
    (entry,), (command,), (user,) = lines("ENTRYPOINT"), lines("CMD"), lines("USER")
    parse(shlex.join([*json.loads(entry), *json.loads(command)]))
    assert user not in ("root", "0")
    assert service["cap_drop"] == ["ALL"]
    assert "BURNISH_API_KEY" in service["environment"], "it listens for other machines"
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_the_health_check_asks_what_needs_no_key(service: dict[str, Any]) -> None:
    command = service["healthcheck"]["test"][-1]
    compile(command, "healthcheck", "exec")
    (path,) = re.findall(r"http://127\.0\.0\.1:8000(/\w+)", command)
    assert path in app._OPEN
