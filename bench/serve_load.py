"""`burnish serve` under load: many streams at a time against a real server process, then connections that go away.

    python bench/serve_load.py MODEL [--streams 64] [--seconds 300] [--tokens 64] [--drops 1000]

MODEL is a run or a base model, as `burnish serve` takes it. Each of so many clients asks one chat after the other with
prompts and answers of different lengths, by the same seeds in every run. They do so first until the server's cache of
beginnings of texts grows no more, and then for the time that is measured. Prints what was answered and what failed,
milliseconds to the first token and between tokens, tokens per second, and the resident memory of the server over time;
then opens and drops so many streams after their first event, and reports what is left of them. Ends with 1 if a request
failed, if memory grew by more than 5 % over the last three quarters of the time, or if anything is left.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil

TOPICS = ("a red fox", "the sea at night", "how bread is baked", "an old clock", "rain in the mountains", "two friends")
MOST_GROWTH = 0.05
SETTLES_IN = 60.0
"""Seconds in which what was dropped has to be gone."""
IDLE = 3.0
"""Seconds after which an idle server has returned memory that is free."""
FULL_AFTER = 20.0
"""Seconds in which a cache that is full does not grow by more than 1 %."""


@dataclass
class Seen:
    """What the clients have seen."""

    counts: bool = False
    """Whether it is the time that is measured; what fails counts at all times."""
    answers: int = 0
    tokens: int = 0
    first: list[float] = field(default_factory=list)
    """Seconds until the first token."""
    between: list[float] = field(default_factory=list)
    """Seconds between a token and the next."""
    failed: Counter[str] = field(default_factory=Counter)


@contextmanager
def served(words: Sequence[str]) -> Iterator[tuple[str, psutil.Process]]:
    """The address and the process of a server, which ends with the context."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "burnish", "serve", *words, "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        if not address:
            log.seek(0)
            sys.exit(f"The server did not start:\n{log.read()[-2000:]}")
        try:
            yield address, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(timeout=120)


def asked(model: str, seed: int, most: int) -> dict[str, Any]:
    """A request, always the same for the same seed."""
    drawn = random.Random(seed)
    topics = " and ".join(drawn.choice(TOPICS) for _ in range(drawn.randrange(1, 20)))
    return {
        "model": model,
        "messages": [{"role": "user", "content": f"Write something about {topics}."}],
        "max_tokens": drawn.randrange(1, most + 1),
        "temperature": 1.0,
        "seed": seed,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def follow(client: httpx.AsyncClient, body: dict[str, Any], seen: Seen) -> None:
    """One answer, from its request to its end."""
    started = last = time.perf_counter()
    has_begun = is_whole = False
    async with client.stream("POST", "/chat/completions", json=body) as answer:
        if answer.status_code != 200:
            await answer.aread()
            seen.failed[f"status {answer.status_code}"] += 1
            return
        async for line in answer.aiter_lines():
            if not line.startswith("data: "):
                continue
            if line == "data: [DONE]":
                is_whole = True
                break
            event = json.loads(line.removeprefix("data: "))
            if "error" in event:
                seen.failed[event["error"]["message"]] += 1
                return
            if event.get("usage") and seen.counts:
                seen.tokens += event["usage"]["completion_tokens"]
            if not event["choices"] or not event["choices"][0]["delta"].get("content"):
                continue
            now = time.perf_counter()
            if seen.counts:
                (seen.between if has_begun else seen.first).append(now - (last if has_begun else started))
            has_begun, last = True, now
    if is_whole:
        seen.answers += seen.counts
    else:
        seen.failed["a stream that ended early"] += 1


async def ask_on(address: str, model: str, number: int, most: int, is_over: asyncio.Event, seen: Seen) -> None:
    """One client: request after request until the time is over."""
    async with httpx.AsyncClient(base_url=address, timeout=600) as client:
        turn = 0
        while not is_over.is_set():
            try:
                await follow(client, asked(model, number * 100_000 + turn, most), seen)
            except httpx.HTTPError as error:
                seen.failed[type(error).__name__] += 1
            turn += 1


async def fill(address: str, most: float) -> str:
    """Waits until the cache of beginnings is full, or the time is over; says which."""
    started = time.perf_counter()
    sizes: list[tuple[float, int]] = []
    async with httpx.AsyncClient(timeout=60) as client:
        while (passed := time.perf_counter() - started) < most:
            sizes.append((passed, (await metrics(client, address))["burnish_prefix_cache_bytes"]))
            earlier = [size for when, size in sizes if when <= passed - FULL_AFTER]
            if earlier and sizes[-1][1] <= 1.01 * earlier[-1]:
                return f"{sizes[-1][1] / 2**20:,.0f} MB of beginnings, full after {passed:.0f} s"
            await asyncio.sleep(1)
    return f"{sizes[-1][1] / 2**20:,.0f} MB of beginnings, not full after {most:.0f} s"


async def watch(process: psutil.Process, seconds: float) -> list[int]:
    """Resident bytes of a process and its children, twice a second."""
    found, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        found.append(resident(process))
        await asyncio.sleep(0.5)
    return found


def resident(process: psutil.Process) -> int:
    """Resident bytes of a process and its children."""
    return sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))


