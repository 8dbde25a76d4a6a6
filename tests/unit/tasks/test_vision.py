"""Task `vision`: tokens, labels and pixels of drawn pictures, on tiny models of two families."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoTokenizer

from burnish.data.rows.row import IGNORED, RowError
from burnish.decoding.generate import generate_batch
from burnish.errors import DataError, InputError, ModelError
from burnish.models.processor import IMAGE_TEXT, image_tower, load_processor
from burnish.recipe.schema import Recipe, TemplateSection, VisionSection
from burnish.tasks import make_task
from tests.tiny_vision import (
    CONTEXT,
    FAMILIES,
    IMAGE_TOKENS,
    TOWERS,
    draw,
    drawn_record,
    make_vision_network,
    make_vision_tokenizer,
    save_vision_model,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of each family's tiny model."""
    return {family: save_vision_model(family, tmp_path_factory.mktemp(family)) for family in FAMILIES}


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, folders: dict[str, Path]) -> tuple[str, Any, Any]:
    """(family, tokenizer, network)."""
    tokenizer = AutoTokenizer.from_pretrained(str(folders[request.param]))
    return request.param, tokenizer, make_vision_network(request.param, tokenizer)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A red one, and a blue one that is wider."""
    folder = tmp_path_factory.mktemp("pictures")
    return [draw(folder / "red.png", "red", (32, 24)), draw(folder / "blue.png", "blue", (56, 24))]


def make(tokenizer: Any, **options: Any) -> Any:
    return make_task("vision", tokenizer, Recipe(task="vision", vision=VisionSection(**options)))


def losses(task: Any, network: Any, examples: list[Any]) -> torch.Tensor:
    batch = task.encoder.collate(examples, [[index] for index in range(len(examples))], False, None)
    with torch.no_grad():
        return task.objective.losses(network, batch.to(CPU))


def test_only_the_answer_is_trained(model: tuple[str, Any, Any], pictures: list[Path]) -> None:
    family, tokenizer, _ = model
    (example,) = (
        make(tokenizer).encoder.encode(drawn_record(pictures, "Which colours?", "It is red."), CONTEXT).examples
    )
    trained = [label for label in example.labels if label != IGNORED]
    assert tokenizer.decode(trained).strip() == "It is red." + tokenizer.eos_token
    assert tokenizer.convert_tokens_to_ids(IMAGE_TOKENS[family]) not in trained


def test_tokens_are_those_of_the_processor(model: tuple[str, Any, Any], pictures: list[Path]) -> None:
    _, tokenizer, _ = model
    task = make(tokenizer)
    record = drawn_record(pictures, "Which colours?", "It is red.")
    (example,) = task.encoder.encode(record, CONTEXT).examples
    processor = load_processor(tokenizer)
    text = tokenizer.apply_chat_template([dict(message) for message in record.messages], tokenize=False)
    images = [task.encoder._pictures.inputs._album.open(picture) for picture in record.images]
    whole = processor(text=[text], images=[images], add_special_tokens=False)["input_ids"][0]
    assert example.input_ids == list(whole)[: example.num_tokens]
    # Behind the answer's end the template writes a line break that nobody predicts.
    assert tokenizer.decode(whole[example.num_tokens :]) == "\n"


def test_image_tokens_are_as_many_as_the_pixels_make(model: tuple[str, Any, Any], pictures: list[Path]) -> None:
    family, tokenizer, _ = model
    task = make(tokenizer)
    (example,) = task.encoder.encode(drawn_record(pictures, "Same?", "It is red."), CONTEXT).examples
    inputs = task.encoder.collate([example], [[0]], False, None).to(CPU).inputs
    number = example.input_ids.count(tokenizer.convert_tokens_to_ids(IMAGE_TOKENS[family]))
    if family == "qwen2_vl":
        assert number == len(inputs["pixel_values"]) // 4 == int(inputs["image_grid_thw"].prod(-1).sum()) // 4
        assert inputs["mm_token_type_ids"].sum() == number
    else:
        seen = int((inputs["pixel_attention_mask"].sum((-1, -2)) > 0).sum())
        assert number == 4 * seen


def test_padded_equals_alone(model: tuple[str, Any, Any], pictures: list[Path]) -> None:
    _, tokenizer, network = model
    task = make(tokenizer)
    records = [drawn_record(pictures[:count], "What is " + "that " * count, "It is red.") for count in (2, 0, 1)]
    examples = [task.encoder.encode(record, CONTEXT).examples[0] for record in records]
    assert len({example.num_tokens for example in examples}) == 3
    mask = task.encoder.collate(examples, [[0], [1], [2]], False, None).inputs["attention_mask"]
    assert mask.tolist() == [
        [1] * example.num_tokens + [0] * (mask.shape[1] - example.num_tokens) for example in examples
    ]
    together = losses(task, network, examples)
    alone = torch.cat([losses(task, network, [example]) for example in examples])
    assert (together - alone).abs().max() < 1e-5


def test_the_loss_depends_on_what_is_seen(model: tuple[str, Any, Any], pictures: list[Path]) -> None:
    _, tokenizer, network = model
    task = make(tokenizer, longest_side=32)
    green = draw(pictures[0].with_name("green.png"), "green", (32, 24))
    shown = [drawn_record([path], "What?", "It is red.") for path in (pictures[0], green)]
    red, other = (losses(task, network, task.encoder.encode(record, CONTEXT).examples) for record in shown)
    assert (red - other).abs().max() > 1e-4


def test_batches_hold_no_pixels_until_they_are_needed(model: tuple[str, Any, Any], pictures: list[Path]) -> None:
    task = make(model[1])
    examples = task.encoder.encode(drawn_record(pictures, "Same?", "It is red."), CONTEXT).examples
    batch = task.encoder.collate(examples, [[0]], False, None)
    assert "pixel_values" not in batch.inputs
    assert "pixel_values" in batch.to(CPU).inputs


def test_smaller_pictures_take_fewer_tokens(folders: dict[str, Path], pictures: list[Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(folders["qwen2_vl"]))
    record = drawn_record(pictures[1:], "What?", "It is blue.")
    whole, small = (
        make(tokenizer, longest_side=side).encoder.encode(record, CONTEXT).examples[0] for side in (None, 24)
    )
    assert small.num_tokens < whole.num_tokens


def test_every_turn_is_trained(model: tuple[str, Any, Any], pictures: list[Path]) -> None:
    _, tokenizer, _ = model
    record = drawn_record(pictures, "Which?", "It is red.")
    later = ({"role": "user", "content": [{"type": "text", "text": "And?"}]}, {**record.messages[1]})
    twice = type(record)((*record.messages, *later), record.images, record.digests, record.place)
    (example,) = make(tokenizer).encoder.encode(twice, CONTEXT).examples
    trained = tokenizer.decode([label for label in example.labels if label != IGNORED])
    assert trained.count("It is red.") == 2


def test_a_row_that_does_not_fit_is_refused_whole(model: tuple[str, Any, Any], pictures: list[Path]) -> None:
    task = make(model[1])
    record = drawn_record(pictures, "Which?", "It is red.")
    length = task.encoder.encode(record, CONTEXT).examples[0].num_tokens
    assert task.encoder.encode(record, length).truncated_tokens == 0
    family, tokenizer, _ = model
    (example,) = task.encoder.encode(record, CONTEXT).examples
    shown = sum(end - start for start, end in example.spans)
    assert shown >= example.input_ids.count(tokenizer.convert_tokens_to_ids(IMAGE_TOKENS[family])) > 1
    why = f"it has {length} tokens, {shown} of them for its images, and the context is {length - 1}: an image cannot be"
    with pytest.raises(RowError, match=why):
        task.encoder.encode(record, length - 1)


def test_a_text_that_spells_the_picture_token_is_refused(model: tuple[str, Any, Any], pictures: list[Path]) -> None:
    family, tokenizer, _ = model
    with pytest.raises(RowError, match="which this model treats as an image"):
        make(tokenizer).encoder.encode(drawn_record(pictures, f"What is {IMAGE_TOKENS[family]}?", "Red."), CONTEXT)


def test_a_picture_that_the_processor_refuses(folders: dict[str, Path], tmp_path: Path) -> None:
    thin = draw(tmp_path / "thin.png", "red", (900, 4))
    task = make(AutoTokenizer.from_pretrained(str(folders["qwen2_vl"])))
    with pytest.raises(RowError, match="aspect ratio"):
        task.encoder.encode(drawn_record([thin], "What?", "Red."), CONTEXT)


def test_a_picture_that_changes_while_training_is_an_error(model: tuple[str, Any, Any], tmp_path: Path) -> None:
    task = make(model[1], longest_side=16)
    path = draw(tmp_path / "a.png", "red")
    examples = task.encoder.encode(drawn_record([path], "What?", "Red."), CONTEXT).examples
    batch = make(model[1]).encoder.collate(examples, [[0]], False, None)
    draw(path, "blue", (90, 90))
    with pytest.raises(DataError, match=r"drawn.jsonl:1: .*a.png"):
        batch.to(CPU)


def test_tokens_that_do_not_belong_to_the_pixels_are_an_error(model: tuple[str, Any, Any], tmp_path: Path) -> None:
    if model[0] == "idefics3":
        pytest.skip("its pictures all take the same number of tokens")
    path = draw(tmp_path / "a.png", "red", (64, 64))
    examples = make(model[1], longest_side=16).encoder.encode(drawn_record([path], "What?", "Red."), CONTEXT).examples
    with pytest.raises(DataError, match="than one row at a time"):
        make(model[1]).encoder.collate(examples, [[0]], False, None).to(CPU)


def test_the_tower_is_found_by_looking(model: tuple[str, Any, Any]) -> None:
    family, tokenizer, network = model
    assert image_tower(network) == (TOWERS[family],)
    assert make(tokenizer).objective.frozen_modules(network) == (TOWERS[family],)
    assert make(tokenizer, train_tower=True).objective.frozen_modules(network) == ()


class WithoutTower(torch.nn.Module):
    """A model in which no part of its own reads the pictures."""

    config = SimpleNamespace(vision_config=None)

    def get_encoder(self, modality: str) -> torch.nn.Module:
        return self


def test_a_note_says_whether_the_tower_is_frozen(model: tuple[str, Any, Any]) -> None:
    family, tokenizer, network = model
    (note,) = make(tokenizer).objective.inspect_model(network)
    assert f"`{TOWERS[family]}`) is frozen" in note
    assert make(tokenizer, train_tower=True).objective.inspect_model(network) == []
    (note,) = make(tokenizer).objective.inspect_model(WithoutTower())
    assert "was not found" in note
    assert "frozen" not in note


def test_answers_equal_those_of_plain_transformers(
    model: tuple[str, Any, Any], folders: dict[str, Path], pictures: list[Path]
) -> None:
    family, tokenizer, _ = model
    network: Any = AutoModelForImageTextToText.from_pretrained(str(folders[family])).eval()
    task = make(tokenizer)
    question = task.predictor.question(drawn_record(pictures, "Which?", "It is red."))
    assert question.answer == "It is red."
    assert question.prompt == "<image><image>Which?"
    (ours,) = generate_batch(network, tokenizer, [question.prompt_ids], [], 6, inputs=question.inputs())
    messages = [dict(drawn_record(pictures, "Which?", "It is red.").messages[0])]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    record = drawn_record(pictures, "Which?", "It is red.")
    images = [task.encoder._pictures.inputs._album.open(picture) for picture in record.images]
    inputs = load_processor(tokenizer)(text=[text], images=[images], add_special_tokens=False, return_tensors="pt")
    theirs = network.generate(**inputs, max_new_tokens=6, do_sample=False, eos_token_id=None)
    assert ours == theirs[0, inputs["input_ids"].shape[1] :].tolist()


def test_a_prompt_with_pictures(model: tuple[str, Any, Any], pictures: list[Path]) -> None:
    task = make(model[1])
    asked = json.dumps({"prompt": "Which?", "images": [str(path) for path in pictures]})
    question = task.predictor.question(drawn_record(pictures, "Which?", "It is red."))
    assert task.predictor.prompt_ids(asked) == question.prompt_ids
    assert task.predictor.prompt_ids([{"role": "user", "content": asked}]) == question.prompt_ids
    assert task.predictor.prompt_inputs(asked)["pixel_values"].equal(question.inputs()["pixel_values"])
    assert task.predictor.prompt_inputs("Which?") is None


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"prompt": "Which?", "images": ["nowhere.png"]}, "there is no image `nowhere.png`"),
        ({"prompt": "<image> or <image>?", "images": "nowhere.png"}, "2 `<image>` marks for 1 image"),
    ],
)
def test_prompts_that_are_refused(asked: dict[str, Any], reason: str, model: tuple[str, Any, Any]) -> None:
    with pytest.raises(InputError) as caught:
        make(model[1]).predictor.prompt_ids(json.dumps(asked))
    assert reason in caught.value.why


def test_a_prompt_that_is_too_long_is_not_cut(model: tuple[str, Any, Any], pictures: list[Path]) -> None:
    _, tokenizer, network = model
    task = make(tokenizer)
    question = task.predictor.question(drawn_record(pictures, "Which? " * CONTEXT, "It is red."))
    with pytest.raises(InputError, match="the prompt with its images has"):
        generate_batch(network, tokenizer, [question.prompt_ids], [], 4, inputs=question.inputs())


def test_a_model_without_a_processor_is_refused(tmp_path: Path) -> None:
    make_vision_tokenizer("qwen2_vl").save_pretrained(str(tmp_path))
    with pytest.raises(ModelError) as caught:
        make(AutoTokenizer.from_pretrained(str(tmp_path)))
    assert "gives its class" in caught.value.why


def test_a_template_without_pictures_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(folders["qwen2_vl"]))
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'][-1]['text'] }}\n{% endfor %}"
    tokenizer.save_pretrained(str(tmp_path))
    (tmp_path / "processor_config.json").write_bytes((folders["qwen2_vl"] / "processor_config.json").read_bytes())
    with pytest.raises(ModelError, match="does not support images"):
        make(AutoTokenizer.from_pretrained(str(tmp_path)))


def test_pictures_may_be_written_before_the_text(
    folders: dict[str, Path], pictures: list[Path], tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(folders["qwen2_vl"]))
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
        "{% for part in m['content'] if part['type'] == 'image' %}<|image_pad|>\n{% endfor %}"
        "{% for part in m['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    tokenizer.save_pretrained(str(tmp_path))
    (tmp_path / "processor_config.json").write_bytes((folders["qwen2_vl"] / "processor_config.json").read_bytes())
    task = make(AutoTokenizer.from_pretrained(str(tmp_path)))
    assert "the template puts the images of a message before its text" in task.encoder.notes
    (example,) = task.encoder.encode(drawn_record(pictures, "Which?", "It is red."), CONTEXT).examples
    assert len(example.spans) == 2


def test_what_the_task_promises(folders: dict[str, Path]) -> None:
    task = make(AutoTokenizer.from_pretrained(str(folders["qwen2_vl"])))
    assert (task.generates, task.reads_turns, task.counts_tokens, task.names_labels) == (True, True, False, False)
    assert (task.encoder.can_pack, task.scorer.compares_answers, task.scorer.headline) == (False, True, "loss")
    assert (task.objective.step_rows, task.objective.rate_factor, task.objective.head) == (0, 1.0, IMAGE_TEXT)
    assert task.auto_class == task.objective.head.auto_class


def test_a_batch_in_figures(folders: dict[str, Path], pictures: list[Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(folders["qwen2_vl"]))
    encoder = make(tokenizer).encoder
    examples = [
        encoder.encode(drawn_record(shown, "Which?", "It is red."), CONTEXT).examples[0] for shown in (pictures, [])
    ]
    batch = encoder.collate(examples, [[1], [0]], True, None)
    assert set(batch.inputs) == {"input_ids", "attention_mask"}, "never packed, whatever is asked"
    assert batch.input_ids.shape == (2, examples[0].num_tokens)
    assert (batch.examples, batch.num_tokens) == ((1, 0), sum(example.num_tokens for example in examples))
    assert batch.inputs["attention_mask"].sum(1).tolist() == [examples[1].num_tokens, examples[0].num_tokens]
    assert batch.inputs["attention_mask"].dtype == torch.int64
    loaded = batch.to(CPU).inputs
    assert loaded["mm_token_type_ids"].shape == batch.input_ids.shape
    assert loaded["mm_token_type_ids"][0].sum() == 0


def test_what_is_asked_of_a_conversation(model: tuple[str, Any, Any], pictures: list[Path]) -> None:
    """The last thing that a user says is shown; without pictures there is nothing to load."""
    predictor = make(model[1]).predictor
    record = drawn_record(pictures[:1], "Which?", "It is red.")
    later = ({"role": "user", "content": [{"type": "text", "text": "And?"}]}, *record.messages[1:])
    longer = type(record)((*record.messages, *later), record.images, record.digests, record.place)
    question = predictor.question(longer)
    assert (question.prompt, question.answer, question.place) == ("And?", "It is red.", "drawn.jsonl:1")
    assert question.inputs is not None
    assert predictor.served_prompts(longer) == [question.prompt_ids]
    plain = predictor.question(drawn_record([], "Which?", "<think>Hm.</think>Red."))
    assert (plain.prompt, plain.answer, plain.inputs) == ("Which?", "Red.", None)
    system = {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}
    assert model[1].eos_token_id in predictor.stop_ids
    assert list(predictor.visible_ids([9, 9])) == [9, 9]
    lone = predictor.question(type(record)((system, record.messages[1]), (), (), "drawn.jsonl:2"))
    assert lone.prompt == ""


def test_a_conversation_with_pictures_in_two_turns(model: tuple[str, Any, Any], pictures: list[Path]) -> None:
    predictor = make(model[1]).predictor
    asked = [json.dumps({"prompt": "Which?", "images": [str(path)]}) for path in pictures]
    turns = [
        {"role": "user", "content": asked[0]},
        {"role": "assistant", "content": '{"prompt": "no question"}'},
        {"role": "user", "content": asked[1]},
    ]
    text = model[1].decode(predictor.prompt_ids(turns))
    assert '{"prompt": "no question"}' in text, "an answer is never taken for a question"
    assert len(predictor._prompted(turns).spans) == 2


def test_the_processor_is_kept_beside_the_weights(folders: dict[str, Path], tmp_path: Path) -> None:
    task = make(AutoTokenizer.from_pretrained(str(folders["qwen2_vl"])))
    task.predictor.save_extras(tmp_path)
    assert (tmp_path / "processor_config.json").is_file() or (tmp_path / "preprocessor_config.json").is_file()


@pytest.mark.parametrize("beside", ["tokenizer", "processor"])
def test_what_the_template_writes_for_a_picture_may_depend_on_its_variables(
    beside: str, folders: dict[str, Path], pictures: list[Path], tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(folders["qwen2_vl"]))
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "<|vision_start|><|image_pad|><|vision_end|>",
        "{% if bare is defined and bare %}<|image_pad|>"
        "{% else %}<|vision_start|><|image_pad|><|vision_end|>{% endif %}",
    )
    tokenizer.save_pretrained(str(tmp_path))
    (tmp_path / "processor_config.json").write_bytes((folders["qwen2_vl"] / "processor_config.json").read_bytes())
    if beside == "processor":
        (tmp_path / "chat_template.jinja").unlink()
        (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": tokenizer.chat_template}))
    record = drawn_record(pictures, "Which?", "It is red.")
    for kwargs, marks in (({}, 2), ({"bare": True}, 0)):
        tokenizer = AutoTokenizer.from_pretrained(str(tmp_path))
        task = make_task("vision", tokenizer, Recipe(task="vision", template=TemplateSection(kwargs=kwargs)))
        (example,) = task.encoder.encode(record, CONTEXT).examples
        assert len(example.spans) == 2
        assert example.input_ids.count(tokenizer.convert_tokens_to_ids("<|vision_start|>")) == marks
