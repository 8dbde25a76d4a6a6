"""What went wrong with a request, as OpenAI's clients read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from burnish.errors import BurnishError, InputError, MachineError


class Refusal(Exception):
    """A request that is not answered.

    Args:
        status: of HTTP.
        message: what is wrong, and what to do.
        code: for programs, such as `context_length_exceeded`.
        param: the part of the request that it is about.
    """

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param

    def body(self) -> dict[str, Any]:
        """OpenAI's error object."""
        kinds = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
        kind = kinds.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """As a response."""
        headers = {"Retry-After": "2"} if self.status in (429, 503) else None
        return JSONResponse(self.body(), self.status, headers)


def refusal_of(error: Exception) -> Refusal:
    """An error that came up while a request was answered."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, BurnishError):
        status = 400 if isinstance(error, InputError) else 503 if isinstance(error, MachineError) else 500
        status = 429 if getattr(error, "is_soon_over", False) else status
        return Refusal(status, " ".join(filter(None, (f"{error.what}.", error.why, error.fix and f"{error.fix}."))))
    return Refusal(500, "The server failed on this request; its log has the reason.")


def refuse_in_words(app: FastAPI) -> None:
    """Makes every error of an app one of OpenAI's objects."""

    @app.exception_handler(Refusal)
    async def refused(_: Request, error: Refusal) -> JSONResponse:
        return error.response()

    @app.exception_handler(BurnishError)
    async def failed(_: Request, error: BurnishError) -> JSONResponse:
        return refusal_of(error).response()

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> JSONResponse:
        return refusal_of(error).response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return refusal_of_form(error.errors()).response()

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> JSONResponse:
        message = str(error.detail)
        if error.status_code == 404:
            message = f"There is no `{request.method} {request.url.path}` here."
        elif error.status_code == 405:
            message = f"`{request.url.path}` does not take {request.method}."
        return Refusal(error.status_code, message).response()


_WHERE = ("body", "query", "path")


def refusal_of_form(errors: Sequence[Any]) -> Refusal:
    """What is wrong with the first wrong part of a request."""
    first = errors[0]
    param = ".".join(str(part) for part in first["loc"] if part not in _WHERE) or None
    if first["type"] == "json_invalid":
        return Refusal(400, "The body of the request is not valid JSON.")
    if first["type"] == "extra_forbidden":
        return Refusal(400, f"`{param}` is not supported by this server.", "unsupported_parameter", param)
    if first["type"] == "missing":
        return Refusal(400, f"`{param}` is missing." if param else "The body of the request is missing.", None, param)
    message = str(first["msg"]).removeprefix("Value error, ")
    if param is None and ": " in message:  # about the whole form, and names the part that it means
        param, message = message.split(": ", 1)
    return Refusal(400, f"`{param}`: {message}." if param else f"{message[:1].upper()}{message[1:]}.", None, param)
