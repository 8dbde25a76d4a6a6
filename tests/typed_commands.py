"""Commands that messages tell their reader to type, run as they stand there."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from typing import Any

import pytest


def run_jq(said: str, *given: Any) -> list[Any]:
    """What the first `jq` command of a message makes of values; skips the test where jq is not installed.

    Args:
        said: the message. The command's file is not read.
        given: read instead, one JSON value on each line.
    """
    (command, *_) = re.findall(r"`(jq [^`]*)`", said)
    _, option, form, *_ = shlex.split(command)
    if (jq := shutil.which("jq")) is None:
        pytest.skip("jq is not installed")
    lines = "".join(json.dumps(value) + "\n" for value in given)
    done = subprocess.run([jq, option, form], input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]
