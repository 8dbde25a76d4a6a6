"""Method `lora`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, MixtralConfig

from burnish.errors import ModelError, RecipeError
from burnish.methods import adapter
from burnish.methods.adapter import check_names
from burnish.methods.lora import LoraMethod, QLoraMethod, find_targets
from burnish.models.base import Loading
from burnish.models.heads import Target
from burnish.models.location import ModelLocation
from burnish.recipe.schema import LoraSection, Recipe
from tests.tiny_models import LAYOUTS, make_network
from tests.tiny_training import with_method

LLAMA_TARGETS = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
DEFAULT_TARGETS = {
    "gpt2": ["c_attn", "c_fc", "c_proj"],
    "llama": LLAMA_TARGETS,
    "mistral": LLAMA_TARGETS,
    "qwen2": LLAMA_TARGETS,
    "phi3": ["down_proj", "gate_up_proj", "o_proj", "qkv_proj"],
}
ADAPTED = {"gpt2": 8, "llama": 14, "mistral": 14, "qwen2": 14, "phi3": 8}


def apply(network: Any, **options: Any) -> Any:
    """The network with adapters as `lora.*` options say."""
    return LoraMethod().apply(network, Recipe(lora=LoraSection(**{"rank": 4, **options})), Target())


def adapted(network: Any) -> set[str]:
    """Names of the layers that have an adapter."""
    return {name.rpartition(".lora_A")[0] for name, _ in network.named_parameters() if ".lora_A." in name}


def trainable(network: Any) -> set[str]:
    """Names of what is trained."""
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_default_targets_are_every_linear_layer_of_the_blocks(layout: str) -> None:
    network = make_network(layout)
    assert find_targets(network, LoraSection()) == DEFAULT_TARGETS[layout]
    tuned = apply(network)
    names = adapted(tuned)
    assert len(names) == ADAPTED[layout]
    assert {name.rpartition(".")[2] for name in names} == set(DEFAULT_TARGETS[layout])
    assert trainable(tuned) == {name for name, _ in tuned.named_parameters() if "lora_" in name}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_fresh_adapter_changes_no_logit(layout: str) -> None:
    """B begins at zero."""
    network, ids = make_network(layout), torch.arange(3, 20)[None]
    with torch.no_grad():
        before = network(input_ids=ids).logits
        assert torch.equal(apply(network).eval()(input_ids=ids).logits, before)


@pytest.mark.parametrize("layout", ["gpt2", "llama"])
def test_an_adapter_adds_scale_times_b_times_a(layout: str) -> None:
    """Against the merged matrix, written out; GPT-2's Conv1D holds its weights the other way round."""
    network, ids = make_network(layout), torch.arange(3, 20)[None]
    tuned = with_method(make_network(layout), "lora").eval()
    weights = dict(network.named_parameters())
    with torch.no_grad():
        for name in adapted(tuned):
            a = tuned.get_parameter(f"{name}.lora_A.default.weight")
            b = tuned.get_parameter(f"{name}.lora_B.default.weight")
            update = 2 * b @ a  # alpha is twice the rank
            weight = weights[name.removeprefix("base_model.model.") + ".weight"]
            weight += update.T if layout == "gpt2" else update
        torch.testing.assert_close(tuned(input_ids=ids).logits, network(input_ids=ids).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "scale"),
    [({}, 2.0), ({"alpha": 6.0}, 1.5), ({"rslora": True}, 4.0), ({"rslora": True, "alpha": 6.0}, 3.0)],
    ids=str,
)
def test_the_scale_by_hand(options: dict[str, Any], scale: float) -> None:
    """alpha / rank, or alpha / sqrt(rank), at rank 4."""
    tuned = apply(make_network("llama"), **options)
    layer = tuned.get_submodule("base_model.model.model.layers.0.self_attn.q_proj")
    assert layer.scaling == {"default": pytest.approx(scale)}


def test_options_reach_the_adapter() -> None:
    tuned = apply(make_network("llama"), rank=3, dropout=0.25, dora=True, targets=["q_proj", "layers.1.mlp.up_proj"])
    assert {name.removeprefix("base_model.model.model.") for name in adapted(tuned)} == {
        "layers.0.self_attn.q_proj",
        "layers.1.self_attn.q_proj",
        "layers.1.mlp.up_proj",
    }
    layer = tuned.get_submodule("base_model.model.model.layers.1.mlp.up_proj")
    assert layer.lora_A["default"].weight.shape == (3, 32)
    assert layer.lora_dropout["default"].p == 0.25
    assert any("lora_magnitude_vector" in name for name in trainable(tuned))


