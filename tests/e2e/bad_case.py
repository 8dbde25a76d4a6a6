"""One case of bad input, and what every answer to bad input must be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.e2e.bad_files import Maker
from tests.e2e.told import Told, listing


class Case(NamedTuple):
    """What is lying there, what is typed, and the three parts of the answer.

    `BASE` in the words is the folder of a good base model; `CACHE`, `DATASETS` and `TORCH` in an answer are the hub's
    two caches and the version of PyTorch.
    """

    name: str
    files: Maker
    words: str
    what: str
    why: str
    hint: str
    code: int = 2


def check(case: Case, here: Path, base: Path, burnish: Callable[[str], Told]) -> None:
    """The exit code, the three parts word for word, no traceback, nothing on stdout, and not a byte written.

    Only a run's log of events may grow.
    """
    case.files(here, base)
    before = _files(here)
    told = burnish(case.words.replace("BASE", str(base)))
    expected = [_filled(part) for part in (case.what, case.why, case.hint)]
    assert [told.what, told.why, told.hint] == expected, told.err
    assert told.code == case.code
    assert told.why or told.hint
    assert told.out == ""
    assert "Traceback" not in told.err
    assert _files(here) == before


def _files(here: Path) -> list[str]:
    return [entry for entry in listing(here) if "/events.jsonl" not in entry]


def _filled(text: str) -> str:
    import torch
    from datasets import config
    from huggingface_hub import constants

    names = {"DATASETS": config.HF_DATASETS_CACHE, "CACHE": constants.HF_HUB_CACHE, "TORCH": torch.__version__}
    for name, value in names.items():
        text = text.replace(name, str(value))
    return text
