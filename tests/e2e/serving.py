"""A server in a thread, and the official client."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import openai
import uvicorn

from burnish.inference.engine import Engine, Limits
from burnish.inference.served import batches_of
from burnish.serve.answers import Models
from burnish.serve.app import Access, make_app


@dataclass
class Server:
    """A running server, and what is behind it."""

    address: str
    engine: Engine
    served: Any

    @property
    def client(self) -> openai.OpenAI:
        """The official one."""
        return openai.OpenAI(base_url=f"{self.address}/v1", api_key="none", max_retries=0)

    def chat(self, model: str, text: str, **options: Any) -> Any:
        """A chat of one turn."""
        messages: Any = [{"role": "user", "content": text}]
        return self.client.chat.completions.create(model=model, messages=messages, **{"max_tokens": 12, **options})

    def wait_idle(self) -> None:
        """Until nothing is being written. Fails after a long while, on any machine."""
        end = time.monotonic() + 60
        while self.engine.num_written or self.engine.num_waiting:
            assert time.monotonic() < end
            time.sleep(0.01)


def start(served: Any, access: Access | None = None, limits: Limits | None = None) -> Iterator[Server]:
    """A server in a thread."""
    engine = Engine(batches_of(served), limits)
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(make_app(Models(engine, served), access or Access()), log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])), daemon=True)
    thread.start()
    yield Server(f"http://127.0.0.1:{listening.getsockname()[1]}", engine, served)
    server.should_exit = True
    thread.join(timeout=30)
    engine.close()
