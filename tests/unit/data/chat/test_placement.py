"""Answers of templates that write a conversation otherwise than its prompt, by hand: trained between « and »."""

from __future__ import annotations

import json
from typing import Any

import pytest

import tests.unit.data.chat_templates as styles
import tests.unit.data.thinking_templates as thinking
from burnish.data.chat.format import ChatFormat
from burnish.data.chat.probe import message_keys
from burnish.data.preference.format import PreferenceFormat
from burnish.data.rows.records import ChatRecord, PreferenceRecord
from burnish.data.rows.row import RowError
from burnish.errors import ModelError
from tests.snapshots import check_text
from tests.unit.data.chat.test_chat_format import marked, trained_from
from tests.unit.data.tiny_tokenizers import byte_level

BRIEF = {"role": "system", "content": "Be brief."}
ASK, AGAIN = {"role": "user", "content": "How?"}, {"role": "user", "content": "Now?"}
FINE = {"role": "assistant", "content": "Fine."}
STILL = {"role": "assistant", "content": "Still."}
THOUGHT = {**FINE, "reasoning_content": "Hm."}
RESULT = {"role": "tool", "content": "done"}
TOOLS = ({"type": "function", "function": {"name": "book", "parameters": {}}},)


def calling(*cities: str, **more: str) -> dict[str, Any]:
    """An answer of a call for each city, with two arguments."""
    calls = [
        {"type": "function", "function": {"name": "book", "arguments": {"city": city, "day": "Monday"}}}
        for city in cities
    ]
    return {"role": "assistant", "content": "", "tool_calls": calls, **more}


def encoded(tokenizer: Any, *messages: dict[str, Any], **kwargs: Any) -> list[str]:
    """The marked text of each example; each answer follows the prompt of inference."""
    tools = TOOLS if any("tool_calls" in message for message in messages) else None
    chat_format = ChatFormat(tokenizer, kwargs=kwargs)
    examples = chat_format.encode(ChatRecord(messages, tools, "x:1"), 10_000).examples
    prompts = [
        chat_format.prompt_ids(messages[:index], tools)
        for index, message in enumerate(messages)
        if message["role"] == "assistant" and message.get("weight") != 0
    ]
    assert [prompt for example in examples for prompt in trained_from(example)] == prompts
    return [marked(tokenizer, example) for example in examples]


def test_a_system_text_that_moves_to_the_last_question_leaves_each_answer_its_own_prompt() -> None:
    assert encoded(thinking.system_last(), BRIEF, ASK, FINE, AGAIN, STILL) == [
        "<s>[INST]Be brief.\n\nHow?[/INST]«Fine.</s>»",
        "<s>[INST]How?[/INST]Fine.</s>[INST]Be brief.\n\nNow?[/INST]«Still.</s>»",
    ]
    assert encoded(thinking.system_last(), ASK, FINE, AGAIN, STILL) == [
        "<s>[INST]How?[/INST]«Fine.</s>»[INST]Now?[/INST]«Still.</s>»"
    ], "one sequence where the texts agree"


def test_an_answer_that_begins_with_blanks_keeps_them_after_a_prompt_that_ends_with_one() -> None:
    tokenizer = thinking.system_last()
    tokenizer.chat_template = thinking.SYSTEM_LAST.replace('"[/INST]"', '"[/INST]\n"')
    blanks = {**FINE, "content": "\n\n Fine."}
    assert encoded(tokenizer, BRIEF, ASK, blanks) == ["<s>[INST]Be brief.\n\nHow?[/INST]\n«\n\n Fine.</s>»"]


