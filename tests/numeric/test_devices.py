"""A run on a device that is not here (`tests/device_stand_in.py`): it needs nothing that MPS lacks, and does not wait.

Everything that a run does on its device: base measured, validation, steps with clipping, checkpoint saved and restored,
result saved, base and tuned model compared, answers generated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.data.batching.batches import Batch
from burnish.engine.checkpoint import newest_complete, restore_checkpoint
from burnish.engine.loop import Loop
from burnish.evaluate.evaluation import compare_with_base
from burnish.kernels.varlen_attention import VARLEN
from burnish.methods import method_names
from burnish.models.attention import register
from burnish.models.base import BaseModel, load_base
from burnish.plan.run_plan import plan_run
from burnish.prepare.context import RunContext, prepare
from burnish.prepare.model import apply_method, inspect_base, loading_for, make_loop, measure_on_base
from burnish.prepare.resolve import Resolver, resolve_by_steps
from burnish.runs.events import Event, StepDone, Validated
from burnish.runs.folder import RunFolder
from tests.architecture_table import TASKS, main_task, rows_for
from tests.device_stand_in import DEVICE, DeviceTensor, StandIn, lacks_on_mps, moved, waits
from tests.tiny_architectures import save_architecture
from tests.tiny_data import make_recipe
from tests.tiny_vision import save_vision_model, write_picture_rows

STEPS = 3
_QUANTIZED = ("qlora", "int8-lora")
_OPTIONS: dict[str, Any] = {
    "data__context": 64,
    "train__max_steps": STEPS,
    "train__learning_rate": 1e-3,
    "train__gradient_checkpointing": False,
    "train__optimizer": "adamw",
    "batch__rows": 2,
    "batch__tokens": 128,
    "evaluate__every": 2,
    "evaluate__answers": 2,
    "evaluate__max_new_tokens": 4,
    "evaluate__general": "none",
    "save__every": 2,
    "prompt__tokens": 4,
    "freeze__blocks": 1,
    "lora__rank": 4,
    "data__validation_fraction": 0.3,
}


@dataclass
class Played:
    """A run on one side, ready for its first step."""

    context: RunContext
    base: BaseModel
    loop: Loop
    folder: RunFolder
    events: list[Event]

    def numbers(self) -> list[float]:
        """Losses and gradient norms in order."""
        found: list[float] = []
        for event in self.events:
            if isinstance(event, StepDone):
                found += [event.loss, event.gradient_norm]
            elif isinstance(event, Validated):
                found += [event.loss, *event.figures.values()]
        return found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models and rows."""
    return tmp_path_factory.mktemp("files")


def prepared(task: str, method: str, files: Path, runs: Path, **options: Any) -> tuple[RunContext, list[Event]]:
    """The context of a run, with every option filled in."""
    reading = task in ("classify", "tag", "span", "fill-mask")
    architecture = "T5" if task == "text-to-text" else "BERT" if reading else "Llama"
    if task == "vision":
        model, data = files / "vision", files / "pictures"
        if not model.exists():
            save_vision_model("idefics3", model)
            data.mkdir()
            write_picture_rows(data, 8)
        rows = next(data.glob("*.jsonl"))
        options = {"data__context": 256, **options}
    else:
        model = files / architecture
        if not model.exists():
            save_architecture(architecture, model)
        rows = rows_for(task, files)
    events: list[Event] = []
    given = {**_OPTIONS, "method": method, "task": task, **options}
    return plan_run(prepare(make_recipe(rows, model, runs, **given), events.append), simulates=False).context, events


def loaded(context: RunContext, attention: str = "") -> BaseModel:
    """The base model on the CPU, with the arithmetic that it would have on MPS."""
    cpu, head = torch.device("cpu"), context.task.objective.head
    loading = replace(loading_for(context.method, context.recipe, cpu), fast_on="mps")
    torch.manual_seed(0)
    base = load_base(context.location, context.recipe.model, context.tokenizer, cpu, loading, head)
    for module in base.network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # what is dropped is drawn otherwise on the CPU
    if attention:
        register()
        base.network.set_attn_implementation(attention)
    return base


def play(context: RunContext, base: BaseModel, events: list[Event], runs: Path, device: torch.device) -> Played:
    """The run, ready on its device."""
    context = inspect_base(context, base)
    if device.type != "cpu":
        moved(base.network)
    context = measure_on_base(replace(context, device=device), base.network)
    batches = context.batch_plan(context.training)
    resolver = Resolver(context.recipe, context.emit)
    resolve_by_steps(resolver, batches.steps_per_epoch, context.training.num_tokens)
    context = context.with_recipe(resolver.recipe)
    network = apply_method(context, base)
    if device.type != "cpu":
        moved(network)
    folder = RunFolder(runs / device.type)
    folder.checkpoints.mkdir(parents=True)
    loop = make_loop(context, network, batches, folder)
    return Played(context, base, loop, folder, events)


def run_through(played: Played) -> dict[str, Any]:
    """Everything from the first validation to the comparison with the base."""
    played.loop.run()
    network = played.loop.trainer.network
    newest = newest_complete(played.folder.checkpoints)
    assert newest is not None
    restore_checkpoint(newest, played.loop.trainer)
    (played.folder.path / "result").mkdir()
    played.context.method.save(network, played.folder.path / "result")
    return compare_with_base(network, played.context, 2).to_dict()


