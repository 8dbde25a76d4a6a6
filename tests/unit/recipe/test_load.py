"""Loading a recipe: precedence, origins, and all problems in one error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from burnish.errors import RecipeError
from burnish.recipe.load import dump_recipe, load_recipe, recipe_from_saved
from burnish.recipe.names import options, takes_whole_numbers
from burnish.recipe.schema import AUTO, BUNDLED_MODELS, Recipe
from tests.snapshots import check_message


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def problems_of(
    data: str | None = "rows.jsonl", flags: dict[str, Any] | None = None, sets: tuple[str, ...] = ()
) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        load_recipe(data, flags or {}, sets)
    return caught.value


def test_defaults_and_their_origin() -> None:
    loaded = load_recipe("rows.jsonl", {}, [])
    assert loaded.recipe == Recipe.model_validate({"data": {"path": "rows.jsonl"}})
    assert loaded.origins["data.path"] == "flag"
    assert set(loaded.origins.values()) == {"flag", "default"}


def test_flag_wins_over_file_and_file_over_default(tmp_path: Path) -> None:
    file = write(tmp_path / "recipe.yaml", "data:\n  path: rows.jsonl\ntrain:\n  epochs: 5\n  clip: 2\n")
    loaded = load_recipe(file, {"model.name": "gpt2"}, ["train.epochs=2"])
    assert (loaded.recipe.train.epochs, loaded.recipe.train.clip, loaded.recipe.model.name) == (2, 2, "gpt2")
    assert loaded.origins["train.epochs"] == "flag"
    assert loaded.origins["train.clip"] == "recipe.yaml line 5"
    assert loaded.origins["train.patience"] == "default"


@pytest.mark.parametrize(
    ("written", "option", "value"),
    [
        ("train.learning_rate=1e-4", ("train", "learning_rate"), 1e-4),
        ("train.learning_rate=auto", ("train", "learning_rate"), "auto"),
        ("train.betas=[0.8, 0.9]", ("train", "betas"), (0.8, 0.9)),
        ("lora.targets=[q_proj, v_proj]", ("lora", "targets"), ["q_proj", "v_proj"]),
        ("data.columns.prompt=question", ("data", "columns"), {"prompt": "question"}),
        ("data.columns={prompt: 1}", ("data", "columns"), {"prompt": "1"}),
        ("template.kwargs.enable_thinking=false", ("template", "kwargs"), {"enable_thinking": False}),
        (
            "template.kwargs={style: 0.001, names: [a, null]}",
            ("template", "kwargs"),
            {"style": 0.001, "names": ["a", None]},
        ),
        ("data.rows=null", ("data", "rows"), None),
        ("data.packing=false", ("data", "packing"), False),
        ("model.revision=1234567", ("model", "revision"), "1234567"),
        ("data.shape=on", ("data", "shape"), "on"),
        ("data.shape=a=b", ("data", "shape"), "a=b"),
    ],
)
def test_values_after_set(written: str, option: tuple[str, str], value: Any) -> None:
    section, field = option
    recipe = load_recipe("rows.jsonl", {}, [written]).recipe
    assert getattr(getattr(recipe, section), field) == value


def test_letters_stay_letters_in_a_file(tmp_path: Path) -> None:
    file = write(tmp_path / "r.yaml", "name: 2024\nseed: 7\ndata: {path: a.jsonl, columns: {prompt: yes}}\nbatch:\n")
    recipe = load_recipe(file, {}, []).recipe
    assert (recipe.name, recipe.seed, recipe.data.columns) == ("2024", 7, {"prompt": "yes"})


def test_a_key_of_a_map_joins_the_map_of_the_file(tmp_path: Path) -> None:
    file = write(tmp_path / "r.yaml", "data:\n  path: a.jsonl\n  columns: {prompt: q}\n")
    loaded = load_recipe(file, {}, ["data.columns.completion=a"])
    assert loaded.recipe.data.columns == {"prompt": "q", "completion": "a"}
    assert loaded.origins["data.columns"] == "flag"


def test_the_key_of_a_map_may_have_dots() -> None:
    recipe = load_recipe("rows.jsonl", {}, ["data.roles.Bot.v1=assistant", "data.roles.Tom=user"]).recipe
    assert recipe.data.roles == {"Bot.v1": "assistant", "Tom": "user"}


def test_paths_in_a_file_start_at_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "recipes"
    (folder / "base").mkdir(parents=True)
    write(folder / "rows.jsonl", "")
    write(tmp_path / "rows.jsonl", "")
    file = write(folder / "r.yaml", "data: {path: rows.jsonl, validation: gone.jsonl}\nmodel: {name: ./base}\n")
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(file, {}, []).recipe
    assert recipe.data.path == str(folder / "rows.jsonl")
    assert recipe.data.validation == str(folder / "gone.jsonl")
    assert Path(recipe.model.name) == folder / "base"
    assert load_recipe("rows.jsonl", {}, []).recipe.data.path == str(tmp_path / "rows.jsonl")


def test_hub_names_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "seedling").mkdir()
    file = write(tmp_path / "r.yaml", "data: {path: tatsu-lab/alpaca}\nmodel: {name: org/model}\n")
    recipe = load_recipe(file, {}, []).recipe
    assert (recipe.data.path, recipe.model.name) == ("tatsu-lab/alpaca", "org/model")
    assert load_recipe("squad", {"model.name": "seedling"}, []).recipe.model.name == "seedling"


def test_an_unknown_name_is_reported_with_line_and_near_name(tmp_path: Path) -> None:
    file = write(tmp_path / "recipe.yaml", "data:\n  path: a.jsonl\ntrain:\n  lerning_rate: 1e-4\n")
    error = problems_of(file)
    assert error.what == "`train.lerning_rate` is not an option (recipe.yaml line 4)"
    assert error.fix == "Did you mean `train.learning_rate`?"
    assert error.exit_code == 2


@pytest.mark.parametrize(
    "written",
    [
        "train.epochs=-1",
        "train.epochs=true",
        "train.max_steps=2.5",
        "train.learning_rate=fast",
        "train.learning_rate=.inf",
        "model.precision=fp8",
        "train.betas=[0.9]",
        "data.packing=3",
        "data.columns=3",
        "template.kwargs=3",
        "template.kwargs.day=2024-01-01",
        "train.warmup=1",
        "epochs=2",
        "train.epochs",
        "train.clip=[1",
        "train=3",
    ],
)
def test_each_wrong_value_is_named_in_a_sentence(written: str) -> None:
    error = problems_of(sets=(written,))
    check_message(error)


@pytest.mark.parametrize("name", [name for name, field in options().items() if takes_whole_numbers(field)])
def test_numbers_that_nothing_can_count_to_are_refused(name: str) -> None:
    with pytest.raises(RecipeError, match=f"`{name}` cannot be `{2**64}`") as caught:
        load_recipe("rows.jsonl", {}, [f"{name}={2**64}"])
    assert "2^53" in caught.value.fix or "2^63" in caught.value.fix


def test_all_problems_come_in_one_error_names_first(tmp_path: Path) -> None:
    text = "seed: -1\ntrain:\n  epochs: many\nepochs: 3\nlora: 4\nsave:\n  keep: 2\n  keep: 3\n"
    error = problems_of(write(tmp_path / "r.yaml", text), {"lora.rnk": 8}, ("train.clip=-1",))
    lines = error.why.splitlines()
    assert error.what == "7 options are wrong"
    assert [line.split("`")[1] for line in lines] == [
        *("epochs", "save.keep", "lora.rnk"),
        *("lora", "train.epochs"),
        *("seed", "train.clip"),
    ]
    check_message(error)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"train: {epochs: 2\nseed: 3\n", ":2:"),
        (b"a: b: c\n", ":1:5` is not YAML"),
        (b"- a\n- b\n", "is not a recipe"),
        (b"just words\n", "is not a recipe"),
        (b"\xff\xfe\x00", "is not a recipe"),
        (b"name: \x00\n", "is not YAML"),
    ],
)
def test_a_broken_file_is_named_with_its_place(content: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    error = problems_of(str(path))
    assert str(path) in error.what
    assert what in error.what


def test_a_missing_recipe_and_what_lies_near(tmp_path: Path) -> None:
    write(tmp_path / "mine.yaml", "")
    error = problems_of(str(tmp_path / "recipe.yaml"))
    assert error.what == f"there is no recipe `{tmp_path / 'recipe.yaml'}`"
    assert "`mine.yaml`" in error.fix


def test_no_data_is_an_error(tmp_path: Path) -> None:
    check_message(problems_of(None))
    check_message(problems_of(write(tmp_path / "recipe.yaml", "seed: 1\n")), {tmp_path: "FOLDER"})


def test_what_is_saved_reads_back_equal(tmp_path: Path) -> None:
    sets = [
        "template.kwargs={thinking: true, depth: 2}",
        "train.learning_rate=3e-05",
        "data.columns={prompt: fräge}",
        "lora.targets=[a]",
        "model.revision=null",
    ]
    recipe = load_recipe("rows.jsonl", {"name": "on"}, sets).recipe
    path = tmp_path / "recipe.yaml"
    write(path, dump_recipe(recipe))
    assert recipe_from_saved(path) == recipe
    tops = [line.split(":")[0] for line in dump_recipe(recipe).splitlines() if not line.startswith(" ")]
    assert tops == list(Recipe.model_fields)


def test_sections_that_nobody_reads_are_left_out_of_what_is_saved(tmp_path: Path) -> None:
    recipe = load_recipe("rows.jsonl", {}, ["span.longest_answer=7", "train.epochs=2"]).recipe
    text = dump_recipe(recipe, without={"tag", "span"})
    tops = [line.split(":")[0] for line in text.splitlines() if not line.startswith(" ")]
    assert tops == [name for name in Recipe.model_fields if name not in ("tag", "span")]
    read = recipe_from_saved(Path(write(tmp_path / "recipe.yaml", text)))
    assert read.span == Recipe().span != recipe.span, "what is left out is the default again"
    assert read.train == recipe.train


def test_a_bundled_name_is_the_bundled_model_even_beside_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (*BUNDLED_MODELS, AUTO):
        (tmp_path / name).mkdir()
        assert load_recipe("squad", {"model.name": name}, []).recipe.model.name == name
        spelled = load_recipe("squad", {"model.name": f"./{name}"}, []).recipe.model.name
        assert spelled == str(tmp_path / name)


def test_other_texts_are_a_file_and_words_are_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("none", "bundled", "texts.jsonl"):
        write(tmp_path / name, "{}")
    taken = {
        name: load_recipe("rows.jsonl", {"evaluate.general": name}, []).recipe.evaluate.general
        for name in ("auto", "none", "bundled", "texts.jsonl", "./none")
    }
    assert taken == {
        "auto": "auto",
        "none": "none",
        "bundled": "bundled",
        "texts.jsonl": str(tmp_path / "texts.jsonl"),
        "./none": str(tmp_path / "none"),
    }


def test_one_of_several_gpus_is_kept(tmp_path: Path) -> None:
    recipe = load_recipe("rows.jsonl", {}, ["model.device=cuda:1"]).recipe
    saved = tmp_path / "recipe.yaml"
    saved.write_text(dump_recipe(recipe), encoding="utf-8")
    assert recipe_from_saved(saved).model.device == "cuda:1"


@pytest.mark.parametrize("device", ["cuda:", "cuda:x", "cuda:-1", "cuda:01", "cpu:0", "gpu", "1"])
def test_a_device_of_another_form_is_refused(device: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("rows.jsonl", {}, [f"model.device={device}"])
    check_message(caught.value)


ROWS_IN_YAML = {
    "rasa": 'version: "3.1"\nnlu:\n- intent: greet\n  examples: |\n    - hello\n',
    "chatterbot": "categories:\n- x\nconversations:\n- - Hi\n  - Hello\n",
    "list": "- text: a\n  label: b\n",
}


@pytest.mark.parametrize("name", ROWS_IN_YAML)
def test_rows_in_yaml_are_told_from_a_recipe_with_the_command_that_makes_data_of_them(
    tmp_path: Path, name: str
) -> None:
    file = write(tmp_path / f"{name}.yml", ROWS_IN_YAML[name])
    check_message(problems_of(file), {tmp_path: "FOLDER"})


@pytest.mark.parametrize("text", ["modle: x\n", "modle: [x]\nseed: 1\n"])
def test_a_recipe_with_a_wrong_name_is_still_one(tmp_path: Path, text: str) -> None:
    error = problems_of(write(tmp_path / "recipe.yaml", text))
    assert "`modle` is not an option" in error.what + error.why
