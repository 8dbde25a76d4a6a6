"""`burnish serve RUN...`."""

from __future__ import annotations

import importlib.util
import os
import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from burnish.cli.console import Console
from burnish.cli.options import BaseModel, Runs, Trust
from burnish.errors import InputError, MachineError

if TYPE_CHECKING:
    from burnish.inference.engine import Engine
    from burnish.inference.served import Bases, Offered
    from burnish.jobs.queue import Queue

OWN, LLAMA_CPP = "burnish", "llama.cpp"
Names = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN", help="Runs or base models; `NAME=RUN` serves one under another name.", show_default=False
    ),
]
Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where to listen.")]
Port = Annotated[int, typer.Option("--port", metavar="NUMBER", min=0, max=65535, help="0 takes a free one.")]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--api-key-file",
        metavar="FILE",
        help="Holds the key that each request has to name; or set BURNISH_API_KEY.",
        show_default=False,
    ),
]
Rows = Annotated[int, typer.Option("--rows", metavar="NUMBER", min=1, help="Answers that are written at a time.")]
Tokens = Annotated[
    int, typer.Option("--tokens", metavar="NUMBER", min=1, help="Tokens that these may have together, with prompts.")
]
Waiting = Annotated[int, typer.Option("--waiting", metavar="NUMBER", min=1, help="Requests that may wait for a place.")]
EngineName = Annotated[
    str, typer.Option("--engine", metavar="NAME", help="`burnish`, or `llama.cpp` for runs exported as GGUF.")
]
FileType = Annotated[
    str | None,
    typer.Option(
        "--type",
        metavar="TYPE",
        help="Of the GGUF file, with `--engine llama.cpp`; the first one that was exported by default.",
        show_default=False,
    ),
]
Jobs = Annotated[
    Path | None,
    typer.Option(
        "--jobs",
        metavar="FOLDER",
        help="Also take files and fine-tuning jobs, and keep them, with their runs, in this folder.",
        show_default=False,
    ),
]
AtOnce = Annotated[
    int,
    typer.Option("--at-once", metavar="NUMBER", min=1, help="Jobs that may train at a time, as far as memory allows."),
]

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SHORTEST_KEY = 16
_FINISHING = 30


def serve(
    console: Console,
    names: Names,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    key_file: KeyFile = None,
    rows: Rows = 32,
    tokens: Tokens = 65536,
    waiting: Waiting = 256,
    engine_name: EngineName = OWN,
    file_type: FileType = None,
    jobs: Jobs = None,
    at_once: AtOnce = 1,
    base_model: BaseModel = None,
    trust: Trust = False,
    runs: Runs = "runs",
) -> None:
    """Serve runs and base models with an OpenAI-compatible API.

    Runs on the same base share its weights, and requests of all lengths are answered together. Without a temperature,
    answers are those of `burnish generate`. A line of JSON on standard error for each request.
    """
    needed = ("fastapi", "uvicorn", "sse_starlette", *(["python_multipart"] if jobs is not None else []))
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise MachineError(
            "the server is not installed", f"The package `{missing[0]}` is missing.", "pip install 'burnish[serve]'"
        )
    _check_engine(engine_name, file_type)
    key = _key(key_file)
    if host not in _LOOPBACK and key is None:
        raise InputError(
            f"listening on `{host}` needs a key",
            "Other machines could use the models, and read what others ask.",
            "Write a long random text into a file and give it with `--api-key-file FILE`",
        )
    listening = listen_on(host, port)
    queue = None if jobs is None else _queue(jobs, at_once)
    from burnish.cli.progress import Progress

    with Progress(console) as progress:
        from burnish.inference.engine import Engine, Limits
        from burnish.inference.served import Bases, batches_of, open_models
        from burnish.runs.events import Stage

        progress(Stage("loading the models"))
        limits = Limits(rows, tokens, waiting)
        bases, engine = Bases(), Engine({}, limits)

        def opened() -> dict[str, Offered]:
            if engine_name == OWN:
                return open_models(names, runs, base_model, trust, console.warn, bases)
            from burnish.inference.llama_served import open_exported

            return {**open_exported(names, runs, base_model, trust, file_type, limits, console.warn)}

        try:
            served = engine.call(opened)
        except BaseException:
            engine.close()
            raise
    for name, batch in batches_of(served).items():
        engine.call(partial(engine.add, name, batch))
    _run(console, host, listening, key, engine, served, queue, bases)