async def load(
    address: str, process: psutil.Process, options: argparse.Namespace, model: str
) -> tuple[Seen, list[int]]:
    """All clients at once: until the cache is full, for the time that is measured, and to the end of their answers."""
    seen, is_over = Seen(), asyncio.Event()
    clients = [
        asyncio.create_task(ask_on(address, model, number, options.tokens, is_over, seen))
        for number in range(options.streams)
    ]
    print(await fill(address, options.most_warm_up), flush=True)
    seen.counts = True
    memory = await watch(process, options.seconds)
    seen.counts = False
    is_over.set()
    await asyncio.gather(*clients)
    return seen, memory


async def drop(address: str, model: str, options: argparse.Namespace) -> Counter[str]:
    """Opens streams and goes away after their first event."""
    places, seen = asyncio.Semaphore(options.streams), Counter[str]()

    async def one(number: int) -> None:
        async with places, httpx.AsyncClient(base_url=address, timeout=600) as client:
            body = {**asked(model, number, options.tokens), "max_tokens": 256}
            async with client.stream("POST", "/chat/completions", json=body) as answer:
                seen[f"status {answer.status_code}"] += 1
                async for _ in answer.aiter_lines():
                    break

    await asyncio.gather(*(one(number) for number in range(options.drops)))
    return seen


async def metrics(client: httpx.AsyncClient, address: str) -> dict[str, int]:
    """What the server says of itself."""
    text = (await client.get(f"{address.removesuffix('/v1')}/metrics")).text
    return {
        name: int(float(value))
        for name, value in (line.split() for line in text.splitlines() if not line.startswith("#"))
    }


async def left(address: str) -> tuple[int, int]:
    """Answers that are being written, and requests that wait."""
    async with httpx.AsyncClient(timeout=60) as client:
        values = await metrics(client, address)
    return values["burnish_requests_running"], values["burnish_requests_waiting"]


def settled(address: str) -> float | None:
    """Seconds until nothing is written and nothing waits; None if that does not happen."""
    started = time.perf_counter()
    while time.perf_counter() - started < SETTLES_IN:
        if asyncio.run(left(address)) == (0, 0):
            return time.perf_counter() - started
        time.sleep(0.1)
    return None


def share(values: Sequence[float], of: float) -> str:
    """A quantile in milliseconds."""
    return f"{1000 * statistics.quantiles(values, n=100)[round(of * 100) - 1]:,.0f}" if len(values) > 1 else "-"


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--runs", default="runs")
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--most-warm-up", type=float, default=600, help="seconds until the cache has to be full")
    parser.add_argument("--tokens", type=int, default=64, help="most new tokens of an answer")
    parser.add_argument("--drops", type=int, default=1000)
    options = parser.parse_args()
    is_well = True
    words = [f"load={options.model}", "--runs", options.runs, "--waiting", str(4 * options.streams), "--quiet"]
    with served(words) as (address, process):
        seen, memory = asyncio.run(load(address, process, options, "load"))
        early, late = (statistics.median(memory[round(len(memory) * part) :][:20]) for part in (0.25, 0.9))
        growth = late / early - 1
        print(f"{seen.answers:,} answers, {seen.tokens:,} tokens, {seen.tokens / options.seconds:.1f} tokens/s")
        print(f"first token: {share(seen.first, 0.5)} ms (p50), {share(seen.first, 0.95)} ms (p95)")
        print(f"between tokens: {share(seen.between, 0.5)} ms (p50), {share(seen.between, 0.95)} ms (p95)")
        print(f"failed: {dict(seen.failed) or 'none'}")
        print(f"resident: {early / 2**20:,.0f} MB after a quarter, {late / 2**20:,.0f} MB at the end ({growth:+.1%})")
        is_well &= not seen.failed and growth <= MOST_GROWTH
        if options.drops:
            time.sleep(IDLE)
            before, threads = resident(process), process.num_threads()
            found, seconds = asyncio.run(drop(address, "load", options)), settled(address)
            time.sleep(IDLE)
            rest = "nothing is left" if seconds is not None else f"{asyncio.run(left(address))} are left"
            print(f"dropped: {dict(found)}; {rest}" + (f" after {seconds:.1f} s" if seconds is not None else ""))
            sockets = [one for one in process.net_connections() if one.status == "ESTABLISHED"]
            after = resident(process)
            print(
                f"resident: {before / 2**20:,.0f} MB before, {after / 2**20:,.0f} MB after; open connections: "
                f"{len(sockets)}; threads: {threads} before, {process.num_threads()} after"
            )
            is_well &= seconds is not None and not sockets and after <= before * (1 + MOST_GROWTH)
    sys.exit(not is_well)


if __name__ == "__main__":
    main()