def test_biases_are_trained_where_asked() -> None:
    none, only, every = (trainable(apply(make_network("qwen2"), bias=kind)) for kind in ("none", "lora_only", "all"))
    assert not any(name.endswith("bias") for name in none)
    assert {name.split(".")[-3] for name in only - none} == {"q_proj", "k_proj", "v_proj"}
    assert only <= every


def test_modules_to_save_are_trained_in_full() -> None:
    tuned = apply(make_network("llama"), modules_to_save=["lm_head"])
    extra = {name for name in trainable(tuned) if "lora_" not in name}
    assert extra == {"base_model.model.lm_head.modules_to_save.default.weight"}


@pytest.mark.parametrize("option", ["targets", "modules_to_save"])
def test_an_unknown_layer_is_refused_with_the_nearest_name(option: str) -> None:
    with pytest.raises(RecipeError, match=f"`lora.{option}` names `q_porj`") as caught:
        apply(make_network("llama"), **{option: ["q_porj"]})
    assert caught.value.fix == "Did you mean `q_proj`?"
    assert "gate_proj" in caught.value.why


def test_adapters_stay_in_fp32_over_a_base_in_bf16() -> None:
    tuned = apply(make_network("llama").bfloat16())
    types = {parameter.dtype for name, parameter in tuned.named_parameters() if "lora_" in name}
    assert types == {torch.float32}
    assert LoraMethod().loading(torch.bfloat16, torch.device("cpu")) == Loading(torch.bfloat16)


@pytest.mark.parametrize("bias", ["none", "all"])
def test_without_gives_the_base_or_says_that_it_cannot(bias: str) -> None:
    ids = torch.arange(3, 20)[None]
    network = make_network("qwen2")
    with torch.no_grad():
        before = network(input_ids=ids).logits
        tuned = with_trained_adapter(apply(network, bias=bias)).eval()
        assert not torch.equal(tuned(input_ids=ids).logits, before)
        off = LoraMethod().without(tuned)
        if bias == "all":
            assert off is None, "the biases that were trained are the base's own"
            return
        assert off is not None
        with off:
            assert torch.equal(tuned(input_ids=ids).logits, before)
        assert not torch.equal(tuned(input_ids=ids).logits, before)


@torch.no_grad()
def with_trained_adapter(network: Any) -> Any:
    """As if it had learned."""
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter += 0.1
    return network


def save(network: Any, folder: Path) -> Path:
    """Writes the adapter."""
    folder.mkdir()
    LoraMethod().save(network, folder)
    return folder


def test_equal_adapters_are_equal_bytes(tmp_path: Path) -> None:
    """PEFT keeps names in a set, whose order changes from process to process; here they are sorted."""
    options = {"targets": ["v_proj", "q_proj", "up_proj", "k_proj"], "modules_to_save": ["norm", "lm_head"]}
    folders = []
    for number in range(2):
        torch.manual_seed(0)
        folders.append(save(apply(make_network("llama"), **options), tmp_path / str(number)))
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    config = json.loads((folders[0] / "adapter_config.json").read_text())
    assert config["target_modules"] == ["k_proj", "q_proj", "up_proj", "v_proj"]
    assert config["modules_to_save"] == ["lm_head", "norm"]
    assert list(config) == sorted(config)
    assert (folders[0] / "adapter_config.json").read_text().startswith('{\n  "')
    assert config["peft_type"] == "LORA"
    assert config["task_type"] == "CAUSAL_LM"


def open_adapter(base: Path, adapter: Path) -> Any:
    """Through the method, as `generate` does."""
    return LoraMethod().open(
        lambda where: AutoModelForCausalLM.from_pretrained(where.folder), ModelLocation("mine", base, False), adapter
    )


@pytest.fixture
def trained(tiny_model: Callable[[str], Path], tmp_path: Path) -> Path:
    """A saved adapter for the tiny Llama."""
    network = AutoModelForCausalLM.from_pretrained(tiny_model("llama"))
    return save(with_trained_adapter(apply(network)), tmp_path / "adapter")


def test_a_saved_adapter_is_opened(tiny_model: Callable[[str], Path], trained: Path) -> None:
    tuned = open_adapter(tiny_model("llama"), trained)
    stored = load_file(trained / "adapter_model.safetensors")
    held = {name.replace(".default", ""): p for name, p in tuned.named_parameters() if "lora_" in name}
    assert held.keys() == stored.keys()
    assert all(torch.equal(held[name], stored[name]) for name in stored)
    assert not (trained / "README.md").exists(), "PEFT's card names folders of this machine"


