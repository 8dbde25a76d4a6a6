"""What comes with the package: the base model, which must really model language, and data that it learns from."""

from __future__ import annotations

import fnmatch
import importlib.util
import random
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import torch

import burnish as burnish_api
from burnish.data.rows.dataset import load_records
from burnish.data.rows.records import content_hash
from burnish.errors import RecipeError
from burnish.recipe.quickstart import quickstart_recipe
from burnish.recipe.schema import DataSection
from burnish.tasks import task_names_for
from tests.e2e.command_result import read_lines
from tests.e2e.conftest import EXACT, Burnish

ROOT = Path(__file__).parents[2]
ASSETS = Path(str(resources.files("burnish"))) / "assets"
SEEDLING = ASSETS / "seedling"
WRITTEN = {"orders.jsonl": "chat", "helpdesk.jsonl": "chat", "journal.jsonl": "text"}
SAMPLES = WRITTEN | {
    "preferences.jsonl": "preference",
    "tickets.jsonl": "classify",
    "reviews.jsonl": "score",
    "entities.conll": "tag",
    "notes.json": "span",
}

OWN_WORLD = (
    "In the town of Moutton lived a girl called Lucy. She was 9 years old, and she liked to swim.",
    "The cat is an animal. It eats fish. A young cat is called a kitten.",
    '"Where is my hat?" asked Paul. "It is on the table," said Anna.',
    "Kurt lives in Brondale. He is 33 years old. The coat is green. What colour is the coat? It is green.",
    "One morning Anna got up early. Her brother had already closed the gate. So she fed the ducks instead.",
    "It was a rainy day in Shenport. Paul had no coat, and he was upset. He walked home through the park.",
    "Lena has a red bag. Paul has a blue bag. Who has the blue bag? Paul has it.",
    "Anna walked to the market to buy bread. The old woman at the stall counted the coins.",
)
"""Written for this test alone, of the kind that the corpus has."""

PLAIN_ENGLISH = (
    "Anna was a kind girl who lived in a small house near the river with her mother and her old dog.",
    "One morning the boy woke up early, put on his coat and walked to the market to buy some bread.",
    "In the evening they sat by the fire, and the old woman told them a story about the sea.",
    "The baker has to get up early every morning, because people want to buy fresh bread.",
    "He looked for the key in the garden, but he could not find it. Then he saw it under the bench.",
    "It was raining, so the children stayed in the house and played with the wooden train.",
)
"""Sentences as anybody would write them, in words that the corpus has."""

PAIRS = (
    ("The dogs are in the garden.", "The dogs is in the garden."),
    ("The boy was happy.", "The boy were happy."),
    ("She has a red hat.", "She have a red hat."),
    ("He gave the book to her.", "He gave the book to she."),
    ("They went to the market.", "They went to market the."),
    ("Yesterday she walked to school.", "Yesterday she walks to school."),
    ("There were three birds on the roof.", "There were three bird on the roof."),
    ("An apple is a fruit.", "A apple is a fruit."),
    ("The girl lost her key and looked for it.", "The girl lost her key and looked for them."),
    ("He could not find his shoe.", "He could not found his shoe."),
    ("The old woman lived in a small house.", "The old woman lived in a house small."),
    ("What is the name of the dog?", "What are the name of the dog?"),
)
"""Right, and wrong in one place."""

