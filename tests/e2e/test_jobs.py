"""`burnish serve --jobs` by the official client alone: files, jobs, events, models; and a server that is killed."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest
import uvicorn

from burnish.cli.main import main
from burnish.inference.engine import Engine
from burnish.inference.served import Bases, batches_of, open_models, open_run
from burnish.inference.session import open_session
from burnish.jobs.children import Child, Children
from burnish.jobs.queue import Queue
from burnish.serve.answers import Models
from burnish.serve.app import Access, make_app
from burnish.serve.jobs import take_jobs
from tests.e2e.command_result import adapter_bytes
from tests.e2e.conftest import LONG, LONG_STEPS

KEY = "k" * 20
PAGE = Path(__file__).parents[2] / "docs" / "jobs.md"
EXACT: dict[str, Any] = {"model.device": "cpu", "model.precision": "fp32"}
SHORT = {**EXACT, "train.max_steps": 2, "batch.tokens": 256, "evaluate.answers": 0, "evaluate.general": "none"}
PATIENCE = 180
"""Seconds after which a test fails, on any machine."""


def recipe_of(flags: str) -> dict[str, Any]:
    """Options that are written as `--set name=value`, as a request has them."""
    pairs = [word.split("=") for word in flags.split() if word != "--set"]
    return {
        name: json.loads(value) if value[0].isdigit() or value in ("true", "false") else value for name, value in pairs
    }


def wait(found: Callable[[], Any], what: str) -> Any:
    """The first true result."""
    end = time.monotonic() + PATIENCE
    while not (result := found()):
        assert time.monotonic() < end, f"no {what}"
        time.sleep(0.2)
    return result


class FewChildren(Children):
    """Checks files in this process, which has the libraries by now; jobs have processes of their own."""

    def start(self, words: Sequence[str], out: Path, log: Path, is_aside: bool = False) -> Child:
        if words[0] != "check":
            return super().start(words, out, log, is_aside)
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            main(list(words))
        out.write_text(said.getvalue(), encoding="utf-8")
        return Child(0, 0.0)


@dataclass
class Server:
    """A server in this process."""

    address: str
    queue: Queue
    folder: Path
    client: openai.OpenAI = field(init=False)

    def __post_init__(self) -> None:
        self.client = openai.OpenAI(base_url=f"{self.address}/v1", api_key=KEY, max_retries=0)
        self._plain = httpx.Client(base_url=self.address, timeout=60)

    def raw(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A request as no client would send it."""
        headers = {"authorization": f"Bearer {KEY}", **options.pop("headers", {})}
        return self._plain.request(method, path, headers=headers, **options)


def start(folder: Path, base: Path) -> Iterator[Server]:
    """A server of a tiny base model in a thread."""
    queue, bases = Queue(folder, children=FewChildren()), Bases()
    served = open_models([f"tiny={base}"], "runs", None, False, print, bases)
    engine = Engine(batches_of(served))
    trained, routers = take_jobs(queue, engine, served, lambda name, run: open_run(name, run, bases, print))
    access = Access(KEY, upload_bytes=1 << 20, body_bytes=1 << 14, body_seconds=2.0)
    app = make_app(Models(engine, served, trained.missing), access, routers)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])), daemon=True)
    thread.start()
    yield Server(f"http://127.0.0.1:{listening.getsockname()[1]}", queue, folder)
    server.should_exit = True
    thread.join(timeout=30)
    queue.close()
    engine.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Iterator[Server]:
    yield from start(tmp_path_factory.mktemp("served") / "jobs", base)


@pytest.fixture(scope="module")
def rows(server: Server, rows_file: Path) -> str:
    """The id of an uploaded file that can be trained on."""
    file = server.client.files.create(file=rows_file, purpose="fine-tune")
    assert (file.status, file.filename, file.bytes) == ("uploaded", "rows.jsonl", rows_file.stat().st_size)
    return file.id