def test_an_adapter_that_changes_nothing_raises_an_alarm(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    network = AutoModelForCausalLM.from_pretrained(tiny_model("llama"))
    untrained = save(apply(network), tmp_path / "adapter")
    with pytest.raises(ModelError, match="changes nothing") as caught:
        open_adapter(tiny_model("llama"), untrained)
    assert "B are zero" in caught.value.why


def test_an_adapter_whose_names_fit_nothing_raises_an_alarm(tiny_model: Callable[[str], Path], trained: Path) -> None:
    """PEFT only warns of names it does not find, and goes on with a fresh adapter."""
    file = trained / "adapter_model.safetensors"
    save_file({name.replace("layers", "blocks"): weight for name, weight in load_file(file).items()}, file)
    with pytest.raises(ModelError, match="was not applied") as caught:
        open_adapter(tiny_model("llama"), trained)
    first = "base_model.model.model.{}.0.mlp.down_proj.lora_A.weight"
    count = len(load_file(file))
    assert f"{count} of {count}, the first is `{first.format('blocks')}`" in caught.value.why
    assert caught.value.why.endswith(f"The model expects `{first.format('layers')}`.")


def test_an_adapter_with_tensors_of_another_model_or_without_some_raises_an_alarm(
    tiny_model: Callable[[str], Path], trained: Path
) -> None:
    file = trained / "adapter_model.safetensors"
    weights = load_file(file)
    save_file({**weights, "stray.weight": torch.zeros(1)}, file)
    with pytest.raises(ModelError, match="was not applied") as caught:
        open_adapter(tiny_model("llama"), trained)
    assert caught.value.why.endswith(f"1 of {len(weights) + 1}, the first is `stray.weight`.")
    lost = min(weights)
    save_file({name: weight for name, weight in weights.items() if name != lost}, file)
    with pytest.raises(ModelError, match="is incomplete") as caught:
        open_adapter(tiny_model("llama"), trained)
    assert caught.value.why == f"Missing tensors: 1, the first is `{lost}`."


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"peft_type": "SHADOW", "shadow_model": "evil/model"}, "It is of the kind `SHADOW`"),
        ({"peft_type": "XLORA", "adapters": {"0": "evil/adapter"}}, "It is of the kind `XLORA`"),
        ({"r": 10**9}, "Its `r` is 1000000000"),
        ({"rank_pattern": {"q_proj": 10**9}}, "Its `q_proj` is 1000000000"),
    ],
)
def test_settings_with_which_peft_would_do_more_than_load_are_refused(
    changed: dict[str, Any], why: str, tiny_model: Callable[[str], Path], trained: Path
) -> None:
    file = trained / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | changed), encoding="utf-8")
    with pytest.raises(ModelError, match="does not fit its base model") as caught:
        open_adapter(tiny_model("llama"), trained)
    assert caught.value.why.startswith(why)


@pytest.mark.parametrize("place", ["target_modules", "exclude_modules", "rank_pattern", "modules_to_save"])
def test_a_pattern_that_does_not_come_to_an_end_is_refused(
    place: str, tiny_model: Callable[[str], Path], trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PEFT would try it for ages; Python's own engine doubles its work with each letter of a name."""
    monkeypatch.setattr(adapter, "_PATTERN_SECONDS", 0.1)
    pattern = "(([a-z0-9._]+)*)*!"
    values = {"rank_pattern": {")": 2, pattern: 4}, "modules_to_save": ["lm_head", pattern]}
    file = trained / "adapter_config.json"
    config = json.loads(file.read_text(encoding="utf-8")) | {place: values.get(place, pattern)}
    file.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelError, match="has a pattern that does not come to an end"):
        open_adapter(tiny_model("llama"), trained)


@pytest.mark.parametrize("damage", ["cut", "no config", "other base"])
def test_an_adapter_that_does_not_fit_is_reported_in_words(
    damage: str, tiny_model: Callable[[str], Path], trained: Path
) -> None:
    base = tiny_model("llama")
    if damage == "cut":
        file = trained / "adapter_model.safetensors"
        file.write_bytes(file.read_bytes()[:-500])
    elif damage == "no config":
        (trained / "adapter_config.json").unlink()
    else:
        base = tiny_model("gpt2")
    with pytest.raises(ModelError, match="does not fit its base model") as caught:
        open_adapter(base, trained)
    assert caught.value.exit_code == 2


def test_a_long_reason_is_cut(tiny_model: Callable[[str], Path], trained: Path) -> None:
    file = trained / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"init_lora_weights": "X" * 400}))
    with pytest.raises(ModelError, match="does not fit its base model") as caught:
        open_adapter(tiny_model("llama"), trained)
    assert len(caught.value.why) == 300


def test_at_most_thirty_names_are_listed() -> None:
    network = torch.nn.Module()
    for number in range(40):
        network.add_module(f"layer_{number:02}", torch.nn.ModuleList([torch.nn.Linear(2, 2)]))
    with pytest.raises(RecipeError) as caught:
        check_names(network, ["layer_05", "elsewhere"], "lora.targets")
    assert caught.value.what.startswith("`lora.targets` names `elsewhere`")
    assert caught.value.why == f"Its modules are named {', '.join(f'layer_{number:02}' for number in range(30))}."
    assert caught.value.fix == "", "nothing is near"


