"""Weights come from safetensors files in the model's own folder, and from nothing else that a stranger may name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from burnish.errors import ModelError
from burnish.methods.full import FullMethod
from burnish.models.base import Loading, load_base, load_tokenizer
from burnish.models.heads import CAUSAL
from burnish.models.location import ModelLocation, locate_model
from burnish.models.weight_files import check_adapter_files, weight_files
from burnish.recipe.schema import ModelSection
from tests.snapshots import check_message
from tests.unit.methods.adapted import apply_to, location, make_case

INDEX = "model.safetensors.index.json"
Spoil = Callable[[Path], None]


class Bomb:
    """Creates a file as soon as it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


@pytest.fixture
def model(tiny_model: Callable[[str], Path], tmp_path: Path) -> Path:
    """A model folder that a test may damage."""
    return Path(shutil.copytree(tiny_model("llama"), tmp_path / "model"))


def load(model: Path, **options: Any) -> Any:
    """The network of a folder, without `locate_model`."""
    section = ModelSection(**options)
    where = ModelLocation("mine", model, False)
    tokenizer = load_tokenizer(where, section)
    return load_base(where, section, tokenizer, torch.device("cpu"), Loading(torch.float32), CAUSAL).network


def point_to(model: Path, file: str) -> None:
    """Makes the index take every tensor from one file, beside a safetensors file that nothing names."""
    if (model / "model.safetensors").is_file():
        (model / "model.safetensors").rename(model / "decoy.safetensors")
    tensors = load_file(model / "decoy.safetensors")
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(tensors, file)}
    (model / INDEX).write_text(json.dumps(index), encoding="utf-8")


def a_pickle_in_the_index(model: Path) -> None:
    torch.save(load_file(model / "model.safetensors"), model / "pytorch_model.bin")
    point_to(model, "pytorch_model.bin")


def a_pickle_by_another_ending(model: Path) -> None:
    torch.save(load_file(model / "model.safetensors"), model / "weights.SAFETENSORS")
    point_to(model, "weights.SAFETENSORS")


def a_path_upwards(model: Path) -> None:
    shutil.copy(model / "model.safetensors", model.parent / "private.safetensors")
    point_to(model, "../private.safetensors")


def an_absolute_path(model: Path) -> None:
    shutil.copy(model / "model.safetensors", model.parent / "private.safetensors")
    point_to(model, str(model.parent / "private.safetensors"))


def a_link_in_the_index(model: Path) -> None:
    shutil.copy(model / "model.safetensors", model.parent / "private.safetensors")
    (model / "part.safetensors").symlink_to(model.parent / "private.safetensors")
    point_to(model, "part.safetensors")


def a_link_alone(model: Path) -> None:
    (model / "model.safetensors").rename(model.parent / "private.safetensors")
    (model / "model.safetensors").symlink_to("../private.safetensors")


def a_file_named_by_the_config(model: Path) -> None:
    torch.save(load_file(model / "model.safetensors"), model / "adapter_model.bin")
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    config["transformers_weights"] = "adapter_model.bin"
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")


def an_index_named_by_the_config(model: Path) -> None:
    a_pickle_in_the_index(model)
    (model / INDEX).rename(model / f"other.{INDEX}")
    (model / "decoy.safetensors").rename(model / "model.safetensors")
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    config["transformers_weights"] = f"other.{INDEX}"
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")


def an_adapter_beside_the_model(model: Path) -> None:
    case = make_case("llama", model.parent / "base")
    made, network = apply_to(case, "lora")
    made.save(network, model)
    torch.save(load_file(model / "adapter_model.safetensors"), model / "adapter_model.bin")
    (model / "adapter_model.safetensors").unlink()


SPOILED: dict[str, Spoil] = {
    spoil.__name__: spoil
    for spoil in (
        a_pickle_in_the_index,
        a_pickle_by_another_ending,
        a_path_upwards,
        an_absolute_path,
        a_link_in_the_index,
        a_link_alone,
        a_file_named_by_the_config,
        an_index_named_by_the_config,
        an_adapter_beside_the_model,
    )
}


@pytest.mark.parametrize("name", SPOILED)
def test_what_is_not_a_file_of_the_folder_is_refused_before_anything_is_loaded(
    name: str, model: Path, tmp_path: Path
) -> None:
    SPOILED[name](model)
    with pytest.raises(ModelError) as caught:
        locate_model(ModelSection(name=str(model)))
    check_message(caught.value, {model: "MODEL", tmp_path: "FOLDER"})
    assert caught.value.exit_code == 2
    with pytest.raises(ModelError):
        load(model)


@pytest.mark.parametrize("name", [name for name in SPOILED if "link" in name or "path" in name])
def test_allowing_pickles_does_not_let_a_model_out_of_its_folder(name: str, model: Path) -> None:
    SPOILED[name](model)
    with pytest.raises(ModelError):
        locate_model(ModelSection(name=str(model), allow_pickle=True))


def test_a_pickle_that_runs_code_never_runs_it(model: Path, tmp_path: Path) -> None:
    marker = tmp_path / "it ran"
    point_to(model, "pytorch_model.bin")
    torch.save({"weight": Bomb(marker)}, model / "pytorch_model.bin")
    shutil.copy(model / "pytorch_model.bin", model / "training_args.bin")
    shutil.copy(model / "pytorch_model.bin", model / "optimizer.pt")
    for act in (load, lambda folder: locate_model(ModelSection(name=str(folder)))):
        with pytest.raises(ModelError, match=r"`pytorch_model\.bin`"):
            act(model)
    assert not marker.exists()
    torch.load(model / "pytorch_model.bin", weights_only=False)
    assert marker.exists(), "or this test shows nothing"


