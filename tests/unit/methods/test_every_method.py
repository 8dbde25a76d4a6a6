"""What every method promises, on decoders, encoders with heads, and an encoder with a decoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from burnish.errors import ModelError, RecipeError
from burnish.methods import least_copies, make_method, method_names, method_sections, register_method
from burnish.methods.full import FullMethod
from burnish.models.heads import Target
from burnish.models.location import read_config
from burnish.recipe.schema import ModelSection, Recipe
from burnish.runs.folder import RunFolder
from tests.tiny_models import make_network
from tests.unit.methods.adapted import NETWORKS, Case, apply_to, location, make_case, outputs_of, recipe_for, train

METHODS_ON_PLAIN_BASES = [name for name in method_names() if name not in ("qlora", "int8-lora")]
ADAPTERS = [name for name in METHODS_ON_PLAIN_BASES if name not in ("full", "freeze")]


def refuses(case: Case, method: str) -> str:
    """Why the method is not supported here."""
    return make_method(method).refuses(case.head, read_config(location(case.folder), ModelSection()))


@pytest.mark.parametrize(
    ("name", "method"),
    [
        pytest.param(name, method, marks=() if (first + second) % 3 == 1 else pytest.mark.slow)
        for first, name in enumerate(NETWORKS)
        for second, method in enumerate(METHODS_ON_PLAIN_BASES)
    ],
)
def test_trains_its_own_weights_saves_and_opens(name: str, method: str, tmp_path: Path) -> None:
    case = make_case(name, tmp_path / "base")
    if refuses(case, method):
        assert method == "prefix"
        assert name.startswith(("bert", "t5"))
        return
    with torch.no_grad():
        before = outputs_of(case.load(), case.inputs)
    made, network = apply_to(case, method)
    at_first = {key: p.detach().clone() for key, p in network.named_parameters()}
    train(network, case.inputs)
    with torch.no_grad():
        tuned = outputs_of(network, case.inputs)
        assert tuned.shape == before.shape
        assert not torch.allclose(tuned, before, atol=1e-3)
        _check_what_moved(network, at_first)
        _check_base_inside(made, network, case, before, tuned)
        (tmp_path / "result").mkdir()
        made.save(network, tmp_path / "result")
        opened = made.open(lambda where: _load(case, where.folder), location(case.folder), tmp_path / "result")
        torch.testing.assert_close(outputs_of(opened.eval(), case.inputs), tuned, rtol=1e-5, atol=1e-5)
        plain = _plain(case, method, tmp_path / "result")
        there = outputs_of(plain, case.inputs)
        there = there if there.shape == tuned.shape else there[:, -tuned.shape[1] :]  # plain PEFT keeps virtual outputs
        torch.testing.assert_close(there, tuned, rtol=1e-5, atol=1e-5)


def _load(case: Case, folder: Path) -> Any:
    return case.auto_class.from_pretrained(folder).eval()


def _plain(case: Case, method: str, result: Path) -> Any:
    """As somebody without Burnish would load it."""
    return (
        _load(case, result) if method in ("full", "freeze") else PeftModel.from_pretrained(case.load(), result).eval()
    )


def _check_what_moved(network: Any, at_first: dict[str, torch.Tensor]) -> None:
    moved = {key for key, p in network.named_parameters() if not p.equal(at_first[key])}
    trained = {key for key, p in network.named_parameters() if p.requires_grad}
    assert trained
    assert moved == trained


def _check_base_inside(made: Any, network: Any, case: Case, before: torch.Tensor, tuned: torch.Tensor) -> None:
    """Switched off it is the base, and switched on again it is not."""
    without = made.without(network)
    if without is None:
        assert made.name in ("full", "freeze")
        return
    with without:
        torch.testing.assert_close(outputs_of(network, case.inputs), before, rtol=1e-5, atol=1e-5)
    assert torch.equal(outputs_of(network, case.inputs), tuned)


@pytest.mark.parametrize("method", ADAPTERS)
def test_generates_what_it_would_choose_token_by_token(method: str, tmp_path: Path) -> None:
    """With a cache, and with the virtual tokens that PEFT puts in."""
    case = make_case("llama", tmp_path)
    _, network = apply_to(case, method)
    train(network, case.inputs)
    ids = case.inputs["input_ids"]
    with torch.no_grad():
        answer = network.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=5, do_sample=False, eos_token_id=None
        )
        for _ in range(5):
            ids = torch.cat([ids, network(input_ids=ids).logits[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(answer, ids)


@pytest.mark.parametrize("method", ADAPTERS)
def test_padding_changes_nothing(method: str, tmp_path: Path) -> None:
    case = make_case("bert-tag", tmp_path)
    if method == "prefix":
        assert "decoders" in refuses(case, method)
        return
    _, network = apply_to(case, method)
    train(network, case.inputs)
    short = {key: tensor[1:, :6] for key, tensor in case.inputs.items()}
    with torch.no_grad():
        torch.testing.assert_close(
            outputs_of(network, short), outputs_of(network, case.inputs)[1:, :6], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("method", ADAPTERS)
def test_an_adapter_that_lacks_a_tensor_is_refused(method: str, tmp_path: Path) -> None:
    """PEFT would go on with random values, and only warn."""
    case = make_case("llama", tmp_path / "base")
    made, network = apply_to(case, method)
    train(network, case.inputs)
    (tmp_path / "result").mkdir()
    made.save(network, tmp_path / "result")
    file = tmp_path / "result" / "adapter_model.safetensors"
    tensors = load_file(file)
    tensors.pop(min(tensors))
    save_file({**tensors, "stray": torch.zeros(1)}, file)
    with pytest.raises(ModelError, match="not whole|does not fit|was not applied"):
        made.open(lambda where: case.load(), location(case.folder), tmp_path / "result")


@pytest.mark.parametrize("method", [name for name in ADAPTERS if name in ("lora", "ia3")])
def test_an_untrained_adapter_raises_an_alarm(method: str, tmp_path: Path) -> None:
    case = make_case("llama", tmp_path / "base")
    made, network = apply_to(case, method)
    (tmp_path / "result").mkdir()
    made.save(network, tmp_path / "result")
    with pytest.raises(ModelError, match="changes nothing"):
        made.open(lambda where: case.load(), location(case.folder), tmp_path / "result")


@pytest.mark.parametrize("method", ADAPTERS)
def test_equal_runs_write_equal_bytes(method: str, tmp_path: Path) -> None:
    case = make_case("bert-tag" if method != "prefix" else "llama", tmp_path / "base")
    written = []
    for number in range(2):
        made, network = apply_to(case, method)
        train(network, case.inputs)
        folder = tmp_path / str(number)
        folder.mkdir()
        made.save(network, folder)
        written.append({file.name: file.read_bytes() for file in folder.glob("adapter*")})
    assert written[0] == written[1]


@pytest.mark.parametrize("method", method_names())
def test_learning_rates_are_sane_at_every_size(method: str) -> None:
    rates = [make_method(method).learning_rate(size) for size in (10**6, 10**8, 7 * 10**9)]
    assert rates == sorted(rates, reverse=True)
    low, high = (1e-3, 1e-2) if method in ("prompt", "prefix", "p-tuning", "ia3") else (1e-5, 5e-3)
    assert all(low <= rate <= high for rate in rates)


@pytest.mark.parametrize("method", method_names())
def test_each_has_its_name_and_its_place(method: str, tmp_path: Path) -> None:
    made = make_method(method)
    assert made.name == method
    folder = "model" if method in ("full", "freeze") else "adapter"
    assert made.result_folder(RunFolder(tmp_path)) == tmp_path / folder
    taken = made.virtual_tokens(Recipe(method=method))
    assert (taken > 0) == (not made.can_pack) == (method in ("prompt", "prefix", "p-tuning"))


FLAGS = (
    "can_pack", "trains_base", "can_checkpoint", "needs_values", "quantizes", "can_merge", "can_eject", "can_shard",
)  # fmt: skip
USUAL = {"can_pack", "can_checkpoint"}
LORA = USUAL | {"can_merge", "can_eject"}
VIRTUAL = {"can_checkpoint"}
ABILITIES = {
    "lora": LORA,
    "qlora": LORA | {"quantizes"},
    "int8-lora": LORA | {"quantizes"},
    "ia3": USUAL | {"needs_values", "can_merge"},
    "prompt": VIRTUAL,
    "p-tuning": VIRTUAL,
    "prefix": VIRTUAL - {"can_checkpoint"},
    "full": USUAL | {"trains_base", "can_eject", "can_shard"},
    "freeze": {"can_pack", "can_checkpoint", "trains_base", "can_shard"},
}


RATES: dict[str, tuple[float, float, float]] = {
    "lora": (5e-3, 5e-4, 2e-4),
    "qlora": (5e-3, 5e-4, 2e-4),
    "int8-lora": (5e-3, 5e-4, 2e-4),
    "ia3": (1e-2, 1e-2, 3e-3),
    "prompt": (1e-2, 1e-2, 1e-2),
    "p-tuning": (1e-3, 1e-3, 1e-3),
    "prefix": (5e-3, 5e-3, 5e-3),
    "full": (5e-4, 5e-5, 1e-5),
    "freeze": (5e-4, 5e-5, 1e-5),
}


def test_what_each_method_is_able_to_do_and_its_usual_learning_rates() -> None:
    """For a million parameters, for a hundred millions, and for seven billions."""
    methods = {name: make_method(name) for name in method_names()}
    assert {name: {flag for flag in FLAGS if getattr(one, flag)} for name, one in methods.items()} == ABILITIES
    assert {name: one.bits for name, one in methods.items() if one.bits} == {"qlora": 4, "int8-lora": 8}
    assert {name for name, one in methods.items() if one.size_option} == {"lora", "qlora", "int8-lora"}
    sizes = (10**6, 10**8, 7 * 10**9)
    assert {name: tuple(one.learning_rate(size) for size in sizes) for name, one in methods.items()} == RATES
    assert {name for name, one in methods.items() if one.choices_for_rows(1)} == {"lora", "qlora", "int8-lora"}


BLOCK = "layers.1.self_attn.q_proj"
"""A layer of one block."""


@pytest.mark.parametrize(
    ("method", "options", "is_uniform"),
    [
        *((name, {}, name != "freeze") for name in method_names()),
        ("lora", {"lora": {"targets": ["q_proj"], "modules_to_save": ["lm_head"]}}, True),
        ("lora", {"lora": {"targets": ["v_proj", BLOCK]}}, False),
        ("lora", {"lora": {"modules_to_save": [BLOCK]}}, False),
        ("ia3", {"ia3": {"targets": ["v_proj"], "feedforward": ["v_proj"]}}, True),
        ("ia3", {"ia3": {"targets": [BLOCK]}}, False),
        ("ia3", {"ia3": {"targets": ["v_proj"], "feedforward": [BLOCK]}}, False),
    ],
)
def test_whether_blocks_are_treated_alike(method: str, options: dict[str, Any], is_uniform: bool) -> None:
    assert make_method(method).is_uniform(Recipe.model_validate({"method": method, **options})) == is_uniform


def test_how_often_a_run_folder_holds_the_base_model() -> None:
    """With `full` as the result and in the checkpoint; with `freeze` at least once."""
    copies = {name: least_copies(name) for name in (*method_names(), "auto")}
    assert {name: number for name, number in copies.items() if number} == {"full": 2, "freeze": 1}


def test_a_method_from_outside_is_known_until_it_is_taken_back() -> None:
    class Outside(FullMethod):
        name = "outside"
        sections = ("freeze",)

    take_back = register_method(Outside)
    try:
        assert method_names()[-1] == "outside"
        assert isinstance(make_method("outside"), Outside)
        assert method_sections("outside") == ("freeze",)
        assert least_copies("outside") == 1
        with pytest.raises(ValueError, match="already a method"):
            register_method(Outside)
    finally:
        take_back()
    assert "outside" not in method_names()
    assert method_sections("full") == ()


@pytest.mark.parametrize("method", ["lora", "ia3"])
def test_what_the_task_freezes_gets_no_adapter(method: str) -> None:
    """Of the two blocks one; a name that is only frozen leaves nothing to train."""
    target = Target(frozen_modules=("model.layers.0",))
    network = make_method(method).apply(make_network("llama"), recipe_for(method), target)
    assert {name.split(".")[4] for name, weight in network.named_parameters() if weight.requires_grad} == {"1"}
    named = Recipe.model_validate({"method": method, method: {"targets": ["layers.0.self_attn.v_proj"]}})
    with pytest.raises(RecipeError, match=f"`{method}.targets` names only layers that this task freezes") as caught:
        make_method(method).apply(make_network("llama"), named, target)
    assert "`model.layers.0`" in caught.value.why


@pytest.mark.parametrize("method", ["lora", "ia3", "prompt", "p-tuning"])
def test_a_model_for_spans_is_given_all_inputs(method: str, tmp_path: Path) -> None:
    """PEFT's own wrapper drops the types of the tokens; with virtual tokens it is needed all the same."""
    case = make_case("bert-span", tmp_path)
    _, network = apply_to(case, method)
    is_virtual = method in ("prompt", "p-tuning")
    assert network.peft_config["default"].task_type == ("QUESTION_ANS" if is_virtual else None)
    if not is_virtual:
        types = {"token_type_ids": torch.ones_like(case.inputs["input_ids"])}
        with torch.no_grad():
            expected = outputs_of(case.load(), {**case.inputs, **types})
            torch.testing.assert_close(outputs_of(network.eval(), {**case.inputs, **types}), expected)
            assert not torch.allclose(outputs_of(network, case.inputs), expected, atol=1e-2)


@pytest.mark.parametrize("method", ADAPTERS)
def test_new_modules_are_trained_in_full_beside_the_adapter(method: str) -> None:
    """A head by another name than PEFT knows of itself; without one, nothing but the adapter is trained."""
    torch.manual_seed(0)
    for new_modules in ((), ("lm_head",)):
        network = make_method(method).apply(make_network("llama"), recipe_for(method), Target(new_modules=new_modules))
        trained = {name for name, weight in network.named_parameters() if weight.requires_grad}
        assert bool([name for name in trained if "lm_head.modules_to_save" in name]) == bool(new_modules)
        assert network.peft_config["default"].modules_to_save == (list(new_modules) or None)
        assert trained