_ALIKE = ("tag", "span", "fill-mask", "reward", "score", "text-to-text")
"""Tasks whose steps have the parts of another one here."""
_LONG = (*_ALIKE, "text", "vision")
"""Tasks whose runs have the parts of another one here, or take long; all of them are in the long run."""
_OFTEN = ("preference", *_LONG)
"""The same, with the tasks whose steps on the device are tried below."""
_METHODS = [name for name in method_names() if name not in (*_QUANTIZED, "lora", "full")]
CELLS = [
    *(pytest.param(one, "lora", marks=pytest.mark.slow if one in _OFTEN else []) for one in (*TASKS, "vision")),
    pytest.param(main_task("Llama"), "full", marks=pytest.mark.slow),
    *(pytest.param(main_task("Llama"), method, marks=pytest.mark.slow) for method in _METHODS),
    *(pytest.param("classify", method, marks=pytest.mark.slow) for method in ("full", "ia3", "prompt")),
]


@pytest.mark.parametrize(("task", "method"), CELLS)
def test_a_run_needs_nothing_that_mps_lacks(task: str, method: str, files: Path, tmp_path: Path) -> None:
    context, events = prepared(task, method, files, tmp_path)
    here = play(context, loaded(context), events, tmp_path, torch.device("cpu"))
    expected = run_through(here)
    context, events = prepared(task, method, files, tmp_path)
    base = loaded(context)
    with StandIn():
        there = play(context, base, events, tmp_path, DEVICE)
        found = run_through(there)
        assert all(isinstance(weight, DeviceTensor) for weight in there.loop.trainer.network.parameters())
    assert there.numbers() == pytest.approx(here.numbers(), rel=1e-3, abs=1e-4)
    assert [one["name"] for one in found["figures"]] == [one["name"] for one in expected["figures"]]


def test_the_stand_in_refuses_what_mps_refuses() -> None:
    with StandIn():
        one = torch.ones(3, device=DEVICE)
        assert (one + 1).sum().item() == 6
        with pytest.raises(TypeError, match="float64"):
            one.double()
        with pytest.raises(TypeError, match="float64"):
            one.to(torch.float64)
        with pytest.raises(RuntimeError, match="same device"):
            one + torch.ones(3)
        with pytest.raises(NotImplementedError, match="linalg_eigh"):
            torch.linalg.eigh(torch.ones(3, 3, device=DEVICE))
        with pytest.raises(TypeError, match="numpy"):
            one.numpy()
    assert "_scaled_dot_product_flash_attention_for_cpu" in lacks_on_mps()
    assert "_softmax.out" not in lacks_on_mps()


@pytest.mark.parametrize("ask", [
    lambda one: one.item() if one.ndim == 0 else one[0].item(),
    lambda one: one.tolist(),
    lambda one: one.cpu(),
    lambda one: one.nonzero(),
    lambda one: one[one > 0],
    lambda one: bool((one > 0).all()),
    lambda one: torch.zeros(3).copy_(one),
])  # fmt: skip
def test_the_stand_in_sees_every_wait(ask: Any) -> None:
    with StandIn():
        one = torch.ones(3, device=DEVICE)
        one.add_(1).sum()
        assert waits == []
        ask(one)
        assert len(waits) == 1
        ask(one.clone())
        assert len(waits) == 2


def waits_of_a_step(context: RunContext, events: list[Event], runs: Path, attention: str) -> tuple[list[str], int]:
    """Where our code waited for the device in a step, and the micro-batches of that step."""
    base = loaded(context, attention)
    with StandIn():
        played = play(context, base, events, runs, DEVICE)
        batches: list[Batch] = played.loop.source.step_batches(0)
        played.loop.trainer.step(batches, 1e-3)  # the first one may choose kernels
        waits.clear()
        played.loop.trainer.step(batches, 1e-3)
        return [place for place in waits if not place.startswith("?")], len(batches)


@pytest.mark.parametrize(
    "task",
    # the step of chats is that of texts
    [pytest.param(one, marks=pytest.mark.slow if one in (*_ALIKE, "chat") else []) for one in (*TASKS, "vision")],
)
def test_a_step_waits_once_for_its_loss(task: str, files: Path, tmp_path: Path) -> None:
    """However many micro-batches it has, the loss and the norm are asked for together at its end.

    With packed rows, transformers waits in every forward pass to find out that they are packed; right after it, our
    mask asks for the borders. Other rows do not wait at all.
    """
    attention = "" if task in ("classify", "tag", "span", "fill-mask", "reward") else VARLEN
    context, events = prepared(task, "lora", files, tmp_path, batch__rows=1, batch__tokens=400)
    found, number = waits_of_a_step(context, events, tmp_path, attention)
    assert number > 1
    packed = ["models/attention.py:_borders"] * number if context.recipe.data.packing and task == "text" else []
    assert found == [*packed, "engine/step.py:_learn"]


def test_kto_waits_no_more_than_that(files: Path, tmp_path: Path) -> None:
    given = {"batch__rows": 4, "batch__tokens": 400, "preference__loss": "kto"}
    context, events = prepared("preference", "lora", files, tmp_path, **given)
    found, number = waits_of_a_step(context, events, tmp_path, VARLEN)
    assert number > 1
    assert found == ["engine/step.py:_learn"]
