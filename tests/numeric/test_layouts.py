"""Five layouts, each trained one step with LoRA and with full through the public workflow, and loaded by others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, BloomConfig

from burnish.engine.checkpoint import restore_weights
from burnish.engine.optimizer import make_optimizer
from burnish.methods import make_method
from burnish.models.fingerprint import fingerprint
from burnish.models.heads import Target
from burnish.recipe.load import recipe_from_saved
from burnish.recipe.schema import Recipe, TrainSection
from burnish.runs.event_log import read_events
from burnish.runs.events import Event, Note
from burnish.workflows.run import Run
from burnish.workflows.train import train
from tests.tiny_data import make_recipe, random_examples, write_rows
from tests.tiny_models import LAYOUTS, make_network, save_model
from tests.tiny_training import make_trainer, token_plan, with_method

EACH_LAYOUT = pytest.mark.parametrize(
    "layout", [pytest.param(one, marks=pytest.mark.slow if one in ("mistral", "qwen2") else ()) for one in LAYOUTS]
)
"""Those that are Llama's but for their sizes are left to the long run."""


@pytest.fixture(scope="module")
def stepped_once(
    tiny_model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Run]:
    """Gives the run of one step of a layout by a method, made on first use. Shared: nothing changes it."""
    made: dict[tuple[str, str], Run] = {}

    def run(layout: str, method: str) -> Run:
        if (layout, method) not in made:
            before = fingerprint(tiny_model(layout))
            made[layout, method] = train(one_step(tiny_model(layout), method, tmp_path_factory.mktemp(layout)))
            assert fingerprint(tiny_model(layout)) == before
        return made[layout, method]

    return run


@EACH_LAYOUT
def test_one_step_of_lora_gives_an_adapter_that_peft_loads(
    layout: str, tiny_model: Callable[[str], Path], stepped_once: Callable[[str, str], Run]
) -> None:
    base_folder = tiny_model(layout)
    run = stepped_once(layout, "lora")
    stepped = load_file(run.path / "checkpoints" / "step-000001" / "weights.safetensors")
    matrices_b = {name: weight for name, weight in stepped.items() if "lora_B" in name}
    assert len(matrices_b) == len(stepped) // 2
    assert all(weight.any() for weight in matrices_b.values())

    base = AutoModelForCausalLM.from_pretrained(base_folder)
    ids = some_ids(base_folder)
    base_logits = logits_of(base, ids)
    loaded = PeftModel.from_pretrained(base, run.path / "adapter")
    trained = {name.replace(".default", ""): weight for name, weight in stepped.items()}
    adapter = load_file(run.path / "adapter" / "adapter_model.safetensors")
    assert adapter.keys() == trained.keys()
    assert all(torch.equal(adapter[name], trained[name]) for name in adapter)
    for name, parameter in loaded.named_parameters():
        if "lora_" in name:
            assert torch.equal(parameter, trained[name.replace(".default", "")])
    assert (logits_of(loaded, ids) - base_logits).abs().max() > 1e-3
    assert torch.equal(logits_of(loaded, ids), logits_of(as_trained(run, base_folder), ids))


_VARIANTS: list[dict[str, Any]] = [
    {"lora__rank": 3, "lora__alpha": 20.0},
    {"lora__rslora": True},
    {"lora__dora": True},
    {"lora__targets": ["q_proj", "v_proj"], "lora__dropout": 0.2},
    {"lora__modules_to_save": ["lm_head"]},
    {"lora__bias": "all"},
]


@pytest.mark.parametrize("options", _VARIANTS, ids=lambda options: "-".join(options))
@pytest.mark.parametrize("layout", ["llama", pytest.param("qwen2", marks=pytest.mark.slow)])
def test_every_kind_of_adapter_answers_as_it_was_trained(
    layout: str, options: dict[str, Any], tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    base_folder = tiny_model(layout)
    recipe = one_step(base_folder, "lora", tmp_path, **options)
    run = train(recipe)
    loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base_folder), run.path / "adapter")
    ids = some_ids(base_folder)
    logits = logits_of(loaded, ids)
    # trained with fused arithmetic, loaded into PEFT's own: equal up to rounding
    torch.testing.assert_close(logits, logits_of(as_trained(run, base_folder), ids), rtol=1e-5, atol=1e-5)
    assert (logits - logits_of(AutoModelForCausalLM.from_pretrained(base_folder), ids)).abs().max() > 1e-3
    assert_evaluated_against_the_true_base(run)