@pytest.fixture(scope="module")
def done(server: Server, rows: str) -> Any:
    """A job that has succeeded, with pauses of nothing."""
    jobs = server.client.fine_tuning.jobs
    job = jobs.create(
        model="tiny",
        training_file=rows,
        suffix="foxes",
        seed=3,
        metadata={"who": "test"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": "auto", "batch_size": "auto"}}},
        extra_body={"recipe": SHORT},
    )
    assert job.status in ("validating_files", "queued", "running")
    assert (job.fine_tuned_model, job.finished_at, job.result_files) == (None, None, [])
    return wait(lambda: (one := jobs.retrieve(job.id)).status in ("succeeded", "failed") and one, "end of the job")


def test_a_job_from_its_file_to_an_answer(server: Server, done: Any, rows: str) -> None:
    client, jobs = server.client, server.client.fine_tuning.jobs
    assert done.status == "succeeded", done.error
    assert (done.model, done.training_file, done.seed, done.error) == ("tiny", rows, 3, None)
    assert (done.metadata, done.organization_id, done.object) == ({"who": "test"}, "burnish", "fine_tuning.job")
    assert done.method.type == "supervised"
    assert done.hyperparameters.n_epochs >= 1
    assert done.trained_tokens > 0
    assert done.finished_at >= done.created_at
    assert done.fine_tuned_model == f"ft:tiny:burnish:foxes:{done.id[-8:]}"

    events = list(jobs.list_events(done.id, limit=3))  # in pages of three
    assert len({event.id for event in events}) == len(events) > 6
    assert [event.created_at for event in events] == sorted((event.created_at for event in events), reverse=True)
    steps = [event.data["step"] for event in events if event.type == "metrics" and "train_loss" in event.data]
    assert steps == [2, 1]
    assert events[0].message == "The job has succeeded."
    assert events[-1].message == "The job was created."
    assert str(server.folder / "files") not in "".join(event.message + json.dumps(event.data) for event in events)

    saved = list(jobs.checkpoints.list(done.id, limit=1))
    assert [one.step_number for one in saved] == [2, 1]
    best = next(one for one in saved if one.fine_tuned_model_checkpoint == done.fine_tuned_model)
    assert best.metrics.full_valid_loss is not None
    other = next(one for one in saved if one is not best)
    assert other.fine_tuned_model_checkpoint == f"{done.fine_tuned_model}:ckpt-step-{other.step_number}"

    (table,) = done.result_files
    assert client.files.retrieve(table).purpose == "fine-tune-results"
    lines = client.files.content(table).text.splitlines()
    assert lines[0].startswith("step,epoch,train_loss,learning_rate")
    assert [line.split(",")[0] for line in lines[1:]] == ["0", "1", "2"]

    messages: Any = [{"role": "user", "content": "What is 3 like, the fox?"}]
    said = client.chat.completions.create(model=done.fine_tuned_model, messages=messages, max_tokens=12)
    session = open_session(done.id, runs=str(server.folder / "runs"))
    assert said.choices[0].message.content.strip() == session.generate("What is 3 like, the fox?", 12)
    assert [model.id for model in client.models.list()] == ["tiny", done.fine_tuned_model]
    with pytest.raises(openai.BadRequestError, match="is a checkpoint, from which its job can be resumed"):
        client.chat.completions.create(model=other.fine_tuned_model_checkpoint, messages=messages)


def test_files_are_listed_and_kept_while_they_are_used(server: Server, done: Any, rows: str, rows_file: Path) -> None:
    files = server.client.files
    assert done.status == "succeeded"
    assert [file.id for file in files.list(purpose="fine-tune")] == [rows]
    both = [file.id for file in files.list(order="asc", limit=1)]
    assert both == [rows, *done.result_files]
    assert files.retrieve(rows).status == "processed"
    assert "few-rows" in (files.retrieve(rows).status_details or "")
    assert files.content(rows).read() == rows_file.read_bytes()
    assert server.raw("GET", f"/v1/files?after={rows}&order=desc").json()["data"] == []


def test_what_clients_get_wrong_is_refused_by_name(server: Server, done: Any, rows: str) -> None:
    jobs = server.client.fine_tuning.jobs
    more: list[tuple[dict[str, Any], str, str]] = [
        ({"model": "gpt-4o-mini"}, "model", "no base model of this server. It has `tiny`, `seedling`, `acorn`"),
        ({"model": done.fine_tuned_model}, "model", "no base model"),
        ({"training_file": "file-abc"}, "training_file", "There is no file"),
        ({"training_file": "../../etc/passwd"}, "training_file", "There is no file"),
        ({"validation_file": "file-abc"}, "validation_file", "There is no file"),
        ({"training_file": done.result_files[0]}, "training_file", "its purpose is `fine-tune-results`"),
        ({"suffix": "a" * 65}, "suffix", ""),
        ({"suffix": "../up"}, "suffix", ""),
        ({"seed": -1}, "seed", ""),
        ({"metadata": {"a": "b" * 513}}, "metadata", "at most 16 pairs"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]}, "integrations", ""),
        ({"method": {"type": "reinforcement"}}, "method.type", "'supervised' or 'dpo'"),
        ({"method": {"type": "dpo", "supervised": {}}}, "method", "does not belong"),
        ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs", "a whole number above 0"),
        ({"hyperparameters": {"n_epochs": 2.5}}, "hyperparameters.n_epochs", "a whole number above 0"),
        ({"hyperparameters": {"batch_size": 8}}, "hyperparameters.batch_size", "batch.tokens"),
        ({"hyperparameters": {"learning_rate_multiplier": 2}}, "hyperparameters.learning_rate_multiplier", "rate"),
        ({"hyperparameters": {"beta": 0.1}}, "hyperparameters.beta", "not supported"),
        ({"hyperparameters": {}, "method": {"type": "dpo"}}, "hyperparameters", "belong into `method`"),
        ({"extra_body": {"n_epochs": 3}}, "n_epochs", "not supported"),
        ({"extra_body": {"recipe": {"lerning_rate": 1}}}, "recipe.lerning_rate", "not an option"),
        ({"extra_body": {"recipe": {"train": {"epochs": -1}}}}, "recipe", "train.epochs"),
        ({"extra_body": {"recipe": {"task": "chatt"}}}, "recipe", "chat"),
        ({"extra_body": {"recipe": {"runs": "/tmp"}}}, "recipe.runs", "cannot be set"),
        ({"extra_body": {"recipe": {"data": {"test": "/etc/passwd"}}}}, "recipe.data.test", "cannot be set"),
        ({"extra_body": {"recipe": {"evaluate.metric": "os:system"}}}, "recipe.evaluate.metric", "runs code"),
        ({"extra_body": {"recipe": {"model.trust_remote_code": True}}}, "recipe.model.trust_remote_code", "runs code"),
        ({"method": {"type": "dpo"}, "extra_body": {"recipe": {"task": "chat"}}}, "recipe.task", "follows from"),
    ]
    for options, param, words in more:
        with pytest.raises(openai.BadRequestError) as caught:
            jobs.create(**{"model": "tiny", "training_file": rows, **options})
        assert (caught.value.param, words in caught.value.message) == (param, True), (options, caught.value.message)
    before = len(list(jobs.list()))
    assert before == 1, "nothing was begun"
    for call in (jobs.cancel, jobs.pause, jobs.resume):
        with pytest.raises(openai.BadRequestError, match=r"cannot be .*: it is succeeded"):
            call(done.id)
        with pytest.raises(openai.NotFoundError) as gone:
            call("ftjob-" + "0" * 24)
        assert gone.value.param == "fine_tuning_job_id"
    with pytest.raises(openai.NotFoundError):
        jobs.retrieve("..%2f..%2f" + done.id)
    with pytest.raises(openai.NotFoundError, match="that a job has made"):
        server.client.models.delete("tiny")


