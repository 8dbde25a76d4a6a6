"""Tools in the data: their descriptions, and the calls of answers, in OpenAI's form or forms close to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from burnish.data.rows.patterns import TOOLS
from burnish.data.rows.row import RowError, as_json, parse_json_text, pick

_ARGUMENTS = ("arguments", "parameters", "input", "args", "kwargs")
"""Keys that hold the arguments of a call: OpenAI's, Llama's, Anthropic's and others."""
_SCHEMAS = ("input_schema", "inputSchema", "schema")
"""Keys that other interfaces have for what OpenAI calls `parameters`."""
_LISTS = ("functionDeclarations", "function_declarations")
"""Keys under which Gemini lists the functions of a tool."""
_DESCRIBED = {"parameters", "description", *_SCHEMAS}
_DESCRIBING = ("system", "developer")


def read_calls(value: Any, number: int) -> list[dict[str, Any]]:
    """Tool calls in OpenAI's form, from the same form, from `{"name", "arguments"}`, or from either as JSON text.

    Raises:
        RowError: a call has no name, or its arguments are not an object.
    """
    value = parse_json_text(value, f"the tool call of message {number}")
    calls = value if isinstance(value, list) else [value]
    return [read_call(call, number) for call in calls]


def read_call(call: Any, number: int) -> dict[str, Any]:
    """One tool call in OpenAI's form. Raises RowError as `read_calls` does."""
    function = call.get("function") or call if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise RowError(f"the tool call of message {number} has no function name")
    name = next((name for name in _ARGUMENTS if function.get(name) is not None), _ARGUMENTS[0])
    others = [key for key, value in function.items() if key not in (*_ARGUMENTS, "name") and isinstance(value, dict)]
    if others and function.get(name) is None:
        raise RowError(f"the tool call of message {number} has no `{name}`, but `{others[0]}`")
    arguments = parse_json_text(function.get(name), f"the tool call's arguments in message {number}")
    if not isinstance(arguments, dict) and arguments is not None:
        raise RowError(f"the tool call's arguments in message {number} are not an object")
    as_json(call, f"the tool call of message {number}")
    read = {"type": "function", "function": {"name": function["name"], "arguments": arguments or {}}}
    return {"id": call["id"], **read} if isinstance(call.get("id"), str) else read


def read_tools(value: Any) -> tuple[dict[str, Any], ...] | None:
    """Tool descriptions in OpenAI's form, from a list, one object, or either as JSON text; None if there are none.

    Raises:
        RowError: a tool has no name.
    """
    value = parse_json_text(value, "tools")
    if not value:
        return None
    tools = []
    for tool in _each_tool(value):
        function = tool.get("function") or tool if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not function.get("name"):
            raise RowError("a tool in `tools` has no name")
        as_json(tool, "tools")
        described = _with_parameters(function)
        tools.append({**tool, "function": described} if "function" in tool else _as_function(described))
    return tuple(tools)


def _each_tool(value: Any) -> list[Any]:
    """The tools of a cell one by one: Gemini lists several in one object, and Bedrock has an object around each."""
    found = value.get("tools", value) if isinstance(value, dict) else value
    tools: list[Any] = []
    for tool in found if isinstance(found, list) else [found]:
        if not isinstance(tool, dict):
            tools.append(tool)
            continue
        listed = next((tool[key] for key in _LISTS if isinstance(tool.get(key), list)), None)
        tools += [tool.get("toolSpec", tool)] if listed is None else listed
    return tools


def _as_function(described: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": described}


def _with_parameters(function: Mapping[str, Any]) -> Mapping[str, Any]:
    """The description of a function with its parameters as an object under `parameters`, where templates read them."""
    schema = function.get("parameters")
    if isinstance(schema, str):
        return {**function, "parameters": parse_json_text(schema, "the parameters of a tool")}
    other = next((name for name in _SCHEMAS if isinstance(function.get(name), dict)), None)
    if schema is not None or other is None:
        return function
    bare = {("parameters" if name == other else name): value for name, value in function.items()}
    inner = bare["parameters"].get("json")  # as in Bedrock's `{"inputSchema": {"json": ...}}`
    return {**bare, "parameters": inner} if isinstance(inner, dict) else bare


def tools_inside(messages: Any) -> tuple[dict[str, Any], ...] | None:
    """The tools that a system message has under `tools`; None if none has any. Raises RowError as `read_tools`."""
    if not isinstance(messages, (list, tuple)):
        return None
    has = (one for one in messages if isinstance(one, dict) and one.get("role") in _DESCRIBING and one.get("tools"))
    found = next(has, None)
    return read_tools(found["tools"]) if found is not None else None


def are_tools(cell: Any) -> bool:
    """Whether a cell seems to describe tools: objects with a name and what the tool takes or does."""
    try:
        found = parse_json_text(cell, "")
    except RowError:
        return False
    found = found if isinstance(found, list) else [found]
    functions = [tool.get("function") or tool if isinstance(tool, dict) else None for tool in found]
    return bool(functions) and all(
        isinstance(one, dict) and isinstance(one.get("name"), str) and not _DESCRIBED.isdisjoint(one)
        for one in functions
    )


def tools_of(values: Mapping[str, Any]) -> tuple[dict[str, Any], ...] | None:
    """The tools of a row, from `tools` or, as they were once called, `functions`. Raises RowError as `read_tools`."""
    return read_tools(pick(values, TOOLS)[1])
