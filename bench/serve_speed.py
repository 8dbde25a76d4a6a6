"""Tokens per second of answers written at a time: Burnish's batch, transformers' `generate`, and llama.cpp.

    python bench/serve_speed.py MODEL [--at 1 8 24] [--tokens 64] [--rounds 3] [--precision fp32] [--gguf FILE]
                                 [--without-lookup] [--run RUN] [--questions FILE]

MODEL is a folder of a base model; with `--run`, Burnish and transformers answer with the adapter of a run that was
trained on it, which neither merges. Every program continues the same prompts by as many greedy tokens, each in a
process of its own, in turns; the prompts are other ones in every round. They are 16 to 128 random tokens; with
`--questions`, a JSON list of rows with an `instruction` and perhaps an `input`, they are such rows in the model's chat
template. llama.cpp (`xllamacpp`) takes part with a file of MODEL in the same precision. The last lines are what it
costs to hold answers to a JSON schema, in milliseconds per token beside those of a plain answer, and how many answers
are the same alone and in a batch.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import os
import queue
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from os.path import commonprefix
from pathlib import Path
from typing import Any

from typing_extensions import Self

PROGRAMS = ("burnish", "transformers", "llama.cpp")
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "pets": {"type": "array"}},
    "required": ["name", "age", "pets"],
}


def prompts(options: argparse.Namespace, number: int, seed: int) -> list[list[int]]:
    """Random tokens, or rows that are drawn, always the same."""
    drawn = random.Random(seed)
    if options.questions:
        from transformers import AutoTokenizer

        rows = drawn.sample(json.loads(options.questions.read_text(encoding="utf-8")), number)
        texts = [f"{row['instruction']}\n{row.get('input', '')}".strip() for row in rows]
        tokenizer = AutoTokenizer.from_pretrained(str(options.model))
        turns = [[{"role": "user", "content": text}] for text in texts]
        return tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    vocabulary = json.loads((options.model / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    return [[drawn.randrange(100, vocabulary) for _ in range(drawn.randrange(16, 129))] for _ in range(number)]


def loaded(options: argparse.Namespace) -> tuple[Any, Any]:
    """Network and tokenizer, as `burnish serve` has them."""
    from burnish.inference.session import Session, open_session
    from burnish.lineage.opened import open_model
    from burnish.recipe.schema import ModelSection, Recipe

    if options.run:
        session = open_session(str(options.run))
        assert session.opened.precision == options.precision, "the run has another precision"
        return session.network, session
    section = ModelSection(name=str(options.model), precision=options.precision)
    session = Session(open_model(Recipe(task="chat", model=section), None))
    return session.network, session


def with_burnish(options: argparse.Namespace) -> Callable[[list[list[int]]], None]:
    """Its engine, asked all at once."""
    from burnish.decoding.batch import Batch
    from burnish.decoding.row import Asked
    from burnish.inference.engine import Engine, Ticket
    from burnish.inference.served import KEPT_BYTES

    engine = Engine({})
    network, _ = engine.call(lambda: loaded(options))
    looks_up = False if options.without_lookup else None
    engine.call(lambda: engine.add("one", Batch(network, options.precision, nullcontext, KEPT_BYTES, looks_up, True)))

    def run(texts: list[list[int]]) -> None:
        ends: queue.Queue[Any] = queue.Queue()
        for ids in texts:
            engine.submit(Ticket("one", Asked(ids, (), options.tokens), lambda token: None, ends.put))
        assert {ends.get().reason for _ in texts} == {"length"}

    return run


def with_transformers(options: argparse.Namespace) -> Callable[[list[list[int]]], None]:
    """One padded batch."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, GenerationConfig

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[options.precision]
    network: Any = AutoModelForCausalLM.from_pretrained(str(options.model), dtype=dtype).eval()
    if options.run:
        network = PeftModel.from_pretrained(network, str(options.run / "adapter")).eval()
    length = {"max_new_tokens": options.tokens, "min_new_tokens": options.tokens}
    config = GenerationConfig(**length, pad_token_id=0, eos_token_id=2)

    def run(texts: list[list[int]]) -> None:
        width = max(map(len, texts))
        ids = torch.tensor([[0] * (width - len(text)) + text for text in texts])
        mask = torch.tensor([[0] * (width - len(text)) + [1] * len(text) for text in texts])
        with torch.no_grad():
            found = network.generate(input_ids=ids, attention_mask=mask, generation_config=config, do_sample=False)
        assert found.shape[1] == width + options.tokens

    return run


def with_llama_cpp(options: argparse.Namespace) -> Callable[[list[list[int]]], None]:
    """Its own server, with a slot for each row."""
    xllamacpp: Any = importlib.import_module("xllamacpp")
    asked = xllamacpp.CommonParams()
    asked.model.path = str(options.gguf)
    asked.n_parallel = max(options.at)
    asked.n_ctx = asked.n_parallel * (160 + options.tokens)
    asked.cpuparams.n_threads = asked.cpuparams_batch.n_threads = os.cpu_count() or 1
    asked.warmup, asked.hostnames, asked.port = False, ["127.0.0.1"], 0
    server = xllamacpp.Server(asked)

    def complete(ids: list[int]) -> None:
        body = {"prompt": ids, "n_predict": options.tokens, "temperature": 0.0, "ignore_eos": True}
        data = json.dumps({**body, "cache_prompt": False}).encode()
        request = urllib.request.Request(
            f"{server.listening_address}/completion", data, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=3600) as answer:
            assert json.load(answer)["tokens_predicted"] == options.tokens

    def run(texts: list[list[int]]) -> None:
        with ThreadPoolExecutor(len(texts)) as pool:
            list(pool.map(complete, texts))

    return run