def test_lists_have_pages_and_refuse_what_they_do_not_know(server: Server, done: Any) -> None:
    jobs = server.client.fine_tuning.jobs
    assert [job.id for job in jobs.list(limit=1)] == [done.id]
    assert [job.id for job in jobs.list(metadata={"who": "test"})] == [done.id]
    assert list(jobs.list(metadata={"who": "other"})) == []
    assert server.raw("GET", "/v1/fine_tuning/jobs?metadata=null").json()["data"] == []
    first = server.raw("GET", f"/v1/fine_tuning/jobs/{done.id}/events?limit=1").json()
    assert (first["object"], first["has_more"], len(first["data"])) == ("list", True, 1)
    for path, param in (
        ("/v1/fine_tuning/jobs?limit=0", "limit"),
        ("/v1/fine_tuning/jobs?limit=x", "limit"),
        ("/v1/fine_tuning/jobs?limit=1&limit=2", "limit"),
        ("/v1/fine_tuning/jobs?order=asc", "order"),
        ("/v1/fine_tuning/jobs?after=ftjob-1", "after"),
        (f"/v1/fine_tuning/jobs/{done.id}/events?after=x", "after"),
        (f"/v1/fine_tuning/jobs/{done.id}/checkpoints?limit=1000", "limit"),
        ("/v1/files?purpose=vision", "purpose"),
        ("/v1/files?order=up", "order"),
        ("/v1/files?before=x", "before"),
    ):
        error = server.raw("GET", path).json()["error"]
        assert (error["param"], bool(error["message"]), error["type"][-6:]) == (param, True, "_error"), path


