"""Training on pictures, from the rows to an answer, on tiny models of two families."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
import torch

from burnish.api import load_run
from burnish.errors import RecipeError
from burnish.inference.served import open_models
from burnish.inference.session import open_session
from burnish.recipe.load import recipe_from_saved
from burnish.runs.events import Event, Note, StepDone
from burnish.workflows.run import Run
from burnish.workflows.train import train
from tests.e2e.serving import start
from tests.tiny_data import make_recipe
from tests.tiny_vision import FAMILIES, TOWERS, save_vision_model, write_picture_rows

QUICK = {"train__learning_rate": 0.01, "batch__tokens": 300, "evaluate__every": 10, "data__validation_fraction": 0.2}


ONE_FAMILY = pytest.mark.parametrize(
    "base",
    [name if name == "qwen2_vl" else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES],
    indirect=True,
)
"""For what does not depend on how a family lays its pictures out."""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_picture_rows(tmp_path_factory.mktemp("squares"))


@pytest.fixture(
    scope="module", params=[FAMILIES[0], *(pytest.param(one, marks=pytest.mark.slow) for one in FAMILIES[1:])]
)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """(family, model folder)."""
    return request.param, save_vision_model(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def trained(base: tuple[str, Path], rows: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, list[Event]]:
    """Ten steps of LoRA with nothing but defaults for the pictures."""
    events: list[Event] = []
    recipe = make_recipe(rows, base[1], tmp_path_factory.mktemp("runs"), train__max_steps=10, train__epochs=5, **QUICK)
    return train(recipe, listeners=[events.append]), events


def weights_of(run: Run) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(str(next(run.folder.result.glob("*.safetensors"))))  # type: ignore[union-attr]


def short_name(name: str) -> str:
    """The name of a weight, however PEFT and the family's own layout on disk spell it."""
    return name.removeprefix("base_model.model.").removeprefix("model.")


def test_the_loss_falls(trained: tuple[Run, list[Event]]) -> None:
    steps = [event.loss for event in trained[1] if isinstance(event, StepDone)]
    assert len(steps) == 10
    assert steps[-1] < 0.8 * steps[0]


def test_the_task_is_found_and_figures_are_given(trained: tuple[Run, list[Event]]) -> None:
    run, _ = trained
    assert recipe_from_saved(run.folder.recipe).task == "vision"
    evaluation: Any = run.evaluation
    assert {"loss", "perplexity"} <= {figure["name"] for figure in evaluation["figures"]}
    assert evaluation["answers"]
    assert evaluation["answers"][0]["prompt"].startswith("<image>What colour is square")


def test_the_tower_is_left_alone_and_says_so(trained: tuple[Run, list[Event]], base: tuple[str, Path]) -> None:
    run, result = trained
    tower = TOWERS[base[0]]
    assert any(isinstance(event, Note) and f"({'`'}{tower}`) is frozen" in event.text for event in result)
    names = list(weights_of(run))
    assert names
    assert not any(f".{tower}." in name for name in names)


def test_the_result_is_whole_and_answers(trained: tuple[Run, list[Event]], rows: Path) -> None:
    run, _ = trained
    result: Any = run.folder.result
    assert json.loads((result / "processor_config.json").read_text())["processor_class"].endswith("Processor")
    asked = json.dumps({"prompt": "What colour is square 3?", "images": [str(rows.parent / "3.png")]})
    first = load_run(str(run.path)).generate(asked, max_new_tokens=8)
    assert first == load_run(str(run.path)).generate(asked, max_new_tokens=8)
    assert first == run.chat([{"role": "user", "content": asked}], max_new_tokens=8)
    assert first != open_session(str(run.path), base=True).generate(asked, max_new_tokens=8)


@ONE_FAMILY
def test_evaluating_again_gives_the_same_figures(trained: tuple[Run, list[Event]]) -> None:
    run, _ = trained
    before: Any = run.evaluation
    again = run.evaluate()
    assert [figure.tuned.value for figure in again.figures] == pytest.approx(
        [figure["tuned"]["value"] for figure in before["figures"]], rel=1e-6
    )
    answers = {answer.prompt: answer.tuned for answer in again.answers}
    assert before["answers"]
    assert all(answers[answer["prompt"]] == answer["tuned"] for answer in before["answers"])


