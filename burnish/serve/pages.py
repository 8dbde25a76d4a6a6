"""Lists in pages, as OpenAI's clients turn them: `after` an id, at most `limit`; and calls that may be refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, Protocol, TypeVar

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from burnish.errors import BurnishError
from burnish.jobs.files import MissingFile
from burnish.jobs.queue import MissingJob
from burnish.serve.refusals import Refusal, refusal_of

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Listed(Protocol):
    """What a list is of."""

    @property
    def id(self) -> str:
        """By which the next page begins after it."""
        ...


Item = TypeVar("Item", bound=Listed)


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is wanted."""

    after: str | None
    """The id of the last one that the client has; None from the beginning."""
    limit: int

    def of(self, items: Sequence[Item], show: Callable[[Item], dict[str, Any]]) -> dict[str, Any]:
        """That part of a list, as OpenAI's object.

        Args:
            items: all of it, each with an id, in the order of the pages.
            show: makes an object of one.

        Raises:
            Refusal: `after` is none of them.
        """
        begin = 0
        if self.after is not None:
            places = [place for place, item in enumerate(items) if item.id == self.after]
            if not places:
                raise Refusal(404, f"`after` is `{self.after[:80]}`, which is not in this list.", None, "after")
            begin = places[0] + 1
        data = [show(item) for item in items[begin : begin + self.limit]]
        return {
            "object": "list",
            "data": data,
            "has_more": begin + len(data) < len(items),
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
        }


def page_of(request: Request, usual: int, most: int = 100, others: Sequence[str] = ()) -> Page:
    """The part of a list that a request asks for.

    Args:
        request: of the list.
        usual: length of a page without `limit`.
        most: what `limit` may be.
        others: further parameters that the list takes.

    Raises:
        Refusal: it has another parameter, or one twice, or `limit` is not a number in that range.
    """
    names = [name for name, _ in request.query_params.multi_items()]
    for name in names:
        if name not in ("after", "limit", *others):
            raise Refusal(400, f"`{name}` is not supported by this server.", "unsupported_parameter", name)
        if names.count(name) > 1:
            raise Refusal(400, f"`{name}` is given twice.", None, name)
    limit = request.query_params.get("limit", str(usual))
    if not (limit.isascii() and limit.isdecimal() and len(limit) < 9 and 1 <= int(limit) <= most):
        raise Refusal(400, f"`limit` has to be a number from 1 to {most:,}.", None, "limit")
    return Page(request.query_params.get("after"), int(limit))


async def attempt(
    param: str | None,
    function: Callable[Parameters, Result],
    *values: Parameters.args,
    **named: Parameters.kwargs,
) -> Result:
    """Calls a function that reads or writes files, beside the server's own thread.

    Raises:
        Refusal: it raised an error for the user.
    """
    try:
        return await run_in_threadpool(function, *values, **named)
    except (MissingFile, MissingJob) as error:
        raise Refusal(404, refusal_of(error).message, "not_found", param) from error
    except BurnishError as error:
        found = refusal_of(error)
        raise Refusal(found.status, found.message, None, param) from error
