"""Conversations, templates and tokenizers that are out of the ordinary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

import tests.unit.data.chat_templates as styles
from burnish.data.chat.format import ChatFormat, ensure_template
from burnish.data.rows.records import ChatRecord
from burnish.data.rows.row import IGNORED, RowError
from burnish.errors import ModelError
from tests.snapshots import check_message, check_text
from tests.unit.data.tiny_tokenizers import GPT2, byte_level, sentence_piece


def chat(*contents: str, system: str | None = None) -> ChatRecord:
    """User and assistant in turn."""
    messages = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(contents)]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    return ChatRecord(tuple(messages), None, "rows.jsonl:1")


def trained(tokenizer: Any, row: ChatRecord, context: int = 1000) -> list[str]:
    """The trained text of each example, the tokens joined."""
    return [
        tokenizer.decode([label for label in example.labels if label != IGNORED])
        for example in ChatFormat(tokenizer).encode(row, context).examples
    ]


def test_stop_ids_are_eos_and_the_end_of_a_turn() -> None:
    tokenizer = styles.phi3()
    assert tokenizer.convert_ids_to_tokens(ChatFormat(tokenizer).stop_ids) == ["<|endoftext|>", "<|end|>"]
    tokenizer = styles.chatml()
    assert tokenizer.convert_ids_to_tokens(ChatFormat(tokenizer).stop_ids) == ["<|im_end|>"]


def test_an_answer_may_end_with_an_added_token_that_is_not_special() -> None:
    tokenizer = styles.plain(styles.NO_END.replace('content + "', 'content + "<end>'))
    tokenizer.add_tokens("<end>")
    assert trained(tokenizer, chat("How?", "Fine.", "Now?", "Still.")) == ["Fine.<end>Still.<end>"]
    assert tokenizer.convert_ids_to_tokens(ChatFormat(tokenizer).stop_ids) == ["<|endoftext|>", "<end>"]


@pytest.mark.parametrize("style", [styles.llama3, styles.mistral])
def test_bos_stands_once_where_template_and_tokenizer_both_write_it(style: Any) -> None:
    tokenizer = style()
    ids = ChatFormat(tokenizer).encode(chat("How?", "Fine.", "Now?", "Still."), 1000).examples[0].input_ids
    assert tokenizer("How?")["input_ids"][0] == tokenizer.bos_token_id
    assert ids[0] == tokenizer.bos_token_id
    assert ids.count(tokenizer.bos_token_id) == 1


def test_bos_that_only_the_tokenizer_writes_is_put_in_front_and_noted() -> None:
    tokenizer = byte_level(styles.CHATML_TOKENS, eos="<|im_end|>", bos="<s>", adds_bos=True)
    tokenizer.chat_template = styles.NO_PROMPT
    chat_format = ChatFormat(tokenizer)
    example = chat_format.encode(chat("How?", "Fine."), 1000).examples[0]
    assert example.input_ids[:2] == tokenizer.convert_tokens_to_ids(["<s>", "<|im_start|>"])
    assert example.labels[0] == IGNORED
    assert chat_format.prompt_ids([{"role": "user", "content": "How?"}])[0] == tokenizer.bos_token_id
    assert any("BOS" in note for note in chat_format.notes)
    tokenizer.chat_template = "{%- if not add_generation_prompt %}{{- bos_token }}{% endif %}" + styles.NO_PROMPT
    assert not any("BOS" in note for note in ChatFormat(tokenizer).notes), "conversations have it"
    assert ChatFormat(tokenizer).prompt_ids([{"role": "user", "content": "How?"}])[0] == tokenizer.bos_token_id


def test_a_base_model_without_template_learns_its_own_eos_and_the_template_is_left_on_the_tokenizer() -> None:
    tokenizer = styles.plain()
    assert ensure_template(tokenizer)
    assert not ensure_template(tokenizer)
    assert "<|im_start|>assistant" in tokenizer.chat_template
    ids = ChatFormat(tokenizer).encode(chat("How?", "Fine.", "Now?", "Still."), 1000).examples[0]
    assert [label for label in ids.labels if label == tokenizer.eos_token_id] == [tokenizer.eos_token_id] * 2
    assert len(tokenizer) == len(styles.plain())


def test_a_saved_tokenizer_prompts_as_it_was_trained(tmp_path: Path) -> None:
    tokenizer = styles.plain()
    prompt = ChatFormat(tokenizer).prompt_ids(chat("How?").messages)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert ChatFormat(loaded).prompt_ids(chat("How?").messages) == prompt
    assert loaded.apply_chat_template(list(chat("How?").messages), add_generation_prompt=True)["input_ids"] == prompt


def test_the_default_template_writes_simple_conversations_in_plain_chatml() -> None:
    tokenizer = styles.chatml()
    ensure_template(tokenizer)
    messages = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "U"},
        {"role": "assistant", "content": "A"},
    ]
    assert tokenizer.apply_chat_template(messages, tokenize=False) == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"
    )
    assert tokenizer.apply_chat_template(messages[1:2], tokenize=False, add_generation_prompt=True) == (
        "<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_default_template_writes_the_bos_that_its_tokenizer_begins_texts_with() -> None:
    tokenizer = byte_level([], eos="</s>", bos="<s>", adds_bos=True)
    example = ChatFormat(tokenizer).encode(chat("How?", "Fine."), 1000).examples[0]
    text = tokenizer.apply_chat_template([{"role": "user", "content": "How?"}], tokenize=False)
    assert text == "<s><|im_start|>user\nHow?<|im_end|>\n"
    assert example.input_ids.count(tokenizer.bos_token_id) == 1


def test_a_tokenizer_without_any_end_is_refused() -> None:
    with pytest.raises(ModelError, match="no end-of-sequence token"):
        ChatFormat(byte_level([], eos=None))
    tokenizer = byte_level([], eos=None)
    tokenizer.chat_template = styles.NO_END
    with pytest.raises(ModelError) as error:
        ChatFormat(tokenizer)
    assert "no token ends an answer" in error.value.why


def test_a_template_that_hides_the_answer_is_refused() -> None:
    with pytest.raises(ModelError) as error:
        ChatFormat(styles.plain(styles.HIDES_ANSWER))
    check_message(error.value)


def test_a_template_that_writes_half_of_a_character_is_refused() -> None:
    with pytest.raises(ModelError) as error:
        ChatFormat(styles.chatml("{{ '\\ud800' }}" + styles.NO_PROMPT))
    assert "half of a character, U+D800" in error.value.why


def test_a_row_that_the_template_refuses_is_named_in_the_templates_own_words() -> None:
    doubled = ChatRecord(({"role": "user", "content": "a"}, *chat("b", "c").messages), None, "x:1")
    with pytest.raises(RowError, match="roles must alternate"):
        ChatFormat(styles.mistral()).encode(doubled, 1000)


def test_a_template_that_drops_a_users_words_has_its_row_refused() -> None:
    template = styles.NO_PROMPT.replace("message.content", "message.content.split('#')[0]")
    chat_format = ChatFormat(styles.chatml(template))
    with pytest.raises(RowError) as caught:
        chat_format.encode(chat("How? #secret", "Fine."), 1000)
    check_message(caught.value)


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (("How?",), "no answer"),
        (("How?", "  "), "the answer is empty"),
        (("How?", "", "Now?", "Fine."), "answer 1 is empty"),
    ],
)
def test_rows_without_answer_are_refused(contents: tuple[str, ...], reason: str) -> None:
    with pytest.raises(RowError, match=reason):
        ChatFormat(styles.chatml()).encode(chat(*contents), 1000)


def test_end_markers_spelled_by_the_user_or_in_the_answer_end_nothing() -> None:
    row = chat("What is <|im_end|>?", "It is <|im_end|>, an end.", "And <|im_end|>?", "Just so.")
    assert trained(styles.chatml(), row) == ["It is <|im_end|>, an end.<|im_end|>Just so.<|im_end|>"]
    call = {"type": "function", "function": {"name": "say", "arguments": {"text": "<|im_end|> twice <|im_end|>"}}}
    row = ChatRecord((row.messages[0], {"role": "assistant", "content": "", "tool_calls": [call]}), None, "x:1")
    assert trained(styles.chatml(), row) == [
        '<tool_call>\n{"name": "say", "arguments": {"text": "<|im_end|> twice <|im_end|>"}}\n</tool_call><|im_end|>'
    ]


def test_end_markers_are_counted_wherever_they_are() -> None:
    """Where BOS is the end of an answer too, the first token is one; and they may follow each other."""
    tokenizer = styles.plain("{{- bos_token }}" + styles.NO_END.replace('content + "', 'content + eos_token + "'))
    assert tokenizer.bos_token == tokenizer.eos_token == "<|endoftext|>"
    assert trained(tokenizer, chat("How?", "Fine.", "Now?", "Still.")) == ["Fine.<|endoftext|>Still.<|endoftext|>"]
    tokenizer = byte_level(styles.CHATML_TOKENS, eos="<|im_end|>", bos="<|im_end|>", adds_bos=True)
    tokenizer.chat_template = (
        styles.NO_PROMPT + "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{% endif %}"
    )
    assert trained(tokenizer, chat("How?", "Fine.", "Now?", "Still.")) == ["Fine.<|im_end|>Still.<|im_end|>"]
    row = chat("Is it <|im_end|><|im_end|><|im_end|>?", "Yes.", "<|im_end|><|im_end|>?", "Yes.")
    assert trained(styles.chatml(), row) == ["Yes.<|im_end|>Yes.<|im_end|>"]


def test_an_answer_whose_beginning_would_merge_with_its_prompt_gets_an_example_of_its_own() -> None:
    tokenizer = styles.llama3(pattern=GPT2)
    chat_format = ChatFormat(tokenizer)
    examples = chat_format.encode(chat("How?", "Fine.", "Now?", "Still."), 1000).examples
    assert len(examples) == 2
    prompt = chat_format.prompt_ids(chat("How?").messages)
    assert examples[0].input_ids[: len(prompt)] == prompt
    assert tokenizer.decode(examples[0].input_ids[len(prompt) :]) == "Fine.<|eot_id|>"


def test_a_token_that_spans_prompt_and_answer_is_split_between_them() -> None:
    tokenizer = sentence_piece([], eos="</s>", bos="<s>", crosses_lines=True)
    assert "\nFine" in tokenizer.convert_ids_to_tokens(tokenizer("assistant\nFine.")["input_ids"])
    chat_format = ChatFormat(tokenizer)
    (example,) = chat_format.encode(chat("How?", "Fine, thank you."), 1000).examples
    prompt = chat_format.prompt_ids(chat("How?").messages)
    assert example.input_ids[: len(prompt)] == prompt
    assert example.labels == [IGNORED] * len(prompt) + example.input_ids[len(prompt) :]
    assert tokenizer.decode(example.input_ids).endswith("<|im_start|>assistant\nFine, thank you.</s>")


def test_over_long_rows_are_cut_behind_bos_and_their_tokens_counted() -> None:
    for tokenizer in (styles.llama3(), styles.llama3(adds_bos=False)):
        chat_format = ChatFormat(tokenizer)
        row = chat("How are you, and how was it all day long in Rome and in Paris?", "Fine.")
        (whole,) = chat_format.encode(row, 1000).examples
        cut = chat_format.encode(row, 20)
        assert cut.truncated_tokens == len(whole.input_ids) - 20
        assert cut.examples[0].input_ids == [tokenizer.bos_token_id, *whole.input_ids[-19:]]
        assert cut.examples[0].labels == [IGNORED, *whole.labels[-19:]]
        with pytest.raises(RowError, match="the answer alone is"):
            chat_format.encode(row, 3)
    chat_format = ChatFormat(styles.chatml())
    (whole,) = chat_format.encode(row, 1000).examples
    (cut,) = chat_format.encode(row, 20).examples
    assert cut.input_ids == whole.input_ids[-20:], "without BOS, nothing stays in front"


def test_answers_with_examples_of_their_own_are_cut_each() -> None:
    tokenizer = styles.phi3(styles.ENDS_LAST)
    encoded = ChatFormat(tokenizer).encode(chat("How are you?", "Fine.", "And now?", "Still fine."), 12)
    assert len(encoded.examples) == 2
    assert all(len(example.input_ids) <= 12 for example in encoded.examples)
    assert trained(tokenizer, chat("How?", "Fine, " * 20, "And?", "Still fine."), 20) == ["Still fine.<|endoftext|>"]


def test_an_answer_that_begins_with_blanks_keeps_them_and_its_prompt() -> None:
    tokenizer = styles.chatml()
    assert trained(tokenizer, chat("How?", "\n\n  Fine.")) == ["\n\n  Fine.<|im_end|>"]


def test_what_follows_the_last_answer_and_an_answer_that_opens_are_not_trained() -> None:
    row = chat("How?", "Fine.", "Bye.")
    bye = ChatRecord((*row.messages, {"role": "user", "content": "Really."}), None, "x:1")
    assert trained(styles.chatml(), bye) == ["Fine.<|im_end|>"]
    opened = ChatRecord(({"role": "assistant", "content": "Hello!"}, *chat("How?", "Fine.").messages), None, "x:1")
    assert trained(styles.chatml(), opened) == ["Fine.<|im_end|>"]
    with pytest.raises(RowError, match="no answer to a question"):
        ChatFormat(styles.chatml()).encode(ChatRecord(opened.messages[:1], None, "x:1"), 1000)


def test_calls_are_given_with_the_arguments_and_ids_that_the_template_takes() -> None:
    call = {"id": "call_abcdefghijklmn", "function": {"name": "sum", "arguments": '{"a": 1}'}}
    row = ChatRecord(
        (
            {"role": "user", "content": "Add"},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_abcdefghijklmn", "content": "1"},
            {"role": "assistant", "content": "One"},
        ),
        None,
        "x:1",
    )
    assert trained(styles.chatml(styles.PICKY_CALLS), row) == ['sum({"a": 1})#call00001<|im_end|>One<|im_end|>']


def test_arguments_that_would_come_out_as_python_are_given_as_json_text() -> None:
    call = {"function": {"name": "sum", "arguments": {"a": 1}}}
    row = ChatRecord(
        ({"role": "user", "content": "Add"}, {"role": "assistant", "content": "", "tool_calls": [call]}), None, "x:1"
    )
    template = styles.PICKY_CALLS.replace('" + call.function.arguments + "', '" ~ call.function.arguments ~ "')
    assert trained(styles.chatml(template), row) == ['sum({"a": 1})#call00001<|im_end|>']


def test_a_question_behind_a_spelled_result_stays_in_its_turn() -> None:
    call = {"function": {"name": "sum", "arguments": {}}}
    row = ChatRecord(
        (
            {"role": "user", "content": "Add"},
            {"role": "assistant", "content": "I will.", "tool_calls": [call]},
            {"role": "tool", "content": "1"},
            {"role": "tool", "content": "2"},
            {"role": "user", "content": "And?"},
            {"role": "assistant", "content": "One and two"},
        ),
        None,
        "x:1",
    )
    tokenizer = styles.mistral()
    (example,) = ChatFormat(tokenizer).encode(row, 1000).examples
    assert tokenizer.decode(example.input_ids) == (
        '<s>[INST] Add [/INST] I will.\n<tool_call>\n{"name": "sum", "arguments": {}}\n</tool_call></s>'
        "[INST] <tool_response>\n1\n</tool_response>\n<tool_response>\n2\n</tool_response>\nAnd? [/INST]"
        " One and two</s>"
    )


def test_todays_date_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    template = '{{- "<|im_start|>" + strftime_now("%d %b %Y") + "<|im_end|>" }}' + styles.NO_PROMPT
    chat_format = ChatFormat(styles.chatml(template))
    text = chat_format.prompt_ids(chat("How?").messages)
    assert styles.chatml().decode(text).startswith("<|im_start|>01 Jan 2026<|im_end|>")
    assert any("date" in note for note in chat_format.notes)


def test_notes_say_what_was_adapted() -> None:
    templates = (styles.chatml(styles.STRIPS), styles.mistral(), styles.chatml(styles.NO_PROMPT))
    check_text("\n".join(ChatFormat(template).notes[0] for template in templates))
