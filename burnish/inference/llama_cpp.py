"""llama.cpp itself, from the package `xllamacpp`, in a process of its own: a broken file ends that process, not ours.

    python -m burnish.inference.llama_cpp FILE CONTEXT THREADS ROWS PRECISION [ADAPTER]

serves FILE on loopback, writes the address on a line of its own, and ends with its standard input.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib
import importlib.util
import json
import math
import os
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from burnish.errors import BurnishError, MachineError

PACKAGE = "xllamacpp"
_SHOWN_LINES = 3
_SECONDS = 600
"""For one answer; a model that takes longer hangs."""
EXACT, QUICK = "exact", "quick"
"""fp32 keys and values without flash attention; or as llama.cpp has them by itself."""


def is_installed() -> bool:
    """Whether llama.cpp can be asked here."""
    return importlib.util.find_spec(PACKAGE) is not None


@dataclass(frozen=True, slots=True)
class Completion:
    """What llama.cpp continued a prompt with."""

    ids: list[int]
    """The generated tokens, that which ended the answer not among them."""
    top: list[dict[int, float]]
    """For each generated token: the log-probabilities of the most likely tokens at its place, in nats. Empty where
    llama.cpp gives none, which is at tokens that end within a letter."""
    ended_by: int | None
    """The token that ended the answer; None if it reached the limit."""


class LlamaCpp:
    """A file loaded by llama.cpp, for as long as the context lasts.

    Args:
        file: a GGUF file.
        context: most tokens of prompts and answers that are written at the same time.
        threads: of the processor.
        adapter: a GGUF file of a LoRA adapter, added to the model.
        rows: answers that are written at the same time.
        precision: `EXACT` or `QUICK`.

    Raises:
        MachineError: the package is not installed.
        BurnishError: llama.cpp cannot load the file, or ended while it was asked.
    """

    def __init__(
        self,
        file: Path,
        context: int,
        threads: int = 2,
        adapter: Path | None = None,
        rows: int = 1,
        precision: str = EXACT,
    ) -> None:
        if not is_installed():
            raise MachineError(
                "llama.cpp is not installed, so the file cannot be tried",
                f"The package `{PACKAGE}` has it.",
                "pip install 'burnish[export]'",
            )
        self._file = file
        self._words = [sys.executable, "-m", __spec__.name, str(file), str(context), str(threads), str(rows), precision]
        self._words += [] if adapter is None else [str(adapter)]

    def __enter__(self) -> LlamaCpp:
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        self._process = subprocess.Popen(
            self._words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, errors="replace"
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("http://"):
                self._address = line.strip()
                return self
        raise self._ended("cannot be loaded by llama.cpp")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends llama.cpp."""
        self._process.kill()
        self._process.communicate()
        self._log.close()

    @property
    def room(self) -> int:
        """Most tokens of one prompt and its answer."""
        return int(self._get("/props")["default_generation_settings"]["n_ctx"])

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text, in which the names of special tokens are read as these; nothing is added around it."""
        return self._post("/tokenize", {"content": text, "add_special": False, "parse_special": True})["tokens"]

    def render(self, messages: Sequence[Mapping[str, Any]], values: Mapping[str, Any] | None = None) -> str:
        """A conversation by the chat template of the file, up to where the answer begins."""
        asked = {"messages": list(messages), "chat_template_kwargs": dict(values or {})}
        return self._post("/apply-template", asked)["prompt"]

    def stream(self, ids: Sequence[int], options: Mapping[str, Any]) -> Stream:
        """Begins to continue a prompt.

        Args:
            ids: the prompt's tokens.
            options: of llama.cpp's route `/completion`.
        """
        return Stream(self._address, {"prompt": list(ids), "return_tokens": True, "stream": True, **options})

    def complete(self, ids: Sequence[int], most: int, top: int = 1) -> Completion:
        """Continues a prompt, always with the most likely token.

        Args:
            ids: the prompt's tokens.
            most: number of new tokens.
            top: how many tokens of each place get a log-probability.
        """
        found = self._complete(ids, {"n_predict": most, "n_probs": top})
        tokens, places, given = found["tokens"], [], found.get("completion_probabilities", [])
        for token in reversed(tokens):
            is_given = bool(given) and given[-1]["id"] == token
            places.append(_log_probabilities(given.pop()) if is_given else {})
        places.reverse()
        ended_by = None
        if found["stop_type"] == "eos":
            *tokens, ended_by = tokens
        return Completion(tokens, places, ended_by)

    def log_probabilities(self, ids: Sequence[int], rows: int, whole: int) -> dict[int, float]:
        """The log-probability of every token behind a prompt, in nats.

        Args:
            ids: the prompt's tokens.
            rows: tokens of the vocabulary.
            whole: a token of whole letters. It is forced, as behind another llama.cpp might give nothing; the
                probabilities are those before that.
        """
        found = self._complete(ids, {"n_predict": 1, "n_probs": rows, "logit_bias": [[whole, 1e6]]})
        return _log_probabilities(found["completion_probabilities"][0])

    def _complete(self, ids: Sequence[int], options: Mapping[str, Any]) -> Any:
        common = {"prompt": list(ids), "temperature": 0.0, "return_tokens": True, "cache_prompt": True}
        return self._post("/completion", {**common, **options})

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The server's answer to a request.

        Raises:
            BurnishError: it refuses the request, or has ended.
        """
        data = json.dumps(body).encode()
        return self._asked(urllib.request.Request(self._address + path, data, {"Content-Type": "application/json"}))

    def _get(self, path: str) -> Any:
        """What the server says of itself; raises as `_post` does."""
        return self._asked(urllib.request.Request(self._address + path))

    def _asked(self, request: urllib.request.Request) -> Any:
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")[:300]
            raise BurnishError("llama.cpp refuses a request", said, "Report this with the exported file") from error
        except (OSError, ValueError) as error:
            raise self._ended("made llama.cpp end") from error

    def _ended(self, what: str) -> BurnishError:
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().splitlines() if line.strip()]
        said = " ".join(lines[-_SHOWN_LINES:]) or "It said nothing."
        return BurnishError(
            f"the file `{self._file.name}` {what}", said, "The run is as it was: use it with `burnish generate RUN`"
        )


