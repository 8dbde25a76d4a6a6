"""A hub on loopback, as far as a commit needs one: repositories, large files, and commits of several files."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_stand_in"


class Hub:
    """What the hub has: repositories with their files, and every request."""

    def __init__(self) -> None:
        self.private: dict[str, bool] = {}
        self.files: dict[str, dict[str, bytes]] = {}
        self.large: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()
        self.address = ""


class Handler(BaseHTTPRequestHandler):
    """Answers requests of `huggingface_hub`."""

    hub: Hub

    def do_GET(self) -> None:
        """What is known of a repository."""
        self._note()
        name = self.path.removeprefix("/api/models/").partition("/revision")[0].partition("?")[0]
        if name not in self.hub.private:
            self._answer({"error": "Repository not found"}, 404)
        else:
            self._answer({"id": name, "modelId": name, "private": self.hub.private[name], "sha": "0" * 40, "tags": []})

    def do_PUT(self) -> None:
        """Takes a large file."""
        self._note()
        self.hub.large[self.path.rpartition("/")[2]] = self._body()
        self._answer({})

    def do_POST(self) -> None:
        """The steps of a commit."""
        self._note()
        ways = {
            "/repos/create": self._create,
            "/validate-yaml": lambda body: self._answer({"errors": [], "warnings": []}),
            "/preupload/": self._sort,
            "/objects/batch": self._expect,
            "/commit/": self._commit,
        }
        found = next((way for part, way in ways.items() if part in self.path), lambda body: self._answer([]))
        found(self._body())

    def _create(self, body: bytes) -> None:
        asked = json.loads(body)
        name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
        if name in self.hub.private:
            self._answer({"error": "You already created this model repo", "url": f"{self.hub.address}/{name}"}, 409)
            return
        self.hub.private[name] = asked.get("visibility") == "private" or bool(asked.get("private"))
        self._answer({"url": f"{self.hub.address}/{name}", "id": name})

    def _sort(self, body: bytes) -> None:
        """Which files are large."""
        names = [one["path"] for one in json.loads(body)["files"]]
        modes = {name: "lfs" if name.endswith("safetensors") else "regular" for name in names}
        self._answer(
            {"files": [{"path": name, "uploadMode": mode, "shouldIgnore": False} for name, mode in modes.items()]}
        )

    def _expect(self, body: bytes) -> None:
        """Where large files are to go."""
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.hub.address}/large/{one['oid']}", "header": {}}}}
            for one in json.loads(body)["objects"]
        ]
        self._answer({"transfer": "basic", "objects": objects})

    def _commit(self, body: bytes) -> None:
        name = self.path.removeprefix("/api/models/").partition("/commit/")[0]
        files = self.hub.files.setdefault(name, {})
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
                assert hashlib.sha256(files[value["path"]]).hexdigest() == value["oid"]
        oid = "1" * 40
        self._answer({"success": True, "commitOid": oid, "commitUrl": f"{self.hub.address}/{name}/commit/{oid}"})

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = b""
        while size := int(self.rfile.readline(), 16):
            parts += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return parts

    def _answer(self, value: Any, code: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _note(self) -> None:
        self.hub.asked.append(f"{self.command} {self.path}")
        if "/commit/" in self.path or "/create" in self.path:
            self.hub.tokens.add(self.headers.get("Authorization"))

    def log_message(self, *parts: Any) -> None:
        """Says nothing."""


@contextmanager
def stand_in_hub() -> Iterator[Hub]:
    """A hub that answers while entered."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": hub}))
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
