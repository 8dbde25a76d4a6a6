"""Two processes = one: the same steps, validations, answers and result, whatever the task and the method."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from burnish.data.batching.batches import BatchPlan
from burnish.data.batching.parts import PartOfBatches
from burnish.engine.checkpoint import checkpoint_path, restore_checkpoint
from burnish.engine.process import ONE, Process
from burnish.engine.step import Trainer
from burnish.recipe.load import load_recipe
from burnish.runs.event_log import read_events
from burnish.runs.events import MicroBatchHalved
from burnish.runs.folder import RunFolder
from burnish.workflows.train import train
from tests.numeric import test_out_of_memory
from tests.numeric.sharded_loops import HALF, alone, run_shards, weights_of
from tests.tiny_architectures import save_architecture
from tests.tiny_classifiers import reviews, save_reader
from tests.tiny_data import write_rows
from tests.tiny_models import make_network, make_tokenizer, save_model
from tests.tiny_taggers import save_tagger, write_conll
from tests.tiny_vision import save_vision_model, write_picture_rows
from tests.together import Solo, Together

CLOSE = 1e-5
_SHARED: dict[str, Any] = {
    "model.device": "cpu",
    "model.precision": "fp32",
    "train.learning_rate": 1e-3,
    "train.epochs": 100,
    "train.early_stopping": False,
    "evaluate.every": 2,
    "evaluate.answers": 4,
    "evaluate.max_new_tokens": 6,
    "evaluate.general_tokens": 200,
    "save.every": 4,
    "save.keep": 1,
    "batch.rows": 1,
    "batch.tokens": 300,
}


@dataclass(frozen=True)
class Case:
    """A run of some task by some method, with its rows and base model."""

    task: str
    method: str
    options: dict[str, Any] = field(default_factory=dict)
    draws: bool = False
    """Whether something is drawn in its steps, so that one process has to draw by micro-batch, too."""
    close: float = CLOSE
    """Largest difference in a validation."""

    @property
    def name(self) -> str:
        """Of the run."""
        return "-".join([self.task, self.method, *map(str, self.options.values())]).replace(".", "")

    def flags(self, folder: Path, runs: str, steps: int) -> dict[str, Any]:
        """Options of its recipe."""
        model = folder / "models" / MODELS[self.task]
        given = {"model.name": str(model), "runs": str(folder / runs), "name": self.name, "method": self.method}
        return {**_SHARED, **given, "train.max_steps": steps, **self.options}


MODELS = {
    "chat": "llama",
    "preference": "llama",
    "kto": "llama",
    "classify": "bert",
    "tag": "tagger",
    "score": "bert",
    "reward": "llama",
    "text-to-text": "t5",
    "fill-mask": "bert-mlm",
    "vision": "idefics3",
    "text": "llama",
    "span": "bert",
}
DRAWING = ("classify", "tag", "score", "span", "text-to-text")
"""Tasks whose models have dropout in their config."""
SPLIT_NONE = 600
"""Tokens of a batch that has a micro-batch for each of four processes: one that is split draws other numbers."""
DROPOUT = {"lora.dropout": 0.2}
SHARDED = {"distributed.strategy": "sharded"}
QUICK = [
    Case("chat", "lora", DROPOUT, draws=True),
    # at this rate the reference point, which both processes share, moves within the first steps
    Case("kto", "lora", {"train.learning_rate": 3e-2, "evaluate.answers": 0, "evaluate.general": "none"}),
    # BERT's config has dropout
    Case("classify", "full", {**SHARDED, "train.gradient_checkpointing": True}, draws=True),
]
ALL = [
    QUICK[0],
    Case("kto", "lora"),
    *(Case(task, "lora") for task in MODELS if task not in ("kto", "fill-mask")),
    Case("preference", "lora", {"train.gradient_checkpointing": True}),
    *(Case("chat", method) for method in ("full", "freeze", "ia3", "prompt", "prefix", "p-tuning", "qlora")),
    *(Case("preference", method) for method in ("full", "prompt")),
    Case("kto", "full"),
    Case("tag", "full", draws=True),
    Case("fill-mask", "full", {"batch.tokens": SPLIT_NONE}, draws=True),
    Case("vision", "full"),
    Case("chat", "lora", {"batch.rows": 8}),
    Case("chat", "full", {"train.gradient_checkpointing": True}),
    Case("classify", "full", {"train.gradient_checkpointing": True}, draws=True),
    Case("chat", "lora", {"data.packing": False}),
    # activations are rounded to 8 bits: a difference in the last digit may become one of 1/127
    Case("chat", "int8-lora", close=1e-3),
]
OTHERS = [
    *(
        Case(task, method)
        for task in ("preference", "kto", "classify", "tag", "vision")
        for method in ("qlora", "prompt")
        # tested above, or refused: pictures have no virtual tokens
        if (task, method) not in (("preference", "prompt"), ("vision", "prompt"))
    ),
]
"""Quantized bases and virtual tokens, of the tasks that are trained with them."""
IN_SHARDS = [
    *(
        Case(task, method, SHARDED, draws=task in DRAWING)
        for task in ("chat", "preference", "kto", "classify", "tag", "vision")
        for method in ("full", "freeze")
    ),
    *(Case(task, "full", SHARDED, draws=task in DRAWING) for task in ("text", "score", "span")),
    *(
        Case(task, "full", {**SHARDED, "batch.tokens": SPLIT_NONE}, draws=True)
        for task in ("text-to-text", "fill-mask")
    ),
    Case("reward", "full", SHARDED),
    QUICK[2],
    Case("chat", "full", {**SHARDED, "train.gradient_checkpointing": True}),
    Case("chat", "full", {**SHARDED, "distributed.reshard_after_forward": False}),
    Case("chat", "full", {**SHARDED, "batch.rows": 8}),
    Case("vision", "full", {**SHARDED, "vision.train_tower": True}),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rows and base models of every task."""
    folder = tmp_path_factory.mktemp("made")
    models = folder / "models"
    tokenizer = make_tokenizer()
    save_model(models / "llama", make_network("llama", len(tokenizer)), tokenizer)
    save_reader(models / "bert", "bert")
    save_tagger("bert", models / "tagger")
    return folder


