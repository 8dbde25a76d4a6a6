"""Chats written out with the turn markers that the tokenizer knows."""

from __future__ import annotations

import random

Turns = list[tuple[str, str]]
SYSTEMS = (
    "You are a helpful assistant.",
    "You answer in short, clear sentences.",
    "You are Seedling, a small language model.",
    "You are a friendly helper.",
    "Answer the question.",
    "You help people in a small town.",
    "Do what the user asks and nothing else.",
    "You are a careful clerk.",
    "Keep your answers short.",
)


def render(turns: Turns, system: str = "") -> str:
    """Turns as text; the system message comes first if there is one."""
    messages = ([("system", system)] if system else []) + turns
    return "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in messages)


def maybe_system(rng: random.Random, turns: Turns, system: str = "") -> str:
    """The turns as text, now and then with a system message."""
    if not system and rng.random() < 0.3:
        system = rng.choice(SYSTEMS)
    return render(turns, system)
