"""Conversations that are written out as one text, or as a list of what is said in turn, or as a tree; and their
commands."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.data.chat.messages import CONTENTS, find_role
from burnish.data.rows.elsewhere import jq_path
from burnish.data.rows.typed import jq_command, mapping

_NAMED_TURN = re.compile(r"(?:^|\n|### ?|<\|)\W{0,3}(\w{2,12})\W{0,2}(?::|\|>)")
_MARKED_TURN = re.compile(r"<\|?(?:im_start|start_header_id|start_of_turn)\|?>\s*(\w+)")
"""Whose words follow, in a conversation that is written out: `USER:`, `### Human:` or `<|assistant|>`."""
_OF_ALPACA = {"instruction": "user", "response": "assistant"}
"""Headings of Alpaca's template, as what follows them."""
_TURNS = ("data", "conversation", "conversations", "dialog", "dialogue", "turns", "utterances", "chat", "log")
_SAID = (*CONTENTS, "utterance", "sentence", "response")
_WHO = ("speaker", "role", "from", "author", "sender", "speaker_id", "speaker_name", "agent")
"""Keys whose values say who speaks."""
_SPEAKERS = ("role", "from", "speaker", "sender", "author", "user", "bot", "human", "assistant")
"""Keys of turns whose speakers are known without their order."""
_NAME = "[A-Z][A-Za-z]+(?: [A-Z]+)?"
_HEADS = {r"### ?%s ?:": _NAME, r"(?:\A|\n)\s*%s ?:": _NAME, r"<\|%s\|>": "[a-z]+"}
"""Forms of what is written before what one says, and of the name of the speaker in it."""
_ENDS = r"<\|endoftext\|>|<\|end\|>|<\|im_end\|>|</s>|<s>"
"""Marks of a template that may follow what one says."""


def speakers_in(text: str) -> set[str]:
    """The roles that a text names before what they say, as they mean: `user`, `assistant` and others."""
    names = (*_NAMED_TURN.findall(text), *_MARKED_TURN.findall(text))
    found = {_OF_ALPACA.get(name.lower()) or find_role(name, {}) for name in names}
    return {role for role in found if role} | (
        {"user", "assistant"} if "[INST]" in text and "[/INST]" in text else set()
    )


def is_written_out(text: str) -> bool:
    """Whether a text is a conversation of user and assistant that is written out, or a prompt of one."""
    return {"user", "assistant"} <= speakers_in(text)