@pytest.mark.parametrize(
    ("method", "train_tower"),
    [
        ("lora", True),
        *(pytest.param(*pair, marks=pytest.mark.slow) for pair in [("lora", False), ("full", True), ("full", False)]),
    ],
)
def test_the_tower_moves_only_when_asked(
    method: str, train_tower: bool, base: tuple[str, Path], rows: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    family, folder = base
    options = {**QUICK, "train__max_steps": 1, "evaluate__answers": 0, "lora__bias": "all"}
    if method == "full":
        options.pop("lora__bias")
    run = train(make_recipe(rows, folder, tmp_path, method=method, vision__train_tower=train_tower, **options))
    before = {short_name(name): tensor for name, tensor in load_file(str(folder / "model.safetensors")).items()}
    plain = {short_name(name): tensor for name, tensor in weights_of(run).items()}
    tower = {name: tensor for name, tensor in plain.items() if name.startswith(f"{short_name(TOWERS[family])}.")}
    moved = [name for name, tensor in tower.items() if name not in before or not tensor.equal(before[name])]
    assert bool(moved) == train_tower
    language = [
        name for name, tensor in plain.items() if name not in tower and not tensor.equal(before.get(name, tensor * 0))
    ]
    assert language


@pytest.mark.slow
def test_layers_of_the_tower_alone_are_refused(base: tuple[str, Path], rows: Path, tmp_path: Path) -> None:
    only_there = "attn.proj" if base[0] == "qwen2_vl" else "out_proj"
    options = {**QUICK, "lora__targets": [only_there]}
    with pytest.raises(RecipeError) as caught:
        train(make_recipe(rows, base[1], tmp_path, **options))
    assert "names only layers that this task freezes" in caught.value.what
    assert TOWERS[base[0]] in caught.value.why
    run = train(make_recipe(rows, base[1], tmp_path, vision__train_tower=True, train__max_steps=1, **options))
    assert all(only_there in name for name in weights_of(run))


def test_a_base_model_answers_by_its_folder(base: tuple[str, Path], rows: Path) -> None:
    asked = json.dumps({"prompt": "What?", "images": [str(rows.parent / "0.png")]})
    assert isinstance(open_session(str(base[1])).generate(asked, max_new_tokens=3), str)


@ONE_FAMILY
def test_broken_pictures_are_counted_and_named(base: tuple[str, Path], rows: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    file = tmp_path / "pictures" / "rows.jsonl"
    lines = [json.loads(line) for line in rows.read_text().splitlines()[:8]]
    for line in lines:
        line["image"] = str(rows.parent / line["image"])
    lines[2]["image"] = "gone.png"
    (tmp_path / "pictures" / "text.png").write_text("no picture")
    lines[5]["image"] = "text.png"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    recipe = make_recipe(file, base[1], tmp_path / "runs", train__max_steps=1, evaluate__answers=0, batch__tokens=300)
    rejected = [json.loads(line) for line in train(recipe).folder.rejected.read_text().splitlines()]
    assert [row["line"] for row in rejected] == [3, 6]
    assert "there is no image" in rejected[0]["reason"]
    assert "is not an image" in rejected[1]["reason"]


@ONE_FAMILY
def test_a_text_in_parts_names_no_file(base: tuple[str, Path], rows: Path) -> None:
    """A server passes parts, so that no request opens a file of the machine."""
    predictor = open_session(str(base[1])).task.predictor
    named = json.dumps({"prompt": "What?", "images": [str(next(rows.parent.rglob("*.png")))]})
    typed = predictor.prompt_ids([{"role": "user", "content": named}])
    parts = [{"role": "user", "content": [{"type": "text", "text": named}]}]
    assert predictor.prompt_inputs([{"role": "user", "content": named}]) is not None
    assert predictor.prompt_inputs(parts) is None
    assert predictor.prompt_ids(parts) != typed


def test_pictures_over_http(trained: tuple[Run, list[Event]], rows: Path) -> None:
    """Asked at the same time, each is answered as it is alone."""
    run, question = trained[0], {"type": "text", "text": "What colour is square 1?"}
    served: Any = open_models([str(run.path)], "runs", None, False, print)
    session = served[run.name].session

    def address(name: str) -> str:
        return f"data:image/png;base64,{base64.b64encode((rows.parent / name).read_bytes()).decode()}"

    def alone(names: tuple[str, ...]) -> str:
        parts = [*({"type": "image", "source": address(name)} for name in names), question]
        return session.chat([{"role": "user", "content": parts}], 12)

    cases = [("1.png",), ("2.png",), ("1.png", "7.png"), (), ("1.png",)]
    expected = list(map(alone, cases))
    with contextmanager(start)(served) as server:

        def ask(*pictures: str) -> str:
            parts = [*({"type": "image_url", "image_url": {"url": one}} for one in pictures), question]
            asked: Any = [{"role": "user", "content": parts}]
            options: Any = {"model": run.name, "max_tokens": 12, "temperature": 0}
            return server.client.chat.completions.create(messages=asked, **options).choices[0].message.content.strip()

        with ThreadPoolExecutor(len(cases)) as pool:
            assert list(pool.map(lambda names: ask(*map(address, names)), cases)) == expected
        with pytest.raises(openai.BadRequestError, match="corrupt|is not an image"):
            ask("data:image/png;base64,AAAA")
        with pytest.raises(openai.BadRequestError, match="data:image"):
            ask("https://example.com/a.png")
