"""Tools, thoughts and answers of a given form over HTTP, asked by the official client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any

import openai
import pydantic
import pytest

from burnish.decoding.batch import Batch
from burnish.decoding.row import Row, Token
from burnish.inference.served import Served, open_models
from tests.e2e.serving import Server, start
from tests.tiny_models import make_network, make_tokenizer, save_model

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of some days.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "enum": ["Rome", "Paris"]},
                "days": {"type": "integer", "minimum": 1, "maximum": 9},
            },
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
NOW: dict[str, Any] = {"type": "function", "function": {"name": "now"}}
ASKED: Any = [{"role": "user", "content": "What is the weather?"}]
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome", "days": 2}}\n</tool_call>'


class Scripted(Batch):
    """Writes a given text, whatever the logits are."""

    script: list[int]

    def _take(self, row: Row, logits: Any) -> Token | None:
        row.new.append(self.script[len(row.new)])
        row.ended = "stop" if len(row.new) == len(self.script) else None
        return Token(row.new[-1])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Served]:
    """A model without an idea, with room for tools, in fp32 on every machine."""
    network = make_network("llama", max_position_embeddings=4096)
    folder = save_model(tmp_path_factory.mktemp("roomy"), network, make_tokenizer())
    one = open_models([f"plain={folder}"], "runs", None, False, print)["plain"]
    return {"plain": replace(one, batch=Batch(one.session.network.float(), "fp32"))}


@pytest.fixture(scope="module")
def server(served: dict[str, Served]) -> Iterator[Server]:
    yield from start(served)


@contextmanager
def writing(served: dict[str, Served], text: str) -> Iterator[Server]:
    """A server whose model writes this text."""
    one = served["plain"]
    batch = Scripted(one.session.network, "fp32")
    batch.script = [*one.session.tokenizer(text)["input_ids"], one.session.tokenizer.eos_token_id]
    with contextmanager(start)({"plain": replace(one, batch=batch)}) as server:
        yield server


def ask(server: Server, **options: Any) -> Any:
    return server.client.chat.completions.create(model="plain", messages=options.pop("messages", ASKED), **options)


def streamed(server: Server, **options: Any) -> tuple[dict[str, Any], str]:
    """The message that a stream adds up to, and the reason for its end."""
    message: dict[str, Any] = {"content": "", "thought": "", "calls": [], "pieces": 0}
    reason = ""
    for chunk in ask(server, stream=True, **options):
        choice = chunk.choices[0]
        message["content"] += choice.delta.content or ""
        message["thought"] += getattr(choice.delta, "reasoning_content", None) or ""
        for call in choice.delta.tool_calls or []:
            if call.function.name:
                assert (call.index, call.type, bool(call.id)) == (len(message["calls"]), "function", True)
                message["calls"].append((call.function.name, call.function.arguments))
            else:
                name, arguments = message["calls"][call.index]
                message["calls"][call.index] = (name, arguments + call.function.arguments)
                message["pieces"] += 1
        reason = choice.finish_reason or reason
    return message, reason


def test_a_call_is_an_object_with_an_id(served: dict[str, Served]) -> None:
    with writing(served, f"Let me see.\n{CALL}\n{CALL.replace('Rome', 'Paris')}") as server:
        answer = ask(server, tools=[WEATHER, NOW]).choices[0]
        assert answer.finish_reason == "tool_calls"
        assert answer.message.content == "Let me see."
        calls = answer.message.tool_calls
        assert [json.loads(call.function.arguments)["city"] for call in calls] == ["Rome", "Paris"]
        assert len({call.id for call in calls}) == 2
        message, reason = streamed(server, tools=[WEATHER, NOW])
        assert reason == "tool_calls"
        assert message["content"] == "Let me see."
        assert message["pieces"] > 10, "arguments are not held back"
        assert message["calls"] == [(call.function.name, call.function.arguments) for call in calls]
        (one,) = ask(server, tools=[WEATHER], parallel_tool_calls=False).choices[0].message.tool_calls
        assert json.loads(one.function.arguments)["city"] == "Rome"
        none = ask(server, tools=[WEATHER], tool_choice="none").choices[0]
        assert (none.finish_reason, none.message.tool_calls) == ("stop", None)
        assert none.message.content.startswith(f"Let me see.\n{CALL}")
        server.wait_idle()


def test_results_of_calls_go_back(served: dict[str, Served]) -> None:
    one = served["plain"]
    with writing(served, "It is fine.") as server:
        call = {"id": "call_7", "type": "function", "function": {"name": "now", "arguments": '{"a": 1}'}}
        result = {"role": "tool", "tool_call_id": "call_7", "content": "noon"}
        history = [*ASKED, {"role": "assistant", "content": None, "tool_calls": [call]}, result]
        answer = ask(server, messages=history, tools=[NOW])
        assert answer.choices[0].message.content == "It is fine."
        expected = one.session.task.predictor.prompt_ids(
            [ASKED[0], {"role": "assistant", "content": "", "tool_calls": [call]}, result], [NOW]
        )
        assert answer.usage.prompt_tokens == len(expected)
        # what the client gives back is what the server has given
        again = ask(server, messages=[*ASKED, answer.choices[0].message.model_dump(), *ASKED])
        assert again.choices[0].message.content == "It is fine."


def test_thoughts_are_apart(served: dict[str, Served]) -> None:
    with writing(served, f"<think>\nThe user asks.\n</think>\n\nFine.{CALL}") as server:
        message = ask(server, tools=[WEATHER]).choices[0].message
        assert (message.reasoning_content, message.content) == ("The user asks.", "Fine.")
        parts, reason = streamed(server, tools=[WEATHER])
        assert (parts["thought"], parts["content"], reason) == ("The user asks.", "Fine.", "tool_calls")


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_demanded_call_is_made_by_any_model(server: Server, temperature: float) -> None:
    options: dict[str, Any] = {"tools": [WEATHER, NOW], "temperature": temperature, "seed": 1, "max_tokens": 200}
    named = ask(server, tool_choice={"type": "function", "function": {"name": "get_weather"}}, **options).choices[0]
    (call,) = named.message.tool_calls
    found = json.loads(call.function.arguments)
    assert (call.function.name, named.finish_reason, named.message.content) == ("get_weather", "tool_calls", None)
    assert found["city"] in ("Rome", "Paris")
    assert 1 <= found["days"] <= 9
    several = ask(server, tool_choice="required", parallel_tool_calls=False, n=3, **options)
    for choice in several.choices:
        assert [call.function.name in ("get_weather", "now") for call in choice.message.tool_calls] == [True]
    message, reason = streamed(server, tool_choice="required", parallel_tool_calls=False, **options)
    first = several.choices[0].message.tool_calls[0].function
    assert (message["calls"], reason) == ([(first.name, first.arguments)], "tool_calls")


class Person(pydantic.BaseModel):
    """What an answer is to be."""

    name: str = pydantic.Field(max_length=8)
    age: int = pydantic.Field(ge=0, le=120)
    pets: list[Annotated[str, pydantic.Field(max_length=8)]] = pydantic.Field(max_length=2)


@pytest.mark.parametrize("temperature", [pytest.param(0.0, marks=pytest.mark.slow), 1.0])
def test_an_answer_follows_a_schema(server: Server, temperature: float) -> None:
    options: dict[str, Any] = {"temperature": temperature, "max_tokens": 900, "seed": 3}
    schema = {"type": "json_schema", "json_schema": {"name": "person", "schema": Person.model_json_schema()}}
    for seed in range(3):
        answer = ask(server, response_format=schema, **{**options, "seed": seed}).choices[0]
        if answer.finish_reason == "stop":
            Person.model_validate_json(answer.message.content)
    parsed = server.client.chat.completions.parse(
        model="plain",
        messages=ASKED,
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": [["a", 1], {}]}}},  # type: ignore[arg-type]
        max_tokens=60,
    )
    assert json.loads(parsed.choices[0].message.content or "") in (["a", 1], {})
    short = ask(server, response_format={"type": "json_object"}, max_tokens=1).choices[0]
    assert (short.message.content.strip()[:1] in ("{", ""), short.finish_reason) == (True, "length")


def test_other_answers_of_the_batch_stay_as_they_are(server: Server) -> None:
    from concurrent.futures import ThreadPoolExecutor

    alone = ask(server, max_tokens=30).choices[0].message.content
    schema = {"type": "json_schema", "json_schema": {"name": "person", "schema": Person.model_json_schema()}}
    with ThreadPoolExecutor(6) as pool:
        forms = [pool.submit(ask, server, response_format=schema, max_tokens=40) for _ in range(3)]
        words = [pool.submit(ask, server, max_tokens=30) for _ in range(3)]
        assert {one.result().choices[0].message.content for one in words} == {alone}
        assert len({one.result().choices[0].message.content for one in forms}) == 1


def test_what_cannot_be_done_is_refused_by_name(server: Server) -> None:
    strict = {"type": "function", "function": {**WEATHER["function"], "strict": True}}
    odd = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "if": {}}}}
    wrong = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "no"}}}
    linked = {"type": "image_url", "image_url": {"url": "http://x/y"}}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"tools": [NOW, NOW]}, "same name"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools"),
        ({"tools": [{"type": "function", "function": {"name": "f", "extra": 1}}]}, "`extra` is not supported"),
        ({"tools": [{"type": "web_search"}]}, "tools.0"),
        ({"tools": [strict]}, "strict"),
        ({"tools": [NOW], "tool_choice": {"type": "function", "function": {"name": "f"}}}, "none of the tools"),
        ({"tools": [odd], "tool_choice": "required"}, 'Unimplemented keys: ["if"]'),
        ({"tool_choice": "required"}, "only with tools"),
        ({"tools": [NOW], "response_format": {"type": "json_object"}}, "not together with tools"),
        ({"response_format": {"type": "json_schema"}}, "json_schema"),
        ({"response_format": wrong}, "schema"),
        ({"messages": [{"role": "user", "content": [linked]}]}, "url"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "tool_call_id"),
        ({"messages": [*ASKED, {"role": "assistant", "content": "x"}]}, "last message"),
        ({"messages": [*ASKED, {"role": "assistant"}, *ASKED]}, "needs content or tool_calls"),
    ]
    for options, words in cases:
        with pytest.raises(openai.BadRequestError) as caught:
            ask(server, **options)
        assert words in caught.value.message, (options, caught.value.message)
    call = {"id": "x", "type": "function", "function": {"name": "now", "arguments": "{"}}
    with pytest.raises(openai.BadRequestError, match="not JSON"):
        ask(server, messages=[*ASKED, {"role": "assistant", "tool_calls": [call]}, {**ASKED[0]}])
    assert ask(server, tools=[strict], tool_choice="required", max_tokens=300).choices[0].message.tool_calls
    server.wait_idle()


def test_responses_are_items(served: dict[str, Served]) -> None:
    with writing(served, f"<think>\nHm.\n</think>\n\nLet me see.\n{CALL}") as server:
        tool = {"type": "function", **WEATHER["function"]}
        asked: Any = {"model": "plain", "input": "What is the weather?", "tools": [tool], "instructions": "Be brief."}
        found = server.client.responses.create(**asked, metadata={"a": "b"})
        assert [item.type for item in found.output] == ["reasoning", "message", "function_call"]
        thought, message, call = found.output
        assert found.output_text == "Let me see."
        assert (thought.content[0].text, message.content[0].text) == ("Hm.", "Let me see.")
        assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Rome", "days": 2})
        assert (found.status, found.metadata, found.object) == ("completed", {"a": "b"}, "response")
        assert found.usage.total_tokens == found.usage.input_tokens + found.usage.output_tokens
        turns = [{"role": "system", "content": "Be brief."}, *ASKED]
        prompt = served["plain"].session.task.predictor.prompt_ids(
            turns, [{"type": "function", "function": WEATHER["function"]}]
        )
        assert found.usage.input_tokens == len(prompt)
        with server.client.responses.stream(**asked) as stream:
            events = list(stream)
            final = stream.get_final_response()
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert (events[0].type, events[1].type) == ("response.created", "response.in_progress")
        assert events[-1].type == "response.completed"
        assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "Let me see."
        assert "".join(event.delta for event in events if event.type == "response.reasoning_text.delta") == "Hm."
        assert [item.type for item in final.output] == [item.type for item in found.output]
        assert final.output[2].arguments == call.arguments
        # what the client gives back is what the server has given
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "fine"}
        again = server.client.responses.create(
            model="plain",
            input=[*ASKED, *(item.model_dump(exclude_none=True) for item in found.output), result],
            tools=[tool],
        )
        calls = [{"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}]
        said = {"role": "assistant", "content": "Let me see.", "reasoning_content": "Hm.", "tool_calls": calls}
        turns = [*ASKED, said, {"role": "tool", "tool_call_id": call.call_id, "content": "fine"}]
        prompt = served["plain"].session.task.predictor.prompt_ids(
            turns, [{"type": "function", "function": WEATHER["function"]}]
        )
        assert again.usage.input_tokens == len(prompt)


def test_responses_follow_a_schema_and_end_early(server: Server) -> None:
    cut = server.client.responses.create(model="plain", input="Hi", max_output_tokens=3)
    assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    chat = ask(server, messages=[{"role": "user", "content": "Hi"}], max_tokens=3)
    assert cut.output_text == chat.choices[0].message.content
    parts: Any = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]
    assert (
        server.client.responses.create(model="plain", input=parts, max_output_tokens=3).output_text == cut.output_text
    )
    form: Any = {"format": {"type": "json_schema", "name": "x", "schema": {"enum": [7]}}}
    assert json.loads(server.client.responses.create(model="plain", input="Hi", text=form).output_text) == 7
    cases: list[tuple[dict[str, Any], str]] = [
        ({"previous_response_id": "resp_1"}, "`previous_response_id` is not supported"),
        ({"store": True}, "store"),
        ({"reasoning": {"effort": "low"}}, "`reasoning` is not supported"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"text": {"format": {"type": "json_schema"}}}, "a name and a schema"),
        ({"input": []}, "messages"),
        ({"temperature": 3}, "temperature"),
    ]
    for options, words in cases:
        with pytest.raises(openai.BadRequestError) as caught:
            server.client.responses.create(**{"model": "plain", "input": "Hi", **options})
        assert words in caught.value.message, (options, caught.value.message)
