"""Tasks, methods and plain clients: a result answers everywhere as Burnish evaluated it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

import burnish
from burnish.errors import InputError
from burnish.methods import method_names
from tests.architecture_table import rows_for
from tests.e2e.test_end_of_text import make_gpt2
from tests.plain_clients import ANSWER_TOKENS, Client, can_load, can_pipe
from tests.tiny_architectures import save_architecture
from tests.tiny_classifiers import reviews
from tests.tiny_models import make_network, make_tokenizer, save_model
from tests.tiny_vision import save_vision_model, write_picture_rows

ASKED: dict[str, list[Any]] = {
    "classify": ["Anna has a red hat.", "Otto has a green hat.", "a"],
    "tag": [{"tokens": ["Anna", "is", "by", "the", "small", "boat"]}, {"tokens": ["The", "two", "and", "three"]}],
    "span": [{"question": "Who has hats?", "context": "Olga has 3 hats, and Otto none."}],
    "reward": [{"prompt": "Who has 3 hats?", "chosen": "Anna has 3."}, {"prompt": "Where?", "chosen": "Here"}],
    "chat": ["What is 3 like, the red hat?", "Who is there?"],
    "preference": ["Who has 3 hats?"],
    "text": ["Anna has", "The river"],
    "text-to-text": ["What is 3 like, the red hat?"],
    "fill-mask": ["Anna has a red[MASK]."],
}
OPTIONS: dict[str, Any] = {"precision": "fp32", "device": "cpu", "max_steps": 3, "epochs": 6, "learning_rate": 0.02}
SETS = {"evaluate.answers": 0, "evaluate.general": "none", "data.context": 64, "evaluate.max_new_tokens": ANSWER_TOKENS}
CELLS = [
    ("classify", "BERT", "lora"),
    ("tag", "Llama", "freeze"),
    ("span", "GPT-2", "lora"),
    ("reward", "BERT", "ia3"),
    ("chat", "Qwen2", "full"),
    ("preference", "Llama", "prefix"),
    ("text", "Llama", "p-tuning"),
    ("text-to-text", "T5", "prompt"),
    ("fill-mask", "BERT", "full"),
]
"""Every task once, and every method that does not need few bits."""
BASES = {
    "BERT": ("classify", "tag", "span", "reward", "fill-mask"),
    "RoBERTa": ("span",),
    "GPT-2": ("span",),
    "T5": ("text-to-text",),
}
HALF = ("lora", "full", "int8-lora")
DECODER = ("classify", "tag", "reward", "chat", "preference", "text")
CROSS = [
    cell
    for architecture, tasks in {**BASES, "Llama": DECODER}.items()
    for task in tasks
    for method in method_names()
    if (cell := (task, architecture, method)) not in CELLS
]


def trained(task: str, model: Path, method: str, folder: Path, **changes: Any) -> Client:
    """A short run of a task; skips what Burnish itself refuses."""
    sets = {**SETS, **changes.pop("sets", {})}
    try:
        run = burnish.train(
            changes.pop("data", None) or rows_for(task, folder),
            model=model,
            task=task,
            method=method,
            runs=folder / "runs",
            set=sets,
            **{**OPTIONS, **changes},
        )
    except InputError as error:
        pytest.skip(error.why)
    return Client(run, task)


def check(client: Client, asked: list[Any]) -> None:
    """Every client that takes the result gives Burnish's answers."""
    for one in asked:
        expected = client.expected(one)
        assert client.by_card(one) == expected, (one, "card")
        if can_load(client):
            assert client.by_classes(one) == expected, (one, "classes")
        if can_pipe(client):
            assert client.by_pipeline(one) == expected, (one, "pipeline")


@pytest.mark.parametrize(("task", "architecture", "method"), CELLS)
def test_a_result_answers_as_it_was_evaluated(task: str, architecture: str, method: str, tmp_path: Path) -> None:
    model = save_architecture(architecture, tmp_path / "model")
    check(trained(task, model, method, tmp_path), ASKED[task])


@pytest.mark.slow
@pytest.mark.parametrize(("task", "architecture", "method"), CROSS)
def test_every_method_with_every_task(task: str, architecture: str, method: str, tmp_path: Path) -> None:
    model = save_architecture(architecture, tmp_path / "model")
    check(trained(task, model, method, tmp_path), ASKED[task])


