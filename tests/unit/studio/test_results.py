"""What pages say of answers, and which options their form has."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from burnish.recipe.names import options
from burnish.recipe.schema import Recipe
from burnish.studio.answering import Answering, Models
from burnish.studio.commands import BUSY, DONE, FAILED, LOST, NONE, Commands, compare_words, export_words
from burnish.studio.drafts import CODE, OURS
from burnish.studio.pages.compare_page import _difference
from burnish.studio.pages.options_form import _ELSEWHERE, _idle, _read, _values
from burnish.studio.pages.results import differing, is_right
from burnish.studio.pages.settings import flat
from burnish.studio.project import headline_text
from tests.unit.jobs.fake_children import FakeChildren


def test_what_differs_is_marked_word_by_word() -> None:
    assert differing("14 plums, Sunday", "11 plums, Sunday") == [("11", True), (" plums, Sunday", False)]
    assert differing("a", "a") == [("a", False)]
    assert differing("a", "") == []


def test_a_label_is_right_whatever_its_probability() -> None:
    assert is_right({"expected": "refund", "tuned": "refund (0.97)"}, "tuned")
    assert not is_right({"expected": "refund", "tuned": "praise (0.97)"}, "tuned")


def test_every_option_is_in_the_form_or_has_its_place() -> None:
    """An option that is added to the schema is in the form without a line of its own."""
    shown = {name for name in options() if name not in _ELSEWHERE}
    assert {"train.epochs", "lora.rank", "data.group", "seed"} <= shown
    assert set(_ELSEWHERE) - set(options()) == set()
    assert {*OURS, *CODE} <= set(_ELSEWHERE)


def test_sections_that_do_nothing_are_left_out() -> None:
    assert {"tag", "span", "prompt", "distributed"} <= _idle("classify", "lora")
    assert not {"classify", "annotation", "lora"} & _idle("classify", "lora")
    assert "freeze" not in _idle("chat", "freeze")


def test_fields_are_read_as_in_a_recipe() -> None:
    found = options()
    assert _read(found["train.epochs"], "2.5") == 2.5
    assert _read(found["train.epochs"], "auto") == "auto"
    assert _read(found["train.epochs"], "  ") is None
    assert _read(found["data.group"], "2024") == "2024"
    assert _read(found["lora.targets"], "[q_proj, v_proj]") == ["q_proj", "v_proj"]
    assert _values(found["lora.bias"]) == ["all", "lora_only"]
    assert _values(found["data.packing"]) == ["false"]
    assert _values(found["train.epochs"]) == []


def test_a_recipe_by_section_has_the_names_of_options() -> None:
    assert set(flat(Recipe().model_dump(mode="json"))) == set(options())


def test_the_headline_is_short() -> None:
    side = {"low": None, "high": None}
    figure = {"name": "accuracy", "is_share": True, "base": {"value": 0.125, **side}, "tuned": {"value": 0.975, **side}}
    assert headline_text({"headline": "accuracy", "figures": [figure]}) == "accuracy 12.5 % → 97.5 %"
    assert headline_text({}) == ""


def test_differences_of_shares_are_in_points() -> None:
    change = {"value": -0.075, "low": -0.182, "high": None}
    assert _difference(change, True) == "-7.5 points [-18.2, ?]"
    assert _difference(change, False) == "-0.075 [-0.182, ?]"


def test_models_of_a_server_that_was_replaced_answer_nothing(tmp_path: Path) -> None:
    """They never pass on a question to the models of another run."""
    children = FakeChildren()
    answering = Answering(tmp_path, children)

    async def opened(run: str, address: str) -> Models:
        waiting = asyncio.create_task(answering.open(tmp_path / run, "seedling"))
        while not (children.begun and children.begun[-1][1].endswith(run)):
            await asyncio.sleep(0.01)
        (tmp_path / "answering.txt").write_text(f"{address}/v1\n")
        found = await waiting
        assert found is not None
        return found

    async def use() -> None:
        first = await opened("ftjob-1", "http://127.0.0.1:1")
        assert await answering.open(tmp_path / "ftjob-1", "seedling") is first
        second = await opened("ftjob-2", "http://127.0.0.1:2")
        assert (first.address, second.address) == ("http://127.0.0.1:1", "http://127.0.0.1:2")
        assert len(children.stopped) == 1
        assert "do not answer any more" in (await first.ask("/v1/classify", {}))["error"]["message"]
        assert ["do not answer" in said async for _, said in first.stream("/v1/completions", {})] == [True]

    asyncio.run(use())


def test_a_command_is_found_again(tmp_path: Path) -> None:
    children = FakeChildren()
    run = tmp_path / "ftjob-1"
    gguf, merge = export_words(run, "gguf"), export_words(run, "merge")
    commands = Commands(tmp_path / "commands", children)
    assert commands.state(gguf).state == NONE
    commands.start(gguf)
    commands.start(merge)
    assert children.begun == [["export", str(run), "--to", "gguf", "--json"], ["merge", str(run), "--json"]]
    again = Commands(tmp_path / "commands", children)
    assert again.state(gguf).state == BUSY
    first, second = children.alive
    children.end(first, {"folder": "x"})
    assert (again.state(gguf).state, again.state(gguf).found) == (DONE, {"folder": "x"})
    children.end(second)
    assert again.state(merge).state == LOST
    commands.start(gguf)
    children.end(max(children.alive), json.loads('{"error": {"what": "no room"}}'))
    assert again.state(gguf).state == FAILED
    assert again.state(compare_words([run, tmp_path / "ftjob-2"])).state == NONE