@pytest.mark.parametrize(
    ("question_end", "prompt_end", "expected"),
    [
        ("", "\n", "[INST]How?[/INST]\n«Fine.</s>»"),
        ("\n", "", "[INST]How?\n[/INST]« Fine.</s>»"),
    ],
)
def test_where_blanks_alone_differ_a_blank_at_the_end_of_the_prompt_stands_for_those_of_the_answer(
    question_end: str, prompt_end: str, expected: str
) -> None:
    tokenizer = thinking.system_last()
    tokenizer.chat_template = (
        (
            "{%- for message in messages %}"
            "{%- if message.role == 'user' %}"
            "{{- '[INST]' + message.content + (QUESTION if loop.last else '') + '[/INST]' }}"
            "{%- else %}{{- ' ' + message.content + eos_token }}{% endif %}"
            "{%- endfor %}"
            "{%- if add_generation_prompt %}{{- PROMPT }}{% endif %}"
        )
        .replace("QUESTION", repr(question_end))
        .replace("PROMPT", repr(prompt_end))
    )
    assert encoded(tokenizer, ASK, FINE) == [expected]


def test_a_request_after_the_last_question_alone_leaves_the_start_of_the_answer_to_be_found() -> None:
    tokenizer = thinking.system_last()
    tokenizer.chat_template = (
        "{%- for message in messages %}"
        "{%- if message.role == 'user' %}"
        "{{- '[INST]' + message.content + ('\n\nBe brief.' if loop.last else '') + '[/INST]' }}"
        "{%- else %}{{- '>> ' + message.content + eos_token }}{% endif %}"
        "{%- endfor %}"
        "{%- if add_generation_prompt %}{{- '>> ' }}{% endif %}"
    )
    assert encoded(tokenizer, ASK, FINE, AGAIN, STILL) == [
        "[INST]How?\n\nBe brief.[/INST]>> «Fine.</s>»",
        "[INST]How?[/INST]>> Fine.</s>[INST]Now?\n\nBe brief.[/INST]>> «Still.</s>»",
    ]
    tokenizer.chat_template = tokenizer.chat_template.partition("{%- if add_generation_prompt")[0]
    with pytest.raises(ModelError) as caught:
        ChatFormat(tokenizer)
    assert "something else before the answer than its prompt" in caught.value.why


def test_thoughts_go_to_their_channel_and_answers_end_as_the_last_does() -> None:
    opening = "<|start|>user<|message|>How?<|end|><|start|>assistant"
    assert encoded(thinking.channels(), ASK, THOUGHT) == [
        f"{opening}«<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Fine.<|return|>»"
    ]
    call = ' to=book<|channel|>commentary<|message|>{"city": "Rome", "day": "Monday"}<|call|>'
    (example,) = encoded(thinking.channels(), ASK, calling("Rome", reasoning_content="Hm."), RESULT, THOUGHT)
    assert example.endswith(
        f"{opening}«<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant{call}»"
        "<|start|>tool<|message|>done<|end|><|start|>assistant"
        "«<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Fine.<|return|>»"
    )
    assert len(encoded(thinking.channels(), ASK, FINE, AGAIN, STILL)) == 2, "an earlier answer ends otherwise"


def test_a_mark_inside_a_call_ends_nothing() -> None:
    tokenizer = thinking.tagged_arguments()
    first = "<tool_call>book<arg_key>city</arg_key><arg_value>Rome</arg_value><arg_key>day</arg_key>"
    calls, result = encoded(tokenizer, ASK, calling("Rome", "Oslo"), RESULT, RESULT, FINE)
    assert calls.partition("«")[2] == (
        f"{first}<arg_value>Monday</arg_value></tool_call>{first.replace('Rome', 'Oslo')}"
        "<arg_value>Monday</arg_value></tool_call><|endoftext|>»"
    )
    assert result.endswith("<|observation|>done<|observation|>done<|assistant|>«Fine.<|endoftext|>»")
    assert tokenizer.convert_ids_to_tokens(ChatFormat(tokenizer).stop_ids) == ["<|endoftext|>"]


