"""A chat as clients may ask for it: turns, pictures, tools, and the form of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationError,
    model_validator,
)

from burnish.serve.forms import Common, Form, Text

_MOST_TOOLS = 128
"""As OpenAI allows."""


class TextPart(Form):
    """A text as one of several parts of a message."""

    type: Literal["text"]
    text: Text


class Picture(Form):
    """Where a picture is: in the request itself."""

    url: Annotated[str, StringConstraints(pattern=r"^data:image/[a-z0-9.+-]+;base64,")]
    detail: Literal["auto"] = "auto"


class PicturePart(Form):
    """A picture as one of several parts of a message."""

    type: Literal["image_url"]
    image_url: Picture


def _shape(content: Any) -> str:
    return "parts" if isinstance(content, list) else "text"


Words = Annotated[
    Annotated[Text, Tag("text")] | Annotated[list[TextPart], Tag("parts")],
    Discriminator(_shape),
]
"""A text, or its parts."""
Shown = Annotated[
    Annotated[Text, Tag("text")]
    | Annotated[list[Annotated[TextPart | PicturePart, Field(discriminator="type")]], Tag("parts")],
    Discriminator(_shape),
]
"""The same, with pictures."""


class Instruction(Form):
    """What a system or a developer says; a developer's instructions are the system's."""

    role: Literal["system", "developer"]
    content: Words

    def turn(self) -> dict[str, Any]:
        """As templates take it."""
        return {"role": "system", "content": _text(self.content)}


class Question(Form):
    """A user's turn."""

    role: Literal["user"]
    content: Shown

    def turn(self) -> dict[str, Any]:
        """As templates take it; what pictures there are is left out."""
        return {"role": "user", "content": _text([part for part in self.content if not isinstance(part, PicturePart)])}

    def parts(self) -> dict[str, Any]:
        """The same for a model that takes pictures: in parts, so that no text is read as the name of a file."""
        given = [TextPart(type="text", text=self.content)] if isinstance(self.content, str) else self.content
        content = [
            {"type": "text", "text": part.text}
            if isinstance(part, TextPart)
            else {"type": "image", "source": part.image_url.url}
            for part in given
        ]
        return {"role": "user", "content": content}

    @property
    def has_pictures(self) -> bool:
        """Whether it shows any."""
        return any(isinstance(part, PicturePart) for part in self.content)


class CalledFunction(Form):
    """What was called."""

    name: str
    arguments: Text
    """JSON."""


class ToolCall(Form):
    """A call that the model has made before."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class Reply(Form):
    """What the model has answered before."""

    role: Literal["assistant"]
    content: Words | None = None
    tool_calls: list[ToolCall] | None = None
    reasoning_content: Text | None = None
    refusal: None = None
    """This and the following are in answers, which clients send back as they are."""
    annotations: Annotated[list[Any], Field(max_length=0)] | None = None
    audio: None = None
    function_call: None = None

    def turn(self) -> dict[str, Any]:
        """As templates take it."""
        calls = {"tool_calls": [call.model_dump() for call in self.tool_calls]} if self.tool_calls else {}
        thought = {"reasoning_content": self.reasoning_content} if self.reasoning_content else {}
        return {"role": "assistant", "content": _text(self.content or ""), **thought, **calls}

    @model_validator(mode="after")
    def _check(self) -> Any:
        if not self.content and not self.tool_calls:
            raise ValueError("an assistant's message needs content or tool_calls")
        return self


class Result(Form):
    """What a call has returned."""

    role: Literal["tool"]
    content: Words
    tool_call_id: str

    def turn(self) -> dict[str, Any]:
        """As templates take it."""
        return {"role": "tool", "content": _text(self.content), "tool_call_id": self.tool_call_id}


Turn = Annotated[Instruction | Question | Reply | Result, Field(discriminator="role")]


def _text(content: str | list[Any]) -> str:
    if isinstance(content, str):
        return content
    return "".join(part if isinstance(part, str) else part.text for part in content)


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class _Function(Form):
    """What the model may call."""

    name: Name
    description: Text | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


def _checked(function: Mapping[str, Any]) -> Mapping[str, Any]:
    """A function as it is given, in the order of its keys: templates write it so."""
    try:
        _Function.model_validate(function)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        unknown = first["type"] == "extra_forbidden"
        raise ValueError(f"`{place}` {'is not supported by this server' if unknown else first['msg']}") from None
    return function


class Tool(Form):
    """A function that the model may call."""

    type: Literal["function"]
    function: Annotated[dict[str, Any], AfterValidator(_checked)]

    @property
    def is_strict(self) -> bool:
        """Whether its arguments have to be as its parameters say."""
        return bool(self.function.get("strict"))

    def listed(self) -> dict[str, Any]:
        """As templates take it."""
        kept = {key: value for key, value in self.function.items() if key != "strict" and value is not None}
        return {"type": "function", "function": kept}


class NamedFunction(Form):
    """Of a choice."""

    name: Name


class NamedTool(Form):
    """The only function to be called."""

    type: Literal["function"]
    function: NamedFunction


class JsonSchema(Form):
    """What the answer is to look like. Name and description are for people."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)

    name: Name
    description: str | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    strict: bool | None = None
    """The schema is always followed."""