def write_pairs(path: Path) -> Path:
    rows = [
        {"premise": text, "hypothesis": "It was good.", "label": "yes" if label == "good" else "no"}
        for text, label in reviews(40)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("method", "spare_rows"),
    [("full", 0), *(pytest.param(*case, marks=pytest.mark.slow) for case in (("full", 7), ("lora", 0), ("lora", 7)))],
)
def test_gpt2_pads_with_eos_and_classifies_all_the_same(method: str, spare_rows: int, tmp_path: Path) -> None:
    """Texts and pairs, whether or not there is room for a pad token of its own."""
    make_gpt2(tmp_path / "gpt2", spare_rows)
    lines = [json.dumps({"text": text, "label": label}) + "\n" for text, label in reviews(120)]
    (tmp_path / "reviews.jsonl").write_text("".join(lines), encoding="utf-8")
    sets = {"data.context": 128, "evaluate.every": 10}
    options = {"max_steps": 30, "epochs": 30, "learning_rate": 0.01, "sets": sets}
    data = tmp_path / "reviews.jsonl"
    client = trained("classify", tmp_path / "gpt2", method, tmp_path, data=data, **options)
    asked = [text for text, _ in reviews(12, seed=5)]
    assert len({client.expected(text) for text in asked}) == 2, "a model that always says the same shows little"
    check(client, asked[:3])


def test_pairs_on_a_decoder(tmp_path: Path) -> None:
    make_gpt2(tmp_path / "gpt2", 0)
    data = write_pairs(tmp_path / "pairs.jsonl")
    client = trained("classify", tmp_path / "gpt2", "full", tmp_path, data=data, sets={"data.context": 128})
    check(client, [{"premise": "the film was dull", "hypothesis": "It was good."}])


@pytest.mark.parametrize("pad", ["<|im_end|>", pytest.param("<|pad|>", marks=pytest.mark.slow)])
def test_a_decoder_whose_config_pads_with_eos_labels_all_the_same(pad: str, tmp_path: Path) -> None:
    """Beside an adapter other programs load the config of the base, and the last token before its padding counts."""
    tokenizer: Any = make_tokenizer()
    tokenizer.pad_token = pad
    model = save_model(tmp_path / "model", make_network("llama", pad_token_id=tokenizer.eos_token_id), tokenizer)
    client = trained("classify", model, "lora", tmp_path)
    check(client, ASKED["classify"])
    network, tokenizer = client.network(), AutoTokenizer.from_pretrained(str(client.result))
    read = tokenizer(ASKED["classify"], padding=True, return_tensors="pt", return_token_type_ids=False)
    assert bool((read["attention_mask"] == 0).any())
    found = [client.labels[number] for number in network(**read).logits.argmax(-1).tolist()]
    assert found == [client.expected(one) for one in ASKED["classify"]]


@pytest.mark.parametrize("method", ["qlora", *(pytest.param(m, marks=pytest.mark.slow) for m in HALF)])
def test_in_half_precision_and_in_few_bits(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # answers of a tiny model turn on the last bit of bf16, so they are compared with the same operations
    monkeypatch.setattr("burnish.lineage.opened.arrange_for_answers", lambda network, precision: None)
    tokenizer = make_tokenizer()
    network = make_network("llama", len(tokenizer), hidden_size=128, intermediate_size=128)
    model = save_model(tmp_path / "model", network, tokenizer)
    client = trained("chat", model, method, tmp_path, precision="bf16", learning_rate=0.005)
    for asked in ASKED["chat"]:
        assert client.by_card(asked) == client.expected(asked)
    card = (client.result / "README.md").read_text(encoding="utf-8")
    assert "evaluated in bfloat16; in another precision some answers differ" in card
    assert ("in full precision, some answers differ" in card) == (method in ("qlora", "int8-lora"))


@pytest.mark.parametrize("method", ["lora", pytest.param("full", marks=pytest.mark.slow)])
def test_the_settings_of_the_base_do_not_change_an_answer(method: str, tmp_path: Path) -> None:
    model = save_architecture("Llama", tmp_path / "model")
    settings = {"do_sample": True, "temperature": 1.9, "repetition_penalty": 2.5, "no_repeat_ngram_size": 1}
    (model / "generation_config.json").write_text(json.dumps(settings), encoding="utf-8")
    check(trained("chat", model, method, tmp_path), ASKED["chat"])


def test_pictures(tmp_path: Path) -> None:
    """Of the family whose processor transformers loads without torchvision."""
    data = write_picture_rows(tmp_path, 12)
    model = save_vision_model("idefics3", tmp_path / "model")
    client = trained("vision", model, "lora", tmp_path, data=data, sets={"data.context": 256})
    for number in (0, 5):
        asked = {"prompt": f"What colour is square {number}?", "images": [str(tmp_path / f"{number}.png")]}
        assert client.by_card(asked) == client.expected(asked)


def test_the_saved_tokenizer_of_a_tagger_is_that_of_its_base(tmp_path: Path) -> None:
    model = save_architecture("Llama", tmp_path / "model")
    client = trained("tag", model, "lora", tmp_path)
    before, after = (AutoTokenizer.from_pretrained(str(folder)) for folder in (model, client.result))
    assert before("Anna lives")["input_ids"] == after("Anna lives")["input_ids"]