def test_a_thought_fills_the_empty_one_that_the_template_writes() -> None:
    tokenizer = styles.chatml(thinking.EMPTY_THOUGHT)
    opening = "<|im_start|>user\nHow?<|im_end|><|im_start|>assistant\n"
    assert encoded(tokenizer, ASK, THOUGHT) == [f"{opening}«<think>Hm.</think>Fine.<|im_end|>»"]
    assert encoded(tokenizer, ASK, FINE) == [f"{opening}«<think></think>Fine.<|im_end|>»"]
    spelled = {"role": "assistant", "content": "<think>Hm.</think>Fine."}
    assert encoded(tokenizer, ASK, spelled) == [f"{opening}«<think>Hm.</think>Fine.<|im_end|>»"], "never two thoughts"
    turn = (ASK, calling("Rome", reasoning_content="Hm."), RESULT, THOUGHT)
    (unlisted,) = ChatFormat(tokenizer).encode(ChatRecord(turn, None, "x:1"), 1000).examples
    for text in (*encoded(tokenizer, *turn), marked(tokenizer, unlisted)):
        call, words = text.split("»", 1)
        assert call.endswith('«<think>Hm.</think>book{"city": "Rome", "day": "Monday"}<|im_end|>')
        assert words.endswith("«<think>Hm.</think>Fine.<|im_end|>»"), "each answer has the form of its own kind"


@pytest.mark.parametrize("kind", ["message.tool_calls", "not message.tool_calls"])
def test_calls_and_words_have_each_their_own_form_of_a_thought(kind: str) -> None:
    """Only one kind of answers has a place for thoughts; in the other, the template leaves an empty one."""
    template = thinking.EMPTY_THOUGHT.replace('"" if message.tool_calls else ""', f'"" if {kind} else ""')
    tokenizer = styles.chatml(template)
    text = "".join(encoded(tokenizer, ASK, calling("Rome", reasoning_content="So."), RESULT, THOUGHT))
    assert '«<think>So.</think>book{"city": "Rome", "day": "Monday"}<|im_end|>»' in text
    assert text.endswith("«<think>Hm.</think>Fine.<|im_end|>»")


def test_a_thought_that_the_answer_repeats_is_put_before_it_all_the_same() -> None:
    repeats = {"role": "assistant", "content": "Hm. Still.", "reasoning_content": "Hm."}
    examples = encoded(styles.chatml(thinking.EMPTY_THOUGHT), ASK, FINE, AGAIN, repeats)
    assert examples[-1].endswith("«<think>Hm.</think>Hm. Still.<|im_end|>»")


def test_a_prompt_that_ends_with_an_empty_thought_is_followed_by_the_answer() -> None:
    tokenizer = thinking.turns(thinking.CLOSED_THOUGHT)
    prompt = "<|turn>user\nHow?<turn|>\n<|turn>assistant\n"
    assert encoded(tokenizer, ASK, FINE) == [f"{prompt}<|channel>thought\n<channel|>«Fine.<turn|>»"]
    blanks = {**FINE, "content": "\n Fine."}
    assert encoded(tokenizer, ASK, blanks) == [f"{prompt}<|channel>thought\n<channel|>«\n Fine.<turn|>»"]
    closes = thinking.CLOSED_THOUGHT.replace(
        "{{- message.content }}", '{{- "<channel|>" if message.role == "assistant" }}{{- message.content }}'
    )
    alone = encoded(thinking.turns(closes), ASK, FINE)
    assert alone == [f"{prompt}<|channel>thought\n<channel|>«Fine.<turn|>»"], "the conversation closes it alone"
    thinks = encoded(thinking.turns(thinking.CLOSED_THOUGHT), ASK, THOUGHT, enable_thinking=True)
    assert thinks == [f"{prompt}«<|channel>thought\nHm.\n<channel|>Fine.<turn|>»"], "as before calls"


def test_a_thought_before_a_call_does_not_follow_an_empty_one() -> None:
    """The template writes thoughts before calls by itself, also after a prompt that ends with an empty thought."""
    tokenizer, call = thinking.turns(thinking.CLOSED_THOUGHT), calling("Rome", reasoning_content="Hm.")
    with pytest.raises(RowError, match="ends with an empty thought.*template.kwargs.enable_thinking=true"):
        encoded(tokenizer, ASK, call)
    (found,) = encoded(tokenizer, ASK, call, enable_thinking=True)
    assert found.count("<|channel>thought") == 1
    assert "«<|channel>thought\nHm.\n<channel|>book" in found
    (plain,) = encoded(tokenizer, ASK, calling("Rome"))
    assert "<|channel>thought\n<channel|>«book" in plain


