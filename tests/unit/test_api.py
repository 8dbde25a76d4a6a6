"""Burnish from Python: the words that stand for options."""

from __future__ import annotations

from pathlib import Path

import pytest

import burnish
from burnish.errors import InputError, RecipeError
from tests.together import places


def test_options_are_found_by_their_last_name(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        burnish.train(tmp_path / "rows.jsonl", model="seedling", epochs=-1, set={"data.rows": 0, "lora.rnk": 1})
    assert [line.split("`")[1] for line in caught.value.why.splitlines()] == ["lora.rnk", "data.rows", "train.epochs"]


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(RecipeError, match="`lerning_rate` is not an option"):
        burnish.train("rows.jsonl", lerning_rate=1)


def test_there_is_no_such_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for open_it in (burnish.load_run, burnish.resume):
        with pytest.raises(InputError, match="there is no run `nothing`"):
            open_it("nothing")


@pytest.mark.parametrize("name", ["sweep", "extend"])
def test_a_script_under_torchrun_is_refused_where_work_is_not_shared(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in next(places(2)).items():
        monkeypatch.setenv(variable, value)
    options = {"over": {"rank": [1, 2]}} if name == "sweep" else {}
    with pytest.raises(InputError, match=f"`burnish.{name}` runs in one process, and torchrun has started 2"):
        getattr(burnish, name)("rows.jsonl", **options)


@pytest.mark.parametrize("name", ["train", "resume"])
def test_a_number_of_processes_that_cannot_be_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (0, "two"):
        with pytest.raises(InputError, match=f"`processes` is {number!r}"):
            getattr(burnish, name)("rows.jsonl", processes=number)
    for variable, value in next(places(2)).items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(InputError, match="`processes=3` does not fit torchrun, which has started 2"):
        getattr(burnish, name)("rows.jsonl", processes=3)