MOST_LOSS = 4.5
"""Nats a token, for the corpus' own kind; to guess among all 2,048 tokens costs 7.6."""


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """The bundled tokenizer, by plain transformers."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(SEEDLING))


@pytest.fixture(scope="module")
def network() -> Any:
    """The bundled model, by plain transformers, in fp32."""
    from transformers import AutoModelForCausalLM

    model, report = AutoModelForCausalLM.from_pretrained(
        str(SEEDLING), dtype=torch.float32, use_safetensors=True, output_loading_info=True
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    return model.eval()


@torch.no_grad()
def loss_of(network: Any, tokenizer: Any, text: str) -> float:
    """Mean loss of a text's tokens in nats, after the end of another text."""
    ids = torch.tensor([[tokenizer.eos_token_id, *tokenizer(text, add_special_tokens=False).input_ids]])
    return network(input_ids=ids, labels=ids).loss.item()


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def test_seedling_is_a_small_llama(network: Any) -> None:
    assert network.config.model_type == "llama"
    assert 1_000_000 <= sum(p.numel() for p in network.parameters()) <= 4_000_000
    assert network.config.max_position_embeddings >= 512
    assert {file.suffix for file in SEEDLING.iterdir()} <= {".json", ".jinja", ".md", ".safetensors"}
    assert sum(file.stat().st_size for file in SEEDLING.iterdir()) <= 8_000_000


def test_seedlings_tokenizer_is_fit_for_chat(network: Any, tokenizer: Any) -> None:
    assert None not in (tokenizer.pad_token_id, tokenizer.eos_token_id)
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert len(tokenizer) <= network.get_input_embeddings().num_embeddings
    text = 'Grüße, "naïve" 日本 🙂\n\t12.5 %'
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text
    turns = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Good day."}]
    said = tokenizer.apply_chat_template(turns, tokenize=False)
    assert said == "<|im_start|>user\nHello.<|im_end|>\n<|im_start|>assistant\nGood day.<|im_end|>\n"
    ids = tokenizer(said, add_special_tokens=False).input_ids
    assert ids.count(tokenizer.convert_tokens_to_ids("<|im_end|>")) == 2
    assert tokenizer.unk_token_id not in ids


@pytest.mark.parametrize("sentences", [OWN_WORLD, PLAIN_ENGLISH], ids=["own world", "plain English"])
def test_seedling_expects_sentences_not_words(sentences: Sequence[str], network: Any, tokenizer: Any) -> None:
    source = random.Random(0)
    losses = []
    for sentence in sentences:
        words = sentence.split()
        source.shuffle(words)
        losses.append(loss_of(network, tokenizer, sentence))
        assert losses[-1] < loss_of(network, tokenizer, " ".join(words)) - 2, sentence
    print(losses)
    if sentences is OWN_WORLD:
        assert mean(losses) < MOST_LOSS


def test_seedling_knows_grammar(network: Any, tokenizer: Any) -> None:
    wrong = [bad for good, bad in PAIRS if loss_of(network, tokenizer, good) >= loss_of(network, tokenizer, bad)]
    assert len(wrong) <= 2, wrong


def test_seedling_does_not_go_round_in_circles(network: Any, tokenizer: Any) -> None:
    """Greedy continuations are where weak models repeat themselves or fall silent."""
    from burnish.decoding.generate import generate_batch

    prompts = ("One morning the girl", "The old man lived in", "In the town of", "It was a cold day and")
    ids = [[tokenizer.eos_token_id, *tokenizer(prompt, add_special_tokens=False).input_ids] for prompt in prompts]
    for prompt, answer in zip(
        prompts, generate_batch(network, tokenizer, ids, [tokenizer.eos_token_id], 40), strict=True
    ):
        words = tokenizer.decode(answer).split()
        print(prompt, *words)
        assert len(words) >= 5
        assert len(set(words)) > len(words) / 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["helpdesk.jsonl", "orders.jsonl", "journal.jsonl"])