@pytest.fixture(scope="module")
def all_made(made: Path) -> Path:
    """The same with the models that only the slow tests need."""
    models = made / "models"
    save_architecture("T5", models / "t5")
    save_architecture("BERT", models / "bert-mlm")
    save_vision_model("idefics3", models / "idefics3")
    return made


def write(task: str, folder: Path, count: int) -> Path:
    """The rows of a task, of uneven lengths. Written once: a folder has one count."""
    path = folder / f"{task}.jsonl"
    if path.exists():
        return path
    source = random.Random(1)
    if task in ("chat", "text-to-text"):
        return write_rows(path, count)
    if task == "tag":
        return write_conll(folder / "tag.conll", count)
    if task == "vision":
        (folder / "pictures").mkdir(exist_ok=True)
        return write_picture_rows(folder / "pictures", 24)
    words = ["red", "blue", "a hat", "the fox is grey", "it rains on the river today"]

    def some() -> str:
        return " ".join(source.choice(words) for _ in range(source.randint(1, 4)))

    rows: list[dict[str, Any]] = []
    for number in range(count):
        question = f"What is {number}? {some()}"
        found = {"text": ["the fox"], "answer_start": [len(question) + 1]}
        rows.append(
            {
                "preference": {"prompt": question, "chosen": some(), "rejected": f"no {some()}"},
                "reward": {"prompt": question, "chosen": some(), "rejected": f"no {some()}"},
                "kto": {"prompt": question, "completion": some(), "label": number % 3 > 0},
                "score": {"text": some(), "score": number / 10},
                "fill-mask": {"text": f"{some()} {question}"},
                "text": {"text": question},
                "span": {"question": question, "context": f"{question} the fox is grey", "answers": found},
                "classify": dict(zip(("text", "label"), reviews(count)[number], strict=True)),
            }[task]
        )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run_cases(process: Process, folder: Path) -> dict[str, Any]:
    """Trains every run of `cases.json` in one of several processes, and one in which memory runs out."""
    for data, flags in json.loads((folder / "cases.json").read_text(encoding="utf-8")):
        train(load_recipe(data, flags, []).recipe, process=process)
    shards = run_shards(process, folder / "shards")
    made = test_out_of_memory.make(make_tokenizer(), folder / f"short-of-memory-{process.rank}")
    with pytest.MonkeyPatch.context() as patch:
        fail_once(patch, made, process)
        return {**trained_in_part(made, process), "shards": shards}