def test_uploads_are_bounded_and_named_safely(server: Server, rows: str) -> None:
    def send(files: Any, data: Any = None) -> tuple[int, Any, str]:
        answer = server.raw("POST", "/v1/files", files=files, data={"purpose": "fine-tune"} if data is None else data)
        error = answer.json().get("error", {})
        return answer.status_code, error.get("param"), error.get("message", "")

    row = b'{"prompt": "a", "completion": "b"}\n'
    assert send({"file": ("a.jsonl", row)}, {"purpose": "assistants"})[:2] == (400, "purpose")
    assert send({"file": ("a.jsonl", row)}, {})[:2] == (400, "purpose")
    assert send({"file": ("a.jsonl", row)}, {"purpose": "fine-tune", "expires_after[anchor]": "x"})[:2] == (
        400,
        "expires_after",
    )
    assert send({"other": ("a.jsonl", row)})[:2] == (400, "other")
    assert send({"file": ("a.jsonl", b"")})[:2] == (400, "file")
    for name in ("a.zip", "a.jsonl.gz", "a.parquet", "a.pkl"):
        status, param, message = send({"file": (name, row)})
        assert (status, param, "are not taken" in message) == (400, "file", True), name
    assert send({"file": ("a.jsonl", b"x" * (1 << 20))})[0] == 413
    assert server.raw("POST", "/v1/files", json={"purpose": "fine-tune"}).status_code == 400
    broken = server.raw(
        "POST", "/v1/files", content=b"--x\r\nbroken", headers={"content-type": "multipart/form-data; boundary=x"}
    )
    assert (broken.status_code, "error" in broken.json()) == (400, True)
    assert server.raw("POST", "/v1/fine_tuning/jobs", content=b" " * (1 << 15)).status_code == 413
    plain = httpx.Client(base_url=server.address)
    for method, path in (("GET", "/v1/files"), ("POST", "/v1/files"), ("POST", "/v1/fine_tuning/jobs")):
        assert plain.request(method, path).status_code == 401
    for path in ("..%2f..%2f.lock", "file-..", rows + "%00", "file-" + "0" * 24):
        assert server.raw("GET", f"/v1/files/{path}").status_code == 404
        assert server.raw("DELETE", f"/v1/files/{path}").status_code == 404
    host, port = server.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as slow:
        head = f"POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: 500000\r\n"
        slow.sendall(f"{head}content-type: multipart/form-data; boundary=x\r\n\r\n--x\r\n".encode())
        assert b"408" in slow.recv(100)
    assert len(server.queue.files.all()) == 2
    assert sorted(path.name for path in (server.folder / "files").iterdir()) == sorted(
        file.id for file in server.queue.files.all()
    )