@EACH_LAYOUT
def test_one_step_of_full_gives_a_model_that_transformers_loads(
    layout: str, tiny_model: Callable[[str], Path], stepped_once: Callable[[str, str], Run]
) -> None:
    base_folder = tiny_model(layout)
    run = stepped_once(layout, "full")
    stepped = load_file(run.path / "checkpoints" / "step-000001" / "weights.safetensors")
    base = AutoModelForCausalLM.from_pretrained(base_folder)
    weights = dict(base.named_parameters())
    assert stepped.keys() == weights.keys()
    unchanged = [name for name, weight in weights.items() if torch.equal(weight, stepped[name])]
    assert unchanged == []

    ids = some_ids(base_folder)
    base_logits = logits_of(base, ids)
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(stepped[name])
    loaded = AutoModelForCausalLM.from_pretrained(run.path / "model", use_safetensors=True)
    assert torch.equal(logits_of(loaded, ids), logits_of(base, ids))
    assert_evaluated_against_the_true_base(run)
    assert (logits_of(loaded, ids) - base_logits).abs().max() > 1e-3


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_step_moves_every_trained_weight_and_no_other(layout: str, method: str, tiny_tokenizer: Any) -> None:
    network = with_method(make_network(layout), method)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    rules = TrainSection(learning_rate=1e-3, weight_decay=0.0)
    plan = token_plan(random_examples(40, 5, 40), context=64, packing=True, step_tokens=10**6, micro_rows=64, seed=0)
    make_trainer(network, tiny_tokenizer, make_optimizer(network, rules, {})).step(plan.step_batches(0))
    moved = {name for name, parameter in network.named_parameters() if not torch.equal(parameter, before[name])}
    wanted = {name for name in before if "lora_" in name} if method == "lora" else before.keys()
    assert moved == wanted
    assert {name for name, parameter in network.named_parameters() if parameter.requires_grad} == wanted


def test_a_model_that_cannot_separate_packed_examples_gets_padded_rows(tiny_tokenizer: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = BloomConfig(vocab_size=300, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.25)
    base_folder = save_model(tmp_path / "bloom", AutoModelForCausalLM.from_config(config), tiny_tokenizer)
    events: list[Event] = []
    run = train(one_step(base_folder, "lora", tmp_path), listeners=[events.append])
    recipe = recipe_from_saved(run.folder.recipe)
    assert not recipe.data.packing
    assert any(isinstance(event, Note) and "does not keep packed examples apart" in event.text for event in events)
    assert recipe.lora.targets == ["dense", "dense_4h_to_h", "dense_h_to_4h", "query_key_value"]
    loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base_folder), run.path / "adapter")
    ids = some_ids(base_folder)
    assert torch.equal(logits_of(loaded, ids), logits_of(as_trained(run, base_folder), ids))


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_result_brings_tokenizer_and_template(method: str, stepped_once: Callable[[str, str], Run]) -> None:
    saved = AutoTokenizer.from_pretrained(stepped_once("llama", method).folder.result)
    turns = [{"role": "user", "content": "Where is the fox?"}, {"role": "assistant", "content": "In the garden."}]
    rendered = saved.apply_chat_template(turns, tokenize=False)
    assert rendered.count("<|im_end|>") == 2
    assert "In the garden.<|im_end|>" in rendered
    assert saved.pad_token_id != saved.eos_token_id


def assert_evaluated_against_the_true_base(run: Run) -> None:
    """The base's loss in the evaluation is the one measured before the first step, the tuned one the last measured."""
    measured = {line["step"]: line["loss"] for line in read_events(run.folder.metrics) if line["event"] == "Validated"}
    loss = next(figure for figure in run.evaluation["figures"] if figure["name"] == "loss")
    assert abs(measured[0] - measured[1]) > 1e-3
    assert loss["base"]["value"] == pytest.approx(measured[0], rel=1e-5)
    assert loss["tuned"]["value"] == pytest.approx(measured[1], rel=1e-5)


def as_trained(run: Run, base_folder: Path) -> Any:
    """The network as it stood when training ended: method applied again, weights from the checkpoint."""
    recipe = recipe_from_saved(run.folder.recipe)
    network = make_method(recipe.method).apply(AutoModelForCausalLM.from_pretrained(base_folder), recipe, Target())
    restore_weights(run.path / "checkpoints" / "step-000001", network)
    return network


def one_step(base_folder: Path, method: str, folder: Path, **options: Any) -> Recipe:
    """A recipe of a single step over all rows, large enough to see, evaluated on the validation rows."""
    return make_recipe(
        write_rows(folder / "rows.jsonl"),
        base_folder,
        folder / "runs",
        method=method,
        train__max_steps=1,
        train__learning_rate=1e-2,
        evaluate__answers=0,
        data__test="none",
        **options,
    )


def some_ids(folder: Path) -> torch.Tensor:
    """`[1, seq]`: a question."""
    return AutoTokenizer.from_pretrained(folder)(
        "What is the red fox like, the green boat?", return_tensors="pt"
    ).input_ids


@torch.no_grad()
def logits_of(network: Any, ids: torch.Tensor) -> torch.Tensor:
    """`[1, seq, vocab]`, in evaluation mode."""
    return network.eval()(input_ids=ids).logits
