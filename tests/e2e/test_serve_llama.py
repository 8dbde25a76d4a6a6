"""`burnish serve --engine llama.cpp`: the exported file answers through the server as the run does."""

from __future__ import annotations

import importlib.util
import json
import shlex
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from burnish.cli.main import main
from burnish.errors import InputError
from burnish.inference.engine import Limits
from burnish.inference.llama_served import open_exported
from burnish.inference.served import open_models
from tests.e2e.conftest import Burnish
from tests.e2e.serving import Server, start
from tests.e2e.test_export import LEARN

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="xllamacpp is not installed"),
]
LIMITS = Limits(rows=4, tokens=512)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    """The runs folder of a run with two GGUF files."""
    folder = tmp_path_factory.mktemp("exported")
    rows = [{"prompt": f"Who is {number}?", "completion": f"A red fox of {number} boats."} for number in range(60)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    words = f"train {folder / 'rows.jsonl'} --model {base} --method lora --name mine --runs {folder / 'runs'} {LEARN}"
    assert main(shlex.split(f"{words} --quiet")) == 0
    assert main(shlex.split(f"export {folder / 'runs/mine'} --to gguf --type f32 --type q8_0 --quiet")) == 0
    return folder / "runs"


@pytest.fixture(scope="module")
def servers(exported: Path) -> Iterator[tuple[Server, Server]]:
    """One with llama.cpp, one without."""
    served = open_exported(["mine"], str(exported), None, False, "f32", LIMITS, print)
    with_llama, own = start(served, limits=LIMITS), start(open_models(["mine"], str(exported), None, False, print))
    yield next(with_llama), next(own)
    for one in (with_llama, own):
        next(one, None)
    served["mine"].release()


def text(server: Server, question: str, **options: Any) -> str:
    return server.chat("mine", question, **options).choices[0].message.content


def test_greedy_answers_are_those_of_the_run_alone_and_together(servers: tuple[Server, Server]) -> None:
    llama, own = servers
    questions = [f"Who is {number}?" for number in range(9)]
    expected = [text(own, one) for one in questions]
    assert len(set(expected)) > 1
    assert [text(llama, one) for one in questions] == expected
    with ThreadPoolExecutor(9) as pool:
        assert list(pool.map(lambda one: text(llama, one), questions)) == expected
    llama.wait_idle()


def test_its_end_and_its_log_probabilities_are_the_runs(servers: tuple[Server, Server]) -> None:
    found = [one.chat("mine", "Who is 3?", logprobs=True, top_logprobs=2, max_tokens=36).choices[0] for one in servers]
    assert [one.finish_reason for one in found] == ["stop", "stop"]
    for mine, other in zip(*(one.logprobs.content for one in found), strict=True):
        assert mine.token == other.token
        assert mine.logprob == pytest.approx(other.logprob, abs=1e-3)
        assert len(mine.top_logprobs) == len(other.top_logprobs) == 2
    cut = servers[0].chat("mine", "Who is 3?", max_tokens=2)
    assert (cut.choices[0].finish_reason, cut.usage.completion_tokens) == ("length", 2)


def test_what_was_asked_for_is_drawn(servers: tuple[Server, Server]) -> None:
    llama = servers[0]
    drawn = [text(llama, "Who is 3?", temperature=2.0, seed=seed, max_tokens=20) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert text(llama, "Who is 3?", temperature=2.0, extra_body={"top_k": 1}) == text(llama, "Who is 3?")
    banned = llama.chat("mine", "Who is 3?", logprobs=True).choices[0].logprobs.content[0].token
    (token,) = llama.served["mine"].session.tokenizer.encode(banned, add_special_tokens=False)
    assert not text(llama, "Who is 3?", logit_bias={str(token): -100}).startswith(banned)
    assert text(llama, "Who is 3?", stop=["fox"]).rstrip() == "A red"


def test_streams_end_when_nobody_reads_them(servers: tuple[Server, Server]) -> None:
    llama = servers[0]
    stream = llama.chat("mine", "Who is 3?", stream=True, max_tokens=36)
    next(iter(stream))
    stream.close()
    llama.wait_idle()
    assert text(llama, "Who is 4?")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"presence_penalty": 1.0}, "penalties to the prompt"),
        ({"response_format": {"type": "json_object"}}, "does not support JSON schemas"),
    ],
)
def test_what_it_does_not_do_is_refused(options: Any, why: str, servers: tuple[Server, Server]) -> None:
    with pytest.raises(openai.BadRequestError, match=why):
        servers[0].chat("mine", "Who is 3?", **options)
    with pytest.raises(openai.BadRequestError, match="no log-probabilities of a prompt"):
        servers[0].client.completions.create(model="mine", prompt="A red", echo=True, logprobs=1, max_tokens=0)


def test_what_was_not_exported_is_refused(exported: Path, base: Path, burnish: Burnish) -> None:
    with pytest.raises(InputError, match="has no GGUF file of the type `q4_0`"):
        open_exported(["mine"], str(exported), None, False, "q4_0", LIMITS, print)
    with pytest.raises(InputError, match="there is no run"):
        open_exported([str(base)], str(exported), None, False, None, LIMITS, print)
    here = Path(shutil.copytree(exported, "runs"))
    (here / "mine/export-gguf/export.json").write_text('{"files": [{"type": "f32", "name": "../../other.gguf"}]}')
    with pytest.raises(InputError, match="is damaged") as caught:
        open_exported(["mine"], "runs", None, False, None, LIMITS, print)
    assert "in another folder" in caught.value.why
    assert burnish("serve mine --engine vllm").what == "there is no engine `vllm`"
    assert burnish("serve mine --type q8_0").what == "`--type` has no effect"