def _check_engine(name: str, file_type: str | None) -> None:
    """Refuses an engine that there is not, and a type of file that it does not read."""
    if name not in (OWN, LLAMA_CPP):
        known = f"There are `{OWN}` and `{LLAMA_CPP}`."
        raise InputError(f"there is no engine `{name}`", known, "Leave `--engine` out")
    if name == OWN and file_type is not None:
        raise InputError(
            "`--type` has no effect", "It names a GGUF file, which only llama.cpp reads.", "Add `--engine llama.cpp`"
        )


def _key(file: Path | None) -> str | None:
    """The key of the file or the environment; None if there is none."""
    if file is not None:
        try:
            key = file.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise InputError(f"the key cannot be read from `{file}`", str(error), "Give a text file") from error
    else:
        key = os.environ.get("BURNISH_API_KEY", "").strip()
        if not key:
            return None
    if len(key) < _SHORTEST_KEY:
        raise InputError(
            f"the key has fewer than {_SHORTEST_KEY} letters",
            "It could be guessed.",
            "Make one with `python -c 'import secrets; print(secrets.token_urlsafe(32))'`",
        )
    return key


def listen_on(host: str, port: int) -> socket.socket:
    """A socket at that address; taken before the models are loaded, so that a port in use is known at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        raise MachineError(
            f"`{host}` port {port} cannot be listened on", f"{error.strerror}.", "Choose another with `--port NUMBER`"
        ) from error
    return listening


def _run(
    console: Console,
    host: str,
    listening: socket.socket,
    key: str | None,
    engine: Engine,
    served: dict[str, Offered],
    queue: Queue | None,
    bases: Bases,
) -> None:
    """Answers requests until Ctrl-C or SIGTERM; answers that are being written then have half a minute."""
    import logging

    import uvicorn

    from burnish.serve.answers import Models
    from burnish.serve.app import Access, make_app

    logging.basicConfig(format="%(message)s")  # on standard error
    logging.getLogger("burnish.serve").setLevel(logging.WARNING if console.output.quiet else logging.INFO)
    hosts = (*_LOOPBACK, "[::1]") if host in _LOOPBACK and key is None else ()
    if queue is None:
        app = make_app(Models(engine, served), Access(key, hosts))
    else:
        from burnish.inference.served import open_run
        from burnish.serve.jobs import UPLOAD_BYTES, take_jobs

        trained, routers = take_jobs(queue, engine, served, lambda name, run: open_run(name, run, bases, console.warn))
        models = Models(engine, served, trained.missing)
        app = make_app(models, Access(key, hosts, upload_bytes=UPLOAD_BYTES), routers)
    address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=_FINISHING,
        server_header=False,
    )
    server = uvicorn.Server(config)
    names = ", ".join(f"`{name}`" for name in served)
    console.note(f"Serving {names}. Ctrl-C ends it.")
    listening.listen()  # who asks at once waits for the answer instead of being refused
    console.json({"address": f"{address}/v1", "models": list(served)})
    console.result(f"{address}/v1")
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        console.note("Stopped.")  # that is how a server ends
    finally:
        if queue is not None:
            queue.close()
            _say_what_goes_on(console, queue)
        engine.close()


def _queue(folder: Path, at_once: int) -> Queue:
    """The jobs of a folder; opened before the models are loaded, so that a folder in use is known at once."""
    from burnish.jobs.queue import Queue

    return Queue(folder, at_once)


def _say_what_goes_on(console: Console, queue: Queue) -> None:
    """Names the jobs whose processes go on without the server."""
    from burnish.jobs.job import RUNNING

    for viewed in queue.all():
        if viewed.state == RUNNING and viewed.job.process is not None:
            number = viewed.job.process.process
            console.note(
                f"The job `{viewed.job.id}` goes on in process {number}; the next server finds it. `kill {number}` "
                "saves its state and ends it."
            )
