"""`burnish serve`, asked by the official client: what it answers is what the run answers, alone and among others."""

from __future__ import annotations

import json
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import torch

import burnish as burnish_api
from burnish.decoding.row import Asked
from burnish.decoding.text_stream import Decoder
from burnish.errors import InputError
from burnish.inference.engine import Engine, Limits, Ticket
from burnish.inference.served import Bases, Served, open_models, open_run
from burnish.inference.session import open_session
from burnish.runs.folder import RunFolder
from burnish.serve.app import Access
from burnish.serve.writing import Stops
from tests.e2e.conftest import Burnish
from tests.e2e.serving import Server
from tests.e2e.serving import start as serving
from tests.forked import Forked
from tests.tiny_models import make_tokenizer

QUESTIONS = [f"What is {number} red foxes?" for number in range(6)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, base: Path, rows_file: Path) -> Path:
    """Two runs on the same base that answer differently."""
    folder = tmp_path_factory.mktemp("served") / "runs"
    options: dict[str, Any] = {"model": base, "runs": folder, "precision": "fp32", "device": "cpu", "method": "lora"}
    for name, rate, seed in (("one", 0.02, 1), ("two", 0.05, 2)):
        sets = {"batch.tokens": 256, "evaluate.answers": 0, "evaluate.general": "none", "data.split_seed": 1}
        burnish_api.train(rows_file, name=name, learning_rate=rate, seed=seed, max_steps=6, set=sets, **options)
    return folder


@pytest.fixture(scope="module")
def served(runs: Path, base: Path) -> dict[str, Served]:
    return open_models(["one", "two", f"plain={base}"], str(runs), None, False, print)


@pytest.fixture(scope="module")
def server(served: dict[str, Served]) -> Iterator[Server]:
    yield from serving(served)


@pytest.fixture(scope="module")
def expected(runs: Path) -> dict[str, list[str]]:
    """What `burnish generate` answers, each model alone."""
    sessions = {
        "one": open_session("one", runs=str(runs)),
        "two": open_session("two", runs=str(runs)),
        "plain": open_session("one", base=True, runs=str(runs)),
    }
    return {name: [session.generate(text, 12) for text in QUESTIONS] for name, session in sessions.items()}


def test_answers_are_those_of_the_run_among_others(server: Server, expected: dict[str, list[str]]) -> None:
    networks = {id(one.session.network) for one in server.served.values()}
    assert len(networks) == 1, "one set of weights"
    assert [model.id for model in server.client.models.list()] == ["one", "two", "plain"]
    assert server.client.models.retrieve("two").id == "two"
    asked = [(name, text, answer) for name in expected for text, answer in zip(QUESTIONS, expected[name], strict=True)]
    asked.sort(key=lambda one: one[1])
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda one: server.chat(one[0], one[1]), asked))
    given = [one.choices[0].message.content.strip() for one in answers]
    assert given == [answer for _, _, answer in asked]
    assert len(set(given)) > 3
    usage = answers[0].usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_a_run_comes_and_goes_while_others_are_served(runs: Path, expected: dict[str, list[str]]) -> None:
    bases = Bases()
    served: dict[str, Any] = open_models(["one"], str(runs), None, False, print, bases)
    for guarded in serving(served):
        engine, ended = guarded.engine, threading.Event()

        def do(job: Callable[[], Any], engine: Engine = engine, ended: threading.Event = ended) -> Any:
            ended.clear()
            found: list[Any] = []
            engine.do(job, lambda result, error: (found.append(error or result), ended.set()))
            assert ended.wait(60)
            return found[0]

        later = do(lambda: open_run("later", RunFolder(runs / "two"), bases, print))
        assert later.session.network is served["one"].session.network, "one set of weights"
        do(lambda engine=engine, later=later: engine.add("later", later.batch))
        served["later"] = later
        for name, said in (("later", "two"), ("one", "one")):
            answers = [guarded.chat(name, text).choices[0].message.content.strip() for text in QUESTIONS[:3]]
            assert answers == expected[said][:3]
        held = len(later.session.network.peft_config)
        del served["later"]
        do(lambda engine=engine, later=later: (engine.drop("later"), later.release()))
        assert len(later.session.network.peft_config) == held - 1, "its adapter is gone"
        assert guarded.chat("one", QUESTIONS[0]).choices[0].message.content.strip() == expected["one"][0]
        with pytest.raises(openai.NotFoundError):
            guarded.chat("later", "Hi")
        with pytest.raises(InputError, match="no longer served"):
            engine.submit(Ticket("later", Asked([5], (), 1), print, print))


