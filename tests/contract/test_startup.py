"""What answers at once loads nothing heavy, and the public names are what they claim to be."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import burnish

HEAVY = ("torch", "transformers", "peft", "datasets", "accelerate", "numpy", "scipy")

_RUN = """
import contextlib, io, json, sys
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    {code}
heavy = [name for name in {heavy!r} if name in sys.modules]
print(json.dumps([code, heavy]))
"""


def run_apart(code: str, folder: Path) -> tuple[int, list[str]]:
    """Runs code in a process of its own; the value of `code` at its end, and the heavy modules loaded by then."""
    source = _RUN.format(code=code, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True, cwd=folder)
    code_at_end, heavy = json.loads(done.stdout)
    return code_at_end, heavy


QUICK = {
    "--help": 0,
    "train --help": 0,
    "--version": 0,
    "runs": 0,
    "runs --json": 0,
    "show nothing": 2,
    "generate nothing prompt": 2,
    "train rows.jsonl --set train.lerning_rate=1": 2,
    "trian rows.jsonl": 2,
    "quickstart --task clasify": 2,
    "explain lora": 0,
}
_EACH = """
import contextlib, io, json, sys
from burnish.cli.main import main
found = {{}}
for words in {words!r}:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = main(words.split())
    found[words] = [code, [name for name in {heavy!r} if name in sys.modules]]
print(json.dumps(found))
"""


def test_quick_answers_load_nothing_heavy(tmp_path: Path) -> None:
    """In one process: what a command loads stands beside it, and beside all that follow."""
    source = _EACH.format(words=list(QUICK), heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(done.stdout) == {words: [code, []] for words, code in QUICK.items()}


def test_importing_burnish_loads_nothing_heavy(tmp_path: Path) -> None:
    code = "import burnish; code = int('pydantic' in sys.modules)"
    assert run_apart(code, tmp_path) == (0, [])


def test_heavy_modules_would_be_noticed(tmp_path: Path) -> None:
    assert run_apart("import numpy; code = 0", tmp_path) == (0, ["numpy"])


def test_a_template_that_does_not_end_is_refused_before_torch_is_loaded(
    tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    shutil.copytree(tiny_model("llama"), tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").write_text(
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", encoding="utf-8"
    )
    (tmp_path / "rows.jsonl").write_text('{"text": "one"}\n', encoding="utf-8")
    code = "from burnish.cli.main import main; code = main(['check', 'rows.jsonl', '--model', './model'])"
    assert run_apart(code, tmp_path) == (2, ["transformers", "numpy"])


def test_public_names_are_sorted_and_there() -> None:
    assert burnish.__all__ == sorted(burnish.__all__)
    assert dir(burnish) == sorted(burnish.__all__)
    assert all(getattr(burnish, name) is not None for name in burnish.__all__)
    with pytest.raises(AttributeError, match="trian"):
        _ = burnish.trian