def test_a_sample_is_learned_from(name: str, here: Path, burnish: Burnish) -> None:
    few = "--set data.rows=80 --set train.max_steps=8 --set evaluate.every=4 --set batch.tokens=1024"
    result = burnish(f"train {ASSETS / 'samples' / name} --name mine {EXACT} {few} --set evaluate.answers=0")
    assert result.code == 0, result.err
    run = here / "runs" / "mine"
    (ready,) = read_lines(run / "events.jsonl", "DataReady")
    assert (ready["task"], ready["rejected_rows"]) == (WRITTEN[name], 0)
    before, *later = (line["loss"] for line in read_lines(run / "metrics.jsonl", "Validated"))
    assert later[-1] < later[0] < before
    assert burnish("show mine --json").json["evaluation"]["figures"][0]["difference"]["high"] < 0


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_of_its_task_whole_and_of_the_promised_size(name: str) -> None:
    records = load_records(DataSection(path=str(ASSETS / "samples" / name)))
    assert task_names_for(records.shape.record)[0] == SAMPLES[name]
    assert records.rejected == []
    everything = [content_hash(record) for record in (*records.train, *records.valid, *records.test)]
    assert 200 <= len(everything) <= 1000
    assert len(set(everything)) == len(everything)


def test_there_is_no_other_sample() -> None:
    files = {path.name for path in (ASSETS / "samples").iterdir()}
    assert files == {*SAMPLES, "README.md"}


@pytest.mark.parametrize(
    "task", ["classify", *(pytest.param(t, marks=pytest.mark.slow) for t in ("chat", "preference", "tag", "span"))]
)
def test_a_quickstarts_recipe_runs(task: str, here: Path) -> None:
    """A few of its steps; the whole of it is `burnish quickstart --task TASK`."""
    few = {"data.rows": 200, "train.max_steps": 2, "evaluate.answers": 2, "model.precision": "fp32"}
    run = burnish_api.train(ASSETS / "recipes" / f"quickstart-{task}.yaml", runs="runs", name="quick", set=few)
    assert run.evaluation is not None
    assert run.summary["recipe"]["task"] == task
    assert 15 <= run.evaluation["rows"] <= 30
    assert run.evaluation["answers"]


def test_a_quickstart_that_there_is_not_is_refused_with_the_nearest(here: Path) -> None:
    with pytest.raises(RecipeError, match="no quickstart for the task `clasify`") as caught:
        quickstart_recipe("clasify")
    assert caught.value.fix == "Did you mean `classify`?"


def test_the_bundled_model_answers_by_name(burnish: Burnish) -> None:
    result = burnish('generate seedling "What is 3 plus 4?" --max-new-tokens 12 --json')
    assert result.code == 0, result.err
    assert result.json["answers"][0]["answer"]
    result = burnish("chat seedling --max-new-tokens 12 --json", stdin="Hello.\nWho are you?\n")
    assert [message["role"] for message in result.json["messages"]] == ["user", "assistant"] * 2


def test_the_wheel_holds_the_assets() -> None:
    """By the rules that hatchling goes by, and by its own word where it is at hand."""
    assets = [str(file.relative_to(ROOT)) for file in sorted(ASSETS.rglob("*")) if file.is_file()]
    assert str((SEEDLING / "model.safetensors").relative_to(ROOT)) in assets
    assert_packed_by_rule(assets)
    if importlib.util.find_spec("hatchling"):
        from hatchling.builders.wheel import WheelBuilder

        builder = WheelBuilder(str(ROOT))
        packed = {file.distribution_path for file in builder.recurse_selected_project_files()}
        assert set(assets) <= packed


def assert_packed_by_rule(assets: Sequence[str]) -> None:
    """The package is taken whole, and nothing in it is kept out by name or by `.gitignore`, which hatchling obeys."""
    if sys.version_info >= (3, 11):
        import tomllib

        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        assert project["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": ["burnish"]}
        assert project["tool"]["hatch"]["build"].keys() == {"targets"}
    else:
        text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        assert '[tool.hatch.build.targets.wheel]\npackages = ["burnish"]\n\n' in text
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    rules = [line.rstrip("/") for line in lines if not line.startswith("#")]
    for asset in assets:
        for rule in rules:
            assert not any(fnmatch.fnmatch(part, rule.lstrip("/")) for part in asset.split("/")), (asset, rule)