class Stream:
    """An answer that llama.cpp is writing.

    Args:
        address: of its server.
        body: of the request.
    """

    def __init__(self, address: str, body: Mapping[str, Any]) -> None:
        place = urllib.parse.urlsplit(address)
        assert place.hostname is not None
        self._connection = http.client.HTTPConnection(place.hostname, place.port, timeout=_SECONDS)
        self._body = json.dumps(body)

    def events(self) -> Iterator[dict[str, Any]]:
        """What it writes, one after the other: objects of llama.cpp.

        Raises:
            BurnishError: it refuses the request, or ended.
        """
        try:
            self._connection.request("POST", "/completion", self._body, {"Content-Type": "application/json"})
            answer = self._connection.getresponse()
            if answer.status != http.client.OK:
                said = answer.read(300).decode(errors="replace")
                raise BurnishError("llama.cpp refuses a request", said, "Report this with the exported file")
            for line in answer:
                if line.startswith(b"data: {"):
                    yield json.loads(line[len(b"data: ") :])
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise BurnishError("llama.cpp ended while it was asked", str(error), "Start the server again") from error
        finally:
            self._connection.close()

    def cancel(self) -> None:
        """Lets llama.cpp stop, and ends `events`. May be called from any thread, at any time."""
        with contextlib.suppress(OSError, AttributeError):  # it may not have begun, or have ended
            self._connection.sock.shutdown(socket.SHUT_RDWR)


def _log_probabilities(place: Mapping[str, Any]) -> dict[int, float]:
    """Those of the most likely tokens of a place; none at all is minus infinity."""
    return {one["id"]: -math.inf if one["logprob"] is None else one["logprob"] for one in place["top_logprobs"]}


def _serve(file: str, context: int, threads: int, rows: int, precision: str, adapters: Sequence[str]) -> None:
    """Loads a file, serves it, and waits until the other process ends."""
    xllamacpp: Any = importlib.import_module(PACKAGE)
    asked = xllamacpp.CommonParams()
    asked.model.path = file
    asked.n_ctx, asked.n_parallel, asked.kv_unified, asked.warmup = context, rows, True, False
    asked.cpuparams.n_threads = asked.cpuparams_batch.n_threads = threads
    if precision == EXACT:
        asked.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        asked.cache_type_k = asked.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    asked.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(one, 1.0) for one in adapters]
    asked.hostnames, asked.port = ["127.0.0.1"], 0
    asked.swa_full = True
    asked.use_jinja = True
    server = xllamacpp.Server(asked)
    os.write(1, f"{server.listening_address}\n".encode())
    sys.stdin.read()
    os._exit(0)  # its threads would wait for requests


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5], sys.argv[6:])