def talk_advice(sample: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """Why a conversation in a column of unknown name is not read, and what to do; None for other rows.

    Args:
        sample: values of the first rows, at least one.
    """
    first = sample[0]
    name = next((name for name, cell in first.items() if _is_dialogue(name, cell)), None)
    if name is None:
        return _speakers_advice(first) or _tree_advice(first)
    cell = first[name]
    if isinstance(cell, str):
        texts = [text for values in sample if isinstance(text := values.get(name), str)]
        return (
            f"`{name}` seems to hold a whole conversation, in a form that is not known.",
            f"Write each conversation as one row: {written_talk(name, texts, first) or _EXAMPLE}",
        )
    if isinstance(cell[0], str):
        return f"`{name}` seems to hold what two say in turn.", f"If the first is the user: {mapping(messages=name)}"
    said = next(key for key in _SAID if isinstance(cell[0].get(key), str))
    form = f"[{jq_path(name)} | to_entries[] | {{role: {_BY_PLACE}, content: .value{jq_path(said)}}}]"
    return (
        f"`{name}` seems to hold what two say in turn, each in `{said}`, and not who says it.",
        f"If the first is the user, write messages: {jq_command(f'{{messages: {form}}}')}",
    )


_EXAMPLE = '`{"messages": [{"role": "user", "content": ...}, ...]}`'
_BY_PLACE = '(if .key % 2 == 0 then "user" else "assistant" end)'


def written_talk(name: str, texts: Sequence[str], first: Mapping[str, Any]) -> str:
    """The command that writes texts in which lines begin with who speaks as messages; empty for other forms.

    Args:
        name: the column with the texts.
        texts: some of them.
        first: values of the first row, of which a column `system` is written as what the system says.
    """
    for head, named in _HEADS.items():
        begin = re.compile(head % f"({named})")
        roles = {speaker: role for text in texts for speaker in begin.findall(text) if (role := _role(speaker))}
        starts = all(begin.match(text.lstrip()) for text in texts)  # what is before the first would be lost
        if not starts or not {"user", "assistant"} <= set(roles.values()):
            continue
        known = "|".join(sorted(roles))
        turn = rf"{head % f'({known})'}\s*([\s\S]*?)(?=\s*{head % f'(?:{known})'}|\s*\z)"
        said = f'{jq_path(name)} | gsub({json.dumps(_ENDS)}; "") | scan({json.dumps(turn)})'
        turns = f"{said} | {{role: {json.dumps(dict(sorted(roles.items())))}[.[0]], content: .[1]}}"
        has_calls = any(_CALL in text for text in texts)
        system, tools = _of_system(has_calls) if isinstance(first.get("system"), str) else ("", "")
        return jq_command(f"{{messages: [{system}({turns}{_AS_CALLS if has_calls else ''})]{tools}}}")
    return ""


_CALL = "<functioncall>"
_CALL_PARTS = r"""["']name["']: *["'](?<name>[^"']+)["'][\s\S]*?["']arguments["']: *'?(?<arguments>\{[\s\S]*\})'? *\}"""
_AS_CALLS = (
    f' | if .content | startswith("{_CALL}") then ((.content | capture({json.dumps(_CALL_PARTS)})) // null) as $call | '
    'if $call then {role, content: "", tool_calls: [{type: "function", function: $call}]} else . end else . end'
)
"""For jq: calls as Glaive's data has them in a text, as calls."""


def _role(speaker: str) -> str | None:
    name = speaker.lower()
    return _OF_ALPACA.get(name) or find_role(name.replace(" ", "_"), {})


def _of_system(has_tools: bool) -> tuple[str, str]:
    """How jq writes what the system says before a conversation, and the tools that it describes; empty for none."""
    bare = f'.system | sub({json.dumps(_SYSTEM)}; "")'
    if not has_tools:
        return f'{{role: "system", content: ({bare})}}, ', ""
    alone = f'{bare} | sub({json.dumps(_DESCRIBED)}; "")'
    tools = f'.system | (capture({json.dumps(f"(?<all>{_DESCRIBED})")}) // {{all: ""}}).all'
    listed = f'("[" + ({tools} | gsub({json.dumps(_JOINT)}; "}},{{")) + "]" | fromjson)'
    return f'{{role: "system", content: ({alone})}}, ', f", tools: {listed}"


_SYSTEM, _DESCRIBED, _JOINT = r"\A\s*SYSTEM:\s*", r"\s*\{[\s\S]*\}\s*\z", r"\}\s*\{"


_TREE = (
    "def talk: ., ((.replies // []) | sort_by(.rank // 0) | .[0] // empty | talk); "
    "{messages: [%s | talk | {role, content: %s}]}"
)
"""For jq: a message and the best of its replies, and of theirs."""


def _tree_advice(first: Mapping[str, Any]) -> tuple[str, str] | None:
    """Why a message with the replies to it is not read, and what to do; None for other rows."""
    for path, cell in (("", first), *((jq_path(name), cell) for name, cell in first.items())):
        if not isinstance(cell, Mapping) or not isinstance(cell.get("role"), str):
            continue
        said = next((key for key in _SAID if isinstance(cell.get(key), str)), None)
        if said is not None and isinstance(cell.get("replies"), list):
            return (
                "Each row seems to be a tree of messages: `replies` has several answers to one.",
                f"Write the best answer to each as a conversation: {jq_command(_TREE % (path or '.', jq_path(said)))}",
            )
    return None


def _speakers_advice(first: Mapping[str, Any]) -> tuple[str, str] | None:
    """Why turns whose words are under an unknown key, or that are lists of speakers and of words, are not read, and
    what to do; None for other rows."""
    for name, cell in first.items():
        turns, path = _turns_in(name, cell)
        if len(turns) < 2 or not all(isinstance(one, Mapping) for one in turns):
            continue
        who = next((key for key in _WHO if all(isinstance(one.get(key), (str, int)) for one in turns)), None)
        said = next((key for key in _SAID if all(isinstance(one.get(key), str) for one in turns)), None)
        if who is None or said is None or (turns is cell and said in CONTENTS):
            continue
        if len({one[who] for one in turns}) == 2:
            user = json.dumps(str(turns[0][who]), ensure_ascii=False)
            role = f'(if ({jq_path(who)} | tostring) == {user} then "user" else "assistant" end)'
            form = f"{{messages: [{path} | {{role: {role}, content: {jq_path(said)}}}]}}"
            return (
                f"`{name}` seems to hold what two say, each in `{said}`, and `{who}` says who it is.",
                f"If {user} is the user, write messages: {jq_command(form)}",
            )
    return None


def _turns_in(name: str, cell: Any) -> tuple[list[Any], str]:
    """The turns of a cell that is a list of them, or has a list of speakers and one of their words, and how jq lists
    them; no turns for other cells."""
    if isinstance(cell, list):
        return cell, f"{jq_path(name)}[]"
    if not isinstance(cell, Mapping):
        return [], ""
    lists = {key: values for key, values in cell.items() if key in (*_WHO, *_SAID) and isinstance(values, list)}
    if len(lists) != 2 or len({len(values) for values in lists.values()}) != 1:
        return [], ""
    turns = [dict(zip(lists, both, strict=True)) for both in zip(*lists.values(), strict=True)]
    parts = ", ".join(map(jq_path, lists))
    made = ", ".join(f"{json.dumps(key)}: .[{place}]" for place, key in enumerate(lists))
    return turns, f"{jq_path(name)} | [{parts}] | transpose[] | {{{made}}}"


def _is_dialogue(name: str, cell: Any) -> bool:
    """Whether a cell is a conversation that is written out, or a list of what is said in turn."""
    if isinstance(cell, str):
        return is_written_out(cell)
    if not isinstance(cell, list) or len(cell) < 2 or name.lower() not in _TURNS:
        return False
    if all(isinstance(one, Mapping) for one in cell):
        return any(all(isinstance(one.get(key), str) for one in cell) for key in _SAID) and not any(
            key in one for one in cell for key in _SPEAKERS
        )
    return all(isinstance(text, str) for text in cell)
