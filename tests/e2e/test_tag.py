"""`burnish train` on words with tags: the task is found, it trains, and its figures rise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import burnish as burnish_api
from burnish.errors import DataError, InputError
from burnish.runs.events import DataReady, Note
from tests.tiny_taggers import save_tagger, tagged_sentences, write_conll

OPTIONS: dict[str, Any] = {
    "precision": "fp32",
    "device": "cpu",
    "learning_rate": 0.005,
    "epochs": 8,
    "set": {"evaluate.every": 40},
}


@pytest.mark.parametrize(
    ("kind", "method"),
    [("bert", "lora"), ("roberta", "full"), pytest.param("llama", "lora", marks=pytest.mark.slow)],
)
def test_a_file_and_a_model_are_enough(here: Path, kind: str, method: str) -> None:
    events: list[Any] = []
    model = save_tagger(kind, here / "model")
    run = burnish_api.train(
        write_conll(here / "names.conll"), model=model, method=method, name="mine", listeners=[events.append], **OPTIONS
    )
    (ready,) = [event for event in events if isinstance(event, DataReady)]
    assert (ready.task, ready.shape) == ("tag", "tagged")
    assert (ready.training_rows, ready.validation_rows, ready.test_rows) == (80, 20, 20)
    assert run.evaluation is not None
    assert run.evaluation["headline"] == "entity F1"
    (f1,) = [figure for figure in run.evaluation["figures"] if figure["name"] == "entity F1"]
    assert f1["base"]["value"] < 0.3
    assert f1["tuned"]["value"] > 0.7
    assert run.generate("Anna Kowal lives in Rome .") == "Anna Kowal [PER]\nRome [LOC]"
    assert any("from left to right" in event.text for event in events if isinstance(event, Note)) == (kind == "llama")
    with pytest.raises(InputError, match="the task `tag` does not generate text"):
        run.chat([{"role": "user", "content": "Hello"}])


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tagger("bert", tmp_path_factory.mktemp("models") / "bert")


def test_a_run_is_evaluated_on_a_file_of_another_spelling(here: Path, tagger: Path) -> None:
    write_conll(here / "train.conll")
    options = {**OPTIONS, "method": "full", "max_steps": 4}
    run = burnish_api.train(here / "train.conll", model=tagger, name="mine", **options)
    recipe = (run.path / "recipe.yaml").read_text(encoding="utf-8")
    assert all(line in recipe for line in ("scheme: IOB2", "pieces: first", "- I-LOC")), recipe
    other = [(words[:-1], tags[:-1]) for words, tags in tagged_sentences(20, seed=1)]
    lines = ["".join(f"{word}\t{tag}\n" for word, tag in zip(*pair, strict=True)) for pair in other]
    Path("other.annotated").write_text("\n".join(lines), encoding="utf-8")
    names = ["O", "B-LOC", "B-PER", "I-LOC", "I-PER"]
    rows = [{"tokens": words, "ner_tags": [names.index(tag) for tag in tags]} for words, tags in other]
    Path("other.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    first, second = run.evaluate("other.annotated"), run.evaluate("other.jsonl")
    assert first.rows == 20
    assert first.headline == "entity F1"
    for figure, same in zip(first.figures, second.figures, strict=True):
        assert figure.tuned.value == pytest.approx(same.tuned.value, rel=1e-5)
    assert [table.title for table in first.tables] == ["per type"]
    Path("strange.conll").write_text("Anna\tB-GPE\nsings\tO\n\nBo\tB-GPE\nsings\tO\n", encoding="utf-8")
    with pytest.raises(DataError, match="the rows have none of the labels"):
        run.evaluate("strange.conll")


def test_long_sentences_are_evaluated_whole(here: Path, tagger: Path) -> None:
    words, tags = zip(*[pair for sentence in tagged_sentences(60) for pair in zip(*sentence, strict=True)], strict=True)
    rows = [{"tokens": words[begin : begin + 90], "tags": tags[begin : begin + 90]} for begin in range(0, 360, 90)]
    Path("long.json").write_text(json.dumps(rows), encoding="utf-8")
    run = burnish_api.train(here / "long.json", model=tagger, name="mine", max_steps=2, context=32, precision="fp32")
    assert run.evaluation is not None
    assert run.evaluation["rows"] == 1
    assert run.evaluation["trained_tokens"] == 90
    (table,) = run.evaluation["tables"]
    gold = sum(tag.startswith("B-") for row in rows for tag in row["tags"])
    assert 0 < sum(row[-1] for row in table["rows"]) < gold


def test_plain_tags_are_evaluated_by_word(here: Path, tagger: Path) -> None:
    rows = [
        {"words": words, "pos_tags": ["NAME" if tag != "O" else "WORD" for tag in tags]}
        for words, tags in tagged_sentences(60)
    ]
    Path("plain.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    run = burnish_api.train(here / "plain.jsonl", model=tagger, name="mine", method="full", **OPTIONS)
    assert run.evaluation is not None
    assert run.evaluation["headline"] == "token accuracy"
    assert run.evaluation["verdict"].startswith("The tuned model is better than the base")
    assert run.generate("Anna Kowal sings") == "Anna/NAME Kowal/NAME sings/WORD"