def test_reports_what_auto_stands_for() -> None:
    choices = LoraMethod().choices(make_network("gpt2"), Recipe(lora=LoraSection(rank=5)))
    assert [(option, value) for option, value, _ in choices] == [
        ("lora.alpha", 10),
        ("lora.plus_ratio", 16.0),
        ("lora.targets", ["c_attn", "c_fc", "c_proj"]),
    ]


@pytest.mark.parametrize(("rows", "rank"), [(1, 16), (10_000, 16), (10_001, 32)])
def test_many_rows_get_a_higher_rank(rows: int, rank: int) -> None:
    ((option, chosen, why),) = LoraMethod().choices_for_rows(rows)
    assert (option, chosen) == ("lora.rank", rank)
    assert f"{rows:,} rows" in why


def test_without_a_rank_it_is_16_and_the_scale_2() -> None:
    config = apply(make_network("llama"), rank="auto").peft_config["default"]
    assert (config.r, config.lora_alpha) == (16, 32)
    assert LoraMethod().choices(make_network("llama"), Recipe())[0][:2] == ("lora.alpha", 32)


def test_experts_of_one_matrix_are_named_as_frozen() -> None:
    sizes = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    experts = AutoModelForCausalLM.from_config(MixtralConfig(**sizes, num_key_value_heads=2, intermediate_size=32))
    reasons = [LoraMethod().choices(network, Recipe())[-1][2] for network in (experts, make_network("llama"))]
    assert ["experts that share one matrix" in reason for reason in reasons] == [True, False]


def test_a_model_without_blocks_has_no_layers_to_choose() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(4, 4))
    assert [option for option, _, _ in LoraMethod().choices(network, Recipe())] == ["lora.alpha", "lora.plus_ratio"]
    with pytest.raises(RecipeError, match="found no linear layer"):
        find_targets(network, LoraSection())


@pytest.mark.parametrize(("kind", "optimizer"), [("cpu", []), ("cuda", ["paged-adamw-8bit"])])
def test_on_a_gpu_qlora_has_moments_in_8_bits(kind: str, optimizer: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    network = make_network("llama")
    monkeypatch.setattr(type(network), "device", torch.device(kind))
    chosen = QLoraMethod().choices(network, Recipe())
    assert [value for option, value, _ in chosen if option == "train.optimizer"] == optimizer
    assert chosen[:3] == LoraMethod().choices(network, Recipe())


@pytest.mark.parametrize(
    ("options", "why"), [({}, ""), ({"dora": True}, "DoRA divides"), ({"init": "olora"}, "`lora.init=olora` splits")]
)
def test_why_a_fresh_adapter_may_change_the_outputs(options: dict[str, Any], why: str) -> None:
    reason = LoraMethod().changes_at_start(Recipe(lora=LoraSection(**options)))
    assert reason.startswith(why)
    assert bool(reason) == bool(why)


@pytest.mark.parametrize(
    ("options", "can_switch_off"),
    [({}, True), ({"bias": "lora_only"}, False), ({"init": "pissa"}, False), ({"init": "olora"}, False)],
)
def test_what_was_taken_out_of_the_base_cannot_be_switched_off(options: dict[str, Any], can_switch_off: bool) -> None:
    network = apply(make_network("qwen2"), **options)
    assert (LoraMethod().without(network) is not None) == can_switch_off
    assert hasattr(network, "lora_start") == ("init" in options)


def test_what_cannot_be_switched_off_is_compared_by_its_weights_alone() -> None:
    network = apply(make_network("qwen2"), bias="all")
    assert LoraMethod().unmoved(network) == "All its matrices B are zero"
    assert LoraMethod().unmoved(with_trained_adapter(network)) == ""


def test_learning_rates_grow_as_models_shrink() -> None:
    rate = LoraMethod().learning_rate
    assert [rate(number) for number in (7 * 10**9, 10**9, 10**8)] == [2e-4, 2.1e-4, 5e-4]
    assert rate(10**6) == pytest.approx(5e-3)


@pytest.mark.parametrize("option", ["dora", "bias"])
def test_adapters_that_read_the_weights_of_the_base_are_not_added_to_others(option: str, tmp_path: Path) -> None:
    """Answers are computed with packed weights, which nothing else can read."""
    plain, other = make_network("llama"), apply(make_network("llama"))
    settings = {"dora": "use_dora", "bias": "lora_bias"}
    other.save_pretrained(str(tmp_path))
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), settings[option]: True}), encoding="utf-8")
    network = apply(plain)
    assert not LoraMethod().add(network, tmp_path, "second")
    assert list(network.peft_config) == ["default"]
