"""The model card: front matter that parses, the figures, and nothing of the machine that it was made on."""

from __future__ import annotations

import ast
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from burnish.recipe.load import dump_recipe
from burnish.recipe.schema import Recipe
from burnish.report.card import model_card
from burnish.report.record import read_record
from burnish.report.snippet import closes_texts, use_snippet
from burnish.runs.folder import RunFolder
from burnish.tasks import make_task, task_facts, task_names
from burnish.visible import visible
from tests.unit.report.made_run import evaluation, make_recipe, make_run, manifest

HUB = {"model__name": "someone/model", "data__path": "someone/rows"}


def card_of(run: RunFolder) -> str:
    return model_card(read_record(run))


def front_matter(card: str) -> dict[str, Any]:
    found = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    assert found
    return yaml.safe_load(found[1])


def code_of(card: str) -> str:
    """What stands in its block of Python."""
    found = re.search(r"^(`{3,})python\n(.*?)\n\1$", card, re.MULTILINE | re.DOTALL)
    assert found, card
    return found[2]


def test_front_matter_of_an_adapter_from_local_files(tmp_path: Path) -> None:
    result = front_matter(card_of(make_run(tmp_path)))
    assert result == {
        "base_model": "tiny",
        "base_model_relation": "adapter",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["burnish", "chat", "lora"],
    }


def test_front_matter_of_a_whole_model_from_the_hub(tmp_path: Path) -> None:
    run = make_run(tmp_path, task="classify", method="full", data__labels=["a", "b"], **HUB)
    run.adapter.rename(run.model)
    result = front_matter(card_of(run))
    assert (result["base_model"], result["datasets"]) == ("someone/model", ["someone/rows"])
    assert (result["library_name"], result["base_model_relation"]) == ("transformers", "finetune")
    assert result["pipeline_tag"] == "text-classification"
    assert "peft" not in code_of(card_of(run))


def test_it_names_no_folder_of_the_machine(tmp_path: Path) -> None:
    places = {"data__validation": "/secret/home/valid.jsonl", "evaluate__metric": "/secret/home/figures:mine"}
    run = make_run(tmp_path, runs="/secret/home/runs", **places)
    card = card_of(run)
    assert "secret" not in card
    assert str(tmp_path) not in card
    assert "`rows.jsonl`" in card
    assert "`figures:mine`" in card
    assert "valid.jsonl" not in card


def test_it_reports_verdict_figures_data_and_versions(tmp_path: Path) -> None:
    card = card_of(make_run(tmp_path, "orders", train__epochs=7.0))
    for result in (
        "# mine\n",
        "**The tuned model is better than the base on 4 held-out rows: the loss fell by 2.300.**",
        "| loss | 3.000 [2.800, 3.200] | 0.700 [0.600, 0.800] | -2.300 (-77 %) |",
        "| orders (3 rows) | 25.0 % [10.0, 50.0] | 75.0 % [?, ?] | +50.0 points |",
        "| training rows: loss | 3.000 [2.800, 3.200] | 0.100 [0.000, 0.200] | -2.900 (-97 %) |",
        "| `orders.txt`: loss (5 rows) | 3.000 [2.800, 3.200] | 4.000 [3.900, 4.100] | +1.000 (+33 %) |",
        "\n\nPart of orders is learned by heart.\n",
        "- 36 rows for training, 4 for validation, 5 for the test, 1 rejected",
        "d" * 64,
        "`train.epochs`: `7.0`\n",
        "burnish 0.1.0, torch 2.11\n",
        "evaluated on 4 rows",
    ):
        assert result in card, result


def test_it_is_the_same_whenever_it_is_made(tmp_path: Path) -> None:
    """A resumed run ends with the same bytes, so nothing in the card may depend on the time."""
    first = card_of(make_run(tmp_path / "a"))
    run = make_run(tmp_path / "b")
    moved = (
        run.events.read_text()
        .replace('"seconds": 11.0', '"seconds": 99.0')
        .replace('"measured": 11.0', '"measured": 7')
    )
    run.events.write_text(moved)
    assert card_of(run) == first