def spoilt(number: int, rows: str) -> bytes:
    """A request for a job with something wrong in it, at random but always the same."""
    drawn = random.Random(number)
    odd: list[Any] = [None, -1, 1e308, "", "a" * 3000, [], {}, [[]], True, "\ud800", "\x00", {"a": {"b": []}}, 2**70]
    body: dict[str, Any] = {"model": "tiny", "training_file": rows, "suffix": "a", "seed": 1, "metadata": {"a": "b"}}
    body["method"] = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1}}}
    body["recipe"] = {"task": "chat", "train": {"max_steps": 1}, "data.columns": {"prompt": "prompt"}}
    inner = drawn.choice([body, body["method"], body["recipe"], body["recipe"]["train"], body["metadata"]])
    inner[drawn.choice([*inner, "colour"])] = drawn.choice([value for value in odd if value is not None])
    body["training_file"] = drawn.choice([body["training_file"], *odd])
    text = json.dumps({**body, "model": "tiny", "integrations": [{}]}).encode()  # nothing is ever begun
    cut = drawn.randrange(len(text))
    return text if drawn.random() < 0.7 else text[:cut] + bytes([drawn.randrange(256)]) + text[cut + 1 :]


@pytest.mark.parametrize("number", [40, pytest.param(500, marks=pytest.mark.slow)])
def test_malformed_requests_are_answered_in_words(number: int, server: Server, rows: str) -> None:
    before = len(server.queue.all())
    for seed in range(number):
        body = spoilt(seed, rows)
        answer = server.raw("POST", "/v1/fine_tuning/jobs", content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, bool(answer.json()["error"]["message"])) == (400, True), (seed, body)
    assert len(server.queue.all()) == before


def test_the_model_is_deleted_last(server: Server, done: Any, rows: str) -> None:
    client = server.client
    assert client.models.delete(done.fine_tuned_model).deleted
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert not (server.folder / "runs" / done.id).exists()
    with pytest.raises(openai.NotFoundError):
        client.models.delete(done.fine_tuned_model)
    again = client.fine_tuning.jobs.retrieve(done.id)
    assert (again.status, again.fine_tuned_model, again.result_files) == (
        "succeeded",
        done.fine_tuned_model,
        done.result_files,
    )
    assert client.files.delete(rows).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.content(rows)


