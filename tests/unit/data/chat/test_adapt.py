"""Messages and tools in the form that a chat template supports."""

from __future__ import annotations

import json
from typing import Any

import pytest

from burnish.data.chat.probe import message_keys
from burnish.data.chat.template import TemplateFeatures, adapt, check_answer, contains, split_thought, thought_and_words
from burnish.data.rows.row import RowError

PLAIN = TemplateFeatures(system=False, thoughts="text", call_thoughts="text", tools=False, calls=False)
SUM = {"name": "sum", "description": "Adds.", "parameters": {"type": "object", "properties": {}}}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def answer(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def test_bare_tools_and_calls_get_a_mapping_for_the_function() -> None:
    call = {"id": "a1", "type": "function", "name": "sum", "arguments": {"a": 1}}
    messages, tools = adapt([user("Add"), answer("", tool_calls=[call])], [SUM], TemplateFeatures())
    assert tools == [{"type": "function", "function": SUM}]
    assert messages[1]["tool_calls"] == [
        {"id": "a1", "type": "function", "function": {"name": "sum", "arguments": {"a": 1}}}
    ]
    nested = {"type": "function", "function": SUM}
    assert adapt([user("Add")], [nested], TemplateFeatures())[1] == [nested]
    assert adapt([user("Add")], None, TemplateFeatures())[1] is None


def test_the_weight_of_an_answer_is_not_for_the_template() -> None:
    for weight in (0, 1):
        assert adapt([user("Hi"), answer("Yo.", weight=weight)], None, TemplateFeatures())[0][1] == answer("Yo.")


def test_keys_without_value_are_left_out() -> None:
    messages, _ = adapt([user("Hi"), {"role": "assistant", "tool_calls": [], "name": None}], None, TemplateFeatures())
    assert messages == [user("Hi"), answer("")]


def test_thoughts_go_where_the_template_has_a_place_for_them() -> None:
    spelled = [user("Why?"), answer("<think>\nHm.\n</think>\n\nSo.")]
    given = [user("Why?"), answer("So.", reasoning_content="Hm.")]
    (_, moved), _ = adapt(spelled, None, TemplateFeatures())
    assert moved["reasoning_content"].strip() == "Hm."
    assert moved["content"].strip() == "So."
    assert adapt(given, None, TemplateFeatures())[0] == given
    assert adapt(given, None, PLAIN)[0] == [user("Why?"), answer("<think>\nHm.\n</think>\n\nSo.")]
    plain = [user("<think>Hm.</think> So?"), answer("So.")]
    assert adapt(plain, None, TemplateFeatures())[0] == plain, "only answers have thoughts"


CALL = {"id": "c1", "type": "function", "function": {"name": "sum", "arguments": {"a": 1}}}
FORMS: dict[str, dict[str, Any]] = {
    "reasoning_content": {"reasoning_content": "Hm.", "content": "So."},
    "reasoning": {"reasoning": "Hm.", "content": "So."},
    "thinking": {"thinking": "Hm.", "content": "So."},
    "inserted": {"reasoning_content": "Hm.", "content": "So."},
    "closed": {"reasoning_content": "Hm.", "content": "So."},
    "dropped": {"content": "So."},
    "text": {"content": "<think>\nHm.\n</think>\n\nSo."},
    "parts": {"content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "So."}]},
    "blocks": {"content": {"blocks": [{"type": "thoughts", "text": "Hm."}, {"type": "response", "text": "So."}]}},
}


@pytest.mark.parametrize("form", FORMS)
def test_words_and_calls_have_their_own_forms_of_a_thought(form: str) -> None:
    words = answer("So.", reasoning_content="Hm.")
    messages = [user("Why?"), words, user("And?"), {**words, "tool_calls": [CALL]}]
    other = "reasoning" if form != "reasoning" else "thinking"
    adapted, _ = adapt(messages, None, TemplateFeatures(thoughts=form, call_thoughts=other))
    assert adapted[1] == {"role": "assistant", **FORMS[form]}
    assert adapted[3] == {"role": "assistant", **FORMS[other], "tool_calls": [CALL]}
    adapted, _ = adapt(messages, None, TemplateFeatures(thoughts=other, call_thoughts=form))
    assert adapted[1] == {"role": "assistant", **FORMS[other]}
    assert adapted[3] == {"role": "assistant", **FORMS[form], "tool_calls": [CALL]}
    for found in (adapted[1], adapted[3]):
        assert thought_and_words(found) == (("Hm.", "So.") if form != "dropped" or found is adapted[1] else ("", "So."))


@pytest.mark.parametrize(
    ("form", "content"),
    [
        ("parts", "So."),
        ("text", "So."),
        ("reasoning", "So."),
        ("dropped", "So."),
        ("blocks", {"blocks": [{"type": "response", "text": "So."}]}),
    ],
)
def test_answers_without_a_thought_are_as_they_were(form: str, content: Any) -> None:
    features = TemplateFeatures(thoughts=form, call_thoughts=form)
    (_, found), _ = adapt([user("Why?"), answer("So.")], None, features)
    assert found == {"role": "assistant", "content": content}
    assert thought_and_words(found) == ("", "So.")
    (_, found), _ = adapt([user("Why?"), answer("So.", reasoning_content="")], None, features)
    assert found["content"] == content
    (_, wordless), _ = adapt([user("Why?"), answer("", reasoning_content="Hm.", tool_calls=[CALL])], None, features)
    assert thought_and_words(wordless) == (("Hm." if form != "dropped" else ""), "")
    if form == "parts":
        assert wordless["content"] == [{"type": "thinking", "thinking": "Hm."}], "no empty part"


@pytest.mark.parametrize("form", FORMS)
def test_a_thought_without_its_opening_tag_is_written_like_any_other(form: str) -> None:
    """As a model says it whose prompt opens the thought."""
    features = TemplateFeatures(thoughts=form, call_thoughts=form)
    (_, found), _ = adapt([user("Why?"), answer("Hm.\n</think>\n\nSo.")], None, features)
    assert found == {"role": "assistant", **FORMS[form]}
    called = answer("Hm.\n</think>\n\n", tool_calls=[CALL])
    (_, found), _ = adapt([user("Why?"), called], None, features)
    assert thought_and_words(found) == (("Hm." if form != "dropped" else ""), "")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("given", [{}, {"reasoning_content": ""}])
@pytest.mark.parametrize("content", ["<think>\n\n</think>\n\nSo.", "<think></think>So."])
def test_empty_tags_are_no_thought(form: str, given: dict[str, Any], content: str) -> None:
    """A template writes its own empty thought, if it has one; without a form for thoughts, the text is what it is."""
    features = TemplateFeatures(thoughts=form, call_thoughts=form)
    (_, found), _ = adapt([user("Why?"), answer(content, **given)], None, features)
    assert thought_and_words(found) == ("", "So.")
    assert form == "text" or "think" not in str(found)


def test_a_thought_that_is_given_twice_is_written_once() -> None:
    for content in ("<think>\nHm.\n</think>\n\nSo.", "<think>\n\n</think>\n\nSo."):
        (_, found), _ = adapt([user("Why?"), answer(content, reasoning_content="Hm.")], None, TemplateFeatures())
        assert found == {"role": "assistant", "content": "So.", "reasoning_content": "Hm."}
    other = answer("<think>\nOh.\n</think>\n\nSo.", reasoning_content="Hm.")
    assert adapt([user("Why?"), other], None, TemplateFeatures())[0][1] == other


def test_system_texts_in_a_row_become_one_where_the_template_takes_one() -> None:
    first, second, third = ({"role": "system", "content": text} for text in ("One.", "Two.", "Three."))
    messages = [first, second, user("Why?"), answer("So."), third, user("And?"), answer("Fine.")]
    assert adapt(messages, None, TemplateFeatures())[0] == messages
    joined = {"role": "system", "content": "One.\n\nTwo."}
    assert adapt(messages, None, TemplateFeatures(joins_system=True))[0] == [joined, *messages[2:]]
    folded = adapt(messages, None, TemplateFeatures(system=False, joins_system=True))[0]
    assert folded[0] == user("One.\n\nTwo.\n\nWhy?")


def test_results_get_the_ids_of_their_calls() -> None:
    calls = [{"id": name, "function": {"name": name, "arguments": "{}"}} for name in ("first", "second")]
    messages = [
        user("Both"),
        answer("", tool_calls=calls),
        {"role": "tool", "tool_call_id": "second", "content": "2"},
        {"role": "tool", "content": "1"},
        {"role": "tool", "content": "0"},
    ]
    kept, _ = adapt(messages, None, TemplateFeatures())
    assert [call["id"] for call in kept[1]["tool_calls"]] == ["first", "second"]
    assert [call["function"]["arguments"] for call in kept[1]["tool_calls"]] == [{}, {}]
    assert [message["tool_call_id"] for message in kept[2:]] == ["second", "first", "call00000"]
    short, _ = adapt(messages, None, TemplateFeatures(short_call_ids=True, arguments_as_text=True))
    assert [call["id"] for call in short[1]["tool_calls"]] == ["call00001", "call00002"]
    assert [call["function"]["arguments"] for call in short[1]["tool_calls"]] == ["{}", "{}"]
    assert [message["tool_call_id"] for message in short[2:]] == ["call00002", "call00001", "call00000"]


def test_results_get_the_names_of_their_functions_unless_they_have_one() -> None:
    calls = [{"id": name, "function": {"name": f"do_{name}", "arguments": {}}} for name in ("a", "b")]
    results = [{"role": "tool", "tool_call_id": "b", "content": "2"}, {"role": "tool", "content": "1"}]
    messages = [user("Both"), answer("", tool_calls=calls), *results, {**results[0], "name": "own"}, results[1]]
    adapted, _ = adapt(messages, None, TemplateFeatures())
    assert [message.get("name") for message in adapted[2:]] == ["do_b", "do_a", "own", None]
    assert [message["tool_call_id"] for message in adapted[2:]] == ["b", "a", "b", "call00000"]


@pytest.mark.parametrize(
    ("given", "parsed", "text"),
    [
        ({"town": "Orléans"}, {"town": "Orléans"}, '{"town": "Orléans"}'),
        ('{"town": "Orléans"}', {"town": "Orléans"}, '{"town": "Orléans"}'),
        (" ", {}, " "),
        ("", {}, ""),
        ({}, {}, "{}"),
    ],
)
def test_arguments_are_a_mapping_or_json_text(given: Any, parsed: Any, text: str) -> None:
    messages = [user("Go"), answer("", tool_calls=[{"function": {"name": "go", "arguments": given}}])]
    for features, expected in ((TemplateFeatures(), parsed), (TemplateFeatures(arguments_as_text=True), text)):
        (_, adapted), _ = adapt(messages, None, features)
        assert adapted["tool_calls"][0]["function"] == {"name": "go", "arguments": expected}
    (_, spelled), _ = adapt(messages, None, PLAIN)
    assert json.loads(spelled["content"].split("\n")[1]) == {"name": "go", "arguments": parsed}
    assert ("Orléans" in spelled["content"]) == ("Orléans" in str(given)), "as it is, without escapes"


def test_a_call_without_arguments_has_none() -> None:
    messages = [user("Go"), answer("On.", tool_calls=[{"function": {"name": "go"}}, {"function": {"name": "stop"}}])]
    assert [
        call["function"]["arguments"] for call in adapt(messages, None, TemplateFeatures())[0][1]["tool_calls"]
    ] == [{}, {}]
    (_, spelled), _ = adapt(messages, None, PLAIN)
    calls = [f'<tool_call>\n{{"name": "{name}", "arguments": {{}}}}\n</tool_call>' for name in ("go", "stop")]
    assert spelled == answer("\n".join(["On.", *calls]))


def test_what_a_plain_template_has_no_place_for_becomes_text() -> None:
    call = {"function": {"name": "sum", "arguments": {"a": 1}}}
    messages = [
        {"role": "system", "content": "Be brief."},
        user("Add"),
        answer("", tool_calls=[call]),
        {"role": "tool", "content": "1"},
        user("And?"),
        answer("One"),
    ]
    adapted, tools = adapt(messages, [SUM], PLAIN)
    assert tools is None
    assert [message["role"] for message in adapted] == ["user", "assistant", "user", "assistant"]
    assert adapted[0]["content"].startswith('Be brief.\n\nYou can call these tools:\n{"name": "sum"')
    assert adapted[0]["content"].endswith("\n\nAdd")
    assert adapted[1] == answer('<tool_call>\n{"name": "sum", "arguments": {"a": 1}}\n</tool_call>')
    assert adapted[2] == user("<tool_response>\n1\n</tool_response>\nAnd?")
    without, _ = adapt(messages[1:2], [SUM], TemplateFeatures(tools=False))
    assert [message["role"] for message in without] == ["system", "user"]


def test_a_system_text_before_an_answer_is_a_turn_of_its_own() -> None:
    system = {"role": "system", "content": "Be brief."}
    assert adapt([system, answer("Hello.")], None, PLAIN)[0] == [user("Be brief."), answer("Hello.")]
    assert adapt([user("Hi"), system], None, PLAIN)[0][-1] == user("Be brief.")


def test_arguments_that_are_not_json_are_refused() -> None:
    call = {"function": {"name": "sum", "arguments": "{a: 1}"}}
    for features in (TemplateFeatures(), PLAIN):
        with pytest.raises(RowError, match="the arguments of a tool call are not JSON: {a: 1}"):
            adapt([user("Add"), answer("", tool_calls=[call])], None, features)


def test_results_and_questions_in_a_row_are_one_turn_and_other_turns_are_not() -> None:
    result = {"role": "tool", "content": "1"}
    spelled = "<tool_response>\n1\n</tool_response>"
    features = TemplateFeatures(calls=False)
    before = [user("Add"), answer("I will.")]
    assert adapt([*before, result, result], None, features)[0] == [*before, user(f"{spelled}\n{spelled}")]
    assert adapt([*before, result, user("And?"), user("So?")], None, features)[0] == [
        *before,
        user(f"{spelled}\nAnd?"),
        user("So?"),
    ]
    assert adapt([*before, user("And?"), result], None, features)[0] == [*before, user("And?"), user(spelled)]
    assert adapt([*before, result, answer("1"), user("So?")], None, features)[0] == [
        *before,
        user(spelled),
        answer("1"),
        user("So?"),
    ]


def test_listed_tools_follow_the_system_text() -> None:
    tool = {**SUM, "description": "Adds é."}
    listed = 'You can call these tools:\n{"name": "sum", "description": "Adds é.", '
    features = TemplateFeatures(tools=False)
    brief = {"role": "system", "content": "Be brief."}
    (system, asked), tools = adapt([brief, user("Add")], [tool], features)
    assert (tools, asked) == (None, user("Add"))
    assert system["content"].startswith(f"Be brief.\n\n{listed}")
    (system, *rest), _ = adapt([user("Add"), brief], [tool], features)
    assert system["content"].startswith(listed)
    assert rest == [user("Add"), brief]
    assert adapt([], [tool], features)[0][0]["content"].startswith(listed)
    assert adapt([brief], None, features) == ([brief], None)


def test_system_texts_are_put_before_the_next_question() -> None:
    first, second = ({"role": "system", "content": text} for text in ("Be brief.", "Rhyme."))
    features = TemplateFeatures(system=False)
    assert adapt([first, second, user("Hi"), answer("Yo."), user("Bye")], None, features)[0] == [
        user("Be brief.\n\nRhyme.\n\nHi"),
        answer("Yo."),
        user("Bye"),
    ]
    assert adapt([first, second, answer("Yo."), user("Hi")], None, features)[0] == [
        user("Be brief.\n\nRhyme."),
        answer("Yo."),
        user("Hi"),
    ]
    assert adapt([user("Hi"), first, second], None, features)[0] == [user("Hi"), user("Be brief.\n\nRhyme.")]
    assert adapt([user("Hi")], None, features)[0] == [user("Hi")]


KEYS = [
    ({**user("Hi"), "name": "Ann"}, {"user.name"}),
    (user("<think>Hm.</think>"), set[str]()),
    (answer("So.", weight=0, reasoning_content="Hm."), {"assistant.thought"}),
    (answer("", tool_calls=[CALL], reasoning_content="Hm."), {"assistant.thought before a call"}),
    (answer("<think>Hm.</think>So.", tool_calls=[]), {"assistant.thought"}),
    (answer("<think>Hm.</think>", tool_calls=[CALL]), {"assistant.thought before a call"}),
    (answer("So <think>Hm.</think>", reasoning_content=""), set[str]()),
    (answer("<think></think>So."), set[str]()),
    (answer("Hm.</think>So."), {"assistant.thought"}),
    ({"role": "assistant", "content": None}, set[str]()),
    ({"role": "tool", "content": "1", "tool_call_id": "c1", "mood": None}, {"tool.tool_call_id", "tool.mood"}),
]


@pytest.mark.parametrize(("message", "keys"), KEYS)
def test_keys_that_a_template_may_write(message: dict[str, Any], keys: set[str]) -> None:
    assert message_keys([message]) == dict.fromkeys(keys, 1)
    assert message_keys([user("Hi"), message, user("Bye")]) == dict.fromkeys(keys, 1)


@pytest.mark.parametrize(
    ("content", "thought", "words"),
    [
        ("<think>\nHm.\nSo.\n</think>\n\nFine.", "Hm.\nSo.", "Fine."),
        (" <think></think>Fine.", "", "Fine."),
        ("<think>Hm. Fine.", "", "<think>Hm. Fine."),
        ("Fine. <think>Hm.</think>", "", "Fine. <think>Hm.</think>"),
        ("Hm.\n</think>\n\nFine.", "Hm.", "Fine."),
        ("\nHm.</think>\n\nFine.", "Hm.", "Fine."),
        ("Hm. </think>\n\nFine.", "Hm.", "Fine."),
        ("Hm.</think>Fine.", "Hm.", "Fine."),
        ("Hm.\n</think>", "Hm.", ""),
        ("</think>\n\nFine.", "", "</think>\n\nFine."),
        ("The tag </think> ends it.", "", "The tag </think> ends it."),
        ("It ends with </think>.", "", "It ends with </think>."),
        ("It ends with `</think>`\n\nSo.", "", "It ends with `</think>`\n\nSo."),
        ("Write <think> and\n</think>\n\nSo.", "", "Write <think> and\n</think>\n\nSo."),
    ],
)
def test_a_thought_is_split_from_the_words(content: str, thought: str, words: str) -> None:
    assert split_thought(content) == (thought, words)


@pytest.mark.parametrize(
    ("text", "part", "is_in"),
    [
        ("a b c", " b ", True),
        ("a\n\nb c", "a b", True),
        ("abc", "a c", False),
        ("abc", "ab c", True),
        ("abc", "", True),
        ("", "a", False),
    ],
)
def test_a_text_contains_a_part_whatever_its_blanks(text: str, part: str, is_in: bool) -> None:
    assert contains(text, part) == is_in


def calls(*names: str, **arguments: Any) -> dict[str, Any]:
    return answer("", tool_calls=[{"function": {"name": name, "arguments": arguments}} for name in names])


@pytest.mark.parametrize(
    ("body", "message", "reason"),
    [
        ("Fine.", answer("Fine."), ""),
        ("Fi", answer("Fine."), "the chat template omits the text of the answer"),
        (
            " tags.",
            answer("Use <think> and </think> tags."),
            "the chat template omits the text of the answer: it takes the `</think>` in it for the end of a thought, "
            "so write that tag otherwise, as `&lt;/think&gt;`",
        ),
        ("Hm. Fine.", answer("Fine.", reasoning_content="Hm."), ""),
        ("Fine.", answer("Fine.", reasoning_content="Hm."), "the chat template omits the thought of the answer"),
        ("sum(1)", calls("sum"), ""),
        ("(1)", calls("sum"), "the chat template omits a call of `sum`"),
        ("sum(1)sum(2)", calls("sum", "sum"), ""),
        (
            "sum(1)",
            calls("sum", "sum"),
            "the chat template omits a call of `sum`: it may write one call a message",
        ),
        ("sum(1)", calls("sum", "go"), "the chat template omits a call of `go`: it may write one call a message"),
        ("sum(a, b)", calls("sum", first="a", rest=["b", {"c": ("a",)}, 7, None, True]), ""),
        ("sum(a)", calls("sum", first="a", rest=["b"]), "the chat template omits an argument of `sum`: 'b'"),
        ("sum(a)", calls("sum", first="a", rest={"c": ("d",)}), "the chat template omits an argument of `sum`: 'd'"),
        ('sum("a\\"é")', calls("sum", first='a"é'), ""),
        ('sum("a\\"\\u00e9")', calls("sum", first='a"é'), ""),
        ("sum('a\\'\"é')", calls("sum", first="a'\"é"), ""),
        ("sum()", calls("sum", first="x" * 50), f"the chat template omits an argument of `sum`: '{'x' * 40}'"),
        ("sum()", answer("", tool_calls=[{"function": {"name": "sum"}}]), ""),
    ],
)
def test_an_answer_is_checked_for_all_that_its_message_says(body: str, message: dict[str, Any], reason: str) -> None:
    if not reason:
        check_answer(body, message)
        return
    with pytest.raises(RowError) as caught:
        check_answer(body, message)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("argument", "spelled"),
    [
        ('a"éb', r"a\"éb"),
        ('a"éb', r"a\"\u00e9b"),
        ("a'\"éb", r"a\'" + '"éb'),
    ],
    ids=["JSON", "JSON in ASCII", "Python"],
)
def test_an_argument_may_be_escaped_but_not_cut(argument: str, spelled: str) -> None:
    check_answer(f"sum({spelled})", calls("sum", first=argument))
    for cut in (spelled[1:], spelled[:-1]):
        with pytest.raises(RowError, match="omits an argument of `sum`"):
            check_answer(f"sum({cut})", calls("sum", first=argument))
