"""What all answers have in common: the models, the prompt with its options as the engine takes it, several at once."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from burnish.serve.forms import Common
from burnish.serve.refusals import Refusal
from burnish.serve.writing import Manner, Piece, write

if TYPE_CHECKING:
    from burnish.decoding.row import Asked
    from burnish.inference.embedding import Embedding
    from burnish.inference.engine import Engine
    from burnish.inference.grammar import Guide
    from burnish.inference.served import Offered, Predicting, Served

_ROUTES = {
    "labels": "/v1/classify",
    "number": "/v1/score",
    "entities": "/v1/tag",
    "passage": "/v1/answer",
    "words": "/v1/fill-mask",
}
"""By what a model predicts."""
_USUAL = 4096
"""New tokens of an answer, if nothing is said and the model has room."""


@dataclass(frozen=True, slots=True)
class Models:
    """What answers."""

    engine: Engine
    served: Mapping[str, Offered]
    missing: Callable[[str], Refusal | None] = lambda _: None
    """Says why there is no model of a name, if more is known than that."""

    def named(self, name: str) -> Offered:
        """A model by name. Raises `Refusal` if there is none."""
        if name not in self.served:
            if (refusal := self.missing(name)) is not None:
                raise refusal
            known = ", ".join(f"`{one}`" for one in list(self.served))
            message = f"There is no model `{name}` here. This server has {known}."
            raise Refusal(404, message, "model_not_found", "model")
        return self.served[name]

    def find(self, name: str) -> Served:
        """A model that writes. Raises `Refusal` if it does not."""
        from burnish.inference.served import Served

        found = self.named(name)
        if not isinstance(found, Served):
            raise self.misplaced(found)
        return found

    def find_predicting(self, name: str, kind: str) -> Predicting:
        """A model that predicts something of this kind. Raises `Refusal` if it does not."""
        from burnish.inference.served import Predicting

        found = self.named(name)
        if not isinstance(found, Predicting) or found.session.task.predicts != kind:
            raise self.misplaced(found)
        return found

    def find_embedding(self, name: str) -> Embedding:
        """A model that gives vectors. Raises `Refusal` if it does not."""
        from burnish.inference.embedding import Embedding

        found = self.named(name)
        if not isinstance(found, Embedding):
            raise self.misplaced(found)
        return found

    @staticmethod
    def misplaced(found: Offered) -> Refusal:
        """That a model answers elsewhere."""
        from burnish.inference.served import Predicting, Served

        if isinstance(found, Served):
            routes = (
                "/v1/chat/completions` or `/v1/completions" if found.session.task.reads_turns else "/v1/completions"
            )
        elif isinstance(found, Predicting):
            routes = _ROUTES[found.session.task.predicts]
        else:
            routes = "/v1/embeddings"
        return Refusal(400, f"The model `{found.name}` cannot be asked that. Use `{routes}`.", None, "model")

    async def do(self, job: Callable[[], Any]) -> Any:
        """What a job returns that the engine does between two turns; raises what it raises."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()

        def settle(found: Any, error: Exception | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(found)
            else:
                done.set_exception(error)

        def end(found: Any, error: Exception | None) -> None:
            loop.call_soon_threadsafe(settle, found, error)

        self.engine.do(job, end)
        return await done


def asked_of(
    served: Served,
    form: Common,
    ids: list[int],
    number: int,
    guide: Guide | None = None,
    param: str = "prompt",
    inputs: Mapping[str, Any] | None = None,
) -> Asked:
    """One prompt as the engine takes it.

    Args:
        served: the model.
        form: the request.
        ids: of the prompt.
        number: of the answer, from 0: each of several has a seed of its own.
        guide: what the answer may be; None for anything.
        param: the part of the request that the prompt comes from.
        inputs: what the prompt needs besides its tokens.
    """
    from burnish.decoding.row import Asked
    from burnish.decoding.sampling import Sampling

    room = served.room - len(ids)
    most = form.most if form.most is not None else max(1, min(_USUAL, room))
    if room < max(1, form.most or 0):
        message = (
            f"The prompt has {len(ids):,} tokens and the answer may have {most:,}; `{served.name}` has room for "
            f"{served.room:,} together."
        )
        raise Refusal(400, message, "context_length_exceeded", param)
    bias = {_token_id(name, served): amount for name, amount in (form.logit_bias or {}).items()}
    sampling = Sampling(
        temperature=form.temperature or 0.0,
        top_p=1.0 if form.top_p is None else form.top_p,
        top_k=form.top_k or 0,
        presence_penalty=form.presence_penalty or 0.0,
        frequency_penalty=form.frequency_penalty or 0.0,
        logit_bias=bias,
        seed=None if form.seed is None else form.seed + number,
    )
    asked = Asked(ids, frozenset(served.session.task.predictor.stop_ids), most, sampling, form.top, guide, inputs)
    if refused := served.batch.refuses(asked):
        raise Refusal(400, f"The model `{served.name}` cannot do that: {refused}")
    return asked


def _token_id(name: str, served: Served) -> int:
    if not name.isdecimal() or int(name) >= served.vocabulary:
        message = f"`logit_bias` has `{name}`, which is no token id below {served.vocabulary:,}."
        raise Refusal(400, message, None, "logit_bias")
    return int(name)


async def together(
    models: Models, served: Served, asked: Sequence[Asked], manners: Sequence[Manner]
) -> AsyncGenerator[tuple[int, Piece], None]:
    """The pieces of several answers as they come, each with the number of its answer."""
    queue = asyncio.Queue[Any]()

    async def follow(number: int) -> None:
        try:
            async for piece in write(models.engine, served, asked[number], manners[number]):
                await queue.put((number, piece))
        except Exception as error:  # noqa: BLE001  raised where the parts are taken
            await queue.put((number, error))

    tasks = [asyncio.create_task(follow(number)) for number in range(len(asked))]
    left = len(asked)
    try:
        while left:
            number, piece = await queue.get()
            if isinstance(piece, Exception):
                raise piece
            left -= piece.reason is not None
            yield number, piece
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def head(prefix: str, kind: str, form: Common) -> dict[str, Any]:
    """What each answer begins with."""
    return {"id": f"{prefix}-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": form.model}


def usage(prompt: int, new: int) -> dict[str, int]:
    """Tokens of prompts and answers."""
    return {"prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new}
