"""llama.cpp itself, from the package `xllamacpp`, in a process of its own: a broken file ends that process, not ours.

    python -m burnish.inference.llama_cpp FILE CONTEXT THREADS [ADAPTER]

serves FILE on loopback, writes the address on a line of its own, and ends with its standard input.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from burnish.errors import BurnishError, MachineError

PACKAGE = "xllamacpp"
_SHOWN_LINES = 3
_SECONDS = 600
"""For one answer; a model that takes longer hangs."""


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
    """A file loaded by llama.cpp, for as long as the context lasts: fp32 cache, no flash attention, greedy.

    Args:
        file: a GGUF file.
        context: most tokens of prompt and answer.
        threads: of the processor.
        adapter: a GGUF file of a LoRA adapter, added to the model.

    Raises:
        MachineError: the package is not installed.
        BurnishError: llama.cpp cannot load the file, or ended while it was asked.
    """

    def __init__(self, file: Path, context: int, threads: int = 2, adapter: Path | None = None) -> None:
        if not is_installed():
            raise MachineError(
                "llama.cpp is not installed, so the file cannot be tried",
                f"The package `{PACKAGE}` has it.",
                "pip install 'burnish[export]'",
            )
        self._file = file
        self._words = [sys.executable, "-m", __spec__.name, str(file), str(context), str(threads)]
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
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text, in which the names of special tokens are read as these; nothing is added around it."""
        return self._post("/tokenize", {"content": text, "add_special": False, "parse_special": True})["tokens"]

    def render(self, messages: Sequence[Mapping[str, Any]], values: Mapping[str, Any] | None = None) -> str:
        """A conversation by the chat template of the file, up to where the answer begins."""
        asked = {"messages": list(messages), "chat_template_kwargs": dict(values or {})}
        return self._post("/apply-template", asked)["prompt"]

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
        request = urllib.request.Request(self._address + path, data, {"Content-Type": "application/json"})
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


def _log_probabilities(place: Mapping[str, Any]) -> dict[int, float]:
    """Those of the most likely tokens of a place; none at all is minus infinity."""
    return {one["id"]: -math.inf if one["logprob"] is None else one["logprob"] for one in place["top_logprobs"]}


def _serve(file: str, context: int, threads: int, adapters: Sequence[str]) -> None:
    """Loads a file, serves it, and waits until the other process ends."""
    xllamacpp: Any = importlib.import_module(PACKAGE)
    asked = xllamacpp.CommonParams()
    asked.model.path = file
    asked.n_ctx, asked.n_parallel, asked.warmup = context, 1, False
    asked.cpuparams.n_threads = asked.cpuparams_batch.n_threads = threads
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
    _serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
