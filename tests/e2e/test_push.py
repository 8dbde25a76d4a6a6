"""`burnish push` against a hub on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stand_ins.hub import TOKEN, Hub, stand_in_hub


def push(hub: Hub, runs: Path, words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, which reads the hub's address when it starts."""
    given = {"HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
    environment = {**os.environ, **given, "NO_PROXY": "127.0.0.1", **more}
    line = [sys.executable, "-m", "burnish", "push", *words.split(), "--runs", str(runs), "--json"]
    return subprocess.run(line, capture_output=True, text=True, env=environment)


@pytest.mark.slow
def test_a_result_is_pushed_whole_and_private(made_runs: Path) -> None:
    with stand_in_hub() as hub:
        done = push(hub, made_runs, "whole anna/helpdesk")
        assert done.returncode == 0, done.stdout + done.stderr
        pushed = json.loads(done.stdout)
        result = made_runs / "whole" / "adapter"
        expected = {path.name: path.read_bytes() for path in result.iterdir() if path.is_file()}
        assert hub.files["anna/helpdesk"] == expected
        assert (hub.private, pushed["is_private"]) == ({"anna/helpdesk": True}, True)
        assert pushed["files"] == sorted(expected)
        assert hub.tokens == {f"Bearer {TOKEN}"}
        assert pushed["warnings"], "the base model is a folder of this machine"

        again = json.loads(push(hub, made_runs, "whole anna/helpdesk").stdout)
        assert again["repository"] == "anna/helpdesk"

        hub.private["anna/open"] = False
        before = dict(hub.files)
        refused = push(hub, made_runs, "whole anna/open")
        assert (refused.returncode, json.loads(refused.stdout)["error"]["what"]) == (2, "`anna/open` is public")
        assert hub.files == before
        assert json.loads(push(hub, made_runs, "whole anna/open --public").stdout)["is_private"] is False


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "more", "code", "what"),
    [
        ("whole helpdesk", {}, 2, "no name of a repository"),
        ("stopped anna/helpdesk", {}, 2, "no result"),
        ("whole anna/helpdesk", {"HF_HUB_OFFLINE": "1"}, 3, "offline mode"),
        ("whole anna/helpdesk", {"HF_TOKEN": "", "HF_HOME": "/nonexistent"}, 2, "no access token"),
    ],
)
def test_what_cannot_be_pushed_is_refused_before_the_hub_is_asked(
    words: str, more: dict[str, str], code: int, what: str, made_runs: Path
) -> None:
    with stand_in_hub() as hub:
        done = push(hub, made_runs, words, **more)
        assert done.returncode == code
        assert what in json.loads(done.stdout)["error"]["what"]
        assert hub.asked == []
