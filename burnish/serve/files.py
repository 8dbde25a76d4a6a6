"""`/v1/files`: rows that are uploaded for jobs, checked as `burnish check` does, and the tables that jobs make."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse
from starlette.datastructures import UploadFile

from burnish.jobs.files import RESULTS, ROWS, FileStore, StoredFile
from burnish.jobs.queue import Queue
from burnish.serve.pages import attempt, page_of
from burnish.serve.refusals import Refusal

_FIELDS = ("file", "purpose")
_LIST = 10_000


def file_routes(queue: Queue) -> APIRouter:
    """The routes of the stored files.

    Args:
        queue: whose files they are.
    """
    router, store = APIRouter(prefix="/v1/files"), queue.files

    @router.post("")
    async def upload(request: Request) -> dict[str, Any]:
        return file_object(store, await _uploaded(store, request))

    @router.get("")
    async def list_files(request: Request) -> dict[str, Any]:
        return await _listed(store, request)

    @router.get("/{file_id}")
    async def retrieve(file_id: str) -> dict[str, Any]:
        return await attempt("file_id", lambda: file_object(store, store.get(file_id)))

    @router.get("/{file_id}/content")
    async def content(file_id: str) -> FileResponse:
        file = await attempt("file_id", store.get, file_id)
        return FileResponse(store.content(file), media_type="application/octet-stream")

    @router.delete("/{file_id}")
    async def delete(file_id: str) -> dict[str, Any]:
        file = await attempt("file_id", store.get, file_id)
        if users := queue.uses(file.id):
            message = f"The job `{users[0]}` still reads this file. Cancel it, or wait for its end."
            raise Refusal(400, message, "file_in_use", "file_id")
        await attempt("file_id", store.remove, file.id)
        return {"id": file.id, "object": "file", "deleted": True}

    return router


async def _uploaded(store: FileStore, request: Request) -> StoredFile:
    """Stores the file of a request."""
    async with request.form(max_files=1, max_fields=16, max_part_size=1 << 12) as form:
        for name in form:
            if name not in _FIELDS:
                param = name.partition("[")[0]
                raise Refusal(400, f"`{param}` is not supported by this server.", "unsupported_parameter", param)
        purpose, file = form.get("purpose"), form.get("file")
        if purpose != ROWS:
            raise Refusal(400, f"`purpose` has to be `{ROWS}`: files are taken for training only.", None, "purpose")
        if not isinstance(file, UploadFile):
            raise Refusal(400, "`file` is missing.", None, "file")
        return await attempt("file", store.add, file.file, file.filename or "", ROWS)


async def _listed(store: FileStore, request: Request) -> dict[str, Any]:
    """The part of the list that a request asks for."""
    page = page_of(request, _LIST, _LIST, ("purpose", "order"))
    order, purpose = (request.query_params.get(name, usual) for name, usual in (("order", "desc"), ("purpose", "")))
    if order not in ("asc", "desc"):
        raise Refusal(400, "`order` is `asc` or `desc`.", None, "order")
    if purpose not in ("", ROWS, RESULTS):
        raise Refusal(400, f"`purpose` is `{ROWS}` or `{RESULTS}`.", None, "purpose")

    files = [file for file in store.all() if purpose in ("", file.purpose)]
    return await attempt(None, page.of, files if order == "asc" else files[::-1], lambda file: file_object(store, file))


def file_object(store: FileStore, file: StoredFile) -> dict[str, Any]:
    """OpenAI's `file`."""
    status, details = store.state(file)
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": int(file.created),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": status,
        "status_details": details or None,
        "expires_at": None,
    }
