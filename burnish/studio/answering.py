"""Answers of a run and its base: asked of `burnish serve`, in a process of its own, one run at a time.

answering.json      the process, so that one that a killed studio left is found and ended
answering.txt       its address
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from burnish.jobs.children import Child, Children, child_of
from burnish.jobs.job import read_json
from burnish.runs.atomic import write_json
from burnish.visible import parse_json

TUNED, BASE = "tuned", "base"
CLOSED, LOADING, READY, FAILED = "closed", "loading", "ready", "failed"
_ADDRESS = re.compile(r"^http://127\.0\.0\.1:\d+", re.MULTILINE)
_GONE = "These models do not answer any more: another run is being used. Reload the page to load them again."
_POLL_SECONDS = 0.2
_LOG_SHOWN = 2_000


class Models:
    """The models of one server, which answer until it is replaced by that of another run.

    Args:
        address: of the server.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    async def ask(self, path: str, form: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one request; an error as `{"error": {"message"}}`.

        Args:
            path: of the route, such as `/v1/classify`.
            form: the request, with `model` `tuned` or `base`.
        """
        import httpx

        async with httpx.AsyncClient(base_url=self.address, timeout=600, trust_env=False) as client:
            try:
                found = (await client.post(path, json=dict(form))).json()
            except (httpx.HTTPError, ValueError) as error:
                return {"error": {"message": f"{_GONE} ({type(error).__name__})"}}
        return found if isinstance(found, dict) else {"error": {"message": "The answer is not an object."}}

    async def stream(self, path: str, form: Mapping[str, Any]) -> AsyncIterator[tuple[str, str]]:
        """The pieces of a written answer as they come: what is thought, and what is said. An error ends them, as
        something said in brackets."""
        import httpx

        async with httpx.AsyncClient(base_url=self.address, timeout=600, trust_env=False) as client:
            try:
                async with client.stream("POST", path, json={**form, "stream": True}) as response:
                    async for line in response.aiter_lines():
                        thought, said = piece_of(line)
                        if thought or said:
                            yield thought, said
            except httpx.HTTPError as error:
                yield "", f"[{_GONE} ({type(error).__name__})]"


class Answering:
    """The server that answers for one run.

    Args:
        folder: where its files are.
        children: starts and ends its process.
    """

    def __init__(self, folder: Path, children: Children) -> None:
        self._record, self._out, self._log = (folder / f"answering{end}" for end in (".json", ".txt", "-log.txt"))
        self._children = children
        self._child: Child | None = None
        self._guard = asyncio.Lock()
        self.state, self.why = CLOSED, ""
        self._run, self._models = "", Models("")
        if left := child_of(read_json(self._record)):
            children.stop(left, at_once=True)

    async def open(self, run: Path, base: str | None) -> Models | None:
        """Serves a run, and its base beside it, in place of what was served before. Returns None where that fails.

        Args:
            run: the run folder.
            base: name or folder of its base model; None to serve the run alone.
        """
        async with self._guard:
            if self._run == str(run) and self.state == READY and self._is_alive():
                return self._models
            self.close()
            self._run, self.state, self.why = str(run), LOADING, ""
            self._log.unlink(missing_ok=True)
            names = [f"{TUNED}={run}", *([f"{BASE}={base}"] if base else [])]
            words = ["serve", *names, "--port", "0", "--quiet"]
            self._child = await asyncio.to_thread(self._children.start, words, self._out, self._log)
            write_json(self._record, asdict(self._child))
            while self._is_alive():
                if found := _ADDRESS.search(_text(self._out)):
                    self._models, self.state = Models(found[0]), READY
                    return self._models
                await asyncio.sleep(_POLL_SECONDS)
            self.state, self.why = FAILED, _text(self._log).strip()[-_LOG_SHOWN:]
            return None

    def close(self) -> None:
        """Ends the server."""
        if self._child is not None:
            self._children.stop(self._child, at_once=True)
            self._child = None
            self._record.unlink(missing_ok=True)
        self._run, self.state = "", CLOSED

    def _is_alive(self) -> bool:
        return self._child is not None and self._children.is_alive(self._child)


def piece_of(line: str) -> tuple[str, str]:
    """What is thought and what is said in a line of a stream; empty if there is nothing."""
    text = line.removeprefix("data: ").strip()
    if not text.startswith("{"):
        return "", ""
    found = parse_json(text)
    if "error" in found:
        return "", f"[{found['error'].get('message', '')}]"
    choice = (found.get("choices") or [{}])[0]
    delta = choice.get("delta") or {}
    return str(delta.get("reasoning_content") or ""), str(delta.get("content") or choice.get("text") or "")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
