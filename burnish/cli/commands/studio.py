"""`burnish studio [FOLDER]`."""

from __future__ import annotations

import importlib.util
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from burnish.cli.commands.serve import AtOnce, Host, Port, listen_on
from burnish.cli.console import Console
from burnish.cli.options import Runs
from burnish.errors import MachineError

if TYPE_CHECKING:
    import socket

    from burnish.studio.project import Project

Folder = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="Holds the project: rows, drafts, jobs and runs.", show_default=False)
]
Open = Annotated[bool, typer.Option("--open", metavar="", help="Open it in the browser.")]

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_FINISHING = 3


def studio(
    console: Console,
    folder: Folder = Path("studio"),
    host: Host = "127.0.0.1",
    port: Port = 8080,
    at_once: AtOnce = 1,
    opens: Open = False,
    runs: Runs = "runs",
) -> None:
    """Use Burnish in the browser: data, plan, training, results.

    Trainings go on when the page is closed, and when the studio ends; the next one finds them. On another address than
    this machine's own, the link has a token.
    """
    needed = ("nicegui", "fastapi", "uvicorn", "sse_starlette", "llguidance")
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise MachineError(
            "the studio is not installed", f"The package `{missing[0]}` is missing.", "pip install 'burnish[studio]'"
        )
    listening = listen_on(host, port)
    listening.listen()  # who opens the link at once waits for the pages instead of being refused
    from burnish.studio.project import Project

    project = Project(folder, at_once, runs)
    token = None if host in _LOOPBACK else secrets.token_urlsafe(24)
    name = f"[{host}]" if ":" in host else host
    address = f"http://{name}:{listening.getsockname()[1]}/" + (f"?token={token}" if token else "")
    console.note("The studio is open. Ctrl-C ends it; trainings go on.")
    console.json({"address": address})
    console.result(address)
    if opens:
        typer.launch(address)
    _run(console, project, listening, token)


def _run(console: Console, project: Project, listening: socket.socket, token: str | None) -> None:
    """Shows pages until Ctrl-C or SIGTERM."""
    import logging

    import uvicorn

    from burnish.studio.app import make_app
    from burnish.studio.gate import Access

    logging.basicConfig(format="%(message)s", level=logging.WARNING)  # on standard error
    hosts = (*_LOOPBACK, "[::1]") if token is None else ()
    project.begin()
    config = uvicorn.Config(
        make_app(project, Access(token, hosts)),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_FINISHING,
        server_header=False,
    )
    try:
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        console.note("Stopped.")  # that is how a server ends
    finally:
        project.close()