@pytest.mark.slow
def test_the_example_of_the_page(
    tmp_path: Path, base: Path, rows_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (tmp_path / "rows.jsonl").write_bytes(rows_file.read_bytes())
    monkeypatch.chdir(tmp_path)
    for fresh in start(tmp_path / "jobs", base):
        names = {"http://127.0.0.1:8000": fresh.address, '"none"': repr(KEY), '"seedling"': '"tiny"'}
        for name, other in names.items():
            assert name in example
            example = example.replace(name, other)
        exec(compile(example, PAGE.name, "exec"), {})
    said = capsys.readouterr().out
    assert "step,epoch,train_loss" in said
    assert "Step 1/" in said


class Process:
    """A server in a process of its own, that can be killed and started again."""

    def __init__(self, folder: Path, base: Path) -> None:
        self._words = [sys.executable, "-m", "burnish", "serve", f"tiny={base}", "--jobs", str(folder), "--port", "0"]
        self._log = folder.with_name("log.txt")
        self._environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        self.client = self.start()

    def start(self) -> openai.OpenAI:
        """Starts it; its client, which asks again while a model is being loaded."""
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                self._words, stdout=subprocess.PIPE, stderr=log, text=True, env=self._environment
            )
        assert self.process.stdout is not None
        address = self.process.stdout.readline().strip()
        assert address, self._log.read_text()
        self.client = openai.OpenAI(base_url=address, api_key="none", max_retries=10)
        return self.client

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Ends it."""
        self.process.send_signal(number)
        self.process.communicate(timeout=PATIENCE)

    def state(self, job: str) -> str:
        """Of a job."""
        return self.client.fine_tuning.jobs.retrieve(job).status

    def step(self, job: str) -> int:
        """The last step of a job that its newest events report."""
        data: list[Any] = [event.data for event in self.client.fine_tuning.jobs.list_events(job, limit=20).data]
        return max((one["step"] for one in data if "train_loss" in one), default=0)

    def wait_for_step(self, job: str, step: int) -> None:
        """Until a job has done so many steps."""
        wait(lambda: self.step(job) >= step, f"step {step}")

    def wait_for_state(self, job: str, state: str) -> Any:
        """Until a job is in a state, and then the job."""
        ends = (state, "failed", "succeeded", "cancelled")
        found = wait(lambda: (one := self.client.fine_tuning.jobs.retrieve(job)).status in ends and one, state)
        assert found.status == state, found
        return found


@pytest.fixture
def process(tmp_path: Path, base: Path) -> Iterator[Process]:
    process = Process(tmp_path / "jobs", base)
    yield process
    if process.process.poll() is None:
        process.kill()
    for record in (tmp_path / "jobs" / "jobs").glob("*/job.json"):
        child = json.loads(record.read_text())["child"]
        if child and psutil.pid_exists(child["process"]):
            os.kill(child["process"], signal.SIGKILL)


def child_of(folder: Path, job: str) -> psutil.Process:
    """The process of a job."""
    return psutil.Process(json.loads((folder / "jobs" / job / "job.json").read_text())["child"]["process"])


@pytest.mark.slow
def test_pauses_and_kills_change_no_byte(process: Process, tmp_path: Path, rows_file: Path, straight: bytes) -> None:
    """Paused, the server killed, resumed, the server killed again while it trains, then the job as well: the adapter is
    that of a run which nothing interrupted."""
    client = process.client
    file = client.files.create(file=rows_file, purpose="fine-tune")
    assert client.files.wait_for_processing(file.id, poll_interval=0.2).status == "processed"
    job = client.fine_tuning.jobs.create(
        model="tiny", training_file=file.id, suffix="kill", extra_body={"recipe": recipe_of(LONG)}
    )
    process.wait_for_step(job.id, 6)
    running = client.fine_tuning.jobs.retrieve(job.id)
    assert (running.status, running.estimated_finish is None) == ("running", False)
    with pytest.raises(openai.BadRequestError, match="still reads this file"):
        client.files.delete(file.id)
    client.fine_tuning.jobs.pause(job.id)
    process.wait_for_state(job.id, "paused")
    paused_at = process.step(job.id)
    assert 6 <= paused_at < LONG_STEPS

    process.kill()
    client = process.start()
    assert process.state(job.id) == "paused"
    assert client.fine_tuning.jobs.resume(job.id).status in ("queued", "running")
    process.wait_for_step(job.id, paused_at + 3)
    child = psutil.Process(
        json.loads((tmp_path / "jobs" / "jobs" / job.id / "job.json").read_text())["child"]["process"]
    )
    process.kill()
    metrics = tmp_path / "jobs" / "runs" / job.id / "metrics.jsonl"
    size = metrics.stat().st_size
    wait(lambda: metrics.stat().st_size > size, "training without the server")
    child.suspend()  # so that it is not done before the next server is there
    client = process.start()
    assert process.state(job.id) == "running", "found again"
    child.kill()
    process.wait_for_state(job.id, "paused")
    assert any("Resume it" in event.message for event in client.fine_tuning.jobs.list_events(job.id, limit=5).data)

    client.fine_tuning.jobs.resume(job.id)
    done = process.wait_for_state(job.id, "succeeded")
    assert adapter_bytes(tmp_path / "jobs" / "runs" / job.id) == straight
    data: list[Any] = [event.data for event in client.fine_tuning.jobs.list_events(job.id, limit=100)]
    assert [one["step"] for one in data if "train_loss" in one] == list(range(LONG_STEPS, 0, -1)), "once each"

    messages: Any = [{"role": "user", "content": "What is 3 like, the fox?"}]
    said = client.chat.completions.create(model=done.fine_tuned_model, messages=messages, max_tokens=12)
    process.kill()
    client = process.start()
    again = client.chat.completions.create(model=done.fine_tuned_model, messages=messages, max_tokens=12)
    assert again.choices[0].message.content == said.choices[0].message.content
    assert client.models.delete(done.fine_tuned_model).deleted
    assert client.files.delete(file.id).deleted
    process.kill(signal.SIGINT)
    assert process.process.returncode == 0
