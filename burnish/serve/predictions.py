"""Routes of models that do not write: labels, scores, rankings, entities and passages, in the forms of vLLM and of
transformers' pipelines."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from burnish.serve.answers import Models
from burnish.serve.forms import Form, Text
from burnish.serve.refusals import Refusal

if TYPE_CHECKING:
    from burnish.inference.served import Predicting

_AT_ONCE = 16
"""Rows between two turns of the engine."""
_MOST_ROWS = 2048
"""Of a request, as OpenAI allows for embeddings."""

Texts = Annotated[str, Field(max_length=4_000_000)] | Annotated[list[Text], Field(min_length=1, max_length=_MOST_ROWS)]


class Asked(Form):
    """What all of them have."""

    model: str
    truncate: bool = False
    """Whether a text beyond the context of the run is cut, as in training, rather than refused."""


class TextsForm(Asked):
    """Texts, or pairs of texts if the run was trained on pairs."""

    input: Texts | None = None
    text_1: Texts | None = None
    text_2: Texts | None = None

    def rows(self, fields: Sequence[str]) -> list[list[str]]:
        """The texts of each row. Raises `Refusal` unless these fields are there, and no others."""
        given = {name: getattr(self, name) for name in ("input", "text_1", "text_2")}
        wrong = [name for name, value in given.items() if (value is not None) != (name in fields)]
        if wrong:
            message = f"This model reads {' and '.join(f'`{name}`' for name in fields)}."
            raise Refusal(400, message, None, wrong[0])
        columns = [[value] if isinstance(value, str) else value for value in map(given.__getitem__, fields)]
        longest = max(map(len, columns))
        # one text is paired with each of the others
        columns = [column * longest if len(column) == 1 else column for column in columns]
        if any(len(column) != longest for column in columns):
            raise Refusal(
                400, "Both lists of texts have to be as long as each other, or one has one text.", None, "text_2"
            )
        return [list(row) for row in zip(*columns, strict=True)]


class RerankForm(Asked):
    """A query, and texts to be ordered by it."""

    query: Text
    documents: Annotated[list[Text], Field(min_length=1, max_length=_MOST_ROWS)]
    top_n: Annotated[int, Field(ge=1)] | None = None


class TagForm(Form):
    """Texts whose entities are asked for."""

    model: str
    input: Texts


class QuestionForm(Form):
    """A question about a text."""

    model: str
    question: Text
    context: Text


def predictions_router(models: Models) -> APIRouter:
    """The routes."""
    router = APIRouter()

    @router.post("/v1/classify")
    async def classify(form: TextsForm) -> dict[str, Any]:
        served = models.find_predicting(form.model, "labels")
        rows = form.rows(served.predictor.fields)
        found = await _predicted(models, served, rows, form.truncate)
        data = [
            {
                "index": index,
                "label": one.given[0] if one.given else None,
                "labels": list(one.given),
                "probs": list(one.probabilities),
                "num_classes": len(one.names),
            }
            for index, one in enumerate(found)
        ]
        return {**_head("classify", form.model), "classes": list(found[0].names), "data": data, **_usage(served, rows)}

    @router.post("/v1/score")
    async def score(form: TextsForm) -> dict[str, Any]:
        served = models.find_predicting(form.model, "number")
        rows = form.rows(served.predictor.fields)
        found = await _predicted(models, served, rows, form.truncate)
        data = [{"index": index, "object": "score", "score": value} for index, value in enumerate(found)]
        return {**_head("score", form.model), "data": data, **_usage(served, rows)}

    @router.post("/v1/rerank")
    async def rerank(form: RerankForm) -> dict[str, Any]:
        served = models.find_predicting(form.model, "number")
        if len(served.predictor.fields) != 2:
            message = f"The model `{form.model}` scores single texts, not pairs. Use `/v1/score`."
            raise Refusal(400, message, None, "model")
        rows = [[form.query, document] for document in form.documents]
        found = await _predicted(models, served, rows, form.truncate)
        order = sorted(range(len(found)), key=lambda index: -found[index])[: form.top_n]
        results = [
            {"index": index, "document": {"text": form.documents[index]}, "relevance_score": found[index]}
            for index in order
        ]
        return {"id": f"rerank-{uuid.uuid4().hex}", "model": form.model, "results": results, **_usage(served, rows)}

    @router.post("/v1/tag")
    async def tag(form: TagForm) -> dict[str, Any]:
        served = models.find_predicting(form.model, "entities")
        rows = [[text] for text in ([form.input] if isinstance(form.input, str) else form.input)]
        found = await _predicted(models, served, rows, False)
        data = [
            {"index": index, "entities": [_entity(one, rows[index][0]) for one in entities]}
            for index, entities in enumerate(found)
        ]
        return {**_head("tag", form.model), "data": data, **_usage(served, rows)}

    @router.post("/v1/fill-mask")
    async def fill_mask(form: TagForm) -> dict[str, Any]:
        served = models.find_predicting(form.model, "words")
        rows = [[text] for text in ([form.input] if isinstance(form.input, str) else form.input)]
        found = await _predicted(models, served, rows, False)
        data = [
            {"index": index, "masks": [[{"token_str": word, "score": share} for word, share in mask] for mask in masks]}
            for index, masks in enumerate(found)
        ]
        return {**_head("fill-mask", form.model), "data": data, **_usage(served, rows)}

    @router.post("/v1/answer")
    async def answer(form: QuestionForm) -> dict[str, Any]:
        served = models.find_predicting(form.model, "passage")
        rows = [[form.question, form.context]]
        (found,) = await _predicted(models, served, rows, False)
        span = {"start": found.begin, "end": found.end, "score": found.probability}
        return {"model": form.model, "answer": form.context[found.begin : found.end], **span, **_usage(served, rows)}

    return router


async def _predicted(models: Models, served: Predicting, rows: list[list[str]], truncates: bool) -> list[Any]:
    """What a model says of each row, some of them at a time so that others need not wait for all."""
    if not truncates:
        for number, row in enumerate(rows):
            if over := served.predictor.num_left_out(row):
                message = f"Text {number} is {over:,} tokens longer than the context that the run was trained with."
                raise Refusal(400, f"{message} `truncate: true` cuts it, as in training.", "context_length_exceeded")
    found: list[Any] = []
    for begin in range(0, len(rows), _AT_ONCE):
        found += await models.do(partial(served.predict, rows[begin : begin + _AT_ONCE]))
    return found


def _entity(found: Any, text: str) -> dict[str, Any]:
    """As transformers' pipeline gives it."""
    place = {"start": found.begin, "end": found.end}
    return {"entity_group": found.kind, "score": found.probability, "word": text[found.begin : found.end], **place}


def _head(prefix: str, model: str) -> dict[str, Any]:
    return {"id": f"{prefix}-{uuid.uuid4().hex}", "object": "list", "created": int(time.time()), "model": model}


def _usage(served: Predicting, rows: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Tokens of the texts."""
    texts = [text for row in rows for text in row]
    tokens = sum(map(len, served.session.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]))
    return {"usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
