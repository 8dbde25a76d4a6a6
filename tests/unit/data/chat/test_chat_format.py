"""What is trained, written out by hand: in the expectations, the characters between « and » are trained."""

from __future__ import annotations

from typing import Any

import pytest

import tests.unit.data.chat_templates as styles
from burnish.data.chat.format import ChatFormat
from burnish.data.rows.records import ChatRecord
from burnish.data.rows.row import IGNORED, Example

ASK = {"role": "user", "content": "How are you?"}
FINE = {"role": "assistant", "content": "Fine."}
AGAIN = {"role": "user", "content": "And now?"}
STILL = {"role": "assistant", "content": "Still fine."}
BRIEF = {"role": "system", "content": "Be brief."}
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"in": "Rome"}}}
TOOLS = ({"type": "function", "function": {"name": "weather", "parameters": {}}},)

CHATS: dict[str, tuple[dict[str, Any], ...]] = {
    "single": (ASK, FINE),
    "multi": (ASK, FINE, AGAIN, STILL),
    "system": (BRIEF, ASK, FINE),
    "thought": (
        ASK,
        {"role": "assistant", "content": "<think>\nWell.\n</think>\n\nFine."},
        AGAIN,
        {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nStill fine."},
    ),
    "tools": (
        ASK,
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": "sunny"},
        FINE,
    ),
}
STYLES = {
    "chatml": styles.chatml,
    "llama3": styles.llama3,
    "mistral": styles.mistral,
    "phi3": styles.phi3,
    "ends-last": lambda: styles.phi3(styles.ENDS_LAST),
    "strips": lambda: styles.chatml(styles.STRIPS),
    "opens-thought": lambda: styles.chatml(styles.OPENS_THOUGHT),
    "no-prompt": lambda: styles.chatml(styles.NO_PROMPT),
    "no-end": lambda: styles.plain(styles.NO_END),
    "base": styles.plain,
}
USER3 = "<|start_header_id|>user<|end_header_id|>\n\n"
ANSWER3 = "<|start_header_id|>assistant<|end_header_id|>\n\n"
SPELLED_TOOLS = (
    'You can call these tools:\n{"name": "weather", "parameters": {}}\n'
    "To call one, answer with its name and arguments as JSON:\n"
    '<tool_call>\n{"name": ..., "arguments": {...}}\n</tool_call>'
)
SPELLED_CALL = '<tool_call>\n{"name": "weather", "arguments": {"in": "Rome"}}\n</tool_call>'

EXPECTED: dict[tuple[str, str], list[str]] = {
    ("chatml", "single"): [
        "<|im_start|>user\nHow are you?<|im_end|>\n<|im_start|>assistant\n«Fine.<|im_end|>»",
    ],
    ("chatml", "multi"): [
        "<|im_start|>user\nHow are you?<|im_end|>\n<|im_start|>assistant\n«Fine.<|im_end|>»\n"
        "<|im_start|>user\nAnd now?<|im_end|>\n<|im_start|>assistant\n«Still fine.<|im_end|>»",
    ],
    ("chatml", "system"): [
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHow are you?<|im_end|>\n"
        "<|im_start|>assistant\n«Fine.<|im_end|>»",
    ],
    ("chatml", "tools"): [
        "<|im_start|>system\nYou can call these tools:\n<tools>\n"
        '{"type": "function", "function": {"name": "weather", "parameters": {}}}\n</tools>\n'
        "To call one, answer with its name and arguments as JSON:\n"
        '<tool_call>\n{"name": ..., "arguments": {...}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\nHow are you?<|im_end|>\n"
        f"<|im_start|>assistant\n«{SPELLED_CALL}<|im_end|>»\n"
        "<|im_start|>tool\nsunny<|im_end|>\n<|im_start|>assistant\n«Fine.<|im_end|>»",
    ],
    ("llama3", "single"): [f"<|begin|>{USER3}How are you?<|eot_id|>{ANSWER3}«Fine.<|eot_id|>»"],
    ("llama3", "multi"): [
        f"<|begin|>{USER3}How are you?<|eot_id|>{ANSWER3}«Fine.<|eot_id|>»"
        f"{USER3}And now?<|eot_id|>{ANSWER3}«Still fine.<|eot_id|>»",
    ],
    ("llama3", "system"): [
        "<|begin|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        f"{USER3}How are you?<|eot_id|>{ANSWER3}«Fine.<|eot_id|>»",
    ],
    ("llama3", "tools"): [
        '<|begin|><|start_header_id|>system<|end_header_id|>\n\nTools: {"name": "weather", "parameters": {}}<|eot_id|>'
        f"{USER3}How are you?<|eot_id|>"
        f'{ANSWER3}«{{"name": "weather", "parameters": {{"in": "Rome"}}}}<|eot_id|>»'
        f"<|start_header_id|>ipython<|end_header_id|>\n\nsunny<|eot_id|>{ANSWER3}«Fine.<|eot_id|>»",
    ],
    ("mistral", "single"): ["<s>[INST] How are you? [/INST]« Fine.</s>»"],
    ("mistral", "multi"): [
        "<s>[INST] How are you? [/INST]« Fine.</s>»[INST] And now? [/INST]« Still fine.</s>»",
    ],
    ("mistral", "system"): ["<s>[INST] Be brief.\n\nHow are you? [/INST]« Fine.</s>»"],
    ("mistral", "tools"): [
        f"<s>[INST] {SPELLED_TOOLS}\n\nHow are you? [/INST]« {SPELLED_CALL}</s>»"
        "[INST] <tool_response>\nsunny\n</tool_response> [/INST]« Fine.</s>»",
    ],
    ("phi3", "single"): ["<|user|>\nHow are you?<|end|>\n<|assistant|>\n«Fine.<|end|>»"],
    ("phi3", "multi"): [
        "<|user|>\nHow are you?<|end|>\n<|assistant|>\n«Fine.<|end|>»\n"
        "<|user|>\nAnd now?<|end|>\n<|assistant|>\n«Still fine.<|end|>»",
    ],
    ("phi3", "system"): [
        "<|system|>\nBe brief.<|end|>\n<|user|>\nHow are you?<|end|>\n<|assistant|>\n«Fine.<|end|>»",
    ],
    ("ends-last", "multi"): [
        "user: How are you?\nassistant: «Fine.<|endoftext|>»",
        "user: How are you?\nassistant: Fine.\nuser: And now?\nassistant: «Still fine.<|endoftext|>»",
    ],
    ("strips", "single"): ["<|im_start|>user\nHow are you?<|im_end|>\n<|im_start|>assistant\n«Fine.<|im_end|>»"],
    ("strips", "multi"): [
        "<|im_start|>user\nHow are you?<|im_end|>\n<|im_start|>assistant\n«Fine.<|im_end|>»\n"
        "<|im_start|>user\nAnd now?<|im_end|>\n<|im_start|>assistant\n«Still fine.<|im_end|>»",
    ],
    ("strips", "system"): [
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHow are you?<|im_end|>\n"
        "<|im_start|>assistant\n«Fine.<|im_end|>»",
    ],
    ("strips", "thought"): [
        "<|im_start|>user\nHow are you?<|im_end|>\n"
        "<|im_start|>assistant\n«<think>\nWell.\n</think>\n\nFine.<|im_end|>»",
        "<|im_start|>user\nHow are you?<|im_end|>\n<|im_start|>assistant\nFine.<|im_end|>\n"
        "<|im_start|>user\nAnd now?<|im_end|>\n"
        "<|im_start|>assistant\n«<think>\nHm.\n</think>\n\nStill fine.<|im_end|>»",
    ],
    ("opens-thought", "thought"): [
        "<|im_start|>user\nHow are you?<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n«Well.\n</think>\n\nFine.<|im_end|>»",
        "<|im_start|>user\nHow are you?<|im_end|>\n<|im_start|>assistant\nFine.<|im_end|>\n"
        "<|im_start|>user\nAnd now?<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n«Hm.\n</think>\n\nStill fine.<|im_end|>»",
    ],
    ("no-prompt", "multi"): [
        "<|im_start|>user\nHow are you?<|im_end|>\n«<|im_start|>assistant\nFine.<|im_end|>»\n"
        "<|im_start|>user\nAnd now?<|im_end|>\n«<|im_start|>assistant\nStill fine.<|im_end|>»",
    ],
    ("no-end", "multi"): [
        "### user\nHow are you?\n\n### assistant\n«Fine.<|endoftext|>»",
        "### user\nHow are you?\n\n### assistant\nFine.\n\n### user\nAnd now?\n\n"
        "### assistant\n«Still fine.<|endoftext|>»",
    ],
    ("base", "multi"): [
        "<|im_start|>user\nHow are you?<|im_end|>\n<|im_start|>assistant\n«Fine.<|endoftext|>»\n"
        "<|im_start|>user\nAnd now?<|im_end|>\n<|im_start|>assistant\n«Still fine.<|endoftext|>»",
    ],
}


def record(name: str) -> ChatRecord:
    return ChatRecord(CHATS[name], TOOLS if name == "tools" else None, "rows.jsonl:1")


def marked(tokenizer: Any, example: Example) -> str:
    """The example's text, with « before and » behind each trained stretch."""
    out, written = "", 0
    trained = [is_trained(example, at) for at in range(len(example.labels))]
    bounds = [0] + [at for at in range(1, len(trained)) if trained[at] != trained[at - 1]]
    for start, end in zip(bounds, [*bounds[1:], len(trained)], strict=True):
        text = tokenizer.decode(example.input_ids[:end])
        out += f"«{text[written:]}»" if trained[start] else text[written:]
        written = len(text)
    return out


def is_trained(example: Example, at: int) -> bool:
    assert example.labels[at] in (IGNORED, example.input_ids[at])
    return example.labels[at] != IGNORED


@pytest.mark.parametrize(("style", "chat"), EXPECTED)
def test_exactly_the_answers_and_their_ends_are_trained(style: str, chat: str) -> None:
    tokenizer = STYLES[style]()
    examples = ChatFormat(tokenizer).encode(record(chat), 1000).examples
    assert [marked(tokenizer, example) for example in examples] == EXPECTED[style, chat]
    assert {example.place for example in examples} == {"rows.jsonl:1"}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("chat", ["single", "multi", "system", "tools", "thought"])
def test_generation_is_prompted_with_the_tokens_that_training_prompted_with(style: str, chat: str) -> None:
    chat_format = ChatFormat(STYLES[style]())
    row = record(chat)
    prompts = [
        chat_format.prompt_ids(row.messages[:turn], row.tools)
        for turn, message in enumerate(row.messages)
        if message["role"] == "assistant"
    ]
    examples = chat_format.encode(row, 1000).examples
    assert [prompt for example in examples for prompt in trained_from(example)] == prompts


def trained_from(example: Example) -> list[list[int]]:
    """What stands before each trained stretch."""
    starts = [at for at in range(1, len(example.labels)) if is_trained(example, at) and not is_trained(example, at - 1)]
    return [example.input_ids[:start] for start in starts]
