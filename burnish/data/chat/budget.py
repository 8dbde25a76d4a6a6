"""A budget of time and memory for rendering a chat template, which is a program that comes with a model."""

from __future__ import annotations

import json
import mmap
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from jinja2 import TemplateSyntaxError, nodes

from burnish.data.chat.own_template import parsed
from burnish.errors import ModelError
from burnish.system.machine import memory_size
from burnish.system.time_limit import TooSlow, limited_time

SECONDS = 1.0
"""Of processor time, for one conversation."""
BYTES = 256 << 20
"""On top of what the process has; only Linux counts it."""
_CHARACTERS, _TIMES = 1 << 20, 20
"""What a template may write by itself, and how often what it is given."""


@contextmanager
def budget() -> Iterator[None]:
    """While entered, templates may take `SECONDS` of processor time and `BYTES` of memory.

    The time is watched in the main thread alone, where Python handles signals, and not on Windows, which has no such
    timer.

    Raises:
        ModelError: a template took more.
    """
    try:
        with _MEMORY.limited(), limited_time(SECONDS):
            yield
    except TooSlow:
        raise _refused(f"ran for {SECONDS:g} s without coming to an end") from None
    except MemoryError:
        raise _refused(f"took more than {memory_size(BYTES)} of memory") from None


def check_length(text: str, messages: Sequence[Mapping[str, Any]]) -> None:
    """Refuses a template that writes far more than it is given: each text would be tokenized and kept.

    Raises:
        ModelError: `text` is longer than any real template makes these messages.
    """
    if len(text) <= _CHARACTERS:
        return
    given = len(json.dumps(messages, ensure_ascii=False, default=str))
    if len(text) > _CHARACTERS + _TIMES * given:
        raise _refused(f"wrote {len(text):,} characters for a conversation of {given:,}")


def check_operators(source: str) -> None:
    """Refuses a template with a power: one such operation may take hours, and cannot be interrupted.

    Raises:
        ModelError: it has one.
    """
    if _has_power(source):
        raise _refused("uses the operator `**`, with which it could run for hours")


@lru_cache(maxsize=64)
def _has_power(source: str) -> bool:
    if "**" not in source:  # which may also be in its text
        return False
    try:
        return parsed(source).find(nodes.Pow) is not None
    except (TemplateSyntaxError, RecursionError):  # it cannot be rendered either
        return False


def _refused(what: str) -> ModelError:
    return ModelError(
        f"the chat template {what}",
        "A chat template is a program that comes with the model, and this one may have been made to do harm.",
        "Use another model, or write a template that you trust into `chat_template.jinja` in a copy of its folder",
    )


class _Data:
    """The limit on what this process allocates, which all of its threads share. It leaves out the stack: a process that
    cannot make its stack longer is killed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entered = 0
        self._before = (0, 0)

    @contextmanager
    def limited(self) -> Iterator[None]:
        """While entered, also by several threads at once, the process gets no more than `BYTES` on top."""
        if sys.platform != "linux":
            yield
            return
        with self._lock:
            if self._entered == 0:
                self._begin()
            self._entered += 1
        try:
            yield
        finally:
            with self._lock:
                self._entered -= 1
                if self._entered == 0:
                    self._end()

    def _begin(self) -> None:
        import resource

        self._before = soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        used = _allocated()
        lower = used + BYTES if soft == resource.RLIM_INFINITY else min(used + BYTES, soft)
        resource.setrlimit(resource.RLIMIT_DATA, (lower, hard))

    def _end(self) -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, self._before)


def _allocated() -> int:
    """Bytes of data and stack of this process. Called for every conversation, so without the layers of `open`."""
    file = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(file, 100).split()[5]) * mmap.PAGESIZE
    finally:
        os.close(file)


_MEMORY = _Data()