def test_a_run_that_was_not_evaluated(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.evaluation.unlink()
    card = card_of(run)
    assert "## Metrics" not in card
    assert "not evaluated on any rows" in card


def test_names_and_labels_cannot_leave_their_place(tmp_path: Path) -> None:
    labels = ["a", "``` <script>|", 'x"\n## Heading']
    run = make_run(tmp_path, "no | pipe <script>", task="classify", data__labels=labels)
    card = card_of(run)
    ast.parse(code_of(card))
    assert "\n## Heading" not in card
    outside = card.replace(code_of(card), "")
    assert "no \\| pipe" in outside
    assert not re.search(r"^[^`\n]*[^\\`]<script>[^`]*$", outside.partition("## Data")[0], re.MULTILINE)


@pytest.mark.parametrize("word", ["a: b", "--- c", "# d", "\\N{BULLET}", "e\n---\nf", "{{ g }}", "'h\"", "`i`"])
def test_strange_names_stay_names(word: str, tmp_path: Path) -> None:
    run = make_run(tmp_path, word, model__name=f"hub/{word}", data__path=f"data/{word}")
    card = card_of(run)
    assert front_matter(card)["base_model"] == f"hub/{word}"
    assert front_matter(card)["datasets"] == [f"data/{word}"]
    ast.parse(code_of(card))
    assert f"base = {json.dumps(f'hub/{word}')}" in code_of(card)
    headings = re.findall("^## .*", card.replace(code_of(card), ""), re.MULTILINE)
    assert headings == ["## Metrics", "## Data", "## How to use it", "## Training options", "## Limits", "## Versions"]
    assert card.count("\n---\n") == 1, "nothing else ends the front matter, or draws a line"


@pytest.mark.parametrize("task", task_names())
@pytest.mark.parametrize("whole", [False, True])
def test_code_for_every_task_is_python(task: str, whole: bool, tmp_path: Path) -> None:
    labels = {"data__labels": ["a", "b"]} if task in ("classify", "tag") else {}
    run = make_run(tmp_path, task=task, **labels)
    if whole:
        run.adapter.rename(run.model)
    for closes in (False, True):
        result: Any = run.result
        end = {"type": "TemplateProcessing", "single": [{"Sequence": {}}, {"SpecialToken": {}}]} if closes else None
        (result / "tokenizer.json").write_text(json.dumps({"post_processor": end}))
        assert closes_texts(result) == closes
        snippet = use_snippet(read_record(run), ".")
        ast.parse(snippet)
        assert snippet
        assert not re.search("LENGTH|STOP|SHOW|READ|TEXTS|PIECES|PLACE|LONGEST|MARGIN|SAY", snippet)
        assert ("generation_config" in snippet.lower() or "GenerationConfig" in snippet) == (
            not whole and task in ("text", "chat", "preference", "text-to-text", "vision")
        )
        # PEFT alone answers as the base's own settings say, and not as it was evaluated
        assert ("without this line PEFT keeps" in snippet) == ("GenerationConfig" in snippet)


def test_a_base_on_the_hub_is_named_with_its_revision(tmp_path: Path) -> None:
    run = make_run(tmp_path, model__revision="v1", **HUB)
    assert 'base = "someone/model"' in code_of(card_of(run))
    assert 'from_pretrained(base, revision="v1", ' in code_of(card_of(run))
    shutil.rmtree(run.adapter)
    assert use_snippet(read_record(run), ".") == ""


def _auto_class(task: str, tokenizer: Any, recipe: dict[str, Any]) -> str:
    """That of the task's head; as the facts name it where the tokenizer would have to be of another kind."""
    if task in ("span", "fill-mask", "vision"):
        return task_facts(task).auto_class
    return make_task(task, tokenizer, Recipe.model_validate(recipe)).objective.head.auto_class


@pytest.mark.parametrize("task", task_names())
def test_the_class_in_the_code_is_the_one_that_the_task_loads(task: str, tmp_path: Path, tiny_tokenizer: Any) -> None:
    run = make_run(tmp_path, task=task, **({"data__labels": ["a", "b"]} if task in ("classify", "tag") else {}))
    record, head = read_record(run), None
    for closes in (False, True):
        end = {"type": "TemplateProcessing", "single": [{"SpecialToken": {}}]} if closes else None
        (run.adapter / "tokenizer.json").write_text(json.dumps({"post_processor": end}))
        snippet = use_snippet(record, ".")
        if snippet:
            head = head or _auto_class(task, tiny_tokenizer, record.recipe)
            assert f" {head}," in snippet
            assert f"= {head}.from_pretrained" in snippet


@pytest.mark.parametrize(
    ("processor", "closes"),
    [
        (None, False),
        ({"type": "ByteLevel"}, False),
        ({"type": "RobertaProcessing"}, True),
        ({"type": "BertProcessing"}, True),
        ({"type": "TemplateProcessing", "single": [{"SpecialToken": {}}, {"Sequence": {}}]}, False),
        ({"type": "Sequence", "processors": [{"type": "ByteLevel"}, {"type": "RobertaProcessing"}]}, True),
    ],
)
def test_tokenizers_that_end_a_text(processor: Any, closes: bool, tmp_path: Path) -> None:
    assert not closes_texts(tmp_path)
    (tmp_path / "tokenizer.json").write_text(json.dumps({"post_processor": processor}))
    assert closes_texts(tmp_path) == closes


HOSTILE = [
    "\x1b]0;owned\x07", "a\u2028b\x85c\x0cd", "\\<script>alert(1)</script>", "x\n---\ny: z", "![p](http://q/r.png)",
    "\u202egpj", "yes", "1e3", "12:30", "~", "# t", "'\"", "- a: &b *c", "!!python/none x", "\ufeffn",
]  # fmt: skip


@pytest.mark.parametrize("word", HOSTILE)
def test_hostile_words_stay_words_in_the_card_and_in_the_saved_recipe(word: str, tmp_path: Path) -> None:
    recipe = make_recipe(task="classify", model__name=f"hub/{word}", data__labels=[word, "b"], data__path=word)
    assert yaml.safe_load(dump_recipe(recipe)) == recipe.model_dump(mode="json")
    run = make_run(tmp_path, task="classify", model__name=f"hub/{word}", data__labels=[word, "b"])
    run.evaluation.write_text(json.dumps({**evaluation(word), "note": word, "verdict": word, "held_out": word}))
    run.manifest.write_text(json.dumps({**manifest(word), "data": {"sha256": word}, "precision": word}))
    card = card_of(run)
    assert front_matter(card)["base_model"] == f"hub/{word}"
    assert visible(card) == card
    assert visible(run.recipe.read_text(encoding="utf-8"), "\n") == run.recipe.read_text(encoding="utf-8")
    outside = card.replace(code_of(card), "").partition("\n---\n")[2]
    assert "<script>" not in re.sub(r"`[^`]*`", "", outside).replace("\\\\", "").replace("\\<", "")
    assert "](http" not in re.sub(r"`[^`]*`", "", outside)
    labels = next(node for node in ast.parse(code_of(card)).body if ast.unparse(node).startswith("labels = "))
    assert ast.literal_eval(labels.value) == [word, "b"]  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("task", "option"),
    [("span", "span__longest_answer"), ("span", "span__no_answer_margin"), ("vision", "vision__longest_side")],
)
def test_a_strange_recipe_puts_no_code_into_the_snippet(task: str, option: str, tmp_path: Path) -> None:
    """A run folder from a stranger may hold anything where the schema wants a number."""
    run = make_run(tmp_path, task=task)
    recipe = yaml.safe_load(run.recipe.read_text(encoding="utf-8"))
    section, _, name = option.partition("__")
    recipe.setdefault(section, {}).update({"unanswerable": True} if task == "span" else {})
    recipe[section][name] = "0) or __import__('os').system('owned'"
    run.recipe.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    (run.adapter / "tokenizer.json").write_text(json.dumps({"post_processor": None}))
    names = {node.id for node in ast.walk(ast.parse(use_snippet(read_record(run), "."))) if isinstance(node, ast.Name)}
    assert "__import__" not in names