def test_an_answer_that_cannot_be_placed_is_refused_alone() -> None:
    chat_format = ChatFormat(thinking.turns(thinking.CLOSED_THOUGHT))
    row = ChatRecord((ASK, FINE, AGAIN, {**STILL, "reasoning_content": "Hm."}), None, "x:1")
    found = chat_format.encode(row, 1000)
    (example,) = found.examples
    assert marked(thinking.turns(thinking.CLOSED_THOUGHT), example).endswith("«Fine.<turn|>»")
    (reason,) = found.refused
    check_text(reason)
    with pytest.raises(RowError, match="template.kwargs.enable_thinking=true"):
        chat_format.encode(ChatRecord((ASK, THOUGHT), None, "x:1"), 1000)
    unknown = styles.NO_PROMPT + '{% if add_generation_prompt %}{{- "<|im_start|>assistant in verse\n" }}{% endif %}'
    with pytest.raises(Exception, match="cannot be used") as caught:
        ChatFormat(styles.chatml(unknown))
    check_text(str(caught.value.__cause__))


def test_a_refused_answer_has_the_number_of_its_place_among_the_answers() -> None:
    chat_format = ChatFormat(thinking.turns(thinking.CLOSED_THOUGHT))
    still = {**STILL, "reasoning_content": "Hm."}
    for messages, name in (
        ((ASK, THOUGHT, STILL, AGAIN, STILL), "answer 1: "),
        ((ASK, FINE, still, STILL), "answer 2: "),
        ((ASK, FINE, AGAIN, STILL, AGAIN, still), "answer 3: "),
        ((ASK, {**FINE, "weight": 0}, AGAIN, THOUGHT, AGAIN, FINE), "answer 2: "),
    ):
        found = chat_format.encode(ChatRecord(messages, None, "x:1"), 1000)
        assert [reason.partition("the prompt ends")[0] for reason in found.refused] == [name]
        assert found.examples
    with pytest.raises(RowError, match=r"^the prompt ends"):
        chat_format.encode(ChatRecord((ASK, {**FINE, "weight": 0}, AGAIN, THOUGHT), None, "x:1"), 1000)


def test_an_answer_that_no_token_ends_is_refused_alone() -> None:
    """Calls have no end in this template, and the tokenizer has no EOS."""
    tokenizer = byte_level(["<|user|>", "<|assistant|>", "<|end|>"], eos=None)
    tokenizer.chat_template = thinking.ENDS_SOME.replace("CONDITION", "not message.tool_calls")
    found = ChatFormat(tokenizer).encode(ChatRecord((ASK, calling("Rome"), RESULT, FINE), TOOLS, "x:1"), 1000)
    assert found.refused == ["answer 1: no token ends the answer"]
    (example,) = found.examples
    assert marked(tokenizer, example).endswith("«Fine.<|end|>»")


def test_a_thought_that_the_prompt_opens_is_opened_once() -> None:
    tokenizer = styles.chatml(thinking.OPENED_OR_EMPTY)
    opening = "<|im_start|>user\nHow?<|im_end|>\n<|im_start|>assistant\n<think>\n"
    assert encoded(tokenizer, ASK, FINE) == [f"{opening}«</think>Fine.<|im_end|>»"]
    assert encoded(tokenizer, ASK, THOUGHT) == [f"{opening}«Hm.\n</think>\nFine.<|im_end|>»"]
    calls = "{%- for call in message.tool_calls or [] %}{{- call.function.name + call.function.arguments | tojson }}"
    tokenizer.chat_template = tokenizer.chat_template.replace(
        '{{- message.content + "<|im_end|>', f'{{{{- message.content }}}}{calls}{{% endfor %}}{{{{- "<|im_end|>'
    )
    call = encoded(tokenizer, ASK, calling("Rome"), RESULT, FINE)[0]
    assert call.endswith(f'{opening}«</think>book{{"city": "Rome", "day": "Monday"}}<|im_end|>»')


