"""`/v1/embeddings`: a vector for each text."""

from __future__ import annotations

import base64
import struct
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field

from burnish.serve.answers import Models
from burnish.serve.forms import Form, Text

_AT_ONCE = 16
"""Texts between two turns of the engine."""
_MOST_ROWS = 2048
"""Of a request, as OpenAI allows."""


class EmbeddingForm(Form):
    """`POST /v1/embeddings`."""

    model: str
    input: (
        Annotated[str, Field(min_length=1)]
        | Annotated[list[Annotated[Text, Field(min_length=1)]], Field(min_length=1, max_length=_MOST_ROWS)]
        | Annotated[list[int], Field(min_length=1)]
        | Annotated[list[Annotated[list[int], Field(min_length=1)]], Field(min_length=1, max_length=_MOST_ROWS)]
    )
    encoding_format: Literal["float", "base64"] = "float"

    def texts(self) -> list[str | list[int]]:
        """Each as text or as token ids."""
        given: Any = self.input
        return [given] if isinstance(given, str) or isinstance(given[0], int) else list(given)


def embeddings_router(models: Models) -> APIRouter:
    """The route."""
    router = APIRouter()

    @router.post("/v1/embeddings")
    async def embed(form: EmbeddingForm) -> dict[str, Any]:
        served = models.find_embedding(form.model)
        ids = [served.ids_of(text) for text in form.texts()]
        vectors: list[list[float]] = []
        for begin in range(0, len(ids), _AT_ONCE):
            vectors += await models.do(partial(served.vectors, ids[begin : begin + _AT_ONCE]))
        data = [
            {"object": "embedding", "index": index, "embedding": _spelled(vector, form.encoding_format)}
            for index, vector in enumerate(vectors)
        ]
        tokens = sum(map(len, ids))
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": data, "model": form.model, "usage": usage}

    return router


def _spelled(vector: list[float], encoding: str) -> list[float] | str:
    """As numbers, or as the bytes of little-endian fp32."""
    return vector if encoding == "float" else base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
