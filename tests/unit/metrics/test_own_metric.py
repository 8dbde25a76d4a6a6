"""A figure of the user's own."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy
import pytest

from burnish.errors import RecipeError
from burnish.metrics.own_metric import load_metric
from tests.snapshots import check_message

LENGTH = "def score(answer, expected):\n    return len(answer) / len(expected)\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_of_the_current_folder() -> None:
    """Even where Python does not look there by itself, as under `burnish`."""
    Path("my_metric.py").write_text(LENGTH)
    assert load_metric("my_metric:score")("ab", "abcd") == 0.5


def test_a_file_in_a_folder_below() -> None:
    Path("mine").mkdir()
    Path("mine/figures.py").write_text(LENGTH)
    assert load_metric("mine.figures:score")("a", "ab") == 0.5


def test_the_file_as_it_is_now() -> None:
    """Python would remember the first one."""
    for number in (2, 30):
        Path("my_metric.py").write_text(f"def score(answer, expected):\n    return {number}\n")
        assert load_metric("my_metric:score")("", "") == number


def test_a_file_named_like_a_module_of_python_takes_its_place_for_the_metric_alone() -> None:
    import statistics

    Path("statistics.py").write_text(LENGTH)
    assert load_metric("statistics:score")("ab", "ab") == 1.0
    assert sys.modules["statistics"] is statistics


def test_a_file_that_declares_classes() -> None:
    """Dataclasses look their module up by its name."""
    lines = [
        "from __future__ import annotations",
        "import dataclasses",
        "@dataclasses.dataclass",
        "class Weights:",
        "    right: float = 2.0",
        "def score(answer, expected):",
        "    return Weights().right * (answer == expected)",
    ]
    Path("my_metric.py").write_text("\n".join(lines))
    assert load_metric("my_metric:score")("a", "a") == 2.0


def test_an_installed_module() -> None:
    assert load_metric("operator:eq")("a", "a") == 1.0
    assert load_metric("operator:eq")("a", "b") == 0.0


@pytest.mark.parametrize("given", [True, 1, 1.0, numpy.float32(1), numpy.int64(1)])
def test_any_number_will_do(given: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operator.given", lambda answer, expected: given, raising=False)
    number = load_metric("operator:given")("", "")
    assert (number, type(number)) == (1.0, float)


@pytest.mark.parametrize("name", ["score", "my_metric:", ":score", ":", "", ".:score", "..:score", "a..b:score"])
def test_a_name_that_names_no_function(name: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_metric(name)
    check_message(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "ModuleNotFoundError: No module named 'my_metric'."),
        ("import nonesuch_at_all\n", "ModuleNotFoundError: No module named 'nonesuch_at_all'."),
        ("def score(answer:\n", "SyntaxError: "),
    ],
)
def test_a_module_that_cannot_be_loaded(content: str | None, why: str) -> None:
    if content is not None:
        Path("my_metric.py").write_text(content)
    with pytest.raises(RecipeError, match="the module `my_metric` cannot be loaded") as caught:
        load_metric("my_metric:score")
    assert caught.value.why.startswith(why)
    assert "my_metric.py" in caught.value.fix


@pytest.mark.parametrize("content", ["", "score = 3\n"])
def test_a_module_without_the_function(content: str) -> None:
    Path("my_metric.py").write_text(content)
    with pytest.raises(RecipeError, match="the module `my_metric` has no function `score`") as caught:
        load_metric("my_metric:score")
    assert "def score(answer, expected)" in caught.value.fix


@pytest.mark.parametrize(("returned", "kind"), [("None", "NoneType"), ("'good'", "str"), ("[1.0]", "list")])
def test_what_is_no_number_is_refused(returned: str, kind: str) -> None:
    Path("my_metric.py").write_text(f"def score(answer, expected):\n    return {returned}\n")
    with pytest.raises(RecipeError) as caught:
        load_metric("my_metric:score")("a", "b")
    assert caught.value.what == f"the metric `my_metric:score` returned {kind}"
    assert "Return a number" in caught.value.fix