def measure(options: argparse.Namespace) -> None:
    """Prints the seconds of a round for each line that comes in, a number; this process is one program."""
    make = dict(zip(PROGRAMS, (with_burnish, with_transformers, with_llama_cpp), strict=True))[options.only]
    run = make(options)
    run(prompts(options, 1, 999))
    print("ready", flush=True)
    for line in sys.stdin:
        texts = prompts(options, options.at[0], int(line))
        started = time.perf_counter()
        run(texts)
        print(time.perf_counter() - started, flush=True)
    os._exit(0)  # llama.cpp's threads would wait for requests


def compared(options: argparse.Namespace, programs: Sequence[str], number: int) -> dict[str, list[float]]:
    """Tokens per second of each program in each round; they take turns, so that what else the machine does is the same
    for all."""
    found: dict[str, list[float]] = {name: [] for name in programs}
    with ExitStack() as stack:
        running = {name: stack.enter_context(Program(name, number)) for name in programs}
        for turn, (name, program) in itertools.product(range(options.rounds), running.items()):
            found[name].append(number * options.tokens / program.seconds(turn))
    return found


class Program:
    """A process that measures one program.

    Args:
        name: of `PROGRAMS`.
        number: of prompts at a time.
    """

    def __init__(self, name: str, number: int) -> None:
        self._name, self._number = name, number

    def __enter__(self) -> Self:
        """Begins, and waits until it can answer."""
        words = [sys.executable, __file__, *sys.argv[1:], "--at", str(self._number), "--only", self._name]
        self._log = tempfile.TemporaryFile("w+")
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=self._log, text=True)
        self._said()
        return self

    def __exit__(self, *error: object) -> None:
        """Ends it."""
        self._process.communicate()
        self._log.close()

    def seconds(self, turn: int) -> float:
        """How long a round took."""
        assert self._process.stdin
        self._process.stdin.write(f"{turn}\n")
        self._process.stdin.flush()
        return float(self._said())

    def _said(self) -> str:
        assert self._process.stdout
        if said := self._process.stdout.readline():
            return said
        self._log.seek(0)
        sys.exit(f"{self._name} failed:\n{self._log.read()[-2000:]}")


def cost_of_form(options: argparse.Namespace, network: Any, session: Any) -> tuple[float, float]:
    """Milliseconds per token of a plain answer, and of one that follows a schema."""
    from burnish.decoding.batch import Batch
    from burnish.decoding.row import Asked, Row
    from burnish.inference.grammar import Grammars

    predictor = session.task.predictor
    ids = predictor.prompt_ids("Describe a person as JSON.")
    grammars = Grammars(session.tokenizer, network.get_input_embeddings().num_embeddings, predictor.stop_ids)
    found = []
    for is_held in (False, True):
        times = []
        for _ in range(options.rounds):
            guide = grammars.of_schema(SCHEMA) if is_held else None
            stops = predictor.stop_ids if is_held else ()
            row = Row(Asked(ids, stops, options.tokens, guide=guide))
            batch = Batch(network, options.precision)
            batch.join([row])
            started = time.perf_counter()
            while batch.rows:
                batch.step()
            times.append(1000 * (time.perf_counter() - started) / max(1, len(row.new) - 1))
        found.append(statistics.median(times))
    return found[0], found[1]


def agreement(options: argparse.Namespace, network: Any) -> tuple[int, int, int]:
    """Answers that are the same alone and in a batch of the most at a time; tokens before one differs; all tokens."""
    from burnish.decoding.batch import Batch
    from burnish.decoding.row import Asked, Row

    texts = prompts(options, max(options.at), 0)

    def written(texts: list[list[int]]) -> list[list[int]]:
        batch = Batch(network, options.precision, looks_up=False if options.without_lookup else None, together=True)
        rows = [Row(Asked(ids, (), options.tokens)) for ids in texts]
        for part in batch.parts(rows):
            batch.join(part)
        while batch.rows:
            batch.step()
        return [row.new for row in rows]

    pairs = list(zip(written(texts), [written([ids])[0] for ids in texts], strict=True))
    same = sum(len(commonprefix(pair)) for pair in pairs)
    return sum(one == other for one, other in pairs), same, len(texts) * options.tokens


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--at", type=int, nargs="+", default=[1, 8, 24])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--without-lookup", action="store_true", help="let Burnish guess no tokens")
    parser.add_argument("--run", type=Path, help="a run with an adapter on MODEL")
    parser.add_argument("--questions", type=Path, help="rows to answer, in place of random tokens")
    parser.add_argument("--gguf", type=Path, help="MODEL for llama.cpp, in the same precision")
    parser.add_argument("--only", choices=PROGRAMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        measure(options)
    programs = [name for name in PROGRAMS if name != "llama.cpp" or options.gguf]
    print(f"tokens/s, {options.precision}, {options.tokens} new tokens an answer")
    for number in options.at:
        speeds = compared(options, programs, number)
        pairs = zip(speeds["burnish"], speeds["transformers"], strict=True)
        beside = statistics.median(own / theirs for own, theirs in pairs)
        shown = ", ".join(f"{name} {statistics.median(found):,.1f}" for name, found in speeds.items())
        print(f"{number:>3} at a time: {shown}; {beside:.2f} x transformers")
    network, session = loaded(options)
    plain, held = cost_of_form(options, network, session)
    print(f"with a schema: {held:.1f} ms a token, beside {plain:.1f}")
    equal, same, tokens = agreement(options, network)
    print(f"the same alone: {equal} of {max(options.at)} answers, {same} of {tokens} tokens before one differs")


if __name__ == "__main__":
    main()
