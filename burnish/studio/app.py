"""The studio as an application: its pages, uploads and downloads, behind the gate."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from nicegui import app as nicegui_app
from nicegui import ui
from starlette.types import ASGIApp

from burnish.errors import BurnishError, InputError
from burnish.report.page import style
from burnish.studio.frame import RUNS, frame
from burnish.studio.gate import UPLOAD_PATH, Access, Gate
from burnish.studio.pages.compare_page import compare_page
from burnish.studio.pages.data_page import data_page
from burnish.studio.pages.learn_page import learn_page
from burnish.studio.pages.new_page import new_page
from burnish.studio.pages.plan_page import plan_page
from burnish.studio.pages.run_page import run_page
from burnish.studio.pages.runs_page import runs_page
from burnish.studio.pages.use_page import use_page
from burnish.studio.parts import link, part, prose, refusal
from burnish.studio.project import Project
from burnish.version import __version__

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_LOG = logging.getLogger("burnish.studio")
_SPOOLED = 8 << 20
_HEAD = (
    f'<link rel="stylesheet" href="/assets/report.css?{__version__}">'
    f'<link rel="stylesheet" href="/assets/studio.css?{__version__}">'
    f'<script src="/assets/studio.js?{__version__}" defer></script>'
)
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" fill="#b3480b"/>'
    '<circle cx="6" cy="6" r="3" fill="#f0b27a"/></svg>'
)


def make_app(project: Project, access: Access) -> ASGIApp:
    """The studio of a project. One process has one.

    Args:
        project: that is shown.
        access: who may use it, and how much may be sent.
    """
    app = FastAPI(title="Burnish studio", docs_url=None, redoc_url=None, openapi_url=None)
    _add_assets(app)
    _add_files(app, project, access)
    _add_pages(project)
    ui.add_head_html(_HEAD, shared=True)
    # Quasar's bar at the top of the page, shown during any request, has no name that a screen reader could say
    nicegui_app.config.quasar_config["loadingBar"]["skipHijack"] = True
    ui.run_with(
        app,
        title="Burnish studio",
        favicon=_ICON,
        dark=None,
        language="en-US",
        tailwind=False,
        reconnect_timeout=20.0,
        show_welcome_message=False,
    )
    return Gate(app, access)


def _add_assets(app: FastAPI) -> None:
    folder = Path(str(resources.files("burnish"))) / "assets" / "studio"

    @app.get("/assets/report.css")
    async def report_style() -> Response:
        return Response(style(), media_type="text/css", headers={"cache-control": "max-age=86400"})

    app.mount("/assets", StaticFiles(directory=folder))


def _add_files(app: FastAPI, project: Project, access: Access) -> None:
    """Uploads of rows, and downloads of what the studio keeps."""

    @app.post(UPLOAD_PATH)
    async def upload(request: Request, name: str) -> Response:
        size = 0
        with tempfile.SpooledTemporaryFile(_SPOOLED, dir=str(project.folder)) as kept:
            async for part in request.stream():
                size += len(part)
                if size > access.upload_bytes:
                    return JSONResponse({"error": f"At most {access.upload_bytes:,} bytes are taken."}, 413)
                await asyncio.to_thread(kept.write, part)
            kept.seek(0)
            try:
                draft = await asyncio.to_thread(project.add_rows, kept, name)
            except BurnishError as error:
                parts = (error.what, error.why, error.fix)
                return JSONResponse({"error": " ".join(f"{one.rstrip('.')}." for one in parts if one)}, 400)
        return JSONResponse({"page": f"/new/{draft.id}"})

    @app.get("/download/collected/{run}/{kind}")
    async def collected(run: str, kind: str) -> Response:
        return _file(project.collected.path(run, kind), f"{kind}.jsonl")

    @app.get("/download/cleaned/{draft_id}/{name}")
    async def cleaned(draft_id: str, name: str) -> Response:
        found = {"rows": project.cleaned(draft_id), "changes": project.changes(draft_id)}.get(name)
        return _file(found, f"cleaned-{name}.jsonl")


def _file(path: Path | None, name: str) -> Response:
    if path is None or not path.is_file():
        return PlainTextResponse("There is no such file.", 404)
    return FileResponse(path, filename=name, media_type="application/x-ndjson")


def _add_pages(project: Project) -> None:
    """Every page at its address; a refusal is shown as a page."""

    def page(path: str, make: Callable[..., Awaitable[None]]) -> None:
        async def shown(request: Request) -> None:
            try:
                await make(project, **request.path_params)
            except InputError as error:
                with frame(project, "Not found"):
                    part("h1", "Not found")
                    refusal(error)
                    link("All runs", RUNS, "button")

        ui.page(path, response_timeout=30.0)(shown)

    page("/", runs_page)
    page("/new", new_page)
    page("/new/{draft_id}", data_page)
    page("/new/{draft_id}/plan", plan_page)
    page("/runs/{run_id}", run_page)
    page("/runs/{run_id}/use", use_page)
    page("/runs/{run_id}/{tab}", run_page)
    page("/compare/{names}", compare_page)
    page("/learn", learn_page)
    nicegui_app.on_exception(_note)

    def nothing_here() -> None:
        with frame(project, "Not found"):
            part("h1", "There is no such page")
            prose("The address may be old, or the run was deleted.", "lead")
            link("All runs", RUNS, "button")

    ui.page("/{_:path}")(lambda: nothing_here())


def _note(error: Exception) -> Any:
    """Failures of pages go to the log of the process."""
    _LOG.error("a page failed", exc_info=error)
