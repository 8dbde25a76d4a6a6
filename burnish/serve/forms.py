"""What clients may ask, in OpenAI's words. What is not supported is refused by name; nothing is ignored."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Text = Annotated[str, StringConstraints(max_length=4_000_000)]
_STOPS = 4
"""Stop texts of a request, as OpenAI allows."""


class Form(BaseModel):
    """A part of a request."""

    model_config = ConfigDict(extra="forbid", strict=True)


class StreamOptions(Form):
    """Of a streamed answer."""

    include_usage: bool = False


class Common(Form):
    """What all kinds of completion have."""

    model: str
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """Without it the most likely token is taken, as the run was evaluated."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    """Not of OpenAI, but of other servers: in `extra_body`. 0 for all tokens."""
    n: Annotated[int, Field(ge=1, le=16)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None

    @property
    def most(self) -> int | None:
        """New tokens."""
        return self.max_tokens

    @property
    def top(self) -> int | None:
        """How many log-probabilities each token gets; None for none."""
        return None

    @property
    def stops(self) -> list[str]:
        """Texts that end an answer."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or [])

    @model_validator(mode="after")
    def _check(self) -> Any:
        if len(self.stops) > _STOPS or any(not text for text in self.stops):
            raise ValueError(f"stop: between one and {_STOPS} texts, none of them empty")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options: only for streamed answers")
        return self


class CompletionForm(Common):
    """`POST /v1/completions`."""

    prompt: Text | list[Text] | list[int] | list[list[int]]
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    """0 with `echo`: only the log-probabilities of the prompt."""

    @property
    def top(self) -> int | None:
        """How many log-probabilities each token gets; None for none."""
        return self.logprobs

    def prompts(self) -> list[str | list[int]]:
        """Each as text or as token ids."""
        given: Any = self.prompt
        if isinstance(given, str) or (given and isinstance(given[0], int)):
            return [given]
        return list(given)

    @model_validator(mode="after")
    def _check_completion(self) -> Any:
        if not self.prompts() or any(not prompt for prompt in self.prompts()):
            raise ValueError("prompt: must not be empty")
        if self.stream and (self.echo or len(self.prompts()) > 1):
            raise ValueError("stream: only for one prompt, and without echo")
        if self.max_tokens == 0 and not self.echo:
            raise ValueError("max_tokens: 0 only with echo")
        return self