def test_a_prompt_with_nothing_but_a_blank_between_question_and_thought_is_refused() -> None:
    template = '{%- for message in messages %}{{- message.content + "\n" }}{% endfor %}'
    opened = template + '{%- if add_generation_prompt %}{{- "<think>\n" }}{% endif %}'
    with pytest.raises(ModelError) as caught:
        ChatFormat(styles.chatml(opened))
    assert "something else before the answer than its prompt" in caught.value.why


def test_thoughts_may_be_parts_of_the_content() -> None:
    opening = "<|im_start|>user\nHow?<|im_end|><|im_start|>assistant\n"
    tokenizer = styles.chatml(thinking.THOUGHT_PARTS)
    assert encoded(tokenizer, ASK, THOUGHT) == [f"{opening}«[THINK]Hm.[/THINK]Fine.<|im_end|>»"]


def test_what_closes_a_part_of_the_answer_does_not_end_it() -> None:
    tokenizer = thinking.turns(thinking.CLOSES_TWICE)
    assert encoded(tokenizer, ASK, FINE, AGAIN, STILL) == [
        "<|turn>user\nHow?<turn|><|turn>assistant\n«<|text>Fine.<text|><turn|>»"
        "<|turn>user\nNow?<turn|><|turn>assistant\n«<|text>Still.<text|><turn|>»"
    ]
    assert tokenizer.convert_ids_to_tokens(ChatFormat(tokenizer).stop_ids) == ["<turn|>"]


@pytest.mark.parametrize(
    ("condition", "call_end", "words_end"),
    [("message.tool_calls", "<|end|>", "<|endoftext|>"), ("not message.tool_calls", "<|endoftext|>", "<|end|>")],
)
def test_where_the_template_ends_only_calls_or_only_words_eos_ends_the_others(
    condition: str, call_end: str, words_end: str
) -> None:
    tokenizer = styles.phi3(thinking.ENDS_SOME.replace("CONDITION", condition))
    call, words = encoded(tokenizer, ASK, calling("Rome"), RESULT, FINE)
    assert call.endswith(f'«book{{"city": "Rome", "day": "Monday"}}{call_end}»')
    assert words.endswith(f"«Fine.{words_end}»")


def test_a_call_ends_as_words_do_whatever_the_template_writes_after_that() -> None:
    template = thinking.ENDS_SOME.replace('"<|end|>\n" if message.role == "assistant" and CONDITION', "ENDS")
    ends = '("<|end|>" + (eos_token if message.tool_calls else "") + "\n") if message.role == "assistant"'
    tokenizer = styles.phi3(template.replace("ENDS", ends))
    (example,) = encoded(tokenizer, ASK, calling("Rome"), RESULT, FINE)
    assert '«book{"city": "Rome", "day": "Monday"}<|end|>»<|endoftext|>\n<|tool|>' in example
    assert example.endswith("«Fine.<|end|>»")


def test_an_added_token_that_closes_the_only_call_does_not_end_it() -> None:
    """Of templates that take one call at a time, none shows that more may follow; only a special token is an end."""
    template = thinking.ENDS_SOME.replace("CONDITION", "not message.tool_calls")
    template = template.replace("arguments | tojson }}", 'arguments | tojson + "</call>" }}')
    single = '{%- if message.tool_calls | length > 1 %}{{ raise_exception("one call at a time") }}{% endif %}'
    loop = "{%- for message in messages %}"
    tokenizer = styles.phi3(template.replace(loop, loop + single))
    tokenizer.add_tokens("</call>")
    call, words = encoded(tokenizer, ASK, calling("Rome"), RESULT, FINE)
    assert call.endswith('«book{"city": "Rome", "day": "Monday"}</call><|endoftext|>»')
    assert words.endswith("«Fine.<|end|>»")