def test_a_pickle_in_the_index_is_loaded_where_it_is_allowed(model: Path) -> None:
    stored = load_file(model / "model.safetensors")
    a_pickle_in_the_index(model)
    assert locate_model(ModelSection(name=str(model), allow_pickle=True)).folder == model
    held = load(model, allow_pickle=True).state_dict()
    assert all(torch.equal(held[name], tensor) for name, tensor in stored.items())


def test_pickles_that_nothing_names_are_let_lie(model: Path) -> None:
    for file in ("pytorch_model.bin", "training_args.bin", "optimizer.pt"):
        (model / file).write_bytes(b"never opened")
    assert weight_files("mine", model, allow_pickle=False) == ["model.safetensors"]
    load(model)


def test_the_result_of_a_run_is_never_a_pickle(model: Path) -> None:
    """The recipe in a stranger's run folder may say that pickles are allowed."""
    a_pickle_in_the_index(model)
    with pytest.raises(ModelError, match="not a safetensors file"):
        FullMethod().open(lambda where: load(where.folder, allow_pickle=True), location(model), model)


def test_a_snapshot_in_the_cache_of_the_hub_consists_of_links(model: Path, tmp_path: Path) -> None:
    repository = tmp_path / "models--some--model"
    snapshot = Path(shutil.copytree(model, repository / "snapshots" / "abc"))
    (repository / "blobs").mkdir()
    (snapshot / "model.safetensors").rename(repository / "blobs" / "123")
    (snapshot / "model.safetensors").symlink_to("../../blobs/123")
    assert locate_model(ModelSection(name=str(snapshot))).folder == snapshot
    load(snapshot)
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").symlink_to(model / "model.safetensors")
    with pytest.raises(ModelError, match="link to a file outside"):
        load(snapshot)


def test_a_linked_folder_is_a_folder(model: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(model)
    (model / "parts").mkdir()
    (model / "model.safetensors").rename(model / "parts" / "one.safetensors")
    (model / "model.safetensors").symlink_to("parts/one.safetensors")
    assert locate_model(ModelSection(name=str(tmp_path / "linked"))).folder == tmp_path / "linked"


@pytest.mark.parametrize("index", ["[]", "{", '{"weight_map": {"a": 3}}', '{"weight_map": []}'])
def test_an_index_that_names_no_files_is_refused(index: str, model: Path, tmp_path: Path) -> None:
    (model / "model.safetensors").rename(model / "decoy.safetensors")
    (model / INDEX).write_text(index, encoding="utf-8")
    with pytest.raises(ModelError, match="index of the weights") as caught:
        locate_model(ModelSection(name=str(model)))
    assert caught.value.fix


def test_weights_under_a_name_that_nobody_looks_for(model: Path, tmp_path: Path) -> None:
    (model / "model.safetensors").rename(model / "decoy.safetensors")
    with pytest.raises(ModelError) as caught:
        locate_model(ModelSection(name=str(model)))
    check_message(caught.value, {model: "MODEL"})
    torch.save(load_file(model / "decoy.safetensors"), model / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"only pickled weights \(`pytorch_model\.bin`\)"):
        locate_model(ModelSection(name=str(model)))


def test_an_adapter_is_never_loaded_from_a_pickle(tmp_path: Path) -> None:
    case = make_case("llama", tmp_path / "base")
    made, network = apply_to(case, "lora")
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(0.01)
    made.save(network, tmp_path / "adapter")
    weights = tmp_path / "adapter" / "adapter_model.safetensors"

    def reopen() -> Any:
        return made.open(lambda where: case.load(), location(case.folder), tmp_path / "adapter")

    reopen()
    torch.save(load_file(weights), tmp_path / "adapter" / "adapter_model.bin")
    reopen()
    weights.rename(tmp_path / "private.safetensors")
    with pytest.raises(ModelError) as caught:
        reopen()
    check_message(caught.value, {tmp_path: "FOLDER"})
    weights.symlink_to(tmp_path / "private.safetensors")
    with pytest.raises(ModelError, match="link to a file outside"):
        check_adapter_files(tmp_path / "adapter")
    weights.unlink()
    save_file({"a": torch.zeros(1)}, weights)
    with pytest.raises(ModelError):
        reopen()


def test_a_header_larger_than_safetensors_reads_is_refused_before_the_file_is_hashed(
    model: Path, tmp_path: Path
) -> None:
    path = model / "model.safetensors"
    path.write_bytes((3 * 10**9).to_bytes(8, "little") + b"{}")
    with pytest.raises(ModelError) as caught:
        locate_model(ModelSection(name=str(model)))
    check_message(caught.value, {str(tmp_path): "FOLDER", str(model): "MODEL"})


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4665a5ea423c2713\nsize 132735\n"


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pointer_of_git_lfs_in_place_of_a_file_is_named(model: Path, file: str) -> None:
    (model / file).write_text(POINTER, encoding="utf-8")
    with pytest.raises(ModelError, match=f"`{file}` of the model .* was not downloaded") as caught:
        locate_model(ModelSection(name=str(model)))
    assert "Git LFS" in caught.value.why
    assert f"git -C {model} lfs pull" in caught.value.fix


def test_a_pointer_in_place_of_an_adapter_is_named(tmp_path: Path) -> None:
    (tmp_path / "adapter_model.safetensors").write_text(POINTER, encoding="utf-8")
    with pytest.raises(ModelError, match="was not downloaded"):
        check_adapter_files(tmp_path)
