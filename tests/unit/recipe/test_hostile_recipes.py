"""Recipes that unfold, nest or grow beyond measure, or hold what YAML cannot build: refused at once, in three parts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from burnish.errors import RecipeError
from burnish.recipe.limits import TooMuch, compose, compose_with
from burnish.recipe.load import load_recipe, recipe_from_saved
from tests.snapshots import check_message

LETTERS = "bcdefghij"
ALIASES = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{chr(ord(name) - 1)}'] * 9)}]\n" for name in LETTERS
)
CASES = {
    "aliases of aliases": ALIASES,
    "a map in itself": "template:\n  kwargs: &a {x: *a}\n",
    "deep lists": f"data:\n  path: {'[' * 5000}{']' * 5000}\n",
    "deep maps": f"template:\n  kwargs: {'{a: ' * 3000}1{'}' * 3000}\n",
    "too many names": "".join(f"k{number}: 1\n" for number in range(50_000)),
    "many names": "".join(f"k{number}: 1\n" for number in range(3_000)),
    "too long": f"name: {'a' * 5_000_000}\n",
    "a Python object": "seed: !!python/object/apply:os.system ['exit 1']\n",
    "an unknown tag": "seed: !mine 3\n",
    "a number that is none": "seed: !!int abc\n",
    "a date that is none": "seed: 2024-99-99\n",
    "a time zone that is none": "seed: 2001-12-14t21:59:43.10-99:99\n",
    "too many digits": f"seed: {'9' * 6000}\n",
    "bytes": "seed: !!binary '###'\n",
    "a number without digits": 'seed: !!int ""\n',
    "a truth that is none": "seed: !!bool x\n",
    "a time that is none": "seed: !!timestamp x\n",
    "a list in a map of texts": "data:\n  columns: {prompt: [a, b]}\n",
    "half a character, then aliases": 'name: "\\ud800"\ntrain: &x {epochs: 3}\nlora: *x\n',
    "half a character, then depth": f'name: "\\ud800"\nseed: {"[" * 3000}\n',
    "a list as a name": "? [a, b]\n: 3\n",
    "a list as a name in a section": "train: {? [a, b] : 3}\n",
    "a path of 300 letters": f"data: {{path: {'a' * 300}}}\n",
    "a path of many folders": f"data: {{path: x.jsonl}}\nmodel: {{name: {'a/' * 5000}}}\n",
    "a null byte in a path": 'data: {path: "a\\0b"}\n',
    "a null byte in the folder of runs": 'runs: "a\\0b"\n',
    "a null byte": "\0",
    "two documents": "seed: 1\n---\nseed: 2\n",
}


@pytest.fixture(params=[lambda path: load_recipe(str(path), {}, []), recipe_from_saved], ids=["given", "saved"])
def read(request: pytest.FixtureRequest) -> Callable[[Path], Any]:
    """The two ways in which a recipe is read."""
    return request.param


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused(case: str, read: Callable[[Path], Any], tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(CASES[case], encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        read(path)
    error = caught.value
    assert error.fix
    assert sum(map(len, (error.what, error.why, error.fix))) < 4000
    if read is not recipe_from_saved:
        check_message(error, {str(tmp_path): "FOLDER"})


PARTED = {
    "a tab before a value": "seed:\t3\n",
    "a tag without a name": "seed: !\n",
    "a key with a mark": "data: {path?: x}\n",
    "a comment that touches a mark": "name: |#x\n  y\n",
    "a mark of byte order": "seed: \ufeff3\n",
    "half a character": "name: \ud800\n",
}
"""Where libyaml's parser and PyYAML's own differ."""
PLAIN = {
    "a recipe": "name: one\ntrain:\n  epochs: 2.5\n  clip: ~\nlora:\n  targets: [q_proj, 'v_proj']\n",
    "a text in lines": "template:\n  text: |-\n    é 😀 {{ x }}\n    # no comment\n",
    "empty": "",
    "not YAML": "data:\n  path: [x\n",
}


def outcome(text: str, read: Callable[[str], Any]) -> Any:
    """The node with its lines, as a text, or the error."""

    def plain(node: Any) -> Any:
        if isinstance(node, (list, tuple)):
            return [plain(one) for one in node]
        return [node.tag, plain(node.value), node.start_mark.line] if isinstance(node, yaml.Node) else node

    try:
        return plain(read(text))
    except (yaml.YAMLError, TooMuch) as error:
        return f"{type(error).__name__}: {error}"


ODD = {name: text for name, text in CASES.items() if name not in ("too long", "too many names")}
"""Without those that take seconds to parse."""


@pytest.mark.parametrize("text", [*PARTED.values(), *PLAIN.values(), *ODD.values()], ids=[*PARTED, *PLAIN, *ODD])
def test_the_fast_parser_gives_what_the_plain_one_gives(text: str) -> None:
    assert outcome(text, compose) == outcome(text, lambda one: compose_with(yaml.SafeLoader, one))


@pytest.mark.skipif(not yaml.__with_libyaml__, reason="PyYAML was built without libyaml")
def test_plain_recipes_take_the_fast_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml, "SafeLoader", None)
    assert compose(PLAIN["a recipe"]).value[0][1].value == "one"


def test_it_is_not_built_first(tmp_path: Path) -> None:
    """The aliases stand for ten billion texts."""
    import tracemalloc

    path = tmp_path / "recipe.yaml"
    path.write_text(ALIASES, encoding="utf-8")
    tracemalloc.start()
    with pytest.raises(RecipeError):
        load_recipe(str(path), {}, [])
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


def test_many_labels_are_no_attack(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    lines = "".join(f"  - label {number}\n" for number in range(10_000))
    path.write_text(f"data:\n  path: x.jsonl\n  labels:\n{lines}", encoding="utf-8")
    assert len(load_recipe(str(path), {}, []).recipe.data.labels) == 10_000


@pytest.mark.parametrize("value", ["!!int abc", "[" * 3000, "2024-99-99", "&a [*a]"])
def test_a_value_of_the_command_line_neither(value: str) -> None:
    with pytest.raises(RecipeError, match="`train.epochs|--set train.epochs"):
        load_recipe("x.jsonl", {}, [f"train.epochs={value}"])


@pytest.mark.skipif(sys.platform != "linux", reason="names are UTF-8 on other systems")
@pytest.mark.parametrize("name", [b"d\xe9j\xe0.jsonl", b"it's \\ \xff $x", b"\xc3"])
def test_a_name_that_is_not_utf_8_is_refused_with_the_command_that_renames_the_file(
    name: bytes, tmp_path: Path
) -> None:
    path = tmp_path / os.fsdecode(name)
    path.touch()
    with pytest.raises(RecipeError) as caught:
        load_recipe(None, {"data.path": str(path)}, [])
    assert "since a recipe is text, and the byte 0x" in caught.value.fix
    (command,) = re.findall(r"`(mv .*) NEW`", caught.value.fix)
    subprocess.run(["bash", "-c", f"{command} '{tmp_path / 'new.jsonl'}'"], check=True)
    assert [found.name for found in tmp_path.iterdir()] == ["new.jsonl"]