def test_an_answer_is_found_after_a_result_that_the_template_quotes() -> None:
    """The thought before the call is in the prompt, but no longer in the conversation."""
    tokenizer = thinking.channels()
    quoted = thinking.CHANNELS.replace(
        "message.content + ", '(message.content | tojson if message.role == "tool" else message.content) + ', 1
    )
    tokenizer.chat_template = quoted.removesuffix(
        '{%- if add_generation_prompt %}{{- "<|start|>assistant" }}{% endif %}'
    )
    thoughtful = calling("Rome", reasoning_content="Hm.")
    result = {**RESULT, "content": '{"seat": "by the window, in the last row of all"}'}
    answer = encoded(tokenizer, ASK, thoughtful, result, FINE)[-1]
    assert answer.endswith(
        r'<|start|>tool<|message|>"{\"seat\": \"by the window, in the last row of all\"}"<|end|>'
        "«<|start|>assistant<|channel|>final<|message|>Fine.<|return|>»"
    )


@pytest.mark.parametrize("content", ['a "b"', "7", "a", "<e>", "Hm."])
def test_an_answer_is_found_after_a_short_result_that_the_template_quotes(content: str) -> None:
    """The last characters of the prompt reach back to the thought, which is no longer in the conversation."""
    call = calling(reasoning_content="Hm.")
    call["tool_calls"] = [{"type": "function", "function": {"name": "now", "arguments": {}}}]
    (example,) = encoded(thinking.short_marks(), ASK, call, {**RESULT, "content": content}, FINE)
    assert example.endswith(f"<u>How?<e>«<a><t>Hm.</t>now{{}}<e>»<r>{json.dumps(content)}<e>«<a>Fine.<e>»")


def test_answers_share_sequences_as_far_as_their_texts_agree() -> None:
    """Calls and their thoughts belong to one turn of the user; the next one drops the thoughts of the turn before."""
    turn = (calling("Rome", reasoning_content="Hm."), RESULT, THOUGHT)
    first, second = encoded(styles.chatml(thinking.DROPS_EARLIER), ASK, *turn, AGAIN, *turn)
    assert [text.count("«") for text in (first, second)] == [2, 2]
    assert second.partition("«")[0].count("<think>") == 0


def test_an_answer_that_goes_on_in_a_turn_is_all_that_is_learned_of_it() -> None:
    tokenizer = thinking.turns(thinking.CONTINUES)
    call = '<|channel>book{"city": "Rome", "day": "Monday"}<channel|>'
    first, second = encoded(tokenizer, ASK, calling("Rome"), RESULT, FINE)
    assert first.endswith(f"<|text>How?<text|><|turn>«{call}<turn|>»")
    assert second.endswith(f"<|text>How?<text|><|turn>{call}done<|turn>«Fine.<turn|>»")


def test_an_answer_of_weight_0_is_context_alone() -> None:
    bad = {"role": "assistant", "content": "Bad.", "weight": 0}
    assert encoded(styles.chatml(), ASK, bad, AGAIN, STILL) == [
        "<|im_start|>user\nHow?<|im_end|>\n<|im_start|>assistant\nBad.<|im_end|>\n"
        "<|im_start|>user\nNow?<|im_end|>\n<|im_start|>assistant\n«Still.<|im_end|>»"
    ]
    with pytest.raises(RowError, match="no answer is to be learned"):
        ChatFormat(styles.chatml()).encode(ChatRecord((ASK, bad), None, "x:1"), 1000)


def test_calls_of_which_the_template_writes_but_the_first_are_refused() -> None:
    with pytest.raises(RowError) as caught:
        encoded(thinking.channels(), ASK, calling("Rome", "Oslo"))
    check_text(str(caught.value))


