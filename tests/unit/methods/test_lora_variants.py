"""What `lora` can do besides the plain adapter: rsLoRA, DoRA, PiSSA, OLoRA, LoRA+, added tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from burnish.decoding.generate import generate_batch
from burnish.engine.optimizer import make_optimizer
from burnish.errors import RecipeError
from burnish.methods.lora import LoraMethod
from burnish.models.base import load_base, load_tokenizer
from burnish.models.heads import CAUSAL
from burnish.recipe.schema import LoraSection, ModelSection, Recipe, TrainSection
from tests.tiny_models import LAYOUTS, make_network, make_tokenizer, save_model
from tests.unit.methods.adapted import apply_to, location, make_case, outputs_of, train

CPU = torch.device("cpu")
NEW = ["<city>", "<price>"]


@pytest.mark.parametrize("options", [{"rslora": True}, {"dora": True}], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_variants_begin_as_the_base_and_load_in_plain_peft(
    layout: str, options: dict[str, Any], tmp_path: Path
) -> None:
    case = make_case(layout, tmp_path / "base")
    made, network = apply_to(case, "lora", **options)
    with torch.no_grad():
        before = outputs_of(case.load(), case.inputs)
        torch.testing.assert_close(outputs_of(network.eval(), case.inputs), before, rtol=1e-5, atol=1e-5)
    train(network, case.inputs)
    made.save(network, tmp_path)
    plain = PeftModel.from_pretrained(case.load(), tmp_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(outputs_of(plain, case.inputs), outputs_of(network, case.inputs))


@pytest.mark.parametrize("init", ["pissa", "olora"])
@pytest.mark.parametrize(
    ("layout", "rslora"),
    [
        ("gpt2", False),
        ("llama", True),
        ("phi3", False),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("gpt2", True), ("llama", False), ("phi3", True))),
    ],
)
def test_an_adapter_from_the_base_weights_fits_the_original_base(
    layout: str, init: str, rslora: bool, tmp_path: Path
) -> None:
    if (layout, init) == ("gpt2", "olora"):
        return
    case = make_case(layout, tmp_path / "base")
    made, network = apply_to(case, "lora", init=init, rslora=rslora)
    with torch.no_grad():
        before = outputs_of(case.load(), case.inputs)
        torch.testing.assert_close(outputs_of(network.eval(), case.inputs), before, rtol=1e-4, atol=1e-4)
    train(network, case.inputs)
    assert made.without(network) is None  # the base inside has changed, so it is loaded anew
    (tmp_path / "result").mkdir()
    made.save(network, tmp_path / "result")
    written = (tmp_path / "result" / "adapter_config.json").read_text()
    config = json.loads(written)
    assert (config["r"], config["init_lora_weights"]) == (8, True)
    assert written.startswith('{\n  "'), "indented as PEFT does"
    plain = PeftModel.from_pretrained(case.load(), tmp_path / "result").eval()
    opened = made.open(lambda where: case.load(), location(case.folder), tmp_path / "result").eval()
    with torch.no_grad():
        tuned = outputs_of(network, case.inputs)
        assert (tuned - before).abs().max() > 0.1
        torch.testing.assert_close(outputs_of(plain, case.inputs), tuned, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(outputs_of(opened, case.inputs), tuned, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_a_second_start_is_the_same_bit_for_bit(init: str, tmp_path: Path) -> None:
    """A resumed run takes the trained matrices from its checkpoint, and all else from this start."""
    case = make_case("llama", tmp_path)
    first, second = (apply_to(case, "lora", init=init)[1] for _ in range(2))
    assert all(p.equal(second.get_parameter(name)) for name, p in first.named_parameters())
    assert all(start.equal(second.lora_start[name]) for name, start in first.lora_start.items())


@pytest.mark.parametrize(
    ("layout", "options", "reason"),
    [
        ("gpt2", {"init": "olora"}, "transposed"),
        ("llama", {"init": "pissa", "rank": 64}, "dimension of 16"),
        ("llama", {"init": "pissa", "dora": True}, "DoRA"),
    ],
    ids=str,
)
def test_starts_that_do_not_fit_are_refused(layout: str, options: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=options["init"]) as caught:
        apply_to(make_case(layout, tmp_path), "lora", **options)
    assert reason in caught.value.why
    assert caught.value.fix


@pytest.mark.parametrize(("ratio", "factor"), [(None, None), ("auto", 16.0), (4.0, 4.0)])
def test_lora_plus_moves_b_faster(ratio: Any, factor: float | None, tmp_path: Path) -> None:
    made, network = apply_to(make_case("llama", tmp_path), "lora")
    factors = made.rate_factors(network, Recipe(lora=LoraSection(plus_ratio=ratio)))
    names = {name for name, _ in network.named_parameters() if ".lora_B." in name}
    assert factors == ({} if factor is None else dict.fromkeys(names, factor))
    groups = make_optimizer(network, TrainSection(learning_rate=1e-3), factors).param_groups
    assert sorted(group["rate_factor"] for group in groups) == ([1.0] if factor is None else [1.0, factor])


@pytest.mark.parametrize("layout", ["gpt2", "llama", "phi3"])
def test_added_tokens_are_learned_alone_and_come_back(layout: str, tmp_path: Path) -> None:
    """GPT-2's head is its embedding; Llama's and Phi-3's have rows of their own."""
    method, recipe = LoraMethod(), Recipe(lora=LoraSection(rank=4, added_tokens=NEW))
    tokenizer = make_tokenizer()
    old = len(tokenizer)
    where = location(save_model(tmp_path / "base", make_network(layout, vocabulary=old), tokenizer))

    def load(tokens: Any) -> Any:
        loading = method.loading(torch.float32, CPU)
        return load_base(where, ModelSection(), tokens, CPU, loading, CAUSAL).network

    tokenizer.add_tokens(NEW)
    base = load(tokenizer)
    case = make_case(layout, tmp_path / "unused")
    ids = case.inputs["input_ids"].clone()
    ids[:, 4] = torch.tensor([old, old + 1])
    torch.manual_seed(0)
    from burnish.models.heads import Target

    network = method.apply(base, recipe, Target(tokenizer=tokenizer))
    rows = {name: p for name, p in network.named_parameters() if "trainable_tokens_delta" in name}
    assert len(rows) == len(network.peft_config["default"].trainable_token_indices) == (1 if layout == "gpt2" else 2)
    assert {tuple(p.shape) for p in rows.values()} == {(2, 32)}
    frozen = {name: p.detach().clone() for name, p in network.named_parameters() if not p.requires_grad}
    train(network, {"input_ids": ids})
    assert all(p.equal(frozen[name]) for name, p in network.named_parameters() if name in frozen)
    method.save(network, tmp_path)
    tokenizer.save_pretrained(tmp_path)
    back = load_tokenizer(location(tmp_path), ModelSection())
    assert back.convert_tokens_to_ids(NEW) == [old, old + 1]
    plain = AutoModelForCausalLM.from_pretrained(where.folder).eval()
    plain.resize_token_embeddings(len(back))
    opened = method.open(lambda place: load(back), where, tmp_path).eval()
    with torch.no_grad():
        tuned = network(input_ids=ids).logits
        assert tuned.shape[-1] == old + 2
        assert torch.equal(opened(input_ids=ids).logits, tuned)
        torch.testing.assert_close(PeftModel.from_pretrained(plain, tmp_path).eval()(input_ids=ids).logits, tuned)
    prompt = [ids[0].tolist()]
    assert generate_batch(opened, back, prompt, [], 5) == generate_batch(network, tokenizer, prompt, [], 5)
    assert sum(file.stat().st_size for file in tmp_path.glob("adapter*")) < 40_000  # never the whole embedding