class ResponseFormat(Form):
    """The form of an answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @property
    def schema_of_answer(self) -> dict[str, Any] | None:
        """None if any text will do."""
        if self.json_schema is not None:
            return self.json_schema.schema_
        return {"type": "object"} if self.type == "json_object" else None

    @model_validator(mode="after")
    def _check(self) -> Any:
        if (self.json_schema is not None) != (self.type == "json_schema"):
            raise ValueError("json_schema: with this type, and only with it")
        return self


class ChatForm(Common):
    """`POST /v1/chat/completions`."""

    messages: Annotated[list[Turn], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(min_length=1, max_length=_MOST_TOOLS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None

    @property
    def most(self) -> int | None:
        """New tokens."""
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens

    @property
    def top(self) -> int | None:
        """How many log-probabilities each token gets; None for none."""
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def usable_tools(self) -> list[Tool]:
        """Those that the model learns of: none if it is to call none."""
        return [] if self.tool_choice == "none" else self.tools or []

    @property
    def demanded_tools(self) -> list[Tool]:
        """Those of which one has to be called; none if the model may answer in words."""
        if isinstance(self.tool_choice, NamedTool):
            name = self.tool_choice.function.name
            return [tool for tool in self.tools or [] if tool.function["name"] == name]
        return self.usable_tools if self.tool_choice == "required" else []

    @property
    def is_one_call(self) -> bool:
        """Whether the answer may have one call at most."""
        return self.parallel_tool_calls is False or isinstance(self.tool_choice, NamedTool)

    @model_validator(mode="after")
    def _check_chat(self) -> Any:
        if self.max_completion_tokens is not None and self.max_tokens is not None:
            raise ValueError("max_tokens: give it or max_completion_tokens, not both")
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs: only with logprobs")
        return self

    @model_validator(mode="after")
    def _check_tools(self) -> Any:
        names = [tool.function["name"] for tool in self.tools or []]
        if len(set(names)) < len(names):
            raise ValueError("tools: two functions have the same name")
        if not names and self.tool_choice not in (None, "none"):
            raise ValueError("tool_choice: only with tools")
        if not names and self.parallel_tool_calls is not None:
            raise ValueError("parallel_tool_calls: only with tools")
        if isinstance(self.tool_choice, NamedTool) and not self.demanded_tools:
            raise ValueError(f"tool_choice: `{self.tool_choice.function.name}` is none of the tools")
        if not self.demanded_tools and any(tool.is_strict for tool in self.usable_tools):
            raise ValueError(
                "tools: `strict` holds only where a call is demanded, with tool_choice `required` or a function"
            )
        if self.usable_tools and self.response_format is not None and self.response_format.type != "text":
            raise ValueError("response_format: not together with tools; the answer would be one or the other")
        return self
