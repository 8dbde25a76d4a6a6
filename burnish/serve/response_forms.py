"""OpenAI's Responses, the core of it: what clients may ask, and the chat that it means."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, model_validator

from burnish.serve.chat_forms import ChatForm, Name
from burnish.serve.forms import Form, Text
from burnish.serve.refusals import refusal_of_form


class InputText(Form):
    """A part of a message."""

    type: Literal["input_text", "output_text"]
    text: Text
    annotations: Annotated[list[Any], Field(max_length=0)] | None = None
    logprobs: Annotated[list[Any], Field(max_length=0)] | None = None


class InputPicture(Form):
    """A picture as a part of a message."""

    type: Literal["input_image"]
    image_url: str
    detail: Literal["auto"] = "auto"


class _Item(Form):
    """What items of an answer have, which clients send back as they are."""

    id: str | None = None
    status: str | None = None


class InputMessage(_Item):
    """A turn."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[InputText | InputPicture]
    phase: None = None


class InputThought(_Item):
    """What the model has thought before."""

    type: Literal["reasoning"]
    summary: Annotated[list[Any], Field(max_length=0)] = []
    content: list[dict[str, str]] | None = None
    encrypted_content: None = None


class InputCall(_Item):
    """A call that the model has made before."""

    type: Literal["function_call"]
    call_id: str
    name: Name
    arguments: Text


class InputResult(_Item):
    """What a call has returned."""

    type: Literal["function_call_output"]
    call_id: str
    output: Text


class FunctionTool(Form):
    """A function that the model may call."""

    type: Literal["function"]
    name: Name
    description: Text | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ChosenTool(Form):
    """The only function to be called."""

    type: Literal["function"]
    name: Name


class TextFormat(Form):
    """The form of an answer."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)

    type: Literal["text", "json_object", "json_schema"]
    name: Name | None = None
    description: str | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None

    @model_validator(mode="after")
    def _check(self) -> Any:
        if (self.type == "json_schema") != (self.schema_ is not None and self.name is not None):
            raise ValueError("a name and a schema: with `json_schema`, and only with it")
        return self


class TextOptions(Form):
    """Of the words of an answer."""

    format: TextFormat | None = None


class ResponseForm(Form):
    """`POST /v1/responses`."""

    model: str
    input: Text | list[InputMessage | InputThought | InputCall | InputResult]
    instructions: Text | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: float | None = None
    top_p: float | None = None
    stream: bool | None = None
    store: Literal[False] | None = None
    """Nothing is stored."""
    text: TextOptions | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | ChosenTool | None = None
    parallel_tool_calls: bool | None = None
    metadata: dict[str, str] | None = None
    """Given back as it is."""

    def chat(self) -> ChatForm:
        """The chat that it means. Raises `Refusal` if that is none."""
        chosen = self.tool_choice
        form: dict[str, Any] = {
            "model": self.model,
            "messages": self._messages(),
            "max_completion_tokens": self.max_output_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "stream": self.stream,
            "tools": [_nested(tool) for tool in self.tools] if self.tools else None,
            "tool_choice": {"type": "function", "function": {"name": chosen.name}}
            if isinstance(chosen, ChosenTool)
            else chosen,
            "parallel_tool_calls": self.parallel_tool_calls if self.tools else None,
        }
        if self.text is not None and self.text.format is not None:
            wanted = self.text.format
            named = {"name": wanted.name, "schema": wanted.schema_}
            form["response_format"] = {
                "type": wanted.type,
                **({"json_schema": named} if wanted.type == "json_schema" else {}),
            }
        try:
            return ChatForm.model_validate(form)
        except ValidationError as error:
            raise refusal_of_form(error.errors()) from None

    def _messages(self) -> list[dict[str, Any]]:
        """The items as turns: a thought, words and calls that follow each other are one answer."""
        turns: list[dict[str, Any]] = []
        if self.instructions is not None:
            turns.append({"role": "system", "content": self.instructions})
        if isinstance(self.input, str):
            return [*turns, {"role": "user", "content": self.input}]
        is_open = False  # whether the last turn is an answer that may go on
        for item in self.input:
            if isinstance(item, InputResult):
                turns.append({"role": "tool", "tool_call_id": item.call_id, "content": item.output})
            elif isinstance(item, InputMessage) and item.role != "assistant":
                turns.append({"role": item.role, "content": _content(item.content)})
            else:
                if not is_open:
                    turns.append({"role": "assistant"})
                _add(turns[-1], item)
            is_open = turns[-1]["role"] == "assistant"
        return turns


def _add(turn: dict[str, Any], item: InputMessage | InputThought | InputCall) -> None:
    """Adds an item to an answer."""
    if isinstance(item, InputThought):
        turn["reasoning_content"] = "".join(part.get("text", "") for part in item.content or [])
    elif isinstance(item, InputCall):
        function = {"name": item.name, "arguments": item.arguments}
        turn.setdefault("tool_calls", []).append({"id": item.call_id, "type": "function", "function": function})
    else:
        turn["content"] = turn.get("content", "") + _words(item.content)


def _words(content: str | list[Any]) -> str:
    return (
        content if isinstance(content, str) else "".join(part.text for part in content if isinstance(part, InputText))
    )


def _content(content: str | list[Any]) -> str | list[dict[str, Any]]:
    """In the form of a chat."""
    if isinstance(content, str):
        return content
    return [
        {"type": "text", "text": part.text}
        if isinstance(part, InputText)
        else {"type": "image_url", "image_url": {"url": part.image_url, "detail": part.detail}}
        for part in content
    ]


def _nested(tool: FunctionTool) -> dict[str, Any]:
    function = {key: value for key, value in tool.model_dump(exclude={"type"}).items() if value is not None}
    return {"type": "function", "function": function}
