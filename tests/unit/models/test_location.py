"""Finding a base model, and refusing what is none."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.errors import ModelError
from burnish.models.location import ModelLocation, chat_templates, lacking, locate_model, read_config
from burnish.plan.stand_ins import find_for_planning
from burnish.recipe.schema import ModelSection
from tests.snapshots import check_message, check_text


def locate(name: Path | str, **options: Any) -> Any:
    """Looks for a model by name or folder."""
    return locate_model(ModelSection(name=str(name), **options))


@pytest.fixture
def model(tiny_model: Callable[[str], Path], tmp_path: Path) -> Path:
    """A model folder that a test may damage."""
    return Path(shutil.copytree(tiny_model("llama"), tmp_path / "model"))


def pickle_weights(model: Path) -> None:
    """Turns the safetensors file into a pickle."""
    (model / "model.safetensors").unlink()
    torch.save({"weight": torch.zeros(2)}, model / "pytorch_model.bin")


def test_a_local_folder_is_taken_as_it_is(model: Path) -> None:
    found = locate(model)
    assert (found.name, found.folder, found.is_hub) == (str(model), model, False)


def test_a_bundled_model_wins_over_a_folder_of_its_name(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model.parent)
    model.rename("seedling")
    assert "assets" in locate("seedling").folder.parts
    assert locate("./seedling").folder == Path("seedling")


def test_a_folder_may_be_named_from_home(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(model.parent))
    assert locate("~/model").folder == model


def test_a_folder_without_config_is_no_model(model: Path) -> None:
    (model / "config.json").unlink()
    with pytest.raises(ModelError) as caught:
        locate(model)
    check_message(caught.value, {model: "MODEL"})
    assert "config.json" in caught.value.why


def test_an_adapter_is_no_base_model(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError) as caught:
        locate(tmp_path)
    check_message(caught.value, {tmp_path: "MODEL"})


def test_a_model_without_tokenizer_is_refused(model: Path) -> None:
    for file in model.glob("token*"):
        file.unlink()
    with pytest.raises(ModelError, match="has no tokenizer") as caught:
        locate(model)
    assert "tokenizer.json" in caught.value.why


def test_a_model_without_weights_is_refused(model: Path) -> None:
    (model / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="has no weights"):
        locate(model)


@pytest.mark.skipif(os.name == "nt", reason="there are no pipes")
@pytest.mark.parametrize("name", ["tokenizer_config.json", "additional_chat_templates/a.jinja", "notes.txt"])
def test_a_pipe_or_a_device_in_a_model_is_refused(name: str, model: Path) -> None:
    """transformers opens many files by their names, and reading such a one may never end."""
    (model / name).unlink(missing_ok=True)
    (model / name).parent.mkdir(exist_ok=True)
    if name.startswith("notes"):
        (model / name).symlink_to("/dev/zero")
    else:
        os.mkfifo(model / name)
    with pytest.raises(ModelError, match=f"holds `{name}`, which is a pipe or a device"):
        locate(model)
    with pytest.raises(ModelError, match=f"holds `{name}`, which is a pipe or a device"):
        find_for_planning(ModelSection(name=str(model)), lambda event: None)


def test_pickles_are_refused_unless_allowed(model: Path) -> None:
    pickle_weights(model)
    with pytest.raises(ModelError, match=r"only pickled weights \(`pytorch_model.bin`\)") as caught:
        locate(model)
    assert "can run any code" in caught.value.why
    assert "--allow-pickle" in caught.value.fix
    assert locate(model, allow_pickle=True).folder == model


def test_a_pickle_beside_safetensors_does_no_harm(model: Path) -> None:
    (model / "pytorch_model.bin").write_bytes(b"never opened")
    assert locate(model).folder == model


def test_a_file_is_no_model(model: Path) -> None:
    with pytest.raises(ModelError, match="is a file") as caught:
        locate(model / "config.json")
    assert str(model) in caught.value.fix


def test_a_missing_folder_names_the_nearest(model: Path) -> None:
    with pytest.raises(ModelError, match="there is no model folder") as caught:
        locate(model.parent / "modell")
    assert caught.value.fix == f"Did you mean `{model}`?"


@pytest.mark.parametrize("name", ["./nothing", "/nothing/here", "~/nothing", "a/b/c"])
def test_what_looks_like_a_path_is_not_looked_for_on_the_hub(name: str) -> None:
    with pytest.raises(ModelError, match="there is no model folder"):
        locate(name)


def test_a_hub_name_offline_says_where_it_looked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The tests run with HF_HUB_OFFLINE=1."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError) as caught:
        locate("some/model")
    check_message(caught.value, {tmp_path: "CACHE"})
    assert str(tmp_path) in caught.value.why
    assert "HF_HUB_OFFLINE" in caught.value.why
    assert "--model seedling" in caught.value.fix
    assert caught.value.exit_code == 2


def test_a_mistyped_bundled_name_is_suggested() -> None:
    with pytest.raises(ModelError) as caught:
        locate("seedlng")
    assert caught.value.fix == "Did you mean `seedling`?"


@pytest.mark.parametrize("name", ["so:me/model", "white space", "-dash"])
def test_a_name_that_no_hub_model_can_have(name: str) -> None:
    with pytest.raises(ModelError, match="there is no model") as caught:
        locate(name)
    assert caught.value.exit_code == 2


def lacks(folder: Path, **options: Any) -> str:
    """What is not here of a model."""
    return lacking(ModelLocation("it", folder, False), ModelSection(name="it", **options))


def test_a_whole_model_lacks_nothing(model: Path) -> None:
    assert lacks(model) == ""
    check_text(lacks(model / "config.json"))
    (model / "model.safetensors").rename(model / "elsewhere")
    check_text(lacks(model))


def test_pickles_count_where_they_are_allowed(model: Path) -> None:
    pickle_weights(model)
    assert "only pickled weights" in lacks(model)
    assert lacks(model, allow_pickle=True) == ""


def test_every_shard_has_to_be_here(model: Path) -> None:
    weights = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    index = model / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weights}), encoding="utf-8")
    assert lacks(model) == "", "one file with everything goes before the index"
    (model / "model.safetensors").rename(model / weights["a"])
    assert lacks(model) == "`model-00002-of-00002.safetensors` of the model `it` is missing"
    shutil.copy(model / weights["a"], model / weights["b"])
    assert lacks(model) == ""
    (model / weights["b"]).unlink()
    index.write_text("[]", encoding="utf-8")
    assert "index of the weights of `it` cannot be read" in lacks(model)


@pytest.mark.parametrize("name", ["num_hidden_layers", "depth"])
def test_a_config_of_more_blocks_than_can_be_listed_is_refused_at_once(name: str, model: Path) -> None:
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    (model / "config.json").write_text(json.dumps({**config, "text_config": {name: 2**64}}), encoding="utf-8")
    with pytest.raises(ModelError, match=f"config of `{model}`") as caught:
        section = ModelSection(name=str(model))
        read_config(locate_model(section), section)
    assert f"`{name}` is {2**64}" in caught.value.why


def test_every_chat_template_of_a_folder_is_found(tmp_path: Path) -> None:
    assert chat_templates(tmp_path) == []
    (tmp_path / "additional_chat_templates").mkdir()
    for name in ("chat_template.jinja", "additional_chat_templates/tools.jinja"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    named = [{"name": "default", "template": "one"}, {"name": "rag", "template": "two"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}), encoding="utf-8")
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": "three"}), encoding="utf-8")
    files = ["chat_template.jinja", "additional_chat_templates/tools.jinja"]
    assert chat_templates(tmp_path) == [*files, "one", "two", "three"]


@pytest.mark.parametrize("text", ["{", "[]", '{"chat_template": 3}', '{"chat_template": ["a", {}]}', "[" * 100_000])
def test_a_damaged_file_of_templates_is_left_to_the_loading(text: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(text, encoding="utf-8")
    assert chat_templates(tmp_path) == []
