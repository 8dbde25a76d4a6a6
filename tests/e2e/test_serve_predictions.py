"""Models that label, score, tag and answer from a text, and vectors, over HTTP: each says what the run itself says."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy
import openai
import pytest
import torch
from transformers import BertConfig, BertModel

from burnish.errors import ModelError
from burnish.inference.embedding import Embedding, read_layout
from burnish.inference.served import open_models
from burnish.inference.session import open_session
from tests.e2e.serving import Server, start
from tests.tiny_classifiers import word_pieces
from tests.tiny_models import save_model

TEXTS = ["the film was lovely", "3 the song was very awful and long", "a film"]
SENTENCES = ["Anna lives in Rome.", "", "It rains in Paris, says Anna"]


@pytest.fixture(scope="module")
def runs(predicting_runs: Path) -> Path:
    return predicting_runs


def save_embedder(folder: Path, pooling: str = "mean", normalizes: bool = True) -> Path:
    """A tiny encoder in the layout of sentence-transformers."""
    tokenizer = word_pieces()
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    save_model(folder, BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).eval(), tokenizer)
    steps = ["Transformer", "Pooling", *(["Normalize"] if normalizes else [])]
    modules = [{"path": f"{at}_{step}" if at else "", "type": f"x.models.{step}"} for at, step in enumerate(steps)]
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    (folder / "1_Pooling").mkdir()
    modes = {f"pooling_mode_{name}": name.startswith(pooling) for name in ("cls_token", "mean_tokens", "max_tokens")}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(modes), encoding="utf-8")
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 24}', encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def server(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    embedder = save_embedder(tmp_path_factory.mktemp("embedder") / "vectors")
    names = ["labels", "several", "pairs", "tags", "spans", "masks", f"vectors={embedder}"]
    yield from start(open_models(names, str(runs), None, False, print))


def post(server: Server, path: str, status: int = 200, **body: Any) -> dict[str, Any]:
    answer = httpx.post(f"{server.address}{path}", json=body, timeout=60)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_labels_are_those_of_the_run(server: Server, runs: Path) -> None:
    for name in ("labels", "several"):
        session = open_session(name, runs=str(runs))
        found = post(server, "/v1/classify", model=name, input=TEXTS)
        assert found["object"] == "list"
        for text, row in zip(TEXTS, found["data"], strict=True):
            of = dict(zip(found["classes"], row["probs"], strict=True))
            given = ", ".join(f"{label} ({of[label]:.2f})" for label in row["labels"])
            assert session.generate(text).startswith(given or "no label")
            assert row["label"] == (row["labels"][0] if row["labels"] else None)
            assert row["num_classes"] == len(of)
            assert name == "several" or sum(row["probs"]) == pytest.approx(1)
        alone = post(server, "/v1/classify", model=name, input=TEXTS[2])["data"][0]
        assert alone["probs"] == pytest.approx(found["data"][2]["probs"], abs=1e-5), "padding changes nothing"


def test_scores_and_rankings(server: Server, runs: Path) -> None:
    session = open_session("pairs", runs=str(runs))
    found = post(server, "/v1/score", model="pairs", text_1=TEXTS[0], text_2=TEXTS)["data"]
    expected = [session.generate(json.dumps({"sentence1": TEXTS[0], "sentence2": text})) for text in TEXTS]
    assert [f"{row['score']:.3f}" for row in found] == expected
    ranked = post(server, "/v1/rerank", model="pairs", query=TEXTS[0], documents=TEXTS, top_n=2)["results"]
    best = sorted(found, key=lambda row: -row["score"])[:2]
    assert [(row["index"], row["relevance_score"]) for row in ranked] == [(row["index"], row["score"]) for row in best]
    assert ranked[0]["document"]["text"] == TEXTS[ranked[0]["index"]]


def test_entities_are_where_they_say(server: Server, runs: Path) -> None:
    session = open_session("tags", runs=str(runs))
    for text, row in zip(SENTENCES, post(server, "/v1/tag", model="tags", input=SENTENCES)["data"], strict=True):
        for entity in row["entities"]:
            assert text[entity["start"] : entity["end"]] == entity["word"]
            assert 0 < entity["score"] <= 1
        if text:
            words = [f"{' '.join(entity['word'].split())} [{entity['entity_group']}]" for entity in row["entities"]]
            lines = session.generate(text).splitlines()
            assert [line.replace(" ", "") for line in words or ["no entity"]] == [
                line.replace(" ", "") for line in lines
            ]


def test_passages_answer_questions(server: Server, runs: Path) -> None:
    session = open_session("spans", runs=str(runs))
    asked = {"question": "Where is the cat ?", "context": "a b . The cat lives in Rome , c d ."}
    found = post(server, "/v1/answer", model="spans", **asked)
    assert session.generate(json.dumps(asked)) == (found["answer"] or "(no answer)")
    assert asked["context"][found["start"] : found["end"]] == found["answer"]
    assert 0 <= found["score"] <= 1


def test_vectors(server: Server) -> None:
    served = server.served["vectors"]
    found = server.client.embeddings.create(model="vectors", input=TEXTS)
    plain = server.client.embeddings.create(model="vectors", input=TEXTS, encoding_format="float")
    tokenizer, network = served._tokenizer, served._network
    for text, one, other in zip(TEXTS, found.data, plain.data, strict=True):
        with torch.no_grad():
            hidden = network(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        expected = torch.nn.functional.normalize(hidden.mean(0), dim=0).tolist()
        assert one.embedding == pytest.approx(expected, abs=1e-5)
        assert other.embedding == pytest.approx(expected, abs=1e-5)
    assert found.usage.prompt_tokens == sum(len(tokenizer(text)["input_ids"]) for text in TEXTS)
    ids = server.client.embeddings.create(model="vectors", input=[tokenizer(text)["input_ids"] for text in TEXTS])
    assert ids.data[1].embedding == found.data[1].embedding
    raw = post(server, "/v1/embeddings", model="vectors", input="a", encoding_format="base64")["data"][0]["embedding"]
    assert len(numpy.frombuffer(base64.b64decode(raw), dtype="<f4")) == 16


def test_what_a_model_cannot_be_asked_is_refused_by_name(server: Server) -> None:
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("/v1/chat/completions", {"model": "labels", "messages": [{"role": "user", "content": "a"}]}, "`/v1/classify`"),
        ("/v1/completions", {"model": "spans", "prompt": "a"}, "`/v1/answer`"),
        ("/v1/classify", {"model": "pairs", "input": "a"}, "`/v1/score`"),
        ("/v1/tag", {"model": "vectors", "input": "a"}, "`/v1/embeddings`"),
        ("/v1/embeddings", {"model": "tags", "input": "a"}, "`/v1/tag`"),
        ("/v1/score", {"model": "pairs", "input": "a"}, "reads `text_1` and `text_2`"),
        ("/v1/score", {"model": "pairs", "text_1": ["a", "b"], "text_2": ["a", "b", "c"]}, "as long as each other"),
        ("/v1/classify", {"model": "labels", "text_1": "a", "text_2": "b"}, "reads `input`"),
        ("/v1/classify", {"model": "labels", "input": "film " * 600}, "`truncate: true`"),
        ("/v1/answer", {"model": "spans", "question": " ", "context": "a"}, "empty"),
        ("/v1/embeddings", {"model": "vectors", "input": "film " * 30}, "room for 24"),
        ("/v1/embeddings", {"model": "vectors", "input": [99999]}, "token id"),
        ("/v1/embeddings", {"model": "vectors", "input": "a", "dimensions": 8}, "`dimensions` is not supported"),
    ]
    for path, body, words in cases:
        error = post(server, path, 400, **body)["error"]
        assert words in error["message"], (path, error)
    assert post(server, "/v1/classify", model="labels", input="film " * 600, truncate=True)["data"]
    with pytest.raises(openai.NotFoundError):
        server.client.embeddings.create(model="none", input="a")


@pytest.mark.parametrize("pooling", ["cls", "max"])
def test_poolings(tmp_path: Path, pooling: str) -> None:
    one = Embedding("x", str(save_embedder(tmp_path / "x", pooling, normalizes=False)))
    ids = [one.ids_of(text) for text in TEXTS]
    for text, vector in zip(ids, one.vectors(ids), strict=True):
        with torch.no_grad():
            hidden = one._network(input_ids=torch.tensor([text])).last_hidden_state[0]
        assert vector == pytest.approx((hidden[0] if pooling == "cls" else hidden.amax(0)).tolist(), abs=1e-5)


def test_steps_that_are_not_known_are_refused(tmp_path: Path) -> None:
    folder = save_embedder(tmp_path / "x")
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    (folder / "modules.json").write_text(
        json.dumps([*modules, {"path": "3_Dense", "type": "x.Dense"}]), encoding="utf-8"
    )
    with pytest.raises(ModelError, match="`Dense`"):
        read_layout(folder)
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "lasttoken"}', encoding="utf-8")
    with pytest.raises(ModelError, match="pooled"):
        read_layout(folder)


def test_masks_are_filled(server: Server, runs: Path) -> None:
    text = "the [MASK] was very [MASK]"
    found = post(server, "/v1/fill-mask", model="masks", input=[text, "no mask"])["data"]
    lines = open_session("masks", runs=str(runs)).generate(text).splitlines()
    shown = [", ".join(f"{one['token_str']} ({one['score']:.2f})" for one in mask) for mask in found[0]["masks"]]
    assert shown == lines
    assert found[1]["masks"] == []
