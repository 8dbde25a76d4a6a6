"""What is known at once: the room that a run needs on the disk, and options that do nothing, by task and method."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from burnish.errors import MachineError
from burnish.methods import register_method
from burnish.prepare.first_checks import check_at_once
from burnish.prepare.idle import idle_options
from burnish.recipe.load import load_recipe
from burnish.tasks import register_task
from tests.toy_method import BiasMethod
from tests.toy_task import COUNT_WORDS


@pytest.mark.parametrize(("method", "copies"), [("full", 2), ("freeze", 1), ("lora", 0), ("auto", 0)])
def test_a_disk_must_hold_the_weights_as_often_as_the_method_keeps_them(
    method: str, copies: int, tiny_model: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"text": "one"}) + "\n", encoding="utf-8")
    model = tiny_model("llama")
    size = sum(file.stat().st_size for file in model.glob("*.safetensors"))
    given = {"method": method, "runs": str(tmp_path / "runs")}
    recipe = load_recipe(str(rows), given, [f"model.name={model}"]).recipe

    def with_free(free: int) -> None:
        usage = shutil.disk_usage(tmp_path)
        with monkeypatch.context() as patched:
            patched.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free))
            check_at_once(recipe)

    with_free(copies * size)
    if copies:
        with pytest.raises(MachineError, match="no room"):
            with_free(copies * size - 1)


@pytest.fixture
def toys() -> Iterator[None]:
    """A task and a method from outside the package, with sections of other ones."""

    class Bias(BiasMethod):
        sections = ("freeze",)

    take_out = [register_task(replace(COUNT_WORDS, sections=("tag",))), register_method(Bias)]
    yield
    for take in take_out:
        take()


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("lora.rank=4", "the method is `bias`"),
        ("span.no_answer_margin=1", "the task is `count-words`"),
        ("freeze.blocks=1", ""),
        ("tag.scheme=plain", ""),
    ],
)
def test_what_does_nothing_is_named_for_tasks_and_methods_from_outside_too(
    option: str, reason: str, tmp_path: Path
) -> None:
    rows: Any = tmp_path / "rows.jsonl"
    rows.write_text("{}\n", encoding="utf-8")
    loaded = load_recipe(str(rows), {"task": COUNT_WORDS.name, "method": BiasMethod.name}, [option])
    name = option.partition("=")[0]
    assert idle_options(loaded.recipe, loaded.origins) == ({name: reason} if reason else {})