def test_arguments_that_the_template_does_not_write_are_refused() -> None:
    row = calling("Rome")
    row["tool_calls"][0]["function"]["arguments"]["class"] = "first"
    template = thinking.EMPTY_THOUGHT.replace(
        "arguments | tojson", "arguments.values() | list | batch(2) | first | join"
    )
    with pytest.raises(RowError, match="omits an argument of `book`: 'first'"):
        encoded(styles.chatml(template), ASK, row)


def test_what_the_template_does_not_write_of_messages_is_named() -> None:
    named = ({**ASK, "name": "Ann"}, calling("Rome", reasoning_content="Hm."), {**RESULT, "tool_call_id": "a"}, THOUGHT)
    templates = {
        "default": styles.chatml(),
        "channels": thinking.channels(),
        "drops thoughts": styles.chatml(styles.NO_PROMPT.replace("message.content", "message.content.split('>')[-1]")),
    }
    check_text(
        "\n".join(
            f"{name}: {note}"
            for name, tokenizer in templates.items()
            for note in ChatFormat(tokenizer).notes_on(message_keys(named))
        )
    )
    assert ChatFormat(styles.chatml()).notes_on(message_keys((ASK, FINE))) == []
    writes_names = styles.NO_PROMPT.replace("message.role", "(message.name or message.role)")
    assert ChatFormat(styles.chatml(writes_names)).notes_on({"user.name"}) == []


def test_a_key_is_found_in_templates_that_take_one_call_and_its_result_only() -> None:
    long_ids = styles.PICKY_CALLS.replace("message.tool_call_id | length != 9", "false")
    assert ChatFormat(styles.chatml(long_ids)).notes_on({"tool.tool_call_id"}) == []
    single = styles.llama3()
    single.chat_template = styles.LLAMA3.replace('"ipython" if', 'message.name or "ipython" if')
    assert ChatFormat(single).notes_on({"tool.name"}) == []
    assert len(ChatFormat(styles.llama3()).notes_on({"tool.name"})) == 1


def test_an_id_that_chooses_the_call_of_a_result_is_used_though_the_template_writes_another() -> None:
    short = styles.PICKY_CALLS.replace('message.role + "', 'message.role + (message.tool_call_id or "") + "')
    names = styles.PICKY_CALLS.replace('message.role + "', 'message.role + (message.name or "") + "')
    for template in (short, names):
        assert ChatFormat(styles.chatml(template)).notes_on({"tool.tool_call_id"}) == []
    assert len(ChatFormat(styles.chatml(styles.PICKY_CALLS)).notes_on({"tool.tool_call_id"})) == 1


def test_what_is_adapted_to_each_template() -> None:
    templates = {
        "calls as JSON text": styles.chatml(styles.PICKY_CALLS),
        "channels": thinking.channels(),
        "closed thought": thinking.turns(thinking.CLOSED_THOUGHT),
        "ends last": styles.phi3(styles.ENDS_LAST),
        "header": styles.chatml(styles.NO_PROMPT),
        "llama": styles.llama3(),
        "mistral": styles.mistral(),
        "no template": styles.chatml(),
        "opened or empty": styles.chatml(thinking.OPENED_OR_EMPTY),
        "opens a thought": styles.chatml(styles.OPENS_THOUGHT),
        "tagged arguments": thinking.tagged_arguments(),
    }
    check_text("\n".join(f"{name}: {note}" for name, one in templates.items() for note in ChatFormat(one).notes))


def test_pairs_follow_their_own_prompt_too() -> None:
    pairs = PreferenceFormat(thinking.system_last())
    example, _ = pairs.pair(PreferenceRecord((BRIEF, ASK), (FINE,), (STILL,), None, "x:1"), 1000)
    assert thinking.system_last().decode(example.prompt_ids) == "<s>[INST]Be brief.\n\nHow?[/INST]"
    closed = PreferenceFormat(thinking.turns(thinking.CLOSED_THOUGHT))
    with pytest.raises(RowError, match="empty thought"):
        closed.pair(PreferenceRecord((ASK,), (FINE,), (THOUGHT,), None, "x:1"), 1000)
