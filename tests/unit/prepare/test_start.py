"""What a recipe starts from, and whether its adapter goes on or is merged first; nothing is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy
import pytest
from safetensors.numpy import save_file

from burnish.errors import BurnishError, ModelError
from burnish.methods import can_merge, make_method, method_names, quantizes
from burnish.prepare.start import find_start, locate_base, settle_start
from burnish.recipe.load import dump_recipe, load_recipe
from burnish.recipe.schema import Recipe
from burnish.runs.events import Resolved
from burnish.workflows.plan import Place, plan

FINISHED = {"event": "Finished", "best_step": 40, "loss_before": 2.0, "loss_after": 1.0, "seconds": 1.0, "result": "x"}


def make_run(runs: Path, name: str = "sft", method: str = "lora", task: str = "chat", **options: Any) -> Path:
    """A run folder as far as its recipe, a result and a checkpoint of step 20."""
    folder = runs / name
    (folder / ("model" if method == "full" else "adapter")).mkdir(parents=True)
    (folder / "checkpoints" / "step-000020").mkdir(parents=True)
    (folder / "adapter" / "adapter_config.json").write_text("{}") if method != "full" else None
    given = {"task": task, "method": method, "model.name": "seedling", "data.path": "rows.jsonl", "lora.rank": 8}
    settings = {"lora.alpha": 16, "lora.targets": ["q_proj", "v_proj"], **options}
    recipe = load_recipe(None, {**given, **settings}, []).recipe
    (folder / "recipe.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    (folder / "events.jsonl").write_text(json.dumps(FINISHED) + "\n", encoding="utf-8")
    return folder


def settled(runs: Path, model: str, *sets: str, **flags: Any) -> tuple[Recipe, dict[str, Resolved]]:
    """The settled recipe, and the choices by option."""
    given = {
        "model.name": model,
        "runs": str(runs),
        **{name.replace("__", "."): value for name, value in flags.items()},
    }
    loaded = load_recipe("rows.jsonl", given, sets)
    choices: list[Resolved] = []
    return settle_start(loaded.recipe, loaded.origins, choices.append), {one.option: one for one in choices}


def refused(runs: Path, model: str, *sets: str, **flags: Any) -> str:
    """All three parts of the error."""
    with pytest.raises(BurnishError) as error:
        settled(runs, model, *sets, **flags)
    return f"{error.value.what}. {error.value.why} {error.value.fix}"


def test_the_tables_are_those_of_the_methods() -> None:
    for name in method_names():
        assert can_merge(name) is make_method(name).can_merge
        assert quantizes(name) is make_method(name).quantizes


@pytest.mark.parametrize("named", ["sft", "sft@20", "{runs}/sft", "{runs}/sft/adapter"])
def test_a_run_is_found_by_name_path_step_and_result(named: str, tmp_path: Path) -> None:
    make_run(tmp_path, "sft", **{"template.kwargs": {"enable_thinking": False}})
    recipe, choices = settled(tmp_path, named.format(runs=tmp_path))
    assert recipe.model.name == "seedling"
    assert recipe.start.path == f"{tmp_path}/sft" + ("@20" if "@" in named else "")
    assert (recipe.start.how, recipe.method, recipe.lora.rank) == ("continue", "lora", 8)
    assert recipe.template.kwargs == {"enable_thinking": False}
    assert choices["lora.targets"].reason == f"as in the run `{recipe.start.path.rpartition('/')[2]}`"
    assert settle_start(recipe) == recipe  # a saved recipe is settled already


@pytest.mark.parametrize("name", ["seedling", "gpt2", "no-such-run", "org/model"])
def test_a_base_model_is_none(name: str, tmp_path: Path) -> None:
    make_run(tmp_path)
    recipe, _ = settled(tmp_path, name)
    assert recipe.start.path is None
    assert find_start(recipe) is None


@pytest.mark.parametrize(
    ("sets", "flags", "reason"),
    [
        (["lora.rank=4"], {}, "`lora.rank` is 4, and 8 in the adapter"),
        (["lora.bias=all"], {}, "`lora.bias` is all, and none in the adapter"),
        (["lora.targets=[q_proj]"], {}, "`lora.targets` is"),
        ([], {"method": "full"}, "the method is `full`, and `lora` trained it"),
        ([], {"task": "classify"}, "the tasks `classify` and `chat` have different output layers"),
        (["start.how=merge"], {}, "as asked"),
    ],
)
def test_what_does_not_fit_is_merged(sets: list[str], flags: dict[str, Any], reason: str, tmp_path: Path) -> None:
    make_run(tmp_path)
    recipe, choices = settled(tmp_path, "sft", *sets, **flags)
    assert recipe.start.how == "merge"
    if reason != "as asked":
        assert choices["start.how"].reason.startswith(reason)
        assert "lora.alpha" not in choices


def test_what_does_not_decide_the_form_may_differ(tmp_path: Path) -> None:
    make_run(tmp_path)
    recipe, _ = settled(tmp_path, "sft", "lora.dropout=0.1", "lora.targets=[v_proj, q_proj]", task="preference")
    assert (recipe.start.how, recipe.lora.dropout) == ("continue", 0.1)


def test_an_adapter_that_was_split_off_the_base_has_twice_the_rank(tmp_path: Path) -> None:
    make_run(tmp_path, **{"lora.init": "pissa"})
    recipe, _ = settled(tmp_path, "sft")
    assert (recipe.lora.rank, recipe.lora.alpha, recipe.lora.init) == (16, 32, "default")


def test_a_whole_model_is_the_next_base(tmp_path: Path) -> None:
    make_run(tmp_path, method="full")
    recipe, _ = settled(tmp_path, "sft")
    assert (recipe.start.how, recipe.method) == ("merge", "auto")
    assert "a whole model" in refused(tmp_path, "sft", "start.how=continue")


def test_a_quantized_base_is_merged_only_if_that_is_asked_for(tmp_path: Path) -> None:
    make_run(tmp_path, method="qlora")
    assert settled(tmp_path, "sft")[0].start.how == "continue"
    said = refused(tmp_path, "sft", method="lora")
    assert "trained on a quantized base" in said and "start.how=merge" in said and "--method qlora" in said
    assert settled(tmp_path, "sft", "start.how=merge", method="lora")[0].start.how == "merge"


@pytest.mark.parametrize(
    ("model", "sets", "message"),
    [
        ("sft", ["start.how=continue", "lora.rank=4"], "cannot go on training here"),
        ("seedling", ["start.how=merge"], "starts from a base model"),
        ("sft@30", [], "has no checkpoint of step 30"),
        ("stf@20", [], "there is no run `stf`"),
        ("seedling", ["start.path=/nowhere"], "neither a run nor an adapter"),
    ],
)
def test_what_cannot_be_is_refused(model: str, sets: list[str], message: str, tmp_path: Path) -> None:
    make_run(tmp_path)
    assert message in refused(tmp_path, model, *sets)


def test_a_prefix_can_neither_go_on_nor_be_merged(tmp_path: Path) -> None:
    make_run(tmp_path, method="prompt")
    assert "neither go on nor be merged" in refused(tmp_path, "sft")


def adapter(folder: Path, **settings: Any) -> Path:
    """A PEFT adapter of another tool."""
    folder.mkdir()
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "seedling", "r": 3}
    config |= {"lora_alpha": 6, "target_modules": ["v_proj", "q_proj"], "bias": "none", **settings}
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    name = "base_model.model.layers.0.q_proj.lora_A.weight"
    save_file({name: numpy.zeros((3, 4), numpy.float32)}, str(folder / "adapter_model.safetensors"))
    return folder


def test_an_adapter_of_another_tool_says_what_it_is(tmp_path: Path) -> None:
    place = adapter(tmp_path / "theirs")
    recipe, _ = settled(tmp_path, str(place))
    assert (recipe.model.name, recipe.start.path, recipe.start.how) == ("seedling", str(place), "continue")
    assert (recipe.method, recipe.lora.rank, recipe.lora.alpha) == ("lora", 3, 6)
    assert recipe.lora.targets == ["q_proj", "v_proj"]
    assert settled(tmp_path, str(place), method="qlora")[0].start.how == "continue"
    moved, _ = settled(tmp_path, "acorn", f"start.path={place}")
    assert moved.model.name == "acorn"


def test_layers_that_a_pattern_chose_are_known_by_their_weights(tmp_path: Path) -> None:
    recipe, _ = settled(tmp_path, str(adapter(tmp_path / "theirs", target_modules=r".*\.q_proj")))
    assert recipe.lora.targets == ["layers.0.q_proj"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"peft_type": "LOHA"}, "cannot be trained further"),
        ({"task_type": "SEQ_CLS"}, "cannot be trained further"),
        ({"base_model_name_or_path": None}, "does not say which base model"),
    ],
)
def test_another_kind_of_adapter_is_refused(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    assert message in refused(tmp_path, str(adapter(tmp_path / "theirs", **settings)))


@pytest.mark.parametrize("settings", [{"rank_pattern": {"q_proj": 2}}, {"lora_alpha": 4.5}])
def test_a_form_without_an_option_is_merged(settings: dict[str, Any], tmp_path: Path) -> None:
    recipe, _ = settled(tmp_path, str(adapter(tmp_path / "theirs", **settings)))
    assert recipe.start.how == "merge"


@pytest.mark.parametrize("base", ["unsloth/llama-3-8b-bnb-4bit", "../nowhere"])
def test_a_base_that_an_adapter_names_and_that_is_not_here_can_be_given(base: str, tmp_path: Path) -> None:
    place = adapter(tmp_path / "theirs", base_model_name_or_path=base)
    recipe = Recipe().with_options(model={"name": base}, start={"path": str(place)})
    for looks_for_it in (locate_base, lambda recipe: plan(recipe, Place())):
        with pytest.raises(ModelError) as refused:
            looks_for_it(recipe)
        assert base in refused.value.what and "adapter_config.json` names it" in refused.value.why
        assert f"`--model BASE --set start.path={place}`" in refused.value.fix
    with pytest.raises(ModelError) as other:
        locate_base(recipe.with_options(model={"name": "../elsewhere"}))
    assert "names it" not in other.value.why