def test_streams_write_what_whole_answers_hold(server: Server) -> None:
    whole = server.chat("one", QUESTIONS[0], n=2, seed=3, temperature=1.0, logprobs=True, top_logprobs=2)
    stream = server.chat(
        "one",
        QUESTIONS[0],
        n=2,
        seed=3,
        temperature=1.0,
        logprobs=True,
        top_logprobs=2,
        stream=True,
        stream_options={"include_usage": True},
    )
    texts, tokens, reasons, usage = ["", ""], [[], []], [None, None], None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            tokens[choice.index] += choice.logprobs.content if choice.logprobs else []
            reasons[choice.index] = choice.finish_reason or reasons[choice.index]
    assert texts == [choice.message.content for choice in whole.choices]
    assert texts[0] != texts[1], "each answer has a seed of its own"
    assert reasons == [choice.finish_reason for choice in whole.choices]
    assert usage == whole.usage
    for number, choice in enumerate(whole.choices):
        assert [one.token for one in tokens[number]] == [one.token for one in choice.logprobs.content]
        assert all(len(one.top_logprobs) == 2 and one.logprob < 0 for one in tokens[number])


def test_stop_texts_end_an_answer(server: Server, expected: dict[str, list[str]]) -> None:
    answer = max(expected["plain"], key=len)
    question = QUESTIONS[expected["plain"].index(answer)]
    stop = answer[len(answer) // 2 :][:3]
    cut = server.chat("plain", question, stop=[stop, "never"])
    assert cut.choices[0].message.content.strip() == answer[: answer.index(stop)].strip()
    assert cut.choices[0].finish_reason == "stop"
    parts = [chunk.choices[0].delta.content or "" for chunk in server.chat("plain", question, stop=stop, stream=True)]
    assert "".join(parts) == cut.choices[0].message.content


def test_completions_with_the_log_probabilities_of_the_prompt(server: Server, served: dict[str, Served]) -> None:
    session = served["plain"].session
    ids = session.tokenizer("The red fox is in the garden.")["input_ids"]
    for prompt in ("The red fox is in the garden.", ids):
        found = server.client.completions.create(
            model="plain", prompt=prompt, echo=True, logprobs=2, max_tokens=0
        ).choices[0]
        with torch.no_grad(), served["plain"].session.network.disable_adapter():
            logits = session.network(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        assert found.logprobs is not None
        values = found.logprobs.token_logprobs
        assert values is not None
        assert values[0] is None
        assert values[1:] == pytest.approx([float(logits[at, token]) for at, token in enumerate(ids[1:])], abs=1e-4)
        assert found.text == session.tokenizer.decode(ids)
    several = server.client.completions.create(model="plain", prompt=["The red", "A small"], max_tokens=4)
    assert [choice.index for choice in several.choices] == [0, 1]
    streamed = server.client.completions.create(model="plain", prompt="The red", max_tokens=4, stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == several.choices[0].text


def test_what_is_not_supported_is_refused_by_name(server: Server) -> None:
    cases: list[tuple[dict[str, Any], str, type[openai.APIStatusError]]] = [
        ({"tools": []}, "at least 1 item", openai.BadRequestError),
        ({"response_format": {"type": "xml"}}, "response_format.type", openai.BadRequestError),
        ({"temperature": 3}, "temperature", openai.BadRequestError),
        ({"extra_body": {"best_of": 2}}, "`best_of` is not supported", openai.BadRequestError),
        ({"top_logprobs": 2}, "only with logprobs", openai.BadRequestError),
        ({"stop": ["a"] * 5}, "stop", openai.BadRequestError),
        ({"logit_bias": {"99999": 1}}, "no token id", openai.BadRequestError),
        ({"max_tokens": 5000}, "room for", openai.BadRequestError),
        ({"model": "other"}, "no model `other`", openai.NotFoundError),
    ]
    for options, words, kind in cases:
        model = options.pop("model", "one")
        with pytest.raises(kind) as caught:
            server.chat(model, "Hello", **options)
        assert words in caught.value.message
    long = "fox " * 300
    with pytest.raises(openai.BadRequestError) as caught:
        server.chat("one", long)
    assert caught.value.code == "context_length_exceeded"
    plain = httpx.Client(base_url=server.address)
    for path, body, status in (
        ("/v1/chat/completions", b"{", 400),
        ("/v1/chat/completions", b"[]", 400),
        ("/v1/chat/completions", b'{"model": "one", "messages": []}', 400),
        ("/v1/completions", b'{"model": "one", "prompt": [[99999]]}', 400),
        ("/v1/completions", b'{"model": "one", "prompt": ""}', 400),
        ("/v1/images", b"{}", 404),
        ("/v1/models", b"{}", 405),
    ):
        answer = plain.post(path, content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, "message" in answer.json()["error"]) == (status, True), (path, body)
    assert plain.get("/health").json() == {"status": "ok"}
    assert plain.get("/ready").status_code == 200
    assert "burnish_requests_total" in plain.get("/metrics").text


def spoilt(number: int) -> bytes:
    """A request with something wrong in it, at random but always the same."""
    drawn = random.Random(number)
    odd: list[Any] = [None, -1, 1e308, "", "a" * 5000, [], {}, [[]], True, "\ud800", "\x00", {"a": {"b": []}}, 2**70]
    body: dict[str, Any] = {
        "model": "one",
        "messages": [{"role": "user", "content": "Hi"}],
        "prompt": "Hi",
        "max_tokens": 2,
        "temperature": 1.0,
        "stop": ["x"],
        "n": 1,
        "seed": 1,
        "logit_bias": {"5": 1.0},
        "stream": False,
    }
    for _ in range(drawn.randrange(1, 4)):
        body[drawn.choice([*body, "tools", "top_p", "logprobs", "echo", "stream_options"])] = drawn.choice(odd)
    text = json.dumps(body).encode()
    if drawn.random() < 0.3:
        cut = drawn.randrange(len(text))
        text = text[:cut] + bytes(drawn.randrange(256) for _ in range(drawn.randrange(4))) + text[cut + 1 :]
    return text


@pytest.mark.parametrize("number", [25, pytest.param(1000, marks=pytest.mark.slow)])
def test_malformed_requests_are_answered_in_words(number: int, server: Server) -> None:
    plain, codes = httpx.Client(base_url=server.address, timeout=60), set()
    for seed in range(number):
        for path in ("/v1/chat/completions", "/v1/completions"):
            answer = plain.post(path, content=spoilt(seed), headers={"content-type": "application/json"})
            codes.add(answer.status_code)
            assert answer.status_code == 200 or answer.json()["error"]["message"], (seed, path)
    assert codes <= {200, 400, 404}, codes
    assert server.chat("one", QUESTIONS[0]).choices
    server.wait_idle()


def test_the_log_has_the_reason_of_a_failure(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("the disk is on fire")

    batch = server.served["one"].batch
    monkeypatch.setattr(batch, "step", fail)
    with pytest.raises(openai.InternalServerError, match="its log has the reason"):
        server.chat("one", QUESTIONS[0])
    assert "RuntimeError: the disk is on fire" in capsys.readouterr().err
    monkeypatch.undo()
    server.wait_idle()
    assert server.chat("one", QUESTIONS[0]).choices[0].message.content


def test_a_client_that_goes_away_frees_its_place(server: Server) -> None:
    for _ in range(8):
        with httpx.stream(
            "POST",
            f"{server.address}/v1/chat/completions",
            json={"model": "two", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 40, "stream": True},
        ) as answer:
            next(answer.iter_lines())
    server.wait_idle()
    assert sum(one.batch.num_tokens for one in server.served.values()) == 0


def test_the_gate(served: dict[str, Served]) -> None:
    access = Access(key="k" * 20, hosts=("127.0.0.1",), body_bytes=1000, body_seconds=0.3)
    for guarded in serving(served, access):
        plain, right = httpx.Client(base_url=guarded.address), {"authorization": f"Bearer {'k' * 20}"}
        assert plain.get("/v1/models").status_code == 401
        assert plain.get("/v1/models", headers={"authorization": "Bearer wrong"}).status_code == 401
        assert plain.get("/v1/models", headers=right).status_code == 200
        assert plain.get("/health").status_code == 200
        assert plain.get("/v1/models", headers={**right, "host": "elsewhere.example"}).status_code == 421
        for origin, status in (("https://elsewhere.example", 403), ("null", 403), (guarded.address, 200)):
            assert plain.get("/v1/models", headers={**right, "origin": origin}).status_code == status
        assert plain.post("/v1/completions", headers=right, content=b" " * 2000).status_code == 413
        host = guarded.address.removeprefix("http://").split(":")
        with socket.create_connection((host[0], int(host[1]))) as slow:
            slow.sendall(b"POST /v1/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 10\r\n")
            slow.sendall(f"authorization: Bearer {'k' * 20}\r\n\r\n".encode())
            assert b"408" in slow.recv(100)


def test_too_many_are_refused(served: dict[str, Served]) -> None:
    for small in serving(served, limits=Limits(rows=1, waiting=1)):

        def ask(number: int, small: Server = small) -> int:
            try:
                small.chat("one", QUESTIONS[number % len(QUESTIONS)], max_tokens=20)
            except openai.RateLimitError as error:
                assert "wait already" in error.message
                return 429
            return 200

        with ThreadPoolExecutor(12) as pool:
            assert set(pool.map(ask, range(12))) == {200, 429}
        small.wait_idle()


def test_the_command(runs: Path, burnish: Burnish, start: Callable[[str], Forked]) -> None:
    process = start(f"serve first=one --runs {runs} --port 0")
    deadline = time.monotonic() + 60
    while "\n" not in process.written(0):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    client = openai.OpenAI(base_url=process.written(0).strip(), api_key="none")
    messages: Any = [{"role": "user", "content": "Hi"}]
    assert client.chat.completions.create(model="first", messages=messages, max_tokens=2).choices
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    lines = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    assert lines[-1]["path"] == "/v1/chat/completions"
    assert lines[-1]["status"] == 200
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = burnish(f"serve one --runs {runs} --port {taken.getsockname()[1]}")
        assert (refused.code, "cannot be listened on" in refused.err) == (3, True)
    assert "loading" not in refused.err
    refused = burnish(f"serve one --runs {runs} --host 0.0.0.0")
    assert (refused.code, "needs a key" in refused.err) == (2, True)


def test_text_is_decoded_in_whole_letters() -> None:
    tokenizer = make_tokenizer()
    text = "né 😀 The  red\nfox 日本"
    ids = tokenizer(text)["input_ids"]
    decoder = Decoder(tokenizer)
    parts = [decoder.add(token) for token in ids]
    assert "".join(parts) == text
    assert "" in parts
    assert not any("\ufffd" in part for part in parts)


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 50])
def test_stops_hold_back_what_may_be_one(cut: int) -> None:
    text = "aab<en and <end> more"
    stops = Stops(["<end>", "</s>"])
    parts = [text[at : at + cut] for at in range(0, len(text), cut)]
    assert "".join(map(stops.add, parts)) + stops.rest() == "aab<en and "
    assert stops.is_found
    none = Stops(["<end>"])
    assert none.add("a <en") + none.rest() == "a <en"