def fail_once(patch: pytest.MonkeyPatch, made: test_out_of_memory.Made, process: Process) -> None:
    """Memory runs out in the third backward pass of the last process, and in the second validation of the first."""
    calls = {"backward": 0, "evaluate": 0}

    def failing(name: str, at: int, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            calls[name] += 1
            if calls[name] == at:
                raise MemoryError
            return work(*given)

        return run

    if not process.is_main:
        patch.setattr(Trainer, "_backward", failing("backward", 3, Trainer._backward))
        return
    scorer = made.loop.trainer.task.scorer
    patch.setattr(type(scorer), "evaluate_batch", failing("evaluate", 2, type(scorer).evaluate_batch))


def trained_in_part(made: test_out_of_memory.Made, process: Process) -> dict[str, list[Any]]:
    """What a loop finds in one of several processes."""
    loop = made.loop
    assert isinstance(loop.source, BatchPlan)
    loop.trainer.process, loop.source = process, PartOfBatches(loop.source, process.rank, process.world)
    loop.run()
    return {
        "losses": made.losses,
        "validations": [loss for _, loss in loop.progress.validations],
        "halved": [event.held_out for event in made.of(MicroBatchHalved)],
        "limits": [loop.progress.micro_tokens, loop.progress.held_out_tokens],
        "weights": [weight.flatten().tolist() for weight in made.weights().values()],
    }


def begin(cases: list[Case], folder: Path, world: int, steps: int, count: int) -> tuple[Together, Path]:
    """Processes that train the cases; and where their runs will be."""
    place = folder / f"world-{world}"
    place.mkdir()
    runs = [(str(write(case.task, folder, count)), named(case).flags(folder, place.name, steps)) for case in cases]
    (place / "cases.json").write_text(json.dumps(runs), encoding="utf-8")
    return Together("tests.numeric.test_processes:run_cases", world, place), place


def named(case: Case) -> Case:
    """With the task as the recipe knows it."""
    task = {"kto": "preference"}.get(case.task, case.task)
    return replace(case, options={**case.options, "task": task})


def train_alone(case: Case, folder: Path, steps: int, count: int) -> RunFolder:
    """The same run in one process."""
    flags = {**named(case).flags(folder, "alone", steps), "distributed.strategy": "replicas"}
    recipe = load_recipe(str(write(case.task, folder, count)), flags, []).recipe
    return train(recipe, process=Solo() if case.draws else ONE).folder


def test_two_processes_train_like_one(made: Path) -> None:
    together, place = begin(QUICK, made, 2, 4, 30)
    alone = {case.name: train_alone(case, made, 4, 30) for case in QUICK}
    short_of_memory = test_out_of_memory.make(make_tokenizer(), made / "enough-memory")
    enough = trained_in_part(short_of_memory, Solo())
    found = together.results()
    shards = [one.pop("shards") for one in found]
    for case in QUICK:
        assert_close(alone[case.name], RunFolder(place / named(case).name), case)
    seen_halves(made, place)
    assert found[0] == found[1]  # weights, too
    assert found[0]["halved"] == [False, True]
    assert all(found[0]["limits"])
    for name in ("losses", "validations"):
        assert found[0][name] == pytest.approx(enough[name], abs=CLOSE)
    assert_sharded(shards, place / "shards", made)


def assert_sharded(found: list[dict[str, Any]], place: Path, folder: Path) -> None:
    """What `run_shards` found in each process, beside the same in one process."""
    straight = alone(folder / f"alone-{len(found)}")
    straight.loop.run()
    expected = weights_of(straight)
    for one in found:
        assert one["losses"] == pytest.approx(straight.losses, abs=CLOSE)
        assert differ(one["weights"], expected) <= CLOSE
        assert one["continued"]["losses"] == one["losses"][HALF:]
        assert differ(one["continued"]["weights"], one["weights"]) == 0
        assert one["offloaded"].pop("device") == "cpu"
        assert one["offloaded"]["losses"] == one["losses"][HALF:]
        assert differ(one["offloaded"]["weights"], one["weights"]) == 0
        assert one["full disk"]["folders"] == ["step-000000"]
        assert one["full disk"]["damage"] == ""
        assert f"No space left on device (rank {len(found) - 1} of {len(found)})" in one["full disk"]["message"]
    # every process holds its part, and no more than rounding leads to
    held = [one["held"] for one in found]
    assert sum(held) == sum(weight.numel() for weight in expected.values())
    assert max(held) <= 1.1 * sum(held) / len(held)
    assert_result(place / "straight" / "result", found[0]["weights"])
    # from the checkpoint of several, one process goes on
    other = alone(folder / f"went-on-{len(found)}")
    other.loop.progress = restore_checkpoint(checkpoint_path(place / "straight", HALF), other.loop.trainer)
    other.loop.run()
    assert other.losses == pytest.approx(straight.losses[HALF:], abs=CLOSE)
    assert differ(weights_of(other), expected) <= CLOSE


def assert_result(result: Path, expected: dict[str, torch.Tensor]) -> None:
    """Transformers finds in several files what the processes had."""
    index = json.loads((result / "model.safetensors.index.json").read_text(encoding="utf-8"))
    files = sorted(path.name for path in result.glob("*.safetensors"))
    assert sorted(set(index["weight_map"].values())) == files
    assert files == [f"model-{number:05}-of-00003.safetensors" for number in (1, 2, 3)]
    network = AutoModelForCausalLM.from_pretrained(result, dtype=torch.float32)
    assert differ(dict(network.named_parameters()), expected) == 0
    assert type(network).__name__ == json.loads((result / "config.json").read_text())["architectures"][0]


def differ(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    """The difference of two sets of weights, relative to their size."""
    assert first.keys() == second.keys()
    mine, theirs = ({name: one[name].detach().double() for name in one} for one in (first, second))
    difference = sum(float((mine[name] - theirs[name]).square().sum()) for name in mine)
    return (difference / sum(float(weight.square().sum()) for weight in mine.values())) ** 0.5


def seen_halves(made: Path, place: Path) -> None:
    """What several processes note where one does not."""
    folders = [path for path in sorted(place.iterdir()) if (path / "manifest.json").exists()]
    manifests = [json.loads((path / "manifest.json").read_text()) for path in folders]
    assert [manifest["processes"] for manifest in manifests] == [2] * len(QUICK)
    strategies = sorted(manifest["recipe"]["distributed"]["strategy"] for manifest in manifests)
    assert strategies == ["replicas"] * (len(QUICK) - 1) + ["sharded"]
    alone = json.loads((made / "alone" / named(QUICK[1]).name / "manifest.json").read_text())
    assert "processes" not in alone


@pytest.mark.slow
def test_four_processes_continue_what_two_or_one_began(tmp_path: Path) -> None:
    began = Together("tests.numeric.sharded_loops:run_shards", 2, tmp_path / "shards")
    one = alone(tmp_path / "one")
    one.loop.run()
    found = began.results()
    (tmp_path / "several").symlink_to(tmp_path / "shards" / "straight")
    for rest in Together("tests.numeric.sharded_loops:continue_shards", 4, tmp_path).results():
        for name in ("several", "one"):
            assert rest[name]["losses"] == pytest.approx(one.losses[HALF:], abs=CLOSE)
            assert differ(rest[name]["weights"], found[0]["weights"]) <= CLOSE


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("cases", [ALL, OTHERS, IN_SHARDS], ids=["replicas", "quantized and prompts", "sharded"])
def test_every_task_and_method_trains_as_in_one_process(
    cases: list[Case], world: int, all_made: Path, tmp_path: Path
) -> None:
    (tmp_path / "models").symlink_to(all_made / "models")
    together, place = begin(cases, tmp_path, world, 20, 60)
    shards = [one["shards"] for one in together.results()]
    assert_sharded(shards, place / "shards", tmp_path)
    for case in cases:
        assert_close(train_alone(case, tmp_path, 20, 60), RunFolder(place / named(case).name), case)


def assert_close(one: RunFolder, several: RunFolder, case: Case) -> None:
    """Losses, norms, weights, rows and metrics of a run in one process and in several."""
    first, second = (read_events(folder.metrics) for folder in (one, several))
    assert [(line["event"], line["step"]) for line in first] == [(line["event"], line["step"]) for line in second], case
    for mine, theirs in zip(first, second, strict=True):
        allowed = CLOSE if mine["event"] == "StepDone" else case.close
        assert mine["loss"] == pytest.approx(theirs["loss"], abs=allowed), (case, mine, theirs)
        if mine["event"] == "StepDone":
            assert [mine[name] for name in ("tokens", "trained_tokens")] == [
                theirs[name] for name in ("tokens", "trained_tokens")
            ]
            assert mine["gradient_norm"] == pytest.approx(theirs["gradient_norm"], rel=1e-3, abs=CLOSE), (case, mine)
        else:
            assert mine["figures"] == pytest.approx(theirs["figures"], rel=10 * allowed, abs=allowed), (case, mine)
    assert weights_differ(one, several) <= CLOSE, case
    mine, theirs = (json.loads(folder.evaluation.read_text()) for folder in (one, several))
    assert [answer["tuned"] for answer in mine["answers"]] == [answer["tuned"] for answer in theirs["answers"]], case
    for figure, other in zip(mine["figures"], theirs["figures"], strict=True):
        assert figure["rows"] == other["rows"]
        for side in ("base", "tuned"):
            found = pytest.approx(other[side]["value"], rel=10 * case.close, abs=case.close)
            assert figure[side]["value"] == found, (case, figure)


def weights_differ(one: RunFolder, several: RunFolder) -> float:
    """The difference of two results, relative to their size."""
    return differ(*(saved_weights(folder) for folder in (one, several)))


def saved_weights(folder: RunFolder) -> dict[str, torch.Tensor]:
    """All weights of a result but the biases of keys, which change no attention, and those that move the logits of all
    places of a span by the same: their gradient is rounding alone, and Adam makes steps of it."""
    assert folder.result is not None
    found: dict[str, torch.Tensor] = {}
    for file in folder.result.glob("*.safetensors"):
        found |= load_file(str(file))
    idle = ("key.bias", "k_proj.bias", "qa_outputs.bias")
    if "qa_outputs.bias" in found:
        idle += ("layer.1.output.LayerNorm.bias",)
    return {name: weight for name, weight in found.items() if not name.endswith(idle)}
